//! Sums up the playbacks that went on without an authority's word, and for how long.
//!
//! The sum grows from events of sessions until the outage is over and the sum is reported.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::session::SessionEvent;

#[derive(Debug, Default)]
pub(super) struct AuthorityDebts(Mutex<HashMap<Arc<str>, UnconfirmedDebt>>);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct UnconfirmedDebt {
    /// Playbacks that began without a session.
    pub(super) new: u64,
    /// Time of the playbacks that have settled.
    pub(super) owed: Duration,
    /// Playbacks that went on with their last grant.
    pub(super) running: u64,
}

impl AuthorityDebts {
    pub(super) fn event(&self, authority: &Arc<str>, event: &SessionEvent) {
        let (new, owed, running) = match event {
            SessionEvent::OnCredit { running } => (u64::from(!running), Duration::ZERO, u64::from(*running)),
            SessionEvent::Settled(owed) => (0, *owed, 0),
            SessionEvent::Beat
            | SessionEvent::BeatLate(_)
            | SessionEvent::Blackout(_)
            | SessionEvent::Closed(_)
            | SessionEvent::Failed(..)
            | SessionEvent::Forgiven
            | SessionEvent::Joined
            | SessionEvent::Killed(_)
            | SessionEvent::Left(_)
            | SessionEvent::LeftOpen
            | SessionEvent::Opened { .. }
            | SessionEvent::Reached(_)
            | SessionEvent::Recovered(_)
            | SessionEvent::Refused(..)
            | SessionEvent::Renewed
            | SessionEvent::RenewalsCarry
            | SessionEvent::Orphaned
            | SessionEvent::Reopening
            | SessionEvent::Resumed
            | SessionEvent::Returned
            | SessionEvent::Stale(_)
            | SessionEvent::Unmanaged => return,
        };
        let mut debts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = debts.entry(authority.clone()).or_default();
        debt.new += new;
        debt.owed = debt.owed.saturating_add(owed);
        debt.running += running;
    }

    /// Returns the sum and resets it.
    pub(super) fn take(&self, authority: &Arc<str>) -> UnconfirmedDebt {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(authority).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_summed_by_authority_and_told_once() {
        let (debts, one, other) = (AuthorityDebts::default(), Arc::from("one"), Arc::from("other"));
        let second = Duration::from_secs(1);
        for event in [
            SessionEvent::OnCredit { running: true },
            SessionEvent::OnCredit { running: false },
            SessionEvent::OnCredit { running: false },
            SessionEvent::Beat,
            SessionEvent::Settled(second),
            SessionEvent::Settled(second * 2),
        ] {
            debts.event(&one, &event);
        }
        debts.event(&other, &SessionEvent::Settled(second));
        assert_eq!(debts.take(&one), UnconfirmedDebt { new: 2, owed: second * 3, running: 1 });
        assert_eq!(debts.take(&one), UnconfirmedDebt::default());
        assert_eq!(debts.take(&other).owed, second);
    }
}
