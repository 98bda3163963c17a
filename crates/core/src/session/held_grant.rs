//! A grant that the authority may still hold, and whether its token is known to be the newest one.
//!
//! Every beat and every renewal may replace the token. If the answer is lost, the authority may know the session by a
//! token that never arrived; its reply to the older one is then no verdict on the session.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::grant::Grant;
use super::record::{expose, hide, is_default};
use super::step::bounded;
use super::verdict::{AuthorityFault, Verdict};
use crate::secret::{Fingerprint, Secret};
use crate::time::{ClockMoment, EpochTime, MonotonicTime, RecordedSpan};

/// A grant with the end of its token, and whether a newer token may exist.
#[must_use]
#[derive(Clone, Debug)]
pub struct HeldGrant {
    doubt: TokenDoubt,
    /// End of the token, if known.
    good_until: Option<MonotonicTime>,
    grant: Grant,
}

/// Time for which an abandoned call may be in transit, and be processed behind later ones with the same token.
pub(super) const MAX_OVERTAKEN_CALL_TIME: Duration = Duration::from_secs(60);

/// Possible doubt that the token is the newest one.
#[derive(Clone, Copy, Debug)]
struct TokenDoubt {
    /// The answer to a call that may have replaced the token was lost. "No such session" is no kill then.
    in_doubt: bool,
    /// Until then a call without an answer may still reach the authority and replace the token.
    overtaken_until: Option<MonotonicTime>,
    replacement: TokenReplacement,
}

/// Shows whether the authority replaces tokens without naming the new one, by good answers without a token. A server
/// that names one in an unreadable answer looks like a server that keeps tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TokenReplacement {
    /// Every good answer named a token.
    Never,
    /// After such an answer it is unknown whether the token is still good.
    Once,
    /// The token was good again after such an answer: the authority keeps tokens unless it names a new one.
    Kept,
}

impl HeldGrant {
    /// A new grant with its own token: there is no newer one.
    pub(super) fn new(now: MonotonicTime, grant: Grant) -> Self {
        let good_until = end_of(now, grant.lifetime);
        Self::told(Grant { interval: bounded(grant.interval), ..grant }, good_until, false)
    }

    /// The right to play exists, although the call to confirm it failed.
    pub(super) fn unconfirmed(now: MonotonicTime, grant: Grant, fault: &AuthorityFault) -> Self {
        let mut held = Self::new(now, grant);
        held.doubt.in_doubt = !fault.kind.was_not_processed();
        held
    }

    fn told(grant: Grant, good_until: Option<MonotonicTime>, in_doubt: bool) -> Self {
        Self { doubt: TokenDoubt { in_doubt, ..TokenDoubt::none() }, good_until, grant }
    }

    /// Notes a good answer, which may bring another interval, and another token with its lifetime.
    pub(super) fn refresh(
        &mut self,
        now: MonotonicTime,
        interval: Option<Duration>,
        lifetime: Option<Duration>,
        token: Option<Secret>,
    ) {
        if let Some(interval) = interval {
            self.grant.interval = bounded(interval);
        }
        if let Some(token) = token {
            self.replace_token(now, token, lifetime);
        }
    }

    /// A late answer brings the newest known token. Later calls may have replaced that again, unless its own call
    /// `is_newest`.
    pub(super) fn take_late_token(
        &mut self,
        now: MonotonicTime,
        token: Secret,
        lifetime: Option<Duration>,
        is_newest: bool,
    ) {
        self.replace_token(now, token, lifetime);
        let overtaken_until = self.doubt.overtaken_until;
        self.doubt = TokenDoubt { in_doubt: !is_newest, overtaken_until, ..TokenDoubt::none() };
    }

    fn replace_token(&mut self, now: MonotonicTime, token: Secret, lifetime: Option<Duration>) {
        (self.grant.token, self.grant.lifetime) = (token, lifetime);
        self.good_until = end_of(now, lifetime);
    }

    /// Returns whether the token is still known to be the newest after this answer to a beat or a renewal. `outdated`:
    /// the call was sent with a token that was replaced since. `rotates`: this authority may replace tokens.
    pub(super) fn weigh(
        &mut self,
        now: MonotonicTime,
        result: &Result<Verdict, AuthorityFault>,
        outdated: bool,
        rotates: bool,
    ) {
        let doubt = &mut self.doubt;
        match result {
            Ok(Verdict::Alive { token: Some(_), .. } | Verdict::Granted(_)) => {
                // If outdated, two calls may have replaced it, in unknown order.
                *doubt = TokenDoubt { in_doubt: outdated, ..TokenDoubt::none() };
            }
            Ok(Verdict::Alive { token: None, .. }) if outdated => doubt.in_doubt = true,
            Ok(Verdict::Alive { token: None, .. }) => {
                doubt.in_doubt = rotates && (doubt.was_told_nothing() || doubt.is_overtaken(now))
            }
            Ok(Verdict::Closed | Verdict::Unconfirmed(..)) => doubt.in_doubt = true,
            Ok(
                Verdict::Blackout(_)
                | Verdict::Denied(..)
                | Verdict::Disabled
                | Verdict::Gone(_)
                | Verdict::Killed(_)
                | Verdict::Unknown(_),
            ) => {}
            Err(fault) if fault.kind.was_not_processed() => {}
            Err(_) => doubt.lose_answer(now),
        }
    }

    /// The authority named this session itself, so its token does not matter.
    pub(super) fn end_doubt(&mut self) {
        self.doubt.in_doubt = false;
    }

    /// The token expires while the machine sleeps.
    pub(super) fn machine_slept(&mut self, now: MonotonicTime, by: Duration) {
        self.good_until = self.good_until.map(|until| until.checked_sub(by).unwrap_or(now));
    }

    /// After a restart it is unknown which call was in flight, and whether the last answers were written.
    pub(super) fn restored(&mut self, now: MonotonicTime) {
        self.doubt.lose_answer(now);
    }

    /// True if the authority may know the session by a newer token.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.in_doubt
    }

    /// End of the token, if known.
    pub(super) fn good_until(&self) -> Option<MonotonicTime> {
        self.good_until
    }

    pub(super) fn interval(&self) -> Duration {
        self.grant.interval
    }

    /// True if its token has this fingerprint.
    pub(super) fn is_of(&self, token: Fingerprint) -> bool {
        self.grant.token.fingerprint() == token
    }

    pub(super) fn as_grant(&self) -> &Grant {
        &self.grant
    }

    pub(super) fn into_grant(self) -> Grant {
        self.grant
    }
}

impl TokenDoubt {
    fn none() -> Self {
        Self { in_doubt: false, overtaken_until: None, replacement: TokenReplacement::Never }
    }

    /// Gives up a call that may have replaced the token, and may still be in transit.
    fn lose_answer(&mut self, now: MonotonicTime) {
        self.in_doubt = true;
        self.overtaken_until = Some(now + MAX_OVERTAKEN_CALL_TIME);
    }

    fn is_overtaken(&self, now: MonotonicTime) -> bool {
        self.overtaken_until.is_some_and(|until| now < until)
    }

    /// Notes a good answer without a token. It may have named one and been unreadable; but if the token is good after
    /// such an answer, that did not replace it.
    fn was_told_nothing(&mut self) -> bool {
        self.replacement = match self.replacement {
            TokenReplacement::Never => TokenReplacement::Once,
            TokenReplacement::Once | TokenReplacement::Kept => TokenReplacement::Kept,
        };
        self.replacement == TokenReplacement::Once
    }
}

fn end_of(now: MonotonicTime, lifetime: Option<Duration>) -> Option<MonotonicTime> {
    lifetime.map(|lifetime| now + bounded(lifetime))
}

/// A grant as plain data.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GrantRecord {
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<EpochTime>,
    /// The authority may know the session by a newer token: an answer was lost, or a call was in flight.
    #[serde(rename = "d", default, skip_serializing_if = "is_default")]
    pub in_doubt: bool,
    #[serde(rename = "i")]
    pub interval: RecordedSpan,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<RecordedSpan>,
    #[serde(rename = "t", serialize_with = "expose", deserialize_with = "hide")]
    pub token: Secret,
}

impl HeldGrant {
    /// `may_be_replaced`: the answer to a call in flight may bring another token.
    pub(super) fn record(&self, at: &ClockMoment, may_be_replaced: bool) -> GrantRecord {
        GrantRecord {
            good_until: self.good_until.map(|until| at.wall_of(until)),
            in_doubt: self.doubt.in_doubt || may_be_replaced,
            interval: self.grant.interval.into(),
            lifetime: self.grant.lifetime.map(RecordedSpan::from),
            token: self.grant.token.clone(),
        }
    }

    pub(super) fn restore(record: &GrantRecord, at: &ClockMoment) -> Self {
        let GrantRecord { good_until, in_doubt, interval, lifetime, token } = record.clone();
        let grant = Grant { interval: bounded(interval.into()), lifetime: lifetime.map(Duration::from), token };
        Self::told(grant, good_until.map(|until| at.time_of(until)), in_doubt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Blackout, BlackoutReason, Denial, FaultKind, Reason};
    use crate::time::testing::Clock;

    fn grant(token: &str, lifetime: Option<u64>) -> Grant {
        let lifetime = lifetime.map(Duration::from_secs);
        Grant { interval: Duration::from_secs(30), lifetime, token: Secret::new(token) }
    }

    fn held() -> HeldGrant {
        HeldGrant::new(Clock.now(), grant("first", None))
    }

    fn alive(token: Option<&str>) -> Result<Verdict, AuthorityFault> {
        Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: token.map(Secret::new) })
    }

    fn blackout() -> BlackoutReason {
        let blackout = Blackout { action: "DENY".to_owned(), url: None };
        BlackoutReason { blackout: blackout.into(), reason: reason() }
    }

    fn reason() -> Reason {
        Reason::new(400, None, "no")
    }

    fn fault(kind: FaultKind) -> AuthorityFault {
        AuthorityFault { kind, reason: reason() }
    }

    /// After each answer: is a trusted token in doubt, is a doubtful one, and is one that was replaced meanwhile?
    #[test]
    fn every_answer_to_a_beat_makes_doubt_or_ends_it_or_leaves_it() {
        let (makes, ends, leaves) = ([true, true, true], [false, false, true], [false, true, true]);
        let lost = |kind| Err(fault(kind));
        let rows = [
            (alive(Some("second")), ends),
            (Ok(Verdict::Granted(grant("second", None))), ends),
            // The first such answer may have named a token that was lost.
            (alive(None), makes),
            (Ok(Verdict::Closed), makes),
            (Ok(Verdict::Unconfirmed(grant("second", None), fault(FaultKind::Unreachable))), makes),
            (Ok(Verdict::Blackout(blackout())), leaves),
            (Ok(Verdict::Denied(Denial::Token, reason())), leaves),
            (Ok(Verdict::Disabled), leaves),
            (Ok(Verdict::Gone(reason())), leaves),
            (Ok(Verdict::Killed(reason())), leaves),
            (Ok(Verdict::Unknown(reason())), leaves),
            (lost(FaultKind::Busy), leaves),
            (lost(FaultKind::Unreachable), leaves),
            (lost(FaultKind::Lost), makes),
            (lost(FaultKind::Malformed), makes),
            (lost(FaultKind::Refused), makes),
            (lost(FaultKind::Timeout), makes),
        ];
        for (result, expected) in rows {
            let after = |in_doubt: bool, outdated: bool| {
                let mut held = held();
                held.doubt.in_doubt = in_doubt;
                held.weigh(Clock.now(), &result, outdated, true);
                held.is_in_doubt()
            };
            // An outdated call's answer that keeps the doubt says nothing of the newer token.
            let outdated = after(true, true);
            assert_eq!([after(false, false), after(true, false), outdated], expected, "{result:?}");
        }
    }

    #[test]
    fn a_good_answer_without_a_token_is_trusted_if_the_token_was_good_after_one() {
        // For each answer in order: whether the token is in doubt after it.
        let (told, lost) = (|| alive(Some("second")), || Err(fault(FaultKind::Lost)));
        let rows = [
            (vec![(alive(None), true), (alive(None), false), (alive(None), false)], true),
            (vec![(alive(None), true), (told(), false), (alive(None), true)], true),
            (vec![(alive(None), false), (lost(), true), (alive(None), false)], false),
        ];
        for (answers, rotates) in rows {
            let mut held = held();
            for (number, (result, in_doubt)) in answers.iter().enumerate() {
                held.weigh(Clock.now(), result, false, rotates);
                assert_eq!(held.is_in_doubt(), *in_doubt, "{number} of {answers:?}, {rotates}");
            }
        }
    }

    /// An older call may be processed behind the newer ones with the same token.
    #[test]
    fn a_call_in_transit_keeps_the_token_in_doubt_until_another_is_named() {
        let start = Clock.now();
        for (after, told, in_doubt) in [(59, false, true), (60, false, false), (59, true, false)] {
            let mut held = held();
            // It is known that this authority keeps its tokens.
            (0..2).for_each(|_| held.weigh(start, &alive(None), false, true));
            held.weigh(start, &Err(fault(FaultKind::Timeout)), false, true);
            if told {
                held.weigh(start, &alive(Some("second")), false, true);
                held.weigh(start, &alive(None), false, true);
            }
            held.weigh(start + Duration::from_secs(after), &alive(None), false, true);
            assert_eq!(held.is_in_doubt(), in_doubt, "{after} s, {told}");
        }
    }

    #[test]
    fn a_late_token_is_trusted_without_a_later_call() {
        let now = Clock.now();
        for is_newest in [false, true] {
            let mut held = held();
            held.take_late_token(now, Secret::new("late"), Some(Duration::from_secs(60)), is_newest);
            assert_eq!((held.is_in_doubt(), held.is_of(Secret::new("late").fingerprint())), (!is_newest, true));
            assert_eq!(held.good_until(), Some(now + Duration::from_secs(60)));
        }
    }

    #[test]
    fn an_unconfirmed_grant_is_in_doubt_unless_the_call_never_arrived() {
        for (kind, in_doubt) in [(FaultKind::Timeout, true), (FaultKind::Unreachable, false)] {
            let held = HeldGrant::unconfirmed(Clock.now(), grant("first", None), &fault(kind));
            assert_eq!(held.is_in_doubt(), in_doubt, "{kind:?}");
        }
        let mut held = held();
        held.restored(Clock.now());
        assert!(held.is_in_doubt());
        held.end_doubt();
        assert!(!held.is_in_doubt());
    }

    #[test]
    fn a_grant_ends_with_its_newest_token_and_sleeps_with_the_machine() {
        let now = Clock.now();
        let mut held = HeldGrant::new(now, grant("first", Some(100)));
        held.refresh(now, Some(Duration::from_secs(9)), Some(Duration::from_secs(1)), None);
        assert_eq!((held.interval().as_secs(), held.good_until()), (9, Some(now + Duration::from_secs(100))));
        held.machine_slept(now, Duration::from_secs(40));
        assert_eq!(held.good_until(), Some(now + Duration::from_secs(60)));
        held.refresh(now, None, None, Some(Secret::new("second")));
        assert_eq!((held.good_until(), held.as_grant().lifetime), (None, None));
        // No value from outside leaves the clock's range.
        held.refresh(now, Some(Duration::MAX), Some(Duration::MAX), Some(Secret::new("third")));
        assert!(held.good_until().is_some() && held.interval() < Duration::MAX);
    }
}
