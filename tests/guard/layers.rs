//! Guards the layers, lists long files, and names what the code must not hold.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::source::{code, files, read, sources};

/// From the top to the bottom: a module uses modules of lower rows only, never its own row's.
/// `docs/design.md` shows the same rows.
pub(crate) const LAYERS: [(&[&str], &str); 16] = [
    (&["main"], "the binary: arguments in, exit code out"),
    (&["command"], "what each command does; alone writes to standard output"),
    (&["args", "demo"], "the command line; everything on one machine, and a story that checks it"),
    (&["app"], "the composition: builds all, takes all down"),
    (&["admin", "gateway", "headend"], "the operators' side; the story of one call; the simulated far side"),
    (
        &["authority", "edge", "webhooks"],
        "who grants sessions, over whatever wire; what players connect to; who is told",
    ),
    (&["sessions", "upstream"], "the shell around the core; outgoing HTTP"),
    (&["store"], "what outlives the process: records, in memory or in a journal"),
    (&["registrations"], "what was registered of a playback before it began"),
    (&["telemetry"], "the core's events as log lines and counters"),
    (&["events"], "the core's events for whoever listens"),
    (&["eme"], "the key sessions of a playback, as the wire shows them"),
    (
        &["cmcd", "drm", "manifest", "session"],
        "pure: what a report says; what a body is; what a manifest says; what a session does",
    ),
    (&["config"], "the settings, checked and immutable"),
    (&["token"], "what a JWT says about itself, and whether a key signed it"),
    (&["clock", "ids", "secret", "task"], "the only reader of clocks, source of randomness, home of secrets, spawner"),
];

/// Without tests. A longer file is worth a look: it may tell two stories.
const WARN_SOURCE_LINES: usize = 500;

/// What the pure layers must not know.
const IMPURE: [&str; 10] = [
    "tokio",
    "Clock",
    "Instant::now",
    "SystemTime",
    "rand",
    "tracing",
    "std::env",
    "std::fs",
    "std::net",
    "std::thread",
];

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|(names, _)| names.contains(&module)).unwrap_or_else(|| panic!("{module} is in no layer"))
}

/// The top-level modules that this code of this module names by `crate::…` or `super::…`.
fn used(code: &str, module: &[String]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    // To the binary the library is a crate of its own.
    let roots: &[&str] = if module[0] == "main" { &["crate::", "sidebeat::"] } else { &["crate::"] };
    for root in roots {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if !before.is_alphanumeric() && before != '_' {
                used.extend(first_names(&code[at + root.len()..]));
            }
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let rest = code[at..].trim_start_matches("super::");
        let up = (code.len() - at - rest.len()) / "super::".len();
        assert!(up <= module.len(), "{module:?} climbs out of the crate");
        if up == module.len() {
            used.extend(first_names(rest));
        }
    }
    used.remove(&module[0]);
    used
}

/// `a` of `a::b`; `a` and `c` of `{a::b, c::{d, e}}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut start) = (1, Vec::new(), true);
    for (at, c) in group.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 {
            break;
        }
        if start && !c.is_whitespace() {
            names.push(name(&group[at..]));
            start = false;
        }
        start |= c == ',' && depth == 1;
    }
    names
}

#[test]
fn names_are_found_in_every_form() {
    let module = ["a".to_owned(), "b".to_owned()];
    let code = "use crate::{c::d, e::{f, g}, h};\nuse super::i;\nuse super::super::j::k; let l = crate::m::n();";
    assert_eq!(used(code, &module).into_iter().collect::<Vec<_>>(), ["c", "e", "h", "j", "m"]);
}

#[test]
fn arrows_point_down() {
    for source in sources() {
        let top = source.module[0].as_str();
        if top == "lib" {
            continue;
        }
        for used in used(&source.code, &source.module) {
            // Items of the library itself, such as a macro, have no layer.
            assert!(layer(&used) > layer(top), "{}: {top} must not use {used}", source.path);
        }
    }
}

/// Which files of its own folder, and of the folders above, a source of the gateway uses: folder, its own name there, the
/// other's.
fn neighbours(code: &str, module: &[String]) -> Vec<(Vec<String>, String, String)> {
    let mut found = Vec::new();
    let mut add = |folder: &[String], rest: &str| {
        let Some(own) = module.get(folder.len()) else { return };
        let others = first_names(rest).into_iter().filter(|name| name != own);
        found.extend(others.map(|name| (folder.to_vec(), own.clone(), name)));
    };
    for (at, root) in code.match_indices("crate::gateway::") {
        add(&module[..1], &code[at + root.len()..]);
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with("super::")) {
        let rest = code[at..].trim_start_matches("super::");
        let up = (code.len() - at - rest.len()) / "super::".len();
        add(&module[..module.len() - up], rest);
    }
    found
}

/// A module and the files of its folder are one: what its children share stands there.
#[test]
fn files_of_a_folder_of_the_gateway_use_each_other_in_one_direction() {
    let sources: Vec<_> = sources().into_iter().filter(|source| source.module[0] == "gateway").collect();
    let modules: BTreeSet<_> = sources.iter().map(|source| source.module.clone()).collect();
    let is_module = |folder: &[String], name: &String| modules.contains(&[folder, std::slice::from_ref(name)].concat());
    let mut arrows: BTreeSet<(Vec<String>, String, String)> = BTreeSet::new();
    for source in &sources {
        arrows.extend(neighbours(&source.code, &source.module).into_iter().filter(|(f, _, other)| is_module(f, other)));
    }
    assert!(arrows.len() > 50, "the arrows are not found any more");
    // What nobody points at is taken off, again and again; a circle stays.
    loop {
        let pointed: BTreeSet<_> = arrows.iter().map(|(folder, _, other)| (folder.clone(), other.clone())).collect();
        let before = arrows.len();
        arrows.retain(|(folder, own, _)| pointed.contains(&(folder.clone(), own.clone())));
        if arrows.len() == before {
            break;
        }
    }
    assert!(arrows.is_empty(), "files use each other in a circle: {arrows:?}");
}

#[test]
fn the_simulator_shares_no_dialect_with_the_proxy() {
    for source in sources().iter().filter(|source| source.module[0] == "headend") {
        for (at, _) in source.code.match_indices("authority::") {
            let rest = &source.code[at..];
            assert!(rest.starts_with("authority::ledger"), "{}: {}", source.path, &rest[..40.min(rest.len())]);
        }
    }
}

#[test]
fn every_module_has_its_layer_and_every_layer_its_module() {
    let there: BTreeSet<_> = sources().iter().map(|source| source.module[0].clone()).filter(|m| m != "lib").collect();
    let named: BTreeSet<_> = LAYERS.iter().flat_map(|(names, _)| *names).map(|name| (*name).to_owned()).collect();
    assert_eq!(there, named);
}

#[test]
fn pure_layers_know_no_time_no_task_and_no_chance() {
    let pure = |module: &str| matches!(module, "cmcd" | "drm" | "eme" | "manifest" | "session");
    for source in sources().iter().filter(|source| pure(&source.module[0])) {
        for word in IMPURE {
            let found = source.code.match_indices(word).find(|(at, _)| {
                let after = source.code[at + word.len()..].chars().next().unwrap_or(' ');
                let before = source.code[..*at].chars().next_back().unwrap_or(' ');
                let whole = |c: char| !c.is_alphanumeric();
                whole(before) && whole(after)
            });
            assert!(found.is_none(), "{} names {word}", source.path);
        }
    }
}

/// A warning and no failure: one story in one long file reads better than one that is cut in half.
#[test]
fn long_files_are_listed() {
    for source in sources().iter().filter(|source| source.lines > WARN_SOURCE_LINES) {
        // Not by `println!`, which shows nothing of a test that passes.
        writeln!(io::stderr(), "warning: {} has {} lines without tests", source.path, source.lines).unwrap();
    }
}

#[test]
fn nothing_prints_past_the_log() {
    let words = ["print", "eprint", "println", "eprintln", "dbg"].map(|word| format!("{word}!("));
    for path in code() {
        let text = read(&path);
        for word in &words {
            assert!(!text.contains(word), "{path} holds {word}");
        }
    }
}

#[test]
fn whatever_is_ignored_says_why() {
    for path in code().into_iter().chain(files("tests", ".rs")) {
        let bare = concat!("#[", "ignore]");
        assert!(!read(&path).contains(bare), "{path}: write the reason behind the attribute");
    }
}

#[test]
fn every_module_has_a_head() {
    for path in code() {
        let text = read(&path);
        let stub = text.lines().count() <= 3 || path.split(['/', '.']).any(|part| part == "tests");
        assert!(stub || text.starts_with("//! "), "{path} does not begin with what it is");
    }
}
