//! The page of `/metrics`: every metric with its name and help, in OpenMetrics format.
//!
//! `docs/operations.md` lists them all.

use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::telemetry::labels::BuildLabel;

impl Metrics {
    /// The text of `/metrics` in OpenMetrics format; `more` registers further counters.
    pub fn render(&self, more: impl FnOnce(&mut Registry)) -> String {
        let mut registry = Registry::with_prefix("sidebeat");
        self.register(&mut registry);
        more(&mut registry);
        let mut page = String::new();
        // Writing into a String cannot fail.
        let _written = text::encode(&mut page, &registry);
        page
    }

    fn register(&self, registry: &mut Registry) {
        let build = Family::<BuildLabel, Gauge>::default();
        build.get_or_create(&BuildLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build", "The running version", build);
        registry.register("authority_calls", "Calls to authorities, by call and result", self.authority_calls.clone());
        let help = "Whether calls to the authority fail at once, but for probes";
        registry.register("authority_breaker_open", help, self.authority_breaker_open.clone());
        let help = "Calls to authorities that were not made during an outage";
        registry.register("authority_calls_spared", help, self.authority_calls_spared.clone());
        let help = "Accounts whose opens began to wait because the authority said so (429)";
        registry.register("authority_deferrals", help, self.authority_deferrals.clone());
        let help = "Opens that were granted after they had been given up; each is given back";
        registry.register("authority_late_grants", help, self.authority_late_grants.clone());
        let help = "For how long the authority has not answered; 0 when it does";
        registry.register_with_unit("authority_outage", help, Unit::Seconds, self.authority_outage.clone());
        let help = "Time that playbacks went on without the authority's word, counted when it ends";
        registry.register_with_unit("credit_debt", help, Unit::Seconds, self.credit_debt.clone());
        registry.register("credits", "Playbacks that went on credit", self.credits.clone());
        let help = "Playbacks that go on without the authority's word now";
        registry.register("on_credit", help, self.on_credit.clone());
        let help = "Time of calls to authorities";
        registry.register_with_unit("authority_call", help, Unit::Seconds, self.authority_seconds.clone());
        let help = "How far the authority's clock is ahead of ours, by its newest reply";
        let gauge = self.authority_clock_offset.clone();
        registry.register_with_unit("authority_clock_offset", help, Unit::Seconds, gauge);
        registry.register("authorizations", "Authorize calls, by outcome", self.authorizations.clone());
        registry.register("beats_late", "Beats sent more than a tick after they were due", self.beats_late.clone());
        let help = "When the server certificate expires";
        let gauge = self.certificate_not_after.clone();
        registry.register_with_unit("certificate_not_after_timestamp", help, Unit::Seconds, gauge);
        let help = "When the configuration was last loaded";
        let gauge = self.configuration_loaded.clone();
        registry.register_with_unit("configuration_loaded_timestamp", help, Unit::Seconds, gauge);
        let help = "1 while the last reload has failed and an older configuration holds";
        registry.register("configuration_stale", help, self.configuration_stale.clone());
        registry.register("sessions_ended", "Ended sessions, by reason", self.ends.clone());
        registry.register("session_events", "Events of sessions", self.events.clone());
        registry.register("journal_commits", "Transactions of the journal", self.journal_commits.clone());
        let help = "1 while the journal cannot be written";
        registry.register("journal_degraded", help, self.journal_degraded.clone());
        let help = "Transactions of the journal that failed";
        registry.register("journal_failures", help, self.journal_failures.clone());
        registry.register("journal_records", "Records written to the journal", self.journal_records.clone());
        registry.register(
            "license_calls",
            "Calls of players, by what they were and how they ended",
            self.license_calls.clone(),
        );
        let help = "From a kill until the last byte of the stream";
        registry.register_with_unit("kill_effective", help, Unit::Seconds, self.kill_effective.clone());
        let help = "Manifests that were not edited, or not wholly, by reason";
        registry.register("manifests_unfit", help, self.manifests_unfit.clone());
        let help = "Bytes of segments that passed through";
        registry.register("media_bytes", help, self.media_bytes.clone());
        registry.register("media_requests", "Requests for manifests and segments", self.media_requests.clone());
        let help = "Time of players' calls, upstream included";
        registry.register_with_unit("license_call", help, Unit::Seconds, self.license_seconds.clone());
        let help = "Opens that met the limit and were made again when a place had come back, by result";
        registry.register("opens_asked_again", help, self.opens_asked_again.clone());
        registry.register("panics", "Panics caught", self.panics.clone());
        registry.register("refusals", "Refusals sent to players", self.refusals.clone());
        let help = "Registered playbacks that gave way to others of their network";
        registry.register("registrations_displaced", help, self.registrations_displaced.clone());
        registry.register("reloads", "Reloads, by result", self.reloads.clone());
        registry.register("sessions", "Sessions now, by state", self.sessions.clone());
        let help = "Sessions that were over and forgotten before their time, because too many were remembered";
        registry.register("sessions_displaced", help, self.sessions_displaced.clone());
        let help = "Sessions found in the journal at the start, by what became of them";
        registry.register("sessions_restored", help, self.sessions_restored.clone());
        let help = "Sessions that embedded authorities ended against their will, by reason";
        registry.register("slots_ended", help, self.slots_ended.clone());
        let help = "Fetches of the keys of content tokens, by result";
        registry.register("token_key_fetches", help, self.token_key_fetches.clone());
        let help = "Keys of content tokens that were fetched last";
        registry.register("token_keys", help, self.token_keys.clone());
        registry.register("weak_identities", "Calls whose identity tells too little", self.weak_identities.clone());
        registry.register("unrecognised", "Bodies that are no DRM message we know", self.unrecognised.clone());
        let saved = self.upstream_calls_saved.clone();
        registry.register("upstream_calls_saved", "Calls to upstreams that need not be made, by reason", saved);
        registry.register("upstream_faults", "Failures of license servers", self.upstream_faults.clone());
        let help = "Calls to license servers and origins that were made again, by how they ended";
        registry.register("upstream_retries", help, self.upstream_retries.clone());
        registry.register("webhook_events", "Events for webhooks, by what became of them", self.webhooks.clone());
    }
}
