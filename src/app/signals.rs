//! What the system tells the process to do.
//!
//! Heard as early as there is a runtime, because until then a SIGHUP ends the process, which a supervisor
//! takes for what was wanted. What comes before anything is served is acted on then.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Fault, Reload};

pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on nothing is missed. Must run on the control runtime.
    ///
    /// # Errors
    /// The system lets us hear none.
    pub fn hear() -> Result<Self, Fault> {
        let listen = |kind| signal(kind).map_err(Fault::Signals);
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Handles SIGHUP; ends with SIGTERM or SIGINT.
    pub(super) async fn follow(mut self, reload: &Reload) {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => reload.hang_up(),
                Some(()) = self.interrupt.recv() => return,
                Some(()) = self.terminate.recv() => return,
            }
        }
    }
}
