//! Builds the reply to a player that is refused, in a shape that this player shows.
//!
//! No single shape shows in every player; `docs/players.md` holds the measurements behind the choices. The reason
//! always stands in the body and in a header, because HTTP/2 has no reason phrase and an in-band refusal has no room.

mod body;
mod help;
pub(super) mod page;
mod shape;
pub(super) mod slot_tickets;
pub(super) mod token_faults;
pub(super) mod viewer_texts;

use std::sync::Arc;

use http::{Response, StatusCode};

use self::page::SlotEndClaim;
use super::Gateway;
use super::identity::caller::CallerNames;
use super::route::GatewayRoute;
use crate::config;
use crate::config::DeviceSource;
use crate::drm::DrmMessage;
use crate::edge::ReplyBody;
use crate::ids::{Incident, SessionId};
use crate::session::{AskKind, CallKind, Denial, EndReason, Reason, SessionKill, SessionRefusal};

pub(super) use self::help::ViewerCall;
use self::help::ViewerHelp;
use self::shape::RefusalShape;

pub(super) const BLACKED_OUT: &str = "This content may not be shown here now.";

/// Phase of the playback in which the player asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LicensePhase {
    Certificate,
    License,
    Renewal,
}

impl LicensePhase {
    pub(super) fn of(kind: CallKind) -> Self {
        match kind {
            CallKind::Certificate => Self::Certificate,
            CallKind::License | CallKind::Release => Self::License,
            CallKind::Renewal => Self::Renewal,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::License => "license",
            Self::Renewal => "renewal",
        }
    }
}

/// The reason, in the words of the refusal's body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RefusalBody {
    /// The head-end's HTTP status, or ours if it gave none.
    pub(super) code: u16,
    /// The status that asks the player to come again, if the cause may pass.
    pub(super) comes_again: Option<StatusCode>,
    /// Explanation for a person.
    pub(super) detail: &'static str,
    /// Stable name for programs: `session_killed`, `limit_reached`, …
    pub(super) error: String,
    pub(super) error_code: Option<i64>,
    /// Name of this failure in the vendor's player SDK.
    pub(super) event: Option<&'static str>,
    /// Help for the viewer; set when the reply is built.
    pub(super) help: Option<Box<ViewerHelp>>,
    /// True if the playback is ended for good, not only this call.
    pub(super) killed: bool,
    /// The head-end's own words.
    pub(super) message: String,
    /// The device that took the slot, if the head-end names it.
    pub(super) taken_by: Option<Arc<str>>,
}

/// A refused call: its caller, and the facts that decide the shape.
pub(super) struct RefusedCall<'a> {
    pub(super) caller: &'a CallerNames,
    /// `None` if no DRM system defines a shape: then 403 with JSON.
    pub(super) license: Option<RefusedLicense<'a>>,
    pub(super) phase: LicensePhase,
    pub(super) route: &'a GatewayRoute,
    /// `None` to send no help for a viewer.
    pub(super) viewer: Option<ViewerCall<'a>>,
}

/// Facts of a license call that decide the refusal's shape, and that the log shows.
pub(super) struct RefusedLicense<'a> {
    pub(super) message: Option<&'a DrmMessage>,
    pub(super) profiles: &'a config::RefusalSettings,
    pub(super) session: Option<SessionId>,
    /// Identity source that named the device.
    pub(super) source: Option<DeviceSource>,
}

impl RefusedCall<'_> {
    fn shape(&self, body: &RefusalBody) -> RefusalShape {
        let (Some(license), Some(viewer)) = (&self.license, &self.viewer) else { return RefusalShape::Http };
        RefusalShape::choose(license.profiles, license.message, self.phase, body, viewer.headers)
    }
}

impl Gateway {
    /// Makes a refusal real. Every refused license call and media request gets its reply here, in the player's
    /// shape, with an incident, a count and a line in the log.
    pub(super) fn refuse_call(&self, call: &RefusedCall<'_>, body: &RefusalBody) -> Response<ReplyBody> {
        let (incident, shape) = (Incident::random(), call.shape(body));
        self.telemetry.metrics.refusal(&body.error, shape.profile_name());
        self.log_refusal(call, body, shape, incident);
        let CallerNames { account, device, is_proven, .. } = call.caller;
        let claim = SlotEndClaim::of(account.as_deref(), device.as_deref(), *is_proven);
        let helped = call.viewer.map(|viewer| self.helped(call.route, body, incident, (viewer, claim)));
        shape.reply(helped.as_ref().unwrap_or(body), call.phase, incident)
    }

    /// Logs the refusal, as often as lines about the device may be written.
    fn log_refusal(&self, call: &RefusedCall<'_>, body: &RefusalBody, shape: RefusalShape, incident: Incident) {
        let CallerNames { account, device, network, .. } = call.caller;
        if !self.telemetry.may_write("refused", device.as_deref().unwrap_or_default(), *network) {
            return;
        }
        let license = call.license.as_ref();
        let session = license.and_then(|license| license.session).map(|id| id.short().to_string());
        let device_by = license.and_then(|license| license.source).map(DeviceSource::name);
        let authority = call.route.authority.as_deref().filter(|_| license.is_some()).map(|it| &*it.name);
        let (phase, profile) = license.map(|_| (call.phase.name(), shape.profile_name())).unzip();
        let said = self.telemetry.said(&body.message, [device.as_deref(), account.as_deref()]);
        let [device, account] = [device, account].map(|name| name.as_deref().map(|name| self.telemetry.shown(name)));
        tracing::info!(
            %incident, session, device, account, authority, route = &*call.route.path, error = body.error,
            code = body.code, errorCode = body.error_code, said = &*said, phase, profile, device_by, "refused"
        );
    }
}

impl RefusalBody {
    /// The text in a language of the viewer, if the configuration has one.
    fn detail(&self) -> &str {
        self.help.as_ref().and_then(|help| help.detail.as_deref()).unwrap_or(self.detail)
    }

    pub(super) fn by_refusal(
        refusal: &SessionRefusal,
        phase: LicensePhase,
        ask: AskKind,
        event: fn(AskKind) -> &'static str,
    ) -> Self {
        let failed = Some(event(ask));
        match refusal {
            SessionRefusal::Denied(denial, reason) => {
                let (error, detail) = denied(*denial);
                Self { event: failed, ..Self::said(error.to_owned(), detail, reason) }
            }
            SessionRefusal::Ended(end) => Self::ours(403, "session_ended", ended(*end)),
            // `ManagedCall::expired_refusal` tells the time of expiry where it is known.
            SessionRefusal::Expired => Self::ours(403, "token_expired", "The content token has expired."),
            SessionRefusal::Killed(SessionKill::Blackout(dark)) => {
                Self { killed: true, ..Self::said("blackout".to_owned(), BLACKED_OUT, &dark.reason) }
            }
            SessionRefusal::Killed(SessionKill::Plain(reason)) => {
                let found = if phase == LicensePhase::Renewal { AskKind::Renew } else { AskKind::Beat };
                let ask = reason.killed_on.unwrap_or(found);
                let said = Self::said("session_killed".to_owned(), "The head-end ended this session.", reason);
                Self { event: Some(event(ask)), killed: true, ..said }
            }
            SessionRefusal::Unreachable(fault) => {
                let error = format!("authority_{}", fault.kind.name());
                Self { event: failed, ..Self::said(error, "The session service gave no decision.", &fault.reason) }
            }
        }
    }

    fn said(error: String, detail: &'static str, reason: &Reason) -> Self {
        Self {
            code: reason.told_code(),
            comes_again: None,
            detail,
            error,
            error_code: reason.error_code,
            event: None,
            help: None,
            killed: false,
            message: reason.message.to_string(),
            taken_by: reason.taken_by.clone(),
        }
    }

    pub(super) fn ours(code: u16, error: &str, detail: &'static str) -> Self {
        let (error, message) = (error.to_owned(), detail.to_owned());
        Self {
            code,
            comes_again: None,
            detail,
            error,
            error_code: None,
            event: None,
            help: None,
            killed: false,
            message,
            taken_by: None,
        }
    }
}

fn denied(denial: Denial) -> (&'static str, &'static str) {
    match denial {
        Denial::Limit => ("limit_reached", "Too many devices play on this account."),
        Denial::InUse | Denial::Rejected => ("setup_rejected", "The head-end did not grant a session."),
        Denial::Token => ("token_rejected", "The head-end did not accept the token."),
    }
}

fn ended(end: EndReason) -> &'static str {
    match end {
        EndReason::Abandoned | EndReason::Drained => "This session was given up; play again.",
        EndReason::Expired
        | EndReason::LicenseExpired
        | EndReason::Longest
        | EndReason::Lost
        | EndReason::MediaSilent
        | EndReason::Orphaned
        | EndReason::RenewalsOverdue
        | EndReason::Silent
        | EndReason::Unused => "This session has expired; play again.",
        EndReason::Programme => "This programme is over; ask for the next one.",
        EndReason::Quit | EndReason::Released | EndReason::Stopped => "This playback was stopped.",
        EndReason::GaveWay | EndReason::Zapped => "This device plays something else now.",
    }
}
