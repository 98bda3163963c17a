//! Whether an authority is worth asking: spares players the wait for one that does not answer.
//!
//! Closed, every call goes. [`Evidence`] of an outage opens it; then calls fail at once, but for one probe at a time:
//! less and less often, though never after more than [`Breaker::SPARED_MAX`] calls that were not made. One answer,
//! whatever it says, closes it. Error answers are no reason to cut a caller that has not met one itself: whoever provokes
//! them, by however many addresses, costs nobody else a call. Pure: time is an argument. `health` holds one for the calls that players wait for, and
//! one for ours.

use std::time::{Duration, Instant};

use super::evidence::{Caller, Evidence, Outage, Told};

#[derive(Debug)]
pub(super) struct Breaker {
    evidence: Evidence,
    /// When the failures began that no answer has followed yet.
    first: Option<Instant>,
    /// Between two probes.
    longest: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    outage: Outage,
    pause: Duration,
    /// The one under way, and when it set out.
    probe: Option<Instant>,
    /// When the next one may set out.
    next: Instant,
    /// Calls that were not made since the last one set out.
    spared: u32,
}

/// How a call that may be made came by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Leave {
    Probe,
    Usual,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// After faults since then; `open`: there were enough of them to open it.
    Closed {
        since: Instant,
        open: bool,
    },
    Opened,
}

impl Breaker {
    /// More calls in a row than this are not cut, whatever was thought of the authority.
    pub(super) const SPARED_MAX: u32 = 20;
    /// After which the first probe may set out; doubled with each that is lost.
    const PAUSE: Duration = Duration::from_secs(1);
    /// A probe of which nothing is heard for so long is lost; calls are given up sooner.
    const PROBE: Duration = Duration::from_secs(30);

    /// Probes at least this often.
    pub(super) fn new(longest: Duration) -> Self {
        Self { evidence: Evidence::default(), first: None, longest, open: None }
    }

    /// # Errors
    /// The call is not to be made, because the authority is out in this way.
    pub(super) fn leave(&mut self, now: Instant, caller: Caller) -> Result<Leave, Outage> {
        let Some(open) = &mut self.open else { return Ok(Leave::Usual) };
        if open.outage == Outage::Errors && !self.evidence.fails(now, caller.address) {
            return Ok(Leave::Usual);
        }
        let under_way = open.probe.is_some_and(|since| now < since + Self::PROBE);
        if under_way || (now < open.next && open.spared < Self::SPARED_MAX) {
            open.spared = open.spared.saturating_add(1);
            return Err(open.outage);
        }
        (open.probe, open.spared) = (Some(now), 0);
        Ok(Leave::Probe)
    }

    /// `elsewhere`: other calls to the same authority are answered.
    pub(super) fn tell(
        &mut self,
        now: Instant,
        leave: Leave,
        caller: Caller,
        told: Told,
        elsewhere: bool,
    ) -> Option<Change> {
        self.evidence.add(now, caller, told);
        match told {
            Told::Answered => {
                let (first, open) = (self.first.take(), self.open.take().is_some());
                if open {
                    // What was learned before has been settled.
                    self.evidence.clear();
                    self.evidence.add(now, caller, told);
                }
                first.map(|since| Change::Closed { since, open })
            }
            Told::Failed | Told::Silent | Told::Unreached => self.failed(now, leave, told, elsewhere),
            Told::Nothing | Told::Unasked => {
                self.pause(now, leave, 1);
                None
            }
        }
    }

    /// Whether anybody was answered lately, if only that the authority cannot answer.
    pub(super) fn has_answers(&self, now: Instant) -> bool {
        self.evidence.has_answers(now)
    }

    pub(super) fn has_answers_since(&self, since: Instant) -> bool {
        self.evidence.has_answers_since(since)
    }

    /// Others are answered though a call was not: it is out for some, at most.
    pub(super) fn hear(&mut self, now: Instant) {
        self.evidence.hear(now);
        if let Some(open) = &mut self.open {
            open.outage = Outage::Errors;
        }
    }

    /// The other half of the authority answers: worth a try at once.
    pub(super) fn encourage(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.next = open.next.min(now);
        }
    }

    /// No answer has come since then.
    pub(super) fn recall(&mut self, since: Instant) {
        self.first = Some(self.first.map_or(since, |first| first.min(since)));
    }

    /// The same after a reload, which may have mended what kept it open: worth a try at once, as at its beginning.
    pub(super) fn renewed(&self, now: Instant) -> Self {
        let again = |Open { outage, .. }: &Open| Open {
            outage: *outage,
            next: now,
            pause: Self::PAUSE,
            probe: None,
            spared: 0,
        };
        let open = self.open.as_ref().map(again);
        Self { evidence: self.evidence.clone(), first: self.first, longest: self.longest, open }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When the faults began that no answer has followed yet.
    pub(super) fn since(&self) -> Option<Instant> {
        self.first
    }

    fn failed(&mut self, now: Instant, leave: Leave, told: Told, elsewhere: bool) -> Option<Change> {
        self.first.get_or_insert(now);
        let outage = self.evidence.outage(now, elsewhere);
        if let Some(open) = &mut self.open {
            // An error is an answer.
            let answered = (told == Told::Failed).then_some(Outage::Errors);
            open.outage = outage.or(answered).unwrap_or(open.outage);
            self.pause(now, leave, 2);
            return None;
        }
        outage.map(|outage| {
            self.open = Some(Open { outage, next: now + Self::PAUSE, pause: Self::PAUSE, probe: None, spared: 0 });
            Change::Opened
        })
    }

    /// A probe came to nothing; those that set out before it opened say nothing new.
    fn pause(&mut self, now: Instant, leave: Leave, times: u32) {
        if let (Some(open), Leave::Probe) = (&mut self.open, leave) {
            open.pause = (open.pause * times).min(self.longest);
            (open.probe, open.next) = (None, now + open.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::evidence::FAILURES_MIN;
    use super::*;
    use crate::clock::Clock;

    const LONGEST: Duration = Duration::from_secs(30);
    const ONE: Caller = Caller { address: 1, device: 1 };

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(LONGEST);
        for fault in 1..=FAILURES_MIN {
            let change = breaker.tell(now, Leave::Usual, ONE, Told::Unreached, false);
            assert_eq!(change, (fault == FAILURES_MIN).then_some(Change::Opened));
        }
        breaker
    }

    #[test]
    fn an_outage_opens_it_and_one_answer_closes_it() {
        let now = Clock.now();
        let mut breaker = opened(now);
        assert_eq!((breaker.leave(now, ONE), breaker.is_open()), (Err(Outage::Silence), true));
        let change = Change::Closed { since: now, open: true };
        assert_eq!(breaker.tell(now, Leave::Usual, ONE, Told::Answered, false), Some(change));
        assert_eq!((breaker.leave(now, ONE), breaker.is_open()), (Ok(Leave::Usual), false));
        // What opened it is not held against the authority again.
        for _ in 1..FAILURES_MIN {
            assert_eq!(breaker.tell(now, Leave::Usual, ONE, Told::Unreached, false), None);
        }
    }

    #[test]
    fn error_answers_to_one_caller_never_open_it() {
        let (now, mut breaker) = (Clock.now(), Breaker::new(LONGEST));
        for device in 0..1_000 {
            let caller = Caller { address: 1, device };
            assert_eq!(breaker.tell(now, Leave::Usual, caller, Told::Failed, false), None);
        }
        assert_eq!(breaker.leave(now, ONE), Ok(Leave::Usual));
    }

    /// However many addresses provoke errors, whoever has met none is asked for, and its answer closes the breaker.
    #[test]
    fn error_answers_cut_nobody_who_has_not_met_one() {
        let (now, mut breaker) = (Clock.now(), Breaker::new(LONGEST));
        let caller = |address| Caller { address, device: address };
        let changes: Vec<_> = (0..5).map(|n| breaker.tell(now, Leave::Usual, caller(n), Told::Failed, false)).collect();
        assert_eq!(changes.last(), Some(&Some(Change::Opened)));
        assert_eq!(breaker.leave(now, caller(3)), Err(Outage::Errors));
        assert_eq!(breaker.leave(now, caller(7)), Ok(Leave::Usual));
        let closed = breaker.tell(now, Leave::Usual, caller(7), Told::Answered, false);
        assert_eq!(closed, Some(Change::Closed { since: now, open: true }));
    }

    #[test]
    fn an_error_from_an_authority_that_was_silent_is_an_answer() {
        let now = Clock.now();
        let mut breaker = opened(now);
        assert_eq!(breaker.leave(now, ONE), Err(Outage::Silence));
        let later = now + super::super::evidence::WINDOW;
        assert_eq!(breaker.leave(later, ONE), Ok(Leave::Probe));
        breaker.tell(later, Leave::Probe, ONE, Told::Failed, false);
        assert_eq!(breaker.leave(later, ONE), Err(Outage::Errors));
        breaker.tell(later, Leave::Probe, ONE, Told::Unreached, false);
        let two = Caller { address: 2, device: 2 };
        assert_eq!(breaker.leave(later, two), Ok(Leave::Usual));
    }

    #[test]
    fn what_is_heard_beside_a_silence_has_it_cut_nobody_who_is_answered() {
        let now = Clock.now();
        let mut breaker = opened(now);
        breaker.hear(now);
        assert_eq!(breaker.leave(now, ONE), Err(Outage::Errors));
        assert_eq!(breaker.leave(now, Caller { address: 2, device: 2 }), Ok(Leave::Usual));
    }

    #[test]
    fn probes_go_one_at_a_time_and_less_and_less_often() {
        let mut now = Clock.now();
        let mut breaker = opened(now);
        for pause in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            assert_eq!(breaker.leave(now + pause - Duration::from_millis(1), ONE), Err(Outage::Silence));
            now += pause;
            assert_eq!(breaker.leave(now, ONE), Ok(Leave::Probe));
            assert_eq!(breaker.leave(now, ONE), Err(Outage::Silence), "one at a time");
            breaker.tell(now, Leave::Usual, ONE, Told::Unreached, false);
            assert_eq!(breaker.leave(now, ONE), Err(Outage::Silence), "what set out before is not the probe");
            breaker.tell(now, Leave::Probe, ONE, Told::Unreached, false);
        }
        breaker.encourage(now);
        assert_eq!(breaker.leave(now, ONE), Ok(Leave::Probe));
        assert_eq!(breaker.leave(now + Breaker::PROBE, ONE), Ok(Leave::Probe), "one that never came back");
    }

    /// The probe's caller may have gone before there was an answer.
    #[test]
    fn a_probe_of_which_nothing_is_learned_is_followed_by_another_after_the_same_pause() {
        let mut now = Clock.now();
        let mut breaker = opened(now);
        for _ in 0..3 {
            now += Breaker::PAUSE;
            assert_eq!(breaker.leave(now, ONE), Ok(Leave::Probe));
            assert_eq!(breaker.tell(now, Leave::Probe, ONE, Told::Nothing, false), None);
            assert_eq!(breaker.leave(now + Breaker::PAUSE - Duration::from_millis(1), ONE), Err(Outage::Silence));
        }
    }

    #[test]
    fn no_more_calls_in_a_row_are_cut_than_the_threshold_allows() {
        let now = Clock.now();
        let mut breaker = opened(now);
        for _ in 0..3 {
            for _ in 0..Breaker::SPARED_MAX {
                assert_eq!(breaker.leave(now, ONE), Err(Outage::Silence));
            }
            assert_eq!(breaker.leave(now, ONE), Ok(Leave::Probe));
            breaker.tell(now, Leave::Probe, ONE, Told::Unreached, false);
        }
    }

    proptest! {
        /// Against the plain rules, at any pace and in any order of answers.
        #[test]
        fn it_keeps_its_rules(moves in prop::collection::vec((0u8..6, 0u64..40_000), 1..200)) {
            let mut now = Clock.now();
            let mut breaker = Breaker::new(LONGEST);
            let (mut probes, mut usual) = (Vec::new(), 0);
            for (what, pause) in moves {
                now += Duration::from_millis(pause);
                let was_open = breaker.is_open();
                if what == 0 {
                    match breaker.leave(now, ONE) {
                        Ok(Leave::Usual) => { prop_assert!(!was_open); usual += 1; }
                        Ok(Leave::Probe) => { prop_assert!(was_open); probes.push(now); }
                        Err(_) => prop_assert!(was_open),
                    }
                    let young = probes.iter().filter(|since| now < **since + Breaker::PROBE).count();
                    prop_assert!(young <= 1, "one probe at a time");
                    continue;
                }
                let told = [Told::Answered, Told::Unreached, Told::Failed, Told::Silent, Told::Nothing, Told::Unasked];
                let told = told[usize::from(what) - 1];
                let leave = match (probes.pop(), usual) {
                    (Some(_), _) => Leave::Probe,
                    (None, 0) => continue,
                    (None, _) => { usual -= 1; Leave::Usual }
                };
                let change = breaker.tell(now, leave, ONE, told, false);
                let opens = told == Told::Unreached && breaker.is_open() && !was_open;
                prop_assert_eq!(breaker.is_open(), opens || (was_open && told != Told::Answered));
                prop_assert_eq!(change == Some(Change::Opened), opens);
                let longest = LONGEST + Breaker::PROBE;
                if breaker.is_open() && probes.is_empty() {
                    let mut later = Breaker { open: breaker.open.take(), ..Breaker::new(LONGEST) };
                    prop_assert_eq!(later.leave(now + longest, ONE), Ok(Leave::Probe), "never shut for good");
                    breaker.open = later.open;
                    breaker.open.as_mut().unwrap().probe = None;
                }
            }
        }
    }
}
