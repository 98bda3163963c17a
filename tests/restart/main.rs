//! Tests sessions across restarts: real processes, ended by SIGKILL and SIGTERM, before a head-end with books.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

mod authorized;
#[path = "../edge_support/mod.rs"]
mod edge_support;
mod handover;
#[path = "../support/headend.rs"]
mod headend;
mod home;
mod on_its_way;
mod pace;
mod pictures;
#[path = "../support/process.rs"]
mod process;
mod renewed;
mod token_keys;
#[path = "../support/web.rs"]
mod web;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use home::Home;
use process::{Proxy, eventually};

/// xorshift64: the same rounds every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn names(rows: &[Value]) -> Vec<String> {
    let name = |row: &Value| format!("{} {}", row["device"].as_str().unwrap(), row["content"].as_str().unwrap());
    rows.iter().map(name).collect()
}

/// The playbacks with a license, as `device content`.
type Licensed = RefCell<BTreeSet<String>>;

/// Players that play, zap and stop, until the proxy is gone.
async fn play(home: &Home, proxy: &Proxy, seed: u64, device: usize, licensed: &Licensed) {
    let mut dice = Dice(seed | 1);
    let name = format!("tv{device}");
    loop {
        let content = format!("film{}", dice.below(1 << 40));
        let token = home.token(&name, &content).await;
        for _ in 0..=dice.below(3) {
            let Some(reply) = home.license(proxy, &name, &token).await else { return };
            if reply.is_good() {
                licensed.borrow_mut().insert(format!("{name} {content}"));
            }
        }
        if dice.below(4) == 0 && proxy.post("/license/~stop", &name, &token).await.is_none() {
            return;
        }
    }
}

#[tokio::test]
async fn every_session_continues_or_is_given_back_once_after_a_kill_of_the_process() {
    const ROUNDS: u64 = 20;
    let home = Home::new(1.0, "close", false).await.without_expiry().await;
    let mut dice = Dice(0x5eed);
    let licensed = Licensed::default();
    let mut came_back = 0;
    for round in 0..ROUNDS {
        let mut proxy = home.proxy();
        let before: Vec<_> = proxy.sessions().await;
        came_back += before.iter().filter(|row| row["state"] == "live").count();
        let after = Duration::from_millis(20 + dice.below(400));
        {
            let players = async {
                let play = |device| play(&home, &proxy, round * 77 + device as u64 + 1, device, &licensed);
                tokio::join!(play(0), play(1), play(2), play(3));
            };
            // Dropped players hang up; that is their right.
            let _cut = tokio::time::timeout(after, Box::pin(players)).await;
        }
        proxy.kill();
        assert!(before.iter().all(|row| row["state"] != "opening"), "{before:?}");
    }
    let proxy = home.proxy();
    // Closes that were under way come to their end, and every session that is left is beaten.
    let since = home.headend.now().await;
    eventually("quiet", async || {
        proxy.sessions().await.iter().all(|row| row["state"] == "live" || row["state"] == "closed")
    })
    .await;
    let live: Vec<_> = proxy.sessions().await.into_iter().filter(|row| row["state"] == "live").collect();
    assert!(came_back > 0 && !live.is_empty(), "{came_back} sessions outlived a kill, and {} the last one", live.len());
    for name in names(&live) {
        let device = name.split(' ').next().unwrap().to_owned();
        let beaten = async || {
            let log = home.headend.log().await;
            log.iter().any(|seen| {
                seen.seq > since
                    && seen.endpoint == "heartbeat"
                    && seen.device.as_deref() == Some(&device)
                    && seen.status < 300
            })
        };
        eventually("beaten", beaten).await;
    }
    let (known, licensed) = (names(&live), licensed.into_inner());
    let open = home.headend.open().await;
    assert!(known.iter().all(|name| open.contains(name)), "{known:?} of {open:?}");
    // An open without a heard answer may be forgotten; one with a license never is.
    let leaked: Vec<_> = open.iter().filter(|name| !known.contains(name) && licensed.contains(*name)).collect();
    assert!(leaked.is_empty(), "{leaked:?} are leaked");
    assert_eq!(proxy.terminate().await.code(), Some(0));

    let mut closes = BTreeMap::<String, Vec<String>>::new();
    for seen in home.headend.log().await {
        if seen.endpoint == "teardown" && seen.status < 300 {
            let name = format!("{} {}", seen.device.unwrap(), seen.content.unwrap());
            closes.entry(name).or_default().push(seen.session.unwrap());
        }
    }
    assert!(!closes.is_empty());
    for (name, sessions) in &closes {
        assert_eq!(sessions.iter().collect::<BTreeSet<_>>().len(), sessions.len(), "{name} was closed twice");
    }
    let kept: Vec<_> = licensed.iter().filter(|name| !closes.contains_key(*name)).collect();
    assert!(kept.is_empty(), "{kept:?} were never given back");
}

#[tokio::test]
async fn a_crash_between_the_answer_and_the_journal_is_known_after_the_restart() {
    let home = Home::new(30.0, "close", false).await;
    let mut proxy = home.proxy();
    let token = home.token("tv", "news").await;
    // The work is done; its answer is on the way for longer than the process lives.
    home.headend.fault("setup", json!({ "delay_ms": 1500 }), 1).await;
    {
        let mut call = std::pin::pin!(home.license(&proxy, "tv", &token));
        let opening = async {
            eventually("opening", async || proxy.sessions().await.iter().any(|row| row["state"] == "opening")).await;
            // The open sets out when its intent is durable.
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        tokio::select! {
            reply = &mut call => panic!("{reply:?}"),
            () = opening => {}
        }
    }
    proxy.kill();
    let proxy = home.proxy();
    assert_eq!(proxy.said("open lost in a restart"), 1);
    let rows = proxy.sessions().await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row["state"].as_str(), row["device"].as_str()), (Some("closed"), Some("tv")));
    let whole = proxy.admin(Method::GET, &format!("/v1/sessions/{}", row["id"].as_str().unwrap())).await;
    assert!(whole["timeline"].to_string().contains("open lost in a restart"), "{whole}");
    let request = http::Request::builder().uri("/metrics").header("host", "localhost");
    let metrics = web::send(proxy.admin, None, request.body(Default::default()).unwrap()).await.unwrap().text();
    assert!(metrics.contains("sidebeat_sessions_restored_total{result=\"orphaned\"} 1"), "{metrics}");
    assert!(metrics.contains("sidebeat_sessions_ended_total{authority=\"far\",reason=\"orphaned\"} 1"), "{metrics}");
    // Its player comes back and plays.
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
}

/// It began before the crash; the next process reports its end, when its first beat is answered.
#[tokio::test]
async fn an_outage_across_a_crash_is_reported_with_its_unconfirmed_sessions() {
    let home = Home::new(0.3, "close", false).await.on_credit().await;
    let mut proxy = home.proxy();
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    home.headend.fault("heartbeat", json!({ "status": 503 }), 1_000_000).await;
    eventually("on credit", async || proxy.sessions().await[0]["on_credit_s"].is_number()).await;
    proxy.kill();
    home.headend.no_faults().await;
    let proxy = home.proxy();
    eventually("told", async || proxy.said("outage over") == 1).await;
    assert_eq!((proxy.said("unconfirmed=1 without_session=0"), proxy.said("credit settled")), (1, 1));
}

/// The head-end has replaced the token, and the process that was to hear of it is gone.
#[tokio::test]
async fn a_session_whose_beat_was_cut_off_by_a_crash_is_opened_anew_and_is_no_kill() {
    for stale in ["invalid", "not-found"] {
        let home = Home::new(1.0, "close", false).await;
        home.headend.settings(json!({ "accept_previous": false, "stale_token": stale })).await;
        let mut proxy = home.proxy();
        let token = home.token("tv", "news").await;
        assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
        home.headend.fault("heartbeat", json!("lose-reply"), 1).await;
        home.headend.nth("heartbeat", 1).await;
        proxy.kill();
        let proxy = home.proxy();
        home.headend.nth("setup", 2).await;
        assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200, "{stale}");
        eventually("live", async || proxy.sessions().await[0]["state"] == "live").await;
        assert_eq!(proxy.said("opening anew"), 1, "{stale}");
    }
}

#[tokio::test]
async fn a_close_that_was_under_way_is_sent_again() {
    let home = Home::new(30.0, "close", false).await;
    let mut proxy = home.proxy();
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    home.headend.fault("teardown", json!("drop"), 1).await;
    proxy.post("/license/~stop", "tv", &token).await.unwrap();
    home.headend.nth("teardown", 1).await;
    proxy.kill();
    let proxy = home.proxy();
    home.headend.nth("teardown", 2).await;
    eventually("closed", async || home.headend.open().await.is_empty()).await;
    drop(proxy);
}

#[tokio::test]
async fn open_sessions_continue_with_the_next_process() {
    let home = Home::new(2.0, "keep", false).await;
    let proxy = home.proxy();
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    home.headend.nth("heartbeat", 1).await;
    let before = proxy.sessions().await;
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert_eq!((home.headend.open().await.len(), home.headend.count("teardown").await), (1, 0));

    let proxy = home.proxy();
    let since = home.headend.now().await;
    let after = proxy.sessions().await;
    assert_eq!(
        (&after[0]["id"], &after[0]["state"], &after[0]["opened"]),
        (&before[0]["id"], &json!("live"), &before[0]["opened"])
    );
    assert!(home.headend.next("heartbeat", since).await.status < 300);
    // The player finds its session by the same token; nothing is opened.
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    assert_eq!(home.headend.count("setup").await, 1);
    assert_eq!(std::fs::metadata(home.journal()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_session_given_back_at_the_end_does_not_come_again() {
    let home = Home::new(30.0, "close", false).await;
    let proxy = home.proxy();
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert!(home.headend.open().await.is_empty());
    assert!(home.proxy().sessions().await.is_empty());
    assert_eq!(home.headend.count("teardown").await, 1);
}

#[tokio::test]
async fn a_kill_outlives_a_crash() {
    let home = Home::new(30.0, "close", false).await;
    let mut proxy = home.proxy();
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    let id = proxy.sessions().await[0]["id"].as_str().unwrap().to_owned();
    // A reply to the operator means that the kill is done.
    proxy.admin(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
    proxy.kill();
    let mut proxy = home.proxy();
    let refused = home.license(&proxy, "tv", &token).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str().unwrap()), (403, "session_killed"));
    assert_eq!(home.headend.count("setup").await, 1);
    // Nor does it come back by a crash after it was taken back.
    proxy.admin(Method::POST, &format!("/v1/sessions/{id}/forgive")).await;
    proxy.kill();
    let proxy = home.proxy();
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_embedded_authoritys_places_outlive_a_crash() {
    let home = Home::new(30.0, "close", true).await;
    let mut proxy = home.proxy();
    let token = home.token("tv", "news").await;
    // A denied device is denied again for a while with the same token.
    let of_phone = [home.token("phone", "a").await, home.token("phone", "b").await, home.token("phone", "c").await];
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    // A device of the same account: its refusal comes after the first place is durable.
    assert_eq!(home.license(&proxy, "phone", &of_phone[0]).await.unwrap().json()["error"], "limit_reached");
    proxy.kill();

    let mut proxy = home.proxy();
    assert_eq!(
        home.license(&proxy, "phone", &of_phone[1]).await.unwrap().json()["error"],
        "limit_reached",
        "the limit holds at once"
    );
    let slots = proxy.admin(Method::GET, "/v1/authorities/far/slots").await;
    let slot = slots["slots"][0]["id"].as_str().unwrap().to_owned();
    proxy.admin(Method::DELETE, &format!("/v1/authorities/far/slots/{slot}")).await;
    proxy.kill();
    let mut proxy = home.proxy();
    assert_eq!(home.license(&proxy, "phone", &of_phone[2]).await.unwrap().status, 200);
    proxy.kill();

    let proxy = home.proxy();
    let told = home.license(&proxy, "tv", &token).await.unwrap().json();
    assert_eq!(told["error"], "session_killed", "{told}");
    assert_eq!(home.license(&proxy, "phone", &of_phone[2]).await.unwrap().status, 200);
}

#[tokio::test]
async fn sessions_of_a_mistyped_or_changed_authority_come_back_with_it() {
    for embedded in [false, true] {
        let home = Home::new(30.0, "keep", embedded).await;
        let mut proxy = home.proxy();
        let token = home.token("tv", "news").await;
        assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
        let before = proxy.sessions().await[0]["id"].clone();
        proxy.kill();

        let file = home.folder.path().join("config.toml");
        let right = std::fs::read_to_string(&file).unwrap();
        let kinds = ["kind = \"embedded\"", "kind = \"nagra-ssm\"\nurl = \"http://127.0.0.1:1\""];
        let [kind, other] = if embedded { kinds } else { [kinds[1], kinds[0]] };
        let begins = right.find(kind.split('\n').next().unwrap()).unwrap();
        let ends = begins + right[begins..].find("[[route]]").unwrap();
        let changed = format!("{}{other}\n{}", &right[..begins], &right[ends..]);
        for wrong in [right.replace("\"far\"", "\"fra\""), changed] {
            std::fs::write(&file, &wrong).unwrap();
            let mut proxy = home.proxy();
            assert!(proxy.said("kept in the journal") == 1 && proxy.sessions().await.is_empty(), "{wrong}");
            proxy.kill();
        }
        std::fs::write(&file, right).unwrap();
        let proxy = home.proxy();
        let after = proxy.sessions().await;
        assert_eq!((&after[0]["id"], &after[0]["state"]), (&before, &json!("live")));
        assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
        if embedded {
            let slots = proxy.admin(Method::GET, "/v1/authorities/far/slots").await;
            assert_eq!(slots["slots"].as_array().unwrap().len(), 1, "its place is held again");
        } else {
            assert_eq!(home.headend.count("setup").await, 1);
        }
    }
}

#[tokio::test]
async fn an_account_denied_by_a_restart_plays_no_more() {
    let home = Home::new(30.0, "keep", true).await;
    let mut proxy = home.proxy();
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    proxy.kill();
    let file = home.folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let denies = "kind = \"embedded\"\ndeny = [\"tv\"]";
    std::fs::write(&file, config.replace("kind = \"embedded\"", denies)).unwrap();
    let proxy = home.proxy();
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().json()["error"], "session_killed");
    let slots = proxy.admin(Method::GET, "/v1/authorities/far/slots").await;
    assert_eq!(slots["slots"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_journal_that_cannot_be_used_stops_the_start_and_stays_as_it_is() {
    let home = Home::new(30.0, "close", false).await;
    let checked = home.run("check");
    assert!(checked.status.success() && !home.journal().exists(), "a missing one is good");
    std::fs::write(home.journal(), "somebody's notes").unwrap();
    for command in ["check", "run"] {
        let refused = home.run(command);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{command}: {told}");
        assert!(told.contains("sidebeat.redb") && told.contains("move this one away"), "{told}");
    }
    assert_eq!(std::fs::read(home.journal()).unwrap(), b"somebody's notes");
    std::fs::remove_file(home.journal()).unwrap();

    let proxy = home.proxy();
    let second = home.run("run");
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"), "{second:?}");
    assert_eq!(proxy.terminate().await.code(), Some(0));
    let whole = std::fs::read(home.journal()).unwrap();
    std::fs::write(home.journal(), whole.get(..whole.len() / 2).unwrap()).unwrap();
    let torn = home.run("run");
    let told = String::from_utf8_lossy(&torn.stderr).into_owned();
    assert!(torn.status.code() == Some(1) && told.contains("is damaged") && told.contains("move it away"), "{told}");
}
