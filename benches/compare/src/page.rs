//! Makes the tables and charts of `docs/performance.md` from the records. The prose around the marks is written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::chart::{self, Bar};
use crate::record::Record;
use crate::rows::{Builds, Table, tables};
use crate::statistics::{Spread, ratios};
use crate::targets;

/// A program and its work.
type Who<'a> = (&'a str, &'a str);

/// A figure that tables show, in this order.
struct Column {
    /// Shown beside the figure: its ratio to nginx.
    has_ratio: bool,
    digits: usize,
    heading: &'static str,
    name: &'static str,
    /// The figure is divided by this to be shown.
    unit: f64,
}

const fn column(name: &'static str, heading: &'static str, digits: usize, unit: f64, has_ratio: bool) -> Column {
    Column { has_ratio, digits, heading, name, unit }
}

/// The first of them that a table has is its main figure, of which the chart and the targets are.
const COLUMNS: [Column; 9] = [
    column("p99_us", "99th percentile, µs", 0, 1.0, true),
    column("p50_us", "median, µs", 0, 1.0, false),
    column("p999_us", "99.9th, µs", 0, 1.0, false),
    column("cpu_us", "CPU a call, µs", 1, 1.0, true),
    column("kernel_share", "of it in the kernel, %", 0, 0.01, false),
    column("calls_per_second", "calls a second", 0, 1.0, false),
    column("connection_bytes", "bytes a connection", 0, 1.0, false),
    column("idle_bytes", "process at rest, MiB", 1, 1_048_576.0, false),
    column("start_ms", "start to first answer, ms", 1, 1.0, true),
];

/// The figures of one case by round.
fn by_round(records: &[Record], table: &str, (peer, work): Who<'_>, name: &str) -> BTreeMap<u64, f64> {
    let own = records.iter().filter(|record| record.table == table && record.peer == peer && record.work == work);
    own.filter_map(|record| Some((record.round, *record.values.get(name)?))).collect()
}

pub(crate) fn spread(records: &[Record], table: &str, who: Who<'_>, name: &str) -> Option<Spread> {
    Spread::of(by_round(records, table, who, name).into_values())
}

/// The ratio of the table's main figure within each round.
pub(crate) fn ratio(records: &[Record], table: &str, who: Who<'_>, yardstick: Who<'_>) -> Option<Spread> {
    ratio_of(records, table, main_column(records, table)?.name, who, yardstick)
}

fn ratio_of(records: &[Record], table: &str, name: &str, who: Who<'_>, yardstick: Who<'_>) -> Option<Spread> {
    ratios(&by_round(records, table, who, name), &by_round(records, table, yardstick, name))
}

fn main_column(records: &[Record], table: &str) -> Option<&'static Column> {
    columns(records, table).first().copied()
}

fn columns(records: &[Record], table: &str) -> Vec<&'static Column> {
    let names: BTreeSet<_> =
        records.iter().filter(|record| record.table == table).flat_map(|record| record.values.keys()).collect();
    COLUMNS.iter().filter(|column| names.contains(&column.name.to_owned())).collect()
}

/// All cases of a table that were measured, in its order.
fn measured<'a>(records: &[Record], table: &'a Table) -> Vec<Who<'a>> {
    let all = table.cases.iter().map(|case| (case.peer.name(), case.work.name()));
    let is_there = |(peer, work): &Who<'_>| {
        records.iter().any(|record| record.table == table.key && record.peer == *peer && record.work == *work)
    };
    all.filter(is_there).collect()
}

/// All tables that the records may have.
fn all_tables() -> Vec<Table> {
    tables(Builds { before: true, dist: true }, false)
}

/// One table as Markdown; empty if nothing of it was measured.
fn one_table(records: &[Record], table: &Table) -> String {
    let (columns, cases) = (columns(records, table.key), measured(records, table));
    let Some(yardstick) = cases.first().copied() else { return String::new() };
    let mut page = String::from("| |");
    for column in &columns {
        let _ = write!(page, " {} |{}", column.heading, if column.has_ratio { " ratio to nginx |" } else { "" });
    }
    let width = page.matches('|').count() - 1;
    let _ = write!(page, "\n|{}\n", "---|".repeat(width));
    for who in cases {
        let _ = write!(page, "| {} |", label(who, yardstick));
        for column in &columns {
            let figure = spread(records, table.key, who, column.name);
            let _ = write!(page, " {} |", shown(figure.map(|figure| figure.median / column.unit), column.digits));
            if column.has_ratio {
                let ratio = ratio_of(records, table.key, column.name, who, yardstick);
                let _ = write!(page, " {} |", ratio.map_or("–".to_owned(), |ratio| ratio.show(2)));
            }
        }
        page.push('\n');
    }
    for case in table.cases.iter().filter(|case| !case.peer.packages().is_empty()) {
        if spread(records, table.key, (case.peer.name(), case.work.name()), columns[0].name).is_none() {
            let _ =
                writeln!(page, "\n{} is not installed: `apt-get install {}`", case.peer.name(), case.peer.packages());
        }
    }
    page
}

fn shown(figure: Option<f64>, digits: usize) -> String {
    figure.map_or("–".to_owned(), |figure| format!("{figure:.digits$}"))
}

/// The work is said where it is not the yardstick's own.
fn label((peer, work): Who<'_>, (_, plain): Who<'_>) -> String {
    if work == plain { peer.to_owned() } else { format!("{peer}: {work}") }
}

/// The chart of a table's main figure.
fn chart_of(records: &[Record], table: &Table) -> Option<String> {
    let column = main_column(records, table.key)?;
    let cases = measured(records, table);
    let yardstick = cases.first().copied()?;
    let of = |who: Who<'_>| {
        if column.has_ratio {
            ratio(records, table.key, who, yardstick)
        } else {
            spread(records, table.key, who, column.name)
        }
    };
    let bars: Vec<_> = cases
        .iter()
        .filter_map(|who| {
            let Spread { largest, median, smallest } = of(*who)?;
            let colour = usize::from(who.0.starts_with("sidebeat"));
            Some(Bar { colour, label: label(*who, yardstick), largest, median, smallest })
        })
        .collect();
    let what = if column.has_ratio { "ratio to nginx" } else { column.heading };
    let digits = if column.has_ratio { 2 } else { column.digits };
    Some(chart::bars(&format!("{}: {what}", table.title), &bars, column.has_ratio.then_some(1.0), digits))
}

/// All that was measured, for the terminal.
pub(crate) fn text(records: &[Record]) -> String {
    let mut page = String::new();
    for table in all_tables() {
        let text = one_table(records, &table);
        if !text.is_empty() {
            let _ = write!(page, "{}\n\n{text}\n", table.title);
        }
    }
    page + &targets::table(records).0
}

/// Puts tables and charts into `docs/performance.md`; fails if a target is missed and the page does not say why.
pub(crate) fn write(records: &[Record]) -> Outcome<()> {
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let file = documents.join("performance.md");
    let mut page = fs::read_to_string(&file)?;
    for table in all_tables() {
        if let Some(chart) = chart_of(records, &table) {
            fs::create_dir_all(documents.join("performance"))?;
            fs::write(documents.join(format!("performance/{}.svg", table.key)), chart)?;
            let picture = format!("![{}](performance/{}.svg)", table.title, table.key);
            let heading = heading(records, table.key);
            let rows = one_table(records, &table);
            let text = format!("**{}**\n\n{rows}\n{picture}\n\n{heading}\n", table.title);
            page = between_marks(&page, table.key, &text)?;
        }
    }
    let (table, missed) = targets::table(records);
    let page = between_marks(&page, "targets", &table)?;
    fs::write(file, &page)?;
    let unexplained = targets::unexplained(&page, &missed);
    if unexplained.is_empty() {
        return Ok(());
    }
    Err(format!("missed, and docs/performance.md has no \"why: KEY\" for it: {}", unexplained.join(", ")).into())
}

/// Machine and versions of a table's newest records, and how many rounds counted.
fn heading(records: &[Record], table: &str) -> String {
    let own: Vec<_> = records.iter().filter(|record| record.table == table).collect();
    let rounds: BTreeSet<_> = own.iter().map(|record| record.round).collect();
    let heading = own.last().map_or("", |record| record.heading.as_str());
    format!("{heading}; rounds that count: {}", rounds.len())
}

/// Replaces what is between `<!-- compare: KEY -->` and the next `<!-- end -->`.
fn between_marks(page: &str, key: &str, text: &str) -> Outcome<String> {
    let mark = format!("<!-- compare: {key} -->\n");
    let (before, rest) = page.split_once(&mark).ok_or_else(|| format!("docs/performance.md has no mark for {key}"))?;
    let (_, after) = rest.split_once("<!-- end -->").ok_or_else(|| format!("the mark for {key} has no end"))?;
    Ok(format!("{before}{mark}{text}<!-- end -->{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    fn records() -> Vec<Record> {
        let round = |round, nginx, sidebeat| {
            let cpu = |peer, work, value| record("plain", work, peer, round, "cpu_us", value);
            [cpu("nginx", "pass", nginx), cpu("sidebeat", "ssm", sidebeat)]
        };
        [round(1, 20.0, 40.0), round(2, 40.0, 100.0)].concat()
    }

    #[test]
    fn a_table_shows_medians_and_the_range_of_the_ratio() {
        let table = all_tables().into_iter().find(|table| table.key == "plain").unwrap();
        let page = one_table(&records(), &table);
        assert!(page.starts_with("| | CPU a call, µs | ratio to nginx |\n|---|---|---|\n"), "{page}");
        assert!(page.contains("| nginx | 30.0 | 1.00 (1.00 to 1.00) |\n"), "{page}");
        assert!(page.contains("| sidebeat: ssm | 70.0 | 2.25 (2.00 to 2.50) |\n"), "{page}");
        assert!(page.contains("HAProxy is not installed: `apt-get install haproxy`"), "{page}");
        assert!(chart_of(&records(), &table).unwrap().contains("sidebeat: ssm"));
    }

    #[test]
    fn only_what_is_between_the_marks_of_a_table_is_replaced() {
        let page = "a\n<!-- compare: x -->\nold\n<!-- end -->\nb\n<!-- compare: y -->\n<!-- end -->\n";
        let new = between_marks(page, "x", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(between_marks(&new, "x", "new\n").unwrap(), new);
        assert!(between_marks(page, "z", "").is_err());
    }

    #[test]
    fn the_document_has_a_place_for_each_table() {
        let page = include_str!("../../../docs/performance.md");
        for key in all_tables().iter().map(|table| table.key).chain(["targets"]) {
            between_marks(page, key, "").unwrap();
        }
    }
}
