//! Tests that a renewal's token survives a crash: a player with the renewed license continues with that token.

use http::Request;
use serde_json::json;

use crate::home::Home;
use crate::process::Proxy;
use crate::web::{self, Reply};

const NEW: &[u8] = include_bytes!("../vectors/drm/wv_new_clientid.bin");
const RENEWAL: &[u8] = include_bytes!("../vectors/drm/wv_renewal_typed.bin");

async fn ask(proxy: &Proxy, token: &str, challenge: &'static [u8]) -> Reply {
    let request = Request::post("/widevine").header("host", "localhost").header("x-device-id", "tv");
    let request = request.header("nv-authorizations", token).header("content-type", "application/octet-stream");
    web::send(proxy.players, None, request.body(challenge.into()).unwrap()).await.unwrap_or_else(|_| panic!("cut"))
}

/// Killed as soon as the player has its license: a token that was not written by then would be one that the
/// head-end has replaced.
#[tokio::test]
async fn a_player_with_a_renewed_license_goes_on_with_the_newest_token_after_a_crash() {
    let home = Home::new(30.0, "close", false).await;
    home.headend.settings(json!({ "accept_previous": false })).await;
    let token = home.token("tv", "news").await;
    let mut proxy = home.proxy();
    assert_eq!(ask(&proxy, &token, NEW).await.status, 200);
    for round in 0..10 {
        let renewed = ask(&proxy, &token, RENEWAL).await;
        assert_eq!(renewed.status, 200, "round {round}: {}", renewed.text());
        proxy.kill();
        proxy = home.proxy();
    }
    assert_eq!((home.headend.count("setup").await, home.headend.open().await.len()), (1, 1));
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert!(home.headend.open().await.is_empty());
}
