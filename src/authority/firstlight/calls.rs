//! Makes the core's asks by calls to FirstLight's two services, in order.
//!
//! Open: PUT takes the device's slot, then a first beat. Beat: PUT, then the beat. Close: a last beat, then DELETE. A
//! refusal ends the sequence, and what it took is given back. While beats succeed, an unreachable concurrency service
//! is no failure.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::{BeatPhase, HeartbeatSubject, ReplyClass};
use crate::authority::client::{AskContext, naming, unspeakable};
use crate::authority::dialect::Dialect;
use crate::authority::exchange::AuthorityRequest;
use crate::config::FirstLightSettings;
use crate::ids;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Denial, Grant, Reason, Verdict};

/// Time for giving back a slot after the ask itself.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(1);

/// An ask under way.
struct HeartbeatCall<'a> {
    ask: &'a AuthorityAsk,
    config: &'a FirstLightSettings,
    context: AskContext<'a>,
    deadline: Instant,
    who: HeartbeatSubject<'a>,
}

impl FirstLightSettings {
    pub(super) async fn answer(&self, context: AskContext<'_>, ask: &AuthorityAsk) -> Result<Verdict, AuthorityFault> {
        let registration = context.context.registration.as_deref();
        let Some((registration, block)) = registration.and_then(|it| Some((it, it.block.as_ref()?))) else {
            let reason = Reason::without_reply("the playback was not authorized through sidebeat");
            return Ok(Verdict::Denied(Denial::Token, reason));
        };
        if let (AskKind::Open, Some(dark)) = (ask.kind, block.blackout_reason()) {
            return Ok(Verdict::Blackout(dark));
        }
        let token = ask.grant.as_ref().map(|grant| &grant.token).or(block.token.as_ref());
        let Some(token) = token else { return Ok(Verdict::Disabled) };
        let who = HeartbeatSubject { block, registration, token };
        let deadline = context.client.clock.now() + self.timeout;
        let call = HeartbeatCall { ask, config: self, context, deadline, who };
        match ask.kind {
            AskKind::Beat => call.beat().await,
            AskKind::Close => call.close().await,
            AskKind::Open => call.open().await,
            AskKind::Renew => Err(unspeakable("this authority takes no renewals")),
        }
    }
}

impl HeartbeatCall<'_> {
    async fn open(&self) -> Result<Verdict, AuthorityFault> {
        let class = self.confirm(BeatPhase::Start).await;
        let grant = |interval, token| Grant { interval, lifetime: None, token };
        let (interval, token) = (self.config.interval(self.who.block), self.who.token.clone());
        Ok(match class {
            ReplyClass::Good(news) => {
                Verdict::Granted(grant(news.interval.unwrap_or(interval), news.token.unwrap_or(token)))
            }
            ReplyClass::Stop => Verdict::Disabled,
            ReplyClass::Blackout(dark) => Verdict::Blackout(dark),
            ReplyClass::Concurrency(reason) => Verdict::Denied(Denial::Limit, reason),
            ReplyClass::Denied(reason) => Verdict::Denied(Denial::Rejected, reason),
            ReplyClass::Ended(reason) => Verdict::Killed(reason),
            // The authorization's own token is used up or was never valid. The app must ask for another.
            ReplyClass::Unknown(reason) => Verdict::Denied(Denial::Token, reason),
            ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault) => {
                Verdict::Unconfirmed(grant(interval, token), fault)
            }
        })
    }

    async fn beat(&self) -> Result<Verdict, AuthorityFault> {
        match self.confirm(BeatPhase::Update).await {
            ReplyClass::Good(news) => {
                let (now, wall) = (self.context.client.clock.now(), self.context.client.clock.wall());
                let moved = news.moved(self.who.block);
                let schedule = moved.and_then(|block| self.config.schedule(&block, now, wall));
                Ok(Verdict::Alive { interval: news.interval, lifetime: None, schedule, token: news.token })
            }
            ReplyClass::Stop => Ok(Verdict::Disabled),
            ReplyClass::Blackout(dark) => Ok(Verdict::Blackout(dark)),
            ReplyClass::Concurrency(reason) | ReplyClass::Denied(reason) | ReplyClass::Ended(reason) => {
                Ok(Verdict::Killed(reason))
            }
            ReplyClass::Unknown(reason) => Ok(Verdict::Unknown(reason)),
            ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault) => Err(fault),
        }
    }

    /// Makes the PUT, then the beat. The slot of a playback that does not begin is given back here; the core closes
    /// sessions that have begun.
    async fn confirm(&self, phase: BeatPhase) -> ReplyClass {
        let (class, counted) = self.ask_both(phase).await;
        if phase == BeatPhase::Start && counted && begins_nothing(&class) {
            let until = self.context.client.clock.now() + GIVE_BACK_TIMEOUT;
            if let Some(Err(_)) = self.give_back(until).await {
                // A slot that is not given back expires by itself.
                let _best_effort = self.give_back(until).await;
            }
        }
        class
    }

    /// Makes both calls. Also returns whether the device may be counted now: a refused PUT takes nothing.
    async fn ask_both(&self, phase: BeatPhase) -> (ReplyClass, bool) {
        // The beat needs its half of the time.
        let half = self.context.client.clock.now() + self.config.timeout / 2;
        if let Some(class) = self.call_until(half, |uuid| self.config.put(self.who, uuid)).await {
            match class {
                ReplyClass::Good(_) => {}
                ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault) => {
                    let (code, said) = (fault.reason.told_code(), &*fault.reason.message);
                    if self.may_write("no concurrency decision") {
                        tracing::warn!(code, said, "the stream concurrency service gave no decision");
                    }
                }
                ReplyClass::Blackout(_)
                | ReplyClass::Concurrency(_)
                | ReplyClass::Denied(_)
                | ReplyClass::Ended(_)
                | ReplyClass::Stop
                | ReplyClass::Unknown(_) => {
                    let counted = class.reason().is_none_or(|reason| (200..300).contains(&reason.told_code()));
                    return (class, counted);
                }
            }
        }
        let sequence = self.ask.ticket.number();
        let beat = |uuid: &str| self.config.beat(self.who, phase, self.ask.told, sequence, uuid);
        let class = self.call_until(self.deadline, beat).await;
        (class.unwrap_or_else(|| ReplyClass::Infrastructure(unspeakable("the call cannot be written"))), true)
    }

    /// Makes the last beat and the DELETE. The beat is best effort if a DELETE follows, which frees the slot.
    async fn close(&self) -> Result<Verdict, AuthorityFault> {
        let sequence = self.ask.ticket.number();
        let half = self.context.client.clock.now() + self.config.timeout / 2;
        let deadline = if self.config.stream_concurrency.is_some() { half } else { self.deadline };
        let last = |uuid: &str| self.config.beat(self.who, BeatPhase::Stop, self.ask.told, sequence, uuid);
        let stopped = self.call_until(deadline, last).await;
        match (self.give_back(self.deadline).await, stopped) {
            (Some(result), _) => result.map(|()| Verdict::Closed),
            (None, Some(ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault))) => Err(fault),
            (None, Some(_) | None) => Ok(Verdict::Closed),
        }
    }

    /// Makes the DELETE. A slot that is gone already is as good. `None` without a concurrency service.
    async fn give_back(&self, deadline: Instant) -> Option<Result<(), AuthorityFault>> {
        let class = self.call_until(deadline, |uuid| self.config.delete(self.who, uuid)).await?;
        Some(match class {
            ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault) => Err(fault),
            ReplyClass::Blackout(_)
            | ReplyClass::Concurrency(_)
            | ReplyClass::Denied(_)
            | ReplyClass::Ended(_)
            | ReplyClass::Good(_)
            | ReplyClass::Stop
            | ReplyClass::Unknown(_) => Ok(()),
        })
    }

    /// Makes a call. The credentials are the player's, so after a 401 nothing helps but one more try.
    async fn call_until<'w>(
        &'w self,
        deadline: Instant,
        wire: impl Fn(&str) -> Option<AuthorityRequest<'w>>,
    ) -> Option<ReplyClass> {
        let first = self.send(deadline, wire(&ids::uuid())?).await;
        match first {
            ReplyClass::Auth(_) => Some(self.send(deadline, wire(&ids::uuid())?).await),
            ReplyClass::Blackout(_)
            | ReplyClass::Concurrency(_)
            | ReplyClass::Denied(_)
            | ReplyClass::Ended(_)
            | ReplyClass::Good(_)
            | ReplyClass::Infrastructure(_)
            | ReplyClass::Stop
            | ReplyClass::Unknown(_) => Some(first),
        }
    }

    /// Bounds lines that a caller can provoke by its authorization.
    fn may_write(&self, kind: &'static str) -> bool {
        self.context.client.telemetry.may_write_about(kind, &self.context.context.authority_name)
    }

    async fn send(&self, deadline: Instant, wire: AuthorityRequest<'_>) -> ReplyClass {
        let left = deadline.saturating_duration_since(self.context.client.clock.now());
        let endpoint = wire.endpoint;
        match self.context.send(wire, left).await {
            Ok(reply) => {
                if reply.status == StatusCode::BAD_REQUEST && self.may_write("calls not understood") {
                    // Our calls or the configuration are wrong, so waiting does not help.
                    tracing::error!("the service cannot read our calls: check fields, paths and headers");
                }
                let retry_after = self.context.reply(&reply).retry_after();
                let told =
                    |fault: AuthorityFault| AuthorityFault { reason: Reason { retry_after, ..fault.reason }, ..fault };
                match self.config.class_of(reply.status, &reply.body) {
                    ReplyClass::Auth(fault) => ReplyClass::Auth(told(fault)),
                    ReplyClass::Infrastructure(fault) => ReplyClass::Infrastructure(told(naming(fault, endpoint))),
                    class => class,
                }
            }
            Err(fault) => ReplyClass::Infrastructure(fault),
        }
    }
}

/// True if a first beat with this answer begins no session here.
fn begins_nothing(class: &ReplyClass) -> bool {
    match class {
        ReplyClass::Blackout(_)
        | ReplyClass::Concurrency(_)
        | ReplyClass::Denied(_)
        | ReplyClass::Ended(_)
        | ReplyClass::Stop
        | ReplyClass::Unknown(_) => true,
        ReplyClass::Auth(_) | ReplyClass::Good(_) | ReplyClass::Infrastructure(_) => false,
    }
}
