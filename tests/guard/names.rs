//! Checks that names and sentences explain themselves: unique types, constants that say what they bound, a subject in
//! each sentence.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::cells;
use crate::source::{Source, read, sources, without_tests};

/// Words for a size that do not say what is bounded.
const SIZES: [&str; 14] = [
    "AGAIN", "APART", "EARLIEST", "FEWEST", "FIRST", "LARGEST", "LAST", "LATEST", "LEAST", "LONGEST", "LOOK", "MOST",
    "SHORTEST", "SMALLEST",
];

/// A sentence of the code's documents never opens so.
const BARE_OPENINGS: [&str; 9] =
    ["By what ", "By when ", "By which ", "Of which ", "What ", "Whether ", "Who ", "Whoever ", "Whose "];

/// Nor does the first sentence of a comment, which has nothing before it to refer to.
const BARE_FIRST_OPENINGS: [&str; 4] = ["It ", "One ", "That ", "Those "];

/// The names that stand behind one of these words in a declaration at the beginning of a line.
fn declared<'a>(code: &'a str, words: &[&str]) -> Vec<&'a str> {
    let name = |line: &'a str| {
        let line = line.trim_start();
        let line = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
            Some(rest) => rest.trim_start(),
            None => line,
        };
        let (word, rest) = line.split_once(' ')?;
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        words.contains(&word).then_some(&rest[..end])
    };
    code.lines().filter_map(name).collect()
}

/// The sentences of the comments of a text, each with whether it is the first of its comment.
fn sentences(text: &str) -> Vec<(bool, String)> {
    let mut comments = vec![String::new()];
    for line in text.lines().map(str::trim_start) {
        let words = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map_or("", str::trim);
        match comments.last_mut() {
            Some(comment) if !words.is_empty() => *comment = format!("{comment} {words}"),
            _ => comments.push(String::new()),
        }
    }
    let ends = |c: char| matches!(c, '.' | ':' | ';' | '?' | '!');
    let cut = |comment: String| {
        let mut parts: Vec<String> = Vec::new();
        for word in comment.split_whitespace() {
            match parts.last_mut() {
                Some(part) if !(part.ends_with(ends) && word.starts_with(char::is_uppercase)) => {
                    *part = format!("{part} {word}");
                }
                _ => parts.push(word.to_owned()),
            }
        }
        parts.into_iter().enumerate().map(|(at, part)| (at == 0, part)).collect::<Vec<_>>()
    };
    comments.into_iter().flat_map(cut).collect()
}

fn is_bare((is_first, sentence): &(bool, String)) -> bool {
    let opens = |openings: &[&str]| openings.iter().any(|opening| sentence.starts_with(opening));
    opens(&BARE_OPENINGS) || (*is_first && opens(&BARE_FIRST_OPENINGS))
}

#[test]
fn declarations_and_sentences_are_found_in_every_form() {
    let code = "pub struct First<T> {\n    pub(in crate::a) enum Second {\ntrait Third: Copy {\nstruct Fourth(u8);\ntype A = B;";
    assert_eq!(declared(code, &["enum", "struct", "trait"]), ["First", "Second", "Third", "Fourth"]);
    let text = "//! What it is.\n//!\n/// One thing: Who\n/// knows. It is.\nfn a() {} // That\n/// Reads it. What comes is read.";
    let bare: Vec<_> = sentences(text).into_iter().filter(is_bare).map(|(_, sentence)| sentence).collect();
    assert_eq!(bare, ["What it is.", "One thing:", "Who knows.", "What comes is read."]);
}

#[test]
fn a_types_name_is_unique() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Source { code, path, .. } in sources() {
        for name in declared(&code, &["enum", "struct", "trait", "union"]) {
            // Twice in one file, too, for instance in two functions.
            let places = places.entry(name.to_owned()).or_default();
            let twice = if places.contains(&path) { " (again)" } else { "" };
            places.insert(format!("{path}{twice}"));
        }
    }
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "each needs a name of its own: {places:#?}");
}

#[test]
fn a_constant_says_what_it_bounds() {
    for Source { code, path, .. } in sources() {
        for name in declared(&code, &["const", "static"]) {
            assert!(!SIZES.contains(&name), "{path}: what does {name} bound, and in which unit?");
        }
    }
}

#[test]
fn a_sentence_of_the_code_names_its_subject() {
    let of = |source: Source| {
        let sentences = sentences(&without_tests(&read(&source.path)));
        sentences.into_iter().filter(is_bare).map(move |(_, sentence)| format!("{}: {sentence}", source.path))
    };
    let bare: Vec<_> = sources().into_iter().flat_map(of).collect();
    assert!(bare.is_empty(), "each needs a subject: {bare:#?}");
}

/// The column "where" names code: a type by its declaration, anything else by any mention.
#[test]
fn the_glossary_names_what_is_there() {
    let sources = sources();
    let code: String = sources.iter().map(|source| &*source.code).collect::<Vec<_>>().join("\n");
    let types: BTreeSet<_> = declared(&code, &["enum", "struct", "trait", "type"]).into_iter().collect();
    let known = ["config.toml", "docs/operations.md"].map(read).join("\n");
    let words = cells(&read("docs/glossary.md"), 1);
    assert!(words.len() > 100, "the glossary's tables are not found any more");
    for word in words {
        let found = match word.split("::").next() {
            Some(name) if name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase) => {
                types.contains(name)
            }
            _ => code.contains(word.trim_matches('…')) || known.contains(word.trim_matches('…')),
        };
        assert!(found, "docs/glossary.md names {word}, which is nowhere");
    }
}
