//! One license call, as a story: who asks, what the core answers, what the player gets.

pub(super) mod call_notes;
pub(super) mod feedback;
pub(super) mod kills;
pub(super) mod lesson;
pub(super) mod mirror;
pub(super) mod outgoing;
pub(super) mod redirect;
pub(super) mod renewal;
pub(super) mod request;
pub(super) mod sessionless;
pub(super) mod single_flight;
pub(super) mod token_expiry;
pub(super) mod upstream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request, Response};

use self::outgoing::OutgoingRequest;
use self::request::LicenseRequest;
use self::single_flight::FlightLead;
use self::upstream::{LicenseReply, LicenseServerFailure};
use super::Gateway;
use super::control::control_paths;
use super::identity::caller::CallerNames;
use super::refusal::{LicensePhase, RefusalBody};
use super::route::{LicenseRoute, Route};
use crate::authority::Authority;
use crate::cmcd;
use crate::edge::{Peer, ReplyBody, RequestBody, body};
use crate::ids::SessionId;
use crate::session::{Answer, AskKind, Call, CallKind, Grant, Input, Refusal, Report};
use crate::sessions::{Admission, Card, DeviceKey};
use crate::task::HangUp;
use crate::telemetry::Outcome;
use crate::upstream::Reply;

pub(super) type CallOutcome = (Outcome, Response<ReplyBody>);

/// One call on its way through.
pub(super) struct LicenseCall<'a> {
    pub(super) request: &'a LicenseRequest,
    /// The player has its reply by then.
    pub(super) deadline: Instant,
    /// Where others may wait for the same reply.
    pub(super) lead: Option<&'a FlightLead>,
    pub(super) gateway: &'a Gateway,
    pub(super) route: &'a LicenseRoute,
}

/// What makes a call a managed one.
pub(super) struct ManagedCall<'a> {
    pub(super) authority: &'a Authority,
    pub(super) call: Call,
    pub(super) card: Arc<Card>,
    /// How long ago the content token expired.
    pub(super) expired: Option<Duration>,
    pub(super) key: DeviceKey,
}

impl Gateway {
    pub(super) async fn license(
        &self,
        route: &LicenseRoute,
        peer: &Peer,
        rest: &str,
        request: Request<RequestBody>,
        hang_up: &HangUp,
    ) -> Response<ReplyBody> {
        // A player's own clock runs from its first byte: what the body takes is not added to the call.
        let began = self.clock.now();
        let limits = &route.limits;
        let (parts, incoming) = request.into_parts();
        let caller = |rest: &str| self.caller_names(route, peer, rest, &parts.headers, parts.uri.query());
        let Ok((registration, rest)) = self.registered(route, rest) else {
            return self.naming(super::unknown_playback(), || caller(rest));
        };
        let caller = || match &registration {
            Some(registration) => CallerNames::of_registered(registration, peer),
            None => caller(rest),
        };
        let body = match body::collect(incoming, limits.body_max, limits.body.min(limits.call)).await {
            Ok(body) => body,
            Err(fault) => return self.naming(fault.reply(), caller),
        };
        let authority = route.authority.as_deref();
        let onward = match OutgoingRequest::build(route, authority, rest, &parts, body) {
            Ok(onward) => onward,
            Err(unfit) => return self.refuse_unfit(route, unfit, caller),
        };
        let Ok(request) = self.read_call(route, peer, (registration, rest), parts, onward).await else {
            return super::overloaded();
        };
        let request = Arc::new(request);
        self.watch_identity_of(route, peer, &request);
        self.tie(route, peer, authority.and_then(|authority| request.key(authority)));
        if hang_up.let_go() && !request.is_release() {
            // A license for nobody would be paid for, and a one-shot token lost.
            return super::nobody();
        }
        let (outcome, response) = self.answer_once(route, &request, began + limits.call).await;
        if let Some(told) = &request.told {
            self.note_told(route, &request, told);
        }
        self.count(route, &request, outcome, self.clock.now().saturating_duration_since(began));
        response
    }

    /// What the player says of itself with a license call (CMCD), about the call's own playback.
    fn note_told(&self, route: &Route, request: &LicenseRequest, told: &cmcd::Report) {
        let Some(key) = route.authority.as_deref().and_then(|authority| request.key(authority)) else { return };
        self.sessions.report(key, request.playback(), Report { by_interval: false, ..control_paths::read(told) });
    }
}

impl LicenseCall<'_> {
    /// None: nobody waits for the reply any more, and nothing was asked of the license server.
    pub(super) async fn answer(&self) -> Option<CallOutcome> {
        let turned = self.turn_blackout_away().or_else(|| self.turn_killed_company_away());
        if let Some(ending) = turned.or_else(|| self.turn_unproven_away()) {
            return Some(ending);
        }
        let Some(managed) = self.managed() else { return Some(self.tell_unmanaged().await) };
        let ManagedCall { call, key, .. } = &managed;
        let Admission { answer, session } = self.admit(&managed).await;
        if let (Some(lead), Some(id)) = (self.lead, session) {
            lead.bind((*key, id));
        }
        // The place of a call that the license server declines is free with the call.
        let _place = session.and_then(|id| self.gateway.sessions.guard_call(*key, id));
        self.mirror_request(*key, session, &answer);
        let is_safe = |id| self.gateway.sessions.written(*key, id);
        let renews = matches!(answer, Answer::Renew(..));
        // Waited for while the license server is asked; but a renewal's answer brings the token that a next
        // process must go on with.
        let early = session.filter(|_| !renews).map(is_safe);
        let ending = self.act(&managed, answer, session).await?;
        if let (CallKind::Release, Some(id)) = (call.kind, session) {
            // The message itself is the evidence, whatever the license server had to say to it.
            self.gateway.sessions.release(*key, id, call.key_session);
        }
        if let Some(written) = early.or_else(|| session.map(is_safe)) {
            let _late = tokio::time::timeout_at(self.deadline.into(), written).await;
        }
        Some(self.unless_killed(&managed, session, ending))
    }

    /// What the core answered.
    async fn act(&self, managed: &ManagedCall<'_>, answer: Answer, session: Option<SessionId>) -> Option<CallOutcome> {
        Some(match (answer, session) {
            (Answer::Renew(grant, ticket), Some(id)) => self.renew(managed, grant, ticket, id).await,
            (Answer::Refuse(Refusal::Expired), _) => self.refuse_expired(managed),
            (Answer::Refuse(refusal), _) => self.refuse(managed, AskKind::Open, &refusal, session),
            (_, _) if self.is_deserted(managed.call.kind) => {
                self.unserved(managed, session);
                return None;
            }
            (Answer::Forward(grant), Some(id)) => self.serve(managed, &grant, id).await,
            (Answer::Pass, Some(id)) => self.pass_under(managed, id).await,
            (Answer::Forward(_) | Answer::Pass | Answer::Renew(..) | Answer::Wait, _) => self.pass().await,
        })
    }

    async fn tell_unmanaged(&self) -> CallOutcome {
        if let Some(ending) = self.turn_killed_away() {
            return ending;
        }
        let ending = self.pass().await;
        // Killed while the license server was asked.
        self.turn_killed_away().unwrap_or(ending)
    }

    /// Asks the core, and looks whether a session that may go on was ended since its last beat.
    async fn admit(&self, managed: &ManagedCall<'_>) -> Admission {
        let ManagedCall { authority, call, card, key, .. } = managed;
        let sessions = &self.gateway.sessions;
        let mut admission = sessions.admit(*key, call, card, self.deadline).await;
        if let (Answer::Forward(grant), Some(id)) = (&admission.answer, admission.session)
            && let Some(reason) = authority.killed(grant)
        {
            sessions.deliver(*key, id, Input::Kill(reason.clone()));
            admission.answer = Answer::Refuse(Refusal::Killed(reason));
        }
        admission
    }

    fn managed(&self) -> Option<ManagedCall<'_>> {
        let authority = self.route.authority.as_deref()?;
        let clock = self.gateway.clock;
        let expired = self.request.expired_for(authority, clock);
        let call = self.request.call(self.route, authority, expired.is_some())?;
        let key = self.request.key(authority)?;
        let card = self.request.session_context(self.route, authority, clock);
        Some(ManagedCall { authority, call, card, expired, key })
    }

    /// A license for nobody would be paid for, and a one-shot token lost. A release is worth its call.
    fn is_deserted(&self, kind: CallKind) -> bool {
        kind != CallKind::Release && self.lead.is_some_and(FlightLead::give_up)
    }

    /// To the license server without a session: none applies.
    async fn pass(&self) -> CallOutcome {
        let reason = self.sessionless_reason();
        if let Some(refused) = self.refuse_sessionless(reason) {
            return refused;
        }
        let (ending, reply) = self.exchange(self.own_token(), Outcome::Passed).await;
        if ending.0 == Outcome::Passed {
            if self.withholds(reason, reply.as_ref()) {
                return self.refuse_as(reason);
            }
            if reply.is_none_or(|reply| !reply.is_empty_handed) {
                self.note_unknown();
            }
        }
        self.note_sessionless(reason, ending.0);
        self.note_declined(None, &ending);
        ending
    }

    /// To the license server for a playback that has no grant.
    pub(super) async fn pass_under(&self, managed: &ManagedCall<'_>, id: SessionId) -> CallOutcome {
        let (ending, shown) = self.exchange(self.own_token(), Outcome::Passed).await;
        self.note_declined(Some((managed.key, id)), &ending);
        self.teach(managed, id, ending.0, shown.and_then(|shown| shown.message).as_ref());
        ending
    }

    /// Without a session the content token stands alone, also when the player could only put it in
    /// the query.
    fn own_token(&self) -> Option<(HeaderName, HeaderValue)> {
        let authority = self.route.authority.as_deref()?;
        authority.token_header(self.request.identity.token.as_ref()?)
    }

    pub(super) async fn serve(&self, managed: &ManagedCall<'_>, grant: &Grant, id: SessionId) -> CallOutcome {
        // A call that brings none goes on with the one that opened its session.
        let opener = self
            .request
            .identity
            .token
            .is_none()
            .then(|| self.gateway.sessions.content_token(managed.key, id))
            .flatten();
        let content = self.request.identity.token.as_ref().or(opener.as_ref());
        let authorization = managed.authority.license_header(content, grant);
        let reply = self.ask_license_server(authorization).await;
        if let Some(killed) = self.killed_by_license_server(managed, id, &reply) {
            return killed;
        }
        let (ending, shown) = self.read_license(reply, Outcome::Served);
        let message = shown.and_then(|shown| shown.message);
        self.note_declined(Some((managed.key, id)), &ending);
        self.teach(managed, id, ending.0, message.as_ref());
        if let Some(message) = &message {
            self.look_for_escapes(managed, id, message, grant);
        }
        ending
    }

    async fn exchange(
        &self,
        authorization: Option<(HeaderName, HeaderValue)>,
        good: Outcome,
    ) -> (CallOutcome, Option<LicenseReply>) {
        let reply = self.ask_license_server(authorization).await;
        self.read_license(reply, good)
    }

    /// What the license server answers: as the player gets it, and what a good reply shows.
    fn read_license(
        &self,
        reply: Result<Reply, LicenseServerFailure>,
        good: Outcome,
    ) -> (CallOutcome, Option<LicenseReply>) {
        let granted = reply.as_ref().ok().filter(|reply| reply.status.is_success());
        let request = self.request.message.as_ref().ok().filter(|message| message.asks_for_a_license());
        let shown = granted.map(|reply| LicenseReply::read(self.route, request.map(|message| message.system), reply));
        let says_no = shown.as_ref().is_none_or(|shown| shown.says_no);
        (self.conclude(reply, if says_no { Outcome::Declined } else { good }), shown)
    }

    fn conclude(&self, reply: Result<Reply, LicenseServerFailure>, outcome: Outcome) -> CallOutcome {
        let passed = reply.and_then(|reply| Ok((outcome, upstream::onward_reply(self.route, reply)?)));
        passed.unwrap_or_else(|failure| {
            self.gateway.telemetry.metrics.upstream_fault(&self.route.path, failure.name());
            (Outcome::Failed, self.turn_away(LicensePhase::License, &RefusalBody::by_failure(&failure), None))
        })
    }

    /// `ask`: the call to the authority that came to nothing, where no session was lost by it.
    pub(super) fn refuse(
        &self,
        managed: &ManagedCall<'_>,
        ask: AskKind,
        refusal: &Refusal,
        session: Option<SessionId>,
    ) -> CallOutcome {
        let phase = LicensePhase::of(managed.call.kind);
        let turned = RefusalBody::by_refusal(refusal, phase, ask, managed.authority.error_name());
        (Outcome::Refused, self.turn_away(phase, &turned, session))
    }
}
