//! The page that Prometheus reads.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Admin;
use crate::authority::CallClass;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LimitLabel {
    limit: &'static str,
}

impl Admin {
    pub(super) fn metrics(&self) -> String {
        for (state, count) in self.sessions.states() {
            self.telemetry.metrics.sessions(state.name(), count);
        }
        let now = self.clock.now();
        for authority in self.authorities.current() {
            let metrics = &self.telemetry.metrics;
            for calls in CallClass::ALL {
                if let Some(open) = authority.spares(calls) {
                    metrics.breaker(&authority.name, calls.name(), open);
                }
            }
            let outage = authority.outage(now).unwrap_or_default();
            metrics.outage(&authority.name, outage, self.sessions.on_credit(authority.id));
        }
        self.telemetry.metrics.render(|registry| self.register_edge(registry))
    }

    fn register_edge(&self, registry: &mut Registry) {
        let edge = &self.edge;
        let open = i64::try_from(edge.open.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        registry.register("edge_connections", "Players' connections now", ConstGauge::new(open));
        let parked = i64::try_from(edge.parked.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let help = "Players' HTTP/1.1 connections that are idle and hold no buffers";
        registry.register("edge_parked_connections", help, ConstGauge::new(parked));
        let own = i64::try_from(self.own.open.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        registry.register("admin_connections", "Operators' connections now", ConstGauge::new(own));
        let refused = &self.own.refused_connections;
        let rows: [(&str, &str, &AtomicU64); 19] = [
            ("admin_refused_connections", "Operators' connections closed because too many were open", refused),
            ("edge_accepted", "Connections accepted", &edge.accepted),
            ("edge_accept_starved", "Accepts that failed for want of descriptors or memory", &edge.accept_starved),
            ("edge_bodies_broken", "Request bodies that were cut off or could not be read", &edge.bodies_broken),
            ("edge_bodies_exceeding", "Request bodies larger than allowed", &edge.bodies_exceeding),
            ("edge_bodies_stalled", "Request bodies that took too long", &edge.bodies_stalled),
            ("edge_calls", "Requests that passed the framing rules", &edge.calls),
            (
                "edge_forwarded_unreadable",
                "Calls of trusted proxies whose word about the viewer's address could not be read",
                &edge.forwarded_unreadable,
            ),
            ("edge_evicted", "Idle connections closed to make room for new ones", &edge.evicted),
            ("edge_heads_stalled", "Request heads that were not complete in time", &edge.heads_stalled),
            ("edge_handshakes_failed", "TLS handshakes that failed", &edge.handshakes_failed),
            ("edge_lifetimes_ended", "Connections closed at the end of their longest life", &edge.lifetimes_ended),
            (
                "edge_proxy_headers_refused",
                "Connections closed for want of a good PROXY protocol header of a trusted proxy",
                &edge.proxy_headers_refused,
            ),
            ("edge_refused_connections", "Connections closed because too many were open", &edge.refused_connections),
            ("edge_refused_calls", "Calls refused because too many were in flight", &edge.refused_calls),
            ("edge_refused_hosts", "Calls whose Host is none of ours", &edge.refused_hosts),
            ("edge_refused_origins", "Calls and preflights of pages not on the list", &edge.refused_origins),
            ("edge_silent", "Connections that sent nothing in time", &edge.silent),
            ("edge_stalled", "Connections whose peer stopped reading", &edge.stalled),
        ];
        for (name, help, count) in rows {
            registry.register(name, help, ConstCounter::new(count.load(Ordering::Relaxed)));
        }
        let breaches = Family::<ReasonLabel, Counter>::default();
        for (breach, count) in edge.breaches() {
            breaches.get_or_create(&ReasonLabel { reason: breach.label().to_owned() }).inc_by(count);
        }
        let limits = Family::<LimitLabel, Counter>::default();
        for (resource, count) in edge.address_refusals() {
            limits.get_or_create(&LimitLabel { limit: resource.label() }).inc_by(count);
        }
        registry.register("edge_address_refusals", "Refusals to addresses that had their share, by limit", limits);
        registry.register("edge_breaches", "Requests refused for their framing, by reason", breaches);
    }
}
