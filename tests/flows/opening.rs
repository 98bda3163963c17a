//! Tests that a session is opened before its first license, beaten while it lives, and closed when the player stops.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::player::CLEARKEY;
use crate::stage::Stage;
use crate::upstream::{Upstream, good};

#[tokio::test]
async fn a_session_is_opened_before_the_license_that_needs_it() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;

    let license = tv.post(CLEARKEY).await;
    assert_eq!(license.json()["keys"][0]["k"], "AAECAwQFBgcICQoLDA0ODw");
    assert_eq!(stage.headend.story().await, ["setup", "license-clearkey"]);
    // This license server refuses a content token without a live session of the same content.
    let [setup, licensed] = &stage.headend.log().await[..] else { panic!("two calls") };
    assert_eq!((licensed.status, &licensed.session), (200, &setup.session));
    assert_eq!((setup.device.as_deref(), setup.content.as_deref()), (Some("tv"), Some("news")));
    assert_eq!(stage.headend.open().await, ["tv news"]);
    stage.end().await;
}

#[tokio::test]
async fn licenses_requested_at_once_share_one_session() {
    let stage = Stage::widevine().start().await;
    stage.headend.fault("setup", json!({"delay_ms": 200}), 1).await;
    let tv = stage.player("tv", "news").await;

    let mut calls = JoinSet::new();
    for key_session in ["audio", "sd", "hd", "uhd", "subtitles"] {
        calls.spawn(tv.license(key_session).into_future());
    }
    assert!(calls.join_all().await.iter().all(|reply| reply.is_good()));
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("license-widevine").await), (1, 5));
    assert_eq!(stage.only_session("live").await["key_sessions"], 5);
    stage.end().await;
}

/// A player that repeats a pending call gets the same reply. A call is no repetition if the license server could notice
/// the difference, or if sidebeat answers differently.
#[tokio::test]
async fn calls_that_differ_share_no_reply() {
    let server = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    stage.headend.fault("setup", json!({"delay_ms": 1500}), 1).await;
    let tv = stage.player("tv", "news").await;
    let call = || tv.post(CLEARKEY).header("origin", "https://a.example");
    let mut calls = JoinSet::new();
    for call in [
        call(),
        call().below("?a=1"),
        call().below("/more"),
        call().header("origin", "https://b.example"),
        call().header("accept-language", "de"),
        call().header("user-agent", "another"),
        tv.post(CLEARKEY),
        tv.post(CLEARKEY.replace(",", ", ")),
    ] {
        calls.spawn(call.into_future());
    }
    assert!(calls.join_all().await.iter().all(|reply| reply.is_good()));
    assert_eq!((server.seen().len(), stage.headend.count("setup").await), (8, 1));
    stage.end().await;
}

#[tokio::test]
async fn every_beat_and_every_later_license_carries_the_latest_token() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());

    // Each beat replaces the token, and the head-end refuses all but the latest.
    for beats in [3, 5] {
        assert_eq!(stage.headend.nth("heartbeat", beats).await.status, 200);
        assert!(tv.post(CLEARKEY).await.is_good());
    }
    let books = stage.headend.books().await;
    assert_eq!((&books["counters"]["refused"], &books["counters"]["early_beats"]), (&json!({}), &json!(0)));
    assert_eq!(stage.headend.count("setup").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn a_stop_call_closes_the_session() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());

    assert_eq!(tv.stop().await.status, 204);
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert!(stage.headend.open().await.is_empty());
    // The same player with the same token may start again.
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.story().await, ["setup", "license-clearkey", "teardown", "setup", "license-clearkey"]);
    stage.end().await;
}

#[tokio::test]
async fn a_beacon_without_headers_closes_the_session_that_its_query_names() {
    let stage = Stage::clearkey().start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player("phone", "film").await);
    assert!(tv.post(CLEARKEY).await.is_good() && phone.post(CLEARKEY).await.is_good());

    let beacon = format!("/~stop?device=tv&token={}", tv.token);
    assert_eq!(stage.stranger().post("").below(&beacon).await.status, 204);
    stage.headend.next("teardown", 0).await;
    assert_eq!(stage.headend.open().await, ["phone film"]);
    // The device alone is not enough.
    assert_eq!(stage.stranger().post("").below("/~stop?device=phone").await.status, 204);
    assert_eq!(stage.headend.open().await, ["phone film"]);
    // The caller learns nothing from the reply.
    assert_eq!(stage.stranger().post("").below("/~stop?device=fridge").await.status, 204);
    stage.end().await;
}

#[tokio::test]
async fn a_stop_while_the_session_is_being_opened_closes_it_afterwards() {
    let stage = Stage::clearkey().start().await;
    stage.headend.fault("setup", json!({"delay_ms": 300}), 1).await;
    let tv = stage.player("tv", "news").await;
    let mut calls = JoinSet::new();
    calls.spawn(tv.post(CLEARKEY).into_future());
    stage.eventually("opening", async || stage.each("state").await == ["opening"]).await;

    assert_eq!(tv.stop().await.status, 204);
    assert_eq!(calls.join_next().await.unwrap().unwrap().error(), (403, "session_ended".to_owned()));
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert_eq!(stage.headend.story().await, ["setup", "teardown"]);
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_hangs_up_while_its_session_is_opened_leaks_none() {
    let stage = Stage::clearkey().start().await;
    stage.headend.fault("setup", json!({"delay_ms": 300}), 1).await;
    let tv = stage.player("tv", "news").await;
    let mut calls = JoinSet::new();
    calls.spawn(tv.post(CLEARKEY).into_future());
    stage.eventually("opening", async || stage.each("state").await == ["opening"]).await;
    calls.shutdown().await;

    stage.headend.next("setup", 0).await;
    // The session is known: the player that comes back finds it, and the end closes it.
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.count("setup").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn all_sessions_are_closed_when_the_proxy_ends() {
    let stage = Stage::clearkey().start().await;
    for device in ["tv", "phone", "tablet"] {
        assert!(stage.player_of(device, device, "news").await.post(CLEARKEY).await.is_good());
    }
    assert_eq!(stage.headend.open().await.len(), 3);
    let books = stage.end_leaving_some_open().await;
    assert_eq!((&books["open"], &books["counters"]["ended"]), (&json!([]), &json!({"teardown": 3})));
}

#[tokio::test]
async fn the_interval_is_read_in_every_form() {
    // A number, a numeric string, spelled in lower case, and in the token alone.
    let said: [(&str, serde_json::Value); 4] = [
        ("heartBeat", json!(7)),
        ("heartBeat", json!("7")),
        ("heartbeat", json!(7.0)),
        ("heartBeat", serde_json::Value::Null),
    ];
    for (spelling, value) in said {
        let stage = Stage::clearkey().settings(|settings| settings.heartbeat = 7.0).start().await;
        stage.headend.settings(json!({"spelling": spelling})).await;
        if !value.is_null() {
            stage.headend.settings(json!({"heartbeat_json": value})).await;
        } else {
            stage.headend.settings(json!({"heartbeat_json": "soon"})).await;
        }
        assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
        assert_eq!(stage.only_session("live").await["interval_s"], 7.0, "{spelling} {value}");
        stage.end().await;
    }
}

#[tokio::test]
async fn a_beat_keeps_its_rhythm_and_never_comes_early() {
    let stage = Stage::clearkey().heartbeat(0.4).start().await;
    assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
    let opened = stage.headend.next("setup", 0).await.seq;
    stage.headend.nth("heartbeat", 3).await;
    let books = stage.headend.books().await;
    let row = &books["open"][0];
    let lived = Duration::from_millis(row["last_beat"].as_u64().unwrap() - row["opened"].as_u64().unwrap());
    assert!(lived >= Duration::from_millis(1200), "three beats of 400 ms within {lived:?} (after call {opened})");
    stage.end().await;
}

#[tokio::test]
async fn a_fresh_token_for_the_same_content_goes_on_with_the_session() {
    // Apps send one when the picture moves to another screen.
    let stage = Stage::clearkey().start().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let token = stage.headend.token("account=ann&device=tv&content=news&once=true").await;
        let tv = stage.player_with("tv", &token);
        assert!(tv.post(CLEARKEY).await.is_good());
        sessions.push(stage.headend.log().await.pop().unwrap().session);
        // The token was played, and the license server says so itself.
        let again = tv.post(CLEARKEY).await;
        assert_eq!((again.status.as_u16(), &again.json()["errorCode"]), (400, &json!(4006)));
    }
    assert!(sessions.iter().all(|session| session.is_some() && *session == sessions[0]), "{sessions:?}");
    assert_eq!(stage.headend.count("setup").await, 1);
    stage.end().await;
}
