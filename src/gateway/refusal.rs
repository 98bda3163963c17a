//! What a player that is turned away is told, and in which shape it will show it.
//!
//! No single shape shows in every player: `docs/players.md` holds the measurements behind the choices
//! here. The reason always stands in the body and in a header, because HTTP/2 has no reason phrase
//! and an in-band refusal has no room.

mod body;
mod help;
pub(super) mod page;
mod shape;
pub(super) mod slot_tickets;
pub(super) mod token_faults;
pub(super) mod viewer_texts;

use http::{Response, StatusCode};

use self::page::SlotClaim;
use super::Gateway;
use super::identity::caller::CallerNames;
use super::license::LicenseCall;
use super::license::upstream::LicenseServerFailure;
use super::route::Route;
use crate::edge::ReplyBody;
use crate::ids::{Incident, SessionId};
use crate::session::{AskKind, CallKind, Denial, End, Reason, Refusal};

pub(super) use self::help::ViewerCall;
use self::help::ViewerHelp;
use self::shape::RefusalShape;

pub(super) const BLACKED_OUT: &str = "This content may not be shown here now.";

/// Where in its playback the player was.
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

/// Why, in the words of the refusal's body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RefusalBody {
    /// The head-end's HTTP status, or ours where there was none.
    pub(super) code: u16,
    /// The status that asks the player to come again, where this may pass.
    pub(super) comes_again: Option<StatusCode>,
    /// For a person.
    pub(super) detail: &'static str,
    /// Stable, for programs: `session_killed`, `limit_reached`, …
    pub(super) error: String,
    pub(super) error_code: Option<i64>,
    /// What the vendor's player SDK calls this failure.
    pub(super) event: Option<&'static str>,
    /// For the viewer, once the call is known that it is told to.
    pub(super) help: Option<Box<ViewerHelp>>,
    /// Ended for good, and not only for this call.
    pub(super) killed: bool,
    /// The head-end's words.
    pub(super) message: String,
}

impl LicenseCall<'_> {
    /// The refusal in the player's shape; logged here, once, with its incident, as often as a line may be written.
    pub(super) fn turn_away(
        &self,
        phase: LicensePhase,
        turned: &RefusalBody,
        session: Option<SessionId>,
    ) -> Response<ReplyBody> {
        let message = self.request.message.as_ref().ok();
        let shape = RefusalShape::choose(&self.route.license.refusal, message, phase, turned, &self.request.headers);
        let incident = Incident::random();
        self.gateway.telemetry.metrics.refusal(&turned.error, shape.profile_name());
        if self.may_write("refused") {
            let session = session.map(|id| id.short().to_string());
            let rung = self.request.identity.device.as_ref().map(|device| device.source);
            let (device, account) = self.identity();
            let authority = self.route.authority.as_deref().map(|authority| &*authority.name);
            let names = [self.request.identity.device_name(), self.request.identity.counted.account.as_deref()];
            let said = self.gateway.telemetry.said(&turned.message, names);
            tracing::info!(
                %incident, session, device, account, authority, route = &*self.route.path, error = turned.error,
                code = turned.code, errorCode = turned.error_code, said = &*said, phase = phase.name(),
                profile = shape.profile_name(), rung, "refused"
            );
        }
        let (counted, device) = (&self.request.identity.counted, self.request.identity.device_name());
        let claim = SlotClaim::of(counted.account.as_deref(), device, counted.is_proven);
        let call = (self.request.viewer_call(), claim);
        shape.reply(&self.gateway.helped(self.route, turned, incident, call), phase, incident)
    }
}

impl Gateway {
    /// As 403 with JSON, where no DRM has a shape of its own; logged here, with its incident.
    pub(super) fn turn_away(
        &self,
        route: &Route,
        (caller, call): (&CallerNames, Option<ViewerCall<'_>>),
        turned: &RefusalBody,
        phase: LicensePhase,
    ) -> Response<ReplyBody> {
        let incident = Incident::random();
        let CallerNames { account, device, network, .. } = caller;
        if self.telemetry.may_write("refused", device.as_deref().unwrap_or_default(), *network) {
            let said = self.telemetry.said(&turned.message, [device.as_deref(), account.as_deref()]);
            let [device, account] =
                [device, account].map(|name| name.as_deref().map(|name| self.telemetry.shown(name)));
            tracing::info!(
                %incident, device, account, route = &*route.path, error = turned.error, code = turned.code,
                errorCode = turned.error_code, said = &*said, "refused"
            );
        }
        match call {
            Some(call) => self
                .helped(
                    route,
                    turned,
                    incident,
                    (call, SlotClaim::of(account.as_deref(), device.as_deref(), caller.is_proven)),
                )
                .reply(phase, incident),
            None => turned.reply(phase, incident),
        }
    }
}

impl RefusalBody {
    /// As 403 with JSON: see [`super::Gateway::turn_away`].
    pub(super) fn reply(&self, phase: LicensePhase, incident: Incident) -> Response<ReplyBody> {
        RefusalShape::Http.reply(self, phase, incident)
    }

    /// In a language of the viewer, if the configuration has one.
    fn detail(&self) -> &str {
        self.help.as_ref().and_then(|help| help.detail.as_deref()).unwrap_or(self.detail)
    }

    pub(super) fn by_refusal(
        refusal: &Refusal,
        phase: LicensePhase,
        ask: AskKind,
        event: fn(AskKind) -> &'static str,
    ) -> Self {
        let failed = Some(event(ask));
        match refusal {
            Refusal::Denied(denial, reason) => {
                let (error, detail) = denied(*denial);
                Self { event: failed, ..Self::said(error.to_owned(), detail, reason) }
            }
            Refusal::Ended(end) => Self::ours(403, "session_ended", ended(*end)),
            // Who knows when it expired says so: `Story::refuse_expired`.
            Refusal::Expired => Self::ours(403, "token_expired", "The content token has expired."),
            Refusal::Killed(reason) if reason.blackout.is_some() => {
                Self { killed: true, ..Self::said("blackout".to_owned(), BLACKED_OUT, reason) }
            }
            Refusal::Killed(reason) => {
                let found = if phase == LicensePhase::Renewal { AskKind::Renew } else { AskKind::Beat };
                let ask = reason.killed_on.unwrap_or(found);
                let said = Self::said("session_killed".to_owned(), "The head-end ended this session.", reason);
                Self { event: Some(event(ask)), killed: true, ..said }
            }
            Refusal::Unreachable(fault) => {
                let error = format!("authority_{}", fault.kind.name());
                Self { event: failed, ..Self::said(error, "The session service gave no decision.", &fault.reason) }
            }
        }
    }

    pub(super) fn by_failure(failure: &LicenseServerFailure) -> Self {
        let error = format!("license_server_{}", failure.name());
        let code = if failure.name() == "timeout" { 504 } else { 502 };
        let detail = "The license server could not be used.";
        let (comes_again, message) = (failure.comes_again(), failure.to_string());
        Self { comes_again, error, message, ..Self::ours(code, "", detail) }
    }

    fn said(error: String, detail: &'static str, reason: &Reason) -> Self {
        Self {
            code: reason.code,
            comes_again: None,
            detail,
            error,
            error_code: reason.error_code,
            event: None,
            help: None,
            killed: false,
            message: reason.message.to_string(),
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

fn ended(end: End) -> &'static str {
    match end {
        End::Abandoned | End::Drained => "This session was given up; play again.",
        End::Expired
        | End::LicenseExpired
        | End::Longest
        | End::Lost
        | End::MediaSilent
        | End::Orphaned
        | End::RenewalsOverdue
        | End::Silent
        | End::Unused => "This session has expired; play again.",
        End::Programme => "This programme is over; ask for the next one.",
        End::Quit | End::Released | End::Stopped => "This playback was stopped.",
        End::GaveWay | End::Zapped => "This device plays something else now.",
    }
}
