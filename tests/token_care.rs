//! Tests the handling of content tokens through the real proxy: which calls are refused without a request to the
//! head-end, which share one, and which never do.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

#[path = "support/web.rs"]
mod web;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sidebeat::app::App;
use sidebeat::clock::Clock;
use sidebeat::config;
use sidebeat::task::{DeadTasks, Tasks};
use sidebeat_simulator::{Options, SimulatedHeadend};
use tokio::join;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use web::Reply;

/// Limit for each wait, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const CHALLENGE: &[u8] = br#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;
const WIDEVINE_NEW: &[u8] = include_bytes!("vectors/drm/wv_new_clientid.bin");
const WIDEVINE_RENEWAL: &[u8] = include_bytes!("vectors/drm/wv_renewal_typed.bin");
const DAY: i64 = 86_400;

/// The proxy before a head-end, both on free ports.
struct Stage {
    admin: SocketAddr,
    headend: SocketAddr,
    proxy: SocketAddr,
    tasks: Tasks,
    _deaths: DeadTasks,
    _end: DropGuard,
}

/// A player's call.
#[derive(Clone, Copy)]
struct Ask<'a> {
    body: &'a [u8],
    device: &'a str,
    origin: &'a str,
    path: &'a str,
    token: &'a str,
}

impl<'a> Ask<'a> {
    fn new(device: &'a str, token: &'a str) -> Self {
        Self { body: CHALLENGE, device, origin: "", path: "/clearkey", token }
    }
}

impl Stage {
    async fn with_headend() -> Self {
        let (tasks, deaths) = Tasks::new();
        let (bound, serve) =
            SimulatedHeadend::bind(Options::new((Ipv4Addr::LOCALHOST, 0).into()), tasks.clone()).await.unwrap();
        tasks.spawn(serve);
        Self::before(bound.address, tasks, deaths).await
    }

    async fn with_peer() -> (Self, Arc<Script>) {
        let (tasks, deaths) = Tasks::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Script::default());
        let (own, on) = (script.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = own.clone();
                let service = service_fn(move |request| {
                    let script = script.clone();
                    async move { Ok::<_, Infallible>(script.answer(request).await) }
                });
                on.spawn(async move {
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (Self::before(address, tasks, deaths).await, script)
    }

    async fn before(headend: SocketAddr, tasks: Tasks, deaths: DeadTasks) -> Self {
        let app = App::build(configuration(headend)).await.unwrap();
        let (proxy, admin) = (app.addresses()[0].address, app.admin_address().unwrap());
        let end = CancellationToken::new();
        let ended = end.clone();
        tasks.spawn(async move { app.run(async move { ended.cancelled().await }).await.unwrap() });
        Self { admin, headend, proxy, tasks, _deaths: deaths, _end: end.drop_guard() }
    }

    async fn send(&self, to: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
        web::send(to, None, request).await.unwrap()
    }

    async fn ask(&self, ask: Ask<'_>) -> Reply {
        let media_type = if ask.path == "/widevine" { "application/octet-stream" } else { "application/json" };
        let request = Request::post(ask.path).header("host", "proxy.test").header("content-type", media_type);
        let request = if ask.device.is_empty() { request } else { request.header("x-device-id", ask.device) };
        let request = if ask.token.is_empty() { request } else { request.header("nv-authorizations", ask.token) };
        let request = if ask.origin.is_empty() { request } else { request.header("origin", ask.origin) };
        self.send(self.proxy, request.body(Full::new(Bytes::copy_from_slice(ask.body))).unwrap()).await
    }

    async fn sim(&self, method: Method, path: &str, body: Value) -> Value {
        let request = Request::builder().method(method).uri(format!("/sim/{path}")).header("host", "headend.test");
        let said = self.send(self.headend, request.body(Full::new(body.to_string().into())).unwrap()).await;
        assert_eq!(said.status, 200, "{path}: {}", said.json());
        said.json()
    }

    async fn token(&self, query: &str) -> String {
        self.sim(Method::GET, &format!("token?{query}"), Value::Null).await["token"].as_str().unwrap().to_owned()
    }

    async fn delay(&self, endpoint: &str) {
        let fault = json!({"endpoint": endpoint, "times": 100, "action": {"delay_ms": 400}});
        self.sim(Method::POST, "faults", fault).await;
    }

    async fn log(&self, endpoint: &str) -> Vec<Value> {
        let log = self.sim(Method::GET, &format!("log?endpoint={endpoint}"), Value::Null).await;
        log["calls"].as_array().unwrap().clone()
    }

    async fn metrics(&self) -> String {
        let request = Request::get("/metrics").header("host", "127.0.0.1").body(Full::default()).unwrap();
        String::from_utf8(self.send(self.admin, request).await.body.to_vec()).unwrap()
    }

    /// Waits until it has heard a date that is so far ahead.
    async fn learns(&self, ahead: i64) {
        let heard = async {
            while self.metric(OFFSET).await.is_none_or(|offset| (offset - ahead as f64).abs() > 30.0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), heard).await.expect("no such date is heard");
    }

    async fn metric(&self, line: &str) -> Option<f64> {
        self.metrics().await.lines().find_map(|at| at.strip_prefix(line)?.trim().parse().ok())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

trait Expect {
    fn expect_license(&self);
    fn expect_refusal(&self, error: &str);
}

impl Expect for Reply {
    #[track_caller]
    fn expect_license(&self) {
        assert_eq!(self.status, 200, "{}", self.json());
        assert!(self.json()["keys"].is_array(), "{}", self.json());
    }

    #[track_caller]
    fn expect_refusal(&self, error: &str) {
        assert_eq!((self.status.as_u16(), self.json()["error"].as_str()), (403, Some(error)), "{}", self.json());
    }
}

/// A head-end whose clock can be set, and which holds license calls back.
struct Script {
    /// Seconds that its clock is ahead.
    ahead: AtomicI64,
    arrived: Semaphore,
    gate: Semaphore,
    seen: Mutex<Vec<&'static str>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            ahead: AtomicI64::new(0),
            arrived: Semaphore::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            seen: Mutex::default(),
        }
    }
}

impl Script {
    fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    async fn await_license_call(&self) {
        let arrived = tokio::time::timeout(Duration::from_secs(20), self.arrived.acquire()).await;
        arrived.expect("no license call comes").unwrap().forget();
    }

    fn count(&self, name: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| **seen == name).count()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let name = ["setup", "teardown"].into_iter().find(|name| path.ends_with(name)).unwrap_or("license");
        let nth = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(name);
            seen.len()
        };
        let body = match name {
            "setup" => json!({"heartBeat": 300, "sessionToken": format!("token-{nth}")}),
            "teardown" => json!({}),
            _ => {
                self.arrived.add_permits(1);
                self.gate.acquire().await.unwrap().forget();
                json!({"keys": [{"kty": "oct", "kid": "ABEiM0RVZneImaq7zN3u_w", "k": "AAECAwQFBgcICQoLDA0ODw"}], "nth": nth})
            }
        };
        let date = wall().saturating_add_signed(self.ahead.load(Ordering::Relaxed));
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(date));
        let reply = Response::builder().header("content-type", "application/json").header("date", date);
        reply.body(Full::new(body.to_string().into())).unwrap()
    }
}

fn wall() -> u64 {
    Clock.wall().as_secs()
}

/// A token as the proxy reads it; its signature is invalid.
fn token(name: &str, expires_in: i64) -> String {
    let claims = json!({
        "typ": "ContentAuthZ", "exp": wall().saturating_add_signed(expires_in), "jti": name,
        "contentRights": [{"contentId": name, "sessionControl": {"maxSessions": 2}}],
    });
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn configuration(headend: SocketAddr) -> config::Config {
    let route = |path: &str, service: &str| {
        format!(
            r#"
            [[route]]
            path = "/{path}"
            authority = "head-end"
            license-server = "http://{headend}/DEMO/{service}/contentlicenseservice/v1/licenses"
            device = ["header:x-device-id"]
            "#
        )
    };
    let text = format!(
        r#"
        [server]
        listen = []
        listen-plain = ["127.0.0.1:0"]
        workers = 2
        [admin]
        listen = "127.0.0.1:0"
        [[authority]]
        name = "head-end"
        kind = "nagra-ssm"
        url = "http://{headend}/DEMO/ssm"
        tenant = "DEMO"
        {}{}
        "#,
        route("clearkey", "ckls"),
        route("widevine", "wvls"),
    );
    config::parse(&text, Path::new("."), std::iter::empty()).unwrap_or_else(|faults| panic!("{faults}"))
}

const SAME: &str = r#"sidebeat_upstream_calls_saved_total{reason="same_challenge",route="/clearkey"}"#;
const EXPIRED: &str = r#"sidebeat_upstream_calls_saved_total{reason="token_expired",route="/clearkey"}"#;
const OFFSET: &str = r#"sidebeat_authority_clock_offset_seconds{authority="head-end"}"#;

#[tokio::test]
async fn an_expired_token_is_refused_without_a_call() {
    let stage = Stage::with_headend().await;
    let good = stage.token("device=tv").await;
    stage.ask(Ask::new("tv", &good)).await.expect_license();
    let before = stage.log("setup").await.len() + stage.log("license-clearkey").await.len();
    let expired = token("old", -125);
    for path in ["/clearkey", "/clearkey", "/widevine"] {
        let body = if path == "/widevine" { WIDEVINE_NEW } else { CHALLENGE };
        let said = stage.ask(Ask { body, path, ..Ask::new("phone", &expired) }).await;
        said.expect_refusal("token_expired");
        let told = said.json();
        assert_eq!(
            (&told["code"], &told["errorCode"], &told["event"]),
            (&json!(403), &json!(1004), &json!("ssmsetuperror"))
        );
        let message = told["message"].as_str().unwrap();
        let ago = message.strip_prefix("the content token expired ").unwrap().strip_suffix(" s ago").unwrap();
        assert!((124..200).contains(&ago.parse::<u64>().unwrap()), "{message}");
        assert_eq!(said.headers["x-ssm-error"], "1004");
        let payload = expired.split('.').nth(1).unwrap();
        assert!(!told.to_string().contains(payload) && !format!("{:?}", said.headers).contains(payload));
    }
    let after = stage.log("setup").await.len() + stage.log("license-clearkey").await.len();
    assert_eq!((before, after, stage.log("license-widevine").await.len()), (2, 2, 0));
    assert_eq!(stage.metric(EXPIRED).await, Some(2.0));
    assert!(stage.metric(OFFSET).await.unwrap().abs() < 30.0);
}

#[tokio::test]
async fn the_head_end_judges_tokens_until_its_time_is_known() {
    let stage = Stage::with_headend().await;
    let expired = stage.token("ttl=0").await;
    stage.ask(Ask::new("tv", &expired)).await.expect_refusal("token_rejected");
    let setups = stage.log("setup").await;
    assert_eq!((setups.len(), &setups[0]["code"]), (1, &json!(1004)));
}

#[tokio::test]
async fn the_head_end_judges_tokens_within_the_leeway() {
    let stage = Stage::with_headend().await;
    let good = stage.token("device=tv").await;
    stage.ask(Ask::new("tv", &good)).await.expect_license();
    stage.ask(Ask::new("phone", &stage.token("ttl=0").await)).await.expect_refusal("token_rejected");
    assert_eq!(stage.log("setup").await.len(), 2);
}

/// A head-end has several servers, and one may have a wrong clock: later calls could not correct it if they were
/// refused here.
#[tokio::test]
async fn a_reply_with_a_wrong_date_refuses_no_player() {
    for ahead in [DAY, -DAY] {
        let (stage, script) = Stage::with_peer().await;
        let first = token("a", 2 * DAY);
        stage.ask(Ask::new("tv", &first)).await.expect_license();
        script.ahead.store(ahead, Ordering::Relaxed);
        let stop = stage.ask(Ask { body: b"", path: "/clearkey/~stop", ..Ask::new("tv", &first) }).await;
        assert_eq!(stop.status, 204);
        stage.learns(ahead).await;
        script.ahead.store(0, Ordering::Relaxed);
        stage.ask(Ask::new("phone", &token("b", 3600))).await.expect_license();
        assert_eq!((script.count("setup"), script.count("teardown")), (2, 1), "{ahead}");
    }
}

#[tokio::test]
async fn the_head_end_judges_tokens_if_the_clocks_disagree() {
    let (stage, script) = Stage::with_peer().await;
    script.ahead.store(DAY, Ordering::Relaxed);
    stage.ask(Ask::new("tv", &token("a", 2 * DAY))).await.expect_license();
    // Expired by the head-end's clock alone.
    stage.ask(Ask::new("phone", &token("b", 3600))).await.expect_license();
    stage.ask(Ask::new("tablet", &token("c", -3600))).await.expect_refusal("token_expired");
    assert_eq!((script.count("setup"), script.count("license")), (2, 2));
    let offset = stage.metric(OFFSET).await.unwrap();
    assert!((offset - DAY as f64).abs() < 30.0, "{offset}");
}

#[tokio::test]
async fn a_device_clock_that_is_ahead_does_not_refuse_a_good_token() {
    let (stage, script) = Stage::with_peer().await;
    script.ahead.store(-DAY, Ordering::Relaxed);
    // The first one, of which nothing is known yet, and a later one.
    stage.ask(Ask::new("tv", &token("a", -3600))).await.expect_license();
    stage.ask(Ask::new("phone", &token("b", -3600))).await.expect_license();
    stage.ask(Ask::new("tablet", &token("c", -DAY - 3600))).await.expect_refusal("token_expired");
    assert_eq!((script.count("setup"), script.count("license")), (2, 2));
}

#[tokio::test]
async fn a_running_playback_goes_on_with_its_expired_token() {
    let (stage, script) = Stage::with_peer().await;
    let old = token("a", -3600);
    script.ahead.store(-DAY, Ordering::Relaxed);
    stage.ask(Ask::new("tv", &old)).await.expect_license();
    script.ahead.store(0, Ordering::Relaxed);
    stage.ask(Ask::new("phone", &token("b", 2 * DAY))).await.expect_license();
    stage.ask(Ask::new("tv", &old)).await.expect_license();
    assert_eq!((script.count("setup"), script.count("license")), (2, 3));
    // Stopped, it would have to be opened anew.
    let stop = stage.ask(Ask { body: b"", path: "/clearkey/~stop", ..Ask::new("tv", &old) }).await;
    assert_eq!(stop.status, 204);
    stage.ask(Ask::new("tv", &old)).await.expect_refusal("token_expired");
    assert_eq!((script.count("setup"), script.count("license")), (2, 3));
}

#[tokio::test]
async fn twins_share_one_license_call_on_any_worker() {
    let stage = Stage::with_headend().await;
    let token = stage.token("device=tv").await;
    stage.delay("license").await;
    let ask = || stage.ask(Ask::new("tv", &token));
    let said: [Reply; 8] = join!(ask(), ask(), ask(), ask(), ask(), ask(), ask(), ask()).into();
    for one in &said {
        one.expect_license();
        assert_eq!((&one.body, one.headers.get("content-type")), (&said[0].body, said[0].headers.get("content-type")));
    }
    assert_eq!((stage.log("setup").await.len(), stage.log("license-clearkey").await.len()), (1, 1));
    assert_eq!(stage.metric(SAME).await, Some(7.0));
    // No license was kept: the same challenge goes upstream again.
    stage.ask(Ask::new("tv", &token)).await.expect_license();
    assert_eq!((stage.log("setup").await.len(), stage.log("license-clearkey").await.len()), (1, 2));
}

#[tokio::test]
async fn a_one_shot_token_serves_twins_once() {
    let stage = Stage::with_headend().await;
    let token = stage.token("device=tv&once=true").await;
    stage.delay("license").await;
    let (one, two) = join!(stage.ask(Ask::new("tv", &token)), stage.ask(Ask::new("tv", &token)));
    one.expect_license();
    two.expect_license();
    // The token is spent, as the head-end says itself.
    let late = stage.ask(Ask::new("tv", &token)).await;
    assert_eq!((late.status.as_u16(), late.json()["errorCode"].as_i64()), (400, Some(4006)));
}

#[tokio::test]
async fn twins_of_a_renewal_share_one_beat() {
    let stage = Stage::with_headend().await;
    let token = stage.token("device=tv").await;
    let ask = |body| stage.ask(Ask { body, path: "/widevine", ..Ask::new("tv", &token) });
    assert_eq!(ask(WIDEVINE_NEW).await.status, 200);
    stage.delay("renewal").await;
    let (one, two) = join!(ask(WIDEVINE_RENEWAL), ask(WIDEVINE_RENEWAL));
    assert_eq!((one.status.as_u16(), &one.body), (200, &two.body));
    assert_eq!(stage.log("renewal").await.len(), 1);
}

#[tokio::test]
async fn calls_that_differ_never_share() {
    let stage = Stage::with_headend().await;
    let (token, other) = (stage.token("device=tv&limit=9").await, stage.token("device=tv&limit=9&external=x").await);
    stage.delay("license").await;
    let longer = [CHALLENGE, b" "].concat();
    let ask = Ask::new("tv", &token);
    let said: [Reply; 6] = join!(
        stage.ask(ask),
        stage.ask(Ask { device: "phone", ..ask }),
        stage.ask(Ask { body: &longer, ..ask }),
        stage.ask(Ask { path: "/clearkey?a=1", ..ask }),
        // A refusal would have another shape in a page.
        stage.ask(Ask { origin: "https://tv.example", ..ask }),
        stage.ask(Ask { device: "tablet", token: &other, ..ask }),
    )
    .into();
    said.iter().for_each(Reply::expect_license);
    assert_eq!(stage.log("license-clearkey").await.len(), 6);
    assert_eq!(stage.metric(SAME).await, None);
}

#[tokio::test]
async fn a_call_without_a_device_shares_nothing() {
    let stage = Stage::with_headend().await;
    let token = stage.token("device=tv&session=false").await;
    stage.delay("license").await;
    let (one, two) = join!(stage.ask(Ask::new("", &token)), stage.ask(Ask::new("", &token)));
    one.expect_license();
    two.expect_license();
    assert_eq!(stage.log("license-clearkey").await.len(), 2);
}

#[tokio::test]
async fn the_first_of_twins_may_hang_up() {
    let (stage, script) = Stage::with_peer().await;
    script.hold();
    let token = token("a", 3600);
    tokio::select! {
        _ = stage.ask(Ask::new("tv", &token)) => panic!("the license server holds the call"),
        () = script.await_license_call() => {}
    }
    // The proxy has noticed.
    let noticing = async {
        while stage.metric("sidebeat_edge_connections").await != Some(0.0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, noticing).await.expect("the proxy never notices that the first has gone");
    let mut second = pin!(stage.ask(Ask::new("tv", &token)));
    // The second call waits and is not sent by itself.
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut second).await.is_err());
    script.gate.add_permits(9);
    second.await.expect_license();
    assert_eq!((script.count("setup"), script.count("license")), (1, 1));
}

#[tokio::test]
async fn a_license_without_a_waiting_player_is_not_requested() {
    let stage = Stage::with_headend().await;
    stage.delay("setup").await;
    let token = stage.token("device=tv").await;
    let gone = tokio::time::timeout(Duration::from_millis(100), stage.ask(Ask::new("tv", &token))).await;
    assert!(gone.is_err());
    // The session is opened all the same, and serves the later call.
    stage.sim(Method::GET, "log?endpoint=setup&wait=10000", Value::Null).await;
    stage.ask(Ask::new("tv", &token)).await.expect_license();
    assert_eq!((stage.log("setup").await.len(), stage.log("license-clearkey").await.len()), (1, 1));
}

#[tokio::test]
async fn a_call_after_the_end_of_the_session_does_not_join_it() {
    let (stage, script) = Stage::with_peer().await;
    script.hold();
    let token = token("a", 3600);
    let again = async {
        script.await_license_call().await;
        stage.ask(Ask { body: b"", path: "/clearkey/~stop", ..Ask::new("tv", &token) }).await;
        let release = async {
            script.await_license_call().await;
            script.gate.add_permits(9);
        };
        join!(stage.ask(Ask::new("tv", &token)), release).0
    };
    let (first, second) = join!(stage.ask(Ask::new("tv", &token)), again);
    first.expect_license();
    second.expect_license();
    assert_ne!(first.body, second.body);
    assert_eq!((script.count("setup"), script.count("license")), (2, 2));
}

#[tokio::test]
async fn retries_after_a_refusal_open_no_second_time() {
    let stage = Stage::with_headend().await;
    let (tv, phone) = (stage.token("device=tv&limit=1").await, stage.token("device=phone&limit=1").await);
    stage.ask(Ask::new("tv", &tv)).await.expect_license();
    for _ in 0..4 {
        stage.ask(Ask::new("phone", &phone)).await.expect_refusal("limit_reached");
    }
    assert_eq!(stage.log("setup").await.len(), 2);
    stage.sim(Method::POST, "settings", json!({"heartbeat": 1.0, "limit": 9})).await;
    let killed = stage.token("device=box&account=other").await;
    stage.ask(Ask::new("box", &killed)).await.expect_license();
    stage.sim(Method::POST, "kill", json!({"device": "box"})).await;
    stage.sim(Method::GET, "log?endpoint=heartbeat&wait=10000", Value::Null).await;
    let before = stage.log("license-clearkey").await.len();
    for _ in 0..4 {
        stage.ask(Ask::new("box", &killed)).await.expect_refusal("session_killed");
    }
    assert_eq!((stage.log("setup").await.len(), stage.log("license-clearkey").await.len()), (3, before));
}
