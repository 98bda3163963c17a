//! `[route.body]`: how bodies are wrapped on either side of us.

use super::table_reader::TableReader;
use super::words::pair;
use crate::drm::configured_wrapping::BodyWrapping;

/// Wrappings of bodies on either side of the proxy. A body stays untouched where both sides are equal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BodyWrappings {
    pub player_reply: BodyWrapping,
    pub player_request: BodyWrapping,
    pub server_reply: BodyWrapping,
    pub server_request: BodyWrapping,
}

/// A missing key takes the wrapping of the other side, so that one word describes a head-end that wraps.
pub(super) fn wrappings(table: &TableReader<'_>) -> BodyWrappings {
    let wrapping = |key: &str| table.word(key, wrapping);
    let player_request = wrapping("player").unwrap_or(BodyWrapping::Raw);
    let server_request = wrapping("server").unwrap_or_else(|| player_request.clone());
    BodyWrappings {
        player_reply: wrapping("player-reply").unwrap_or_else(|| player_request.clone()),
        server_reply: wrapping("server-reply").unwrap_or_else(|| server_request.clone()),
        player_request,
        server_request,
    }
}

pub(super) fn wrapping(text: &str) -> Result<BodyWrapping, String> {
    match pair(text) {
        ("base64", None) => Ok(BodyWrapping::Base64),
        ("form", Some(field)) => Ok(BodyWrapping::Form(field.to_owned())),
        ("json", Some(field)) => Ok(BodyWrapping::Json(field.to_owned())),
        ("raw", None) => Ok(BodyWrapping::Raw),
        _ => Err("must be raw, base64, json:FIELD or form:FIELD".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappings_are_read() {
        for (text, word) in [
            ("base64", Some(BodyWrapping::Base64)),
            ("form:body", Some(BodyWrapping::Form("body".into()))),
            ("json:challenge", Some(BodyWrapping::Json("challenge".into()))),
            ("raw", Some(BodyWrapping::Raw)),
            ("json", None),
            ("Raw", None),
        ] {
            assert_eq!(wrapping(text).ok(), word, "{text}");
        }
    }
}
