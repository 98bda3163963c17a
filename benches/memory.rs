//! Measures the memory of a session, a refused open, a kill and a connection: at ordinary sizes, and at the largest
//! ones accepted.
//!
//! The figures are the resident memory of this process before and after many of each. `-- --write` puts them into
//! `benches/README.md`.

mod setup;

use std::fs;
use std::future::ready;
use std::io::{Read, Write};
use std::iter;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use sidebeat::clock::Clock;
use sidebeat::config::{DeviceSource, ServerLimits, ServerSettings};
use sidebeat::drm::{DrmMessage, DrmSystem, MessageKind};
use sidebeat::edge::{Edge, EdgeCounters, Handler, Peer, ReplyBody, ReplyFuture, RequestBody, body};
use sidebeat::ids::SessionId;
use sidebeat::secret::{Fingerprint, Secret};
use sidebeat::session::{AskKind, AuthorityAsk, Denial, Grant, Input, PlayerCall, Policy, Reason, Verdict};
use sidebeat::sessions::{
    AskAuthority, AuthorityDispatcher, CountedGroups, DeviceKey, SessionContext, SessionRoute, Sessions, VerdictFuture,
};
use sidebeat::store::DialectName;
use sidebeat::task::Tasks;
use tokio::runtime;

use setup::{Outcome, TOKEN_BYTES};

/// Only the edge of it is used.
const CONFIG: &str = "[[route]]\npath = \"/license\"\nlicense-server = \"http://127.0.0.1:9/\"\n";
const PARKING_DELAY: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_secs(86_400);

/// Sizes of the fields that callers and authorities choose.
#[derive(Clone, Copy)]
struct Sizes {
    /// Bytes of each name: account, content, device and the groups.
    name: usize,
    content_token: usize,
    session_token: usize,
    key_sessions: u64,
    keys: u8,
    /// Refreshed content tokens.
    later_tokens: u64,
    /// Entries of its timeline beside its opening, each as long as any.
    notes: usize,
    count: u64,
}

/// A content token of 700 bytes, as head-ends make them; four keys.
const TYPICAL: Sizes = Sizes {
    name: 20,
    content_token: TOKEN_BYTES,
    session_token: 700,
    key_sessions: 2,
    keys: 4,
    later_tokens: 1,
    notes: 2,
    count: 5_000,
};
/// A content token that fills a request's head, a session token that fills an authority's reply, and the most of
/// everything that is kept.
const LARGEST: Sizes = Sizes {
    name: 256,
    content_token: 32 << 10,
    session_token: 64 << 10,
    key_sessions: 16,
    keys: 32,
    later_tokens: 8,
    notes: 32,
    count: 300,
};

struct Head {
    grants: bool,
    sizes: Sizes,
}

impl AskAuthority for Head {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, _card: &'a SessionContext) -> VerdictFuture<'a> {
        let token = || Secret::new("t".repeat(self.sizes.session_token));
        let verdict = match ask.kind {
            AskKind::Open if self.grants => Verdict::Granted(Grant { interval: DAY, lifetime: None, token: token() }),
            AskKind::Open => Verdict::Denied(Denial::Limit, Reason::new(403, Some(1), &"no ".repeat(60))),
            AskKind::Close => Verdict::Closed,
            AskKind::Beat | AskKind::Renew => {
                Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }
            }
        };
        Box::pin(ready(Ok(verdict)))
    }
}

fn text(length: usize, number: u64) -> String {
    format!("{number:0length$}")
}

fn context(sizes: Sizes, number: u64, of_route: &Arc<SessionRoute>) -> Arc<SessionContext> {
    let name = || text(sizes.name, number);
    let group = || (sizes.name == LARGEST.name).then(name);
    Arc::new(SessionContext {
        account: Some(name().into()),
        content: Some(name().into()),
        groups: CountedGroups::of(group(), group()),
        network: Fingerprint::new(number),
        of_route: of_route.clone(),
        token: Some(Secret::new(text(sizes.content_token, number))),
        ..setup::context(text(sizes.name, number))
    })
}

fn call(number: u64, token: u64, key_session: u64) -> PlayerCall {
    PlayerCall {
        content: Some(Fingerprint::new(number << 8 | 1)),
        key_session: Some(Fingerprint::new(key_session)),
        ..setup::call(number << 16 | token)
    }
}

/// Resident memory of this process in bytes.
fn resident() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.split_whitespace().next().ok_or("no number")?.parse()?;
    Ok(kib * 1024)
}

struct Shell {
    of_route: Arc<SessionRoute>,
    sessions: Arc<Sessions>,
    sizes: Sizes,
}

impl Shell {
    fn new(tasks: &Tasks, sizes: Sizes, grants: bool) -> Self {
        let policy = Policy { refusal_memory: DAY, end_memory: DAY, kill_memory: DAY, ..Policy::default() };
        let dispatcher =
            AuthorityDispatcher::new(Arc::new(Head { grants, sizes }), runtime::Handle::current(), tasks.clone());
        let sessions = Sessions::new(Clock, dispatcher, Arc::default());
        Self { of_route: setup::session_route("head-end", DialectName::NagraSsm, policy), sessions, sizes }
    }

    /// A license call, to which the license server gives what it asks for.
    async fn ask(&self, number: u64, token: u64, key_session: u64) -> (DeviceKey, Option<SessionId>) {
        let key = DeviceKey::new("head-end", DeviceSource::Header, &number.to_string());
        let context = context(self.sizes, number, &self.of_route);
        let deadline = Clock.now() + Duration::from_secs(60);
        let call = call(number, token, key_session);
        let session = self.sessions.admit(key, &call, &context, deadline).await.session;
        if let Some(id) = session {
            self.sessions.accept(key, id, &call);
        }
        (key, session)
    }

    async fn play(&self, number: u64) -> Outcome<(DeviceKey, SessionId)> {
        let (key, id) = self.ask(number, 0, 1).await;
        let id = id.ok_or("no session was opened")?;
        for token in 1..=self.sizes.later_tokens {
            self.ask(number, token, 1).await;
        }
        for key_session in 0..self.sizes.key_sessions {
            self.ask(number, 0, key_session).await;
            let mut message = DrmMessage::new(DrmSystem::Widevine, MessageKind::LicenseRequest);
            message.request_id = Some(Fingerprint::new(key_session));
            (0..self.sizes.keys).for_each(|key| message.key_ids.insert(&[key; 16]));
            self.sessions.see(key, id, |mirror, _| mirror.asked(&message));
            let ends = Some(Duration::from_secs(3600));
            self.sessions.licensed(
                key,
                id,
                sidebeat::session::LicenseFeedback::Stays,
                (Fingerprint::new(key_session), ends),
            );
        }
        for note in 0..self.sizes.notes {
            self.sessions.note_call(key, id, text(160, note as u64));
        }
        self.sessions.used(key, Fingerprint::new(number << 16));
        Ok((key, id))
    }
}

/// Bytes for each of `count` objects.
async fn each(count: u64, make: impl AsyncFn(u64) -> Outcome<()>) -> Outcome<f64> {
    // The first call creates what all share.
    make(0).await?;
    let before = resident()?;
    for number in 1..=count {
        make(number).await?;
    }
    Ok(resident()?.saturating_sub(before) as f64 / count as f64 / 1024.0)
}

async fn sessions(tasks: &Tasks, sizes: Sizes) -> Outcome<[f64; 3]> {
    let live = Shell::new(tasks, sizes, true);
    let plays = each(sizes.count, async |number| live.play(number).await.map(drop)).await?;
    let refusing = Shell::new(tasks, sizes, false);
    let count = sizes.count.max(TYPICAL.count);
    let refused = each(count, async |number| {
        let _refused = refusing.ask(number, 0, 1).await;
        Ok(())
    })
    .await?;
    let killing = Shell::new(tasks, sizes, true);
    let killed = each(sizes.count, async |number| {
        let (key, id) = killing.play(number).await?;
        killing.sessions.deliver(key, id, Input::Kill(Reason::new(403, Some(1), &"no ".repeat(60)).into()));
        for _ in 0..100_000 {
            if killing.sessions.row(id).is_none_or(|row| row.interval.is_none()) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        Err("a killed session was not given back".into())
    });
    let killed = killed.await?;
    // Freed memory would be used again, and not be counted.
    [live, refusing, killing].into_iter().for_each(std::mem::forget);
    Ok([plays, refused, killed])
}

struct Echo;

impl Handler for Echo {
    fn call(&self, _: &Peer, request: Request<RequestBody>) -> ReplyFuture {
        let (tasks, _deaths) = Tasks::new();
        ReplyFuture::new(tasks, |_| async move {
            let _body = body::collect(request.into_body(), 64 << 10, DAY).await;
            Response::new(ReplyBody::from("ok").into())
        })
    }
}

fn limits() -> ServerLimits {
    const MANY: usize = 1_000_000;
    ServerLimits {
        body: DAY,
        body_max: 64 << 10,
        body_memory: 1 << 40,
        body_memory_per_address: 1 << 40,
        call: DAY,
        connections: MANY,
        connections_per_address: MANY,
        drain: Duration::ZERO,
        event_listeners_per_address: MANY,
        first_byte: DAY,
        handshake: DAY,
        head: DAY,
        idle: DAY,
        in_flight: MANY,
        in_flight_per_address: MANY,
        lifetime: DAY,
        new_connections_per_address: MANY,
        sessions: MANY,
    }
}

/// Connections over which this was sent; `answered`: and was answered.
fn connections(address: SocketAddr, sent: &str, answered: bool) -> Outcome<f64> {
    const COUNT: u64 = 400;
    /// Connections that come at once, and those before the first look.
    const BATCH: u64 = 20;
    let mut open = Vec::new();
    let mut before = 0;
    for number in 1..=BATCH + COUNT {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(sent.as_bytes())?;
        if answered {
            let read = stream.read(&mut [0; 1024])?;
            assert!(read > 0, "it was closed");
        }
        open.push(stream);
        if number % BATCH == 0 {
            // The earlier ones park meanwhile.
            std::thread::sleep(PARKING_DELAY * 3);
        }
        if number == BATCH {
            before = resident()?;
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    Ok(resident()?.saturating_sub(before) as f64 / COUNT as f64 / 1024.0)
}

async fn measure_connections(tasks: &Tasks) -> Outcome<[f64; 3]> {
    let config =
        sidebeat::config::parse(CONFIG, Path::new("."), iter::empty()).map_err(|faults| format!("{faults:?}"))?;
    let plain = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let server =
        ServerSettings { limits: limits(), listen: Vec::new(), listen_plain: plain, workers: 1, ..config.server };
    let edge = Edge::bind(&server, Clock, tasks.clone(), Arc::new(EdgeCounters::default())).await?;
    let address = edge.addresses().first().ok_or("no address")?.address;
    edge.parking_after(PARKING_DELAY);
    let serving = edge.serve(|_| Arc::new(Echo))?;
    let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let half_head = format!("GET /a HTTP/1.1\r\nHost: h\r\nX-Fill: {}", "a".repeat(30 << 10));
    let half_body = format!(
        "POST /a HTTP/1.1\r\nHost: h\r\nX-Fill: {}\r\nContent-Length: 65536\r\n\r\n{}",
        "a".repeat(30 << 10),
        "b".repeat(63 << 10)
    );
    let figures = [
        connections(address, get, true)?,
        connections(address, &half_head, false)?,
        connections(address, &half_body, false)?,
    ];
    serving.drain(Duration::ZERO).await;
    Ok(figures)
}

async fn measure() -> Outcome<String> {
    let (tasks, _deaths) = Tasks::new();
    // Connections come last: what they free again would be used by sessions, and not be counted.
    let [plays, refused, killed] = sessions(&tasks, TYPICAL).await?;
    let [plays_most, refused_most, killed_most] = sessions(&tasks, LARGEST).await?;
    let [idle, half_head, half_body] = measure_connections(&tasks).await?;
    let headline = setup::headline()?;
    Ok(format!(
        "{headline}; KiB each.\n\n\
         | | ordinary | largest |\n|---|---|---|\n\
         | a session that plays | {plays:.1} | {plays_most:.1} |\n\
         | a refused open, while it is remembered | {refused:.1} | {refused_most:.1} |\n\
         | a killed session, while it is remembered | {killed:.1} | {killed_most:.1} |\n\
         | a connection: idle after a call, and parked; in the middle of the longest head | {idle:.1} | {half_head:.1} |\n\
         | a connection that waits for the rest of the largest body | | {half_body:.1} |"
    ))
}

fn main() -> ExitCode {
    setup::run("memory", measure())
}
