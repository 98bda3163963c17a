//! Tests which beats keep a session alive: the policy of the license decides, or the route.

use std::time::Duration;

use serde_json::json;

use crate::stage::{Script, Stage};

/// The license arrives before the first beat is due.
const INTERVAL: f64 = 1.0;

fn script(enforcement: &str, can_renew: bool) -> Script {
    let route = format!("enforcement = \"{enforcement}\"");
    let script = Stage::script().route("/license", "widevine", &route).heartbeat(INTERVAL);
    script.settings(|settings| settings.widevine.can_renew = can_renew)
}

#[tokio::test]
async fn a_license_that_can_be_renewed_leaves_the_beats_to_the_player() {
    let stage = script("auto", true).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.only_session("live").await["paced_by"], "renewals");
    stage.headend.sees_no("heartbeat", 0, Duration::from_millis(1500)).await;
    assert!(tv.renew("video").await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn a_license_that_cannot_be_renewed_leaves_the_beats_to_the_proxy() {
    let stage = script("auto", false).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.only_session("live").await["paced_by"], "timer");
    assert_eq!(stage.headend.next("heartbeat", 0).await.status, 200);
    // A renewal that comes all the same is taken, and from then on they carry the session.
    assert!(tv.renew("video").await.is_good());
    assert_eq!(stage.only_session("live").await["paced_by"], "renewals");
    let since = stage.headend.now().await;
    stage.headend.sees_no("heartbeat", since, Duration::from_millis(1500)).await;
    stage.end().await;
}

#[tokio::test]
async fn heartbeats_can_be_forced_on_a_license_that_renews() {
    let stage = script("heartbeat", true).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.headend.next("heartbeat", 0).await.status, 200);
    assert!(tv.renew("video").await.is_good());
    let since = stage.headend.now().await;
    assert_eq!(stage.headend.next("heartbeat", since).await.status, 200, "beats go on after a renewal");
    assert_eq!(stage.only_session("live").await["paced_by"], "timer");
    stage.end().await;
}

#[tokio::test]
async fn renewals_can_be_forced_on_a_license_that_names_none() {
    let stage = script("renewal", false).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    stage.headend.sees_no("heartbeat", 0, Duration::from_millis(1500)).await;
    assert_eq!(stage.only_session("live").await["paced_by"], "renewals");
    stage.end().await;
}

/// Their players never renew: no session expires without beats, even if the route demands renewals.
#[tokio::test]
async fn a_system_without_renewals_leaves_the_beats_to_the_proxy_even_if_renewals_are_demanded() {
    let body = |system| match system {
        "clearkey" => crate::player::CLEARKEY.as_bytes().to_vec(),
        _ => crate::player::playready(None, "nonce").into_bytes(),
    };
    for system in ["clearkey", "playready"] {
        let script = Stage::script().route("/license", system, "enforcement = \"renewal\"").heartbeat(0.5);
        let stage = script.start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.post(body(system)).await.is_good(), "{system}");
        assert_eq!(stage.only_session("live").await["paced_by"], "timer", "{system}");
        assert_eq!(stage.headend.nth("heartbeat", 3).await.status, 200);
        assert_eq!(stage.headend.count("session-expired").await, 0);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_beat_is_put_off_by_the_renewal_that_counts_as_one() {
    let stage = script("heartbeat", true).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    for _ in 0..4 {
        stage.headend.sees_no("heartbeat", 0, Duration::from_millis(300)).await;
        assert!(tv.renew("video").await.is_good());
    }
    stage.end().await;
}

#[tokio::test]
async fn other_systems_always_leave_the_beats_to_the_proxy() {
    let script = Stage::script().route("/license", "clearkey", "").heartbeat(0.2);
    let stage = script.start().await;
    assert!(stage.player("tv", "news").await.post(crate::player::CLEARKEY).await.is_good());
    stage.headend.nth("heartbeat", 2).await;
    assert_eq!(stage.only_session("live").await["paced_by"], json!("timer"));
    stage.end().await;
}
