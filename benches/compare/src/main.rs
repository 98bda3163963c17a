//! Compares sidebeat with its peers: CPU for each call, latency, memory, start. `run.sh` builds all and runs this;
//! `docs/performance.md` says how it is measured and how to read it.
//!
//! This program is the load and the license server, on one core. Each program that it measures is a child on another.

mod arrivals;
mod call;
mod chart;
mod closed;
mod cpu;
mod discard;
mod http2;
mod idle;
mod machine;
mod open;
mod options;
mod page;
mod peers;
mod record;
mod rounds;
mod rows;
mod segments;
mod stage;
mod statistics;
mod target;
mod targets;
mod train;
mod upstream;
mod window;
mod wire;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::options::Options;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The records of the last runs, from the repository's root.
const RECORDS: &str = "target/compare/rounds.jsonl";
/// Most that a managed call may cost in the small form, as a multiple of the relay's.
const MAX_SMALL_RATIO: f64 = 1.5;

fn main() -> ExitCode {
    match Options::read(std::env::args_os()).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _gone = writeln!(io::stderr(), "{fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    if let Some(file) = &options.report {
        return page::write(&record::parse(&fs::read_to_string(file)?)?);
    }
    // Looks at the sockets after each step of a task: the default of 61 steps would show as latency.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build()?;
    match options.train {
        Some(time) => runtime.block_on(train::run(options, time)),
        None if options.is_small => runtime.block_on(small(options)),
        None => runtime.block_on(compare(options)),
    }
}

async fn compare(options: &Options) -> Outcome<()> {
    let tables = rows::tables(options.builds(), false);
    let tables: Vec<_> = tables.into_iter().filter(|table| options.wants(table)).collect();
    for line in rounds::missing(&tables) {
        say(&line);
    }
    let results = rounds::run(options, tables).await?;
    say(&page::text(&results.records));
    if options.writes {
        page::write(&record::save(Path::new(RECORDS), &results.records)?)?;
    }
    if results.missed.is_empty() { Ok(()) } else { Err(results.missed.join("\n").into()) }
}

/// Fails if a managed call costs too much, beside the relay of the same rounds. A ratio that fails is measured once more.
async fn small(options: &Options) -> Outcome<()> {
    let mut records = Vec::new();
    for _ in 0..2 {
        let results = rounds::run(options, rows::tables(options.builds(), true)).await?;
        if !results.missed.is_empty() {
            return Err(results.missed.join("\n").into());
        }
        let base = records.len() as u64;
        records.extend(results.records.into_iter().map(|mut record| {
            record.round += base;
            record
        }));
        let ratio = page::ratio(&records, "small", ("sidebeat", "ssm"), ("relay", "pass")).ok_or("no figures")?;
        say(&format!("a managed call costs {} times the relay's call; at most {MAX_SMALL_RATIO}", ratio.show(2)));
        if ratio.median <= MAX_SMALL_RATIO {
            return Ok(());
        }
    }
    Err("a managed call costs too much".into())
}

/// Standard output that is gone is no reason to fail.
fn say(text: &str) {
    let _gone = writeln!(io::stdout(), "{text}");
}
