//! Provisional sessions: granted, but not confirmed yet by the license or media that shows a true call.
//!
//! A provisional session holds its places like any other, so that two at once do not both get the last one; but no
//! session gives way to it. [`SlotLedger::confirm`] ends the sessions beyond the limits. A session that is closed
//! instead leaves everything as it was.

use std::time::Instant;

use super::claim::GroupKind;
use super::reserve::SlotReservation;
use super::{KillCause, LedgerClaim, LimitReached, OnLimit, SlotEnding, SlotLedger, SlotLimits, SlotNumber};

impl SlotLedger {
    /// Like [`SlotLedger::open`], but provisional: no session ends yet. It shares the places of `beside`, if that is
    /// a session of the same device: one of the two is a preload.
    pub fn reserve(
        &mut self,
        now: Instant,
        claim: &LedgerClaim<'_>,
        beside: Option<SlotNumber>,
        limits: &SlotLimits,
    ) -> Result<SlotNumber, LimitReached> {
        self.sweep(now);
        let beside = beside.and_then(|beside| self.shared(beside, claim));
        let reservation = self.reservation(claim.account, claim.device);
        let kept = reservation.and_then(|slot| self.reserved.remove_entry(&slot));
        if let Some((slot, reservation)) = &kept {
            self.free(&reservation.places, *slot);
            self.note(*slot);
        }
        if let Err(limit) = self.admit(claim, beside, limits) {
            kept.into_iter().for_each(|kept| self.keep_again(kept));
            return Err(limit);
        }
        let slot = SlotNumber(self.next);
        self.next = slot.0.wrapping_add(1);
        self.insert(now, slot, claim, limits);
        if let Some(session) = self.sessions.get_mut(&slot) {
            (session.beside, session.is_provisional, session.kept) = (beside, true, kept.map(Box::new));
        }
        self.compact();
        Ok(slot)
    }

    /// Confirms a provisional session. Returns the sessions that ended for it, oldest first.
    pub fn confirm(&mut self, slot: SlotNumber, limits: &SlotLimits) -> Vec<SlotNumber> {
        let Some(session) = self.sessions.get_mut(&slot).filter(|session| session.is_provisional) else {
            return Vec::new();
        };
        (session.is_provisional, session.kept) = (false, None);
        if limits.on_limit == OnLimit::DenyNewest {
            return Vec::new();
        }
        let account = session.places.account.clone();
        let [content_group, device_group] = session.places.groups.clone();
        debug_assert!(GroupKind::Content as usize == 0 && GroupKind::Device as usize == 1, "the order of groups");
        let mut victims = Vec::new();
        let groups = [(limits.per_device_group, device_group), (limits.per_content_group, content_group)];
        for (allowed, group) in groups {
            if let (Some(allowed), Some(group)) = (allowed, group) {
                self.add_surplus(self.groups.slots(&group), allowed, slot, &mut victims);
            }
        }
        self.add_surplus(self.accounts.slots(&account), limits.per_account, slot, &mut victims);
        let victims = self.with_spares(victims);
        for victim in &victims {
            self.end(*victim, SlotEnding::Kill(KillCause::Replace), None);
        }
        victims
    }

    /// Adds the oldest confirmed sessions that must give way to `newest`.
    fn add_surplus(&self, mut held: Vec<SlotNumber>, allowed: u32, newest: SlotNumber, victims: &mut Vec<SlotNumber>) {
        held = self.counted(held);
        let is_provisional = |slot: &SlotNumber| self.sessions.get(slot).is_some_and(|session| session.is_provisional);
        held.retain(|slot| !victims.contains(slot) && !is_provisional(slot));
        let surplus = held.len().saturating_sub(allowed as usize);
        let others = held.iter().filter(|slot| **slot != newest);
        let mut oldest: Vec<_> = others.filter_map(|slot| Some((self.sessions.get(slot)?.opened, *slot))).collect();
        oldest.sort_unstable();
        victims.extend(oldest.into_iter().take(surplus).map(|(_, slot)| slot));
    }

    pub(super) fn keep_again(&mut self, (slot, reservation): (SlotNumber, SlotReservation)) {
        let until = reservation.until;
        self.hold(&reservation.places, slot);
        self.reserved.insert(slot, reservation);
        self.note(slot);
        self.arm(until, slot);
    }
}
