//! Delays the next playback of a device that zaps fast.
//!
//! The first zap after a quiet time goes at once. When more come fast, each playback opens only after a quiet time: a
//! playback zapped away before makes no call. The wait grows with steady zapping, but stays a fraction of a player's
//! patience.

use std::time::Duration;

use super::super::policy::Policy;
use crate::secret::Fingerprint;
use crate::time::{Backoff, MonotonicTime};

/// Addresses whose zaps are known apart; a device is seldom at more than one.
const MAX_CALLERS: usize = 4;

/// Counts zaps by address: a caller that names another's device only delays itself.
#[derive(Debug, Default)]
pub(super) struct ZapsByCaller(Vec<(Option<Fingerprint>, ZapDebounce)>);

impl ZapsByCaller {
    /// Like [`ZapDebounce::next`], for this address.
    pub(super) fn next(&mut self, caller: Option<Fingerprint>, now: MonotonicTime, policy: &Policy) -> Duration {
        let known = self.0.iter().position(|(of, _)| *of == caller);
        let mut zaps = known.map(|at| self.0.remove(at)).unwrap_or_else(|| (caller, ZapDebounce::default()));
        let hold = zaps.1.next(now, policy);
        if self.0.len() >= MAX_CALLERS {
            self.0.remove(0);
        }
        // Most devices are at one address.
        self.0.reserve_exact(1);
        self.0.push(zaps);
        hold
    }
}

#[derive(Debug, Default)]
pub(super) struct ZapDebounce {
    last: Option<MonotonicTime>,
    /// Number of fast zaps in a row.
    run: u32,
}

impl ZapDebounce {
    /// The device zaps: returns how long the new playback waits.
    pub(super) fn next(&mut self, now: MonotonicTime, policy: &Policy) -> Duration {
        let [first, longest] = policy.settle;
        let fast = self.last.replace(now).is_some_and(|last| now < last + longest);
        self.run = if fast { self.run.saturating_add(1) } else { 0 };
        match self.run.checked_sub(1) {
            Some(pauses) => Backoff::new(first, longest).after(pauses),
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    #[test]
    fn the_first_zap_goes_at_once_and_fast_ones_wait_longer_and_longer() {
        let (mut zaps, policy, mut now) = (ZapDebounce::default(), Policy::default(), Clock.now());
        for (after, waits) in [(0, 0), (200, 300), (200, 600), (699, 700), (10, 700), (700, 0), (10, 300), (5_000, 0)] {
            now += Duration::from_millis(after);
            assert_eq!(zaps.next(now, &policy), Duration::from_millis(waits), "{after} ms after the last one");
        }
    }
}
