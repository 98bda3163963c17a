//! Tests the built program when descriptors or log space are scarce.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;
mod edge_tls;
#[path = "support/process.rs"]
mod process;
#[path = "support/web.rs"]
mod web;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use edge_tls::{Client, H2};
use http::Method;
use process::{Proxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Limit for each wait, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const NOWHERE: &str = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A folder with a configuration whose only route leads nowhere.
fn configured(listeners: &str) -> tempfile::TempDir {
    configured_with(listeners, "127.0.0.1:9")
}

fn configured_with(listeners: &str, license_server: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[server]\n{listeners}\nworkers = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/license\"\nlicense-server = \"http://{license_server}/\"\n"
    );
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    folder
}

const PLAIN: &str = "listen = []\nlisten-plain = [\"127.0.0.1:0\"]";
const TLS: &str = "listen = [\"127.0.0.1:0\"]\nlisten-plain = []";

async fn connect_from(host: u8, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    socket.connect(to).await.ok()
}

/// The first bytes of the reply to a call over a new connection; empty if it was closed.
async fn call_from(host: u8, to: SocketAddr) -> String {
    request_from(host, to, NOWHERE).await
}

async fn request_from(host: u8, to: SocketAddr, request: &str) -> String {
    let Some(mut stream) = connect_from(host, to).await else { return String::new() };
    let _closed = stream.write_all(request.as_bytes()).await;
    let mut part = [0; 4096];
    let read = stream.read(&mut part).await.unwrap_or(0);
    String::from_utf8_lossy(&part[..read]).into_owned()
}

/// Answers whatever it is asked, on as many connections as come, and takes its time; while the set is held.
async fn answering() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, mut serving) = (listener.local_addr().unwrap(), JoinSet::new());
    serving.spawn(async move {
        let mut calls = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            calls.spawn(async move {
                let _request = stream.read(&mut [0; 4096]).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _closed = stream.write_all(reply).await;
            });
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_process_with_all_its_descriptors_in_use_says_that_it_lives_and_recovers() {
    let (license_server, _serving) = answering().await;
    let folder = configured_with(PLAIN, &license_server.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" run -c \"$1\"", env!("CARGO_BIN_EXE_sidebeat")]);
    let mut proxy = Proxy::spawn(command.arg(folder.path().join("config.toml")));
    proxy.await_start();
    let alive = async || proxy.ask_admin(Method::GET, "/livez").await.is_ok_and(|reply| reply.status == 200);
    let mut held = Vec::new();
    for number in 0..200_u8 {
        held.extend(connect_from(2 + number % 20, proxy.players).await);
        let mut operator = connect_from(2, proxy.admin).await.unwrap();
        if number % 3 == 0 {
            let _closed = operator.write_all(b"GET /livez HTTP/1.1\r\nHo").await;
        }
        held.push(operator);
    }
    for asked in 0..10 {
        assert!(alive().await, "asked {asked} times");
    }
    // Connections on which nothing happens lock no player out either.
    eventually("serves a player beside them", async || call_from(50, proxy.players).await.contains(" 404 ")).await;
    drop(held);
    for _ in 0..10 {
        eventually("serves players again", async || call_from(51, proxy.players).await.contains(" 404 ")).await;
        assert!(alive().await);
    }
    // Players' connections leave descriptors for the calls upstream that they cause, so an accepted player is served.
    let license = "POST /license HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    let calls: JoinSet<_> = (60..120).map(|host| request_from(host, proxy.players, license)).collect();
    let replies = calls.join_all().await;
    assert!(replies.iter().all(|reply| !reply.contains("license_server")), "{replies:?}");
    let served = replies.iter().filter(|reply| reply.contains(" 200 ")).count();
    assert!(served > 0, "nobody is served");
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

/// 1.7 MB of frames that answer no question.
#[tokio::test]
async fn senseless_frames_fill_no_log() {
    const FRAMES: usize = 100_000;
    let folder = configured(TLS);
    let proxy = Proxy::start(&folder.path().join("config.toml"));
    let client = Client::trusting(&folder.path().join("certs")).speaking(H2);
    let mut stream = client.connect(proxy.players).await.unwrap();
    let before = proxy.log_bytes();
    let ping_ack = b"\0\0\x08\x06\x01\0\0\0\0abcdefgh";
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), settings].concat()).await.unwrap();
    let _closed = stream.write_all(&ping_ack.repeat(FRAMES)).await;
    // The process has read them all when it has closed.
    let _closed = stream.shutdown().await;
    let _rest = stream.read_to_end(&mut Vec::new()).await;
    proxy.ask_admin(Method::GET, "/livez").await.unwrap();
    assert!(proxy.log_bytes() - before < 10_000, "{} bytes", proxy.log_bytes() - before);
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

async fn ask(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut part = [0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await.expect("no reply ever comes").unwrap();
    String::from_utf8_lossy(&part[..read]).into_owned()
}

/// The log answers a support desk's first question; the reply says no more than before.
#[tokio::test]
async fn the_log_says_which_path_origin_or_host_was_refused() {
    let listed = format!("{PLAIN}\norigins = [\"https://tv.example\"]");
    let folder = configured(&listed);
    let proxy = Proxy::start(&folder.path().join("config.toml"));
    let token = "abcdefghijklmnopqrstuvwxyz0123456789";
    let line = "HTTP/1.1\r\nHost: localhost\r\n";
    for (request, error, says) in [
        (
            format!("GET /lisence/{token}/x?token={token} {line}\r\n"),
            "no_route",
            "path /lisence/…/x; there is /license",
        ),
        (
            format!(
                "POST /license {line}Origin: https://evil.example.with-a-long-name.of-many-parts.test\r\nContent-Length: 0\r\n\r\n"
            ),
            "origin_refused",
            "origin https://evil.example.with-a-long-name.of-many-parts.test",
        ),
        (
            format!("GET /license {line}Sec-Fetch-Site: cross-site\r\nReferer: https://bad.example/a?b\r\n\r\n"),
            "origin_refused",
            "origin https://bad.example",
        ),
        ("GET /license HTTP/1.1\r\nHost: rebound.example\r\n\r\n".to_owned(), "host_refused", "host rebound.example"),
    ] {
        let reply = ask(proxy.players, &request).await;
        assert!(reply.contains(error), "{reply}");
        let told = proxy.says(&format!("error=\"{error}\""));
        assert!(told.contains(says), "{told}");
        assert!(
            !told.contains(token) && !reply.contains("evil.example") && !reply.contains("bad.example"),
            "{told} {reply}"
        );
        // Only a call to a route is told its name.
        assert!(request.contains("/license") || !reply.contains("/license"), "{reply}");
    }
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

/// Names stand in paths, too, and in what others say.
#[tokio::test]
async fn a_hashed_log_names_no_device_or_account_in_a_path_or_a_refusal() {
    let folder = configured_with_sessions();
    let file = folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("[log]\nlevel = \"debug\"\nidentities = \"hashed\"\n{config}")).unwrap();
    let proxy = Proxy::start(&file);
    for (head, body) in [
        ("GET /nowhere/living-room/ann?device=living-room HTTP/1.1\r\n", ""),
        ("GET /living-room HTTP/1.1\r\n", ""),
        ("POST /license HTTP/1.1\r\n", CHALLENGE),
        ("POST /license/living-room/../ann HTTP/1.1\r\n", CHALLENGE),
        ("POST /license/~stop?device=living-room HTTP/1.1\r\n", ""),
        ("GET /media/living-room/a.m3u8?device=living-room HTTP/1.1\r\n", ""),
    ] {
        status_of(proxy.players, head, body).await;
    }
    let told = proxy.says("error=\"no_route\"");
    assert!(told.contains("there is /license, /media"), "{told}");
    for name in ["living-room", "ann\"", "/ann"] {
        assert_eq!(proxy.said(name), 0, "{name}");
    }
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_player_that_distrusts_the_certificate_or_speaks_no_tls_is_logged() {
    let folder = configured(TLS);
    let proxy = Proxy::start(&folder.path().join("config.toml"));
    let other = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let now = sidebeat::clock::Clock.wall();
    let request =
        sidebeat::edge::local_ca::CertsRequest { directory: other.path(), names: &names, now, renew_authority: false };
    sidebeat::edge::local_ca::init(&request).unwrap();
    assert!(Client::trusting(other.path()).connect(proxy.players).await.is_err());
    let told = proxy.says("does not trust our certificate");
    assert!(told.contains("INFO") && told.contains("certs/ca.pem"), "{told}");
    let mut stream = TcpStream::connect(proxy.players).await.unwrap();
    stream.write_all(NOWHERE.as_bytes()).await.unwrap();
    let _closed = stream.read_to_end(&mut Vec::new()).await;
    let told = proxy.says("begins as plain HTTP does");
    assert!(told.contains("INFO") && told.contains("plain_http") && told.contains("server.listen-plain"), "{told}");
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn an_endlessly_refused_caller_writes_its_first_lines_and_the_rest_are_counted() {
    const CALLS: usize = 2_000;
    let folder = configured(PLAIN);
    let proxy = Proxy::start(&folder.path().join("config.toml"));
    let mut stream = connect_from(2, proxy.players).await.unwrap();
    let (mut part, mut whole) = (vec![0; 1 << 16], Vec::new());
    for _ in 0..CALLS {
        stream.write_all(NOWHERE.as_bytes()).await.unwrap();
        whole.clear();
        while !whole.ends_with(b"}") {
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await;
            let read = read.expect("the rest of a refusal never comes").unwrap();
            assert!(read > 0, "the connection ended in the middle of a refusal");
            whole.extend_from_slice(&part[..read]);
        }
    }
    assert!(call_from(3, proxy.players).await.contains(" 404 "));
    let told = proxy.says("more like it in");
    assert!(told.contains("no_route") && told.contains("127.0.0.2"), "{told}");
    // Two windows at most, and the other caller's own.
    assert!((21..=41).contains(&proxy.said("refused a request")), "{}", proxy.said("refused a request"));
    assert_eq!(proxy.said("127.0.0.3"), 1, "another caller has its own lines");
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

/// A configuration with an embedded authority that grants nothing, before a missing license server.
fn configured_with_sessions() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[server]\n{PLAIN}\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"header:x-account\"]\ndeny = [\"ann\"]\n\
         [[route]]\npath = \"/license\"\nlicense-server = \"http://127.0.0.1:9/\"\nauthority = \"home\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"http://127.0.0.1:9/\"\nauthority = \"home\"\n"
    );
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    folder
}

/// The status of the reply to a call over a new connection.
async fn status_of(to: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = connect_from(2, to).await.unwrap();
    let who = "Host: localhost\r\nX-Device-Id: living-room\r\nX-Account: ann\r\n";
    let length = body.len();
    let call = format!("{head}{who}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(call.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await.expect("a reply").unwrap();
    String::from_utf8_lossy(&reply).split(' ').nth(1).unwrap_or_default().to_owned()
}

const CHALLENGE: &str = r#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;

#[tokio::test]
async fn every_refusal_names_the_device_and_the_account_that_are_known() {
    let folder = configured_with_sessions();
    let proxy = Proxy::start(&folder.path().join("config.toml"));
    let unknown = format!("POST /license/~{:032x} HTTP/1.1\r\n", 7);
    for (head, body, status, error) in [
        // Before anything is read of the call.
        ("POST /license HTTP/1.1\r\nContent-Encoding: gzip\r\n", CHALLENGE, "415", "content_encoding"),
        ("POST /license HTTP/1.1\r\nContent-Type: text/plain; charset=utf-7\r\n", CHALLENGE, "415", "charset"),
        (unknown.as_str(), CHALLENGE, "403", "unknown_playback"),
        // The line names its session, and the session that its media would have.
        ("POST /license HTTP/1.1\r\n", CHALLENGE, "403", "setup_rejected"),
        ("GET /media/a.m3u8 HTTP/1.1\r\n", "", "403", "setup_rejected"),
        ("GET /media/a.ts HTTP/1.1\r\n", "", "404", "playback_missing"),
    ] {
        assert_eq!(status_of(proxy.players, head, body).await, status, "{head}");
        let line = proxy.says(error);
        assert!(line.contains("device=\"living-room\""), "{line}");
        assert!(line.contains("account=\"ann\""), "{line}");
    }
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn an_endlessly_refused_device_writes_its_first_lines_and_the_rest_are_counted() {
    const CALLS: usize = 300;
    let folder = configured_with_sessions();
    let proxy = Proxy::start(&folder.path().join("config.toml"));
    for _ in 0..CALLS {
        assert_eq!(status_of(proxy.players, "POST /license HTTP/1.1\r\n", CHALLENGE).await, "403");
    }
    let told = proxy.says("more like it in");
    assert!(told.contains("refused") && told.contains("living-room"), "{told}");
    // The lines fall into two windows at most.
    assert!((20..=40).contains(&proxy.said("setup_rejected")), "{}", proxy.said("setup_rejected"));
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

/// Answers every call with this, until the set is dropped.
async fn saying(status: &'static str, body: &'static str) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, mut serving) = (listener.local_addr().unwrap(), JoinSet::new());
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _request = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _closed = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (address, serving)
}

/// The log lines of one refused call, by name.
#[tokio::test]
async fn a_refused_call_leaves_one_line_with_its_owner() {
    let (kills, _killing) = saying("404 Not Found", r#"{"errorCode":3002,"message":"Not Found"}"#).await;
    let (denies, _denying) = saying("400 Bad Request", r#"{"errorCode":1007,"message":"too many"}"#).await;
    let (declines, _declining) = saying("403 Forbidden", "no").await;
    let folder = tempfile::tempdir().unwrap();
    let ssm = |name: &str, address: String| {
        format!(
            "[[authority]]\nname = \"{name}\"\nkind = \"nagra-ssm\"\nurl = \"http://{address}/\"\ntenant = \"T\"\n\
             [[route]]\npath = \"/{name}\"\nlicense-server = \"http://127.0.0.1:9/\"\nauthority = \"{name}\"\n"
        )
    };
    let embedded = format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\n\
         [[route]]\npath = \"/declined\"\nlicense-server = \"http://{declines}/\"\nauthority = \"home\"\n"
    );
    let authorities =
        [("killed", kills.to_string()), ("limit", denies.to_string()), ("away", "127.0.0.1:9".to_owned())];
    let tables: String = authorities.map(|(name, address)| ssm(name, address)).concat();
    let text = format!("[server]\n{PLAIN}\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n{tables}{embedded}");
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let proxy = Proxy::start(&folder.path().join("config.toml"));
    // {"device":{"accountId":"ann"},"sessionControl":{}}
    let token = "e30.eyJkZXZpY2UiOnsiYWNjb3VudElkIjoiYW5uIn0sInNlc3Npb25Db250cm9sIjp7fX0.x";
    let challenge = r#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;
    for (route, lines) in [
        ("limit", &["error=\"limit_reached\""][..]),
        ("away", &["error=\"authority_unreachable\""]),
        // The session's end is logged once, and each call that it refuses.
        ("killed", &[" killed ", "error=\"session_killed\""]),
        ("declined", &["the license server declined", "reason=\"unused\"", " opened "]),
    ] {
        let head = format!(
            "POST /{route} HTTP/1.1\r\nHost: h\r\nx-device-id: box-{route}\r\nnv-authorizations: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{challenge}",
            challenge.len()
        );
        let reply = request_from(2, proxy.players, &head).await;
        assert!(reply.starts_with("HTTP/1.1 403") || reply.starts_with("HTTP/1.1 503"), "{route}: {reply}");
        let device = format!("device=\"box-{route}\"");
        eventually(route, async || proxy.said(&device) >= lines.len()).await;
        assert!(request_from(2, proxy.players, NOWHERE).await.contains(" 404 "));
        proxy.says("no_route");
        assert_eq!(proxy.said(&device), lines.len(), "{route}: {}", proxy.text());
        for line in lines {
            let found = proxy.lines_with(&device).into_iter().find(|found| found.contains(line));
            let found = found.unwrap_or_else(|| panic!("{route}: no {line} in {}", proxy.text()));
            assert!(found.contains(&format!("route=\"/{route}\"")), "{found}");
            assert!(
                found.contains(if route == "declined" { "account=\"home\"" } else { "account=\"ann\"" }),
                "{found}"
            );
        }
    }
    let broken = "PUT /limit/~0123456789abcdef0123456789abcdef HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    assert!(request_from(2, proxy.players, broken).await.contains(" 400 "));
    let told = proxy.says("both_lengths");
    assert!(told.contains("method=\"PUT\"") && told.contains("route=\"/limit\"") && !told.contains("0123"), "{told}");
    assert_eq!(proxy.terminate().await.code(), Some(0));
}
