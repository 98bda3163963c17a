//! The counters behind `/metrics`. `docs/operations.md` lists every one; a guard test compares.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Labels;
use super::labels::{
    AuthorityCall, AuthorityLabel, AuthorityTime, Build, CallLabels, Cause, Ended, Happened, MediaLabels, Reload,
    RouteFault, RouteLabel, Saving, SlotEnd, StateLabel,
};
use crate::session::{AskKind, Event, FaultKind};

type Seconds = Family<AuthorityTime, Histogram, fn() -> Histogram>;

#[derive(Debug)]
pub struct Metrics {
    authority_calls: Family<AuthorityCall, Counter>,
    authority_clock_offset: Family<AuthorityLabel, Gauge<f64, AtomicU64>>,
    authority_seconds: Seconds,
    beats_late: Counter,
    certificate_not_after: Gauge<f64, AtomicU64>,
    ends: Family<Ended, Counter>,
    events: Family<Happened, Counter>,
    kill_effective: Histogram,
    license_calls: Family<CallLabels, Counter>,
    license_seconds: Histogram,
    manifests_unfit: Family<RouteFault, Counter>,
    media_bytes: Family<RouteLabel, Counter>,
    media_requests: Family<MediaLabels, Counter>,
    pub panics: Counter,
    refusals: Family<Cause, Counter>,
    reloads: Family<Reload, Counter>,
    sessions: Family<StateLabel, Gauge>,
    slots_ended: Family<Ended, Counter>,
    unrecognised: Family<RouteFault, Counter>,
    upstream_calls_saved: Family<Saving, Counter>,
    upstream_faults: Family<RouteFault, Counter>,
}

fn latency() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 6.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            authority_calls: Family::default(),
            authority_clock_offset: Family::default(),
            authority_seconds: Family::new_with_constructor(latency),
            beats_late: Counter::default(),
            certificate_not_after: Gauge::default(),
            ends: Family::default(),
            events: Family::default(),
            kill_effective: Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
            license_calls: Family::default(),
            license_seconds: latency(),
            manifests_unfit: Family::default(),
            media_bytes: Family::default(),
            media_requests: Family::default(),
            panics: Counter::default(),
            refusals: Family::default(),
            reloads: Family::default(),
            sessions: Family::default(),
            slots_ended: Family::default(),
            unrecognised: Family::default(),
            upstream_calls_saved: Family::default(),
            upstream_faults: Family::default(),
        }
    }
}

impl Metrics {
    pub(super) fn event(&self, labels: &Labels<'_>, event: &Event) {
        let happened = |event| Happened { authority: labels.authority.clone(), event };
        let ended = |reason| Ended { authority: labels.authority.clone(), reason };
        self.events.get_or_create(&happened(event.name())).inc();
        match event {
            Event::BeatLate(_) => drop(self.beats_late.inc()),
            Event::Closed(end) => drop(self.ends.get_or_create(&ended(end.name())).inc()),
            Event::Failed(ask, _) => drop(self.events.get_or_create(&happened((labels.error_name)(*ask))).inc()),
            Event::Killed(_) => drop(self.ends.get_or_create(&ended("killed")).inc()),
            Event::Beat
            | Event::Blackout(_)
            | Event::Opened { .. }
            | Event::Reached(_)
            | Event::Recovered(_)
            | Event::Refused(..)
            | Event::Renewed
            | Event::RenewalsCarry
            | Event::Stale(_)
            | Event::Unmanaged => {}
        }
    }

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

    /// Seconds that the authority's clock is ahead of ours.
    pub(super) fn clock_offset(&self, authority: &Arc<str>, offset: f64) {
        let label = AuthorityLabel { authority: authority.clone() };
        self.authority_clock_offset.get_or_create(&label).set(offset);
    }

    pub fn license_call(&self, labels: &CallLabels, took: Duration) {
        self.license_calls.get_or_create(labels).inc();
        self.license_seconds.observe(took.as_secs_f64());
    }

    pub fn media_request(&self, labels: &MediaLabels) {
        self.media_requests.get_or_create(labels).inc();
    }

    /// The counter of what a route's segments brought; kept by whoever adds to it often.
    pub fn media_bytes(&self, route: &Arc<str>) -> Counter {
        self.media_bytes.get_or_create(&RouteLabel { route: route.clone() }).clone()
    }

    /// A manifest that was not edited, or whose URIs could not all be.
    pub fn manifest_unfit(&self, route: &str, fault: &'static str) {
        self.manifests_unfit.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    /// From a kill until the last of the stream.
    pub fn kill_effective(&self, took: Duration) {
        self.kill_effective.observe(took.as_secs_f64());
    }

    /// `cause` comes from a table of ours, never from the far side.
    pub fn refusal(&self, cause: &str, profile: &'static str) {
        self.refusals.get_or_create(&Cause { cause: cause.to_owned(), profile }).inc();
    }

    pub fn slots_ended(&self, authority: &Arc<str>, why: SlotEnd, count: usize) {
        if count > 0 {
            let ended = Ended { authority: authority.clone(), reason: why.name() };
            self.slots_ended.get_or_create(&ended).inc_by(count as u64);
        }
    }

    pub fn unrecognised(&self, route: &str, fault: &'static str) {
        self.unrecognised.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    /// A call to an upstream that need not be made.
    pub fn upstream_call_saved(&self, route: &str, reason: &'static str) {
        self.upstream_calls_saved.get_or_create(&Saving { reason, route: route.to_owned() }).inc();
    }

    pub fn upstream_fault(&self, route: &str, fault: &'static str) {
        self.upstream_faults.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    pub fn reload(&self, good: bool) {
        self.reloads.get_or_create(&Reload { result: if good { "good" } else { "failed" } }).inc();
    }

    /// Seconds since the epoch.
    pub fn certificate_not_after(&self, at: u64) {
        self.certificate_not_after.set(at as f64);
    }

    pub fn sessions(&self, state: &'static str, count: usize) {
        self.sessions.get_or_create(&StateLabel { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The text of `/metrics` in OpenMetrics format; `more` adds what others count.
    pub fn render(&self, more: impl FnOnce(&mut Registry)) -> String {
        let mut registry = Registry::with_prefix("sidebeat");
        self.register(&mut registry);
        more(&mut registry);
        let mut page = String::new();
        // Writing into a String cannot fail; a page that breaks off would be seen as such.
        let _written = text::encode(&mut page, &registry);
        page
    }

    fn register(&self, registry: &mut Registry) {
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build", "The running version", build);
        registry.register("authority_calls", "Calls to authorities, by call and result", self.authority_calls.clone());
        let help = "Time of calls to authorities";
        registry.register_with_unit("authority_call", help, Unit::Seconds, self.authority_seconds.clone());
        let help = "How far the authority's clock is ahead of ours, by its newest reply";
        let gauge = self.authority_clock_offset.clone();
        registry.register_with_unit("authority_clock_offset", help, Unit::Seconds, gauge);
        registry.register("beats_late", "Beats sent more than a tick after they were due", self.beats_late.clone());
        let help = "When the server certificate expires";
        let gauge = self.certificate_not_after.clone();
        registry.register_with_unit("certificate_not_after_timestamp", help, Unit::Seconds, gauge);
        registry.register("sessions_ended", "Ended sessions, by reason", self.ends.clone());
        registry.register("session_events", "Events of sessions", self.events.clone());
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
        registry.register("panics", "Panics caught", self.panics.clone());
        registry.register("refusals", "Refusals sent to players", self.refusals.clone());
        registry.register("reloads", "Reloads of certificates, by result", self.reloads.clone());
        registry.register("sessions", "Sessions now, by state", self.sessions.clone());
        let help = "Sessions that embedded authorities ended against their will, by reason";
        registry.register("slots_ended", help, self.slots_ended.clone());
        registry.register("unrecognised", "Bodies that are no DRM message we know", self.unrecognised.clone());
        let saved = self.upstream_calls_saved.clone();
        registry.register("upstream_calls_saved", "Calls to upstreams that need not be made, by reason", saved);
        registry.register("upstream_faults", "Failures of license servers", self.upstream_faults.clone());
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
