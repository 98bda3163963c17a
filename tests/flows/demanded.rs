//! Tests that a route that demands sessions gives no license without one: with every setting of a route, token, message
//! and DRM system.

use std::collections::BTreeMap;

use http::Method;

use crate::drm::{self, KID, WidevineId};
use crate::player::{Player, playready, widevine_new, widevine_renewal};
use crate::stage::{Script, Stage};
use crate::upstream::{Asked, Upstream, good};
use crate::web::Reply;

/// The settings of a route; `None` if absent.
#[derive(Clone, Copy, Debug)]
struct Setting {
    authority: &'static str,
    session_control: Option<&'static str>,
    unrecognised: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    /// The call has no content token.
    Absent,
    AsksForNoSession,
    AsksForSession,
    Opaque,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asks {
    ForLicense,
    /// A persistent license, which outlives its playback.
    ForLicenseToKeep,
    /// A message of the system that asks for none.
    ForNoLicense,
    /// A message that no reader can recognise.
    Unreadably,
}

/// The expected result of a call.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    /// The authority was asked for a session and said that none is needed.
    LicenseByAuthoritysWord,
    LicenseUnderSession,
    LicenseWithoutSession,
    Refusal,
}

const SETTINGS: [Option<&str>; 4] = [None, Some("always"), Some("auto"), Some("never")];

/// The result according to the documentation alone.
fn due(setting: Setting, token: Token, asks: Asks) -> Due {
    let embedded = setting.authority == "home";
    let control = setting.session_control.unwrap_or(if embedded { "always" } else { "auto" });
    let demanded = control == "always";
    let unless = |refused| if refused { Due::Refusal } else { Due::LicenseWithoutSession };
    match asks {
        Asks::ForLicenseToKeep => Due::LicenseWithoutSession,
        // The license server gave one all the same.
        Asks::ForNoLicense => unless(demanded),
        Asks::Unreadably => unless(setting.unrecognised.map_or(demanded, |says| says == "refuse")),
        Asks::ForLicense => match (control, token) {
            ("never", _) | ("auto", Token::AsksForNoSession) => Due::LicenseWithoutSession,
            (_, Token::AsksForNoSession) if !embedded => Due::LicenseByAuthoritysWord,
            (_, Token::AsksForSession | Token::AsksForNoSession) => Due::LicenseUnderSession,
            (_, _) if embedded => Due::LicenseUnderSession,
            (_, Token::Absent) => unless(demanded),
            // The head-end knows no such token.
            (_, Token::Opaque) => Due::Refusal,
        },
    }
}

fn messages() -> Vec<(&'static str, Asks, Vec<u8>)> {
    let id = WidevineId { offline: false, request_id: b"video", session_id: drm::SID8, version: 0 };
    let kept = drm::widevine_content(&drm::widevine_pssh(b"content-42", &[KID]), 2, drm::RID);
    vec![
        ("wv/license", Asks::ForLicense, widevine_new("video")),
        ("wv/renewal", Asks::ForLicense, widevine_renewal("video")),
        ("wv/to-keep", Asks::ForLicenseToKeep, drm::widevine_new_of(&kept)),
        ("wv/release", Asks::ForNoLicense, drm::widevine_release(&id, 60)),
        ("wv/certificate", Asks::ForNoLicense, vec![8, 4]),
        ("pr/license", Asks::ForLicense, playready(None, "n").into()),
        ("pr/acknowledge", Asks::ForNoLicense, drm::playready_acknowledge("T").into()),
        ("fp/license", Asks::ForLicense, drm::fairplay_spc("first")),
        ("ck/license", Asks::ForLicense, drm::clearkey_request(&[KID], Some("temporary")).into()),
        ("ck/to-keep", Asks::ForLicenseToKeep, drm::clearkey_request(&[KID], Some("persistent-license")).into()),
        ("ck/release", Asks::ForNoLicense, drm::clearkey_request(&[KID], None).into()),
        ("wv/text", Asks::Unreadably, b"what nobody knows".to_vec()),
        ("wv/bytes", Asks::Unreadably, vec![0xfe; 300]),
        ("wv/nothing", Asks::Unreadably, Vec::new()),
    ]
}

/// Gives a license of the system in the path, whatever it is asked.
async fn generous() -> Upstream {
    let id = WidevineId { offline: false, request_id: b"video", session_id: drm::SID8, version: 0 };
    let widevine = drm::widevine_license(&id, &drm::POLICY, KID);
    let playready = drm::playready_response(&drm::playready_xmr(KID, 0, u32::MAX, 0), None, b"n");
    Upstream::answering(move |asked: &Asked| {
        if asked.target.contains("/pr/") {
            return good("text/xml", playready.clone());
        }
        if asked.target.contains("/fp/") {
            return good("application/octet-stream", drm::fairplay_ckc("key"));
        }
        if asked.target.contains("/ck/") {
            return good("application/json", drm::clearkey_license(KID, &[7; 16]));
        }
        good("application/octet-stream", widevine.clone())
    })
    .await
}

fn house(server: &Upstream) -> (Script, Vec<(String, Setting)>) {
    let home = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"header:x-device-id\"]";
    let mut script = Stage::script().authority(home);
    let mut routes = Vec::new();
    for authority in ["head-end", "home"] {
        for session_control in SETTINGS {
            for unrecognised in [None, Some("pass"), Some("refuse")] {
                let mut lines = format!("authority = \"{authority}\"\n");
                let keys = [("session-control", session_control), ("unrecognised", unrecognised)];
                for (key, value) in keys.into_iter().filter_map(|(key, value)| Some((key, value?))) {
                    lines.push_str(&format!("{key} = \"{value}\"\n"));
                }
                let path = format!("/license-{}", routes.len());
                script = script.upstream(&path, &server.url(), &lines);
                routes.push((path, Setting { authority, session_control, unrecognised }));
            }
        }
    }
    (script, routes)
}

async fn player(stage: &Stage, device: &str, token: Token) -> Player {
    let asks = async |session: bool| {
        let query = format!("account={device}&device={device}&content={device}&session={session}");
        let token = stage.headend.token(&query).await;
        stage.player_with(device, &token)
    };
    match token {
        Token::Absent => stage.stranger().with("x-device-id", device),
        Token::AsksForNoSession => asks(false).await,
        Token::AsksForSession => asks(true).await,
        Token::Opaque => stage.player_with(device, &format!("opaque-{device}")),
    }
}

/// The actual result: the player's reply, and the proxy's sessions of its device.
async fn became(stage: &Stage, device: &str, reply: &Reply) -> Due {
    if !reply.is_good() {
        return Due::Refusal;
    }
    let list = stage.ask(Method::GET, &format!("/v1/sessions?device={device}")).await.json();
    let mut states = list["sessions"].as_array().unwrap().iter().map(|session| &session["state"]).peekable();
    match (states.peek().is_some(), states.any(|state| state == "live")) {
        (_, true) => Due::LicenseUnderSession,
        (true, false) => Due::LicenseByAuthoritysWord,
        (false, false) => Due::LicenseWithoutSession,
    }
}

#[tokio::test]
async fn no_call_gets_a_license_without_a_session_on_a_route_that_demands_one() {
    let server = generous().await;
    let (script, routes) = house(&server);
    let stage = script.start().await;
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::new();
    for (number, (path, setting)) in routes.into_iter().enumerate() {
        for token in [Token::Absent, Token::AsksForNoSession, Token::AsksForSession, Token::Opaque] {
            for (name, asks, body) in messages() {
                // How unreadable calls are treated is nothing to other systems' readable ones.
                if setting.unrecognised.is_some() && !name.starts_with("wv/") {
                    continue;
                }
                let device = format!("{number}-{token:?}-{}", name.replace('/', "-"));
                let tv = player(&stage, &device, token).await.at(&path);
                let method = if body.is_empty() { Method::GET } else { Method::POST };
                let reply = tv.post(body).method(method).below(&format!("/{name}")).await;
                let (became, due) = (became(&stage, &device, &reply).await, due(setting, token, asks));
                *seen.entry(due).or_insert(0) += 1;
                if became != due {
                    wrong.push(format!("{name} with {token:?} at {setting:?}: {became:?}, not {due:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {seen:?}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen.len() == 4 && seen.values().all(|times| *times > 5), "each of them is due: {seen:?}");
    stage.end().await;
}
