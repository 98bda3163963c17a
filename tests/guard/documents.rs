//! Checks the documents: their links, the tests and the layers that they name, the configurations that they show.

use std::collections::BTreeSet;
use std::iter;
use std::path::Path;

use sidebeat::config;

use crate::layers::LAYERS;
use crate::source::{code, files, is_name, read, root};

fn documents() -> Vec<String> {
    let mut documents = ["CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"].map(str::to_owned).to_vec();
    documents.extend(files("docs", ".md"));
    documents
}

/// GitHub's anchors: lower case, blanks to dashes, punctuation removed.
fn anchors(text: &str) -> BTreeSet<String> {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap().to_owned();
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split(')').next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone().into() } else { folder.join(file) };
            assert!(root().join(&target).exists(), "{document}: {link} leads nowhere");
            if !anchor.is_empty() {
                let there = anchors(&read(target.to_str().unwrap()));
                assert!(there.contains(anchor), "{document}: {link} names no heading");
            }
        }
    }
}

/// The names in backticks in a column of the table rows below a heading.
pub(crate) fn column(document: &str, heading: &str, column: usize) -> Vec<String> {
    let text = read(document);
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("{document} has no {heading:?}"));
    cells(rest.split("\n## ").next().unwrap(), column)
}

/// The names in backticks in a column of all table rows of a text.
pub(crate) fn cells(text: &str, column: usize) -> Vec<String> {
    let rows: Vec<_> = text.lines().collect();
    let is_head = |at: usize| rows.get(at + 1).is_some_and(|next| next.starts_with("|-") || next.starts_with("| -"));
    let rows =
        rows.iter().enumerate().filter(|(at, line)| line.starts_with('|') && !is_head(*at)).map(|(_, line)| line);
    rows.filter_map(|row| row.split('|').nth(column + 1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_design_shows_the_layers() {
    let shown = column("docs/design.md", "\n## The layers\n", 0);
    let layers: Vec<_> = LAYERS.iter().flat_map(|(names, _)| names.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(shown, layers);
    let text = read("docs/design.md");
    for (names, sentence) in LAYERS {
        assert!(text.contains(&format!("| {sentence} |")), "{names:?}: {sentence}");
    }
}

/// The names of all functions of the code and of its tests.
fn functions() -> BTreeSet<String> {
    let of = |path: &String| {
        let text = read(path);
        let names = text.match_indices("fn ").map(|(at, _)| text[at + 3..].split(['(', '<']).next().unwrap());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    code().iter().chain(&files("tests", ".rs")).flat_map(of).collect()
}

#[test]
fn the_recipes_name_tests_and_lints_that_exist() {
    let (functions, lints) = (functions(), read("Cargo.toml"));
    let text = read("CONTRIBUTING.md");
    let named = text.split('`').skip(1).step_by(2).filter(|name| is_name(name) && name.matches('_').count() > 1);
    let named: Vec<_> = named.collect();
    assert!(named.len() > 5, "the recipes name no tests any more");
    for name in named {
        assert!(functions.contains(name) || lints.contains(name), "CONTRIBUTING.md names {name}, which does not exist");
    }
}

#[test]
fn each_promise_names_tests_that_exist() {
    let tests = functions();
    let text = read("docs/promises.md");
    let (promises, _) = text.split_once("\n## The simulation\n").unwrap();
    let promises: Vec<_> = promises.split("\n- ").skip(1).collect();
    assert!(promises.len() > 100, "the promises are not found any more");
    for promise in promises {
        let (_, named) = promise.split_once("<details><summary>Tests</summary>").unwrap_or((promise, ""));
        let named: Vec<_> = named.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "docs/promises.md names no test: {promise}");
        for name in named {
            assert!(tests.contains(name), "docs/promises.md names the test {name}, which does not exist");
        }
    }
}

#[test]
fn every_configuration_shown_is_a_good_one() {
    for document in documents() {
        for (at, _) in read(&document).match_indices("```toml\n") {
            let text = read(&document);
            let text = text[at + 8..].split("```").next().unwrap();
            if let Err(faults) = config::parse(text, Path::new(""), iter::empty()) {
                panic!("{document}: {faults}\n{text}");
            }
        }
    }
}
