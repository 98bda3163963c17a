//! Tests HTTP/2 peers that misbehave, in raw frames: each is closed, and its neighbours do not notice.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;
mod edge_tls;

use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_support::{GENEROUS, Running, Setup, ask, limits, read_to_end, status};
use edge_tls::{Client, H2, Stream};
use sidebeat::config::ServerLimits;
use sidebeat::edge::AddressResource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SHORT: Duration = Duration::from_millis(200);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET https://localhost/`, from the static table and one literal (RFC 7541).
const GET: &[u8] = b"\x82\x87\x84\x41\x09localhost";
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The error codes of the GOAWAY frames in what the edge sent.
fn goaways(mut bytes: &[u8]) -> Vec<u32> {
    let mut codes = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let (kind, rest) = (bytes[3], &bytes[9..]);
        if kind == GOAWAY && rest.len() >= 8 {
            codes.push(u32::from_be_bytes(rest[4..8].try_into().unwrap()));
        }
        bytes = rest.get(length..).unwrap_or_default();
    }
    codes
}

async fn run() -> Running {
    Setup { limits: ServerLimits { idle: SHORT, first_byte: SHORT, ..limits() }, ..Setup::default() }.run().await
}

async fn greet(edge: &Running) -> Stream {
    let mut stream = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream
}

/// Writes as fast as it goes, reading nothing, until the edge has had enough.
async fn flood(stream: &mut Stream, bytes: &[u8]) {
    let flooding = async { while stream.write_all(bytes).await.is_ok() {} };
    timeout(GENEROUS, flooding).await.expect("a flood must end");
}

async fn neighbours_are_served(edge: &Running) {
    let reply = ask(&mut edge.connect().await, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(status(&reply), 200);
    edge.until_no_connection().await;
}

#[tokio::test]
async fn a_peer_that_sends_a_preface_and_then_nothing_is_closed() {
    let edge = run().await;
    let mut silent = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    silent.write_all(PREFACE).await.unwrap();
    read_to_end(&mut silent).await;
    read_to_end(&mut greet(&edge).await).await;
    neighbours_are_served(&edge).await;
}

#[tokio::test]
async fn a_rapid_reset_attack_is_closed() {
    let edge = run().await;
    let mut stream = greet(&edge).await;
    let storm: Vec<u8> = (0..400_u32)
        .flat_map(|number| {
            let stream = number * 2 + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, GET), frame(RST_STREAM, 0, stream, &CANCEL)].concat()
        })
        .collect();
    let _cut = stream.write_all(&storm).await;
    let told = read_to_end(&mut stream).await;
    assert_eq!(goaways(&told), [ENHANCE_YOUR_CALM]);
    neighbours_are_served(&edge).await;
}

#[tokio::test]
async fn a_continuation_flood_is_closed() {
    let edge = run().await;
    let mut stream = greet(&edge).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
    // A literal header of 4 KiB, four times a frame, without end.
    let field = [b"\x00\x01a\x7f\x81\x1f".as_slice(), &[b'b'; 4096]].concat();
    flood(&mut stream, &frame(CONTINUATION, 0, 1, &field.repeat(3))).await;
    neighbours_are_served(&edge).await;
    assert!(edge.take_seen().iter().all(|seen| !seen.peer.tls), "such a request reaches nobody");
}

#[tokio::test]
async fn ping_and_settings_floods_with_unread_answers_are_closed() {
    let edge = run().await;
    for frame in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut stream = greet(&edge).await;
        flood(&mut stream, &frame.repeat(1000)).await;
    }
    neighbours_are_served(&edge).await;
}

#[tokio::test]
async fn a_peer_whose_window_stays_shut_is_closed() {
    let edge = run().await;
    let mut stream = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);
    stream.write_all(&[PREFACE, &shut, &ask].concat()).await.unwrap();
    read_to_end(&mut stream).await;
    neighbours_are_served(&edge).await;
}

/// The next frame: its kind, flags, stream and payload. `None` at the end of the connection.
async fn next_frame(stream: &mut Stream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, number @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(number), payload))
}

/// `GET https://localhost/…`
fn get(stream: u32, path: &str) -> Vec<u8> {
    let path = [b"\x82\x87\x04".as_slice(), &[u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[&path, b"\x41\x09localhost".as_slice()].concat())
}

/// The peer answers pings and makes other calls, and only this window stays closed.
#[tokio::test]
async fn a_window_of_one_byte_that_is_not_opened_again_holds_a_reply_for_a_while_alone() {
    let edge = run().await;
    let mut stream = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    let one_byte = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
    let stuck = [get(1, "/endless"), get(3, "/big")].concat();
    let small = |number| [get(number, "/a"), frame(WINDOW_UPDATE, 0, number, &100_u32.to_be_bytes())].concat();
    stream.write_all(&[PREFACE, &one_byte, &stuck, &small(5)].concat()).await.unwrap();
    let (mut last, mut reset, mut got) = (5, Vec::new(), Vec::new());
    let talking = async {
        while let Some((kind, flags, number, payload)) = next_frame(&mut stream).await {
            match kind {
                PING if flags & ACK == 0 => drop(stream.write_all(&frame(PING, ACK, 0, &payload)).await),
                DATA if number < 5 => got.extend(payload),
                // Until both are given up, calls go on.
                DATA if flags & END_STREAM != 0 && reset.len() < 2 => {
                    last += 2;
                    stream.write_all(&small(last)).await.unwrap();
                }
                RST_STREAM => reset.push(number),
                _ => {}
            }
        }
    };
    timeout(GENEROUS, talking).await.expect("a connection on which nothing happens any more is closed");
    reset.sort_unstable();
    assert_eq!((reset, got), (vec![1, 3], b"xx".to_vec()), "one byte of each");
    assert!(last > 5, "others were answered");
    assert_eq!(edge.counters.stalled.load(Ordering::Relaxed), 2);
    assert_eq!(edge.serving.calls(), 0);
    neighbours_are_served(&edge).await;
}

/// The tasks of their streams are over; only data that waits for the window remains.
#[tokio::test]
async fn a_reply_whose_last_piece_is_not_read_counts_for_its_address() {
    let edge = Setup { limits: ServerLimits { in_flight_per_address: 2, ..limits() }, ..Setup::default() }.run().await;
    let refused = || edge.counters.address_refusals().find(|(of, _)| *of == AddressResource::Calls).unwrap().1;
    let mut stream = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    let one_byte = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
    stream.write_all(&[PREFACE, &one_byte, &get(1, "/a"), &get(3, "/a")].concat()).await.unwrap();
    let open = |number| frame(WINDOW_UPDATE, 0, number, &100_u32.to_be_bytes());
    let mut stuck = 2;
    let talking = async {
        let (mut called, mut ended) = (0, Vec::new());
        while called < 2 {
            let (kind, flags, number, _) = next_frame(&mut stream).await.expect("the connection must last");
            match (kind, number) {
                (DATA, 1 | 3) if flags & END_STREAM != 0 => ended.push(number),
                (DATA, 1 | 3) if stuck > 0 => {
                    stuck -= 1;
                    if stuck == 0 {
                        stream.write_all(&get(5, "/a")).await.unwrap();
                    }
                }
                (HEADERS, 5) => {
                    assert_eq!(refused(), 1, "what is not read counts");
                    stream.write_all(&[open(1), open(3)].concat()).await.unwrap();
                }
                (HEADERS, 7) => called = 2,
                _ => {}
            }
            if ended.len() == 2 && called == 0 {
                called = 1;
                stream.write_all(&get(7, "/a")).await.unwrap();
            }
        }
    };
    timeout(GENEROUS, talking).await.expect("a reply does not come");
    assert_eq!(refused(), 1, "what was read does not count any more");
    assert_eq!(edge.take_seen().len(), 3);
}

#[tokio::test]
async fn a_request_without_a_host_is_refused_and_a_foreign_field_resets() {
    let edge = run().await;
    let mut stream = greet(&edge).await;
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x87\x84")).await.unwrap();
    // `transfer-encoding: chunked`, which RFC 9113 section 8.2.2 forbids.
    let foreign = [GET, b"\x00\x11transfer-encoding\x07chunked"].concat();
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &foreign)).await.unwrap();
    read_to_end(&mut stream).await;
    assert!(edge.take_seen().is_empty());
    let refused: u64 = edge.counters.breaches().map(|(_, count)| count).sum();
    assert_eq!(refused, 1, "one by us, the other by the protocol");
    neighbours_are_served(&edge).await;
}
