//! Reads the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;

use crate::Outcome;
use crate::rows::{Builds, Peer, Table};

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Another build of sidebeat in the same rounds.
    pub(crate) before: Option<PathBuf>,
    /// The release build of sidebeat in the same rounds.
    pub(crate) dist: Option<PathBuf>,
    /// Rounds count even if others ran on the proxy's core: to try rows. Nothing is written.
    pub(crate) keeps_noise: bool,
    pub(crate) relay: PathBuf,
    /// Makes the page of these records, and measures nothing.
    pub(crate) report: Option<PathBuf>,
    pub(crate) rounds: u64,
    /// Words of which a table's key must begin with one.
    pub(crate) rows: Vec<String>,
    pub(crate) sidebeat: PathBuf,
    /// Time for each case in each round; a quarter more is spent on warming up.
    pub(crate) time: Duration,
    /// Plays a mix for so long, and ends sidebeat in good order.
    pub(crate) train: Option<Duration>,
    /// The relay and one managed call; fails if that costs too much.
    pub(crate) is_small: bool,
    pub(crate) writes: bool,
}

impl Options {
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Outcome<Self> {
        let mut options = Self {
            before: None,
            dist: None,
            keeps_noise: false,
            relay: "target/release/relay".into(),
            report: None,
            rounds: 5,
            rows: Vec::new(),
            sidebeat: "target/release/sidebeat".into(),
            time: Duration::from_secs(4),
            train: None,
            is_small: false,
            writes: true,
        };
        let mut parser = lexopt::Parser::from_iter(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("before") => options.before = Some(parser.value()?.into()),
                Long("dist") => options.dist = Some(parser.value()?.into()),
                Long("no-write") => options.writes = false,
                Long("noisy") => (options.keeps_noise, options.writes) = (true, false),
                Long("relay") => options.relay = parser.value()?.into(),
                Long("rounds") => options.rounds = parser.value()?.parse::<u64>()?.max(1),
                Long("rows") => options.rows.extend(parser.value()?.string()?.split(',').map(str::to_owned)),
                Long("seconds") => options.time = Duration::try_from_secs_f64(parser.value()?.parse()?)?,
                Long("sidebeat") => options.sidebeat = parser.value()?.into(),
                Long("small") => (options.is_small, options.time) = (true, Duration::from_secs(1)),
                Long("train") => options.train = Some(Duration::try_from_secs_f64(parser.value()?.parse()?)?),
                Value(word) if word == "report" => options.report = Some(parser.value()?.into()),
                Long(_) | Short(_) | Value(_) => return Err(argument.unexpected().into()),
            }
        }
        Ok(options)
    }

    pub(crate) fn builds(&self) -> Builds {
        Builds { before: self.before.is_some(), dist: self.dist.is_some() }
    }

    /// The file of one of sidebeat's builds.
    pub(crate) fn build(&self, peer: Peer) -> Outcome<&Path> {
        let file = match peer {
            Peer::Before => self.before.as_deref(),
            Peer::Dist => self.dist.as_deref(),
            _ => Some(&*self.sidebeat),
        };
        file.ok_or_else(|| format!("no file of {}", peer.name()).into())
    }

    pub(crate) fn wants(&self, table: &Table) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| table.key.starts_with(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Outcome<Options> {
        Options::read(["compare"].into_iter().chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn options_are_read() {
        let options = read("--rounds 7 --seconds 0.5 --rows tls,h2 --dist a --no-write").unwrap();
        assert_eq!((options.rounds, options.time, options.writes), (7, Duration::from_millis(500), false));
        assert_eq!((options.rows.len(), options.dist), (2, Some("a".into())));
        assert_eq!(read("--small").unwrap().time, Duration::from_secs(1));
        assert_eq!(read("report FILE").unwrap().report, Some("FILE".into()));
    }

    #[test]
    fn what_is_not_an_option_is_an_error() {
        for line in ["--round 5", "--rounds", "--rounds x", "--seconds -1", "report", "all"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
