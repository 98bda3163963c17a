//! The authorization block: the statements of the app's authorization service about one playback.
//!
//! `docs/authorities.md` lists the fields. They stand at the top of the reply or in its `data`. They are read
//! liberally, because nesting and types are not published; a value that makes no sense counts as missing, except
//! where that would allow more.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::moments::moment;
use crate::config::{EndpointUrl, FieldNames};
use crate::secret::Secret;
use crate::session::{Blackout, BlackoutReason, Reason, StreamType};

/// Longest name.
const MAX_BLOCK_NAME_BYTES: usize = 256;
/// Longest URL. A slate's URL is remembered with its kill.
const MAX_BLOCK_URL_BYTES: usize = 8 * 1024;
/// Longest token.
const MAX_BLOCK_TOKEN_BYTES: usize = 8 * 1024;

/// Kinds of live events.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LiveEvent {
    /// The event may last longer than planned, and ends with its post slate.
    Overflow,
    Regular,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuthorizationBlock {
    /// Present for every `blackoutAction` other than `ALLOW`.
    pub blackout: Option<Blackout>,
    pub catalog_type: Option<String>,
    pub content_id: Option<String>,
    /// Live or not, if the block tells.
    pub live: Option<bool>,
    /// End of the 360-degree view. All times are since the epoch.
    pub live_360_end: Option<Duration>,
    pub live_360_start: Option<Duration>,
    /// End of the programme or event.
    pub live_end: Option<Duration>,
    pub live_event: LiveEvent,
    pub live_start: Option<Duration>,
    /// `heartbeatFreq`, if present.
    pub interval: Option<Duration>,
    /// The content that a secondary camera angle belongs to.
    pub primary_content_id: Option<String>,
    /// `heartbeatToken`; `None` also if `heartbeatFlag` is not true, because then there are no beats. Never written
    /// down: the grant has the newest.
    #[serde(skip)]
    pub token: Option<Secret>,
}

impl AuthorizationBlock {
    pub(super) fn heap_bytes(&self) -> usize {
        let names = [&self.catalog_type, &self.content_id, &self.primary_content_id];
        let names = names.into_iter().flatten().map(String::len).sum::<usize>();
        let slate = self.blackout.as_ref().and_then(|blackout| blackout.url.as_ref());
        let slate = slate.map_or(0, |url| url.host().len() + url.path_and_query().as_str().len());
        names + slate + self.token.as_ref().map_or(0, |token| token.expose().len())
    }

    /// The reason why nothing of it may be shown, if it is blacked out from the start.
    pub fn blackout_reason(&self) -> Option<BlackoutReason> {
        let blackout = self.blackout.as_ref()?;
        let reason = Reason::without_reply(&format!("blackoutAction {}", blackout.action));
        Some(BlackoutReason { blackout: blackout.clone().into(), reason })
    }

    /// The stream type for the core.
    pub fn stream(&self) -> Option<StreamType> {
        self.live.map(|live| if live { StreamType::Live } else { StreamType::Vod })
    }

    /// Reads a reply; `None` if it is no JSON object.
    pub fn read(reply: &Value, names: &FieldNames) -> Option<Self> {
        let fields = AuthorizationFields::of(reply, names)?;
        let flag = fields.get("heartbeatFlag").is_some_and(is_true);
        let token = fields.text("heartbeatToken", MAX_BLOCK_TOKEN_BYTES).filter(|_| flag).map(Secret::new);
        let overflow = fields
            .text("liveEventType", MAX_BLOCK_NAME_BYTES)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("overflow"));
        Some(Self {
            blackout: fields.blackout(),
            catalog_type: fields.text("catalogType", MAX_BLOCK_NAME_BYTES),
            content_id: fields.text("contentId", MAX_BLOCK_NAME_BYTES),
            interval: fields.interval(),
            live: fields.live(),
            live_360_end: fields.moment("live360EndTime"),
            live_360_start: fields.moment("live360StartTime"),
            live_end: fields.moment("liveEndTime"),
            live_event: if overflow { LiveEvent::Overflow } else { LiveEvent::Regular },
            live_start: fields.moment("liveStartTime"),
            primary_content_id: fields.text("primaryContentId", MAX_BLOCK_NAME_BYTES),
            token,
        })
    }
}

/// Fields of a reply by the contract's names, at its top or in its `data`.
pub struct AuthorizationFields<'a> {
    data: Option<&'a Value>,
    names: &'a FieldNames,
    top: &'a Value,
}

impl<'a> AuthorizationFields<'a> {
    /// `None` if the reply is no JSON object.
    pub fn of(reply: &'a Value, names: &'a FieldNames) -> Option<Self> {
        reply.is_object().then(|| Self { data: reply.get(names.of("data")), names, top: reply })
    }

    /// A field that exists and is not null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        let name = self.names.of(name);
        let places = [self.data.and_then(|data| data.get(name)), self.top.get(name)];
        places.into_iter().flatten().find(|value| !value.is_null())
    }

    /// A field as text; numbers are converted. Not empty, at most `longest` bytes, without control characters.
    pub fn text(&self, name: &str, longest: usize) -> Option<String> {
        let text = match self.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => return None,
        };
        let fits = !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control);
        fits.then_some(text)
    }

    pub fn moment(&self, name: &str) -> Option<Duration> {
        moment(self.get(name)?)
    }

    /// `heartbeatFreq` or, as one platform calls it, `heartbeatFrequencyMs`; in milliseconds.
    pub fn interval(&self) -> Option<Duration> {
        let value = self.get("heartbeatFreq").or_else(|| self.get("heartbeatFrequencyMs"))?;
        let milliseconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
        (1.0..1e12).contains(&milliseconds).then(|| Duration::from_secs_f64(milliseconds / 1000.0))
    }

    /// A missing field means `ALLOW`, an unknown value `DENY`.
    pub fn blackout(&self) -> Option<Blackout> {
        let action = match self.get("blackoutAction")? {
            Value::String(text) if text.eq_ignore_ascii_case("ALLOW") => return None,
            Value::String(text) if text.eq_ignore_ascii_case("ALLOW_WITH_UPGRADE") => "ALLOW_WITH_UPGRADE",
            _ => "DENY",
        };
        Some(Blackout { action: action.to_owned(), url: self.url("blackoutUrl") })
    }

    pub fn url(&self, name: &str) -> Option<EndpointUrl> {
        EndpointUrl::parse(self.get(name)?.as_str().filter(|url| url.len() <= MAX_BLOCK_URL_BYTES)?).ok()
    }

    /// `contentTypeId`, else the kind of the catalogue entry.
    fn live(&self) -> Option<bool> {
        match self.text("contentTypeId", MAX_BLOCK_NAME_BYTES).map(|kind| kind.to_ascii_lowercase()).as_deref() {
            Some("live") => return Some(true),
            Some("vod") => return Some(false),
            Some(_) | None => {}
        }
        match self.text("catalogType", MAX_BLOCK_NAME_BYTES)?.to_ascii_lowercase().as_str() {
            "channel" | "sportliveevent" => Some(true),
            "movie" | "tvepisode" | "webepisode" | "shortvideo" | "trailer" | "sporthighlight" | "sportclip" => {
                Some(false)
            }
            // Shows and events may be either.
            _ => None,
        }
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        Value::Array(_) | Value::Null | Value::Number(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(reply: &Value) -> AuthorizationBlock {
        AuthorizationBlock::read(reply, &FieldNames::default()).unwrap()
    }

    fn whole() -> Value {
        json!({
            "contentId": "c1", "heartbeatFlag": true, "heartbeatFreq": 60000, "heartbeatToken": "hbt-1",
            "liveStartTime": "2026-01-01T19:00:00Z", "liveEndTime": 1_767_301_200_000_u64,
            "liveEventType": "overflow", "catalogType": "sportliveevent", "contentTypeId": "live",
            "primaryContentId": "p1", "live360StartTime": 1_767_294_000, "live360EndTime": null,
            "blackoutAction": "ALLOW", "blackoutUrl": null,
        })
    }

    #[test]
    fn a_slate_whose_url_is_too_long_to_be_kept_is_none() {
        for (more, is_kept) in [(MAX_BLOCK_URL_BYTES - 100, true), (MAX_BLOCK_URL_BYTES, false)] {
            let url = format!("https://cdn.example/{}", "a".repeat(more));
            let blackout = read(&json!({ "blackoutAction": "DENY", "blackoutUrl": url })).blackout.unwrap();
            assert_eq!(blackout.url.is_some(), is_kept, "{more}");
        }
    }

    #[test]
    fn every_field_is_read_at_the_top_and_in_data() {
        let expected = AuthorizationBlock {
            blackout: None,
            catalog_type: Some("sportliveevent".into()),
            content_id: Some("c1".into()),
            interval: Some(Duration::from_secs(60)),
            live: Some(true),
            live_360_end: None,
            live_360_start: Some(Duration::from_secs(1_767_294_000)),
            live_end: Some(Duration::from_secs(1_767_301_200)),
            live_event: LiveEvent::Overflow,
            live_start: Some(Duration::from_secs(1_767_294_000)),
            primary_content_id: Some("p1".into()),
            token: Some(Secret::new("hbt-1")),
        };
        assert_eq!(read(&whole()), expected);
        assert_eq!(read(&json!({ "data": whole() })), expected);
        let mut split = whole();
        let token = split.as_object_mut().unwrap().remove("heartbeatToken").unwrap();
        split["data"] = json!({ "heartbeatToken": token });
        assert_eq!(read(&split), expected);
    }

    #[test]
    fn a_block_without_flag_or_token_has_no_beats() {
        for (flag, token, beats) in [
            (json!(true), json!("t"), true),
            (json!("true"), json!("t"), true),
            (json!(false), json!("t"), false),
            (json!(null), json!("t"), false),
            (json!(1), json!("t"), false),
            (json!(true), json!(null), false),
            (json!(true), json!(""), false),
            (json!(true), json!({}), false),
        ] {
            let block = read(&json!({ "heartbeatFlag": flag, "heartbeatToken": token }));
            assert_eq!(block.token.is_some(), beats, "{flag} {token}");
        }
    }

    #[test]
    fn a_missing_blackout_allows_and_an_unknown_one_denies() {
        for (action, expected) in [
            (json!(null), None),
            (json!("ALLOW"), None),
            (json!("allow"), None),
            (json!("DENY"), Some("DENY")),
            (json!("ALLOW_WITH_UPGRADE"), Some("ALLOW_WITH_UPGRADE")),
            (json!("LATER"), Some("DENY")),
            (json!(""), Some("DENY")),
            (json!(" ALLOW"), Some("DENY")),
            (json!(7), Some("DENY")),
            (json!(false), Some("DENY")),
        ] {
            let block = read(&json!({ "blackoutAction": action, "blackoutUrl": "https://cdn.example/slate.m3u8" }));
            assert_eq!(block.blackout.as_ref().map(|blackout| blackout.action.as_str()), expected, "{action}");
            assert!(block.blackout.is_none_or(|blackout| blackout.url.is_some()));
        }
    }

    #[test]
    fn the_kind_of_stream_follows_from_type_or_catalogue() {
        for (kind, catalogue, live) in [
            (json!("live"), json!("movie"), Some(true)),
            (json!("VOD"), json!("channel"), Some(false)),
            (json!("other"), json!("channel"), Some(true)),
            (json!(null), json!("tvepisode"), Some(false)),
            (json!(null), json!("sportevent"), None),
            (json!(null), json!(null), None),
        ] {
            assert_eq!(read(&json!({ "contentTypeId": kind, "catalogType": catalogue })).live, live);
        }
    }

    #[test]
    fn intervals_are_milliseconds() {
        for (value, interval) in [
            (json!(3000), Some(3.0)),
            (json!("45000"), Some(45.0)),
            (json!(0), None),
            (json!(-5), None),
            (json!(1e300), None),
            (json!("soon"), None),
        ] {
            let found = read(&json!({ "heartbeatFreq": value })).interval;
            assert_eq!(found, interval.map(Duration::from_secs_f64), "{value}");
        }
        assert_eq!(read(&json!({ "heartbeatFrequencyMs": 9000 })).interval, Some(Duration::from_secs(9)));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        let name = prop_oneof![
            Just("data".to_owned()),
            Just("heartbeatFlag".to_owned()),
            Just("heartbeatFreq".to_owned()),
            Just("blackoutAction".to_owned()),
            Just("liveEndTime".to_owned()),
            Just("catalogType".to_owned()),
            ".{0,8}",
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_authorization_is_survived(reply in any_json()) {
            let block = AuthorizationBlock::read(&reply, &FieldNames::default());
            prop_assert_eq!(block.is_some(), reply.is_object());
        }
    }
}
