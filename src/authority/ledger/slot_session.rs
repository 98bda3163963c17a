//! A live session of the ledger, inside and as it is shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reserve::SlotReservation;
use super::{SlotNumber, claim};

/// A live session as [`super::SlotLedger::list`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct SlotRow<'a> {
    pub account: &'a str,
    /// Beats confirmed since it was opened; the opening is none.
    pub beats: u64,
    pub content: &'a str,
    pub content_group: Option<&'a str>,
    pub device: &'a str,
    pub device_group: Option<&'a str>,
    /// When it was opened or last beaten.
    pub last: Instant,
    pub opened: Instant,
    pub slot: SlotNumber,
    /// A beat later than this finds the session expired.
    pub until: Instant,
}

/// The names under which a session, or a reservation after it, is counted.
pub(super) struct SlotPlaces {
    pub(super) account: Arc<str>,
    /// As [`super::claim::GroupKind`] names them.
    pub(super) groups: [Option<Arc<str>>; 2],
}

pub(super) struct LiveSlot {
    /// The instant of its valid entry in `SlotLedger::due`.
    pub(super) armed: Instant,
    pub(super) beats: u64,
    /// Shares the places of this one for as long as that lives: one of the two is a preload.
    pub(super) beside: Option<SlotNumber>,
    pub(super) content: Arc<str>,
    pub(super) device: Arc<str>,
    /// Asked for, and not confirmed yet: nobody has had to give way to it.
    pub(super) is_provisional: bool,
    /// The reservation that it uses, for as long as it is provisional.
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
