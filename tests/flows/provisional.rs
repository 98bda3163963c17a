//! Tests that nothing irreversible happens before the license server accepts a call: a place of the embedded authority
//! stays provisional until then.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::media::{self, Origin};
use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::upstream::{LICENSE, Upstream, good, nobody, status};

fn home(server: &str, lines: &str) -> Script {
    let authority = format!("[[authority]]\nname = \"home\"\nkind = \"embedded\"\n{lines}");
    let route = "authority = \"home\"\nsession-control = \"always\"";
    Stage::script().authority(&authority).upstream("/license", server, route)
}

/// A player of the account `ann`, with an unsigned token.
fn of_ann(stage: &Stage, device: &str, authorization: &str) -> Player {
    let claims = json!({"accountId": "ann", "jti": device}).to_string();
    let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims));
    stage.player_with(device, &token).with("authorization", authorization)
}

async fn held(stage: &Stage) -> Vec<String> {
    let slots = stage.ask(Method::GET, "/v1/authorities/home/slots").await.json();
    slots["slots"].as_array().unwrap().iter().map(|slot| slot["device"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_forged_account_ends_no_session_if_the_license_server_declines() {
    let server = Upstream::answering(|asked| match asked.header("authorization").parse() {
        Ok(code) => status(code),
        Err(_) => good("application/json", LICENSE),
    })
    .await;
    let stage = home(&server.url(), "on-limit = \"end-oldest\"").start().await;
    let tv = of_ann(&stage, "tv", "good");
    assert!(tv.post(CLEARKEY).await.is_good());
    for code in [400, 401, 403, 404, 429, 500, 503] {
        let thief = of_ann(&stage, &format!("thief-{code}"), &code.to_string());
        assert!(!thief.post(CLEARKEY).await.is_good());
        assert_eq!(held(&stage).await, ["tv"], "{code}: its place is free with the call");
        assert!(tv.post(CLEARKEY).await.is_good(), "{code}: the victim plays on");
    }
    assert_eq!(stage.metric("slots_ended_total", &["reason=\"replaced\""]).await, 0.0);
    // Whom the license server accepts takes the place.
    assert!(of_ann(&stage, "phone", "good").post(CLEARKEY).await.is_good());
    assert_eq!(held(&stage).await, ["phone"]);
    let replaced = tv.post(CLEARKEY).await;
    assert_eq!(
        (replaced.error().1.as_str(), &replaced.json()["message"]),
        ("session_killed", &json!("another device plays now"))
    );
    stage.end().await;
}

/// The license server denies with a success status.
#[tokio::test]
async fn a_forged_account_ends_no_session_by_a_reply_without_a_license() {
    let rows: [(u16, &'static str); 9] = [
        (200, ""),
        (200, " \r\n"),
        (204, ""),
        (206, "part"),
        (200, "{\"keys\":[]}"),
        (200, "{\"status\":\"ERROR\",\"errorCode\":4000,\"trace\":\"0cbe9b6a-7a3e-4a6e-9d68-3d3a5c2d2f11\"}"),
        (200, "<!doctype html><title>Log in</title>"),
        (200, "<html>login</html>"),
        (200, "<error code=\"7\"/>"),
    ];
    let server = Upstream::answering(move |asked| match asked.header("authorization").parse::<usize>() {
        Ok(row) => {
            let (code, body) = rows[row];
            let mut reply = good("text/plain", body);
            *reply.status_mut() = code.try_into().unwrap();
            reply
        }
        Err(_) => good("application/json", LICENSE),
    })
    .await;
    let stage = home(&server.url(), "on-limit = \"end-oldest\"").start().await;
    let tv = of_ann(&stage, "tv", "good");
    assert!(tv.post(CLEARKEY).await.is_good());
    for (row, (code, body)) in rows.into_iter().enumerate() {
        let thief = of_ann(&stage, &format!("thief-{row}"), &row.to_string());
        let reply = thief.post(CLEARKEY).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (code, body.to_owned()), "it comes as it is");
        assert_eq!(held(&stage).await, ["tv"], "{code} {body}: its place is free with the call");
        assert!(tv.post(CLEARKEY).await.is_good(), "{code} {body}: the victim plays on");
    }
    assert_eq!(stage.metric("slots_ended_total", &["reason=\"replaced\""]).await, 0.0);
    stage.end().await;
}

#[tokio::test]
async fn an_unreachable_license_server_ends_no_session_and_holds_no_place() {
    let stage = home(&format!("http://{}/", nobody().await), "on-limit = \"end-oldest\"").start().await;
    for device in ["tv", "phone"] {
        assert!(!of_ann(&stage, device, "good").post(CLEARKEY).await.is_good());
        assert_eq!(held(&stage).await, [""; 0]);
    }
    stage.end().await;
}

/// A license server that lets its first call wait and then declines it, and accepts all others.
async fn slow_to_decline() -> (Upstream, mpsc::UnboundedReceiver<()>, Arc<Notify>) {
    let (tell, asked) = mpsc::unbounded_channel();
    let (go, first) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
    let waits = go.clone();
    let upstream = Upstream::raw(move |mut stream| {
        let (tell, waits, first) = (tell.clone(), waits.clone(), first.swap(false, Ordering::SeqCst));
        async move {
            let line = if first {
                let may = waits.notified();
                let _over = tell.send(());
                may.await;
                "403 Forbidden"
            } else {
                "200 OK"
            };
            let reply = format!(
                "HTTP/1.1 {line}\r\ncontent-length: 84\r\nconnection: close\r\n\r\n{{\"keys\":[{{\"k\":\"AAECAwQFBgcICQoLDA0ODw\",\"kid\":\"ABEiM0RVZneImaq7zN3u_w\",\"kty\":\"oct\"}}]}}"
            );
            let _gone = stream.write_all(reply.as_bytes()).await;
        }
    });
    (upstream.await, asked, go)
}

#[tokio::test]
async fn a_declined_call_takes_no_others_place_for_longer_than_the_call() {
    let (server, mut asked, go) = slow_to_decline().await;
    let stage = home(&server.url(), "sessions-per-account = 1").start().await;
    let mut calls = JoinSet::new();
    calls.spawn(of_ann(&stage, "thief", "good").post(CLEARKEY).into_future());
    asked.recv().await.unwrap();
    // The last place may be free again within the next caller's call, which waits for that.
    let mut tv = JoinSet::new();
    tv.spawn(of_ann(&stage, "tv", "good").post(CLEARKEY).into_future());
    stage.eventually("the tv waits", async || stage.each("device").await.len() == 2).await;
    go.notify_waiters();
    assert_eq!(calls.join_next().await.unwrap().unwrap().status, 403);
    assert!(tv.join_next().await.unwrap().unwrap().is_good());
    assert_eq!(held(&stage).await, ["tv"]);
    stage.end().await;
}

#[tokio::test]
async fn a_first_manifest_that_never_came_ends_no_running_playback() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n";
    let pages = ["/vod/a.m3u8", "/vod/b.m3u8"].map(|path| (path, media::HLS, text.to_owned()));
    let origin = Origin::with(pages.into()).await;
    let tables = format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"peer\"]\ninterval = \"200ms\"\non-limit = \"end-oldest\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{}/vod\"\nauthority = \"home\"\n",
        origin.url()
    );
    let stage = Stage::script().tables(&tables).start().await;
    let (own, reply) = media::begin(&stage, "tv", "/media/a.m3u8").await;
    assert!(reply.is_good());
    // Sent to a path of its own, and has not asked there.
    assert_eq!(media::fetch(&stage, "phone", "/media/b.m3u8").await.status, 302);
    assert!(media::fetch(&stage, "tv", &own).await.is_good());
    let (phone, reply) = media::begin(&stage, "pad", "/media/b.m3u8").await;
    assert!(reply.is_good());
    stage.eventually("replaced", async || stage.each("state").await.contains(&"killed".to_owned())).await;
    assert_eq!(media::fetch(&stage, "tv", &own).await.error(), (403, "session_killed".to_owned()));
    assert!(media::fetch(&stage, "pad", &phone).await.is_good());
    stage.end().await;
}
