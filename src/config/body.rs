//! `[route.body]`: how bodies are wrapped on either side of us.

use super::section::Section;
use super::words::pair;

/// How bodies are wrapped on either side of us; equal on both sides means untouched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrappings {
    pub player_reply: Wrapping,
    pub player_request: Wrapping,
    pub server_reply: Wrapping,
    pub server_request: Wrapping,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wrapping {
    Base64,
    /// `form:FIELD`
    Form(String),
    /// `json:FIELD`
    Json(String),
    Raw,
}

/// What is not said is as on the other side, so that one word describes a head-end that wraps.
pub(super) fn wrappings(table: &Section<'_>) -> Wrappings {
    let wrapping = |key: &str| table.word(key, wrapping);
    let player_request = wrapping("player").unwrap_or(Wrapping::Raw);
    let server_request = wrapping("server").unwrap_or_else(|| player_request.clone());
    Wrappings {
        player_reply: wrapping("player-reply").unwrap_or_else(|| player_request.clone()),
        server_reply: wrapping("server-reply").unwrap_or_else(|| server_request.clone()),
        player_request,
        server_request,
    }
}

pub(super) fn wrapping(text: &str) -> Result<Wrapping, String> {
    match pair(text) {
        ("base64", None) => Ok(Wrapping::Base64),
        ("form", Some(field)) => Ok(Wrapping::Form(field.to_owned())),
        ("json", Some(field)) => Ok(Wrapping::Json(field.to_owned())),
        ("raw", None) => Ok(Wrapping::Raw),
        _ => Err("must be raw, base64, json:FIELD or form:FIELD".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappings_are_read() {
        for (text, word) in [
            ("base64", Some(Wrapping::Base64)),
            ("form:body", Some(Wrapping::Form("body".into()))),
            ("json:challenge", Some(Wrapping::Json("challenge".into()))),
            ("raw", Some(Wrapping::Raw)),
            ("json", None),
            ("Raw", None),
        ] {
            assert_eq!(wrapping(text).ok(), word, "{text}");
        }
    }
}
