//! The ledger of the embedded authority: which accounts and devices play what, and how many may.
//!
//! The ledger decides admission (limits per account, per device, and per device or content group of an account; the
//! reaction at a limit; slots reserved for a device), liveness (a session without beats ends after interval and grace)
//! and kills. It has no I/O and no clock: `now` is an argument. The proxy uses it as an authority without a network;
//! the head-end simulator serves it over a vendor's wire. Memory is bounded: sessions, remembered ends, and names of at
//! most [`MAX_LEDGER_NAME_BYTES`].

mod admit;
mod beside;
mod claim;
mod deny;
mod ended_slots;
mod keep;
mod limit;
mod provisional;
mod record;
mod reserve;
mod slot_index;
mod slot_session;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Bound;
use std::time::Instant;

use claim::GroupKind;
pub use claim::LedgerClaim;
use ended_slots::EndedSlots;
pub use ended_slots::{EndedSlot, KillCause, SlotEnding, SlotLoss};
pub use limit::{LimitReached, MAX_LEDGER_NAME_BYTES, OnLimit, SlotHolder, SlotLimits};
pub use record::{SlotCause, SlotEnded, SlotHeld, SlotKept, SlotRecord};
use reserve::SlotReservation;
pub use reserve::{MOVED_SLOT_KEPT, ReservedSlot};
use slot_index::SlotIndex;
pub use slot_session::SlotRow;
use slot_session::{LiveSlot, SlotPlaces};

/// Remembered ends: enough to give a burst of beats their reasons.
const MAX_ENDED_SLOTS: usize = 65_536;

/// The number of a granted session. Opaque; a ledger never uses one twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SlotNumber(pub u64);

/// Maps accounts and devices to their live sessions. The cost of a call is logarithmic in their number.
pub struct SlotLedger {
    accounts: SlotIndex,
    capacity: usize,
    /// Changed slots, if they are tracked.
    changed: Option<Vec<SlotNumber>>,
    devices: SlotIndex,
    /// Times to look at a session again: one valid entry each, never later than its deadline, because a beat moves
    /// only `LiveSlot::until`.
    due: BinaryHeap<Reverse<(Instant, SlotNumber)>>,
    /// Device and content groups, each within its account.
    groups: SlotIndex,
    next: u64,
    past: EndedSlots,
    reserved: HashMap<SlotNumber, SlotReservation>,
    /// Slots count up, so the order is that of their opening.
    sessions: BTreeMap<SlotNumber, LiveSlot>,
}

impl SlotLedger {
    /// Holds at most `capacity` sessions and as many remembered ends, at most 65 536. Slots count up from `first`; a
    /// random one keeps slots of an earlier run from naming another session.
    pub fn new(capacity: usize, first: u64) -> Self {
        Self {
            accounts: SlotIndex::default(),
            capacity,
            changed: None,
            devices: SlotIndex::default(),
            due: BinaryHeap::new(),
            groups: SlotIndex::default(),
            // Half of the numbers are room to count up without wrapping.
            next: first & (u64::MAX >> 1),
            past: EndedSlots::new(capacity.min(MAX_ENDED_SLOTS)),
            reserved: HashMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Grants a session if every limit allows one more, or makes room if the limits say so. A device that opens twice
    /// holds two. Also returns the sessions that ended for it, oldest first.
    pub fn open(
        &mut self,
        now: Instant,
        claim: &LedgerClaim<'_>,
        limits: &SlotLimits,
    ) -> Result<(SlotNumber, Vec<SlotNumber>), LimitReached> {
        let slot = SlotNumber(self.next);
        let ended = self.adopt(now, slot, claim, limits)?;
        Ok((slot, ended))
    }

    /// Like [`Self::open`], for a slot of an earlier run: counts it again after a restart. A live slot stays as it
    /// is.
    pub fn adopt(
        &mut self,
        now: Instant,
        slot: SlotNumber,
        claim: &LedgerClaim<'_>,
        limits: &SlotLimits,
    ) -> Result<Vec<SlotNumber>, LimitReached> {
        self.sweep(now);
        if self.sessions.contains_key(&slot) {
            return Ok(Vec::new());
        }
        let victims = self.admit_reserved(claim, limits)?;
        let victims = self.with_spares(victims);
        self.lapse(slot);
        for victim in &victims {
            self.end(*victim, SlotEnding::Kill(KillCause::Replace), None);
        }
        self.next = self.next.max(slot.0.wrapping_add(1));
        self.insert(now, slot, claim, limits);
        self.compact();
        Ok(victims)
    }

    /// Like [`Self::admit`], using up the claim's reservation if it has one.
    fn admit_reserved(
        &mut self,
        claim: &LedgerClaim<'_>,
        limits: &SlotLimits,
    ) -> Result<Vec<SlotNumber>, LimitReached> {
        let reservation = self.reservation(claim.account, claim.device);
        let Some((slot, reservation)) = reservation.and_then(|slot| self.reserved.remove_entry(&slot)) else {
            return self.admit(claim, None, limits);
        };
        self.free(&reservation.places, slot);
        let admitted = self.admit(claim, None, limits);
        self.note(slot);
        if admitted.is_err() {
            self.hold(&reservation.places, slot);
            self.reserved.insert(slot, reservation);
        }
        admitted
    }

    fn insert(&mut self, now: Instant, slot: SlotNumber, claim: &LedgerClaim<'_>, limits: &SlotLimits) {
        let lifetime = limits.lifetime();
        let until = now + lifetime;
        let groups = [GroupKind::Content, GroupKind::Device].map(|of| claim.group(of));
        let session = LiveSlot {
            armed: until,
            beats: 0,
            beside: None,
            content: claim.content.into(),
            device: self.devices.add(claim.device, slot),
            is_provisional: false,
            kept: None,
            last: now,
            lifetime,
            opened: now,
            places: SlotPlaces {
                account: self.accounts.add(claim.account, slot),
                groups: groups.map(|group| Some(self.groups.add(&group?, slot))),
            },
            until,
        };
        self.sessions.insert(slot, session);
        self.note(slot);
        self.arm(until, slot);
    }

    /// Confirms a session for another interval and grace.
    pub fn beat(&mut self, now: Instant, slot: SlotNumber) -> Result<(), SlotLoss> {
        self.past.tell(now);
        let Some(session) = self.sessions.get_mut(&slot) else { return Err(self.past.why(slot)) };
        if session.until < now {
            let until = session.until;
            self.end(slot, SlotEnding::Expire, Some(until));
            return Err(SlotLoss::Expired);
        }
        session.beats += 1;
        session.last = session.last.max(now);
        session.until = session.last + session.lifetime;
        Ok(())
    }

    /// Ends a session at its own request. False if it was not live.
    pub fn close(&mut self, slot: SlotNumber) -> bool {
        self.end(slot, SlotEnding::Close, None).is_some()
    }

    /// Ends a session against its will. False if it was not live.
    pub fn kill(&mut self, slot: SlotNumber) -> bool {
        self.end(slot, SlotEnding::Kill(KillCause::Order), None).is_some()
    }

    /// The reason why a session is gone; `None` while it lives.
    pub fn lost(&self, slot: SlotNumber) -> Option<SlotLoss> {
        (!self.sessions.contains_key(&slot)).then(|| self.past.why(slot))
    }

    /// Kills every session of an account; returns how many there were.
    pub fn kill_account(&mut self, account: &str) -> usize {
        let slots = self.accounts.slots(account);
        slots.into_iter().filter(|&slot| self.kill(slot)).count()
    }

    /// Kills every session of a device, in any account; returns how many there were.
    pub fn kill_device(&mut self, device: &str) -> usize {
        let slots = self.devices.slots(device);
        slots.into_iter().filter(|&slot| self.kill(slot)).count()
    }

    /// Ends sessions that missed their beats and returns how many; lets reservations lapse. Costs only the entries
    /// that are due.
    pub fn sweep(&mut self, now: Instant) -> usize {
        self.past.tell(now);
        let mut expired = 0;
        while let Some(&Reverse((at, slot))) = self.due.peek() {
            if now <= at {
                break;
            }
            self.due.pop();
            if self.reserved.get(&slot).is_some_and(|reservation| reservation.until == at) {
                self.lapse(slot);
                continue;
            }
            let Some(session) = self.sessions.get_mut(&slot).filter(|session| session.armed == at) else { continue };
            let until = session.until;
            if until < now {
                self.end(slot, SlotEnding::Expire, Some(until));
                expired += 1;
                continue;
            }
            session.armed = until;
            self.due.push(Reverse((until, slot)));
        }
        expired
    }

    /// The earliest time at which a session can expire or a reservation lapse; `None` if nothing is live.
    pub fn due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The live sessions, oldest first.
    pub fn list(&self) -> impl Iterator<Item = SlotRow<'_>> {
        self.list_after(None)
    }

    /// The live sessions that were opened after that slot, which may be gone.
    pub fn list_after(&self, after: Option<SlotNumber>) -> impl Iterator<Item = SlotRow<'_>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sessions.range((from, Bound::Unbounded)).map(|(slot, session)| session.row(*slot))
    }

    pub fn row(&self, slot: SlotNumber) -> Option<SlotRow<'_>> {
        self.sessions.get(&slot).map(|session| session.row(slot))
    }

    /// The remembered ends, newest first.
    pub fn ended(&self) -> impl Iterator<Item = &EndedSlot> {
        self.past.newest_first()
    }

    /// Number of sessions that ever ended, remembered or not.
    pub fn ended_total(&self) -> u64 {
        self.past.total()
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Removes a session; the caller passes its places on.
    fn end(&mut self, slot: SlotNumber, end: SlotEnding, at: Option<Instant>) -> Option<SlotPlaces> {
        let session = self.sessions.remove(&slot)?;
        self.free(&session.places, slot);
        self.devices.remove(&session.device, slot);
        self.note(slot);
        if let Some(kept) = session.kept {
            self.keep_again(*kept);
        }
        let evicted = self.past.add(EndedSlot {
            account: session.places.account.clone(),
            at: at.unwrap_or_else(|| self.past.latest().unwrap_or(session.last)),
            beats: session.beats,
            content: session.content,
            device: session.device,
            end,
            opened: session.opened,
            slot,
        });
        if let Some(evicted) = evicted {
            self.note(evicted);
        }
        Some(session.places)
    }

    fn arm(&mut self, at: Instant, slot: SlotNumber) {
        self.due.push(Reverse((at, slot)));
    }

    /// Removes outdated entries before they outnumber the live ones. Sessions that close before they would expire
    /// leave them behind.
    fn compact(&mut self) {
        const SLACK: usize = 1024;
        let (sessions, reserved) = (&self.sessions, &self.reserved);
        if self.due.len() > 2 * (sessions.len() + reserved.len()) + SLACK {
            self.due.retain(|Reverse((at, slot))| {
                sessions.get(slot).is_some_and(|session| session.armed == *at)
                    || reserved.get(slot).is_some_and(|reservation| reservation.until == *at)
            });
        }
    }
}

#[cfg(test)]
mod tests;
