//! `[log]`: level and format of the log.

use tracing_subscriber::filter::Targets;

use super::table_reader::TableReader;

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// True to log devices and accounts as hashes.
    pub hashed_identities: bool,
    /// `error`, `warn`, `info`, `debug`, `trace`, or levels of modules.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    Json,
    Text,
}

pub(super) fn log(table: &TableReader<'_>) -> LogSettings {
    let format = table.choice("format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]);
    let identities = table.choice("identities", &[("hashed", true), ("plain", false)]);
    let filter = table.word("level", filter).unwrap_or_else(|| "info".to_owned());
    LogSettings { hashed_identities: identities.unwrap_or(false), filter, format: format.unwrap_or(LogFormat::Text) }
}

/// Accepts a single word only as a level, although a filter would take it for a module's name.
fn filter(text: &str) -> Result<String, &'static str> {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let lone = text.chars().all(char::is_alphanumeric);
    // Spans, which other programs' filters name in brackets, are not made.
    let plain = text.bytes().all(|byte| byte == b' ' || (byte.is_ascii_graphic() && byte != b'['));
    if LEVELS.contains(&text) || (!lone && plain && text.parse::<Targets>().is_ok()) {
        return Ok(text.to_owned());
    }
    Err(
        "must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or a filter such as \"info,sidebeat::edge=debug\"",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_filter() {
        for (text, good) in [
            ("trace", true),
            ("info,sidebeat::edge=debug", true),
            ("sidebeat[call{device}]=trace", false),
            ("loud", false),
            ("", false),
            ("sidebeat=loud", false),
            ("\u{b}¹=", false),
        ] {
            assert_eq!(filter(text).is_ok(), good, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_filter_is_too_odd(text in "([a-z:]{0,4}[\\[\\]{}=,\"]|[ -~]|.){0,12}") {
            let _ = filter(&text);
        }
    }
}
