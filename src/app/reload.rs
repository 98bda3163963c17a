//! Applies a new configuration under running sessions: as a whole or not at all.
//!
//! Everything that can fail is read and checked first; then each part is swapped in one store. Calls in flight keep
//! the parts with which they began, and no connection or session is touched. Settings that need a restart stay, and
//! are named in one log line.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::files::{CheckedFiles, read_files};
use crate::admin::Admin;
use crate::authority::Authorities;
use crate::config::{Config, ConfigFaults, EndpointUrl};
use crate::edge::{Certificates, CheckedCertificate, ReloadableTerms};
use crate::gateway::{ConfiguredRoutes, Routes};
use crate::secret::Secret;
use crate::sessions::Sessions;
use crate::telemetry::{self, SlotEnd, Telemetry};
use crate::upstream::{Pins, Trust};

type ConfigLoader = Box<dyn Fn() -> Result<Config, ConfigFaults> + Send + Sync>;

/// A key that needs a restart, and its value as text.
type Fixed = (&'static str, String);

pub struct ConfigReloader {
    pub(super) admin: Arc<Admin>,
    pub(super) authorities: Arc<Authorities>,
    pub(super) certificates: Option<Arc<Certificates>>,
    /// Values at the start of the process.
    pub(super) fixed: Vec<Fixed>,
    pub(super) load: Option<ConfigLoader>,
    /// Locked during a reload, so that only one runs at a time.
    pub(super) one: Mutex<()>,
    pub(super) routes: Arc<ArcSwap<Routes>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) terms: ReloadableTerms,
    pub(super) trust: Trust,
}

/// Files that were read and checked.
struct ReloadedFiles {
    pins: Pins,
    shown: Option<CheckedCertificate>,
}

impl ConfigReloader {
    /// Reloads on SIGHUP.
    pub(super) fn hang_up(&self) {
        match &self.load {
            Some(load) => drop(self.take(load())),
            None => self.certificates_alone(),
        }
    }

    /// Applies a configuration, or reports its faults. True if it is in force now.
    pub fn take(&self, read: Result<Config, ConfigFaults>) -> bool {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = read.map_err(lines).and_then(|config| Ok((self.prepare(&config)?, config)));
        let good = ready.is_ok();
        self.telemetry.metrics.reload(good);
        match ready {
            Ok((ready, config)) => self.commit(ready, config),
            Err(faults) => self.refuse(faults),
        }
        good
    }

    fn prepare(&self, config: &Config) -> Result<ReloadedFiles, Vec<String>> {
        let CheckedFiles { pins, tls: read } = read_files(config, &self.trust).map_err(lines)?;
        let tls = &config.server.tls;
        let shown = match (&self.certificates, read.certificate) {
            (None, _) => None,
            (Some(_), Some(read)) => Some(read),
            (Some(_), None) => {
                let read = CheckedCertificate::read(&tls.certificate, &tls.key);
                Some(read.map_err(|fault| vec![fault.to_string()])?)
            }
        };
        Ok(ReloadedFiles { pins, shown })
    }

    /// Swaps the parts from the bottom up, so that a call that meets the new routes finds all that they need.
    fn commit(&self, ready: ReloadedFiles, config: Config) {
        let mut stays = differing(&self.fixed, &restart_only(&config));
        let Config {
            admin,
            authorities,
            authorize,
            log,
            routes,
            server,
            store: _,
            files: _,
            texts,
            warnings,
            webhooks: _,
        } = config;
        telemetry::change_log(&log);
        self.telemetry.hash_identities(log.hashed_identities);
        self.trust.take(ready.pins);
        let kinds = self.authorities.renew(authorities);
        turn_out(&self.authorities, &self.telemetry);
        stays.extend(kinds.iter().map(|name| format!("authority.kind of {name}")));
        self.terms.change(&server);
        let limits = self.terms.limits();
        self.sessions.bound(limits.sessions);
        let routes = ConfiguredRoutes { authorize, routes, texts: Arc::new(texts) };
        let routes = Routes::new(&self.routes.load(), routes, &self.authorities.current(), &limits);
        self.routes.store(Arc::new(routes));
        if let (Some(certificates), Some(shown)) = (&self.certificates, ready.shown) {
            certificates.show(shown);
            tracing::info!("certificates reloaded");
        }
        let stays = self.admin.reloaded(&admin, stays);
        self.admin.warn_of(warn_of(warnings));
        self.show(self.sessions.clock().wall());
        if !stays.is_empty() {
            tracing::warn!("needs a restart: {}", stays.join(", "));
        }
        tracing::info!("configuration reloaded");
    }

    fn refuse(&self, faults: Vec<String>) {
        let faults: Vec<_> = faults.iter().map(|fault| fault.trim_end().to_owned()).collect();
        for fault in &faults {
            tracing::error!("configuration: {fault}");
        }
        tracing::error!(faults = faults.len(), "configuration not reloaded; the old one stays");
        self.admin.not_reloaded(faults);
    }

    fn certificates_alone(&self) {
        let Some(certificates) = &self.certificates else { return };
        let reloaded = certificates.reload();
        match &reloaded {
            Ok(()) => tracing::info!("certificates reloaded"),
            Err(fault) => tracing::error!(%fault, "certificates not reloaded; the old ones stay"),
        }
        self.telemetry.metrics.reload(reloaded.is_ok());
        self.show_expiry();
    }

    /// Shows the time of this configuration; `at` is wall time since the epoch.
    pub(super) fn show(&self, at: Duration) {
        self.telemetry.metrics.configuration_loaded(at);
        self.show_expiry();
    }

    fn show_expiry(&self) {
        if let Some(not_after) = self.certificates.as_ref().and_then(|certificates| certificates.not_after()) {
            self.telemetry.metrics.certificate_not_after(not_after.as_secs());
        }
    }
}

/// Ends the sessions of denied accounts and devices; their players learn of it at the next beat or license call.
pub(super) fn turn_out(authorities: &Authorities, telemetry: &Telemetry) {
    for (authority, sessions) in authorities.turn_out() {
        tracing::info!(authority = &*authority, sessions, "may not play any more");
        telemetry.metrics.slots_ended(&authority, SlotEnd::Denied, sessions);
    }
}

/// Every server that the configuration calls, with its CA file if it has one.
pub(super) fn named(config: &Config) -> Vec<(&EndpointUrl, Option<&Path>)> {
    let mut named = Vec::new();
    for authority in &config.authorities {
        named.extend(authority.kind.settings().servers());
    }
    named.extend(config.webhooks.iter().map(|webhook| (&webhook.url, webhook.ca.as_deref())));
    named.extend(config.authorize.iter().map(|route| (&route.authorize_url, route.ca.as_deref())));
    named.extend(config.routes.iter().map(|route| (route.upstream(), route.ca.as_deref())));
    named
}

/// Values of the settings that need a restart.
pub(super) fn restart_only(config: &Config) -> Vec<Fixed> {
    let Config { admin, log, server, store, webhooks, .. } = config;
    // A secret's text shows no change, so its fingerprint is compared.
    let secrets = webhooks.iter().map(|webhook| webhook.secret.as_ref().map(Secret::fingerprint));
    vec![
        ("admin.listen", format!("{:?}", admin.listen)),
        ("log.format", format!("{:?}", log.format)),
        ("server.listen", format!("{:?}", server.listen)),
        ("server.listen-plain", format!("{:?}", server.listen_plain)),
        ("server.proxy-protocol", format!("{:?}", server.proxy_protocol)),
        ("server.public-url", format!("{:?}", server.public_url)),
        ("server.tls.client-ca", format!("{:?}", server.tls.client_ca)),
        ("server.workers", server.workers.to_string()),
        ("store", format!("{store:?}")),
        ("webhook", format!("{webhooks:?}")),
        ("webhook.secret", format!("{:?}", secrets.collect::<Vec<_>>())),
    ]
}

/// Logs each warning, and returns them as lines.
pub(super) fn warn_of(warnings: ConfigFaults) -> Vec<String> {
    let warnings = lines(warnings);
    for warning in &warnings {
        tracing::warn!("configuration: {warning}");
    }
    warnings
}

fn lines(ConfigFaults(faults): ConfigFaults) -> Vec<String> {
    faults.into_iter().map(|fault| ConfigFaults(vec![fault]).to_string().trim_end().to_owned()).collect()
}

fn differing(before: &[Fixed], now: &[Fixed]) -> Vec<String> {
    let differ = before.iter().zip(now).filter(|(before, now)| before != now);
    differ.map(|((key, _), _)| (*key).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn fixed(secret: &str) -> Vec<Fixed> {
        let text = format!(
            "[[route]]\npath = \"/l\"\nlicense-server = \"http://127.0.0.1:9/\"\n\
             [[webhook]]\nname = \"home\"\nurl = \"http://127.0.0.1:9/\"\nsecret = \"{secret}\"\n"
        );
        restart_only(&config::parse(&text, Path::new(""), std::iter::empty()).unwrap())
    }

    #[test]
    fn a_changed_webhook_secret_needs_a_restart_and_is_not_shown() {
        let (before, now) = (fixed("open-sesame"), fixed("swordfish"));
        assert_eq!(differing(&before, &now), ["webhook.secret"]);
        assert!(differing(&before, &fixed("open-sesame")).is_empty());
        assert!(!format!("{before:?}").contains("sesame"));
    }
}
