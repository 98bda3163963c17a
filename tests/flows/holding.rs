//! Tests short outages of servers: calls are held and retried, except those that may have taken effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::player::CLEARKEY;
use crate::stage::Stage;
use crate::upstream::{Upstream, good, nobody, status};

/// Time that a service takes to restart.
const AWAY: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_short_outage_of_the_license_server_costs_its_players_nothing() {
    let address = nobody().await;
    let url = format!("http://{address}/acquire");
    let stage = Stage::script().upstream("/license", &url, "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let calls = async { tokio::join!(tv.post(CLEARKEY), tv.license("video")) };
    let back = async {
        tokio::time::sleep(AWAY).await;
        Upstream::at(address, |_| good("application/octet-stream", crate::upstream::OPAQUE)).await
    };
    let ((clearkey, widevine), server) = tokio::join!(calls, back);
    assert!(clearkey.is_good() && widevine.is_good());
    assert_eq!(server.seen().len(), 2, "each was asked once");
    assert!(stage.metric("upstream_retries_total", &["result=\"answered\"", "route=\"/license\""]).await >= 4.0);
    assert_eq!(stage.metric("upstream_faults_total", &[]).await, 0.0);
    stage.end().await;
}

#[tokio::test]
async fn a_route_that_does_not_retry_fails_at_the_first_attempt() {
    let url = format!("http://{}/acquire", nobody().await);
    let stage = Stage::script().upstream("/license", &url, "retry-unreachable = false").start().await;
    let refused = stage.stranger().post(CLEARKEY).await;
    assert_eq!(refused.error(), (503, "license_server_connect".to_owned()));
    assert_eq!(stage.metric("upstream_retries_total", &[]).await, 0.0);
    stage.end().await;
}

/// A server that replies with 503 once, and then succeeds.
async fn stumbling() -> Upstream {
    let calls = Arc::new(AtomicUsize::new(0));
    Upstream::answering(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => status(503),
        _ => good("application/octet-stream", crate::upstream::OPAQUE),
    })
    .await
}

#[tokio::test]
async fn a_gateway_error_is_retried_for_renewals_alone_unless_the_route_says_otherwise() {
    // The route's line, and whether a license and a renewal are asked again.
    let rows = [
        ("", false, true),
        ("retry-gateway-errors = \"renewals\"", false, true),
        ("retry-gateway-errors = \"all\"", true, true),
        ("retry-gateway-errors = \"none\"", false, false),
    ];
    for (line, license, renewal) in rows {
        for (renews, again) in [(false, license), (true, renewal)] {
            let server = stumbling().await;
            let stage = Stage::script().upstream("/license", &server.url(), line).start().await;
            let tv = stage.stranger();
            let reply = if renews { tv.renew("video").await } else { tv.license("video").await };
            let calls = if again { 2 } else { 1 };
            assert_eq!((reply.is_good(), server.seen().len()), (again, calls), "{line} {renews}");
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn a_gateway_error_that_stays_is_passed_on_within_the_call() {
    let server = Upstream::answering(|_| status(502)).await;
    let script = Stage::script().upstream("/license", &server.url(), "timeout = \"500ms\"");
    let stage = script.limits("call = \"1s\"").authority("timeout = \"500ms\"").start().await;
    assert_eq!(stage.stranger().renew("video").await.status, 502);
    assert!(server.seen().len() > 1);
    stage.end().await;
}

#[tokio::test]
async fn a_short_outage_of_an_origin_interrupts_no_player() {
    let address = nobody().await;
    let origin = format!("kind = \"media\"\norigin = \"http://{address}/vod\"");
    let stage = Stage::clearkey().tables(&format!("[[route]]\npath = \"/media\"\n{origin}\n")).start().await;
    let tv = stage.stranger().at("/media");
    let back = async {
        tokio::time::sleep(AWAY).await;
        Upstream::at(address, |_| good("application/vnd.apple.mpegurl", "#EXTM3U\n#EXT-X-ENDLIST\n")).await
    };
    let get = tv.post("").method(http::Method::GET).below("/film/index.m3u8");
    let (reply, _origin) = tokio::join!(get.into_future(), back);
    // A playback begins with a path of its own.
    assert!([200, 302, 307].contains(&reply.status.as_u16()), "{}", reply.status);
    stage.end().await;
}

#[tokio::test]
async fn a_short_outage_of_the_session_service_refuses_no_player() {
    let address = nobody().await;
    let setup = format!("setup-url = \"http://{address}/setup\"");
    let stage = Stage::clearkey().authority(&setup).start().await;
    let tv = stage.player("tv", "news").await;
    let back = async {
        tokio::time::sleep(AWAY / 2).await;
        let session = r#"{"heartBeat":30,"sessionToken":"session"}"#;
        Upstream::at(address, move |_| good("application/json", session)).await
    };
    let (reply, authority) = tokio::join!(tv.post(CLEARKEY).into_future(), back);
    // The license server of this stage does not know that session.
    assert_eq!(reply.status, 400);
    assert_eq!(authority.only().target, "/setup");
    assert_eq!(stage.metric("authority_calls_total", &["call=\"open\"", "result=\"granted\""]).await, 1.0);
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn a_wrong_path_at_the_session_service_is_named() {
    let server = Upstream::answering(|_| {
        let mut reply = status(404);
        *reply.body_mut() = "no such page".into();
        reply
    })
    .await;
    let setup = format!("setup-url = \"http://{}/TENANT/wrong/path/v1/sessions/setup\"", server.address);
    let stage = Stage::clearkey().authority(&setup).start().await;
    let refused = stage.player("tv", "news").await.post(CLEARKEY).await.json();
    let message = refused["message"].as_str().unwrap();
    let url = format!("http://{}/TENANT/wrong/path/v1/sessions/setup", server.address);
    assert!(message.contains(&url) && message.contains("path"), "{message}");
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named_with_its_port() {
    let address = nobody().await;
    let servers = [
        (format!("http://{address}/acquire"), address.to_string()),
        ("http://no-such-host.invalid:8001/acquire".to_owned(), "no-such-host.invalid:8001".to_owned()),
        (format!("https://{address}/acquire"), address.to_string()),
    ];
    for (server, at) in servers {
        let script = Stage::script().upstream("/license", &server, "retry-unreachable = false");
        let stage = script.start().await;
        let refused = stage.stranger().post(CLEARKEY).await.json();
        assert!(refused["message"].as_str().unwrap().starts_with(&at), "{refused}");
        stage.end().await;
    }
    let stage = Stage::clearkey().authority(&format!("timeout = \"300ms\"\nsetup-url = \"http://{address}/setup\""));
    let stage = stage.start().await;
    let refused = stage.player("tv", "news").await.post(CLEARKEY).await.json();
    assert!(refused["message"].as_str().unwrap().starts_with(&address.to_string()), "{refused}");
    stage.end().await;
}
