//! Decides whether a session may be granted, and which others would have to end for it.
//!
//! The decision changes nothing; [`super::SlotLedger::open`] acts.

use super::claim::GroupKind;
use super::limit::{OnLimit, SlotHolder};
use super::{LedgerClaim, LimitReached, SlotLedger, SlotLimits, SlotNumber};

impl SlotLedger {
    /// The sessions to end so that every limit allows one more; none unless `limits` allow that. Narrow limits come
    /// first, because their victims count for the account too. `beside` is the session whose places the new one
    /// shares.
    pub(super) fn admit(
        &self,
        claim: &LedgerClaim<'_>,
        beside: Option<SlotNumber>,
        limits: &SlotLimits,
    ) -> Result<Vec<SlotNumber>, LimitReached> {
        if !claim.fits() {
            return Err(LimitReached::Name);
        }
        if self.sessions.len() + self.reserved.len() >= self.capacity {
            return Err(LimitReached::Full { allowed: self.capacity });
        }
        let mut victims = Vec::new();
        let more = |held: &[SlotNumber]| usize::from(beside.is_none_or(|beside| !held.contains(&beside)));
        if let (Some(allowed), Some(group)) = (limits.per_device_group, claim.group(GroupKind::Device)) {
            let held = self.counted(self.groups.slots(&group));
            self.make_room((more(&held), held), allowed, limits, &mut victims, |allowed, holders| {
                LimitReached::DeviceGroup { allowed, holders }
            })?;
        }
        if let (Some(allowed), Some(group)) = (limits.per_content_group, claim.group(GroupKind::Content)) {
            let held = self.counted(self.groups.slots(&group));
            self.make_room((more(&held), held), allowed, limits, &mut victims, |allowed, holders| {
                LimitReached::ContentGroup { allowed, holders }
            })?;
        }
        if self.accounts.count(claim.account) >= limits.per_account as usize {
            let held = self.counted(self.accounts.slots(claim.account));
            self.make_room((more(&held), held), limits.per_account, limits, &mut victims, |allowed, holders| {
                LimitReached::Account { allowed, holders }
            })?;
        }
        match limits.per_device {
            Some(allowed) if beside.is_none() && self.devices.count(claim.device) >= allowed as usize => {
                Err(LimitReached::Device { allowed, holders: self.holders(self.devices.all(claim.device)) })
            }
            Some(_) | None => Ok(victims),
        }
    }

    /// Adds to `victims` the oldest holders of a place, until there is room for so many more.
    fn make_room(
        &self,
        (more, mut held): (usize, Vec<SlotNumber>),
        allowed: u32,
        limits: &SlotLimits,
        victims: &mut Vec<SlotNumber>,
        refuse: impl FnOnce(u32, Vec<SlotHolder>) -> LimitReached,
    ) -> Result<(), LimitReached> {
        held.retain(|slot| !victims.contains(slot));
        let surplus = (held.len() + more).saturating_sub(allowed as usize);
        if surplus == 0 {
            return Ok(());
        }
        let mut sessions: Vec<_> =
            held.iter().filter_map(|slot| Some((self.sessions.get(slot)?.opened, *slot))).collect();
        if limits.on_limit == OnLimit::DenyNewest || sessions.len() < surplus || allowed == 0 {
            return Err(refuse(allowed, self.holders(held.into_iter())));
        }
        sessions.sort_unstable();
        victims.extend(sessions.into_iter().take(surplus).map(|(_, slot)| slot));
        Ok(())
    }

    fn holders(&self, slots: impl Iterator<Item = SlotNumber>) -> Vec<SlotHolder> {
        slots.filter_map(|slot| self.row(slot)).take(SlotHolder::MAX_HOLDERS_SHOWN).map(SlotHolder::of).collect()
    }
}
