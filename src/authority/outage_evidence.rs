//! Keeps the results of the last calls to an authority, and judges its health by them.
//!
//! A caller can provoke error answers, and perhaps silence, by its requests, and can claim any number of devices. So
//! these results count by address: each counts once, by its newest call. No caller can make an authority unreachable.
//! Pure: time is an argument. Bounded in time and in number.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Time and number of calls that count.
pub(super) const EVIDENCE_WINDOW: Duration = Duration::from_secs(30);
const MAX_CALLS: usize = 256;
/// Time for which a missing answer is no silence, because others were known to get answers.
const ANSWER_FRESH: Duration = Duration::from_secs(5);
/// Least number of failed calls, and of callers that met them, that speak about the authority.
pub(super) const MIN_FAILURES: usize = 5;
pub(super) const MIN_CALLERS: usize = 3;

/// The caller of a call, as fingerprints.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct CallerKey {
    /// The viewer's network. All unknown ones, as of sessions of an earlier process, count as one.
    pub(super) address: u64,
    pub(super) device: u64,
}

/// Facts that one call shows about the authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallEvidence {
    /// The authority answered, with any decision.
    Answered,
    /// The authority answered that it cannot answer (5xx).
    Failed,
    /// A reply that makes no sense, or that tells the caller to wait (429).
    Nothing,
    /// The call was sent, and no answer came.
    Silent,
    /// The call was not made, for a reason of our own, and proves nothing.
    Unasked,
    /// No part of the call reached it.
    Unreached,
}

/// Kinds of outages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OutageKind {
    /// The authority answers with errors. A caller can provoke these, from all addresses that it has.
    Errors,
    /// No call is answered.
    Silence,
}

#[derive(Clone, Debug, Default)]
pub(super) struct OutageEvidence {
    /// The last calls, oldest first.
    calls: VecDeque<SeenCall>,
    /// The last time when it answered others though a call got nothing.
    heard: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct SeenCall {
    at: Instant,
    caller: CallerKey,
    told: CallEvidence,
}

impl CallEvidence {
    pub(super) fn is_failure(self) -> bool {
        match self {
            Self::Failed | Self::Silent | Self::Unreached => true,
            Self::Answered | Self::Nothing | Self::Unasked => false,
        }
    }

    fn is_answer(self) -> bool {
        match self {
            Self::Answered | Self::Failed | Self::Nothing => true,
            Self::Silent | Self::Unasked | Self::Unreached => false,
        }
    }

    /// True if no answer came.
    fn is_silence(self) -> bool {
        match self {
            Self::Silent | Self::Unreached => true,
            Self::Answered | Self::Failed | Self::Nothing | Self::Unasked => false,
        }
    }
}

impl OutageEvidence {
    pub(super) fn add(&mut self, now: Instant, caller: CallerKey, told: CallEvidence) {
        let is_old = |seen: &SeenCall| now.saturating_duration_since(seen.at) >= EVIDENCE_WINDOW;
        while self.calls.len() >= MAX_CALLS || self.calls.front().is_some_and(is_old) {
            self.calls.pop_front();
        }
        if told != CallEvidence::Unasked {
            self.calls.push_back(SeenCall { at: now, caller, told });
        }
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    pub(super) fn has_answers_since(&self, since: Instant) -> bool {
        let is_newer = |seen: &&SeenCall| seen.at >= since;
        self.calls.iter().rev().take_while(is_newer).any(|seen| seen.told.is_answer())
            || self.heard.is_some_and(|heard| heard >= since)
    }

    /// True if any caller was answered, even with an error.
    pub(super) fn has_answers(&self, now: Instant) -> bool {
        self.recent(now).any(|seen| seen.told.is_answer())
    }

    /// Tells whether the authority is out for all callers. `elsewhere` is true if other calls to it are answered.
    pub(super) fn outage(&self, now: Instant, elsewhere: bool) -> Option<OutageKind> {
        let heard = self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < ANSWER_FRESH);
        let silent = self.is_met_by_many(now, CallEvidence::is_silence) || (!elsewhere && self.is_silence(now));
        if self.is_unreached(now) || (silent && !heard) {
            return Some(OutageKind::Silence);
        }
        self.is_met_by_many(now, CallEvidence::is_failure).then_some(OutageKind::Errors)
    }

    /// True if the newest call of this address failed.
    pub(super) fn fails(&self, now: Instant, address: u64) -> bool {
        self.recent(now).filter(|seen| seen.caller.address == address).last().is_some_and(|seen| seen.told.is_failure())
    }

    /// True if at least half of the calls could not even be sent.
    fn is_unreached(&self, now: Instant) -> bool {
        let unreached = self.recent(now).filter(|seen| seen.told == CallEvidence::Unreached).count();
        unreached >= MIN_FAILURES && unreached * 2 >= self.recent(now).count()
    }

    /// True if more than half of the addresses last met such a failure, and if since the last answer enough calls
    /// failed, from enough addresses and devices.
    fn is_met_by_many(&self, now: Instant, fails: fn(CallEvidence) -> bool) -> bool {
        let newest: HashMap<u64, CallEvidence> =
            self.recent(now).map(|seen| (seen.caller.address, seen.told)).collect();
        let failing = newest.values().filter(|told| fails(**told)).count();
        let calls: Vec<_> = self.recent(now).collect();
        let answered = calls.iter().rposition(|seen| seen.told == CallEvidence::Answered).map_or(0, |last| last + 1);
        let failures: Vec<_> = calls.into_iter().skip(answered).filter(|seen| fails(seen.told)).collect();
        let addresses: HashSet<u64> = failures.iter().map(|seen| seen.caller.address).collect();
        let devices: HashSet<u64> = failures.iter().map(|seen| seen.caller.device).collect();
        failing * 2 > newest.len()
            && addresses.len() >= MIN_CALLERS
            && devices.len() >= MIN_CALLERS
            && failures.len() >= MIN_FAILURES
    }

    /// True if no call is answered. A single household may be all that there is, so only its devices are counted.
    fn is_silence(&self, now: Instant) -> bool {
        let calls: Vec<_> = self.recent(now).collect();
        let devices: HashSet<u64> = calls.iter().map(|seen| seen.caller.device).collect();
        calls.len() >= MIN_FAILURES && devices.len() >= MIN_CALLERS && !self.has_answers(now)
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = &SeenCall> {
        self.calls.iter().filter(move |seen| now.saturating_duration_since(seen.at) < EVIDENCE_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    fn caller(address: u64, device: u64) -> CallerKey {
        CallerKey { address, device }
    }

    fn after(now: Instant, calls: &[(CallerKey, CallEvidence)]) -> OutageEvidence {
        let mut evidence = OutageEvidence::default();
        calls.iter().for_each(|(caller, told)| evidence.add(now, *caller, *told));
        evidence
    }

    impl OutageEvidence {
        fn is_outage(&self, now: Instant, elsewhere: bool) -> bool {
            self.outage(now, elsewhere).is_some()
        }
    }

    proptest! {
        /// Whatever one address sends, as however many devices, provokes no outage for others that are answered.
        #[test]
        fn one_address_never_makes_an_outage_of_what_it_can_provoke(
            garbage in prop::collection::vec((any::<u64>(), prop::bool::ANY), 1..300),
            honest in prop::collection::vec(0u64..20, 1..20),
        ) {
            let now = Clock.now();
            let mut evidence = OutageEvidence::default();
            let mut honest = honest.into_iter().cycle();
            for (device, silent) in garbage {
                let told = if silent { CallEvidence::Silent } else { CallEvidence::Failed };
                evidence.add(now, caller(666, device), told);
                prop_assert!(!evidence.is_outage(now, true));
                evidence.add(now, caller(honest.next().unwrap(), device), CallEvidence::Answered);
                prop_assert!(!evidence.is_outage(now, false));
            }
        }

        #[test]
        fn evidence_is_bounded(calls in prop::collection::vec((any::<u64>(), 0u64..60_000), 1..2_000)) {
            let mut now = Clock.now();
            let mut evidence = OutageEvidence::default();
            for (device, pause) in calls {
                now += Duration::from_millis(pause);
                evidence.add(now, caller(device, device), CallEvidence::Failed);
                prop_assert!(evidence.calls.len() <= MAX_CALLS);
            }
        }
    }

    #[test]
    fn error_answers_speak_of_the_authority_when_several_addresses_and_devices_meet_them() {
        let now = Clock.now();
        // How many addresses, devices and calls; whether that is an outage.
        for (addresses, devices, calls, outage) in
            [(1, 100, 100, false), (2, 100, 100, false), (3, 3, 5, true), (3, 2, 100, false), (3, 3, 4, false)]
        {
            let failed: Vec<_> =
                (0..calls).map(|n| (caller(n % addresses, n % devices), CallEvidence::Failed)).collect();
            assert_eq!(after(now, &failed).is_outage(now, true), outage, "{addresses} {devices} {calls}");
        }
    }

    #[test]
    fn a_few_failing_callers_among_many_answered_ones_are_no_outage() {
        let now = Clock.now();
        let mut calls: Vec<_> = (0..20).map(|n| (caller(n, n), CallEvidence::Failed)).collect();
        calls.extend((20..41).map(|n| (caller(n, n), CallEvidence::Answered)));
        assert!(!after(now, &calls).is_outage(now, false));
        // The newest call of an address is the one that counts.
        calls.extend((20..40).map(|n| (caller(n, n), CallEvidence::Failed)));
        assert!(after(now, &calls).is_outage(now, false));
    }

    /// A household behind several addresses is not everybody, as long as anybody is answered.
    #[test]
    fn failures_of_few_addresses_among_answers_to_others_are_no_outage() {
        let now = Clock.now();
        for told in [CallEvidence::Failed, CallEvidence::Silent] {
            let mut evidence = OutageEvidence::default();
            for round in 0..20 {
                for address in 0..4 {
                    evidence.add(now, caller(address, 100 * round + address), told);
                    assert!(!evidence.is_outage(now, true), "{told:?}, round {round}");
                }
                evidence.add(now, caller(10 + round % 2, round), CallEvidence::Answered);
            }
        }
    }

    #[test]
    fn error_answers_are_never_taken_for_silence() {
        let now = Clock.now();
        let calls = |told| (0..8).map(move |n| (caller(n, n), told)).collect::<Vec<_>>();
        assert_eq!(after(now, &calls(CallEvidence::Failed)).outage(now, false), Some(OutageKind::Errors));
        for told in [CallEvidence::Silent, CallEvidence::Unreached] {
            assert_eq!(after(now, &calls(told)).outage(now, true), Some(OutageKind::Silence), "{told:?}");
        }
        let mixed = [calls(CallEvidence::Failed), calls(CallEvidence::Silent)[..4].to_vec()].concat();
        assert_eq!(after(now, &mixed).outage(now, false), Some(OutageKind::Errors), "most are answered");
    }

    /// Its failures stay in the window, and its newest answer takes them back.
    #[test]
    fn an_address_that_is_answered_again_adds_no_failing_device() {
        let now = Clock.now();
        let mut calls: Vec<_> = (0..6).map(|n| (caller(n % 3, n % 2), CallEvidence::Failed)).collect();
        calls.push((caller(9, 9), CallEvidence::Failed));
        assert!(after(now, &calls).is_outage(now, true));
        calls.push((caller(9, 9), CallEvidence::Answered));
        assert!(!after(now, &calls).is_outage(now, true), "two devices fail");
    }

    #[test]
    fn a_few_calls_that_cannot_be_sent_among_many_that_are_answered_are_no_outage() {
        let now = Clock.now();
        let mut calls = vec![(caller(1, 1), CallEvidence::Unreached); MIN_FAILURES];
        calls.extend((2..2 + MIN_FAILURES as u64).map(|n| (caller(n, n), CallEvidence::Answered)));
        assert!(after(now, &calls).is_outage(now, true), "half of them");
        calls.push((caller(100, 100), CallEvidence::Answered));
        assert!(!after(now, &calls).is_outage(now, true), "less than half");
    }

    #[test]
    fn no_caller_can_provoke_an_unreachable_authority() {
        let now = Clock.now();
        let calls = [(caller(1, 1), CallEvidence::Unreached); MIN_FAILURES];
        assert!(after(now, &calls).is_outage(now, true));
        assert!(!after(now, &calls[1..]).is_outage(now, true));
    }

    #[test]
    fn a_silence_toward_one_household_is_an_outage_unless_anything_is_answered() {
        let now = Clock.now();
        let mut calls: Vec<_> = (0..5).map(|n| (caller(1, n), CallEvidence::Silent)).collect();
        assert!(after(now, &calls).is_outage(now, false));
        assert!(!after(now, &calls).is_outage(now, true), "other calls are answered");
        assert!(!after(now + EVIDENCE_WINDOW, &[]).is_outage(now + EVIDENCE_WINDOW, false));
        for told in [CallEvidence::Answered, CallEvidence::Failed, CallEvidence::Nothing] {
            calls.push((caller(1, 9), told));
            assert!(!after(now, &calls).is_outage(now, false), "{told:?}");
            calls.pop();
        }
        calls.extend([(caller(1, 9), CallEvidence::Unasked); 5]);
        assert!(after(now, &calls).is_outage(now, false), "our own limit is no answer");
        assert!(!after(now, &calls).has_answers_since(now));
        let unasked: Vec<_> = (0..5).map(|n| (caller(n, n), CallEvidence::Unasked)).collect();
        assert!(!after(now, &unasked).is_outage(now, false), "nor is it a silence");
        let one_device = [(caller(1, 1), CallEvidence::Silent); 20];
        assert!(!after(now, &one_device).is_outage(now, false), "one device has nobody to be spared");
    }

    /// However many meet it: what is answered to others was provoked, or is a trouble of some.
    #[test]
    fn a_silence_beside_answers_to_others_is_no_silence() {
        let now = Clock.now();
        for (addresses, outage) in [(1, None), (8, Some(OutageKind::Errors))] {
            let mut evidence = OutageEvidence::default();
            evidence.hear(now);
            (0..8).for_each(|n| evidence.add(now, caller(n % addresses, n), CallEvidence::Silent));
            assert_eq!(evidence.outage(now, false), outage, "{addresses}");
            assert!(evidence.has_answers_since(now));
            assert_eq!(evidence.outage(now + ANSWER_FRESH, false), Some(OutageKind::Silence), "{addresses}, later");
            evidence.add(now, caller(1, 1), CallEvidence::Unreached);
            assert!(!evidence.has_answers_since(now + Duration::from_millis(1)));
            (0..8).for_each(|_| evidence.add(now, caller(1, 1), CallEvidence::Unreached));
            assert_eq!(evidence.outage(now, false), Some(OutageKind::Silence), "nobody provokes that");
        }
    }

    #[test]
    fn old_evidence_says_nothing() {
        let (now, calls) = (Clock.now(), [(caller(1, 1), CallEvidence::Unreached); MIN_FAILURES]);
        let evidence = after(now, &calls);
        assert!(evidence.is_outage(now + EVIDENCE_WINDOW - Duration::from_millis(1), true));
        assert!(!evidence.is_outage(now + EVIDENCE_WINDOW, true));
    }
}
