//! Facts about playbacks before their first license call. An authorize route, the admin API, or a media route with a
//! first manifest registers them.
//!
//! Maps the unguessable id in a URL to the device, the true upstream URLs and the authorization, which never leave
//! this process. A playback's session, found by [`Registration::token`], decides if it may go on. Bounded;
//! unused registrations are forgotten.

mod archive;
mod authorization_block;
mod bypassing_urls;
mod generation_map;
mod moments;
mod network_shares;
mod rewrite;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

pub use self::archive::Archive;
pub use self::authorization_block::{AuthorizationBlock, AuthorizationFields, LiveEvent};
pub use self::bypassing_urls::unread;
pub use self::generation_map::{GenerationMap, HeapBytes};
use self::network_shares::NetworkShares;
pub use self::rewrite::{BLACKOUT_PATH, CONTENT, RewriteTargets, TakenUrls};
use crate::config::{DeviceSource, EndpointUrl};
use crate::ids::PlaybackId;
use crate::secret::Fingerprint;

/// A playback that may begin.
pub struct Registration {
    /// Name of the authority; `None` without one.
    pub authority: Option<Arc<str>>,
    /// The authorization; `None` if a media route registered the playback.
    pub block: Option<AuthorizationBlock>,
    /// The content token that a media route met with the first manifest. If a license call opens the session, the one
    /// with this token belongs to the playback.
    pub content_token: Option<Fingerprint>,
    /// The content's true URL, or the slate's if the content is blacked out.
    pub content_url: Option<EndpointUrl>,
    /// Device that the playback is counted for; `source` tells how it was named.
    pub device: String,
    /// The caller's headers that go with every call to the authority.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub id: PlaybackId,
    /// True URL of the license server; `None` for the license route's own.
    pub license_url: Option<EndpointUrl>,
    /// Path of the route that registered it.
    pub route: Arc<str>,
    pub device_source: DeviceSource,
}

impl Registration {
    /// The fingerprint by which its session is known in place of a content token.
    pub fn token(&self) -> Fingerprint {
        Fingerprint::of(&self.id.bytes())
    }
}

impl HeapBytes for Registration {
    fn heap_bytes(&self) -> usize {
        let url = |url: &EndpointUrl| url.host().len() + url.path_and_query().as_str().len();
        let urls = [&self.content_url, &self.license_url].into_iter().flatten().map(url);
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.device.len()
            + urls.chain(headers).sum::<usize>()
            + self.block.as_ref().map_or(0, AuthorizationBlock::heap_bytes)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("route", &self.route)
            .field("device_by", &self.device_source)
            .finish_non_exhaustive()
    }
}

/// All registrations of this process.
#[derive(Default)]
pub struct Registrations {
    /// `None` if registrations end with the process.
    archive: Option<Box<dyn Archive>>,
    generations: Mutex<GenerationMap<Registration>>,
    /// Locked before the generations.
    networks: Mutex<NetworkShares>,
}

impl Registrations {
    /// A registration is forgotten if unused for this long. For half of it, it is certainly kept, unless there are
    /// more than [`Self::MAX_REGISTRATIONS`].
    pub const MAX_UNUSED_REGISTRATION_TIME: Duration = Duration::from_secs(24 * 3600);
    pub const MAX_REGISTRATIONS: usize = 100_000;
    /// Approximate bytes of tokens, headers and URLs; an ordinary registration has two KiB.
    pub const MAX_REGISTRATIONS_BYTES: usize = 512 << 20;

    /// Registrations per network. It may have more only while there are few in all; then its own oldest are dropped.
    /// An excess of an eighth is allowed.
    pub const MAX_REGISTRATIONS_PER_NETWORK: usize = Self::MAX_REGISTRATIONS / 16;
    const MAX_REGISTRATIONS_WITHOUT_SHARES: usize = Self::MAX_REGISTRATIONS / 4;

    /// Registers for a caller of this network, which may be any caller. Returns the playbacks that are forgotten for
    /// it.
    pub fn insert_of(&self, now: Instant, network: Fingerprint, registration: Registration) -> Vec<PlaybackId> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.insert(now, registration).id;
        self.with(now, |generations| {
            networks.note(network, id, |id| generations.is_known(id));
            if generations.len() <= Self::MAX_REGISTRATIONS_WITHOUT_SHARES {
                return Vec::new();
            }
            let displaced = networks.displace(network, generations);
            for id in &displaced {
                generations.forget(*id);
                self.archive.iter().for_each(|archive| archive.forget(*id));
            }
            displaced
        })
    }

    /// Registers and returns the registration.
    pub fn insert(&self, now: Instant, registration: Registration) -> Arc<Registration> {
        let registration = Arc::new(registration);
        self.with(now, |generations| {
            generations.insert(registration.id, registration.clone());
            self.archive.iter().for_each(|archive| archive.keep(&registration));
        });
        registration
    }

    /// Looks a registration up, which counts as use.
    pub fn find(&self, now: Instant, id: PlaybackId) -> Option<Arc<Registration>> {
        self.with(now, |generations| {
            let (found, was_old) = generations.find(id)?;
            self.archive.iter().filter(|_| was_old).for_each(|archive| archive.keep(&found));
            Some(found)
        })
    }

    /// The playback whose id begins the path below a route, and the rest of the path.
    pub fn below<'a>(&self, now: Instant, rest: &'a str) -> Option<(Arc<Registration>, &'a str)> {
        let (id, rest) = PlaybackId::strip(rest)?;
        Some((self.find(now, id)?, rest))
    }

    pub fn len(&self) -> usize {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<R>(&self, now: Instant, act: impl FnOnce(&mut GenerationMap<Registration>) -> R) -> R {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = generations.turn(now);
        if let Some(archive) = &self.archive {
            gone.for_each(|id| archive.forget(id));
        }
        act(&mut generations)
    }
}

impl fmt::Debug for Registrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrations").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    pub(super) fn registration() -> Registration {
        Registration {
            authority: None,
            block: None,
            content_token: None,
            content_url: EndpointUrl::parse("https://cdn.example/a.mpd?sig=hush").ok(),
            device: "tv".into(),
            headers: Vec::new(),
            id: PlaybackId::random(),
            license_url: None,
            route: "/authorize".into(),
            device_source: DeviceSource::Header,
        }
    }

    #[test]
    fn a_registration_is_found_by_its_id_and_by_a_path() {
        let (registrations, now) = (Registrations::default(), Clock.now());
        let id = registrations.insert(now, registration()).id;
        assert_eq!(registrations.find(now, id).unwrap().device, "tv");
        let path = format!("{}/a/b", id.segment());
        assert_eq!(registrations.below(now, &path).map(|(found, rest)| (found.id, rest)), Some((id, "/a/b")));
        assert!(registrations.find(now, PlaybackId::random()).is_none());
    }

    #[test]
    fn used_registrations_stay_and_unused_ones_are_forgotten() {
        let (registrations, mut now) = (Registrations::default(), Clock.now());
        let used = registrations.insert(now, registration()).id;
        let unused = registrations.insert(now, registration()).id;
        for _ in 0..5 {
            now += Registrations::MAX_UNUSED_REGISTRATION_TIME * 2 / 5;
            assert!(registrations.find(now, used).is_some());
        }
        assert!(registrations.find(now, unused).is_none());
        assert!(registrations.find(now + Registrations::MAX_UNUSED_REGISTRATION_TIME, used).is_none());
    }

    #[test]
    fn registrations_never_exceed_their_bound() {
        let (registrations, now) = (Registrations::default(), Clock.now());
        let first = registrations.insert(now, registration()).id;
        for _ in 0..Registrations::MAX_REGISTRATIONS + 10 {
            registrations.insert(now, registration());
            assert!(registrations.find(now, first).is_some(), "one in use stays");
        }
        assert!(registrations.len() <= Registrations::MAX_REGISTRATIONS);
    }

    #[test]
    fn one_network_pushes_out_its_own_and_no_others() {
        let (registrations, now) = (Registrations::default(), Clock.now());
        let [one, other] = [1, 2].map(Fingerprint::new);
        // None of them is used again: its viewer pauses.
        let mut others = Vec::new();
        for _ in 0..100 {
            let registration = registration();
            others.push(registration.id);
            assert_eq!(registrations.insert_of(now, other, registration), []);
        }
        let first = registration();
        let first_id = first.id;
        registrations.insert_of(now, one, first);
        let mut displaced = Vec::new();
        let watched = registration();
        let watched_id = watched.id;
        registrations.insert_of(now, one, watched);
        for _ in 0..2 * Registrations::MAX_REGISTRATIONS {
            displaced.extend(registrations.insert_of(now, one, registration()));
            assert!(registrations.find(now, watched_id).is_some(), "somebody watches it");
        }
        assert_eq!(displaced.first(), Some(&first_id), "its oldest goes first");
        assert!(registrations.len() <= Registrations::MAX_REGISTRATIONS / 2, "{}", registrations.len());
        assert!(others.iter().all(|id| registrations.find(now, *id).is_some()), "another network's is forgotten");
        // What it has had long ago counts no more.
        let later = now + Registrations::MAX_UNUSED_REGISTRATION_TIME;
        assert!(registrations.find(later, watched_id).is_none());
        for _ in 0..=Registrations::MAX_REGISTRATIONS_WITHOUT_SHARES {
            registrations.insert(later, registration());
        }
        let again = (0..Registrations::MAX_REGISTRATIONS_PER_NETWORK / 2)
            .map(|_| registrations.insert_of(later, one, registration()));
        assert_eq!(again.flatten().count(), 0);
        // While there are few, a whole town may be behind one address.
        let registrations = Registrations::default();
        let few = (0..2 * Registrations::MAX_REGISTRATIONS_PER_NETWORK)
            .map(|_| registrations.insert_of(now, one, registration()));
        assert_eq!(few.flatten().count(), 0);
    }

    #[test]
    fn large_registrations_take_a_bounded_number_of_bytes() {
        let (registrations, now) = (Registrations::default(), Clock.now());
        let large = || {
            let url = format!("https://cdn.example/{}", "a".repeat(60_000));
            Registration { content_url: EndpointUrl::parse(&url).ok(), ..registration() }
        };
        let first = registrations.insert(now, large()).id;
        for _ in 0..2 * Registrations::MAX_REGISTRATIONS_BYTES / 60_000 {
            registrations.insert(now, large());
            assert!(registrations.find(now, first).is_some(), "one in use stays");
        }
        let bytes = registrations.len() * 60_000;
        assert!(bytes <= Registrations::MAX_REGISTRATIONS_BYTES + 120_000, "{bytes}");
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", registration());
        assert!(!shown.contains("hush") && !shown.contains("cdn") && !shown.contains("tv"), "{shown}");
    }
}
