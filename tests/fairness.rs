//! Tests that an address that takes all it can harms no other address, over real sockets.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;
mod edge_tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_support::{GENEROUS, Running, Setup, ask, limits, read_reply, read_to_end, status};
use edge_tls::{Client, H2};
use sidebeat::config::ServerLimits;
use sidebeat::edge::AddressResource;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const HALF_BODY: &str = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello";
const HALF_HEAD: &str = "GET /a HTTP/1.1\r\nHos";
const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SHORT: Duration = Duration::from_millis(150);
const GREEDY: u8 = 2;

/// The defaults of the configuration.
fn defaults() -> ServerLimits {
    let least = "[[route]]\npath = \"/license\"\nlicense-server = \"https://drm.example/\"\n";
    let config = sidebeat::config::parse(least, std::path::Path::new("."), std::iter::empty());
    config.unwrap_or_else(|faults| panic!("{faults}")).server.limits
}

async fn run(limits: ServerLimits) -> Running {
    Setup { limits, ..Setup::default() }.run().await
}

async fn connect_from(host: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Opens connections of one address that send `text` and then stay silent, including refused ones.
async fn flood(edge: &Running, connections: usize, text: &str) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect_from(GREEDY, edge.plain).await;
        let _closed = stream.write_all(text.as_bytes()).await;
        streams.push(stream);
    }
    streams
}

fn refusals(edge: &Running, resource: AddressResource) -> u64 {
    edge.counters.address_refusals().find(|(of, _)| *of == resource).unwrap().1
}

/// Calls of other addresses, a new connection each; all of them must be served.
async fn others_are_served(edge: &Running, calls: usize) {
    for call in 0..calls {
        let host = u8::try_from(3 + call % 100).unwrap();
        let mut stream = connect_from(host, edge.plain).await;
        let reply = ask(&mut stream, GET).await.unwrap_or_else(|| panic!("call {call} was not answered"));
        assert_eq!(status(&reply), 200, "call {call}: {reply}");
    }
}

/// Ten devices behind one address, with as many connections each as a browser opens, and as many calls at once; then
/// the power is cut, and all of them come back in one moment.
#[tokio::test]
async fn a_household_is_never_refused_at_the_default_limits_even_after_a_power_cut() {
    const CONNECTIONS: usize = 10 * 6;
    for to_tls in [false, true] {
        let edge = run(defaults()).await;
        for round in 0..4 {
            let mut household = JoinSet::new();
            for _ in 0..CONNECTIONS {
                let to = if to_tls { edge.tls } else { edge.plain };
                let client = Client::trusting(edge.directory.path());
                household.spawn(async move {
                    if to_tls {
                        held_call(client.connect(to).await.unwrap()).await
                    } else {
                        held_call(connect_from(GREEDY, to).await).await
                    }
                });
            }
            // All are sent before the first one is answered.
            for _ in 0..CONNECTIONS {
                edge.begun().await;
            }
            edge.gate.add_permits(CONNECTIONS);
            let replies = household.join_all().await;
            let served = replies.iter().filter(|reply| status(reply) == 200).count();
            assert_eq!(served, CONNECTIONS, "round {round}: {replies:?}");
        }
        assert_eq!(edge.counters.address_refusals().map(|(_, refused)| refused).sum::<u64>(), 0);
        assert_eq!(edge.counters.refused_calls.load(Ordering::Relaxed), 0);
        assert_eq!(edge.counters.refused_connections.load(Ordering::Relaxed), 0);
    }
}

async fn held_call(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    timeout(GENEROUS, ask(&mut stream, HOLD)).await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn half_bodies_of_one_address_cost_no_other_a_call() {
    let edge = run(defaults()).await;
    let half = flood(&edge, 1_050, HALF_BODY).await;
    others_are_served(&edge, 241).await;
    let refused = refusals(&edge, AddressResource::ConnectionRate) + refusals(&edge, AddressResource::Connections);
    assert!(refused >= 1_050 - defaults().connections_per_address as u64, "{refused}");
    assert_eq!(edge.counters.refused_calls.load(Ordering::Relaxed), 0);
    drop(half);
}

/// Even where the address may have all these connections: half a body takes no call's place.
#[tokio::test]
async fn a_call_takes_its_place_when_its_body_is_complete() {
    let roomy = ServerLimits { connections_per_address: 2_000, new_connections_per_address: 100_000, ..defaults() };
    let edge = run(ServerLimits { in_flight: 1, in_flight_per_address: 1, ..roomy }).await;
    let mut half = flood(&edge, 1_050, HALF_BODY).await;
    others_are_served(&edge, 20).await;
    assert_eq!(edge.serving.calls(), 0);
    let reply = ask(half.last_mut().unwrap(), "world").await.unwrap();
    assert_eq!(status(&reply), 200, "a body that is complete is served: {reply}");
    assert_eq!(edge.counters.refused_calls.load(Ordering::Relaxed), 0);
}

/// Each address keeps to its share, but together they want more connections than the limit.
#[tokio::test]
async fn half_bodies_of_many_addresses_lock_no_other_out() {
    let edge = run(ServerLimits { connections: 64, connections_per_address: 4, ..defaults() }).await;
    let mut half = Vec::new();
    for host in 110..160 {
        for _ in 0..4 {
            let mut stream = connect_from(host, edge.plain).await;
            let _closed = stream.write_all(HALF_BODY.as_bytes()).await;
            half.push(stream);
        }
    }
    others_are_served(&edge, 50).await;
    assert!(edge.counters.evicted.load(Ordering::Relaxed) >= 200 - 64, "half bodies made room");
    // The newest still has its chance.
    let reply = ask(half.last_mut().unwrap(), "world").await.unwrap();
    assert_eq!(status(&reply), 200, "{reply}");
}

#[tokio::test]
async fn the_bodies_of_one_address_are_bounded_in_bytes() {
    let edge = run(ServerLimits { body_memory_per_address: 100, body_max: 64, ..limits() }).await;
    let head = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n";
    let (mut first, mut second) = (connect_from(GREEDY, edge.plain).await, connect_from(GREEDY, edge.plain).await);
    // The first is held in the middle of its call, so its bytes stay.
    let holding = format!("POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n{}", "x".repeat(60));
    first.write_all(holding.as_bytes()).await.unwrap();
    edge.begun().await;
    let refused = ask(&mut second, &format!("{head}{}", "x".repeat(50))).await.unwrap();
    assert_eq!(status(&refused), 403);
    assert!(refused.contains("\"too_many_calls\""), "{refused}");
    assert_eq!(refusals(&edge, AddressResource::BodyBytes), 1);
    let other = ask(&mut connect_from(3, edge.plain).await, &format!("{head}{}", "x".repeat(60))).await.unwrap();
    assert_eq!(status(&other), 200);
    edge.gate.add_permits(1);
    assert_eq!(status(&read_reply(&mut first).await.unwrap()), 200);
    let again = ask(&mut connect_from(GREEDY, edge.plain).await, &format!("{head}{}", "x".repeat(60))).await.unwrap();
    assert_eq!(status(&again), 200, "what was given back can be taken again");
}

#[tokio::test]
async fn all_bodies_together_are_bounded_in_bytes() {
    let edge = run(ServerLimits { body_memory: 100, body_max: 64, ..limits() }).await;
    let mut first = connect_from(GREEDY, edge.plain).await;
    let holding = format!("POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n{}", "x".repeat(60));
    first.write_all(holding.as_bytes()).await.unwrap();
    edge.begun().await;
    let second = format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n{}", "x".repeat(60));
    let refused = ask(&mut connect_from(3, edge.plain).await, &second).await.unwrap();
    assert_eq!(status(&refused), 403);
    assert!(refused.contains("\"overloaded\""), "{refused}");
}

#[tokio::test]
async fn the_calls_in_flight_of_an_address_are_bounded() {
    let edge = run(ServerLimits { in_flight_per_address: 2, ..limits() }).await;
    let mut held = flood(&edge, 2, HOLD).await;
    edge.begun().await;
    edge.begun().await;
    let refused = ask(&mut connect_from(GREEDY, edge.plain).await, GET).await.unwrap();
    assert_eq!(status(&refused), 403);
    assert!(refused.contains("\"too_many_calls\""), "{refused}");
    assert_eq!(refusals(&edge, AddressResource::Calls), 1);
    others_are_served(&edge, 3).await;
    edge.gate.add_permits(2);
    for stream in &mut held {
        assert_eq!(status(&read_reply(stream).await.unwrap()), 200);
    }
    let mut again = connect_from(GREEDY, edge.plain).await;
    assert_eq!(status(&ask(&mut again, GET).await.unwrap()), 200);
}

/// A slow head-end makes every call last. A few addresses within their limits must not take all places together.
#[tokio::test]
async fn many_addresses_that_hold_all_the_calls_they_may_leave_room_for_households() {
    const HOUSEHOLD: usize = 2;
    let limits = ServerLimits { in_flight: 200, in_flight_per_address: 25, ..defaults() };
    let edge = run(ServerLimits { connections_per_address: 100, ..limits }).await;
    let (mut held, mut begun) = (Vec::new(), 0);
    for host in 110..122 {
        for _ in 0..25 {
            let mut stream = connect_from(host, edge.plain).await;
            stream.write_all(HOLD.as_bytes()).await.unwrap();
            tokio::select! {
                () = edge.begun() => begun += 1,
                refused = read_reply(&mut stream) => {
                    let refused = refused.unwrap();
                    assert!(refused.contains("\"too_many_calls\""), "{refused}");
                }
            }
            held.push(stream);
        }
    }
    assert!((100..180).contains(&begun), "{begun}: half of the places are anybody's");
    // Each of them holds its calls as long.
    for host in 3..6 {
        for _ in 0..HOUSEHOLD {
            let mut stream = connect_from(host, edge.plain).await;
            stream.write_all(HOLD.as_bytes()).await.unwrap();
            edge.begun().await;
            held.push(stream);
        }
    }
    others_are_served(&edge, 20).await;
    assert_eq!(edge.counters.refused_calls.load(Ordering::Relaxed), 0, "nobody is told that we are overloaded");
}

/// An undeclared load balancer sends the calls of all viewers, so it may have all places.
#[tokio::test]
async fn an_address_that_may_have_every_call_gets_them() {
    let edge = run(ServerLimits { in_flight: 12, in_flight_per_address: 12, ..limits() }).await;
    let _held = flood(&edge, 12, HOLD).await;
    for _ in 0..12 {
        edge.begun().await;
    }
    let refused = ask(&mut connect_from(3, edge.plain).await, GET).await.unwrap();
    assert!(refused.contains("\"overloaded\""), "{refused}");
}

/// Many streams of one HTTP/2 connection are as many calls.
#[tokio::test]
async fn streams_of_one_connection_count_as_calls_of_their_address() {
    let edge = run(ServerLimits { in_flight_per_address: 1, ..limits() }).await;
    let mut calls = Client::trusting(edge.directory.path()).speaking(H2).calls(&edge).await;
    let mut other = calls.clone();
    let refused = async {
        edge.begun().await;
        let reply = other.post("/a", "").await;
        edge.gate.add_permits(1);
        reply.status().as_u16()
    };
    let (held, refused) = tokio::join!(calls.post("/hold", ""), refused);
    assert_eq!((held.status().as_u16(), refused), (200, 403));
}

/// An unread reply counts until it is sent, so its address cannot pile up replies in memory.
#[tokio::test]
async fn unread_replies_count_for_their_address_alone() {
    let edge = run(ServerLimits { in_flight_per_address: 3, ..limits() }).await;
    let mut unread = flood(&edge, 3, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await;
    for _ in 0..3 {
        edge.begun().await;
    }
    let refused = ask(&mut connect_from(GREEDY, edge.plain).await, GET).await.unwrap();
    assert_eq!(status(&refused), 403);
    others_are_served(&edge, 3).await;
    assert_eq!(edge.serving.calls(), 0, "they hold none of the places of all");
    unread.clear();
    edge.until_no_connection().await;
    assert_eq!(status(&ask(&mut connect_from(GREEDY, edge.plain).await, GET).await.unwrap()), 200);
}

#[tokio::test]
async fn the_connections_of_an_address_are_bounded() {
    let edge = run(ServerLimits { connections_per_address: 3, ..limits() }).await;
    let mut held = flood(&edge, 3, GET).await;
    for stream in &mut held {
        assert_eq!(status(&read_reply(stream).await.unwrap()), 200);
    }
    assert_eq!(read_to_end(&mut connect_from(GREEDY, edge.plain).await).await, b"");
    assert_eq!(refusals(&edge, AddressResource::Connections), 1);
    others_are_served(&edge, 3).await;
    held.clear();
    edge.until_no_connection().await;
    assert_eq!(status(&ask(&mut connect_from(GREEDY, edge.plain).await, GET).await.unwrap()), 200);
}

// Connections that run short

/// Each of these connections makes no call, and enough of them would lock out all others.
#[tokio::test]
async fn idle_connections_lock_no_other_out() {
    for what in ["silent", "half a head", "kept alive", "a handshake that does not come", "HTTP/2 without a request"] {
        let edge = run(ServerLimits { connections: 8, ..limits() }).await;
        let mut greedy = Vec::new();
        for _ in 0..30 {
            let to = if what.starts_with("a handshake") { edge.tls } else { edge.plain };
            let mut stream = connect_from(GREEDY, to).await;
            match what {
                "half a head" => stream.write_all(HALF_HEAD.as_bytes()).await.unwrap(),
                "kept alive" => assert_eq!(status(&ask(&mut stream, GET).await.unwrap()), 200),
                "HTTP/2 without a request" => {
                    let client = Client::trusting(edge.directory.path()).speaking(H2);
                    let mut spoken = client.connect(edge.tls).await.unwrap();
                    spoken.write_all(PREFACE).await.unwrap();
                    // Its settings show that the connection is served.
                    spoken.read_u8().await.unwrap();
                    edge.tasks.spawn(async move { while spoken.read_u8().await.is_ok() {} });
                }
                _ => {}
            }
            greedy.push(stream);
        }
        others_are_served(&edge, 20).await;
        assert!(edge.serving.connections() <= 8, "{what}");
        assert!(edge.counters.evicted.load(Ordering::Relaxed) >= 20, "{what}");
        assert_eq!(edge.counters.refused_connections.load(Ordering::Relaxed), 0, "{what}");
    }
}

#[tokio::test]
async fn a_connection_with_a_running_call_is_never_closed_for_another() {
    let edge = run(ServerLimits { connections: 2, ..limits() }).await;
    let mut held = flood(&edge, 2, HOLD).await;
    edge.begun().await;
    edge.begun().await;
    assert_eq!(read_to_end(&mut connect_from(3, edge.plain).await).await, b"", "all are busy");
    assert_eq!(edge.counters.refused_connections.load(Ordering::Relaxed), 1);
    edge.gate.add_permits(2);
    for stream in &mut held {
        assert_eq!(status(&read_reply(stream).await.unwrap()), 200);
    }
    others_are_served(&edge, 4).await;
}

#[tokio::test]
async fn a_head_has_a_deadline_of_its_own_and_an_idle_connection_a_longer_one() {
    let edge = run(ServerLimits { head: SHORT, ..limits() }).await;
    let mut idle = edge.connect().await;
    assert_eq!(status(&ask(&mut idle, GET).await.unwrap()), 200);
    // Byte by byte is no better: the deadline is for the whole head.
    let mut slow = edge.connect().await;
    let trickling = async {
        let bytes = HALF_HEAD.bytes().chain(std::iter::repeat(b'a'));
        for byte in bytes {
            if slow.write_all(&[byte]).await.is_err() {
                return;
            }
            if timeout(SHORT / 20, slow.read(&mut [0])).await.is_ok() {
                return;
            }
        }
    };
    timeout(GENEROUS, trickling).await.expect("a head that trickles must be cut");
    assert_eq!(edge.counters.heads_stalled.load(Ordering::Relaxed), 1);
    // The second head of a kept connection has it, too; and the idle one is still there.
    assert_eq!(status(&ask(&mut idle, GET).await.unwrap()), 200);
    idle.write_all(HALF_HEAD.as_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut idle).await, b"");
    assert_eq!(edge.counters.heads_stalled.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_closed_by_the_heads_deadline() {
    let edge = run(ServerLimits { head: SHORT, ..limits() }).await;
    let mut stream = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    read_to_end(&mut stream).await;
    let mut calls = Client::trusting(edge.directory.path()).speaking(H2).calls(&edge).await;
    assert_eq!(calls.post("/a", "").await.status(), 200);
    assert!(timeout(SHORT * 3, calls.closed()).await.is_err(), "one that has called is idle, and stays");
}
