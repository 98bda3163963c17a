//! The edge's counters, which telemetry reads.
//!
//! Plain atomics, shared by all workers and never reset. Every limit of the edge has a counter that moves when it
//! refuses something.

use std::sync::atomic::{AtomicU64, Ordering};

use super::address_limits::AddressResource;
use super::body;
use super::request_rules::RequestViolation;

#[derive(Debug, Default)]
pub struct EdgeCounters {
    /// Connections taken from the listeners, including those closed at once.
    pub accepted: AtomicU64,
    pub(super) address_refusals: [AtomicU64; AddressResource::ALL.len()],
    /// Failed `accept` calls that were tried again: out of descriptors or memory.
    pub accept_starved: AtomicU64,
    /// Request bodies that were cut off or could not be read.
    pub bodies_broken: AtomicU64,
    /// Request bodies larger than allowed.
    pub bodies_exceeding: AtomicU64,
    /// Request bodies that took too long.
    pub bodies_stalled: AtomicU64,
    /// Requests handed to the handler.
    pub calls: AtomicU64,
    /// Calls of trusted proxies whose header about the viewer's address could not be read.
    pub forwarded_unreadable: AtomicU64,
    /// Idle connections closed to make room for new ones.
    pub evicted: AtomicU64,
    /// Request heads that were not complete in time.
    pub heads_stalled: AtomicU64,
    /// TLS handshakes that failed or took longer than allowed.
    pub handshakes_failed: AtomicU64,
    /// Connections closed because their longest life was over.
    pub lifetimes_ended: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Idle HTTP/1.1 connections that hold no buffers now.
    pub parked: AtomicU64,
    /// Connections closed: the PROXY protocol header that their listener expects was missing, broken or late,
    /// or came from a peer that is not trusted.
    pub proxy_headers_refused: AtomicU64,
    /// Connections closed at once: too many were open.
    pub refused_connections: AtomicU64,
    /// Calls answered 403: too many were in flight.
    pub refused_calls: AtomicU64,
    /// Calls with a `Host` that is none of ours.
    pub refused_hosts: AtomicU64,
    /// Calls and preflights of pages that are not on the list of origins.
    pub refused_origins: AtomicU64,
    /// Connections whose first bytes did not arrive in time.
    pub silent: AtomicU64,
    /// Connections whose peer stopped reading our reply.
    pub stalled: AtomicU64,
    breaches: [AtomicU64; RequestViolation::ALL.len()],
}

impl EdgeCounters {
    /// Requests refused for their framing, by reason; the label is fit for a metric.
    pub fn breaches(&self) -> impl Iterator<Item = (RequestViolation, u64)> + '_ {
        RequestViolation::ALL.into_iter().zip(self.breaches.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Refusals because an address had its full share, by resource.
    pub fn address_refusals(&self) -> impl Iterator<Item = (AddressResource, u64)> + '_ {
        let counts = self.address_refusals.iter().map(|count| count.load(Ordering::Relaxed));
        AddressResource::ALL.into_iter().zip(counts)
    }

    pub(super) fn body(&self, fault: body::BodyFault) {
        add(match fault {
            body::BodyFault::Break => &self.bodies_broken,
            body::BodyFault::Exceed => &self.bodies_exceeding,
            // Counted where its reason is known.
            body::BodyFault::Refuse(_) => return,
            body::BodyFault::Stall => &self.bodies_stalled,
        });
    }

    pub(super) fn breach(&self, breach: RequestViolation) {
        if let Some(count) = self.breaches.get(breach as usize) {
            add(count);
        }
    }
}

pub(super) fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn take(count: &AtomicU64) {
    count.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_breach_has_its_own_place() {
        for (place, breach) in RequestViolation::ALL.into_iter().enumerate() {
            assert_eq!(place, breach as usize, "{breach:?}");
            let counters = EdgeCounters::default();
            counters.breach(breach);
            let moved: Vec<_> = counters.breaches().filter(|(_, count)| *count == 1).collect();
            assert_eq!(moved, [(breach, 1)]);
        }
    }
}
