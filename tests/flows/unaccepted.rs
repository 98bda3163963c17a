//! Tests that a call that no server has accepted changes nothing that sidebeat remembers of a playback.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::json;

use crate::media::{self, Origin};
use crate::player::{CLEARKEY, Player, playready, widevine_renewal};
use crate::stage::Stage;
use crate::upstream::{Upstream, good, status};

/// An unsigned token with the claims of this one.
fn forged(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    format!("{}.{claims}.Zm9yZ2Vk", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#))
}

const FORGED: &str = ".Zm9yZ2Vk";

/// Gives licenses to good tokens, and certificates to all; for its own PlayReady sessions it replies like a head-end
/// for a killed one.
async fn license_server() -> Upstream {
    Upstream::answering(|asked| {
        let is_forged = asked.headers.values().any(|value| value.to_str().is_ok_and(|value| value.contains(FORGED)));
        match &asked.body[..] {
            [0x08, 0x04] => good("application/octet-stream", &b"\x08\x05\x12\x02ok"[..]),
            body if is_forged && body.starts_with(b"<") => {
                status(500).map(|_| json!({"errorCode": 6002, "message": "Internal error"}).to_string().into())
            }
            _ if is_forged => status(403),
            _ => good("application/octet-stream", &b"\x08\x02license"[..]),
        }
    })
    .await
}

/// The calls of an attacker that knows the device and the content of a playback, and none of its tokens.
async fn attack(thief: &Player) {
    for key_session in (0..20).map(|number| format!("forged {number}")) {
        let _declined = thief.license(&key_session).await;
    }
    assert!(thief.post(&b"\x08\x04"[..]).await.is_good(), "a certificate is for everybody");
    let _granted_to_the_victims_session = thief.post(widevine_renewal("forged 3")).await;
    let _declined = thief.release("forged 3").await;
    let killed = thief.post(playready(None, "nonce")).header("content-type", "text/xml; charset=utf-8").await;
    assert!(killed.text().contains("session_killed"), "{}", killed.text());
    for says in ["sta=q", "sta=e", "sta=f"] {
        let report = format!("e=ps,{says},ts=1764460800000,v=2\n");
        assert_eq!(thief.post(report).below("/~report").await.status, 204);
    }
    assert_eq!(thief.stop().await.status, 204);
}

#[tokio::test]
async fn a_token_that_was_not_accepted_controls_no_playback() {
    let server = license_server().await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good() && tv.renew("video").await.is_good());
    let id = stage.only_session("live").await["id"].clone();

    attack(&stage.player_with("tv", &forged(&tv.token))).await;
    let session = stage.only_session("live").await;
    assert_eq!((&session["id"], &session["key_sessions"]), (&id, &json!(1)));
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("teardown").await), (1, 0));
    assert!(tv.renew("video").await.is_good(), "the victim plays on");

    // Nor is the victim's own stop one of several players'.
    assert_eq!(tv.stop().await.status, 204);
    stage.eventually("stopped", async || stage.each("state").await == ["closed"]).await;
    stage.end().await;
}

#[tokio::test]
async fn a_token_that_the_license_server_accepted_controls_its_playback() {
    let server = license_server().await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let another = stage.headend.token("account=ann&device=tv&content=news&once=true").await;
    let refreshed = stage.player_with("tv", &another);
    assert!(tv.license("video").await.is_good() && refreshed.license("video, again").await.is_good());
    stage.only_session("live").await;
    assert_eq!(refreshed.stop().await.status, 204);
    stage.eventually("stopped", async || stage.each("state").await == ["closed"]).await;
    stage.end().await;
}

#[tokio::test]
async fn a_device_alone_controls_no_playback_that_began_with_a_token() {
    let server = license_server().await;
    let authority = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = 9\n";
    let route = "[[route]]\npath = \"/bare\"\nauthority = \"home\"\nlicense-server = \"";
    let tables = format!("{authority}{route}{}\"\n", server.url());
    let script = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").tables(&tables);
    let stage = script.start().await;
    let tv = stage.player("tv", "news").await;
    let bare = stage.stranger().with("x-device-id", "tv").at("/bare");
    assert!(tv.license("video").await.is_good() && bare.post(CLEARKEY).await.is_good());
    stage.eventually("both play", async || stage.each("state").await == ["live", "live"]).await;

    let thief = tv.clone().without("nv-authorizations");
    for says in ["sta=q", "sta=e", "sta=f", "sta=a"] {
        let report = format!("e=ti,{says},ts=1764460800000,v=2\n");
        assert_eq!(thief.post(report).below("/~report").await.status, 204);
    }
    assert_eq!(thief.stop().await.status, 204);
    let of = async |authority: &str| {
        let rows = stage.sessions().await;
        let row = rows.iter().find(|row| row["authority"] == authority).unwrap();
        (row["state"].as_str().unwrap().to_owned(), row["player"].clone())
    };
    assert_eq!(of("head-end").await, ("live".to_owned(), json!(null)), "nothing was believed of it");

    // If only the device was ever named, a stop needs no more.
    assert_eq!(bare.stop().await.status, 204);
    stage.eventually("stopped", async || of("home").await.0 == "closed").await;
    assert_eq!(of("head-end").await.0, "live");
    stage.end().await;
}

#[tokio::test]
async fn a_first_manifest_with_a_forged_token_joins_no_playback() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n7.m4s\n".to_owned();
    let origin = Origin::with(vec![("/vod/live.m3u8", media::HLS, text)]).await;
    let stage = media::route(&origin, "content-token = [\"query:token\"]").start().await;
    let claims = URL_SAFE_NO_PAD.encode(json!({"jti": "one"}).to_string());
    let token = format!("{}.{claims}.c2lnbmVk", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
    let (_, reply) = media::begin(&stage, "tv", &format!("/media/live.m3u8?token={token}")).await;
    assert!(reply.is_good());
    let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
    let state = async || stage.ask(Method::GET, &format!("/v1/sessions/{id}")).await.json()["state"].clone();

    for query in [format!("?token={}", forged(&token)), String::new()] {
        let sent = media::fetch(&stage, "tv", &format!("/media/live.m3u8{query}")).await;
        let own = sent.header("location").split("/live").next().unwrap().to_owned();
        for stop in [format!("{own}/~stop"), format!("/media/~stop{query}")] {
            let mut thief = stage.stranger().with("x-device-id", "tv");
            thief.path = stop.clone();
            assert_eq!(thief.post("").await.status, 204);
            assert_eq!(state().await, "live", "{stop}");
        }
    }
    // Loaded again with its own token it is the same playback, and can be stopped by that.
    let sent = media::fetch(&stage, "tv", &format!("/media/live.m3u8?token={token}")).await;
    assert_eq!(sent.status, 302);
    let mut tv = stage.stranger().with("x-device-id", "tv");
    tv.path = format!("/media/~stop?token={token}");
    assert_eq!(tv.post("").await.status, 204);
    stage.eventually("stopped", async || state().await == "closed").await;
    stage.end().await;
}
