//! Tests the admin API as operators use it.

use std::future::IntoFuture;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use sidebeat::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::player::CLEARKEY;
use crate::stage::Stage;

#[tokio::test]
async fn sessions_are_listed_and_shown_with_their_story() {
    let stage = Stage::widevine().start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player("phone", "film").await);
    assert!(
        tv.license("video").await.is_good() && tv.renew("video").await.is_good() && phone.license("x").await.is_good()
    );

    let sessions = stage.sessions().await;
    let [first, second] = &sessions[..] else { panic!("{sessions:?}") };
    assert_eq!((&first["device"], &second["device"]), (&json!("tv"), &json!("phone")), "in the order of their opening");
    for (field, value) in [
        ("account", json!("ann")),
        ("authority", json!("head-end")),
        ("beats", json!(1)),
        ("content", json!("news")),
        ("device_by", json!("header")),
        ("interval_s", json!(30.0)),
        ("key_sessions", json!(1)),
        ("paced_by", json!("renewals")),
        ("route", json!("/license")),
        ("served", json!(true)),
        ("state", json!("live")),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    let id = first["id"].as_str().unwrap();
    let shown = stage.ask(Method::GET, &format!("/v1/sessions/{id}")).await.json();
    let events: Vec<_> = shown["timeline"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(
        events,
        ["opened", "license-request", "keystatuseschange", "renewals carry the session", "license-renewal"]
    );
    assert_eq!(shown["timeline"][0]["detail"], "a beat every 30 s");
    stage.end().await;
}

#[tokio::test]
async fn a_session_is_named_by_its_first_digits() {
    let stage = Stage::clearkey().start().await;
    for device in ["a", "b"] {
        assert!(stage.player_of(device, device, "news").await.post(CLEARKEY).await.is_good());
    }
    let ids = stage.each("id").await;
    let common = ids[0].chars().zip(ids[1].chars()).take_while(|(a, b)| a == b).count();
    let unique: String = ids[0].chars().take((common + 1).max(4)).collect();
    let ask = async |method: Method, path: String| stage.ask(method, &format!("/v1/sessions/{path}")).await;
    assert_eq!(ask(Method::GET, unique.clone()).await.json()["id"], ids[0].as_str());
    assert_eq!(
        ask(Method::GET, unique[..common].to_owned()).await.status.as_u16() / 100,
        // Fewer than four digits name no session, even if they fit only one.
        4
    );
    assert_eq!(ask(Method::POST, format!("{}/kill", &unique[..common])).await.status.as_u16() / 100, 4);
    assert_eq!(ask(Method::GET, "nobody".to_owned()).await.error(), (404, "not_found".to_owned()));
    assert_eq!(ask(Method::PUT, unique.clone()).await.error(), (405, "method_not_allowed".to_owned()));
    assert_eq!(ask(Method::POST, format!("{unique}/explode")).await.status, 405);
    assert_eq!(stage.each("state").await, ["live", "live"]);

    assert_eq!(ask(Method::DELETE, unique).await.json(), json!({"id": ids[0], "done": "closing"}));
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert_eq!(ask(Method::POST, format!("{}/teardown", ids[1])).await.json()["done"], "closing");
    assert_eq!(stage.headend.nth("teardown", 2).await.status, 204);
    stage.end().await;
}

/// The only session there is, which a slip could hit.
#[tokio::test]
async fn a_path_that_names_no_session_touches_none() {
    let stage = Stage::clearkey().start().await;
    assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
    let id = stage.each("id").await.remove(0);
    let (short, encoded) = (&id[..3], id.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>());
    let names = ["", "/", "%20", "*", "%2a", short, &id[..1], &encoded, "..", ".", "%2e", "undefined", "null"];
    for name in names {
        for (method, rest) in [
            (Method::POST, "/kill"),
            (Method::POST, "/kill/"),
            (Method::POST, "/teardown"),
            (Method::POST, "/blackout"),
            (Method::DELETE, ""),
            (Method::DELETE, "/"),
            (Method::GET, ""),
        ] {
            let path = format!("/v1/sessions/{name}{rest}");
            assert_eq!(stage.ask(method.clone(), &path).await.error().0, 404, "{method} {path}");
        }
    }
    // A whole id, but not where one belongs.
    for path in
        [format!("/v1/sessions/{id}/kill/"), format!("/v1/sessions/{id}//kill"), format!("//v1/sessions/{id}/kill")]
    {
        assert_eq!(stage.ask(Method::POST, &path).await.error().0, 404, "{path}");
    }
    assert_eq!(stage.each("state").await, ["live"]);
    assert_eq!(stage.ask(Method::POST, &format!("/v1/sessions/{}/kill", &id[..4])).await.json()["done"], "killed");
    stage.headend.next("teardown", 0).await;
    stage.end().await;
}

#[tokio::test]
async fn a_kill_shows_in_list_story_and_metrics() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.kill_account("ann").await;
    let session = stage.only_session("killed").await;
    let events: Vec<_> = session["timeline"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(events, ["opened", "license-request", "keystatuseschange", "authority call failed", "killed"]);
    assert_eq!(session["timeline"][3]["detail"], "ssmheartbeaterror: Not Found (code 404, errorCode 3002)");
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));

    for (name, labels, value) in [
        ("sessions", &["state=\"killed\""][..], 1.0),
        ("sessions", &["state=\"live\""], 0.0),
        ("sessions_ended_total", &["authority=\"head-end\"", "reason=\"killed\""], 1.0),
        ("session_events_total", &["event=\"opened\""], 1.0),
        ("session_events_total", &["event=\"killed\""], 1.0),
        ("session_events_total", &["event=\"ssmheartbeaterror\""], 1.0),
        ("authority_calls_total", &["call=\"open\"", "result=\"granted\""], 1.0),
        ("authority_calls_total", &["call=\"beat\"", "result=\"unknown\""], 1.0),
        ("license_calls_total", &["drm=\"clearkey\"", "outcome=\"served\""], 1.0),
        ("license_calls_total", &["outcome=\"refused\""], 1.0),
        ("refusals_total", &["cause=\"session_killed\"", "profile=\"http\""], 1.0),
        ("license_call_seconds_count", &[], 2.0),
        ("panics_total", &[], 0.0),
        ("edge_calls_total", &[], 2.0),
    ] {
        assert_eq!(stage.metric(name, labels).await, value, "{name} {labels:?}");
    }
    stage.end().await;
}

#[tokio::test]
async fn the_metrics_are_a_page_of_open_metrics() {
    let stage = Stage::clearkey().start().await;
    assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
    let page = stage.ask(Method::GET, "/metrics").await;
    assert!(page.header("content-type").starts_with("application/openmetrics-text"));
    let text = page.text();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(name.starts_with("sidebeat_") && value.parse::<f64>().is_ok(), "{line}");
    }
    stage.end().await;
}

#[tokio::test]
async fn the_proxy_reports_that_it_lives_and_is_ready() {
    let stage = Stage::clearkey().start().await;
    let plain = async |path: &str| stage.ask(Method::GET, path).await.text();
    assert_eq!((plain("/livez").await, plain("/readyz").await), ("alive\n".to_owned(), "ready\n".to_owned()));
    assert!(plain("/").await.contains("<html"));
    assert_eq!(stage.ask(Method::GET, "/v2").await.error(), (404, "not_found".to_owned()));
    // The players' listener serves none of these.
    for path in ["/livez", "/readyz", "/metrics", "/v1/sessions"] {
        assert_eq!(stage.stranger().at(path).post("").method(Method::GET).await.status, 404, "{path}");
    }
    stage.end().await;
}

/// Framing, a foreign frame, and a header that says two things: the same rules as for players.
#[tokio::test]
async fn the_admin_listener_refuses_ambiguous_requests_and_cannot_be_framed() {
    let stage = Stage::clearkey().start().await;
    let own = format!("http://{}", stage.admin);
    for (lines, status) in [
        ("Host: localhost\r\n".to_owned(), 200),
        (format!("Host: {}\r\nOrigin: {own}\r\n", stage.admin), 200),
        ("Host: localhost\r\nHost: localhost\r\n".to_owned(), 400),
        ("Host: localhost\r\nHost: evil.example\r\n".to_owned(), 400),
        (format!("Host: {}\r\nOrigin: {own}\r\nOrigin: https://evil.example\r\n", stage.admin), 400),
        (format!("Host: {}\r\nOrigin: {own}\r\nOrigin: {own}\r\n", stage.admin), 400),
        ("Host: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n".to_owned(), 400),
        ("".to_owned(), 400),
        ("Host: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(), 400),
    ] {
        for path in ["/", "/livez", "/v1/sessions"] {
            let reply = raw(stage.admin, &format!("GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")).await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {lines:?}: {reply}");
            if status == 200 {
                for line in ["frame-ancestors 'none'", "x-frame-options: DENY", "x-content-type-options: nosniff"] {
                    assert!(reply.contains(line), "{path}: no {line:?} in {reply}");
                }
                assert!(reply.contains("cache-control: no-store"), "{path}: {reply}");
            }
        }
    }
    stage.end().await;
}

/// Far more than the listener takes: the ones that have been silent for longest give way.
#[tokio::test]
async fn silent_connections_lock_no_operator_out() {
    let stage = Stage::clearkey().start().await;
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(stage.admin).await.unwrap();
        if number % 2 == 0 {
            let _closed = stream.write_all(b"GET /livez HTTP/1.1\r\nHos").await;
        }
        silent.push(stream);
    }
    for _ in 0..10 {
        assert_eq!(stage.ask(Method::GET, "/livez").await.text(), "alive\n");
    }
    stage.eventually("64 are left", async || stage.metric("admin_connections", &[]).await <= 64.0).await;
    drop(silent);
    stage.end().await;
}

async fn raw(to: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    // A refusal may end in a reset, behind the reply.
    let _reset = stream.read_to_end(&mut reply).await;
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn sessions_are_listed_page_by_page_and_filtered() {
    let stage = Stage::clearkey().start().await;
    for device in ["a", "b", "c"] {
        assert!(stage.player_of(device, device, "news").await.post(CLEARKEY).await.is_good());
    }
    let page = async |query: &str| stage.ask(Method::GET, &format!("/v1/sessions?{query}")).await;
    let devices = |value: &Value| {
        let list = value["sessions"].as_array().unwrap();
        list.iter().map(|session| session["device"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = page("limit=2").await.json();
    assert_eq!(devices(&first), ["a", "b"]);
    let second = page(&format!("limit=2&after={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!((devices(&second), &second["next"]), (vec!["c".to_owned()], &Value::Null));
    assert_eq!(devices(&page("device=b").await.json()), ["b"]);
    assert_eq!(devices(&page("account=c&state=live").await.json()), ["c"]);
    assert!(devices(&page("state=killed").await.json()).is_empty());
    for odd in ["limit=0", "after=x", "state=tired", "page=2"] {
        assert_eq!(page(odd).await.error(), (400, "bad_request".to_owned()), "{odd}");
    }
    stage.end().await;
}

#[tokio::test]
async fn a_story_without_sessions_is_an_empty_list() {
    let stage = Stage::clearkey().start().await;
    assert_eq!(stage.ask(Method::GET, "/v1/sessions").await.json(), json!({"sessions": Value::Array(Vec::new())}));
    assert_eq!(stage.metric("sessions", &["state=\"live\""]).await, 0.0);
    stage.end().await;
}

#[tokio::test]
async fn a_session_that_was_never_confirmed_does_not_say_when() {
    let stage = Stage::clearkey().start().await;
    stage.headend.fault("setup", json!({"delay_ms": 500}), 1).await;
    let tv = stage.player("tv", "news").await;
    let mut call = tokio::task::JoinSet::new();
    call.spawn(tv.post(CLEARKEY).into_future());
    assert_eq!(stage.only_session("opening").await["confirmed_s_ago"], Value::Null);
    assert!(call.join_next().await.unwrap().unwrap().is_good());
    assert!(stage.only_session("live").await["confirmed_s_ago"].is_number());
    stage.end().await;
}

/// The operators' own deadlines, and not the players': a player may have longer for a head, and less between two.
#[tokio::test]
async fn half_a_head_keeps_a_place_of_operators_for_five_seconds_and_an_idle_connection_for_longer() {
    let stage = Stage::clearkey().limits("head = \"1m\"\nidle = \"1s\"").start().await;
    let connect = async || TcpStream::connect(stage.admin).await.unwrap();
    let probe = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let alive = async |stream: &mut TcpStream| {
        stream.write_all(probe).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"alive\n") {
            let read = stream.read_buf(&mut reply).await.unwrap();
            assert!(read > 0, "closed: {}", String::from_utf8_lossy(&reply));
        }
    };
    let (mut idle, mut half) = (connect().await, connect().await);
    alive(&mut idle).await;
    let began = Clock.now();
    half.write_all(&probe[..20]).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), half.read(&mut [0; 64])).await;
    let took = Clock.now() - began;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "half a head is never closed: {ended:?}");
    assert!(took >= Duration::from_secs(4), "it had {took:?}");
    alive(&mut idle).await;
    stage.end().await;
}
