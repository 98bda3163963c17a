//! Carries the ledger over a restart: tracks changes, and restores slots of an earlier run.
//!
//! Beats are not recorded, because a restored session has a whole lifetime for its next one. Held and kept slots are
//! recorded, and killed sessions, because their players may not know yet.

use std::time::Duration;

use super::reserve::SlotReservation;
use super::slot_session::{LiveSlot, SlotPlaces};
use super::{EndedSlot, KillCause, SlotEnding, SlotLedger, SlotLoss, SlotNumber};
use super::{SlotCause, SlotEnded, SlotHeld, SlotKept, SlotRecord};
use crate::time::ClockMoment;

impl SlotLedger {
    /// Tracks changed slots from now on, for [`Self::take_changed`].
    pub fn track(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The slots that changed since the last call; one may occur twice.
    pub fn take_changed(&mut self) -> Vec<SlotNumber> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn note(&mut self, slot: SlotNumber) {
        if let Some(changed) = &mut self.changed {
            changed.push(slot);
        }
    }

    /// The record of a slot for after a restart; `None` if nothing must be remembered.
    pub fn record(&self, slot: SlotNumber, authority: &std::sync::Arc<str>, at: &ClockMoment) -> Option<SlotRecord> {
        let held = self.sessions.get(&slot).map(|session| SlotHeld {
            account: (&*session.places.account).into(),
            beats: session.beats,
            content: (&*session.content).into(),
            device: (&*session.device).into(),
            groups: groups(&session.places),
            opened: at.wall_of(session.opened),
        });
        let kept = self.reserved.get(&slot).map(|reservation| SlotKept {
            account: (&*reservation.places.account).into(),
            device: (&*reservation.device).into(),
            groups: groups(&reservation.places),
            until: at.wall_of(reservation.until),
        });
        let ended = match self.past.why(slot) {
            SlotLoss::Killed(cause) => self.ended().find(|ended| ended.slot == slot).map(|ended| SlotEnded {
                account: (&*ended.account).into(),
                at: at.wall_of(ended.at),
                beats: ended.beats,
                cause: cause.into(),
                content: (&*ended.content).into(),
                device: (&*ended.device).into(),
                opened: at.wall_of(ended.opened),
            }),
            SlotLoss::Expired | SlotLoss::Unknown => None,
        };
        let record = SlotRecord { authority: authority.clone(), ended, held, kept, slot: slot.0 };
        (record.ended.is_some() || record.held.is_some() || record.kept.is_some()).then_some(record)
    }

    /// Restores a slot of an earlier run, whatever the limits are now; they hold for new sessions. `lifetime` is the
    /// time from one beat to the next.
    pub fn restore(&mut self, record: &SlotRecord, lifetime: Duration, at: &ClockMoment) {
        let slot = SlotNumber(record.slot);
        self.next = self.next.max(slot.0.wrapping_add(1));
        self.past.tell(at.now);
        if let Some(ended) = &record.ended {
            let _evicted = self.past.add(EndedSlot {
                account: (&*ended.account).into(),
                at: at.instant_of(ended.at).min(at.now),
                beats: ended.beats,
                content: (&*ended.content).into(),
                device: (&*ended.device).into(),
                end: SlotEnding::Kill(ended.cause.into()),
                opened: at.instant_of(ended.opened).min(at.now),
                slot,
            });
        }
        if let Some(kept) = &record.kept {
            let places = self.places(&kept.account, &kept.groups, slot);
            let until = at.instant_of(kept.until).min(at.now + super::MOVED_SLOT_KEPT);
            self.reserved.insert(slot, SlotReservation { device: (&*kept.device).into(), places, until });
            self.arm(until, slot);
        } else if let Some(held) = record.held.as_ref().filter(|_| !self.sessions.contains_key(&slot)) {
            let places = self.places(&held.account, &held.groups, slot);
            let lifetime = lifetime.min(super::limit::MAX_LIFETIME);
            let until = at.now + lifetime;
            let session = LiveSlot {
                armed: until,
                beats: held.beats,
                beside: None,
                content: (&*held.content).into(),
                device: self.devices.add(&held.device, slot),
                // The call's outcome is lost, so the sessions that gave way, or would have, stay as they are.
                is_provisional: false,
                kept: None,
                last: at.now,
                lifetime,
                opened: at.instant_of(held.opened).min(at.now),
                places,
                until,
            };
            self.sessions.insert(slot, session);
            self.arm(until, slot);
        }
    }

    fn places(&mut self, account: &str, groups: &[Option<String>; 2], slot: SlotNumber) -> SlotPlaces {
        let groups = groups.each_ref().map(|group| group.as_ref().map(|group| self.groups.add(group, slot)));
        SlotPlaces { account: self.accounts.add(account, slot), groups }
    }
}

fn groups(places: &SlotPlaces) -> [Option<String>; 2] {
    places.groups.each_ref().map(|group| group.as_deref().map(str::to_owned))
}

impl From<KillCause> for SlotCause {
    fn from(cause: KillCause) -> Self {
        match cause {
            KillCause::Deny => Self::Deny,
            KillCause::Move => Self::Move,
            KillCause::Order => Self::Order,
            KillCause::Replace => Self::Replace,
        }
    }
}

impl From<SlotCause> for KillCause {
    fn from(cause: SlotCause) -> Self {
        match cause {
            SlotCause::Deny => Self::Deny,
            SlotCause::Move => Self::Move,
            SlotCause::Order => Self::Order,
            SlotCause::Replace => Self::Replace,
        }
    }
}
