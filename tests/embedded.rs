//! Tests the embedded authority in a household: the whole proxy, over sockets, between scripted players and a license
//! server that knows no sessions.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

#[path = "support/web.rs"]
mod web;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sidebeat::admin::{self, AdminCommand};
use sidebeat::app::App;
use sidebeat::clock::Clock;
use sidebeat::config::{self, EndpointUrl};
use sidebeat::task::Tasks;
use tokio::net::TcpListener;

/// A passing test never waits so long.
const GENEROUS: Duration = Duration::from_secs(20);
/// Between two looks at what is awaited.
const PAUSE: Duration = Duration::from_millis(10);
const CHALLENGE: &str = r#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;

// === The household ===

struct Home {
    admin: SocketAddr,
    /// The bodies that reached the license server.
    licenses: Arc<Mutex<Vec<String>>>,
    proxy: SocketAddr,
}

struct Said {
    body: Value,
    status: u16,
}

/// `authority` holds the lines below `kind = "embedded"`.
async fn at_home(authority: &str, story: impl AsyncFnOnce(&Home)) {
    let (tasks, _deaths) = Tasks::new();
    let licenses = Arc::new(Mutex::new(Vec::new()));
    let server = license_server(&tasks, licenses.clone()).await;
    let text = format!(
        r#"
        [server]
        listen = []
        listen-plain = ["127.0.0.1:0"]
        workers = 1
        [admin]
        listen = "127.0.0.1:0"
        [[route]]
        path = "/license"
        license-server = "http://{server}/wv"
        authority = "home"
        [[authority]]
        name = "home"
        kind = "embedded"
        {authority}
        "#
    );
    let config = config::parse(&text, Path::new(""), std::iter::empty()).unwrap();
    let app = App::build(config).await.unwrap();
    // The proxy's own says nothing of why a test failed.
    let _counting = std::panic::take_hook();
    let (admin, proxy) = (app.admin_address().unwrap(), app.addresses()[0].address);
    let home = Home { admin, licenses, proxy };
    let told = app.run(async { tokio::time::timeout(GENEROUS * 3, story(&home)).await.unwrap() });
    Box::pin(told).await.unwrap();
    tasks.stop();
}

async fn license_server(tasks: &Tasks, seen: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let own = tasks.clone();
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = own.stopped() => return,
            };
            let (stream, seen) = (accepted.unwrap().0, seen.clone());
            own.spawn(async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    seen.lock().unwrap().push(request.uri().to_string());
                    async {
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(
                            r#"{"keys":[{"k":"AAECAwQFBgcICQoLDA0ODw","kid":"ABEiM0RVZneImaq7zN3u_w","kty":"oct"}]}"#,
                        ))))
                    }
                });
                let _ended =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

impl Home {
    async fn send(&self, to: SocketAddr, request: http::request::Builder, body: &str) -> Said {
        let request = request.header("host", to.to_string()).body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let reply = web::send(to, None, request.unwrap()).await.unwrap();
        let body = serde_json::from_slice(&reply.body).unwrap_or_else(|_| reply.text().into());
        Said { body, status: reply.status.as_u16() }
    }

    /// A license call of `device`, with more headers.
    async fn play_with(&self, device: &str, headers: &[(&str, &str)]) -> Said {
        let request = Request::post("/license?x=1&account=ann").header("x-device-id", device);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(self.proxy, request.header("content-type", "application/json"), CHALLENGE).await
    }

    async fn play(&self, device: &str) -> Said {
        self.play_with(device, &[]).await
    }

    async fn stop(&self, device: &str) {
        let said = self.send(self.proxy, Request::post("/license/~stop").header("x-device-id", device), "").await;
        assert_eq!(said.status, 204);
    }

    async fn api(&self, method: Method, path: &str, body: &str) -> Said {
        let request = Request::builder().method(method).uri(format!("/v1/authorities/{path}"));
        self.send(self.admin, request, body).await
    }

    async fn slots(&self) -> Vec<Value> {
        let said = self.api(Method::GET, "home/slots", "").await;
        assert_eq!(said.status, 200, "{}", said.body);
        said.body["slots"].as_array().unwrap().clone()
    }

    /// Asks for the slots until they are as wanted.
    async fn until(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let asking = async {
            loop {
                let slots = self.slots().await;
                if wanted(&slots) {
                    return slots;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(GENEROUS, asking).await.unwrap()
    }

    async fn slot_of(&self, device: &str) -> String {
        let slots = self.slots().await;
        let slot = slots.iter().find(|slot| slot["device"] == device).unwrap();
        slot["id"].as_str().unwrap().to_owned()
    }

    async fn metric(&self, line: &str) -> bool {
        let said = self.send(self.admin, Request::get("/metrics"), "").await;
        said.body.as_str().unwrap().lines().any(|shown| shown == line)
    }
}

impl Said {
    #[track_caller]
    fn is_license(&self) {
        assert_eq!((self.status, self.body["keys"][0]["kty"].as_str()), (200, Some("oct")));
    }

    #[track_caller]
    fn is_refused(&self, error: &str, message: &str) {
        assert_eq!((self.status, &self.body["error"], &self.body["message"]), (403, &json!(error), &json!(message)));
    }
}

fn token(claims: &Value) -> String {
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

const FULL_1: &str = "the account holds all of its 1 sessions";

// === Limits ===

#[tokio::test]
async fn the_newest_session_is_denied_and_a_stop_makes_room_at_once() {
    at_home(r#"account = ["query:account"]"#, async |home| {
        home.play("tv").await.is_license();
        home.play("phone").await.is_refused("limit_reached", FULL_1);
        home.play("tv").await.is_license();
        assert_eq!(*home.licenses.lock().unwrap(), ["/wv?x=1", "/wv?x=1"], "the account is for us alone");
        let slots = home.slots().await;
        assert_eq!((slots.len(), &slots[0]["account"], &slots[0]["device"]), (1, &json!("ann"), &json!("tv")));
        home.stop("tv").await;
        home.until(<[_]>::is_empty).await;
        // The phone's refusal is remembered for a moment; another device was never refused.
        home.play("pad").await.is_license();
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_takes_no_place_and_an_unreadable_one_does_not_count_as_expired() {
    at_home(r#"account = ["device"]"#, async |home| {
        let with = |exp: u64| token(&json!({ "exp": exp, "contentRights": [{ "sessionControl": {} }] }));
        let now = Clock.wall().as_secs();
        let said = home.play_with("tv", &[("nv-authorizations", &with(now - 60))]).await;
        assert_eq!((said.status, &said.body["error"]), (403, &json!("token_expired")), "{}", said.body);
        assert!(home.slots().await.is_empty() && home.licenses.lock().unwrap().is_empty());
        // A token within the leeway, a valid one, one of an unknown kind, and none.
        let tokens = [("a", with(now - 5)), ("b", with(now + 600)), ("c", "opaque".to_owned())];
        for (device, token) in &tokens {
            home.play_with(device, &[("nv-authorizations", token)]).await.is_license();
        }
        home.play("d").await.is_license();
        assert_eq!(home.slots().await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn beats_keep_a_session_whose_player_is_silent() {
    at_home("account = [\"query:account\"]\ninterval = \"20ms\"\ngrace = \"2s\"", async |home| {
        home.play("tv").await.is_license();
        let slots = home.until(|slots| slots.iter().any(|slot| slot["beats"].as_u64() >= Some(110))).await;
        // 110 beats take longer than interval and grace.
        assert!(slots[0]["opened_s_ago"].as_f64() > Some(2.02), "{slots:?}");
        home.play("phone").await.is_refused("limit_reached", FULL_1);
    })
    .await;
}

#[tokio::test]
async fn all_devices_are_one_household_if_no_account_is_configured() {
    at_home("", async |home| {
        home.play("tv").await.is_license();
        home.play("phone").await.is_refused("limit_reached", FULL_1);
        // The claims of an unverified token about accounts are ignored.
        let claims = json!({ "device": { "accountId": "bob" }, "accountId": "bob" });
        home.play_with("pad", &[("nv-authorizations", &token(&claims))]).await.is_refused("limit_reached", FULL_1);
        let accounts: Vec<_> = home.slots().await.iter().map(|slot| slot["account"].clone()).collect();
        assert_eq!(accounts, ["home"]);
    })
    .await;
}

#[tokio::test]
async fn accounts_in_tokens_and_devices_as_accounts_are_counted_apart() {
    at_home(r#"account = ["token-claim:device.accountId", "device"]"#, async |home| {
        home.play("tv").await.is_license();
        home.play("phone").await.is_license();
        for (device, content) in [("pad", "c1"), ("tablet", "c2")] {
            let claims = json!({ "device": { "accountId": "bob" }, "contentRights": [{ "contentId": content, "sessionControl": {} }] });
            let said = home.play_with(device, &[("nv-authorizations", &token(&claims))]).await;
            if device == "pad" { said.is_license() } else { said.is_refused("limit_reached", FULL_1) }
        }
        let accounts: Vec<_> = home.slots().await.iter().map(|slot| slot["account"].clone()).collect();
        assert_eq!(accounts, ["tv", "phone", "bob"]);
    })
    .await;
}

#[tokio::test]
async fn a_call_without_an_account_opens_no_session() {
    at_home(r#"account = ["header:x-account"]"#, async |home| {
        home.play("tv").await.is_refused("setup_rejected", "the call names no account");
        home.play_with("pad", &[("x-account", "ann")]).await.is_license();
    })
    .await;
}

#[tokio::test]
async fn groups_have_limits_within_the_account() {
    let authority = r#"
        account = ["query:account"]
        sessions-per-account = 4
        device-group = ["header:x-class"]
        sessions-per-device-group = 2
        content-group = ["header:x-package"]
        [authority.device-groups]
        tv = 1
        [authority.content-groups]
        sports = 1
        adult = 0
    "#;
    at_home(authority, async |home| {
        let tv = [("x-class", "tv")];
        home.play_with("tv-1", &tv).await.is_license();
        let full = "the account holds all of its 1 sessions for this kind of device";
        home.play_with("tv-2", &tv).await.is_refused("limit_reached", full);
        home.play_with("p-1", &[("x-class", "phone"), ("x-package", "sports")]).await.is_license();
        home.play_with("p-2", &[("x-class", "phone")]).await.is_license();
        let full = "the account holds all of its 2 sessions for this kind of device";
        home.play_with("p-3", &[("x-class", "phone")]).await.is_refused("limit_reached", full);
        let full = "the account holds all of its 1 sessions for this kind of content";
        home.play_with("pc-1", &[("x-package", "sports")]).await.is_refused("limit_reached", full);
        let none = "the account holds all of its 0 sessions for this kind of content";
        home.play_with("pc-2", &[("x-package", "adult")]).await.is_refused("limit_reached", none);
        let slots = home.slots().await;
        let groups = |slot: &Value| (slot["device_group"].clone(), slot["content_group"].clone());
        let (phone, nothing) = (json!("phone"), Value::Null);
        let expected = [(json!("tv"), nothing.clone()), (phone.clone(), json!("sports")), (phone, nothing)];
        assert_eq!(slots.iter().map(groups).collect::<Vec<_>>(), expected);
        let admin = EndpointUrl::parse(&format!("http://{}", home.admin)).unwrap();
        let shown =
            admin::order(&admin, None, &AdminCommand::ListSlots { authority: "home".to_owned() }, false).await.unwrap();
        assert!(shown.contains("GROUPS") && shown.contains("phone, sports"), "{shown}");
        home.play_with("pc-3", &[("x-package", "news")]).await.is_license();
        let full = "the account holds all of its 4 sessions";
        home.play("pc-4").await.is_refused("limit_reached", full);
    })
    .await;
}

#[tokio::test]
async fn the_oldest_session_ends_and_its_player_learns_the_reason() {
    let authority =
        "account = [\"query:account\"]\nsessions-per-account = 2\non-limit = \"end-oldest\"\ninterval = \"1h\"";
    at_home(authority, async |home| {
        for device in ["tv", "phone", "pad"] {
            home.play(device).await.is_license();
        }
        let devices: Vec<_> = home.slots().await.iter().map(|slot| slot["device"].clone()).collect();
        assert_eq!(devices, ["phone", "pad"]);
        assert!(home.metric("sidebeat_slots_ended_total{authority=\"home\",reason=\"replaced\"} 1").await);
        // No beat is due for an hour: the license call itself meets the end, and the next one too.
        for _ in 0..2 {
            home.play("tv").await.is_refused("session_killed", "another device plays now");
        }
        assert_eq!(home.licenses.lock().unwrap().len(), 3, "a killed session forwards nothing");
        home.play("phone").await.is_license();
        assert!(home.metric("sidebeat_sessions_ended_total{authority=\"home\",reason=\"killed\"} 1").await);
        // A fresh content token is a new playback, and now the phone is the oldest.
        let claims = json!({ "contentRights": [{ "contentId": "c", "sessionControl": {} }] });
        home.play_with("tv", &[("nv-authorizations", &token(&claims))]).await.is_license();
        home.play("phone").await.is_refused("session_killed", "another device plays now");
        home.play("pad").await.is_license();
    })
    .await;
}

#[tokio::test]
async fn the_victims_beat_meets_its_end() {
    let authority = "account = [\"query:account\"]\non-limit = \"end-oldest\"\ninterval = \"20ms\"";
    at_home(authority, async |home| {
        home.play("tv").await.is_license();
        home.play("phone").await.is_license();
        let line = "sidebeat_sessions_ended_total{authority=\"home\",reason=\"killed\"} 1";
        let killed = async {
            while !home.metric(line).await {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(GENEROUS, killed).await.unwrap();
        home.play("tv").await.is_refused("session_killed", "another device plays now");
    })
    .await;
}

// === Lists ===

#[tokio::test]
async fn a_denied_or_not_allowed_player_learns_the_reason() {
    let authority = r#"
        account = ["header:x-account", "device"]
        sessions-per-account = 9
        allow = ["family-*", "guest-tv"]
        deny = ["family-kid", "family-lost-tv"]
    "#;
    at_home(authority, async |home| {
        let denied = "this account or device is on the deny list";
        let stranger = "neither this account nor this device is on the allow list";
        for (account, device, why) in [
            ("family-ann", "tv", None),
            ("other", "guest-tv", None),
            ("family-kid", "pad", Some(denied)),
            ("family-ann", "family-lost-tv", Some(denied)),
            ("other", "phone", Some(stranger)),
            ("fam", "guest-tv-2", Some(stranger)),
        ] {
            let said = home.play_with(device, &[("x-account", account)]).await;
            match why {
                Some(why) => said.is_refused("setup_rejected", why),
                None => said.is_license(),
            }
        }
    })
    .await;
}

// === Operators ===

#[tokio::test]
async fn an_operator_ends_a_slot() {
    at_home("account = [\"query:account\"]\ninterval = \"1h\"", async |home| {
        home.play("tv").await.is_license();
        let id = home.slot_of("tv").await;
        let ended = home.api(Method::DELETE, &format!("home/slots/{id}"), "").await;
        assert_eq!((ended.status, &ended.body["done"]), (200, &json!("ended")));
        assert!(home.slots().await.is_empty());
        home.play("tv").await.is_refused("session_killed", "the session was killed");
        home.play("phone").await.is_license();
        assert!(home.metric("sidebeat_slots_ended_total{authority=\"home\",reason=\"ended\"} 1").await);
        for (method, path, body, status) in [
            (Method::DELETE, format!("home/slots/{id}"), "", 404),
            (Method::DELETE, "home/slots/zz".to_owned(), "", 404),
            (Method::GET, "away/slots".to_owned(), "", 404),
            (Method::GET, "home/slits".to_owned(), "", 404),
            (Method::PUT, "home/slots".to_owned(), "", 405),
            (Method::POST, format!("home/slots/{id}/move"), "", 400),
            (Method::POST, format!("home/slots/{id}/move"), r#"{"device":""}"#, 400),
            (Method::POST, format!("home/slots/{id}/move"), r#"{"device":"x"}"#, 404),
        ] {
            assert_eq!(home.api(method.clone(), &path, body).await.status, status, "{method} {path} {body}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_viewer_moves_a_place_to_another_device() {
    let authority = "account = [\"query:account\"]\non-limit = \"end-oldest\"\ninterval = \"1h\"";
    at_home(authority, async |home| {
        home.play("tv").await.is_license();
        let id = home.slot_of("tv").await;
        let moved = home.api(Method::POST, &format!("home/slots/{id}/move"), r#"{"device":"pad"}"#).await;
        assert_eq!((moved.status, &moved.body["reserved_s"]), (200, &json!(60.0)));
        let said = home.api(Method::GET, "home/slots", "").await;
        assert_eq!(said.body["slots"], json!([]));
        assert_eq!(said.body["reserved"][0]["device"], "pad");
        // The place is kept for the pad, whichever device asks first.
        home.play("phone").await.is_refused("limit_reached", FULL_1);
        home.play("tv").await.is_refused("session_killed", "this playback was moved to another device");
        home.play("pad").await.is_license();
        let said = home.api(Method::GET, "home/slots", "").await;
        assert_eq!((&said.body["slots"][0]["device"], &said.body["reserved"]), (&json!("pad"), &json!([])));
    })
    .await;
}

#[tokio::test]
async fn the_command_line_lists_ends_and_moves_slots() {
    at_home(r#"account = ["query:account"]"#, async |home| {
        let admin = EndpointUrl::parse(&format!("http://{}", home.admin)).unwrap();
        let authority = || "home".to_owned();
        let order = async |order: AdminCommand| admin::order(&admin, None, &order, false).await;
        assert_eq!(order(AdminCommand::ListSlots { authority: authority() }).await.unwrap(), "nobody plays\n");
        home.play("tv").await.is_license();
        let id = home.slot_of("tv").await;
        let shown = order(AdminCommand::ListSlots { authority: authority() }).await.unwrap();
        assert!(shown.lines().nth(1).unwrap().starts_with(&format!("{id}  ann      tv ")), "{shown}");
        let device = "pad \"2\"".to_owned();
        let moved = order(AdminCommand::MoveSlot { authority: authority(), device, id: id.clone() }).await.unwrap();
        assert_eq!(moved, format!("{id}: moved\n"));
        let shown = order(AdminCommand::ListSlots { authority: authority() }).await.unwrap();
        assert!(shown.contains("reserved  ann      pad \"2\""), "{shown}");
        let gone = order(AdminCommand::EndSlot { authority: authority(), id }).await;
        assert_eq!(gone, Err("nobody holds this slot".to_owned()));
        let other = order(AdminCommand::ListSlots { authority: "../x".to_owned() }).await;
        assert_eq!(other, Err("\"../x\" is no authority".to_owned()));
    })
    .await;
}

/// The list is read in pages, so its length does not delay beats.
#[tokio::test]
async fn slots_are_listed_page_by_page_and_filtered_and_the_command_line_follows_the_pages() {
    at_home(r#"account = ["device"]"#, async |home| {
        let devices: Vec<_> = (0..7).map(|number| format!("tv-{number}")).collect();
        for device in &devices {
            home.play(device).await.is_license();
        }
        let of = |page: &Value| {
            let slots = page["slots"].as_array().unwrap();
            slots.iter().map(|slot| slot["device"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for limit in [1, 3, 6, 7, 8] {
            let (mut paged, mut after, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let page = home.api(Method::GET, &format!("home/slots?limit={limit}{after}"), "").await;
                assert_eq!(page.body["reserved"].is_array(), pages == 0, "{}", page.body);
                let listed = of(&page.body);
                assert!(listed.len() <= limit, "{}", page.body);
                paged.extend(listed);
                pages += 1;
                let Some(next) = page.body["next"].as_str() else { break };
                after = format!("&after={next}");
            }
            assert_eq!(paged, devices, "pages of {limit}, oldest first");
        }
        let filtered = home.api(Method::GET, "home/slots?device=tv-4&account=tv-4", "").await;
        assert_eq!(of(&filtered.body), ["tv-4"]);
        assert_eq!(of(&home.api(Method::GET, "home/slots?account=nobody", "").await.body), [""; 0]);
        assert_eq!(home.api(Method::GET, "home/slots?limit=0", "").await.status, 400);
        let admin = EndpointUrl::parse(&format!("http://{}", home.admin)).unwrap();
        let order = AdminCommand::ListSlots { authority: "home".to_owned() };
        let shown = admin::order(&admin, None, &order, true).await.unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((of(&shown), shown["next"].is_null()), (devices, true));
    })
    .await;
}

/// An admin listener with two pages.
#[tokio::test]
async fn the_command_line_reads_a_list_to_its_last_page() {
    let (tasks, _deaths) = Tasks::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = EndpointUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let own = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                let is_last = request.uri().query().unwrap_or_default().contains("after=0a");
                let page = if is_last {
                    json!({ "slots": [{ "device": "pad" }] })
                } else {
                    json!({ "slots": [{ "device": "tv" }], "reserved": [{ "device": "phone" }], "next": "0a" })
                };
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(page.to_string()))))
            });
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            own.spawn(async move { drop(served.await) });
        }
    });
    let order = AdminCommand::ListSlots { authority: "home".to_owned() };
    let shown = tokio::time::timeout(GENEROUS, admin::order(&admin, None, &order, true)).await.unwrap().unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let expected = json!({ "slots": [{ "device": "tv" }, { "device": "pad" }], "reserved": [{ "device": "phone" }] });
    assert_eq!(shown, expected);
    tasks.stop();
}
