//! The I/O for every dialect: sends a call, reads one verdict or fault, counts and times it.

mod context;
mod fault;
mod other_calls;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::context::AskContext;
use self::fault::{infrastructure, with_path};
pub(super) use self::fault::{is_no_path, is_turned_away, naming, unspeakable};
pub(super) use self::other_calls::OtherCalls;
use super::authority_clock::ClockOffset;
use super::dialect::PushedKills;
use super::exchange::{AuthorityReply, AuthorityRequest, sent_at};
use super::{Authorities, Authority};
use crate::clock::Clock;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Grant, Verdict};
use crate::sessions::{AskAuthority, LateGrant, OpenFuture, SessionContext, VerdictFuture};
use crate::telemetry::{SlotEnd, Telemetry};
use crate::upstream::{CallHold, ConnectionPool, LateReply, UpstreamCall, UpstreamReply};

/// Replies are small: a token is below 4 KiB, a license below 20 KiB.
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// Speaks with all authorities. Each runtime has one, because connections belong to their runtime.
#[derive(Clone)]
pub struct AuthorityClient {
    authorities: Arc<Authorities>,
    pub(super) clock: Clock,
    pool: ConnectionPool,
    pub(super) telemetry: Arc<Telemetry>,
}

/// The answer to a renewal: the verdict for the session, and the license for the player.
pub struct RenewalAnswer {
    pub license: Option<Vec<u8>>,
    pub result: Result<Verdict, AuthorityFault>,
}

impl RenewalAnswer {
    pub(super) fn failed(fault: AuthorityFault) -> Self {
        Self { license: None, result: Err(fault) }
    }
}

impl AuthorityClient {
    pub fn new(authorities: Arc<Authorities>, clock: Clock, pool: ConnectionPool, telemetry: Arc<Telemetry>) -> Self {
        Self { authorities, clock, pool, telemetry }
    }

    #[cfg(test)]
    pub(super) fn serve(&self, sessions: &Arc<crate::sessions::Sessions>) {
        self.authorities.serve(sessions);
    }

    /// The newest authority of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Authority>> {
        self.authorities.by_name(name)
    }

    /// Sends the player's own renewal challenge as the session's beat.
    pub async fn renew(&self, context: &SessionContext, grant: &Grant, challenge: &[u8]) -> RenewalAnswer {
        let Some(authority) = self.authorities.of(context.authority) else {
            return RenewalAnswer::failed(unspeakable("there is no such authority"));
        };
        let context = AskContext::new(self, &authority, AskKind::Renew, context);
        authority.dialect.renew(context, grant, challenge).await
    }

    async fn perform(
        &self,
        ask: &AuthorityAsk,
        context: &SessionContext,
    ) -> (Result<Verdict, AuthorityFault>, Option<LateGrant>) {
        // The authority's current settings hold for the whole call.
        let Some(authority) = self.authorities.of(context.authority) else {
            return (Err(unspeakable("there is no such authority")), None);
        };
        let context = AskContext::new(self, &authority, ask.kind, context);
        authority.dialect.perform(context, ask).await
    }

    async fn send(
        &self,
        request: AuthorityRequest<'_>,
        kind: AskKind,
        timeout: Duration,
    ) -> Result<UpstreamReply, AuthorityFault> {
        let (call, hold) = self.call(request, kind, timeout)?;
        let endpoint = call.endpoint;
        self.pool.send_held(&call, hold).await.outcome.map_err(|fault| infrastructure(&fault, endpoint))
    }

    /// Builds a call. Players wait for opens and renewals, so these are held for `timeout` while the authority cannot
    /// be reached.
    fn call<'r>(
        &self,
        request: AuthorityRequest<'r>,
        kind: AskKind,
        timeout: Duration,
    ) -> Result<(UpstreamCall<'r>, CallHold<'static>), AuthorityFault> {
        let AuthorityRequest { body, endpoint, headers, method, path } = request;
        let path_and_query = match path {
            Some(path) => path.parse().map_err(|_| unspeakable("the authority's path is not valid"))?,
            None => endpoint.path_and_query(),
        };
        let until = self.clock.now() + timeout;
        let call = UpstreamCall {
            body,
            deadline: until,
            endpoint,
            headers,
            method,
            path_and_query,
            reply_max: MAX_REPLY_BYTES,
        };
        let unreachable = matches!(kind, AskKind::Open | AskKind::Renew);
        Ok((call, CallHold { attempt: timeout, begins: None, gateway_errors: false, unreachable, until }))
    }

    fn read(
        &self,
        authority: &Authority,
        kind: AskKind,
        context: &SessionContext,
        reply: &UpstreamReply,
    ) -> Result<Verdict, AuthorityFault> {
        let reply = self.reply(authority, kind, reply);
        let result = authority.dialect.read(&reply).map_err(|mut fault| {
            fault.reason.retry_after = reply.retry_after();
            fault
        });
        // A fault may have been answered by a server in between, whose clock may differ.
        if let (Ok(_), Some(date)) = (&result, sent_at(reply.headers)) {
            self.learn(authority, context, date);
        }
        result
    }

    fn reply<'r>(&self, authority: &Authority, kind: AskKind, reply: &'r UpstreamReply) -> AuthorityReply<'r> {
        let UpstreamReply { body, headers, status, .. } = reply;
        let known = || authority.reach.as_ref()?.clock.read(self.clock.unslept());
        let time = sent_at(headers).or_else(known).unwrap_or_else(|| self.clock.wall());
        AuthorityReply { body, headers, kind, status: *status, time }
    }

    fn learn(&self, authority: &Authority, context: &SessionContext, date: Duration) {
        let Some(reach) = &authority.reach else { return };
        let learned = reach.clock.learn(self.clock.unslept(), self.clock.wall(), date);
        if let Some(ClockOffset { offset, warn }) = learned {
            self.telemetry.clock_offset(&context.authority_name, offset, warn);
        }
    }
}

impl AskAuthority for AuthorityClient {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> VerdictFuture<'a> {
        Box::pin(async move { self.perform(ask, context).await.0 })
    }

    fn open<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> OpenFuture<'a> {
        Box::pin(self.perform(ask, context))
    }

    fn accepted(&self, grant: &Grant, context: &SessionContext) {
        let Some(authority) = self.authorities.of(context.authority) else { return };
        let kills = PushedKills::of(self.authorities.sessions(), context, grant);
        let Some(ended) = authority.dialect.accepted(grant, kills) else { return };
        self.telemetry.metrics.slots_ended(&context.authority_name, SlotEnd::Replaced, ended);
    }
}

/// Time for which a late answer is awaited. An authority holds a silent session about as long, so a later grant need
/// not be given back.
const MAX_LATE_WAIT: Duration = Duration::from_secs(60);

impl AuthorityClient {
    async fn send_patiently(
        &self,
        request: AuthorityRequest<'_>,
        kind: AskKind,
        timeout: Duration,
    ) -> (Result<UpstreamReply, AuthorityFault>, Option<LateReply>) {
        let (call, hold) = match self.call(request, kind, timeout) {
            Ok(call) => call,
            Err(fault) => return (Err(fault), None),
        };
        let endpoint = call.endpoint;
        let (held, late) = self.pool.send_held_patiently(&call, hold, MAX_LATE_WAIT).await;
        (held.outcome.map_err(|fault| infrastructure(&fault, endpoint)), late)
    }

    /// Resolves to the grant in the late reply to this open.
    fn late_grant(&self, late: LateReply, authority: Arc<Authority>, context: &SessionContext) -> LateGrant {
        let (client, context) = (self.clone(), context.without_token());
        Box::pin(async move {
            let reply = late.reply().await?;
            match client.read(&authority, AskKind::Open, &context, &reply) {
                Ok(Verdict::Granted(grant)) => Some(grant),
                Ok(_) | Err(_) => None,
            }
        })
    }
}
