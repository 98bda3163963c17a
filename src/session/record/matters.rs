//! For how long a record is worth keeping when nobody can take its session up.

use std::time::Duration;

use super::{GrantRecord, SessionRecord, StateRecord};
use crate::config::Endings;

/// Nobody knows any more what grace the authority gives: more than any would.
const GRACE: Duration = Duration::from_secs(3600);

impl SessionRecord {
    /// Wall time since the epoch by which nothing is lost with it, though nobody can be told: the authority must
    /// have let expire what it holds, and what is over, or killed, would be forgotten.
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
        remembered.into_iter().chain(held).max().unwrap_or_default()
    }

    fn held_until(&self, grant: &GrantRecord) -> Duration {
        let last_good = Duration::from(self.last_good);
        let silent = last_good.saturating_add(grant.interval.into()).saturating_add(GRACE);
        let longest = last_good.saturating_add(Endings::default().longest);
        self.good_until.map_or(silent, |until| silent.max(Duration::from(until).min(longest)))
    }
}
