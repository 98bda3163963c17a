//! Kodi with inputstream.adaptive on a desktop, by its sources (github.com/xbmc/inputstream.adaptive).
//!
//! - `inputstream.adaptive.license_key` is `URL|headers|body|reply` (Kodi 19 to 21, deprecated in 22): branch Omega,
//!   `src/decrypters/widevine/WVCencSingleSampleDecrypter.cpp`, `SendSessionMessage`; 22 reads the same four fields in
//!   `src/CompKodiProps.cpp`.
//! - Headers are `name=value` between `&`, the values percent-encoded. A body that begins with `%` is decoded.
//! - In a body, `R{SSM}` is the challenge as it is, `b{SSM}` in base64, `B{SSM}` that percent-encoded, `D{SSM}` in decimal
//!   numbers. In the URL there is only `B{SSM}`. Without a body the call is a GET.
//! - -1 or a status of 400 and more is a failure, which is a line in Kodi's log; its body is not looked at.
//! - A stream whose first license failed has no keys and does not open: Kodi says "Playback failed".
//! - A pending renewal is looked for at every sample that is decrypted (`CheckLicenseRenewal`). 22 drops it when a reply
//!   below 400 came; 21 before it asks.

use http::Method;
use serde_json::Value;

use crate::drm;
use crate::player::{Call, Player, widevine_new, widevine_renewal};
use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good};

const PLAYERS: &str = include_str!("../../../docs/players.md");
const README: &str = include_str!("../../../README.md");
const USER_AGENT: &str = "Kodi/21.2 (X11; Linux x86_64) App_Bitness/64 Version/21.2-(21.2.0)-Git:20250115-abc";
const FAILED: u16 = 400;
/// How a Widevine `SignedMessage` of the type error begins; a license's begins with `08 02`.
const SIGNED_ERROR: [u8; 2] = [8, 3];

#[derive(Clone, Copy, Eq, PartialEq)]
enum Version {
    Omega21,
    Piers22,
}

struct Kodi {
    key: String,
    /// The renewal that its module of the CDM has asked for.
    pending: Option<Vec<u8>>,
    player: Player,
    version: Version,
}

impl Kodi {
    fn new(stage: &Stage, version: Version, key: &str) -> Self {
        Self { key: key.to_owned(), pending: None, player: stage.stranger(), version }
    }

    fn call(&self, challenge: &[u8]) -> Call {
        let blocks: Vec<&str> = self.key.split('|').collect();
        let [url, headers, body, _reply] = blocks[..] else { panic!("four blocks are expected: {}", self.key) };
        let base64 = drm::b64(challenge);
        let mut call = self.player.clone().at(&url.replace("B{SSM}", &percent(&base64))).post(fill(body, challenge));
        call = call.header("user-agent", USER_AGENT).header("accept", "*/*");
        if body.is_empty() {
            call = call.method(Method::GET);
        } else {
            // Curl's own, where the add-on names none.
            call = call.header("content-type", "application/x-www-form-urlencoded");
        }
        for header in headers.split('&').filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once('=').unwrap_or((header, ""));
            call = call.header(&name.trim().to_ascii_lowercase(), &decoded(value.trim()));
        }
        call
    }

    /// True if the stream opens; else its viewer reads that playback failed. The module takes no keys from an error.
    async fn opens(&self, challenge: &[u8]) -> bool {
        let reply = self.call(challenge).await;
        reply.status.as_u16() < FAILED && !reply.body.starts_with(&SIGNED_ERROR)
    }

    /// Decrypts so many samples, each with a look at the pending renewal. Returns the number of calls made.
    async fn plays(&mut self, samples: usize) -> usize {
        let mut calls = 0;
        for _ in 0..samples {
            let Some(challenge) = self.pending.take() else { continue };
            calls += 1;
            let status = self.call(&challenge).await.status.as_u16();
            if status >= FAILED && self.version == Version::Piers22 {
                self.pending = Some(challenge);
            }
        }
        calls
    }
}

fn fill(body: &str, challenge: &[u8]) -> Vec<u8> {
    let body = if body.starts_with('%') { decoded(body) } else { body.to_owned() };
    let Some(at) = body.find("{SSM}") else { return body.into_bytes() };
    let (before, after) = (&body[..at - 1], &body[at + 5..]);
    let base64 = drm::b64(challenge);
    let filled = match &body[at - 1..at] {
        "B" => percent(&base64).into_bytes(),
        "D" => challenge.iter().map(u8::to_string).collect::<Vec<_>>().join(",").into_bytes(),
        "b" => base64.into_bytes(),
        _ => challenge.to_vec(),
    };
    [before.as_bytes(), &filled, after.as_bytes()].concat()
}

fn percent(base64: &str) -> String {
    base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let code = u8::from_str_radix(&part[..2], 16).unwrap();
        format!("{text}{}{}", char::from(code), &part[2..])
    })
}

async fn token(stage: &Stage, content: &str) -> String {
    stage.headend.token(&format!("account=ann&device=tv&content={content}")).await
}

fn script() -> Script {
    // The README's own recipe: only the token identifies the device.
    Stage::script().route("/license", "widevine", "")
}

async fn kill(stage: &Stage) {
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
}

#[tokio::test]
async fn every_template_of_kodi_opens_the_session_and_reaches_the_license_server_byte_for_byte() {
    let rows = [
        ("/license||R{SSM}|R", "raw, with curl's own content type"),
        ("/license|Content-Type=application%2Foctet-stream|R{SSM}|R", "raw"),
        ("/license|Content-Type=text%2Fplain|b{SSM}|B", "base64"),
        ("/license|Content-Type=application%2Fx-www-form-urlencoded|widevine=B{SSM}&asset=7|R", "a form"),
        ("/license|Content-Type=application%2Fjson|%7B%22challenge%22%3A%22b%7BSSM%7D%22%7D|JBlicense", "JSON"),
        ("/license|Content-Type=application%2Fjson|{\"payload\":[D{SSM}]}|R", "numbers"),
        ("/license||D{SSM}|R", "numbers alone"),
        ("/license?challenge=B{SSM}|||R", "a GET"),
    ];
    for (template, what) in rows {
        let server = Upstream::answering(|_| good("application/octet-stream", &b"\x08\x02license"[..])).await;
        let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
        let (url, rest) = template.split_once('|').unwrap();
        let headers = format!("nv-authorizations={}&", token(&stage, "news").await);
        let kodi = Kodi::new(&stage, Version::Omega21, &format!("{url}|{headers}{rest}"));
        let challenge = widevine_new("video");
        assert!(kodi.opens(&challenge).await, "{what}");
        let seen = server.only();
        let blocks: Vec<&str> = kodi.key.split('|').collect();
        assert_eq!(seen.body, fill(blocks[2], &challenge), "{what}");
        assert_eq!(
            (stage.headend.open().await, seen.header("nv-authorizations").is_empty()),
            (vec!["tv news".into()], false),
            "{what}"
        );
        stage.end().await;
    }
}

#[tokio::test]
async fn kodi_opens_no_stream_whose_first_license_is_refused() {
    let stage = script().settings(|settings| settings.limit = 1).start().await;
    let first = stage.player("pad", "film").await;
    assert!(first.license("pad").await.is_good());
    let key = format!("/license|nv-authorizations={}|R{{SSM}}|R", token(&stage, "news").await);
    for version in [Version::Omega21, Version::Piers22] {
        let kodi = Kodi::new(&stage, version, &key);
        assert!(!kodi.opens(&widevine_new("video")).await);
    }
    assert_eq!(stage.headend.count("license-widevine").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn a_refused_renewal_of_kodi_is_one_call_and_none_at_every_sample() {
    let mozilla = "User-Agent=Mozilla%2F5.0%20(X11)&";
    // The value as on the add-on's wiki.
    let page = "User-Agent=Mozilla%2F5.0&Content-Type=application%2Foctet-stream&Origin=https%3A%2F%2Ftv.example&";
    let rows = [
        (Version::Omega21, "", "", 1),
        (Version::Piers22, "", "", 1),
        (Version::Omega21, mozilla, "", 1),
        (Version::Piers22, page, "", 1),
        // An add-on that calls itself a browser is not known for Kodi; the setting is for it.
        (Version::Piers22, mozilla, "", 50),
        (Version::Piers22, mozilla, "[route.refusal.widevine]\nrenewal = \"reject\"", 1),
    ];
    for (version, agent, lines, calls) in rows {
        let stage = Stage::script().route("/license", "widevine", lines).start().await;
        let key = format!("/license|{agent}nv-authorizations={}|R{{SSM}}|R", token(&stage, "news").await);
        let mut kodi = Kodi::new(&stage, version, &key);
        assert!(kodi.opens(&widevine_new("video")).await);
        kodi.pending = Some(widevine_renewal("video"));
        assert_eq!(kodi.plays(50).await, 1, "while it may play");
        kill(&stage).await;
        let before = stage.headend.story().await.len();
        kodi.pending = Some(widevine_renewal("video"));
        assert_eq!(kodi.plays(50).await, calls, "{agent}{lines}");
        // Its license expires by itself, and its next request is refused.
        assert!(!kodi.opens(&widevine_new("again")).await);
        let after = stage.headend.story().await.split_off(before);
        assert!(after.iter().all(|call| call == "teardown"), "{after:?}");
        stage.end().await;
    }
}

/// A document's value for a setting, between its back quotes.
fn documented(page: &str, setting: &str) -> String {
    let (_, after) = page.split_once(setting).unwrap_or_else(|| panic!("no {setting} is documented"));
    let mut parts = after.split('`');
    let value = parts.find(|part| part.contains("LICENSE")).unwrap();
    value.replace("\\|", "|")
}

#[tokio::test]
async fn the_settings_that_the_documents_give_for_kodi_open_a_session() {
    let stage = script().start().await;
    let key = "`inputstream.adaptive.license_key`";
    let old = documented(README, key);
    assert_eq!(old, documented(PLAYERS, key));
    // 22 sends the challenge as it is where `req_data` is not set.
    let new: Value = serde_json::from_str(&documented(PLAYERS, "`inputstream.adaptive.drm`")).unwrap();
    let new = &new["com.widevine.alpha"]["license"];
    let new = format!("{}|{}|R{{SSM}}|R", new["server_url"].as_str().unwrap(), new["req_headers"].as_str().unwrap());
    for (key, version, content) in [(old, Version::Omega21, "news"), (new, Version::Piers22, "film")] {
        let key = key.replace("LICENSE", "/license").replace("TOKEN", &token(&stage, content).await);
        assert!(Kodi::new(&stage, version, &key).opens(&widevine_new(content)).await, "{key}");
    }
    assert_eq!(stage.headend.count("license-widevine").await, 2);
    assert_eq!(stage.each("device").await, ["tv", "tv"]);
    stage.end().await;
}
