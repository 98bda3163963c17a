//! Tests FirstLight with a media route: authorization, manifest, license and segments are one playback.

use http::Method;
use serde_json::{Value, json};

use crate::firstlight::{app, license_server};
use crate::player::{CLEARKEY, Player};
use crate::stage::Stage;
use crate::upstream::Upstream;
use crate::web::Reply;

const SERVICES: &str = "heartbeat-url = \"{headend}/DEMO/fl/\"\nstream-concurrency-url = \"{headend}/DEMO/fl/\"";

/// The head-end's own channel is the content, and its slate what is shown in its place.
async fn stage(server: &Upstream) -> Stage {
    stage_of(server, "live/main.m3u8").await
}

async fn stage_of(server: &Upstream, content: &str) -> Stage {
    let license_url = server.url();
    let folder = content.split('/').next().unwrap();
    let tables = format!(
        "[[authority]]\nname = \"quickplay\"\nkind = \"firstlight\"\n{SERVICES}\n\
         record-bookmark = true\n\
         [[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"quickplay\"\n\
         authorize-url = \"{{headend}}/DEMO/fl/media/content/authorize\"\n\
         license-route = \"/license\"\nmedia-route = \"/media\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\nauthority = \"quickplay\"\norigin = \"{{headend}}/{folder}\"\n"
    );
    let stage = Stage::script()
        .settings(|settings| {
            settings.firstlight.frequency_ms = Some(1000);
            settings.firstlight.license_url = Some(license_url);
        })
        .upstream("/license", &server.url(), "authority = \"quickplay\"")
        .tables(&tables)
        .start()
        .await;
    let slate = "slate/main.m3u8";
    let url = |path: &str| format!("http://{}/{path}", stage.headend.address);
    stage.headend.settings(json!({"firstlight": {"content_url": url(content), "blackout_url": url(slate)}})).await;
    stage
}

async fn authorize(stage: &Stage) -> Value {
    authorize_as(stage, "live").await
}

async fn authorize_as(stage: &Stage, kind: &str) -> Value {
    let body = json!({"deviceId": "tv", "contentId": "game", "contentTypeId": kind}).to_string();
    let reply = app(stage, "tv").post(body).header("content-type", "application/json").await;
    assert!(reply.is_good(), "{}", reply.text());
    reply.json()["data"].clone()
}

/// A player that knows this URL alone.
fn at(stage: &Stage, url: &Value, route: &str) -> Player {
    let url = url.as_str().unwrap();
    let at = url.find(route).unwrap_or_else(|| panic!("{url} does not lead through us"));
    stage.stranger().at(&url[at..])
}

async fn get(stage: &Stage, path: &str) -> Reply {
    stage.stranger().at(path).post("").method(Method::GET).await
}

/// Resolves `uri` for a player that has the manifest from `path`.
fn beside(path: &str, uri: &str) -> String {
    if uri.starts_with('/') { uri.to_owned() } else { format!("{}/{uri}", path.rsplit_once('/').unwrap().0) }
}

fn uris(playlist: &str) -> Vec<&str> {
    playlist.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

/// Plays from the authorization to the media playlist; returns its path and text.
async fn begin(stage: &Stage, authorization: &Value) -> (String, String) {
    let sent = at(stage, &authorization["contentUrl"], "/media/~").post("").method(Method::GET).await;
    assert_eq!(sent.status, 302, "{}", sent.text());
    let main = sent.header("location").to_owned();
    assert_eq!(stage.headend.count("fl-heartbeat").await, 0, "nothing was played yet");
    let reply = get(stage, &main).await;
    assert!(reply.is_good(), "{}", reply.text());
    assert_eq!(stage.headend.count("fl-heartbeat").await, 1, "the manifest opens the session");
    let path = beside(&main, uris(&reply.text())[0]);
    let reply = get(stage, &path).await;
    assert!(reply.is_good(), "{}", reply.text());
    (path, reply.text())
}

#[tokio::test]
async fn an_authorized_playback_is_one_for_media_and_license_and_a_kill_stops_its_stream() {
    let server = license_server().await;
    let stage = stage(&server).await;
    let authorization = authorize(&stage).await;
    let (path, playlist) = begin(&stage, &authorization).await;
    let segment = beside(&path, uris(&playlist)[0]);
    assert!(get(&stage, &segment).await.is_good());
    let tv = at(&stage, &authorization["licenseUrl"], "/license/~");
    assert!(tv.post(CLEARKEY).await.is_good());
    let session = stage.only_session("live").await;
    assert_eq!((&session["device"], &session["content"]), (&json!("tv"), &json!("game")));
    assert_eq!(stage.headend.open().await, ["tv game"]);
    let id = session["id"].as_str().unwrap();
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
    for path in [&path, &segment] {
        assert_eq!(get(&stage, path).await.error(), (403, "session_killed".into()));
    }
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".into()));
    stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
    stage.end().await;
}

#[tokio::test]
async fn a_blackout_by_a_beat_shows_the_slate_on_the_media_route() {
    let server = license_server().await;
    let stage = stage(&server).await;
    let (path, _) = begin(&stage, &authorize(&stage).await).await;
    stage.headend.settings(json!({"firstlight": {"blackout": ["game"]}})).await;
    stage.only_session("killed").await;
    let reply = get(&stage, &path).await;
    let text = reply.text();
    assert!(reply.is_good() && text.contains("#EXT-X-DISCONTINUITY\n") && text.contains("/~s/p/"), "{text}");
    let segment = beside(&path, uris(&text)[0]);
    assert!(get(&stage, &segment).await.is_good(), "{segment}");
    stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
    stage.end().await;
}

/// The viewer travels: the beat brings the blackout, and a title's player has its manifests already.
#[tokio::test]
async fn a_title_blacked_out_during_playback_is_refused_as_blackout_on_every_path() {
    for (manifest, slate) in [("vod/main.m3u8", false), ("vod/main.m3u8", true), ("vod/main.mpd", false)] {
        let server = license_server().await;
        let stage = stage_of(&server, manifest).await;
        if !slate {
            stage.headend.settings(json!({"firstlight": {"blackout_url": null}})).await;
        }
        let authorization = authorize_as(&stage, "vod").await;
        let tv = at(&stage, &authorization["licenseUrl"], "/license/~");
        let sent = at(&stage, &authorization["contentUrl"], "/media/~").post("").method(Method::GET).await;
        let main = sent.header("location").to_owned();
        assert!(get(&stage, &main).await.is_good(), "{main}");
        let own = main.rsplit_once('/').unwrap().0;
        let segment = format!("{own}/v/31.m4s");
        assert!(get(&stage, &segment).await.is_good() && tv.post(CLEARKEY).await.is_good());
        stage.headend.settings(json!({"firstlight": {"blackout": ["game"]}})).await;
        let session = stage.only_session("killed").await;
        let other = format!("{own}/~h/s/cdn.example/{manifest}");
        let left = format!("{own}/~s/p/{}/slate/v/0.m4s", stage.headend.address);
        let mut dark = vec![&other];
        if slate {
            assert!(get(&stage, &main).await.text().contains("/~s/p/"), "the slate");
            assert!(get(&stage, &left).await.is_good(), "{left}");
        } else {
            dark.extend([&main, &segment, &left]);
        }
        for path in dark {
            assert_eq!(get(&stage, path).await.error(), (403, "blackout".into()), "{path}");
            let looked = stage.stranger().at(path).post("").method(Method::HEAD).await;
            assert_eq!((looked.status.as_u16(), looked.header("x-ssm-error")), (403, "blackout"), "{path}");
        }
        assert_eq!(tv.post(CLEARKEY).await.error(), (403, "blackout".into()));
        // Forgotten here, it is what the head-end still says; and what is left of a slate is no programme.
        let id = session["id"].as_str().unwrap();
        assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/forgive")).await.status.is_success());
        for path in [&left, &main, &other].into_iter().chain((!slate).then_some(&segment)) {
            assert_eq!(get(&stage, path).await.error(), (403, "blackout".into()), "{path}");
        }
        stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_device_beyond_the_limit_gets_no_manifest() {
    let server = license_server().await;
    let stage = stage(&server).await;
    stage.headend.settings(json!({"firstlight": {"limit": 0}})).await;
    let authorization = authorize(&stage).await;
    let sent = at(&stage, &authorization["contentUrl"], "/media/~").post("").method(Method::GET).await;
    assert_eq!(get(&stage, sent.header("location")).await.error(), (403, "limit_reached".into()));
    stage.end().await;
}

#[tokio::test]
async fn consecutive_failures_end_a_live_stream_on_a_media_route() {
    let server = license_server().await;
    let stage = stage(&server).await;
    let authorization = authorize(&stage).await;
    let (path, playlist) = begin(&stage, &authorization).await;
    let tv = at(&stage, &authorization["licenseUrl"], "/license/~");
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.fault("fl-heartbeat", json!({"status": 503}), 1000).await;
    // Its player goes on asking, as players do, and no playback begins anew.
    stage.eventually("refused", async || get(&stage, &path).await.status == 403).await;
    stage.only_session("closed").await;
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"lost\""]).await, 1.0);
    for path in [&path, &beside(&path, uris(&playlist)[0])] {
        assert_eq!(get(&stage, path).await.error(), (403, "session_ended".into()));
    }
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_ended".into()));
    stage.end().await;
}

#[tokio::test]
async fn consecutive_failures_do_not_end_a_title_on_a_media_route() {
    let server = license_server().await;
    let stage = stage_of(&server, "vod/main.m3u8").await;
    let (path, playlist) = begin(&stage, &authorize_as(&stage, "vod").await).await;
    stage.headend.fault("fl-heartbeat", json!({"status": 503}), 1000).await;
    stage.headend.nth("fl-heartbeat", 6).await;
    stage.only_session("failing").await;
    for path in [&path, &beside(&path, uris(&playlist)[0])] {
        assert!(get(&stage, path).await.is_good());
    }
    stage.end().await;
}

/// Shaka, hls.js and a configured dash.js report this way: version 1, in the query, without a state.
#[tokio::test]
async fn a_bookmark_follows_a_player_that_tells_its_buffer_with_its_requests() {
    for (manifest, segment) in [("vod/main.m3u8", "v/31.m4s"), ("vod/main.mpd", "v/31.m4s")] {
        let server = license_server().await;
        let stage = stage_of(&server, manifest).await;
        let told = "?CMCD=bl%3D14000%2Cd%3D2000%2Cot%3Dv%2Csid%3D%22s%22";
        let sent = at(&stage, &authorize_as(&stage, "vod").await["contentUrl"], "/media/~").post("");
        let main = sent.method(Method::GET).await.header("location").to_owned();
        assert!(get(&stage, &format!("{main}{told}")).await.is_good());
        if manifest.ends_with("m3u8") {
            assert!(get(&stage, &format!("{}{told}", beside(&main, "v.m3u8"))).await.is_good());
        }
        // The last segment, which begins at 62 s: everything is there, and the player stands at 48 s.
        assert!(get(&stage, &format!("{}{told}", beside(&main, segment))).await.is_good());
        let since = stage.headend.now().await;
        let beat = stage.headend.next("fl-heartbeat", since).await.seq;
        stage.headend.next("fl-heartbeat", beat).await;
        let bookmark = stage.headend.books().await["firstlight"]["bookmarks"]["ann game"].as_u64();
        assert!(bookmark.is_some_and(|at| (48_900..64_000).contains(&at)), "{bookmark:?}");
        stage.end().await;
    }
}
