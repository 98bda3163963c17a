//! FirstLight Heartbeat and Stream Concurrency as a dialect: builds their calls, as pure functions; each ask is several
//! calls.
//!
//! The contract is `firstlight-hb/1`; `docs/authorities.md` has its facts and their sources. A beat is a POST with
//! the latest heartbeat token in its body. The second service counts the device, by PUT and DELETE. `reply` reads the
//! replies.

mod calls;
mod reply;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

pub(super) use self::reply::ReplyClass;
use super::AuthoritySignals;
use super::client::AskContext;
use super::dialect::{Dialect, DialectSettings};
use super::exchange::AuthorityRequest;
use crate::config::{AuthorityKind, FieldNames, FirstLightSettings, HeaderPlaceholder, StreamConcurrency};
use crate::registrations::{AuthorizationBlock, LiveEvent, Registration};
use crate::secret::Secret;
use crate::session::{AskKind, AuthorityAsk, PlayerFacts, PlayingState, Policy, ProgramTimes, Schedule};
use crate::sessions::OpenFuture;
use crate::store::DialectName;

/// Bounds of every interval, from the authorization or the configuration.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// The characters that may stand in a path segment as they are.
const PLAIN_IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Position of a beat in its session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BeatPhase {
    Start,
    Stop,
    Update,
}

/// The playback that a call is for.
#[derive(Clone, Copy)]
pub(super) struct HeartbeatSubject<'a> {
    pub(super) block: &'a AuthorizationBlock,
    pub(super) registration: &'a Registration,
    pub(super) token: &'a Secret,
}

impl HeartbeatSubject<'_> {
    fn says(&self, place: &HeaderPlaceholder, uuid: &str) -> Option<String> {
        match place {
            HeaderPlaceholder::CatalogType => self.block.catalog_type.clone(),
            HeaderPlaceholder::ContentId => self.block.content_id.clone(),
            HeaderPlaceholder::DeviceId => Some(self.registration.device.clone()),
            HeaderPlaceholder::Header(name) => {
                let header = self.registration.headers.iter().find(|(known, _)| known == name);
                header.and_then(|(_, value)| value.to_str().ok()).map(str::to_owned)
            }
            HeaderPlaceholder::HeartbeatToken => Some(self.token.expose().to_owned()),
            HeaderPlaceholder::TrackingId => Some(uuid.to_owned()),
        }
    }
}

impl FirstLightSettings {
    /// The heartbeat call; `None` if a part of it cannot stand in a header.
    pub(super) fn beat(
        &self,
        who: HeartbeatSubject<'_>,
        phase: BeatPhase,
        told: PlayerFacts,
        sequence: u32,
        uuid: &str,
    ) -> Option<AuthorityRequest<'_>> {
        let body = self.beat_body(who, phase, told, sequence);
        let headers = self.headers_for(who, uuid)?;
        Some(AuthorityRequest { body, endpoint: &self.heartbeat, headers, method: Method::POST, path: None })
    }

    fn beat_body(
        &self,
        HeartbeatSubject { block, registration, token }: HeartbeatSubject<'_>,
        phase: BeatPhase,
        told: PlayerFacts,
        sequence: u32,
    ) -> Bytes {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| drop(body.insert(self.names.of(name).to_owned(), value));
        put("heartbeatToken", token.expose().into());
        put("deviceId", registration.device.as_str().into());
        put("contentId", json!(block.content_id));
        put("catalogType", json!(block.catalog_type));
        put("primaryContentId", json!(block.primary_content_id));
        put("multiStreamMode", self.multi_stream_mode.into());
        if self.track_viewers_count {
            put("trackViewersCount", true.into());
        }
        // Bookmarks are only for content that can be resumed.
        let bookmark = told.playhead.filter(|_| self.record_bookmark && block.live != Some(true));
        if let Some(playhead) = bookmark {
            put("offset", u64::try_from(playhead.as_millis()).unwrap_or(u64::MAX).into());
        }
        if self.send_state {
            put("event", phase.name().into());
            put("state", state(phase, told.playing).into());
            put("sequence", sequence.into());
        }
        Value::Object(body).to_string().into()
    }

    /// Takes or keeps the device's slot; `None` without a concurrency service.
    pub(super) fn put(&self, who: HeartbeatSubject<'_>, uuid: &str) -> Option<AuthorityRequest<'_>> {
        let HeartbeatSubject { block, token, .. } = who;
        let names = &self.names;
        let body = json!({
            names.of("contentId"): block.content_id,
            names.of("heartbeatToken"): token.expose(),
            names.of("multiStreamMode"): self.multi_stream_mode,
        });
        self.stream(who, Method::PUT, body.to_string().into(), uuid)
    }

    /// Gives the device's slot back; `None` without a concurrency service.
    pub(super) fn delete(&self, who: HeartbeatSubject<'_>, uuid: &str) -> Option<AuthorityRequest<'_>> {
        self.stream(who, Method::DELETE, Bytes::new(), uuid)
    }

    fn stream(
        &self,
        who: HeartbeatSubject<'_>,
        method: Method,
        body: Bytes,
        uuid: &str,
    ) -> Option<AuthorityRequest<'_>> {
        let StreamConcurrency { endpoint, path } = self.stream_concurrency.as_ref()?;
        let device = utf8_percent_encode(&who.registration.device, PLAIN_IN_SEGMENT).to_string();
        let path = Some(path.replace("{deviceId}", &device));
        Some(AuthorityRequest { body, endpoint, headers: self.headers_for(who, uuid)?, method, path })
    }

    fn headers_for(&self, who: HeartbeatSubject<'_>, uuid: &str) -> Option<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.extend(who.registration.headers.iter().cloned());
        for (name, template) in &self.headers {
            if let Some(value) = template.fill(|place| who.says(place, uuid)) {
                headers.insert(name.clone(), value);
            }
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(name) = &self.tracking_header {
            headers.insert(name.clone(), HeaderValue::from_str(uuid).ok()?);
        }
        Some(headers)
    }

    /// Interval between beats: the authorization's, else the configured one.
    pub(super) fn interval(&self, block: &AuthorizationBlock) -> Duration {
        bounded(block.interval.unwrap_or(self.interval))
    }
}

impl BeatPhase {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Stop => "STOP",
            Self::Update => "UPDATE",
        }
    }
}

/// The state to report. A playback without reports counts as playing.
fn state(phase: BeatPhase, playing: Option<PlayingState>) -> &'static str {
    match (phase, playing) {
        (_, Some(PlayingState::Done)) => "FINISHED",
        (_, Some(PlayingState::Fails)) => "ERROR",
        (BeatPhase::Stop, _) | (_, Some(PlayingState::Quit)) => "STOPPED",
        (BeatPhase::Start | BeatPhase::Update, Some(PlayingState::Paused)) => "PAUSED",
        (BeatPhase::Start | BeatPhase::Update, Some(PlayingState::Buffers)) => "BUFFERING",
        (BeatPhase::Start | BeatPhase::Update, Some(PlayingState::Seeks)) => "SEEKING",
        (BeatPhase::Start | BeatPhase::Update, Some(PlayingState::Plays | PlayingState::Unsaid) | None) => "PLAYING",
    }
}

fn bounded(interval: Duration) -> Duration {
    interval.clamp(MIN_INTERVAL, MAX_INTERVAL)
}

impl DialectSettings for FirstLightSettings {
    fn dialect(self: Box<Self>, _signals: &AuthoritySignals) -> Box<dyn Dialect> {
        self
    }
}

impl Dialect for FirstLightSettings {
    fn name(&self) -> DialectName {
        DialectName::FirstLight
    }

    fn renewed(&self, config: AuthorityKind, _signals: &AuthoritySignals) -> Option<Box<dyn Dialect>> {
        let AuthorityKind::FirstLight(config) = config else { return None };
        Some(config)
    }

    /// Our own names, because the vendor publishes none.
    fn error_name(&self) -> fn(AskKind) -> &'static str {
        |ask| match ask {
            AskKind::Beat => "heartbeat-error",
            AskKind::Close => "heartbeat-stop-error",
            AskKind::Open => "heartbeat-start-error",
            AskKind::Renew => "heartbeat-renew-error",
        }
    }

    fn perform<'a>(&'a self, context: AskContext<'a>, ask: &'a AuthorityAsk) -> OpenFuture<'a> {
        Box::pin(async move {
            let result = self.answer(context, ask).await;
            context.count(&result);
            (result, None)
        })
    }

    /// False: failures are counted per session, and every call is made.
    fn has_breaker(&self) -> bool {
        false
    }

    fn refine(&self, policy: Policy) -> Policy {
        Policy {
            beat_on_resume: true,
            beat_while_paused: self.beat_while_paused,
            counts_ended: true,
            max_failures: Some(self.max_failures),
            opens_beside: false,
            rotates_tokens: false,
            stop_on_blackout: self.stop_player_on_stream_timeline_event,
            stop_on_end: self.stop_player_on_stream_timeline_event && self.stop_on_playback_end,
            ..policy
        }
    }

    fn authorization(&self) -> (&FieldNames, &[HeaderName]) {
        (&self.names, &self.pass_headers)
    }

    /// `None` for a playback that is known to be on demand.
    fn schedule(&self, block: &AuthorizationBlock, now: Instant, wall: Duration) -> Option<Schedule> {
        if block.live == Some(false) {
            return None;
        }
        let times = ProgramTimes {
            end: block.live_end,
            overflow: block.live_event == LiveEvent::Overflow,
            post_slate: self.post_slate,
            start: block.live_start,
            view_end: block.live_360_end,
            view_start: block.live_360_start,
        };
        Some(Schedule::new(now.into(), wall, &times))
    }
}

#[cfg(test)]
mod tests;
