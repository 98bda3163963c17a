//! `[texts]`: what viewers are told, in their languages.

use std::collections::BTreeMap;

/// Every text that can be written; each reason is followed by what the viewer can do about it.
pub const TEXT_KEYS: [&str; 23] = [
    "blackout",
    "blackout-advice",
    "limit-reached",
    "limit-reached-advice",
    "page-again",
    "page-free",
    "page-freed",
    "page-gone",
    "page-incident",
    "page-places",
    "page-title",
    "refused",
    "refused-advice",
    "session-ended",
    "session-ended-advice",
    "session-killed",
    "session-killed-advice",
    "setup-rejected",
    "setup-rejected-advice",
    "token-refused",
    "token-refused-advice",
    "unavailable",
    "unavailable-advice",
];

/// The built-in texts are in it.
pub const BUILT_IN_LANGUAGE: &str = "en";

#[derive(Debug)]
pub struct Texts {
    /// For players that name no language which is here.
    pub default: String,
    /// By tag, in lower case.
    pub languages: BTreeMap<String, Language>,
}

/// The texts of one language; those that are missing are told in English.
#[derive(Debug, Default)]
pub struct Language {
    /// As it was written: `pt-BR`.
    pub tag: String,
    pub texts: BTreeMap<&'static str, String>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { default: BUILT_IN_LANGUAGE.to_owned(), languages: BTreeMap::new() }
    }
}

impl Language {
    pub fn text(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }
}
