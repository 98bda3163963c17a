//! Tests outages of the session service: which playbacks continue, for how long, and how they are settled afterwards.

use std::time::Duration;

use serde_json::{Value, json};
use sidebeat::clock::Clock;

use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};

const MANY: u64 = 1_000_000;

/// The license server of the operator lets content tokens pass alone, as it does without session control.
fn script(on_unreachable: &str) -> Script {
    let script = Stage::clearkey().settings(|settings| (settings.limit, settings.needs_session) = (99, false));
    script.authority(&format!("timeout = \"300ms\"\non-unreachable = {on_unreachable}"))
}

async fn away(stage: &Stage, endpoint: &str, action: Value) {
    stage.headend.fault(endpoint, action, MANY).await;
}

async fn report(stage: &Stage, of: &Player, device: &str, line: &str) {
    let call = stage.stranger().post(line.to_owned()).below(&format!("/~report?token={}&device={device}", of.token));
    assert_eq!(call.header("content-type", "application/cmcd").await.status, 204);
}

async fn ended(stage: &Stage, reason: &str) -> f64 {
    stage.metric("sessions_ended_total", &[&format!("reason=\"{reason}\"")]).await
}

#[tokio::test]
async fn a_new_playback_plays_on_credit_and_is_reconciled() {
    for action in [json!("drop"), json!({"delay_ms": 1500})] {
        let stage = script("\"10m\"").start().await;
        away(&stage, "setup", action.clone()).await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.post(CLEARKEY).await.is_good(), "{action}");
        assert_eq!(stage.each("state").await, ["owing"]);
        assert_eq!(stage.metric("on_credit", &[]).await, 1.0);
        assert!(stage.sessions().await[0]["on_credit_s"].is_number());
        if action == json!("drop") {
            assert_eq!(stage.headend.open().await, [""; 0], "nobody was asked");
        }
        stage.headend.no_faults().await;
        let live = stage.only_session("live").await;
        assert_eq!(live["on_credit_s"], Value::Null);
        assert!(tv.post(CLEARKEY).await.is_good());
        assert!(stage.metric("credit_debt_seconds_total", &[]).await > 0.0);
        assert_eq!(stage.metric("credits_total", &["playback=\"new\""]).await, 1.0);
        // Late grants to abandoned calls are given back.
        stage.end().await;
    }
}

/// An error is an answer, and any caller can provoke one by sending garbage.
#[tokio::test]
async fn error_answers_to_one_caller_give_it_no_credit_and_cost_no_other_a_call() {
    for code in [400, 429, 500, 502, 503, 504] {
        let stage = script("\"10m\"").settings(|settings| settings.limit = 1).start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.post(CLEARKEY).await.is_good());
        for number in 0..8 {
            let device = format!("garbage-{number}");
            stage.headend.fault_of(&device, "setup", json!({"status": code})).await;
            let refused = stage.player_of("eve", &device, "news").await.post(CLEARKEY).await;
            assert_eq!(refused.status, 403, "{code}");
        }
        assert_eq!(stage.metric("on_credit", &[]).await, 0.0, "{code}");
        assert_eq!(stage.metric("authority_breaker_open", &[]).await, 0.0, "{code}");
        assert!(stage.player_of("bob", "box", "news").await.post(CLEARKEY).await.is_good(), "{code}");
        let second = stage.player("second", "news").await;
        assert_eq!(second.post(CLEARKEY).await.error(), (403, "limit_reached".to_owned()), "{code}");
        stage.end().await;
    }
}

/// A gateway before the head-end cuts or hangs the calls of one caller, and answers all others.
#[tokio::test]
async fn provoked_silence_gives_a_caller_no_credit_and_costs_no_other_a_call() {
    for (action, devices, plays) in
        [(json!("drop"), 8, false), (json!("drop"), 8, true), (json!({"delay_ms": 30_000}), 5, false)]
    {
        let script = Stage::clearkey().settings(|settings| (settings.limit, settings.needs_session) = (1, false));
        let stage = script.authority("timeout = \"2s\"\non-unreachable = \"10m\"").start().await;
        if plays {
            assert!(stage.player("tv", "news").await.post(CLEARKEY).await.is_good());
        }
        for number in 0..devices {
            let device = format!("odd-{number}");
            stage.headend.fault_of(&device, "setup", action.clone()).await;
            let refused = stage.player_of("eve", &device, "news").await.post(CLEARKEY).await;
            assert_eq!(refused.error(), (403, "authority_refused".to_owned()), "{action}");
            assert!(refused.json()["message"].as_str().unwrap().contains("other calls are answered"));
        }
        assert_eq!(stage.metric("credits_total", &["playback=\"new\""]).await, 0.0, "{action}");
        assert_eq!(stage.metric("authority_breaker_open", &[]).await, 0.0, "{action}");
        assert!(stage.player_of("bob", "box", "news").await.post(CLEARKEY).await.is_good(), "{action}");
        stage.headend.no_faults().await;
        stage.end_leaving_some_open().await;
    }
}

/// A household on a LAN is seen by several addresses, and names any number of devices.
#[tokio::test]
async fn a_household_that_provokes_errors_by_several_addresses_gets_no_credit_and_costs_no_other_a_call() {
    for honest in [0, 3] {
        let script = script("\"10m\"").settings(|settings| settings.limit = 1);
        let stage = script.server("trusted-proxies = [\"127.0.0.1\"]").start().await;
        let at = |player: Player, number: u32| player.with("x-forwarded-for", &format!("198.51.100.{number}"));
        for number in 0..honest {
            let box_ = stage.player_of(&format!("honest-{number}"), &format!("box-{number}"), "news").await;
            assert!(at(box_, number).post(CLEARKEY).await.is_good());
        }
        assert!(at(stage.player("tv", "news").await, 101).post(CLEARKEY).await.is_good());
        for round in 0..4 {
            for number in 101..=104 {
                let device = format!("garbage-{round}-{number}");
                stage.headend.fault_of(&device, "setup", json!({"status": 500})).await;
                let garbage = at(stage.player_of("eve", &device, "news").await, number);
                assert_eq!(garbage.post(CLEARKEY).await.status, 403, "{honest}");
            }
            let second = at(stage.player(&format!("second-{round}"), "film").await, 103);
            assert_eq!(second.post(CLEARKEY).await.status, 403, "{honest}, round {round}: over the limit");
            let new = stage.player_of(&format!("new-{round}"), &format!("new-{round}"), "news").await;
            assert!(at(new, 9).post(CLEARKEY).await.is_good(), "{honest}, round {round}");
        }
        assert_eq!(stage.metric("credits_total", &["playback=\"new\""]).await, 0.0, "{honest}");
        stage.headend.no_faults().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn error_answers_to_many_callers_open_the_breaker_and_many_devices_of_one_caller_do_not() {
    let proxies = "trusted-proxies = [\"127.0.0.1\"]";
    for (viewers, opens) in [(1, 0.0), (3, 1.0)] {
        let stage = script("\"refuse\"").server(proxies).start().await;
        away(&stage, "setup", json!({"status": 503})).await;
        for number in 0..8 {
            let player = stage.player(&format!("tv-{number}"), "news").await;
            let player = player.with("x-forwarded-for", &format!("198.51.100.{}", number % viewers));
            assert_eq!(player.post(CLEARKEY).await.status, 403);
        }
        assert_eq!(stage.metric("authority_breaker_open", &["calls=\"open,renew\""]).await, opens, "{viewers}");
        assert_eq!(stage.metric("authority_calls_spared_total", &["call=\"open\""]).await > 0.0, viewers == 3);
        stage.headend.no_faults().await;
        let tv = stage.player("tv", "news").await;
        stage.eventually("answered", async || tv.post(CLEARKEY).await.is_good()).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn an_account_that_must_wait_gets_no_call_and_others_do() {
    let stage = script("\"refuse\"").start().await;
    stage.headend.fault_of("tv", "setup", json!({"status": 429})).await;
    let (tv, other) = (stage.player("tv", "news").await, stage.player("other", "news").await);
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "authority_refused".to_owned()));
    let asked = stage.headend.count("setup").await;
    let refused = other.post(CLEARKEY).await;
    assert_eq!(refused.error(), (403, "authority_refused".to_owned()));
    assert!(refused.json()["message"].as_str().unwrap().contains("wait"));
    assert_eq!(stage.headend.count("setup").await, asked, "its account waits");
    assert!(stage.player_of("bob", "box", "news").await.post(CLEARKEY).await.is_good());
    assert_eq!(stage.metric("authority_deferrals_total", &["authority=\"head-end\""]).await, 1.0);
    stage.eventually("asked again", async || other.post(CLEARKEY).await.is_good()).await;
    stage.end().await;
}

#[tokio::test]
async fn a_late_denial_ends_a_playback_on_credit_and_is_remembered() {
    let stage = script("{ new = \"10m\" }").settings(|settings| settings.limit = 1).start().await;
    let first = stage.player("first", "news").await;
    assert!(first.post(CLEARKEY).await.is_good());
    // The calls are its own, and the probe that asks if the head-end answers at all.
    stage.headend.fault("setup", json!("drop"), 2).await;
    let second = stage.player("second", "film").await;
    assert!(second.post(CLEARKEY).await.is_good(), "on credit, whatever the limit");
    stage.eventually("denied", async || second.post(CLEARKEY).await.status == 403).await;
    let setups = stage.headend.count("setup").await;
    assert_eq!(second.post(CLEARKEY).await.error(), (403, "limit_reached".to_owned()));
    // There is room now, and the denial still holds.
    assert_eq!(first.stop().await.status, 204);
    stage.headend.next("teardown", 0).await;
    assert_eq!(second.post(CLEARKEY).await.error(), (403, "limit_reached".to_owned()));
    assert_eq!(stage.headend.count("setup").await, setups);
    stage.end().await;
}

#[tokio::test]
async fn spent_credit_is_not_given_again() {
    let stage = script("{ new = \"1500ms\" }").start().await;
    away(&stage, "setup", json!("drop")).await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.eventually("spent", async || stage.each("state").await == ["closed"]).await;
    assert_eq!(tv.post(CLEARKEY).await.error(), (403, "authority_unreachable".to_owned()));
    // A moment later it may ask again, and is asked for, but does not play before there is an answer.
    let before = stage.headend.count("setup").await;
    stage
        .eventually("asked again", async || {
            // The reason is the spent budget, or the dropped call.
            let (status, error) = tv.post(CLEARKEY).await.error();
            assert!(status == 403 && ["authority_unreachable", "authority_lost"].contains(&&*error), "{error}");
            stage.headend.count("setup").await > before
        })
        .await;
    stage.headend.no_faults().await;
    stage.eventually("granted", async || tv.post(CLEARKEY).await.is_good()).await;
    stage.end().await;
}

#[tokio::test]
async fn a_stop_on_credit_owes_nothing() {
    let stage = script("\"10m\"").start().await;
    away(&stage, "setup", json!("drop")).await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(tv.stop().await.status, 204);
    stage.eventually("over", async || stage.each("state").await == ["closed"]).await;
    stage.headend.no_faults().await;
    assert_eq!(stage.headend.count("teardown").await, 0);
    stage.end().await;
}

#[tokio::test]
async fn the_policy_refuse_refuses_new_playbacks_and_ends_running_ones_at_their_expiry() {
    for on_unreachable in ["\"refuse\"", "{ allow-for = \"refuse\" }"] {
        let stage = script(&format!("{on_unreachable}\ngrace = \"0s\"")).heartbeat(0.3).start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.post(CLEARKEY).await.is_good());
        away(&stage, "*", json!("drop")).await;
        stage.eventually("lost", async || ended(&stage, "lost").await == 1.0).await;
        assert_eq!(stage.player("box", "news").await.post(CLEARKEY).await.status, 403);
        assert_eq!(stage.metric("on_credit", &[]).await, 0.0);
        stage.headend.no_faults().await;
        stage.end_leaving_some_open().await;
    }
}

#[tokio::test]
async fn a_running_playback_outlives_an_outage_within_its_budget() {
    let script = script("{ running = \"10m\" }\ngrace = \"200ms\"").heartbeat(0.3);
    let stage = script.settings(|settings| settings.grace = 0.2).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    away(&stage, "heartbeat", json!({"status": 503})).await;
    stage.eventually("on credit", async || stage.metric("on_credit", &[]).await == 1.0).await;
    assert_eq!(stage.each("state").await, ["failing"]);
    // The head-end has let it expire by now; its license server takes the last grant all the same, or not:
    // that is its own to say.
    stage.headend.next("session-expired", 0).await;
    stage.headend.no_faults().await;
    // Found expired, and not killed: another session is opened.
    stage.eventually("opened anew", async || stage.headend.count("setup").await == 2).await;
    stage.only_session("live").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!((ended(&stage, "lost").await, ended(&stage, "killed").await), (0.0, 0.0));
    assert_eq!(stage.metric("credits_total", &["playback=\"running\""]).await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn live_and_vod_have_budgets_of_their_own_and_end_with_them() {
    let budgets = "{ running-live = \"10m\", running-vod = \"500ms\" }\ngrace = \"0s\"";
    let stage = script(budgets).heartbeat(0.3).start().await;
    let (live, film, mute) =
        (stage.player("live", "news").await, stage.player("film", "film").await, stage.player("mute", "news").await);
    for player in [&live, &film, &mute] {
        assert!(player.post(CLEARKEY).await.is_good());
    }
    report(&stage, &live, "live", "e=ps,sta=p,st=l,sid=\"a\",v=2\n").await;
    report(&stage, &film, "film", "e=ps,sta=p,st=v,sid=\"b\",v=2\n").await;
    away(&stage, "heartbeat", json!("drop")).await;
    stage.eventually("two are lost", async || ended(&stage, "lost").await == 2.0).await;
    let sessions = stage.sessions().await;
    let left: Vec<_> = sessions.iter().filter(|row| row["state"] != "closed").collect();
    assert_eq!((left.len(), &left[0]["device"], &left[0]["stream"]), (1, &json!("live"), &json!("live")));
    stage.headend.no_faults().await;
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn a_breaker_spares_players_the_wait() {
    let stage = script("\"refuse\"").authority("timeout = \"1s\"").start().await;
    // Later than the test is over: what is granted late is given back, and its teardown is an answer.
    away(&stage, "setup", json!({"delay_ms": 30_000})).await;
    for number in 0..5 {
        let player = stage.player(&format!("tv-{number}"), "news").await;
        assert_eq!(player.post(CLEARKEY).await.error(), (403, "authority_timeout".to_owned()));
    }
    assert_eq!(stage.metric("authority_breaker_open", &["calls=\"open,renew\""]).await, 1.0);
    assert_eq!(stage.metric("authority_breaker_open", &["calls=\"beat,close\""]).await, 0.0);
    assert!(stage.metric("authority_outage_seconds", &[]).await > 0.0);
    let asked = stage.headend.count("setup").await;
    let began = Clock.now();
    let mut spared = 0;
    for number in 0..20 {
        let player = stage.player(&format!("box-{number}"), "news").await;
        spared += usize::from(player.post(CLEARKEY).await.error().1 == "authority_unreachable");
    }
    let took = Clock.now() - began;
    assert!(spared >= 17 && took < Duration::from_secs(8), "{spared} of 20 in {took:?}");
    assert_eq!(stage.metric("authority_calls_spared_total", &["call=\"open\""]).await, spared as f64);
    assert!(stage.headend.count("setup").await <= asked + 20 - spared);
    let list = stage.ask(http::Method::GET, "/v1/authorities").await.json();
    assert_eq!(list["authorities"][0]["not_asked"], json!(["open,renew"]));
    // One answer closes the breaker.
    stage.headend.no_faults().await;
    let tv = stage.player("tv", "news").await;
    stage.eventually("answered", async || tv.post(CLEARKEY).await.is_good()).await;
    assert_eq!(stage.metric("authority_breaker_open", &["calls=\"open,renew\""]).await, 0.0);
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn a_short_outage_leaks_no_close_and_delays_no_player() {
    let stage = script("\"refuse\"").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.fault("teardown", json!({"status": 503}), 3).await;
    assert_eq!(tv.stop().await.status, 204);
    let film = stage.player("tv", "film").await;
    stage.eventually("plays", async || film.post(CLEARKEY).await.is_good()).await;
    assert_eq!(stage.headend.nth("teardown", 4).await.status, 204);
    assert_eq!(stage.headend.open().await, ["tv film"]);
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_in_an_outage_goes_to_the_license_server_with_the_last_grant() {
    let script = Stage::widevine().authority("timeout = \"300ms\"\non-unreachable = { running = \"10m\" }");
    let stage = script.start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    away(&stage, "renewal", json!({"status": 503})).await;
    let licenses = stage.headend.count("license-widevine").await;
    assert!(tv.renew("video").await.is_good());
    assert_eq!(stage.headend.count("license-widevine").await, licenses + 1);
    stage.headend.no_faults().await;
    assert!(tv.renew("video").await.is_good());
    assert_eq!(stage.headend.count("license-widevine").await, licenses + 1);
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_in_an_outage_is_judged_by_the_content_of_its_playback() {
    let running = "timeout = \"300ms\"\ngrace = \"200ms\"\non-unreachable = { running-live = \"10m\" }";
    let script = Stage::widevine().authority(running).heartbeat(0.3);
    let script = script.settings(|settings| (settings.limit, settings.grace) = (99, 0.2));
    let stage = script.settings(|settings| settings.needs_session = false).start().await;
    let (live, film, mute) =
        (stage.player("live", "news").await, stage.player("film", "film").await, stage.player("mute", "news").await);
    for player in [&live, &film, &mute] {
        assert!(player.license("video").await.is_good());
    }
    report(&stage, &live, "live", "e=ps,sta=p,st=l,sid=\"a\",v=2\n").await;
    report(&stage, &film, "film", "e=ps,sta=p,st=v,sid=\"b\",v=2\n").await;
    away(&stage, "renewal", json!({"status": 503})).await;
    away(&stage, "setup", json!({"status": 503})).await;
    for player in [&live, &film, &mute] {
        player.renew("video").await;
    }
    for refused in [&film, &mute] {
        stage.eventually("interval and grace are over", async || refused.renew("video").await.status == 403).await;
        assert_eq!(refused.renew("video").await.error(), (403, "authority_refused".to_owned()));
    }
    assert!(live.renew("video").await.is_good());
    stage.headend.no_faults().await;
    stage.end().await;
}

/// The head-end let the session expire meanwhile, and says so to the player's own renewal.
#[tokio::test]
async fn a_renewal_after_an_outage_is_no_kill_if_the_session_is_opened_anew() {
    let running = "timeout = \"300ms\"\ngrace = \"200ms\"\non-unreachable = { running = \"10m\" }";
    let script = Stage::widevine().authority(running).heartbeat(0.3);
    let script = script.settings(|settings| (settings.grace, settings.needs_session) = (0.2, false));
    let stage = script.start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    away(&stage, "renewal", json!({"status": 503})).await;
    tv.renew("video").await;
    stage.headend.next("session-expired", 0).await;
    stage.eventually("on credit", async || stage.metric("on_credit", &[]).await == 1.0).await;
    stage.headend.no_faults().await;
    let renewed = tv.renew("video").await;
    assert!(renewed.is_good(), "{:?}", renewed.error());
    stage.eventually("opened anew", async || stage.headend.count("setup").await == 2).await;
    assert_eq!(ended(&stage, "killed").await, 0.0);
    stage.end_leaving_some_open().await;
}
