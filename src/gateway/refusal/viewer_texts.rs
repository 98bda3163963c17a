//! Texts for the viewer in a language of the viewer: the built-in English ones, and those of the configuration.

use http::header::ACCEPT_LANGUAGE;
use http::{HeaderMap, HeaderValue};

use crate::config::{BUILT_IN_LANGUAGE, LanguageTexts, ViewerTextSettings};

/// Nobody speaks more languages, and any caller can write the header.
const MAX_RANGES: usize = 16;

/// The built-in texts, by the keys of `[texts.LANGUAGE]`.
const ENGLISH: [(&str, &str); 23] = [
    ("blackout", "This content may not be shown here now."),
    ("blackout-advice", "Choose another channel or title, or try again later."),
    ("limit-reached", "Too many devices play on this account."),
    ("limit-reached-advice", "Stop playing on another device, then start here again."),
    ("page-again", "Start the playback once more."),
    ("page-free", "Stop it there"),
    ("page-freed", "It is stopped there. You can play here: start within a minute."),
    ("page-gone", "That device has stopped already, or this page is too old. Start the playback once more."),
    ("page-incident", "If you call support, say this number:"),
    ("page-places", "These devices play now:"),
    ("page-title", "Why does it not play?"),
    ("refused", "The playback was refused."),
    ("refused-advice", "Start the app or page once more. If that does not help, call support."),
    ("session-ended", "This playback is over."),
    ("session-ended-advice", "Start the playback once more."),
    ("session-killed", "Your service has ended this playback."),
    ("session-killed-advice", "Start the playback once more. If it ends again, call support."),
    ("setup-rejected", "Your service did not allow this playback."),
    ("setup-rejected-advice", "Look whether your subscription has this title and this device, or call support."),
    ("token-refused", "The permission for this playback is missing or too old."),
    ("token-refused-advice", "Start the app or page once more, and sign in again if it asks."),
    ("unavailable", "The service cannot be reached now."),
    ("unavailable-advice", "Wait a few minutes, then start the playback once more."),
];

/// The texts of one call.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct ViewerTexts<'a> {
    /// `None` for English.
    language: Option<&'a LanguageTexts>,
}

/// Key of the text for a refusal's `error`. With `-advice` behind it, it is the key of the advice.
pub(in crate::gateway) fn key_of(error: &str) -> &'static str {
    match error {
        "blackout" => "blackout",
        "limit_reached" => "limit-reached",
        // A player asked for a playback that is gone.
        "playback_missing" | "playback_unknown" | "session_ended" | "unknown_playback" => "session-ended",
        "session_killed" => "session-killed",
        "setup_rejected" => "setup-rejected",
        "authorization_failed"
        | "origin_unavailable"
        | "overloaded"
        | "token_keys_missing"
        | "too_many_calls"
        | "too_many_listeners" => "unavailable",
        _ if error.starts_with("token_") => "token-refused",
        _ if error.starts_with("authority_") || error.starts_with("license_server_") => "unavailable",
        _ => "refused",
    }
}

pub(in crate::gateway) fn advice_of(key: &str) -> String {
    format!("{key}-advice")
}

impl<'a> ViewerTexts<'a> {
    pub(in crate::gateway) fn choose(texts: &'a ViewerTextSettings, headers: &HeaderMap) -> Self {
        Self::wished(texts, headers.get_all(ACCEPT_LANGUAGE))
    }

    /// `wished` holds the lines of `Accept-Language`.
    pub(in crate::gateway) fn wished<'h>(
        texts: &'a ViewerTextSettings,
        wished: impl IntoIterator<Item = &'h HeaderValue>,
    ) -> Self {
        let lines = wished.into_iter().filter_map(|line| line.to_str().ok());
        let found = ranges(lines).into_iter().find_map(|range| lookup(texts, range));
        Self { language: found.unwrap_or_else(|| texts.languages.get(&texts.default)) }
    }

    /// The text of the language's own table, if it has one.
    pub(in crate::gateway) fn own(&self, key: &str) -> Option<&'a str> {
        self.language?.text(key)
    }

    pub(in crate::gateway) fn text(&self, key: &str) -> &'a str {
        let english = || ENGLISH.iter().find(|(known, _)| *known == key).map_or("", |(_, text)| *text);
        self.own(key).unwrap_or_else(english)
    }

    /// The language's tag.
    pub(in crate::gateway) fn tag(&self) -> &'a str {
        self.language.map_or(BUILT_IN_LANGUAGE, |language| &language.tag)
    }
}

/// The wanted languages, best first (RFC 9110, section 12.5.4).
fn ranges<'h>(lines: impl Iterator<Item = &'h str>) -> Vec<&'h str> {
    let mut ranges: Vec<_> = lines
        .flat_map(|line| line.split(','))
        .take(MAX_RANGES)
        .filter_map(|wish| {
            let (range, weight) = wish.split_once(';').unwrap_or((wish, ""));
            let weight = weight.trim().to_ascii_lowercase();
            let weight = weight.strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
            let range = range.trim();
            (!range.is_empty() && range != "*" && weight > 0.0).then_some((range, weight))
        })
        .collect();
    ranges.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    ranges.into_iter().map(|(range, _)| range).collect()
}

/// Looks the range up, then shortens it by its last subtags (RFC 4647, section 3.4). `Some(None)` is English.
fn lookup<'a>(texts: &'a ViewerTextSettings, range: &str) -> Option<Option<&'a LanguageTexts>> {
    let lower = range.to_ascii_lowercase();
    let mut left = lower.as_str();
    loop {
        if let Some(language) = texts.languages.get(left) {
            return Some(Some(language));
        }
        if left == BUILT_IN_LANGUAGE {
            return Some(None);
        }
        left = left.rsplit_once('-')?.0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::TEXT_KEYS;
    use crate::tests::cost;

    fn texts(default: &str, tags: &[&str]) -> ViewerTextSettings {
        let language = |tag: &&str| {
            let texts = [("blackout", format!("dunkel {tag}"))].into_iter().collect();
            (tag.to_ascii_lowercase(), LanguageTexts { tag: (*tag).to_owned(), texts })
        };
        ViewerTextSettings { default: default.to_owned(), languages: tags.iter().map(language).collect() }
    }

    #[test]
    fn every_text_that_can_be_written_is_there_in_english() {
        let english: BTreeSet<_> = ENGLISH.iter().map(|(key, _)| *key).collect();
        assert_eq!(english, TEXT_KEYS.into_iter().collect());
        for error in ["blackout", "limit_reached", "authority_busy", "token_keys_missing", "token_early", "x"] {
            let key = key_of(error);
            assert!(english.contains(key) && english.contains(&*advice_of(key)), "{error}");
        }
    }

    #[test]
    fn the_players_wish_chooses_the_language() {
        let texts_of = texts("fr", &["de", "pt-BR", "fr"]);
        for (wish, tag) in [
            ("de", "de"),
            ("DE-at", "de"),
            ("de-CH-1996;q=0.1", "de"),
            ("pt-br", "pt-BR"),
            ("pt", "fr"),
            ("it, de;q=0.5", "de"),
            ("de;q=0.2, fr;q=0.9", "fr"),
            ("de;q=0, fr;q=0.1", "fr"),
            ("de;Q=0, fr;Q=0.1", "fr"),
            ("en-GB, de;q=0.9", "en"),
            ("it-IT", "fr"),
            ("*", "fr"),
            ("", "fr"),
            ("de;q=x", "fr"),
            (";;,,-", "fr"),
        ] {
            let headers = [(ACCEPT_LANGUAGE, wish.parse().unwrap())].into_iter().collect();
            assert_eq!(ViewerTexts::choose(&texts_of, &headers).tag(), tag, "{wish:?}");
        }
        let lines = ["it", "de"].map(|wish| (ACCEPT_LANGUAGE, wish.parse().unwrap()));
        assert_eq!(ViewerTexts::choose(&texts_of, &lines.into_iter().collect()).tag(), "de", "two lines are one list");
        assert_eq!(ViewerTexts::choose(&texts_of, &HeaderMap::new()).tag(), "fr");
        assert_eq!(ViewerTexts::choose(&texts("en", &["de"]), &HeaderMap::new()).tag(), "en");
    }

    #[test]
    fn a_text_that_a_language_lacks_is_english() {
        let texts = texts("de", &["de"]);
        let viewer = ViewerTexts::choose(&texts, &HeaderMap::new());
        assert_eq!((viewer.text("blackout"), viewer.text("page-title")), ("dunkel de", "Why does it not play?"));
        assert_eq!((viewer.own("blackout"), viewer.own("page-title")), (Some("dunkel de"), None));
    }

    #[test]
    fn a_wish_costs_no_more_than_its_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        let texts = texts("de", &["de", "fr-CH"]);
        for (name, part) in [
            ("wishes", "de-at;q=0.1,"),
            ("short wishes", "a,"),
            ("commas", ","),
            ("one wish of many subtags", "a-"),
            ("one wish of nothing", "-"),
            ("one long wish", "A"),
            ("weights", ";q=0.1"),
        ] {
            let choose = |bytes: &[u8]| {
                let headers = [(ACCEPT_LANGUAGE, http::HeaderValue::from_bytes(bytes).unwrap())].into_iter().collect();
                ViewerTexts::choose(&texts, &headers).tag().len()
            };
            let make = |size| cost::filled("", |_| part.to_owned(), "", size);
            cost::assert_linear(name, HEAD_BYTES, cost::SHORT, make, choose);
        }
    }
}
