//! Tests several tokens in one header, and several spellings of one token: neither hides a kill or evades the count.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use crate::player::{CLEARKEY, Player};
use crate::stage::Stage;
use crate::upstream::{LICENSE, Upstream, good};

/// An unsigned token.
fn forged(claims: &Value) -> String {
    format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

async fn kill_all(stage: &Stage) {
    for id in stage.each("id").await {
        assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
    }
}

async fn ask(stage: &Stage, device: &str, tokens: &str) -> (u16, String) {
    let tv: Player = stage.player_with(device, tokens);
    let reply = tv.post(CLEARKEY).await;
    if reply.is_good() { (200, String::new()) } else { reply.error() }
}

/// The same bytes for a decoder that ignores the unused bits of the last digit.
fn with_other_unused_bits(token: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (kept, last) = token.split_at(token.len() - 1);
    let at = DIGITS.iter().position(|digit| *digit == last.as_bytes()[0]).unwrap();
    format!("{kept}{}", char::from(DIGITS[at ^ 1]))
}

#[tokio::test]
async fn a_killed_token_plays_in_no_spelling_and_no_list() {
    // Takes whatever one of the listed tokens allows, as decoders and servers do.
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let killed = stage.player("tv", "news").await.token;
    assert_eq!(ask(&stage, "tv", &killed).await.0, 200);
    kill_all(&stage).await;
    let fresh = stage.player("tv", "film").await.token;
    let (signed, signature) = killed.rsplit_once('.').unwrap();
    let junk = format!("{signed}.{}!{}", &signature[..9], &signature[9..]);
    let standard = format!("{signed}.{}", signature.replace('-', "+").replace('_', "/"));
    let key = forged(&json!({"typ": "Kc"}));
    let content = forged(&json!({"contentRights": [{"contentId": "free"}]}));
    let (setups, licenses) = (stage.headend.count("setup").await, server.seen().len());
    let rows = [
        (killed.clone(), "session_killed"),
        (with_other_unused_bits(&killed), "session_killed"),
        (junk, "session_killed"),
        (standard, "session_killed"),
        (format!("{killed}=="), "session_killed"),
        (format!("e30.e30.x,{killed}"), "session_killed"),
        (format!("{killed},e30.e30.x"), "session_killed"),
        (format!("{key},{killed}"), "session_killed"),
        (format!("opaque,{killed}"), "session_killed"),
        (format!("{content},{killed}"), "session_killed"),
        (format!("{fresh},{killed}"), "session_killed"),
        (format!("{fresh},{content},{}", with_other_unused_bits(&killed)), "session_killed"),
        // It is unknown which of them is the content token.
        (format!("{killed},{fresh}"), "token_ambiguous"),
        (format!("{content},{fresh}"), "token_ambiguous"),
    ];
    for (tokens, error) in rows {
        for device in ["tv", "phone"] {
            assert_eq!(ask(&stage, device, &tokens).await, (403, error.to_owned()), "{device} {tokens}");
        }
    }
    assert_eq!((stage.headend.count("setup").await, server.seen().len()), (setups, licenses));
    assert_eq!(ask(&stage, "tv", &fresh).await.0, 200, "a new token is a new playback");
    stage.end().await;
}

#[tokio::test]
async fn a_token_beside_the_content_token_takes_no_session_out_of_the_count() {
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let no_session = json!({"sessionControl": {"sessionControlEnabled": false}});
    for (device, beside) in [("one", json!({})), ("two", json!({"typ": "Kc"})), ("three", no_session)] {
        let good = stage.player_of(device, device, "news").await.token;
        let answer = ask(&stage, device, &format!("{},{good}", forged(&beside))).await;
        // The simulated head-end accepts no list with a broken token, and no such call passes without it.
        assert_eq!(answer, (403, "token_rejected".to_owned()), "{beside}");
    }
    assert_eq!((stage.headend.count("setup").await, server.seen().len()), (3, 0));
    stage.end().await;
}

/// An unreadable token, as the head-end encrypts its own.
const ENCRYPTED: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0.a2V5.aXY.Y2lwaGVydGV4dA.dGFn";

/// The license server takes whichever token it likes, so one that wants no session speaks for itself alone.
#[tokio::test]
async fn a_forged_token_in_any_position_takes_no_encrypted_one_out_of_its_session() {
    let server = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let places = "content-token = [\"header:nv-authorizations\", \"query:token\"]\nauthority = \"head-end\"";
    let stage = Stage::script().upstream("/license", &server.url(), places).start().await;
    let off = json!({"sessionControlEnabled": false});
    let [deep, flat] = [json!({"contentRights": [{"sessionControl": off}]}), json!({"sessionControl": off})];
    let soap = |custom: Option<&str>, nonce: &str| crate::player::playready(custom, nonce);
    let mut setups = 0;
    for free in [deep, flat, json!({}), json!({"contentRights": [{"contentId": "free"}]})] {
        let free = forged(&free);
        let at = |tokens: &str| stage.player_with("tv", tokens);
        let calls = [
            at(&format!("{free},{ENCRYPTED}")).post(CLEARKEY),
            at(&format!("{ENCRYPTED},{free}")).post(CLEARKEY),
            at(&format!("{free},opaque")).post(CLEARKEY),
            at(&free).post(CLEARKEY).below(&format!("?token={ENCRYPTED}")),
            at(&free).post(CLEARKEY).below("?token=opaque"),
            at(ENCRYPTED).post(CLEARKEY).below(&format!("?token={free}")),
            at(&free).post(soap(Some(ENCRYPTED), "one")),
            at(&free).post(soap(Some(&forged(&json!({"sessionControl": {}}))), "two")),
        ];
        for (place, call) in calls.into_iter().enumerate() {
            // The head-end knows none of these.
            // A device of its own: a refusal is remembered.
            let reply = call.header("x-device-id", &format!("tv-{setups}")).await;
            assert!(!reply.is_good() && reply.text().contains("token_rejected"), "{place} {free}: {}", reply.text());
            setups += 1;
            assert_eq!((stage.headend.count("setup").await, server.seen().len()), (setups, 0), "{place} {free}");
        }
    }
    stage.end().await;
}

#[tokio::test]
async fn a_token_without_session_control_gets_no_session_alone_or_beside_another() {
    let server = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let places = "content-token = [\"header:nv-authorizations\", \"query:token\"]\nauthority = \"head-end\"";
    let stage = Stage::script().upstream("/license", &server.url(), places).start().await;
    let free = forged(&json!({"contentRights": [{"contentId": "free"}]}));
    let (key, device) = (forged(&json!({"typ": "Kc"})), forged(&json!({"typ": "DevAuthN", "sessionControl": {}})));
    let tv = |tokens: &str| stage.player_with("tv", tokens);
    let calls = [
        tv(&free).post(CLEARKEY),
        tv(&format!("{free},{key}")).post(CLEARKEY),
        tv(&format!("{free},{device}")).post(CLEARKEY),
        tv(&free).post(CLEARKEY).below(&format!("?token={free}")),
        tv(&free).post(crate::player::playready(Some("what an app says"), "one")),
    ];
    for (place, call) in calls.into_iter().enumerate() {
        assert!(call.await.is_good(), "{place}");
    }
    assert_eq!((stage.headend.count("setup").await, server.seen().len()), (0, 5));
    stage.end().await;
}

/// The app's own tokens have no claims that identify them.
#[tokio::test]
async fn a_call_may_bring_only_one_of_an_apps_own_tokens() {
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let authority = "[[authority]]\nname = \"home\"\nkind = \"embedded\"";
    let stage =
        Stage::script().authority(authority).upstream("/license", &server.url(), "authority = \"home\"").start().await;
    let own = forged(&json!({"user": "ann"}));
    for other in [json!({}), json!({"contentRights": [{"contentId": "x"}]}), json!({"user": "bob"})] {
        for tokens in [format!("{},{own}", forged(&other)), format!("{own},{}", forged(&other))] {
            assert_eq!(ask(&stage, "tv", &tokens).await, (403, "token_ambiguous".to_owned()), "{other}");
        }
    }
    assert!(server.seen().is_empty());
    assert_eq!(ask(&stage, "tv", &format!("{own},{own}")).await.0, 200);
    stage.end().await;
}
