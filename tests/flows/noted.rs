//! Tests the log lines of calls without a session, of declined licenses and of weak identities: they have words, device
//! and account, and their number is bounded.

use http::Method;
use serde_json::json;

use crate::drm::{self, WidevineId, WidevinePolicy};
use crate::firstlight;
use crate::log::Log;
use crate::player::CLEARKEY;
use crate::stage::Stage;
use crate::upstream::{LICENSE, Upstream, good, status};

/// Number of lines of one kind that one device may cause in ten seconds.
const MAX_LINES_PER_SOURCE: usize = 20;

/// Waits for what a log writer may not have written when the player has its reply.
async fn lines(stage: &Stage, log: &Log, parts: &[&str], at_least: usize) -> Vec<String> {
    stage.eventually(&format!("{parts:?}"), async || log.lines(parts).len() >= at_least).await;
    log.lines(parts)
}

#[tokio::test]
async fn a_call_that_passes_without_a_session_says_whose_it_is_and_why_and_writes_a_bounded_number_of_lines() {
    let log = Log::start();
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let stage = Stage::script().upstream("/noted-passed", &server.url(), "authority = \"head-end\"").start().await;
    let token = stage.headend.token("account=noted-ann&device=noted-tv&content=news&session=false").await;
    let tv = stage.player_with("noted-tv", &token).at("/noted-passed");
    for _ in 0..MAX_LINES_PER_SOURCE * 2 {
        assert!(tv.post(CLEARKEY).await.is_good());
    }
    let reason = "the content token, or session-control, asks for no session";
    let of_tv = ["passed without a session", "device=\"noted-tv\""];
    let told = lines(&stage, &log, &of_tv, MAX_LINES_PER_SOURCE).await;
    assert_eq!(told.len(), MAX_LINES_PER_SOURCE, "{told:#?}");
    for part in ["INFO", "route=\"/noted-passed\"", "account=\"noted-ann\"", &format!("reason=\"{reason}\"")] {
        assert!(told.iter().all(|line| line.contains(part)), "{part}: {told:#?}");
    }
    // Another device of the house still gets its own line.
    assert!(tv.clone().with("x-device-id", "noted-pad").post(CLEARKEY).await.is_good());
    assert_eq!(lines(&stage, &log, &["passed without a session", "device=\"noted-pad\""], 1).await.len(), 1);
    // A later search by device or by account finds each line.
    let calls = async |query: &str| {
        stage.ask(Method::GET, &format!("/v1/calls?{query}")).await.json()["calls"].as_array().unwrap().clone()
    };
    for query in ["device=noted-pad", "account=noted-ann&device=noted-pad"] {
        let found = calls(query).await;
        assert_eq!(found.len(), 1, "{query}");
        for (field, value) in [
            ("account", "noted-ann"),
            ("device", "noted-pad"),
            ("outcome", "passed"),
            ("reason", reason),
            ("route", "/noted-passed"),
        ] {
            assert_eq!(found[0][field], json!(value), "{query}: {found:?}");
        }
    }
    assert!(calls("account=noted-bob").await.is_empty());
    stage.end().await;
}

#[tokio::test]
async fn a_declined_license_leaves_a_line_with_its_owner_and_its_server() {
    let log = Log::start();
    let server = Upstream::answering(|_| status(402)).await;
    let stage = Stage::script().upstream("/noted-declined", &server.url(), "authority = \"head-end\"").start().await;
    let token = stage.headend.token("account=noted-eve&device=noted-box&content=news").await;
    let tv = stage.player_with("noted-box", &token).at("/noted-declined");
    for _ in 0..MAX_LINES_PER_SOURCE * 2 {
        assert_eq!(tv.post(CLEARKEY).await.status, 402);
    }
    let told = lines(&stage, &log, &["the license server declined", "noted-box"], MAX_LINES_PER_SOURCE).await;
    assert_eq!(told.len(), MAX_LINES_PER_SOURCE, "{told:#?}");
    for part in
        ["INFO", "session=", "account=\"noted-eve\"", "route=\"/noted-declined\"", "host=\"127.0.0.1\"", "status=402"]
    {
        assert!(told.iter().all(|line| line.contains(part)), "{part}: {told:#?}");
    }
    stage.end().await;
}

/// Its authorization names another license server than the route.
#[tokio::test]
async fn a_declined_license_of_a_registered_playback_names_the_requested_server() {
    let log = Log::start();
    let server = Upstream::answering(|_| status(402)).await;
    let stage = firstlight::script_to("http://elsewhere.example", &server).start().await;
    let authorization = firstlight::authorize(&stage, "noted-stick", "film", "vod").await;
    assert_eq!(firstlight::player(&stage, &authorization).post(CLEARKEY).await.status, 402);
    let told = lines(&stage, &log, &["the license server declined", "noted-stick"], 1).await;
    assert!(told.len() == 1 && told[0].contains("host=\"127.0.0.1\""), "{told:#?}");
    stage.end().await;
}

#[tokio::test]
async fn a_license_whose_renewals_escape_is_warned_of_once_a_session() {
    let log = Log::start();
    let policy = WidevinePolicy { renewal_delay: 3_600, renewal_url: "https://elsewhere.example/renew", ..drm::POLICY };
    let id = WidevineId { offline: false, request_id: b"video", session_id: drm::SID8, version: 0 };
    let license = drm::widevine_license(&id, &policy, drm::KID);
    let server = Upstream::answering(move |_| good("application/octet-stream", license.clone())).await;
    let stage = Stage::script().upstream("/noted-escapes", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("noted-car", "news").await.at("/noted-escapes");
    for key_session in ["video", "audio", "subtitles"] {
        assert!(tv.license(key_session).await.is_good());
    }
    let escapes = ["names a renewal URL of its own", "renew more rarely than the authority wants beats"];
    for escape in escapes {
        let told = lines(&stage, &log, &[escape, "noted-car"], 1).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        for part in ["WARN", "session=", "account=\"ann\"", "renewal_s=3600", "interval_s="] {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
    }
    // The next session is warned of anew.
    assert_eq!(tv.stop().await.status, 204);
    stage.headend.next("teardown", 0).await;
    let again = stage.player("noted-car", "film").await.at("/noted-escapes");
    assert!(again.license("video").await.is_good());
    for escape in escapes {
        assert_eq!(lines(&stage, &log, &[escape, "noted-car"], 2).await.len(), 2);
    }
    stage.end().await;
}

#[tokio::test]
async fn a_weak_identity_is_warned_of_once_with_its_route_and_address() {
    let log = Log::start();
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let tables = format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"header:x-account\", \"device\"]\n\
         [[authority]]\nname = \"quickplay\"\nkind = \"firstlight\"\n{}\n",
        firstlight::SERVICES
    );
    let peer = "authority = \"head-end\"\ndevice = [\"peer\"]";
    let script = Stage::script().tables(&tables).upstream("/noted-shared", &server.url(), peer);
    let script = script.upstream("/noted-account", &server.url(), "authority = \"home\"");
    let stage = script.upstream("/noted-unregistered", &server.url(), "authority = \"quickplay\"").start().await;
    for device in ["one", "two", "two"] {
        let tv = stage.player(device, "news").await;
        for route in ["/noted-shared", "/noted-account", "/noted-unregistered"] {
            // The reply does not matter.
            let _reply = tv.clone().at(route).post(CLEARKEY).await;
        }
    }
    for (route, words) in [
        ("/noted-account", "a call names no account, so its device is an account of its own"),
        ("/noted-shared", "tokens of several devices come from one address and count as one device"),
        ("/noted-unregistered", "a license call without the id of a registered playback has no session"),
    ] {
        let told = lines(&stage, &log, &[words], 1).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        for part in ["WARN", "address=127.0.0.1", &format!("route=\"{route}\"")] {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
    }
    stage.end().await;
}
