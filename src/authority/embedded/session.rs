//! One live session of the ledger, inside and as it is shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reserve::Reservation;
use super::{Slot, claim};

/// One live session as [`super::Ledger::list`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
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
    pub slot: Slot,
    /// A beat later than this finds the session expired.
    pub until: Instant,
}

/// The names under which a session, or a reservation after it, is counted.
pub(super) struct Places {
    pub(super) account: Arc<str>,
    /// As [`super::claim::Grouped`] names them.
    pub(super) groups: [Option<Arc<str>>; 2],
}

pub(super) struct Session {
    /// The instant of its valid entry in `Ledger::due`.
    pub(super) armed: Instant,
    pub(super) beats: u64,
    /// Shares the places of this one for as long as that lives: one of the two is a preload.
    pub(super) beside: Option<Slot>,
    pub(super) content: Arc<str>,
    pub(super) device: Arc<str>,
    /// Asked for, and not confirmed yet: nobody has had to give way to it.
    pub(super) is_provisional: bool,
    /// The reservation that it uses, for as long as it is provisional.
    pub(super) kept: Option<Box<(Slot, Reservation)>>,
    pub(super) last: Instant,
    pub(super) lifetime: Duration,
    pub(super) opened: Instant,
    pub(super) places: Places,
    pub(super) until: Instant,
}

impl Session {
    pub(super) fn row(&self, slot: Slot) -> Row<'_> {
        let [content_group, device_group] =
            self.places.groups.each_ref().map(|group| group.as_deref().map(claim::group_of));
        Row {
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
