//! Drives the simulated head-end through its control API: reads its log and state, and sets its faults.

#![allow(dead_code, reason = "each test uses its own part")]

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sidebeat::task::Tasks;
use tokio::time::{Instant, timeout_at};

use crate::web;

/// Longer than anything takes that is going to happen, on a machine with other work to do.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct FarSide {
    pub(crate) address: SocketAddr,
    pub(crate) tasks: Tasks,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) code: Option<i64>,
    pub(crate) content: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) endpoint: String,
    /// Since it started.
    pub(crate) ms: u64,
    pub(crate) seq: u64,
    pub(crate) session: Option<String>,
    pub(crate) status: u16,
}

impl FarSide {
    async fn call(&self, method: Method, path: &str, body: String) -> Value {
        let request = http::Request::builder().method(method).uri(path).header("host", "headend.test");
        let request = request.body(body.into()).unwrap();
        let reply = web::send(self.address, None, request).await.unwrap_or_else(|_| panic!("the head-end is gone"));
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// A content token as the operator hands it out: `account=ann&device=tv&content=news`.
    pub(crate) async fn token(&self, query: &str) -> String {
        let reply = self.call(Method::GET, &format!("/sim/token?{query}"), String::new()).await;
        reply["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn faults(&self, script: Value) {
        self.call(Method::POST, "/sim/faults", script.to_string()).await;
    }

    /// Removes all faults.
    #[allow(dead_code, reason = "not every binary of tests needs it")]
    pub(crate) async fn no_faults(&self) {
        self.call(Method::DELETE, "/sim/faults", String::new()).await;
    }

    /// Calls to `endpoint` go wrong that often.
    pub(crate) async fn fault(&self, endpoint: &str, action: Value, times: u64) {
        self.faults(json!({ "endpoint": endpoint, "action": action, "times": times })).await;
    }

    /// The next such call of that device goes wrong.
    pub(crate) async fn fault_of(&self, device: &str, endpoint: &str, action: Value) {
        self.faults(json!({ "device": device, "endpoint": endpoint, "action": action })).await;
    }

    pub(crate) async fn kill_account(&self, account: &str) -> u64 {
        let killed = self.call(Method::POST, "/sim/kill", json!({ "account": account }).to_string()).await;
        killed["killed"].as_u64().unwrap()
    }

    pub(crate) async fn settings(&self, patch: Value) {
        self.call(Method::POST, "/sim/settings", patch.to_string()).await;
    }

    pub(crate) async fn books(&self) -> Value {
        self.call(Method::GET, "/sim/books", String::new()).await
    }

    /// Sessions that it holds now, as `device content`.
    pub(crate) async fn open(&self) -> Vec<String> {
        let books = self.books().await;
        let name = |row: &Value| format!("{} {}", row["device"].as_str().unwrap(), row["content"].as_str().unwrap());
        let mut open: Vec<_> = books["open"].as_array().unwrap().iter().map(name).collect();
        open.sort();
        open
    }

    async fn seen_after(&self, since: u64, endpoint: Option<&str>, wait: Duration) -> Vec<Seen> {
        let endpoint = endpoint.map(|endpoint| format!("&endpoint={endpoint}")).unwrap_or_default();
        let path = format!("/sim/log?since={since}&wait={}{endpoint}", wait.as_millis());
        let log = self.call(Method::GET, &path, String::new()).await;
        serde_json::from_value(log["calls"].clone()).unwrap()
    }

    /// All calls and events so far.
    pub(crate) async fn log(&self) -> Vec<Seen> {
        self.seen_after(0, None, Duration::ZERO).await
    }

    /// Number of the latest call or event.
    pub(crate) async fn now(&self) -> u64 {
        self.log().await.last().map_or(0, |seen| seen.seq)
    }

    /// The calls and events so far by name, without beats.
    pub(crate) async fn story(&self) -> Vec<String> {
        let log = self.log().await.into_iter();
        log.map(|seen| seen.endpoint).filter(|endpoint| endpoint != "heartbeat").collect()
    }

    pub(crate) async fn count(&self, endpoint: &str) -> usize {
        self.seen_after(0, Some(endpoint), Duration::ZERO).await.len()
    }

    /// Waits for the first call or event of that name that is newer than `since`.
    pub(crate) async fn next(&self, endpoint: &str, since: u64) -> Seen {
        self.next_that(endpoint, since, |_| true).await
    }

    /// Waits until there are so many of that name in all; returns the last one.
    pub(crate) async fn nth(&self, endpoint: &str, count: usize) -> Seen {
        let mut left = count;
        self.next_that(endpoint, 0, |_| {
            left -= 1;
            left == 0
        })
        .await
    }

    /// Waits for the first one of that device.
    pub(crate) async fn next_of(&self, device: &str, endpoint: &str) -> Seen {
        self.next_that(endpoint, 0, |seen| seen.device.as_deref() == Some(device)).await
    }

    /// Waits for the first one with that status.
    pub(crate) async fn answered(&self, endpoint: &str, status: u16) -> Seen {
        self.next_that(endpoint, 0, |seen| seen.status == status).await
    }

    async fn next_that(&self, endpoint: &str, mut since: u64, mut fits: impl FnMut(&Seen) -> bool) -> Seen {
        let deadline = Instant::now_plus(PATIENCE);
        let search = async {
            loop {
                let calls = self.seen_after(since, Some(endpoint), Duration::from_secs(10)).await;
                since = calls.last().map_or(since, |seen| seen.seq);
                if let Some(seen) = calls.into_iter().find(|seen| fits(seen)) {
                    return seen;
                }
            }
        };
        match timeout_at(deadline, search).await {
            Ok(seen) => seen,
            Err(_) => panic!("no such {endpoint}; the head-end saw {:#?}", self.log().await),
        }
    }

    /// Waits so long, and fails if a call of that name comes.
    pub(crate) async fn sees_no(&self, endpoint: &str, since: u64, wait: Duration) {
        let seen = self.seen_after(since, Some(endpoint), wait).await;
        assert!(seen.is_empty(), "the head-end saw {seen:?}");
    }

    /// Stops listening; what it held is lost.
    pub(crate) fn shut_down(&self) {
        self.tasks.stop();
    }
}

/// The clock of the tests, for deadlines alone.
trait NowPlus {
    fn now_plus(duration: Duration) -> Self;
}

impl NowPlus for Instant {
    fn now_plus(duration: Duration) -> Self {
        (sidebeat::clock::Clock.now() + duration).into()
    }
}
