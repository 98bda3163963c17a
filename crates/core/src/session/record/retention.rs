//! Says which sessions of a record can go on, and for how long a record is kept whose sessions cannot.

use std::time::Duration;

use super::{CoreSessionRecord, GrantRecord, StateRecord};
use crate::session::EndingRules;

/// Longer than the unknown grace of any authority.
const MAX_ASSUMED_GRACE: Duration = Duration::from_secs(3600);

impl CoreSessionRecord {
    /// True if the result of its open is unknown: it was in flight, or the record contradicts itself (live without a
    /// grant).
    pub fn is_orphan(&self) -> bool {
        let held = self.grant.is_some() || self.shares.is_some();
        match self.state {
            StateRecord::Closed { .. } | StateRecord::Killed { .. } => self.opening,
            StateRecord::Closing { .. } | StateRecord::Failing { .. } | StateRecord::Live { .. } => {
                self.opening || !held
            }
            StateRecord::Opening { .. } => true,
            StateRecord::Owing { .. } => self.opening || held,
        }
    }

    /// Wall time since the epoch after which the record can be dropped, although its authority cannot be called: the
    /// authority must have let its session expire, and an end or a kill would be forgotten.
    pub fn matters_until(&self) -> Duration {
        let remembered = match self.state {
            StateRecord::Closed { until, .. } | StateRecord::Killed { until, .. } => Some(until.into()),
            StateRecord::Closing { .. }
            | StateRecord::Failing { .. }
            | StateRecord::Live { .. }
            | StateRecord::Opening { .. }
            | StateRecord::Owing { .. } => None,
        };
        let held = self.grant.as_ref().map(|grant| self.held_until(grant));
        // It counts for as long as it may have been played by the session that it shares.
        let shared = self.shares.filter(|_| matches!(self.state, StateRecord::Live { .. }));
        let shared =
            shared.map(|_| Duration::from(self.evidence.last_sign).saturating_add(EndingRules::default().longest));
        remembered.into_iter().chain(held).chain(shared).max().unwrap_or_default()
    }

    fn held_until(&self, grant: &GrantRecord) -> Duration {
        let last_good = Duration::from(self.confirmation.at);
        let silent = last_good.saturating_add(grant.interval.into()).saturating_add(MAX_ASSUMED_GRACE);
        let longest = last_good.saturating_add(EndingRules::default().longest);
        grant.good_until.map_or(silent, |until| silent.max(Duration::from(until).min(longest)))
    }
}
