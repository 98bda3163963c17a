//! The keys for an embedded authority's content tokens, from files and from a URL.
//!
//! A task fetches key sets: at the start, at an interval, and when a call brings a token with an unknown key. The
//! latter is limited in rate, because any caller can name such a key. Fetched keys stay until newer ones come; a
//! failed fetch removes nothing. Calls wait a short time for a fetch under way.

mod fetch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

pub use self::fetch::fetch_token_keys;
use super::Authority;
use crate::clock::Clock;
use crate::config::TokenKeySettings;
use crate::time::Backoff;
use crate::token::{TokenClaims, TokenFault, TokenKeySet, TokenListing};

/// Time between two fetches that calls ask for.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(5);
/// Pauses after failed fetches: doubled from the first to the longest.
const FETCH_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

#[derive(Debug)]
pub(super) struct TokenVerifier {
    config: TokenKeySettings,
    fetched: Option<Arc<FetchedKeys>>,
}

/// The keys that all values of one authority share while its URL stays the same.
#[derive(Debug)]
struct FetchedKeys {
    attempts: Mutex<FetchAttempts>,
    /// Number of fetches that have ended.
    ended: watch::Sender<u64>,
    keys: ArcSwap<TokenKeySet>,
    /// Wakes the task that fetches.
    wanted: Arc<Notify>,
}

#[derive(Debug, Default)]
struct FetchAttempts {
    /// Time at which a call last asked for a fetch.
    demanded: Option<Instant>,
    /// Time of the next fetch; `None` for at once.
    due: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    under_way: bool,
}

impl TokenVerifier {
    pub(super) fn new(config: TokenKeySettings, wanted: &Arc<Notify>) -> Self {
        let fetched = config.url.is_some().then(|| Arc::new(FetchedKeys::new(wanted.clone())));
        Self { config, fetched }
    }

    /// The verifier with a new configuration. Keys of another URL are dropped.
    pub(super) fn renewed(before: Option<&Self>, config: TokenKeySettings, wanted: &Arc<Notify>) -> Self {
        let endpoint =
            |config: &TokenKeySettings| config.url.as_ref().map(|url| (url.endpoint.clone(), url.ca.clone()));
        match before.filter(|before| endpoint(&before.config) == endpoint(&config)) {
            Some(before) => Self { config, fetched: before.fetched.clone() },
            None => Self::new(config, wanted),
        }
    }

    fn verify(&self, token: &str, wall: Duration) -> Result<TokenClaims, TokenFault> {
        let TokenKeySettings { own, rules, .. } = &self.config;
        let Some(fetched) = &self.fetched else { return rules.verify(&[own], token, wall) };
        let fetched = fetched.keys.load();
        rules.verify(&[own, &fetched], token, wall).map_err(|fault| match fault {
            // Without any key set, an unknown key cannot be told from a missing one.
            TokenFault::Algorithm | TokenFault::UnknownKey if fetched.is_empty() => TokenFault::NoKeys,
            fault => fault,
        })
    }
}

impl FetchedKeys {
    fn new(wanted: Arc<Notify>) -> Self {
        Self { attempts: Mutex::default(), ended: watch::Sender::new(0), keys: ArcSwap::default(), wanted }
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, FetchAttempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a fetch. False if one was made just now, so that waiting is useless.
    fn want(&self, now: Instant) -> bool {
        let mut attempts = self.attempts();
        if attempts.under_way || attempts.due.is_none() {
            return true;
        }
        let since = attempts.demanded.map(|demanded| now.saturating_duration_since(demanded));
        if since.is_some_and(|since| since < MIN_FETCH_INTERVAL) {
            return false;
        }
        (attempts.demanded, attempts.due) = (Some(now), Some(now));
        drop(attempts);
        self.wanted.notify_one();
        true
    }

    /// True if a fetch is due; marks it as under way.
    fn begin(&self, now: Instant) -> bool {
        let mut attempts = self.attempts();
        let begins = !attempts.under_way && attempts.due.is_none_or(|due| due <= now);
        if begins {
            attempts.under_way = true;
        }
        begins
    }

    fn due(&self) -> Option<Instant> {
        let attempts = self.attempts();
        attempts.due.filter(|_| !attempts.under_way)
    }

    /// Ends a fetch. If it failed, the old keys stay.
    fn end(&self, now: Instant, refresh: Duration, fetched: Option<TokenKeySet>) {
        let mut attempts = self.attempts();
        attempts.under_way = false;
        let pause = match fetched {
            Some(keys) => {
                attempts.failures = 0;
                self.keys.store(Arc::new(keys));
                refresh
            }
            None => {
                let pause = FETCH_BACKOFF.after(attempts.failures);
                attempts.failures = attempts.failures.saturating_add(1);
                pause.min(refresh)
            }
        };
        attempts.due = Some(now + pause);
        drop(attempts);
        self.ended.send_modify(|ended| *ended += 1);
        self.wanted.notify_one();
    }
}

impl Authority {
    fn verifier(&self) -> Option<&TokenVerifier> {
        self.counter()?.verifier()
    }

    /// True if content tokens are verified here; else they are believed.
    pub fn verifies_tokens(&self) -> bool {
        self.verifier().is_some()
    }

    /// Allowed clock difference for its tokens; `None` if it verifies none.
    pub fn token_leeway(&self) -> Option<Duration> {
        Some(self.verifier()?.config.rules.leeway)
    }

    /// The tokens that may stand beside its content token.
    fn token_listing(&self) -> TokenListing {
        self.dialect.token_listing()
    }

    /// The claims of a content token, proven if this authority has keys. `None` if the token has none, which is a
    /// fault only if they must be proven.
    ///
    /// # Errors
    /// The token proves nothing.
    pub fn claims(&self, token: &str, wall: Duration) -> Result<Option<TokenClaims>, TokenFault> {
        match self.verifier() {
            Some(verifier) => verifier.verify(token, wall).map(Some),
            None if self.token_listing().is_ambiguous(token) => Err(TokenFault::Ambiguous),
            None => Ok(TokenClaims::peek(token)),
        }
    }

    /// Has its keys fetched, unless that was done just now, and waits for them at most `wait`.
    pub async fn fetch_token_keys(&self, clock: Clock, wait: Duration) {
        let Some(fetched) = self.verifier().and_then(|verifier| verifier.fetched.as_ref()) else { return };
        let mut ended = fetched.ended.subscribe();
        let before = *ended.borrow_and_update();
        if fetched.want(clock.now()) {
            let _late = tokio::time::timeout(wait, ended.wait_for(|ended| *ended > before)).await;
        }
    }

    /// True if the last fetch of its keys failed, so that an unknown key may be valid.
    pub fn misses_token_keys(&self) -> bool {
        let fetched = self.verifier().and_then(|verifier| verifier.fetched.as_ref());
        fetched.is_some_and(|fetched| {
            let attempts = fetched.attempts();
            attempts.failures > 0 || attempts.under_way || attempts.due.is_none()
        })
    }
}

#[cfg(test)]
mod tests;
