//! Tests FirstLight from the app's authorization to the last DELETE, with the simulated services.

use http::{Method, Response};
use serde_json::{Value, json};

use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::upstream::{LICENSE, Upstream, good};
use crate::web::Reply;

pub(crate) async fn license_server() -> Upstream {
    Upstream::answering(|_| good("application/json", LICENSE)).await
}

pub(crate) const SERVICES: &str =
    "heartbeat-url = \"{headend}/DEMO/fl/\"\nstream-concurrency-url = \"{headend}/DEMO/fl/\"";

fn script(server: &Upstream, authority: &str, authorize_url: &str) -> Script {
    script_of(server, (&server.url(), authority), authorize_url)
}

/// Authorizations name this server; the route names another one.
pub(crate) fn script_to(of_route: &str, server: &Upstream) -> Script {
    script_of(server, (of_route, ""), "{headend}/DEMO/fl/media/content/authorize")
}

/// Beats every second, the shortest that the contract knows.
fn script_of(server: &Upstream, (of_route, authority): (&str, &str), authorize_url: &str) -> Script {
    let license_url = server.url();
    let text = format!(
        "[[authority]]\nname = \"quickplay\"\nkind = \"firstlight\"\n{SERVICES}\n{authority}\n\
         [[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"quickplay\"\n\
         authorize-url = \"{authorize_url}\"\nlicense-route = \"/license\"\n"
    );
    Stage::script()
        .settings(|settings| {
            settings.firstlight.frequency_ms = Some(1000);
            settings.firstlight.license_url = Some(license_url);
        })
        .authority(&text)
        .upstream("/license", of_route, "authority = \"quickplay\"")
}

pub(crate) fn plain(server: &Upstream) -> Script {
    script(server, "", "{headend}/DEMO/fl/media/content/authorize")
}

pub(crate) fn app(stage: &Stage, device: &str) -> Player {
    stage.stranger().at("/authorize").with("x-authorization", "ann").with("x-device-id", device)
}

pub(crate) async fn authorize(stage: &Stage, device: &str, content: &str, kind: &str) -> Value {
    authorize_by(app(stage, device), device, content, kind).await
}

async fn authorize_by(app: Player, device: &str, content: &str, kind: &str) -> Value {
    let body = json!({"deviceId": device, "contentId": content, "contentTypeId": kind}).to_string();
    let reply = app.post(body).header("content-type", "application/json").await;
    assert!(reply.is_good(), "{}", reply.text());
    reply.json()["data"].clone()
}

/// A player that was given this license URL, and nothing else.
pub(crate) fn player(stage: &Stage, authorization: &Value) -> Player {
    let url = authorization["licenseUrl"].as_str().unwrap();
    let at = url.find("/license/~").unwrap_or_else(|| panic!("{url} does not lead through us"));
    stage.stranger().at(&url[at..])
}

/// A device of this user, which begins to play a title at this address.
pub(crate) async fn user_at(stage: &Stage, user: &str, device: &str, address: &str) -> Reply {
    let app = app(stage, device).with("x-authorization", user).with("x-forwarded-for", address);
    let authorization = authorize_by(app, device, "film", "vod").await;
    player(stage, &authorization).with("x-forwarded-for", address).post(CLEARKEY).await
}

async fn playing(stage: &Stage, device: &str, content: &str, kind: &str) -> Player {
    let player = player(stage, &authorize(stage, device, content, kind).await);
    let reply = player.post(CLEARKEY).await;
    assert!(reply.is_good(), "{}", reply.text());
    player
}

async fn beats(stage: &Stage) -> Vec<Value> {
    stage.headend.books().await["firstlight"]["beats"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_firstlight_playback_is_authorized_licensed_beaten_and_stopped() {
    let server = license_server().await;
    let stage = plain(&server).settings(|settings| settings.firstlight.rotate = true).start().await;
    let tv = playing(&stage, "tv", "news", "vod").await;
    assert_eq!(server.only().target, "/acquire", "the true URL, and no id of ours");
    stage.headend.nth("fl-heartbeat", 3).await;
    tv.stop().await;
    stage.headend.next("stream-delete", 0).await;
    stage.eventually("over", async || stage.each("state").await == ["closed"]).await;
    let beats = beats(&stage).await;
    let events: Vec<_> = beats.iter().map(|beat| beat["event"].as_str().unwrap()).collect();
    assert_eq!(events[..3], ["START", "UPDATE", "UPDATE"]);
    assert_eq!(events.last(), Some(&"STOP"));
    assert_eq!((&beats[0]["device"], &beats[0]["state"]), (&json!("tv"), &json!("PLAYING")));
    // The place is taken before the first beat, and given back after the last.
    let log = stage.headend.log().await;
    let story: Vec<_> = log.iter().map(|seen| seen.endpoint.as_str()).collect();
    assert_eq!(story[..3], ["authorize", "stream-put", "fl-heartbeat"]);
    assert_eq!(story[story.len() - 2..], ["fl-heartbeat", "stream-delete"]);
    assert!(log.iter().all(|seen| seen.status < 300), "every token was the latest: {log:?}");
    // Its token is spent: the app must authorize the playback anew.
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "token_rejected".into()));
    stage.end().await;
}

#[tokio::test]
async fn a_device_beyond_the_limit_is_refused_and_the_first_plays_on() {
    let server = license_server().await;
    let stage = plain(&server).settings(|settings| settings.firstlight.limit = 1).start().await;
    let _tv = playing(&stage, "tv", "news", "vod").await;
    let phone = player(&stage, &authorize(&stage, "phone", "film", "vod").await);
    assert_eq!(phone.post(CLEARKEY).await.error(), (403, "limit_reached".into()));
    let since = stage.headend.now().await;
    stage.headend.next("fl-heartbeat", since).await;
    assert_eq!(stage.headend.open().await, ["tv news"]);
    // If the same device plays something else, the old playback ends first.
    let _tv = playing(&stage, "tv", "film", "vod").await;
    assert_eq!(stage.headend.open().await, ["tv film"]);
    stage.end().await;
}

#[tokio::test]
async fn a_blackout_comes_with_a_beat() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    let tv = playing(&stage, "tv", "game", "live").await;
    stage
        .headend
        .settings(json!({"firstlight": {"blackout": ["game"], "blackout_url": "https://cdn.example/s"}}))
        .await;
    let session = stage.only_session("killed").await;
    assert!(session["timeline"].as_array().unwrap().iter().any(|entry| entry["event"] == "BLACKOUT"));
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "blackout".into()));
    stage.headend.next("stream-delete", 0).await;
    assert_eq!(stage.metric("session_events_total", &["event=\"BLACKOUT\""]).await, 1.0);
    stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
    stage.end().await;
}

#[tokio::test]
async fn a_title_blacked_out_from_the_start_is_neither_beaten_nor_reachable() {
    let server = license_server().await;
    let stage = plain(&server).settings(|settings| settings.firstlight.blackout = vec!["game".into()]).start().await;
    let authorization = authorize(&stage, "tv", "game", "live").await;
    assert_eq!(authorization["blackoutAction"], "DENY");
    for name in ["contentUrl", "licenseUrl"] {
        let url = authorization[name].as_str().unwrap();
        let at = url.find("/license/~").unwrap_or_else(|| panic!("{url} does not lead through us"));
        assert_eq!(stage.stranger().at(&url[at..]).post(CLEARKEY).await.error(), (403, "blackout".into()));
    }
    assert!(server.seen().is_empty());
    assert_eq!(stage.metric("authorizations_total", &["outcome=\"blackout\""]).await, 1.0);
    assert_eq!(stage.headend.count("fl-heartbeat").await, 0);
    stage.end().await;
}

#[tokio::test]
async fn a_playback_is_known_on_the_routes_of_its_authority_alone() {
    let server = license_server().await;
    let other = "authority = \"head-end\"";
    let stage = plain(&server).upstream("/other", &server.url(), other).start().await;
    let tv = player(&stage, &authorize(&stage, "tv", "film", "vod").await);
    let elsewhere = tv.clone().at(&tv.path.replace("/license", "/other"));
    assert_eq!(elsewhere.post(CLEARKEY).await.error(), (403, "unknown_playback".to_owned()));
    assert!(server.seen().is_empty() && tv.post(CLEARKEY).await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn consecutive_failures_end_live_playbacks_and_no_others() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    let _tv = playing(&stage, "tv", "game", "live").await;
    let phone = playing(&stage, "phone", "film", "vod").await;
    stage.headend.fault("fl-heartbeat", json!({"status": 503}), 1000).await;
    let ended = async || {
        let rows = stage.sessions().await;
        let state = |device: &str| rows.iter().find(|row| row["device"] == device).unwrap()["state"].clone();
        (state("tv"), state("phone")) == (json!("closed"), json!("failing"))
    };
    stage.eventually("only the live one ended", ended).await;
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"lost\""]).await, 1.0);
    assert!(phone.post(CLEARKEY).await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn a_playback_begins_though_the_heartbeat_service_is_down() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    stage.headend.fault("fl-heartbeat", json!({"status": 503}), 1).await;
    let _tv = playing(&stage, "tv", "film", "live").await;
    stage.only_session("live").await;
    stage.end().await;
}

#[tokio::test]
async fn a_lost_beat_is_sent_again_when_the_service_asked_for_it() {
    let server = license_server().await;
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let service = Upstream::answering(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Response::builder().status(503).header("retry-after", "1").body("".into()).unwrap(),
        _ => good("application/json", "{}"),
    })
    .await;
    let text = format!(
        "[[authority]]\nname = \"quickplay\"\nkind = \"firstlight\"\nheartbeat-url = \"{}\"\n\
         [[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"quickplay\"\n\
         authorize-url = \"{{headend}}/DEMO/fl/media/content/authorize\"\nlicense-route = \"/license\"\n",
        service.url()
    );
    let license_url = server.url();
    let stage = Stage::script()
        .settings(|settings| {
            settings.firstlight.frequency_ms = Some(3_600_000);
            settings.firstlight.license_url = Some(license_url);
        })
        .authority(&text)
        .upstream("/license", &server.url(), "authority = \"quickplay\"")
        .start()
        .await;
    let _tv = playing(&stage, "tv", "game", "live").await;
    stage.eventually("long before its turn", async || service.seen().len() == 2).await;
    stage.eventually("confirmed", async || stage.each("state").await == ["live"]).await;
    stage.end().await;
}

#[tokio::test]
async fn a_call_with_expired_credentials_is_retried_once_at_once() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    stage.headend.fault("fl-heartbeat", json!({"status": 401}), 1).await;
    let _tv = playing(&stage, "tv", "film", "live").await;
    assert_eq!(stage.each("state").await, ["live"]);
    assert_eq!(stage.headend.count("fl-heartbeat").await, 2);
    stage.end().await;
}

#[tokio::test]
async fn a_bookmark_arrives_with_the_last_beat() {
    let server = license_server().await;
    let url = "{headend}/DEMO/fl/media/content/authorize";
    let stage = script(&server, "record-bookmark = true", url).start().await;
    let tv = playing(&stage, "tv", "film", "vod").await;
    let report = "/~report?CMCD=e%3Dps%2Cpt%3D754000%2Csta%3Da%2Cv%3D2";
    assert_eq!(tv.post("").method(Method::GET).below(report).await.status, 204);
    tv.stop().await;
    stage.headend.next("stream-delete", 0).await;
    let books = stage.headend.books().await;
    assert_eq!(books["firstlight"]["bookmarks"], json!({"ann film": 754_000}));
    assert_eq!(beats(&stage).await.last().unwrap()["event"], "STOP");
    stage.end().await;
}

#[tokio::test]
async fn a_live_playback_ends_with_its_programme() {
    let server = license_server().await;
    let stage = plain(&server)
        .settings(|settings| (settings.firstlight.live_start, settings.firstlight.live_end) = (Some(-60), Some(2)))
        .start()
        .await;
    let tv = playing(&stage, "tv", "game", "live").await;
    let session = stage.only_session("closed").await;
    assert!(session["timeline"].as_array().unwrap().iter().any(|entry| entry["event"] == "LIVE_EVENT_END"));
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"programme-over\""]).await, 1.0);
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_ended".into()));
    stage.end().await;
}

#[tokio::test]
async fn a_playback_without_the_flag_is_not_beaten_and_its_license_passes() {
    let server = license_server().await;
    let stage = plain(&server).settings(|settings| settings.firstlight.flag = false).start().await;
    let _tv = playing(&stage, "tv", "trailer", "vod").await;
    assert_eq!(stage.headend.story().await, ["authorize"]);
    stage.end().await;
}

#[tokio::test]
async fn an_unregistered_playback_is_refused() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    let stranger = stage.stranger().at(&format!("/license/~{}", "0".repeat(32)));
    assert_eq!(stranger.post(CLEARKEY).await.error(), (403, "unknown_playback".into()));
    assert!(server.seen().is_empty());
    stage.end().await;
}

/// Possible replies of an authorization service, and whether each is passed on.
#[tokio::test]
async fn odd_authorizations_pass_through_untouched_or_are_refused() {
    let server = license_server().await;
    let deep = format!("{{\"other\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let refused =
        r#"{"contentUrl":"https://cdn.example/a.mpd","licenseUrl":"https://drm.example","header":{"code":-1}}"#;
    for (status, body) in [
        (200, "no json at all".to_owned()),
        (200, "{\"cut\":".to_owned()),
        (200, String::new()),
        (200, "[1,2]".to_owned()),
        (200, "{\"licenseUrl\":\"not a url\"}".to_owned()),
        (200, deep),
        (403, refused.to_owned()),
    ] {
        let told = body.clone();
        let service = Upstream::answering(move |_| {
            Response::builder().status(status).header("x-theirs", "1").body(told.clone().into()).unwrap()
        })
        .await;
        let stage = script(&server, "", &service.url()).start().await;
        let reply = app(&stage, "tv").post("{}").await;
        assert_eq!((reply.status.as_u16(), reply.text(), reply.header("x-theirs")), (status, body, "1"));
        stage.end().await;
    }
    let huge = Upstream::answering(|_| good("application/json", vec![b' '; 300 * 1024])).await;
    let stage = script(&server, "", &huge.url()).start().await;
    assert_eq!(app(&stage, "tv").post("{}").await.error(), (502, "authorization_failed".into()));
    assert_eq!(stage.metric("authorizations_total", &["outcome=\"failed\""]).await, 1.0);
    stage.end().await;
}

/// An unreadable reply may hold a blackout, and URLs that lead past sidebeat.
#[tokio::test]
async fn an_authorization_in_an_unread_encoding_is_refused_and_none_is_requested() {
    let server = license_server().await;
    for encoding in ["gzip", "br", "identity, gzip", "unheard-of"] {
        let service = Upstream::answering(move |_| {
            Response::builder().header("content-encoding", encoding).body("what it says".into()).unwrap()
        })
        .await;
        let stage = script(&server, "", &service.url()).start().await;
        let reply = app(&stage, "tv").with("accept-encoding", "gzip").post("{}").await;
        assert_eq!(reply.error(), (502, "authorization_failed".into()), "{encoding}");
        assert_eq!(service.only().header("accept-encoding"), "identity");
        assert_eq!(stage.metric("authorizations_total", &["outcome=\"failed\""]).await, 1.0);
        stage.end().await;
    }
}

/// Apps parse leniently: they may accept an authorization that sidebeat does not recognise.
#[tokio::test]
async fn a_reply_that_may_be_an_authorization_to_the_app_alone_does_not_pass() {
    let server = license_server().await;
    let block = r#"{"contentUrl":"https://cdn/a.mpd","licenseUrl":"https://drm/l","blackoutAction":"DENY"}"#;
    let wide: Vec<u8> = block.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = format!("{{\"contentUrl\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let rows = [
        format!("{},}}", &block[..block.len() - 1]).into_bytes(),
        format!("//x\n{block}").into_bytes(),
        format!("[{block}]").into_bytes(),
        format!("{{\"result\":{block}}}").into_bytes(),
        format!("cb({block})").into_bytes(),
        deep.into_bytes(),
        wide,
    ];
    for body in rows {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let service = Upstream::answering(move |_| good("application/json", body.clone())).await;
        let stage = script(&server, "", &service.url()).start().await;
        let reply = app(&stage, "tv").post("{}").await;
        assert_eq!(reply.error(), (502, "authorization_failed".into()), "{shown}");
        assert!(!reply.text().contains("cdn"), "{shown}");
        assert_eq!(stage.metric("authorizations_total", &["outcome=\"failed\""]).await, 1.0);
        stage.end().await;
    }
}

/// A browser's `json()` skips the mark. An action that is there but empty is none that is known.
#[tokio::test]
async fn a_byte_order_mark_or_an_empty_action_is_no_way_around_a_blackout() {
    let server = license_server().await;
    let block = |action: &str| {
        format!(
            "{{\"contentUrl\":\"https://cdn/a.mpd\",\"licenseUrl\":\"https://drm/l\",\"blackoutAction\":\"{action}\"}}"
        )
    };
    for body in [format!("\u{feff}{}", block("DENY")), block(""), block(" ALLOW")] {
        let told = body.clone();
        let service = Upstream::answering(move |_| good("application/json", told.clone())).await;
        let stage = script(&server, "", &service.url()).start().await;
        let reply = app(&stage, "tv").post("{}").await;
        assert!(reply.is_good() && !reply.text().contains("https://"), "{body}: {}", reply.text());
        assert_eq!(player(&stage, &reply.json()).post(CLEARKEY).await.error(), (403, "blackout".into()), "{body}");
        assert_eq!(stage.metric("authorizations_total", &["outcome=\"blackout\""]).await, 1.0);
        stage.end().await;
    }
}

/// Some servers name `identity` as the encoding.
#[tokio::test]
async fn an_authorization_that_names_the_identity_encoding_is_read() {
    let server = license_server().await;
    for encoding in ["identity", "Identity", ""] {
        let service = Upstream::answering(move |_| {
            let reply = Response::builder().header("content-encoding", encoding);
            let body = r#"{"contentUrl":"https://cdn/a.mpd","licenseUrl":"https://drm/l","blackoutAction":"DENY"}"#;
            reply.body(body.into()).unwrap()
        })
        .await;
        let stage = script(&server, "", &service.url()).start().await;
        let reply = app(&stage, "tv").post("{}").await;
        assert!(!reply.text().contains("https://cdn/"), "{encoding:?} {}", reply.text());
        assert!(!reply.headers.contains_key("content-encoding"), "{encoding:?}");
        assert_eq!(stage.metric("authorizations_total", &["outcome=\"blackout\""]).await, 1.0);
        stage.end().await;
    }
}

#[tokio::test]
async fn the_callers_own_headers_go_with_every_call_and_no_others() {
    let server = license_server().await;
    let service = Upstream::answering(|_| good("application/json", "{}")).await;
    let stage = script(&server, "", &format!("{}?key=k", service.url())).start().await;
    let app = app(&stage, "tv").with("authorization", "Bearer access").with("cookie", "a=b").with("x-else", "1");
    assert!(app.post("{\"a\":1}").below("/more?b=c").await.is_good());
    let asked = service.only();
    assert_eq!((asked.target.as_str(), &asked.body[..]), ("/acquire/more?key=k&b=c", &b"{\"a\":1}"[..]));
    assert_eq!((asked.header("authorization"), asked.header("x-authorization")), ("Bearer access", "ann"));
    assert_eq!((asked.header("cookie"), asked.header("x-else")), ("", ""));
    stage.end().await;
}

#[tokio::test]
async fn an_apps_server_registers_a_playback_by_the_admin_api() {
    let server = license_server().await;
    let stage = plain(&server).server("public-url = \"https://p.example/\"").start().await;
    // The service knows the token that it gave.
    let service = stage.headend.address;
    let ask = |body: Value| {
        let request = http::Request::builder().method(Method::POST).uri("/DEMO/fl/media/content/authorize");
        crate::web::send(service, None, request.header("host", "h").body(body.to_string().into()).unwrap())
    };
    let authorized = ask(json!({"deviceId": "tv", "contentId": "film"})).await.unwrap().json();
    let order = json!({
        "authority": "quickplay", "device": "tv", "license-route": "/license", "authorization": authorized,
        "headers": {"x-authorization": "user-1"},
    });
    let reply = stage.tell(Method::POST, "/v1/playbacks", &order).await;
    let told = reply.json();
    let url = told["license-url"].as_str().unwrap().strip_prefix("https://p.example").unwrap();
    assert_eq!(told["authorization"]["data"]["licenseUrl"], told["license-url"]);
    let tv = stage.stranger().at(url);
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.open().await, ["tv film"]);
    tv.stop().await;
    stage.headend.next("stream-delete", 0).await;
    for (change, why) in [
        (json!({"authority": "none"}), "no authority has this name"),
        (json!({"device": ""}), "the device must be a name of 1 to 256 bytes"),
        (json!({"authorization": 7}), "the authorization must be an object"),
        (json!({"else": 1}), "see docs/operations.md for the body"),
        (json!({"headers": {"a b": "c"}}), "headers must be names and texts"),
    ] {
        let mut order = order.clone();
        order.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let reply = stage.tell(Method::POST, "/v1/playbacks", &order).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["detail"]), (400, &json!(why)));
    }
    stage.end().await;
}

#[tokio::test]
async fn a_new_authorization_for_the_same_content_is_a_playback_of_its_own() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    let _before = playing(&stage, "tv", "news", "vod").await;
    let _after = playing(&stage, "tv", "news", "vod").await;
    let story = stage.headend.story().await;
    let calls: Vec<_> = story.iter().map(String::as_str).filter(|call| call.starts_with("stream")).collect();
    assert_eq!(calls, ["stream-put", "stream-delete", "stream-put"]);
    assert_eq!(stage.headend.open().await, ["tv news"]);
    stage.end().await;
}

#[tokio::test]
async fn the_second_service_may_fail_while_beats_succeed() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    stage.headend.fault("stream-put", json!({"status": 503}), 1000).await;
    let tv = playing(&stage, "tv", "game", "live").await;
    stage.headend.nth("fl-heartbeat", 5).await;
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.each("state").await, ["live"]);
    stage.end().await;
}

#[tokio::test]
async fn a_beat_of_an_ended_token_kills() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    let tv = playing(&stage, "tv", "game", "live").await;
    stage.headend.fault("fl-heartbeat", json!({"status": 410}), 1).await;
    stage.only_session("killed").await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".into()));
    stage.headend.next("stream-delete", 0).await;
    stage.end().await;
}

#[tokio::test]
async fn the_simulators_own_license_servers_give_what_was_authorized() {
    let server = license_server().await;
    let stage = plain(&server).settings(|settings| settings.firstlight.license_url = None).start().await;
    let body = json!({"deviceId": "tv", "contentId": "film", "drm": "clearkey"}).to_string();
    let told = app(&stage, "tv").post(body).await.json()["data"].clone();
    let keys = player(&stage, &told).post(CLEARKEY).header("content-type", "application/json").await;
    assert!(keys.is_good(), "{}", keys.text());
    assert_eq!(keys.json()["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(stage.headend.story().await, ["authorize", "stream-put", "fl-heartbeat", "license-clearkey"]);
    stage.end().await;
}

/// STOP wants no more beats, and leaves the device counted until it is given back.
#[tokio::test]
async fn a_service_that_wants_no_more_beats_gets_the_place_back_at_once() {
    for at_start in [true, false] {
        let server = license_server().await;
        let stage = plain(&server).start().await;
        if at_start {
            stage.headend.settings(json!({"firstlight": {"action": "STOP"}})).await;
        }
        let tv = playing(&stage, "tv", "game", "live").await;
        stage.headend.settings(json!({"firstlight": {"action": "STOP"}})).await;
        stage.headend.next("stream-delete", 0).await;
        stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
        assert!(tv.post(CLEARKEY).await.is_good(), "it plays on");
        assert_eq!(stage.headend.count("stream-delete").await, 1);
        stage.end().await;
    }
}

/// The process ends between the word and the close that follows from it, or while the close is on its way.
#[tokio::test]
async fn a_place_that_the_service_stopped_is_given_back_though_the_process_ends_right_then() {
    for last in ["fl-heartbeat", "stream-delete"] {
        let server = license_server().await;
        let stage = plain(&server).start().await;
        stage.headend.settings(json!({"firstlight": {"action": "STOP"}})).await;
        let _tv = playing(&stage, "tv", "game", "live").await;
        stage.headend.nth(last, 1).await;
        let books = stage.finish().await;
        assert_eq!(books["open"], json!([]), "left open after {last}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_given_back_at_once_is_given_back_later() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    let _tv = playing(&stage, "tv", "game", "live").await;
    stage.headend.fault("stream-delete", json!({"status": 503}), 2).await;
    stage.headend.settings(json!({"firstlight": {"action": "ABORT"}})).await;
    stage.only_session("killed").await;
    stage.headend.nth("stream-delete", 3).await;
    assert!(stage.headend.open().await.is_empty());
    stage.end().await;
}

/// The reply to a beat is lost with the token that it brought: the next beat's 404 is no kill.
#[tokio::test]
async fn a_token_that_was_lost_with_its_reply_is_no_kill() {
    let server = license_server().await;
    let stage = plain(&server).settings(|settings| settings.firstlight.rotate = true).start().await;
    let tv = playing(&stage, "tv", "game", "live").await;
    stage.headend.fault("fl-heartbeat", json!("lose-reply"), 1).await;
    // The authorization's own token was replaced as well: only the app can ask for another one.
    stage.eventually("opened anew", async || stage.headend.count("fl-heartbeat").await >= 2).await;
    stage.eventually("refused", async || stage.each("state").await == ["closed"]).await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "token_rejected".into()));
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"killed\""]).await, 0.0);
    let _again = playing(&stage, "tv", "game", "live").await;
    stage.end().await;
}

#[tokio::test]
async fn a_license_call_that_passes_without_a_registered_playback_is_warned_of() {
    let server = license_server().await;
    let stage = plain(&server).start().await;
    let unregistered = async || stage.metric("weak_identities_total", &["fault=\"unregistered\""]).await;
    let registered = playing(&stage, "tv", "news", "vod").await;
    assert_eq!(unregistered().await, 0.0, "it has the id of its authorization");
    let stranger = stage.stranger().with("x-device-id", "phone");
    assert!(stranger.post(CLEARKEY).await.is_good(), "without an id it passes, and nobody limits it");
    assert_eq!(unregistered().await, 1.0);
    let warnings = stage.ask(Method::GET, "/v1/configuration").await.json()["warnings"].to_string();
    assert!(warnings.contains("session-control: is \\\"auto\\\": a license call without the id"), "{warnings}");
    assert_eq!(registered.stop().await.status, 204);
    stage.end().await;

    let always = "authority = \"quickplay\"\nsession-control = \"always\"";
    let stage = plain(&server).upstream("/strict", &server.url(), always).start().await;
    let refused = stage.stranger().with("x-device-id", "phone").at("/strict").post(CLEARKEY).await;
    assert_eq!(refused.error(), (403, "token_missing".to_owned()));
    assert_eq!(stage.metric("weak_identities_total", &[]).await, 0.0);
    stage.end().await;
}
