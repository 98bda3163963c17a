//! Whether an authority is worth asking: spares players the wait for one that does not answer.
//!
//! Closed, every call goes. Consecutive faults of the way open it; then calls fail at once, but for one
//! probe at a time, less and less often. One answer, whatever it says, closes it. Pure: time is an
//! argument. `health` holds one for the calls that players wait for, and one for ours.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Breaker {
    /// In a row, and since when.
    faults: u32,
    first: Option<Instant>,
    /// Between two probes.
    longest: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    pause: Duration,
    /// The one under way, and when it set out.
    probe: Option<Instant>,
    /// When the next one may set out.
    next: Instant,
}

/// How a call that may be made came by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Leave {
    Probe,
    Usual,
}

/// What a call told about the way to the authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Somebody answered, with whatever decision.
    Answered,
    Lost,
    /// Our own trouble, or a reply that makes no sense.
    Nothing,
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
    pub(super) const FAULTS: u32 = 5;
    /// After which the first probe may set out; doubled with each that is lost.
    const PAUSE: Duration = Duration::from_secs(1);
    /// A probe of which nothing is heard for so long is lost; calls are given up sooner.
    const PROBE: Duration = Duration::from_secs(30);

    /// Probes at least this often.
    pub(super) fn new(longest: Duration) -> Self {
        Self { faults: 0, first: None, longest, open: None }
    }

    /// None: the call is not to be made.
    pub(super) fn leave(&mut self, now: Instant) -> Option<Leave> {
        let Some(open) = &mut self.open else { return Some(Leave::Usual) };
        let under_way = open.probe.is_some_and(|since| now < since + Self::PROBE);
        if under_way || now < open.next {
            return None;
        }
        open.probe = Some(now);
        Some(Leave::Probe)
    }

    pub(super) fn tell(&mut self, now: Instant, leave: Leave, told: Told) -> Option<Change> {
        match told {
            Told::Answered => {
                let (first, open) = (self.first.take(), self.open.take().is_some());
                self.faults = 0;
                first.map(|since| Change::Closed { since, open })
            }
            Told::Lost => self.lost(now, leave),
            Told::Nothing => {
                self.pause(now, leave, 1);
                None
            }
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
        let open = self.open.as_ref().map(|_| Open { pause: Self::PAUSE, probe: None, next: now });
        Self { faults: self.faults, first: self.first, longest: self.longest, open }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When the faults began that no answer has followed yet.
    pub(super) fn since(&self) -> Option<Instant> {
        self.first
    }

    fn lost(&mut self, now: Instant, leave: Leave) -> Option<Change> {
        self.first.get_or_insert(now);
        self.faults = self.faults.saturating_add(1);
        if self.open.is_some() {
            self.pause(now, leave, 2);
            return None;
        }
        (self.faults >= Self::FAULTS).then(|| {
            self.open = Some(Open { pause: Self::PAUSE, probe: None, next: now + Self::PAUSE });
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

    use super::*;
    use crate::clock::Clock;

    const LONGEST: Duration = Duration::from_secs(30);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(LONGEST);
        for fault in 1..=Breaker::FAULTS {
            let change = breaker.tell(now, Leave::Usual, Told::Lost);
            assert_eq!(change, (fault == Breaker::FAULTS).then_some(Change::Opened));
        }
        breaker
    }

    #[test]
    fn faults_in_a_row_open_it_and_one_answer_closes_it() {
        let now = Clock.now();
        let mut breaker = opened(now);
        assert_eq!((breaker.leave(now), breaker.is_open()), (None, true));
        let change = Change::Closed { since: now, open: true };
        assert_eq!(breaker.tell(now, Leave::Usual, Told::Answered), Some(change));
        assert_eq!((breaker.leave(now), breaker.is_open()), (Some(Leave::Usual), false));
    }

    #[test]
    fn an_answer_in_between_begins_the_row_anew() {
        let (now, mut breaker) = (Clock.now(), Breaker::new(LONGEST));
        for _ in 0..3 {
            for _ in 1..Breaker::FAULTS {
                assert_eq!(breaker.tell(now, Leave::Usual, Told::Lost), None);
                assert_eq!(breaker.tell(now, Leave::Usual, Told::Nothing), None, "nonsense does not count");
            }
            let change = Change::Closed { since: now, open: false };
            assert_eq!(breaker.tell(now, Leave::Usual, Told::Answered), Some(change));
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn probes_go_one_at_a_time_and_less_and_less_often() {
        let mut now = Clock.now();
        let mut breaker = opened(now);
        for pause in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            assert_eq!(breaker.leave(now + pause - Duration::from_millis(1)), None);
            now += pause;
            assert_eq!(breaker.leave(now), Some(Leave::Probe));
            assert_eq!(breaker.leave(now), None, "one at a time");
            breaker.tell(now, Leave::Usual, Told::Lost);
            assert_eq!(breaker.leave(now), None, "what set out before is not the probe");
            breaker.tell(now, Leave::Probe, Told::Lost);
        }
        breaker.encourage(now);
        assert_eq!(breaker.leave(now), Some(Leave::Probe));
        assert_eq!(breaker.leave(now + Breaker::PROBE), Some(Leave::Probe), "one that never came back");
    }

    proptest! {
        /// Against the plain rules, at any pace and in any order of answers.
        #[test]
        fn it_keeps_its_rules(moves in prop::collection::vec((0u8..5, 0u64..40_000), 1..200)) {
            let mut now = Clock.now();
            let mut breaker = Breaker::new(LONGEST);
            let (mut row, mut probes, mut usual) = (0, Vec::new(), 0);
            for (what, pause) in moves {
                now += Duration::from_millis(pause);
                let was_open = breaker.is_open();
                if what == 0 {
                    match breaker.leave(now) {
                        Some(Leave::Usual) => { prop_assert!(!was_open); usual += 1; }
                        Some(Leave::Probe) => { prop_assert!(was_open); probes.push(now); }
                        None => prop_assert!(was_open),
                    }
                    let young = probes.iter().filter(|since| now < **since + Breaker::PROBE).count();
                    prop_assert!(young <= 1, "one probe at a time");
                    continue;
                }
                let told = [Told::Answered, Told::Lost, Told::Lost, Told::Nothing][usize::from(what) - 1];
                let leave = match (probes.pop(), usual) {
                    (Some(_), _) => Leave::Probe,
                    (None, 0) => continue,
                    (None, _) => { usual -= 1; Leave::Usual }
                };
                let change = breaker.tell(now, leave, told);
                row = match told { Told::Answered => 0, Told::Lost => row + 1, Told::Nothing => row };
                prop_assert_eq!(breaker.is_open(), told != Told::Answered && (was_open || row >= Breaker::FAULTS));
                prop_assert_eq!(change == Some(Change::Opened), breaker.is_open() && !was_open);
                let longest = LONGEST + Breaker::PROBE;
                if breaker.is_open() && probes.is_empty() {
                    let mut later = Breaker { open: breaker.open.take(), ..Breaker::new(LONGEST) };
                    prop_assert_eq!(later.leave(now + longest), Some(Leave::Probe), "never shut for good");
                    breaker.open = later.open;
                    breaker.open.as_mut().unwrap().probe = None;
                }
            }
        }
    }
}
