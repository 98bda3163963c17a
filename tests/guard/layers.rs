//! Guards the layers, lists long files, and names what the code must not hold.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::source::{Source, code, files, read, sources};

/// From the top to the bottom: a module uses modules of lower rows only, never its own row's.
/// `docs/design.md` shows the same rows.
pub(crate) const LAYERS: [(&[&str], &str); 20] = [
    (&["main"], "the binary: arguments in, exit code out"),
    (&["command"], "carries out each command; alone writes to standard output"),
    (&["args", "demo"], "the command line; everything on one machine, with a scripted player that checks it"),
    (&["app"], "the composition: builds all, takes all down"),
    (&["admin", "gateway", "headend"], "the operators' side; one call from beginning to end; the simulated far side"),
    (
        &["authority", "edge", "webhooks"],
        "grants sessions, over whatever wire; serves players' connections; tells other services",
    ),
    (&["sessions", "upstream"], "the shell around the core; outgoing HTTP"),
    (&["store"], "outlives the process: records, in memory or in a journal"),
    (&["registrations"], "what was registered of a playback before it began"),
    (&["telemetry"], "the core's events as log lines and counters"),
    (&["events"], "the core's events for whoever listens"),
    (&["config"], "the settings, checked and immutable"),
    (&["token"], "reads a JWT and checks which key signed it"),
    (&["ids"], "names of playbacks and incidents"),
    (&["clock", "random", "task"], "crates/system: the only reader of clocks, source of randomness, spawner"),
    (&["eme"], "crates/core from here on: the key sessions of a playback, as the wire shows them"),
    (&["cmcd", "drm", "manifest", "session"], "reads reports, DRM messages and manifests; decides what a session does"),
    (&["ledger"], "counts the places of an embedded authority"),
    (&["endpoint"], "a URL that is asked, in its parts"),
    (&["secret", "session_id", "time"], "secrets that no log shows, names of sessions, times as plain values"),
];

/// Without tests. A longer file is worth a look: it may tell two stories.
const WARN_SOURCE_LINES: usize = 500;

/// Names that the core must not use. Its manifest excludes tokio and other crates that read a clock, spawn or listen.
const IMPURE: [&str; 6] = ["Instant::now", "SystemTime", "std::env", "std::fs", "std::net", "std::thread"];

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|(names, _)| names.contains(&module)).unwrap_or_else(|| panic!("{module} is in no layer"))
}

/// The top-level modules that this code of this module names by `crate::…` or `super::…`.
fn used(code: &str, module: &[String]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    // The library is a crate of its own to the binary, as the lower crates are to all others.
    let own: &[&str] = match &*module[0] {
        "headend" => &[],
        "main" => &["crate::", "sidebeat::"],
        _ => &["crate::"],
    };
    for root in own.iter().chain(&["sidebeat_core::", "sidebeat_system::"]) {
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
fn every_module_uses_only_lower_layers() {
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

/// The files that a source of the gateway uses, in its own folder and in those above: folder, own name there, the
/// other's name.
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
    // Files without users are removed, again and again; a cycle remains.
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
fn every_module_has_its_layer_and_every_layer_its_module() {
    let there: BTreeSet<_> = sources().iter().map(|source| source.module[0].clone()).filter(|m| m != "lib").collect();
    let named: BTreeSet<_> = LAYERS.iter().flat_map(|(names, _)| *names).map(|name| (*name).to_owned()).collect();
    assert_eq!(there, named);
}

#[test]
fn the_core_reads_no_clock_no_file_and_no_environment() {
    for source in sources().iter().filter(|source| source.path.starts_with("crates/core/")) {
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

/// The compiler holds the rest: a crate that is not listed cannot be named.
#[test]
fn the_core_depends_on_nothing_that_waits_listens_or_logs() {
    let manifest = read("crates/core/Cargo.toml");
    for name in ["hyper", "mio", "rand", "rustix", "socket2", "tokio", "tracing"] {
        assert!(!manifest.lines().any(|line| line.starts_with(name)), "crates/core depends on {name}");
    }
    let manifest = read("crates/simulator/Cargo.toml");
    assert!(
        !manifest.lines().any(|line| line.starts_with("sidebeat.")),
        "the simulator shares no dialect with the proxy"
    );
}

/// A warning and no failure: one story in one long file reads better than one that is cut in half.
#[test]
fn long_files_are_listed() {
    for source in sources().iter().filter(|source| source.lines > WARN_SOURCE_LINES) {
        // `println!` shows nothing for a test that passes.
        writeln!(io::stderr(), "warning: {} has {} lines without tests", source.path, source.lines).unwrap();
    }
}

#[test]
fn no_code_prints_past_the_log() {
    let words = ["print", "eprint", "println", "eprintln", "dbg"].map(|word| format!("{word}!("));
    for path in code() {
        let text = read(&path);
        for word in &words {
            assert!(!text.contains(word), "{path} holds {word}");
        }
    }
}

/// A test or a simulation that steers the clock must reach everything that runs.
#[test]
fn only_the_top_takes_the_machines_clock() {
    let top = [
        "src/admin/client.rs",
        "src/app.rs",
        "src/command.rs",
        "src/demo/scripted_player.rs",
        // It says why.
        "src/store/pending_changes.rs",
    ];
    let takes = |source: &Source| {
        let values = source.code.replace(": Clock,", "");
        [" Clock.", "(Clock.", " Clock,", "(Clock,"].iter().any(|value| values.contains(value))
    };
    let found: Vec<_> = sources().into_iter().filter(|it| it.path.starts_with("src/") && takes(it)).collect();
    let found: Vec<_> = found.iter().map(|source| &*source.path).collect();
    assert_eq!(found, top, "take the clock as an argument");
}

/// One place marks sidebeat's own replies as not cacheable, and one takes a server's headers off its reply.
#[test]
fn replies_are_made_in_their_own_files() {
    let makers = ["src/edge/cors.rs", "src/edge/own_replies.rs", "src/edge/passed_reply.rs"];
    let makes = |source: &Source| source.path.starts_with("src/") && source.code.contains("Response::new(");
    let found: Vec<_> = sources().into_iter().filter(makes).map(|source| source.path).collect();
    assert_eq!(found, makers, "use `own_replies` or `passed_on`");
}

#[test]
fn every_ignored_test_and_lint_says_why() {
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

/// What every state must answer stands in one match of `session/state`; a sentence about one state names that one alone.
/// So a new state has few lines to be added to: as many as the state that is named least often. The number only falls.
#[test]
fn a_new_state_touches_few_places() {
    const MAX_LINES_OF_A_STATE: usize = 26;
    let (states, core) = (read("crates/core/src/session/state.rs"), "crates/core/src/session/");
    let (_, variants) = states.split_once("pub enum SessionState {").unwrap();
    let (variants, _) = variants.split_once("\n}").unwrap();
    let variant = |line: &str| {
        line.strip_prefix("    ").map(|line| line.split_once(' ').map_or(line, |(name, _)| name).to_owned())
    };
    let is_name = |name: &String| name.starts_with(|letter: char| letter.is_ascii_uppercase());
    let variants: Vec<_> = variants.lines().filter_map(variant).filter(is_name).collect();
    assert!(variants.len() >= 9, "{variants:?}");
    let asks = |source: &Source| {
        let of_states = source.path.starts_with(&format!("{core}state"));
        !of_states && (source.path.starts_with(core) || source.path.starts_with("src/sessions/"))
    };
    let sources: Vec<_> = sources().into_iter().filter(asks).collect();
    let names = |line: &str, name: &str| {
        line.split_once(&format!("State::{name}")).is_some_and(|(_, rest)| !rest.starts_with(char::is_alphanumeric))
    };
    let lines =
        |name: &String| sources.iter().flat_map(|source| source.code.lines()).filter(|line| names(line, name)).count();
    let least = variants.iter().map(lines).min().unwrap();
    assert!(least <= MAX_LINES_OF_A_STATE, "the least of {variants:?} is named in {least} lines");
    writeln!(io::stderr(), "a new state touches {least} lines").unwrap();
}
