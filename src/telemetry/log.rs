//! The log: structured lines to standard error, as text for people or JSON for machines.

use std::sync::OnceLock;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, registry, reload};

use crate::config::{LogFormat, LogSettings};

/// The process has one log.
static CHANGE: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging for the whole process; a second call changes nothing. An unreadable filter counts as `info`.
pub fn start(log: &LogSettings) {
    let (filter, handle) = reload::Layer::new(filter(log));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Json => registry().with(filter).with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry().with(filter).with(lines.with_ansi(colours)).try_init()
        }
    };
    if started.is_ok() {
        // Only the call that started the log comes here.
        let _kept = CHANGE.set(handle);
    }
}

/// Applies the filter of a new configuration; the format stays. Does nothing if our log was not started.
pub fn change(log: &LogSettings) {
    if let Some(change) = CHANGE.get() {
        // The log lasts as long as the process.
        let _gone = change.reload(filter(log));
    }
}

fn filter(log: &LogSettings) -> Targets {
    let [written, info] = [&log.filter, "info"].map(|filter| ours(filter).parse());
    written.or(info).unwrap_or_default()
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
        ] {
            assert_eq!(ours(written), meant);
            assert!(ours(written).parse::<Targets>().is_ok(), "{meant}");
        }
    }
}
