//! Tests that no secret is shown: not in the log at its highest level, the metrics, the admin API or a refusal.

use http::Method;
use serde_json::json;

use crate::drm;
use crate::firstlight;
use crate::log::Log;
use crate::player::{CLEARKEY, playready, widevine_new, widevine_renewal};
use crate::stage::Stage;
use crate::upstream::{Upstream, good};

/// The secrets of the test, in every form that could appear.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// A token: any of its parts would give it away.
    fn token(&mut self, name: &str, token: &str) {
        for part in token.split(['.', ',']).filter(|part| part.len() >= 16) {
            self.0.push((name.to_owned(), part.to_owned()));
        }
    }

    /// A body: looked for by pieces from its middle, raw where it is text, and encoded.
    fn body(&mut self, name: &str, body: &[u8]) {
        const PIECE: usize = 48;
        assert!(body.len() >= PIECE, "{name} is too short to be told from chance");
        for start in [0, (body.len() - PIECE) / 2 / 3 * 3, (body.len() - PIECE) / 3 * 3] {
            let piece = &body[start..start + PIECE];
            let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            let forms = [drm::b64(piece), drm::b64u(piece), hex.clone(), hex.to_uppercase(), format!("{piece:?}")];
            self.0.extend(forms.map(|form| (name.to_owned(), form)));
            if let Ok(text) = std::str::from_utf8(piece) {
                self.0.push((name.to_owned(), text.to_owned()));
            }
        }
    }

    fn expect_none_in(&self, place: &str, text: &str) {
        for (name, form) in &self.0 {
            assert!(!text.contains(form), "{name} is seen in {place}: …{}…", around(text, form));
        }
    }
}

fn around(text: &str, form: &str) -> String {
    let line = text.lines().find(|line| line.contains(form)).unwrap_or_default();
    line.chars().take(400).collect()
}

#[tokio::test]
async fn no_secret_is_shown_anywhere() {
    let log = Log::start();
    let mut secrets = Secrets::default();
    let mut shown = Vec::new();
    let license = drm::fill(600, "license of the leak test");
    let answer = [&[8, 2][..], &license].concat();
    let server = Upstream::answering(move |_| good("application/octet-stream", answer.clone())).await;
    let stage = Stage::script()
        .route("/wv", "widevine", "")
        .route("/ck", "clearkey", "")
        .route("/pr", "playready", "")
        .upstream("/own", &server.url(), "authority = \"head-end\"")
        .heartbeat(0.3)
        .settings(|settings| settings.limit = 9)
        .start()
        .await;

    // Every system, a token in each of its places, a renewal, a beat.
    let tv = stage.player("tv", "news").await;
    secrets.token("content token", &tv.token);
    secrets.body("challenge", &widevine_new("video-of-the-leak-test"));
    secrets.body("renewal challenge", &widevine_renewal("video-of-the-leak-test"));
    assert!(tv.clone().at("/wv").license("video-of-the-leak-test").await.is_good());
    let renewed = tv.clone().at("/wv").renew("video-of-the-leak-test").await;
    secrets.body("renewed license", &renewed.body);
    let in_query = stage.player("phone", "film").await;
    secrets.token("content token of the query", &in_query.token);
    let query = format!("?token={}&device=phone", in_query.token);
    let keys = stage.stranger().at("/ck").post(CLEARKEY).below(&query).await;
    secrets.token("key", keys.json()["keys"][0]["k"].as_str().unwrap());
    let in_custom_data = stage.player("box", "sport").await;
    secrets.token("content token of the custom data", &in_custom_data.token);
    let challenge = playready(Some(&in_custom_data.token), "nonce of the leak test");
    let bare = in_custom_data.without("nv-authorizations").at("/pr");
    let soap = bare.post(challenge.clone()).await;
    assert!(soap.is_good(), "{}", soap.text());
    secrets.body("playready challenge", &drm::fill(960, "pr-enc"));
    let own = stage.player("tablet", "own").await.at("/own").with("cookie", "secret=fedcba98765432100123");
    secrets.token("cookie", "fedcba98765432100123");
    secrets.body("license", &license);
    assert!(own.license("video-of-the-leak-test").await.is_good());
    let sent = server.only().header("nv-authorizations").to_owned();
    secrets.token("session token", &sent);
    stage.headend.next("heartbeat", 0).await;

    // Refusals of all kinds, by an authority that repeats what it was sent.
    stage
        .headend
        .fault("setup", json!({"status": 400, "errorCode": 1006, "message": format!("bad token {}", tv.token)}), 1)
        .await;
    let refused = stage.player_with("other", &tv.token).at("/ck").post(CLEARKEY).await;
    assert_eq!(refused.error(), (403, "token_rejected".to_owned()));
    shown.push(("a refused setup", refused));
    stage.headend.fault("setup", json!({"status": 500, "body": format!("{{\"message\":\"{sent}\"}}")}), 1).await;
    shown.push(("a failed setup", stage.player_with("another", &own.token).at("/ck").post(CLEARKEY).await));
    stage
        .headend
        .fault(
            "renewal",
            json!({"status": 500, "body": {"message": drm::b64(widevine_renewal("video-of-the-leak-test"))}}),
            1,
        )
        .await;
    // Asked for once more: what the failed one said stands in the log alone.
    assert!(tv.clone().at("/wv").renew("video-of-the-leak-test").await.is_good());
    stage.headend.kill_account("ann").await;
    shown.push(("a killed renewal", tv.clone().at("/wv").renew("video-of-the-leak-test").await));
    shown.push(("a killed license", own.license("video-of-the-leak-test").await));
    shown.push(("an unknown path", stage.stranger().at(&format!("/{}", tv.token)).post(challenge).await));
    // An empty list of keys is what makes a browser reject a refusal.
    assert!(shown.iter().all(|(_, reply)| !reply.text().replace("\"keys\":[]", "").contains("\"keys\"")));

    for (place, reply) in &shown {
        secrets.expect_none_in(place, &format!("{:?} {}", reply.headers, reply.text()));
    }
    for path in ["/metrics", "/v1/sessions"] {
        secrets.expect_none_in(path, &stage.ask(Method::GET, path).await.text());
    }
    for id in stage.each("id").await {
        secrets
            .expect_none_in("a session's story", &stage.ask(Method::GET, &format!("/v1/sessions/{id}")).await.text());
    }
    stage.end().await;

    let text = log.text();
    assert!(
        text.contains("session_killed") && text.contains(" DEBUG ") && text.contains("opened"),
        "the log was not caught"
    );
    secrets.expect_none_in("the log", &text);
}

#[tokio::test]
async fn no_secret_of_a_registered_playback_is_shown() {
    let log = Log::start();
    let mut secrets = Secrets::default();
    let server = firstlight::license_server().await;
    let true_url = format!("{}?signature=0123456789abcdef", server.url());
    let stage =
        firstlight::plain(&server).settings(|settings| settings.firstlight.license_url = Some(true_url)).start().await;
    let app = firstlight::app(&stage, "tv").with("authorization", "Bearer access-token-of-the-app");
    let reply = app.post(json!({"deviceId": "tv", "contentId": "game"}).to_string()).await;
    let told = reply.json()["data"].clone();
    let url = told["licenseUrl"].as_str().unwrap();
    let token = told["heartbeatToken"].as_str().unwrap();
    secrets.token("heartbeat token", token);
    secrets.token("id of the playback", &url[url.len() - 32..]);
    secrets.token("access token", "access-token-of-the-app");
    secrets.token("signature", "0123456789abcdef");
    assert!(!reply.text().contains("0123456789abcdef"), "the true URL stays here");
    let tv = firstlight::player(&stage, &told);
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(server.only().target, "/acquire?signature=0123456789abcdef");
    // A service that repeats what it was sent.
    let repeats = json!({"header": {"code": -1, "message": token, "errors": [{"code": token, "description": token}]}});
    stage.headend.fault("fl-heartbeat", json!({"status": 503, "body": repeats}), 1).await;
    stage.headend.nth("fl-heartbeat", 3).await;
    stage.headend.fault("fl-heartbeat", json!({"status": 410, "body": repeats}), 1).await;
    let session = stage.only_session("killed").await;
    let refused = tv.post(CLEARKEY).await;
    secrets.expect_none_in("a refusal", &format!("{:?} {}", refused.headers, refused.text()));
    secrets.expect_none_in("a session's story", &session.to_string());
    for path in ["/metrics", "/v1/sessions"] {
        secrets.expect_none_in(path, &stage.ask(Method::GET, path).await.text());
    }
    stage.end().await;
    let text = log.text();
    assert!(text.contains("session_killed") && text.contains("heartbeat-error"), "the log was not caught");
    secrets.expect_none_in("the log", &text);
}
