//! Tests the simulated head-end over real sockets: the behaviour on which the proxy, the players and other tests rely.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

#[path = "support/web.rs"]
mod web;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use sidebeat::task::{DeadTasks, Tasks};
use sidebeat_simulator::{EmbeddedFile, HeadendTls, Options, SimulatedHeadend};

use web::{Cut, Reply};

const SSM: &str = "/DEMO/ssm/v1/sessions";
const WIDEVINE: &str = "/DEMO/wvls/contentlicenseservice/v1/licenses";
const CLEARKEY: &str = "/DEMO/ckls/contentlicenseservice/v1/licenses";
const KEYS_ASKED: &str = r#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;
const EMBEDS: &[EmbeddedFile] = &[EmbeddedFile { bytes: b"<p>hello</p>", media_type: "text/html", path: "/" }];

struct Sim {
    address: SocketAddr,
    tasks: Tasks,
    _deaths: DeadTasks,
}

impl Sim {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
        change(&mut options);
        let (tasks, deaths) = Tasks::new();
        let (bound, serve) = SimulatedHeadend::bind(options, tasks.clone()).await.unwrap();
        tasks.spawn(serve);
        Self { address: bound.address, tasks, _deaths: deaths }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, Cut> {
        web::send(self.address, None, request).await
    }

    async fn call(&self, method: Method, path: &str, tokens: &str, body: impl Into<Bytes>) -> Result<Reply, Cut> {
        let request = Request::builder().method(method).uri(path).header("host", "headend.test");
        let request = if tokens.is_empty() { request } else { request.header("nv-authorizations", tokens) };
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, "", "").await.unwrap().json()
    }

    async fn post(&self, path: &str, tokens: &str, body: impl Into<Bytes>) -> Reply {
        self.call(Method::POST, path, tokens, body).await.unwrap()
    }

    async fn control(&self, call: &str, body: Value) -> Value {
        let said = self.post(&format!("/sim/{call}"), "", body.to_string()).await;
        assert_eq!(said.status, 200, "{}", said.json());
        said.json()
    }

    async fn token(&self, query: &str) -> String {
        let reply = self.get(&format!("/sim/token?{query}")).await;
        reply["token"].as_str().unwrap_or_else(|| panic!("no token: {reply}")).to_owned()
    }

    async fn setup(&self, content: &str) -> String {
        self.post(&format!("{SSM}/setup"), content, "{}").await.session_token()
    }

    async fn session(&self, verb: &str, token: &str) -> Reply {
        self.post(&format!("{SSM}/{verb}"), token, "{}").await
    }

    async fn books(&self) -> Value {
        self.get("/sim/books").await
    }

    /// Waits for the first call or event of that name.
    async fn await_log(&self, endpoint: &str) -> Value {
        let log = self.get(&format!("/sim/log?since=0&wait=10000&endpoint={endpoint}")).await;
        log["calls"].get(0).cloned().unwrap_or_else(|| panic!("{endpoint} never came"))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

trait Setup {
    fn session_token(&self) -> String;
}

impl Setup for Reply {
    fn session_token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.json());
        self.json()["sessionToken"].as_str().unwrap().to_owned()
    }
}

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut length = value.len();
    let mut out = vec![number << 3 | 2];
    while length >= 128 {
        out.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    [out, value.to_vec()].concat()
}

/// A new Widevine license request.
fn widevine_request() -> Vec<u8> {
    let content = field(1, &field(3, b"request-1"));
    let body = [field(1, &[7; 1500]), field(2, &content), vec![0x18, 1]].concat();
    [vec![8, 1], field(2, &body), field(3, &[9; 256])].concat()
}

/// The bytes of the field with that number at one level of a message that has short tags.
fn part(mut message: &[u8], number: u8) -> Vec<u8> {
    fn varint(message: &mut &[u8]) -> u64 {
        let length = message.iter().position(|byte| byte & 128 == 0).unwrap();
        let (taken, rest) = message.split_at(length + 1);
        *message = rest;
        taken.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 127))
    }
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = varint(&mut message);
        if tag & 7 == 0 {
            continue;
        }
        let (taken, rest) = message.split_at(value as usize);
        if tag == u64::from(number << 3 | 2) {
            return taken.to_vec();
        }
        message = rest;
    }
    panic!("no field {number}");
}

/// The renewal of the license in a signed message.
fn widevine_renewal(license: &[u8]) -> Vec<u8> {
    let id = part(&part(license, 2), 1);
    let body = [field(2, &field(3, &field(1, &id))), vec![0x18, 2]].concat();
    [field(2, &body), field(3, &[9; 32])].concat()
}

#[tokio::test]
async fn a_session_lives_from_setup_to_teardown() {
    let sim = Sim::start().await;
    let content = sim.token("account=ann&device=tv&content=news").await;
    let opened = sim.post(&format!("{SSM}/setup"), &content, "{}").await;
    assert_eq!(opened.json()["heartBeat"], 30);
    let first = opened.session_token();

    let licensed = sim.post(CLEARKEY, &format!("{content},{first}"), KEYS_ASKED).await;
    assert_eq!(licensed.json()["keys"][0]["k"], "AAECAwQFBgcICQoLDA0ODw");
    let second = sim.session("heartbeat", &first).await.session_token();
    let third = sim.session("heartbeat", &second).await.session_token();
    assert!(first != second && second != third);
    assert_eq!(sim.session("heartbeat", &first).await.code(), (400, 1006), "a stale token was served");
    assert_eq!(sim.session("heartbeat", &second).await.code(), (400, 1006), "a stale token was served");

    let open = &sim.books().await["open"][0];
    assert_eq!((&open["account"], &open["device"], &open["content"]), (&json!("ann"), &json!("tv"), &json!("news")));
    assert_eq!((&open["beats"], &open["early"]), (&json!(2), &json!(2)));

    let closed = sim.session("teardown", &third).await;
    assert_eq!((closed.status.as_u16(), closed.body.len()), (204, 0));
    assert_eq!(sim.session("heartbeat", &third).await.code(), (404, 3002));
    let books = sim.books().await;
    assert_eq!((&books["open"], &books["ended"][0]["how"]), (&json!([]), &json!("teardown")));
    assert_eq!(books["counters"]["early_beats"], 2);
}

#[tokio::test]
async fn the_simulated_license_server_requires_a_fresh_session_of_the_same_content() {
    let sim = Sim::start().await;
    let content = sim.token("content=news").await;
    let other = sim.token("content=film").await;
    let license = async |tokens: String| sim.post(CLEARKEY, &tokens, KEYS_ASKED).await.code();
    assert_eq!(license(content.clone()).await, (400, 4000));
    assert_eq!(license(String::new()).await, (400, 1005));
    assert_eq!(license("nonsense".into()).await, (400, 1004));
    assert_eq!(license(format!("{content},{other}")).await, (400, 4003));

    let first = sim.setup(&content).await;
    assert_eq!(license(first.clone()).await, (400, 4001));
    assert_eq!(license(format!("{other},{first}")).await, (400, 4000));
    let second = sim.session("heartbeat", &first).await.session_token();
    assert_eq!(license(format!("{content},{first}")).await, (200, 0), "the previous token is good enough here");
    let third = sim.session("heartbeat", &second).await.session_token();
    assert_eq!(license(format!("{content},{first}")).await, (400, 4000));
    let phone = sim.token("content=news&device=phone").await;
    assert_eq!(license(format!("{phone},{third}")).await, (400, 4027));
    let neighbour = sim.token("content=news&account=bob").await;
    assert_eq!(license(format!("{neighbour},{third}")).await, (400, 4000));
    assert_eq!(license(format!("{content},{third}")).await, (200, 0));
    sim.control("kill", json!({"account": "account-1"})).await;
    assert_eq!(license(format!("{content},{third}")).await, (400, 4000));
}

#[tokio::test]
async fn tokens_expire_and_are_played_once() {
    let sim = Sim::start().await;
    let license = async |tokens: String| sim.post(CLEARKEY, &tokens, KEYS_ASKED).await.code();
    let once = sim.token("once=true&session=false").await;
    assert_eq!(sim.post(CLEARKEY, &once, "{}").await.code(), (400, 2001), "a failure uses nothing up");
    assert_eq!(license(once.clone()).await, (200, 0));
    assert_eq!(license(once).await, (400, 4006));
    let many = sim.token("session=false").await;
    assert_eq!((license(many.clone()).await, license(many.clone()).await), ((200, 0), (200, 0)));

    let old = sim.token("ttl=0").await;
    assert_eq!(license(old.clone()).await, (400, 4005));
    assert_eq!(sim.session("setup", &old).await.code(), (400, 1004));
    assert_eq!(sim.session("setup", &many).await.code(), (400, 1008));
    assert_eq!(sim.session("setup", "").await.code(), (400, 1003));
    assert_eq!(sim.session("setup", &sim.token("device=").await).await.code(), (400, 1013));
    let foreign = Sim::start().await.token("").await;
    assert_eq!(sim.session("setup", &foreign).await.code(), (400, 1006));
    assert_eq!(license(foreign).await, (400, 4015));
}

#[tokio::test]
async fn limits_come_from_the_token_or_the_settings() {
    let sim = Sim::with(|options| options.settings.limit = 1).await;
    let one = sim.token("account=ann&device=tv").await;
    let session = sim.setup(&one).await;
    assert_eq!(sim.session("setup", &one).await.code(), (400, 1007));
    sim.session("teardown", &session).await;
    sim.setup(&one).await;
    let two = sim.token("account=ann&device=phone&limit=2").await;
    sim.setup(&two).await;
    assert_eq!(sim.session("setup", &two).await.code(), (400, 1007));
    let named = sim.token("account=bob&external=x1").await;
    sim.setup(&named).await;
    assert_eq!(sim.session("setup", &named).await.code(), (400, 1018));
    let books = sim.books().await;
    assert_eq!((&books["counters"]["refused"]["1007"], &books["counters"]["peak"]), (&json!(2), &json!(3)));
}

#[tokio::test]
async fn a_head_end_may_end_the_oldest_session_at_its_limit() {
    let sim = Sim::with(|options| options.settings.limit = 1).await;
    sim.control("settings", json!({"on_limit": "end-oldest"})).await;
    let first = sim.setup(&sim.token("account=ann&device=tv").await).await;
    let second = sim.setup(&sim.token("account=ann&device=phone").await).await;
    assert_eq!(sim.session("heartbeat", &first).await.code(), (404, 3002));
    assert_eq!(sim.session("heartbeat", &second).await.status, 200);
    assert_eq!(sim.await_log("session-killed").await["device"], "tv");
}

#[tokio::test]
async fn a_kill_is_final_and_logged() {
    let sim = Sim::start().await;
    let content = sim.token("account=ann&device=tv").await;
    let (first, second) = (sim.setup(&content).await, sim.setup(&content).await);
    let kill = async |what: &str, body: Value| {
        let said = sim.call(Method::PUT, &format!("{SSM}/{what}"), "", body.to_string()).await.unwrap();
        said.json()["killedSessions"].clone()
    };
    assert_eq!(kill("killDeviceSessions", json!({"device": "phone"})).await, 0);
    assert_eq!(kill("killAccountSessions", json!({"account": "ann"})).await, 2);
    for token in [&first, &second] {
        assert_eq!(sim.session("heartbeat", token).await.code(), (404, 3002));
        assert_eq!(sim.session("teardown", token).await.code(), (404, 3002));
    }
    let event = sim.await_log("session-killed").await;
    assert_eq!((&event["device"], &event["status"]), (&json!("tv"), &json!(0)));
    let beat = sim.await_log("heartbeat").await;
    assert_eq!((&beat["device"], &beat["code"], &beat["status"]), (&json!("tv"), &json!(3002), &json!(404)));

    let third = sim.setup(&content).await;
    let id = sim.books().await["open"][0]["id"].clone();
    assert_eq!(sim.control("kill", json!({"session": id})).await, json!({"killed": 1}));
    assert_eq!(sim.session("heartbeat", &third).await.code(), (404, 3002));
    assert_eq!(sim.books().await["counters"]["ended"]["killed"], 3);
}

#[tokio::test]
async fn a_session_with_missed_beats_expires_and_a_long_poll_reports_it() {
    let sim = Sim::start().await;
    sim.control("settings", json!({"heartbeat": 0.05, "grace": 0.05, "limit": 1})).await;
    let content = sim.token("device=tv").await;
    let opened = sim.session("setup", &content).await;
    assert_eq!(opened.json()["heartBeat"], 1, "the wire says whole seconds");
    let event = sim.await_log("session-expired").await;
    assert_eq!(event["device"], "tv");
    assert_eq!(sim.session("heartbeat", &opened.session_token()).await.code(), (404, 3002));
    sim.setup(&content).await;
    assert_eq!(sim.books().await["ended"][0]["how"], "expired");
}

#[tokio::test]
async fn a_long_poll_returns_with_the_next_call() {
    let sim = Sim::start().await;
    let content = sim.token("").await;
    let waiting = sim.get("/sim/log?since=0&wait=10000");
    let (log, _) = tokio::join!(waiting, sim.setup(&content));
    assert_eq!((&log["calls"][0]["endpoint"], &log["calls"][0]["status"]), (&json!("setup"), &json!(200)));
    assert_eq!(sim.get("/sim/log?since=1&wait=1").await, json!({"calls": [], "last": 1}));
    assert!(!log.to_string().contains("eyJ"), "a token in the log");
}

#[tokio::test]
async fn the_names_on_the_wire_can_be_changed() {
    let sim = Sim::start().await;
    let content = sim.token("limit=9").await;
    sim.control("settings", json!({"spelling": "heartbeat", "heartbeat_json": "45"})).await;
    assert_eq!(sim.session("setup", &content).await.json()["heartbeat"], "45");
    sim.control("settings", json!({"renewal_path": "sessions", "accept_previous": true})).await;
    let gone = sim.post("/DEMO/ssm/v1/renewal-license-wv", "", "{}").await;
    assert_eq!((gone.status.as_u16(), gone.json()), (404, Value::Null));
    let first = sim.setup(&content).await;
    sim.session("heartbeat", &first).await.session_token();
    assert_eq!(sim.session("heartbeat", &first).await.status, 200, "the previous token is accepted now");
    let said = sim.post("/sim/settings", "", "{\"beats\":1}").await;
    assert_eq!(said.status, 400);
}

#[tokio::test]
async fn widevine_is_licensed_and_renewed_in_the_form_it_asked() {
    let sim = Sim::start().await;
    let content = sim.token("").await;
    let session = sim.setup(&content).await;
    let grant = format!("{content},{session}");
    let raw = sim.post(WIDEVINE, &grant, widevine_request()).await;
    assert_eq!(raw.headers["content-type"], "application/octet-stream");
    assert_eq!(part(&part(&part(&raw.body, 2), 1), 1), b"request-1");

    let asked = json!({"challenge": STANDARD.encode(widevine_request())}).to_string();
    let wrapped = sim.post(WIDEVINE, &grant, asked).await.json();
    assert_eq!((&wrapped["status"], &wrapped["errorCode"]), (&json!("OK"), &json!(0)));
    let license = STANDARD.decode(wrapped["license"][0].as_str().unwrap()).unwrap();

    let mut session = session;
    let mut license = license;
    for (path, version) in [("renewal-license-wv", 1), ("sessions/renewal-license-wv", 2)] {
        let challenge = json!({"challenge": STANDARD.encode(widevine_renewal(&license))}).to_string();
        let path = format!("/DEMO/ssm/v1/{path}");
        let renewed = sim.post(&path, &session, challenge.clone()).await;
        assert_eq!(sim.post(&path, &session, challenge).await.code(), (400, 1006));
        license = STANDARD.decode(renewed.json()["license"].as_str().unwrap()).unwrap();
        let id = part(&part(&license, 2), 1);
        assert!(id.ends_with(&[0x20, 1, 0x28, version]), "{id:?}");
        session = renewed.session_token();
    }
    assert_eq!(sim.books().await["open"][0]["beats"], 2);
    assert_eq!(sim.await_log("renewal").await["message"], "renewal");
}

#[tokio::test]
async fn a_certificate_needs_no_session() {
    let sim = Sim::start().await;
    let file = sim.call(Method::GET, "/DEMO/wvls/contentlicenseservice/v1/certificates", "", "").await.unwrap();
    let raw = sim.post(WIDEVINE, "", &[8, 4][..]).await;
    let wrapped = sim.post(WIDEVINE, "", "{\"challenge\":\"CAQ=\"}").await.json();
    for certificate in [&file.body[..], &raw.body, &STANDARD.decode(wrapped["license"][0].as_str().unwrap()).unwrap()] {
        assert_eq!(certificate[..2], [8, 5]);
    }
}

#[tokio::test]
async fn playready_and_fairplay_answer_in_shape() {
    let sim = Sim::start().await;
    let content = sim.token("session=false").await;
    let challenge = "<soap:Envelope><AcquireLicense xmlns=\"http://schemas.microsoft.com/DRM/2007/03/protocols\">\
        <KID>Z0UjAauJ780BI0VniavN7w==</KID><LicenseNonce>gdI/z01/gXSlemowluc7Mw==</LicenseNonce></AcquireLicense>";
    let said = sim.post("/DEMO/prls/contentlicenseservice/v1/licenses", &content, challenge).await;
    let text = std::str::from_utf8(&said.body).unwrap();
    assert!(
        text.contains("<LicenseNonce>gdI/z01/gXSlemowluc7Mw==</LicenseNonce>") && text.contains("<License>WE1SAAAAAA")
    );

    let mut spc = [&[0, 0, 0, 1][..], &[0; 168], &[0, 0, 0, 16], &[5; 16]].concat();
    let fairplay = "/DEMO/fpls/contentlicenseservice/v1/licenses";
    assert_eq!(sim.post(fairplay, &content, spc.clone()).await.body.len(), 540);
    let form = format!("spc={}", STANDARD.encode(&spc));
    assert!(sim.post(fairplay, &content, form).await.body.starts_with(b"<ckc>AAAAAQ"));
    let wrapped = json!({"spc": STANDARD.encode(&spc)}).to_string();
    assert!(sim.post(fairplay, &content, wrapped).await.json()["ckc"].is_string());
    spc.pop();
    assert_eq!(sim.post(fairplay, &content, spc).await.code(), (400, 2001));
}

#[tokio::test]
async fn clearkey_knows_its_keys_and_acknowledges_releases() {
    let sim = Sim::start().await;
    let content = sim.token("session=false").await;
    let unknown = r#"{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":"temporary"}"#;
    assert_eq!(sim.post(CLEARKEY, &content, unknown).await.code(), (400, 4011));
    let release = json!({"kids": ["ABEiM0RVZneImaq7zN3u_w"]});
    assert_eq!(sim.post(CLEARKEY, &content, release.to_string()).await.json(), release);
}

#[tokio::test]
async fn a_fault_script_answers_in_place_of_the_service() {
    let sim = Sim::start().await;
    let session = sim.setup(&sim.token("").await).await;
    sim.control(
        "faults",
        json!([
            {"endpoint": "heartbeat", "action": {"status": 503, "body": "busy"}},
            {"endpoint": "heartbeat", "after": 1, "action": {"errorCode": 6002, "status": 500}},
            {"endpoint": "heartbeat", "after": 2, "action": "malformed"},
            {"endpoint": "heartbeat", "after": 3, "action": {"delay_ms": 1}},
        ]),
    )
    .await;
    let busy = sim.session("heartbeat", &session).await;
    assert_eq!((busy.status.as_u16(), &busy.body[..]), (503, &b"busy"[..]));
    assert_eq!(sim.session("heartbeat", &session).await.code(), (500, 6002));
    let malformed = sim.session("heartbeat", &session).await;
    assert_eq!((malformed.status.as_u16(), malformed.json()), (200, Value::Null));
    sim.session("heartbeat", &session).await.session_token();
    let log = sim.get("/sim/log?since=0&endpoint=heartbeat").await;
    let faults: Vec<_> = log["calls"].as_array().unwrap().iter().map(|call| call["fault"].clone()).collect();
    assert_eq!(faults, ["status", "error-code", "malformed", "delay"]);
}

#[tokio::test]
async fn a_fault_script_cuts_connections() {
    let sim = Sim::start().await;
    let first = sim.setup(&sim.token("").await).await;
    let beat = async |token: &str| sim.call(Method::POST, &format!("{SSM}/heartbeat"), token, "{}").await;
    sim.control("faults", json!({"endpoint": "heartbeat", "action": "drop"})).await;
    assert!(beat(&first).await.is_err());
    let second = beat(&first).await.unwrap().session_token();

    sim.control("faults", json!({"endpoint": "heartbeat", "action": "lose-reply"})).await;
    assert!(beat(&second).await.is_err());
    assert_eq!(beat(&second).await.unwrap().code(), (400, 1006), "the work was not done");
    assert_eq!(sim.books().await["open"][0]["beats"], 2);
    let dropped = sim.await_log("heartbeat").await;
    assert_eq!((&dropped["status"], &dropped["fault"]), (&json!(0), &json!("drop")));

    let third = sim.setup(&sim.token("").await).await;
    sim.control("faults", json!({"endpoint": "heartbeat", "action": "truncate"})).await;
    assert!(beat(&third).await.is_err());
}

#[tokio::test]
async fn a_fault_script_kills_and_is_removed() {
    let sim = Sim::start().await;
    let content = sim.token("device=tv&limit=9").await;
    sim.control("faults", json!({"endpoint": "heartbeat", "after": 1, "device": "tv", "action": "kill"})).await;
    let first = sim.setup(&content).await;
    let second = sim.session("heartbeat", &first).await.session_token();
    assert_eq!(sim.session("heartbeat", &second).await.code(), (404, 3002));

    sim.control("faults", json!({"endpoint": "*", "times": 99, "action": "drop"})).await;
    sim.call(Method::DELETE, "/sim/faults", "", "").await.unwrap();
    sim.setup(&content).await;
    let refused = sim.post("/sim/faults", "", r#"{"endpoint":"setup","action":"explode"}"#).await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn work_is_done_for_a_caller_that_hung_up() {
    let sim = Sim::start().await;
    let content = sim.token("").await;
    sim.control("faults", json!({"endpoint": "setup", "action": {"delay_ms": 100}})).await;
    let impatient = tokio::time::timeout(Duration::from_millis(20), sim.session("setup", &content)).await;
    assert!(impatient.is_err());
    assert_eq!(sim.await_log("setup").await["status"], 200);
    assert_eq!(sim.books().await["open"][0]["beats"], 0);
}

#[tokio::test]
async fn the_head_end_serves_the_same_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
    options.tls = Some(HeadendTls { certificate, key, listen: (Ipv4Addr::LOCALHOST, 0).into() });
    let (tasks, _deaths) = Tasks::new();
    let (bound, serve) = SimulatedHeadend::bind(options, tasks.clone()).await.unwrap();
    tasks.spawn(serve);

    let config = web::trusting(&folder.path().join("c.pem"));
    let request = Request::get("/sim/books").header("host", "localhost").body(Full::default()).unwrap();
    assert_eq!(web::send(bound.tls_address.unwrap(), Some(config), request).await.unwrap().status, 200);
    tasks.stop();
    assert_eq!(tasks.drain(Duration::from_secs(10)).await, 0, "tasks outlive the head-end");
}

#[tokio::test]
async fn overlapping_calls_of_a_session_are_counted() {
    let sim = Sim::start().await;
    let session = sim.setup(&sim.token("").await).await;
    sim.control("faults", json!({"endpoint": "heartbeat", "times": 2, "action": {"delay_ms": 200}})).await;
    let (one, other) = tokio::join!(sim.session("heartbeat", &session), sim.session("heartbeat", &session));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    assert_eq!(sim.books().await["counters"]["overlaps"], 1);
}

#[tokio::test]
async fn content_is_served_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let film: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(folder.path().join("v.mp4"), &film).unwrap();
    std::fs::write(folder.path().join("m.mpd"), "<MPD/>").unwrap();
    let sim = Sim::with(|options| {
        options.content = Some(folder.path().to_owned());
        options.embeds = EMBEDS;
    })
    .await;
    let get = async |path: &str, range: &str| {
        let request = Request::get(path).header("host", "h").header("range", range);
        sim.send(request.body(Full::default()).unwrap()).await
    };
    let whole = sim.call(Method::GET, "/content/v.mp4", "", "").await.unwrap();
    assert_eq!((whole.status.as_u16(), &whole.body[..]), (200, &film[..]));
    assert_eq!(whole.headers["access-control-allow-origin"], "*");
    let some = get("/content/v.mp4", "bytes=70000-150000").await.unwrap();
    assert_eq!((some.status.as_u16(), &some.body[..]), (206, &film[70_000..=150_000]));
    assert_eq!(some.headers["content-range"], "bytes 70000-150000/200000");
    assert_eq!(some.headers["content-type"], "video/mp4");
    let beyond = get("/content/v.mp4", "bytes=200000-").await.unwrap();
    assert_eq!((beyond.status.as_u16(), &beyond.headers["content-range"]), (416, &"bytes */200000".parse().unwrap()));
    let head = sim.call(Method::HEAD, "/content/m.mpd", "", "").await.unwrap();
    assert_eq!((&head.headers["content-length"], head.body.len()), (&"6".parse().unwrap(), 0));
    assert_eq!(head.headers["content-type"], "application/dash+xml");
    assert_eq!(&get("/", "bytes=3-7").await.unwrap().body[..], b"hello");
    assert_eq!(get("/content/absent.mpd", "").await.unwrap().status, 404);

    sim.control("faults", json!({"endpoint": "content", "action": "truncate"})).await;
    assert!(get("/content/v.mp4", "bytes=0-").await.is_err());
    assert_eq!(sim.await_log("content").await["content"], "/content/v.mp4");
}

#[tokio::test]
async fn browsers_may_call_from_anywhere() {
    let sim = Sim::start().await;
    let request = Request::options("/sim/token").header("host", "h").header("access-control-request-headers", "x-a");
    let said = sim.send(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(said.status, 204);
    assert_eq!(said.headers["access-control-allow-headers"], "x-a");
    assert_eq!(said.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn nonsense_is_refused_without_harm() {
    let sim = Sim::start().await;
    for (method, path, status) in [
        (Method::POST, "/DEMO/ssm/v1/sessions/elsewhere", 404),
        (Method::GET, "/DEMO/ssm/v1/sessions/setup", 405),
        (Method::POST, "/sim/books", 405),
        (Method::GET, "/sim/elsewhere", 404),
        (Method::GET, "/sim/log?since=x", 400),
        (Method::GET, "/sim/token?once=perhaps", 400),
        (Method::POST, "/sim/kill", 400),
    ] {
        let said = sim.call(method.clone(), path, "", "{}").await.unwrap();
        assert_eq!(said.status.as_u16(), status, "{method} {path}");
    }
    let large = sim.post(CLEARKEY, "", vec![b' '; 300_000]).await;
    assert_eq!(large.status, 413);
    let session = sim.setup(&sim.token("").await).await;
    let renewal = sim.post("/DEMO/ssm/v1/renewal-license-wv", &session, r#"{"challenge":"CAQ="}"#).await;
    assert_eq!(renewal.code(), (400, 1000));
    sim.session("heartbeat", &session).await.session_token();
}
