//! The contract row by row: what goes out, and what every reply means.

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::authority::dialect::Dialect;
use crate::authority::testing::firstlight_settings;
use crate::config::{DeviceSource, EndpointUrl, FieldNames};
use crate::ids::PlaybackId;
use crate::session::FaultKind;
use crate::tests::cost;

fn dialect(lines: &str) -> FirstLightSettings {
    firstlight_settings(lines)
}

const STREAMS: &str = "stream-concurrency-url = \"https://sc.example/x/\"";

fn block(more: Value) -> AuthorizationBlock {
    let mut block = json!({
        "contentId": "c1", "heartbeatFlag": true, "heartbeatToken": "hbt-1", "catalogType": "movie",
    });
    block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    AuthorizationBlock::read(&block, &FieldNames::default()).unwrap()
}

fn registration(device: &str) -> Registration {
    Registration {
        authority: None,
        block: None,
        content_token: None,
        content_url: None,
        device: device.into(),
        headers: vec![(header::AUTHORIZATION, HeaderValue::from_static("Bearer access"))],
        id: PlaybackId::random(),
        license_url: None,
        route: "/authorize".into(),
        device_source: DeviceSource::Header,
    }
}

/// The body of a beat.
fn beat(lines: &str, more: Value, phase: BeatPhase, told: PlayerFacts) -> Value {
    let (dialect, block, registration, token) = (dialect(lines), block(more), registration("tv"), Secret::new("hbt-7"));
    let who = HeartbeatSubject { block: &block, registration: &registration, token: &token };
    let wire = dialect.beat(who, phase, told, 7, "uuid").unwrap();
    assert_eq!(
        (wire.endpoint.to_string().as_str(), wire.method),
        ("https://hb.example/base/media/heartbeat", Method::POST)
    );
    serde_json::from_slice(&wire.body).unwrap()
}

fn at(seconds: u64, playing: PlayingState) -> PlayerFacts {
    PlayerFacts { playhead: Some(Duration::from_secs(seconds)), playing: Some(playing) }
}

#[test]
fn a_beat_has_the_parity_fields_and_the_extension() {
    let live = json!({"catalogType": "sportliveevent", "contentTypeId": "live", "primaryContentId": "p"});
    let expected = json!({
        "heartbeatToken": "hbt-7", "deviceId": "tv", "contentId": "c1", "catalogType": "sportliveevent",
        "primaryContentId": "p", "multiStreamMode": false, "event": "UPDATE", "state": "PLAYING", "sequence": 7,
    });
    assert_eq!(beat("", live, BeatPhase::Update, PlayerFacts::default()), expected);
    let parity = json!({
        "heartbeatToken": "hbt-7", "deviceId": "tv", "contentId": "c1", "catalogType": "movie",
        "primaryContentId": null, "multiStreamMode": true, "trackViewersCount": true,
    });
    let lines = "send-state = false\nmulti-stream-mode = true\ntrack-viewers-count = true";
    assert_eq!(beat(lines, json!({}), BeatPhase::Update, PlayerFacts::default()), parity);
}

#[test]
fn an_offset_is_sent_for_bookmarks_of_what_is_not_live_alone() {
    let offset = |lines: &str, kind: &str| {
        beat(lines, json!({ "contentTypeId": kind }), BeatPhase::Update, at(12, PlayingState::Plays))
            .get("offset")
            .cloned()
    };
    assert_eq!(offset("record-bookmark = true", "vod"), Some(json!(12_000)));
    assert_eq!(offset("record-bookmark = true", "live"), None);
    assert_eq!(offset("", "vod"), None);
}

#[test]
fn states_and_events_are_named() {
    for (phase, playing, event, state) in [
        (BeatPhase::Start, None, "START", "PLAYING"),
        (BeatPhase::Update, Some(PlayingState::Paused), "UPDATE", "PAUSED"),
        (BeatPhase::Update, Some(PlayingState::Unsaid), "UPDATE", "PLAYING"),
        (BeatPhase::Update, Some(PlayingState::Done), "UPDATE", "FINISHED"),
        (BeatPhase::Update, Some(PlayingState::Buffers), "UPDATE", "BUFFERING"),
        (BeatPhase::Update, Some(PlayingState::Seeks), "UPDATE", "SEEKING"),
        (BeatPhase::Update, Some(PlayingState::Fails), "UPDATE", "ERROR"),
        (BeatPhase::Stop, Some(PlayingState::Seeks), "STOP", "STOPPED"),
        (BeatPhase::Stop, Some(PlayingState::Plays), "STOP", "STOPPED"),
        (BeatPhase::Stop, Some(PlayingState::Done), "STOP", "FINISHED"),
    ] {
        let body = beat("", json!({}), phase, PlayerFacts { playhead: None, playing });
        assert_eq!((&body["event"], &body["state"]), (&json!(event), &json!(state)), "{phase:?} {playing:?}");
    }
}

#[test]
fn fields_can_have_the_tenants_names() {
    let lines = "[authority.fields]\nheartbeatToken = \"token\"\nheartbeatAction = \"do\"";
    let body = beat(lines, json!({}), BeatPhase::Update, PlayerFacts::default());
    assert_eq!((&body["token"], body.get("heartbeatToken")), (&json!("hbt-7"), None));
    let said = dialect(lines).class_of(StatusCode::OK, br#"{"data":{"do":"ABORT"}}"#);
    assert!(matches!(said, ReplyClass::Ended(_)));
}

#[test]
fn the_devices_place_has_a_path_of_its_own() {
    let (block, registration, token) = (block(json!({})), registration("living room/1"), Secret::new("hbt-7"));
    let who = HeartbeatSubject { block: &block, registration: &registration, token: &token };
    let with = dialect(STREAMS);
    let (put, delete) = (with.put(who, "u").unwrap(), with.delete(who, "u").unwrap());
    assert_eq!((put.method, delete.method), (Method::PUT, Method::DELETE));
    assert_eq!(put.path.as_deref(), Some("/x/user/stream/living%20room%2F1"));
    let body: Value = serde_json::from_slice(&put.body).unwrap();
    assert_eq!(body, json!({"contentId": "c1", "heartbeatToken": "hbt-7", "multiStreamMode": false}));
    assert!(delete.body.is_empty());
    assert!(dialect("").put(who, "u").is_none() && dialect("").delete(who, "u").is_none());
}

#[test]
fn headers_are_the_callers_the_configured_and_a_tracking_id() {
    let (block, registration, token) = (block(json!({})), registration("tv"), Secret::new("t"));
    let who = HeartbeatSubject { block: &block, registration: &registration, token: &token };
    let dialect = dialect("[authority.headers]\nx-api-key = \"k\"");
    let headers = dialect.beat(who, BeatPhase::Start, PlayerFacts::default(), 1, "the-uuid").unwrap().headers;
    let of = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(of("authorization").as_deref(), Some("Bearer access"));
    assert_eq!(of("x-api-key").as_deref(), Some("k"));
    assert_eq!(of("x-tracking-id").as_deref(), Some("the-uuid"));
    assert_eq!(of("content-type").as_deref(), Some("application/json"));
    assert_eq!(of("x-device-id"), None, "a device id is copied and never made");
}

#[test]
fn headers_are_written_by_template() {
    let (block, registration, token) = (block(json!({})), registration("tv"), Secret::new("t"));
    let who = HeartbeatSubject { block: &block, registration: &registration, token: &token };
    let lines = "tracking-header = \"\"\n[authority.headers]\nx-content = \"{contentId};{catalogType}\"\n\
        authorization = \"{heartbeatToken}\"\nx-user = \"{header:authorization}\"\nx-no = \"{header:x-client-id}\"\n\
        x-device-id = \"{deviceId}\"\nx-call = \"{trackingId}\"";
    let headers = dialect(lines).beat(who, BeatPhase::Start, PlayerFacts::default(), 1, "the-uuid").unwrap().headers;
    let of = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    for (name, value) in [
        ("x-content", "c1;movie"),
        ("authorization", "t"),
        ("x-user", "Bearer access"),
        ("x-device-id", "tv"),
        ("x-call", "the-uuid"),
    ] {
        assert_eq!(of(name), [value], "{name}");
    }
    assert!(of("x-no").is_empty() && of("x-tracking-id").is_empty());
}

#[test]
fn intervals_are_within_the_contracts_bounds() {
    let interval = |more| dialect("sync-interval = \"45s\"").interval(&block(more)).as_secs();
    assert_eq!(interval(json!({})), 45);
    assert_eq!(interval(json!({"heartbeatFreq": 3000})), 3);
    assert_eq!(interval(json!({"heartbeatFreq": 10})), 1);
    assert_eq!(interval(json!({"heartbeatFreq": 86_400_000})), 3600);
    assert_eq!(dialect("").interval(&block(json!({}))).as_secs(), 60);
}

/// As the table of results calls its classes.
fn word(class: &ReplyClass) -> &'static str {
    match class {
        ReplyClass::Auth(_) => "AUTH",
        ReplyClass::Blackout(_) => "BLACKOUT",
        ReplyClass::Concurrency(_) => "CONCURRENCY",
        ReplyClass::Denied(_) => "DENIED",
        ReplyClass::Ended(_) => "ENDED",
        ReplyClass::Unknown(_) => "UNKNOWN",
        ReplyClass::Good(_) => "ok",
        ReplyClass::Infrastructure(AuthorityFault { kind: FaultKind::Refused, .. }) => "INFRA",
        ReplyClass::Infrastructure(AuthorityFault { kind: FaultKind::Malformed, .. }) => "malformed",
        ReplyClass::Infrastructure(_) => "another fault",
        ReplyClass::Stop => "STOP",
    }
}

use crate::session::AuthorityFault;

const LIMIT: &str = r#"{"header":{"code":-1,"errors":[{"code":"HB-CONCURRENCY","description":"too many"}]}}"#;
const OTHER: &str = r#"{"header":{"code":-1,"message":"Failure","errors":[{"code":"HB-OTHER"}]}}"#;
const ABORT: &str = r#"{"header":{"code":0},"data":{"heartbeatAction":"ABORT"}}"#;
const BLACKOUT: &str = r#"{"data":{"heartbeatAction":"BLACKOUT","blackoutUrl":"https://cdn/slate"}}"#;
const CONTINUE: &str = r#"{"header":{"code":0},"data":{"heartbeatAction":"continue"}}"#;
const DENY: &str = r#"{"header":{"code":-1},"data":{"heartbeatAction":"ABORT","blackoutAction":"DENY"}}"#;
const STOP: &str = r#"{"data":{"heartbeatAction":"STOP"}}"#;

/// The table of results: one row each, the first that fits wins.
const TABLE: &[(u16, &str, &str)] = &[
    (200, LIMIT, "CONCURRENCY"),
    (403, LIMIT, "CONCURRENCY"),
    (409, LIMIT, "CONCURRENCY"),
    (429, LIMIT, "CONCURRENCY"),
    (409, "", "CONCURRENCY"),
    (409, "no json", "CONCURRENCY"),
    (500, LIMIT, "INFRA"),
    (451, "", "BLACKOUT"),
    (403, DENY, "BLACKOUT"),
    (200, DENY, "BLACKOUT"),
    (200, r#"{"blackoutAction":"SOMETHING"}"#, "BLACKOUT"),
    (200, BLACKOUT, "BLACKOUT"),
    (500, BLACKOUT, "INFRA"),
    (200, ABORT, "ENDED"),
    (200, r#"{"heartbeatAction":"EXPLODE"}"#, "ENDED"),
    (200, r#"{"heartbeatAction":7}"#, "ENDED"),
    (404, "", "UNKNOWN"),
    (410, OTHER, "UNKNOWN"),
    (200, STOP, "STOP"),
    (200, OTHER, "INFRA"),
    (200, r#"{"header":{"code":5}}"#, "INFRA"),
    (200, r#"{"header":{"code":"odd"}}"#, "INFRA"),
    (200, CONTINUE, "ok"),
    (200, r#"{"header":{"code":0}}"#, "ok"),
    (200, r#"{"header":{"code":null}}"#, "ok"),
    (200, r#"{"data":null}"#, "ok"),
    (200, "", "ok"),
    (201, "", "ok"),
    (204, "", "ok"),
    (401, "", "AUTH"),
    (401, OTHER, "AUTH"),
    (403, "", "DENIED"),
    (403, OTHER, "DENIED"),
    (400, "", "malformed"),
    (408, "", "INFRA"),
    (429, "", "INFRA"),
    (500, ABORT, "INFRA"),
    (500, STOP, "INFRA"),
    (503, "", "INFRA"),
    (200, "no json", "malformed"),
    (200, "[]", "malformed"),
    (200, "<html>Please log in</html>", "malformed"),
    (200, r#"{"portal":{"heartbeatToken":"t"}}"#, "malformed"),
    (204, "null", "malformed"),
    (200, "{}", "ok"),
    (200, "\"text\"", "malformed"),
    // What stands in no row is a fault, and never a kill.
    (302, "", "malformed"),
    (402, "", "malformed"),
    (405, ABORT, "malformed"),
    (405, STOP, "malformed"),
    (418, OTHER, "malformed"),
];

#[test]
fn every_row_of_the_results_has_its_meaning() {
    let dialect = dialect("");
    for (status, body, expected) in TABLE {
        let class = dialect.class_of(StatusCode::from_u16(*status).unwrap(), body.as_bytes());
        assert_eq!(word(&class), *expected, "{status} {body}");
    }
}

#[test]
fn actions_and_codes_are_the_configured_ones() {
    let dialect = dialect(
        "continue-actions = [\"GO\", \"CONTINUE\"]\nstop-actions = [\"REST\"]\nblackout-actions = [\"DARK\"]\n\
         concurrency-error-codes = [\"LIMIT-*\", \"regex:E[0-9]+|TOO_MANY\"]",
    );
    for (body, expected) in [
        (r#"{"heartbeatAction":"go"}"#, "ok"),
        (r#"{"heartbeatAction":"rest"}"#, "STOP"),
        (r#"{"heartbeatAction":"dark"}"#, "BLACKOUT"),
        (STOP, "ENDED"),
        (r#"{"header":{"code":1,"errors":[{"code":"X"},{"code":"LIMIT-9"}]}}"#, "CONCURRENCY"),
        (r#"{"header":{"code":1,"errors":[{"code":"E42"}]}}"#, "CONCURRENCY"),
        (r#"{"header":{"code":1,"errors":[{"code":"XE42"},{"code":"E42X"},{"code":"TOO_MANY_"}]}}"#, "INFRA"),
        (LIMIT, "INFRA"),
    ] {
        assert_eq!(word(&dialect.class_of(StatusCode::OK, body.as_bytes())), expected, "{body}");
    }
}

#[test]
fn a_good_beat_brings_news() {
    let body = r#"{"data":{"heartbeatFreq":5000,"heartbeatToken":"hbt-next","liveEndTime":"2026-01-01T21:00:00Z"}}"#;
    let ReplyClass::Good(news) = dialect("").class_of(StatusCode::OK, body.as_bytes()) else { panic!("a good one") };
    assert_eq!((news.interval, &news.token), (Some(Duration::from_secs(5)), &Some(Secret::new("hbt-next"))));
    let before = block(json!({"liveStartTime": "2026-01-01T19:00:00Z", "liveEndTime": "2026-01-01T20:00:00Z"}));
    let after = news.moved(&before).unwrap();
    assert_eq!(
        (after.live_start, after.live_end),
        (before.live_start, before.live_end.map(|end| end + Duration::from_secs(3600)))
    );
    assert_eq!(news.moved(&after), None, "told again");
}

#[test]
fn timeline_events_move_the_programme() {
    let body = r#"{"data":{"streamTimelineEvents":[7,{"type":"BLACKOUT","time":1},{"type":"live_event_end","time":9000},
        {"type":"LIVE_EVENT_START"}]}}"#;
    let ReplyClass::Good(news) = dialect("").class_of(StatusCode::OK, body.as_bytes()) else { panic!("a good one") };
    let after = news.moved(&block(json!({}))).unwrap();
    let times = [after.live_start, after.live_end].map(|time| time.map(|time| time.as_secs()));
    assert_eq!(times, [None, Some(9000)]);
}

#[test]
fn reasons_say_what_the_service_said() {
    let read = |status, body: &str| match dialect("").class_of(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
        ReplyClass::Concurrency(reason)
        | ReplyClass::Denied(reason)
        | ReplyClass::Ended(reason)
        | ReplyClass::Unknown(reason) => reason,
        other => panic!("{other:?}"),
    };
    let limit = read(409, LIMIT);
    assert_eq!((limit.code, limit.error_code, &*limit.message), (Some(409), Some(-1), "HB-CONCURRENCY too many"));
    assert_eq!(&*read(404, "").message, "Not Found");
    assert_eq!(&*read(200, ABORT).message, "ABORT");
    let ReplyClass::Blackout(dark) = dialect("").class_of(StatusCode::OK, BLACKOUT.as_bytes()) else { panic!("dark") };
    let blackout = &dark.blackout;
    assert_eq!((blackout.action.as_str(), &blackout.url), ("DENY", &EndpointUrl::parse("https://cdn/slate").ok()));
}

#[test]
fn only_playbacks_that_may_be_live_have_a_programme() {
    let (now, wall) = (crate::clock::Clock.now(), Duration::from_secs(1_000));
    let schedule =
        |kind: &str| dialect("").schedule(&block(json!({ "contentTypeId": kind, "catalogType": null })), now, wall);
    assert!(schedule("vod").is_none() && schedule("live").is_some() && schedule("unknown").is_some());
}

proptest! {
    #[test]
    fn any_reply_is_survived(status in 100_u16..1000, body in ".{0,60}|\\{\"(data|header|heartbeatAction|blackoutAction)\":.{0,30}\\}") {
        let status = StatusCode::from_u16(status).unwrap();
        let class = dialect("").class_of(status, body.as_bytes());
        let kills = matches!(class, ReplyClass::Concurrency(_) | ReplyClass::Denied(_) | ReplyClass::Ended(_));
        prop_assert!(!kills || status.is_success() || [403, 409].contains(&status.as_u16()));
    }

    #[test]
    fn any_device_makes_one_path_segment(device in ".{0,40}") {
        let (block, registration, token) = (block(json!({})), registration(&device), Secret::new("t"));
        let who = HeartbeatSubject { block: &block, registration: &registration, token: &token };
        let path = dialect(STREAMS).put(who, "u").unwrap().path.unwrap();
        prop_assert!(path.parse::<http::uri::PathAndQuery>().is_ok());
        prop_assert_eq!(path.matches('/').count(), 4);
    }
}

/// A reply of the service may be so large.
#[test]
fn a_reply_costs_no_more_than_its_size() {
    const REPLY_BYTES: usize = 64 * 1024;
    for (name, head, part, tail) in [
        ("fields", "{\"a\":0", ",\"a\":0", "}"),
        ("fields of the contract", "{\"data\":{\"a\":0", ",\"heartbeatToken\":\"t\"", "}}"),
        ("a token", "{\"data\":{\"heartbeatToken\":\"", "a", "\"}}"),
        ("events", "{\"data\":{\"streamTimelineEvents\":[{}", ",{\"type\":\"end\",\"time\":1}", "]}}"),
        ("lists", "{\"a\":[0", ",[]", "]}"),
        ("depth", "", "{\"a\":", ""),
        ("escapes", "{\"message\":\"", "\\u0041", "\"}"),
        ("a page", "<html>", "<br>", ""),
        ("spaces", "", " ", ""),
        ("zeros", "{\"a\":1", "0", "}"),
    ] {
        let dialect = dialect(STREAMS);
        let make = |size| cost::filled(head, |_| part.to_owned(), tail, size);
        for status in [200, 403, 409, 451, 500] {
            let read = |body: &[u8]| {
                let _class = dialect.class_of(StatusCode::from_u16(status).unwrap(), body);
                0
            };
            // However small an object is, it takes a node of a tree.
            let allowance = cost::Allowance { fixed: 8 * REPLY_BYTES as u64, ..cost::SHORT };
            cost::assert_linear(name, REPLY_BYTES, allowance, make, read);
        }
    }
}
