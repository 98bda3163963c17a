//! Remembers accounts that an authority has told to wait (429); until then their opens are not made.
//!
//! Separate from the breaker, because one account must not hold up the others. Bounded; pure: time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::secret::Fingerprint;
use crate::time::Backoff;

/// Accounts that wait at a time. A further one is asked for as usual, and the authority itself tells it to wait.
const MAX_ACCOUNTS: usize = 10_000;
/// Waits if the authority names none: doubled from the first to the last.
const MIN_WAIT: Duration = Duration::from_secs(1);
const DEFERRAL_BACKOFF: Backoff = Backoff::new(MIN_WAIT, Duration::from_secs(30));
/// Longest wait that an authority may name.
const MAX_ASKED_WAIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(super) struct AccountDeferrals(HashMap<Fingerprint, AccountDeferral>);

#[derive(Clone, Copy, Debug)]
struct AccountDeferral {
    times: u32,
    until: Instant,
}

impl AccountDeferrals {
    /// Time that this account must still wait.
    pub(super) fn wait(&self, now: Instant, account: Fingerprint) -> Option<Duration> {
        let until = self.0.get(&account)?.until;
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Makes the account wait, for the time that the authority asked for, if any. True if it did not wait already.
    pub(super) fn defer(&mut self, now: Instant, account: Fingerprint, asked: Option<Duration>) -> bool {
        let before = self.0.get(&account).copied();
        if before.is_none() && self.0.len() >= MAX_ACCOUNTS {
            self.0.retain(|_, deferral| deferral.until > now);
            if self.0.len() >= MAX_ACCOUNTS {
                return false;
            }
        }
        let times = before.map_or(0, |before| before.times.saturating_add(1));
        let wait = asked.map_or_else(|| DEFERRAL_BACKOFF.after(times), |asked| asked.clamp(MIN_WAIT, MAX_ASKED_WAIT));
        self.0.insert(account, AccountDeferral { times, until: now + wait });
        before.is_none_or(|before| before.until <= now)
    }

    /// Notes that the account was answered, so it need not wait.
    pub(super) fn settle(&mut self, account: Fingerprint) {
        self.0.remove(&account);
    }

    pub(super) fn waiting(&self, now: Instant) -> usize {
        self.0.values().filter(|deferral| deferral.until > now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn an_account_waits_as_long_as_the_authority_says_and_else_longer_each_time() {
        let (mut now, mut deferrals, account) = (Clock.now(), AccountDeferrals::default(), Fingerprint::new(1));
        assert!(deferrals.defer(now, account, Some(Duration::from_secs(7))));
        assert_eq!(deferrals.wait(now, account), Some(Duration::from_secs(7)));
        assert_eq!(deferrals.wait(now, Fingerprint::new(2)), None, "nobody else does");
        assert!(!deferrals.defer(now, account, Some(Duration::from_hours(9))), "it waits already");
        assert_eq!(deferrals.wait(now, account), Some(MAX_ASKED_WAIT));
        now += MAX_ASKED_WAIT;
        assert_eq!((deferrals.wait(now, account), deferrals.waiting(now)), (None, 0));
        deferrals.settle(account);
        for wait in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            assert!(deferrals.defer(now, account, None));
            assert_eq!(deferrals.wait(now, account), Some(wait));
            now += wait;
        }
    }

    #[test]
    fn accounts_that_wait_are_bounded_and_those_that_have_waited_make_room() {
        let (now, mut deferrals) = (Clock.now(), AccountDeferrals::default());
        for account in 0..20_000 {
            deferrals.defer(now, Fingerprint::new(account), None);
        }
        assert_eq!((deferrals.0.len(), deferrals.waiting(now)), (MAX_ACCOUNTS, MAX_ACCOUNTS));
        let later = now + MIN_WAIT;
        assert!(deferrals.defer(later, Fingerprint::new(20_000), None));
        assert_eq!(deferrals.0.len(), 1);
    }
}
