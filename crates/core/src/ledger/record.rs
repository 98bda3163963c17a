//! A slot in the store: plain data with wall times.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::EpochTime;

/// A slot of an embedded authority: held, kept for a device, or ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SlotRecord {
    pub authority: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<SlotEnded>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<SlotHeld>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<SlotKept>,
    pub slot: u64,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SlotHeld {
    pub account: String,
    pub beats: u64,
    pub content: String,
    pub device: String,
    /// The names of its groups in the ledger's index.
    pub groups: [Option<String>; 2],
    pub opened: EpochTime,
}

/// The end of a session whose player may not know of it yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SlotEnded {
    pub account: String,
    pub at: EpochTime,
    pub beats: u64,
    pub cause: SlotCause,
    pub content: String,
    pub device: String,
    pub opened: EpochTime,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SlotCause {
    Deny,
    Move,
    Order,
    Replace,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SlotKept {
    pub account: String,
    pub device: String,
    pub groups: [Option<String>; 2],
    pub until: EpochTime,
}
