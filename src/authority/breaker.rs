//! A circuit breaker: spares players the wait for an authority that does not answer.
//!
//! Closed, every call goes. [`OutageEvidence`] of an outage opens it. Then calls fail at once, except for one probe
//! at a time, less and less often, but at the latest after [`CircuitBreaker::MAX_SPARED_CALLS`] spared calls. Any
//! answer closes it. Error answers never stop a caller that has met none itself, so a caller that provokes them, from
//! any number of addresses, costs no other caller a call. Pure: time is an argument. `health` holds one breaker for
//! the calls that players wait for, and one for the others.

use std::time::{Duration, Instant};

use super::outage_evidence::{CallEvidence, CallerKey, OutageEvidence, OutageKind};

#[derive(Debug)]
pub(super) struct CircuitBreaker {
    evidence: OutageEvidence,
    /// Begin of the failures that no answer has followed yet.
    first: Option<Instant>,
    /// Longest pause between two probes.
    longest: Duration,
    open: Option<OpenBreaker>,
}

#[derive(Debug)]
struct OpenBreaker {
    outage: OutageKind,
    pause: Duration,
    /// The probe under way: the time when it set out.
    probe: Option<Instant>,
    /// Time at which the next probe may set out.
    next: Instant,
    /// Calls spared since the last one set out.
    spared: u32,
}

/// The kind of a permitted call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallPermit {
    Probe,
    Usual,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BreakerChange {
    /// The faults since then are over. `open` is true if they had opened the breaker.
    Closed {
        since: Instant,
        open: bool,
    },
    Opened,
}

impl CircuitBreaker {
    /// At most this many calls in a row are spared.
    pub(super) const MAX_SPARED_CALLS: u32 = 20;
    /// Pause before the first probe; doubled with each that fails.
    const MIN_PROBE_PAUSE: Duration = Duration::from_secs(1);
    /// A probe without a result for so long is lost. Calls are given up sooner.
    const MAX_PROBE_WAIT: Duration = Duration::from_secs(30);

    /// Makes a breaker that probes at least this often.
    pub(super) fn new(longest: Duration) -> Self {
        Self { evidence: OutageEvidence::default(), first: None, longest, open: None }
    }

    /// # Errors
    /// The call must not be made, because the authority has an outage of this kind.
    pub(super) fn leave(&mut self, now: Instant, caller: CallerKey) -> Result<CallPermit, OutageKind> {
        let Some(open) = &mut self.open else { return Ok(CallPermit::Usual) };
        if open.outage == OutageKind::Errors && !self.evidence.fails(now, caller.address) {
            return Ok(CallPermit::Usual);
        }
        let under_way = open.probe.is_some_and(|since| now < since + Self::MAX_PROBE_WAIT);
        if under_way || (now < open.next && open.spared < Self::MAX_SPARED_CALLS) {
            open.spared = open.spared.saturating_add(1);
            return Err(open.outage);
        }
        (open.probe, open.spared) = (Some(now), 0);
        Ok(CallPermit::Probe)
    }

    /// Notes the result of a call. `elsewhere` is true if other calls to the same authority are answered.
    pub(super) fn tell(
        &mut self,
        now: Instant,
        leave: CallPermit,
        caller: CallerKey,
        told: CallEvidence,
        elsewhere: bool,
    ) -> Option<BreakerChange> {
        self.evidence.add(now, caller, told);
        match told {
            CallEvidence::Answered => {
                let (first, open) = (self.first.take(), self.open.take().is_some());
                if open {
                    // Earlier evidence is settled by the answer.
                    self.evidence.clear();
                    self.evidence.add(now, caller, told);
                }
                first.map(|since| BreakerChange::Closed { since, open })
            }
            CallEvidence::Failed | CallEvidence::Silent | CallEvidence::Unreached => {
                self.failed(now, leave, told, elsewhere)
            }
            CallEvidence::Nothing | CallEvidence::Unasked => {
                self.pause(now, leave, 1);
                None
            }
        }
    }

    /// True if any caller was answered lately, even with an error.
    pub(super) fn has_answers(&self, now: Instant) -> bool {
        self.evidence.has_answers(now)
    }

    pub(super) fn has_answers_since(&self, since: Instant) -> bool {
        self.evidence.has_answers_since(since)
    }

    /// Others are answered though one call was not, so at most some callers meet the outage.
    pub(super) fn hear(&mut self, now: Instant) {
        self.evidence.hear(now);
        if let Some(open) = &mut self.open {
            open.outage = OutageKind::Errors;
        }
    }

    /// The authority answers calls of the other class, so a probe is made at once.
    pub(super) fn encourage(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.next = open.next.min(now);
        }
    }

    /// An earlier process has had no answer since then.
    pub(super) fn recall(&mut self, since: Instant) {
        self.first = Some(self.first.map_or(since, |first| first.min(since)));
    }

    /// The breaker after a reload. The reload may have mended the cause, so a probe is made at once, as at the
    /// beginning.
    pub(super) fn renewed(&self, now: Instant) -> Self {
        let again = |OpenBreaker { outage, .. }: &OpenBreaker| OpenBreaker {
            outage: *outage,
            next: now,
            pause: Self::MIN_PROBE_PAUSE,
            probe: None,
            spared: 0,
        };
        let open = self.open.as_ref().map(again);
        Self { evidence: self.evidence.clone(), first: self.first, longest: self.longest, open }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Begin of the faults that no answer has followed yet.
    pub(super) fn since(&self) -> Option<Instant> {
        self.first
    }

    fn failed(
        &mut self,
        now: Instant,
        leave: CallPermit,
        told: CallEvidence,
        elsewhere: bool,
    ) -> Option<BreakerChange> {
        self.first.get_or_insert(now);
        let outage = self.evidence.outage(now, elsewhere);
        if let Some(open) = &mut self.open {
            // An error answer is an answer.
            let answered = (told == CallEvidence::Failed).then_some(OutageKind::Errors);
            open.outage = outage.or(answered).unwrap_or(open.outage);
            self.pause(now, leave, 2);
            return None;
        }
        outage.map(|outage| {
            self.open = Some(OpenBreaker {
                outage,
                next: now + Self::MIN_PROBE_PAUSE,
                pause: Self::MIN_PROBE_PAUSE,
                probe: None,
                spared: 0,
            });
            BreakerChange::Opened
        })
    }

    /// A probe failed: waits longer for the next. Calls that set out before the breaker opened change nothing.
    fn pause(&mut self, now: Instant, leave: CallPermit, times: u32) {
        if let (Some(open), CallPermit::Probe) = (&mut self.open, leave) {
            open.pause = (open.pause * times).min(self.longest);
            (open.probe, open.next) = (None, now + open.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::outage_evidence::MIN_FAILURES;
    use super::*;
    use crate::clock::Clock;

    const MAX_PROBE_PAUSE: Duration = Duration::from_secs(30);
    const ONE: CallerKey = CallerKey { address: 1, device: 1 };

    fn opened(now: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(MAX_PROBE_PAUSE);
        for fault in 1..=MIN_FAILURES {
            let change = breaker.tell(now, CallPermit::Usual, ONE, CallEvidence::Unreached, false);
            assert_eq!(change, (fault == MIN_FAILURES).then_some(BreakerChange::Opened));
        }
        breaker
    }

    #[test]
    fn an_outage_opens_it_and_one_answer_closes_it() {
        let now = Clock.now();
        let mut breaker = opened(now);
        assert_eq!((breaker.leave(now, ONE), breaker.is_open()), (Err(OutageKind::Silence), true));
        let change = BreakerChange::Closed { since: now, open: true };
        assert_eq!(breaker.tell(now, CallPermit::Usual, ONE, CallEvidence::Answered, false), Some(change));
        assert_eq!((breaker.leave(now, ONE), breaker.is_open()), (Ok(CallPermit::Usual), false));
        // What opened it is not held against the authority again.
        for _ in 1..MIN_FAILURES {
            assert_eq!(breaker.tell(now, CallPermit::Usual, ONE, CallEvidence::Unreached, false), None);
        }
    }

    #[test]
    fn error_answers_to_one_caller_never_open_it() {
        let (now, mut breaker) = (Clock.now(), CircuitBreaker::new(MAX_PROBE_PAUSE));
        for device in 0..1_000 {
            let caller = CallerKey { address: 1, device };
            assert_eq!(breaker.tell(now, CallPermit::Usual, caller, CallEvidence::Failed, false), None);
        }
        assert_eq!(breaker.leave(now, ONE), Ok(CallPermit::Usual));
    }

    /// However many addresses provoke errors, whoever has met none is asked for, and its answer closes the breaker.
    #[test]
    fn error_answers_cut_no_caller_that_has_not_met_one() {
        let (now, mut breaker) = (Clock.now(), CircuitBreaker::new(MAX_PROBE_PAUSE));
        let caller = |address| CallerKey { address, device: address };
        let changes: Vec<_> =
            (0..5).map(|n| breaker.tell(now, CallPermit::Usual, caller(n), CallEvidence::Failed, false)).collect();
        assert_eq!(changes.last(), Some(&Some(BreakerChange::Opened)));
        assert_eq!(breaker.leave(now, caller(3)), Err(OutageKind::Errors));
        assert_eq!(breaker.leave(now, caller(7)), Ok(CallPermit::Usual));
        let closed = breaker.tell(now, CallPermit::Usual, caller(7), CallEvidence::Answered, false);
        assert_eq!(closed, Some(BreakerChange::Closed { since: now, open: true }));
    }

    #[test]
    fn an_error_from_an_authority_that_was_silent_is_an_answer() {
        let now = Clock.now();
        let mut breaker = opened(now);
        assert_eq!(breaker.leave(now, ONE), Err(OutageKind::Silence));
        let later = now + super::super::outage_evidence::EVIDENCE_WINDOW;
        assert_eq!(breaker.leave(later, ONE), Ok(CallPermit::Probe));
        breaker.tell(later, CallPermit::Probe, ONE, CallEvidence::Failed, false);
        assert_eq!(breaker.leave(later, ONE), Err(OutageKind::Errors));
        breaker.tell(later, CallPermit::Probe, ONE, CallEvidence::Unreached, false);
        let two = CallerKey { address: 2, device: 2 };
        assert_eq!(breaker.leave(later, two), Ok(CallPermit::Usual));
    }

    #[test]
    fn an_answer_beside_a_silence_has_the_breaker_cut_no_answered_caller() {
        let now = Clock.now();
        let mut breaker = opened(now);
        breaker.hear(now);
        assert_eq!(breaker.leave(now, ONE), Err(OutageKind::Errors));
        assert_eq!(breaker.leave(now, CallerKey { address: 2, device: 2 }), Ok(CallPermit::Usual));
    }

    #[test]
    fn probes_go_one_at_a_time_and_less_and_less_often() {
        let mut now = Clock.now();
        let mut breaker = opened(now);
        for pause in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            assert_eq!(breaker.leave(now + pause - Duration::from_millis(1), ONE), Err(OutageKind::Silence));
            now += pause;
            assert_eq!(breaker.leave(now, ONE), Ok(CallPermit::Probe));
            assert_eq!(breaker.leave(now, ONE), Err(OutageKind::Silence), "one at a time");
            breaker.tell(now, CallPermit::Usual, ONE, CallEvidence::Unreached, false);
            assert_eq!(breaker.leave(now, ONE), Err(OutageKind::Silence), "what set out before is not the probe");
            breaker.tell(now, CallPermit::Probe, ONE, CallEvidence::Unreached, false);
        }
        breaker.encourage(now);
        assert_eq!(breaker.leave(now, ONE), Ok(CallPermit::Probe));
        assert_eq!(
            breaker.leave(now + CircuitBreaker::MAX_PROBE_WAIT, ONE),
            Ok(CallPermit::Probe),
            "one that never came back"
        );
    }

    /// The probe's caller may have gone before there was an answer.
    #[test]
    fn a_probe_of_which_nothing_is_learned_is_followed_by_another_after_the_same_pause() {
        let mut now = Clock.now();
        let mut breaker = opened(now);
        for _ in 0..3 {
            now += CircuitBreaker::MIN_PROBE_PAUSE;
            assert_eq!(breaker.leave(now, ONE), Ok(CallPermit::Probe));
            assert_eq!(breaker.tell(now, CallPermit::Probe, ONE, CallEvidence::Nothing, false), None);
            assert_eq!(
                breaker.leave(now + CircuitBreaker::MIN_PROBE_PAUSE - Duration::from_millis(1), ONE),
                Err(OutageKind::Silence)
            );
        }
    }

    #[test]
    fn no_more_calls_in_a_row_are_cut_than_the_threshold_allows() {
        let now = Clock.now();
        let mut breaker = opened(now);
        for _ in 0..3 {
            for _ in 0..CircuitBreaker::MAX_SPARED_CALLS {
                assert_eq!(breaker.leave(now, ONE), Err(OutageKind::Silence));
            }
            assert_eq!(breaker.leave(now, ONE), Ok(CallPermit::Probe));
            breaker.tell(now, CallPermit::Probe, ONE, CallEvidence::Unreached, false);
        }
    }

    proptest! {
        /// Against the plain rules, at any pace and in any order of answers.
        #[test]
        fn a_breaker_keeps_its_rules(moves in prop::collection::vec((0u8..6, 0u64..40_000), 1..200)) {
            let mut now = Clock.now();
            let mut breaker = CircuitBreaker::new(MAX_PROBE_PAUSE);
            let (mut probes, mut usual) = (Vec::new(), 0);
            for (what, pause) in moves {
                now += Duration::from_millis(pause);
                let was_open = breaker.is_open();
                if what == 0 {
                    match breaker.leave(now, ONE) {
                        Ok(CallPermit::Usual) => { prop_assert!(!was_open); usual += 1; }
                        Ok(CallPermit::Probe) => { prop_assert!(was_open); probes.push(now); }
                        Err(_) => prop_assert!(was_open),
                    }
                    let young = probes.iter().filter(|since| now < **since + CircuitBreaker::MAX_PROBE_WAIT).count();
                    prop_assert!(young <= 1, "one probe at a time");
                    continue;
                }
                let told = [CallEvidence::Answered, CallEvidence::Unreached, CallEvidence::Failed, CallEvidence::Silent, CallEvidence::Nothing, CallEvidence::Unasked];
                let told = told[usize::from(what) - 1];
                let leave = match (probes.pop(), usual) {
                    (Some(_), _) => CallPermit::Probe,
                    (None, 0) => continue,
                    (None, _) => { usual -= 1; CallPermit::Usual }
                };
                let change = breaker.tell(now, leave, ONE, told, false);
                let opens = told == CallEvidence::Unreached && breaker.is_open() && !was_open;
                prop_assert_eq!(breaker.is_open(), opens || (was_open && told != CallEvidence::Answered));
                prop_assert_eq!(change == Some(BreakerChange::Opened), opens);
                let longest = MAX_PROBE_PAUSE + CircuitBreaker::MAX_PROBE_WAIT;
                if breaker.is_open() && probes.is_empty() {
                    let mut later = CircuitBreaker { open: breaker.open.take(), ..CircuitBreaker::new(MAX_PROBE_PAUSE) };
                    prop_assert_eq!(later.leave(now + longest, ONE), Ok(CallPermit::Probe), "never shut for good");
                    breaker.open = later.open;
                    breaker.open.as_mut().unwrap().probe = None;
                }
            }
        }
    }
}
