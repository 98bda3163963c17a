//! Readers of words that several tables have: an address, a label, an origin, `word:NAME`.
//!
//! Each turns a text into its type, or into an error that tells the remedy and never repeats the text, which may hold
//! a secret.

use std::net::SocketAddr;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as \"127.0.0.1:8443\" or \"[::1]:8443\"".to_owned())
}

/// A name that is also the value of a metric label.
pub(super) fn label(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if plain && (1..=64).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 64 letters, digits, \"-\", \".\" or \"_\"".to_owned())
}

/// `scheme://host` with an optional port, as browsers write it, or `null`, which packaged apps send.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, host)| host);
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']) => {
            Ok(text.to_ascii_lowercase())
        }
        _ if text == "null" => Ok(text.to_owned()),
        _ => Err("must be an origin, such as \"https://tv.example\", without a path".to_owned()),
    }
}

/// Splits `word` or `word:NAME`. A colon without a name stays in the word, which then matches none.
pub(super) fn pair(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((word, name)) if !name.is_empty() && !name.contains(char::is_whitespace) => (word, Some(name)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (text, read) in [
            ("https://TV.example", Some("https://tv.example")),
            ("http://127.0.0.1:3000", Some("http://127.0.0.1:3000")),
            ("null", Some("null")),
            ("https://tv.example/", None),
            ("https://*.example", None),
            ("tv.example", None),
            ("://tv", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(origin(text).ok().as_deref(), read, "{text}");
        }
    }
}
