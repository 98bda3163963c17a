//! Tests that calls without a session pass byte for byte, and dangerous ones do not pass.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::drm;
use crate::media::{HLS, Origin, begin, fetch};
use crate::player::CLEARKEY;
use crate::stage::Stage;
use crate::upstream::{LICENSE, Upstream, good};
use crate::web;

#[tokio::test]
async fn unknown_bodies_pass_byte_for_byte_and_are_counted() {
    let server = Upstream::answering(|asked| good("application/x-any", asked.body.clone())).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let bodies: [Vec<u8>; 5] = [
        b"hello".to_vec(),
        drm::fill(3000, "noise"),
        vec![0xff; 60 * 1024],
        b"{\"question\":42}".to_vec(),
        // A license is no request.
        std::fs::read("tests/vectors/drm/wv_license.bin").unwrap(),
    ];
    for (number, body) in bodies.iter().enumerate() {
        let reply = tv.post(body.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/x-any"));
        assert!(reply.body == *body && server.seen()[number].body == *body, "body {number} was changed");
        // Its own content token stays in the call.
        assert_eq!(server.seen()[number].header("nv-authorizations"), tv.token);
    }
    assert_eq!(stage.metric("unrecognised_total", &["fault=\"unknown\""]).await, 5.0);
    assert!(stage.headend.story().await.is_empty());
    stage.end().await;
}

#[tokio::test]
async fn a_route_without_an_authority_only_passes_and_counts() {
    let server = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let stage = Stage::script().upstream("/license", &server.url(), "headers = [\"nv-authorizations\"]").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(server.only().header("nv-authorizations"), tv.token);
    assert!(stage.sessions().await.is_empty() && stage.headend.story().await.is_empty());
    let labels = ["drm=\"clearkey\"", "kind=\"license-request\"", "outcome=\"passed\"", "route=\"/license\""];
    assert_eq!(stage.metric("license_calls_total", &labels).await, 1.0);
    assert_eq!(tv.stop().await.status, 204);
    stage.end().await;
}

#[tokio::test]
async fn gets_pass_and_other_methods_do_not() {
    let server = Upstream::answering(|_| good("application/octet-stream", &b"certificate"[..])).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let certificate = tv.post("").method(Method::GET).below("/certificates").await;
    assert_eq!((certificate.text().as_str(), server.only().method), ("certificate", Method::GET));
    // Words are no license, but none was asked for, here or in a message for a certificate.
    assert_eq!(tv.post(&[8, 4][..]).await.text(), "certificate");
    assert_eq!(stage.metric("license_calls_total", &["outcome=\"passed\""]).await, 2.0);
    for method in [Method::PUT, Method::DELETE, Method::HEAD, Method::PATCH] {
        let refused = tv.post("").method(method.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "GET, POST, OPTIONS"), "{method}");
    }
    assert_eq!(server.seen().len(), 2);
    stage.end().await;
}

#[tokio::test]
async fn a_path_without_a_route_is_not_found_and_routes_end_at_segments() {
    let server = Upstream::answering(|asked| good("text/plain", asked.target.clone())).await;
    let deep = format!("{}/deep", server.url());
    let stage =
        Stage::script().upstream("/license", &server.url(), "").upstream("/license/deep", &deep, "").start().await;
    let stranger = stage.stranger();
    for (path, target) in
        [("/license/a", "/acquire/a"), ("/license/deep/a", "/acquire/deep/a"), ("/license/deeper", "/acquire/deeper")]
    {
        assert_eq!(stranger.clone().at(path).post("x").await.text(), target);
    }
    for path in ["/", "/licenses", "/other/license", "/admin", "/metrics"] {
        let refused = stranger.clone().at(path).post("x").await;
        assert_eq!(refused.error(), (404, "no_route".to_owned()), "{path}");
    }
    stage.end().await;
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_unread() {
    let server = Upstream::answering(|_| good("text/plain", "")).await;
    let stage = Stage::script().upstream("/license", &server.url(), "").limits("body-max = \"2KiB\"").start().await;
    assert!(stage.stranger().post(vec![1; 2048]).await.is_good());
    let refused = stage.stranger().post(vec![1; 2049]).await;
    assert_eq!((refused.status.as_u16(), refused.header("connection")), (413, "close"));
    assert_eq!(server.seen().len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn a_reply_passes_with_its_status_and_headers_and_is_never_cached() {
    let body = drm::fill(20_000, "reply");
    let answer = body.clone();
    let server = Upstream::answering(move |_| {
        let response = Response::builder().status(402).header("x-reason", "pay").header("cache-control", "max-age=60");
        let response = response.header("content-encoding", "br").header("connection", "x-hop").header("x-hop", "1");
        response.header("content-type", "a/b").body(Bytes::from(answer.clone())).unwrap()
    })
    .await;
    let stage = Stage::script().upstream("/license", &server.url(), "").start().await;
    let reply = stage.stranger().post(CLEARKEY).await;
    assert_eq!(reply.status, 402);
    assert_eq!(reply.body, body);
    for (name, value) in [
        ("x-reason", "pay"),
        ("cache-control", "no-store"),
        ("content-encoding", "br"),
        ("x-hop", ""),
        ("content-type", "a/b"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    assert_eq!(stage.metric("license_calls_total", &["outcome=\"declined\""]).await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_refusal_of_the_license_server_reaches_the_player() {
    // Its codes differ from the session service's: 3002 here is no kill.
    let refusal = r#"{"errorCode":3002,"message":"Not Found"}"#;
    let server = Upstream::answering(move |_| {
        Response::builder().status(404).body(Bytes::from_static(refusal.as_bytes())).unwrap()
    })
    .await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let reply = tv.post(CLEARKEY).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (404, refusal));
    assert_eq!(stage.only_session("live").await["state"], "live");
    stage.end().await;
}

#[tokio::test]
async fn only_listed_headers_reach_the_license_server() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let lines = "authority = \"head-end\"\nheaders = [\"x-correlation-id\", \"x-hop-named\"]";
    let stage = Stage::script().upstream("/license", &server.url(), lines).start().await;
    let tv = stage.player("tv", "news").await;
    let passed = [
        ("accept", "*/*"),
        ("accept-language", "de"),
        ("authorization", "Bearer x"),
        ("content-type", "application/json"),
        ("soapaction", "\"urn:a\""),
        ("user-agent", "test/1"),
        ("x-correlation-id", "42"),
    ];
    let kept_back = [
        ("connection", "x-hop-named, keep-alive"),
        ("cookie", "session=secret"),
        ("expect", "nothing"),
        ("forwarded", "for=10.0.0.1"),
        ("origin", "https://tv.example"),
        ("referer", "https://tv.example/watch"),
        ("te", "trailers"),
        ("x-any", "1"),
        ("x-device-id", "tv"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-hop-named", "1"),
    ];
    let call = passed.iter().chain(&kept_back).fold(tv.post(CLEARKEY), |call, (name, value)| call.header(name, value));
    assert!(call.await.is_good());
    let seen = server.only();
    for (name, value) in passed {
        assert_eq!(seen.header(name), value, "{name}");
    }
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let mut expected: Vec<_> = passed.iter().map(|(name, _)| *name).collect();
    // The reply must not be encoded, or it could not be read.
    assert_eq!(seen.header("accept-encoding"), "identity");
    expected.extend(["accept-encoding", "content-length", "host", "nv-authorizations", "via"]);
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(seen.header("host"), server.address.to_string());
    stage.end().await;
}

#[tokio::test]
async fn the_license_servers_cors_headers_are_replaced() {
    let server = Upstream::answering(|_| {
        let response = Response::builder().header("access-control-allow-origin", "*").header("vary", "accept");
        response.header("access-control-allow-methods", "PUT").body(Bytes::from_static(b"{}")).unwrap()
    })
    .await;
    let stage = Stage::script().upstream("/license", &server.url(), "").start().await;
    let reply = stage.stranger().in_a_browser().post(CLEARKEY).await;
    let all = |name: &str| reply.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("access-control-allow-origin"), ["https://tv.example"]);
    assert_eq!(all("access-control-allow-methods"), [""; 0]);
    assert_eq!(all("vary"), ["accept", "Origin"]);

    let preflight = stage.stranger().in_a_browser().post("").method(Method::OPTIONS);
    let preflight = preflight.header("access-control-request-headers", "content-type,nv-authorizations").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-headers"), "content-type,nv-authorizations");
    assert_eq!(server.seen().len(), 1, "a preflight is ours to answer");
    stage.end().await;
}

#[tokio::test]
async fn session_control_follows_the_token_or_the_route() {
    let rows = [
        ("auto", "true", 1),
        ("auto", "false", 0),
        ("always", "true", 1),
        ("always", "false", 1),
        ("never", "true", 0),
    ];
    for (control, session, setups) in rows {
        let server = Upstream::answering(|_| good("application/json", "{}")).await;
        let lines = format!("authority = \"head-end\"\nsession-control = \"{control}\"");
        let stage = Stage::script().upstream("/license", &server.url(), &lines).start().await;
        let token = stage.headend.token(&format!("device=tv&session={session}")).await;
        let tv = stage.player_with("tv", &token);
        assert!(tv.post(CLEARKEY).await.is_good(), "{control} {session}");
        assert_eq!(stage.headend.count("setup").await, setups, "{control} {session}");
        let sent = server.only().header("nv-authorizations").to_owned();
        assert!(sent.starts_with(&token), "{control} {session}");
        assert_eq!(sent.contains(','), control != "never" && session == "true", "{control} {session}");
        stage.end().await;
    }
}

#[tokio::test]
async fn an_unreadable_token_still_asks_for_a_session() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let session = r#"{"heartBeat":30,"sessionToken":"opaque-session"}"#;
    stage.headend.fault("setup", serde_json::json!({"status": 200, "body": session}), 1).await;
    stage.headend.fault("teardown", serde_json::json!({"status": 204}), 1).await;
    let tv = stage.player_with("tv", "opaque-content");
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(server.only().header("nv-authorizations"), "opaque-content,opaque-session");
    stage.end().await;
}

#[tokio::test]
async fn a_scheme_before_the_token_goes_no_further() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let route = "authority = \"head-end\"\ncontent-token = [\"header:authorization\", \"query:token\"]";
    let stage = Stage::script().upstream("/license", &server.url(), route).start().await;
    let tv = stage.player("tv", "news").await.without("nv-authorizations");
    let license = tv.clone().with("authorization", &format!("Bearer {}", tv.token)).post(CLEARKEY).await;
    assert!(license.is_good(), "{}", license.text());
    assert!(server.only().header("nv-authorizations").starts_with(&format!("{},", tv.token)));
    // A beacon has no header: its token is the same.
    assert_eq!(tv.post("").below(&format!("/~stop?token={}", tv.token)).await.status, 204);
    stage.headend.next("teardown", 0).await;
    stage.end().await;
}

#[tokio::test]
async fn a_token_that_is_passed_on_and_replaced_is_sent_once() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let route = "authority = \"head-end\"\nheaders = [\"nv-authorizations\"]";
    let stage = Stage::script().upstream("/license", &server.url(), route).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let sent = server.only();
    assert_eq!(sent.headers.get_all("nv-authorizations").iter().count(), 1);
    assert!(sent.header("nv-authorizations").starts_with(&format!("{},", tv.token)));
    stage.end().await;
}

#[tokio::test]
async fn the_time_for_the_body_is_part_of_the_calls_time() {
    let server = Upstream::answering(|_| good("a/b", "{}")).await;
    let limits = "call = \"300ms\"\nbody = \"1m\"";
    let authority = "timeout = \"100ms\"";
    let route = "timeout = \"200ms\"";
    let stage = Stage::script().limits(limits).authority(authority).upstream("/license", &server.url(), route);
    let stage = stage.start().await;
    let mut slow = tokio::net::TcpStream::connect(stage.proxy).await.unwrap();
    slow.write_all(b"POST /license HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx").await.unwrap();
    let mut reply = [0; 12];
    tokio::time::timeout(Duration::from_secs(20), slow.read_exact(&mut reply)).await.expect("in time").unwrap();
    assert_eq!(&reply, b"HTTP/1.1 408");
    stage.end().await;
}

/// The license server has what the body left of the call's time.
#[tokio::test]
async fn a_slow_body_gives_its_call_no_more_time() {
    let silent = Upstream::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let (limits, authority) = ("call = \"5s\"", "timeout = \"1s\"");
    let script =
        Stage::script().limits(limits).authority(authority).upstream("/license", &silent.url(), "timeout = \"4900ms\"");
    let stage = script.start().await;
    let mut slow = tokio::net::TcpStream::connect(stage.proxy).await.unwrap();
    slow.write_all(b"POST /license HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nx").await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    slow.write_all(b"x").await.unwrap();
    let mut reply = [0; 12];
    // With the call's whole time it would come four seconds later.
    tokio::time::timeout(Duration::from_secs(3), slow.read_exact(&mut reply)).await.expect("in time").unwrap();
    assert_eq!(&reply, b"HTTP/1.1 504");
    stage.end().await;
}

#[tokio::test]
async fn the_license_header_is_composed_as_the_authority_wants_it() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let authority = "license-authorization = \"{session}\"\n[authority.headers]\nx-api-key = \"k\"";
    let route = "authority = \"head-end\"";
    let stage = Stage::script().authority(authority).upstream("/license", &server.url(), route).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let sent = server.only().header("nv-authorizations").to_owned();
    assert!(!sent.contains(',') && sent != tv.token && sent.split('.').count() == 3);
    stage.end().await;
}

#[tokio::test]
async fn a_call_without_a_token_in_a_running_session_goes_on_with_the_sessions_own() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    // FairPlay shows nothing of what it is for.
    assert!(tv.post(drm::fairplay_spc("first")).await.is_good());
    assert!(tv.clone().without("nv-authorizations").post(drm::fairplay_spc("renewal")).await.is_good());
    assert_eq!((stage.headend.count("setup").await, server.seen().len()), (1, 2));
    for seen in server.seen() {
        let (content, session) = seen.header("nv-authorizations").split_once(',').unwrap();
        assert!(content == tv.token && session.split('.').count() == 3);
    }
    stage.end().await;
}

#[tokio::test]
async fn http_2_players_are_served_and_refused_alike() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::script().secure(folder.path().to_owned()).route("/license", "clearkey", "").start().await;
    let tv = stage.player("tv", "news").await;
    let mut client = web::Http2::connect(tv.proxy, &folder.path().join("certs/ca.pem"), &stage.headend.tasks).await;
    let token = &tv.token;
    let call = || {
        let request = http::Request::builder().method(Method::POST).uri("https://localhost/license");
        let request = request.header("nv-authorizations", token).header("x-device-id", "tv");
        request.body(Full::from(CLEARKEY)).unwrap()
    };
    assert!(client.send(call()).await.json()["keys"].is_array());
    stage.headend.kill_account("ann").await;
    let id = stage.each("id").await.remove(0);
    stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
    let refused = client.send(call()).await;
    // There is no reason phrase in HTTP/2: the reason stands in the body and in a header.
    assert_eq!(refused.error(), (403, "session_killed".to_owned()));
    assert_eq!((refused.header("x-ssm-error"), refused.header("connection")), ("session_killed", ""));
    stage.end().await;
}

/// Servers see through which proxy a request came (RFC 9110, section 7.6.3), and a request that comes back is refused.
#[tokio::test]
async fn a_forwarded_request_names_the_proxy_and_is_refused_when_it_comes_back() {
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let origin = Origin::with(vec![("/vod/live.m3u8", HLS, "#EXTM3U\n#EXTINF:4,\n7.m4s\n".to_owned())]).await;
    let tables = format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{}/vod\"\nauthority = \"home\"\n",
        origin.url()
    );
    let stage = Stage::script().upstream("/license", &server.url(), "").tables(&tables).start().await;
    let tv = stage.stranger();
    assert!(tv.post(CLEARKEY).await.is_good() && tv.post(CLEARKEY).header("via", "1.0 fred").await.is_good());
    let own = server.seen()[0].header("via").to_owned();
    assert!(own.starts_with("1.1 sidebeat-") && own.len() == "1.1 sidebeat-00000000".len(), "{own}");
    assert_eq!(server.seen()[1].header("via"), format!("1.0 fred, {own}"));
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    assert!(origin.heads()[0].to_ascii_lowercase().contains(&format!("\r\nvia: {own}\r\n")), "{:?}", origin.heads());
    for path in ["/license", "/media/live.m3u8", &path, "/license/~stop", "/elsewhere"] {
        let again = tv.clone().at(path).post("").method(Method::GET).header("via", &format!("{own}, 1.1 cdn"));
        assert_eq!(again.await.error(), (508, "request_loop".to_owned()), "{path}");
    }
    assert_eq!((server.seen().len(), origin.heads().len()), (2, 1));
    assert_eq!(stage.metric("refusals_total", &["cause=\"request_loop\""]).await, 5.0);
    // Another sidebeat on the way is no loop.
    assert!(tv.post(CLEARKEY).header("via", "1.1 sidebeat-00000000, 1.1 sidebeat").await.is_good());
    assert!(fetch(&stage, "tv", &path).await.is_good());
    stage.end().await;
}
