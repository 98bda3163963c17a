//! Tests connections that are parked while nobody calls: no byte is lost or doubled, and whatever ends a connection ends
//! a parked one. Drain and hand-over are in `drain`, framing in `framing`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod edge_support;
mod edge_tls;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use edge_support::{GENEROUS, Running, Setup, ask, limits, read_reply, read_to_end, server, status};
use edge_tls::{Client, H1, H2};
use http::{Request, Response};
use sidebeat::clock::Clock;
use sidebeat::config::ServerLimits;
use sidebeat::edge::{
    ConnectionScoped, Edge, EdgeCounters, Handler, OutgoingBody, Peer, ReplyBody, ReplyFuture, RequestBody,
};
use sidebeat::task::{DeadTasks, Tasks};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const SHORT: Duration = Duration::from_millis(150);
/// Bounds of an idle connection, in the memory that is asked of the allocator.
const MAX_PARKED_BYTES: i64 = 3_000;
const MAX_PARKED_TLS_BYTES: i64 = 9_000;

fn setup(limits: ServerLimits) -> Setup {
    Setup { limits, parks_soon: true, ..Setup::default() }
}

fn parked(edge: &Running) -> u64 {
    edge.counters.parked.load(Ordering::Relaxed)
}

async fn get(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    assert_eq!(status(&ask(stream, GET).await.expect("no reply")), 200);
}

#[tokio::test]
async fn a_connection_is_parked_again_and_again_between_its_calls() {
    let edge = setup(limits()).run().await;
    let mut plain = edge.connect().await;
    let trusting = Client::trusting(edge.directory.path()).speaking(H1);
    let mut newer = trusting.clone().over(&rustls::version::TLS13).connect(edge.tls).await.unwrap();
    let mut older = trusting.over(&rustls::version::TLS12).connect(edge.tls).await.unwrap();
    assert_eq!(parked(&edge), 0, "nobody has called yet");
    for _ in 0..5 {
        get(&mut plain).await;
        get(&mut newer).await;
        get(&mut older).await;
        edge.until_parked(3).await;
    }
    assert_eq!(edge.take_seen().len(), 15);
    drop((plain, newer, older));
    edge.until_no_connection().await;
    assert_eq!(parked(&edge), 0);
}

/// Two requests in two parts, which come before, at and after the moment of parking and of the return.
#[tokio::test]
async fn every_byte_around_the_switch_is_read_once() {
    let edge = setup(limits()).run().await;
    let post = |body: &str| format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let both = format!("{}{}", post("first"), post("the second"));
    let mut plain = edge.connect().await;
    let mut encrypted = Client::trusting(edge.directory.path()).speaking(H1).connect(edge.tls).await.unwrap();
    plain.set_nodelay(true).unwrap();
    for split in 0..both.len() {
        let (one, two) = both.split_at(split);
        let pause = Duration::from_micros(split as u64 * 37 % 5_000);
        for stream in [&mut plain as &mut dyn Pipe, &mut encrypted] {
            stream.write_all(one.as_bytes()).await.unwrap();
            sleep(pause).await;
            stream.write_all(two.as_bytes()).await.unwrap();
            read_two_replies(stream).await;
            let bodies: Vec<_> = edge.take_seen().into_iter().map(|seen| seen.body).collect();
            assert_eq!(bodies, ["first", "the second"], "split at {split}");
        }
        sleep(pause).await;
    }
}

async fn read_two_replies(stream: &mut dyn Pipe) {
    let reading = async {
        let mut all = Vec::new();
        while memchr::memmem::find_iter(&all, "\r\n\r\nok").count() < 2 {
            assert!(stream.read_buf(&mut all).await.unwrap() > 0, "the connection was closed");
        }
    };
    timeout(GENEROUS, reading).await.expect("a reply is missing");
}

trait Pipe: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Pipe for S {}

/// A call, a reply and half a request that are under way, and HTTP/2.
#[tokio::test]
async fn only_an_idle_http1_connection_is_parked() {
    let edge = setup(limits()).run().await;
    let mut called = Client::trusting(edge.directory.path()).speaking(H2).calls(&edge).await;
    assert_eq!(called.post("/a", "").await.status(), 200);
    let _new = edge.connect().await;
    let mut others = Vec::new();
    for request in [
        "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /big HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe",
        "GET /a HT",
    ] {
        let mut stream = edge.connect().await;
        get(&mut stream).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        others.push(stream);
    }
    let mut witness = edge.connect().await;
    for _ in 0..3 {
        get(&mut witness).await;
        edge.until_parked(1).await;
        sleep(SHORT / 3).await;
        assert_eq!(parked(&edge), 1);
    }
    edge.gate.add_permits(2);
    assert_eq!(status(&read_reply(&mut others[0]).await.unwrap()), 200);
    edge.until_parked(3).await;
    assert_eq!(called.post("/a", "").await.status(), 200);
}

#[tokio::test]
async fn a_parked_connection_ends_with_its_idle_time() {
    let edge = setup(ServerLimits { idle: SHORT, ..limits() }).run().await;
    let mut encrypted = Client::trusting(edge.directory.path()).speaking(H1).connect(edge.tls).await.unwrap();
    let mut plain = edge.connect().await;
    get(&mut plain).await;
    get(&mut encrypted).await;
    edge.until_parked(2).await;
    assert_eq!(read_to_end(&mut plain).await, b"");
    assert_eq!(read_to_end(&mut encrypted).await, b"");
    edge.until_no_connection().await;
    assert_eq!(parked(&edge), 0);
}

/// Each byte takes the connection out of the parking, with the buffers of a connection in use.
#[tokio::test]
async fn a_head_that_comes_slowly_on_a_parked_connection_has_its_deadline() {
    let edge = setup(ServerLimits { head: SHORT, ..limits() }).run().await;
    let mut stream = edge.connect().await;
    get(&mut stream).await;
    edge.until_parked(1).await;
    let trickle = async {
        for byte in GET.as_bytes() {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(SHORT / 5).await;
        }
    };
    tokio::join!(trickle, edge.until_no_connection());
    assert_eq!(edge.counters.heads_stalled.load(Ordering::Relaxed), 1);
    assert_eq!(edge.take_seen().len(), 1);
}

#[tokio::test]
async fn the_parked_connection_that_is_idle_for_longest_makes_room() {
    let edge = setup(ServerLimits { connections: 3, ..limits() }).run().await;
    let mut streams = [edge.connect().await, edge.connect().await, edge.connect().await];
    for stream in &mut streams {
        get(stream).await;
    }
    edge.until_parked(3).await;
    let [first, second, third] = &mut streams;
    get(first).await;
    edge.until_parked(3).await;
    let mut new = edge.connect().await;
    assert_eq!(read_to_end(second).await, b"", "it called before the others");
    for stream in [first, third, &mut new] {
        get(stream).await;
    }
}

#[tokio::test]
async fn a_parked_connection_keeps_its_viewer_and_its_certificate() {
    let devices = edge_tls::Devices::new();
    let setup = Setup {
        client_ca: Some(devices.ca_file()),
        proxy_protocol: true,
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..setup(limits())
    };
    let edge = setup.run().await;
    let (certificate, key) = devices.issue();
    let fingerprint = edge_tls::sha256_hex(&certificate);
    let mut tcp = TcpStream::connect(edge.tls).await.unwrap();
    tcp.write_all(b"PROXY TCP4 203.0.113.9 10.0.0.1 4242 443\r\n").await.unwrap();
    let client = Client::trusting(edge.directory.path()).speaking(H1).showing(certificate, key);
    let mut stream = client.shake(tcp).await.unwrap();
    for _ in 0..2 {
        get(&mut stream).await;
        let peer = edge.take_seen().remove(0).peer;
        assert_eq!((peer.address.to_string().as_str(), &peer.certificate), ("203.0.113.9", &Some(fingerprint.clone())));
        edge.until_parked(1).await;
    }
}

/// Leaves a value with each connection, and tells its end.
struct Holder(Sender<&'static str>);

struct Held(Sender<&'static str>, &'static str);

impl Drop for Held {
    fn drop(&mut self) {
        let _deaf = self.0.send(self.1);
    }
}

impl ConnectionScoped for Held {
    fn let_go(mut self: Box<Self>) {
        self.1 = "ended by us";
    }
}

impl Handler for Holder {
    fn call(&self, peer: &Peer, _: Request<RequestBody>) -> ReplyFuture {
        peer.guards.hold(1, || Held(self.0.clone(), "ended by the peer"));
        let (tasks, _deaths) = Tasks::new();
        ReplyFuture::new(tasks, |_hang_up| async { Response::new(OutgoingBody::from(ReplyBody::from("ok"))) })
    }
}

async fn bind_holder(
    limits: ServerLimits,
) -> ((Edge, Arc<EdgeCounters>, Holder), Receiver<&'static str>, (Tasks, DeadTasks, TempDir)) {
    let directory = tempfile::tempdir().unwrap();
    let (tasks, deaths) = Tasks::new();
    let counters = Arc::new(EdgeCounters::default());
    let server = server(&setup(limits), directory.path());
    let edge = Edge::bind(&server, Clock, tasks.clone(), Arc::clone(&counters)).await.unwrap();
    edge.parking_after(Duration::from_millis(2));
    let (tell, told) = channel();
    ((edge, counters, Holder(tell)), told, (tasks, deaths, directory))
}

async fn serve_holder(
    limits: ServerLimits,
) -> (std::net::SocketAddr, Arc<EdgeCounters>, Receiver<&'static str>, impl Sized) {
    let ((edge, counters, Holder(tell)), told, kept) = bind_holder(limits).await;
    let address = edge.addresses()[1].address;
    let serving = edge.serve(move |_| Arc::new(Holder(tell.clone()))).unwrap();
    (address, counters, told, (kept, serving))
}

async fn connect_parked(address: std::net::SocketAddr, counters: &EdgeCounters) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    get(&mut stream).await;
    let parking = async {
        while counters.parked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(GENEROUS, parking).await.expect("it is not parked");
    stream
}

async fn next(told: &Receiver<&'static str>) -> &'static str {
    let hearing = async {
        loop {
            match told.try_recv() {
                Ok(word) => return word,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(GENEROUS, hearing).await.expect("nothing is told")
}

#[tokio::test]
async fn a_hang_up_while_parked_is_seen_at_once() {
    let (address, counters, told, _running) = serve_holder(limits()).await;
    for reset in [false, true] {
        let stream = connect_parked(address, &counters).await;
        if reset {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        assert_eq!(next(&told).await, "ended by the peer");
    }
}

#[tokio::test]
async fn the_idle_end_of_a_parked_connection_says_nothing_about_its_peer() {
    let (address, counters, told, _running) = serve_holder(ServerLimits { idle: SHORT, ..limits() }).await;
    let _stream = connect_parked(address, &counters).await;
    assert_eq!(next(&told).await, "ended by us");
}

// Memory

/// Bytes that the allocator gave for one parked connection, in the thread that serves it.
fn bytes_of_a_parked_connection(tls: bool) -> i64 {
    const FEW: u64 = 8;
    const MANY: u64 = 64;
    let runtime = current_thread();
    let (address, counters, _told, running) = runtime.block_on(async {
        let (edge, told, kept) = bind_holder(limits()).await;
        let address = edge.0.addresses()[usize::from(!tls)].address;
        (address, edge.1, told, (edge.0.serve_here(Arc::new(edge.2)), kept))
    });
    let directory = running.1.2.path().to_owned();
    let (keep, kept) = channel::<()>();
    let kept = Arc::new(std::sync::Mutex::new(kept));
    let open = |more: u64, all: u64| {
        let (directory, kept) = (directory.clone(), Arc::clone(&kept));
        std::thread::spawn(move || {
            let runtime = current_thread();
            let _streams = runtime.block_on(connect_and_call(address, tls, &directory, more));
            // Until the sender is gone.
            let _ended = kept.lock().unwrap().recv();
        });
        let parking = async {
            while counters.parked.load(Ordering::Relaxed) < all {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let parking = async { timeout(GENEROUS, parking).await.expect("they are not parked") };
        allocation_counter::measure(|| runtime.block_on(parking)).bytes_current
    };
    open(FEW, FEW);
    let bytes = open(MANY, FEW + MANY) / i64::try_from(MANY).unwrap();
    drop(keep);
    bytes
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect_and_call(
    address: std::net::SocketAddr,
    tls: bool,
    directory: &std::path::Path,
    count: u64,
) -> Vec<Box<dyn Pipe>> {
    let client = Client::trusting(directory).speaking(H1);
    let mut streams: Vec<Box<dyn Pipe>> = Vec::new();
    for _ in 0..count {
        let mut stream: Box<dyn Pipe> = if tls {
            Box::new(client.connect(address).await.unwrap())
        } else {
            Box::new(TcpStream::connect(address).await.unwrap())
        };
        get(&mut stream).await;
        streams.push(stream);
    }
    streams
}

#[test]
fn a_parked_connection_holds_few_bytes() {
    let (plain, tls) = (bytes_of_a_parked_connection(false), bytes_of_a_parked_connection(true));
    println!("a parked connection: {plain} bytes, over TLS {tls}");
    assert!((500..=MAX_PARKED_BYTES).contains(&plain), "{plain}");
    assert!((2_000..=MAX_PARKED_TLS_BYTES).contains(&tls), "{tls}");
}
