//! The shipped `config.toml` keeps its word: it loads, names every key, shows the defaults, and
//! what it offers commented out works when the `#` goes.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, iter};

use crate::config::{Config, keys, parse};

const SAMPLE: &str = include_str!("../../../config.toml");

/// Keys for which `config.toml` has no default, but "(*)" or "No default".
const NO_DEFAULT: [&str; 7] = [
    "authority.kind",
    "authority.name",
    "authority.tenant",
    "authority.url",
    "route.authority",
    "route.license-server",
    "route.path",
];

struct Setting {
    active: bool,
    /// 0-based line.
    at: usize,
    key: String,
}

/// Settings are `key = …` and `#key = …`; prose has a space behind its `#`.
fn settings() -> Vec<Setting> {
    let mut table = String::new();
    let mut settings = Vec::new();
    for (at, line) in SAMPLE.lines().enumerate() {
        let text = line.strip_prefix('#').unwrap_or(line);
        if let Some(header) = text.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).to_owned();
        } else if let (false, Some((name, _))) = (text.starts_with([' ', '-']), text.split_once(" = ")) {
            let open = [
                "authority.content-groups",
                "authority.device-groups",
                "authority.fields",
                "authority.headers",
                "texts.de",
            ];
            let open = open.contains(&&*table);
            let key = if open { table.clone() } else { format!("{table}.{name}") };
            settings.push(Setting { active: !line.starts_with('#'), at, key });
        }
    }
    settings
}

fn load(text: &str, folder: &Path) -> Config {
    parse(text, folder, iter::empty()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn with_lines(change: impl Fn(usize, &str) -> String) -> String {
    SAMPLE.lines().enumerate().map(|(at, line)| change(at, line) + "\n").collect()
}

#[test]
fn the_sample_loads_and_describes_the_simulator() {
    let config = load(SAMPLE, Path::new(""));
    assert_eq!(config.authorities.len(), 1);
    assert_eq!(config.routes[0].authority, Some(0));
    let license_server = config.routes[0].upstream().to_string();
    assert_eq!(license_server, "http://127.0.0.1:9200/DEMO/wvls/contentlicenseservice/v1/licenses");
}

#[test]
fn the_sample_has_every_key_and_no_other() {
    let named: BTreeSet<String> = settings().into_iter().map(|setting| setting.key).collect();
    assert_eq!(named, keys());
}

#[test]
fn an_active_line_of_the_sample_is_the_default() {
    let folder = Path::new("");
    let whole = format!("{:?}", load(SAMPLE, folder));
    for setting in settings().iter().filter(|setting| setting.active && !NO_DEFAULT.contains(&setting.key.as_str())) {
        let without = with_lines(|at, line| if at == setting.at { String::new() } else { line.to_owned() });
        assert_eq!(format!("{:?}", load(&without, folder)), whole, "{} is not the default", setting.key);
    }
}

#[test]
fn a_commented_line_of_the_sample_works() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["admin-token", "webhook-secret"] {
        fs::write(folder.path().join(file), "hush\n").unwrap();
    }
    fs::create_dir(folder.path().join("keys")).unwrap();
    let pem = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i";
    let jwks = format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"{secret}\"}}]}}");
    for (file, content) in [("jwks.json", &*jwks), ("token-secret", secret), ("token.pem", &pem)] {
        fs::write(folder.path().join("keys").join(file), content).unwrap();
    }
    let whole = format!("{:?}", load(SAMPLE, folder.path()));
    let embedded = SAMPLE.lines().position(|line| line == "#[[authority]]").unwrap();
    let route = SAMPLE.lines().position(|line| line == "[[route]]").unwrap();
    // Tables of their own: a line of theirs alone says nothing.
    let others = SAMPLE.lines().position(|line| line == "#[[route]]").unwrap();
    let within = |at: usize| (embedded..route).contains(&at) || at >= others;
    let alone = settings().into_iter().filter(|setting| !setting.active && !within(setting.at));
    for setting in alone {
        let with = with_lines(|at, line| if at == setting.at { line[1..].to_owned() } else { line.to_owned() });
        assert_ne!(format!("{:?}", load(&with, folder.path())), whole, "{} changes nothing", setting.key);
    }
    let with = with_lines(|at, line| match line.strip_prefix('#') {
        // One of two that exclude each other.
        Some(setting) if setting.starts_with("secret = ") => line.to_owned(),
        Some(setting) if within(at) && !setting.starts_with([' ', '-']) => setting.to_owned(),
        Some(_) | None => line.to_owned(),
    });
    let config = load(&with.replace("authority = \"head-end\"", "authority = \"home\""), folder.path());
    assert!(config.routes[1].media().is_some());
    assert_eq!((config.routes[0].authority, config.webhooks.len()), (Some(1), 1));
}
