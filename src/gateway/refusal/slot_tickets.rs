//! Tickets by which a viewer who met a limit may see and end the running playbacks of the account.
//!
//! A ticket stands for the identity of one refused call. Its key goes only to that call's player, within the refusal,
//! and is good for one order within a quarter of an hour. An incident without its key reveals nothing, not even
//! whether it exists. Bounded per account, so that an account that is refused all the time displaces no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

use crate::ids::{Incident, random_u64};

const TICKET_LIFE: Duration = Duration::from_mins(15);
const MAX_ACCOUNTS: usize = 1024;
const MAX_TICKETS_PER_ACCOUNT: usize = 8;

/// Tickets of all workers.
#[derive(Default)]
pub struct SlotTickets(Mutex<HashMap<(Arc<str>, String), Vec<SlotTicket>>>);

/// The account whose slots may be seen, and the device for which one may be ended.
#[derive(Clone)]
pub(in crate::gateway) struct SlotTicket {
    pub(in crate::gateway) account: String,
    pub(in crate::gateway) authority: Arc<str>,
    pub(in crate::gateway) device: String,
    incident: Incident,
    issued: Instant,
    /// Thirty-two hexadecimal digits.
    key: String,
}

impl SlotTickets {
    /// Issues a ticket and returns its key; `None` if too many accounts have tickets.
    pub(in crate::gateway) fn issue(
        &self,
        now: Instant,
        incident: Incident,
        (authority, account, device): (Arc<str>, String, String),
    ) -> Option<String> {
        let key = format!("{:016x}{:016x}", random_u64(), random_u64());
        let mut tickets = self.tickets();
        let name = (authority.clone(), account.clone());
        if !tickets.contains_key(&name) && tickets.len() >= MAX_ACCOUNTS {
            tickets.retain(|_, of_account| of_account.iter().any(|ticket| ticket.is_good(now)));
            if tickets.len() >= MAX_ACCOUNTS {
                return None;
            }
        }
        let of_account = tickets.entry(name).or_default();
        of_account.retain(|ticket| ticket.is_good(now));
        // A player that asks repeatedly shows its first refusal or its last, so the newest ticket is replaced.
        if of_account.len() >= MAX_TICKETS_PER_ACCOUNT {
            of_account.pop();
        }
        of_account.push(SlotTicket { account, authority, device, incident, issued: now, key: key.clone() });
        Some(key)
    }

    /// The ticket of this incident, if the key fits.
    pub(in crate::gateway) fn find(&self, now: Instant, incident: Incident, key: &str) -> Option<SlotTicket> {
        let tickets = self.tickets();
        let found = tickets.values().flatten().find(|ticket| ticket.fits(now, incident, key));
        found.cloned()
    }

    /// Like [`Self::find`], but uses the ticket up.
    pub(in crate::gateway) fn take(&self, now: Instant, incident: Incident, key: &str) -> Option<SlotTicket> {
        let mut tickets = self.tickets();
        tickets.values_mut().find_map(|of_account| {
            let at = of_account.iter().position(|ticket| ticket.fits(now, incident, key))?;
            Some(of_account.remove(at))
        })
    }

    /// Returns a ticket whose order failed.
    pub(in crate::gateway) fn put_back(&self, ticket: SlotTicket) {
        let mut tickets = self.tickets();
        if let Some(of_account) = tickets.get_mut(&(ticket.authority.clone(), ticket.account.clone()))
            && of_account.len() < MAX_TICKETS_PER_ACCOUNT
        {
            of_account.push(ticket);
        }
    }

    fn tickets(&self) -> MutexGuard<'_, HashMap<(Arc<str>, String), Vec<SlotTicket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTicket {
    fn is_good(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.issued) < TICKET_LIFE
    }

    fn fits(&self, now: Instant, incident: Incident, key: &str) -> bool {
        self.incident == incident && self.is_good(now) && bool::from(self.key.as_bytes().ct_eq(key.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn issue(tickets: &SlotTickets, now: Instant, incident: u64, account: &str) -> Option<String> {
        tickets.issue(now, Incident(incident), ("home".into(), account.to_owned(), "tv".to_owned()))
    }

    #[test]
    fn a_ticket_is_found_by_its_key_alone_used_once_and_for_a_while() {
        let (tickets, now) = (SlotTickets::default(), Clock.now());
        let key = issue(&tickets, now, 1, "ann").unwrap();
        let other = issue(&tickets, now, 2, "bob").unwrap();
        assert!(key.len() == 32 && key != other);
        assert!(tickets.find(now, Incident(1), &key).is_some_and(|ticket| ticket.account == "ann"));
        for (incident, key) in [(1, &*other), (2, &*key), (1, ""), (1, &key[1..]), (3, &*key)] {
            assert!(tickets.find(now, Incident(incident), key).is_none());
            assert!(tickets.take(now, Incident(incident), key).is_none());
        }
        assert!(tickets.find(now + TICKET_LIFE, Incident(1), &key).is_none());
        let taken = tickets.take(now, Incident(1), &key).unwrap();
        assert!(tickets.take(now, Incident(1), &key).is_none());
        tickets.put_back(taken);
        assert!(tickets.take(now, Incident(1), &key).is_some());
    }

    #[test]
    fn tickets_are_bounded_and_one_account_displaces_no_other() {
        let (tickets, now) = (SlotTickets::default(), Clock.now());
        let first = issue(&tickets, now, 0, "ann").unwrap();
        let keys: Vec<_> = (1..10_000).map(|incident| issue(&tickets, now, incident, "bob").unwrap()).collect();
        assert!(tickets.find(now, Incident(0), &first).is_some());
        for (place, kept) in [(0, true), (6, true), (7, false), (9_997, false), (9_998, true)] {
            let found = tickets.find(now, Incident(place as u64 + 1), &keys[place]);
            assert_eq!(found.is_some(), kept, "what bob's refusal {place} led to");
        }
        assert_eq!(tickets.tickets().values().map(Vec::len).max(), Some(MAX_TICKETS_PER_ACCOUNT));
        for account in 0..2 * MAX_ACCOUNTS {
            let _full = issue(&tickets, now, 7, &account.to_string());
        }
        assert_eq!(tickets.tickets().len(), MAX_ACCOUNTS);
        assert!(tickets.find(now, Incident(0), &first).is_some());
        assert!(issue(&tickets, now + TICKET_LIFE, 8, "new").is_some(), "old ones make room");
    }
}
