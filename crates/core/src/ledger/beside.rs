//! Counts two sessions of one device as one: the one that it plays, and the one that it preloads.

use super::{LedgerClaim, SlotLedger, SlotNumber};

impl SlotLedger {
    /// The sessions that count: those that are not beside another of the list.
    pub(super) fn counted(&self, held: Vec<SlotNumber>) -> Vec<SlotNumber> {
        let beside = |slot: &SlotNumber| self.sessions.get(slot).and_then(|session| session.beside);
        let counts = |slot: &SlotNumber| beside(slot).is_none_or(|other| !held.contains(&other));
        held.iter().copied().filter(counts).collect()
    }

    /// The session whose places a new one beside it shares, if it belongs to the claim's device.
    pub(super) fn shared(&self, beside: SlotNumber, claim: &LedgerClaim<'_>) -> Option<SlotNumber> {
        let session = self.sessions.get(&beside)?;
        let known = session.beside.filter(|other| self.sessions.contains_key(other));
        let alike = *session.places.account == *claim.account && *session.device == *claim.device;
        alike.then_some(known.unwrap_or(beside))
    }

    /// Adds the sessions that share the places of ended ones, because these have none of their own.
    pub(super) fn with_spares(&self, mut ended: Vec<SlotNumber>) -> Vec<SlotNumber> {
        let all = ended.iter().filter_map(|slot| self.sessions.get(slot)).map(|session| &session.device);
        let near: Vec<_> = all.flat_map(|device| self.devices.all(device)).collect();
        let beside = |slot: &SlotNumber| self.sessions.get(slot).and_then(|session| session.beside);
        let spares = near.into_iter().filter(|slot| beside(slot).is_some_and(|other| ended.contains(&other)));
        let spares: Vec<_> = spares.filter(|slot| !ended.contains(slot)).collect();
        ended.extend(spares);
        ended
    }
}
