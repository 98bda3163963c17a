//! The ends that are remembered: the newest ones, as many as the ledger has places.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::Slot;

/// Why a session was ended against its will; shown to its player.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Cause {
    #[error("this account or device may not play any more")]
    Deny,
    #[error("this playback was moved to another device")]
    Move,
    #[error("the session was killed")]
    Order,
    #[error("another device plays now")]
    Replace,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Close,
    Expire,
    Kill(Cause),
}

#[derive(Clone, Debug)]
pub struct Ended {
    pub account: Arc<str>,
    /// An expiry's own deadline; for the other ends, the last time that the ledger was told.
    pub at: Instant,
    pub beats: u64,
    pub content: Arc<str>,
    pub device: Arc<str>,
    pub end: End,
    pub opened: Instant,
    pub slot: Slot,
}

/// Why a beat was refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Lost {
    #[error("the session missed its beats")]
    Expired,
    #[error("{0}")]
    Killed(Cause),
    /// Never granted, closed at its own wish, or ended too long ago.
    #[error("the session is not known")]
    Unknown,
}

pub(super) struct Past {
    capacity: usize,
    ends: HashMap<Slot, End>,
    latest: Option<Instant>,
    order: VecDeque<Ended>,
    total: u64,
}

impl Past {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ends: HashMap::new(), latest: None, order: VecDeque::new(), total: 0 }
    }

    pub(super) fn tell(&mut self, now: Instant) {
        self.latest = self.latest.max(Some(now));
    }

    /// Gives the one that had to be forgotten for it.
    pub(super) fn add(&mut self, ended: Ended) -> Option<Slot> {
        self.total += 1;
        self.ends.insert(ended.slot, ended.end);
        self.order.push_back(ended);
        let surplus = self.order.len() > self.capacity;
        let oldest = if surplus { self.order.pop_front()?.slot } else { return None };
        self.ends.remove(&oldest);
        Some(oldest)
    }

    pub(super) fn why(&self, slot: Slot) -> Lost {
        match self.ends.get(&slot) {
            Some(End::Expire) => Lost::Expired,
            Some(End::Kill(cause)) => Lost::Killed(*cause),
            Some(End::Close) | None => Lost::Unknown,
        }
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Ended> {
        self.order.iter().rev()
    }

    pub(super) fn latest(&self) -> Option<Instant> {
        self.latest
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }
}
