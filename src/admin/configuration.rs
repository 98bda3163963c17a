//! `/v1/configuration`: the time since which the configuration holds, and whether the last reload failed.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use super::Admin;
use super::json::seconds;
use crate::config;

/// Times are wall time since the epoch.
#[derive(Debug)]
pub(super) struct Configuration {
    /// Time and faults of the last reload, if it failed.
    failed: Option<(Duration, Vec<String>)>,
    loaded: Duration,
    needs_restart: Vec<String>,
    /// Settings that are allowed but unlikely to be meant.
    warnings: Vec<String>,
}

impl Configuration {
    pub(super) fn loaded(at: Duration) -> Self {
        Self { failed: None, loaded: at, needs_restart: Vec::new(), warnings: Vec::new() }
    }
}

impl Admin {
    /// Notes a successful reload, except for these keys. Adds keys that stay for safety, and returns all.
    pub fn reloaded(&self, config: &config::AdminSettings, mut needs_restart: Vec<String>) -> Vec<String> {
        let (gate, token_kept) = self.gate.load().renewed(config);
        self.gate.store(gate.into());
        if token_kept {
            needs_restart.push("admin.token".to_owned());
        }
        let now = Configuration { needs_restart: needs_restart.clone(), ..Configuration::loaded(self.clock.wall()) };
        *self.configuration.lock().unwrap_or_else(PoisonError::into_inner) = now;
        needs_restart
    }

    /// Replaces the warnings about the current configuration.
    pub fn warn_of(&self, warnings: Vec<String>) {
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner).warnings = warnings;
    }

    /// Notes a failed reload with its reasons.
    pub fn not_reloaded(&self, faults: Vec<String>) {
        let failed = Some((self.clock.wall(), faults));
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner).failed = failed;
    }

    pub(super) fn configuration(&self) -> Value {
        let now = self.clock.wall();
        let configuration = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
        let Configuration { failed, loaded, needs_restart, warnings } = &*configuration;
        let failed = failed.as_ref().map(
            |(at, faults)| json!({ "at": seconds(*at), "s_ago": seconds(now.saturating_sub(*at)), "faults": faults }),
        );
        json!({
            "loaded": seconds(*loaded),
            "loaded_s_ago": seconds(now.saturating_sub(*loaded)),
            "failed_reload": failed,
            "needs_restart": needs_restart,
            "warnings": warnings,
        })
    }
}
