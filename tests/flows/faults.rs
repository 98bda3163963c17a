//! Tests faults of the session service: they never kill, never keep a player waiting, and lose no session that could be
//! kept.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use sidebeat::clock::Clock;

use crate::player::{CLEARKEY, Call};
use crate::preloads::plays;
use crate::stage::{Script, Stage};
use crate::upstream::nobody;
use crate::web::Reply;

/// dash.js gives up after eight seconds, so sidebeat must answer before.
const LONGEST: Duration = Duration::from_secs(6);

/// The faults of the service, and their names.
fn troubles() -> [(Value, &'static str); 8] {
    [
        (json!("drop"), "authority_lost"),
        (json!("lose-reply"), "authority_lost"),
        (json!("truncate"), "authority_lost"),
        (json!("malformed"), "authority_malformed"),
        (json!({"delay_ms": 3000}), "authority_timeout"),
        (json!({"status": 503, "body": "busy"}), "authority_refused"),
        (json!({"status": 500}), "authority_refused"),
        (json!({"status": 429}), "authority_refused"),
    ]
}

async fn in_time(call: Call) -> Reply {
    let began = Clock.now();
    let reply = call.await;
    let took = Clock.now().saturating_duration_since(began);
    assert!(took < LONGEST, "answered after {took:?}");
    reply
}

fn impatient(script: Script) -> Script {
    script.authority("timeout = \"400ms\"")
}

#[tokio::test]
async fn a_failed_setup_is_named_and_retried_by_the_next_call() {
    let stage = impatient(Stage::clearkey()).settings(|settings| settings.limit = 99).start().await;
    let mut players = Vec::new();
    for (number, (action, error)) in troubles().into_iter().enumerate() {
        let device = format!("device-{number}");
        stage.headend.fault_of(&device, "setup", action.clone()).await;
        let player = stage.player(&device, "news").await;
        let refused = in_time(player.post(CLEARKEY)).await;
        assert_eq!(refused.error(), (403, error.to_owned()), "{action}");
        assert_eq!(refused.json()["event"], "ssmsetuperror");
        // A call that succeeds in between: this is no outage. It is for another account, because a 429 delays its own.
        let well = stage.player_of("bob", &format!("well-{number}"), "news").await;
        assert!(well.post(CLEARKEY).await.is_good());
        players.push(player);
    }
    // Immediate retries are answered from memory; a moment later the head-end is asked again.
    for player in players {
        stage.eventually("asked again", async || player.post(CLEARKEY).await.is_good()).await;
    }
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"killed\""]).await, 0.0);
    // Opened by calls whose replies were lost: the head-end lets them run out.
    let books = stage.end_leaving_some_open().await;
    assert!(books["open"].as_array().unwrap().len() <= 3, "lost, cut and late replies alone leave a session");
}

#[tokio::test]
async fn a_head_end_that_is_down_is_reported_at_once() {
    let address = nobody().await;
    let authority = format!("setup-url = \"http://{address}/setup\"");
    let stage = Stage::clearkey().authority(&authority).start().await;
    let tv = stage.player("tv", "news").await;
    let refused = in_time(tv.post(CLEARKEY)).await;
    assert_eq!(refused.error(), (403, "authority_unreachable".to_owned()));
    assert_eq!((&refused.json()["code"], refused.header("x-ssm-error")), (&json!(502), "authority_unreachable"));
    assert_eq!(stage.headend.count("license-clearkey").await, 0);
    let labels = ["call=\"open\"", "result=\"unreachable\"", "authority=\"head-end\""];
    assert_eq!(stage.metric("authority_calls_total", &labels).await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_head_end_that_never_answers_is_not_waited_for() {
    let stage = Stage::script().route("/license", "clearkey", "timeout = \"900ms\"").limits("call = \"1s\"");
    let stage = stage.authority("timeout = \"900ms\"").start().await;
    stage.headend.fault("setup", json!({"delay_ms": 5000}), 1).await;
    let tv = stage.player("tv", "news").await;
    assert_eq!(in_time(tv.post(CLEARKEY)).await.error(), (403, "authority_timeout".to_owned()));
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn lost_beats_are_sent_again_and_the_player_plays_on() {
    // A head-end that also takes the token before: whatever the fault, the session can be kept.
    let script = Stage::clearkey().heartbeat(0.5);
    let script = script.settings(|settings| (settings.accept_previous, settings.limit) = (true, 99));
    // Longer than a busy machine takes for a call that is well, and shorter than the delay of one that is not.
    let stage = script.authority("timeout = \"1500ms\"").start().await;
    let mut players = Vec::new();
    for (number, (action, _)) in troubles().into_iter().enumerate() {
        let device = format!("device-{number}");
        stage.headend.fault_of(&device, "heartbeat", action.clone()).await;
        let player = stage.player(&device, "news").await;
        assert!(player.post(CLEARKEY).await.is_good());
        players.push((player, action));
    }
    // All but one fail: a good status is a good beat with any body. On a busy machine one more beat may be late.
    let (troubled, malformed) = (players.len(), json!("malformed"));
    for (number, _) in players.iter().enumerate().filter(|(_, (_, action))| *action != malformed) {
        let device = format!("device-{number}");
        stage.eventually(&format!("{device} live again"), async || recovered(&stage, &device).await).await;
    }
    for (player, action) in players {
        assert!(in_time(player.post(CLEARKEY)).await.is_good(), "{action}");
    }
    stage.eventually("all live", async || stage.each("state").await == vec!["live"; troubled]).await;
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("session-killed").await), (troubled, 0));
    // The head-end still works on the abandoned call while it gets the next one.
    assert_eq!(stage.finish().await["open"], json!([]));
}

/// The session of that device says that its authority answers again.
async fn recovered(stage: &Stage, device: &str) -> bool {
    let rows = stage.sessions().await;
    let row = rows.iter().find(|row| row["device"] == device).unwrap();
    let session = stage.ask(Method::GET, &format!("/v1/sessions/{}", row["id"].as_str().unwrap())).await.json();
    session["timeline"].as_array().unwrap().iter().any(|entry| entry["event"] == "authority answers again")
}

#[tokio::test]
async fn a_player_is_served_while_beats_are_lost() {
    let stage = impatient(Stage::clearkey().heartbeat(0.3)).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.fault("heartbeat", json!({"status": 503}), 2).await;
    stage.headend.next("heartbeat", 0).await;
    stage.eventually("failing", async || stage.each("state").await == ["failing"]).await;
    assert!(in_time(tv.post(CLEARKEY)).await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn a_failed_renewal_is_retried_once_and_refuses_no_player() {
    let script = Stage::widevine().settings(|settings| settings.accept_previous = true);
    let stage = impatient(script).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    for (action, _) in troubles() {
        stage.headend.fault("renewal", action.clone(), 1).await;
        assert!(in_time(tv.renew("video")).await.is_good(), "{action}");
        assert!(in_time(tv.renew("video")).await.is_good(), "after {action}");
    }
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("session-killed").await), (1, 0));
    // The head-end still works on the abandoned call while it gets the next one.
    assert_eq!(stage.finish().await["open"], json!([]));
}

#[tokio::test]
async fn a_failed_teardown_is_retried_once() {
    for action in [json!("drop"), json!({"status": 503})] {
        let stage = impatient(Stage::clearkey()).start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.post(CLEARKEY).await.is_good());
        stage.headend.fault("teardown", action.clone(), 1).await;
        assert_eq!(tv.stop().await.status, 204);
        assert_eq!(stage.headend.nth("teardown", 2).await.status, 204, "{action}");
        stage.end().await;
    }
}

#[tokio::test]
async fn a_teardown_whose_reply_is_lost_is_done() {
    let stage = impatient(Stage::clearkey()).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.fault("teardown", json!("lose-reply"), 1).await;
    assert_eq!(tv.stop().await.status, 204);
    // The second one finds nothing, which is as good.
    assert_eq!(stage.headend.nth("teardown", 2).await.code, Some(3002));
    assert!(stage.headend.open().await.is_empty());
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn a_teardown_that_never_works_delays_no_player() {
    let stage = impatient(Stage::clearkey()).start().await;
    assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
    stage.headend.fault("teardown", json!("drop"), 2).await;
    let film = stage.player("tv", "film").await;
    assert!(in_time(film.post(CLEARKEY)).await.is_good());
    plays(&film).await;
    // The next channel waits for the old one's place, but not for ever.
    assert!(in_time(stage.player("tv", "sport").await.post(CLEARKEY)).await.is_good());
    assert!(stage.headend.count("teardown").await >= 2);
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn a_kill_is_believed_only_as_the_service_says_it() {
    // Near misses of the kill's status and code.
    let near = [
        json!({"status": 404}),
        json!({"status": 404, "body": "<html>3002</html>"}),
        json!({"status": 404, "errorCode": 3004}),
        json!({"status": 500, "errorCode": 6002}),
        json!({"status": 200, "body": {"errorCode": 9999}}),
        json!({"status": 403, "body": "{}"}),
    ];
    let script = Stage::clearkey().heartbeat(0.5).settings(|settings| settings.limit = 99);
    let stage = impatient(script).start().await;
    let mut players = Vec::new();
    for (number, action) in near.into_iter().enumerate() {
        let device = format!("device-{number}");
        stage.headend.fault_of(&device, "heartbeat", action.clone()).await;
        let player = stage.player(&device, "news").await;
        assert!(player.post(CLEARKEY).await.is_good());
        players.push((device, player, action));
    }
    for (device, player, action) in players {
        stage.headend.next_of(&device, "heartbeat").await;
        assert!(in_time(player.post(CLEARKEY)).await.is_good(), "{action}");
    }
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"killed\""]).await, 0.0);
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn a_session_whose_beats_never_arrive_is_lost_and_not_killed() {
    let authority = format!("grace = \"0s\"\nheartbeat-url = \"http://{}/heartbeat\"", nobody().await);
    let script = Stage::clearkey().heartbeat(0.3).settings(|settings| settings.grace = 0.2);
    let stage = script.authority(&authority).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.next("session-expired", 0).await;
    stage.eventually("lost", async || stage.metric("sessions_ended_total", &["reason=\"lost\""]).await == 1.0).await;
    assert!(tv.post(CLEARKEY).await.is_good(), "and the player may start again");
    assert_eq!(stage.headend.count("setup").await, 2);
    stage.end_leaving_some_open().await;
}
