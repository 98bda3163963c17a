//! Computes medians and ranges, and writes the page that shows them.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::load::Measure;
use crate::memory::Memory;
use crate::options::Options;
use crate::rounds::Rounds;
use crate::{Outcome, machine};

const BEGIN: &str = "<!-- figures: written by the command -->";
const END: &str = "<!-- end of figures -->";
const MIB: f64 = 1024.0 * 1024.0;

/// The figures as Markdown.
pub(crate) fn page(options: &Options, binary: &Path, memory: &Memory, rounds: &Rounds) -> Outcome<String> {
    if rounds.rounds.is_empty() {
        return Err("no round was without wrong answers".into());
    }
    let mut page = heading(options, rounds.rounds.len())?;
    writeln!(page, "| | CPU per call, µs | ratio to nginx | calls/s |\n|---|---|---|---|")?;
    for (index, case) in rounds.cases.iter().enumerate() {
        let of =
            |look: &dyn Fn(&[Measure]) -> Option<f64>| Spread::of(rounds.rounds.iter().filter_map(|row| look(row)));
        let cpu = of(&|row| row.get(index).map(per_call));
        let ratio = of(&|row| Some(per_call(row.get(index)?) / per_call(row.get(case.yardstick)?)));
        let rate = of(&|row| row.get(index).map(|measure| measure.calls as f64 / measure.took.as_secs_f64()));
        writeln!(page, "| {} | {} | {} | {:.0} |", case.name, cpu.show(1), ratio.show(2), rate.median)?;
    }
    writeln!(page, "\n| | |\n|---|---|")?;
    writeln!(page, "| resident memory, idle | {:.1} MiB |", memory.idle as f64 / 1024.0)?;
    writeln!(page, "| each idle connection, plain | {:.1} KiB |", memory.per_connection as f64 / 1024.0)?;
    writeln!(page, "| each idle connection, TLS | {:.1} KiB |", memory.per_tls_connection as f64 / 1024.0)?;
    writeln!(page, "| release binary | {:.1} MiB |", fs::metadata(binary)?.len() as f64 / MIB)?;
    Ok(page)
}

/// Puts the page into the README, between its marks.
pub(crate) fn write(page: &str) -> Outcome<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let text = fs::read_to_string(&file)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the README has no place for figures")?;
    let (_, after) = rest.split_once(END).ok_or("the README's place for figures has no end")?;
    Ok(fs::write(file, format!("{before}{BEGIN}\n{page}{END}{after}"))?)
}

fn heading(options: &Options, rounds: usize) -> Outcome<String> {
    let said = |program: &str, argument: &str| machine::text_of(Command::new(program).arg(argument));
    let date = said("date", "+%Y-%m-%d")?;
    let nginx = said("nginx", "-v")?.replace("nginx version: ", "");
    let commit = machine::text_of(Command::new("git").args(["describe", "--always", "--dirty"]))
        .map(|commit| format!(" ({commit})"))
        .unwrap_or_default();
    Ok(format!(
        "{date}; {}; {}; sidebeat {}{commit}; {nginx}.\n{rounds} rounds of {} s each, {} connections; \
         median (smallest to largest).\n\n",
        machine::describe()?,
        said("rustc", "--version")?,
        env!("CARGO_PKG_VERSION"),
        options.seconds.as_secs_f64(),
        options.connections,
    ))
}

/// Microseconds.
fn per_call(measure: &Measure) -> f64 {
    measure.cpu.as_secs_f64() * 1e6 / measure.calls as f64
}

struct Spread {
    largest: f64,
    median: f64,
    smallest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self { largest: at(last), median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), smallest: at(0) }
    }

    fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.smallest, self.largest)
    }
}
