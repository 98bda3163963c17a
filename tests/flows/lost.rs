//! Tests answers that are lost after the head-end has replaced the session's token. "No such session" is no kill then:
//! sidebeat opens another session in its place, and does not refuse the player.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use sidebeat::task::{DeadTasks, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::player::CLEARKEY;
use crate::stage::{Script, Stage};

/// The two answers to a token that was replaced: 400 with 1006, and that of a kill, 404 with 3002.
const STALE: [&str; 2] = ["invalid", "not-found"];

/// The head-end does its work, but the answer is lost: cut off, cut short, later than the limit, or replaced by a page
/// with a success status.
fn losses() -> [Value; 4] {
    [json!("lose-reply"), json!("truncate"), json!({"delay_ms": 2500}), json!("garble")]
}

fn stale_is(script: Script, stale: &str) -> Script {
    script.settings(|settings| settings.stale_token = serde_json::from_value(json!(stale)).unwrap())
}

async fn killed(stage: &Stage) -> f64 {
    stage.metric("sessions_ended_total", &["reason=\"killed\""]).await
}

async fn event(stage: &Stage, name: &str) -> f64 {
    stage.metric("session_events_total", &[&format!("event=\"{name}\"")]).await
}

#[tokio::test]
async fn a_beat_whose_answer_is_lost_opens_the_session_anew_and_is_no_kill() {
    for (stale, loss) in STALE.into_iter().flat_map(|stale| losses().map(|loss| (stale, loss))) {
        let stage = stale_is(Stage::clearkey().heartbeat(0.5), stale).start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.post(CLEARKEY).await.is_good());
        let before = stage.each("id").await;
        stage.headend.fault("heartbeat", loss.clone(), 1).await;
        stage.eventually("opened anew", async || stage.headend.count("setup").await == 2).await;
        assert!(tv.post(CLEARKEY).await.is_good(), "{stale}, {loss}");
        stage.only_session("live").await;
        assert_eq!((stage.each("id").await, killed(&stage).await), (before, 0.0), "{stale}, {loss}");
        assert_eq!((event(&stage, "opening anew").await, event(&stage, "left open").await), (1.0, 1.0));
        // The new one's first good beat brings a token that is known to be the newest: now a kill is one.
        let beaten = stage.headend.now().await;
        assert_eq!(stage.headend.next("heartbeat", beaten).await.status, 200);
        stage.headend.kill_account("ann").await;
        stage.only_session("killed").await;
        assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_gets_its_license_by_a_new_session_within_the_call() {
    for (stale, loss) in STALE.into_iter().flat_map(|stale| losses().map(|loss| (stale, loss))) {
        let stage = stale_is(Stage::widevine(), stale).start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.license("video").await.is_good());
        stage.headend.fault("renewal", loss.clone(), 1).await;
        for _ in 0..3 {
            let renewed = tv.renew("video").await;
            assert!(renewed.is_good(), "{stale}, {loss}: {}", renewed.text());
        }
        assert_eq!(stage.metric("sessions", &["state=\"live\""]).await, 1.0);
        assert_eq!(killed(&stage).await, 0.0);
        // A head-end that does its work late may find the second try before it: then nothing was lost.
        let late = loss.is_object();
        let setups = stage.headend.count("setup").await;
        let opened = if late { 1..=2 } else { 2..=2 };
        assert!(opened.contains(&setups), "{stale}, {loss}: {setups}");
        assert_eq!(event(&stage, "opening anew").await, (setups - 1) as f64, "{stale}, {loss}");
        if late {
            // The head-end still works on the abandoned call while it gets the next one.
            stage.finish().await;
        } else {
            assert_eq!(stage.end_leaving_some_open().await["open"].as_array().unwrap().len(), 1, "the lost one");
        }
    }
}

/// The head-end's replies without a decision, any number of times in a row.
#[tokio::test]
async fn a_renewal_that_gets_no_decision_at_all_goes_on_with_the_last_grant() {
    let none = [
        json!("drop"),
        json!({"status": 502}),
        json!({"status": 504, "body": "<html>"}),
        json!({"status": 200, "body": "<html>ok"}),
        json!({"status": 204}),
        json!({"status": 302}),
        json!({"status": 401}),
        json!({"status": 404, "body": "Not Found"}),
        json!({"status": 429}),
    ];
    for action in none {
        let stage = Stage::widevine().start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.license("video").await.is_good());
        let asked = stage.headend.count("license-widevine").await;
        stage.headend.fault("renewal", action.clone(), 99).await;
        let renewed = tv.renew("video").await;
        assert!(renewed.is_good(), "{action}: {}", renewed.text());
        assert_eq!(stage.headend.count("license-widevine").await, asked + 1, "{action}");
        assert!(stage.headend.count("renewal").await <= 6, "three times, by both of its paths");
        stage.headend.no_faults().await;
        assert!(tv.renew("video").await.is_good(), "{action}");
        assert_eq!((killed(&stage).await, stage.headend.count("setup").await), (0.0, 1), "{action}");
        stage.end().await;
    }
}

/// The lost session holds the only place until the head-end lets it expire; the player is not refused for that.
#[tokio::test]
async fn a_session_waits_for_the_place_that_its_own_lost_one_holds() {
    let script = stale_is(Stage::clearkey().heartbeat(0.5), "not-found").authority("grace = \"5s\"");
    let script = script.settings(|settings| (settings.limit, settings.grace) = (1, 2.0));
    let stage = script.start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.fault("heartbeat", json!("lose-reply"), 1).await;
    assert_eq!(stage.headend.answered("setup", 400).await.code, Some(1007));
    assert!(tv.post(CLEARKEY).await.is_good(), "it waits for the new session");
    stage.only_session("live").await;
    assert_eq!(event(&stage, "refused").await, 0.0);
    stage.end().await;
}

/// The cost: an unreported kill is seen by the open that takes the lost session's place.
#[tokio::test]
async fn a_kill_that_falls_into_a_lost_answer_is_seen_one_call_later() {
    let stage = stale_is(Stage::clearkey().heartbeat(0.5), "not-found").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let killed = json!({"status": 404, "errorCode": 3002, "message": "Not Found"});
    stage
        .headend
        .faults(json!([
            {"endpoint": "heartbeat", "action": "lose-reply"},
            {"endpoint": "setup", "action": killed},
        ]))
        .await;
    stage.headend.nth("heartbeat", 1).await;
    stage.headend.kill_account("ann").await;
    stage.only_session("killed").await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    assert_eq!((stage.headend.count("heartbeat").await, stage.headend.count("setup").await), (2, 2));
    stage.end().await;
}

#[tokio::test]
async fn the_close_of_a_session_whose_newest_token_is_lost_is_reported_as_left_open() {
    for stale in STALE {
        let stage = stale_is(Stage::widevine(), stale).start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.license("video").await.is_good());
        // Lost as often as it is asked for, within one call.
        stage.headend.fault("renewal", json!("lose-reply"), 3).await;
        tv.renew("video").await;
        assert_eq!(tv.stop().await.status, 204);
        stage.headend.nth("teardown", 1).await;
        stage.eventually("closed", async || stage.each("state").await == ["closed"]).await;
        assert_eq!(event(&stage, "left open").await, 1.0, "{stale}");
        assert_eq!(stage.headend.count("teardown").await, 1, "asking again with the same token would not help");
        stage.end_leaving_some_open().await;
    }
}

/// Pages of a captive portal or a CDN that answer in the head-end's place, with success.
const PAGES: [&str; 4] = ["<html>Please log in</html>", "", "null", r#"{"portal": "https://login.example"}"#];

/// One page replaces the answer with the new token; the later ones must not make the old token look valid.
#[tokio::test]
async fn pages_that_answer_in_the_head_ends_place_prove_nothing_of_its_tokens() {
    for page in PAGES {
        let stage = stale_is(Stage::clearkey().heartbeat(0.5), "not-found").start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.post(CLEARKEY).await.is_good());
        stage
            .headend
            .faults(json!([
                {"endpoint": "heartbeat", "action": "garble"},
                {"endpoint": "heartbeat", "times": 2, "action": {"status": 200, "body": page}},
            ]))
            .await;
        stage.eventually("opened anew", async || stage.headend.count("setup").await == 2).await;
        assert!(tv.post(CLEARKEY).await.is_good(), "{page}");
        stage.only_session("live").await;
        assert_eq!(killed(&stage).await, 0.0, "{page}");
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_page_that_answers_a_setup_or_a_renewal_grants_nothing() {
    for page in PAGES {
        let stage = Stage::widevine().start().await;
        let tv = stage.player("tv", "news").await;
        stage.headend.fault("setup", json!({"status": 200, "body": page}), 1).await;
        assert_eq!(tv.license("video").await.error(), (403, "authority_malformed".to_owned()), "{page}");
        stage.eventually("opened", async || tv.license("video").await.is_good()).await;
        stage.headend.fault("renewal", json!({"status": 200, "body": page}), 1).await;
        assert!(tv.renew("video").await.is_good(), "{page}");
        assert_eq!(stage.headend.count("renewal").await, 2, "asked again: {page}");
        stage.end().await;
    }
}

#[tokio::test]
async fn a_page_that_answers_a_teardown_gives_no_place_back() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.fault("teardown", json!({"status": 200, "body": PAGES[0]}), 1).await;
    assert_eq!(tv.stop().await.status, 204);
    stage.headend.nth("teardown", 2).await;
    assert!(stage.headend.open().await.is_empty());
    stage.end().await;
}

/// The setup is answered after its player was refused, so its session has no player.
#[tokio::test]
async fn an_open_that_is_granted_after_it_was_given_up_is_given_back() {
    let script = Stage::clearkey().settings(|settings| settings.limit = 1).authority("timeout = \"400ms\"");
    let stage = script.start().await;
    stage.headend.fault("setup", json!({ "delay_ms": 1500 }), 1).await;
    let tv = stage.player("tv", "news").await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "authority_timeout".to_owned()));
    // The close comes long before the session would expire.
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert!(stage.headend.open().await.is_empty());
    assert_eq!(stage.metric("authority_late_grants_total", &["authority=\"head-end\""]).await, 1.0);
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.open().await, ["tv news"]);
    stage.end().await;
}

/// Something in front of the head-end that passes its first answer on when the test says so. The work is done by then.
struct SlowSetup {
    go: Arc<Notify>,
    headend: Arc<OnceLock<SocketAddr>>,
    address: SocketAddr,
    _tasks: (Tasks, DeadTasks),
}

impl SlowSetup {
    async fn begin() -> Self {
        let (go, headend) = (Arc::new(Notify::new()), Arc::<OnceLock<SocketAddr>>::default());
        let (tasks, deaths) = Tasks::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (held, far, each) = (go.clone(), headend.clone(), tasks.clone());
        tasks.spawn(async move {
            let mut first = Some(held);
            while let Ok((stream, _)) = listener.accept().await {
                each.spawn(pass_on(stream, *far.get().unwrap(), first.take()));
            }
        });
        Self { go, headend, address, _tasks: (tasks, deaths) }
    }

    async fn stage(&self, lines: &str) -> Stage {
        let authority = format!("setup-url = \"http://{}/DEMO/ssm/v1/sessions/setup\"\n{lines}", self.address);
        let stage = Stage::clearkey().settings(|settings| settings.limit = 1).authority(&authority).start().await;
        self.headend.set(stage.headend.address).unwrap();
        stage
    }
}

async fn pass_on(mut stream: TcpStream, headend: SocketAddr, held: Option<Arc<Notify>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"{}") {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
    let request = String::from_utf8(request).unwrap().replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let (mut far, mut reply) = (TcpStream::connect(headend).await.unwrap(), Vec::new());
    far.write_all(request.as_bytes()).await.unwrap();
    far.read_to_end(&mut reply).await.unwrap();
    if let Some(held) = held {
        held.notified().await;
    }
    let _gone = stream.write_all(&reply).await;
}

/// The account's only place is held by an open whose answer is on its way: that is waited for, as for any place that
/// is given back.
#[tokio::test]
async fn a_player_that_asks_again_gets_the_place_of_its_late_open() {
    let slow = SlowSetup::begin().await;
    let stage = slow.stage("timeout = \"600ms\"").await;
    let tv = stage.player("tv", "news").await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "authority_timeout".to_owned()));
    assert_eq!(stage.headend.open().await, ["tv news"], "its answer is on the way");
    let other = stage.player("tv", "film").await;
    let asks = async { other.post(CLEARKEY).await };
    let comes = async {
        // Its open has met the limit, and waits.
        stage.headend.nth("setup", 2).await;
        slow.go.notify_one();
    };
    let (licensed, ()) = tokio::join!(asks, comes);
    assert!(licensed.is_good(), "{licensed:?}");
    assert_eq!(stage.headend.open().await, ["tv film"]);
    stage.end().await;
}

#[tokio::test]
async fn the_end_of_the_process_waits_a_moment_for_a_late_open() {
    let slow = SlowSetup::begin().await;
    let stage = slow.stage("timeout = \"300ms\"").await;
    let tv = stage.player("tv", "news").await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "authority_timeout".to_owned()));
    assert_eq!(stage.headend.open().await, ["tv news"]);
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        slow.go.notify_one();
    };
    tokio::join!(stage.end(), late);
}
