//! The I/O for every dialect: one call out, one verdict or fault back, counted and timed.

mod fault;
mod firstlight;
mod late_grants;
mod other_calls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header;

pub(super) use self::fault::is_turned_away;
use self::fault::{infrastructure, is_no_path, naming, unspeakable, with_path};
use self::firstlight::retry_after;
pub(super) use self::other_calls::OtherCalls;
use super::authority_clock::ClockOffset;
use super::breaker::CallPermit;
use super::exchange::{AuthorityReply, AuthorityRequest};
use super::health::{CallClass, CallOrigin};
use super::nagra_ssm;
use super::{Authorities, Authority, EmbeddedAuthority, Kind, Ssm};
use crate::clock::Clock;
use crate::config::Endpoint;
use crate::session::{Ask, AskKind, Fault, Grant, Verdict};
use crate::sessions::{Asker, Card, LateGrant, Opening, Verdicts};
use crate::telemetry::{SlotEnd, Telemetry};
use crate::upstream::{Call, Hold, LateReply, Pool, Reply};

/// Replies of authorities are small; a token is below 4 KiB and a license below 20.
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// One per runtime, because connections belong to theirs.
#[derive(Clone)]
pub struct AuthorityClient {
    authorities: Arc<Authorities>,
    clock: Clock,
    pool: Pool,
    telemetry: Arc<Telemetry>,
}

/// What a renewal brought: the verdict for the session, and the license for the player.
pub struct RenewalAnswer {
    pub license: Option<Vec<u8>>,
    pub result: Result<Verdict, Fault>,
}

impl AuthorityClient {
    pub fn new(authorities: Arc<Authorities>, clock: Clock, pool: Pool, telemetry: Arc<Telemetry>) -> Self {
        Self { authorities, clock, pool, telemetry }
    }

    /// The newest of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Authority>> {
        self.authorities.by_name(name)
    }

    /// Sends the player's own renewal challenge as the session's beat.
    pub async fn renew(&self, card: &Card, grant: &Grant, challenge: &[u8]) -> RenewalAnswer {
        let began = self.clock.now();
        let authority = self.authorities.of(&card.authority);
        let Some(Kind::NagraSsm(ssm)) = authority.as_ref().map(|authority| &authority.kind) else {
            return RenewalAnswer { license: None, result: Err(unspeakable("this authority takes no renewals")) };
        };
        let leave = match self.leave(ssm, AskKind::Renew, card) {
            Ok(leave) => leave,
            Err(fault) => return RenewalAnswer { license: None, result: Err(fault) },
        };
        let (usual, other) = ssm.renewals();
        let mut renewal = self.renew_at(ssm, usual, card, grant, challenge).await;
        if let Some(other) = other.filter(|_| is_no_path(&renewal.result)) {
            let elsewhere = self.renew_at(ssm, other, card, grant, challenge).await;
            // A path that has worked may have replaced the token, whatever stood before it answered: that no session
            // is known by the old one elsewhere says nothing then.
            if matches!(elsewhere.result, Ok(Verdict::Alive { .. })) || !ssm.renewal_has_worked() {
                renewal = elsewhere;
                if !is_no_path(&renewal.result) {
                    ssm.keep_renewal(other);
                }
            }
        }
        if renewal.result.is_ok() {
            ssm.renewal_works();
        }
        self.tell(ssm, AskKind::Renew, card, leave, &renewal.result);
        self.count(card, AskKind::Renew, &renewal.result, began);
        renewal
    }

    async fn renew_at(
        &self,
        ssm: &Ssm,
        endpoint: &Endpoint,
        card: &Card,
        grant: &Grant,
        challenge: &[u8],
    ) -> RenewalAnswer {
        let wire = ssm.config.renew(endpoint, grant, challenge);
        match self.send(wire, AskKind::Renew, ssm.config.timeout).await {
            Ok(reply) => RenewalAnswer {
                license: nagra_ssm::license(&reply.body),
                result: self.read(ssm, AskKind::Renew, card, &reply).map_err(|fault| naming(fault, endpoint)),
            },
            Err(fault) => RenewalAnswer { license: None, result: Err(fault) },
        }
    }

    async fn perform(&self, ask: &Ask, card: &Card) -> (Result<Verdict, Fault>, Option<LateGrant>) {
        let now = self.clock.now();
        // Its settings of this moment hold for the whole call.
        let authority = self.authorities.of(&card.authority);
        match (authority.as_ref().map(|authority| &authority.kind), &ask.grant) {
            (Some(Kind::FirstLight(config)), _) => {
                let result = self.perform_firstlight(config, ask, card).await;
                self.count(card, ask.kind, &result, now);
                (result, None)
            }
            (Some(Kind::NagraSsm(ssm)), grant) => {
                let leave = match self.leave(ssm, ask.kind, card) {
                    Ok(leave) => leave,
                    Err(fault) => return (Err(fault), None),
                };
                let call = self.perform_ssm(ssm, ask.kind, grant.as_ref(), card);
                let ((result, late), others) = match ask.kind {
                    AskKind::Open if ssm.gives_credit() => self.knock_beside(ssm, now, call).await,
                    AskKind::Beat | AskKind::Close | AskKind::Open | AskKind::Renew => (call.await, OtherCalls::Silent),
                };
                self.tell(ssm, ask.kind, card, leave, &result);
                self.count(card, ask.kind, &result, now);
                let result = result.map_err(|fault| others.judge(fault));
                (result, late.zip(authority).map(|(reply, of)| self.late_grant(reply, of, card)))
            }
            (Some(Kind::Embedded(counter)), _) => {
                let result = self.perform_embedded(counter, ask, card);
                self.count(card, ask.kind, &result, now);
                (result, None)
            }
            (None, _) => (Err(unspeakable("there is no such authority")), None),
        }
    }

    fn perform_embedded(&self, counter: &EmbeddedAuthority, ask: &Ask, card: &Card) -> Result<Verdict, Fault> {
        let now = self.clock.now();
        match (ask.kind, &ask.grant) {
            (AskKind::Open, _) => Ok(counter.open(now, card, ask.beside.as_ref())),
            (AskKind::Beat | AskKind::Renew, Some(grant)) => Ok(counter.beat(now, grant)),
            (AskKind::Close, Some(grant)) => Ok(counter.close(grant)),
            (AskKind::Beat | AskKind::Close | AskKind::Renew, None) => Err(unspeakable("there is no grant")),
        }
    }

    /// A call that is not made is counted apart: nobody failed to answer it.
    fn leave(&self, ssm: &Ssm, kind: AskKind, card: &Card) -> Result<CallPermit, Fault> {
        ssm.health
            .leave(self.clock.now(), kind, CallOrigin::of(card))
            .inspect_err(|_| self.telemetry.metrics.authority_call_spared(&card.authority_name, kind))
    }

    fn tell(&self, ssm: &Ssm, kind: AskKind, card: &Card, leave: CallPermit, result: &Result<Verdict, Fault>) {
        let changes = ssm.health.tell(self.clock.now(), kind, leave, CallOrigin::of(card), result);
        if let Some(open) = changes.breaker {
            self.telemetry.breaker(&card.authority_name, CallClass::of(kind).name(), open);
        }
        if let Some(wait) = changes.deferred {
            self.telemetry.account_deferred(&card.authority_name, wait);
        }
    }

    async fn perform_ssm(
        &self,
        ssm: &Ssm,
        kind: AskKind,
        grant: Option<&Grant>,
        card: &Card,
    ) -> (Result<Verdict, Fault>, Option<LateReply>) {
        let wire = match (kind, grant) {
            (AskKind::Open, _) => match &card.token {
                Some(token) => ssm.config.open(token),
                None => return (Ok(nagra_ssm::tokenless()), None),
            },
            (AskKind::Beat, Some(grant)) => ssm.config.beat(grant),
            (AskKind::Close, Some(grant)) => ssm.config.close(grant),
            // Renewals carry the player's challenge and come through `renew`.
            (AskKind::Renew, _) | (AskKind::Beat | AskKind::Close, None) => None,
        };
        let endpoint = wire.as_ref().map(|wire| wire.endpoint);
        let (reply, late) = match kind {
            AskKind::Open => self.send_patiently(wire, kind, ssm.config.timeout).await,
            AskKind::Beat | AskKind::Close | AskKind::Renew => (self.send(wire, kind, ssm.config.timeout).await, None),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(fault) => return (Err(fault), late),
        };
        let result = match (self.read(ssm, kind, card, &reply), endpoint) {
            (Ok(Verdict::Denied(denial, reason)), Some(endpoint)) => {
                Ok(Verdict::Denied(denial, with_path(reason, endpoint)))
            }
            (Err(fault), Some(endpoint)) => Err(naming(fault, endpoint)),
            (result, _) => result,
        };
        (result, None)
    }

    /// A player waits for opens and renewals: while the authority cannot be reached, they are held for `timeout`.
    async fn send(&self, wire: Option<AuthorityRequest<'_>>, kind: AskKind, timeout: Duration) -> Result<Reply, Fault> {
        let (call, hold) = self.call(wire, kind, timeout)?;
        let endpoint = call.endpoint;
        self.pool.send_held(call, hold).await.outcome.map_err(|fault| infrastructure(&fault, endpoint))
    }

    fn call<'w>(
        &self,
        wire: Option<AuthorityRequest<'w>>,
        kind: AskKind,
        timeout: Duration,
    ) -> Result<(Call<'w>, Hold<'static>), Fault> {
        let Some(AuthorityRequest { body, endpoint, headers, method, path }) = wire else {
            return Err(unspeakable("the token cannot stand in a header"));
        };
        let path_and_query = match path {
            Some(path) => path.parse().map_err(|_| unspeakable("the authority's path is not valid"))?,
            None => endpoint.path_and_query(),
        };
        let until = self.clock.now() + timeout;
        let call =
            Call { body, deadline: until, endpoint, headers, method, path_and_query, reply_max: MAX_REPLY_BYTES };
        let unreachable = matches!(kind, AskKind::Open | AskKind::Renew);
        Ok((call, Hold { attempt: timeout, begins: None, gateway_errors: false, unreachable, until }))
    }

    fn read(&self, ssm: &Ssm, kind: AskKind, card: &Card, reply: &Reply) -> Result<Verdict, Fault> {
        let date = reply.headers.get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
        let asked = AuthorityReply { body: &reply.body, kind, status: reply.status };
        // Tokens are judged in the head-end's time.
        let time = date.or_else(|| ssm.clock.read(self.clock.unslept())).unwrap_or_else(|| self.clock.wall());
        let result = ssm.config.read(&asked, time).map_err(|mut fault| {
            fault.reason.retry_after = retry_after(&reply.headers, self.clock.wall());
            fault
        });
        // A fault may have been answered by something on the way, which may have another time.
        if let (Ok(_), Some(date)) = (&result, date) {
            self.learn(ssm, card, date);
        }
        result
    }

    fn learn(&self, ssm: &Ssm, card: &Card, date: Duration) {
        if let Some(ClockOffset { offset, warn }) = ssm.clock.learn(self.clock.unslept(), self.clock.wall(), date) {
            self.telemetry.clock_offset(&card.authority_name, offset, warn);
        }
    }

    fn count(&self, card: &Card, ask: AskKind, result: &Result<Verdict, Fault>, began: Instant) {
        let took = self.clock.now().saturating_duration_since(began);
        let result = result.as_ref().map(Verdict::name).map_err(|fault| fault.kind);
        self.telemetry.metrics.authority_call(&card.authority_name, ask, result, took);
    }
}

impl Asker for AuthorityClient {
    fn ask<'a>(&'a self, ask: &'a Ask, card: &'a Card) -> Verdicts<'a> {
        Box::pin(async move { self.perform(ask, card).await.0 })
    }

    fn open<'a>(&'a self, ask: &'a Ask, card: &'a Card) -> Opening<'a> {
        Box::pin(self.perform(ask, card))
    }

    fn accepted(&self, grant: &Grant, card: &Card) {
        let authority = self.authorities.of(&card.authority);
        let Some(counter) = authority.as_ref().and_then(|authority| authority.counter()) else { return };
        let ended = counter.confirm(grant);
        self.telemetry.metrics.slots_ended(&card.authority_name, SlotEnd::Replaced, ended);
    }
}
