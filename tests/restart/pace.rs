//! Tests the times of beats after a restart, by the head-end's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::home::Home;
use crate::process::eventually;

/// Seconds; longer than the time within which beats that fell due are made up for (5 s).
const INTERVAL: f64 = 8.0;
const INTERVAL_MS: u64 = 8_000;
/// The head-end's, in milliseconds.
const GRACE_MS: u64 = 10_000;

/// When the head-end last heard of each device, by its own clock.
async fn last_heard(home: &Home) -> BTreeMap<String, u64> {
    let log = home.headend.log().await.into_iter();
    let heard = log.filter(|seen| ["setup", "heartbeat"].contains(&&*seen.endpoint) && seen.status < 300);
    heard.map(|seen| (seen.device.unwrap(), seen.ms)).collect()
}

#[tokio::test]
async fn after_a_kill_beats_come_in_time_and_not_in_a_burst() {
    let home = Home::new(INTERVAL, "close", false).await;
    let mut proxy = home.proxy();
    let play = async |proxy: &_, names: std::ops::Range<usize>| {
        for device in names.map(|number| format!("tv{number}")) {
            let token = home.token(&device, "news").await;
            assert_eq!(home.license(proxy, &device, &token).await.unwrap().status, 200);
        }
    };
    let (early, all) = (24, 32);
    play(&proxy, 0..early).await;
    // The first beats fall due while no process runs, the last ones after that.
    tokio::time::sleep(Duration::from_millis(INTERVAL_MS * 3 / 8)).await;
    play(&proxy, early..all).await;
    // An open waits for all that was said before it to be durable; what becomes of itself is another story.
    play(&proxy, all..all + 1).await;
    let last = format!("tv{all}");
    proxy.kill();

    // On a busy machine some have been beaten before: what counts is when each was heard of last.
    let heard = last_heard(&home).await;
    let end = home.headend.log().await.pop().unwrap();
    let overdue = (0..early).map(|number| heard[&format!("tv{number}")] + INTERVAL_MS).max().unwrap();
    // The head-end's last entry is older than this moment, so that all of the first ones are due after this.
    tokio::time::sleep(Duration::from_millis(overdue.saturating_sub(end.ms))).await;
    let _proxy = home.proxy();
    let mut beats = BTreeMap::new();
    eventually("beaten, each of them", async || {
        for seen in home.headend.log().await.into_iter().filter(|seen| seen.endpoint == "heartbeat") {
            if seen.seq <= end.seq || seen.device.as_ref() == Some(&last) {
                continue;
            }
            assert!(seen.status < 300, "{seen:?}");
            beats.entry(seen.device.unwrap()).or_insert(seen.ms);
        }
        beats.len() == all
    })
    .await;
    assert_eq!(home.headend.count("setup").await, all + 1, "nothing was opened anew");
    for (device, beat) in &beats {
        let due = heard[device] + INTERVAL_MS;
        // The head-end's clock starts a little before the test's.
        assert!(*beat + INTERVAL_MS / 10 >= due, "{device} was beaten {} ms early", due - beat);
        assert!(*beat < due + GRACE_MS, "{device} had expired");
    }
    let mut made_up: Vec<_> = (0..early).map(|number| beats[&format!("tv{number}")]).collect();
    made_up.sort_unstable();
    let spread = made_up.last().unwrap() - made_up[0];
    // How evenly, is a matter of arithmetic and not of a busy machine:
    // `beats_that_fell_due_are_spread_and_those_to_come_keep_their_time`.
    assert!(spread >= INTERVAL_MS / 16, "a burst within {spread} ms: {made_up:?}");
    let log = home.headend.log().await;
    let expired = log.iter().find(|seen| seen.endpoint == "session-expired" && seen.device.as_ref() != Some(&last));
    assert!(expired.is_none(), "{expired:?}");
}
