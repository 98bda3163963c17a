//! A grant that the authority may still hold, and how sure it is that its token is the newest one.
//!
//! Every beat and every renewal may replace the token. When the answer is lost, the authority may know the session by a
//! token that never came; what it says of the older one is no verdict on the session.

use std::time::{Duration, Instant};

use super::grant::Grant;
use super::step::bounded;
use super::verdict::{AuthorityFault, Verdict};
use crate::secret::{Fingerprint, Secret};

/// A grant as the authority gave it, with when its token ends and whether a newer token may exist.
#[must_use]
#[derive(Clone, Debug)]
pub struct HeldGrant {
    doubt: TokenDoubt,
    /// When the token ends, if it says so.
    good_until: Option<Instant>,
    grant: Grant,
}

/// A call that was given up may be on its way for so long, and be processed behind later ones with the same token.
pub(super) const MAX_OVERTAKEN_CALL_TIME: Duration = Duration::from_secs(60);

/// Whether the authority may know the session by a newer token.
#[derive(Clone, Copy, Debug)]
struct TokenDoubt {
    /// The answer to a call that may have replaced the token was lost. "No such session" is no kill then.
    in_doubt: bool,
    /// Until then a call without an answer may still reach the authority and replace the token.
    overtaken_until: Option<Instant>,
    replacement: TokenReplacement,
}

/// What good answers that told no token have shown: does the authority replace tokens without telling? A server that
/// does, and whose answer came through as something else, looks as one that keeps them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TokenReplacement {
    /// Every good answer told a token.
    Never,
    /// Nobody knows yet whether the token is good after it.
    Once,
    /// The token was good again after such an answer: the authority replaces none without telling.
    Kept,
}

impl HeldGrant {
    /// A grant that was just told, with its own token: there is no newer one.
    pub(super) fn new(now: Instant, grant: Grant) -> Self {
        let good_until = end_of(now, grant.lifetime);
        Self::written(Grant { interval: bounded(grant.interval), ..grant }, good_until, false)
    }

    /// The right to play is in hand, though the call that was to confirm it failed so.
    pub(super) fn unconfirmed(now: Instant, grant: Grant, fault: &AuthorityFault) -> Self {
        let mut held = Self::new(now, grant);
        held.doubt.in_doubt = !fault.kind.was_not_processed();
        held
    }

    /// As a record has it.
    pub(super) fn written(grant: Grant, good_until: Option<Instant>, in_doubt: bool) -> Self {
        Self { doubt: TokenDoubt { in_doubt, ..TokenDoubt::none() }, good_until, grant }
    }

    /// A good answer may bring another interval, and another token with its lifetime.
    pub(super) fn refresh(
        &mut self,
        now: Instant,
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

    /// A late answer brings the newest token that was told. Calls that were sent after its own may have replaced that
    /// once more, unless its own `is_newest`.
    pub(super) fn take_late_token(&mut self, now: Instant, token: Secret, lifetime: Option<Duration>, is_newest: bool) {
        self.replace_token(now, token, lifetime);
        let overtaken_until = self.doubt.overtaken_until;
        self.doubt = TokenDoubt { in_doubt: !is_newest, overtaken_until, ..TokenDoubt::none() };
    }

    fn replace_token(&mut self, now: Instant, token: Secret, lifetime: Option<Duration>) {
        (self.grant.token, self.grant.lifetime) = (token, lifetime);
        self.good_until = end_of(now, lifetime);
    }

    /// Whether the token is still known to be the newest one after this answer to a beat or a renewal. `outdated`: the
    /// call was sent with a token that has been replaced since. `rotates`: this authority may replace tokens.
    pub(super) fn weigh(
        &mut self,
        now: Instant,
        result: &Result<Verdict, AuthorityFault>,
        outdated: bool,
        rotates: bool,
    ) {
        let doubt = &mut self.doubt;
        match result {
            Ok(Verdict::Alive { token: Some(_), .. } | Verdict::Granted(_)) => {
                // If outdated, two calls may have replaced it, and nobody knows in which order.
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

    /// The authority spoke of this session in so many words, whatever its newest token is.
    pub(super) fn end_doubt(&mut self) {
        self.doubt.in_doubt = false;
    }

    /// The token runs out while the machine sleeps.
    pub(super) fn machine_slept(&mut self, now: Instant, by: Duration) {
        self.good_until = self.good_until.map(|until| until.checked_sub(by).unwrap_or(now));
    }

    /// After a restart nobody knows what was under way when the process died, nor whether its last answers were written.
    pub(super) fn restored(&mut self, now: Instant) {
        self.doubt.lose_answer(now);
    }

    /// The authority may know the session by a newer token.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.in_doubt
    }

    /// When the token ends, if it says so.
    pub(super) fn good_until(&self) -> Option<Instant> {
        self.good_until
    }

    pub(super) fn interval(&self) -> Duration {
        self.grant.interval
    }

    /// Its token has this fingerprint.
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

    /// A call that may have replaced the token, and may yet be on its way, is given up.
    fn lose_answer(&mut self, now: Instant) {
        self.in_doubt = true;
        self.overtaken_until = Some(now + MAX_OVERTAKEN_CALL_TIME);
    }

    fn is_overtaken(&self, now: Instant) -> bool {
        self.overtaken_until.is_some_and(|until| now < until)
    }

    /// After a good answer without a token. It may have told one, and come through as something else; but a token
    /// that is good after such an answer was not replaced by it.
    fn was_told_nothing(&mut self) -> bool {
        self.replacement = match self.replacement {
            TokenReplacement::Never => TokenReplacement::Once,
            TokenReplacement::Once | TokenReplacement::Kept => TokenReplacement::Kept,
        };
        self.replacement == TokenReplacement::Once
    }
}

fn end_of(now: Instant, lifetime: Option<Duration>) -> Option<Instant> {
    lifetime.map(|lifetime| now + bounded(lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Denial, FaultKind, Reason};
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

    fn reason() -> Reason {
        Reason::new(400, None, "no")
    }

    fn fault(kind: FaultKind) -> AuthorityFault {
        AuthorityFault { kind, reason: reason() }
    }

    /// After each answer: is a trusted token in doubt, is one that was in doubt, and one that was replaced meanwhile?
    #[test]
    fn every_answer_to_a_beat_makes_doubt_or_ends_it_or_leaves_it() {
        let (makes, ends, leaves) = ([true, true, true], [false, false, true], [false, true, true]);
        let lost = |kind| Err(fault(kind));
        let rows = [
            (alive(Some("second")), ends),
            (Ok(Verdict::Granted(grant("second", None))), ends),
            // The first such answer may have told a token that did not come through.
            (alive(None), makes),
            (Ok(Verdict::Closed), makes),
            (Ok(Verdict::Unconfirmed(grant("second", None), fault(FaultKind::Unreachable))), makes),
            (Ok(Verdict::Blackout(reason())), leaves),
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
            // That an answer of an outdated call leaves the doubt says nothing of the newer token.
            let outdated = after(true, true);
            assert_eq!([after(false, false), after(true, false), outdated], expected, "{result:?}");
        }
    }

    #[test]
    fn a_good_answer_without_a_token_is_trusted_where_the_token_was_good_after_one() {
        // For each answer in its turn: whether the token is in doubt after it.
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
    fn a_call_that_may_still_be_on_its_way_keeps_the_token_in_doubt_until_another_is_told() {
        let start = Clock.now();
        for (after, told, in_doubt) in [(59, false, true), (60, false, false), (59, true, false)] {
            let mut held = held();
            // That this authority keeps its tokens is known.
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
    fn a_late_token_is_trusted_if_nothing_was_asked_after_it() {
        let now = Clock.now();
        for is_newest in [false, true] {
            let mut held = held();
            held.take_late_token(now, Secret::new("late"), Some(Duration::from_secs(60)), is_newest);
            assert_eq!((held.is_in_doubt(), held.is_of(Secret::new("late").fingerprint())), (!is_newest, true));
            assert_eq!(held.good_until(), Some(now + Duration::from_secs(60)));
        }
    }

    #[test]
    fn a_grant_that_nobody_confirmed_is_in_doubt_unless_the_call_never_arrived() {
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
        // Nothing that somebody else wrote leaves the clock's range.
        held.refresh(now, Some(Duration::MAX), Some(Duration::MAX), Some(Secret::new("third")));
        assert!(held.good_until().is_some() && held.interval() < Duration::MAX);
    }
}
