//! A playback as plain data: the facts that must survive a restart.
//!
//! Records are pure. Times are wall times, because the monotonic clock ends with the machine. A record that is taken
//! and restored at the same moment behaves like its playback, without its call in flight; [`super::after_restart`] then
//! makes up for the downtime. Each part of a session writes its own record at the end of its own file, so a new
//! field that must survive needs a field there (with `#[serde(default)]`), in `record` and in `restore`. Names are short
//! and default values are omitted, so that two records share a page. `sessions` writes records to the store.

mod dirty_check;
mod reports;
mod retention;
mod serde_helpers;
mod session;
mod state;

use serde::{Deserialize, Serialize};

pub use self::dirty_check::WrittenStamp;
pub(super) use self::reports::ReportsRecord;
pub use self::serde_helpers::{expose, hide, is_default};
pub use self::session::CoreSessionRecord;
pub use self::state::StateRecord;
use super::device::TurnOrder;
use super::held_grant::GrantRecord;
use super::license_expiry::Leases;
use super::playback::Playback;
use super::playback::playback_names::{NamesRecord, PlaybackNames};
use super::policy::Policy;
use super::role::Role;
use super::state::DeliveryState;
use crate::secret::Fingerprint;
use crate::session_id::SessionId;
use crate::time::{ClockMoment, EpochTime};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlaybackRecord {
    #[serde(rename = "b")]
    pub began: EpochTime,
    #[serde(rename = "i")]
    pub id: SessionId,
    /// Expiry of the licenses of its key sessions, if known.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<(Fingerprint, Option<EpochTime>)>,
    #[serde(rename = "n", default, skip_serializing_if = "is_default")]
    pub names: NamesRecord,
    #[serde(rename = "ro", default, skip_serializing_if = "is_default")]
    pub role: Role,
    #[serde(rename = "s")]
    pub session: CoreSessionRecord,
}

impl PlaybackRecord {
    /// `None` if [`WrittenStamp::of`] is `None`.
    pub fn of<C>(playback: &Playback<C>, at: &ClockMoment) -> Option<Self> {
        Some(Self {
            began: at.wall_of(playback.began),
            id: playback.id,
            leases: playback.leases().iter().map(|of| (of.key_session, of.ends.map(|ends| at.wall_of(ends)))).collect(),
            names: playback.names.record(),
            role: playback.role,
            session: CoreSessionRecord::of(&playback.session, at)?,
        })
    }

    /// The playback as it was, without its call in flight. The caller must resume it.
    pub fn restore<C>(&self, entry: C, at: &ClockMoment, policy: &Policy) -> Playback<C> {
        let leases: Leases = self.leases.iter().map(|(of, ends)| (*of, ends.map(|ends| at.time_of(ends)))).collect();
        let mut session = self.session.restore(at, policy);
        session.evidence.licensed(leases.last_end());
        let names = PlaybackNames::restore(&self.names, self.session.evidence.usage != DeliveryState::Nothing);
        Playback {
            account: None,
            entry,
            id: self.id,
            role: self.role.restored(&session),
            session,
            began: at.time_of(self.began),
            kill_memory: policy.kill_memory,
            leases,
            names,
            order: TurnOrder::new(None),
            renewed_by: None,
        }
    }
}

#[cfg(test)]
mod tests;
