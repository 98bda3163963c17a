//! Hands over to a new process on SIGUSR2, without a lost call. The program is started from the file at its path now.
//!
//! The successor gets the listening sockets and a channel on its standard input. It reads and checks everything that
//! can fail, and reports that it is ready. Until then this process has changed nothing, and goes on serving if the
//! successor fails. Then this process lets go of its connections, its calls and the journal, and tells the successor
//! to go on, which opens the journal and serves. Meanwhile connections wait in the sockets' backlog. A successor that
//! dies before it serves is followed by another.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::AppFault;
use super::sockets::{COUNT_VARIABLE, ListenerKind, NAMES_VARIABLE, PROCESS_VARIABLE};
use crate::config::StoreKind;
use crate::edge::{BoundListener, Edge};

/// Set for a successor, whose standard input is the channel. Not a variable of the configuration.
const CHANNEL_VARIABLE: &str = "LISTEN_HANDOVER";
/// The journal with the sessions of the previous process.
const JOURNAL_VARIABLE: &str = "LISTEN_HANDOVER_JOURNAL";
const READY: u8 = b'r';
const GO: u8 = b'g';
const SERVING: u8 = b's';
/// Time for reading and checking the configuration, the certificates and the sockets.
const MAX_READY_TIME: Duration = Duration::from_secs(60);
/// Restoring a million sessions takes about ten seconds.
const MAX_SERVING_TIME: Duration = Duration::from_secs(120);
/// The program that this process runs, even if another is at its path now.
const OWN_IMAGE: &str = "/proc/self/exe";
/// Suffix that the system appends to the path of a replaced program.
const REPLACED: &str = " (deleted)";
/// First descriptor that is handed over (sd_listen_fds).
const FIRST_DESCRIPTOR: i32 = 3;

/// A socket for the successor with its full name.
#[derive(Debug)]
struct NamedSocket {
    listener: TcpListener,
    name: String,
}

impl NamedSocket {
    fn new(kind: ListenerKind, configured: SocketAddr, listener: TcpListener) -> Self {
        Self { listener, name: kind.full_name(configured) }
    }
}

/// Starts the next process in the same way as this one.
#[derive(Debug)]
pub struct Launcher {
    arguments: Vec<OsString>,
    journal: Option<PathBuf>,
    program: PathBuf,
    sockets: Vec<NamedSocket>,
}

#[derive(Debug, thiserror::Error)]
pub enum HandoverFault {
    #[error("it took too long")]
    Late,
    #[error("it ended: its own log says why")]
    Gone,
    #[error(
        "[store]: the process that hands over keeps its sessions and kills in the journal {kept}, and this configuration \
         {ours}: they would stay open at their authorities, and nobody would know them. Set store.kind = \"journal\" and \
         store.file = \"{kept}\" again; to change the store, stop sidebeat with store.on-exit = \"close\", and start it",
        kept = .kept.display(),
        ours = match .ours {
            Some(ours) => format!("names the journal {}", ours.display()),
            None => "keeps them in memory".to_owned(),
        },
    )]
    OtherStore { kept: PathBuf, ours: Option<PathBuf> },
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    Start(PathBuf, io::Error),
}

impl Launcher {
    /// Finds the program by its path, so that a replaced program is started. `None` if the system does not tell the
    /// path.
    pub fn of_this_process() -> Option<Self> {
        let program = std::env::current_exe().ok()?;
        let program =
            program.to_str().and_then(|path| path.strip_suffix(REPLACED)).map_or(program.clone(), PathBuf::from);
        let arguments = std::env::args_os().skip(1).collect();
        Some(Self { arguments, journal: None, program, sockets: Vec::new() })
    }

    /// Notes the journal of this process, where the next one must find the sessions.
    pub(super) fn keeping(self, journal: Option<PathBuf>) -> Self {
        Self { journal, ..self }
    }

    /// Copies all sockets of this process for the next one.
    pub(super) fn handing(self, players: &Edge, operators: Option<&Edge>) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for BoundListener { address, sockets: copies, tls } in players.copies()? {
            let kind = if tls { ListenerKind::Tls } else { ListenerKind::Plain };
            sockets.extend(copies.into_iter().map(|socket| NamedSocket::new(kind, address, socket)));
        }
        for BoundListener { address, sockets: copies, .. } in operators.map_or(Ok(Vec::new()), Edge::copies)? {
            sockets.extend(copies.into_iter().map(|socket| NamedSocket::new(ListenerKind::Admin, address, socket)));
        }
        Ok(Self { sockets, ..self })
    }

    pub(super) fn launch(&self) -> Result<Successor, HandoverFault> {
        self.launch_program(&self.program)
    }

    fn launch_program(&self, program: &Path) -> Result<Successor, HandoverFault> {
        self.start(program).map_err(|fault| HandoverFault::Start(program.to_owned(), fault))
    }

    /// Completes the hand-over after this process has let go of everything; returns the id of the serving process. A
    /// successor that dies is followed by another, at last by the program that this process runs itself, while calls
    /// wait in the sockets. Each is started only when the one before has certainly ended, so that no two own the
    /// journal.
    ///
    /// # Errors
    /// No successor serves, or one takes too long.
    pub(super) async fn see_through(&self, mut successor: Successor) -> Result<u32, AppFault> {
        let mut programs = [self.program.as_path(), Path::new(OWN_IMAGE)].into_iter();
        loop {
            let process = successor.id();
            match successor.take_over().await {
                Ok(()) => return Ok(process),
                Err(fault @ HandoverFault::Late) => return Err(AppFault::Handover(process, fault)),
                Err(fault) => {
                    successor.end();
                    tracing::error!(process, %fault, "the successor does not serve");
                    successor = self.next(&mut programs).await.ok_or(AppFault::Handover(process, fault))?;
                }
            }
        }
    }

    async fn next<'a>(&self, programs: &mut impl Iterator<Item = &'a Path>) -> Option<Successor> {
        for program in programs {
            let fault = match self.launch_program(program) {
                Ok(mut successor) => {
                    tracing::info!(process = successor.id(), program = %program.display(), "another successor was started");
                    match successor.ready().await {
                        Ok(()) => return Some(successor),
                        Err(fault) => {
                            successor.end();
                            fault
                        }
                    }
                }
                Err(fault) => fault,
            };
            tracing::error!(%fault, "the successor did not start");
        }
        None
    }

    fn start(&self, program: &Path) -> io::Result<Successor> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut mappings = Vec::with_capacity(self.sockets.len());
        for (child_fd, socket) in (FIRST_DESCRIPTOR..).zip(&self.sockets) {
            mappings.push(FdMapping { parent_fd: OwnedFd::from(socket.listener.try_clone()?), child_fd });
        }
        let names: Vec<_> = self.sockets.iter().map(|socket| socket.name.as_str()).collect();
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .env(COUNT_VARIABLE, self.sockets.len().to_string())
            .env(NAMES_VARIABLE, names.join(":"))
            .env(CHANNEL_VARIABLE, "stdin")
            // The process id is not known yet.
            .env_remove(PROCESS_VARIABLE)
            .env_remove(JOURNAL_VARIABLE)
            .stdin(OwnedFd::from(theirs));
        if let Some(journal) = &self.journal {
            command.env(JOURNAL_VARIABLE, canonical(journal));
        }
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok(Successor { child: command.spawn()?, channel: UnixStream::from_std(ours)? })
    }
}

/// The process that takes over.
#[derive(Debug)]
pub(super) struct Successor {
    channel: UnixStream,
    child: Child,
}

impl Successor {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has checked everything. Can be dropped without loss.
    pub(super) async fn ready(&mut self) -> Result<(), HandoverFault> {
        self.says(READY, MAX_READY_TIME).await
    }

    /// Tells it to go on, and waits until it serves. Everything must be let go of before.
    pub(super) async fn take_over(&mut self) -> Result<(), HandoverFault> {
        self.channel.write_u8(GO).await.map_err(|_closed| HandoverFault::Gone)?;
        self.says(SERVING, MAX_SERVING_TIME).await
    }

    async fn says(&mut self, what: u8, within: Duration) -> Result<(), HandoverFault> {
        match tokio::time::timeout(within, self.channel.read_u8()).await {
            Ok(Ok(said)) if said == what => Ok(()),
            Ok(Ok(_) | Err(_)) => Err(HandoverFault::Gone),
            Err(_) => Err(HandoverFault::Late),
        }
    }

    /// Ends it. It has touched nothing before it was told to go on.
    pub(super) fn end(mut self) {
        // It may have ended already.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The process before this one.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// `None` if there was no process before, or it left before this one came. Must run on the control runtime.
    ///
    /// # Errors
    /// The channel cannot be used.
    pub fn of_this_process() -> io::Result<Option<Self>> {
        if std::env::var_os(CHANNEL_VARIABLE).is_none() {
            return Ok(None);
        }
        let channel = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        channel.set_nonblocking(true)?;
        Ok(Some(Self(UnixStream::from_std(channel)?)))
    }

    /// Checks that this process will find its sessions. A predecessor that keeps none loses none.
    ///
    /// # Errors
    /// The configuration keeps them elsewhere.
    pub(super) fn check_store(&self, ours: &StoreKind) -> Result<(), HandoverFault> {
        let kept = std::env::var_os(JOURNAL_VARIABLE).map(PathBuf::from);
        let ours = match ours {
            StoreKind::Journal(file) => Some(canonical(file)),
            StoreKind::Memory => None,
        };
        match kept {
            Some(kept) if ours.as_ref() != Some(&kept) => Err(HandoverFault::OtherStore { kept, ours }),
            Some(_) | None => Ok(()),
        }
    }

    /// Reports readiness and waits until the predecessor has let go of the journal. If it dies, it has.
    pub(super) async fn let_go(&mut self) {
        let _gone = self.0.write_u8(READY).await;
        tracing::info!("ready to take over");
        let _gone = self.0.read_u8().await;
    }

    pub(super) async fn serving(mut self) {
        let _gone = self.0.write_u8(SERVING).await;
    }
}

/// The same path for every name of a file. In a file that does not exist nothing is kept.
fn canonical(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| std::path::absolute(file).unwrap_or_else(|_| file.to_owned()))
}
