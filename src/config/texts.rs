//! `[texts]` and `[texts.LANGUAGE]`: the texts for viewers, in their languages.

use std::collections::BTreeMap;

use super::nearest::nearest;
use super::table_reader::TableReader;

/// All keys of texts. Each reason is followed by its advice.
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

/// The language of the built-in texts.
pub const BUILT_IN_LANGUAGE: &str = "en";

#[derive(Debug)]
pub struct ViewerTextSettings {
    /// Language for players that ask for none of the others.
    pub default: String,
    /// Texts by language tag in lower case.
    pub languages: BTreeMap<String, LanguageTexts>,
}

/// The texts of one language. Missing ones are shown in English.
#[derive(Debug, Default)]
pub struct LanguageTexts {
    /// The tag as it was written: `pt-BR`.
    pub tag: String,
    pub texts: BTreeMap<&'static str, String>,
}

impl Default for ViewerTextSettings {
    fn default() -> Self {
        Self { default: BUILT_IN_LANGUAGE.to_owned(), languages: BTreeMap::new() }
    }
}

impl LanguageTexts {
    pub fn text(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }
}

/// Longest text that fits on the screen of an error.
const MAX_TEXT_CHARS: usize = 500;
/// Subtags behind the language: script, region, variant.
const MAX_SUBTAGS: usize = 3;

/// ISO 639-1, and one further language with many viewers.
const ISO_639_1_LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da \
    de dv dz ee el en eo es et eu fa ff fi fil fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik \
    io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt \
    my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so \
    sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";

pub(super) fn texts(root: &TableReader<'_>) -> ViewerTextSettings {
    let table = root.table("texts");
    let mut texts = ViewerTextSettings::default();
    let default = table.word("default", tag);
    for name in table.table_names() {
        let language = language(&table.table(&name), name.clone());
        match tag(&name) {
            Err(what) => table.fault(&name, what),
            Ok(lower) if texts.languages.contains_key(&lower) => table.fault(&name, "is written twice"),
            Ok(lower) => drop(texts.languages.insert(lower, language)),
        }
    }
    if let Some(default) = default {
        if default != BUILT_IN_LANGUAGE && !texts.languages.contains_key(&default) {
            table.fault("default", format!("has no texts: write [texts.{default}], or \"{BUILT_IN_LANGUAGE}\""));
        }
        texts.default = default;
    }
    texts
}

fn language(table: &TableReader<'_>, tag: String) -> LanguageTexts {
    let mut language = LanguageTexts { tag, ..LanguageTexts::default() };
    for name in table.names() {
        match TEXT_KEYS.iter().find(|key| **key == name) {
            Some(key) => language.texts.extend(table.word(&name, text).map(|text| (*key, text))),
            None => {
                let near = nearest(&name, TEXT_KEYS.into_iter());
                let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                table.fault(&name, format!("is no text that viewers are told{advice}"));
            }
        }
    }
    language
}

/// A language tag in lower case (RFC 5646, section 2.1).
fn tag(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "must be a language of ISO 639-1, such as \"de\" or \"pt-BR\"";
    let lower = text.to_ascii_lowercase();
    let mut parts = lower.split('-');
    let known =
        parts.next().is_some_and(|primary| ISO_639_1_LANGUAGES.split_ascii_whitespace().any(|one| one == primary));
    let fits = |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let subtags: Vec<_> = parts.collect();
    if known && subtags.len() <= MAX_SUBTAGS && subtags.iter().all(|part| fits(part)) {
        Ok(lower)
    } else {
        Err(EXPECTED)
    }
}

fn text(text: &str) -> Result<String, String> {
    match text {
        _ if text.trim().is_empty() => Err("is empty".to_owned()),
        _ if text.chars().count() > MAX_TEXT_CHARS => Err(format!("must have at most {MAX_TEXT_CHARS} characters")),
        _ if text.chars().any(char::is_control) => Err("must be one line".to_owned()),
        _ => Ok(text.to_owned()),
    }
}
