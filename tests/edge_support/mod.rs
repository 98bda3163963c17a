//! Starts an edge on free ports before a handler that remembers its calls.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::{Body, Frame};
use ipnet::IpNet;
use sidebeat::clock::Clock;
use sidebeat::config::{AllowedOrigins, ForwardedHeader, ServerLimits, ServerSettings, TlsSettings, TrustedProxies};
use sidebeat::edge::local_ca;
use sidebeat::edge::{
    Certificates, CutReply, Edge, EdgeCounters, Handler, OutgoingBody, Peer, ReplyBody, ReplyFuture, RequestBody,
    Serving, body,
};
use sidebeat::task::{DeadTasks, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Idle connections are parked after this time where a test wants it.
const SOON: Duration = Duration::from_millis(2);
/// A passing test never waits so long.
pub(crate) const GENEROUS: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) method: Method,
    pub(crate) peer: Peer,
    pub(crate) target: String,
}

/// `one`, and when a permit is there, `two`.
struct Halves {
    begun: bool,
    permit: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Halves {
    fn new(gate: Arc<Semaphore>) -> Self {
        Self { begun: false, permit: Some(Box::pin(async move { gate.acquire().await.unwrap().forget() })) }
    }
}

impl Body for Halves {
    type Data = Bytes;
    type Error = CutReply;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutReply>>> {
        if !std::mem::replace(&mut self.begun, true) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"one")))));
        }
        let Some(permit) = &mut self.permit else { return Poll::Ready(None) };
        std::task::ready!(permit.as_mut().poll(cx));
        self.permit = None;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"two")))))
    }
}

/// Without end.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = CutReply;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutReply>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

/// Answers `ok`; under `/hold` only once a permit of `gate` is there, under `/stream` half of it before.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) began: Arc<Semaphore>,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) limits: ServerLimits,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) worker: usize,
    pub(crate) workers: Arc<Mutex<BTreeSet<usize>>>,
}

impl Recorder {
    pub(crate) fn answering(limits: ServerLimits) -> Self {
        let [began, gate] = [0, 0].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { began, gate, limits, seen: Arc::default(), worker: 0, workers: Arc::default() }
    }
}

impl Handler for Recorder {
    fn call(&self, peer: &Peer, request: Request<RequestBody>) -> ReplyFuture {
        let (seen, gate, began) = (Arc::clone(&self.seen), Arc::clone(&self.gate), Arc::clone(&self.began));
        let (most, deadline) = (self.limits.body_max, self.limits.body);
        let peer = peer.clone();
        self.workers.lock().unwrap().insert(self.worker);
        let (tasks, _deaths) = Tasks::new();
        ReplyFuture::new(tasks, |hang_up| async move {
            hang_up.let_go();
            let (parts, incoming) = request.into_parts();
            let body = match body::collect(incoming, most, deadline).await {
                Ok(body) => body,
                Err(fault) => return fault.reply().map(OutgoingBody::from),
            };
            let path = parts.uri.path().to_owned();
            let target = parts.uri.to_string();
            seen.lock().unwrap().push(Seen { body, headers: parts.headers, method: parts.method, peer, target });
            began.add_permits(1);
            match path.as_str() {
                "/hold" => gate.acquire().await.unwrap().forget(),
                "/panic" => panic!("asked to"),
                "/big" => return Response::new(ReplyBody::from(vec![b'x'; 64 << 20]).into()),
                "/endless" => return Response::new(OutgoingBody::stream(Endless)),
                "/stream" => return Response::new(OutgoingBody::stream(Halves::new(gate))),
                "/upstream-cors" => {
                    let reply = Response::builder().header("access-control-allow-origin", "*");
                    return reply.body(ReplyBody::from("ok").into()).unwrap();
                }
                _ => {}
            }
            Response::new(ReplyBody::from("ok").into())
        })
    }
}

pub(crate) struct Setup {
    pub(crate) client_ca: Option<std::path::PathBuf>,
    pub(crate) forwarded_header: ForwardedHeader,
    pub(crate) limits: ServerLimits,
    pub(crate) origins: AllowedOrigins,
    /// True if idle connections are parked within milliseconds.
    pub(crate) parks_soon: bool,
    /// True if both listeners expect a PROXY protocol header.
    pub(crate) proxy_protocol: bool,
    pub(crate) public_url: Option<String>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) workers: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            client_ca: None,
            forwarded_header: ForwardedHeader::Any,
            limits: limits(),
            origins: AllowedOrigins::Any,
            parks_soon: false,
            proxy_protocol: false,
            public_url: None,
            trusted_proxies: Vec::new(),
            workers: 1,
        }
    }
}

pub(crate) fn limits() -> ServerLimits {
    ServerLimits {
        body: GENEROUS,
        body_max: 64,
        body_memory: 1 << 20,
        body_memory_per_address: 1 << 20,
        call: GENEROUS,
        connections: 100,
        connections_per_address: 100,
        drain: GENEROUS,
        event_listeners_per_address: 100,
        first_byte: GENEROUS,
        handshake: GENEROUS,
        head: GENEROUS,
        idle: GENEROUS,
        in_flight: 100,
        in_flight_per_address: 100,
        lifetime: GENEROUS * 10,
        new_connections_per_address: 100_000,
        sessions: 1_000,
    }
}

pub(crate) struct Running {
    pub(crate) began: Arc<Semaphore>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) counters: Arc<EdgeCounters>,
    pub(crate) deaths: DeadTasks,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) parks_soon: bool,
    pub(crate) plain: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) serving: Serving,
    pub(crate) tasks: Tasks,
    pub(crate) tls: SocketAddr,
    /// Numbers of the workers that were called.
    pub(crate) workers: Arc<Mutex<BTreeSet<usize>>>,
}

/// Settings for both listeners on free ports, with a certificate made in `directory`.
pub(crate) fn server(setup: &Setup, directory: &std::path::Path) -> ServerSettings {
    make_pair(directory);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    ServerSettings {
        forwarded_header: setup.forwarded_header,
        host_names: Vec::new(),
        limits: setup.limits.clone(),
        listen: vec![any],
        listen_plain: vec![any],
        origins: setup.origins.clone(),
        proxy_protocol: if setup.proxy_protocol { vec![any] } else { Vec::new() },
        public_url: setup.public_url.clone(),
        tls: TlsSettings {
            certificate: directory.join("leaf.pem"),
            client_ca: setup.client_ca.clone(),
            is_at_its_usual_place: false,
            key: directory.join("leaf.key"),
        },
        trusted_proxies: TrustedProxies::new(setup.trusted_proxies.clone()),
        workers: setup.workers,
    }
}

impl Setup {
    pub(crate) async fn run(self) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let server = server(&self, directory.path());
        let (tasks, deaths) = Tasks::new();
        let counters = Arc::new(EdgeCounters::default());
        let edge = Edge::bind(&server, Clock, tasks.clone(), Arc::clone(&counters)).await.unwrap();
        if self.parks_soon {
            edge.parking_after(SOON);
        }
        let certificates = edge.certificates().unwrap();
        let [tls, plain] = [0, 1].map(|place| edge.addresses()[place].address);
        let recorder = Recorder::answering(self.limits);
        let Recorder { began, gate, seen, workers, .. } = recorder.clone();
        let serving = edge.serve(move |worker| Arc::new(Recorder { worker, ..recorder.clone() })).unwrap();
        let parks_soon = self.parks_soon;
        Running {
            began,
            certificates,
            counters,
            deaths,
            directory,
            gate,
            parks_soon,
            plain,
            seen,
            serving,
            tasks,
            tls,
            workers,
        }
    }
}

impl Running {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.plain).await.unwrap()
    }

    /// Waits until the handler has begun one more call.
    pub(crate) async fn begun(&self) {
        timeout(GENEROUS, self.began.acquire()).await.expect("no call began").unwrap().forget();
    }

    /// Waits until so many connections are parked.
    pub(crate) async fn until_parked(&self, connections: u64) {
        let parking = async {
            while self.counters.parked.load(Ordering::Relaxed) != connections {
                tokio::time::sleep(SOON).await;
            }
        };
        timeout(GENEROUS, parking).await.expect("another number of connections is parked");
    }

    /// Waits until every open connection is parked.
    pub(crate) async fn until_all_are_parked(&self) {
        let parking = async {
            while self.counters.parked.load(Ordering::Relaxed) != self.serving.connections() as u64 {
                tokio::time::sleep(SOON).await;
            }
        };
        timeout(GENEROUS, parking).await.expect("a connection is not parked");
    }

    /// Waits until the edge has closed every connection.
    pub(crate) async fn until_no_connection(&self) {
        let closing = async {
            while self.serving.connections() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(GENEROUS, closing).await.expect("a connection stays open");
    }

    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// `ca.pem`, `leaf.pem` and `leaf.key` for this machine; a CA that is there is kept.
pub(crate) fn make_pair(directory: &std::path::Path) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    local_ca::init(&local_ca::CertsRequest { directory, names: &names, now: Clock.wall(), renew_authority: false })
        .unwrap();
}

/// Everything up to the end of the connection, a reset counting as its end.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        let mut part = vec![0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            all.extend_from_slice(&part[..read]);
        }
    };
    timeout(GENEROUS, reading).await.expect("the connection must be closed");
    all
}

/// Reads an HTTP/1.1 reply, head and body, by its Content-Length; `None` if the connection ends instead. A preceding
/// `100 Continue` is included.
pub(crate) async fn read_reply(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let reading = async {
        let (mut all, mut part) = (Vec::new(), vec![0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if is_whole(text.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n")) {
                return Some(text);
            }
            match stream.read(&mut part).await {
                Ok(read @ 1..) => all.extend_from_slice(&part[..read]),
                Ok(_) | Err(_) => return None,
            }
        }
    };
    timeout(GENEROUS, reading).await.expect("neither a reply nor an end")
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

pub(crate) fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {reply:?}"))
}

pub(crate) async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &str) -> Option<String> {
    // Reading shows if the connection was closed meanwhile.
    let _written = stream.write_all(request.as_bytes()).await;
    read_reply(stream).await
}
