//! Tests kills by the head-end: the viewer learns the reason, once and for good.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::player::CLEARKEY;
use crate::stage::Stage;
use crate::upstream::Upstream;

#[tokio::test]
async fn the_next_beat_finds_a_kill_and_the_player_reads_the_head_ends_words() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let tv = stage.player("tv", "news").await.in_a_browser();
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.kill_account("ann").await, 1);
    assert_eq!(stage.headend.answered("heartbeat", 404).await.code, Some(3002));

    let refused = tv.post(CLEARKEY).await;
    let told = refused.json();
    assert_eq!(refused.refusal(), (403, "session_killed".to_owned(), Some(3002)));
    let incident = told["incident"].as_str().unwrap();
    let href = format!("http://proxy.test/license/~refused/session_killed/{incident}");
    let expected = json!({
        "type": "https://dashif.org/drm-problems/not-authorized", "title": "Not authorized", "status": 403,
        "error": "session_killed", "code": 404, "errorCode": 3002, "message": "Not Found",
        "detail": "The head-end ended this session.", "event": "ssmheartbeaterror", "phase": "license",
        "incident": incident, "keys": [], "href": href, "hrefTitle": "Why does it not play?",
    });
    assert_eq!(told, expected);
    assert_eq!(refused.header("x-sidebeat-incident"), incident);
    for (name, value) in [
        ("x-ssm-error", "3002"),
        ("content-type", "application/problem+json"),
        ("cache-control", "no-store"),
        ("access-control-allow-origin", "https://tv.example"),
        ("access-control-expose-headers", "x-ssm-error, x-sidebeat-incident"),
    ] {
        assert_eq!(refused.header(name), value, "{name}");
    }
    stage.end().await;
}

#[tokio::test]
async fn every_key_session_of_a_killed_playback_is_refused() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("audio").await.is_good() && tv.license("video").await.is_good());
    stage.headend.kill_account("ann").await;
    assert_eq!(tv.renew("video").await.error(), (403, "session_killed".to_owned()));

    for call in [tv.renew("audio"), tv.renew("video"), tv.license("audio"), tv.license("subtitles")] {
        assert_eq!(call.await.refusal(), (403, "session_killed".to_owned(), Some(3002)));
    }
    // The certificate too, because it is the first step of a player that starts over.
    let certificate = tv.post(&[8, 4][..]).await;
    assert_eq!(
        (certificate.error(), &certificate.json()["phase"]),
        ((403, "session_killed".into()), &json!("certificate"))
    );
    // A token is not needed to be recognised.
    let bare = tv.clone().without("nv-authorizations");
    assert_eq!(bare.renew("video").await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_call_without_a_session_does_not_pass_with_a_killed_token_either() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    stage.headend.kill_account("ann").await;
    assert_eq!(tv.renew("video").await.error(), (403, "session_killed".to_owned()));
    let calls = stage.headend.count("license-widevine").await;
    let download = br#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"persistent-license"}"#;
    for body in [&b"nobody knows this"[..], download] {
        assert_eq!(tv.post(body).await.refusal(), (403, "session_killed".to_owned(), Some(3002)));
    }
    assert_eq!(stage.headend.count("license-widevine").await, calls);
    stage.end().await;
}

#[tokio::test]
async fn retries_get_the_same_verdict_without_a_call_at_the_head_end() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.kill_account("ann").await;
    let found = stage.headend.answered("heartbeat", 404).await.seq;

    for _ in 0..4 {
        assert_eq!(tv.post(CLEARKEY).await.refusal(), (403, "session_killed".to_owned(), Some(3002)));
    }
    for endpoint in ["setup", "heartbeat", "license-clearkey", "teardown"] {
        stage.headend.sees_no(endpoint, found, Duration::from_millis(100)).await;
    }
    assert_eq!(stage.metric("refusals_total", &["cause=\"session_killed\""]).await, 4.0);
    stage.end().await;
}

#[tokio::test]
async fn only_a_new_content_token_opens_again_after_a_kill() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.kill_account("ann").await;
    stage.headend.answered("heartbeat", 404).await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));

    // A token of another second is another token for the same content.
    let token = stage.headend.token("account=ann&device=tv&content=news&once=true").await;
    let again = stage.player_with("tv", &token);
    assert!(again.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.count("setup").await, 2);
    // The old one stays killed beside it.
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_kill_spares_the_other_accounts() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let (ann, bob) = (stage.player_of("ann", "tv", "news").await, stage.player_of("bob", "phone", "news").await);
    assert!(ann.post(CLEARKEY).await.is_good() && bob.post(CLEARKEY).await.is_good());
    stage.headend.kill_account("ann").await;
    stage.headend.answered("heartbeat", 404).await;
    assert_eq!(ann.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    assert!(bob.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.open().await, ["phone news"]);
    stage.end().await;
}

#[tokio::test]
async fn an_operators_kill_refuses_the_player_and_gives_the_session_back() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    let id = stage.each("id").await.remove(0);
    assert_eq!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.json()["done"], "killed");

    let refused = tv.renew("video").await;
    assert_eq!(refused.refusal(), (403, "session_killed".to_owned(), None));
    assert_eq!(
        (refused.json()["message"].as_str(), refused.header("x-ssm-error")),
        (Some("Session ended by operator"), "session_killed")
    );
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    stage.end().await;
}

/// The order names a session that has ended since its operator saw it.
#[tokio::test]
async fn an_operators_kill_of_an_ended_playback_refuses_its_player_and_its_successor() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let first = stage.each("id").await.remove(0);
    // The close takes as long as the successor needs to begin.
    stage.headend.fault("teardown", json!({ "delay_ms": 400 }), 1).await;
    assert_eq!(tv.stop().await.status, 204);
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.each("state").await, ["closed", "live"]);
    let second = stage.each("id").await.remove(1);

    let said = stage.ask(Method::POST, &format!("/v1/sessions/{first}/kill")).await.json();
    assert_eq!(said, json!({ "id": first, "done": "killed", "also": [second] }));
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
    // The kill is one, and is taken back as one.
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{second}/forgive")).await.is_good());
    assert!(tv.post(CLEARKEY).await.is_good());

    // No playback has followed it, but its player may be about to begin one.
    let phone = stage.player_of("bob", "phone", "film").await;
    assert!(phone.post(CLEARKEY).await.is_good());
    let of_phone = async || {
        let sessions = stage.ask(Method::GET, "/v1/sessions?device=phone").await.json();
        let session = &sessions["sessions"][0];
        (session["id"].as_str().unwrap().to_owned(), session["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(phone.stop().await.status, 204);
    stage.eventually("closed", async || of_phone().await.1 == "closed").await;
    let (id, _) = of_phone().await;
    let order = async |order: &str| stage.ask(Method::POST, &format!("/v1/sessions/{id}/{order}")).await.json();
    assert_eq!(order("teardown").await["done"], "over already");
    assert_eq!(order("kill").await, json!({ "id": id, "done": "killed", "also": [] }));
    assert_eq!(phone.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

/// An upstream that tells when it is asked, and says this when it may.
async fn held(reply: &'static str) -> (Upstream, mpsc::UnboundedReceiver<()>, Arc<Notify>) {
    let (tell, asked) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let (waits, length) = (go.clone(), reply.len());
    let upstream = Upstream::raw(move |mut stream| {
        let (tell, waits) = (tell.clone(), waits.clone());
        async move {
            let may = waits.notified();
            let _over = tell.send(());
            may.await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _gone = stream.write_all(format!("{head}{reply}").as_bytes()).await;
        }
    });
    (upstream.await, asked, go)
}

async fn kill_the_only_one(stage: &Stage) {
    let id = stage.each("id").await.remove(0);
    assert_eq!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.json()["done"], "killed");
}

#[tokio::test]
async fn a_license_requested_before_a_kill_does_not_come_after_it() {
    let (server, mut asked, go) = held("a license, or what nobody knows").await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let mut calls = JoinSet::new();
    let bare = tv.clone().without("nv-authorizations");
    for call in [tv.license("video"), tv.post("no message of any DRM"), bare.license("audio"), bare.post("no message")]
    {
        calls.spawn(call.into_future());
        asked.recv().await.unwrap();
    }
    kill_the_only_one(&stage).await;
    go.notify_waiters();
    for refused in calls.join_all().await {
        assert_eq!(refused.refusal(), (403, "session_killed".to_owned(), None));
    }
    stage.headend.next("teardown", 0).await;
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_requested_before_a_kill_does_not_come_after_it() {
    let (ssm, mut asked, go) = held(r#"{"errorCode":0,"license":"bGljZW5zZQ=="}"#).await;
    let stage = Stage::widevine().authority(&format!("renewal-url = \"{}\"", ssm.url())).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    let mut call = JoinSet::new();
    call.spawn(tv.renew("video").into_future());
    asked.recv().await.unwrap();
    kill_the_only_one(&stage).await;
    go.notify_waiters();
    let refused = call.join_all().await.remove(0);
    assert_eq!(refused.refusal(), (403, "session_killed".to_owned(), None));
    stage.headend.next("teardown", 0).await;
    stage.end().await;
}

#[tokio::test]
async fn a_limit_is_reported_remembered_for_a_moment_and_then_checked_again() {
    let stage = Stage::clearkey().settings(|settings| settings.limit = 1).start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player("phone", "film").await);
    assert!(tv.post(CLEARKEY).await.is_good());

    let refused = phone.post(CLEARKEY).await;
    assert_eq!(refused.refusal(), (403, "limit_reached".to_owned(), Some(1007)));
    assert_eq!((&refused.json()["code"], &refused.json()["event"]), (&json!(400), &json!("ssmsetuperror")));
    // Immediate retries after a refusal cost the head-end no call.
    for _ in 0..3 {
        assert_eq!(phone.post(CLEARKEY).await.refusal(), (403, "limit_reached".to_owned(), Some(1007)));
    }
    assert_eq!(stage.headend.count("setup").await, 2);

    assert_eq!(tv.stop().await.status, 204);
    stage.headend.next("teardown", 0).await;
    stage.eventually("room for the phone", async || phone.post(CLEARKEY).await.is_good()).await;
    assert_eq!(stage.headend.count("setup").await, 3);
    assert_eq!(stage.headend.count("license-clearkey").await, 2);
    stage.end().await;
}

#[tokio::test]
async fn a_refused_setup_shows_its_reason_and_reaches_no_license_server() {
    let rows = [
        (400, 1003, "token_rejected"),
        (400, 1004, "token_rejected"),
        (400, 1006, "token_rejected"),
        (400, 1013, "setup_rejected"),
        (400, 1018, "setup_rejected"),
        (400, 1099, "setup_rejected"),
        (404, 3002, "session_killed"),
        (500, 4000, "authority_refused"),
        (500, 4001, "authority_refused"),
    ];
    let stage = Stage::clearkey().start().await;
    for (status, code, error) in rows {
        let device = format!("device-{code}");
        let action = json!({"status": status, "errorCode": code, "message": "so it is"});
        stage.headend.fault("setup", action, 1).await;
        let player = stage.player_of(&device, &device, "news").await;
        let refused = player.post(CLEARKEY).await;
        assert_eq!(refused.refusal(), (403, error.to_owned(), Some(code)));
        let told = refused.json();
        assert_eq!((&told["code"], &told["message"]), (&json!(status), &json!("so it is")), "{code}");
        // This also holds for a playback that counts as killed: its setup failed, and it never had a beat.
        assert_eq!(told["event"], "ssmsetuperror", "{code}");
        assert_eq!(player.post(CLEARKEY).await.json()["event"], "ssmsetuperror", "{code}");
        assert_eq!(refused.header("x-ssm-error"), code.to_string());
    }
    assert_eq!(stage.headend.count("license-clearkey").await, 0);
    stage.end().await;
}

#[tokio::test]
async fn a_player_without_session_control_plays_without_a_session() {
    let stage = Stage::script().route("/license", "clearkey", "session-control = \"always\"").start().await;
    let token = stage.headend.token("device=tv&session=false").await;
    let tv = stage.player_with("tv", &token);
    assert!(tv.post(CLEARKEY).await.is_good());
    assert!(tv.post(CLEARKEY).await.is_good());
    let log = stage.headend.log().await;
    assert_eq!((log[0].endpoint.as_str(), log[0].code), ("setup", Some(1008)));
    assert_eq!(stage.headend.story().await, ["setup", "license-clearkey", "license-clearkey"]);
    stage.end().await;
}

#[tokio::test]
async fn a_session_that_ran_out_is_no_kill() {
    // The head-end waits no longer than its interval; one lost beat and the session is gone.
    let stage = Stage::clearkey()
        .settings(|settings| {
            (settings.heartbeat, settings.grace, settings.heartbeat_json) = (0.3, 0.1, Some(json!(0.3)))
        })
        .authority("grace = \"0s\"")
        .start()
        .await;
    stage.headend.fault("heartbeat", json!({"status": 503}), 2).await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.next("session-expired", 0).await;
    // Its remains do not prevent another start with the same token.
    stage.eventually("over", async || stage.each("state").await == ["closed"]).await;
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"killed\""]).await, 0.0);
    assert_eq!(stage.headend.count("setup").await, 2);
    stage.end_leaving_some_open().await;
}

/// The head-end is unreachable when an operator kills; it hears of the kill as soon as it answers.
#[tokio::test]
async fn an_operators_kill_in_an_outage_reaches_the_head_end_after_it() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.fault("teardown", json!("drop"), 2).await;
    let id = stage.each("id").await.remove(0);
    stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
    assert_eq!(stage.headend.nth("teardown", 3).await.status, 204);
    assert_eq!((stage.headend.open().await, stage.each("state").await), (vec![], vec!["killed".to_owned()]));
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}
