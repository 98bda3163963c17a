//! Tests a device that shows several pictures by one session, over a restart.

use http::Method;
use serde_json::{Value, json};

use crate::home::Home;
use crate::process::{Proxy, eventually};

const PICTURES: [&str; 3] = ["one", "two", "three"];

/// A proxy whose device shows three pictures, with their content tokens.
async fn three_pictures(embedded: bool) -> (Home, Proxy, Vec<String>) {
    let home = Home::new(1.0, "close", embedded).await.counting_devices();
    home.headend.settings(json!({ "counts_devices": true })).await;
    let proxy = home.proxy();
    let mut tokens = Vec::new();
    for picture in PICTURES {
        let token = home.token("tv", picture).await;
        assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200, "{picture}");
        tokens.push(token);
    }
    (home, proxy, tokens)
}

async fn stop(proxy: &Proxy, token: &str) {
    let headers = [("nv-authorizations", token), ("x-device-id", "tv")];
    assert_eq!(proxy.ask(Method::POST, "/license/~stop", &headers, "").await.status, 204);
}

async fn playbacks(proxy: &Proxy) -> Vec<Value> {
    let rows = proxy.sessions().await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let whole = proxy.admin(Method::GET, &format!("/v1/sessions/{}", row["id"].as_str().unwrap())).await;
    whole["playbacks"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_device_that_shows_several_pictures_has_one_session_after_a_restart() {
    for embedded in [false, true] {
        let (home, mut proxy, mut tokens) = three_pictures(embedded).await;
        stop(&proxy, &tokens[0]).await;
        // The record of this license is written behind the stop.
        tokens.push(home.token("tv", "four").await);
        assert_eq!(home.license(&proxy, "tv", &tokens[3]).await.unwrap().status, 200);
        for _ in 0..2 {
            proxy.kill();
            proxy = home.proxy();
        }
        let states: Vec<_> = playbacks(&proxy).await.iter().map(|playback| playback["state"].clone()).collect();
        assert_eq!(states, ["closed", "live", "live", "live"], "embedded: {embedded}");
        for token in &tokens[1..] {
            assert_eq!(home.license(&proxy, "tv", token).await.unwrap().status, 200, "embedded: {embedded}");
        }
        if !embedded {
            let since = home.headend.now().await;
            home.headend.next("heartbeat", since).await;
            assert_eq!((home.headend.count("setup").await, home.headend.open().await.len()), (1, 1));
        }
        let live = async |proxy: &Proxy| proxy.sessions().await.iter().any(|row| row["state"] == "live");
        stop(&proxy, &tokens[1]).await;
        stop(&proxy, &tokens[2]).await;
        assert!(live(&proxy).await, "one of its pictures plays");
        stop(&proxy, &tokens[3]).await;
        eventually("given back", async || !live(&proxy).await).await;
        if embedded {
            // The household has one place, and it is free.
            let token = home.token("pad", "news").await;
            assert_eq!(home.license(&proxy, "pad", &token).await.unwrap().status, 200);
        } else {
            eventually("given back", async || home.headend.open().await.is_empty()).await;
            assert_eq!(home.headend.count("teardown").await, 1);
        }
        assert_eq!(proxy.terminate().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_killed_device_is_refused_in_every_picture_after_a_restart() {
    let (home, mut proxy, tokens) = three_pictures(false).await;
    assert_eq!(home.headend.kill_account("tv").await, 1);
    eventually("killed", async || proxy.sessions().await[0]["state"] == "killed").await;
    assert_eq!(proxy.post("/license", "pad", &tokens[1]).await.unwrap().status, 403);
    // The record of this license is written behind the kill.
    let other = proxy.post("/license", "pad", &home.token("pad", "news").await).await.unwrap();
    assert_eq!(other.status, 200);
    proxy.kill();
    proxy = home.proxy();
    for token in &tokens {
        let refused = home.license(&proxy, "tv", token).await.unwrap();
        assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str()), (403, Some("session_killed")));
        assert_eq!(proxy.post("/license", "pad", token).await.unwrap().status, 403);
    }
    let token = home.token("tv", "four").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    assert_eq!(proxy.terminate().await.code(), Some(0));
}
