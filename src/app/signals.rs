//! Receives the signals of the system.
//!
//! Heard as early as there is a runtime, because until then a SIGHUP would end the process, which a supervisor takes
//! for intended. Signals that come before anything is served are handled then.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::handover::{HandoverFault, Launcher, Successor};
use super::{AppFault, ConfigReloader};

/// Reasons why the process ends.
pub(super) enum ExitCause {
    /// Another process takes over.
    Handover(Successor),
    Stop,
}

pub struct Signals {
    handover: Signal,
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts hearing signals. Must run on the control runtime.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn hear() -> Result<Self, AppFault> {
        let listen = |kind| signal(kind).map_err(AppFault::Signals);
        Ok(Self {
            handover: listen(SignalKind::user_defined2())?,
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Handles SIGHUP. Returns on SIGTERM or SIGINT, or when the successor that SIGUSR2 has started is ready.
    pub(super) async fn follow(mut self, reload: &ConfigReloader, launcher: Option<&Launcher>) -> ExitCause {
        let mut waiting: Option<Successor> = None;
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => reload.hang_up(),
                Some(()) = self.handover.recv() => waiting = waiting.take().or_else(|| launch(launcher)),
                Some(()) = self.interrupt.recv() => break,
                Some(()) = self.terminate.recv() => break,
                ready = ready(&mut waiting) => {
                    let Some(successor) = waiting.take() else { continue };
                    match ready {
                        Ok(()) => return ExitCause::Handover(successor),
                        Err(fault) => {
                            successor.end();
                            tracing::error!(%fault, "the successor did not start; this process goes on serving");
                        }
                    }
                }
            }
        }
        if let Some(successor) = waiting {
            successor.end();
        }
        ExitCause::Stop
    }
}

fn launch(launcher: Option<&Launcher>) -> Option<Successor> {
    let Some(launcher) = launcher else {
        tracing::warn!("SIGUSR2: this process does not know how it was started");
        return None;
    };
    match launcher.launch() {
        Ok(successor) => {
            tracing::info!(process = successor.id(), "a successor was started");
            Some(successor)
        }
        Err(fault) => {
            tracing::error!(%fault, "the successor did not start; this process goes on serving");
            None
        }
    }
}

/// Resolves when the successor is ready; never if there is none.
async fn ready(successor: &mut Option<Successor>) -> Result<(), HandoverFault> {
    match successor {
        Some(successor) => successor.ready().await,
        None => std::future::pending().await,
    }
}
