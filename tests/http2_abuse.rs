//! HTTP/2 peers that misbehave, in raw frames: each must be closed, and its neighbours not notice.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;
mod edge_tls;

use std::time::Duration;

use edge_support::{GENEROUS, Running, Setup, ask, limits, read_to_end, status};
use edge_tls::{Client, H2, Stream};
use sidebeat::config::Limits;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SHORT: Duration = Duration::from_millis(200);

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
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
    Setup { limits: Limits { idle: SHORT, first_byte: SHORT, ..limits() }, ..Setup::default() }.run().await
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
async fn a_preface_and_then_silence() {
    let edge = run().await;
    let mut silent = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    silent.write_all(PREFACE).await.unwrap();
    read_to_end(&mut silent).await;
    read_to_end(&mut greet(&edge).await).await;
    neighbours_are_served(&edge).await;
}

#[tokio::test]
async fn rapid_reset() {
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
async fn continuation_flood() {
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
async fn ping_and_settings_floods_whose_answers_nobody_reads() {
    let edge = run().await;
    for frame in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut stream = greet(&edge).await;
        flood(&mut stream, &frame.repeat(1000)).await;
    }
    neighbours_are_served(&edge).await;
}

#[tokio::test]
async fn a_window_that_stays_shut() {
    let edge = run().await;
    let mut stream = Client::trusting(edge.directory.path()).speaking(H2).connect(edge.tls).await.unwrap();
    let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);
    stream.write_all(&[PREFACE, &shut, &ask].concat()).await.unwrap();
    read_to_end(&mut stream).await;
    neighbours_are_served(&edge).await;
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
