//! Replies through the codec and through hyper's client: the same bytes must have the same outcome.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::super::connection::{Wire, WireReply};
use super::super::framing::ConnectionReuse;
use super::super::http1_connection::Http1Connection;
use super::super::origin::{IdleWire, Origin};
use super::super::request::RequestTarget;
use super::super::{UpstreamFault, UpstreamReply, reply};
use super::*;

const REPLY_MAX: usize = 64;

/// A server that sends these pieces once a request has begun to come. Each read gets one.
struct ScriptedServer {
    asked: bool,
    closes: bool,
    pieces: VecDeque<Vec<u8>>,
    waiting: Option<Waker>,
}

impl ScriptedServer {
    fn new(pieces: &[&[u8]], closes: bool) -> Self {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| piece.to_vec()).collect();
        Self { asked: false, closes, pieces, waiting: None }
    }
}

impl AsyncRead for ScriptedServer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.asked || (self.pieces.is_empty() && !self.closes) {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(to.remaining()));
            to.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ScriptedServer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Status, headers in order, and body; or the fault. With it whether the connection is good for another call.
type Seen = (Result<(u16, Vec<(String, Vec<u8>)>, Bytes), UpstreamFault>, bool);

fn seen(outcome: Result<UpstreamReply, UpstreamFault>, reusable: bool) -> Seen {
    let shown = outcome.map(|reply| {
        let lines = reply.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        (reply.status.as_u16(), lines.collect(), reply.body)
    });
    (shown, reusable)
}

fn asked<'a>(endpoint: &'a EndpointUrl, method: &Method) -> (UpstreamCall<'a>, RequestTarget) {
    let call = UpstreamCall {
        body: Bytes::new(),
        deadline: Clock.now() + AMPLE,
        endpoint,
        headers: HeaderMap::new(),
        method: method.clone(),
        path_and_query: PathAndQuery::from_static("/"),
        reply_max: REPLY_MAX,
    };
    let host = HeaderValue::from_static("lic.example");
    (call, RequestTarget { authority: "lic.example".parse().unwrap(), host })
}

async fn through_codec(method: &Method, server: ScriptedServer) -> Seen {
    let endpoint = EndpointUrl::parse("http://lic.example").unwrap();
    let (call, target) = asked(&endpoint, method);
    let mut connection = Http1Connection::new(server);
    match connection.send(&call, &target).await {
        Err(unanswered) => seen(Err(unanswered.fault), false),
        Ok(reply) => match connection.collect(reply, REPLY_MAX).await {
            Ok((reply, reusable)) => seen(Ok(reply), reusable),
            Err(fault) => seen(Err(fault), false),
        },
    }
}

async fn through_hyper(method: &Method, server: ScriptedServer) -> Seen {
    let endpoint = EndpointUrl::parse("http://lic.example").unwrap();
    let (call, target) = asked(&endpoint, method);
    let (tasks, _deaths) = Tasks::new();
    let mut wire = Wire::http1_streaming(server, &tasks).await.unwrap();
    match wire.send(&call, &target).await {
        Err(unanswered) => seen(Err(unanswered.fault), false),
        Ok(WireReply::Whole(_)) => panic!("hyper streams"),
        Ok(WireReply::Incoming(response)) => match reply::collect(response, REPLY_MAX).await {
            Err(fault) => seen(Err(fault), false),
            Ok((reply, reuse)) => {
                let Wire::Http1Streaming(mut sender) = wire else { panic!("it stays hyper's") };
                let ready = timeout(SHORT / 20, sender.ready()).await.is_ok_and(|ready| ready.is_ok());
                seen(Ok(reply), ready && reuse == ConnectionReuse::Possible)
            }
        },
    }
}

/// Replies, whole and broken, and whether their connection may carry another call.
fn vectors() -> Vec<(&'static str, String, bool)> {
    let filled = |count: usize| "a: b\r\n".repeat(count);
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    vec![
        ("a length", with("Content-Length: 2\r\n") + "ok", true),
        ("no body", with("Content-Length: 0\r\n"), true),
        ("more than the length", with("Content-Length: 2\r\n") + "okHTTP/1.1", false),
        ("less than the length", with("Content-Length: 5\r\n") + "abc", false),
        ("no framing", with("X: y\r\n") + "until the end", false),
        ("equal lengths", with("Content-Length: 2, 2\r\nContent-Length: 2\r\n") + "ok", true),
        ("zeros", with("Content-Length: 002\r\n") + "ok", true),
        ("two lengths", with("Content-Length: 2\r\nContent-Length: 3\r\n") + "okk", false),
        ("a length with a sign", with("Content-Length: +2\r\n") + "ok", false),
        ("a length without digits", with("Content-Length:\r\n") + "ok", false),
        ("a length too large for a number", with("Content-Length: 18446744073709551616\r\n"), false),
        ("the largest number", with("Content-Length: 18446744073709551615\r\n"), false),
        ("a length above the bound", with("Content-Length: 65\r\n") + &"a".repeat(65), false),
        ("both framings", with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + "2\r\nok\r\n0\r\n\r\n", false),
        ("another coding", with("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n", false),
        ("chunked twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", false),
        ("identity", with("Transfer-Encoding: identity\r\n") + "ok", false),
        ("chunks", chunked("2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"), true),
        ("no chunks", chunked("0\r\n\r\n"), true),
        ("chunk extensions", chunked("2;x=\"y\"\r\nok\r\n0;z\r\n\r\n"), true),
        ("spaces behind a size", chunked("2 \t\r\nok\r\n0 ;x\r\n\r\n"), true),
        ("leading zeros", chunked("0002\r\nok\r\n000\r\n\r\n"), true),
        ("large digits", chunked("A\r\n0123456789\r\n0\r\n\r\n"), true),
        ("trailers", chunked("2\r\nok\r\n0\r\nX-End: 1\r\nX-More: 2\r\n\r\n"), true),
        ("a trailer that is none", chunked("0\r\nbad line\r\n\r\n"), false),
        ("a trailer with a space", chunked("0\r\nX : 1\r\n\r\n"), false),
        ("a bare line feed in a trailer", chunked("0\r\nX: 1\n\r\n\r\n"), true),
        ("too many trailers", chunked(&format!("0\r\n{}\r\n", filled(300))), false),
        ("large trailers", chunked(&format!("0\r\nX: {}\r\n\r\n", "a".repeat(40_000))), false),
        ("large extensions", chunked(&format!("2;{}\r\nok\r\n0\r\n\r\n", "a".repeat(17_000))), false),
        ("bytes behind the chunks", chunked("0\r\n\r\nHTTP/1.1"), false),
        ("chunks that break off", chunked("5\r\nab"), false),
        ("chunks without an end", chunked("2\r\nok\r\n"), false),
        ("no size", chunked("\r\nok\r\n0\r\n\r\n"), false),
        ("no hexadecimal size", chunked("2x\r\nok\r\n0\r\n\r\n"), false),
        ("a size with 0x", chunked("0x2\r\nok\r\n0\r\n\r\n"), false),
        ("a size with a sign", chunked("-2\r\nok\r\n0\r\n\r\n"), false),
        ("a space before the size", chunked(" 2\r\nok\r\n0\r\n\r\n"), false),
        ("digits behind a space", chunked("2 0\r\nok\r\n0\r\n\r\n"), false),
        ("a size too large for a number", chunked("fffffffffffffffff\r\n"), false),
        ("a bare line feed behind a size", chunked("2\nok\r\n0\r\n\r\n"), false),
        ("a bare carriage return behind a size", chunked("2\rok\r\n0\r\n\r\n"), false),
        ("a line feed in an extension", chunked("2;a\nb\r\nok\r\n0\r\n\r\n"), false),
        ("no end of a chunk", chunked("2\r\nok0\r\n\r\n"), false),
        ("a bare line feed behind a chunk", chunked("2\r\nok\n0\r\n\r\n"), false),
        ("a chunk that is longer than its size", chunked("1\r\nok\r\n0\r\n\r\n"), false),
        ("no line feed at the end", chunked("0\r\n\rX"), false),
        ("chunks above the bound", chunked(&format!("41\r\n{}\r\n0\r\n\r\n", "a".repeat(65))), false),
        ("informational replies", format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\n{OK}"), true),
        ("informational replies alone", "HTTP/1.1 100 Continue\r\n\r\n".to_owned(), false),
        ("another protocol", "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(), false),
        ("no content", "HTTP/1.1 204 X\r\n\r\n".to_owned(), true),
        ("no content of a length", "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n".to_owned(), false),
        ("not modified", "HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n".to_owned(), true),
        ("not modified and two lengths", "HTTP/1.1 304 X\r\nContent-Length: 5, 6\r\n\r\n".to_owned(), false),
        ("the end announced", with("Connection: x, CLOSE\r\nContent-Length: 2\r\n") + "ok", false),
        (
            "the end announced and taken back",
            with("Connection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n"),
            false,
        ),
        ("the old version", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), false),
        (
            "the old version in chunks",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            false,
        ),
        (
            "headers that name connection headers",
            with("Connection: x-a, keep-alive\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n"),
            true,
        ),
        ("a space before a colon", with("X-Spaced \t: 1\r\nContent-Length : 2\r\n") + "ok", true),
        ("folds", with("X: a\r\n  b \r\n\tc\r\nY:\r\n z\r\nContent-Length: 2\r\n") + "ok", true),
        ("a folded length", with("Content-Length:\r\n 2\r\n") + "ok", true),
        ("a fold before all headers", with(" X: y\r\nContent-Length: 0\r\n"), false),
        ("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok".to_owned(), true),
        ("bare line feeds", "HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\nok".to_owned(), true),
        ("empty lines before the head", format!("\r\n\r\n{OK}"), true),
        ("values beyond ASCII", with("X: \u{e4}\u{fc}\r\nContent-Length: 0\r\n"), true),
        ("a bare carriage return", with("X: a\rb\r\nContent-Length: 0\r\n"), false),
        ("a zero byte", with("X: a\0b\r\nContent-Length: 0\r\n"), false),
        ("a line without a colon", with("bad header\r\n"), false),
        ("a header without a name", with(": y\r\nContent-Length: 0\r\n"), false),
        ("a status beyond digits", "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(), false),
        ("a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), false),
        ("another version", "HTTP/2.0 200 OK\r\n\r\n".to_owned(), false),
        ("another protocol's word", "SSH-2.0-OpenSSH\r\n\r\n".to_owned(), false),
        ("half a head", "HTTP/1.1 200 O".to_owned(), false),
        ("nothing", String::new(), false),
        ("the most headers", with(&(filled(255) + "Content-Length: 2\r\n")) + "ok", true),
        ("too many headers", with(&filled(257)), false),
        ("a large head", with(&format!("A: {}\r\n", "a".repeat(32 * 1024))), false),
        ("a large head without an end", format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(40 * 1024)), false),
    ]
}

#[tokio::test(start_paused = true)]
async fn the_codec_takes_and_refuses_what_hyper_does() {
    for (name, bytes, reusable) in vectors() {
        for method in [Method::POST, Method::GET, Method::HEAD] {
            let server = |closes| ScriptedServer::new(&[bytes.as_bytes()], closes);
            let (codec, hyper) =
                (through_codec(&method, server(true)).await, through_hyper(&method, server(true)).await);
            assert_eq!(codec.0, hyper.0, "{name}, {method}");
            // Without the end of the connection, hyper can say whether it would go on.
            let whole = through_codec(&method, server(false));
            let Ok(codec) = timeout(SHORT, whole).await else { continue };
            let hyper = timeout(SHORT, through_hyper(&method, server(false))).await.expect(name);
            assert_eq!(codec, hyper, "{name}, {method}");
            assert!(codec.1 == reusable || method == Method::HEAD, "{name}, {method}");
        }
    }
}

#[tokio::test]
async fn a_reply_that_comes_in_pieces_is_the_same_as_in_one() {
    for (name, bytes, _) in vectors() {
        let bytes = bytes.as_bytes();
        let whole = through_codec(&Method::POST, ScriptedServer::new(&[bytes], true)).await;
        // The long ones differ in length alone.
        for at in (0..bytes.len()).step_by(bytes.len() / 200 + 1) {
            let (one, two) = bytes.split_at(at);
            let parted = through_codec(&Method::POST, ScriptedServer::new(&[one, two], true)).await;
            assert_eq!(parted.0, whole.0, "{name} at {at}");
            assert!(!parted.1 || whole.1 || two.is_empty() || at + 8 >= bytes.len(), "{name} at {at}");
        }
        if bytes.len() < 200 {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(through_codec(&Method::POST, ScriptedServer::new(&single, true)).await.0, whole.0, "{name}");
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

proptest! {
    /// No reply can stop the codec: its end comes with the end of the bytes.
    #[test]
    fn any_bytes_are_answered_as_hyper_answers_them(
        vector in 0..vectors().len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\x00-\\x7f]|\r\n|\n|:|;|0|,| "), 0..4),
        cut in any::<prop::sample::Index>(),
        split in any::<prop::sample::Index>(),
    ) {
        let mut bytes = vectors().swap_remove(vector).1.into_bytes();
        for (at, change) in changes {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..(at + 1).min(bytes.len()), change.bytes());
        }
        bytes.truncate(cut.index(bytes.len() * 2 + 1));
        let (one, two) = bytes.split_at(split.index(bytes.len() + 1));
        let codec = block_on(through_codec(&Method::POST, ScriptedServer::new(&[one, two], true)));
        let hyper = block_on(through_hyper(&Method::POST, ScriptedServer::new(&[one, two], true)));
        // Of a large head, each sees another part first.
        if bytes.len() < 4096 || codec.0.is_ok() || hyper.0.is_ok() {
            prop_assert_eq!(codec.0, hyper.0);
        }
    }

    #[test]
    fn bytes_of_no_protocol_stop_nothing(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let (codec, _) = block_on(through_codec(&Method::POST, ScriptedServer::new(&[&bytes], true)));
        prop_assert!(codec.is_err());
    }
}

#[tokio::test]
async fn a_connection_that_was_spoken_on_unasked_is_not_used() {
    let stage = Stage::plain().await;
    let peer = async {
        let mut stream = stage.accept().await;
        exchange(&mut stream, OK).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream
    };
    let (first, mut stream) = join!(stage.send(), peer);
    assert!(first.is_ok());
    // The second reply has come by then.
    tokio::time::sleep(SHORT / 20).await;
    let (second, _) = join!(stage.send(), async { exchange(&mut stage.accept().await, OK).await });
    assert!(second.is_ok());
    ended(&mut stream).await;
}

#[tokio::test]
async fn whole_and_streamed_replies_and_large_requests_share_a_connection() {
    let stage = Stage::plain().await;
    let large = || UpstreamCall { body: Bytes::from(vec![b'a'; 100_000]), ..stage.call(AMPLE) };
    let peer = async {
        let mut stream = stage.accept().await;
        for _ in 0..2 {
            for length in [9, 9, 100_000, 9] {
                let request = exchange(&mut stream, OK).await;
                assert_eq!(request.split_once("\r\n\r\n").unwrap().1.len(), length);
            }
        }
        stream
    };
    let calls = async {
        for _ in 0..2 {
            assert_eq!(stage.send().await.unwrap().body, "ok");
            stage.idles().await;
            let streamed = stage.pool.stream(stage.call(AMPLE), AMPLE).await.unwrap();
            assert_eq!(streamed.body.collect().await.unwrap().to_bytes(), "ok");
            stage.idles().await;
            assert_eq!(stage.pool.send(large()).await.unwrap().body, "ok");
            stage.idles().await;
            assert_eq!(stage.send().await.unwrap().body, "ok");
            stage.idles().await;
        }
    };
    join!(calls, peer);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn kept_connections_are_closed_in_time_without_a_further_call() {
    let endpoint = EndpointUrl::parse("http://lic.example").unwrap();
    let origin = Origin::new(&endpoint, None).unwrap();
    let (now, minute) = (Clock.now(), Duration::from_secs(60));
    let (open, closed) =
        (ScriptedServer::new(&[], false), ScriptedServer { asked: true, ..ScriptedServer::new(&[], true) });
    let kept = |server| IdleWire::Whole(Http1Connection::new(server));
    assert!(origin.put_back(kept(open), now), "nothing looks after them yet");
    assert!(!origin.put_back(kept(closed), now));
    assert!(origin.forget_old(now));
    assert_eq!(origin.idle(), 1, "the server has closed one");
    assert!(!origin.forget_old(now + minute));
    assert_eq!(origin.idle(), 0);
    assert!(origin.put_back(kept(ScriptedServer::new(&[], false)), now));
}
