//! Tests faults of the license server: players and metrics can distinguish them.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sidebeat::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::player::{CLEARKEY, widevine_new};
use crate::stage::Stage;
use crate::upstream::{Upstream, good, nobody, status};

const AUTHORITY: &str = "authority = \"head-end\"\ntimeout = \"500ms\"";

/// Calls the license server once; the session stays for a while, because players retry.
async fn expect(url: &str, lines: &str, error: &str) {
    let stage = Stage::script().upstream("/license", url, lines).limits("call = \"2s\"");
    let stage = stage.authority("timeout = \"1s\"").start().await;
    let tv = stage.player("tv", "news").await.in_a_browser();
    let began = Clock.now();
    let refused = tv.post(CLEARKEY).await;
    let took = Clock.now().saturating_duration_since(began);
    // A temporary fault gets a status that players retry; it is delayed, because they retry at once. Other faults get a
    // 4xx, because a 5xx starts a storm of retries.
    let (status, comes_again) = match error {
        "connect" | "refused" | "reset" | "resolve" => (503, true),
        "timeout" => (504, true),
        _ => (403, false),
    };
    assert!(took < Duration::from_secs(6) && (!comes_again || took >= Duration::from_secs(1)), "{error}: {took:?}");
    assert_eq!(refused.error(), (status, format!("license_server_{error}")));
    assert_eq!(refused.header("retry-after"), if comes_again { "1" } else { "" });
    let told = refused.json();
    let code = if error == "timeout" { 504 } else { 502 };
    assert_eq!((&told["code"], &told["event"], &told["phase"]), (&code.into(), &().into(), &"license".into()));
    assert_eq!(refused.header("x-ssm-error"), format!("license_server_{error}"));
    let fault = format!("fault=\"{error}\"");
    assert_eq!(stage.metric("upstream_faults_total", &[&fault, "route=\"/license\""]).await, 1.0);
    assert_eq!(stage.metric("license_calls_total", &["outcome=\"failed\""]).await, 1.0);
    assert_eq!(stage.each("state").await, ["live"]);
    stage.end().await;
}

#[tokio::test]
async fn a_license_server_that_does_not_listen_is_named() {
    expect(&format!("http://{}/acquire", nobody().await), AUTHORITY, "connect").await;
}

#[tokio::test]
async fn a_license_server_that_is_too_slow_is_named() {
    let silent = Upstream::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    expect(&silent.url(), AUTHORITY, "timeout").await;
}

#[tokio::test]
async fn a_license_server_that_stops_in_its_reply_is_named() {
    let half = Upstream::writing(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":").await;
    expect(&half.url(), AUTHORITY, "reset").await;
}

#[tokio::test]
async fn a_license_server_that_hangs_up_is_named() {
    let mute = Upstream::writing(b"").await;
    expect(&mute.url(), AUTHORITY, "reset").await;
}

#[tokio::test]
async fn a_license_server_that_speaks_another_protocol_is_named() {
    let other = Upstream::writing(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    expect(&other.url(), AUTHORITY, "malformed").await;
}

#[tokio::test]
async fn a_license_server_without_tls_is_named() {
    let plain = Upstream::writing(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    expect(&plain.url().replace("http:", "https:"), AUTHORITY, "tls").await;
}

#[tokio::test]
async fn a_license_reply_that_is_too_large_is_refused() {
    let large = Upstream::answering(|_| good("application/json", vec![b' '; 1024 * 1024 + 1])).await;
    expect(&large.url(), AUTHORITY, "too_large").await;
}

#[tokio::test]
async fn the_largest_allowed_license_reply_is_given_whole() {
    let large = [crate::upstream::OPAQUE.as_bytes(), &vec![b'x'; 1024 * 1024 - crate::upstream::OPAQUE.len()]].concat();
    let reply = large.clone();
    let server = Upstream::answering(move |_| good("application/octet-stream", reply.clone())).await;
    let stage = Stage::script().upstream("/license", &server.url(), AUTHORITY).start().await;
    assert!(stage.player("tv", "news").await.post(CLEARKEY).await.body == large);
    stage.end().await;
}

#[tokio::test]
async fn a_part_of_a_reply_is_no_license() {
    let part = Upstream::answering(|_| {
        let mut reply = good("application/octet-stream", crate::upstream::OPAQUE);
        *reply.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        reply
    })
    .await;
    let stage = Stage::script().upstream("/license", &part.url(), AUTHORITY).start().await;
    assert_eq!(stage.player("tv", "news").await.post(CLEARKEY).await.status, 206);
    assert_eq!(stage.metric("license_calls_total", &["outcome=\"declined\""]).await, 1.0);
    stage.end().await;
}

/// The wait ends there, although the call could take longer.
#[tokio::test]
async fn a_silent_license_server_is_waited_for_as_long_as_its_route_says() {
    let silent = Upstream::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let script = Stage::script().upstream("/license", &silent.url(), AUTHORITY).limits("call = \"7s\"");
    let stage = script.start().await;
    let tv = stage.player("tv", "news").await;
    let began = Clock.now();
    assert_eq!(tv.post(CLEARKEY).await.error(), (504, "license_server_timeout".to_owned()));
    let took = Clock.now().saturating_duration_since(began);
    assert!(took < Duration::from_secs(5), "{took:?}");
    stage.end().await;
}

#[tokio::test]
async fn a_license_reply_with_a_doubtful_or_excessive_head_is_refused() {
    let many: String = "a: b\r\n".repeat(257);
    for (head, error) in [
        ("content-length: 2, 3\r\n", "malformed"),
        ("content-length: 2\r\ncontent-length: 3\r\n", "malformed"),
        ("transfer-encoding: gzip, chunked\r\n", "malformed"),
        ("x: a\0b\r\n", "malformed"),
        (many.as_str(), "too_large"),
        (&format!("x: {}\r\n", "a".repeat(33 * 1024)), "too_large"),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{head}\r\n{{}}").leak();
        expect(&Upstream::writing(reply.as_bytes()).await.url(), AUTHORITY, error).await;
    }
}

#[tokio::test]
async fn a_repairable_license_reply_is_repaired_for_the_player() {
    let head = "X-Spaced : 1\r\nX-Folded: a\r\n b\r\nContent-Length : 2, 2\r\n";
    let reply = format!("HTTP/1.1 200 OK\r\n{head}{}\r\n{{}}", "a: b\r\n".repeat(253)).leak();
    let server = Upstream::writing(reply.as_bytes()).await;
    let stage = Stage::script().upstream("/license", &server.url(), AUTHORITY).start().await;
    let token = stage.player("tv", "news").await.token;
    let mut player = TcpStream::connect(stage.proxy).await.unwrap();
    let length = CLEARKEY.len();
    let request = format!(
        "POST /license HTTP/1.1\r\nhost: h\r\nconnection: close\r\nnv-authorizations: {token}\r\nx-device-id: tv\r\n\
         content-length: {length}\r\n\r\n{CLEARKEY}"
    );
    player.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), player.read_to_string(&mut reply)).await;
    read.unwrap_or_else(|_| panic!("the connection stays open")).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "{}");
    for line in ["x-spaced: 1", "content-length: 2"] {
        assert_eq!(head.lines().filter(|found| *found == line).count(), 1, "{line}: {head}");
    }
    let folded = head.lines().find_map(|line| line.strip_prefix("x-folded: ")).unwrap_or_default();
    assert_eq!(folded.split_whitespace().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(head.lines().filter(|line| *line == "a: b").count(), 253);
    stage.end().await;
}

#[tokio::test]
async fn a_license_reply_of_the_wrong_type_is_refused() {
    let html = Upstream::answering(|_| good("text/html", "<html>maintenance</html>")).await;
    let lines = format!(
        "{AUTHORITY}\n[route.body]\nplayer = \"raw\"\nserver = \"raw\"\nserver-reply = \"json:license\"\nplayer-reply = \"raw\""
    );
    expect(&html.url(), &lines, "reply_wrapping").await;
}

#[tokio::test]
async fn a_redirect_to_a_place_where_tokens_do_not_belong_is_refused() {
    let elsewhere = Upstream::answering(|_| good("application/json", "{}")).await;
    // The same path at this server would even succeed.
    let targets = ["http://{}/keys", "//{}/keys", "https://license.example/keys", "http://127.0.0.1:1/keys"];
    for target in targets.map(|target| target.replace("{}", &elsewhere.address.to_string())) {
        let redirecting = Upstream::answering(move |asked| match asked.target.as_str() {
            "/acquire" => redirect(307, &target),
            _ => good("application/json", "{}"),
        })
        .await;
        expect(&redirecting.url(), AUTHORITY, "redirect").await;
        assert_eq!(redirecting.seen().len(), 1);
    }
    assert!(elsewhere.seen().is_empty(), "a token went elsewhere");
}

#[tokio::test]
async fn an_endless_redirect_or_one_that_changes_the_method_is_refused() {
    let circle = Upstream::answering(|asked| redirect(307, &asked.target)).await;
    expect(&circle.url(), AUTHORITY, "redirect_loop").await;
    assert_eq!(circle.seen().len(), 1);
    let wide = Upstream::answering(|asked| match asked.target.as_str() {
        "/acquire" => redirect(307, "there"),
        _ => redirect(308, "acquire"),
    })
    .await;
    expect(&wide.url(), AUTHORITY, "redirect_loop").await;
    assert_eq!(wide.seen().len(), 2);
    let endless = Upstream::answering(|asked| redirect(307, &format!("{}x", asked.target))).await;
    expect(&endless.url(), AUTHORITY, "redirect_loop").await;
    assert_eq!(endless.seen().len(), 6);
    for code in [301, 302, 303] {
        // The other server would give a good license, by POST and by GET.
        let other = Upstream::answering(move |asked| match asked.target.as_str() {
            "/acquire" => redirect(code, "/elsewhere"),
            _ => good("application/json", "{}"),
        })
        .await;
        expect(&other.url(), AUTHORITY, "redirect").await;
        assert_eq!(other.only().target, "/acquire");
    }
}

#[tokio::test]
async fn a_relative_redirect_resolves_against_the_requested_url() {
    for (location, target) in [
        ("v2/issue", "/v2/issue"),
        ("../v2/x", "/v2/x"),
        ("//{}/v2/x?y", "/v2/x?y"),
        ("?x", "/acquire?x"),
        ("v2/issue#part", "/v2/issue"),
        ("http://{}/v2#part", "/v2"),
    ] {
        let server = Upstream::answering(move |asked| match asked.target.as_str() {
            "/acquire" => redirect(307, &location.replace("{}", asked.header("host"))),
            _ => good("application/json", "{\"moved\":true}"),
        })
        .await;
        let stage = Stage::script().upstream("/license", &server.url(), AUTHORITY).start().await;
        let tv = stage.player("tv", "news").await;
        assert_eq!(tv.post(CLEARKEY).await.json()["moved"], true, "{location}");
        let seen = server.seen();
        assert_eq!((seen[1].target.as_str(), &seen[1].body[..]), (target, CLEARKEY.as_bytes()), "{location}");
        assert_eq!(seen[1].header("nv-authorizations"), seen[0].header("nv-authorizations"));
        stage.end().await;
    }
}

/// Clocks that read `Date`, and caches that tell of themselves, are for pages too.
#[tokio::test]
async fn a_page_may_read_what_the_license_server_exposes() {
    for listed in ["Date, X-License-Code", "*"] {
        let server = Upstream::answering(move |_| {
            let mut reply = good("application/json", "{}");
            for (name, value) in [
                ("access-control-allow-origin", "https://tv.example"),
                ("access-control-expose-headers", listed),
                ("x-license-code", "17"),
                ("timing-allow-origin", "https://tv.example"),
            ] {
                reply.headers_mut().insert(name, value.parse().unwrap());
            }
            reply
        })
        .await;
        let script = Stage::script().upstream("/license", &server.url(), AUTHORITY);
        let stage = script.server("origins = [\"https://tv.example\"]").start().await;
        let reply = stage.player("tv", "news").await.in_a_browser().post(CLEARKEY).await;
        let exposed: Vec<_> = reply.header("access-control-expose-headers").split(", ").collect();
        assert_eq!(exposed[..2], ["x-ssm-error", "x-sidebeat-incident"]);
        for name in ["date", "x-license-code"] {
            assert!(exposed.contains(&name), "{name} is not in {exposed:?}");
        }
        assert_eq!(exposed.contains(&"timing-allow-origin"), listed == "*", "{exposed:?}");
        assert!(!exposed.contains(&"*"), "a page with credentials takes * for a header's name");
        assert_eq!(reply.header("access-control-allow-credentials"), "true");
        assert_eq!((reply.header("x-license-code"), reply.header("timing-allow-origin")), ("17", "https://tv.example"));
        stage.end().await;
    }
}

#[tokio::test]
async fn a_redirect_to_the_same_server_is_followed_with_everything() {
    for code in [307, 308] {
        let server = Upstream::answering(move |asked| match asked.target.as_str() {
            "/acquire?a=1" => redirect(code, "/moved?b=2"),
            _ => good("application/json", "{\"moved\":true}"),
        })
        .await;
        let stage = Stage::script().upstream("/license", &server.url(), AUTHORITY).start().await;
        let tv = stage.player("tv", "news").await;
        assert_eq!(tv.post(CLEARKEY).below("?a=1").await.json()["moved"], true);
        let seen = server.seen();
        assert_eq!((seen[1].target.as_str(), &seen[1].body[..]), ("/moved?b=2", CLEARKEY.as_bytes()));
        assert_eq!(seen[1].header("nv-authorizations"), seen[0].header("nv-authorizations"));
        stage.end().await;
    }
}

/// To a browser the reply comes from sidebeat.
#[tokio::test]
async fn the_license_servers_headers_about_itself_are_not_passed_on() {
    const OF_ITSELF: [&str; 4] = ["strict-transport-security", "alt-svc", "clear-site-data", "report-to"];
    let server = Upstream::answering(|_| {
        let mut reply = good("application/json", "{}");
        for name in OF_ITSELF {
            reply.headers_mut().insert(name, "x".parse().unwrap());
        }
        reply
    })
    .await;
    let stage = Stage::script().upstream("/license", &server.url(), AUTHORITY).start().await;
    let reply = stage.player("tv", "news").await.in_a_browser().post(CLEARKEY).await;
    assert!(reply.is_good());
    for name in OF_ITSELF {
        assert_eq!(reply.header(name), "", "{name}");
    }
    stage.end().await;
}

#[tokio::test]
async fn errors_of_the_license_server_are_no_faults() {
    let server = Upstream::answering(|asked| status(asked.target.rsplit('/').next().unwrap().parse().unwrap())).await;
    let stage = Stage::script().upstream("/license", &server.url(), AUTHORITY).start().await;
    let tv = stage.player("tv", "news").await;
    // Of these, only 304 is no redirect.
    for code in [304, 400, 401, 404, 500, 503] {
        assert_eq!(tv.post(CLEARKEY).below(&format!("/{code}")).await.status, code);
    }
    assert_eq!(stage.metric("upstream_faults_total", &[]).await, 0.0);
    stage.end().await;
}

/// The player has given its license up, whatever becomes of the message.
#[tokio::test]
async fn a_release_counts_even_if_the_license_server_refuses_it_or_is_gone() {
    for is_gone in [false, true] {
        let server = Upstream::answering(|asked| {
            let asks = asked.body[..] == widevine_new("video")[..];
            let mut reply = if asks { good("application/octet-stream", crate::upstream::OPAQUE) } else { status(403) };
            // The release needs a connection of its own, and there is none to a server that is gone.
            reply.headers_mut().insert("connection", "close".parse().unwrap());
            reply
        })
        .await;
        let script = Stage::script().upstream("/license", &server.url(), AUTHORITY).limits("call = \"1s\"");
        let stage = script.authority("timeout = \"500ms\"").start().await;
        let tv = stage.player("tv", "news").await;
        assert!(tv.license("video").await.is_good());
        let _server = (!is_gone).then_some(server);
        assert_eq!(tv.release("video").await.status, if is_gone { 503 } else { 403 });
        assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
        assert_eq!(stage.metric("sessions_ended_total", &["reason=\"released\""]).await, 1.0);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_connection_closed_meanwhile_by_the_license_server_costs_the_player_nothing() {
    let server = Upstream::answering(|_| {
        let response = Response::builder().header("connection", "close").header("content-type", "application/json");
        response.body(Bytes::from_static(b"{}")).unwrap()
    })
    .await;
    let stage = Stage::script().upstream("/license", &server.url(), AUTHORITY).start().await;
    let tv = stage.player("tv", "news").await;
    for _ in 0..5 {
        assert!(tv.post(CLEARKEY).await.is_good());
    }
    assert_eq!(server.seen().len(), 5);
    stage.end().await;
}

fn redirect(code: u16, location: &str) -> Response<Bytes> {
    Response::builder().status(code).header("location", location).body(Bytes::new()).unwrap()
}
