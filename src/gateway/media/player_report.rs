//! Reads from one media request whether another device sent it, and the player's report.

use std::sync::atomic::Ordering;

use http::header::RANGE;

use super::MediaCall;
use super::paths::MediaTarget;
use crate::cmcd;
use crate::config;
use crate::gateway::cmcd_report;
use crate::gateway::identity::sources::{self, IdentityEvidence};
use crate::session::PlayerReport;

impl MediaCall<'_> {
    /// True if another device uses the path: the source that named the device names another one now. Query and path
    /// do not count, because a player cannot repeat them with every segment.
    pub(super) fn is_foreign(&self, below: &str) -> bool {
        let rungs = self.route.config.device.iter().filter(|source| source.kind() == self.registration.device_source);
        let rungs: Vec<_> = rungs
            .filter(|source| match source {
                // Below a playback's own path both belong to its server.
                config::IdentitySource::PathSegment | config::IdentitySource::Query(_) => false,
                config::IdentitySource::Cookie(_)
                | config::IdentitySource::Header(_)
                | config::IdentitySource::Mtls
                | config::IdentitySource::Peer
                | config::IdentitySource::TokenClaim(_) => true,
            })
            .cloned()
            .collect();
        let (headers, query) = (&self.request.headers, self.request.uri.query());
        let evidence = IdentityEvidence { claims: None, headers, peer: self.peer, query, rest: below };
        sources::device(&rungs, &evidence).is_some_and(|device| device.name != self.registration.device)
    }

    /// The player's CMCD report in this request.
    pub(super) fn report(&self, target: &MediaTarget) -> Option<PlayerReport> {
        let query = self.request.uri.query();
        let told = query.and_then(cmcd::from_query).or_else(|| cmcd::from_headers(&self.request.headers))?;
        self.playback.tells.store(true, Ordering::Relaxed);
        let mut report = cmcd_report::read(&told);
        report.by_interval = false;
        if let Some(wanted) = self.playback.learned().wanted(&target.path, self.first_byte()) {
            wanted.place(&mut report, &told);
        }
        Some(report)
    }

    fn first_byte(&self) -> u64 {
        let range = self.request.headers.get(RANGE).and_then(|range| range.to_str().ok());
        let first = range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
        first.unwrap_or_default()
    }
}
