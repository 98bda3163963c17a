//! The way to one authority: its breakers, its outage, and what the outage cost.
//!
//! What players wait for (opens, renewals) and what they do not (beats, closes) have a breaker each:
//! operators put the calls behind different gateways, and one that is down must not cost the others. A
//! half that answers has the other one tried again. Asked by the client around every call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::breaker::{Breaker, Change, Leave, Told};
use crate::session::{AskKind, Fault, FaultKind, Reason, Verdict};

#[derive(Debug)]
pub(super) struct Health {
    over: Arc<Notify>,
    ways: Mutex<Ways>,
}

#[derive(Debug)]
struct Ways {
    /// Beats and closes.
    ours: Breaker,
    /// The outage that is over and was not told yet.
    past: Option<Past>,
    /// Opens and renewals.
    players: Breaker,
}

/// An outage that is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Past {
    pub(super) lasted: Duration,
    /// A breaker was open in it.
    pub(super) open: bool,
}

/// A probe costs one player the wait; one that is not made, where no beats are, leaves them refused though the
/// authority is back.
const PLAYERS: Duration = Duration::from_secs(10);
/// Nobody waits for a beat, and one that is not made is lost: asked as often as a lost one is sent again, an
/// authority that is back is found so while the others still have tries left.
const OURS: Duration = Duration::from_secs(3);

/// Which calls a breaker stands before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Calls {
    Ours,
    Players,
}

impl Calls {
    pub const ALL: [Self; 2] = [Self::Ours, Self::Players];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "beat,close",
            Self::Players => "open,renew",
        }
    }

    pub(super) fn of(ask: AskKind) -> Self {
        match ask {
            AskKind::Beat | AskKind::Close => Self::Ours,
            AskKind::Open | AskKind::Renew => Self::Players,
        }
    }
}

impl Health {
    /// `over` rings when an outage is over.
    pub(super) fn new(over: Arc<Notify>) -> Self {
        let ways = Ways { ours: Breaker::new(OURS), past: None, players: Breaker::new(PLAYERS) };
        Self { over, ways: Mutex::new(ways) }
    }

    /// For the calls after a reload; those before it tell the old one, and hold up nothing.
    pub(super) fn renewed(&self, now: Instant) -> Self {
        let Ways { ours, past, players } = &*self.ways();
        let ways = Ways { ours: ours.renewed(now), past: *past, players: players.renewed(now) };
        Self { over: self.over.clone(), ways: Mutex::new(ways) }
    }

    /// # Errors
    /// The call is not to be made: none like it was answered lately.
    pub(super) fn leave(&self, now: Instant, ask: AskKind) -> Result<Leave, Fault> {
        let reason = || Reason::new(0, None, "not asked: it has not answered lately");
        let leave = self.ways().breaker(Calls::of(ask)).leave(now);
        leave.ok_or_else(|| Fault { kind: FaultKind::Unreachable, reason: reason() })
    }

    /// Whether a breaker opened (true) or closed.
    pub(super) fn tell(
        &self,
        now: Instant,
        ask: AskKind,
        leave: Leave,
        result: &Result<Verdict, Fault>,
    ) -> Option<bool> {
        let (calls, told) = (Calls::of(ask), told(result));
        let mut ways = self.ways();
        let change = ways.breaker(calls).tell(now, leave, told);
        if told == Told::Answered {
            Calls::ALL.into_iter().filter(|other| *other != calls).for_each(|other| ways.breaker(other).encourage(now));
        }
        match change? {
            Change::Closed { since, open } => {
                let lasted = now.saturating_duration_since(since);
                let before = ways.past.unwrap_or(Past { lasted, open });
                ways.past = Some(Past { lasted: lasted.max(before.lasted), open: open || before.open });
                if ways.since().is_none() {
                    self.over.notify_one();
                }
                open.then_some(false)
            }
            Change::Opened => Some(true),
        }
    }

    /// Such calls have not been answered since then, as an earlier process knew: an answer to the first one is the
    /// end of an outage.
    pub(super) fn recall(&self, ask: AskKind, since: Instant) {
        self.ways().breaker(Calls::of(ask)).recall(since);
    }

    pub(super) fn is_open(&self, calls: Calls) -> bool {
        self.ways().breaker(calls).is_open()
    }

    /// For how long no call has been answered, while a breaker is open.
    pub(super) fn outage(&self, now: Instant) -> Option<Duration> {
        let mut ways = self.ways();
        let open = Calls::ALL.into_iter().any(|calls| ways.breaker(calls).is_open());
        ways.since().filter(|_| open).map(|since| now.saturating_duration_since(since))
    }

    /// Whether an outage is over that was not told yet.
    pub(super) fn has_past(&self) -> bool {
        let ways = self.ways();
        ways.since().is_none() && ways.past.is_some()
    }

    /// The outage that is over, once.
    pub(super) fn past(&self) -> Option<Past> {
        let mut ways = self.ways();
        if ways.since().is_some() { None } else { ways.past.take() }
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ways {
    fn breaker(&mut self, calls: Calls) -> &mut Breaker {
        match calls {
            Calls::Ours => &mut self.ours,
            Calls::Players => &mut self.players,
        }
    }

    fn since(&self) -> Option<Instant> {
        self.ours.since().into_iter().chain(self.players.since()).min()
    }
}

/// A refusal, a denial or a kill was said by somebody.
fn told(result: &Result<Verdict, Fault>) -> Told {
    match result.as_ref().map_err(|fault| fault.kind) {
        Ok(_) => Told::Answered,
        Err(FaultKind::Busy | FaultKind::Malformed) => Told::Nothing,
        Err(FaultKind::Lost | FaultKind::Refused | FaultKind::Timeout | FaultKind::Unreachable) => Told::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn lost() -> Result<Verdict, Fault> {
        Err(Fault { kind: FaultKind::Timeout, reason: Reason::new(504, None, "slow") })
    }

    fn open(health: &Health, now: Instant, ask: AskKind) {
        let told: Vec<_> = (0..Breaker::FAULTS).map(|_| health.tell(now, ask, Leave::Usual, &lost())).collect();
        assert_eq!(told.last(), Some(&Some(true)));
    }

    #[test]
    fn a_setup_that_is_down_costs_no_beat() {
        let (now, health) = (Clock.now(), Health::new(Arc::default()));
        open(&health, now, AskKind::Open);
        assert!(health.leave(now, AskKind::Renew).is_err());
        assert_eq!(health.leave(now, AskKind::Beat), Ok(Leave::Usual));
        assert_eq!(health.leave(now, AskKind::Close), Ok(Leave::Usual));
    }

    #[test]
    fn a_beat_that_is_answered_has_opens_tried_again_at_once() {
        let (now, health) = (Clock.now(), Health::new(Arc::default()));
        open(&health, now, AskKind::Open);
        open(&health, now, AskKind::Beat);
        assert!(health.leave(now, AskKind::Open).is_err());
        assert_eq!(health.tell(now, AskKind::Beat, Leave::Usual, &Ok(Verdict::Closed)), Some(false));
        assert_eq!(health.past(), None, "opens are still down");
        assert_eq!(health.leave(now, AskKind::Open), Ok(Leave::Probe));
        let later = now + Duration::from_secs(7);
        assert_eq!(health.outage(later), Some(Duration::from_secs(7)));
        assert_eq!(health.tell(later, AskKind::Open, Leave::Probe, &Ok(Verdict::Disabled)), Some(false));
        assert_eq!(health.past(), Some(Past { lasted: Duration::from_secs(7), open: true }));
        assert_eq!((health.past(), health.outage(later)), (None, None));
    }

    /// Beats of many sessions, of which each lost one is tried again within 3 s: about ten a second.
    #[test]
    fn beats_notice_the_end_of_an_outage_while_they_have_tries_left() {
        let (began, health) = (Clock.now(), Health::new(Arc::default()));
        let ends = began + Duration::from_secs(18);
        let calls = (0u32..).map(|call| began + Duration::from_millis(100) * call);
        let mut answered = calls.filter(|now| {
            let Ok(leave) = health.leave(*now, AskKind::Beat) else { return false };
            let result = if *now < ends { lost() } else { Ok(Verdict::Closed) };
            health.tell(*now, AskKind::Beat, leave, &result);
            result.is_ok()
        });
        let first = answered.next().unwrap();
        assert!(first <= ends + crate::session::Policy::default().retry_after(2), "{:?} late", first - ends);
    }

    #[test]
    fn an_outage_that_an_earlier_process_knew_is_over_with_the_first_answer() {
        let (began, health) = (Clock.now(), Health::new(Arc::default()));
        let now = began + Duration::from_secs(60);
        health.recall(AskKind::Open, began + Duration::from_secs(5));
        health.recall(AskKind::Open, began);
        assert_eq!((health.has_past(), health.outage(now)), (false, None));
        health.tell(now, AskKind::Open, Leave::Usual, &Ok(Verdict::Disabled));
        assert_eq!(health.past(), Some(Past { lasted: Duration::from_secs(60), open: false }));
    }

    #[test]
    fn a_reload_has_the_authority_tried_at_once_and_goes_on_with_the_outage() {
        let (now, before) = (Clock.now(), Health::new(Arc::default()));
        open(&before, now, AskKind::Open);
        // Long pauses lie between its probes by now, and one of them is under way.
        let mut later = now;
        for _ in 0..8 {
            later += PLAYERS;
            assert_eq!(before.leave(later, AskKind::Open), Ok(Leave::Probe));
            before.tell(later, AskKind::Open, Leave::Probe, &lost());
        }
        later += PLAYERS;
        assert_eq!(before.leave(later, AskKind::Open), Ok(Leave::Probe));
        let after = before.renewed(later);
        assert_eq!(after.leave(later, AskKind::Open), Ok(Leave::Probe));
        before.tell(later, AskKind::Open, Leave::Probe, &lost());
        assert_eq!(after.outage(later), Some(later - now));
        after.tell(later, AskKind::Open, Leave::Probe, &Ok(Verdict::Disabled));
        assert_eq!(after.leave(later, AskKind::Open), Ok(Leave::Usual));
        assert_eq!(after.past(), Some(Past { lasted: later - now, open: true }));
    }

    #[test]
    fn a_denial_is_an_answer_and_nonsense_is_none() {
        let reason = || Reason::new(400, Some(1007), "no");
        assert_eq!(told(&Ok(Verdict::Denied(crate::session::Denial::Limit, reason()))), Told::Answered);
        assert_eq!(told(&Ok(Verdict::Killed(reason()))), Told::Answered);
        for (kind, expected) in [
            (FaultKind::Busy, Told::Nothing),
            (FaultKind::Lost, Told::Lost),
            (FaultKind::Malformed, Told::Nothing),
            (FaultKind::Refused, Told::Lost),
            (FaultKind::Timeout, Told::Lost),
            (FaultKind::Unreachable, Told::Lost),
        ] {
            assert_eq!(told(&Err(Fault { kind, reason: reason() })), expected, "{kind:?}");
        }
    }
}
