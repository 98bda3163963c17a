//! The pool against real sockets: peers that say exactly what a test scripts.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};
use tokio::time::timeout;
use tokio::{join, select};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::clock::Clock;
use crate::task::{DeadTasks, Tasks};

mod codec;
mod late;
mod turned_away;

/// Long enough never to be met where a test expects a reply.
const AMPLE: Duration = Duration::from_secs(20);
/// For tests whose end is the deadline itself; what comes before it takes a few milliseconds.
const SHORT: Duration = Duration::from_secs(1);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A pool, and one server that it may call.
struct Stage {
    _deaths: DeadTasks,
    endpoint: EndpointUrl,
    listener: TcpListener,
    pool: ConnectionPool,
    tasks: Tasks,
}

impl Stage {
    async fn plain() -> Self {
        Self::at("127.0.0.1:0", "http", Trust::public().unwrap()).await
    }

    async fn at(address: &str, scheme: &str, trust: Trust) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let endpoint = EndpointUrl::parse(&format!("{scheme}://{}/", listener.local_addr().unwrap())).unwrap();
        let (tasks, deaths) = Tasks::new();
        let pool = ConnectionPool::new(tasks.clone(), Clock, trust);
        Self { _deaths: deaths, endpoint, listener, pool, tasks }
    }

    fn call(&self, within: Duration) -> UpstreamCall<'_> {
        UpstreamCall {
            body: Bytes::from_static(b"challenge"),
            deadline: Clock.now() + within,
            endpoint: &self.endpoint,
            headers: HeaderMap::new(),
            method: Method::POST,
            path_and_query: PathAndQuery::from_static("/license?a=b"),
            reply_max: 64,
        }
    }

    async fn send(&self) -> Result<UpstreamReply, UpstreamFault> {
        self.pool.send(self.call(AMPLE)).await
    }

    async fn accept(&self) -> TcpStream {
        timeout(AMPLE, self.listener.accept()).await.expect("nobody connects").unwrap().0
    }

    /// Accepts a connection, reads a request, sends these bytes, and closes.
    async fn answer(&self, bytes: &str) {
        let mut stream = self.accept().await;
        read_request(&mut stream).await;
        // Some tests want the pool to hang up before the end.
        drop(stream.write_all(bytes.as_bytes()).await);
    }

    async fn outcome_of(&self, bytes: &str) -> Result<UpstreamReply, UpstreamFault> {
        join!(self.send(), self.answer(bytes)).0
    }

    /// A connection that was made stands in the queue of the system, so this need not wait.
    /// Waits until a connection can be used again: its own task has yet to see the end of the body.
    async fn idles(&self) {
        let seeing = async {
            while self.pool.idle(&self.endpoint) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(AMPLE, seeing).await.expect("the connection is never idle");
    }

    fn assert_no_other_connection(self) {
        let listener = self.listener.into_std().unwrap();
        assert_eq!(listener.accept().map(drop).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the request ended early: {text}");
        seen.extend_from_slice(&buffer[..count]);
    }
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), reply: &str) -> String {
    let request = read_request(stream).await;
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    request
}

/// Resolves when the pool has let go of the connection.
async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end too.
    drop(timeout(AMPLE, stream.read_to_end(&mut rest)).await.expect("the connection stays open"));
    assert!(rest.is_empty(), "more was sent");
}

fn fault(outcome: Result<UpstreamReply, UpstreamFault>) -> UpstreamFault {
    outcome.map(|reply| reply.status).unwrap_err()
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let stage = Stage::plain().await;
    let peer = async {
        let mut stream = stage.accept().await;
        for _ in 0..20 {
            exchange(&mut stream, OK).await;
        }
    };
    let calls = async {
        for _ in 0..20 {
            assert_eq!(stage.send().await.unwrap().body, "ok");
        }
    };
    join!(calls, peer);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn calls_at_once_have_a_connection_each_and_leave_them_to_the_next() {
    let stage = Stage::plain().await;
    let peer = async {
        let (mut one, mut two) = (stage.accept().await, stage.accept().await);
        join!(exchange(&mut one, OK), exchange(&mut two, OK));
        join!(exchange(&mut one, OK), exchange(&mut two, OK));
    };
    let calls = async {
        for _ in 0..2 {
            let (one, two) = join!(stage.send(), stage.send());
            assert!(one.is_ok() && two.is_ok());
        }
    };
    join!(calls, peer);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_used_again() {
    let stage = Stage::plain().await;
    for reply in
        [OK, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\n\r\nok"]
    {
        assert_eq!(stage.outcome_of(reply).await.unwrap().body, "ok", "{reply}");
    }
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_request_that_was_written_is_never_repeated() {
    let stage = Stage::plain().await;
    let peer = async {
        let mut stream = stage.accept().await;
        exchange(&mut stream, OK).await;
        read_request(&mut stream).await;
    };
    let calls = async {
        stage.send().await.unwrap();
        assert_eq!(fault(stage.send().await), UpstreamFault::Reset);
    };
    join!(calls, peer);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn the_request_is_what_the_call_says_and_nothing_else() {
    let stage = Stage::plain().await;
    let mut call = stage.call(AMPLE);
    for (name, value) in [
        ("connection", "x-one"),
        ("connection", "close, x-two"),
        ("content-length", "4"),
        ("expect", "100-continue"),
        ("host", "elsewhere"),
        ("keep-alive", "timeout=9"),
        ("nv-authorizations", "token"),
        ("proxy-authorization", "basic"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x-one", "1"),
        ("x-two", "2"),
    ] {
        call.headers.append(name, HeaderValue::from_static(value));
    }
    let peer = async { exchange(&mut stage.accept().await, OK).await };
    let (reply, request) = join!(stage.pool.send(call), peer);
    reply.unwrap();
    let host = stage.endpoint.authority();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    let expected =
        ["POST /license?a=b HTTP/1.1", "content-length: 9", &format!("host: {host}"), "nv-authorizations: token"];
    assert_eq!(lines, expected);
    assert_eq!(body, "challenge");
}

#[tokio::test]
async fn an_empty_body_has_a_length_where_the_method_expects_one() {
    for (method, length) in [
        (Method::DELETE, false),
        (Method::GET, false),
        (Method::HEAD, false),
        (Method::PATCH, true),
        (Method::POST, true),
        (Method::PUT, true),
    ] {
        let stage = Stage::plain().await;
        let call = UpstreamCall { body: Bytes::new(), method: method.clone(), ..stage.call(AMPLE) };
        let peer = async { exchange(&mut stage.accept().await, "HTTP/1.1 204 No Content\r\n\r\n").await };
        let (reply, request) = join!(stage.pool.send(call), peer);
        assert_eq!(reply.unwrap().status, StatusCode::NO_CONTENT);
        assert_eq!(request.contains("content-length: 0\r\n"), length, "{method}");
        assert_eq!(request.contains("content-length"), length, "{method}");
    }
}

#[tokio::test]
async fn a_reply_to_head_may_name_any_length() {
    let stage = Stage::plain().await;
    let call = UpstreamCall { body: Bytes::new(), method: Method::HEAD, ..stage.call(AMPLE) };
    let peer = stage.answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let reply = join!(stage.pool.send(call), peer).0.unwrap();
    assert_eq!((reply.headers["content-length"].as_bytes(), reply.body.len()), (b"1000".as_slice(), 0));
}

#[tokio::test]
async fn the_reply_comes_without_what_belongs_to_the_connection() {
    let stage = Stage::plain().await;
    let reply = "HTTP/1.1 403 Forbidden\r\nConnection: x-one\r\nConnection: X-Two, keep-alive\r\nX-One: 1\r\nX-Two: 2\r\n\
        Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTrailer: x-end\r\nUpgrade: h2c\r\n\
        Content-Encoding: br\r\nContent-Type: text/plain\r\nX-Three: 3\r\nContent-Length: 99\r\n\
        Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nno\r\n3\r\npe!\r\n0\r\nX-End: 1\r\n\r\n";
    let reply = stage.outcome_of(reply).await.unwrap();
    let mut names: Vec<&str> = reply.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-encoding", "content-type", "x-three"]);
    assert_eq!((reply.status, reply.body), (StatusCode::FORBIDDEN, Bytes::from_static(b"nope!")));
}

#[tokio::test]
async fn informational_replies_are_skipped_and_redirects_are_not_followed() {
    let stage = Stage::plain().await;
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
    let reply = stage.outcome_of(&format!("{early}{OK}")).await.unwrap();
    assert_eq!((reply.status, reply.headers.len()), (StatusCode::OK, 1));
    let reply = stage.outcome_of("HTTP/1.1 307 X\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.headers["location"].as_bytes()), (307, b"http://a/".as_slice()));
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn each_bad_reply_has_its_fault() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(257));
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(32 * 1024));
    let rows: [(&str, UpstreamFault); 25] = [
        ("", UpstreamFault::Reset),
        ("HTTP/1.1 200 O", UpstreamFault::Reset),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", UpstreamFault::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", UpstreamFault::Reset),
        ("SSH-2.0-OpenSSH\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 2x0 OK\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nabcde", UpstreamFault::Malformed),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5, 6\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 0\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", UpstreamFault::Malformed),
        ("HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 0\r\n\r\n", UpstreamFault::Malformed),
        (&many, UpstreamFault::TooLarge),
        (&long, UpstreamFault::TooLarge),
        ("HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", UpstreamFault::TooLarge),
        ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", UpstreamFault::TooLarge),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n", UpstreamFault::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", UpstreamFault::Malformed),
    ];
    for (reply, expected) in rows {
        let stage = Stage::plain().await;
        let shown: String = reply.chars().take(100).collect();
        let outcome = stage.outcome_of(reply).await.map(|reply| reply.body);
        assert_eq!(outcome, Err(expected), "{shown}");
        stage.assert_no_other_connection();
    }
}

#[tokio::test]
async fn a_reply_that_can_be_repaired_is_repaired() {
    let most = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", "a: b\r\n".repeat(255));
    for (reply, name, value) in [
        ("HTTP/1.1 200 OK\r\nX-Spaced : 1\r\nContent-Length : 2\r\n\r\nok", "x-spaced", "1"),
        ("HTTP/1.1 200 OK\r\nX-Tabbed\t: 1\r\nContent-Length: 2\r\n\r\nok", "x-tabbed", "1"),
        ("HTTP/1.1 200 OK\r\nX-Folded: a\r\n  b\r\n\tc\r\nContent-Length: 2\r\n\r\nok", "x-folded", "a b c"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "content-length", "2"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "content-length", "2"),
        ("HTTP/1.1 200\r\nX-Short: 1\r\nContent-Length: 2\r\n\r\nok", "x-short", "1"),
        (&most, "content-length", "2"),
    ] {
        let stage = Stage::plain().await;
        let shown: String = reply.chars().take(100).collect();
        let found = stage.outcome_of(reply).await.unwrap_or_else(|fault| panic!("{fault}: {shown}"));
        let values: Vec<_> = found.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(values.len(), 1, "{shown}");
        let words: Vec<_> = values[0].split_whitespace().collect();
        assert_eq!((words.join(" ").as_str(), &found.body[..]), (value, &b"ok"[..]), "{shown}");
        assert!(!values[0].contains(['\r', '\n']), "{shown}");
    }
}

/// The next bytes might be a part of the reply that was read, or a smuggled one.
#[tokio::test]
async fn a_connection_whose_framing_was_doubtful_carries_no_other_call() {
    for reply in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let stage = Stage::plain().await;
        let peer = async {
            let mut stream = stage.accept().await;
            exchange(&mut stream, reply).await;
            ended(&mut stream).await;
        };
        let (outcome, ()) = join!(stage.send(), peer);
        let reply = outcome.unwrap();
        assert!(!reply.headers.contains_key("content-length"));
        let peer = async { exchange(&mut stage.accept().await, OK).await };
        assert!(join!(stage.send(), peer).0.is_ok());
    }
}

#[tokio::test]
async fn a_body_may_be_as_large_as_allowed_and_not_a_byte_larger() {
    let chunks = |count: usize, last: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}{last}0\r\n\r\n",
            "8\r\n01234567\r\n".repeat(count)
        )
    };
    let counted = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "a".repeat(length));
    let closed = |length: usize| format!("HTTP/1.0 200 OK\r\n\r\n{}", "a".repeat(length));
    for fits in [chunks(8, ""), chunks(0, ""), counted(64), counted(0), closed(64), closed(0)] {
        let stage = Stage::plain().await;
        assert!(matches!(stage.outcome_of(&fits).await.unwrap().body.len(), 0 | 64), "{fits}");
    }
    for excess in [chunks(8, "1\r\nx\r\n"), counted(65), closed(65)] {
        let stage = Stage::plain().await;
        assert_eq!(fault(stage.outcome_of(&excess).await), UpstreamFault::TooLarge, "{excess}");
    }
}

#[tokio::test]
async fn a_slow_server_is_reported_by_phase_and_its_connection_dropped() {
    let rows = [
        ("", CallPhase::Head),
        ("HTTP/1.1 200 OK\r\nContent-Le", CallPhase::Head),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", CallPhase::Body),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", CallPhase::Body),
    ];
    let check = async |said, phase| {
        let stage = Stage::plain().await;
        let peer = async {
            let mut stream = stage.accept().await;
            exchange(&mut stream, said).await;
            ended(&mut stream).await;
        };
        let (outcome, ()) = join!(stage.pool.send(stage.call(SHORT)), peer);
        assert_eq!(fault(outcome), UpstreamFault::Slow { phase }, "{said}");
    };
    all(rows.map(|(said, phase)| Box::pin(check(said, phase))).into()).await;
}

#[tokio::test]
async fn opening_is_a_phase_of_its_own() {
    let stage = Stage::at("127.0.0.1:0", "https", Trust::public().unwrap()).await;
    // The handshake is never answered.
    assert_eq!(fault(stage.pool.send(stage.call(SHORT)).await), UpstreamFault::Slow { phase: CallPhase::Connect });
    let stage = Stage::plain().await;
    let late = UpstreamCall { deadline: Clock.now(), ..stage.call(SHORT) };
    assert_eq!(fault(stage.pool.send(late).await), UpstreamFault::Slow { phase: CallPhase::Connect });

    stage.assert_no_other_connection();

    let mut stage = Stage::plain().await;
    // Its port is nobody's now.
    stage.listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(fault(stage.send().await), UpstreamFault::Connect(ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn a_dropped_call_drops_its_connection() {
    let stage = Stage::plain().await;
    let mut stream = select! {
        biased;
        _ = stage.send() => panic!("there is no reply"),
        stream = async {
            let mut stream = stage.accept().await;
            read_request(&mut stream).await;
            stream
        } => stream,
    };
    ended(&mut stream).await;
    assert_eq!(stage.outcome_of(OK).await.unwrap().body, "ok");
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_streamed_reply_leaves_its_connection_to_the_next() {
    let stage = Stage::plain().await;
    let serve = async {
        let mut stream = stage.accept().await;
        for _ in 0..2 {
            exchange(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
        }
        stream
    };
    let ask = async {
        for _ in 0..2 {
            let streamed = stage.pool.stream(stage.call(AMPLE), AMPLE).await.unwrap();
            assert_eq!(streamed.body.collect().await.unwrap().to_bytes(), "ok");
            stage.idles().await;
        }
    };
    join!(ask, serve);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_streamed_reply_that_is_dropped_or_breaks_off_takes_its_connection_along() {
    let stage = Stage::plain().await;
    let (streamed, mut stream) = join!(stage.pool.stream(stage.call(AMPLE), AMPLE), async {
        let mut stream = stage.accept().await;
        exchange(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await;
        stream
    });
    drop(streamed.map(drop));
    ended(&mut stream).await;

    let (streamed, ()) = join!(
        stage.pool.stream(stage.call(AMPLE), AMPLE),
        stage.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
    );
    assert_eq!(streamed.unwrap().body.collect().await.unwrap_err(), UpstreamFault::Reset);
    assert_eq!(stage.pool.idle(&stage.endpoint), 0);
}

#[tokio::test]
async fn a_streamed_reply_may_take_long_but_not_pause() {
    let stage = Stage::plain().await;
    let (streamed, _stream) = join!(stage.pool.stream(stage.call(AMPLE), SHORT / 10), async {
        let mut stream = stage.accept().await;
        exchange(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await;
        stream
    });
    assert_eq!(streamed.unwrap().body.collect().await.unwrap_err(), UpstreamFault::Slow { phase: CallPhase::Body });
    // Three times as long as a pause may be.
    let (streamed, ()) = join!(stage.pool.stream(stage.call(AMPLE), SHORT), async {
        let mut stream = stage.accept().await;
        exchange(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 30\r\nConnection: close\r\n\r\n").await;
        stage.tasks.spawn(async move {
            for _ in 0..30 {
                tokio::time::sleep(SHORT / 10).await;
                stream.write_all(b"x").await.unwrap();
            }
        });
    });
    assert_eq!(streamed.unwrap().body.collect().await.unwrap().to_bytes(), "x".repeat(30));
    let late = UpstreamCall { deadline: Clock.now(), ..stage.call(AMPLE) };
    assert_eq!(stage.pool.stream(late, AMPLE).await.map(drop), Err(UpstreamFault::Slow { phase: CallPhase::Connect }));
}

#[tokio::test]
async fn an_ipv6_literal_is_a_host() {
    let stage = Stage::at("[::1]:0", "http", Trust::public().unwrap()).await;
    let peer = async { exchange(&mut stage.accept().await, OK).await };
    let (reply, request) = join!(stage.send(), peer);
    assert_eq!(reply.unwrap().body, "ok");
    assert!(request.contains(&format!("\r\nhost: [::1]:{}\r\n", stage.endpoint.port())), "{request}");
}

#[tokio::test]
async fn draining_need_not_wait_for_idle_connections() {
    let stage = Stage::plain().await;
    let mut stream = join!(stage.send(), async {
        let mut stream = stage.accept().await;
        exchange(&mut stream, OK).await;
        stream
    })
    .1;
    stage.tasks.stop();
    let (left, ()) = join!(stage.tasks.drain(AMPLE), ended(&mut stream));
    assert_eq!(left, 0);
}

// --- TLS and HTTP/2 ---

struct Certified {
    acceptor: TlsAcceptor,
    ca: tempfile::NamedTempFile,
}

fn certified(alpn: &[&str]) -> Certified {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    served(&made.cert, &made.signing_key, alpn)
}

fn served(cert: &rcgen::Certificate, key: &rcgen::KeyPair, alpn: &[&str]) -> Certified {
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), cert.pem()).unwrap();
    Certified { acceptor: TlsAcceptor::from(Arc::new(config)), ca }
}

async fn tls_stage(certified: &Certified) -> Stage {
    trusting_stage(certified).await.0
}

async fn trusting_stage(certified: &Certified) -> (Stage, Trust) {
    let mut stage = Stage::at("127.0.0.1:0", "https", Trust::public().unwrap()).await;
    let trust = Trust::public().unwrap();
    trust.take(trust.prepared([(&stage.endpoint, Some(certified.ca.path()))]).unwrap());
    stage.pool = ConnectionPool::new(stage.tasks.clone(), Clock, trust.clone());
    (stage, trust)
}

#[tokio::test]
async fn http1_over_tls_with_our_own_ca() {
    for alpn in [&["http/1.1"][..], &[]] {
        let certified = certified(alpn);
        let stage = tls_stage(&certified).await;
        let peer = async {
            let mut stream = certified.acceptor.accept(stage.accept().await).await.unwrap();
            exchange(&mut stream, OK).await;
            exchange(&mut stream, OK).await;
        };
        let calls = async {
            for _ in 0..2 {
                assert_eq!(stage.send().await.unwrap().body, "ok");
            }
        };
        join!(calls, peer);
        stage.assert_no_other_connection();
    }
}

#[tokio::test]
async fn a_connection_of_an_older_trust_is_not_used_for_new_calls() {
    let (certified, other) = (certified(&["http/1.1"]), certified(&["http/1.1"]));
    let (stage, trust) = trusting_stage(&certified).await;
    let peer = async {
        let mut stream = certified.acceptor.accept(stage.accept().await).await.unwrap();
        exchange(&mut stream, OK).await;
        assert!(certified.acceptor.accept(stage.accept().await).await.is_err());
    };
    let calls = async {
        assert_eq!(stage.send().await.unwrap().body, "ok");
        trust.take(trust.prepared([(&stage.endpoint, Some(other.ca.path()))]).unwrap());
        assert!(matches!(fault(stage.send().await), UpstreamFault::Tls(_)));
    };
    join!(calls, peer);
}

#[tokio::test]
async fn an_untrusted_server_gets_nothing_and_all_waiting_calls_learn_it() {
    let certified = certified(&["h2"]);
    let stage = Stage::at("127.0.0.1:0", "https", Trust::public().unwrap()).await;
    let peer = async { assert!(certified.acceptor.accept(stage.accept().await).await.is_err()) };
    let (one, two, ()) = join!(stage.send(), stage.send(), peer);
    let (one, two) = (fault(one), fault(two));
    assert!(matches!(&one, UpstreamFault::Tls(why) if why.contains("by the key \"ca\"")), "{one}");
    assert_eq!(one, two);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_trusted() {
    let certified = certified(&["h2"]);
    let mut stage = Stage::at("127.0.0.2:0", "https", Trust::public().unwrap()).await;
    let trust = Trust::public().unwrap();
    trust.take(trust.prepared([(&stage.endpoint, Some(certified.ca.path()))]).unwrap());
    stage.pool = ConnectionPool::new(stage.tasks.clone(), Clock, trust);
    let peer = async { assert!(certified.acceptor.accept(stage.accept().await).await.is_err()) };
    assert!(matches!(join!(stage.send(), peer).0.map(drop), Err(UpstreamFault::Tls(_))));
}

/// As `openssl req -x509` makes it.
fn certified_as_a_ca() -> Certified {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    served(&params.self_signed(&key).unwrap(), &key, &[])
}

#[tokio::test]
async fn the_usual_mistakes_about_certificates_are_explained_with_their_remedy() {
    let certified = certified_as_a_ca();
    let stage = tls_stage(&certified).await;
    let untrusting = Stage::at("127.0.0.1:0", "https", Trust::public().unwrap()).await;
    for stage in [stage, untrusting] {
        let peer = async { assert!(certified.acceptor.accept(stage.accept().await).await.is_err()) };
        let UpstreamFault::Tls(said) = fault(join!(stage.send(), peer).0) else { panic!("another fault") };
        assert!(said.contains("CA:FALSE") && said.contains("the key \"ca\""), "{said}");
    }
    let plain = Stage::at("127.0.0.1:0", "https", Trust::public().unwrap()).await;
    let peer = async {
        let mut stream = plain.accept().await;
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        stream
    };
    let UpstreamFault::Tls(said) = fault(join!(plain.send(), peer).0) else { panic!("another fault") };
    assert!(said.contains("plain HTTP") && said.contains("http://"), "{said}");
}

#[tokio::test]
async fn a_connection_that_ends_in_the_handshake_says_nothing_about_trust() {
    let stage = Stage::at("127.0.0.1:0", "https", Trust::public().unwrap()).await;
    let peer = async { drop(stage.accept().await) };
    assert!(matches!(fault(join!(stage.send(), peer).0), UpstreamFault::Connect(_)));
}

/// Serves HTTP/2 on one connection until `stop`, then lets it end.
async fn serve_http2<F>(stage: &Stage, certified: &Certified, stop: &Notify, service: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let stream = certified.acceptor.accept(stage.accept().await).await.unwrap();
    let service = service_fn(|request| {
        let reply = service(request);
        async { Ok::<_, Infallible>(reply.await) }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    select! {
        biased;
        () = stop.notified() => connection.as_mut().graceful_shutdown(),
        ended = &mut connection => return ended.unwrap(),
    }
    // Our side may close before it has read the goodbye.
    drop(connection.await);
}

#[tokio::test]
async fn http2_carries_many_calls_at_once_on_one_connection() {
    const CALLS: usize = 50;
    let certified = certified(&["h2", "http/1.1"]);
    let stage = tls_stage(&certified).await;
    let stop = Notify::new();
    let host = stage.endpoint.authority().to_owned();
    // Nobody is answered before all are there.
    let gate = Arc::new(Barrier::new(CALLS));
    let peer = serve_http2(&stage, &certified, &stop, |request: Request<Incoming>| {
        let (gate, host) = (Arc::clone(&gate), host.clone());
        async move {
            assert_eq!(request.uri().to_string(), format!("https://{host}/license?a=b"));
            let names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
            assert_eq!(names, ["content-length"]);
            assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "challenge");
            gate.wait().await;
            Response::new(Full::from("ok"))
        }
    });
    let calls = async {
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let mut call = stage.call(AMPLE);
            call.headers.insert("host", HeaderValue::from_static("elsewhere"));
            calls.push(Box::pin(stage.pool.send(call)));
        }
        for reply in all(calls).await {
            assert_eq!(reply.unwrap().body, "ok");
        }
        stop.notify_one();
    };
    join!(calls, peer);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_call_that_gives_up_leaves_the_opening_to_the_waiting_ones() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let stop = Notify::new();
    let mut first = Box::pin(stage.send());
    select! {
        biased;
        _ = &mut first => panic!("nobody has answered"),
        () = std::future::ready(()) => {}
    }
    let second = async {
        // Polled once, it waits for the connection that the first asked for.
        let mut second = Box::pin(stage.send());
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        drop(first);
        assert_eq!(second.await.unwrap().body, "ok");
        stop.notify_one();
    };
    let service = |_| std::future::ready(Response::new(Full::from("ok")));
    join!(second, serve_http2(&stage, &certified, &stop, service));
    stage.assert_no_other_connection();
}

#[test]
fn a_pool_is_shared_between_tasks() {
    fn holds<T: Send>(value: T) -> T {
        value
    }
    let (tasks, _deaths) = Tasks::new();
    let pool: &(dyn Send + Sync) = &ConnectionPool::new(tasks.clone(), Clock, Trust::public().unwrap());
    let _pool = pool;
    let pool = ConnectionPool::new(tasks, Clock, Trust::public().unwrap());
    let endpoint = EndpointUrl::parse("http://localhost").unwrap();
    drop(holds(async move {
        let call = UpstreamCall {
            body: Bytes::new(),
            deadline: Clock.now(),
            endpoint: &endpoint,
            headers: HeaderMap::new(),
            method: Method::GET,
            path_and_query: PathAndQuery::from_static("/"),
            reply_max: 0,
        };
        pool.send(call).await
    }));
}

/// Polls all of them, each whenever any is woken.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs = Vec::new();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match std::pin::Pin::new(future).poll(context) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs
}

/// Nothing would close it any more, and the end would wait for it.
#[tokio::test]
async fn a_connection_that_is_opened_when_the_others_were_closed_for_the_end_is_not_kept() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let opened = Cell::new(0);
    let last = async {
        assert_eq!(stage.send().await.unwrap().body, "ok");
        stage.tasks.stop();
        assert_eq!(stage.tasks.drain(SHORT * 5).await, 0);
        assert_eq!(stage.send().await.unwrap().body, "ok");
        assert_eq!(stage.tasks.drain(SHORT).await, 0);
        assert_eq!(opened.get(), 2, "the last call opened one connection and used it");
    };
    // None of them ends by the server's wish.
    let peer = async {
        loop {
            let stream = stage.accept().await;
            opened.set(opened.get() + 1);
            let stream = certified.acceptor.accept(stream).await.unwrap();
            let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok"))) });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // Our side may close it before anything was said.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        }
    };
    select! {
        () = last => {}
        () = peer => {}
    }
}

#[tokio::test]
async fn a_new_http2_connection_follows_one_that_the_server_ended() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let (stop, served) = (Notify::new(), AtomicUsize::new(0));
    let service = |_| {
        served.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Response::new(Full::from("ok")))
    };
    let peer = async {
        for _ in 0..3 {
            serve_http2(&stage, &certified, &stop, service).await;
        }
    };
    let calls = async {
        for _ in 0..3 {
            assert_eq!(stage.send().await.unwrap().body, "ok");
            assert_eq!(stage.send().await.unwrap().body, "ok");
            stop.notify_one();
        }
    };
    join!(calls, peer);
    assert_eq!(served.load(Ordering::Relaxed), 6);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_slow_or_too_large_reply_on_http2_leaves_the_connection_to_others() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let stop = Notify::new();
    let peer = serve_http2(&stage, &certified, &stop, |request: Request<Incoming>| async move {
        match request.uri().path() {
            "/never" => std::future::pending().await,
            "/large" => Response::new(Full::from(vec![0; 65])),
            _ => Response::new(Full::from("ok")),
        }
    });
    let calls = async {
        let call =
            |path, within| UpstreamCall { path_and_query: PathAndQuery::from_static(path), ..stage.call(within) };
        assert_eq!(fault(stage.pool.send(call("/never", SHORT)).await), UpstreamFault::Slow { phase: CallPhase::Head });
        assert_eq!(fault(stage.pool.send(call("/large", AMPLE)).await), UpstreamFault::TooLarge);
        assert_eq!(stage.pool.send(call("/", AMPLE)).await.unwrap().body, "ok");
        stop.notify_one();
    };
    join!(calls, peer);
    stage.assert_no_other_connection();
}

/// An operator reads it while the first call waits, and not once it has failed.
#[tokio::test]
async fn an_unreachable_server_is_reported_when_the_first_wait_begins() {
    let Stage { _deaths, endpoint, listener, pool, tasks: _ } = Stage::plain().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (begun, times) = (Notify::new(), AtomicUsize::new(0));
    let begins = |fault: &UpstreamFault| {
        assert!(fault.was_not_processed(), "{fault}");
        times.fetch_add(1, Ordering::Relaxed);
        begun.notify_one();
    };
    let until = Clock.now() + AMPLE;
    let hold = CallHold { attempt: AMPLE, begins: Some(&begins), gateway_errors: false, unreachable: true, until };
    let call = UpstreamCall {
        body: Bytes::new(),
        deadline: until,
        endpoint: &endpoint,
        headers: HeaderMap::new(),
        method: Method::GET,
        path_and_query: PathAndQuery::from_static("/"),
        reply_max: 64,
    };
    let (held, ()) = join!(pool.send_held(&call, hold), async {
        timeout(AMPLE, begun.notified()).await.expect("nothing is told while the call waits");
        // It waits for another while: more than one try is made.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let listener = TcpListener::bind(address).await.unwrap();
        let mut stream = timeout(AMPLE, listener.accept()).await.expect("nobody comes again").unwrap().0;
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    });
    assert!(held.outcome.is_ok() && held.again >= 1);
    assert_eq!(times.load(Ordering::Relaxed), 1);
}
