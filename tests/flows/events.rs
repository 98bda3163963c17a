//! Tests that webhooks, apps and operators get the events that they asked for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good, status};

/// Limit for each wait, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A session with ClearKey licenses, and a webhook at `hook`.
fn told(hook: &Upstream, lines: &str) -> Script {
    let webhook = format!("[[webhook]]\nname = \"ops\"\nurl = \"{}\"\n{lines}\n", hook.url());
    Stage::script().route("/license", "clearkey", &webhook)
}

fn events(hook: &Upstream) -> Vec<Value> {
    hook.seen().iter().map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect()
}

fn names(hook: &Upstream) -> Vec<String> {
    events(hook).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_webhook_follows_a_playback_from_its_opening_to_its_end() {
    let hook = Upstream::answering(|_| status(204)).await;
    let stage = told(&hook, "secret = \"whsec_c2VjcmV0\"").start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    assert_eq!(tv.stop().await.status, 204);
    stage.eventually("two events", async || hook.seen().len() == 2).await;
    assert_eq!(names(&hook), ["session.opened", "session.closed"]);
    let [opened, closed] = &events(&hook)[..] else { panic!("two events") };
    assert_eq!((&opened["device"], &opened["account"]), (&"tv".into(), &"ann".into()));
    assert_eq!((&closed["detail"]["reason"], &closed["session"]), (&"stopped".into(), &opened["session"]));
    for asked in hook.seen() {
        assert!(asked.header("webhook-signature").starts_with("v1,"), "{asked:?}");
        assert!(!asked.header("webhook-id").is_empty() && !asked.header("webhook-timestamp").is_empty());
        assert!(!String::from_utf8_lossy(&asked.body).contains(&tv.token), "a token is shown");
    }
    stage.end().await;
}

/// Everybody in this test has the same address.
#[tokio::test]
async fn players_that_listen_without_end_take_no_place_of_an_operator() {
    let stage = Stage::script().route("/license", "clearkey", "").start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    let ask = format!("/license/~events?device=tv&token={}", tv.token);
    let mut listeners = Vec::new();
    for _ in 0..100 {
        listeners.push(listen(stage.proxy, &ask).await);
    }
    let listening = listeners.iter().filter(|(head, _)| head.starts_with("HTTP/1.1 200")).count();
    assert_eq!(listening, 32, "event-listeners-per-address");
    let refused = |(head, _): &(String, TcpStream)| head.contains("too_many_listeners");
    assert_eq!(listeners.iter().filter(|listener| refused(listener)).count(), 68);
    let (head, operator) = listen(stage.admin, "/v1/events").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(stage.metric("edge_address_refusals_total", &["limit=\"event_listeners\""]).await, 68.0);
    drop((listeners, operator));
    stage.eventually("a place", async || listen(stage.proxy, &ask).await.0.starts_with("HTTP/1.1 200")).await;
    stage.end().await;
}

/// The limit holds for listeners at any number of addresses: each holds a connection as long as it likes.
#[tokio::test]
async fn listeners_hold_a_quarter_of_the_connections_at_most() {
    let script = Stage::script().route("/license", "clearkey", "").limits("connections = 40");
    let stage = script.server("trusted-proxies = [\"127.0.0.1\"]").start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    let ask = format!("/license/~events?device=tv&token={}", tv.token);
    let mut listeners = Vec::new();
    for number in 0..30 {
        let viewer = format!("X-Forwarded-For: 198.51.100.{number}\r\n");
        listeners.push(listen_with(stage.proxy, &ask, &viewer).await);
    }
    let listening = listeners.iter().filter(|(head, _)| head.starts_with("HTTP/1.1 200")).count();
    assert_eq!(listening, 10);
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    drop(listeners);
    stage.eventually("a place", async || listen(stage.proxy, &ask).await.0.starts_with("HTTP/1.1 200")).await;
    stage.end().await;
}

/// The head of the reply, and what comes with it; the stream goes on.
async fn listen(to: SocketAddr, path: &str) -> (String, TcpStream) {
    listen_with(to, path, "").await
}

async fn listen_with(to: SocketAddr, path: &str, headers: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut head, mut part) = (String::new(), [0; 4096]);
    while !head.contains("retry:") && !head.contains('}') {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await;
        let read = read.unwrap_or_else(|_| panic!("neither a stream nor a refusal: {head}")).unwrap();
        assert!(read > 0, "{head}");
        head.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    (head, stream)
}

#[tokio::test]
async fn a_webhook_that_fails_is_tried_again_with_the_same_event() {
    let calls = AtomicUsize::new(0);
    let hook = Upstream::answering(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => status(503),
        _ => good("text/plain", ""),
    })
    .await;
    let stage = told(&hook, "events = [\"session.o*\"]").start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    stage.eventually("a second try", async || hook.seen().len() == 2).await;
    let [first, second] = &hook.seen()[..] else { panic!("two calls") };
    assert_eq!((first.header("webhook-id"), &first.body), (second.header("webhook-id"), &second.body));
    stage
        .eventually("counted", async || stage.metric("webhook_events_total", &["result=\"delivered\""]).await == 1.0)
        .await;
    stage.end().await;
}

#[tokio::test]
async fn a_webhook_gets_only_its_event_types_and_kills_with_their_reason() {
    let hook = Upstream::answering(|_| status(204)).await;
    let stage = told(&hook, "events = [\"session.killed\"]").heartbeat(0.2).start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    stage.headend.kill_account("ann").await;
    stage.eventually("killed", async || !hook.seen().is_empty()).await;
    assert_eq!(names(&hook), ["session.killed"]);
    assert_eq!(events(&hook)[0]["detail"]["errorCode"], 3002);
    stage.end().await;
}

/// Sessions that end with the process are still reported.
#[tokio::test]
async fn a_webhook_hears_of_the_end_of_the_process() {
    let hook = Upstream::answering(|_| status(204)).await;
    let stage = told(&hook, "").start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    stage.end().await;
    assert_eq!(names(&hook), ["session.opened", "session.closed"]);
    assert_eq!(events(&hook)[1]["detail"]["reason"], "drained");
}

#[tokio::test]
async fn a_webhook_that_is_gone_costs_no_playback() {
    let hook = Upstream::answering(|_| status(404)).await;
    let stage = told(&hook, "").start().await;
    let tv = stage.player("tv", "film").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    stage
        .eventually("rejected", async || stage.metric("webhook_events_total", &["result=\"rejected\""]).await == 1.0)
        .await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    stage.end().await;
}

/// A listener, and the events that it got.
pub(crate) struct Listener {
    pub(crate) heard: String,
    stream: TcpStream,
}

impl Listener {
    pub(crate) async fn at(address: SocketAddr, target: &str, more: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut listener = Self { heard: String::new(), stream };
        listener.until("retry: ").await;
        listener
    }

    /// Reads on until this was heard; the end of the stream is a failure.
    pub(crate) async fn until(&mut self, text: &str) {
        let hears = async {
            let mut bytes = [0; 4096];
            while !self.heard.contains(text) {
                let read = self.stream.read(&mut bytes).await.unwrap();
                assert!(read > 0, "never heard {text}: {}", self.heard);
                self.heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        };
        // The limit covers everything, because keep-alive lines come without end.
        let in_time = tokio::time::timeout(PATIENCE, hears).await.is_ok();
        assert!(in_time, "never heard {text}: {}", self.heard);
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.heard.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
    }

    fn last_id(&self) -> &str {
        self.heard.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap()
    }
}

#[tokio::test]
async fn an_app_hears_of_its_own_playback_and_of_no_other() {
    let stage = Stage::clearkey().heartbeat(0.2).settings(|settings| settings.limit = 9).start().await;
    let [tv, laptop] = [stage.player("tv", "film").await, stage.player_of("bob", "laptop", "film").await];
    let target = format!("/license/~events?token={}&device=tv", tv.token);
    let mut app = Listener::at(stage.proxy, &target, "").await;
    assert!(laptop.post(crate::player::CLEARKEY).await.is_good());
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    app.until("session.opened").await;
    stage.headend.kill_account("bob").await;
    stage.headend.kill_account("ann").await;
    app.until("session.killed").await;
    assert_eq!(app.names(), ["session.opened", "ssmheartbeaterror", "session.killed"]);
    assert!(!app.heard.contains(&tv.token) && !app.heard.contains("ann"), "{}", app.heard);

    let mut back = Listener::at(stage.proxy, &target, "last-event-id: 1\r\n").await;
    back.until("session.killed").await;
    assert_eq!((back.names(), back.last_id()), (app.names(), app.last_id()));
    stage.end().await;
}

#[tokio::test]
async fn a_listener_that_names_no_playback_gets_no_event() {
    let stage = Stage::clearkey().start().await;
    let asked = stage.stranger().post("").below("/~events?device=tv").method(http::Method::GET).await;
    assert_eq!(asked.error(), (403, "whose_events".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn an_operator_hears_everything_until_the_process_ends() {
    let stage = Stage::clearkey().start().await;
    let mut operator = Listener::at(stage.admin, "/v1/events", "").await;
    let tv = stage.player("tv", "film").await;
    let mut app = Listener::at(stage.proxy, &format!("/license/~events?token={}&device=tv", tv.token), "").await;
    assert!(tv.post(crate::player::CLEARKEY).await.is_good());
    operator.until("session.opened").await;
    assert!(operator.heard.contains("\"account\":\"ann\""), "{}", operator.heard);
    // Neither holds up the end.
    stage.end().await;
    let mut rest = Vec::new();
    app.stream.read_to_end(&mut rest).await.unwrap();
}
