//! FirstLight's services: authorization, heartbeat with bookmarks and viewers, stream concurrency.
//!
//! Implements the contract `firstlight-hb/1` (`docs/authorities.md`) from the far side. The ledger counts a user's
//! devices, or players if the multi-stream mode wants that. Blackouts, lengths of programmes and answers to beats are
//! settings and faults.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::answer::ServiceAnswer;
use super::call::HeadendCall;
use super::endpoint::HeadendEndpoint;
use super::settings::LightSettings;
use super::state::{CallMoment, HeadendState};
use sidebeat_core::ledger::{LedgerClaim, LimitReached, SlotLimits, SlotLoss, SlotNumber};
use sidebeat_system::random::{random_u64, uuid};

/// Known tokens. Beyond that, all are forgotten.
const MAX_PLAYS: usize = 100_000;
/// License servers by the name that an authorize call gives to the DRM system.
const LICENSES: [(&str, HeadendEndpoint); 4] = [
    ("clearkey", HeadendEndpoint::ClearKey),
    ("fairplay", HeadendEndpoint::FairPlay),
    ("playready", HeadendEndpoint::PlayReady),
    ("widevine", HeadendEndpoint::Widevine),
];
/// Beats in the session list.
const MAX_BEATS_SHOWN: usize = 200;

#[derive(Default)]
pub(super) struct FirstLightState {
    beats: VecDeque<Value>,
    /// Positions in milliseconds by `user content`.
    bookmarks: BTreeMap<String, u64>,
    /// Slots by their holder: a user's device, or a player.
    places: HashMap<String, SlotNumber>,
    /// Slots that the stream concurrency service took. It gives them back, not the last beat.
    streams: HashSet<String>,
    /// Playbacks by heartbeat token.
    plays: HashMap<String, FirstLightPlay>,
}

#[derive(Clone)]
struct FirstLightPlay {
    content: String,
    device: String,
    issued: u64,
    user: String,
}

/// Device and content of the caller, for the log and the fault script.
pub(super) fn caller(state: &HeadendState, call: &HeadendCall) -> (Option<String>, Option<String>) {
    let body = json_of(call);
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let play = text("heartbeatToken").and_then(|token| state.light.plays.get(&token));
    let device = call.below.clone().or_else(|| text("deviceId"));
    (device, text("contentId").or_else(|| play.map(|play| play.content.clone())))
}

/// The user: the text of the app's token.
pub(super) fn user(parts: &Parts) -> String {
    let header = parts.headers.get("x-authorization").and_then(|value| value.to_str().ok());
    header.filter(|user| !user.is_empty()).unwrap_or("user-1").to_owned()
}

pub(super) fn authorize(state: &mut HeadendState, at: CallMoment, call: &HeadendCall) -> ServiceAnswer {
    let body = json_of(call);
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (content, device, kind) = (text("contentId"), text("deviceId"), text("contentTypeId"));
    if content.is_empty() || device.is_empty() {
        return failure(StatusCode::BAD_REQUEST, "AUTH-FORMAT", "contentId and deviceId are needed");
    }
    let settings = state.settings.firstlight.clone();
    let dark = settings.blackout.contains(&content);
    let token = format!("hbt-{:016x}{:016x}", random_u64(), random_u64());
    if state.light.plays.len() >= MAX_PLAYS {
        let (light, ledger) = (&mut state.light, &state.ledger);
        light.plays.clear();
        light.places.retain(|_, slot| ledger.row(*slot).is_some());
        light.streams.retain(|place| light.places.contains_key(place));
    }
    let play = FirstLightPlay { content: content.clone(), device, issued: at.wall, user: call.user.clone() };
    state.light.plays.insert(token.clone(), play);
    let later = |seconds: Option<i64>| seconds.map(|seconds| at.wall.saturating_add_signed(seconds));
    let own = |path: &str| format!("http://{}{path}", call.host);
    let drm = text("drm").to_ascii_lowercase();
    let drm = if LICENSES.iter().any(|(name, _)| *name == drm) { drm.as_str() } else { "widevine" };
    let license = own(&format!("{}/license/{drm}", call.services.as_deref().unwrap_or_default()));
    // Every content is the channel.
    let channel = if kind == "live" { "live" } else { "vod" };
    let format = if text("format") == "hls" { "m3u8" } else { "mpd" };
    success(&json!({
        "contentId": content,
        "contentUrl": settings.content_url.clone().unwrap_or_else(|| own(&format!("/{channel}/main.{format}"))),
        "licenseUrl": settings.license_url.clone().unwrap_or(license),
        "heartbeatFlag": settings.flag && !dark,
        "heartbeatFreq": settings.frequency_ms,
        "heartbeatToken": token,
        "liveStartTime": later(settings.live_start),
        "liveEndTime": later(settings.live_end),
        "liveEventType": if settings.overflow { "overflow" } else { "regular" },
        "contentTypeId": if kind.is_empty() { "vod".to_owned() } else { kind },
        "catalogType": body.get("catalogType"),
        "blackoutAction": if dark { "DENY" } else { "ALLOW" },
        "blackoutUrl": settings.blackout_url,
    }))
}

pub(super) fn heartbeat(state: &mut HeadendState, at: CallMoment, call: &HeadendCall) -> ServiceAnswer {
    let body = json_of(call);
    let token = body.get("heartbeatToken").and_then(Value::as_str).unwrap_or_default().to_owned();
    let settings = state.settings.firstlight.clone();
    let Some(play) = state.light.plays.get(&token).cloned() else {
        return failure(StatusCode::NOT_FOUND, "HB-TOKEN", "unknown token");
    };
    if settings.token_life.is_some_and(|life| at.wall.saturating_sub(play.issued) > life) {
        return failure(StatusCode::GONE, "HB-TOKEN", "the token has ended");
    }
    state.light.note(at, &play, &body);
    if settings.blackout.contains(&play.content) {
        let data =
            json!({"heartbeatAction": "BLACKOUT", "blackoutAction": "DENY", "blackoutUrl": settings.blackout_url});
        return success(&data);
    }
    let stops = body.get("event").and_then(Value::as_str) == Some("STOP");
    let multi = body.get("multiStreamMode") == Some(&Value::Bool(true));
    let place = place(&play, multi.then_some(token.as_str()));
    if stops {
        if !state.light.streams.contains(&place) {
            state.leave_place(&place);
        }
        state.light.plays.remove(&token);
        return success(&json!({"heartbeatAction": "CONTINUE"}));
    }
    let slot = match state.take_place(at, &play, &place) {
        Ok(slot) => slot,
        Err(refused) => return refused,
    };
    let next = settings.rotate.then(|| format!("hbt-{:016x}", random_u64()));
    if let Some(next) = &next
        && let Some(play) = state.light.plays.remove(&token)
    {
        if let Some(slot) = state.light.places.remove(&place) {
            let moved = self::place(&play, multi.then_some(next.as_str()));
            state.light.places.insert(moved, slot);
        }
        state.light.plays.insert(next.clone(), play);
    }
    let counted = body.get("trackViewersCount") == Some(&Value::Bool(true));
    let data = json!({
        "heartbeatAction": settings.action, "heartbeatFreq": settings.frequency_ms, "heartbeatToken": next,
        "viewersCount": counted.then_some(settings.viewers),
        "liveEndTime": settings.live_end_moved.map(|seconds| at.wall.saturating_add_signed(seconds)),
    });
    ServiceAnswer { session: Some(slot), ..success(&data) }
}

pub(super) fn put_stream(state: &mut HeadendState, at: CallMoment, call: &HeadendCall) -> ServiceAnswer {
    let body = json_of(call);
    let token = body.get("heartbeatToken").and_then(Value::as_str).unwrap_or_default();
    let Some(play) = state.light.plays.get(token).cloned() else {
        return failure(StatusCode::NOT_FOUND, "SC-TOKEN", "unknown token");
    };
    let multi = body.get("multiStreamMode") == Some(&Value::Bool(true));
    let place = place(&play, multi.then_some(token));
    match state.take_place(at, &play, &place) {
        Ok(slot) => {
            state.light.streams.insert(place);
            ServiceAnswer { session: Some(slot), ..ServiceAnswer::empty(StatusCode::NO_CONTENT) }
        }
        Err(refused) => refused,
    }
}

pub(super) fn delete_stream(state: &mut HeadendState, call: &HeadendCall) -> ServiceAnswer {
    let play = FirstLightPlay {
        content: String::new(),
        device: call.below.clone().unwrap_or_default(),
        issued: 0,
        user: call.user.clone(),
    };
    let gone = if state.leave_place(&place(&play, None)) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND };
    ServiceAnswer::empty(gone)
}

/// The name under which a slot is counted.
fn place(play: &FirstLightPlay, player: Option<&str>) -> String {
    player.map_or_else(|| format!("{} {}", play.user, play.device), str::to_owned)
}

impl HeadendState {
    /// Confirms the slot, or takes one if the user's limit allows.
    fn take_place(&mut self, at: CallMoment, play: &FirstLightPlay, place: &str) -> Result<SlotNumber, ServiceAnswer> {
        if let Some(slot) = self.light.places.get(place).copied() {
            if self.ledger.beat(at.now, slot).is_ok() {
                return Ok(slot);
            }
            self.light.places.remove(place);
            if matches!(self.ledger.lost(slot), Some(SlotLoss::Killed(_))) {
                return Err(failure(StatusCode::GONE, "HB-KILLED", "ended by the operator"));
            }
        }
        let FirstLightPlay { content, device, user, .. } = play;
        let claim = LedgerClaim { account: user, content, content_group: None, device, device_group: None };
        let settings = &self.settings.firstlight;
        let limits = SlotLimits {
            grace: self.settings.grace(),
            interval: std::time::Duration::from_millis(settings.frequency_ms.unwrap_or(60_000)),
            on_limit: self.settings.on_limit,
            per_account: settings.limit,
            per_content_group: None,
            per_device: None,
            per_device_group: None,
        };
        let (slot, _ended) = self
            .ledger
            .open(at.now, &claim, &limits)
            .map_err(|limit: LimitReached| failure(StatusCode::FORBIDDEN, "HB-CONCURRENCY", &limit.to_string()))?;
        self.counters.opened += 1;
        self.counters.peak = self.counters.peak.max(self.ledger.len() as u64);
        self.light.places.insert(place.to_owned(), slot);
        Ok(slot)
    }

    fn leave_place(&mut self, place: &str) -> bool {
        self.light.streams.remove(place);
        self.light.places.remove(place).is_some_and(|slot| self.ledger.close(slot))
    }
}

impl FirstLightState {
    fn note(&mut self, at: CallMoment, play: &FirstLightPlay, body: &Value) {
        if let Some(offset) = body.get("offset").and_then(Value::as_u64) {
            self.bookmarks.insert(format!("{} {}", play.user, play.content), offset);
        }
        let field = |name: &str| body.get(name).cloned().unwrap_or_default();
        if self.beats.len() == MAX_BEATS_SHOWN {
            self.beats.pop_front();
        }
        self.beats.push_back(json!({
            "at": at.wall_ms, "content": play.content, "device": play.device, "event": field("event"), "offset": field("offset"),
            "sequence": field("sequence"), "state": field("state"),
        }));
    }

    /// Last beats and bookmarks for the session list, without tokens.
    pub(super) fn show(&self, settings: &LightSettings) -> Value {
        json!({"beats": self.beats, "bookmarks": self.bookmarks, "viewers": settings.viewers})
    }
}

fn json_of(call: &HeadendCall) -> Value {
    serde_json::from_slice::<Value>(&call.body).ok().filter(Value::is_object).unwrap_or(Value::Object(Map::new()))
}

fn success(data: &Value) -> ServiceAnswer {
    let header = json!({"source": "hb-01", "code": 0, "message": "Success", "tracking_id": uuid()});
    ServiceAnswer::json(&json!({ "header": header, "data": data }))
}

fn failure(status: StatusCode, code: &str, description: &str) -> ServiceAnswer {
    let errors = json!([{"code": code, "description": description}]);
    let header = json!({"source": "hb-01", "code": -1, "message": "Failure", "errors": errors});
    ServiceAnswer { code: Some(-1), status, ..ServiceAnswer::json(&json!({ "header": header })) }
}

/// The service of a path below the tenant's `fl/`, and the device that the path names.
pub(super) fn endpoint<'a>(method: &http::Method, path: &'a str) -> Option<(HeadendEndpoint, Option<&'a str>)> {
    let endpoint = match (method.as_str(), path) {
        ("GET" | "POST", "media/content/authorize") => HeadendEndpoint::Authorize,
        ("POST", "media/heartbeat") => HeadendEndpoint::LightBeat,
        ("PUT", _) => return Some((HeadendEndpoint::StreamPut, Some(path.strip_prefix("user/stream/")?))),
        ("DELETE", _) => return Some((HeadendEndpoint::StreamDelete, Some(path.strip_prefix("user/stream/")?))),
        ("POST", _) => {
            let drm = path.strip_prefix("license/")?;
            LICENSES.iter().find(|(name, _)| *name == drm)?.1
        }
        (_, _) => return None,
    };
    Some((endpoint, None))
}
