//! Tests reloads while players play: running playbacks continue, and later ones follow the new configuration.

use std::future::IntoFuture;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::player::CLEARKEY;
use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good};

/// Neither the route nor the authority of any script here.
const OTHER: &str = "[server]\nlisten = []\nlisten-plain = [\"127.0.0.1:0\"]\nworkers = 1\n\
    [admin]\nlisten = \"127.0.0.1:0\"\n\
    [[route]]\npath = \"/other\"\nlicense-server = \"http://127.0.0.1:9/\"";

async fn configuration(stage: &Stage) -> Value {
    stage.ask(Method::GET, "/v1/configuration").await.json()
}

fn home(server: &Upstream, limit: u32) -> Script {
    let authority = format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = {limit}\n\
         account = [\"header:x-account\"]\ninterval = \"200ms\""
    );
    let route = "authority = \"home\"\nsession-control = \"always\"";
    Stage::script().authority(&authority).upstream("/license", &server.url(), route)
}

/// A license server whose replies may be licenses, and name it.
async fn license_server(name: &'static str) -> Upstream {
    Upstream::answering(move |_| good("application/octet-stream", format!("\u{1}{name}"))).await
}

#[tokio::test]
async fn a_session_goes_on_through_reloads_with_its_token_and_is_closed_after_them() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let opened = stage.only_session("live").await;
    for timeout in ["3s", "1500ms", "2s"] {
        stage.reload(&Stage::clearkey().authority(&format!("timeout = \"{timeout}\"")));
        let beat = stage.headend.next("heartbeat", stage.headend.now().await).await;
        assert_eq!(beat.status, 200);
    }
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.only_session("live").await["id"], opened["id"]);
    let books = stage.headend.books().await;
    assert_eq!(books["counters"]["refused"], json!({}), "every beat carried the latest token");
    assert!(tv.stop().await.status == 204);
    stage.headend.next("teardown", 0).await;
    assert_eq!(stage.headend.count("setup").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn the_next_call_goes_to_the_new_license_server() {
    let (old, new) = (license_server("old").await, license_server("new").await);
    let stage = home(&old, 1).start().await;
    let tv = stage.stranger().with("x-device-id", "tv").with("x-account", "ann");
    assert_eq!(tv.post(CLEARKEY).await.text(), "\u{1}old");
    stage.reload(&home(&new, 1));
    assert_eq!(tv.post(CLEARKEY).await.text(), "\u{1}new");
    assert_eq!((old.seen().len(), new.seen().len()), (1, 1));
    assert_eq!(stage.each("state").await, ["live"], "the playback is the same");
    stage.end().await;
}

#[tokio::test]
async fn a_newly_denied_account_loses_its_sessions_and_no_other_does() {
    let server = license_server("key").await;
    let denying = |list: &str| {
        let authority = format!(
            "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"header:x-account\"]\n\
             interval = \"200ms\"\n{list}"
        );
        let route = "authority = \"home\"\nsession-control = \"always\"";
        Stage::script().authority(&authority).upstream("/license", &server.url(), route)
    };
    let stage = denying("").start().await;
    let of = |account: &str| stage.stranger().with("x-device-id", account).with("x-account", account);
    let players = ["ann", "bob", "eve"].map(of);
    for player in &players {
        assert!(player.post(CLEARKEY).await.is_good());
    }
    stage.reload(&denying("deny = [\"ann\"]"));
    let slots = stage.ask(Method::GET, "/v1/authorities/home/slots").await.json();
    let accounts: Vec<_> = slots["slots"].as_array().unwrap().iter().map(|slot| slot["account"].clone()).collect();
    assert_eq!(accounts, ["bob", "eve"]);
    stage.eventually("told by its beat", async || stage.each("state").await == ["killed", "live", "live"]).await;
    let told = players[0].post(CLEARKEY).await.json();
    let message = "this account or device may not play any more";
    assert_eq!((&told["error"], &told["message"]), (&json!("session_killed"), &json!(message)));
    // The list of allowed accounts does not have eve.
    stage.reload(&denying("allow = [\"b*\"]"));
    let told = players[2].post(CLEARKEY).await.json();
    assert_eq!((&told["error"], &told["message"]), (&json!("session_killed"), &json!(message)));
    assert!(players[1].post(CLEARKEY).await.is_good());
    assert_eq!(stage.metric("slots_ended_total", &["reason=\"denied\""]).await, 2.0);
    stage.end().await;
}

#[tokio::test]
async fn a_repaired_authority_gets_calls_at_once() {
    let wrong = "setup-url = \"http://127.0.0.1:1/\"\ntimeout = \"1s\"";
    let stage = Stage::clearkey().authority(wrong).start().await;
    for number in 0.. {
        let player = stage.player(&format!("tv-{number}"), "news").await;
        assert_eq!(player.post(CLEARKEY).await.error(), (403, "authority_unreachable".to_owned()));
        // A second and more lies between its probes now.
        if stage.metric("authority_calls_total", &["call=\"open\""]).await >= 6.0 {
            break;
        }
    }
    stage.reload(&Stage::clearkey());
    assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn a_call_in_flight_ends_under_the_configuration_with_which_it_began() {
    let (old, new) = (license_server("old").await, license_server("new").await);
    let script = |server: &Upstream| Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"");
    let stage = script(&old).start().await;
    stage.headend.fault("setup", json!({"delay_ms": 500}), 1).await;
    let mut call = JoinSet::new();
    call.spawn(stage.player("tv", "news").await.post(CLEARKEY).into_future());
    stage.eventually("waiting for its session", async || stage.each("state").await == ["opening"]).await;
    assert!(stage.reload_text(OTHER));
    assert_eq!(call.join_next().await.unwrap().unwrap().text(), "\u{1}old");
    stage.reload(&script(&new));
    assert_eq!(stage.player("phone", "film").await.post(CLEARKEY).await.text(), "\u{1}new");
    stage.end().await;
}

#[tokio::test]
async fn a_faulty_configuration_changes_nothing_and_names_its_faults() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    let fresh = configuration(&stage).await;
    assert_eq!((&fresh["failed_reload"], &fresh["needs_restart"]), (&Value::Null, &json!([])));
    let broken = "[server]\nworkers = -1\n[[route]]\npath = \"license\"";
    assert!(!stage.reload_text(broken));
    let told = configuration(&stage).await;
    let faults = told["failed_reload"]["faults"].to_string();
    for key in ["server.workers", "route[0].path", "route[0].license-server"] {
        assert!(faults.contains(key), "{key} is not in {faults}");
    }
    assert_eq!(told["loaded"], fresh["loaded"]);
    // A CA file that is not there is known only when it is read.
    let text = OTHER.replace("http://127.0.0.1:9/\"", "https://127.0.0.1:9/\"\nca = \"no-such-file.pem\"");
    assert!(!stage.reload_text(&text));
    assert!(configuration(&stage).await["failed_reload"]["faults"][0].as_str().unwrap().contains("no-such-file.pem"));
    assert!(tv.post(CLEARKEY).await.is_good(), "the old route is there");
    assert_eq!(stage.metric("configuration_stale", &[]).await, 1.0);
    assert_eq!(stage.metric("reloads_total", &["result=\"failed\""]).await, 2.0);

    stage.reload(&Stage::clearkey());
    let told = configuration(&stage).await;
    assert_eq!((&told["failed_reload"], stage.metric("configuration_stale", &[]).await), (&Value::Null, 0.0));
    assert!(told["loaded"].as_f64() > fresh["loaded"].as_f64());
    stage.end().await;
}

#[tokio::test]
async fn sessions_of_a_route_and_an_authority_that_are_gone_are_beaten_and_closed() {
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    for _ in 0..3 {
        assert!(stage.reload_text(OTHER));
        assert_eq!(stage.headend.next("heartbeat", stage.headend.now().await).await.status, 200);
    }
    let refused = tv.post(CLEARKEY).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (404, &json!("no_route")));
    // A route that comes back finds the session of its player.
    stage.reload(&Stage::clearkey());
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.count("setup").await, 1);
    assert!(stage.reload_text(OTHER));
    stage.end().await;
}

#[tokio::test]
async fn a_raised_limit_holds_at_once_and_running_playbacks_stay_counted() {
    let server = license_server("license").await;
    let stage = home(&server, 1).start().await;
    let play = |device: &str| stage.stranger().with("x-account", "ann").with("x-device-id", device).post(CLEARKEY);
    assert!(play("tv").await.is_good());
    assert_eq!(play("phone").await.json()["error"], "limit_reached");
    stage.reload(&home(&server, 2));
    assert!(play("tablet").await.is_good());
    assert_eq!(play("laptop").await.json()["error"], "limit_reached");
    let slots = stage.ask(Method::GET, "/v1/authorities/home/slots").await.json();
    assert_eq!(slots["slots"].as_array().unwrap().len(), 2);
    // Sessions are confirmed in the same books, also when the configuration does not name them.
    assert!(stage.reload_text(OTHER));
    let beats = async || stage.sessions().await.iter().filter_map(|row| row["beats"].as_u64()).min();
    let before = beats().await.unwrap();
    stage.eventually("beaten", async || beats().await > Some(before + 1)).await;
    stage.end().await;
}

#[tokio::test]
async fn a_running_session_follows_the_new_policy_of_its_route() {
    let script =
        |longest: &str| Stage::script().route("/license", "clearkey", &format!("[route.endings]\nlongest = {longest}"));
    let stage = script("\"12h\"").heartbeat(0.2).start().await;
    assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
    stage.headend.next("heartbeat", 0).await;
    stage.reload(&script("\"300ms\""));
    stage.headend.next("teardown", 0).await;
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"longest\""]).await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_reload_names_the_changes_that_need_a_restart_and_takes_the_rest() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await.with("origin", "https://tv.example");
    assert!(tv.post(CLEARKEY).await.is_good());
    let text = OTHER
        .replace("workers = 1", "workers = 2\norigins = [\"https://other.example\"]")
        .replace("[admin]\nlisten = \"127.0.0.1:0\"", "[log]\nformat = \"json\"\n[admin]\nlisten = \"off\"");
    assert!(stage.reload_text(&text));
    let told = configuration(&stage).await;
    assert_eq!(told["needs_restart"], json!(["admin.listen", "log.format", "server.workers"]));
    let refused = tv.post(CLEARKEY).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (403, &json!("origin_refused")));
    stage.end().await;
}

#[tokio::test]
async fn changed_limits_toward_players_hold_for_the_next_call() {
    let server = license_server("license").await;
    let stage = home(&server, 1).start().await;
    let tv = stage.stranger().with("x-device-id", "tv").with("x-account", "ann");
    let large = vec![b' '; 2000];
    assert_ne!(tv.post(large.clone()).await.status, 413);
    stage.reload(&home(&server, 1).limits("body-max = \"1KiB\"\nin-flight = 1"));
    assert_eq!(tv.post(large).await.status, 413);
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn reloads_under_load_lose_no_call_and_no_session() {
    const DEVICES: usize = 12;
    let stage = Stage::clearkey().heartbeat(0.2).start().await;
    let mut calls = JoinSet::new();
    for device in 0..DEVICES {
        let name = device.to_string();
        let player = stage.player_of(&name, &name, "news").await;
        calls.spawn(async move {
            for call in 0..20 {
                let license = player.post(CLEARKEY).await;
                assert!(license.is_good(), "device {device}, call {call}: {}", license.text());
            }
        });
    }
    let mut reloads = 0;
    while !calls.is_empty() {
        let script = Stage::clearkey().authority(&format!("timeout = \"{}ms\"", 2000 + reloads % 7));
        stage.reload(&script.limits(&format!("in-flight = {}", 500 + reloads)));
        reloads += 1;
        while let Ok(Some(ended)) = tokio::time::timeout(Duration::from_millis(5), calls.join_next()).await {
            ended.unwrap();
        }
    }
    assert!(reloads > 3, "{reloads} reloads");
    assert_eq!(
        (stage.headend.count("setup").await, stage.each("state").await),
        (DEVICES, vec!["live".to_owned(); DEVICES])
    );
    stage.end().await;
}
