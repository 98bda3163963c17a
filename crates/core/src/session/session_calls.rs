//! The calls of a session to its authority: their numbers, the one in flight, and those that were given up.

use std::time::Duration;

use super::beat_jitter::beat_jitter;
use super::grant::{AskKind, Ticket};
use super::short_list::ShortList;
use crate::time::{MonotonicTime, RecordedSpan, jitter};

/// The authority calls of one session: at most one is in flight, and their tickets grow.
#[derive(Debug)]
pub(super) struct SessionCalls {
    /// Abandoned opens: if one is granted after all, that grant is given back.
    given_up: ShortList<u32, 3>,
    in_flight: Option<CallInFlight>,
    /// The newest answered call.
    last_answered: u32,
    /// Number of calls made, which is the number of the newest; it wraps around.
    made: u32,
    /// Spreads the session's calls among those of others.
    seed: u32,
}

/// The authority call in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallInFlight {
    pub(super) ask: AskKind,
    number: u32,
    /// Its token was replaced since, by a late answer to an earlier call.
    pub(super) outdated: bool,
    pub(super) since: MonotonicTime,
    /// Time for which the machine slept during the call.
    slept: RecordedSpan,
}

impl CallInFlight {
    pub(super) fn slept(&self) -> Duration {
        self.slept.into()
    }
}

impl SessionCalls {
    pub(super) fn new(seed: u32) -> Self {
        Self::written(seed, 0)
    }

    /// The calls that a record holds: none is in flight, and so many were made.
    pub(super) fn written(seed: u32, made: u32) -> Self {
        Self { given_up: ShortList::default(), in_flight: None, last_answered: made, made, seed }
    }

    /// The calls of a session that is opened anew: none is in flight, and no earlier answer counts.
    pub(super) fn anew(&mut self) -> Self {
        Self { given_up: std::mem::take(&mut self.given_up), ..Self::written(self.seed, self.made) }
    }

    pub(super) fn begin(&mut self, now: MonotonicTime, ask: AskKind) -> Ticket {
        debug_assert!(self.in_flight.is_none(), "one call at a time: {ask:?} while {:?}", self.in_flight);
        self.made = self.made.wrapping_add(1);
        let (number, slept) = (self.made, RecordedSpan::default());
        self.in_flight = Some(CallInFlight { ask, number, outdated: false, since: now, slept });
        Ticket::Session(number)
    }

    /// Takes the call in flight, if this is its answer. `decided`: the answer is no fault.
    pub(super) fn answered(&mut self, ticket: Ticket, ask: AskKind, decided: bool) -> Option<CallInFlight> {
        let Ticket::Session(number) = ticket else { return None };
        let call = self.in_flight.take_if(|call| call.number == number && call.ask == ask)?;
        if decided {
            self.last_answered = number;
        }
        Some(call)
    }

    /// Takes the call in flight, if it has had no answer for so long. An open is remembered.
    pub(super) fn give_up(&mut self, now: MonotonicTime, patience: Duration) -> Option<CallInFlight> {
        let call = self.in_flight.take_if(|call| now >= call.since + patience)?;
        if call.ask == AskKind::Open {
            self.given_up.push_last(call.number);
        }
        Some(call)
    }

    /// True if this open was given up; true only once.
    pub(super) fn was_given_up(&mut self, open: Ticket) -> bool {
        let at = self.given_up.iter().position(|given_up| Ticket::Session(*given_up) == open);
        at.map(|at| self.given_up.remove(at)).is_some()
    }

    /// A late answer brings a token. True if no later call was made; `None` if a later one was answered before.
    pub(super) fn late_token(&mut self, ticket: Ticket) -> Option<bool> {
        let Ticket::Session(number) = ticket else { return None };
        if !is_after(number, self.last_answered) {
            return None;
        }
        self.last_answered = number;
        if let Some(call) = &mut self.in_flight {
            call.outdated = true;
        }
        Some(number == self.made)
    }

    pub(super) fn machine_slept(&mut self, by: Duration) {
        if let Some(call) = &mut self.in_flight {
            call.slept = call.slept().saturating_add(by).into();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    pub(super) fn is_asking(&self, kind: AskKind) -> bool {
        self.in_flight.is_some_and(|call| call.ask == kind)
    }

    pub(super) fn in_flight(&self) -> Option<CallInFlight> {
        self.in_flight
    }

    /// Number of calls made, whether answered or not.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// True if any call was made.
    pub(super) fn has_asked(&self) -> bool {
        self.made > 0
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    pub(super) fn beat_jitter(&self) -> Duration {
        beat_jitter(self.jitter_seed())
    }

    /// A time between zero and `most`, evenly distributed among sessions; the same for the same session and call.
    pub(super) fn jitter(&self, most: Duration) -> Duration {
        jitter(self.jitter_seed(), most)
    }

    fn jitter_seed(&self) -> u64 {
        u64::from(self.seed) << 32 | u64::from(self.made)
    }

    /// The session's share of this time, the same whatever it has asked.
    pub(super) fn share_of(&self, most: Duration) -> Duration {
        jitter(self.seed.into(), most)
    }

    #[cfg(test)]
    pub(super) fn set_seed(&mut self, seed: u32) {
        self.seed = seed;
    }

    #[cfg(test)]
    pub(super) fn owes_nothing(&self) -> bool {
        self.in_flight.is_none() && self.given_up.is_empty()
    }
}

/// True if the call of this number was made after the other one. The numbers wrap around.
fn is_after(number: u32, other: u32) -> bool {
    (1..1 << 31).contains(&number.wrapping_sub(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn only_the_answer_of_the_call_in_flight_ends_it() {
        let now = Clock.now();
        let mut calls = SessionCalls::new(7);
        assert!(calls.is_idle() && !calls.has_asked());
        let open = calls.begin(now, AskKind::Open);
        let others = [Ticket::Session(calls.made() + 1), Ticket::OrphanedGrant].map(|other| (other, AskKind::Open));
        for (ticket, ask) in others.into_iter().chain([(open, AskKind::Beat)]) {
            assert!(calls.answered(ticket, ask, true).is_none());
        }
        assert!(calls.is_asking(AskKind::Open) && calls.has_asked());
        calls.machine_slept(PATIENCE);
        assert_eq!(calls.answered(open, AskKind::Open, true).map(|call| call.slept()), Some(PATIENCE));
        assert!(calls.is_idle() && calls.answered(open, AskKind::Open, true).is_none());
    }

    #[test]
    fn an_open_that_was_given_up_is_known_once_and_the_newest_three_are() {
        let now = Clock.now();
        let mut calls = SessionCalls::new(7);
        let mut open = || {
            let ticket = calls.begin(now, AskKind::Open);
            assert!(calls.give_up(now + PATIENCE - Duration::from_millis(1), PATIENCE).is_none());
            assert!(calls.give_up(now + PATIENCE, PATIENCE).is_some());
            ticket
        };
        let [first, second, third, fourth] = [open(), open(), open(), open()];
        let mut calls = calls.anew();
        for (open, known) in [(first, false), (second, true), (second, false), (third, true), (fourth, true)] {
            assert_eq!(calls.was_given_up(open), known, "{open:?}");
        }
    }

    #[test]
    fn a_late_token_counts_unless_a_later_call_was_answered_before() {
        let now = Clock.now();
        let mut calls = SessionCalls::new(7);
        let first = calls.begin(now, AskKind::Beat);
        assert!(calls.give_up(now + PATIENCE, PATIENCE).is_some());
        let second = calls.begin(now, AskKind::Beat);
        assert_eq!(calls.late_token(first), Some(false));
        assert_eq!(calls.late_token(first), None);
        assert_eq!(calls.answered(second, AskKind::Beat, false).map(|call| call.outdated), Some(true));
        assert_eq!(calls.late_token(second), Some(true));
    }
}
