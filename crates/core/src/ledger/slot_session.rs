//! A live session of the ledger: its state, and the row that shows it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reserve::SlotReservation;
use super::{SlotNumber, claim};

/// A live session as [`super::SlotLedger::list`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct SlotRow<'a> {
    pub account: &'a str,
    /// Confirmed beats; the opening does not count.
    pub beats: u64,
    pub content: &'a str,
    pub content_group: Option<&'a str>,
    pub device: &'a str,
    pub device_group: Option<&'a str>,
    /// Time of the opening or the last beat.
    pub last: Instant,
    pub opened: Instant,
    pub slot: SlotNumber,
    /// Time after which a beat finds the session expired.
    pub until: Instant,
}

/// Names under which a session or a reservation is counted.
pub(super) struct SlotPlaces {
    pub(super) account: Arc<str>,
    /// A group per [`super::claim::GroupKind`].
    pub(super) groups: [Option<Arc<str>>; 2],
}

pub(super) struct LiveSlot {
    /// Time of its valid entry in `SlotLedger::due`.
    pub(super) armed: Instant,
    pub(super) beats: u64,
    /// The session whose places it shares while that lives: one of the two is a preload.
    pub(super) beside: Option<SlotNumber>,
    pub(super) content: Arc<str>,
    pub(super) device: Arc<str>,
    /// Requested, but not confirmed yet, so no session has had to give way.
    pub(super) is_provisional: bool,
    /// The reservation that it uses while it is provisional.
    pub(super) kept: Option<Box<(SlotNumber, SlotReservation)>>,
    pub(super) last: Instant,
    pub(super) lifetime: Duration,
    pub(super) opened: Instant,
    pub(super) places: SlotPlaces,
    pub(super) until: Instant,
}

impl LiveSlot {
    pub(super) fn row(&self, slot: SlotNumber) -> SlotRow<'_> {
        let [content_group, device_group] =
            self.places.groups.each_ref().map(|group| group.as_deref().map(claim::group_of));
        SlotRow {
            account: &self.places.account,
            beats: self.beats,
            content: &self.content,
            content_group,
            device: &self.device,
            device_group,
            last: self.last,
            opened: self.opened,
            slot,
            until: self.until,
        }
    }
}
