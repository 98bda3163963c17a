//! A grant that is being given back: when its close is tried, how often it was lost, and whether its place is waited
//! for.

use std::time::Duration;

use super::held_grant::HeldGrant;
use super::policy::Policy;
use super::verdict::AuthorityFault;
use crate::time::MonotonicTime;

/// The longest pause between two tries of a close for which no playback waits.
const MAX_CLOSE_PAUSE: Duration = Duration::from_secs(30);
/// The authority has let the session expire by then.
const MAX_CLOSE_TRIES: u8 = 120;

/// A grant that is to be given back by a close.
#[must_use]
#[derive(Clone, Debug)]
pub struct GrantRelease(Box<ReleaseFacts>);

#[derive(Clone, Debug)]
struct ReleaseFacts {
    grant: HeldGrant,
    /// The close is lost and tried again while the authority may still hold the session; no playback waits for its
    /// place.
    lingers: bool,
    next: MonotonicTime,
    /// The number of lost closes.
    tries: u8,
}

impl GrantRelease {
    /// A release whose close is due at once.
    pub(super) fn new(now: MonotonicTime, grant: HeldGrant) -> Self {
        Self::written(grant, false, now, 0)
    }

    /// The release that a record holds.
    pub(super) fn written(grant: HeldGrant, lingers: bool, next: MonotonicTime, tries: u8) -> Self {
        Self(Box::new(ReleaseFacts { grant, lingers, next, tries }))
    }

    /// The same release from its beginning, at this time: for another reason, or by another process.
    pub(super) fn anew(mut self, next: MonotonicTime) -> Self {
        (self.0.next, self.0.tries) = (next, 0);
        self
    }

    /// The release after a lost close; `None` if it is given up. A close without an answer is tried as long as the
    /// authority may hold the session, which is until `held_until`, and an hour at most.
    pub(super) fn lost(
        mut self,
        now: MonotonicTime,
        fault: &AuthorityFault,
        held_until: MonotonicTime,
        policy: &Policy,
    ) -> Option<Self> {
        let tries = self.0.tries.saturating_add(1);
        let next = now + pause(tries, policy);
        let is_waited_for = tries < policy.close_tries;
        let may_linger = tries < MAX_CLOSE_TRIES && fault.kind.is_infrastructure() && next < held_until;
        self.0.lingers |= !is_waited_for;
        (self.0.next, self.0.tries) = (next, tries);
        (is_waited_for || may_linger).then_some(self)
    }

    /// Makes the close due now.
    pub(super) fn try_now(&mut self, now: MonotonicTime) {
        self.0.next = now;
    }

    /// Time of the next try of its close.
    pub(super) fn next(&self) -> MonotonicTime {
        self.0.next
    }

    pub(super) fn next_mut(&mut self) -> &mut MonotonicTime {
        &mut self.0.next
    }

    pub(super) fn tries(&self) -> u8 {
        self.0.tries
    }

    /// True if no playback waits for its place.
    pub(super) fn lingers(&self) -> bool {
        self.0.lingers
    }

    pub(super) fn grant(&self) -> &HeldGrant {
        &self.0.grant
    }

    pub(super) fn grant_mut(&mut self) -> &mut HeldGrant {
        &mut self.0.grant
    }

    pub(super) fn into_grant(self) -> HeldGrant {
        self.0.grant
    }
}

/// Pause before the next try; longer once no playback waits for its place.
fn pause(tries: u8, policy: &Policy) -> Duration {
    let beyond = tries.saturating_sub(policy.close_tries).min(5);
    let pause = policy.retry_after(tries);
    if beyond == 0 { pause } else { (pause * (1 << beyond)).min(MAX_CLOSE_PAUSE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::session::{FaultKind, Grant, Reason};
    use crate::time::testing::Clock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn release(now: MonotonicTime) -> GrantRelease {
        let grant = Grant { interval: Duration::from_secs(30), lifetime: None, token: Secret::new("token") };
        GrantRelease::new(now, HeldGrant::new(now, grant))
    }

    fn fault(kind: FaultKind) -> AuthorityFault {
        AuthorityFault { kind, reason: Reason::without_reply("lost") }
    }

    #[test]
    fn a_lost_close_lingers_once_nobody_waits_for_it_and_is_given_up_in_the_end() {
        let (now, policy) = (Clock.now(), Policy::default());
        let mut kept = Some(release(now));
        let mut tries = 0;
        while let Some(release) = kept {
            assert_eq!((release.tries(), release.lingers()), (tries, tries >= policy.close_tries));
            assert!(release.next() <= now + MAX_CLOSE_PAUSE);
            kept = release.lost(now, &fault(FaultKind::Timeout), now + HOUR, &policy);
            tries += 1;
        }
        assert_eq!(tries, MAX_CLOSE_TRIES);
    }

    #[test]
    fn a_close_that_nobody_waits_for_is_given_up_when_the_session_has_expired_or_the_authority_has_answered() {
        let (now, policy) = (Clock.now(), Policy::default());
        for (kind, held_until, lost) in [
            (FaultKind::Timeout, now + HOUR, MAX_CLOSE_TRIES),
            (FaultKind::Timeout, now, policy.close_tries),
            (FaultKind::Malformed, now + HOUR, policy.close_tries),
        ] {
            let again = |release: Option<GrantRelease>| release?.lost(now, &fault(kind), held_until, &policy);
            let mut tries = 0;
            let mut kept = Some(release(now));
            while kept.is_some() {
                kept = again(kept);
                tries += 1;
            }
            assert_eq!(tries, lost, "{kind:?}");
        }
    }

    #[test]
    fn a_close_begins_anew_for_another_reason_though_nobody_waits_for_its_place() {
        let (now, policy) = (Clock.now(), Policy { close_tries: 1, ..Policy::default() });
        let lost = release(now).lost(now, &fault(FaultKind::Timeout), now + HOUR, &policy).unwrap();
        assert!(lost.lingers() && lost.tries() == 1 && lost.next() > now);
        let anew = lost.anew(now);
        assert!(anew.lingers() && anew.tries() == 0 && anew.next() == now);
    }
}
