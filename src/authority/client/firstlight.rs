//! One ask of the core as the calls that FirstLight's two services want for it, in order.
//!
//! Open: the device's place by PUT, then a first beat. Beat: PUT, then the beat. Close: a last beat,
//! then DELETE. A refusal ends the row, and what was taken in it is given back. The second service
//! may be unreachable while beats succeed: that is not counted.

use std::time::{Duration, Instant, UNIX_EPOCH};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::{AuthorityClient, naming, unspeakable};
use crate::authority::exchange::AuthorityRequest;
use crate::authority::firstlight::{BeatPhase, HeartbeatSubject, ReplyClass};
use crate::config::FirstLight;
use crate::ids;
use crate::session::{Ask, AskKind, Denial, Fault, Grant, Reason, Verdict};
use crate::sessions::Card;

/// What giving a place back may take after the ask itself.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(1);

/// One ask under way.
struct HeartbeatCall<'a> {
    ask: &'a Ask,
    /// By name.
    authority: &'a str,
    client: &'a AuthorityClient,
    config: &'a FirstLight,
    deadline: Instant,
    who: HeartbeatSubject<'a>,
}

impl AuthorityClient {
    pub(super) async fn perform_firstlight(
        &self,
        config: &FirstLight,
        ask: &Ask,
        card: &Card,
    ) -> Result<Verdict, Fault> {
        let registration = card.registration.as_deref();
        let Some((registration, block)) = registration.and_then(|it| Some((it, it.block.as_ref()?))) else {
            let reason = Reason::new(0, None, "the playback was not authorized through sidebeat");
            return Ok(Verdict::Denied(Denial::Token, reason));
        };
        if let (AskKind::Open, Some(reason)) = (ask.kind, block.blackout_reason()) {
            return Ok(Verdict::Blackout(reason));
        }
        let token = ask.grant.as_ref().map(|grant| &grant.token).or(block.token.as_ref());
        let Some(token) = token else { return Ok(Verdict::Disabled) };
        let who = HeartbeatSubject { block, registration, token };
        let row = HeartbeatCall {
            ask,
            authority: &card.authority_name,
            client: self,
            config,
            deadline: self.clock.now() + config.timeout,
            who,
        };
        match ask.kind {
            AskKind::Beat => row.beat().await,
            AskKind::Close => row.close().await,
            AskKind::Open => row.open().await,
            AskKind::Renew => Err(unspeakable("this authority takes no renewals")),
        }
    }
}

impl HeartbeatCall<'_> {
    async fn open(&self) -> Result<Verdict, Fault> {
        let class = self.confirm(BeatPhase::Start).await;
        let grant = |interval, token| Grant { interval, lifetime: None, token };
        let (interval, token) = (self.config.interval(self.who.block), self.who.token.clone());
        Ok(match class {
            ReplyClass::Good(news) => {
                Verdict::Granted(grant(news.interval.unwrap_or(interval), news.token.unwrap_or(token)))
            }
            ReplyClass::Stop => Verdict::Disabled,
            ReplyClass::Blackout(reason) => Verdict::Blackout(reason),
            ReplyClass::Concurrency(reason) => Verdict::Denied(Denial::Limit, reason),
            ReplyClass::Denied(reason) => Verdict::Denied(Denial::Rejected, reason),
            ReplyClass::Ended(reason) => Verdict::Killed(reason),
            // The authorization's own token: spent, or never good. The app has to ask for another one.
            ReplyClass::Unknown(reason) => Verdict::Denied(Denial::Token, reason),
            ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault) => {
                Verdict::Unconfirmed(grant(interval, token), fault)
            }
        })
    }

    async fn beat(&self) -> Result<Verdict, Fault> {
        match self.confirm(BeatPhase::Update).await {
            ReplyClass::Good(news) => {
                let (now, wall) = (self.client.clock.now(), self.client.clock.wall());
                let moved = news.moved(self.who.block);
                let schedule = moved.and_then(|block| self.config.schedule(&block, now, wall));
                Ok(Verdict::Alive { interval: news.interval, lifetime: None, schedule, token: news.token })
            }
            ReplyClass::Stop => Ok(Verdict::Disabled),
            ReplyClass::Blackout(reason) => Ok(Verdict::Blackout(reason)),
            ReplyClass::Concurrency(reason) | ReplyClass::Denied(reason) | ReplyClass::Ended(reason) => {
                Ok(Verdict::Killed(reason))
            }
            ReplyClass::Unknown(reason) => Ok(Verdict::Unknown(reason)),
            ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault) => Err(fault),
        }
    }

    /// PUT, then the beat. What was taken for a playback that does not begin is given back here; the core closes what
    /// has begun.
    async fn confirm(&self, phase: BeatPhase) -> ReplyClass {
        let (class, counted) = self.ask_both(phase).await;
        if phase == BeatPhase::Start && counted && begins_nothing(&class) {
            let until = self.client.clock.now() + GIVE_BACK_TIMEOUT;
            if let Some(Err(_)) = self.give_back(until).await {
                // A place that is not given back runs out by itself.
                let _best_effort = self.give_back(until).await;
            }
        }
        class
    }

    /// Also whether the device may be counted from now on: a PUT that is turned down takes nothing.
    async fn ask_both(&self, phase: BeatPhase) -> (ReplyClass, bool) {
        // The beat needs its share of the time.
        let half = self.client.clock.now() + self.config.timeout / 2;
        if let Some(class) = self.call_until(half, |uuid| self.config.put(self.who, uuid)).await {
            match class {
                ReplyClass::Good(_) => {}
                ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault) => {
                    let (code, said) = (fault.reason.code, &*fault.reason.message);
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
                    let counted = class.reason().is_none_or(|reason| (200..300).contains(&reason.code));
                    return (class, counted);
                }
            }
        }
        let sequence = self.ask.ticket.0;
        let beat = |uuid: &str| self.config.beat(self.who, phase, self.ask.told, sequence, uuid);
        let class = self.call_until(self.deadline, beat).await;
        (class.unwrap_or_else(|| ReplyClass::Infrastructure(unspeakable("the call cannot be written"))), true)
    }

    /// The last beat is best effort where a DELETE follows: that one frees the place.
    async fn close(&self) -> Result<Verdict, Fault> {
        let sequence = self.ask.ticket.0;
        let half = self.client.clock.now() + self.config.timeout / 2;
        let deadline = if self.config.stream_concurrency.is_some() { half } else { self.deadline };
        let last = |uuid: &str| self.config.beat(self.who, BeatPhase::Stop, self.ask.told, sequence, uuid);
        let stopped = self.call_until(deadline, last).await;
        match (self.give_back(self.deadline).await, stopped) {
            (Some(result), _) => result.map(|()| Verdict::Closed),
            (None, Some(ReplyClass::Auth(fault) | ReplyClass::Infrastructure(fault))) => Err(fault),
            (None, Some(_) | None) => Ok(Verdict::Closed),
        }
    }

    /// DELETE; gone already is as good. None where there is no such service.
    async fn give_back(&self, deadline: Instant) -> Option<Result<(), Fault>> {
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

    /// Credentials are the player's: after a 401 all that we can do is ask once more.
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

    /// A caller can provoke such lines by what stands in its authorization.
    fn may_write(&self, kind: &'static str) -> bool {
        self.client.telemetry.may_write_about(kind, self.authority)
    }

    async fn send(&self, deadline: Instant, wire: AuthorityRequest<'_>) -> ReplyClass {
        let left = deadline.saturating_duration_since(self.client.clock.now());
        let endpoint = wire.endpoint;
        match self.client.send(Some(wire), self.ask.kind, left).await {
            Ok(reply) => {
                if reply.status == StatusCode::BAD_REQUEST && self.may_write("calls not understood") {
                    // Ours or the configuration's, and no outage that passes.
                    tracing::error!("the service cannot read our calls: check fields, paths and headers");
                }
                match self.config.read(reply.status, &reply.body) {
                    ReplyClass::Infrastructure(fault) => {
                        let mut fault = naming(fault, endpoint);
                        fault.reason.retry_after = retry_after(&reply.headers, self.client.clock.wall());
                        ReplyClass::Infrastructure(fault)
                    }
                    class => class,
                }
            }
            Err(fault) => ReplyClass::Infrastructure(fault),
        }
    }
}

/// Whether a first beat that is answered so begins no session here.
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

/// Seconds, or a date (RFC 9110, section 10.2.3), in the service's own time if it tells that.
pub(super) fn retry_after(headers: &HeaderMap, wall: Duration) -> Option<Duration> {
    const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |text| httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok();
    let after = text(RETRY_AFTER)?.trim();
    let seconds = after.parse().ok().map(Duration::from_secs);
    let until = || Some(date(after)?.saturating_sub(text(DATE).and_then(date).unwrap_or(wall)));
    seconds.or_else(until).map(|after| after.max(MIN_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_says_when_to_come_back_in_seconds_or_by_date() {
        for (after, date, expected) in [
            (Some("5"), None, Some(5)),
            (Some(" 0 "), None, Some(1)),
            (Some("Sun, 22 Nov 2026 00:00:30 GMT"), Some("Sun, 22 Nov 2026 00:00:10 GMT"), Some(20)),
            (Some("Thu, 01 Jan 1970 00:01:30 GMT"), None, Some(30)),
            (Some("Sun, 22 Nov 2020 00:00:30 GMT"), Some("Sun, 22 Nov 2026 00:00:10 GMT"), Some(1)),
            (Some("-5"), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(after.map(|after| (RETRY_AFTER, after.parse().unwrap())));
            headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
            let told = retry_after(&headers, Duration::from_secs(60));
            assert_eq!(told.map(|after| after.as_secs()), expected, "{after:?}");
        }
    }
}
