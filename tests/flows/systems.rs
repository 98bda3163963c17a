//! Tests PlayReady, FairPlay and ClearKey: every request is a license request, in any form.

use serde_json::json;

use crate::drm;
use crate::player::{CLEARKEY, playready};
use crate::stage::Stage;

const SOAP: &str = "text/xml; charset=utf-8";

#[tokio::test]
async fn playready_licenses_of_one_playback_share_its_session() {
    let stage = Stage::script().route("/license", "playready", "").start().await;
    let tv = stage.player("tv", "news").await.with("content-type", SOAP);
    let first = tv.post(playready(None, "one")).await;
    assert!(first.text().contains("<AcquireLicenseResponse"), "{}", first.text());
    // The lease is renewed by another challenge, which nothing tells from a first one.
    let second = tv.post(playready(None, "two")).await;
    assert!(second.is_good());
    assert_eq!(stage.headend.story().await, ["setup", "license-playready", "license-playready"]);
    assert_eq!(stage.only_session("live").await["paced_by"], "timer");
    stage.end().await;
}

#[tokio::test]
async fn playready_may_carry_its_token_in_the_custom_data() {
    let lines = "content-token = [\"custom-data\"]\ndevice = [\"token-claim:device.deviceId\"]";
    let stage = Stage::script().route("/license", "playready", lines).heartbeat(0.3).start().await;
    let token = stage.headend.token("account=ann&device=tv&content=news").await;
    let license = stage.stranger().post(playready(Some(&token), "one")).header("content-type", SOAP).await;
    assert!(license.is_good(), "{}", license.text());
    assert_eq!(stage.headend.story().await, ["setup", "license-playready"]);
    assert_eq!(
        (stage.each("device").await, stage.each("device_by").await),
        (vec!["tv".into()], vec!["token-claim".into()])
    );
    stage.headend.next("heartbeat", 0).await;
    stage.end().await;
}

#[tokio::test]
async fn playready_in_utf_16_is_understood_and_passed_on_as_it_came() {
    let stage = Stage::script().route("/license", "playready", "").start().await;
    let tv = stage.player("tv", "news").await.with("content-type", SOAP);
    let challenge = std::fs::read("tests/vectors/drm/pr_challenge_v40_utf16le.bin").unwrap();
    assert!(tv.post(challenge).await.is_good());
    assert_eq!(stage.headend.story().await, ["setup", "license-playready"]);
    stage.end().await;
}

#[tokio::test]
async fn a_playready_acknowledgement_opens_nothing() {
    let stage = Stage::script().route("/license", "playready", "").start().await;
    let token = stage.headend.token("session=false&device=tv").await;
    let tv = stage.player_with("tv", &token);
    let acknowledged = tv.post(drm::playready_acknowledge("00112233-4455-6677-8899-aabbccddeeff")).await;
    assert!(acknowledged.text().contains("<AcknowledgeLicenseResponse"));
    assert_eq!(stage.headend.story().await, ["license-playready"]);
    stage.end().await;
}

#[tokio::test]
async fn a_fairplay_form_keeps_its_plus_signs() {
    let stage = Stage::script().route("/license", "fairplay", "").start().await;
    let tv = stage.player("tv", "news").await;
    let spc = drm::b64(drm::fairplay_spc("pl"));
    assert!(spc.contains('+'), "the test needs one");
    let form = tv.post(format!("spc={spc}&assetId=a1")).header("content-type", "application/x-www-form-urlencoded");
    let license = form.await;
    assert!(license.text().starts_with("<ckc>"), "{}", license.text());
    assert_eq!(stage.headend.story().await, ["setup", "license-fairplay"]);
    stage.end().await;
}

#[tokio::test]
async fn fairplay_in_json_and_raw_is_answered_in_kind() {
    let stage = Stage::script().route("/license", "fairplay", "").start().await;
    let tv = stage.player("tv", "news").await;
    let spc = drm::fairplay_spc("pl");
    let json = tv.post(json!({"spc": drm::b64(&spc)}).to_string()).header("content-type", "application/json").await;
    assert!(json.json()["ckc"].is_string(), "{}", json.text());
    let raw = tv.post(spc).header("content-type", "application/octet-stream").await;
    assert_eq!((raw.status.as_u16(), &raw.body[..4]), (200, &[0, 0, 0, 1][..]));
    assert_eq!(stage.headend.story().await, ["setup", "license-fairplay", "license-fairplay"]);
    stage.end().await;
}

#[tokio::test]
async fn clearkey_in_the_old_alphabet_is_recognised_too() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    let old = CLEARKEY.replace("ABEiM0RVZneImaq7zN3u_w", "ABEiM0RVZneImaq7zN3u/w==");
    assert!(tv.post(old).await.json()["keys"].is_array());
    assert_eq!(stage.headend.story().await, ["setup", "license-clearkey"]);
    stage.end().await;
}

#[tokio::test]
async fn routes_of_several_systems_share_the_devices_of_their_authority() {
    let stage = Stage::script().route("/wv", "widevine", "").route("/ck", "clearkey", "").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.clone().at("/wv").license("video").await.is_good());
    // The same content token on the other route is the same playback.
    assert!(tv.at("/ck").post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.story().await, ["setup", "license-widevine", "license-clearkey"]);
    stage.end().await;
}
