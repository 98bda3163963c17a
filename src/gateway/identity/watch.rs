//! Warns of weak identities: several devices that count as one, and limits that count each device alone.
//!
//! Each warning goes to a metric every time, and to the log at most hourly per route and address. Decides
//! nothing. Bounded; shared by all workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::DeviceSource;
use crate::edge::{AddressKey, Peer};
use crate::gateway::Gateway;
use crate::gateway::route::GatewayRoute;
use crate::secret::Fingerprint;
use crate::token::TokenClaims;

/// Addresses watched at once. Beyond that the oldest half is forgotten.
const MAX_ADDRESSES: usize = 4096;
/// Time between two warnings about the same address.
const WARNING_INTERVAL: Duration = Duration::from_hours(1);

/// Kinds of weak identity; a label of the metric.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::gateway) enum WeakIdentity {
    /// The call names no account, so its device counts as one.
    AccountByDevice,
    /// Tokens of several devices come from one address, and the address is the device.
    SharedPeer,
    /// A license call lacks the id of a registered playback, where nothing else identifies one.
    Unregistered,
}

impl WeakIdentity {
    fn name(self) -> &'static str {
        match self {
            Self::AccountByDevice => "account_by_device",
            Self::SharedPeer => "shared_peer",
            Self::Unregistered => "unregistered",
        }
    }
}

#[derive(Debug, Default)]
pub struct IdentityWatch(Mutex<HashMap<(Arc<str>, AddressKey), WatchedAddress>>);

#[derive(Debug)]
struct WatchedAddress {
    /// Fingerprint of the owner that the first call's token named.
    first: Option<Fingerprint>,
    last: Instant,
    warned: [Option<Instant>; 3],
}

impl IdentityWatch {
    /// True if the tokens of this address name several devices.
    fn is_shared(&self, route: &Arc<str>, address: AddressKey, device: Fingerprint, now: Instant) -> bool {
        self.with(route, address, now, |watched| *watched.first.get_or_insert(device) != device)
    }

    /// True if a warning is due; notes that it was given.
    fn warns(&self, route: &Arc<str>, address: AddressKey, weak: WeakIdentity, now: Instant) -> bool {
        self.with(route, address, now, |watched| {
            watched.warned.get_mut(weak as usize).is_some_and(|warned| {
                let due = warned.is_none_or(|last| now.saturating_duration_since(last) >= WARNING_INTERVAL);
                if due {
                    *warned = Some(now);
                }
                due
            })
        })
    }

    fn with<T>(
        &self,
        route: &Arc<str>,
        address: AddressKey,
        now: Instant,
        act: impl FnOnce(&mut WatchedAddress) -> T,
    ) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.clone(), address);
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&key) {
            let mut ages: Vec<_> = all.values().map(|watched| watched.last).collect();
            let (_, middle, _) = ages.select_nth_unstable(MAX_ADDRESSES / 2);
            let middle = *middle;
            all.retain(|_, watched| watched.last > middle);
        }
        let watched = all.entry(key).or_insert(WatchedAddress { first: None, last: now, warned: [None; 3] });
        watched.last = now;
        act(watched)
    }
}

impl Gateway {
    /// `source` is the identity source that named the device; `by_device` is true if it names the account too.
    pub(in crate::gateway) fn watch_identity(
        &self,
        route: &GatewayRoute,
        peer: &Peer,
        claims: Option<&TokenClaims>,
        source: Option<DeviceSource>,
        by_device: bool,
    ) {
        let (address, now) = (AddressKey::of(peer.address), self.clock.now());
        let told = claims.filter(|_| source == Some(DeviceSource::Peer)).and_then(whose);
        if told.is_some_and(|told| self.identity_watch.is_shared(&route.path, address, told, now)) {
            self.warn_of_identity(route, address, WeakIdentity::SharedPeer, now);
        }
        if by_device {
            self.warn_of_identity(route, address, WeakIdentity::AccountByDevice, now);
        }
    }

    pub(in crate::gateway) fn warn_of_identity(
        &self,
        route: &GatewayRoute,
        address: AddressKey,
        weak: WeakIdentity,
        now: Instant,
    ) {
        self.telemetry.metrics.weak_identity(&route.path, weak.name());
        let warns = self.identity_watch.warns(&route.path, address, weak, now);
        // The warnings about all addresses together are bounded, too.
        if !warns || !self.telemetry.may_write_about(weak.name(), &route.path) {
            return;
        }
        let route = &*route.path;
        match weak {
            WeakIdentity::AccountByDevice => tracing::warn!(
                route,
                %address,
                "a call names no account, so its device is an account of its own: sessions-per-account limits nobody"
            ),
            WeakIdentity::SharedPeer => tracing::warn!(
                route,
                %address,
                "tokens of several devices come from one address and count as one device: name \
                 token-claim:device.deviceId before peer in route.device, or server.trusted-proxies"
            ),
            WeakIdentity::Unregistered => tracing::warn!(
                route,
                %address,
                "a license call without the id of a registered playback has no session: nobody limits it; let players use \
                 the URL of their authorization, and set session-control = \"always\""
            ),
        }
    }
}

/// Fingerprint of the device and account that a token names; `None` if it names neither.
fn whose(claims: &TokenClaims) -> Option<Fingerprint> {
    let said = ["device.deviceId", "device.accountId", "accountId"].map(|path| claims.text(path));
    let parts = said.each_ref().map(|said| said.as_deref().unwrap_or_default().as_bytes());
    said.iter().any(Option::is_some).then(|| Fingerprint::of_parts(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn address(number: u32) -> AddressKey {
        AddressKey::of(std::net::Ipv4Addr::from(number).into())
    }

    #[test]
    fn an_address_is_shared_once_two_devices_use_it_and_reported_once_an_hour() {
        let (watch, route, now) = (IdentityWatch::default(), Arc::from("/license"), Clock.now());
        for (number, device, shared) in [(1, 1, false), (1, 1, false), (2, 2, false), (1, 2, true), (1, 1, false)] {
            assert_eq!(watch.is_shared(&route, address(number), Fingerprint::new(device), now), shared);
        }
        for weak in [WeakIdentity::SharedPeer, WeakIdentity::AccountByDevice] {
            for (after, told) in [(0, true), (1, false), (3599, false), (3600, true), (3601, false)] {
                assert_eq!(watch.warns(&route, address(1), weak, now + Duration::from_secs(after)), told, "{after}");
            }
        }
    }

    #[test]
    fn an_address_is_forgotten_when_it_is_among_those_that_were_silent_longest_and_a_new_one_needs_room() {
        let (watch, route, now) = (IdentityWatch::default(), Arc::from("/license"), Clock.now());
        let tell = |number: u32, device, at: usize| {
            watch.is_shared(&route, address(number), Fingerprint::new(device), now + Duration::from_millis(at as u64))
        };
        let known = || watch.0.lock().unwrap().len();
        for number in 0..MAX_ADDRESSES {
            tell(number as u32, 1, number);
        }
        assert!(tell(0, 2, MAX_ADDRESSES), "it is known, and heard once more");
        assert_eq!(known(), MAX_ADDRESSES, "nobody has to go for one that is known");
        tell(u32::MAX, 1, MAX_ADDRESSES + 1);
        // The oldest of them was heard again; the newest was never old.
        let at = MAX_ADDRESSES + 2;
        assert!(known() < MAX_ADDRESSES && tell(0, 3, at) && tell(MAX_ADDRESSES as u32 - 1, 3, at));
        assert!(!tell(1, 3, at), "this one was forgotten");
    }

    #[test]
    fn many_addresses_take_bounded_memory() {
        let (watch, route, now) = (IdentityWatch::default(), Arc::from("/license"), Clock.now());
        for number in 0..20_000 {
            watch.is_shared(&route, address(number), Fingerprint::new(1), now + Duration::from_millis(number.into()));
        }
        assert!(watch.0.lock().unwrap().len() <= MAX_ADDRESSES);
        // All at one moment, too.
        for number in 0..20_000 {
            watch.is_shared(&route, address(number), Fingerprint::new(1), now + Duration::from_hours(1));
        }
        assert!(watch.0.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
