//! Tells the service manager that players are served, and ends the process, alone or by handing over to another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use super::AppFault;
use super::handover::{Launcher, Successor};
use super::persistence::Durable;
use crate::config::OnExit;
use crate::edge::{BoundAddress, Serving};
use crate::session::EndReason;
use crate::sessions::Sessions;
use crate::task::Tasks;

/// Time for closes at the authorities at the end of the process.
const SESSIONS_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time before the end in which every reply says that its connection ends, if another process listens afterwards. An
/// idle connection that is closed without notice may have a request on its way.
const CONNECTION_CLOSE_NOTICE_TIME: Duration = Duration::from_secs(1);
/// Time for operators' calls. Event listeners need not be waited for.
const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that must be taken down.
pub(super) struct ShutdownPlan {
    pub(super) durable: Durable,
    /// True if the listening sockets stay open afterwards.
    pub(super) inherited: bool,
    pub(super) on_exit: OnExit,
    pub(super) operators: Option<Serving>,
    pub(super) serving: Serving,
    pub(super) sessions: Arc<Sessions>,
    pub(super) tasks: Tasks,
}

impl ShutdownPlan {
    pub(super) async fn stop(self, grace: Duration) {
        tell_stopping();
        if self.inherited {
            self.serving.announce(CONNECTION_CLOSE_NOTICE_TIME).await;
        }
        let cut = self.serving.drain(grace).await;
        let left = match self.on_exit {
            OnExit::Close => self.sessions.drain(EndReason::Drained, SESSIONS_CLOSE_TIMEOUT).await,
            OnExit::Keep => self.sessions.leave_open(SESSIONS_CLOSE_TIMEOUT).await,
        };
        tracing::info!(cut_connections = cut, open_sessions_left = left, "stopped");
        // Operators could watch until here.
        if let Some(operators) = &self.operators {
            operators.drain(ADMIN_DRAIN_TIMEOUT).await;
        }
        self.tasks.stop();
        self.serving.end().await;
        if let Some(operators) = self.operators {
            operators.end().await;
        }
        self.tasks.drain(SESSIONS_CLOSE_TIMEOUT).await;
        self.durable.end().await;
    }

    /// Hands over. From the last answer of this process to the first of the next, new calls wait in the backlog.
    pub(super) async fn hand_over(
        self,
        successor: Successor,
        launcher: Launcher,
        grace: Duration,
    ) -> Result<(), AppFault> {
        let process = successor.id();
        tracing::info!(process, "handing over");
        let players = async {
            self.serving.announce(CONNECTION_CLOSE_NOTICE_TIME).await;
            self.serving.answer(grace).await;
        };
        let operators = async {
            if let Some(operators) = &self.operators {
                operators.announce(CONNECTION_CLOSE_NOTICE_TIME).await;
                operators.answer(ADMIN_DRAIN_TIMEOUT).await;
            }
        };
        // Operators come first, so that whenever a player sees the announcement, operators have it, too.
        tokio::join!(operators, players);
        // A hand-over is no end for the sessions, whatever is configured for that.
        let left = if self.durable.is_kept() {
            self.sessions.leave_open(SESSIONS_CLOSE_TIMEOUT).await
        } else {
            tracing::warn!(
                "without a journal no session can be handed over: they are closed at their authorities, and players \
                 get new ones with their next license call; set store.kind = \"journal\""
            );
            self.sessions.drain(EndReason::Drained, SESSIONS_CLOSE_TIMEOUT).await
        };
        self.tasks.stop();
        self.durable.end().await;
        let successor = async {
            let taken = launcher.see_through(successor).await;
            // An unserved socket is closed and accepts nothing.
            drop(launcher);
            taken
        };
        let operators = async {
            if let Some(operators) = &self.operators {
                operators.drain(ADMIN_DRAIN_TIMEOUT).await;
            }
        };
        let (taken, cut, ()) = tokio::join!(successor, self.serving.drain(grace), operators);
        if let Ok(process) = taken {
            tracing::info!(cut_connections = cut, open_sessions_left = left, process, "handed over");
        }
        self.serving.end().await;
        if let Some(operators) = self.operators {
            operators.end().await;
        }
        self.tasks.drain(SESSIONS_CLOSE_TIMEOUT).await;
        taken.map(|_process| ())
    }
}

/// Reports that this process serves players and that its predecessor has handed over.
pub(super) fn tell_ready() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::warn!(%fault, "the service manager cannot be told");
    }
}

/// Logs the addresses. By then all of them are served, so a reader of these lines may call at once.
pub(super) fn say_addresses(players: &[BoundAddress], admin: Option<SocketAddr>) {
    for bound in players {
        let scheme = if bound.tls { "https" } else { "http" };
        tracing::info!("players: {scheme}://{}", bound.address);
    }
    if let Some(address) = admin {
        tracing::info!("admin: http://{address}");
    }
}
