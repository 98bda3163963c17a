//! The authority that is built in: limits without any session service.

use serde_json::json;

use crate::player::CLEARKEY;
use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good};

/// Beside the head-end, which must then see nothing.
fn script(server: &Upstream, limit: u32, interval: &str) -> Script {
    let authority = format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = {limit}\n\
         interval = \"{interval}\"\ngrace = \"10s\""
    );
    let route = "authority = \"home\"\nsession-control = \"always\"";
    Stage::script().authority(&authority).upstream("/license", &server.url(), route)
}

async fn license_server() -> Upstream {
    Upstream::answering(|_| good("application/json", "{\"keys\":[]}")).await
}

#[tokio::test]
async fn the_built_in_authority_counts_the_sessions_of_an_account() {
    let server = license_server().await;
    let stage = script(&server, 1, "30s").start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player("phone", "news").await);
    assert!(tv.post(CLEARKEY).await.is_good());
    let refused = phone.post(CLEARKEY).await;
    assert_eq!(refused.error(), (403, "limit_reached".to_owned()));
    // Another account has a place of its own, and a place that is given back is free at once.
    assert!(stage.player_of("bob", "bobs-tv", "news").await.post(CLEARKEY).await.is_good());
    assert_eq!(tv.stop().await.status, 204);
    stage.eventually("given back", async || stage.each("state").await.contains(&"closed".to_owned())).await;
    assert!(stage.player("tablet", "news").await.post(CLEARKEY).await.is_good());
    assert!(stage.headend.story().await.is_empty());
    stage.end().await;
}

#[tokio::test]
async fn the_built_in_authority_needs_no_token() {
    let server = license_server().await;
    let stage = script(&server, 1, "200ms").start().await;
    let tv = stage.stranger().with("x-device-id", "tv");
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(server.only().header("nv-authorizations"), "");
    stage.eventually("beaten", async || stage.sessions().await[0]["beats"].as_u64() >= Some(3)).await;
    let session = stage.only_session("live").await;
    assert_eq!((&session["authority"], &session["account"]), (&json!("home"), &json!(null)));
    // The device is the account then, and its next channel takes the place of the old one.
    assert!(tv.license("video").await.is_good());
    assert_eq!(stage.each("state").await, ["closed", "live"]);
    stage.end().await;
}

#[tokio::test]
async fn the_built_in_authority_leaves_renewals_to_the_license_server() {
    let server = license_server().await;
    let stage = script(&server, 1, "30s").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good() && tv.renew("video").await.is_good());
    assert_eq!(server.seen().len(), 2);
    assert_eq!(stage.only_session("live").await["paced_by"], "timer");
    stage.end().await;
}

#[tokio::test]
async fn an_operators_kill_holds_at_the_built_in_authority_too() {
    let server = license_server().await;
    let stage = script(&server, 1, "30s").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(http::Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    assert!(stage.player("phone", "news").await.post(CLEARKEY).await.is_good(), "its place was given back");
    stage.end().await;
}
