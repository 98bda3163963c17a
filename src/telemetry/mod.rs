//! What sidebeat tells about itself: logs and metrics.
//!
//! One place turns an event of the core into a log line and a counter. Labels are bounded: routes,
//! authorities, names from our own tables; never a device, account or session. Nothing secret comes
//! here: events carry scrubbed reasons only.

mod labels;
mod log;
mod metrics;

use std::sync::Arc;

use tracing::{debug, info, warn};

pub use self::labels::{CallLabels, MediaLabels, Outcome, SlotEnd};
pub use self::log::start as start_log;
pub use self::metrics::Metrics;
use crate::ids::SessionId;
use crate::session::{AskKind, Event};

/// Where an event happened.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    pub authority: &'a Arc<str>,
    pub error_name: fn(AskKind) -> &'static str,
    pub route: &'a str,
}

#[derive(Debug, Default)]
pub struct Telemetry {
    pub metrics: Metrics,
}

impl Telemetry {
    /// Writes one event of a session to the log and the counters.
    pub fn note(&self, labels: &Labels<'_>, id: SessionId, event: &Event) {
        self.metrics.event(labels, event);
        let (session, authority, route, name) = (id.short(), &**labels.authority, labels.route, event.name());
        match event {
            Event::Beat | Event::Renewed | Event::RenewalsCarry => debug!(%session, authority, route, "{name}"),
            Event::BeatLate(late) => warn!(%session, authority, late_ms = late.as_millis() as u64, "{name}"),
            Event::Closed(end) => info!(%session, authority, route, reason = end.name(), "{name}"),
            Event::Failed(ask, reason) => warn!(
                %session, authority, route, event = (labels.error_name)(*ask),
                code = reason.code, errorCode = reason.error_code, said = &*reason.message, "{name}"
            ),
            Event::Blackout(reason) | Event::Killed(reason) | Event::Refused(_, reason) => warn!(
                %session, authority, route,
                code = reason.code, errorCode = reason.error_code, said = &*reason.message, "{name}"
            ),
            Event::Opened { interval } => {
                info!(%session, authority, route, interval_s = interval.as_secs_f64(), "{name}")
            }
            Event::Recovered(missed) => info!(%session, authority, missed, "{name}"),
            Event::Reached(_) | Event::Stale(_) | Event::Unmanaged => info!(%session, authority, route, "{name}"),
        }
    }

    /// `offset`: seconds that the authority's clock is ahead of ours.
    pub fn clock_offset(&self, authority: &Arc<str>, offset: f64, warn: bool) {
        self.metrics.clock_offset(authority, offset);
        if warn {
            warn!(authority = &**authority, offset_s = offset, "the clock of this device differs from the authority's");
        }
    }
}

impl Event {
    /// As logs, metrics and timelines call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::BeatLate(_) => "beat late",
            Self::Blackout(_) => "BLACKOUT",
            Self::Closed(_) => "closed",
            Self::Failed(..) => "authority call failed",
            Self::Killed(_) => "killed",
            Self::Opened { .. } => "opened",
            Self::Reached(moment) => moment.name(),
            Self::Recovered(_) => "authority answers again",
            Self::Refused(..) => "refused",
            Self::Renewed => "renewed",
            Self::RenewalsCarry => "renewals carry the session",
            Self::Stale(_) => "late answer dropped",
            Self::Unmanaged => "unmanaged",
        }
    }

    /// What happened, for a person.
    pub fn describe(&self, error_name: fn(AskKind) -> &'static str) -> String {
        let said = |reason: &crate::session::Reason| match reason.error_code {
            Some(error_code) => format!("{} (code {}, errorCode {error_code})", reason.message, reason.code),
            None => format!("{} (code {})", reason.message, reason.code),
        };
        match self {
            Self::BeatLate(late) => format!("by {} ms", late.as_millis()),
            Self::Closed(end) => end.name().to_owned(),
            Self::Failed(ask, reason) => format!("{}: {}", error_name(*ask), said(reason)),
            Self::Blackout(reason) | Self::Killed(reason) | Self::Refused(_, reason) => said(reason),
            Self::Opened { interval } => format!("a beat every {} s", interval.as_secs_f64()),
            Self::Recovered(missed) => format!("after {missed} lost beats"),
            Self::Beat | Self::Reached(_) | Self::Renewed | Self::RenewalsCarry | Self::Stale(_) | Self::Unmanaged => {
                String::new()
            }
        }
    }
}
