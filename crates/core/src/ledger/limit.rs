//! The limits of sessions, and the refusal of a session beyond them.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::SlotRow;

/// The session that gives way when a limit of the account or of one of its groups is reached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLimit {
    DenyNewest,
    /// The oldest session that counts for the limit ends.
    EndOldest,
}

/// The longest account, device or content name, in bytes; keeps the ledger's memory bounded.
pub const MAX_LEDGER_NAME_BYTES: usize = 512;

/// Keeps `now + lifetime` far from the end of time.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(400 * 24 * 60 * 60);

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlotLimits {
    /// Time after `interval` in which a beat may still come.
    pub grace: Duration,
    /// Time between two beats.
    pub interval: Duration,
    pub on_limit: OnLimit,
    /// Live sessions of one account.
    pub per_account: u32,
    /// Live sessions of the account in the claim's content group; not counted if absent.
    pub per_content_group: Option<u32>,
    /// Live sessions of one device, of whatever account; not counted if absent.
    pub per_device: Option<u32>,
    /// Live sessions of the account in the claim's device group; not counted if absent.
    pub per_device_group: Option<u32>,
}

impl SlotLimits {
    /// Lifetime of a session after each beat.
    pub(super) fn lifetime(&self) -> Duration {
        self.interval.saturating_add(self.grace).min(MAX_LIFETIME)
    }
}

/// The limit that refused a session, and the holders of its places (at most sixteen).
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum LimitReached {
    #[error("the account holds all of its {allowed} sessions")]
    Account { allowed: u32, holders: Vec<SlotHolder> },
    #[error("the account holds all of its {allowed} sessions for this kind of content")]
    ContentGroup { allowed: u32, holders: Vec<SlotHolder> },
    #[error("the device holds all of its {allowed} sessions")]
    Device { allowed: u32, holders: Vec<SlotHolder> },
    #[error("the account holds all of its {allowed} sessions for this kind of device")]
    DeviceGroup { allowed: u32, holders: Vec<SlotHolder> },
    #[error("all {allowed} places of the ledger are taken")]
    Full { allowed: usize },
    #[error("an account, device, content or group name is longer than {MAX_LEDGER_NAME_BYTES} bytes")]
    Name,
}

/// The holder of a place that another session needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlotHolder {
    pub content: String,
    pub device: String,
    pub opened: Instant,
}

impl SlotHolder {
    /// At most this many holders are named in a refusal.
    pub(super) const MAX_HOLDERS_SHOWN: usize = 16;

    pub(super) fn of(row: SlotRow<'_>) -> Self {
        Self { content: row.content.to_owned(), device: row.device.to_owned(), opened: row.opened }
    }
}
