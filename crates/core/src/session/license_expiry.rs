//! Tracks how long the licenses of a playback last, as far as they say so in clear.
//!
//! There is one entry for each key session. An unknown end may be never: the end of all is only known if each end is.

use std::time::Duration;

use super::short_list::ShortList;
use crate::secret::Fingerprint;
use crate::time::MonotonicTime;

/// The last license of one key session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyLease {
    /// Latest expiry; `None` if unknown or never.
    pub ends: Option<MonotonicTime>,
    /// Name of the key session, or of its keys if the DRM system names no key session.
    pub key_session: Fingerprint,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Leases(ShortList<KeyLease, { Self::MAX_LICENSES_TRACKED }>);

impl Leases {
    const MAX_LICENSES_TRACKED: usize = 16;
    /// Lifetimes come from outside: no sum with one may leave the clock's range.
    const MAX_LICENSE_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

    /// Notes a new or renewed license with this lifetime.
    pub(super) fn note(&mut self, now: MonotonicTime, key_session: Fingerprint, lasts: Option<Duration>) {
        let ends = lasts.map(|lasts| now + lasts.min(Self::MAX_LICENSE_LIFETIME));
        self.forget(key_session);
        if self.0.is_full() {
            // The last end decides, so the entry that ends first matters least.
            let first = self.0.iter().enumerate().filter(|(_, lease)| lease.ends.is_some());
            let first = first.min_by_key(|(_, lease)| lease.ends).map_or(0, |(at, _)| at);
            self.0.remove(first);
        }
        self.0.push_last(KeyLease { ends, key_session });
    }

    pub(super) fn forget(&mut self, key_session: Fingerprint) {
        self.0.retain(|lease| lease.key_session != key_session);
    }

    /// The machine slept, and the player's clock did not: all licenses expire so much sooner by the monotonic clock.
    pub(super) fn slept(&mut self, now: MonotonicTime, by: Duration) {
        let ends = self.0.iter_mut().filter_map(|lease| lease.ends.as_mut());
        ends.for_each(|ends| *ends = ends.checked_sub(by).unwrap_or(now));
    }

    pub(super) fn as_slice(&self) -> &[KeyLease] {
        &self.0
    }

    /// Expiry of the last license; `None` if any may be perpetual, or there is none.
    pub(super) fn last_end(&self) -> Option<MonotonicTime> {
        let ends: Option<Vec<MonotonicTime>> = self.0.iter().map(|lease| lease.ends).collect();
        ends?.into_iter().max()
    }
}

impl FromIterator<(Fingerprint, Option<MonotonicTime>)> for Leases {
    fn from_iter<I: IntoIterator<Item = (Fingerprint, Option<MonotonicTime>)>>(leases: I) -> Self {
        Self(leases.into_iter().map(|(key_session, ends)| KeyLease { ends, key_session }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_last_expiry_counts_and_an_unknown_one_may_be_never() {
        let (mut leases, now) = (Leases::default(), Clock.now());
        assert_eq!(leases.last_end(), None);
        leases.note(now, Fingerprint::new(1), Some(MINUTE));
        leases.note(now, Fingerprint::new(2), Some(MINUTE * 2));
        assert_eq!(leases.last_end(), Some(now + MINUTE * 2));
        leases.note(now + MINUTE, Fingerprint::new(1), Some(MINUTE * 3));
        assert_eq!(leases.last_end(), Some(now + MINUTE * 4), "renewed");
        leases.note(now, Fingerprint::new(3), None);
        assert_eq!(leases.last_end(), None);
        leases.forget(Fingerprint::new(3));
        assert_eq!(leases.last_end(), Some(now + MINUTE * 4));
        leases.note(now, Fingerprint::new(4), Some(Duration::MAX));
        assert!(leases.last_end() > Some(now + MINUTE * 4));
    }

    #[test]
    fn the_bound_loses_neither_the_last_expiry_nor_an_unknown_one() {
        let (mut leases, now) = (Leases::default(), Clock.now());
        leases.note(now, Fingerprint::new(0), Some(MINUTE * 1_000));
        leases.note(now, Fingerprint::new(1), None);
        for name in 2..100 {
            leases.note(now, Fingerprint::new(name), Some(MINUTE));
        }
        assert_eq!((leases.as_slice().len(), leases.last_end()), (Leases::MAX_LICENSES_TRACKED, None));
        leases.forget(Fingerprint::new(1));
        assert_eq!(leases.last_end(), Some(now + MINUTE * 1_000));
    }
}
