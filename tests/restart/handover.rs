//! Tests restarts that no call notices: by SIGUSR2, by reload, and by a service manager that keeps the sockets.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use command_fds::{CommandFdExt, FdMapping};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use crate::home::Home;
use crate::process::{CLEARKEY, Proxy, sidebeat};
use crate::web;

/// The outcomes of the calls of all players.
#[derive(Default)]
struct Tally {
    answered: Cell<usize>,
    news: Notify,
    /// Why calls got no answer, or none with a license.
    lost: RefCell<Vec<String>>,
    over: Cell<bool>,
}

impl Tally {
    /// Waits until so many calls are answered: immediate further restarts would meet none.
    async fn reaches(&self, answered: usize) {
        let reached = async {
            while self.answered.get() < answered {
                self.news.notified().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), reached).await.is_ok(), "calls are answered");
    }
}

/// How players connect: over cleartext, or over TLS and HTTP/2.
#[derive(Clone)]
struct Way {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection on which calls can be sent.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Way {
    fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    async fn connect(&self) -> Option<Sender> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            // Ends with its connection.
            drop(tokio::task::spawn_local(connection));
            return Some(Sender::Http1(sender));
        };
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.ok()?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
        drop(tokio::task::spawn_local(connection));
        Some(Sender::Http2(sender))
    }

    fn call(&self, token: &str, device: &str) -> Request<Full<Bytes>> {
        let request = match self.tls {
            None => Request::post("/license").header("host", "localhost"),
            Some(_) => Request::post("https://localhost/license"),
        };
        request.header("nv-authorizations", token).header("x-device-id", device).body(CLEARKEY.into()).unwrap()
    }
}

impl Sender {
    async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}

/// Plays a player. A connection is kept until its end is announced (`keeps`), or for one call.
async fn play(way: &Way, token: &str, device: &str, keeps: bool, tally: &Tally) {
    let mut kept = None;
    while !tally.over.get() {
        let reply = tokio::time::timeout(PATIENCE, call_once(way, token, device, keeps, &mut kept)).await;
        // The head-end remembers 10,000 calls: all of a run must be among them, so that its setups can be counted.
        if tally.answered.get() > MAX_CALLS_IN_HASTE {
            tokio::time::sleep(PAUSE_BETWEEN_CALLS).await;
        }
        match reply.unwrap_or_else(|_| Err("no reply".to_owned())) {
            Ok(()) => {
                tally.answered.set(tally.answered.get() + 1);
                tally.news.notify_one();
            }
            Err(why) => tally.lost.borrow_mut().push(format!("keeps={keeps} {why}")),
        }
    }
}

/// A call is repeated on another connection only if nothing of it was looked at. The error is why there was no license.
async fn call_once(way: &Way, token: &str, device: &str, keeps: bool, kept: &mut Option<Sender>) -> Result<(), String> {
    for _ in 0..MAX_CONNECTIONS_OF_A_CALL {
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => way.connect().await.ok_or("no connection")?,
        };
        if sender.ready().await.is_err() {
            // The connection was closed while it was idle: nothing was sent.
            continue;
        }
        let reply = match sender.send(way.call(token, device)).await {
            Ok(reply) => reply,
            Err(mut fault) => match fault.take_message() {
                Some(_unsent) => continue,
                None if was_not_processed(fault.error()) => continue,
                None => return Err(format!("{fault:?}")),
            },
        };
        let status = reply.status();
        let ends = reply.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        let whole = reply.into_body().collect().await.map(|body| body.to_bytes());
        if keeps && !ends {
            *kept = Some(sender);
        }
        return match whole {
            Ok(_) if status == 200 => Ok(()),
            Ok(body) => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
            Err(fault) => Err(format!("{fault:?}")),
        };
    }
    Err(format!("{MAX_CONNECTIONS_OF_A_CALL} connections were closed before the call was sent"))
}

/// True if the connection ended without an error and before this stream was processed. The call may be sent again (RFC
/// 9113, section 6.8), as browsers do.
fn was_not_processed(fault: &hyper::Error) -> bool {
    let http2 = std::error::Error::source(fault).and_then(|source| source.downcast_ref::<h2::Error>());
    http2.is_some_and(|fault| fault.is_go_away() && fault.is_remote() && fault.reason() == Some(h2::Reason::NO_ERROR))
}

/// Limit for a call over any number of connections.
const PATIENCE: Duration = Duration::from_secs(30);
/// Each restart closes the idle ones once.
const MAX_CONNECTIONS_OF_A_CALL: usize = 100;
const MAX_CALLS_IN_HASTE: usize = 6_000;
/// Six players then make at most 120 calls a second.
const PAUSE_BETWEEN_CALLS: Duration = Duration::from_millis(50);

/// All players are on one address here, and some connect for each call.
fn without_connection_limit(home: &Home, workers: usize) {
    let file = home.folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let lines = format!("workers = {workers}\nlimits.new-connections-per-address = 1000000");
    std::fs::write(&file, config.replace("workers = 1", &lines)).unwrap();
}

/// Runs `restarts` while players play, and returns what became of their calls.
async fn under_load(home: &Home, way: &Way, restarts: impl AsyncFnOnce(&Tally)) -> Tally {
    let tally = Rc::new(Tally::default());
    let local = LocalSet::new();
    for number in 0..6 {
        let device = format!("tv{number}");
        let (token, tally, way) = (home.token(&device, "news").await, tally.clone(), way.clone());
        local.spawn_local(async move { play(&way, &token, &device, number % 2 == 0, &tally).await });
    }
    local.run_until(restarts(&tally)).await;
    tally.over.set(true);
    local.await;
    Rc::into_inner(tally).unwrap()
}

/// Every player has one session, which was neither opened anew nor given back.
async fn assert_sessions_went_on(home: &Home) {
    assert_eq!((home.headend.count("setup").await, home.headend.count("teardown").await), (6, 0));
    assert_eq!(home.headend.open().await.len(), 6);
}

const RESTARTS: usize = 20;
const RELOADS_EACH: usize = 5;

/// Each restart follows reloads, and meets so many calls.
async fn restart_and_reload(home: &Home, mut proxy: Proxy, way: Way, calls_each: usize) {
    let tally = under_load(home, &way, async |tally: &Tally| {
        for restart in 1..=RESTARTS {
            for _ in 0..RELOADS_EACH {
                proxy.signal("-HUP");
                proxy.says_soon("configuration reloaded").await;
            }
            proxy.succeed().await;
            tally.reaches(calls_each * restart).await;
        }
    })
    .await;
    assert_eq!(*tally.lost.borrow(), Vec::<String>::new(), "of {} calls", tally.answered.get());
    assert_sessions_went_on(home).await;
    assert_eq!(proxy.said("sessions restored resumed=6"), RESTARTS);
    proxy.end_successor().await;
}

#[tokio::test]
async fn restarts_and_reloads_under_load_lose_no_call() {
    // Sessions are handed over whatever becomes of them at an end.
    let home = Home::new(30.0, "close", false).await.without_expiry().await;
    without_connection_limit(&home, 2);
    let proxy = home.proxy();
    let way = Way::plain(proxy.players);
    restart_and_reload(&home, proxy, way, 100).await;
}

/// A connection of many streams ends as a whole: what runs on it is finished first.
#[tokio::test]
async fn restarts_and_reloads_under_load_over_tls_and_http_2_lose_no_call() {
    let home = Home::new(30.0, "close", false).await.without_expiry().await;
    without_connection_limit(&home, 2);
    let file = home.folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let made = sidebeat().args(["certs", "init", "localhost", "--dir"]).arg(home.folder.path().join("certs")).output();
    assert!(made.unwrap().status.success());
    let encrypted = "listen = [\"127.0.0.1:0\"]\nlisten-plain = []";
    std::fs::write(&file, config.replace("listen = []\nlisten-plain = [\"127.0.0.1:0\"]", encrypted)).unwrap();
    let proxy = home.proxy();
    let mut tls = Arc::unwrap_or_clone(web::trusting(&home.folder.path().join("certs/ca.pem")));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let way = Way { address: proxy.players, tls: Some(Arc::new(tls)) };
    restart_and_reload(&home, proxy, way, 20).await;
}

/// Replaces the file, as an upgrade does. Another process does it: a file that this one writes may be open in a child
/// of another test, and could not be run ("text file busy").
fn install(file: &Path, program: &Path) {
    let new = program.with_extension("new");
    let status = Command::new("install").args(["-m", "755"]).args([file, &new]).status().unwrap();
    assert!(status.success(), "install: {status}");
    std::fs::rename(&new, program).unwrap();
}

#[tokio::test]
async fn a_successor_that_cannot_start_leaves_the_process_as_it_was() {
    let home = Home::new(30.0, "close", false).await;
    let folder = home.folder.path();
    let (file, program) = (folder.join("config.toml"), folder.join("sidebeat"));
    install(env!("CARGO_BIN_EXE_sidebeat").as_ref(), &program);
    let mut command = Command::new(&program);
    command.args(["run", "-c"]).arg(&file);
    let mut proxy = Proxy::start_by(command);
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    let failed = async || {
        proxy.signal("-USR2");
        proxy.says_soon("the successor did not start; this process goes on serving").await;
        assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    };
    let good = std::fs::read_to_string(&file).unwrap();
    for bad in [
        "[server]\nlisten-plane = 1\n".to_owned(),
        good.replace(
            "listen = []",
            "listen = [\"127.0.0.1:0\"]\ntls.certificate = \"gone.pem\"\ntls.key = \"/proc/none\"",
        ),
    ] {
        std::fs::write(&file, bad).unwrap();
        failed().await;
    }
    std::fs::write(&file, good).unwrap();
    let script = |text: &str| {
        let draft = folder.join("draft");
        std::fs::write(&draft, text).unwrap();
        install(&draft, &program);
    };
    script("#!/bin/sh\nexit 1\n");
    failed().await;
    std::fs::remove_file(&program).unwrap();
    failed().await;
    // The process starts the file that is there now.
    script(&format!("#!/bin/sh\necho the upgraded program >&2\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_sidebeat")));
    proxy.succeed().await;
    assert_eq!(proxy.said("the upgraded program"), 1);
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    assert_eq!((home.headend.count("setup").await, home.headend.count("teardown").await), (1, 0));
    proxy.end_successor().await;
}

/// Sessions and kills that stand in a journal would be orphaned by a successor that looks elsewhere.
#[tokio::test]
async fn a_successor_that_would_not_find_the_sessions_is_refused_before_anything_is_given_up() {
    let home = Home::new(30.0, "keep", false).await;
    let file = home.folder.path().join("config.toml");
    let mut proxy = Proxy::start(&file);
    let token = home.token("tv", "news").await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    let good = std::fs::read_to_string(&file).unwrap();
    let kind = "kind = \"journal\"\non-exit = \"keep\"";
    assert!(good.contains(kind), "{good}");
    let with = |text: &str| good.replace(kind, text);
    let memory = with("kind = \"memory\"");
    let other = with(&format!("{kind}\nfile = \"other.redb\""));
    for (config, says) in [(memory, "keeps them in memory"), (other, "names the journal")] {
        std::fs::write(&file, config).unwrap();
        proxy.signal("-USR2");
        let why = proxy.says_soon("nothing is handed over: [store]").await;
        assert!(why.contains(says) && why.contains("on-exit"), "{why}");
        proxy.says_soon("this process goes on serving").await;
        assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    }
    // The same file by another name is the same journal.
    std::fs::write(&file, with(&format!("{kind}\nfile = \"./sidebeat.redb\""))).unwrap();
    proxy.succeed().await;
    assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
    assert_eq!((home.headend.count("setup").await, home.headend.count("teardown").await), (1, 0));
    proxy.end_successor().await;
}

/// The successor dies before it is told to go on, or right after that.
#[tokio::test]
async fn a_successor_that_dies_before_it_serves_is_followed_by_another_one() {
    for dies in ["exit 1", "head -c 1 >/dev/null; exit 1", "head -c 1 >/dev/null; kill -KILL $$"] {
        // Every one of that program dies, or the first one.
        for always in [false, true] {
            let home = Home::new(30.0, "close", false).await;
            let folder = home.folder.path();
            let program = folder.join("sidebeat");
            let real = env!("CARGO_BIN_EXE_sidebeat");
            install(real.as_ref(), &program);
            let mut command = Command::new(&program);
            command.args(["run", "-c"]).arg(folder.join("config.toml"));
            let mut proxy = Proxy::start_by(command);
            let token = home.token("tv", "news").await;
            assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200);
            let (draft, tried) = (folder.join("draft"), folder.join("tried").display().to_string());
            let second =
                if always { String::new() } else { format!("[ -e {tried} ] && exec {real} \"$@\"\n: > {tried}\n") };
            std::fs::write(&draft, format!("#!/bin/sh\n{second}printf r >&0\n{dies}\n")).unwrap();
            install(&draft, &program);
            proxy.signal("-USR2");
            let done = proxy.says_soon(" handed over ").await;
            proxy.followed_by(&done).await;
            assert_eq!(home.license(&proxy, "tv", &token).await.unwrap().status, 200, "{dies}");
            assert_eq!((home.headend.count("setup").await, home.headend.count("teardown").await), (1, 0), "{dies}");
            proxy.end_successor().await;
        }
    }
}

/// The program as systemd starts it: the sockets from descriptor 3 on, and its own process in `LISTEN_PID`.
pub(crate) fn activated(home: &Home, sockets: &[(&str, &TcpListener)]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sidebeat"), "run", "-c"]);
    command.arg(home.folder.path().join("config.toml"));
    crate::process::forget_settings(&mut command);
    let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    let mapping = |(child_fd, (_, socket)): (i32, &(&str, &TcpListener))| FdMapping {
        parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
        child_fd,
    };
    command.fd_mappings((3..).zip(sockets).map(mapping).collect()).unwrap();
    command
}

#[tokio::test]
async fn a_service_manager_that_keeps_the_sockets_restarts_and_reloads_without_a_lost_call() {
    let home = Home::new(30.0, "keep", false).await.without_expiry().await;
    // More workers than sockets: each takes from the one that there is.
    without_connection_limit(&home, 3);
    let [players, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = players.local_addr().unwrap();
    let sockets = [("listen-plain", &players), ("admin", &admin)];
    let mut proxy = Proxy::start_by(activated(&home, &sockets));
    assert_eq!((proxy.players, proxy.admin), (address, admin.local_addr().unwrap()));
    let tally = under_load(&home, &Way::plain(address), async |tally: &Tally| {
        for restart in 1..=RESTARTS {
            for _ in 0..RELOADS_EACH {
                proxy.signal("-HUP");
                proxy.says_soon("configuration reloaded").await;
            }
            proxy.signal("-TERM");
            assert_eq!(proxy.end().await.code(), Some(0));
            proxy = Proxy::begin_by(activated(&home, &sockets));
            proxy.says_soon("players: ").await;
            tally.reaches(100 * restart).await;
        }
    })
    .await;
    assert_eq!(*tally.lost.borrow(), Vec::<String>::new(), "of {} calls", tally.answered.get());
    assert_sessions_went_on(&home).await;
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_socket_that_fits_no_listener_stops_the_start() {
    let home = Home::new(30.0, "close", false).await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let told = activated(&home, &[("web", &other)]).output().unwrap();
    let log = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.status.code() == Some(1) && log.contains("\"web\" on 127.0.0.1:"), "{log}");
    assert!(log.contains("fits no listener of the configuration") && log.contains("FileDescriptorName="), "{log}");
    // A socket for another process is not taken.
    let mut command = sidebeat();
    command.args(["check", "-c"]).arg(home.folder.path().join("config.toml"));
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    assert!(command.output().unwrap().status.success());
}
