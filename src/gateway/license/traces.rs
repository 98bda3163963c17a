//! Leaves the traces of a license call: counters, lines in the log, notes of the device, and warnings of weak
//! identities.

use std::time::Duration;

use http::Response;

use super::call::LicenseCall;
use super::outgoing::UnfitRequest;
use super::request::LicenseRequest;
use super::single_flight::CallOutcome;
use super::upstream::LicenseServerFailure;
use crate::config::SessionControlMode;
use crate::drm::MessageKind;
use crate::edge::{AddressKey, Peer, ReplyBody};
use crate::gateway::identity::caller::CallerNames;
use crate::gateway::identity::watch::WeakIdentity;
use crate::gateway::refusal::{LicensePhase, RefusedCall};
use crate::gateway::route::{GatewayRoute, LicenseRoute};
use crate::gateway::{Gateway, cmcd_report};
use crate::ids::SessionId;
use crate::session::PlayerReport;
use crate::sessions::{DeviceKey, DeviceNote};
use crate::store::DialectName;
use crate::telemetry::{CallLabels, PlayerCallOutcome};

impl Gateway {
    pub(in crate::gateway) fn count(
        &self,
        route: &GatewayRoute,
        request: &LicenseRequest,
        outcome: PlayerCallOutcome,
        took: Duration,
    ) {
        let metrics = &self.telemetry.metrics;
        if let Err(unrecognised) = &request.message {
            metrics.unrecognised(&route.path, unrecognised.label());
        }
        let message = request.message.as_ref().ok();
        let calls = route.call_counters.of(message, outcome, || {
            let (drm, kind) =
                message.map_or(("unknown", "unknown"), |message| (message.system.label(), message.kind.label()));
            metrics.license_calls(&CallLabels { drm, kind, outcome: outcome.name(), route: route.path.clone() })
        });
        metrics.license_call(&calls, took);
    }

    /// Refuses a request for which nothing could be sent upstream.
    pub(in crate::gateway) fn refuse_unfit(
        &self,
        route: &GatewayRoute,
        unfit: UnfitRequest,
        caller: impl FnOnce() -> CallerNames,
    ) -> Response<ReplyBody> {
        if let UnfitRequest::Wrapping(misfit) = unfit {
            let failure = LicenseServerFailure::Misfit(misfit);
            self.telemetry.metrics.upstream_fault(&route.path, failure.name());
            let (caller, phase) = (&caller(), LicensePhase::License);
            let call = RefusedCall { caller, license: None, phase, route, viewer: None };
            return self.refuse_call(&call, &failure.refusal_body());
        }
        self.naming(unfit.reply(), caller)
    }

    pub(in crate::gateway) fn watch_identity_of(&self, route: &LicenseRoute, peer: &Peer, request: &LicenseRequest) {
        let source = request.identity.device.as_ref().map(|device| device.source);
        self.watch_identity(route, peer, request.identity.claims.as_ref(), source, request.identity.counted.by_device);
        let passes = route.license.session_control != SessionControlMode::Always && request.registration.is_none();
        let by_registration = || route.authority.as_ref().is_some_and(|it| it.dialect() == DialectName::FirstLight);
        if passes && wants_license(request) && by_registration() {
            self.warn_of_identity(route, AddressKey::of(peer.address), WeakIdentity::Unregistered, self.clock.now());
        }
    }

    /// Passes on the player's CMCD report about the call's own playback.
    pub(in crate::gateway) fn note_told(&self, route: &GatewayRoute, request: &LicenseRequest) {
        let Some(told) = &request.told else { return };
        let Some(key) = route.authority.as_deref().and_then(|authority| request.key(authority)) else { return };
        self.sessions.report(key, request.playback(), PlayerReport { by_interval: false, ..cmcd_report::read(told) });
    }
}

impl LicenseCall<'_> {
    /// Logs the license server's own refusal: where it came from, and its status.
    pub(in crate::gateway) fn note_declined(&self, session: Option<(DeviceKey, SessionId)>, ending: &CallOutcome) {
        let (outcome, reply) = ending;
        if *outcome != PlayerCallOutcome::Declined {
            return;
        }
        let (host, status) = (self.host(), reply.status().as_u16());
        let without = if reply.status().is_success() { " without a license" } else { "" };
        if self.may_write("declined") {
            let (device, account) = self.identity();
            let session = session.map(|(_, id)| id.short().to_string());
            tracing::info!(
                session,
                device,
                account,
                route = &*self.route.path,
                host,
                status,
                "the license server declined"
            );
            if session.is_none() {
                self.note_of_device(PlayerCallOutcome::Declined, format!("{host} answered {status}{without}"));
            }
        }
        if let Some((key, id)) = session {
            self.gateway.sessions.note_call(key, id, format!("declined: {host} answered {status}{without}"));
        }
    }

    fn host(&self) -> &str {
        let registered = self.request.registration.as_ref().and_then(|registration| registration.license_url.as_ref());
        registered.unwrap_or(&self.route.license.license_server).host()
    }

    /// Adds a refusal to the device's notes.
    pub(in crate::gateway) fn note_refused(&self, why: String) {
        if self.may_write("noted") {
            self.note_of_device(PlayerCallOutcome::Refused, why);
        }
    }

    pub(in crate::gateway) fn note_of_device(&self, outcome: PlayerCallOutcome, reason: String) {
        let note = DeviceNote {
            account: self.request.identity.counted.account.clone(),
            at: self.gateway.clock.wall(),
            device: self.request.identity.device_name().map(str::to_owned),
            outcome,
            reason,
            route: self.route.path.to_string(),
        };
        self.gateway.sessions.device_notes.add(note);
    }
}

fn wants_license(request: &LicenseRequest) -> bool {
    request
        .message
        .as_ref()
        .is_ok_and(|message| matches!(message.kind, MessageKind::LicenseRequest | MessageKind::Renewal))
}
