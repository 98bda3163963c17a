//! The dialect as tables: what every reply means, one row each.

use http::header::{ACCEPT, CONTENT_TYPE};
use proptest::prelude::*;

use super::*;
use crate::authority::dialect::Dialect;
use crate::authority::testing::ssm_settings;
use crate::tests::cost;

/// When the replies say that they were made.
const DATE: Duration = Duration::from_secs(1_700_000_000);

fn dialect() -> NagraSsmSettings {
    ssm_settings("")
}

fn reply<'a>(kind: AskKind, status: u16, body: &'a [u8], headers: &'a HeaderMap) -> AuthorityReply<'a> {
    AuthorityReply { body, headers, kind, status: StatusCode::from_u16(status).unwrap(), time: DATE }
}

fn read_bytes(dialect: &NagraSsmSettings, kind: AskKind, status: u16, body: &[u8]) -> Result<Verdict, AuthorityFault> {
    dialect.read_reply(&reply(kind, status, body, &HeaderMap::new()))
}

fn read(kind: AskKind, status: u16, body: &str) -> Result<Verdict, AuthorityFault> {
    read_bytes(&dialect(), kind, status, body.as_bytes())
}

fn jwt(claims: &str) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn granted(body: &str) -> Grant {
    match read(AskKind::Open, 200, body) {
        Ok(Verdict::Granted(grant)) => grant,
        other => panic!("{other:?}"),
    }
}

/// A verdict or fault in one word.
fn word(result: &Result<Verdict, AuthorityFault>) -> &'static str {
    match result {
        Ok(Verdict::Denied(Denial::Limit, _)) => "limit",
        Ok(Verdict::Denied(Denial::InUse, _)) => "in use",
        Ok(Verdict::Denied(Denial::Rejected, _)) => "rejected",
        Ok(Verdict::Denied(Denial::Token, _)) => "token",
        Ok(verdict) => verdict.name(),
        Err(fault) => fault.kind.name(),
    }
}

const ALL: [AskKind; 4] = [AskKind::Beat, AskKind::Close, AskKind::Open, AskKind::Renew];

/// Status, code, and what they mean for a beat, a close, an open and a renewal.
const TABLE: &[(u16, Option<i64>, [&str; 4])] = &[
    // The two kills; nothing else is one.
    (404, Some(3002), ["unknown", "unknown", "killed", "unknown"]),
    (500, Some(6002), ["refused", "refused", "refused", "killed"]),
    // One half of a kill is none.
    (404, None, ["malformed", "unknown", "rejected", "malformed"]),
    (400, Some(3002), ["rejected", "unknown", "rejected", "rejected"]),
    (500, Some(3002), ["rejected", "unknown", "rejected", "rejected"]),
    (200, Some(3002), ["rejected", "unknown", "rejected", "rejected"]),
    (404, Some(6002), ["refused", "unknown", "refused", "refused"]),
    (400, Some(6002), ["refused", "refused", "refused", "refused"]),
    (500, None, ["refused", "refused", "refused", "refused"]),
    // The service's codes.
    (400, Some(1000), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1001), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1003), ["token", "token", "token", "token"]),
    (400, Some(1004), ["token", "token", "token", "token"]),
    (400, Some(1005), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1006), ["token", "token", "token", "token"]),
    (400, Some(1007), ["malformed", "malformed", "limit", "malformed"]),
    (500, Some(1007), ["refused", "refused", "limit", "refused"]),
    (400, Some(1008), ["disabled", "disabled", "disabled", "disabled"]),
    (400, Some(1009), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1011), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1012), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1013), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1017), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(1018), ["rejected", "rejected", "in use", "rejected"]),
    (400, Some(3001), ["rejected", "rejected", "rejected", "rejected"]),
    (400, Some(3004), ["rejected", "rejected", "rejected", "rejected"]),
    (404, Some(3004), ["rejected", "unknown", "rejected", "rejected"]),
    (500, Some(4000), ["refused", "refused", "refused", "refused"]),
    (503, Some(4001), ["refused", "refused", "refused", "refused"]),
    (200, Some(4000), ["refused", "refused", "refused", "refused"]),
    // The limits whose codes are not public: a refusal of the open, and no more than a fault later.
    (400, Some(1014), ["malformed", "malformed", "rejected", "malformed"]),
    (403, Some(1015), ["malformed", "malformed", "rejected", "malformed"]),
    // Infrastructure in front of the service.
    (401, None, ["malformed", "malformed", "rejected", "malformed"]),
    (403, None, ["malformed", "malformed", "rejected", "malformed"]),
    (408, None, ["refused", "refused", "refused", "refused"]),
    (429, None, ["refused", "refused", "refused", "refused"]),
    (502, None, ["refused", "refused", "refused", "refused"]),
    (503, Some(9999), ["refused", "refused", "refused", "refused"]),
    (599, None, ["refused", "refused", "refused", "refused"]),
    // What nobody has met.
    (302, None, ["malformed", "malformed", "malformed", "malformed"]),
    (200, Some(9999), ["malformed", "malformed", "malformed", "malformed"]),
    (418, Some(9999), ["malformed", "malformed", "rejected", "malformed"]),
    (700, Some(-1), ["malformed", "malformed", "malformed", "malformed"]),
];

#[test]
fn every_status_and_code_has_its_meaning_for_every_call() {
    for (status, code, words) in TABLE {
        let body = code.map(|code| json!({"errorCode": code, "message": "so it is"}).to_string()).unwrap_or_default();
        for (ask, expected) in ALL.into_iter().zip(words) {
            let result = read(ask, *status, &body);
            assert_eq!(word(&result), *expected, "{ask:?} {status} {code:?}");
            let reason = match result {
                Ok(Verdict::Denied(_, reason) | Verdict::Killed(reason) | Verdict::Unknown(reason)) => reason,
                Err(fault) => fault.reason,
                Ok(
                    Verdict::Alive { .. }
                    | Verdict::Blackout(_)
                    | Verdict::Closed
                    | Verdict::Disabled
                    | Verdict::Gone(_)
                    | Verdict::Granted(_)
                    | Verdict::Unconfirmed(..),
                ) => continue,
            };
            assert_eq!((reason.code, reason.error_code), (Some(*status), *code), "the head-end's own numbers");
            let known = StatusCode::from_u16(*status).unwrap().canonical_reason().unwrap_or("no message");
            assert_eq!(&*reason.message, if code.is_some() { "so it is" } else { known });
        }
    }
}

proptest! {
    #[test]
    fn no_reply_beside_the_table_kills(
        status in 100_u16..1000, code in prop::option::of(-10_000_i64..10_000), message in "(Not Found|killed|.{0,40})",
    ) {
        let code = code.map(Value::from).unwrap_or(Value::Null);
        let body = json!({"errorCode": code, "message": message}).to_string();
        for ask in ALL {
            let kills = matches!(
                (ask, status, code.as_i64()),
                (AskKind::Beat | AskKind::Open | AskKind::Renew, 404, Some(3002)) | (AskKind::Renew, 500, Some(6002))
            );
            let killed = match read(ask, status, &body) {
                Ok(Verdict::Killed(_)) => true,
                // What is to be closed and is not there is as good as closed.
                Ok(Verdict::Unknown(_)) => ask != AskKind::Close,
                Ok(_) | Err(_) => false,
            };
            prop_assert_eq!(killed, kills, "{:?} {} {}", ask, status, code);
        }
    }

    #[test]
    fn no_reply_is_too_odd(body in prop::collection::vec(any::<u8>(), 0..200), status in 100_u16..1000) {
        for kind in ALL {
            let _any = read_bytes(&dialect(), kind, status, &body);
            let _any = license(&body);
        }
    }
}

#[test]
fn the_interval_is_found_in_every_spelling() {
    let claims = jwt(r#"{"heartbeat":45}"#);
    let zero = jwt(r#"{"heartbeat":0}"#);
    for (said, token, seconds) in [
        (r#""heartBeat":30"#, "t", 30.0),
        (r#""heartbeat":30"#, "t", 30.0),
        (r#""HEARTBEAT":30"#, "t", 30.0),
        (r#""heartBeat":"30""#, "t", 30.0),
        (r#""heartBeat":0.25"#, "t", 0.25),
        (r#""heartBeat":30"#, &claims, 30.0),
        // Not said, or not to be believed: the token's claim, else the configuration.
        (r#""x":1"#, &claims, 45.0),
        (r#""heartBeat":0"#, &claims, 45.0),
        (r#""heartBeat":-5"#, &claims, 45.0),
        (r#""heartBeat":"soon""#, &claims, 45.0),
        (r#""heartBeat":null"#, &claims, 45.0),
        (r#""heartBeat":1e99"#, &claims, 45.0),
        (r#""heartBeat":[30]"#, &claims, 45.0),
        (r#""x":1"#, "t", 60.0),
        (r#""x":1"#, &zero, 60.0),
        (r#""heartBeat":100000"#, "t", 60.0),
    ] {
        let grant = granted(&format!(r#"{{{said},"sessionToken":"{token}"}}"#));
        assert_eq!(grant.interval, Duration::from_secs_f64(seconds), "{said} {token}");
    }
    let configured = ssm_settings("interval = \"7s\"");
    let granted = read_bytes(&configured, AskKind::Open, 200, br#"{"sessionToken":"t"}"#);
    let Ok(Verdict::Granted(grant)) = granted else { panic!("not granted") };
    assert_eq!(grant.interval, Duration::from_secs(7));
}

#[test]
fn a_token_tells_its_lifetime_in_the_head_ends_own_time() {
    for (claims, lifetime) in [
        (r#"{"exp":1700000090}"#, Some(90)),
        (r#"{"exp":"1700000090"}"#, Some(90)),
        (r#"{"exp":1600000000}"#, Some(0)),
        (r#"{"exp":"never"}"#, None),
        (r"{}", None),
    ] {
        let expected = lifetime.map(Duration::from_secs);
        let token = jwt(claims);
        assert_eq!(granted(&format!(r#"{{"sessionToken":"{token}"}}"#)).lifetime, expected, "{claims}");
        let Ok(Verdict::Alive { lifetime, .. }) = read(AskKind::Beat, 200, &format!(r#"{{"sessionToken":"{token}"}}"#))
        else {
            panic!("not alive")
        };
        assert_eq!(lifetime, expected, "{claims}");
    }
    assert_eq!(granted(r#"{"sessionToken":"opaque"}"#).lifetime, None);
}

#[test]
fn every_good_reply_with_a_token_replaces_the_one_before() {
    let alive = |interval, token: Option<&str>| {
        Ok(Verdict::Alive { interval, lifetime: None, schedule: None, token: token.map(Secret::new) })
    };
    for kind in [AskKind::Beat, AskKind::Renew] {
        for (status, body, expected) in [
            (200, r#"{"sessionToken":"next"}"#, alive(None, Some("next"))),
            (200, r#"{"SESSIONTOKEN":"next","errorCode":0,"status":"OK"}"#, alive(None, Some("next"))),
            (
                200,
                r#"{"sessionToken":"next","errorCode":"0","heartBeat":"9"}"#,
                alive(Some(Duration::from_secs(9)), Some("next")),
            ),
            (201, r#"{"sessionToken":"next"}"#, alive(None, Some("next"))),
            // Whatever is no token leaves the one that is.
            (200, r#"{"sessionToken":""}"#, alive(None, None)),
            (200, r#"{"sessionToken":"cannot\nstand in a header"}"#, alive(None, None)),
            (200, r#"{"sessionToken":7}"#, alive(None, None)),
            (200, r#"{"sessionToken":null}"#, alive(None, None)),
            (200, r#"{"heartBeat":9}"#, alive(Some(Duration::from_secs(9)), None)),
        ] {
            assert_eq!(read(kind, status, body), expected, "{kind:?} {status} {body}");
        }
    }
}

/// A server that answers 200 to everything, such as a captive portal, must neither confirm a session nor end one.
#[test]
fn a_good_reply_that_is_none_of_a_session_service_is_a_lost_answer() {
    for (status, body, closes) in [
        (200, "<html><body>Please log in</body></html>", false),
        (202, "OK", false),
        (200, "[]", false),
        (200, "null", false),
        (200, "\"closed\"", false),
        (200, "{\"sessionToken\":", false),
        (200, "", true),
        (204, "", true),
        (200, " \r\n", true),
        (200, "{}", true),
        (200, r#"{"portal":{"sessionToken":"t"}}"#, true),
    ] {
        for kind in [AskKind::Beat, AskKind::Open, AskKind::Renew] {
            assert_eq!(word(&read(kind, status, body)), "malformed", "{kind:?} {status} {body}");
        }
        let close = read(AskKind::Close, status, body);
        assert_eq!(matches!(close, Ok(Verdict::Closed)), closes, "{status} {body}");
        assert_eq!(close.is_err(), !closes, "{status} {body}");
    }
}

#[test]
fn an_open_needs_a_token() {
    for body in [
        "",
        "{}",
        "<html>",
        r#"{"heartBeat":30}"#,
        r#"{"sessionToken":""}"#,
        r#"{"sessionToken":{"a":1}}"#,
        r#"{"sessionToken":"a\r\nb"}"#,
    ] {
        assert_eq!(word(&read(AskKind::Open, 200, body)), "malformed", "{body}");
    }
}

#[test]
fn a_close_is_done_by_any_good_status() {
    for (status, body) in [(204, ""), (200, "{}"), (202, r#"{"errorCode":0}"#), (200, r#"{"sessionToken":"next"}"#)] {
        assert_eq!(read(AskKind::Close, status, body), Ok(Verdict::Closed));
    }
}

#[test]
fn error_codes_are_read_as_numbers_in_any_spelling() {
    for body in [
        r#"{"errorCode":1007}"#,
        r#"{"errorCode":"1007"}"#,
        r#"{"ERRORCODE":1007.0}"#,
        r#"{"other":{},"errorcode":1007,"message":null}"#,
    ] {
        assert_eq!(word(&read(AskKind::Open, 400, body)), "limit", "{body}");
    }
    for body in [r#"{"errorCode":"many"}"#, r#"{"errorCode":null}"#, r#"{"error":{"errorCode":1007}}"#, "1007"] {
        assert_eq!(word(&read(AskKind::Open, 400, body)), "rejected", "{body}");
    }
}

#[test]
fn the_head_ends_words_are_scrubbed() {
    let token = jwt(r#"{"accountId":"ann"}"#);
    let body = json!({"errorCode": 1006, "message": format!("bad token {token}\r\nX: y")}).to_string();
    let Ok(Verdict::Denied(Denial::Token, reason)) = read(AskKind::Beat, 400, &body) else { panic!("not denied") };
    assert!(!reason.message.contains("eyJ") && !reason.message.contains(['\r', '\n']), "{}", reason.message);
    assert!(reason.message.starts_with("bad token"), "{}", reason.message);
}

#[test]
fn calls_go_out_as_the_service_wants_them() {
    let dialect = ssm_settings("[authority.headers]\nx-api-key = \"k\"");
    let content = Secret::new("content.of.ann,companion");
    let grant = Grant { interval: Duration::from_secs(30), lifetime: None, token: Secret::new("session.of.ann") };
    let renewal = dialect.renew(&dialect.renewal, &grant, b"\x08\x01\xff");
    for (wire, path, token, body) in [
        (dialect.open(&content), "/T/ssm/v1/sessions/setup", "content.of.ann,companion", "{}"),
        (dialect.beat(&grant), "/T/ssm/v1/sessions/heartbeat", "session.of.ann", "{}"),
        (dialect.close(&grant), "/T/ssm/v1/sessions/teardown", "session.of.ann", "{}"),
        (renewal, "/T/ssm/v1/renewal-license-wv", "session.of.ann", r#"{"challenge":"CAH/"}"#),
    ] {
        let AuthorityRequest { body: sent, endpoint, headers, .. } = wire.unwrap();
        assert_eq!((endpoint.path(), &sent[..]), (path, body.as_bytes()));
        assert_eq!(
            (&headers["nv-authorizations"], headers["nv-authorizations"].is_sensitive()),
            (&token.parse().unwrap(), true)
        );
        assert_eq!((&headers["nv-tenant-id"], &headers["x-api-key"]), (&"T".parse().unwrap(), &"k".parse().unwrap()));
        assert_eq!(headers[CONTENT_TYPE], "application/json; charset=utf-8");
        assert_eq!((&headers[ACCEPT], headers.len()), (&"application/json".parse().unwrap(), 5));
    }
    let unspeakable = Secret::new("two\r\nlines");
    assert!(dialect.open(&unspeakable).is_none());
}

#[test]
fn a_license_call_carries_the_tokens_as_configured() {
    let (content, session) = (Secret::new("c.c.c"), Secret::new("s.s.s"));
    let grant = Grant { interval: Duration::ZERO, lifetime: None, token: session };
    for (template, expected) in
        [("{content},{session}", "c.c.c,s.s.s"), ("{session}", "s.s.s"), ("a {session};{content}", "a s.s.s;c.c.c")]
    {
        let dialect = ssm_settings(&format!("license-authorization = \"{template}\""));
        let value = dialect.license_value(&content, &grant).unwrap();
        assert_eq!((value.to_str().unwrap(), value.is_sensitive()), (expected, true));
    }
}

#[test]
fn a_content_token_that_spells_a_place_of_the_template_is_passed_as_it_is() {
    let grant = Grant { interval: Duration::ZERO, lifetime: None, token: Secret::new("s.s.s") };
    let dialect = ssm_settings("license-authorization = \"{content},{session}\"");
    for content in ["{session}", "a{content}b", "{{session}}", &"{session}".repeat(3_000)] {
        let value = dialect.license_value(&Secret::new(content), &grant).unwrap();
        assert_eq!(value.to_str().unwrap(), format!("{content},s.s.s"));
    }
}

#[test]
fn the_license_of_a_renewal_is_a_string_or_an_array() {
    for (body, expected) in [
        (r#"{"license":"CAI="}"#, Some(&[8, 2][..])),
        (r#"{"license":["CAI=","CAM="]}"#, Some(&[8, 2])),
        (r#"{"license":"-_8"}"#, Some(&[0xfb, 0xff])),
        (r#"{"license":[]}"#, None),
        (r#"{"license":7}"#, None),
        (r#"{"license":"!"}"#, None),
        (r"{}", None),
        ("", None),
    ] {
        assert_eq!(license(body.as_bytes()).as_deref(), expected, "{body}");
    }
}

#[test]
fn failed_calls_have_the_names_of_the_vendors_player() {
    let names = ALL.map(SsmDialect::new(Box::new(dialect())).error_name());
    assert_eq!(names, ["ssmheartbeaterror", "ssmteardownerror", "ssmsetuperror", "ssmrenewalerror"]);
}

/// A reply of the service may be so large.
#[test]
fn a_reply_costs_no_more_than_its_size() {
    const REPLY_BYTES: usize = 64 * 1024;
    for (name, head, part, tail) in [
        ("fields", "{\"a\":0", ",\"a\":0", "}"),
        ("codes", "{\"errorCode\":1", ",\"ERRORCODE\":1", "}"),
        ("a token", "{\"sessionToken\":\"", "a", "\"}"),
        ("a message", "{\"errorCode\":3002,\"message\":\"", "m", "\"}"),
        ("lists", "{\"a\":[0", ",[]", "]}"),
        ("depth", "", "{\"a\":", ""),
        ("escapes", "{\"message\":\"", "\\u0041", "\"}"),
        ("a page", "<html>", "<br>", ""),
        ("spaces", "", " ", ""),
        ("zeros", "{\"a\":1", "0", "}"),
    ] {
        let dialect = dialect();
        let make = |size| cost::filled(head, |_| part.to_owned(), tail, size);
        for (kind, status) in [(AskKind::Open, 200), (AskKind::Beat, 404), (AskKind::Close, 204), (AskKind::Renew, 500)]
        {
            let read = |body: &[u8]| {
                let _read = read_bytes(&dialect, kind, status, body);
                0
            };
            cost::assert_linear(name, REPLY_BYTES, cost::SHORT, make, read);
        }
    }
}
