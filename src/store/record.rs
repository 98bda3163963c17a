//! The records of the store: plain data, each with its key.
//!
//! `sessions` and the embedded authority make them. Only records of
//! [`super::journal::JOURNAL_FORMAT_VERSION`] are read: a change of what they say needs a new one, but for a new field with
//! `#[serde(default)]`. Two records of ordinary sessions share a page of the file, so fields of every record have short
//! names.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::registration_store::RegistrationRecord;
use crate::clock::{EpochTime, RecordedSpan};
use crate::config::DeviceSource;
pub use crate::config::DialectName;
use crate::ids::{PlaybackId, SessionId};
pub use crate::ledger::{SlotCause, SlotEnded, SlotHeld, SlotKept, SlotRecord};
use crate::registrations::AuthorizationBlock;
use crate::secret::Secret;
use crate::session::{PlaybackRecord, SessionEvent, expose, hide, is_default};

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RecordKey {
    Registration(PlaybackId),
    Session(SessionId),
    /// A slot of the embedded authority of this name.
    Slot(Arc<str>, u64),
}

#[derive(Clone, Debug)]
pub enum StoredRecord {
    Registration(Box<RegistrationRecord>),
    Session(Box<SessionRecord>),
    Slot(Box<SlotRecord>),
}

/// A playback with the shell's facts about it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SessionRecord {
    #[serde(rename = "c")]
    pub context: Arc<SessionContextRecord>,
    /// The device's key in the table.
    #[serde(rename = "d")]
    pub device: u64,
    #[serde(rename = "p")]
    pub playback: PlaybackRecord,
    #[serde(rename = "t", default)]
    pub timeline: TimelineRecord,
}

/// The session's context without the parts that come from the configuration: policy by route, dialect by authority.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SessionContextRecord {
    #[serde(rename = "ac", default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The authority's name.
    #[serde(rename = "au")]
    pub authority: Arc<str>,
    /// The authorization, without its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationBlock>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_group: Option<String>,
    #[serde(rename = "d")]
    pub device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_group: Option<String>,
    #[serde(rename = "di")]
    pub dialect: DialectName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_memory: Option<RecordedSpan>,
    #[serde(rename = "o")]
    pub opened: EpochTime,
    /// The playback's registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<PlaybackId>,
    /// The route's path.
    #[serde(rename = "r")]
    pub route: Arc<str>,
    #[serde(rename = "ru")]
    pub device_source: DeviceSource,
    #[serde(
        rename = "t",
        default,
        deserialize_with = "hide_some",
        serialize_with = "expose_some",
        skip_serializing_if = "Option::is_none"
    )]
    pub token: Option<Secret>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TimelineRecord {
    #[serde(rename = "b", default, skip_serializing_if = "is_default")]
    pub beats: u32,
    #[serde(rename = "e")]
    pub entries: Vec<(EpochTime, SessionEvent)>,
}

impl StoredRecord {
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Registration(record) => RecordKey::Registration(record.id),
            Self::Session(record) => RecordKey::Session(record.playback.id),
            Self::Slot(record) => RecordKey::Slot(record.authority.clone(), record.slot),
        }
    }

    pub(super) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Registration(record) => serde_json::to_vec(record),
            Self::Session(record) => serde_json::to_vec(record),
            Self::Slot(record) => serde_json::to_vec(record),
        }
    }

    pub(super) fn decode(key: &RecordKey, bytes: &[u8]) -> serde_json::Result<Self> {
        Ok(match key {
            RecordKey::Registration(_) => Self::Registration(serde_json::from_slice(bytes)?),
            RecordKey::Session(_) => Self::Session(serde_json::from_slice(bytes)?),
            RecordKey::Slot(..) => Self::Slot(serde_json::from_slice(bytes)?),
        })
    }
}

pub(super) fn expose_some<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => expose(secret, to),
        None => to.serialize_none(),
    }
}

pub(super) fn hide_some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    #[derive(Deserialize)]
    struct HiddenSecret(#[serde(deserialize_with = "hide")] Secret);
    Ok(Option::<HiddenSecret>::deserialize(from)?.map(|HiddenSecret(secret)| secret))
}

#[cfg(test)]
pub(super) mod tests;
