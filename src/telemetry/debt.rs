//! What playbacks owe an authority: how many went on without its word, and for how long.
//!
//! Summed from the events of sessions until an outage is over and the sum is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::session::Event;

#[derive(Debug, Default)]
pub(super) struct Debts(Mutex<HashMap<Arc<str>, Debt>>);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Debt {
    /// Playbacks that began without a session.
    pub(super) new: u64,
    /// By those that have settled.
    pub(super) owed: Duration,
    /// Playbacks that went on with their last grant.
    pub(super) running: u64,
}

impl Debts {
    pub(super) fn event(&self, authority: &Arc<str>, event: &Event) {
        let (new, owed, running) = match event {
            Event::OnCredit { running } => (u64::from(!running), Duration::ZERO, u64::from(*running)),
            Event::Settled(owed) => (0, *owed, 0),
            Event::Beat
            | Event::BeatLate(_)
            | Event::Blackout(_)
            | Event::Closed(_)
            | Event::Failed(..)
            | Event::Forgiven
            | Event::Joined
            | Event::Killed(_)
            | Event::Left(_)
            | Event::LeftOpen
            | Event::Opened { .. }
            | Event::Reached(_)
            | Event::Recovered(_)
            | Event::Refused(..)
            | Event::Renewed
            | Event::RenewalsCarry
            | Event::Orphaned
            | Event::Reopening
            | Event::Resumed
            | Event::Returned
            | Event::Stale(_)
            | Event::Unmanaged => return,
        };
        let mut debts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = debts.entry(authority.clone()).or_default();
        debt.new += new;
        debt.owed = debt.owed.saturating_add(owed);
        debt.running += running;
    }

    /// From now on it is nothing.
    pub(super) fn take(&self, authority: &Arc<str>) -> Debt {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(authority).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_summed_by_authority_and_told_once() {
        let (debts, one, other) = (Debts::default(), Arc::from("one"), Arc::from("other"));
        let second = Duration::from_secs(1);
        for event in [
            Event::OnCredit { running: true },
            Event::OnCredit { running: false },
            Event::OnCredit { running: false },
            Event::Beat,
            Event::Settled(second),
            Event::Settled(second * 2),
        ] {
            debts.event(&one, &event);
        }
        debts.event(&other, &Event::Settled(second));
        assert_eq!(debts.take(&one), Debt { new: 2, owed: second * 3, running: 1 });
        assert_eq!(debts.take(&one), Debt::default());
        assert_eq!(debts.take(&other).owed, second);
    }
}
