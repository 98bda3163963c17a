//! Tests how connections end: at drain, at a hand-over, at the end of their lifetime. No request or reply in transit is
//! lost.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;
mod edge_tls;

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_support::{GENEROUS, Recorder, Running, Setup, ask, limits, read_reply, read_to_end, server, status};
use edge_tls::{Client, H1, H2};
use sidebeat::clock::Clock;
use sidebeat::config::ServerLimits;
use sidebeat::edge::{Edge, EdgeCounters, Serving};
use sidebeat::task::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";
const SHORT: Duration = Duration::from_millis(150);

/// Drains, and does `meanwhile` once drain has begun, which an idle connection tells.
async fn drain_while(edge: &Running, meanwhile: impl Future<Output = ()>) -> usize {
    let mut idle = edge.connect().await;
    ask(&mut idle, GET).await.unwrap();
    let then = async {
        assert_eq!(read_to_end(&mut idle).await, b"");
        meanwhile.await;
    };
    tokio::join!(edge.serving.drain(GENEROUS), then).0
}

#[tokio::test]
async fn drain_cuts_neither_a_request_nor_a_reply() {
    let mut edge = Setup { workers: 2, ..Setup::default() }.run().await;
    let (mut held, mut sending, mut reading) = (edge.connect().await, edge.connect().await, edge.connect().await);
    held.write_all(HOLD.as_bytes()).await.unwrap();
    edge.begun().await;
    reading.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    edge.begun().await;
    // The answer to the first shows that the second, behind it, is being read.
    let pipelined = format!("{GET}POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    assert_eq!(status(&ask(&mut sending, &pipelined).await.unwrap()), 200);

    let left = drain_while(&edge, async {
        let refused = async { while tokio::net::TcpStream::connect(edge.plain).await.is_ok() {} };
        timeout(GENEROUS, refused).await.expect("nobody is accepted any more");
        edge.gate.add_permits(1);
        assert_eq!(status(&read_reply(&mut held).await.unwrap()), 200);
        assert_eq!(read_to_end(&mut held).await, b"", "and then it is closed");
        assert_eq!(status(&ask(&mut sending, "llo").await.unwrap()), 200);
        assert!(read_to_end(&mut reading).await.len() > 64 << 20, "the whole reply");
    })
    .await;
    assert_eq!(left, 0);
    assert!(edge.deaths.try_recv().is_err(), "a drained acceptor is no death");
    edge.tasks.stop();
    edge.serving.end().await;
    assert!(edge.deaths.try_recv().is_err());
}

#[tokio::test]
async fn drain_lets_http2_streams_finish() {
    let edge = Setup::default().run().await;
    let mut calls = Client::trusting(edge.directory.path()).speaking(H2).calls(&edge).await;
    let mut other = calls.clone();
    let held = other.post("/hold", "hello");
    let finish = async {
        edge.begun().await;
        drain_while(&edge, async { edge.gate.add_permits(1) }).await
    };
    let (reply, left) = tokio::join!(held, finish);
    assert_eq!((reply.status().as_u16(), left), (200, 0));
    timeout(GENEROUS, calls.closed()).await.unwrap();
}

#[tokio::test]
async fn drain_gives_up_after_its_grace() {
    let edge = Setup::default().run().await;
    let mut held = edge.connect().await;
    held.write_all(HOLD.as_bytes()).await.unwrap();
    edge.begun().await;
    assert_eq!(edge.serving.drain(SHORT).await, 1);
    edge.tasks.stop();
    edge.serving.end().await;
    assert_eq!(held.read(&mut [0; 64]).await.unwrap_or(0), 0, "cut, not answered");
}

/// From its first poll on, every reply says that its connection ends.
async fn begin_drain(serving: &Serving) -> Pin<Box<impl Future<Output = usize>>> {
    let mut drain = Box::pin(serving.drain(GENEROUS));
    assert!(timeout(Duration::ZERO, drain.as_mut()).await.is_err(), "connections are waited for");
    drain
}

trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Pipe for S {}

/// Over cleartext and over TLS.
async fn connect_both(edge: &Running) -> [(Box<dyn Pipe>, &'static str); 2] {
    let encrypted = Client::trusting(edge.directory.path()).speaking(H1).connect(edge.tls).await.unwrap();
    [(Box::new(edge.connect().await), "cleartext"), (Box::new(encrypted), "TLS")]
}

/// Sends the (rest of a) request, and expects the last reply of the connection.
async fn ask_last(stream: &mut Box<dyn Pipe>, request: &str, what: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    expect_last(stream, what).await;
}

/// Expects the last reply of the connection.
async fn expect_last(stream: &mut Box<dyn Pipe>, what: &str) {
    let reply = read_reply(stream).await.unwrap_or_else(|| panic!("{what}: closed without a reply"));
    assert_eq!(status(&reply), 200, "{what}");
    assert!(reply.contains("connection: close\r\n"), "{what}: {reply}");
    assert_eq!(read_to_end(stream).await, b"", "{what}: and then it is closed");
}

/// Its peer cannot know of the drain when it sends.
#[tokio::test]
async fn a_request_that_comes_when_drain_has_begun_is_answered_and_is_the_last_one() {
    for parks_soon in [false, true] {
        a_last_request_is_answered(&Setup { parks_soon, ..Setup::default() }.run().await).await;
    }
}

async fn a_last_request_is_answered(edge: &Running) {
    let mut connections = Vec::new();
    for begun in ["new", "half a head, new", "half a head, used", "used"] {
        for (mut stream, over) in connect_both(edge).await {
            if begun.ends_with("used") {
                assert_eq!(status(&ask(&mut stream, GET).await.unwrap()), 200);
                if edge.parks_soon {
                    edge.until_parked(if begun == "used" && over == "TLS" { 2 } else { 1 }).await;
                }
            }
            let rest = if begun.starts_with("half") {
                let (half, rest) = GET.split_at(9);
                stream.write_all(half.as_bytes()).await.unwrap();
                rest
            } else {
                GET
            };
            connections.push((stream, rest, format!("{begun}, {over}")));
        }
    }
    let mut drain = begin_drain(&edge.serving).await;
    // All at once, because each connection has one second, also on a slow machine.
    for (stream, rest, _) in &mut connections {
        stream.write_all(rest.as_bytes()).await.unwrap();
    }
    let answering = async {
        for (stream, _, what) in &mut connections {
            expect_last(stream, what).await;
        }
    };
    assert_eq!(tokio::join!(drain.as_mut(), answering).0, 0);
}

#[tokio::test]
async fn a_new_http2_connection_brings_its_first_request_when_drain_has_begun() {
    let edge = Setup::default().run().await;
    let client = Client::trusting(edge.directory.path()).speaking(H2);
    let (mut used, mut new) = (client.calls(&edge).await, client.calls(&edge).await);
    assert_eq!(used.post("/a", "").await.status(), 200);
    let mut drain = begin_drain(&edge.serving).await;
    let asking = async {
        assert_eq!(new.post("/a", "").await.status(), 200);
        timeout(GENEROUS, new.closed()).await.expect("and then it is closed");
        timeout(GENEROUS, used.closed()).await.expect("one that was used is told to go away");
    };
    assert_eq!(tokio::join!(drain.as_mut(), asking).0, 0);
}

/// A head that has begun is waited for longer than a request that may never come.
#[tokio::test]
async fn half_a_head_is_no_idle_connection() {
    let edge = Setup::default().run().await;
    let mut connections = connect_both(&edge).await;
    let (half, rest) = GET.split_at(9);
    for (stream, _) in &mut connections {
        assert_eq!(status(&ask(stream, &format!("{GET}{half}")).await.unwrap()), 200);
    }
    let left = drain_while(&edge, async {
        for (stream, over) in &mut connections {
            ask_last(stream, rest, over).await;
        }
    })
    .await;
    assert_eq!(left, 0);
}

/// The head of its reply announced no end.
#[tokio::test]
async fn a_reply_begun_before_drain_leaves_time_for_one_more_request() {
    let edge = Setup::default().run().await;
    let mut connections = connect_both(&edge).await;
    for (stream, over) in &mut connections {
        stream.write_all(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let head = until(stream, "one").await;
        assert!(!head.contains("connection: close"), "{over}: {head}");
    }
    let left = drain_while(&edge, async {
        edge.gate.add_permits(2);
        let [cleartext, encrypted] = &mut connections;
        let next = async |(stream, over): &mut (Box<dyn Pipe>, &'static str)| {
            until(stream, "0\r\n\r\n").await;
            ask_last(stream, GET, over).await;
        };
        tokio::join!(next(cleartext), next(encrypted));
    })
    .await;
    assert_eq!(left, 0);
}

/// Reads on until this came.
async fn until(stream: &mut Box<dyn Pipe>, what: &str) -> String {
    let mut all = String::new();
    let reading = async {
        while !all.contains(what) {
            let mut part = [0; 1024];
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "it ended before {what:?}: {all}");
            all.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
    };
    timeout(GENEROUS, reading).await.expect("it never comes");
    all
}

#[tokio::test]
async fn a_connection_at_the_end_of_its_lifetime_has_one_more_request_answered() {
    for parks_soon in [false, true] {
        let limits = ServerLimits { lifetime: SHORT * 4, ..limits() };
        one_more_is_answered(&Setup { limits, parks_soon, ..Setup::default() }.run().await).await;
    }
}

async fn one_more_is_answered(edge: &Running) {
    let mut connections = connect_both(edge).await;
    for (stream, _) in &mut connections {
        assert_eq!(status(&ask(stream, GET).await.unwrap()), 200);
    }
    if edge.parks_soon {
        edge.until_parked(2).await;
    }
    let over_age = async {
        while edge.counters.lifetimes_ended.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(GENEROUS, over_age).await.expect("lifetimes end");
    for (stream, _) in &mut connections {
        stream.write_all(GET.as_bytes()).await.unwrap();
    }
    for (stream, over) in &mut connections {
        expect_last(stream, over).await;
    }
}

/// A worker that is slow, or has just begun: its backlog holds connections that brought their requests.
#[tokio::test]
async fn connections_in_the_backlog_are_answered_when_drain_begins() {
    /// More than a worker takes at once before it looks whether it is to stop.
    const CONNECTIONS: usize = 300;
    let limits = ServerLimits { connections: 1_000, connections_per_address: 1_000, ..limits() };
    for operators in [false, true] {
        let (tasks, _deaths) = Tasks::new();
        let counters = Arc::new(EdgeCounters::default());
        let directory = tempfile::tempdir().unwrap();
        let edge = if operators {
            let any = ([127, 0, 0, 1], 0).into();
            Edge::bind_operators(any, &limits, Clock, tasks.clone(), counters, Vec::new()).await
        } else {
            let setup = Setup { limits: limits.clone(), ..Setup::default() };
            Edge::bind(&server(&setup, directory.path()), Clock, tasks.clone(), counters).await
        };
        let edge = edge.unwrap();
        let address = edge.addresses().last().unwrap().address;
        let recorder = Recorder::answering(limits.clone());
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let closed = Mutex::new(closed);
        let serving = edge.serve(move |worker| {
            // Ends when the other end is dropped.
            let _opened = closed.lock().unwrap().recv();
            Arc::new(Recorder { worker, ..recorder.clone() })
        });
        let serving = serving.unwrap();
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(GET.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        let drain = begin_drain(&serving).await;
        drop(open);
        let answering = async {
            for (number, stream) in streams.iter_mut().enumerate() {
                let reply = read_reply(stream).await.unwrap_or_else(|| panic!("{number} of operators={operators}"));
                assert_eq!(status(&reply), 200);
            }
        };
        assert_eq!(tokio::join!(drain, answering).0, 0);
        tasks.stop();
        serving.end().await;
    }
}

// Hand-over

/// A hand-over waits for requests that may come, up to a limit.
#[tokio::test]
async fn a_hand_over_waits_for_requests_and_not_for_peers_that_send_none() {
    for parks_soon in [false, true] {
        only_requests_are_waited_for(&Setup { parks_soon, ..Setup::default() }.run().await).await;
    }
}

async fn only_requests_are_waited_for(edge: &Running) {
    let half = GET.split_at(9).0;
    let mut silent: Vec<_> = connect_both(edge).await.into();
    let mut halves = Vec::new();
    for used in [false, true] {
        for (mut stream, _) in connect_both(edge).await {
            if used {
                assert_eq!(status(&ask(&mut stream, GET).await.unwrap()), 200);
                if edge.parks_soon {
                    edge.until_parked(1).await;
                }
            }
            stream.write_all(half.as_bytes()).await.unwrap();
            halves.push(stream);
        }
    }
    if edge.parks_soon {
        for (mut stream, over) in connect_both(edge).await {
            assert_eq!(status(&ask(&mut stream, GET).await.unwrap()), 200);
            silent.push((stream, over));
        }
        edge.until_parked(2).await;
    }
    let mut held = edge.connect().await;
    held.write_all(HOLD.as_bytes()).await.unwrap();
    edge.begun().await;
    let mut answered = std::pin::pin!(edge.serving.answer(GENEROUS));
    let silence = async {
        for (stream, _) in &mut silent {
            assert_eq!(read_to_end(stream).await, b"");
        }
    };
    tokio::select! {
        () = &mut answered => panic!("a call has no reply"),
        () = silence => edge.gate.add_permits(1),
    }
    assert_eq!(status(&read_reply(&mut held).await.unwrap()), 200);
    timeout(GENEROUS / 2, answered).await.expect("nobody waits for a head that stopped half-way");
    for stream in &mut halves {
        assert_eq!(read_to_end(stream).await, b"", "nobody is there any more who could answer");
    }
}
