//! The log: structured, to standard error, as text for people or JSON for machines.

use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

type Change = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// The log of the process is one, like the process.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Starts logging for the whole process; a second call changes nothing. A filter that cannot be read
/// becomes `info`.
pub fn start(log: &Log) {
    let lines = fmt().with_env_filter(filter(log)).with_writer(std::io::stderr).with_target(false);
    match log.format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            if lines.finish().try_init().is_ok() {
                keep(Box::new(move |filter| drop(handle.reload(filter))));
            }
        }
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let lines = lines.with_ansi(colours).with_filter_reloading();
            let handle = lines.reload_handle();
            if lines.finish().try_init().is_ok() {
                keep(Box::new(move |filter| drop(handle.reload(filter))));
            }
        }
    }
}

/// Takes the filter of a new configuration; the format stays. Without a log of ours, nothing.
pub fn change(log: &Log) {
    if let Some(change) = CHANGE.get() {
        change(filter(log));
    }
}

fn keep(change: Change) {
    // Only the one that started the log comes here.
    let _kept = CHANGE.set(change);
}

fn filter(log: &Log) -> EnvFilter {
    EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"))
}
