//! Tests request framing byte for byte: the reply to the client, the fate of the connection, and the calls that reach
//! the handler. If proxy and origin read a request differently, it can become two, so every doubtful head has its row
//! here, even those that hyper handles alone. Each is sent on a new connection and on one that was parked.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;

use edge_support::{GENEROUS, Running, Setup, ask, read_reply, read_to_end, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

/// The expected outcome of a vector.
#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    status: u16,
    closed: bool,
    /// Bodies of the requests that reached the handler.
    reached: Vec<String>,
}

/// Status, closed or not, bodies that reach the handler.
type Expected = (u16, bool, &'static [&'static str]);

const fn refuse(status: u16) -> Expected {
    (status, true, &[])
}

const PASS: Expected = (200, false, &["hello"]);
/// A chunked request is the last of its connection.
const PASS_LAST: Expected = (200, true, &["hello"]);

/// `POST /a`, Host, the given header lines, and a body.
fn post(headers: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{body}")
}

/// An edge whose connections are new when a vector comes, and an edge whose connections are parked.
async fn edges() -> [Running; 2] {
    [Setup::default().run().await, Setup { parks_soon: true, ..Setup::default() }.run().await]
}

async fn connect(edge: &Running) -> TcpStream {
    let mut stream = edge.connect().await;
    if edge.parks_soon {
        assert_eq!(status(&ask(&mut stream, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap()), 200);
        edge.until_all_are_parked().await;
        edge.take_seen();
    }
    stream
}

async fn outcome(edge: &Running, vector: &str) -> (Outcome, String) {
    let mut stream = connect(edge).await;
    let Some(reply) = ask(&mut stream, vector).await else {
        return (Outcome { status: 0, closed: true, reached: bodies(edge) }, String::new());
    };
    let reached = bodies(edge);
    let last = reply.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
    let again = ask(&mut stream, "GET /probe HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let closed = again.is_none();
    assert_eq!(bodies(edge).len(), usize::from(!closed), "a closed connection must serve nothing more: {vector:?}");
    (Outcome { status: status(last), closed, reached }, reply)
}

fn bodies(edge: &Running) -> Vec<String> {
    edge.take_seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect()
}

async fn check(rows: Vec<(&str, String, Expected)>) {
    for edge in edges().await {
        for (name, vector, (status, closed, reached)) in &rows {
            let reached = reached.iter().map(|body| (*body).to_owned()).collect();
            let expected = Outcome { status: *status, closed: *closed, reached };
            let (found, reply) = outcome(&edge, vector).await;
            assert_eq!(found, expected, "{name} (parked: {}) was answered {reply:?}", edge.parks_soon);
        }
    }
}

#[tokio::test]
async fn body_lengths_are_judged_as_the_table_says() {
    check(vec![
        ("plain", post("Content-Length: 5", "hello"), PASS),
        ("chunked", post("Transfer-Encoding: chunked", CHUNKS), PASS_LAST),
        ("chunked, any case", post("transfer-encoding: CHUNKED", CHUNKS), PASS_LAST),
        ("CL + TE", post("Content-Length: 4\r\nTransfer-Encoding: chunked", CHUNKS), refuse(400)),
        ("TE + CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4", CHUNKS), refuse(400)),
        ("TE twice", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", CHUNKS), refuse(400)),
        ("TE chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", CHUNKS), refuse(400)),
        ("TE gzip, chunked", post("Transfer-Encoding: gzip, chunked", CHUNKS), refuse(400)),
        ("TE chunked, identity", post("Transfer-Encoding: chunked, identity", CHUNKS), refuse(400)),
        ("TE xchunked", post("Transfer-Encoding: xchunked", CHUNKS), refuse(400)),
        ("TE in HTTP/1.0", post("Transfer-Encoding: chunked", CHUNKS).replace("HTTP/1.1", "HTTP/1.0"), refuse(400)),
        ("CL 5 and 6", post("Content-Length: 5\r\nContent-Length: 6", "hello!"), refuse(400)),
        ("CL 5, 5", post("Content-Length: 5, 5", "hello"), refuse(400)),
        ("CL +5", post("Content-Length: +5", "hello"), refuse(400)),
        ("CL 0x5", post("Content-Length: 0x5", "hello"), refuse(400)),
        ("CL empty", post("Content-Length: ", "hello"), refuse(400)),
        ("CL beyond 64 bits", post("Content-Length: 99999999999999999999", "hello"), refuse(400)),
        ("CL 5 twice", post("Content-Length: 5\r\nContent-Length: 5", "hello"), PASS),
        ("GET with CL", post("Content-Length: 5", "hello").replace("POST", "GET"), refuse(400)),
        ("GET with TE", post("Transfer-Encoding: chunked", CHUNKS).replace("POST", "GET"), refuse(400)),
        ("GET with CL 0", post("Content-Length: 0", "").replace("POST", "GET"), (200, false, &[""])),
        ("more than the cap", post("Content-Length: 65", &"x".repeat(65)), refuse(413)),
        (
            "more than the cap, chunked",
            post("Transfer-Encoding: chunked", &format!("41\r\n{}\r\n0\r\n\r\n", "x".repeat(65))),
            refuse(413),
        ),
        ("far more than the cap", post("Content-Length: 200000", &"x".repeat(200_000)), refuse(413)),
    ])
    .await;
}

#[tokio::test]
async fn head_lines_are_judged_as_the_table_says() {
    check(vec![
        ("space before the colon", post("Content-Length : 5", "hello"), refuse(400)),
        ("obs-fold", post("X: a\r\n b\r\nContent-Length: 5", "hello"), refuse(400)),
        ("bare CR in a value", post("X: a\rb\r\nContent-Length: 5", "hello"), refuse(400)),
        ("NUL in a value", post("X: a\0b\r\nContent-Length: 5", "hello"), refuse(400)),
        ("no colon", post("X\r\nContent-Length: 5", "hello"), refuse(400)),
        ("bare LF everywhere", "POST /a HTTP/1.1\nHost: h\nContent-Length: 5\n\nhello".to_owned(), refuse(400)),
        ("bare LF once", post("X: a\nY: b\r\nContent-Length: 5", "hello"), refuse(400)),
        ("bare LF at the end", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\n".to_owned(), refuse(400)),
        ("empty lines before", format!("\r\n\r\n{}", post("Content-Length: 5", "hello")), PASS),
        ("too many headers", post(&"X: a\r\n".repeat(101), ""), refuse(431)),
        ("too long a head", post(&format!("X: {}", "a".repeat(40_000)), ""), refuse(431)),
        ("two spaces", post("Content-Length: 5", "hello").replace("POST /a", "POST  /a"), refuse(400)),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), (0, true, &[])),
    ])
    .await;
}

#[tokio::test]
async fn chunks_are_judged_as_the_table_says() {
    let chunked = |body: &str| post("Transfer-Encoding: chunked", body);
    check(vec![
        ("extension", chunked("5;x=y\r\nhello\r\n0\r\n\r\n"), PASS_LAST),
        ("trailer", chunked("5\r\nhello\r\n0\r\nX-Auth: 1\r\n\r\n"), PASS_LAST),
        ("several", chunked("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), PASS_LAST),
        ("size 0x5", chunked("0x5\r\nhello\r\n0\r\n\r\n"), refuse(400)),
        ("size line ended by bare LF", chunked("5\nhello\r\n0\r\n\r\n"), refuse(400)),
        ("no size", chunked("\r\nhello\r\n0\r\n\r\n"), refuse(400)),
        ("size beyond 64 bits", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), refuse(400)),
        ("longer than its size", chunked("5\r\nhello!\r\n0\r\n\r\n"), refuse(400)),
        ("a request behind it", format!("{}{}", chunked(CHUNKS), post("Content-Length: 5", "again")), PASS_LAST),
    ])
    .await;
}

#[tokio::test]
async fn hosts_and_targets_are_judged_as_the_table_says() {
    let bare = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n");
    check(vec![
        ("no Host", bare("POST /a HTTP/1.1", "Content-Length: 0\r\n"), refuse(400)),
        ("no Host in 1.0", bare("POST /a HTTP/1.0", "Content-Length: 0\r\n"), (200, true, &[""])),
        ("two Hosts", post("Host: i\r\nContent-Length: 5", "hello"), refuse(400)),
        ("the same Host twice", post("Host: h\r\nContent-Length: 5", "hello"), refuse(400)),
        ("empty Host", bare("GET /a HTTP/1.1", "Host: \r\n"), refuse(400)),
        ("Host with a path", bare("GET /a HTTP/1.1", "Host: h/a\r\n"), refuse(400)),
        ("Host with a user", bare("GET /a HTTP/1.1", "Host: u@h\r\n"), refuse(400)),
        ("Host with a port that is none", bare("GET /a HTTP/1.1", "Host: a:b\r\n"), refuse(400)),
        ("Host with a port beyond 65535", bare("GET /a HTTP/1.1", "Host: h:65536\r\n"), refuse(400)),
        ("Host that is a port alone", bare("GET /a HTTP/1.1", "Host: :80\r\n"), refuse(400)),
        ("Host that is a list", bare("GET /a HTTP/1.1", "Host: a,b\r\n"), refuse(400)),
        ("Host with a space", bare("GET /a HTTP/1.1", "Host: a b\r\n"), refuse(400)),
        ("Host with something behind its brackets", bare("GET /a HTTP/1.1", "Host: [::1]x\r\n"), refuse(400)),
        ("Host of IPv6 without brackets", bare("GET /a HTTP/1.1", "Host: ::1\r\n"), refuse(400)),
        ("Host in characters of its own", bare("GET /a HTTP/1.1", "Host: b\u{fc}cher.example\r\n"), refuse(400)),
        ("Host of IPv6 with a port", bare("GET /a HTTP/1.1", "Host: [2001:db8::1]:8443\r\n"), (200, false, &[""])),
        ("Host with a dot at its end", bare("GET /a HTTP/1.1", "Host: tv.home.arpa.:80\r\n"), (200, false, &[""])),
        ("Host in A-labels", bare("GET /a HTTP/1.1", "Host: xn--bcher-kva.example\r\n"), (200, false, &[""])),
        ("Host with the highest port", bare("GET /a HTTP/1.1", "Host: h:65535\r\n"), (200, false, &[""])),
        ("absolute, a list for a host", bare("GET http://a,b/a HTTP/1.1", "Host: h\r\n"), refuse(400)),
        ("absolute in 1.0, a list for a host", bare("GET http://a,b/a HTTP/1.0", ""), refuse(400)),
        ("absolute, the same IPv6", bare("GET http://[::0:1]/a HTTP/1.1", "Host: [::1]:80\r\n"), (200, false, &[""])),
        ("absolute, another host", bare("GET http://evil/a HTTP/1.1", "Host: h\r\n"), refuse(400)),
        ("absolute, same host", bare("GET http://H:80/a HTTP/1.1", "Host: h\r\n"), (200, false, &[""])),
        ("absolute, another port", bare("GET http://h:81/a HTTP/1.1", "Host: h\r\n"), refuse(400)),
        ("asterisk", bare("GET * HTTP/1.1", "Host: h\r\n"), refuse(400)),
        ("CONNECT", bare("CONNECT h:443 HTTP/1.1", "Host: h:443\r\n"), refuse(405)),
        ("OPTIONS *", bare("OPTIONS * HTTP/1.1", "Host: h\r\n"), (204, false, &[])),
        ("OPTIONS", bare("OPTIONS /a HTTP/1.1", "Host: h\r\n"), (204, false, &[])),
        ("OPTIONS with a body", post("Content-Length: 5", "hello").replace("POST", "OPTIONS"), refuse(204)),
    ])
    .await;
}

#[tokio::test]
async fn no_call_of_a_refused_connection_reaches_the_handler() {
    for edge in edges().await {
        let rows = [
            "Connection: keep-alive\r\nConnection: x-auth\r\nX-Auth: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
            "Connection: Upgrade\r\nUpgrade: websocket",
            "Expect: 100-continue",
        ];
        for headers in rows {
            let (found, reply) =
                outcome(&edge, &post(&format!("{headers}\r\nX-Kept: 1\r\nContent-Length: 5"), "hello")).await;
            assert_eq!((found.status, found.closed), (200, false), "{headers:?}: {reply:?}");
            let mut stream = connect(&edge).await;
            ask(&mut stream, &post(&format!("{headers}\r\nX-Kept: 1\r\nContent-Length: 5"), "hello")).await.unwrap();
            let seen = edge.take_seen();
            let mut names: Vec<_> = seen[0].headers.keys().map(http::HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["content-length", "host", "x-kept"], "{headers:?}");
            assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("POST", "/a"));
        }
    }
}

#[tokio::test]
async fn a_client_that_expects_a_continue_gets_it_or_is_refused_before_its_body() {
    for edge in edges().await {
        let mut stream = connect(&edge).await;
        stream.write_all(post("Expect: 100-continue\r\nContent-Length: 5", "").as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        timeout(GENEROUS, stream.read_exact(&mut go_on)).await.expect("told nothing").unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(status(&ask(&mut stream, "hello").await.unwrap()), 200);
        assert_eq!(bodies(&edge), ["hello"]);
        let refused =
            ask(&mut connect(&edge).await, &post("Expect: 100-continue\r\nContent-Length: 65", "")).await.unwrap();
        assert_eq!(status(&refused), 413, "{refused:?}");
    }
}

#[tokio::test]
async fn a_refused_client_may_finish_what_it_is_sending() {
    for edge in edges().await {
        let mut stream = connect(&edge).await;
        let half = post("Content-Length: 400000", &"x".repeat(50_000));
        assert_eq!(status(&ask(&mut stream, &half).await.unwrap()), 413);
        assert_eq!(read_to_end(&mut stream).await, b"");
        // A socket closed with bytes unread would answer these with a reset, and many clients then never
        // look at the reply.
        for _ in 0..20 {
            stream.write_all(&[b'x'; 4096]).await.expect("a reset overtook the reply");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_violation_behind_a_good_request_does_not_affect_the_good_one() {
    for edge in edges().await {
        let mut stream = connect(&edge).await;
        let bad = post("Content-Length: 4\r\nTransfer-Encoding: chunked", CHUNKS);
        let both = format!("{}{bad}{}", post("Content-Length: 5", "hello"), post("Content-Length: 5", "third"));
        stream.write_all(both.as_bytes()).await.unwrap();
        let replies = String::from_utf8(read_to_end(&mut stream).await).unwrap();
        assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 1, "{replies}");
        assert_eq!(replies.matches("HTTP/1.1 400 Bad Request").count(), 1, "{replies}");
        assert_eq!(bodies(&edge), ["hello"]);
    }
}

#[tokio::test]
async fn a_head_sent_in_single_bytes_is_judged_the_same() {
    for edge in edges().await {
        for (vector, expected) in [
            (post("Content-Length: 4\r\nTransfer-Encoding: chunked", CHUNKS), 400),
            (post("X: a\nContent-Length: 5", "hello"), 400),
            (post("Content-Length: 5", "hello"), 200),
        ] {
            let mut stream = connect(&edge).await;
            stream.set_nodelay(true).unwrap();
            for byte in vector.as_bytes() {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let reply = read_reply(&mut stream).await.unwrap();
            assert_eq!(status(&reply), expected, "{vector:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_can_be_read_by_the_page_and_is_counted() {
    for edge in edges().await {
        let vector = post("Origin: https://tv.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked", CHUNKS);
        let (_, reply) = outcome(&edge, &vector).await;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        for line in ["access-control-allow-origin: https://tv.example", "connection: close", "cache-control: no-store"]
        {
            assert!(head.contains(line), "{line} is missing in {head}");
        }
        let told: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(told["error"], "both_lengths");
        assert_eq!(told["incident"].as_str().unwrap().len(), 8);
        assert!(head.contains(&format!("x-sidebeat-incident: {}", told["incident"].as_str().unwrap())));
        let counted: Vec<_> = edge.counters.breaches().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(sidebeat::edge::RequestViolation::BothLengths, 1)]);
    }
}
