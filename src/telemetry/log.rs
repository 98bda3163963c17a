//! The log: structured lines to standard error, as text for people or JSON for machines.

use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogSettings};

type LevelChange = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// The process has one log.
static CHANGE: OnceLock<LevelChange> = OnceLock::new();

/// Starts logging for the whole process; a second call changes nothing. An unreadable filter counts as `info`.
pub fn start(log: &LogSettings) {
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

/// Applies the filter of a new configuration; the format stays. Does nothing if our log was not started.
pub fn change(log: &LogSettings) {
    if let Some(change) = CHANGE.get() {
        change(filter(log));
    }
}

fn keep(change: LevelChange) {
    // Only the call that started the log comes here.
    let _kept = CHANGE.set(change);
}

fn filter(log: &LogSettings) -> EnvFilter {
    EnvFilter::try_new(ours(&log.filter)).unwrap_or_else(|_| EnvFilter::new(ours("info")))
}

/// Reads a level without a target as that of our own lines. Dependencies log only errors unless they are named,
/// because a peer's odd frames make h2 write lines longer than the frames.
fn ours(filter: &str) -> String {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |part: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
    let mut directives = vec!["error".to_owned()];
    directives.extend(filter.split(',').map(|part| match part.trim() {
        level if is_level(level) => format!("sidebeat={level}"),
        named => named.to_owned(),
    }));
    directives.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_our_own_lines_and_dependencies_log_errors_unless_they_are_named() {
        for (written, meant) in [
            ("info", "error,sidebeat=info"),
            ("trace", "error,sidebeat=trace"),
            ("info,sidebeat::edge=debug", "error,sidebeat=info,sidebeat::edge=debug"),
            ("debug, h2=trace", "error,sidebeat=debug,h2=trace"),
            ("sidebeat[call{device}]=trace", "error,sidebeat[call{device}]=trace"),
        ] {
            assert_eq!(ours(written), meant);
            assert!(EnvFilter::try_new(ours(written)).is_ok(), "{meant}");
        }
    }
}
