//! Plays the rounds. A round of a table has each of its cases once, one after the other, so that all meet the same
//! machine; a round that was disturbed, or in which one answer was wrong, is said and played again.

use std::io::{self, Write};
use std::time::Instant;

use crate::options::Options;
use crate::record::Record;
use crate::rows::{Case, Load, Table};
use crate::stage::Stage;
use crate::{Outcome, machine, peers};

/// Discarded rounds of a table that are played again, for each that is wanted.
const MAX_REPEATS_PER_ROUND: u64 = 1;

pub(crate) struct Results {
    /// Tables that had too few good rounds, with the last reason.
    pub(crate) missed: Vec<String>,
    pub(crate) records: Vec<Record>,
}

/// A table on its way to as many good rounds as are wanted.
struct Played {
    good: u64,
    last_fault: String,
    table: Table,
    tried: u64,
    wanted: u64,
}

impl Played {
    fn needs_more(&self) -> bool {
        self.good < self.wanted && self.tried < self.wanted * (1 + MAX_REPEATS_PER_ROUND)
    }
}

pub(crate) async fn run(options: &Options, tables: Vec<Table>) -> Outcome<Results> {
    let stage = Stage::build(options).await?;
    let heading = format!("{}; {} rounds of {} s", machine::describe()?, options.rounds, options.time.as_secs_f64());
    let mut played: Vec<_> = tables.into_iter().map(|table| begin(options, table)).collect();
    let mut records = Vec::new();
    let mut progress = ProgressLine::new(played.iter().map(|one| one.wanted * one.table.cases.len() as u64).sum());
    while played.iter().any(Played::needs_more) {
        for one in played.iter_mut().filter(|one| one.needs_more()) {
            one.tried += 1;
            match round(&stage, one, &heading, &mut progress).await {
                Ok(new) => {
                    one.good += 1;
                    records.extend(new);
                }
                Err(fault) => {
                    one.last_fault = fault.to_string();
                    progress.say(&format!("{}: round {} does not count: {fault}", one.table.key, one.tried));
                }
            }
        }
    }
    progress.say("");
    let missed = played.into_iter().filter(|one| one.good < one.wanted);
    let missed = missed
        .map(|one| format!("{}: {} good rounds, {} wanted: {}", one.table.key, one.good, one.wanted, one.last_fault));
    Ok(Results { missed: missed.collect(), records })
}

/// Leaves out what is not installed, and says how to get it. Memory is the same in every round: one is enough.
fn begin(options: &Options, mut table: Table) -> Played {
    table.cases.retain(|case| peers::is_installed(case.peer));
    let wanted = if table.load == Load::Idle { 1 } else { options.rounds };
    Played { good: 0, last_fault: String::new(), table, tried: 0, wanted }
}

/// One line for each program that is not on this machine.
pub(crate) fn missing(tables: &[Table]) -> Vec<String> {
    let mut lines = Vec::new();
    for case in tables.iter().flat_map(|table| &table.cases).filter(|case| !peers::is_installed(case.peer)) {
        let line = format!("{} is not installed: apt-get install {}", case.peer.name(), case.peer.packages());
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

async fn round(stage: &Stage<'_>, played: &Played, heading: &str, progress: &mut ProgressLine) -> Outcome<Vec<Record>> {
    let mut records = Vec::new();
    for case in &played.table.cases {
        progress.show(played, *case);
        let values = stage.play(&played.table, *case, played.tried).await;
        let values = values.map_err(|fault| format!("{}, {}: {fault}", case.peer.name(), case.work.name()))?;
        records.push(Record {
            heading: heading.to_owned(),
            peer: case.peer.name().to_owned(),
            round: played.tried,
            table: played.table.key.to_owned(),
            values,
            work: case.work.name().to_owned(),
        });
    }
    Ok(records)
}

/// One line on standard error, written over and over.
struct ProgressLine {
    all: u64,
    began: Instant,
    done: u64,
}

impl ProgressLine {
    fn new(all: u64) -> Self {
        Self { all, began: Instant::now(), done: 0 }
    }

    fn show(&mut self, played: &Played, case: Case) {
        let left =
            self.began.elapsed().as_secs_f64() / self.done.max(1) as f64 * self.all.saturating_sub(self.done) as f64;
        let left = if self.done == 0 { String::new() } else { format!(", {:.0} min left", (left / 60.0).ceil()) };
        let (table, peer, work) = (played.table.key, case.peer.name(), case.work.name());
        let line = format!(
            "round {}/{}  {table}: {peer}, {work}  ({} of {}{left})",
            played.good + 1,
            played.wanted,
            self.done,
            self.all
        );
        let _gone = write!(io::stderr(), "\r\x1b[K{line}").and_then(|()| io::stderr().flush());
        self.done += 1;
    }

    /// A line that stays.
    fn say(&self, text: &str) {
        let end = if text.is_empty() { "" } else { "\n" };
        let _gone = write!(io::stderr(), "\r\x1b[K{text}{end}");
    }
}
