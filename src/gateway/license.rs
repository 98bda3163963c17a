//! Answers a license call: identify, classify, single flight, admit, upstream, feedback, reply.
//!
//! This file is the pipeline, top to bottom; each stage is a file of the folder. A stage that finds a reason against
//! the call returns a refusal, which becomes real in `refuse`.

mod call;
mod call_kind;
mod feedback;
mod forward;
mod killed;
pub(super) mod outgoing;
mod redirect;
mod refuse;
mod renew_at_authority;
mod reply;
mod request;
mod sessionless;
mod single_flight;
mod traces;
mod upstream;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};

use self::call::{LicenseCall, ManagedCall};
use self::request::LicenseRequest;
pub use self::single_flight::SingleFlight;
use self::single_flight::{CallOutcome, FlightFollower, FlightLead, FlightRole, broken_off};
use super::Gateway;
use super::identity::caller::CallerNames;
use super::route::{GatewayRoute, LicenseRoute};
use crate::edge::body::{self, BodyFault};
use crate::edge::{OutgoingBody, Peer, ReplyBody, RequestBody};
use crate::ids::SessionId;
use crate::registrations::Registration;
use crate::session::{AskKind, CallAnswer, CallKind, Input, SessionKill, SessionRefusal};
use crate::sessions::Admission;
use crate::task::HangUp;
use crate::telemetry::{PlayerCallOutcome, SavedCall};

/// A license call whose body is yet to come.
pub(super) struct LicenseArrival {
    /// Dropped once it is read: it holds the call's place among those in flight.
    body: Option<RequestBody>,
    parts: Parts,
    peer: Peer,
    /// The playback that the id in the path names.
    registration: Option<Arc<Registration>>,
    /// Where the path behind the route's path begins, or behind the playback's id.
    rest_at: usize,
    route: LicenseRoute,
}

impl LicenseArrival {
    pub(super) fn new(request: Request<RequestBody>, peer: Peer, route: LicenseRoute, rest_at: usize) -> Self {
        let (parts, body) = request.into_parts();
        Self { body: Some(body), parts, peer, registration: None, rest_at, route }
    }

    fn rest(&self) -> &str {
        self.parts.uri.path().get(self.rest_at..).unwrap_or_default()
    }

    async fn collect(&mut self) -> Result<Bytes, BodyFault> {
        let limits = &self.route.limits;
        let collected = match &mut self.body {
            Some(body) => body::collect(body, limits.body_max, limits.body.min(limits.call)).await,
            None => Ok(Bytes::new()),
        };
        self.body = None;
        collected
    }
}

impl Gateway {
    pub(super) fn license(
        self: Arc<Self>,
        mut arrival: LicenseArrival,
        hang_up: HangUp,
    ) -> impl Future<Output = Response<OutgoingBody>> + Send {
        // The player's own timeout starts with its first byte, so the time that the body takes counts.
        let began = self.clock.now();
        async move {
            let request = match self.read_license_request(&mut arrival).await {
                Ok(request) => request,
                Err(refused) => return refused.map(OutgoingBody::Whole),
            };
            let (peer, route) = (&arrival.peer, &arrival.route);
            self.watch_identity_of(route, peer, &request);
            self.guard(route, peer, route.authority.as_deref().and_then(|authority| request.key(authority)));
            if is_unwanted(&request, &hang_up) {
                // A license that nobody receives may be billed, and would use up a one-shot token.
                return super::nobody().map(OutgoingBody::Whole);
            }
            let answered = self.answer_once(route, &request, began + route.limits.call, &hang_up).await;
            let Some((outcome, reply)) = answered.filter(|_| !is_unwanted(&request, &hang_up)) else {
                return super::nobody().map(OutgoingBody::Whole);
            };
            self.note_told(route, &request);
            self.count(route, &request, outcome, self.clock.now().saturating_duration_since(began));
            reply.map(OutgoingBody::Whole)
        }
    }

    /// Reads the request: its playback, the request for the license server, the caller, and the message.
    ///
    /// # Errors
    /// The reply to a request that cannot be read or sent on.
    async fn read_license_request(
        &self,
        arrival: &mut LicenseArrival,
    ) -> Result<Arc<LicenseRequest>, Response<ReplyBody>> {
        match self.registered(&arrival.route, arrival.rest()) {
            Ok((registration, rest)) => {
                let rest_at = arrival.parts.uri.path().len() - rest.len();
                (arrival.registration, arrival.rest_at) = (registration, rest_at);
            }
            Err(_) => return Err(self.naming(super::unknown_playback(), || self.caller_of(arrival))),
        }
        let body = match arrival.collect().await {
            Ok(body) => body,
            Err(fault) => return Err(self.naming(fault.reply(), || self.caller_of(arrival))),
        };
        self.read_call(arrival, body).await
    }

    fn caller_of(&self, arrival: &LicenseArrival) -> CallerNames {
        let LicenseArrival { parts, peer, registration, route, .. } = arrival;
        match registration {
            Some(registration) => CallerNames::of_registered(registration, peer),
            None => self.caller_names(route, peer, arrival.rest(), &parts.headers, parts.uri.query()),
        }
    }

    /// Answers the call, or waits for the reply to an equal one that is under way. `None` if all callers have gone and
    /// the license server was not asked.
    async fn answer_once(
        &self,
        route: &LicenseRoute,
        request: &Arc<LicenseRequest>,
        deadline: Instant,
        hang_up: &HangUp,
    ) -> Option<CallOutcome> {
        let role = request.may_share().then(|| self.single_flight.enter(request, hang_up));
        let follower = match role {
            Some(FlightRole::Lead(lead)) => return self.lead(route, request, deadline, lead).await,
            Some(FlightRole::Follow(follower)) => Some(follower).filter(|follower| self.goes_on(follower)),
            Some(FlightRole::Alone) | None => None,
        };
        // Nobody else waits for this call's own reply.
        hang_up.let_go();
        match follower {
            Some(follower) => Some(self.follow(route, follower).await.unwrap_or_else(broken_off)),
            None => {
                let call = LicenseCall { deadline, gateway: self, lead: None, request, route };
                unwound(pin!(call.answer())).await.unwrap_or_else(|| Some(broken_off()))
            }
        }
    }

    /// True if the leading call's session, if it has one, would still be served.
    fn goes_on(&self, follower: &FlightFollower) -> bool {
        follower.session().is_none_or(|(key, id)| {
            let answer = self.sessions.call_under(key, id, CallKind::License);
            answer.is_some_and(|answer| answer.refusal().is_none())
        })
    }

    async fn follow(&self, route: &GatewayRoute, follower: FlightFollower) -> Option<CallOutcome> {
        let outcome = follower.outcome().await;
        match &outcome {
            // A refusal mostly costs no call to an upstream.
            None | Some((PlayerCallOutcome::Refused, _)) => {}
            Some((
                PlayerCallOutcome::Declined
                | PlayerCallOutcome::Failed
                | PlayerCallOutcome::Passed
                | PlayerCallOutcome::Served,
                _,
            )) => {
                self.telemetry.metrics.upstream_call_saved(&route.path, SavedCall::SameChallenge);
            }
        }
        outcome
    }

    /// Answers for all equal calls. A panic ends this call alone, and not the connection's others.
    async fn lead(
        &self,
        route: &LicenseRoute,
        request: &LicenseRequest,
        deadline: Instant,
        lead: FlightLead,
    ) -> Option<CallOutcome> {
        let unwound = {
            let call = LicenseCall { deadline, gateway: self, lead: Some(&lead), request, route };
            unwound(pin!(call.answer())).await
        };
        match unwound {
            Some(outcome) => outcome.map(|outcome| lead.finish(outcome)),
            None => Some(broken_off()),
        }
    }
}

impl LicenseCall<'_> {
    /// Decides and answers. `None` if all callers have gone and the license server was not asked.
    async fn answer(&self) -> Option<CallOutcome> {
        let refusal = self.blackout_refusal().or_else(|| self.killed_company_refusal());
        if let Some(refusal) = refusal.or_else(|| self.unproven_refusal()) {
            return Some(self.refuse(refusal));
        }
        let managed = self.managed();
        match &managed {
            Some(managed) => self.answer_managed(managed).await,
            None => Some(self.answer_unmanaged().await),
        }
    }

    async fn answer_managed(&self, managed: &ManagedCall<'_>) -> Option<CallOutcome> {
        let Admission { answer, session } = self.admit(managed).await;
        let (key, sessions) = (managed.key, &self.gateway.sessions);
        if let (Some(lead), Some(id)) = (self.lead, session) {
            lead.bind((key, id));
        }
        // Guards the session's slot: if the license server declines the call, the slot is freed with it.
        let _place = session.and_then(|id| sessions.guard_call(key, id));
        self.mirror_request(key, session, &answer);
        // The session's record is written while the license server is asked. A renewal's record is written after
        // its answer, which brings the token that the next process needs.
        let is_safe = |id| sessions.written(key, id);
        let early = session.filter(|_| !matches!(answer, CallAnswer::Renew(..))).map(is_safe);
        // The parts that few calls need are boxed.
        let outcome = match (&answer, session) {
            (CallAnswer::Renew(grant, ticket), Some(id)) => {
                Box::pin(self.renew(managed, grant.clone(), *ticket, id)).await
            }
            (CallAnswer::Refuse(refusal), _) => self.refuse_admission(managed, refusal, session),
            (_, _) if self.is_deserted(managed.call.kind) => {
                self.unserved(managed, session);
                return None;
            }
            (CallAnswer::Forward(grant), Some(id)) => self.forward(managed, grant, id).await,
            (CallAnswer::Pass, Some(id)) => self.forward_without_grant(managed, id).await,
            (CallAnswer::Forward(_) | CallAnswer::Pass | CallAnswer::Renew(..) | CallAnswer::Wait, _) => {
                self.forward_without_session().await
            }
        };
        if let (CallKind::Release, Some(id)) = (managed.call.kind, session) {
            // The release message itself is the evidence, whatever the license server answers.
            sessions.release(key, id, managed.call.key_session);
        }
        if let Some(written) = early.or_else(|| session.map(is_safe)) {
            let _late = tokio::time::timeout_at(self.deadline.into(), written).await;
        }
        let killed = self.killed_meanwhile(managed, session, &outcome);
        Some(killed.map_or(outcome, |refusal| self.refuse(refusal)))
    }

    /// Answers a call that belongs to no session.
    async fn answer_unmanaged(&self) -> CallOutcome {
        if let Some(refusal) = self.killed_refusal() {
            return self.refuse(refusal);
        }
        let outcome = self.forward_without_session().await;
        // A kill may have come while the license server was asked.
        self.killed_refusal().map_or(outcome, |refusal| self.refuse(refusal))
    }

    /// Asks the core, then ends a session whose grant says that the authority has killed it since the last beat.
    async fn admit(&self, managed: &ManagedCall<'_>) -> Admission {
        let ManagedCall { authority, call, context, key, .. } = managed;
        let sessions = &self.gateway.sessions;
        let mut admission =
            sessions.admit_while_wanted(*key, call, context, self.deadline, self.deserted(call.kind)).await;
        if let (CallAnswer::Forward(grant), Some(id)) = (&admission.answer, admission.session)
            && let Some(by) = authority.killed(grant).map(SessionKill::from)
        {
            sessions.deliver(*key, id, Input::Kill(by.clone()));
            admission.answer = CallAnswer::Refuse(SessionRefusal::Killed(by));
        }
        admission
    }

    fn refuse_admission(
        &self,
        managed: &ManagedCall<'_>,
        refusal: &SessionRefusal,
        session: Option<SessionId>,
    ) -> CallOutcome {
        if matches!(refusal, SessionRefusal::Expired) {
            self.gateway.telemetry.metrics.upstream_call_saved(&self.route.path, SavedCall::TokenExpired);
            return self.refuse(managed.expired_refusal());
        }
        self.refuse(managed.refusal(AskKind::Open, refusal, session))
    }

    /// Gives up a call whose callers have all gone: its license might be billed, and would use up a one-shot
    /// token. A release is worth its call.
    fn is_deserted(&self, kind: CallKind) -> bool {
        kind != CallKind::Release && self.lead.is_some_and(FlightLead::give_up)
    }

    /// Resolves when nobody waits for the reply any more and nobody can start to.
    async fn deserted(&self, kind: CallKind) {
        match self.lead.filter(|_| kind != CallKind::Release) {
            Some(lead) => lead.deserted().await,
            None => std::future::pending().await,
        }
    }
}

/// True if nobody waits for the reply. A release is worth its call all the same.
fn is_unwanted(request: &LicenseRequest, hang_up: &HangUp) -> bool {
    hang_up.is_gone() && !request.is_release()
}

/// `None` if the work panicked.
fn unwound<F: Future>(mut work: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        polled.map_or_else(|_panic| Poll::Ready(None), |polled| polled.map(Some))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task polls it in place, and what few calls need is boxed apart.
    #[test]
    fn a_license_call_is_small() {
        fn size<F: Future>(_: impl FnOnce(Arc<Gateway>, LicenseArrival, HangUp) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Gateway::license);
        assert!(size <= 1536, "{size}");
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_call_alone() {
        let panics = async { assert!(std::hint::black_box(false), "a fault of ours") };
        assert_eq!(unwound(pin!(panics)).await, None);
        assert_eq!(unwound(pin!(async { 7 })).await, Some(7));
    }
}
