//! The network of the core's world: calls under way, with delay, loss, doubling and death.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sidebeat::ids::SessionId;
use sidebeat::secret::Secret;
use sidebeat::session::{AskKind, AuthorityFault, FaultKind, LicenseFeedback, Reason, Ticket, Verdict};

use super::rng::Rng;

/// A call to the head-end, as it travels.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) device: usize,
    pub(crate) id: SessionId,
    pub(crate) kind: AskKind,
    pub(crate) sent: Instant,
    pub(crate) ticket: Ticket,
    pub(crate) token: Option<Secret>,
}

#[derive(Debug)]
pub(crate) enum Happening {
    Answer(Flight, Result<Verdict, AuthorityFault>),
    /// The call reaches the head-end; `deaf` if its sender no longer waits.
    Arrive(Flight, bool),
    Served(usize, SessionId, LicenseFeedback),
}

#[derive(Default)]
pub(crate) struct Network {
    pub(crate) faulty: bool,
    next: u64,
    pub(crate) outage: bool,
    queue: BTreeMap<(Instant, u64), Happening>,
}

/// The client's own time limit.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(4);

impl Network {
    pub(crate) fn new(faulty: bool) -> Self {
        Self { faulty, ..Self::default() }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn take(&mut self, now: Instant) -> Option<Happening> {
        if self.due()? > now {
            return None;
        }
        self.queue.pop_first().map(|(_, happening)| happening)
    }

    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        self.next += 1;
        self.queue.insert((at, self.next), happening);
    }

    /// A call sets out. True when something was done to it.
    pub(crate) fn send(&mut self, now: Instant, rng: &mut Rng, flight: Flight) -> bool {
        if self.faulty && rng.chance(30) {
            self.put(now + TIMEOUT, Happening::Answer(flight, timeout()));
            return true;
        }
        // The task that asked is gone, and with it the answer.
        if self.faulty && rng.chance(10) {
            return true;
        }
        let delay = delay(rng, self.faulty);
        let deaf = delay > TIMEOUT && rng.chance(700);
        if deaf {
            self.put(now + TIMEOUT, Happening::Answer(flight.clone(), timeout()));
        }
        self.put(now + delay, Happening::Arrive(flight, deaf));
        delay > TIMEOUT
    }

    /// A reply sets out. True when something was done to it.
    pub(crate) fn reply(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        flight: Flight,
        result: Result<Verdict, AuthorityFault>,
    ) -> bool {
        let limit = (flight.sent + TIMEOUT).max(now);
        if self.faulty && rng.chance(30) {
            self.put(limit, Happening::Answer(flight, timeout()));
            return true;
        }
        let at = now + delay(rng, self.faulty);
        if at > limit && rng.chance(700) {
            self.put(limit, Happening::Answer(flight, timeout()));
            return true;
        }
        if self.faulty && rng.chance(20) {
            self.put(at + rng.millis(0, 5_000), Happening::Answer(flight.clone(), result.clone()));
        }
        self.put(at, Happening::Answer(flight, result));
        at > limit
    }
}

/// Delay in one direction.
pub(crate) fn delay(rng: &mut Rng, faulty: bool) -> Duration {
    if faulty && rng.chance(10) {
        return rng.millis(1_000, 5_000);
    }
    if faulty && rng.chance(10) {
        return rng.millis(10_000, 40_000);
    }
    rng.millis(2, 300)
}

pub(crate) fn timeout() -> Result<Verdict, AuthorityFault> {
    Err(AuthorityFault { kind: FaultKind::Timeout, reason: Reason::without_reply("no reply") })
}

pub(crate) fn error() -> Result<Verdict, AuthorityFault> {
    Err(AuthorityFault { kind: FaultKind::Refused, reason: Reason::new(503, None, "not now") })
}
