//! Tests the edge over real sockets: TLS, slowness, limits, CORS.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;
mod edge_tls;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_support::{GENEROUS, Running, Setup, ask, limits, make_pair, read_reply, read_to_end, status};
use edge_tls::{Client, H1, H2};
use http::Version;
use rustls::pki_types::CertificateDer;
use sidebeat::clock::Clock;
use sidebeat::config::{AllowedOrigins, ServerLimits};
use sidebeat::edge::{Edge, Handler, RequestViolation};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";
const SHORT: Duration = Duration::from_millis(150);

fn setup(limits: ServerLimits) -> Setup {
    Setup { limits, ..Setup::default() }
}

// TLS

#[tokio::test]
async fn the_edge_serves_both_protocols_over_both_versions_of_tls() {
    let edge = Setup::default().run().await;
    for tls in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (protocol, version) in [(H1, Version::HTTP_11), (H2, Version::HTTP_2)] {
            let client = Client::trusting(edge.directory.path()).speaking(protocol).over(tls);
            let mut calls = client.calls(&edge).await;
            let reply = calls.post("/a?b=c", "hello").await;
            assert_eq!((reply.status().as_u16(), reply.version()), (200, version), "{tls:?}");
            assert_eq!(reply.into_body(), "ok");
            let seen = edge.take_seen().remove(0);
            assert_eq!(seen.body, "hello");
            assert!(seen.peer.tls && seen.peer.certificate.is_none() && seen.peer.address.is_loopback());
        }
    }
}

/// A few bytes of a TLS client, as it begins.
fn client_hello() -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let mut hello = Vec::new();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    hello
}

fn count(edge: &Running, breach: RequestViolation) -> u64 {
    edge.counters.breaches().find(|(found, _)| *found == breach).unwrap().1
}

#[tokio::test]
async fn plain_http_on_the_https_port_gets_a_plain_http_explanation() {
    let edge = Setup::default().run().await;
    let large = format!(
        "POST /a?secret=1 HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 30000\r\n\r\n{}",
        "x".repeat(30_000)
    );
    let rows = ["GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &large];
    for (row, request) in rows.into_iter().enumerate() {
        let mut stream = TcpStream::connect(edge.tls).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let reply = String::from_utf8(read_to_end(&mut stream).await).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply but {reply:?}"));
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        for line in ["connection: close", "cache-control: no-store", "content-type: application/problem+json"] {
            assert!(head.contains(line), "{line} is missing in {head}");
        }
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let told: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(told["error"], "plain_http");
        assert!(told["detail"].as_str().unwrap().contains("https://"), "{told}");
        assert!(!reply.contains("evil") && !reply.contains("secret"), "{reply}");
        assert_eq!(count(&edge, RequestViolation::PlainHttp), row as u64 + 1);
    }
    assert!(edge.take_seen().is_empty());
}

/// Any part of a request: up to the middle of its first word, and byte by byte.
#[tokio::test]
async fn plain_http_is_recognised_by_its_first_byte_and_takes_no_longer_than_a_handshake() {
    let edge = setup(ServerLimits { handshake: SHORT, ..limits() }).run().await;
    let mut stream = TcpStream::connect(edge.tls).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /a" {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(read_to_end(&mut stream).await.starts_with(b"HTTP/1.1 400"));
    let mut half = TcpStream::connect(edge.tls).await.unwrap();
    half.write_all(b"G").await.unwrap();
    assert!(read_to_end(&mut half).await.starts_with(b"HTTP/1.1 400"));
    // A peer that goes on sending is read only until it has its reply.
    let mut endless = TcpStream::connect(edge.tls).await.unwrap();
    let sending = async { while endless.write_all(&[b'G'; 4096]).await.is_ok() {} };
    timeout(GENEROUS, sending).await.expect("an endless request is read on and on");
    edge.until_no_connection().await;
}

#[tokio::test]
async fn plain_http_on_the_https_port_learns_the_public_url() {
    for (public_url, told) in [("https://tv.example:8443", true), ("http://tv.example", false)] {
        let edge = Setup { public_url: Some(public_url.to_owned()), ..Setup::default() }.run().await;
        let mut stream = TcpStream::connect(edge.tls).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        let reply = String::from_utf8(read_to_end(&mut stream).await).unwrap();
        assert_eq!(reply.contains(&format!("\"href\":\"{public_url}\"")), told, "{reply}");
    }
}

#[tokio::test]
async fn bytes_that_are_neither_tls_nor_http_get_no_http() {
    let edge = Setup::default().run().await;
    for bytes in [&b"\x80\x2e\x01\x03\x01"[..], b"\0\0\0\0\0\0", b"get / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(edge.tls).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let said = read_to_end(&mut stream).await;
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    assert_eq!(count(&edge, RequestViolation::PlainHttp), 0);
}

#[tokio::test]
async fn tls_on_the_plain_port_gets_an_alert() {
    let edge = Setup::default().run().await;
    let hello = client_hello();
    for (row, parts) in [vec![&hello[..]], vec![&hello[..1], &hello[1..]], vec![&hello[..100]]].iter().enumerate() {
        let mut stream = edge.connect().await;
        stream.set_nodelay(true).unwrap();
        for part in parts {
            // The edge hangs up when it has read enough.
            let _gone = stream.write_all(part).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(read_to_end(&mut stream).await, [21, 3, 1, 0, 2, 2, 70], "a fatal alert protocol_version");
        edge.until_no_connection().await;
        assert_eq!(count(&edge, RequestViolation::TlsUnexpected), row as u64 + 1);
        assert_eq!(count(&edge, RequestViolation::Malformed), 0);
    }
    let error = Client::trusting(edge.directory.path()).connect(edge.plain).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    assert!(edge.take_seen().is_empty());
    // Inside TLS such a byte is neither a request nor a handshake.
    let mut inner = Client::trusting(edge.directory.path()).speaking(H1).connect(edge.tls).await.unwrap();
    inner.write_all(&hello).await.unwrap();
    let said = read_to_end(&mut inner).await;
    assert!(said.starts_with(b"HTTP/1.1 400"), "{said:?}");
}

#[tokio::test]
async fn a_client_without_alpn_speaks_http1() {
    let edge = Setup::default().run().await;
    let mut stream = Client::trusting(edge.directory.path()).connect(edge.tls).await.unwrap();
    assert_eq!(status(&ask(&mut stream, GET).await.unwrap()), 200);
}

#[tokio::test]
async fn a_second_handshake_is_resumed() {
    let edge = Setup::default().run().await;
    for tls in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = Client::trusting(edge.directory.path()).over(tls);
        for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let mut stream = client.connect(edge.tls).await.unwrap();
            ask(&mut stream, GET).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{tls:?}");
        }
    }
}

#[tokio::test]
async fn a_reload_swaps_the_certificate_under_open_connections() {
    let edge = Setup::default().run().await;
    let client = Client::trusting(edge.directory.path());
    let shown = |stream: &edge_tls::Stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let mut before = client.connect(edge.tls).await.unwrap();
    ask(&mut before, GET).await.unwrap();

    make_pair(edge.directory.path());
    edge.certificates.reload().unwrap();
    let after = Client::trusting(edge.directory.path()).connect(edge.tls).await.unwrap();
    assert_ne!(shown(&before), shown(&after));
    assert_eq!(status(&ask(&mut before, GET).await.unwrap()), 200, "an open connection goes on");

    std::fs::write(edge.directory.path().join("leaf.pem"), "rubbish").unwrap();
    edge.certificates.reload().unwrap_err();
    let still = Client::trusting(edge.directory.path()).connect(edge.tls).await.unwrap();
    assert_eq!(shown(&after), shown(&still), "a fault keeps what there was");
    assert!(edge.certificates.not_after().is_some());
}

#[tokio::test]
async fn a_client_certificate_names_the_device() {
    let devices = edge_tls::Devices::new();
    let edge = Setup { client_ca: Some(devices.ca_file()), ..Setup::default() }.run().await;
    let trusting = || Client::trusting(edge.directory.path());

    let mut nobody = trusting().connect(edge.tls).await.unwrap();
    ask(&mut nobody, GET).await.unwrap();
    assert_eq!(edge.take_seen().remove(0).peer.certificate, None);

    let (certificate, key) = devices.issue();
    let fingerprint = edge_tls::sha256_hex(&certificate);
    let client = trusting().showing(certificate, key);
    // The second one is resumed, and still known.
    for _ in 0..2 {
        let mut device = client.connect(edge.tls).await.unwrap();
        ask(&mut device, GET).await.unwrap();
        assert_eq!(edge.take_seen().remove(0).peer.certificate, Some(fingerprint.clone()));
    }

    let (stranger, key): (CertificateDer<'static>, _) = edge_tls::Devices::new().issue();
    // In TLS 1.3 the client only notices when it reads.
    if let Ok(mut stream) = trusting().showing(stranger, key).connect(edge.tls).await {
        assert!(ask(&mut stream, GET).await.is_none());
    }
    drop(nobody);
    edge.until_no_connection().await;
    assert_eq!(edge.counters.handshakes_failed.load(Ordering::Relaxed), 1);
    assert!(edge.take_seen().is_empty());
}

// Slowness

#[tokio::test]
async fn a_silent_client_is_closed() {
    let edge = setup(ServerLimits { first_byte: SHORT, ..limits() }).run().await;
    assert_eq!(read_to_end(&mut edge.connect().await).await, b"");
    let client = Client::trusting(edge.directory.path());
    for protocol in [H1, H2] {
        let mut stream = client.clone().speaking(protocol).connect(edge.tls).await.unwrap();
        read_to_end(&mut stream).await;
    }
    let mut half = client.speaking(H2).connect(edge.tls).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    read_to_end(&mut half).await;
    assert_eq!(edge.counters.silent.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_closed() {
    let edge = setup(ServerLimits { handshake: SHORT, ..limits() }).run().await;
    let mut stream = tokio::net::TcpStream::connect(edge.tls).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    edge.until_no_connection().await;
    assert_eq!(edge.counters.handshakes_failed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn half_a_head_and_an_idle_connection_are_closed() {
    let edge = setup(ServerLimits { idle: SHORT, ..limits() }).run().await;
    let mut half = edge.connect().await;
    half.write_all(b"GET /a HTTP/1.1\r\nHost").await.unwrap();
    read_to_end(&mut half).await;

    let mut idle = edge.connect().await;
    assert_eq!(status(&ask(&mut idle, GET).await.unwrap()), 200);
    assert_eq!(read_to_end(&mut idle).await, b"");

    let mut idle = Client::trusting(edge.directory.path()).speaking(H2).calls(&edge).await;
    assert_eq!(idle.post("/a", "").await.status(), 200);
    timeout(GENEROUS, idle.closed()).await.expect("an idle HTTP/2 connection that answers pings must be closed");
}

/// An event stream, or a segment of a slow line.
#[tokio::test]
async fn a_connection_whose_reply_still_flows_is_not_idle() {
    let edge = setup(ServerLimits { drain: SHORT, idle: SHORT, ..limits() }).run().await;
    let client = Client::trusting(edge.directory.path()).speaking(H2);
    let mut flows = client.calls(&edge).await;
    let others = async {
        edge.begun().await;
        for _ in 0..3 {
            let mut idle = client.calls(&edge).await;
            assert_eq!(idle.post("/a", "").await.status(), 200);
            timeout(GENEROUS, idle.closed()).await.expect("it is idle");
        }
        edge.gate.add_permits(1);
    };
    let (reply, ()) = tokio::join!(flows.post("/stream", ""), others);
    assert_eq!(reply.into_body(), "onetwo");
}

#[tokio::test]
async fn half_a_body_is_answered_408() {
    let edge = setup(ServerLimits { body: SHORT, ..limits() }).run().await;
    let mut stream = edge.connect().await;
    let reply = ask(&mut stream, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
    assert_eq!(status(&reply), 408);
    assert!(reply.contains("connection: close"), "{reply}");
    assert_eq!(read_to_end(&mut stream).await, b"");

    let mut cut = edge.connect().await;
    cut.write_all(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
    cut.shutdown().await.unwrap();
    assert!(!String::from_utf8(read_to_end(&mut cut).await).unwrap().contains(" 200 "));
    assert_eq!(edge.counters.bodies_stalled.load(Ordering::Relaxed), 1);
    assert_eq!(edge.counters.bodies_broken.load(Ordering::Relaxed), 1);
    assert!(edge.take_seen().is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let edge = setup(ServerLimits { idle: SHORT, ..limits() }).run().await;
    let mut stream = edge.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    edge.begun().await;
    edge.until_no_connection().await;
    assert_eq!(edge.counters.stalled.load(Ordering::Relaxed), 1);
    assert!(read_to_end(&mut stream).await.len() < 64 << 20);
}

#[tokio::test]
async fn a_connection_ends_with_its_lifetime_but_not_its_call() {
    let edge = setup(ServerLimits { lifetime: SHORT, ..limits() }).run().await;
    let (mut held, mut idle) = (edge.connect().await, edge.connect().await);
    ask(&mut idle, GET).await.unwrap();
    held.write_all(HOLD.as_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut idle).await, b"");
    edge.gate.add_permits(1);
    let reply = read_reply(&mut held).await.unwrap();
    assert_eq!(status(&reply), 200);
    assert_eq!(read_to_end(&mut held).await, b"");
    assert_eq!(edge.counters.lifetimes_ended.load(Ordering::Relaxed), 2);
}

// Limits

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once() {
    let edge = setup(ServerLimits { connections: 1, ..limits() }).run().await;
    let mut first = edge.connect().await;
    // While its call runs; an idle one would make room.
    first.write_all(HOLD.as_bytes()).await.unwrap();
    edge.begun().await;
    assert_eq!(read_to_end(&mut edge.connect().await).await, b"");
    assert_eq!(edge.counters.refused_connections.load(Ordering::Relaxed), 1);
    assert_eq!(edge.serving.connections(), 1);
    drop(first);
    edge.until_no_connection().await;
    assert_eq!(status(&ask(&mut edge.connect().await, GET).await.unwrap()), 200);
}

#[tokio::test]
async fn a_call_too_many_is_shed_with_403() {
    let edge = setup(ServerLimits { in_flight: 1, ..limits() }).run().await;
    let mut first = edge.connect().await;
    first.write_all(HOLD.as_bytes()).await.unwrap();
    edge.begun().await;
    let shed = ask(&mut edge.connect().await, GET).await.unwrap();
    assert_eq!(status(&shed), 403);
    assert!(shed.contains(r#""error":"overloaded""#) && shed.contains("connection: close"), "{shed}");
    assert_eq!(edge.counters.refused_calls.load(Ordering::Relaxed), 1);
    edge.gate.add_permits(1);
    assert_eq!(status(&read_reply(&mut first).await.unwrap()), 200);
    assert_eq!(status(&ask(&mut first, GET).await.unwrap()), 200, "the place is free again");
    assert_eq!(edge.serving.calls(), 0);
}

#[tokio::test]
async fn a_panic_in_a_call_ends_its_connection_alone() {
    let mut edge = Setup::default().run().await;
    let mut other = edge.connect().await;
    ask(&mut other, GET).await.unwrap();
    assert_eq!(ask(&mut edge.connect().await, "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n").await, None);
    assert_eq!(status(&ask(&mut other, GET).await.unwrap()), 200);
    assert_eq!(edge.serving.calls(), 0);
    assert!(edge.deaths.try_recv().is_err());
}

#[tokio::test]
async fn the_death_of_a_worker_is_reported() {
    let (tasks, mut deaths) = sidebeat::task::Tasks::new();
    let directory = tempfile::tempdir().unwrap();
    let server = edge_support::server(&Setup::default(), directory.path());
    let edge = Edge::bind(&server, Clock, tasks, Arc::default()).await.unwrap();
    let _serving = edge.serve(|_| -> Arc<dyn Handler> { panic!("no handler") }).unwrap();
    assert_eq!(timeout(GENEROUS, deaths.recv()).await.unwrap(), Some("edge worker"));
}

#[tokio::test]
async fn every_worker_serves() {
    let edge = Setup { workers: 2, ..Setup::default() }.run().await;
    let workers = Arc::clone(&edge.workers);
    // The kernel spreads connections by their ports, so a few suffice.
    let serve_both = async {
        while workers.lock().unwrap().len() < 2 {
            ask(&mut edge.connect().await, GET).await.unwrap();
        }
    };
    timeout(GENEROUS, serve_both).await.expect("one worker never serves");
}

// CORS

#[tokio::test]
async fn cross_origin_headers_are_on_every_reply() {
    let origins = AllowedOrigins::List(vec!["https://tv.example".to_owned()]);
    let edge = Setup { origins, ..Setup::default() }.run().await;
    let preflight =
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type,cmcd-session\r\n";
    let rows = [
        ("OPTIONS /any/path", "https://tv.example", preflight, 204, true),
        ("OPTIONS /any/path", "https://evil.example", preflight, 403, false),
        ("GET /a", "https://tv.example", "", 200, true),
        ("GET /upstream-cors", "https://tv.example", "", 200, true),
        ("GET /upstream-cors", "https://evil.example", "", 403, false),
        ("POST /a", "https://evil.example", "Content-Length: 0\r\n", 403, false),
        ("GET /a", "https://tv.example", "Host: again\r\n", 400, true),
        ("POST /a", "https://tv.example", "Content-Length: 65\r\n", 413, true),
    ];
    for (line, origin, headers, expected, allowed) in rows {
        let request = format!("{line} HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n{headers}\r\n");
        let reply = ask(&mut edge.connect().await, &request).await.unwrap();
        assert_eq!(status(&reply), expected, "{request}");
        let echoes = reply.matches("access-control-allow-origin: ").count();
        assert_eq!(echoes, usize::from(allowed), "{reply}");
        assert_eq!(reply.contains(&format!("access-control-allow-origin: {origin}\r\n")), allowed, "{reply}");
        assert_eq!(reply.contains("access-control-allow-credentials: true"), allowed, "{reply}");
        assert!(reply.contains("vary: Origin"), "{reply}");
        let asked = line.starts_with("OPTIONS") && allowed;
        assert_eq!(reply.contains("access-control-allow-headers: content-type,cmcd-session\r\n"), asked, "{reply}");
        assert_eq!(reply.contains("access-control-max-age: 7200\r\n"), asked, "{reply}");
    }
    assert_eq!(edge.take_seen().len(), 2, "the two good calls, and nothing of a page that is not on the list");
    assert_eq!(edge.counters.refused_origins.load(Ordering::Relaxed), 3);
}

// Proxies in front of sidebeat

const VIEWER: &str = "203.0.113.9";
const PROXY_V1: &str = "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";

fn trusting_this_machine() -> Setup {
    Setup { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..Setup::default() }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_viewer_of_each_call() {
    let edge = trusting_this_machine().run().await;
    let mut stream = edge.connect().await;
    // A connection of the proxy carries calls of several viewers.
    for (headers, address, via) in [
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9, 127.0.0.7\r\n", VIEWER, true),
        ("Forwarded: for=\"[2001:db8::9]:4711\";proto=https\r\n", "2001:db8::9", true),
        ("X-Forwarded-For: rubbish\r\n", "127.0.0.1", false),
        ("", "127.0.0.1", false),
    ] {
        let asked = format!("GET /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        assert_eq!(status(&ask(&mut stream, &asked).await.unwrap()), 200, "{headers}");
        let peer = edge.take_seen().remove(0).peer;
        assert_eq!((peer.address.to_string().as_str(), peer.proxy.is_some()), (address, via), "{headers}");
    }
    assert_eq!(edge.counters.forwarded_unreadable.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stranger_cannot_name_a_viewer() {
    let edge = Setup { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Setup::default() }.run().await;
    let asked = "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n\r\n";
    assert_eq!(status(&ask(&mut edge.connect().await, asked).await.unwrap()), 200);
    let peer = edge.take_seen().remove(0).peer;
    assert!(peer.address.is_loopback() && peer.proxy.is_none(), "{peer:?}");
}

#[tokio::test]
async fn a_proxy_protocol_header_names_the_viewer_of_a_connection() {
    let edge = Setup { proxy_protocol: true, ..trusting_this_machine() }.run().await;
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\x01\xbb";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let headers: [(&[u8], &str); 4] =
        [(PROXY_V1.as_bytes(), VIEWER), (v2, VIEWER), (local, "127.0.0.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")];
    for (header, address) in headers {
        let mut stream = edge.connect().await;
        // The header comes in pieces, as on a slow network, with the first request right behind.
        let (first, rest) = header.split_at(7);
        stream.write_all(first).await.unwrap();
        stream.write_all(&[rest, GET.as_bytes()].concat()).await.unwrap();
        assert_eq!(status(&read_reply(&mut stream).await.unwrap()), 200);
        // The header holds for the connection, so for its next call as well; and the viewer is no trusted proxy.
        let next = "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
        assert_eq!(status(&ask(&mut stream, next).await.unwrap()), 200);
        let seen: Vec<_> = edge.take_seen().iter().map(|seen| seen.peer.address.to_string()).collect();
        let second = if address == VIEWER { VIEWER } else { "6.6.6.6" };
        assert_eq!(seen, [address, second]);
    }
}

#[tokio::test]
async fn a_proxy_protocol_header_comes_before_the_tls_handshake() {
    let edge = Setup { proxy_protocol: true, ..trusting_this_machine() }.run().await;
    let mut tcp = tokio::net::TcpStream::connect(edge.tls).await.unwrap();
    tcp.write_all(PROXY_V1.as_bytes()).await.unwrap();
    let mut stream = Client::trusting(edge.directory.path()).shake(tcp).await.unwrap();
    assert_eq!(status(&ask(&mut stream, GET).await.unwrap()), 200);
    assert_eq!(edge.take_seen().remove(0).peer.address.to_string(), VIEWER);
}

#[tokio::test]
async fn without_a_good_proxy_protocol_header_a_connection_is_closed_and_counted() {
    let short = ServerLimits { first_byte: SHORT, ..limits() };
    let edge = Setup { limits: short, proxy_protocol: true, ..trusting_this_machine() }.run().await;
    for bytes in [GET, "PROXY TCP4 nobody 10.0.0.1 1 2\r\n", "PROXY TCP4 203.0.113.9 10.0.", ""] {
        let mut stream = edge.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, b"", "{bytes}");
    }
    assert_eq!(edge.counters.proxy_headers_refused.load(Ordering::Relaxed), 4);
    assert!(edge.take_seen().is_empty());
    edge.until_no_connection().await;
}

#[tokio::test]
async fn a_strangers_proxy_protocol_header_closes_its_connection() {
    let edge = Setup { proxy_protocol: true, trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Setup::default() }
        .run()
        .await;
    let mut stream = edge.connect().await;
    let _sent = stream.write_all(format!("{PROXY_V1}{GET}").as_bytes()).await;
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!(edge.counters.proxy_headers_refused.load(Ordering::Relaxed), 1);
    assert!(edge.take_seen().is_empty());
}

#[tokio::test]
async fn a_foreign_pages_load_without_an_origin_is_refused() {
    let origins = AllowedOrigins::List(vec!["https://tv.example".to_owned()]);
    let edge = Setup { origins, ..Setup::default() }.run().await;
    for (headers, expected) in [
        ("Host: localhost", 200),
        ("Host: 127.0.0.1:8080", 200),
        ("Host: localhost\r\nSec-Fetch-Site: same-origin", 200),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: image", 403),
        ("Host: localhost\r\nSec-Fetch-Site: same-site\r\nReferer: http://localhost:9000/", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\nReferer: https://tv.example/", 200),
        // Without TLS browsers do not say where a request comes from.
        ("Host: localhost\r\nReferer: https://evil.example/", 403),
        ("Host: localhost\r\nAccept: image/avif,image/webp,*/*;q=0.8", 403),
        ("Host: localhost\r\nReferer: https://tv.example/watch", 200),
        ("Host: localhost\r\nReferer: http://localhost/page", 200),
        ("Host: rebound.example:8080", 421),
    ] {
        let asked = format!("GET /a HTTP/1.1\r\n{headers}\r\n\r\n");
        assert_eq!(status(&ask(&mut edge.connect().await, &asked).await.unwrap()), expected, "{headers}");
    }
    assert_eq!(edge.counters.refused_hosts.load(Ordering::Relaxed), 1);
    // A page that explains a refusal may be opened from any page.
    for headers in
        ["Accept: text/html,application/xhtml+xml", "Sec-Fetch-Site: cross-site", "Referer: https://app.example/"]
    {
        let asked = format!("GET /a/~refused/x/1 HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n");
        assert_eq!(status(&ask(&mut edge.connect().await, &asked).await.unwrap()), 200, "{headers}");
    }
    assert_eq!(edge.take_seen().len(), 9);
}
