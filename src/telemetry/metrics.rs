//! The counters behind `/metrics`. `docs/operations.md` lists every one; a guard test compares.

mod page;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::labels::{
    AuthorityCall, AuthorityCalls, AuthorityLabel, AuthorityResult, AuthorityTime, AuthorizedLabels, CallLabels,
    CauseLabels, DeliveredLabels, EndedLabels, EventLabels, MediaLabels, ReloadLabel, RestoredLabel, RouteFault,
    RouteLabel, RouteResult, SavedCall, SavingLabels, SlotEnd, StateLabel, UnconfirmedLabel, WebhookDelivery,
};
use crate::events::PlaybackInfo;
use crate::session::{AskKind, FaultKind, SessionEvent};

type Seconds = Family<AuthorityTime, Histogram, fn() -> Histogram>;

#[derive(Debug)]
pub struct Metrics {
    authority_breaker_open: Family<AuthorityCalls, Gauge>,
    authority_calls: Family<AuthorityCall, Counter>,
    authority_calls_spared: Family<AuthorityTime, Counter>,
    authority_clock_offset: Family<AuthorityLabel, Gauge<f64, AtomicU64>>,
    authority_deferrals: Family<AuthorityLabel, Counter>,
    authority_late_grants: Family<AuthorityLabel, Counter>,
    authority_outage: Family<AuthorityLabel, Gauge<f64, AtomicU64>>,
    authority_seconds: Seconds,
    authorizations: Family<AuthorizedLabels, Counter>,
    beats_late: Counter,
    certificate_not_after: Gauge<f64, AtomicU64>,
    configuration_loaded: Gauge<f64, AtomicU64>,
    configuration_stale: Gauge,
    credit_debt: Family<AuthorityLabel, Counter<f64, AtomicU64>>,
    credits: Family<UnconfirmedLabel, Counter>,
    ends: Family<EndedLabels, Counter>,
    events: Family<EventLabels, Counter>,
    journal_commits: Counter,
    journal_degraded: Gauge,
    journal_failures: Counter,
    journal_records: Counter,
    kill_effective: Histogram,
    license_calls: Family<CallLabels, Counter>,
    license_seconds: Histogram,
    manifests_unfit: Family<RouteFault, Counter>,
    media_bytes: Family<RouteLabel, Counter>,
    media_requests: Family<MediaLabels, Counter>,
    on_credit: Family<AuthorityLabel, Gauge>,
    opens_asked_again: Family<AuthorityResult, Counter>,
    pub panics: Counter,
    refusals: Family<CauseLabels, Counter>,
    registrations_displaced: Counter,
    reloads: Family<ReloadLabel, Counter>,
    sessions: Family<StateLabel, Gauge>,
    sessions_displaced: Family<StateLabel, Counter>,
    sessions_restored: Family<RestoredLabel, Counter>,
    slots_ended: Family<EndedLabels, Counter>,
    token_key_fetches: Family<AuthorityResult, Counter>,
    token_keys: Family<AuthorityLabel, Gauge>,
    unrecognised: Family<RouteFault, Counter>,
    weak_identities: Family<RouteFault, Counter>,
    upstream_calls_saved: Family<SavingLabels, Counter>,
    upstream_faults: Family<RouteFault, Counter>,
    upstream_retries: Family<RouteResult, Counter>,
    webhooks: Family<DeliveredLabels, Counter>,
}

fn latency() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 6.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            authority_breaker_open: Family::default(),
            authority_calls: Family::default(),
            authority_calls_spared: Family::default(),
            authority_clock_offset: Family::default(),
            authority_deferrals: Family::default(),
            authority_late_grants: Family::default(),
            authority_outage: Family::default(),
            authority_seconds: Family::new_with_constructor(latency),
            authorizations: Family::default(),
            beats_late: Counter::default(),
            certificate_not_after: Gauge::default(),
            configuration_loaded: Gauge::default(),
            configuration_stale: Gauge::default(),
            credit_debt: Family::default(),
            credits: Family::default(),
            ends: Family::default(),
            events: Family::default(),
            journal_commits: Counter::default(),
            journal_degraded: Gauge::default(),
            journal_failures: Counter::default(),
            journal_records: Counter::default(),
            kill_effective: Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
            license_calls: Family::default(),
            license_seconds: latency(),
            manifests_unfit: Family::default(),
            media_bytes: Family::default(),
            media_requests: Family::default(),
            on_credit: Family::default(),
            opens_asked_again: Family::default(),
            panics: Counter::default(),
            refusals: Family::default(),
            registrations_displaced: Counter::default(),
            reloads: Family::default(),
            sessions: Family::default(),
            sessions_displaced: Family::default(),
            sessions_restored: Family::default(),
            slots_ended: Family::default(),
            token_key_fetches: Family::default(),
            token_keys: Family::default(),
            unrecognised: Family::default(),
            weak_identities: Family::default(),
            upstream_calls_saved: Family::default(),
            upstream_faults: Family::default(),
            upstream_retries: Family::default(),
            webhooks: Family::default(),
        }
    }
}

impl Metrics {
    pub(super) fn event(&self, of: &PlaybackInfo<'_>, event: &SessionEvent) {
        let happened = |event| EventLabels { authority: of.authority.clone(), event };
        let ended = |reason| EndedLabels { authority: of.authority.clone(), reason };
        self.events.get_or_create(&happened(event.name())).inc();
        match event {
            SessionEvent::BeatLate(_) => drop(self.beats_late.inc()),
            SessionEvent::Closed(end) => drop(self.ends.get_or_create(&ended(end.name())).inc()),
            SessionEvent::Failed(ask, _) => drop(self.events.get_or_create(&happened((of.error_name)(*ask))).inc()),
            SessionEvent::Killed(_) => drop(self.ends.get_or_create(&ended("killed")).inc()),
            SessionEvent::OnCredit { running } => {
                let playback = if *running { "running" } else { "new" };
                self.credits.get_or_create(&UnconfirmedLabel { authority: of.authority.clone(), playback }).inc();
            }
            SessionEvent::Settled(owed) => {
                let label = AuthorityLabel { authority: of.authority.clone() };
                self.credit_debt.get_or_create(&label).inc_by(owed.as_secs_f64());
            }
            SessionEvent::Beat
            | SessionEvent::Blackout(_)
            | SessionEvent::Forgiven
            | SessionEvent::Joined
            | SessionEvent::Left(_)
            | SessionEvent::LeftOpen
            | SessionEvent::Opened { .. }
            | SessionEvent::Orphaned
            | SessionEvent::Reached(_)
            | SessionEvent::Recovered(_)
            | SessionEvent::Refused(..)
            | SessionEvent::Reopening
            | SessionEvent::Resumed
            | SessionEvent::Renewed
            | SessionEvent::RenewalsCarry
            | SessionEvent::Returned
            | SessionEvent::Stale(_)
            | SessionEvent::Unmanaged => {}
        }
    }

    /// Counts an open that met the limit while a slot of its account was being given back.
    pub fn open_asked_again(&self, authority: &Arc<str>, result: &'static str) {
        self.opens_asked_again.get_or_create(&AuthorityResult { authority: authority.clone(), result }).inc();
    }

    /// Sets the present outage; zero for none.
    pub fn outage(&self, authority: &Arc<str>, outage: Duration, on_credit: usize) {
        let label = AuthorityLabel { authority: authority.clone() };
        self.authority_outage.get_or_create(&label).set(outage.as_secs_f64());
        self.on_credit.get_or_create(&label).set(i64::try_from(on_credit).unwrap_or(i64::MAX));
    }

    /// Seconds that the authority's clock is ahead of ours.
    pub(super) fn clock_offset(&self, authority: &Arc<str>, offset: f64) {
        let label = AuthorityLabel { authority: authority.clone() };
        self.authority_clock_offset.get_or_create(&label).set(offset);
    }

    /// Counts a transaction of the journal.
    pub fn journal_written(&self, records: usize) {
        self.journal_commits.inc();
        self.journal_records.inc_by(records as u64);
        self.journal_degraded.set(0);
    }

    pub fn journal_failed(&self) {
        self.journal_failures.inc();
        self.journal_degraded.set(1);
    }

    /// Counts a session that is over and was forgotten for others; `kind` comes from a table of ours.
    pub fn session_displaced(&self, kind: &'static str) {
        self.sessions_displaced.get_or_create(&StateLabel { state: kind }).inc();
    }

    /// Counts registrations that were dropped for others of their network.
    pub fn registrations_displaced(&self, count: usize) {
        self.registrations_displaced.inc_by(count as u64);
    }

    /// Counts the sessions found in the journal at the start, by result.
    pub fn sessions_restored(&self, result: &'static str, count: usize) {
        self.sessions_restored.get_or_create(&RestoredLabel { result }).inc_by(count as u64);
    }

    /// Counts an authorize call; `outcome` comes from a table of ours.
    pub fn authorization(&self, route: &str, outcome: &'static str) {
        self.authorizations.get_or_create(&AuthorizedLabels { outcome, route: route.to_owned() }).inc();
    }

    /// Counts a license call by its counter, which [`Self::license_calls`] gives.
    pub fn license_call(&self, calls: &Counter, took: Duration) {
        calls.inc();
        self.license_seconds.observe(took.as_secs_f64());
    }

    /// The counter of such license calls; keep it if you add to it often.
    pub fn license_calls(&self, labels: &CallLabels) -> Counter {
        self.license_calls.get_or_create(labels).clone()
    }

    pub fn media_request(&self, labels: &MediaLabels) {
        self.media_requests.get_or_create(labels).inc();
    }

    /// The counter of a route's media bytes; keep it if you add to it often.
    pub fn media_bytes(&self, route: &Arc<str>) -> Counter {
        self.media_bytes.get_or_create(&RouteLabel { route: route.clone() }).clone()
    }

    /// Counts a manifest that was not edited, or not completely.
    pub fn manifest_unfit(&self, route: &str, fault: &'static str) {
        self.manifests_unfit.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    /// Observes the time from a kill to the last byte of the stream.
    pub fn kill_effective(&self, took: Duration) {
        self.kill_effective.observe(took.as_secs_f64());
    }

    /// Counts a refusal; `cause` comes from a table of ours, never from the far side.
    pub fn refusal(&self, cause: &str, profile: &'static str) {
        self.refusals.get_or_create(&CauseLabels { cause: cause.to_owned(), profile }).inc();
    }

    pub fn slots_ended(&self, authority: &Arc<str>, why: SlotEnd, count: usize) {
        if count > 0 {
            let ended = EndedLabels { authority: authority.clone(), reason: why.name() };
            self.slots_ended.get_or_create(&ended).inc_by(count as u64);
        }
    }

    pub fn unrecognised(&self, route: &str, fault: &'static str) {
        self.unrecognised.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    pub fn weak_identity(&self, route: &str, fault: &'static str) {
        self.weak_identities.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    pub fn webhook(&self, webhook: &str, result: WebhookDelivery, times: u64) {
        let delivered = DeliveredLabels { result: result.name(), webhook: webhook.to_owned() };
        self.webhooks.get_or_create(&delivered).inc_by(times);
    }

    /// Sets the time, since the epoch, at which this configuration was loaded.
    pub fn configuration_loaded(&self, at: Duration) {
        self.configuration_loaded.set(at.as_secs_f64());
    }

    pub fn reload(&self, good: bool) {
        self.configuration_stale.set(i64::from(!good));
        self.reloads.get_or_create(&ReloadLabel { result: if good { "good" } else { "failed" } }).inc();
    }

    /// Sets the expiry in seconds since the epoch.
    pub fn certificate_not_after(&self, at: u64) {
        self.certificate_not_after.set(at as f64);
    }

    pub fn sessions(&self, state: &'static str, count: usize) {
        self.sessions.get_or_create(&StateLabel { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

pub(super) fn ask_name(ask: AskKind) -> &'static str {
    match ask {
        AskKind::Beat => "beat",
        AskKind::Close => "close",
        AskKind::Open => "open",
        AskKind::Renew => "renew",
    }
}

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

impl Metrics {
    /// Counts a call to an upstream that was not necessary.
    pub fn upstream_call_saved(&self, route: &str, reason: SavedCall) {
        let labels = SavingLabels { reason: reason.name(), route: route.to_owned() };
        self.upstream_calls_saved.get_or_create(&labels).inc();
    }

    pub fn upstream_fault(&self, route: &str, fault: &'static str) {
        self.upstream_faults.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    /// Counts the retries of a call, by whether it was answered at last.
    pub fn upstream_retries(&self, route: &str, times: u32, answered: bool) {
        let result = if answered { "answered" } else { "failed" };
        let label = RouteResult { result, route: route.to_owned() };
        self.upstream_retries.get_or_create(&label).inc_by(times.into());
    }
}
