//! Tests the last calls of a closing page: they count although the connection closes right behind them.

#[cfg(target_os = "linux")]
use std::io::Read;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::drm;
use crate::player::CLEARKEY;
use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good};
use crate::web;

const PAGES: usize = 500;

/// Sends each call and closes its connection at once, on a thread that never waits.
async fn send_and_leave(to: SocketAddr, calls: Vec<Vec<u8>>) {
    let leave = move || {
        for call in calls {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(&call).unwrap();
        }
    };
    tokio::task::spawn_blocking(leave).await.unwrap();
}

/// Like [`send_and_leave`], over TLS: the data and the end of the connection arrive at the socket together.
async fn send_over_tls_and_leave(to: SocketAddr, folder: &Path, protocol: &[u8], calls: Vec<Vec<u8>>) {
    let mut config = Arc::unwrap_or_clone(web::trusting(&folder.join("certs/ca.pem")));
    config.alpn_protocols = vec![protocol.to_vec()];
    let (config, protocol) = (Arc::new(config), protocol.to_vec());
    let leave = move || {
        for call in calls {
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = ClientConnection::new(config.clone(), name).unwrap();
            let mut socket = TcpStream::connect(to).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).unwrap();
            }
            assert_eq!(tls.alpn_protocol(), Some(&protocol[..]));
            tls.writer().write_all(&call).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut socket).unwrap();
            }
        }
    };
    tokio::task::spawn_blocking(leave).await.unwrap();
}

/// A call as the only one of an HTTP/2 connection: its stream is given up in the same breath, as browsers do when their
/// page is left.
fn http2_call(method: &str, path: &str, device: usize, body: &[u8], ends: &str) -> Vec<u8> {
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let device = format!("tv-{device}");
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("x-device-id", &device),
    ];
    // RFC 7541, section 6.2.2: without indexing, each with its name.
    let head = fields.map(|(name, value)| [&[0][..], &literal(name), &literal(value)].concat()).concat();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0, length[0], length[1], kind, flags, 0, 0, 0, stream][..], payload].concat()
    };
    let (settings, cancel) = (frame(4, 0, 0, b""), frame(3, 0, 1, &[0, 0, 0, 8]));
    let (headers, data) = if body.is_empty() {
        (frame(1, 5, 1, &head), Vec::new())
    } else {
        (frame(1, 4, 1, &head), frame(0, 1, 1, body))
    };
    let cancel = if ends == "cancelled" { cancel } else { Vec::new() };
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &headers, &data, &cancel].concat()
}

/// Like [`send_and_leave`], on used connections. Each call and the end of its connection come in one packet: HTTP
/// libraries see the end before the call is read.
#[cfg(target_os = "linux")]
async fn send_at_the_end(to: SocketAddr, calls: Vec<Vec<u8>>) {
    let leave = move || {
        for call in calls {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            read_reply(&mut stream);
            rustix::net::sockopt::set_tcp_cork(&stream, true).unwrap();
            stream.write_all(&call).unwrap();
        }
    };
    tokio::task::spawn_blocking(leave).await.unwrap();
}

#[cfg(not(target_os = "linux"))]
use send_and_leave as send_at_the_end;

/// The whole of it: what is not read would break the connection off instead of ending it.
#[cfg(target_os = "linux")]
fn read_reply(stream: &mut TcpStream) {
    let (mut reply, mut byte) = (String::new(), [0]);
    while !reply.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        reply.push(char::from(byte[0]));
    }
    let length = reply.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
}

fn call(method: &str, path: &str, device: usize, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: proxy.test\r\nx-device-id: tv-{device}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

async fn household() -> (Upstream, Stage) {
    household_of(Stage::script()).await
}

async fn secure_household(folder: &Path) -> (Upstream, Stage) {
    household_of(Stage::script().secure(folder.to_owned())).await
}

async fn household_of(script: Script) -> (Upstream, Stage) {
    let server = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let authority = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"device\"]";
    let route = "authority = \"home\"\nsession-control = \"always\"";
    // All pages come from one address here.
    let limits = "connections-per-address = 2000\nin-flight-per-address = 2000\nin-flight = 2000";
    let stage = script.limits(limits).authority(authority).upstream("/license", &server.url(), route).start().await;
    (server, stage)
}

async fn are_all_closed_by(stage: &Stage, reason: &str) {
    let reason = format!("reason=\"{reason}\"");
    let ended = async || stage.metric("sessions_ended_total", &[&reason]).await;
    stage.eventually(&format!("all ended, {reason}"), async || ended().await == PAGES as f64).await;
}

#[tokio::test]
async fn every_stop_call_of_a_closed_page_ends_its_session() {
    for (method, body) in [("POST", &b""[..]), ("POST", b"beacon"), ("GET", b"")] {
        let (_server, stage) = household().await;
        for device in 0..PAGES {
            assert!(stage.stranger().with("x-device-id", &format!("tv-{device}")).post(CLEARKEY).await.is_good());
        }
        let calls = (0..PAGES).map(|device| call(method, "/license/~stop", device, body)).collect();
        send_and_leave(stage.proxy, calls).await;
        are_all_closed_by(&stage, "stopped").await;
        stage.end().await;
    }
}

async fn plays_on_all(stage: &Stage, tls: Option<&Path>) {
    let tls = tls.map(|folder| web::trusting(&folder.join("certs/ca.pem")));
    for device in 0..PAGES {
        let mut tv = stage.stranger().with("x-device-id", &format!("tv-{device}"));
        tv.tls = tls.clone();
        assert!(tv.post(CLEARKEY).await.is_good());
    }
}

#[tokio::test]
async fn a_stop_call_in_one_packet_with_the_end_of_its_connection_ends_its_session() {
    for (method, body) in [("POST", &b"beacon"[..]), ("GET", b"")] {
        let (_server, stage) = household().await;
        plays_on_all(&stage, None).await;
        let calls = (0..PAGES).map(|device| call(method, "/license/~stop", device, body)).collect();
        send_at_the_end(stage.proxy, calls).await;
        are_all_closed_by(&stage, "stopped").await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_stop_call_over_tls_counts_when_its_page_is_gone_with_it() {
    for (method, body) in [("POST", &b"beacon"[..]), ("GET", b"")] {
        let folder = tempfile::tempdir().unwrap();
        let (_server, stage) = secure_household(folder.path()).await;
        plays_on_all(&stage, Some(folder.path())).await;
        let calls = (0..PAGES).map(|device| call(method, "/license/~stop", device, body)).collect();
        send_over_tls_and_leave(stage.proxy, folder.path(), b"http/1.1", calls).await;
        are_all_closed_by(&stage, "stopped").await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_stop_call_over_http2_counts_though_its_stream_is_cancelled_or_its_connection_gone_at_once() {
    for (method, body) in [("POST", &b"beacon"[..]), ("POST", b""), ("GET", b"")] {
        for ends in ["cancelled", "left"] {
            let folder = tempfile::tempdir().unwrap();
            let (_server, stage) = secure_household(folder.path()).await;
            plays_on_all(&stage, Some(folder.path())).await;
            let call = |device| http2_call(method, "/license/~stop", device, body, ends);
            send_over_tls_and_leave(stage.proxy, folder.path(), b"h2", (0..PAGES).map(call).collect()).await;
            are_all_closed_by(&stage, "stopped").await;
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn every_report_of_a_closed_page_counts() {
    let (_server, stage) = household().await;
    for device in 0..PAGES {
        assert!(stage.stranger().with("x-device-id", &format!("tv-{device}")).post(CLEARKEY).await.is_good());
    }
    let quits = b"e=ps,sta=q,ts=1764460800000,v=2\n";
    let calls = (0..PAGES).map(|device| call("POST", "/license/~report", device, quits)).collect();
    send_and_leave(stage.proxy, calls).await;
    are_all_closed_by(&stage, "quit").await;
    stage.end().await;
}

#[tokio::test]
async fn every_release_of_a_closed_page_ends_its_session_and_fetches_no_license() {
    let (server, stage) = household().await;
    for device in 0..PAGES {
        let tv = stage.stranger().with("x-device-id", &format!("tv-{device}"));
        assert!(tv.license("video").await.is_good());
    }
    let id = drm::WidevineId { offline: false, request_id: b"video", session_id: drm::SID8, version: 0 };
    let release = drm::widevine_release(&id, 60);
    let calls = (0..PAGES).map(|device| call("POST", "/license", device, &release)).collect();
    send_and_leave(stage.proxy, calls).await;
    are_all_closed_by(&stage, "released").await;
    assert_eq!(server.seen().len(), 2 * PAGES);
    stage.end().await;
}

#[tokio::test]
async fn an_operators_order_counts_even_if_its_answer_is_not_awaited() {
    const DEVICES: usize = 20;
    let (_server, stage) = household().await;
    for device in 0..DEVICES {
        assert!(stage.stranger().with("x-device-id", &format!("tv-{device}")).post(CLEARKEY).await.is_good());
    }
    let ids = stage.each("id").await;
    assert_eq!(ids.len(), DEVICES);
    let order = |id: &String| call("POST", &format!("/v1/sessions/{id}/kill"), 0, b"");
    let orders = ids.iter().map(|id| String::from_utf8(order(id)).unwrap().replace("proxy.test", "localhost").into());
    send_at_the_end(stage.admin, orders.collect()).await;
    stage.eventually("killed", async || stage.each("state").await == vec!["killed"; DEVICES]).await;
    stage.end().await;
}
