//! Tests the EME mirror: it shows the key sessions of a playback under the names of EME.

use http::Method;
use serde_json::{Value, json};

use crate::drm::{self, WidevineId};
use crate::player::{CLEARKEY, widevine_new};
use crate::stage::Stage;
use crate::upstream::{Upstream, good, status};

async fn mirror(stage: &Stage, state: &str) -> Vec<Value> {
    stage.only_session(state).await["eme"].as_array().unwrap().clone()
}

/// The statuses of all its keys, of which there must be one.
fn statuses(key_session: &Value) -> Vec<String> {
    let statuses = key_session["keyStatuses"].as_object().unwrap().values();
    let statuses: Vec<_> = statuses.map(|status| status.as_str().unwrap().to_owned()).collect();
    assert!(!statuses.is_empty(), "no keys: {key_session}");
    statuses
}

#[tokio::test]
async fn the_mirror_shows_each_widevine_key_session_with_its_messages_and_its_end() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("audio").await.is_good());
    assert!(tv.license("video").await.is_good());
    assert!(tv.renew("video").await.is_good());
    let seen = mirror(&stage, "live").await;
    let messages: Vec<_> = seen.iter().map(|session| session["messages"].clone()).collect();
    assert_eq!(messages, [json!({"license-request": 1}), json!({"license-renewal": 1, "license-request": 1})]);
    assert!(seen.iter().all(|session| session["drm"] == "widevine" && session["closed"].is_null()), "{seen:?}");
    assert!(seen.iter().all(|session| session["expiration"].is_u64()), "the policy says how long: {seen:?}");
    assert!(tv.release("video").await.is_good());
    let seen = mirror(&stage, "live").await;
    assert_eq!((&seen[0]["closed"], &seen[1]["closed"]), (&Value::Null, &json!("release-acknowledged")));
    assert!(statuses(&seen[1]).iter().all(|status| status == "released"), "{seen:?}");
    let story = stage.only_session("live").await["timeline"].clone();
    let story: Vec<_> = story.as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    for event in ["license-request", "license-renewal", "license-release", "closed"] {
        assert!(story.contains(&event), "{event}: {story:?}");
    }
    stage.end().await;
}

/// The player takes its keys with the message itself; only the end needs the license server's word.
#[tokio::test]
async fn a_release_that_the_license_server_declines_takes_the_keys_and_closes_nothing() {
    let server = Upstream::answering(|asked| {
        let asks = asked.body[..] == widevine_new("video")[..];
        let id = WidevineId { offline: false, request_id: b"video", session_id: drm::SID8, version: 0 };
        let license = || drm::widevine_license(&id, &drm::POLICY, drm::KID);
        if asks { good("application/octet-stream", license()) } else { status(500) }
    })
    .await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    let seen = mirror(&stage, "live").await;
    assert!(statuses(&seen[0]).iter().all(|status| status == "usable"), "{seen:?}");
    assert_eq!(tv.release("video").await.status, 500);
    let id = stage.each("id").await.remove(0);
    let seen = stage.ask(Method::GET, &format!("/v1/sessions/{id}")).await.json()["eme"].clone();
    assert!(statuses(&seen[0]).iter().all(|status| status == "released"), "{seen}");
    assert_eq!(seen[0]["messages"]["license-release"], 1);
    stage.end().await;
}

#[tokio::test]
async fn the_mirror_shows_keys_by_their_ids_and_their_status_after_a_refusal() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let seen = mirror(&stage, "live").await;
    assert_eq!((statuses(&seen[0]), &seen[0]["expiration"]), (vec!["usable".to_owned()], &Value::Null));
    assert!(seen[0]["keyStatuses"].as_object().unwrap().keys().all(|id| id.len() == 32));
    assert_eq!(tv.stop().await.status, 204);
    assert_eq!(mirror(&stage, "closed").await[0]["closed"], "closed-by-application");
    stage.end().await;

    let stage = Stage::clearkey().settings(|settings| settings.limit = 0).start().await;
    let tv = stage.player("tv", "film").await;
    assert!(!tv.post(CLEARKEY).await.is_good());
    let seen = mirror(&stage, "closed").await;
    assert_eq!(statuses(&seen[0]), ["internal-error"]);
    stage.end().await;
}
