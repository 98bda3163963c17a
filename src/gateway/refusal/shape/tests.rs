//! The shapes as tables: who gets which, and that players can read them.

use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::drm::MessageKind;
use crate::ids::Incident;
use RefusalShape::{Http, RejectClearKey, RejectWidevine, Soap200, Soap500};

const PHASES: [LicensePhase; 3] = [LicensePhase::Certificate, LicensePhase::License, LicensePhase::Renewal];

fn turned(killed: bool) -> RefusalBody {
    RefusalBody {
        code: 404,
        comes_again: None,
        detail: "The head-end ended this session.",
        error: "session_killed".to_owned(),
        error_code: Some(3002),
        event: Some("ssmrenewalerror"),
        help: None,
        killed,
        message: "Not Found".to_owned(),
        taken_by: None,
    }
}

fn profiles(first: RefusalProfile, renewal: RefusalProfile) -> RefusalSettings {
    let both = RefusalProfiles { first, renewal };
    RefusalSettings { clearkey: both, fairplay: both, playready: both, widevine: both }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// The headers of one player per family.
fn families() -> [(PlayerFamily, HeaderMap); 4] {
    [
        (PlayerFamily::Browser, headers(&[("origin", "https://tv.example"), ("content-type", "application/json")])),
        (PlayerFamily::Kodi, headers(&[("user-agent", "Kodi/21.0 (X11; Linux x86_64)")])),
        (PlayerFamily::Native, headers(&[("content-type", "application/octet-stream"), ("user-agent", "ExoPlayer")])),
        (PlayerFamily::VideoJs, headers(&[("origin", "null"), ("content-type", "application/octet-stream")])),
    ]
}

fn choose(
    refusal: &RefusalSettings,
    system: DrmSystem,
    phase: LicensePhase,
    killed: bool,
    headers: &HeaderMap,
) -> RefusalShape {
    let message = DrmMessage::new(system, MessageKind::LicenseRequest);
    RefusalShape::choose(refusal, Some(&message), phase, &turned(killed), headers)
}

/// Where a body has room for words.
#[test]
fn a_refusal_names_the_device_that_took_the_session() {
    let taken = RefusalBody { taken_by: Some("Kitchen & bath".into()), ..turned(true) };
    for turned in [&taken, &turned(true)] {
        let problem = body::problem(turned, LicensePhase::License, StatusCode::FORBIDDEN, Incident::random());
        let said: Value = serde_json::from_str(&problem).unwrap();
        assert_eq!(said["takenBy"].as_str(), turned.taken_by.as_deref());
    }
}

#[test]
fn families_tell_themselves() {
    for (family, headers) in families() {
        assert_eq!(super::family(&headers), family);
    }
    let rows = [
        (headers(&[]), PlayerFamily::Native),
        (headers(&[("origin", "https://tv.example")]), PlayerFamily::Browser),
        (
            headers(&[("origin", "https://tv.example"), ("content-type", "text/xml; charset=utf-8")]),
            PlayerFamily::Browser,
        ),
        (headers(&[("origin", "https://tv.example"), ("user-agent", "Kodi/20")]), PlayerFamily::Kodi),
    ];
    for (headers, family) in rows {
        assert_eq!(super::family(&headers), family, "{headers:?}");
    }
}

/// Per family (browser, Kodi, native, video.js): at first, and again after a kill or at a renewal.
#[test]
fn every_player_gets_by_default_a_shape_that_it_shows() {
    let auto = profiles(RefusalProfile::Auto, RefusalProfile::Auto);
    let rows: [(DrmSystem, LicensePhase, bool, [RefusalShape; 4]); 19] = [
        (DrmSystem::ClearKey, LicensePhase::License, false, [Http, Http, Http, Http]),
        (DrmSystem::ClearKey, LicensePhase::License, true, [Http, Http, Http, RejectClearKey]),
        (DrmSystem::ClearKey, LicensePhase::Renewal, false, [Http, Http, Http, RejectClearKey]),
        (DrmSystem::FairPlay, LicensePhase::License, false, [Http, Http, Http, Http]),
        (DrmSystem::FairPlay, LicensePhase::License, true, [Http, Http, Http, Http]),
        (DrmSystem::FairPlay, LicensePhase::Renewal, false, [Http, Http, Http, Http]),
        (DrmSystem::FairPlay, LicensePhase::Renewal, true, [Http, Http, Http, Http]),
        (DrmSystem::PlayReady, LicensePhase::License, false, [Soap200, Soap500, Soap500, Soap200]),
        (DrmSystem::PlayReady, LicensePhase::License, true, [Soap200, Soap200, Soap500, Soap200]),
        (DrmSystem::PlayReady, LicensePhase::Renewal, false, [Soap200, Soap200, Soap500, Soap200]),
        (DrmSystem::PlayReady, LicensePhase::Renewal, true, [Soap200, Soap200, Soap500, Soap200]),
        // The certificate is the one message of video.js whose status it shows.
        (DrmSystem::Widevine, LicensePhase::Certificate, false, [Http, Http, Http, Http]),
        (DrmSystem::Widevine, LicensePhase::Certificate, true, [Http, Http, Http, Http]),
        (DrmSystem::Widevine, LicensePhase::License, false, [Http, Http, Http, RejectWidevine]),
        // Widevine shows its renewals, so that a license is a first one even after a kill.
        (DrmSystem::Widevine, LicensePhase::License, true, [Http, Http, Http, RejectWidevine]),
        (DrmSystem::Widevine, LicensePhase::Renewal, false, [Http, RejectWidevine, Http, RejectWidevine]),
        (DrmSystem::Widevine, LicensePhase::Renewal, true, [Http, RejectWidevine, Http, RejectWidevine]),
        (DrmSystem::ClearKey, LicensePhase::Renewal, true, [Http, Http, Http, RejectClearKey]),
        (DrmSystem::ClearKey, LicensePhase::Certificate, false, [Http, Http, Http, Http]),
    ];
    for (system, phase, killed, expected) in rows {
        let shapes = families().map(|(_, headers)| choose(&auto, system, phase, killed, &headers));
        assert_eq!(shapes, expected, "{system} {phase:?} killed {killed}");
    }
}

#[test]
fn a_profile_that_is_set_is_kept_for_everybody() {
    let rows: [(RefusalProfile, [(DrmSystem, RefusalShape); 4]); 3] = [
        (
            RefusalProfile::Http,
            [
                (DrmSystem::ClearKey, Http),
                (DrmSystem::FairPlay, Http),
                (DrmSystem::PlayReady, Http),
                (DrmSystem::Widevine, Http),
            ],
        ),
        (
            RefusalProfile::Reject,
            [
                (DrmSystem::ClearKey, RejectClearKey),
                // It has no refusal in band.
                (DrmSystem::FairPlay, Http),
                (DrmSystem::PlayReady, Soap200),
                (DrmSystem::Widevine, RejectWidevine),
            ],
        ),
        (RefusalProfile::Soap500, [(DrmSystem::PlayReady, Soap500); 4]),
    ];
    for (profile, systems) in rows {
        for ((system, shape), phase) in systems.into_iter().flat_map(|row| PHASES.map(|phase| (row, phase))) {
            for (family, headers) in families() {
                let chosen = choose(&profiles(profile, profile), system, phase, false, &headers);
                assert_eq!(chosen, shape, "{profile:?} {system} {phase:?} {family:?}");
            }
        }
    }
}

#[test]
fn renewals_have_their_own_profile_and_so_has_what_follows_a_kill() {
    let split = profiles(RefusalProfile::Http, RefusalProfile::Reject);
    let none = HeaderMap::new();
    for (system, phase, killed, expected) in [
        (DrmSystem::Widevine, LicensePhase::Certificate, false, Http),
        (DrmSystem::Widevine, LicensePhase::License, false, Http),
        (DrmSystem::Widevine, LicensePhase::License, true, Http),
        (DrmSystem::Widevine, LicensePhase::Renewal, false, RejectWidevine),
        (DrmSystem::PlayReady, LicensePhase::License, false, Http),
        // Shows no renewals: what comes after a kill is one.
        (DrmSystem::PlayReady, LicensePhase::License, true, Soap200),
        (DrmSystem::ClearKey, LicensePhase::License, true, RejectClearKey),
        (DrmSystem::FairPlay, LicensePhase::License, true, Http),
    ] {
        assert_eq!(choose(&split, system, phase, killed, &none), expected, "{system} {phase:?} killed {killed}");
    }
}

#[test]
fn an_app_that_wraps_and_an_unknown_body_get_a_status() {
    let reject = profiles(RefusalProfile::Reject, RefusalProfile::Soap200);
    for system in [DrmSystem::ClearKey, DrmSystem::FairPlay, DrmSystem::PlayReady, DrmSystem::Widevine] {
        let wrapped = DrmMessage { wrapped: true, ..DrmMessage::new(system, MessageKind::Renewal) };
        for phase in PHASES {
            assert_eq!(RefusalShape::choose(&reject, Some(&wrapped), phase, &turned(true), &HeaderMap::new()), Http);
        }
    }
    assert_eq!(RefusalShape::choose(&reject, None, LicensePhase::License, &turned(true), &HeaderMap::new()), Http);
}

async fn reply(shape: RefusalShape, turned: &RefusalBody) -> (StatusCode, HeaderMap, Vec<u8>) {
    let (parts, body) = shape.reply(turned, LicensePhase::Renewal, Incident(0)).into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn every_shape_has_its_status_type_and_reason() {
    for (shape, name, status, content_type) in [
        (Http, "http", 403, "application/problem+json"),
        (RejectClearKey, "reject", 200, "application/json"),
        (RejectWidevine, "reject", 200, "application/octet-stream"),
        (Soap200, "soap-200", 200, "text/xml; charset=utf-8"),
        (Soap500, "soap-500", 500, "text/xml; charset=utf-8"),
    ] {
        let (told, headers, body) = reply(shape, &turned(true)).await;
        assert_eq!((told.as_u16(), shape.profile_name()), (status, name));
        let expected = [
            ("content-type", content_type),
            ("cache-control", "no-store"),
            ("x-ssm-error", "3002"),
            ("x-sidebeat-incident", "00000000"),
        ];
        assert_eq!(headers, self::headers(&expected), "{shape:?}");
        assert!(!body.is_empty(), "an empty body hangs dash.js");
    }
    let nameless = RefusalBody { error_code: None, ..turned(false) };
    assert_eq!(reply(Http, &nameless).await.1["x-ssm-error"], "session_killed");
}

#[tokio::test]
async fn a_problem_keeps_the_head_ends_own_words() {
    for (shape, status) in [(Http, 403), (RejectClearKey, 200)] {
        let (_, _, body) = reply(shape, &turned(true)).await;
        let expected = json!({
            "type": "https://dashif.org/drm-problems/not-authorized", "title": "Not authorized", "status": status,
            "error": "session_killed", "code": 404, "errorCode": 3002, "message": "Not Found",
            "detail": "The head-end ended this session.", "event": "ssmrenewalerror", "phase": "renewal",
            "incident": "00000000",
            // Firefox resolves `update()` on JSON without them, and shows nothing; with none, every browser rejects it.
            "keys": [],
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_problem_has_a_type_that_dash_if_names_or_says_no_more_than_its_status() {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    for (error, comes_again, kind, title) in [
        ("limit_reached", None, "https://dashif.org/drm-problems/not-authorized", "Not authorized"),
        ("blackout", None, "https://dashif.org/drm-problems/not-authorized", "Not authorized"),
        (
            "token_expired",
            None,
            "https://dashif.org/drm-problems/insufficient-proof-of-authorization",
            "Insufficient proof of authorization",
        ),
        ("overloaded", Some(unavailable), "about:blank", "Service Unavailable"),
        ("license_server_connect", None, "about:blank", "Forbidden"),
    ] {
        let told = RefusalBody { comes_again, error: error.to_owned(), ..turned(false) };
        let (status, _, body) = reply(Http, &told).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&problem["type"], &problem["title"]), (&json!(kind), &json!(title)), "{error}");
        assert_eq!(problem["status"], status.as_u16(), "{error}");
    }
}

/// Apps of the vendor's SDK ask `code === 404 && errorCode === 3002 && message === "Not Found"`.
#[tokio::test]
async fn an_apps_own_condition_holds_in_every_body_that_can_carry_it() {
    for message in ["Not Found", "a ]]> & <b> \"quoted\" [c]", "größer\u{fffe}"] {
        let told = RefusalBody { message: message.to_owned(), ..turned(true) };
        for shape in [Http, RejectClearKey, Soap200, Soap500] {
            let text = String::from_utf8(reply(shape, &told).await.2).unwrap();
            let text = match text.split_once("<CustomData>") {
                Some((_, rest)) => {
                    let custom = rest.split_once("</CustomData>").unwrap().0;
                    custom.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
                }
                None => text,
            };
            let said: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&said["code"], &said["errorCode"]), (&json!(404), &json!(3002)), "{shape:?}");
            let expected =
                if matches!(shape, Soap200 | Soap500) { message.replace('\u{fffe}', "?") } else { message.to_owned() };
            assert_eq!(said["message"], expected, "{shape:?}");
        }
    }
}

#[tokio::test]
async fn widevine_is_refused_in_six_bytes() {
    let (_, _, body) = reply(RejectWidevine, &turned(true)).await;
    assert_eq!(body, [0x08, 0x03, 0x12, 0x02, 0x08, 0x03]);
    let message = crate::drm::recognise(crate::drm::Direction::Reply, None, None, &body).unwrap();
    // Codes 1, 2 and 4 speak about the device's certificate, and a device acts on them.
    assert_eq!((message.kind, message.error_code), (MessageKind::Error, Some(3)));
}

#[tokio::test]
async fn the_soap_fault_is_this_one() {
    let (_, _, body) = reply(Soap200, &turned(true)).await;
    let expected = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
        <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><soap:Fault>\
        <faultcode>soap:Server</faultcode><faultstring>The head-end ended this session.</faultstring>\
        <detail><Exception><StatusCode>0x8004C604</StatusCode>\
        <Message>[3002 session_killed: Not Found]</Message>\
        <CustomData>{\"code\":404,\"detail\":\"The head-end ended this session.\",\"error\":\"session_killed\",\
        \"errorCode\":3002,\"event\":\"ssmrenewalerror\",\"incident\":\"00000000\",\"message\":\"Not Found\",\
        \"phase\":\"renewal\"}</CustomData></Exception></detail>\
        </soap:Fault></soap:Body></soap:Envelope>";
    assert_eq!(String::from_utf8(body.clone()).unwrap(), expected);
    let message = crate::drm::recognise(crate::drm::Direction::Reply, None, None, &body).unwrap();
    assert_eq!(
        (message.system, message.kind, message.error_code),
        (DrmSystem::PlayReady, MessageKind::Error, Some(0x8004_C604))
    );
}

/// Reads a fault like dash.js's parser: it takes the first element of each name and its first child, and throws if
/// one is missing; its user then sees no error.
fn dash_js_shows(text: &str) -> Option<(String, String, String)> {
    let between = |text: &str, open: &str, close: &str| Some(text.split_once(open)?.1.split_once(close)?.0.to_owned());
    let fault = between(between(text, "<soap:Body>", "</soap:Body>")?.as_str(), "<soap:Fault>", "</soap:Fault>")?;
    let name = between(&fault, "<faultstring>", "</faultstring>").filter(|text| !text.is_empty())?;
    let exception = between(&between(&fault, "<detail>", "</detail>")?, "<Exception>", "</Exception>")?;
    let code = between(&exception, "<StatusCode>", "</StatusCode>").filter(|text| !text.is_empty())?;
    let message = between(&exception, "<Message>", "</Message>").filter(|text| !text.is_empty())?;
    let start = message.rfind('[')? + 1;
    let end = message.find(']').filter(|end| *end >= start)?;
    Some((code, name, message[start..end].to_owned()))
}

#[tokio::test]
async fn dash_js_shows_any_message_whole() {
    for (message, shown) in [
        ("Not Found", "Not Found"),
        ("", ""),
        ("limit [2] of <3> & more", "limit (2) of &lt;3&gt; &amp; more"),
        ("]]></Message></soap:Fault><x>[", "))&gt;&lt;/Message&gt;&lt;/soap:Fault&gt;&lt;x&gt;("),
        ("größer als zwei", "größer als zwei"),
        ("no\u{ffff}character", "no?character"),
    ] {
        let told = RefusalBody { message: message.to_owned(), ..turned(false) };
        let text = String::from_utf8(reply(Soap500, &told).await.2).unwrap();
        let (code, name, seen) = dash_js_shows(&text).unwrap_or_else(|| panic!("dash.js throws on {text}"));
        assert_eq!((code.as_str(), name.as_str()), ("0x8004C604", "The head-end ended this session."));
        assert_eq!(seen, format!("3002 session_killed: {shown}"));
    }
}

/// XML 1.0, section 2.2. A browser's parser gives up on anything else.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

proptest! {
    #[test]
    fn no_words_of_a_head_end_break_the_fault(message in any::<String>(), code in any::<Option<i64>>()) {
        // As reasons are made.
        let message = crate::secret::scrub(&message);
        let told = RefusalBody { message, error_code: code, ..turned(false) };
        let text = crate::gateway::refusal::body::soap(&told, LicensePhase::Renewal, Incident(0));
        prop_assert!(dash_js_shows(&text).is_some(), "{}", text);
        prop_assert!(text.chars().all(is_xml), "{}", text);
        let recognised = crate::drm::recognise(crate::drm::Direction::Reply, None, None, text.as_bytes());
        prop_assert_eq!(recognised.map(|message| message.error_code), Ok(Some(0x8004_C604)));
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_asks_the_player_to_come_again_and_a_kill_does_not() {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let away = RefusalBody { comes_again: Some(unavailable), ..turned(false) };
    for (shape, expected) in [
        (Http, unavailable),
        (Soap200, unavailable),
        (Soap500, StatusCode::INTERNAL_SERVER_ERROR),
        (RejectClearKey, StatusCode::OK),
        (RejectWidevine, StatusCode::OK),
    ] {
        let (status, headers, _) = reply(shape, &away).await;
        assert_eq!((status, headers.contains_key("retry-after")), (expected, expected == unavailable), "{shape:?}");
        let (status, headers, _) = reply(shape, &turned(true)).await;
        assert!(status != unavailable && !headers.contains_key("retry-after"), "{shape:?}");
    }
}

/// video.js plays on under an HTTP error of a renewal, and shows an error for a reply that its CDM rejects.
#[test]
fn a_renewal_that_may_yet_come_costs_video_js_nothing() {
    let auto = profiles(RefusalProfile::Auto, RefusalProfile::Auto);
    let away = RefusalBody { comes_again: Some(StatusCode::SERVICE_UNAVAILABLE), ..turned(false) };
    let message = DrmMessage::new(DrmSystem::Widevine, MessageKind::Renewal);
    for (family, headers) in families() {
        let shape = RefusalShape::choose(&auto, Some(&message), LicensePhase::Renewal, &away, &headers);
        let expected = if family == PlayerFamily::Kodi { RejectWidevine } else { Http };
        assert_eq!(shape, expected, "{family:?}");
    }
}
