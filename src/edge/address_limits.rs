//! Bounds how much of the proxy one address may take.
//!
//! Counts connections, calls, bodies, their bytes and event listeners for each [`AddressKey`], and paces its new
//! connections (GCRA: a steady rate after an initial burst). A dropped [`AddressShare`] gives back what it stood for.
//! The bounded map holds addresses that hold something, and addresses that connected lately. A connection looks its
//! address up once and keeps the [`AddressHandle`]; its calls then take and give back without a lock. Time is an
//! argument. The acceptor calls with the connection's address, the service with the viewer's.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counters::{EdgeCounters, add};
use super::permit_pool::{Permit, PermitPool};
use crate::config::ServerLimits;

/// Connections that a quiet address may open at once, as seconds of the steady rate. A page opens six, and a
/// household that comes back after a power cut opens all of its own.
const ARRIVAL_BURST: Duration = Duration::from_secs(4);
/// Number of locks of the map, so that workers seldom wait for each other.
const ADDRESS_MAP_SHARDS: usize = 16;
/// When places are scarce, one address may have this fraction of the free ones.
const SCARCE_SHARE: usize = 8;
/// Addresses remembered only for their rate. Beyond that their rates are forgotten.
const MAX_RATED_ADDRESSES: usize = 65_536;

/// The unit of all limits per address: an IPv4 address, or an IPv6 network of 64 bits, because every household can
/// choose among that many addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AddressKey(IpAddr);

impl AddressKey {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            four @ IpAddr::V4(_) => four,
            IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64))),
        })
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(four) => four.fmt(f),
            IpAddr::V6(six) => write!(f, "{six}/64"),
        }
    }
}

/// Resources that are limited; the label of the metric that counts refusals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum AddressResource {
    /// Requests whose body is still arriving.
    Bodies,
    /// Bytes of arriving bodies and of calls in flight.
    BodyBytes,
    /// Calls, from the complete request to the last byte of the reply.
    Calls,
    /// New connections per second; no share is held for them.
    ConnectionRate,
    Connections,
    EventListeners,
}

impl AddressResource {
    pub const ALL: [Self; 6] =
        [Self::Bodies, Self::BodyBytes, Self::Calls, Self::ConnectionRate, Self::Connections, Self::EventListeners];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Bodies => "bodies",
            Self::BodyBytes => "body_bytes",
            Self::Calls => "calls",
            Self::ConnectionRate => "connection_rate",
            Self::Connections => "connections",
            Self::EventListeners => "event_listeners",
        }
    }
}

const RESOURCES: usize = AddressResource::ALL.len();

pub struct AddressLimits {
    /// Bound of each resource; for the rate, connections per second.
    bounds: [AtomicUsize; RESOURCES],
    counters: Arc<EdgeCounters>,
    hasher: RandomState,
    /// Event listeners of all addresses together, because each may hold its connection as long as it likes.
    listeners: Arc<PermitPool>,
    shards: [Mutex<HashMap<AddressKey, AddressEntry>>; ADDRESS_MAP_SHARDS],
    /// True if one address may have fewer calls than all together.
    tells_calls_apart: AtomicBool,
}

/// An address in the map.
struct AddressEntry {
    /// GCRA's theoretical arrival time: the next connection's time at the steady rate.
    next_arrival: Option<Instant>,
    used: Arc<AddressUse>,
}

/// The amounts of each resource that an address holds.
#[derive(Debug)]
struct AddressUse {
    handles: AtomicUsize,
    key: AddressKey,
    taken: [AtomicUsize; RESOURCES],
}

/// An address that was looked up. While there is one, the map keeps the address.
pub(super) struct AddressHandle {
    limits: Arc<AddressLimits>,
    used: Arc<AddressUse>,
}

/// An address's part of a resource; given back when dropped.
pub struct AddressShare {
    amount: usize,
    handle: AddressHandle,
    /// The listener's part of the bound for all addresses together.
    _of_all: Option<Permit>,
    resource: AddressResource,
}

impl Default for AddressLimits {
    /// Limits nothing.
    fn default() -> Self {
        Self {
            bounds: std::array::from_fn(|_| AtomicUsize::new(usize::MAX)),
            counters: Arc::default(),
            hasher: RandomState::new(),
            listeners: PermitPool::new(usize::MAX),
            shards: std::array::from_fn(|_| Mutex::default()),
            tells_calls_apart: AtomicBool::new(false),
        }
    }
}

impl AddressLimits {
    pub(super) fn new(limits: &ServerLimits, counters: Arc<EdgeCounters>) -> Arc<Self> {
        let made = Self { counters, ..Self::default() };
        made.change(limits);
        Arc::new(made)
    }

    /// Changes the bounds. Shares already taken stay.
    pub(super) fn change(&self, limits: &ServerLimits) {
        for (resource, bound) in AddressResource::ALL.into_iter().zip(&self.bounds) {
            let most = match resource {
                AddressResource::Bodies | AddressResource::Connections => limits.connections_per_address,
                AddressResource::BodyBytes => limits.body_memory_per_address,
                AddressResource::Calls => limits.in_flight_per_address,
                AddressResource::ConnectionRate => limits.new_connections_per_address,
                AddressResource::EventListeners => limits.event_listeners_per_address,
            };
            bound.store(most, Ordering::Relaxed);
        }
        self.tells_calls_apart.store(limits.in_flight_per_address < limits.in_flight, Ordering::Relaxed);
    }

    /// Bounds the event listeners of all addresses together.
    pub(super) fn bound_listeners(&self, most: usize) {
        self.listeners.change(most);
    }

    /// Counts a new connection for the rate of its address; false if it comes too soon.
    pub fn arrive(&self, address: IpAddr, now: Instant) -> bool {
        let per_second = self.bound(AddressResource::ConnectionRate);
        let key = AddressKey::of(address);
        let mut shard = self.shard(key);
        if shard.len() >= MAX_RATED_ADDRESSES / ADDRESS_MAP_SHARDS && !shard.contains_key(&key) {
            make_room(&mut shard, now);
        }
        let entry = shard.entry(key).or_insert_with(|| AddressEntry::new(key));
        let next = entry.next_arrival.map_or(now, |next| next.max(now));
        if next.saturating_duration_since(now) > ARRIVAL_BURST {
            drop(shard);
            self.counters.address_refusal(AddressResource::ConnectionRate);
            return false;
        }
        let apart = Duration::from_secs(1).checked_div(u32::try_from(per_second).unwrap_or(u32::MAX));
        entry.next_arrival = Some(next + apart.unwrap_or_default());
        true
    }

    /// Takes part of a resource; `None` if that is more than the address may have.
    pub fn take(self: &Arc<Self>, address: IpAddr, resource: AddressResource, amount: usize) -> Option<AddressShare> {
        self.handle(address).take(resource, amount)
    }

    /// Looks the address up.
    pub(super) fn handle(self: &Arc<Self>, address: IpAddr) -> AddressHandle {
        let key = AddressKey::of(address);
        let mut shard = self.shard(key);
        let used = &shard.entry(key).or_insert_with(|| AddressEntry::new(key)).used;
        AddressHandle::of(self, used)
    }

    fn bound(&self, resource: AddressResource) -> usize {
        self.bounds.get(resource as usize).map_or(usize::MAX, |bound| bound.load(Ordering::Relaxed))
    }

    fn shard(&self, key: AddressKey) -> std::sync::MutexGuard<'_, HashMap<AddressKey, AddressEntry>> {
        let place = self.hasher.hash_one(key) as usize % ADDRESS_MAP_SHARDS;
        let [first, ..] = &self.shards;
        self.shards.get(place).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets addresses that hold nothing and whose full burst is back. If that is not enough, forgets the rates of all
/// addresses that hold nothing.
fn make_room(shard: &mut HashMap<AddressKey, AddressEntry>, now: Instant) {
    shard.retain(|_, entry| entry.is_held() || entry.next_arrival.is_some_and(|next| next > now));
    if shard.len() >= MAX_RATED_ADDRESSES / ADDRESS_MAP_SHARDS {
        shard.retain(|_, entry| entry.is_held());
    }
}

impl AddressEntry {
    fn new(key: AddressKey) -> Self {
        let used =
            AddressUse { handles: AtomicUsize::default(), key, taken: std::array::from_fn(|_| AtomicUsize::default()) };
        Self { next_arrival: None, used: Arc::new(used) }
    }

    /// True while there is a handle. The first one is made under the shard's lock.
    fn is_held(&self) -> bool {
        self.used.handles.load(Ordering::Acquire) > 0
    }
}

impl AddressHandle {
    fn of(limits: &Arc<AddressLimits>, used: &Arc<AddressUse>) -> Self {
        used.handles.fetch_add(1, Ordering::Relaxed);
        Self { limits: Arc::clone(limits), used: Arc::clone(used) }
    }

    /// Takes part of a resource; `None` if that is more than the address may have.
    pub(super) fn take(&self, resource: AddressResource, amount: usize) -> Option<AddressShare> {
        self.take_of(resource, amount, usize::MAX)
    }

    /// Takes a call's place in flight. `scarce` is the number of free places, if less than half are free. An address
    /// may then have an eighth of them, so that many addresses with long calls leave room for addresses with few.
    /// Does not apply if one address may have as many calls as all together.
    pub(super) fn take_call(&self, scarce: Option<usize>) -> Option<AddressShare> {
        let scarce = scarce.filter(|_| self.limits.tells_calls_apart.load(Ordering::Relaxed));
        let most = scarce.map_or(usize::MAX, |free| (free / SCARCE_SHARE).max(1));
        self.take_of(AddressResource::Calls, 1, most)
    }

    fn take_of(&self, resource: AddressResource, amount: usize, most: usize) -> Option<AddressShare> {
        let limits = &self.limits;
        let of_all = match resource {
            AddressResource::EventListeners => Some(limits.listeners.enter_with(amount).or_else(|| {
                limits.counters.address_refusal(resource);
                None
            })?),
            AddressResource::Bodies
            | AddressResource::BodyBytes
            | AddressResource::Calls
            | AddressResource::ConnectionRate
            | AddressResource::Connections => None,
        };
        let mut share = AddressShare { amount: 0, handle: self.clone(), _of_all: of_all, resource };
        share.grow_within(amount, most).then_some(share)
    }

    fn taken(&self, resource: AddressResource) -> Option<&AtomicUsize> {
        self.used.taken.get(resource as usize)
    }
}

impl Clone for AddressHandle {
    fn clone(&self) -> Self {
        Self::of(&self.limits, &self.used)
    }
}

impl Drop for AddressHandle {
    /// The last one takes an address without a rate out of the map.
    fn drop(&mut self) {
        if self.used.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut shard = self.limits.shard(self.used.key);
        // It may have been looked up again meanwhile.
        if shard.get(&self.used.key).is_some_and(|entry| entry.next_arrival.is_none() && !entry.is_held()) {
            shard.remove(&self.used.key);
        }
    }
}

impl AddressShare {
    /// Takes more; false, and nothing taken, if that is too much.
    pub fn grow(&mut self, amount: usize) -> bool {
        self.grow_within(amount, usize::MAX)
    }

    fn grow_within(&mut self, amount: usize, most: usize) -> bool {
        let bound = self.handle.limits.bound(self.resource).min(most);
        let within = |taken: usize| Some(taken.saturating_add(amount)).filter(|after| *after <= bound);
        let Some(taken) = self.handle.taken(self.resource) else { return false };
        if taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            self.handle.limits.counters.address_refusal(self.resource);
            return false;
        }
        self.amount += amount;
        true
    }
}

impl Drop for AddressShare {
    fn drop(&mut self) {
        if let Some(taken) = self.handle.taken(self.resource) {
            let before = taken.fetch_sub(self.amount, Ordering::Relaxed);
            debug_assert!(before >= self.amount, "a share was given back twice");
        }
    }
}

impl fmt::Debug for AddressLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressLimits")
    }
}

impl EdgeCounters {
    fn address_refusal(&self, resource: AddressResource) {
        if let Some(count) = self.address_refusals.get(resource as usize) {
            add(count);
        }
    }
}

#[cfg(test)]
mod tests;
