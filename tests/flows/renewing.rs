//! Tests Widevine with SSM: the player's own renewals are the session's beats.

use std::time::Duration;

use serde_json::json;

use crate::drm;
use crate::player::widevine_renewal;
use crate::stage::Stage;

#[tokio::test]
async fn a_service_certificate_request_passes_and_opens_nothing() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    let certificate = tv.post(&[8, 4][..]).header("content-type", "application/octet-stream").await;
    assert_eq!((certificate.status.as_u16(), &certificate.body[..2]), (200, &[8, 5][..]));
    assert_eq!(stage.headend.story().await, ["license-widevine"]);
    assert!(stage.sessions().await.is_empty());
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_goes_to_the_session_service_and_comes_back_as_it_was_asked_for() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());

    // Each renewal replaces the token, and the head-end refuses all but the latest.
    for round in 1..=3 {
        let renewed = tv.renew("video").await;
        assert!(renewed.is_good(), "round {round}: {}", renewed.text());
        assert_eq!(renewed.header("content-type"), "application/octet-stream");
        assert_eq!(renewed.header("cache-control"), "no-store");
        // SignedMessage of type LICENSE.
        assert_eq!(&renewed.body[..2], [8, 2]);
    }
    assert_eq!(stage.headend.story().await, ["setup", "license-widevine", "renewal", "renewal", "renewal"]);
    let session = stage.only_session("live").await;
    assert_eq!((&session["beats"], &session["paced_by"]), (&json!(3), &json!("renewals")));
    stage.end().await;
}

#[tokio::test]
async fn renewals_of_several_key_sessions_never_overlap() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    let names = ["audio", "sd", "hd", "uhd"];
    for name in names {
        assert!(tv.license(name).await.is_good());
    }
    stage.headend.fault("renewal", json!({"delay_ms": 100}), 4).await;
    let mut calls = tokio::task::JoinSet::new();
    for name in names {
        calls.spawn(tv.renew(name).into_future());
    }
    let replies = calls.join_all().await;
    assert!(replies.iter().all(|reply| reply.is_good()), "{replies:?}");
    stage.end().await;
}

#[tokio::test]
async fn renewals_that_look_for_the_path_at_once_all_find_it() {
    let stage = Stage::widevine().settings(|settings| settings.limit = 100).start().await;
    stage.headend.settings(json!({"renewal_path": "sessions"})).await;
    let mut players = Vec::new();
    for device in 0..8 {
        let tv = stage.player(&format!("tv-{device}"), "news").await;
        assert!(tv.license("video").await.is_good());
        players.push(tv);
    }
    let mut calls = tokio::task::JoinSet::new();
    for tv in players {
        calls.spawn(tv.renew("video").into_future());
    }
    let replies = calls.join_all().await;
    assert!(replies.iter().all(|reply| reply.is_good()), "{replies:?}");
    stage.end().await;
}

#[tokio::test]
async fn renewals_find_the_path_that_this_head_end_has() {
    for path in ["both", "plain", "sessions"] {
        let stage = Stage::widevine().start().await;
        stage.headend.settings(json!({"renewal_path": path})).await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.license("video").await.is_good());
        for _ in 0..2 {
            assert!(tv.renew("video").await.is_good(), "path {path}");
        }
        assert_eq!(stage.headend.count("renewal").await, 2);
        // An update of the head-end is noticed.
        let other = if path == "plain" { "sessions" } else { "plain" };
        stage.headend.settings(json!({"renewal_path": other})).await;
        assert!(tv.renew("video").await.is_good(), "from {path} to {other}");
        stage.end().await;
    }
}

/// Something before the head-end may say it after the renewal was made, and the token was replaced.
#[tokio::test]
async fn a_404_without_a_code_at_a_path_that_has_worked_is_a_lost_answer_and_no_kill() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert!(tv.renew("video").await.is_good());
    // The call goes to the known path and to the other one, with the old token.
    stage.headend.fault("renewal", json!({"status": 404}), 1).await;
    stage.headend.fault("renewal", json!({"errorCode": 3002, "status": 404}), 2).await;
    let renewed = tv.renew("video").await;
    assert!(renewed.is_good(), "{}", renewed.text());
    assert_eq!(stage.headend.count("renewal").await, 4);
    assert!(tv.renew("video").await.is_good());
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"killed\""]).await, 0.0);
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_of_a_killed_session_is_refused_for_good() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.headend.kill_account("ann").await, 1);

    let refused = tv.renew("video").await;
    let told = refused.json();
    assert_eq!(refused.refusal(), (403, "session_killed".to_owned(), Some(3002)));
    assert_eq!((&told["code"], &told["message"]), (&json!(404), &json!("Not Found")));
    assert_eq!((&told["phase"], &told["event"]), (&json!("renewal"), &json!("ssmrenewalerror")));
    // Never a fresh license instead.
    assert_eq!(tv.license("video").await.error(), (403, "session_killed".to_owned()));
    assert_eq!(stage.headend.story().await, ["setup", "license-widevine", "session-killed", "renewal"]);
    stage.end().await;
}

#[tokio::test]
async fn the_second_kill_code_of_a_renewal_is_a_kill_too() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    let kill = json!({"status": 500, "errorCode": 6002, "message": "Internal error"});
    stage.headend.fault("renewal", kill, 1).await;

    let refused = tv.renew("video").await;
    assert_eq!(refused.refusal(), (403, "session_killed".to_owned(), Some(6002)));
    assert_eq!(refused.json()["code"], 500);
    assert_eq!(tv.renew("video").await.refusal(), (403, "session_killed".to_owned(), Some(6002)));
    assert_eq!(stage.headend.count("renewal").await, 1);
    // The script only pretended: the head-end's own session runs out.
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn a_release_ends_the_playback_with_its_last_key_session() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("audio").await.is_good() && tv.license("video").await.is_good());

    assert!(tv.release("audio").await.is_good());
    assert_eq!(stage.only_session("live").await["key_sessions"], 1);
    assert!(tv.release("video").await.is_good());
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"released\""]).await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_of_an_earlier_license_is_adopted() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    let renewed = tv.renew("video").await;
    assert!(renewed.is_good(), "{}", renewed.text());
    assert_eq!(stage.headend.story().await, ["setup", "renewal"]);
    // From then on it is a session like any other.
    assert!(tv.renew("video").await.is_good());
    assert_eq!(stage.only_session("live").await["paced_by"], "renewals");
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_finds_its_session_without_a_token() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    let bare = tv.clone().without("nv-authorizations");
    assert!(bare.renew("video").await.is_good());
    assert_eq!(stage.headend.story().await, ["setup", "license-widevine", "renewal"]);
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_hangs_up_on_its_renewal_loses_no_token() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    stage.headend.fault("renewal", json!({"delay_ms": 300}), 1).await;
    let mut calls = tokio::task::JoinSet::new();
    calls.spawn(tv.renew("video").into_future());
    let arrived = async || stage.metric("edge_calls_total", &[]).await == 2.0;
    stage.eventually("renewing", arrived).await;
    calls.shutdown().await;

    assert_eq!(stage.headend.next("renewal", 0).await.status, 200);
    // With the token from before that renewal this one would be refused.
    assert!(tv.renew("video").await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn renewals_that_stop_coming_end_the_playback() {
    let script = Stage::widevine().heartbeat(0.2).authority("grace = \"0s\"");
    let stage = script.settings(|settings| settings.widevine.renewal_delay = 0).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"renewals-overdue\""]).await, 1.0);
    // A player that comes back with a renewal after all is taken in again.
    assert!(tv.renew("video").await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn an_offline_license_opens_no_session() {
    let stage = Stage::widevine().start().await;
    let token = stage.headend.token("account=ann&device=tv&content=news&session=false").await;
    let tv = stage.player_with("tv", &token);
    let content = drm::widevine_content(&drm::widevine_pssh(b"content-42", &[drm::KID]), 2, b"kept");
    assert!(tv.post(drm::widevine_new_of(&content)).await.is_good());
    assert_eq!(stage.headend.story().await, ["license-widevine"]);
    stage.end().await;
}

#[tokio::test]
async fn size_does_not_make_a_renewal() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    // Desktop modules leave the message's type out; some renewals carry the client's identity.
    let large = std::fs::read("tests/vectors/drm/wv_renewal_with_encid.bin").unwrap();
    for challenge in [widevine_renewal("video"), large] {
        assert!(tv.post(challenge).await.is_good());
    }
    assert_eq!(stage.headend.count("renewal").await, 2);
    stage.headend.sees_no("heartbeat", 0, Duration::ZERO).await;
    stage.end().await;
}
