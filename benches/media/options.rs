//! Parses the command line of the benchmark.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::Outcome;

pub(crate) struct Options {
    /// A second build of sidebeat, measured in the same rounds.
    pub(crate) before: Option<PathBuf>,
    /// Measured instead of a fresh release build.
    pub(crate) binary: Option<PathBuf>,
    pub(crate) connections: usize,
    pub(crate) rounds: usize,
    /// Time for each case in each round; a quarter more is spent on warming up.
    pub(crate) seconds: Duration,
    /// Puts the figures into `benches/README.md`.
    pub(crate) write: bool,
}

impl Options {
    pub(crate) fn read() -> Outcome<Self> {
        let mut options = Self {
            before: None,
            binary: None,
            connections: 64,
            rounds: 5,
            seconds: Duration::from_secs(2),
            write: false,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("before") => options.before = Some(parser.value()?.into()),
                // Cargo adds it.
                Long("bench") => {}
                Long("binary") => options.binary = Some(parser.value()?.into()),
                Long("connections") => options.connections = parser.value()?.parse::<usize>()?.max(1),
                Long("rounds") => options.rounds = parser.value()?.parse::<usize>()?.max(1),
                Long("seconds") => options.seconds = Duration::try_from_secs_f64(parser.value()?.parse()?)?,
                Long("write") => options.write = true,
                Long(_) | Short(_) | Value(_) => return Err(argument.unexpected().into()),
            }
        }
        Ok(options)
    }
}
