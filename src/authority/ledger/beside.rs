//! Two sessions of one device that count as one: what it plays, and what it preloads.

use super::{LedgerClaim, SlotLedger, SlotNumber};

impl SlotLedger {
    /// Of these the ones that count: not those that are beside another of them.
    pub(super) fn counted(&self, held: Vec<SlotNumber>) -> Vec<SlotNumber> {
        let beside = |slot: &SlotNumber| self.sessions.get(slot).and_then(|session| session.beside);
        let counts = |slot: &SlotNumber| beside(slot).is_none_or(|other| !held.contains(&other));
        held.iter().copied().filter(counts).collect()
    }

    /// The session whose places one beside it shares, if it is of the claim's device.
    pub(super) fn shared(&self, beside: SlotNumber, claim: &LedgerClaim<'_>) -> Option<SlotNumber> {
        let session = self.sessions.get(&beside)?;
        let known = session.beside.filter(|other| self.sessions.contains_key(other));
        let alike = *session.places.account == *claim.account && *session.device == *claim.device;
        alike.then_some(known.unwrap_or(beside))
    }

    /// With whom those that end share their places: they have none without them.
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
