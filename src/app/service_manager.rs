//! What systemd is told, where it asks (`Type=notify`): nothing is said where it does not.

use sd_notify::NotifyState;

/// Players are served, by this process: the one before it has handed over.
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
