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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn bounded(most: usize) -> Arc<AddressLimits> {
        let limits = AddressLimits::default();
        limits.bounds.iter().for_each(|bound| bound.store(most, Ordering::Relaxed));
        Arc::new(limits)
    }

    impl AddressShare {
        fn key(&self) -> AddressKey {
            self.handle.used.key
        }
    }

    fn remembered(limits: &AddressLimits) -> usize {
        limits.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    fn refusals(limits: &AddressLimits, resource: AddressResource) -> u64 {
        limits.counters.address_refusals().find(|(of, _)| *of == resource).unwrap().1
    }

    #[test]
    fn an_ipv6_network_of_64_bits_and_a_mapped_address_are_one_caller() {
        let same = |one, other| AddressKey::of(address(one)) == AddressKey::of(address(other));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(same("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert_eq!(AddressKey::of(address("2001:db8::7")).to_string(), "2001:db8::/64");
        assert_eq!(AddressKey::of(address("::ffff:192.0.2.1")).to_string(), "192.0.2.1");
    }

    #[test]
    fn listeners_of_all_addresses_together_are_bounded_and_give_their_places_back() {
        let limits = bounded(2);
        limits.bound_listeners(5);
        let listen = |number: u8| limits.take([192, 0, 2, number].into(), AddressResource::EventListeners, 1);
        let held: Vec<_> = (0..20).filter_map(|number| listen(number / 2)).collect();
        assert_eq!(held.len(), 5);
        assert_eq!(refusals(&limits, AddressResource::EventListeners), 15);
        assert!(limits.take([192, 0, 2, 99].into(), AddressResource::Calls, 1).is_some(), "calls are not listeners");
        drop(held);
        // One that its own address has no room for takes no place of the others.
        let own: Vec<_> = (0..9).filter_map(|_| listen(1)).collect();
        let others: Vec<_> = (2..9).filter_map(listen).collect();
        assert_eq!((own.len(), others.len()), (2, 3));
    }

    #[test]
    fn an_address_takes_its_share_and_no_more_and_its_neighbour_does_not_notice() {
        for resource in AddressResource::ALL {
            let limits = bounded(3);
            let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
            let shares: Vec<_> = (0..5).map(|_| limits.take(one, resource, 1)).collect();
            assert_eq!(shares.iter().flatten().count(), 3, "{resource:?}");
            assert_eq!(refusals(&limits, resource), 2);
            assert!(limits.take(other, resource, 3).is_some());
            drop(shares);
            assert!(limits.take(one, resource, 3).is_some(), "what is given back can be taken again");
            assert_eq!(remembered(&limits), 0, "nobody holds anything");
        }
    }

    #[test]
    fn each_limit_of_an_address_bounds_its_own_resource() {
        let time = Duration::from_secs(1);
        let limits = |more: usize| ServerLimits {
            body: time,
            body_max: 0,
            body_memory: 0,
            body_memory_per_address: 2 + more,
            call: time,
            connections: 0,
            connections_per_address: 3 + more,
            drain: time,
            event_listeners_per_address: 4 + more,
            first_byte: time,
            handshake: time,
            head: time,
            idle: time,
            in_flight: 0,
            in_flight_per_address: 5 + more,
            lifetime: time,
            new_connections_per_address: 6 + more,
            sessions: 0,
        };
        let counters = Arc::<EdgeCounters>::default();
        let made = AddressLimits::new(&limits(0), Arc::clone(&counters));
        for more in [0, 10] {
            if more > 0 {
                made.change(&limits(more));
            }
            let bounds = AddressResource::ALL.map(|resource| made.bound(resource) - more);
            assert_eq!(bounds, [3, 2, 5, 6, 3, 4]);
        }
        assert!(made.take(address("192.0.2.1"), AddressResource::Calls, 16).is_none());
        let told = counters.address_refusals().find(|(of, _)| *of == AddressResource::Calls);
        assert_eq!(told.map(|(_, count)| count), Some(1));
    }

    #[test]
    fn room_is_made_by_forgetting_rates_and_never_what_is_held() {
        let now = Clock.now();
        let key = |number: u32| AddressKey::of(std::net::Ipv4Addr::from_bits(number).into());
        let due = |after| AddressEntry { next_arrival: Some(now + after), ..AddressEntry::new(key(0)) };
        let handle = AddressHandle::of(&Arc::default(), &AddressEntry::new(key(3)).used);
        let held = || AddressEntry { next_arrival: None, used: Arc::clone(&handle.used) };
        let second = Duration::from_secs(1);
        let mut few = HashMap::from([(key(1), due(second)), (key(2), due(Duration::ZERO)), (key(3), held())]);
        make_room(&mut few, now);
        assert!(few.len() == 2 && !few.contains_key(&key(2)), "it may come at full burst again");
        let mut many: HashMap<_, _> =
            (10..10 + (MAX_RATED_ADDRESSES / ADDRESS_MAP_SHARDS) as u32).map(|n| (key(n), due(second))).collect();
        many.insert(key(3), held());
        make_room(&mut many, now);
        assert!(many.len() == 1 && many.contains_key(&key(3)), "{}", many.len());
    }

    #[test]
    fn a_share_that_cannot_grow_keeps_what_it_has() {
        let limits = bounded(10);
        let one = address("192.0.2.1");
        let mut share = limits.take(one, AddressResource::BodyBytes, 6).unwrap();
        assert!(!share.grow(5));
        assert!(share.grow(4));
        assert!(limits.take(one, AddressResource::BodyBytes, 1).is_none());
        assert!(!share.grow(usize::MAX), "no sum overflows");
        drop(share);
        assert!(limits.take(one, AddressResource::BodyBytes, 10).is_some());
    }

    #[test]
    fn new_connections_come_in_a_burst_and_then_at_a_steady_rate() {
        let limits = bounded(10);
        let (one, start) = (address("192.0.2.1"), Clock.now());
        let burst = (0..1_000).filter(|_| limits.arrive(one, start)).count();
        assert_eq!(burst, 41, "four seconds' worth and the first");
        let mut later = 0;
        for tenth in 1..=100 {
            later += (0..10).filter(|_| limits.arrive(one, start + Duration::from_millis(100) * tenth)).count();
        }
        assert_eq!(later, 100, "ten a second");
        assert_eq!(refusals(&limits, AddressResource::ConnectionRate), 1_000 - 41 + 1_000 - 100);
        assert!(limits.arrive(address("192.0.2.2"), start));
    }

    /// The rate is remembered although nothing of the address is held any more.
    #[test]
    fn connections_that_end_at_once_count_toward_the_rate_all_the_same() {
        let limits = bounded(10);
        let (one, start) = (address("192.0.2.1"), Clock.now());
        let served = (0..1_000).filter(|_| {
            let arrives = limits.arrive(one, start);
            drop(limits.take(one, AddressResource::Connections, 1));
            assert!(limits.take(one, AddressResource::Connections, 11).is_none());
            arrives
        });
        assert_eq!(served.count(), 41);
    }

    #[test]
    fn calls_of_an_address_that_was_looked_up_take_no_lock() {
        let limits = bounded(1);
        let handle = limits.handle(address("192.0.2.1"));
        let _locked: Vec<_> = limits.shards.iter().map(|shard| shard.lock().unwrap()).collect();
        assert!(handle.take(AddressResource::Calls, 1).is_some());
        let held = handle.take_call(None);
        assert!(held.is_some() && handle.take_call(None).is_none());
    }

    /// On several threads at once, with handles that are kept and handles that are not.
    #[test]
    fn an_address_is_forgotten_with_its_last_handle_on_whatever_thread() {
        let limits = bounded(1_000);
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let limits = &limits;
                scope.spawn(move || {
                    for number in 0..2_000_u32 {
                        let handle = limits.handle([192, 0, 2, (number % 3) as u8].into());
                        let shares = [AddressResource::Bodies, AddressResource::Calls].map(|of| handle.take(of, 1));
                        assert!(shares.iter().all(Option::is_some));
                        if (number + u32::from(thread)).is_multiple_of(2) {
                            drop(handle);
                        }
                    }
                });
            }
        });
        assert_eq!(remembered(&limits), 0);
    }

    /// The first caller rotates through its /48, the other through the IPv4 Internet.
    #[test]
    fn rotating_through_addresses_fills_no_memory() {
        let (limits, start) = (bounded(1), Clock.now());
        for number in 0..4 * MAX_RATED_ADDRESSES as u32 {
            let six = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number) << 64);
            limits.arrive(six.into(), start);
            limits.arrive(std::net::Ipv4Addr::from_bits(number).into(), start);
        }
        assert!(remembered(&limits) <= MAX_RATED_ADDRESSES, "{}", remembered(&limits));
        let held = limits.take(address("192.0.2.1"), AddressResource::Connections, 1);
        assert!(limits.take(address("192.0.2.1"), AddressResource::Connections, 1).is_none());
        drop(held);
    }

    proptest! {
        #[test]
        fn shares_taken_and_given_back_in_any_order_leave_nothing(
            takes in prop::collection::vec((0_u8..4, 0_usize..RESOURCES, 0_usize..4, any::<bool>()), 0..60),
        ) {
            let limits = bounded(5);
            let mut held: Vec<AddressShare> = Vec::new();
            for (host, resource, amount, give_back) in takes {
                let host = IpAddr::from([192, 0, 2, host]);
                held.extend(limits.take(host, AddressResource::ALL[resource], amount));
                if give_back && !held.is_empty() {
                    held.swap_remove(0);
                }
                for resource in AddressResource::ALL {
                    for host in 0..4 {
                        let key = AddressKey::of(IpAddr::from([192, 0, 2, host]));
                        let of = |share: &&AddressShare| share.key() == key && share.resource == resource;
                        let sum: usize = held.iter().filter(of).map(|share| share.amount).sum();
                        let shard = limits.shard(key);
                        let taken = |entry: &AddressEntry| entry.used.taken[resource as usize].load(Ordering::Relaxed);
                        let taken = shard.get(&key).map_or(0, taken);
                        prop_assert_eq!(taken, sum);
                        prop_assert!(taken <= 5);
                    }
                }
            }
            drop(held);
            prop_assert_eq!(remembered(&limits), 0);
        }
    }
}
