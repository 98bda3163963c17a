//! Runs the built program as a process: starts, reads, signals and kills it.

#![allow(dead_code, reason = "each test uses its own part")]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use sidebeat::clock::Clock;

use crate::web::{self, Cut, Reply};

const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const CLEARKEY: &str = r#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;

pub(crate) fn sidebeat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidebeat"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    forget_settings(&mut command);
    command
}

/// Removes the settings of the surrounding shell, which must not change the tests' configurations.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SIDEBEAT_")) {
        command.env_remove(name);
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never {what}"));
}

/// A proxy with its log, which names its addresses.
pub(crate) struct Proxy {
    pub(crate) admin: SocketAddr,
    child: Option<Child>,
    heard: Arc<Mutex<Vec<String>>>,
    lines: Receiver<String>,
    pub(crate) players: SocketAddr,
    /// Id of the process that took over: it is no child of this one.
    successor: Option<String>,
}

impl Proxy {
    pub(crate) fn start(config: &Path) -> Self {
        let mut proxy = Self::begin(config);
        proxy.await_start();
        proxy
    }

    /// Starts a proxy that may not serve yet.
    pub(crate) fn begin(config: &Path) -> Self {
        let mut command = sidebeat();
        command.args(["run", "-c"]).arg(config);
        Self::begin_by(command)
    }

    /// Starts a command that ends in running the proxy.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        forget_settings(command);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = channel();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hears = heard.clone();
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                hears.lock().unwrap().push(line.clone());
                // The reader may be gone.
                let _gone = tell.send(line);
            }
        });
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self { admin: unknown, child: Some(child), heard, lines, players: unknown, successor: None }
    }

    pub(crate) fn start_by(command: Command) -> Self {
        let mut proxy = Self::begin_by(command);
        proxy.await_start();
        proxy
    }

    pub(crate) fn begin_by(mut command: Command) -> Self {
        Self::spawn(&mut command)
    }

    pub(crate) fn await_start(&mut self) {
        self.players = address(&self.says("players: "));
        self.admin = address(&self.says("admin: "));
    }

    /// Waits for the next line of the log that says so.
    pub(crate) fn says(&self, what: &str) -> String {
        // The limit holds for all lines together, because a process may go on with other lines.
        let deadline = Clock.now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Clock.now())) {
                Ok(line) if line.contains(what) => return line,
                Ok(_) => {}
                Err(_) => panic!("never said {what:?}, but:\n{}", self.heard.lock().unwrap().join("\n")),
            }
        }
    }

    /// How many lines so far hold this.
    pub(crate) fn said(&self, what: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|line| line.contains(what)).count()
    }

    /// The lines so far that hold this.
    pub(crate) fn lines_with(&self, what: &str) -> Vec<String> {
        self.heard.lock().unwrap().iter().filter(|line| line.contains(what)).cloned().collect()
    }

    /// The log so far.
    pub(crate) fn text(&self) -> String {
        self.heard.lock().unwrap().join("\n")
    }

    /// Size of the log so far in bytes.
    pub(crate) fn log_bytes(&self) -> usize {
        self.heard.lock().unwrap().iter().map(|line| line.len() + 1).sum()
    }

    /// Like [`Self::says`], while other tasks run.
    pub(crate) async fn says_soon(&self, what: &str) -> String {
        let waiting = async {
            loop {
                match self.lines.try_recv() {
                    Ok(line) if line.contains(what) => return line,
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let said = tokio::time::timeout(PATIENCE, waiting).await;
        said.unwrap_or_else(|_| panic!("never said {what:?}, but:\n{}", self.heard.lock().unwrap().join("\n")))
    }

    /// Has another process take over, and waits until this one has ended.
    pub(crate) async fn succeed(&mut self) {
        self.signal("-USR2");
        let started = self.says_soon("a successor was started").await;
        let before = self.successor.replace(process_in(&started));
        self.says_soon(" handed over ").await;
        match before {
            None => assert_eq!(self.end().await.code(), Some(0)),
            Some(before) => eventually("gone", async || !is_there(&before)).await,
        }
    }

    /// Waits until this one has ended, which the process in this line of the log has taken over from.
    pub(crate) async fn followed_by(&mut self, line: &str) {
        self.successor = Some(process_in(line));
        assert_eq!(self.end().await.code(), Some(0));
    }

    pub(crate) async fn end_successor(mut self) {
        let process = self.successor.take().unwrap();
        assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
        eventually("gone", async || !is_there(&process)).await;
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        thread::spawn(move || tell.send(child.wait().unwrap()));
        tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("it does not end")).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let own = || self.child.as_ref().unwrap().id().to_string();
        let id = self.successor.clone().unwrap_or_else(own);
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub(crate) async fn ended(mut self) -> ExitStatus {
        self.end().await
    }

    pub(crate) async fn terminate(self) -> ExitStatus {
        self.signal("-TERM");
        self.ended().await
    }

    /// Kills it like a crash or a power cut.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Each thread's name, and how often it went to sleep.
    pub(crate) fn wake_ups(&self) -> Vec<(String, String)> {
        let threads = format!("/proc/{}/task", self.child.as_ref().unwrap().id());
        let status = |thread: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
            (field("Name:"), field("voluntary_ctxt_switches:"))
        };
        std::fs::read_dir(threads).unwrap().map(status).collect()
    }

    /// Calls the admin API.
    pub(crate) async fn ask_admin(&self, method: Method, path: &str) -> Result<Reply, Cut> {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        web::send(self.admin, None, request.body(Full::<Bytes>::default()).unwrap()).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A test that failed leaves no process behind.
            let _ended = child.kill().and_then(|()| child.wait());
        }
        if let Some(process) = self.successor.take() {
            let _ended = Command::new("kill").args(["-KILL", &process]).status();
        }
    }
}

/// True if a process runs, or has ended and is still unreaped.
fn is_there(process: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn process_in(line: &str) -> String {
    line.rsplit("process=").next().unwrap().chars().take_while(char::is_ascii_digit).collect()
}

fn address(line: &str) -> SocketAddr {
    line.rsplit("://").next().unwrap().trim().parse().unwrap()
}
