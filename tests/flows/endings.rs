//! Tests which evidence ends a playback, and which does not.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::player::{CLEARKEY, Player, widevine_new, widevine_renewal};
use crate::preloads::plays;
use crate::stage::{Script, Stage};
use crate::web::Http2;

/// Connections that are gone count at once.
const AT_ONCE: &str = "[route.endings]\nconnections-gone = \"1ms\"";

fn route(system: &str, lines: &str) -> Script {
    Stage::script().route("/license", system, lines)
}

/// A kept-alive connection from this address.
async fn connect(stage: &Stage, from: &str) -> SendRequest<Full<Bytes>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0)).unwrap();
    let stream = socket.connect(stage.proxy).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    stage.headend.tasks.spawn(async move {
        let _ended = connection.await;
    });
    sender
}

fn request(player: &Player, target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(Method::POST).uri(target);
    for (name, value) in &player.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(body.into())).unwrap()
}

async fn post(line: &mut SendRequest<Full<Bytes>>, player: &Player, body: impl Into<Bytes>) {
    let mut request = request(player, "/license", body);
    request.headers_mut().insert("host", "proxy.test".parse().unwrap());
    let reply = line.send_request(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.into_body().collect().await.unwrap();
}

/// For each session, true if its player's connections are gone.
async fn gone(stage: &Stage) -> Vec<bool> {
    stage.sessions().await.iter().map(|row| !row["connections_gone_s"].is_null()).collect()
}

async fn ended(stage: &Stage, reason: &str) -> f64 {
    stage.metric("sessions_ended_total", &[&format!("reason=\"{reason}\"")]).await
}

#[tokio::test]
async fn the_end_of_a_connection_reaches_every_device_that_it_served() {
    let stage = route("clearkey", "").start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player("phone", "film").await);
    let (mut shared, mut own) = (connect(&stage, "127.0.0.1").await, connect(&stage, "127.0.0.1").await);
    post(&mut shared, &tv, CLEARKEY).await;
    post(&mut shared, &phone, CLEARKEY).await;
    post(&mut own, &phone, CLEARKEY).await;
    assert_eq!(gone(&stage).await, [false, false]);
    drop(shared);
    stage.eventually("one gone", async || gone(&stage).await.contains(&true)).await;
    let rows = stage.sessions().await;
    let phones: Vec<_> = rows.iter().filter(|row| row["device"] == "phone").collect();
    assert!(phones[0]["connections_gone_s"].is_null(), "it has another one: {phones:?}");
    drop(own);
    stage.eventually("both gone", async || gone(&stage).await == [true, true]).await;
    assert_eq!(stage.each("state").await, ["live", "live"], "which ends nothing");
    stage.end().await;
}

#[tokio::test]
async fn the_end_of_an_http_2_connection_reaches_its_devices_too() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::script().secure(folder.path().to_owned()).route("/license", "clearkey", "").start().await;
    let tv = stage.player("tv", "news").await;
    let mut client = Http2::connect(stage.proxy, &folder.path().join("certs/ca.pem"), &stage.headend.tasks).await;
    assert!(client.send(request(&tv, "https://localhost/license", CLEARKEY)).await.is_good());
    assert_eq!(gone(&stage).await, [false]);
    drop(client);
    stage.eventually("gone", async || gone(&stage).await == [true]).await;
    stage.end().await;
}

#[tokio::test]
async fn a_reconnect_behind_nat_keeps_the_session() {
    let stage = route("widevine", AT_ONCE).start().await;
    let tv = stage.player("tv", "news").await;
    let mut line = connect(&stage, "127.0.0.1").await;
    post(&mut line, &tv, widevine_new("video")).await;
    drop(line);
    stage.eventually("gone", async || gone(&stage).await == [true]).await;
    // The device is the same by its header, from another address and port.
    let mut line = connect(&stage, "127.0.0.2").await;
    post(&mut line, &tv, widevine_renewal("video")).await;
    assert_eq!(gone(&stage).await, [false]);
    assert_eq!(stage.headend.story().await, ["setup", "license-widevine", "renewal"]);
    drop(line);
    stage.end().await;
}

#[tokio::test]
async fn a_paused_player_keeps_its_session() {
    let stage = route("clearkey", AT_ONCE).heartbeat(0.3).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    // The player sends nothing, and its connection is gone: a browser has closed it.
    stage.headend.nth("heartbeat", 6).await;
    assert_eq!((stage.each("state").await, gone(&stage).await), (vec!["live".to_owned()], vec![true]));
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_keeps_its_keys_keeps_its_session() {
    let lasting = |settings: &mut sidebeat_simulator::Settings| {
        (settings.widevine.can_renew, settings.widevine.duration) = (false, 0);
    };
    let stage = route("widevine", AT_ONCE).authority("grace = \"0s\"").settings(lasting).heartbeat(0.3).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    stage.headend.nth("heartbeat", 6).await;
    assert_eq!(stage.each("state").await, ["live"]);
    assert_eq!(stage.headend.count("license-widevine").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_never_calls_again_is_over_when_its_license_has_run_out() {
    let short = |settings: &mut sidebeat_simulator::Settings| {
        (settings.widevine.can_renew, settings.widevine.duration) = (false, 1);
    };
    let stage = route("widevine", "").authority("grace = \"0s\"").settings(short).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert_eq!(ended(&stage, "license-expired").await, 1.0);
    // A player that was believed gone and is not may start again.
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.headend.count("setup").await, 2);
    stage.end().await;
}

#[tokio::test]
async fn evidence_that_is_switched_off_ends_nothing() {
    let off = "[route.endings]\nstop = false\nquit = false\nrelease = false";
    let stage = route("widevine", off).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert_eq!(tv.stop().await.status, 204);
    let quits = "e=ps,sid=\"s\",sta=q,v=2\n";
    assert_eq!(tv.post(quits).below("/~report").header("content-type", "application/cmcd").await.status, 204);
    assert_eq!(stage.each("player").await, ["quit"]);
    tv.release("video").await;
    assert_eq!(stage.each("state").await, ["live"]);
    assert_eq!(stage.headend.count("teardown").await, 0);
    stage.end().await;
}

#[tokio::test]
async fn sound_and_picture_a_key_rotation_and_a_seek_are_one_session() {
    let stage = Stage::widevine().settings(|settings| settings.limit = 1).start().await;
    let tv = stage.player("tv", "news").await;
    for key_session in ["audio", "video", "hd"] {
        assert!(tv.license(key_session).await.is_good(), "{key_session}");
    }
    assert!(tv.renew("video").await.is_good());
    // New keys while it plays; then a seek, after which everything is asked for anew.
    for key_session in ["video, rotated", "audio, again", "video, again", "hd, again"] {
        assert!(tv.license(key_session).await.is_good(), "{key_session}");
    }
    assert!(tv.renew("audio, again").await.is_good());
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("teardown").await), (1, 0));
    assert_eq!(stage.only_session("live").await["key_sessions"], json!(7));
    stage.end().await;
}

#[tokio::test]
async fn two_tabs_of_a_device_are_two_playbacks_if_there_is_room_and_else_a_zap() {
    for (places, first) in [(2, 200), (1, 403)] {
        let stage = route("widevine", &format!("sessions-per-device = {places}")).start().await;
        let (one, other) = (stage.player("tv", "news").await, stage.player("tv", "film").await);
        assert!(one.license("one").await.is_good() && other.license("other").await.is_good());
        plays(&other).await;
        // Each tab continues with its own key session, or learns that it lost its place.
        assert_eq!(one.renew("one").await.status, first);
        assert!(other.renew("other").await.is_good());
        stage.end().await;
    }
}

/// A player of the news with a content token of its own.
async fn tab(stage: &Stage) -> Player {
    stage.player_with("tv", &stage.headend.token("account=ann&device=tv&content=news&once=true").await)
}

#[tokio::test]
async fn a_closed_tab_does_not_end_another_tab_with_the_same_content() {
    for (places, turns) in [(1, false), (2, false), (1, true), (2, true)] {
        let stage = route("widevine", &format!("sessions-per-device = {places}")).start().await;
        let (one, other) = (tab(&stage).await, tab(&stage).await);
        assert!(one.license("one").await.is_good() && other.license("other").await.is_good());
        if turns {
            assert!(one.renew("one").await.is_good() && other.renew("other").await.is_good());
        }
        // It calls by a license call and by a beacon.
        for _ in 0..2 {
            assert_eq!(one.stop().await.status, 204);
        }
        let renewed = other.renew("other").await;
        assert!(renewed.is_good(), "{places} places: {:?}", renewed.error());
        one.stop().await;
        assert!(other.renew("other").await.is_good());
        // A stop call is answered before the authority is told.
        stage.eventually("one place is taken", async || stage.headend.open().await == ["tv news"]).await;
        // While they take turns the session goes on; else the other one has opened another.
        let opened = if turns { 1 } else { 2 };
        assert_eq!((stage.headend.count("setup").await, stage.headend.count("teardown").await), (opened, opened - 1));
        other.stop().await;
        stage.headend.nth("teardown", opened).await;
        assert_eq!(stage.headend.open().await, [""; 0]);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_player_that_fetches_a_fresh_token_for_every_license_has_one_session_and_is_stopped_at_once() {
    let stage = route("widevine", "sessions-per-device = 2").start().await;
    let first = tab(&stage).await;
    assert!(first.license("audio").await.is_good());
    for key_session in ["video", "video, rotated"] {
        assert!(tab(&stage).await.license(key_session).await.is_good());
        assert!(tab(&stage).await.renew(key_session).await.is_good());
    }
    first.stop().await;
    stage.headend.next("teardown", 0).await;
    assert_eq!(stage.headend.count("setup").await, 1);
    assert_eq!(stage.headend.open().await, [""; 0]);
    stage.end().await;
}

#[tokio::test]
async fn a_zap_back_before_the_close_continues_the_same_session() {
    let stage = Stage::widevine().settings(|settings| settings.limit = 1).start().await;
    stage.headend.fault("setup", json!({"delay_ms": 1000}), 1).await;
    let (news, film) = (stage.player("tv", "news").await, stage.player("tv", "film").await);
    let mut calls = tokio::task::JoinSet::new();
    calls.spawn(news.license("one").into_future());
    stage.eventually("opening", async || stage.each("state").await == ["opening"]).await;
    calls.spawn(film.license("two").into_future());
    stage.eventually("zapped", async || stage.sessions().await.len() == 2).await;
    let reply = news.license("three").await;
    assert!(reply.is_good(), "{}", reply.text());
    calls.join_all().await;
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("teardown").await), (1, 0));
    assert_eq!(stage.headend.open().await, ["tv news"]);
    stage.end().await;
}

#[tokio::test]
async fn a_connection_that_the_proxy_closed_is_no_evidence() {
    for limits in ["idle = \"300ms\"", "lifetime = \"300ms\""] {
        let stage = route("widevine", AT_ONCE).limits(limits).start().await;
        let tv = stage.player("tv", "news").await;
        let mut line = connect(&stage, "127.0.0.1").await;
        post(&mut line, &tv, widevine_new("video")).await;
        stage.eventually("closed", async || line.is_closed()).await;
        stage.eventually("gone", async || stage.metric("edge_connections", &[]).await == 0.0).await;
        assert_eq!(gone(&stage).await, [false], "{limits}");
        // A connection that the player closes still is evidence.
        let mut line = connect(&stage, "127.0.0.1").await;
        post(&mut line, &tv, widevine_renewal("video")).await;
        drop(line);
        stage.eventually("gone", async || gone(&stage).await == [true]).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_reply_after_which_the_proxy_closes_is_no_evidence() {
    let stage = route("widevine", AT_ONCE).start().await;
    let tv = stage.player("tv", "news").await;
    let body = widevine_new("video");
    let mut head = "POST /license HTTP/1.1\r\nhost: proxy.test\r\ntransfer-encoding: chunked\r\n".to_owned();
    tv.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    let mut stream = TcpStream::connect(stage.proxy).await.unwrap();
    let request = [head.as_bytes(), format!("\r\n{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    stream.write_all(&request).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
    drop(stream);
    stage.eventually("gone", async || stage.metric("edge_connections", &[]).await == 0.0).await;
    assert_eq!(gone(&stage).await, [false]);
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_gives_no_sign_for_the_longest_time_is_over() {
    let stage = route("clearkey", "[route.endings]\nlongest = \"2500ms\"").heartbeat(0.5).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert_eq!(ended(&stage, "longest").await, 1.0);
    assert!(stage.headend.count("heartbeat").await >= 1, "it was beaten until then");
    // A player that was believed gone and is not may start again.
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.end().await;
}
