//! A call of the core under way, with everything that surrounds its requests.
//!
//! A dialect decides what to send and what the reply means. Breaker, time limit, clock, counters and late answers are
//! the same for all dialects, and are here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Authority, AuthorityClient, OtherCalls, naming, with_path};
use crate::authority::breaker::CallPermit;
use crate::authority::dialect::PreparedCall;
use crate::authority::exchange::{AuthorityReply, AuthorityRequest};
use crate::authority::health::{CallClass, CallOrigin};
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Verdict};
use crate::sessions::{LateGrant, SessionContext};
use crate::upstream::{LateReply, UpstreamReply};

#[derive(Clone, Copy)]
pub(in crate::authority) struct AskContext<'a> {
    pub(super) authority: &'a Arc<Authority>,
    began: Instant,
    pub(in crate::authority) context: &'a SessionContext,
    pub(in crate::authority) client: &'a AuthorityClient,
    kind: AskKind,
}

impl<'a> AskContext<'a> {
    pub(super) fn new(
        client: &'a AuthorityClient,
        authority: &'a Arc<Authority>,
        kind: AskKind,
        context: &'a SessionContext,
    ) -> Self {
        Self { authority, began: client.clock.now(), context, client, kind }
    }

    pub(in crate::authority) fn began(&self) -> Instant {
        self.began
    }

    /// Makes a call by one request, as the dialect prepares it, and reads the reply. An open whose answer is late
    /// also returns its future grant.
    pub(in crate::authority) async fn exchange(
        self,
        ask: &AuthorityAsk,
    ) -> (Result<Verdict, AuthorityFault>, Option<LateGrant>) {
        let permit = match self.permit() {
            Ok(permit) => permit,
            Err(fault) => return (Err(fault), None),
        };
        let call = self.ask_once(ask);
        let ((result, late), others) = match ask.kind {
            AskKind::Open => self.client.knock_beside(self.authority, self.began, call).await,
            AskKind::Beat | AskKind::Close | AskKind::Renew => (call.await, OtherCalls::Silent),
        };
        self.tell(permit, &result);
        self.count(&result);
        let result = result.map_err(|fault| others.judge(fault));
        (result, late.map(|reply| self.client.late_grant(reply, self.authority.clone(), self.context)))
    }

    async fn ask_once(&self, ask: &AuthorityAsk) -> (Result<Verdict, AuthorityFault>, Option<LateReply>) {
        let request = match self.authority.dialect.request(ask, self.context) {
            PreparedCall::Decide(result) => return (result, None),
            PreparedCall::Send(request) => request,
        };
        let (endpoint, timeout) = (request.endpoint, self.authority.dialect.timeout());
        let (reply, late) = match ask.kind {
            AskKind::Open => self.client.send_patiently(request, ask.kind, timeout).await,
            AskKind::Beat | AskKind::Close | AskKind::Renew => {
                (self.client.send(request, ask.kind, timeout).await, None)
            }
        };
        let result = match reply.map(|reply| self.read(&reply)) {
            Ok(Ok(Verdict::Denied(denial, reason))) => Ok(Verdict::Denied(denial, with_path(reason, endpoint))),
            Ok(Err(fault)) => Err(naming(fault, endpoint)),
            Ok(result) => result,
            Err(fault) => return (Err(fault), late),
        };
        (result, None)
    }

    /// Sends one request of the call. Players wait for opens and renewals, so these are held for `timeout` while the
    /// authority cannot be reached.
    pub(in crate::authority) async fn send(
        &self,
        request: AuthorityRequest<'_>,
        timeout: Duration,
    ) -> Result<UpstreamReply, AuthorityFault> {
        self.client.send(request, self.kind, timeout).await
    }

    pub(in crate::authority) fn reply<'r>(&self, reply: &'r UpstreamReply) -> AuthorityReply<'r> {
        self.client.reply(self.authority, self.kind, reply)
    }

    pub(in crate::authority) fn read(&self, reply: &UpstreamReply) -> Result<Verdict, AuthorityFault> {
        self.client.read(self.authority, self.kind, self.context, reply)
    }

    /// Asks the breaker for leave to make the call. A spared call has a counter of its own, because it was not left
    /// unanswered.
    pub(in crate::authority) fn permit(&self) -> Result<CallPermit, AuthorityFault> {
        let Some(health) = self.authority.health() else { return Ok(CallPermit::Usual) };
        let metrics = &self.client.telemetry.metrics;
        health
            .leave(self.client.clock.now(), self.kind, CallOrigin::of(self.context))
            .inspect_err(|_| metrics.authority_call_spared(&self.context.authority_name, self.kind))
    }

    /// Tells the breaker the result of the call.
    pub(in crate::authority) fn tell(&self, permit: CallPermit, result: &Result<Verdict, AuthorityFault>) {
        let Some(health) = self.authority.health() else { return };
        let changes = health.tell(self.client.clock.now(), self.kind, permit, CallOrigin::of(self.context), result);
        if let Some(open) = changes.breaker {
            let calls = CallClass::of(self.kind).name();
            self.client.telemetry.breaker(&self.context.authority_name, calls, open);
        }
        // After a reload the newest value of the authority reports the end; a call that the older one made would report
        // it a second time.
        let is_newest =
            || self.client.authorities.of(self.authority.id).is_none_or(|it| Arc::ptr_eq(&it, self.authority));
        if let Some(end) = changes.outage_end.filter(|_| is_newest()) {
            self.client.telemetry.outage_ends(&self.context.authority_name, end);
        }
        if let Some(wait) = changes.deferred {
            self.client.telemetry.account_deferred(&self.context.authority_name, wait);
        }
    }

    pub(in crate::authority) fn count(&self, result: &Result<Verdict, AuthorityFault>) {
        let took = self.client.clock.now().saturating_duration_since(self.began);
        let result = result.as_ref().map(Verdict::name).map_err(|fault| fault.kind);
        self.client.telemetry.metrics.authority_call(&self.context.authority_name, self.kind, result, took);
    }
}
