//! The figures of one case in one round, as a line of JSON. The page is made of these lines alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    /// Machine, versions, and how it was measured.
    pub(crate) heading: String,
    pub(crate) peer: String,
    pub(crate) round: u64,
    /// Key of the table.
    pub(crate) table: String,
    /// Figures by name, which ends with the unit.
    pub(crate) values: BTreeMap<String, f64>,
    pub(crate) work: String,
}

pub(crate) fn parse(text: &str) -> Outcome<Vec<Record>> {
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Replaces the tables that were measured anew, and keeps the others.
pub(crate) fn save(file: &Path, new: &[Record]) -> Outcome<Vec<Record>> {
    let measured: BTreeSet<_> = new.iter().map(|record| &record.table).collect();
    let mut records = parse(&fs::read_to_string(file).unwrap_or_default()).unwrap_or_default();
    records.retain(|record| !measured.contains(&record.table));
    records.extend_from_slice(new);
    let lines: Vec<_> = records.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    fs::create_dir_all(file.parent().ok_or("no folder")?)?;
    fs::write(file, lines.join("\n"))?;
    Ok(records)
}

#[cfg(test)]
pub(crate) fn record(table: &str, work: &str, peer: &str, round: u64, name: &str, value: f64) -> Record {
    Record {
        heading: "a machine".to_owned(),
        peer: peer.to_owned(),
        round,
        table: table.to_owned(),
        values: BTreeMap::from([(name.to_owned(), value)]),
        work: work.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_measured_anew_replaces_its_old_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/rounds.jsonl");
        let old =
            [record("plain", "pass", "nginx", 1, "cpu_us", 20.0), record("tls", "pass", "nginx", 1, "cpu_us", 25.0)];
        save(&file, &old).unwrap();
        let new = record("plain", "pass", "nginx", 1, "cpu_us", 21.0);
        let records = save(&file, std::slice::from_ref(&new)).unwrap();
        assert_eq!(records, [old[1].clone(), new]);
        assert_eq!(parse(&fs::read_to_string(file).unwrap()).unwrap(), records);
    }
}
