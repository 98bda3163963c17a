//! Counts calls to authorities: their results, and those that were spared.

use std::sync::Arc;
use std::time::Duration;

use super::super::labels::{AuthorityCall, AuthorityCalls, AuthorityLabel, AuthorityResult, AuthorityTime};
use super::{Metrics, ask_name};
use crate::session::{AskKind, FaultKind};

impl Metrics {
    pub fn authority_call(
        &self,
        authority: &Arc<str>,
        ask: AskKind,
        result: Result<&'static str, FaultKind>,
        took: Duration,
    ) {
        let (authority, call) = (authority.clone(), ask_name(ask));
        let result = result.unwrap_or_else(FaultKind::name);
        self.authority_calls.get_or_create(&AuthorityCall { authority: authority.clone(), call, result }).inc();
        self.authority_seconds.get_or_create(&AuthorityTime { authority, call }).observe(took.as_secs_f64());
    }

    /// Counts a call that was spared because none was answered lately.
    pub fn authority_call_spared(&self, authority: &Arc<str>, ask: AskKind) {
        let call = AuthorityTime { authority: authority.clone(), call: ask_name(ask) };
        self.authority_calls_spared.get_or_create(&call).inc();
    }

    /// Sets whether such calls are made, or only probes.
    pub fn breaker(&self, authority: &Arc<str>, calls: &'static str, open: bool) {
        let label = AuthorityCalls { authority: authority.clone(), calls };
        self.authority_breaker_open.get_or_create(&label).set(i64::from(open));
    }

    /// Counts a fetch of token keys and sets their number; `keys` is `None` if it failed.
    pub(in crate::telemetry) fn token_keys_fetched(&self, authority: &Arc<str>, keys: Option<usize>) {
        let result = if keys.is_some() { "good" } else { "failed" };
        self.token_key_fetches.get_or_create(&AuthorityResult { authority: authority.clone(), result }).inc();
        if let Some(keys) = keys {
            let label = AuthorityLabel { authority: authority.clone() };
            self.token_keys.get_or_create(&label).set(i64::try_from(keys).unwrap_or(i64::MAX));
        }
    }

    /// Counts an open that was granted after it had been given up.
    pub fn late_grant(&self, authority: &Arc<str>) {
        self.authority_late_grants.get_or_create(&AuthorityLabel { authority: authority.clone() }).inc();
    }

    pub fn account_deferred(&self, authority: &Arc<str>) {
        self.authority_deferrals.get_or_create(&AuthorityLabel { authority: authority.clone() }).inc();
    }
}
