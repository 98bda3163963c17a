//! Remembers the newest ends, as many as the ledger has slots.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::SlotNumber;

/// The cause of a kill; shown to the player.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum KillCause {
    #[error("this account or device may not play any more")]
    Deny,
    #[error("this playback was moved to another device")]
    Move,
    #[error("the session was killed")]
    Order,
    #[error("another device plays now")]
    Replace,
}

/// The ways in which sessions end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotEnding {
    Close,
    Expire,
    Kill(KillCause),
}

#[derive(Clone, Debug)]
pub struct EndedSlot {
    pub account: Arc<str>,
    /// For an expiry its deadline; for other ends the ledger's last known time.
    pub at: Instant,
    pub beats: u64,
    pub content: Arc<str>,
    pub device: Arc<str>,
    pub end: SlotEnding,
    pub opened: Instant,
    pub slot: SlotNumber,
}

/// The reason why a beat was refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SlotLoss {
    #[error("the session missed its beats")]
    Expired,
    #[error("{0}")]
    Killed(KillCause),
    /// Never granted, closed at its own request, or ended too long ago.
    #[error("the session is not known")]
    Unknown,
}

pub(super) struct EndedSlots {
    capacity: usize,
    ends: HashMap<SlotNumber, SlotEnding>,
    latest: Option<Instant>,
    order: VecDeque<EndedSlot>,
    total: u64,
}

impl EndedSlots {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ends: HashMap::new(), latest: None, order: VecDeque::new(), total: 0 }
    }

    pub(super) fn tell(&mut self, now: Instant) {
        self.latest = self.latest.max(Some(now));
    }

    /// Returns the end that was forgotten for it.
    pub(super) fn add(&mut self, ended: EndedSlot) -> Option<SlotNumber> {
        self.total += 1;
        self.ends.insert(ended.slot, ended.end);
        self.order.push_back(ended);
        let surplus = self.order.len() > self.capacity;
        let oldest = if surplus { self.order.pop_front()?.slot } else { return None };
        self.ends.remove(&oldest);
        Some(oldest)
    }

    pub(super) fn why(&self, slot: SlotNumber) -> SlotLoss {
        match self.ends.get(&slot) {
            Some(SlotEnding::Expire) => SlotLoss::Expired,
            Some(SlotEnding::Kill(cause)) => SlotLoss::Killed(*cause),
            Some(SlotEnding::Close) | None => SlotLoss::Unknown,
        }
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &EndedSlot> {
        self.order.iter().rev()
    }

    pub(super) fn latest(&self) -> Option<Instant> {
        self.latest
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }
}
