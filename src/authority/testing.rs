//! Settings for the tests of authorities, read as a configuration file is read.

use std::path::Path;

use crate::config::{self, AuthorityKind, EmbeddedSettings, FirstLightSettings, NagraSsmSettings};

/// The authority `a` with these lines, which give its kind.
pub(super) fn settings(lines: &str) -> Vec<config::AuthoritySettings> {
    let text = format!(
        "[[authority]]\nname = \"a\"\n{lines}\n[[route]]\npath = \"/l\"\nlicense-server = \"https://l.example/\"\n"
    );
    config::parse(&text, Path::new("."), std::iter::empty()).unwrap().authorities
}

fn kind(lines: &str) -> AuthorityKind {
    settings(lines).remove(0).kind
}

pub(super) fn embedded_settings(lines: &str) -> EmbeddedSettings {
    match kind(&format!("kind = \"embedded\"\n{lines}")) {
        AuthorityKind::Embedded(config) => *config,
        other => panic!("another kind: {other:?}"),
    }
}

pub(super) fn firstlight_settings(lines: &str) -> FirstLightSettings {
    match kind(&format!("kind = \"firstlight\"\nheartbeat-url = \"https://hb.example/base/\"\n{lines}")) {
        AuthorityKind::FirstLight(config) => *config,
        other => panic!("another kind: {other:?}"),
    }
}

pub(super) fn ssm_settings(lines: &str) -> NagraSsmSettings {
    match kind(&format!("kind = \"nagra-ssm\"\nurl = \"https://h.example/T/ssm\"\ntenant = \"T\"\n{lines}")) {
        AuthorityKind::NagraSsm(config) => *config,
        other => panic!("another kind: {other:?}"),
    }
}
