//! Tests the embedded authority with players that bring no token; `tests/embedded.rs` tests its limits.

use serde_json::json;

use crate::player::CLEARKEY;
use crate::stage::{Script, Stage};
use crate::upstream::{LICENSE, Upstream, good};

/// A script with a head-end, which must get no call.
fn script(server: &Upstream, limit: u32, interval: &str) -> Script {
    let authority = format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = {limit}\n\
         interval = \"{interval}\"\ngrace = \"10s\""
    );
    let route = "authority = \"home\"";
    Stage::script().authority(&authority).upstream("/license", &server.url(), route)
}

async fn license_server() -> Upstream {
    Upstream::answering(|_| good("application/json", LICENSE)).await
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
    assert_eq!((&session["authority"], &session["account"]), (&json!("home"), &json!("home")));
    stage.end().await;
}

#[tokio::test]
async fn query_parameters_that_name_device_account_and_groups_go_no_further() {
    let server = license_server().await;
    let authority = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"query:house\"]\n\
        device-group = [\"query:class\"]\nsessions-per-device-group = 2\n\
        content-group = [\"query:package\"]\nsessions-per-content-group = 2";
    let route = "authority = \"home\"\ndevice = [\"query:box\"]";
    let stage = Stage::script().authority(authority).upstream("/license", &server.url(), route).start().await;
    let query = "?a=1&house=one&box=tv&class=screen&b=2&package=sports&device=mine&token=t";
    assert!(stage.stranger().post(CLEARKEY).below(query).await.is_good());
    // A name of another authority, or of no identity source, is the license server's.
    assert_eq!(server.only().target, "/acquire?a=1&b=2&device=mine");
    let session = stage.only_session("live").await;
    assert_eq!((&session["account"], &session["device"]), (&json!("one"), &json!("tv")));
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
async fn keys_of_a_title_requested_one_by_one_share_a_session() {
    let server = license_server().await;
    let stage = script(&server, 2, "30s").start().await;
    let tv = stage.stranger().with("x-device-id", "tv");
    let asks = |kid: [u8; 16]| tv.post(crate::drm::clearkey_request(&[kid], Some("temporary")));
    // Players do this: a key session for the picture and one for the sound, at the same time.
    let mut calls = tokio::task::JoinSet::new();
    for kid in [crate::drm::KID, crate::drm::KID2] {
        calls.spawn(asks(kid).into_future());
    }
    assert!(calls.join_all().await.iter().all(|reply| reply.is_good()));
    assert_eq!(stage.each("state").await, ["live"]);
    assert!(asks(crate::drm::KID).await.is_good() && asks(crate::drm::KID2).await.is_good());
    assert_eq!(stage.each("state").await, ["live"]);
    stage.end().await;
}

/// A viewer has all addresses of an IPv6 network to choose from.
#[tokio::test]
async fn a_household_with_many_ipv6_addresses_has_one_limit_and_one_kill() {
    let server = license_server().await;
    let authority =
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"peer\"]\nsessions-per-account = 2";
    let stage = Stage::script().authority(authority).upstream("/license", &server.url(), "authority = \"home\"");
    let stage = stage.server("trusted-proxies = [\"127.0.0.1\"]").start().await;
    let at = |network: u32, number: u32| {
        stage.stranger().with("x-forwarded-for", &format!("2001:db8:1:{network}::{number:x}"))
    };
    for (number, good) in [(1, true), (2, true), (3, false), (4, false)] {
        let reply = at(1, number).with("x-device-id", &format!("tv-{number}")).post(CLEARKEY).await;
        assert_eq!(reply.is_good(), good, "{number}: {}", reply.text());
    }
    let rows = stage.sessions().await;
    let accounts = rows.iter().filter(|row| row["state"] == "live").map(|row| row["account"].as_str().unwrap());
    assert!(accounts.eq(["2001:db8:1:1::/64"; 2]), "{rows:?}");
    // Without a name of its own the network is the device.
    assert!(at(2, 1).post(CLEARKEY).await.is_good());
    let rows = stage.sessions().await;
    let row = rows.iter().find(|row| row["device_by"] == "peer").unwrap();
    assert_eq!(row["device"], "2001:db8:1:2::/64");
    let kill = format!("/v1/sessions/{}/kill", row["id"].as_str().unwrap());
    assert_eq!(stage.ask(http::Method::POST, &kill).await.status, 200);
    for (network, refused) in [(2, true), (3, false)] {
        let reply = at(network, 2).post(CLEARKEY).await;
        assert_eq!(reply.status == 403, refused, "{network}: {}", reply.text());
    }
    stage.end().await;
}
