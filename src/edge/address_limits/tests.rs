//! Tests what an address may hold.

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
