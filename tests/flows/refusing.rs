//! Tests the shape of refusals over the wire, for each system and player family.

use http::Method;
use serde_json::json;

use crate::player::{CLEARKEY, Player, playready};
use crate::stage::Stage;

/// A route whose playback is killed before its second call.
async fn killed(stage: &Stage) -> Player {
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(playready(None, "one")).await.is_good());
    kill(stage).await;
    tv
}

async fn kill(stage: &Stage) {
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
}

#[tokio::test]
async fn playready_is_refused_as_its_stack_expects() {
    let stage = Stage::script().route("/license", "playready", "").start().await;
    let tv = killed(&stage).await;
    let rows = [
        (tv.clone(), 500, "a native stack"),
        (tv.clone().in_a_browser(), 200, "a page"),
        (tv.clone().with("user-agent", "Kodi/21.0"), 200, "Kodi, which asks at every sample until something comes"),
    ];
    for (player, status, who) in rows {
        let refused = player.post(playready(None, "two")).await;
        assert_eq!(
            (refused.status.as_u16(), refused.header("content-type")),
            (status, "text/xml; charset=utf-8"),
            "{who}"
        );
        let text = refused.text();
        assert!(text.contains("<StatusCode>0x8004C604</StatusCode>"), "{who}: {text}");
        assert!(text.contains("<Message>[session_killed: Session ended by operator]</Message>"), "{who}: {text}");
        assert_eq!((refused.header("x-ssm-error"), refused.header("x-sidebeat-incident").len()), ("session_killed", 8));
        assert_eq!(refused.header("content-length"), text.len().to_string());
    }
    stage.end().await;
}

#[tokio::test]
async fn widevine_is_refused_in_band_if_its_player_shows_no_status() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    kill(&stage).await;

    // video.js sends raw bytes from a page; after its certificate it swallows every HTTP error.
    let video_js = tv.clone().in_a_browser();
    for call in [video_js.license("video"), video_js.renew("video"), tv.renew("video").header("user-agent", "Kodi/21")]
    {
        let refused = call.await;
        assert_eq!((refused.status.as_u16(), &refused.body[..]), (200, &[8, 3, 0x12, 2, 8, 3][..]));
        assert_eq!(
            (refused.header("content-type"), refused.header("x-ssm-error")),
            ("application/octet-stream", "session_killed")
        );
    }
    // The player reads an error of its very first message.
    let certificate = video_js.post(&[8, 4][..]).header("content-type", "application/octet-stream").await;
    assert_eq!(certificate.error(), (403, "session_killed".to_owned()));
    // Everybody else sees a status.
    for call in [tv.renew("video"), video_js.renew("video").without("content-type")] {
        assert_eq!(call.await.error(), (403, "session_killed".to_owned()));
    }
    let reject = ["cause=\"session_killed\"", "profile=\"reject\""];
    assert_eq!(stage.metric("refusals_total", &reject).await, 3.0);
    stage.end().await;
}

#[tokio::test]
async fn a_route_may_say_how_it_refuses() {
    let lines = "[route.refusal.widevine]\nfirst = \"reject\"\nrenewal = \"http\"";
    let stage = Stage::script().route("/license", "widevine", lines).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    kill(&stage).await;
    assert_eq!(&tv.license("video").await.body[..], [8, 3, 0x12, 2, 8, 3]);
    assert_eq!(tv.in_a_browser().renew("video").await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

/// PlayReady shows the head-end no renewals, so that its license server has to say it.
#[tokio::test]
async fn a_kill_that_the_license_server_reports_is_believed() {
    let stage = Stage::script().route("/license", "playready", "").route("/ck", "clearkey", "").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(playready(None, "one")).await.is_good());
    let killed = json!({"status": 500, "body": {"errorCode": 6002, "message": "Internal error"}});
    stage.headend.fault("license-playready", killed.clone(), 1).await;
    for nonce in ["two", "three"] {
        let refused = tv.post(playready(None, nonce)).await.text();
        let (_, told) = refused.split_once("<CustomData>").unwrap_or_else(|| panic!("{refused}"));
        let told: serde_json::Value = serde_json::from_str(told.split_once("</CustomData>").unwrap().0).unwrap();
        assert_eq!((&told["error"], &told["event"]), (&json!("session_killed"), &json!("ssmrenewalerror")), "{nonce}");
        assert_eq!((&told["code"], &told["errorCode"]), (&json!(500), &json!(6002)), "{nonce}");
    }
    assert_eq!(stage.headend.count("license-playready").await, 2);
    // Other systems are renewed by the authority itself, and other numbers mean other things here.
    stage.headend.fault("license-clearkey", killed, 1).await;
    let phone = stage.player_of("phone", "bob", "news").await.at("/ck");
    assert_eq!(phone.post(CLEARKEY).await.status, 500);
    assert!(phone.post(CLEARKEY).await.is_good());
    let pad = stage.player_of("pad", "cid", "news").await;
    for (status, code) in [(500, 4000), (400, 6002), (404, 3002)] {
        let other = json!({"status": status, "body": {"errorCode": code, "message": "Internal error"}});
        stage.headend.fault("license-playready", other, 1).await;
        assert_eq!(pad.post(playready(None, &format!("a {code}"))).await.status, status);
        assert!(pad.post(playready(None, &format!("b {code}"))).await.is_good());
    }
    stage.end().await;
}

#[tokio::test]
async fn a_wrapped_request_is_refused_by_its_status() {
    let lines = "[route.refusal.widevine]\nfirst = \"reject\"\nrenewal = \"reject\"\n";
    let stage = Stage::script().route("/license", "widevine", lines).start().await;
    let tv = stage.player("tv", "news").await.with("content-type", "application/json");
    let body = |message: Vec<u8>| serde_json::json!({"challenge": crate::drm::b64(message)}).to_string();
    assert!(tv.post(body(crate::player::widevine_new("video"))).await.is_good());
    kill(&stage).await;
    let refused = tv.post(body(crate::player::widevine_new("video"))).await;
    assert_eq!(refused.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn clearkey_and_fairplay_are_refused_by_their_status() {
    let stage = Stage::script().route("/ck", "clearkey", "").route("/fp", "fairplay", "").start().await;
    let spc = crate::drm::fairplay_spc("pl");
    let page = stage.player("tv", "news").await.in_a_browser().with("content-type", "application/json");
    assert!(page.clone().at("/ck").post(CLEARKEY).await.is_good());
    kill(&stage).await;
    assert_eq!(page.clone().at("/ck").post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    let raw = page.at("/fp").post(spc).header("content-type", "application/octet-stream");
    assert_eq!(raw.await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}
