//! How the process ends: alone, or by handing over to another one.

use std::sync::Arc;
use std::time::Duration;

use super::handover::{Launcher, Successor};
use super::persistence::Durable;
use super::{AppFault, service_manager};
use crate::config::OnExit;
use crate::edge::Serving;
use crate::session::EndReason;
use crate::sessions::Sessions;
use crate::task::Tasks;

/// Closes at the authorities get this long when the process ends.
const SESSIONS_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// So long before its end every reply says that its connection ends with it, if somebody listens after it: an idle
/// connection that is closed without a word may have a request on its way.
const CONNECTION_CLOSE_NOTICE_TIME: Duration = Duration::from_secs(1);
/// Operators' calls are answered so long; a listener of events need not be waited for.
const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// All that is taken down.
pub(super) struct ShutdownPlan {
    pub(super) durable: Durable,
    /// The listening sockets stay open after it.
    pub(super) inherited: bool,
    pub(super) on_exit: OnExit,
    pub(super) operators: Option<Serving>,
    pub(super) serving: Serving,
    pub(super) sessions: Arc<Sessions>,
    pub(super) tasks: Tasks,
}

impl ShutdownPlan {
    pub(super) async fn stop(self, grace: Duration) {
        service_manager::tell_stopping();
        if self.inherited {
            self.serving.announce(CONNECTION_CLOSE_NOTICE_TIME).await;
        }
        let cut = self.serving.drain(grace).await;
        let left = match self.on_exit {
            OnExit::Close => self.sessions.drain(EndReason::Drained, SESSIONS_CLOSE_TIMEOUT).await,
            OnExit::Keep => self.sessions.leave_open(SESSIONS_CLOSE_TIMEOUT).await,
        };
        tracing::info!(cut_connections = cut, open_sessions_left = left, "stopped");
        // Until here they were told that it ends.
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

    /// New calls wait in the backlog from the last answer of this process to the first one of the next.
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
        // Whoever sees that players are told may take it that operators are.
        tokio::join!(operators, players);
        // Whatever is to become of sessions at an end, this is none.
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
            // A socket that nobody serves any more is closed, and takes nothing.
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
