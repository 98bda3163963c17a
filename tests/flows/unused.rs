//! Tests that a session whose player receives nothing ends soon, even if heartbeats succeed.

use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::media::{self, Origin};
use crate::player::CLEARKEY;
use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good, nobody, status};

/// Before the first beat of a stage, and after a license call on a busy machine.
const SOON: &str = "[route.endings]\nunused = \"700ms\"";

fn route(server: &str) -> Script {
    Stage::script().upstream("/license", server, &format!("authority = \"head-end\"\ntimeout = \"5s\"\n{SOON}"))
}

async fn ended_unused(stage: &Stage) {
    assert_eq!(stage.only_session("closed").await["served"], false);
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"unused\""]).await, 1.0);
}

#[tokio::test]
async fn a_license_server_that_refuses_or_is_down_holds_no_place() {
    let refusing = Upstream::answering(|_| status(403)).await;
    for (url, status) in [(refusing.url(), 403), (format!("http://{}/acquire", nobody().await), 503)] {
        let stage = route(&url).start().await;
        let tv = stage.player("tv", "news").await;
        assert_eq!(tv.post(CLEARKEY).await.status, status);
        assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
        ended_unused(&stage).await;
        // A player that retries begins anew.
        assert_eq!(tv.post(CLEARKEY).await.status, status);
        assert_eq!(stage.headend.count("setup").await, 2);
        stage.end().await;
    }
}

#[tokio::test]
async fn an_undeliverable_reply_is_no_use() {
    let html = Upstream::answering(|_| good("text/html", "<html>maintenance</html>")).await;
    let body = "[route.body]\nserver-reply = \"json:license\"\nplayer-reply = \"raw\"";
    let lines = format!("authority = \"head-end\"\n{SOON}\n{body}");
    let stage = Stage::script().upstream("/license", &html.url(), &lines).start().await;
    assert_eq!(stage.player("tv", "news").await.post(CLEARKEY).await.status, 403);
    ended_unused(&stage).await;
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_hangs_up_while_its_session_is_opened_holds_no_place() {
    let stage = Stage::script().route("/license", "clearkey", SOON).start().await;
    stage.headend.fault("setup", json!({"delay_ms": 300}), 1).await;
    let tv = stage.player("tv", "news").await;
    {
        let call = std::pin::pin!(tv.post(CLEARKEY).attempt());
        tokio::select! {
            _reply = call => panic!("the open takes longer"),
            () = stage.eventually("opening", async || stage.each("state").await == ["opening"]) => {}
        }
    }
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    ended_unused(&stage).await;
    assert_eq!(stage.headend.count("license-clearkey").await, 0, "a license for nobody");
    stage.end().await;
}

#[tokio::test]
async fn a_license_that_comes_when_the_player_has_hung_up_is_no_use() {
    let go = std::sync::Arc::new(Semaphore::new(0));
    let held = go.clone();
    let server = Upstream::raw(move |mut stream| {
        let held = held.clone();
        async move {
            let _go = held.acquire().await;
            let reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            let _gone = tokio::io::AsyncWriteExt::write_all(&mut stream, reply).await;
        }
    })
    .await;
    let stage = route(&server.url()).start().await;
    let tv = stage.player("tv", "news").await;
    {
        let call = std::pin::pin!(tv.post(CLEARKEY).attempt());
        tokio::select! {
            _reply = call => panic!("the license is held back"),
            () = stage.eventually("asked", async || stage.each("state").await == ["live"]) => {}
        }
    }
    go.add_permits(1);
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    ended_unused(&stage).await;
    stage.end().await;
}

#[tokio::test]
async fn a_player_with_its_license_keeps_its_session() {
    let stage = Stage::script().route("/license", "clearkey", SOON).heartbeat(0.5).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.nth("heartbeat", 4).await;
    assert_eq!(stage.each("state").await, ["live"]);
    stage.end().await;
}

/// A denial in plain words is no use, to any caller.
#[tokio::test]
async fn a_denial_in_plain_words_is_no_license_and_no_use() {
    for (asked, said) in [(CLEARKEY, "This account may not watch this."), ("hello", "Access denied"), ("hello", "{}")] {
        let server = Upstream::answering(move |call| match &call.body[..] {
            body if body == asked.as_bytes() => good("text/plain", said),
            _ => status(403),
        })
        .await;
        let stage = route(&server.url()).heartbeat(0.5).start().await;
        let tv = stage.player("tv", "news").await;
        if asked != CLEARKEY {
            assert_eq!(tv.post(CLEARKEY).await.status, 403);
        }
        assert_eq!(tv.post(asked).await.text(), said, "it is passed on as it came");
        ended_unused(&stage).await;
        stage.end().await;
    }
}

/// The player may have received a license in unknown words.
#[tokio::test]
async fn an_unreadable_call_with_its_token_counts_as_use() {
    // In an unknown system a key alone may be the license.
    for license in [crate::upstream::OPAQUE, "{\"k\":\"AAECAwQFBgcICQoLDA0ODw\"}"] {
        let server = Upstream::answering(move |asked| match &asked.body[..] {
            b"hello" => good("application/x-any", license),
            _ => status(403),
        })
        .await;
        let stage = route(&server.url()).heartbeat(0.5).start().await;
        let tv = stage.player("tv", "news").await;
        assert_eq!(tv.post(CLEARKEY).await.status, 403);
        assert!(tv.post("hello").await.is_good());
        stage.headend.nth("heartbeat", 4).await;
        assert_eq!(stage.each("state").await, ["live"], "{license}");
        stage.end().await;
    }
}

/// The path of its content at sidebeat.
async fn register(stage: &Stage, device: &str, content: &str) -> String {
    registered(stage, device, content).await.0
}

/// The paths of its content and its licenses at sidebeat.
async fn registered(stage: &Stage, device: &str, content: &str) -> (String, String) {
    let order = json!({
        "authority": "home", "device": device, "license-route": "/license", "media-route": "/media",
        "authorization": {"contentId": "c", "heartbeatFlag": true, "heartbeatToken": "t", "contentUrl": content},
    });
    let reply = stage.tell(Method::POST, "/v1/playbacks", &order).await.json();
    let path = |url: &Value, route: &str| {
        let url = url.as_str().unwrap_or_else(|| panic!("{reply}"));
        url[url.find(route).unwrap()..].to_owned()
    };
    (path(&reply["authorization"]["contentUrl"], "/media/~"), path(&reply["license-url"], "/license/~"))
}

/// Its player continues with its earlier license, in a session that began with a lost license.
#[tokio::test]
async fn a_player_that_fetches_media_in_a_session_without_a_license_stays() {
    let title = "#EXTM3U\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n";
    let origin = Origin::with(vec![("/vod/film.m3u8", media::HLS, title.to_owned())]).await;
    let refusing = Upstream::answering(|_| status(403)).await;
    let licenses = format!("authority = \"home\"\n{SOON}");
    let stage = media::route(&origin, SOON).upstream("/license", &refusing.url(), &licenses).start().await;
    let (content, license) = registered(&stage, "tv", &format!("{}/vod/film.m3u8", origin.url())).await;
    let (path, reply) = media::begin(&stage, "tv", &content).await;
    assert!(reply.is_good());
    let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
    assert!(stage.ask(Method::DELETE, &format!("/v1/sessions/{id}")).await.is_good());
    stage.only_session("closed").await;
    let tv = stage.stranger().with("x-device-id", "tv").at(&license);
    assert_eq!(tv.post(CLEARKEY).await.status, 403);
    let segment = path.replace("film.m3u8", "7.m4s");
    let (reply, ()) = tokio::join!(media::fetch(&stage, "tv", &segment), async {
        media::answer(&mut origin.next().await, 4, 4).await;
    });
    assert!(reply.is_good(), "{}", reply.text());
    // A later playback that receives nothing ends.
    assert_eq!(media::fetch(&stage, "phone", "/media/film.m3u8").await.status, 302);
    stage.eventually("ended", async || stage.metric("sessions_ended_total", &["reason=\"unused\""]).await > 0.0).await;
    let rows = stage.sessions().await;
    let live: Vec<_> = rows.iter().filter(|row| row["state"] == "live").map(|row| &row["device"]).collect();
    assert_eq!(live, ["tv"]);
    stage.end().await;
}

#[tokio::test]
async fn fetched_media_hold_a_place_and_unfetched_media_do_not() {
    let title = "#EXTM3U\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n";
    let origin = Origin::with(vec![("/vod/film.m3u8", media::HLS, title.to_owned())]).await;
    let stage = media::route(&origin, SOON).start().await;
    let (_, reply) = media::begin(&stage, "tv", "/media/film.m3u8").await;
    assert!(reply.is_good());
    // Of a registered playback, only the manifest may ever pass through sidebeat.
    let registered = register(&stage, "box", &format!("{}/vod/film.m3u8", origin.url())).await;
    let (_, reply) = media::begin(&stage, "box", &registered).await;
    assert!(reply.is_good());
    for (device, path) in [("phone", "/media/film.m3u8"), ("fridge", "/media/none.m3u8")] {
        let sent = media::fetch(&stage, device, path).await;
        assert_eq!(sent.status, 302, "{device}");
        // The one does not follow, and the other gets nothing there.
        if device == "fridge" {
            let lost = async { drop(origin.next().await) };
            let (reply, ()) = tokio::join!(media::fetch(&stage, device, sent.header("location")), lost);
            assert_eq!(reply.status, 502);
        }
    }
    stage.eventually("ended", async || stage.metric("sessions_ended_total", &["reason=\"unused\""]).await == 2.0).await;
    let rows = stage.sessions().await;
    let live: Vec<_> = rows.iter().filter(|row| row["state"] == "live").map(|row| &row["device"]).collect();
    assert_eq!(live.len(), 2, "{live:?}");
    assert!(live.iter().all(|device| *device == "tv" || *device == "box"), "{live:?}");
    stage.end().await;
}

#[tokio::test]
async fn a_head_request_begins_no_session() {
    let title = "#EXTM3U\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n";
    let origin = Origin::with(vec![("/vod/film.m3u8", media::HLS, title.to_owned())]).await;
    let stage = media::route(&origin, "").start().await;
    let tv = stage.stranger().with("x-device-id", "tv").at("/media/film.m3u8?token=hush&CMCD=sid%3D%22s%22&a=1");
    let looked = tv.post("").method(Method::HEAD).await;
    assert_eq!((looked.status.as_u16(), origin.lines()), (200, vec!["HEAD /vod/film.m3u8?a=1 HTTP/1.1".to_owned()]));
    // A head request to a forgotten playback begins none either.
    let forgotten = format!("/media/~{}/film.m3u8", "0".repeat(32));
    let looked = tv.clone().at(&forgotten).post("").method(Method::HEAD).await;
    assert_eq!((looked.status.as_u16(), origin.lines().len()), (200, 2));
    assert!(stage.sessions().await.is_empty());
    // The playback begins when its manifest is fetched.
    let again = tv.post("").method(Method::GET).await;
    assert_eq!(again.status, 302);
    assert_eq!(stage.each("state").await, ["live"]);
    stage.end().await;
}

/// There is no playback yet below whose path its player could follow them.
#[tokio::test]
async fn a_head_request_is_answered_from_behind_the_origins_redirects() {
    let origin = Origin::with(vec![]).await;
    let stage = media::route(&origin, "").start().await;
    let elsewhere = format!("http://{}/cdn/film.m3u8", origin.address);
    let looks = [
        ("301 Moved Permanently", "node/film.m3u8?sig=1", "/vod/node/film.m3u8?sig=1"),
        ("302 Found", elsewhere.as_str(), "/cdn/film.m3u8"),
        ("307 Temporary Redirect", "/vod/film", "/vod/film"),
    ];
    for (name, (status, location, expected)) in
        ["film.m3u8", "film"].into_iter().flat_map(|name| looks.map(|look| (name, look)))
    {
        let tv = stage.stranger().with("x-device-id", "tv").at(&format!("/media/{name}?token=hush&a=1"));
        let (reply, line) = tokio::join!(tv.post("").method(Method::HEAD), async {
            let sent = format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            origin.next().await.stream.write_all(sent.as_bytes()).await.unwrap();
            let mut asked = origin.next().await;
            let found = b"HTTP/1.1 200 OK\r\nx-there: yes\r\ncontent-length: 9\r\n\r\n";
            asked.stream.write_all(found).await.unwrap();
            asked.head.lines().next().unwrap().to_owned()
        });
        assert_eq!((reply.status.as_u16(), reply.header("x-there")), (200, "yes"), "{name} {status}");
        assert_eq!(line, format!("HEAD {expected} HTTP/1.1"), "{name} {status}");
    }
    // Redirects beyond the route, and without an end.
    for (location, hops, expected) in [("https://elsewhere.example/a", 1, 403), ("film.m3u8?a=1", 11, 502)] {
        let tv = stage.stranger().with("x-device-id", "tv").at("/media/film.m3u8?a=1");
        let (reply, ()) = tokio::join!(tv.post("").method(Method::HEAD), async {
            for _ in 0..hops {
                let sent = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
                origin.next().await.stream.write_all(sent.as_bytes()).await.unwrap();
            }
        });
        assert_eq!((reply.status.as_u16(), reply.header("location")), (expected, ""), "{location}");
    }
    assert!(stage.sessions().await.is_empty());
    stage.end().await;
}
