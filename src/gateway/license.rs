//! One license call, as a story: who asks, what the core answers, what the player gets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;

use super::Gateway;
use super::asked::Asked;
use super::forward::{self, Failure};
use super::identity;
use super::refusal::{Phase, Turned};
use super::route::Route;
use crate::authority::Authority;
use crate::drm::{Message, System};
use crate::edge::{Peer, ReplyBody, body};
use crate::ids::SessionId;
use crate::session::{Answer, AskKind, Call, CallKind, Grant, Input, Refusal, Served};
use crate::sessions::{Admission, Card, DeviceKey};
use crate::telemetry::{CallLabels, Outcome};
use crate::upstream::Reply;

pub(super) type Ending = (Outcome, Response<ReplyBody>);

/// One call on its way through.
pub(super) struct Story<'a> {
    pub(super) asked: &'a Asked,
    /// The player has its reply by then.
    pub(super) deadline: Instant,
    pub(super) gateway: &'a Gateway,
    pub(super) route: &'a Route,
}

/// What makes a call a managed one.
pub(super) struct Managed<'a> {
    pub(super) authority: &'a Authority,
    pub(super) call: Call,
    pub(super) card: Arc<Card>,
    pub(super) key: DeviceKey,
}

impl Gateway {
    pub(super) async fn license(
        &self,
        route: &Route,
        peer: &Peer,
        rest: &str,
        request: Request<Incoming>,
    ) -> Response<ReplyBody> {
        // A player's own clock runs from its first byte: what the body takes is not added to the call.
        let began = self.clock.now();
        let (parts, incoming) = request.into_parts();
        let body = match body::collect(incoming, self.body_max, self.body.min(self.call)).await {
            Ok(body) => body,
            Err(fault) => return fault.reply(),
        };
        let asked = Asked::read(route, peer, rest, parts, body);
        let story = Story { asked: &asked, deadline: began + self.call, gateway: self, route };
        let (outcome, response) = story.tell().await;
        self.count(route, &asked, outcome, self.clock.now().saturating_duration_since(began));
        response
    }

    fn count(&self, route: &Route, asked: &Asked, outcome: Outcome, took: Duration) {
        let metrics = &self.telemetry.metrics;
        let (drm, kind) = match &asked.message {
            Ok(message) => (message.system.label(), message.kind.label()),
            Err(unrecognised) => {
                metrics.unrecognised(&route.path, unrecognised.label());
                ("unknown", "unknown")
            }
        };
        metrics.license_call(&CallLabels { drm, kind, outcome: outcome.name(), route: route.path.to_string() }, took);
    }
}

impl Story<'_> {
    async fn tell(&self) -> Ending {
        let Some(managed) = self.managed() else {
            return match self.turn_killed_away() {
                Some(ending) => ending,
                None => self.pass().await,
            };
        };
        let Managed { call, card, key, .. } = &managed;
        let Admission { answer, session } = self.gateway.sessions.admit(*key, call, card, self.deadline).await;
        match (answer, session) {
            (Answer::Forward(grant), Some(id)) => self.serve(&managed, &grant, id).await,
            (Answer::Renew(grant, ticket), Some(id)) => self.renew(&managed, grant, ticket, id).await,
            (Answer::Refuse(refusal), _) => self.refuse(&managed, AskKind::Open, &refusal, session),
            (Answer::Forward(_) | Answer::Pass | Answer::Renew(..) | Answer::Wait, _) => self.pass().await,
        }
    }

    fn managed(&self) -> Option<Managed<'_>> {
        let index = self.route.config.authority?;
        let authority = self.gateway.client.authority(index)?;
        let call = self.asked.call(self.route, authority)?;
        let key = self.asked.key(authority)?;
        let card = self.asked.card(self.route, authority, index, self.gateway.clock.wall());
        Some(Managed { authority, call, card, key })
    }

    /// A call that is none of a session's does not pass with a token that was killed: a license to keep,
    /// or a body that nobody knows, would be the way around a kill.
    fn turn_killed_away(&self) -> Option<Ending> {
        let authority = self.gateway.client.authority(self.route.config.authority?)?;
        let token = identity::of_playback(self.asked.token.as_ref(), self.asked.claims.as_ref())?;
        let reason = self.gateway.sessions.killed(self.asked.key(authority)?, token)?;
        let (phase, refusal) = (Phase::License, Refusal::Killed(reason));
        let turned = Turned::by_refusal(&refusal, phase, AskKind::Open, authority.error_name());
        Some((Outcome::Refused, self.turn_away(phase, &turned, None)))
    }

    /// To the license server without a session: none applies.
    async fn pass(&self) -> Ending {
        let reply = self.forward(self.own_token()).await;
        self.conclude(reply, Outcome::Passed)
    }

    /// Without a session the content token stands alone, also when the player could only put it in
    /// the query.
    fn own_token(&self) -> Option<(HeaderName, HeaderValue)> {
        let authority = self.gateway.client.authority(self.route.config.authority?)?;
        authority.token_header(self.asked.token.as_ref()?)
    }

    async fn serve(&self, managed: &Managed<'_>, grant: &Grant, id: SessionId) -> Ending {
        let content = self.asked.token.as_ref().or(managed.card.token.as_ref());
        let reply = self.forward(managed.authority.license_header(content, grant)).await;
        if let Ok(reply) = &reply
            && reply.status.is_success()
        {
            let message = forward::recognise_reply(self.route, reply);
            let sessions = &self.gateway.sessions;
            sessions.deliver(managed.key, id, Input::Served(learn(message.as_ref())));
            if managed.call.kind == CallKind::Release {
                sessions.release(managed.key, id, managed.call.key_session);
            }
        }
        self.conclude(reply, Outcome::Served)
    }

    fn conclude(&self, reply: Result<Reply, Failure>, good: Outcome) -> Ending {
        let passed = reply.and_then(|reply| {
            let outcome = if reply.status.is_success() { good } else { Outcome::Declined };
            Ok((outcome, forward::onward_reply(self.route, reply)?))
        });
        passed.unwrap_or_else(|failure| {
            self.gateway.telemetry.metrics.upstream_fault(&self.route.path, failure.name());
            (Outcome::Failed, self.turn_away(Phase::License, &Turned::by_failure(&failure), None))
        })
    }

    /// `ask`: the call to the authority that came to nothing, where no session was lost by it.
    pub(super) fn refuse(
        &self,
        managed: &Managed<'_>,
        ask: AskKind,
        refusal: &Refusal,
        session: Option<SessionId>,
    ) -> Ending {
        let phase = match managed.call.kind {
            CallKind::Certificate => Phase::Certificate,
            CallKind::License | CallKind::Release => Phase::License,
            CallKind::Renewal => Phase::Renewal,
        };
        let turned = Turned::by_refusal(refusal, phase, ask, managed.authority.error_name());
        (Outcome::Refused, self.turn_away(phase, &turned, session))
    }
}

/// Whether renewals will come, as the license says in clear.
fn learn(message: Option<&Message>) -> Served {
    match message {
        Some(Message { system: System::Widevine, lease: Some(lease), .. }) => {
            let every = (lease.renewal_delay_s > 0).then(|| Duration::from_secs(lease.renewal_delay_s.min(86_400)));
            if lease.can_renew || every.is_some() { Served::Renews { every } } else { Served::Stays }
        }
        Some(_) | None => Served::Plain,
    }
}
