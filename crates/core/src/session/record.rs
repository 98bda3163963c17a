//! A playback as plain data: the facts that must survive a restart.
//!
//! Records are pure. Times are wall times, because the monotonic clock ends with the machine. A record that is taken
//! and restored at the same moment behaves like its playback, without its call in flight; [`super::after_restart`] then
//! makes up for the downtime. A new field of `Session` or `Playback` that must survive needs a field here (with
//! `#[serde(default)]`), in `of` and in `restore`. Names are short and default values are omitted, so that two records
//! share a page. `sessions` writes records to the store.

mod dirty_check;
mod grant;
mod reports;
mod retention;
mod serde_helpers;
mod session;
mod state;

use serde::{Deserialize, Serialize};

pub use self::dirty_check::WrittenStamp;
use self::grant::GrantRecord;
pub use self::serde_helpers::{expose, hide, is_default};
pub use self::session::CoreSessionRecord;
pub use self::state::StateRecord;
use super::device::TurnOrder;
use super::license_expiry::Leases;
use super::playback::Playback;
use super::playback::playback_names::{
    MAX_CONTENT_NAMES, MAX_CONTENT_TOKENS, MAX_KEY_SESSION_NAMES, MAX_MEDIA_PATHS, PlaybackNames,
};
use super::policy::Policy;
use super::role::Role;
use super::shared_playback::SharedPlayback;
use super::state::DeliveryState;
use crate::secret::Fingerprint;
use crate::session_id::SessionId;
use crate::time::{ClockMoment, EpochTime};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlaybackRecord {
    /// True if it began without a content token, although it has a name.
    #[serde(rename = "ba", default, skip_serializing_if = "is_default")]
    pub bare: bool,
    #[serde(rename = "b")]
    pub began: EpochTime,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Fingerprint>,
    #[serde(rename = "cs", default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Fingerprint>,
    #[serde(rename = "i")]
    pub id: SessionId,
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    pub key_sessions: Vec<Fingerprint>,
    /// Expiry of the licenses of its key sessions, if known.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<(Fingerprint, Option<EpochTime>)>,
    /// The content token of the stop that ended it.
    #[serde(rename = "lt", default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Fingerprint>,
    #[serde(rename = "ts", default, skip_serializing_if = "Vec::is_empty")]
    pub later_tokens: Vec<Fingerprint>,
    #[serde(rename = "mp", default, skip_serializing_if = "Vec::is_empty")]
    pub media_paths: Vec<Fingerprint>,
    #[serde(rename = "ro", default, skip_serializing_if = "is_default")]
    pub role: Role,
    #[serde(rename = "s")]
    pub session: CoreSessionRecord,
    /// Content tokens for which a kill of it holds, beside its own.
    #[serde(rename = "sh", default, skip_serializing_if = "Vec::is_empty")]
    pub shared_tokens: Vec<Fingerprint>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Fingerprint>,
}

impl PlaybackRecord {
    /// `None` if [`WrittenStamp::of`] is `None`.
    pub fn of<C>(playback: &Playback<C>, at: &ClockMoment) -> Option<Self> {
        Some(Self {
            bare: playback.names.bare && playback.names.token.is_some(),
            began: at.wall_of(playback.began),
            content: playback.names.content,
            contents: playback.names.contents.to_vec(),
            id: playback.id,
            key_sessions: playback.names.key_sessions.to_vec(),
            leases: playback.leases().iter().map(|of| (of.key_session, of.ends.map(|ends| at.wall_of(ends)))).collect(),
            left: playback.names.left,
            later_tokens: playback.names.later_tokens.to_vec(),
            media_paths: playback.names.media_paths.to_vec(),
            role: playback.role,
            session: CoreSessionRecord::of(&playback.session, at)?,
            shared_tokens: playback.names.shared_tokens.clone(),
            token: playback.names.token,
        })
    }

    /// The playback as it was, without its call in flight. The caller must resume it.
    pub fn restore<C>(&self, card: C, at: &ClockMoment, policy: &Policy) -> Playback<C> {
        let leases: Leases = self.leases.iter().map(|(of, ends)| (*of, ends.map(|ends| at.instant_of(ends)))).collect();
        let mut session = self.session.restore(at, policy);
        session.evidence.licensed(leases.last_end());
        let names = PlaybackNames {
            bare: self.bare || self.token.is_none(),
            content: self.content,
            contents: self.contents.iter().copied().take(MAX_CONTENT_NAMES).collect(),
            key_sessions: self.key_sessions.iter().copied().take(MAX_KEY_SESSION_NAMES).collect(),
            left: self.left,
            later_tokens: self.later_tokens.iter().copied().take(MAX_CONTENT_TOKENS).collect(),
            media_paths: self.media_paths.iter().copied().take(MAX_MEDIA_PATHS).collect(),
            shared_tokens: self.shared_tokens.iter().copied().take(MAX_CONTENT_TOKENS).collect(),
            token: self.token,
            // No field records it: the first token counts as accepted unless nothing reached its player.
            token_accepted: self.session.usage != DeliveryState::Nothing,
            turns: SharedPlayback::default(),
        };
        Playback {
            account: None,
            card,
            id: self.id,
            role: self.role.restored(&session),
            session,
            began: at.instant_of(self.began),
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
