//! The embedded authority: a ledger of who plays what, and how many may.
//!
//! Owns admission (limits per account and per device), liveness (a session whose beats stop is
//! gone after interval and grace) and kills. Pure: no I/O and no clock, `now` is always given. The
//! proxy uses it as an authority without a network; the head-end simulator serves it over a
//! vendor's wire. Memory is bounded: so many live sessions, so many remembered ends, names of at
//! most [`NAME_LONGEST`] bytes.

mod index;
mod limit;
mod past;
mod session;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use index::Index;
pub use limit::{Holder, Limit, Limits, NAME_LONGEST};
use past::Past;
pub use past::{End, Ended, Lost};
pub use session::Row;
use session::Session;

/// Ends that are remembered at most: enough to tell each of a burst of lost beats why.
const PAST_MOST: usize = 65_536;

/// One granted session. Opaque; never used twice by one ledger.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Slot(pub u64);

/// Accounts and devices to their live sessions, in constant time per call.
pub struct Ledger {
    accounts: Index,
    capacity: usize,
    devices: Index,
    /// When to look at a session again: one valid entry each, never later than its deadline, because
    /// a beat moves `Session::until` alone.
    due: BinaryHeap<Reverse<(Instant, Slot)>>,
    next: u64,
    past: Past,
    sessions: HashMap<Slot, Session>,
}

impl Ledger {
    /// Holds at most `capacity` sessions and remembers as many ends, at most 65 536. Slots count up
    /// from `first`: a random one keeps slots of an earlier run from naming another session.
    pub fn new(capacity: usize, first: u64) -> Self {
        Self {
            accounts: Index::default(),
            capacity,
            devices: Index::default(),
            due: BinaryHeap::new(),
            // Half of the numbers are room to count up without wrapping.
            next: first & (u64::MAX >> 1),
            past: Past::new(capacity.min(PAST_MOST)),
            sessions: HashMap::new(),
        }
    }

    /// Grants a session if every limit allows one more. A device that opens twice holds two.
    pub fn open(
        &mut self,
        now: Instant,
        account: &str,
        device: &str,
        content: &str,
        limits: &Limits,
    ) -> Result<Slot, Limit> {
        let slot = Slot(self.next);
        self.adopt(now, slot, account, device, content, limits)?;
        Ok(slot)
    }

    /// As [`Self::open`], for a slot that an earlier run granted: counts it again after a restart.
    /// A slot that lives already stays as it is.
    pub fn adopt(
        &mut self,
        now: Instant,
        slot: Slot,
        account: &str,
        device: &str,
        content: &str,
        limits: &Limits,
    ) -> Result<(), Limit> {
        self.sweep(now);
        if self.sessions.contains_key(&slot) {
            return Ok(());
        }
        self.admit(account, device, content, limits)?;
        self.next = self.next.max(slot.0.wrapping_add(1));
        let lifetime = limits.lifetime();
        let until = now + lifetime;
        let session = Session {
            account: self.accounts.add(account, slot),
            armed: until,
            beats: 0,
            content: content.into(),
            device: self.devices.add(device, slot),
            last: now,
            lifetime,
            opened: now,
            until,
        };
        self.sessions.insert(slot, session);
        self.due.push(Reverse((until, slot)));
        self.compact();
        Ok(())
    }

    /// Confirms a session for another interval and grace.
    pub fn beat(&mut self, now: Instant, slot: Slot) -> Result<(), Lost> {
        self.past.tell(now);
        let Some(session) = self.sessions.get_mut(&slot) else { return Err(self.past.why(slot)) };
        if session.until < now {
            let until = session.until;
            self.end(slot, End::Expire, Some(until));
            return Err(Lost::Expired);
        }
        session.beats += 1;
        session.last = session.last.max(now);
        session.until = session.last + session.lifetime;
        Ok(())
    }

    /// Ends a session at its own wish. False if it was not live.
    pub fn close(&mut self, slot: Slot) -> bool {
        self.end(slot, End::Close, None)
    }

    /// Ends one session against its will. False if it was not live.
    pub fn kill(&mut self, slot: Slot) -> bool {
        self.end(slot, End::Kill, None)
    }

    /// Kills every session of an account; returns how many there were.
    pub fn kill_account(&mut self, account: &str) -> usize {
        let slots = self.accounts.slots(account);
        slots.into_iter().filter(|&slot| self.kill(slot)).count()
    }

    /// Kills every session of a device, of whatever account; returns how many there were.
    pub fn kill_device(&mut self, device: &str) -> usize {
        let slots = self.devices.slots(device);
        slots.into_iter().filter(|&slot| self.kill(slot)).count()
    }

    /// Ends what missed its beats; returns how many. Costs only what is due.
    pub fn sweep(&mut self, now: Instant) -> usize {
        self.past.tell(now);
        let mut expired = 0;
        while let Some(&Reverse((at, slot))) = self.due.peek() {
            if now <= at {
                break;
            }
            self.due.pop();
            let Some(session) = self.sessions.get_mut(&slot).filter(|session| session.armed == at) else { continue };
            let until = session.until;
            if until < now {
                self.end(slot, End::Expire, Some(until));
                expired += 1;
                continue;
            }
            session.armed = until;
            self.due.push(Reverse((until, slot)));
        }
        expired
    }

    /// No session expires before this; nothing to sweep earlier. Never if nothing is live.
    pub fn due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The live sessions, in no order.
    pub fn list(&self) -> impl Iterator<Item = Row<'_>> {
        self.sessions.iter().map(|(slot, session)| session.row(*slot))
    }

    pub fn row(&self, slot: Slot) -> Option<Row<'_>> {
        self.sessions.get(&slot).map(|session| session.row(slot))
    }

    /// The remembered ends, newest first.
    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.past.newest_first()
    }

    /// How many sessions ever ended, remembered or not.
    pub fn ended_total(&self) -> u64 {
        self.past.total()
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn admit(&self, account: &str, device: &str, content: &str, limits: &Limits) -> Result<(), Limit> {
        if [account, device, content].iter().any(|name| name.len() > NAME_LONGEST) {
            return Err(Limit::Name);
        }
        if self.sessions.len() >= self.capacity {
            return Err(Limit::Full { allowed: self.capacity });
        }
        if self.accounts.count(account) >= limits.per_account as usize {
            let holders = self.holders(self.accounts.some(account));
            return Err(Limit::Account { allowed: limits.per_account, holders });
        }
        match limits.per_device {
            Some(allowed) if self.devices.count(device) >= allowed as usize => {
                Err(Limit::Device { allowed, holders: self.holders(self.devices.some(device)) })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn holders(&self, slots: impl Iterator<Item = Slot>) -> Vec<Holder> {
        slots.filter_map(|slot| self.row(slot)).map(Holder::of).collect()
    }

    fn end(&mut self, slot: Slot, end: End, at: Option<Instant>) -> bool {
        let Some(session) = self.sessions.remove(&slot) else { return false };
        self.accounts.remove(&session.account, slot);
        self.devices.remove(&session.device, slot);
        self.past.add(Ended {
            account: session.account,
            at: at.unwrap_or_else(|| self.past.latest().unwrap_or(session.last)),
            beats: session.beats,
            content: session.content,
            device: session.device,
            end,
            opened: session.opened,
            slot,
        });
        true
    }

    /// Sessions that open and close faster than they would expire leave entries behind; drops
    /// them before they outnumber the live ones.
    fn compact(&mut self) {
        const SLACK: usize = 1024;
        if self.due.len() > 2 * self.sessions.len() + SLACK {
            let sessions = &self.sessions;
            self.due.retain(|Reverse((at, slot))| sessions.get(slot).is_some_and(|session| session.armed == *at));
        }
    }
}

#[cfg(test)]
mod tests;
