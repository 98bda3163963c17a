//! Requests that a server turns away unprocessed, against scripted peers that speak HTTP/2 frame by frame, and kept
//! HTTP/1.1 connections that end.

use tokio::io::AsyncReadExt;
use tokio_rustls::server::TlsStream;

use super::*;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;
/// The last stream of a GOAWAY that names none yet.
const ANY_STREAM: u32 = 0x7fff_ffff;

/// An HTTP/2 connection from the server's side.
struct Frames(TlsStream<TcpStream>);

impl Frames {
    async fn accept(stage: &Stage, certified: &Certified) -> Self {
        Self::accept_with(stage, certified, &[]).await
    }

    async fn accept_with(stage: &Stage, certified: &Certified, settings: &[u8]) -> Self {
        let mut stream = certified.acceptor.accept(stage.accept().await).await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let mut frames = Self(stream);
        frames.write(SETTINGS, 0, 0, settings).await;
        frames
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // Some tests want the pool to be gone by then.
        drop(self.0.write_all(&frame).await);
        drop(self.0.flush().await);
    }

    /// None when the pool has closed the connection.
    async fn frame(&mut self) -> Option<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
    }

    /// The stream of the next request that has come whole.
    async fn request(&mut self) -> u32 {
        loop {
            let (_, flags, stream) = self.frame().await.expect("the pool hung up");
            if stream != 0 && flags & END_STREAM != 0 {
                return stream;
            }
        }
    }

    async fn answer(&mut self, stream: u32) {
        // 0x88 is `:status: 200`; the flags say that neither headers nor a body follow.
        self.write(HEADERS, 4 | END_STREAM, stream, &[0x88]).await;
    }

    async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    async fn go_away(&mut self, last: u32, code: u32) {
        self.write(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await;
    }

    /// Reads on, so that nothing of what the pool still sends is answered with a reset.
    async fn ended(mut self) {
        while self.frame().await.is_some() {}
    }
}

fn is_good(outcome: &Result<UpstreamReply, UpstreamFault>) -> bool {
    outcome.as_ref().is_ok_and(|reply| reply.status == 200)
}

#[tokio::test]
async fn a_stream_that_the_server_refuses_goes_once_more_on_another_connection() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let peer = async {
        let mut first = Frames::accept(&stage, &certified).await;
        let stream = first.request().await;
        first.reset(stream, REFUSED_STREAM).await;
        let mut second = Frames::accept(&stage, &certified).await;
        let stream = second.request().await;
        second.answer(stream).await;
        (first, second)
    };
    let (outcome, _open) = join!(stage.send(), peer);
    assert!(is_good(&outcome));
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn streams_above_a_goaway_go_elsewhere_and_those_below_it_are_waited_for() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let peer = async {
        let mut first = Frames::accept(&stage, &certified).await;
        let (one, two, three) = (first.request().await, first.request().await, first.request().await);
        assert_eq!((one, two, three), (1, 3, 5));
        first.go_away(one, 0).await;
        let mut second = Frames::accept(&stage, &certified).await;
        for _ in 0..2 {
            let stream = second.request().await;
            second.answer(stream).await;
        }
        first.answer(one).await;
        (first, second)
    };
    let calls = async { join!(stage.send(), stage.send(), stage.send()) };
    let ((one, two, three), _open) = join!(calls, peer);
    assert!(is_good(&one) && is_good(&two) && is_good(&three));
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_stream_that_the_server_may_have_processed_is_not_sent_again() {
    let certified = certified(&["h2"]);
    // Reset for another reason; covered by a GOAWAY; or by one that names no last stream yet.
    for (last, reset) in [(None, true), (Some(1), false), (Some(ANY_STREAM), false)] {
        let stage = tls_stage(&certified).await;
        let peer = async {
            let mut first = Frames::accept(&stage, &certified).await;
            let stream = first.request().await;
            if let Some(last) = last {
                first.go_away(last, 0).await;
            }
            if reset {
                first.reset(stream, INTERNAL_ERROR).await;
                first.ended().await;
            }
        };
        let outcome = select! {
            outcome = async { join!(stage.send(), peer).0 } => outcome,
            () = tokio::time::sleep(AMPLE) => panic!("the call hangs"),
        };
        assert_eq!(fault(outcome), UpstreamFault::Reset, "{last:?}");
        stage.assert_no_other_connection();
    }
}

/// A stock nginx ends the connection for it, and everybody's calls on that.
#[tokio::test]
async fn a_call_with_a_large_head_shares_no_connection() {
    let certified = certified(&["h2", "http/1.1"]);
    let stage = tls_stage(&certified).await;
    let large = |name: &'static str, length| {
        let mut call = stage.call(AMPLE);
        call.headers.insert(name, "A".repeat(length).parse().unwrap());
        call
    };
    let (small, whole) = (large("authorization", 3_000), large("authorization", 12_000));
    let mut many = stage.call(AMPLE);
    (0..6).for_each(|_| _ = many.headers.append("x-many", "A".repeat(3_000).parse().unwrap()));
    let path = format!("/{}", "a".repeat(5_000)).parse().unwrap();
    let begun = Notify::new();
    let long = UpstreamCall { path_and_query: path, ..stage.call(AMPLE) };
    let peer = async {
        let mut shared = Frames::accept(&stage, &certified).await;
        let one = shared.request().await;
        // It goes on while the large ones come and end.
        begun.notify_one();
        let mut alone = certified.acceptor.accept(stage.accept().await).await.unwrap();
        assert_eq!(alone.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            exchange(&mut alone, OK).await;
        }
        read_request(&mut alone).await;
        drop(alone);
        shared.answer(one).await;
        let two = shared.request().await;
        shared.answer(two).await;
        shared
    };
    let calls = async {
        let larges = async {
            begun.notified().await;
            let first = stage.pool.send(whole).await;
            stage.idles().await;
            let answered = [first, stage.pool.send(many).await];
            stage.idles().await;
            (answered, stage.pool.send(long).await)
        };
        let (shared, (answered, cut)) = join!(stage.send(), larges);
        (shared, answered, cut, stage.pool.send(small).await)
    };
    let ((shared, answered, cut, small), _open) = join!(calls, peer);
    assert!(is_good(&shared) && answered.iter().all(is_good) && is_good(&small));
    assert_eq!(fault(cut), UpstreamFault::Reset);
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_large_head_goes_to_a_server_of_http2_alone_on_a_connection_of_its_own() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let mut call = stage.call(AMPLE);
    call.headers.insert("authorization", "A".repeat(12_000).parse().unwrap());
    let peer = async {
        assert!(certified.acceptor.accept(stage.accept().await).await.is_err(), "no HTTP/1.1");
        let mut alone = Frames::accept(&stage, &certified).await;
        let stream = alone.request().await;
        alone.answer(stream).await;
        let mut shared = Frames::accept(&stage, &certified).await;
        let stream = shared.request().await;
        shared.answer(stream).await;
        (alone, shared)
    };
    let calls = async { (stage.pool.send(call).await, stage.send().await) };
    let ((large, small), _open) = join!(calls, peer);
    assert!(is_good(&large) && is_good(&small));
    stage.assert_no_other_connection();
}

/// Whoever waits for nothing else, as beats and closes do not, is sent until the server takes it.
#[tokio::test]
async fn a_call_that_a_server_turns_away_is_held_for_every_caller() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let peer = async {
        let mut open = Vec::new();
        for connection in 0..8 {
            let mut frames = Frames::accept(&stage, &certified).await;
            let stream = frames.request().await;
            if connection < 7 {
                frames.go_away(0, 0).await
            } else {
                frames.answer(stream).await
            }
            open.push(frames);
        }
        open
    };
    let until = Clock.now() + AMPLE;
    let hold = CallHold { attempt: AMPLE, begins: None, gateway_errors: false, unreachable: false, until };
    let call = stage.call(AMPLE);
    let (held, _open) = join!(stage.pool.send_held(&call, hold), peer);
    assert!(is_good(&held.outcome));
    assert_eq!(held.again, 2, "three sends each");
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_left_in_peace_soon() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let peer = async {
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut connection = Frames::accept(&stage, &certified).await;
            let stream = connection.request().await;
            connection.reset(stream, REFUSED_STREAM).await;
            open.push(connection);
        }
        open
    };
    let (outcome, _open) = join!(stage.send(), peer);
    let fault = fault(outcome);
    assert!(fault == UpstreamFault::Refused && fault.was_not_processed());
    stage.assert_no_other_connection();
}

/// hyper holds one request back while the server takes no more streams, and drops it when the connection goes.
#[tokio::test]
async fn requests_that_wait_for_a_free_stream_go_elsewhere_when_the_connection_goes_away() {
    const CALLS: usize = 6;
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    // SETTINGS_MAX_CONCURRENT_STREAMS: 1.
    const ONE_STREAM: [u8; 6] = [0, 3, 0, 0, 0, 1];
    let peer = async {
        let mut first = Frames::accept_with(&stage, &certified, &ONE_STREAM).await;
        let one = first.request().await;
        first.answer(one).await;
        // From now on the limit holds: one is under way, and all others wait.
        let two = first.request().await;
        first.go_away(two, 0).await;
        first.answer(two).await;
        let mut second = Frames::accept(&stage, &certified).await;
        for _ in 2..CALLS + 1 {
            let stream = second.request().await;
            second.answer(stream).await;
        }
        (first, second)
    };
    let calls = async {
        assert!(is_good(&stage.send().await));
        all((0..CALLS).map(|_| Box::pin(stage.send())).collect()).await
    };
    let (outcomes, _open) = join!(calls, peer);
    assert!(outcomes.iter().all(is_good), "{:?}", outcomes.into_iter().map(|one| one.map(drop)).collect::<Vec<_>>());
    stage.assert_no_other_connection();
}

/// Answers one request, then takes another one and closes without a byte.
async fn closes_without_a_reply(stage: &Stage) {
    let mut stream = stage.accept().await;
    exchange(&mut stream, OK).await;
    read_request(&mut stream).await;
}

#[tokio::test]
async fn an_idempotent_request_goes_once_more_when_a_kept_connection_ends_before_its_reply() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let stage = Stage::plain().await;
        let call = || UpstreamCall { method: method.clone(), body: Bytes::new(), ..stage.call(AMPLE) };
        let peer = async {
            closes_without_a_reply(&stage).await;
            exchange(&mut stage.accept().await, "HTTP/1.1 204 X\r\n\r\n").await
        };
        let calls = async {
            stage.send().await.unwrap();
            stage.pool.send(call()).await
        };
        let (outcome, again) = join!(calls, peer);
        assert_eq!(outcome.unwrap().status, 204, "{method}");
        assert!(again.starts_with(method.as_str()));
        stage.assert_no_other_connection();
    }
}

#[tokio::test]
async fn a_possibly_processed_request_is_never_reported_as_unprocessed() {
    let Stage { endpoint, listener, pool, .. } = &mut Stage::plain().await;
    let call = |method| UpstreamCall {
        body: Bytes::new(),
        deadline: Clock.now() + AMPLE,
        endpoint,
        headers: HeaderMap::new(),
        method,
        path_and_query: PathAndQuery::from_static("/"),
        reply_max: 64,
    };
    let peer = async {
        let mut stream = listener.accept().await.unwrap().0;
        exchange(&mut stream, OK).await;
        read_request(&mut stream).await;
        // Its port is nobody's when the request is to go once more.
        *listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    };
    let calls = async {
        pool.send(call(Method::POST)).await.unwrap();
        pool.send(call(Method::PUT)).await
    };
    let fault = fault(join!(calls, peer).0);
    assert!(fault == UpstreamFault::Reset && !fault.was_not_processed(), "{fault:?}");
}

/// Lost on a kept connection, then refused on a new one: the first may have been processed.
#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_a_third_time() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let call = || UpstreamCall { method: Method::GET, body: Bytes::new(), ..stage.call(AMPLE) };
    let peer = async {
        let mut first = Frames::accept(&stage, &certified).await;
        let stream = first.request().await;
        first.answer(stream).await;
        first.request().await;
        drop(first);
        let mut second = Frames::accept(&stage, &certified).await;
        let stream = second.request().await;
        second.reset(stream, REFUSED_STREAM).await;
        second
    };
    let calls = async {
        assert!(is_good(&stage.pool.send(call()).await));
        fault(stage.pool.send(call()).await)
    };
    let (fault, _open) = join!(calls, peer);
    assert!(fault == UpstreamFault::Reset && !fault.was_not_processed(), "{fault:?}");
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn an_http2_connection_is_kept_for_a_minute_and_not_when_the_server_has_closed_it() {
    let certified = certified(&["h2"]);
    let stage = tls_stage(&certified).await;
    let peer = async {
        let mut frames = Frames::accept(&stage, &certified).await;
        let stream = frames.request().await;
        frames.answer(stream).await;
        frames
    };
    let (now, minute) = (Clock.now(), Duration::from_secs(60));
    let (outcome, frames) = join!(stage.send(), peer);
    assert!(is_good(&outcome));
    assert!(stage.pool.reuses(&stage.endpoint, now + minute - Duration::from_millis(1)));
    drop(frames);
    let closed = async {
        while stage.pool.reuses(&stage.endpoint, now) {
            tokio::task::yield_now().await;
        }
    };
    timeout(AMPLE, closed).await.expect("a connection that is closed is not kept");

    let stage = tls_stage(&certified).await;
    let peer = async {
        let mut frames = Frames::accept(&stage, &certified).await;
        let stream = frames.request().await;
        frames.answer(stream).await;
        frames
    };
    let (outcome, _open) = join!(stage.send(), peer);
    assert!(is_good(&outcome));
    assert!(!stage.pool.reuses(&stage.endpoint, Clock.now() + minute));
}

#[tokio::test]
async fn a_post_is_not_repeated_on_a_kept_connection_that_ends_without_a_reply() {
    let stage = Stage::plain().await;
    let calls = async {
        stage.send().await.unwrap();
        let fault = fault(stage.send().await);
        assert!(fault == UpstreamFault::Reset && !fault.was_not_processed());
    };
    join!(calls, closes_without_a_reply(&stage));
    stage.assert_no_other_connection();
}
