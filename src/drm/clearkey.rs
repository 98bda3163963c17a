//! ClearKey: the JSON messages of the EME specification.
//!
//! Told by `kids` or `keys` at the top level. The keys themselves (`k`) are in clear here: they are
//! looked at for being there, and never kept. Called by `recognise` with JSON bodies.

use super::json::{Container, Scanner, Text, Token};
use super::key_ids::KeyIds;
use super::message::{Direction, Kind, Message, System};
use super::protobuf::Malformed;
use super::wrap::base64_decode;

/// `Ok(None)`: well-formed JSON, but not of ClearKey.
pub(super) fn read(direction: Direction, scanner: Scanner<'_>) -> Result<Option<Message>, Malformed> {
    let found = Found::read(scanner)?;
    let kind = match direction {
        Direction::Reply if found.keys => Kind::License,
        Direction::Reply if found.kids && !found.typed => Kind::Acknowledge,
        Direction::Request if found.kids && found.typed => Kind::LicenseRequest,
        Direction::Request if found.kids => Kind::Release,
        Direction::Reply | Direction::Request => return Ok(None),
    };
    let mut message = Message::new(System::ClearKey, kind);
    message.content_id = found.ids.fingerprint();
    message.key_ids = found.ids;
    message.offline = found.persistent && !found.temporary;
    Ok(Some(message))
}

#[derive(Default)]
struct Found {
    ids: KeyIds,
    /// A key with its id.
    keys: bool,
    kids: bool,
    persistent: bool,
    /// Of any other type, perhaps beside `persistent`: which of two fields of one name counts is each parser's choice.
    temporary: bool,
    typed: bool,
}

impl Found {
    fn read(mut scanner: Scanner<'_>) -> Result<Self, Malformed> {
        let mut found = Self::default();
        let (mut top, mut inner) = (None, None);
        // Whether the key object being read has shown its key, and its id.
        let (mut key, mut id) = (false, false);
        while let Some(token) = scanner.next()? {
            match (scanner.depth(), token) {
                (1, Token::Key(name)) => top = Some(name),
                (3, Token::Key(name)) => inner = Some(name),
                (3, Token::Open(Container::Object)) => (key, id) = (false, false),
                (1, Token::String(text)) if named(top, "type") => {
                    found.typed = true;
                    let persistent = text.is("persistent-license");
                    found.persistent |= persistent;
                    found.temporary |= !persistent;
                }
                (2, Token::String(text)) if named(top, "kids") => found.kids |= found.add(text),
                (3, Token::String(_)) if named(top, "keys") && named(inner, "k") => key = true,
                (3, Token::String(text)) if named(top, "keys") && named(inner, "kid") => id = found.add(text),
                _ => {}
            }
            found.keys |= key && id;
        }
        Ok(found)
    }

    /// Whether this can be a key id. Old Androids wrote the standard alphabet, some servers pad.
    fn add(&mut self, text: Text<'_>) -> bool {
        let Some(id) = base64_decode(&text.unescape()).filter(|id| !id.is_empty()) else { return false };
        self.ids.insert(&id);
        true
    }
}

fn named(key: Option<Text<'_>>, name: &str) -> bool {
    key.is_some_and(|key| key.is(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_to_keep_is_one_whichever_of_its_types_counts() {
        for (types, offline) in [
            (r#""type":"persistent-license""#, true),
            (r#""type":"temporary""#, false),
            (r#""type":"temporary","type":"persistent-license""#, false),
            (r#""type":"persistent-license","type":"temporary""#, false),
            (r#""type":"persistent-license","ty\u0070e":"temporary""#, false),
        ] {
            let body = format!(r#"{{"kids":["AAAA"],{types}}}"#);
            let message = read(Direction::Request, Scanner::new(body.as_bytes())).unwrap().unwrap();
            assert_eq!((message.kind, message.offline), (Kind::LicenseRequest, offline), "{body}");
        }
    }

    fn kind(direction: Direction, body: &str) -> Option<Kind> {
        read(direction, Scanner::new(body.as_bytes())).unwrap().map(|message| message.kind)
    }

    #[test]
    fn shape_and_direction_decide() {
        use Direction::{Reply, Request};
        for (direction, body, expected) in [
            (Request, r#"{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":"temporary"}"#, Some(Kind::LicenseRequest)),
            (Request, r#"{"type":"persistent-license","kids":["AAAA"]}"#, Some(Kind::LicenseRequest)),
            (Request, r#"{"kids":["AAAA"],"firstTime":1,"latestTime":2}"#, Some(Kind::Release)),
            (Reply, r#"{"kids":["AAAA"]}"#, Some(Kind::Acknowledge)),
            (Reply, r#"{"kids":["AAAA"],"type":"temporary"}"#, None),
            (Reply, r#"{"keys":[{"kty":"oct","kid":"AAAA","k":"AAAA"}]}"#, Some(Kind::License)),
            (Reply, r#"{"keys":[{"kty":"oct","kid":"AAAA"},{"k":"AAAA"}]}"#, None),
            (Request, r#"{"keys":[{"kty":"oct","kid":"AAAA","k":"AAAA"}]}"#, None),
            (Reply, r#"{"keys":[]}"#, None),
            (Request, r#"{"kids":[],"type":"temporary"}"#, None),
            (Request, r#"{"kids":["!?%"],"type":"temporary"}"#, None),
            (Request, r#"{"a":{"kids":["AAAA"]}}"#, None),
            (Request, r#"[["AAAA"]]"#, None),
        ] {
            assert_eq!(kind(direction, body), expected, "{direction:?} {body}");
        }
    }
}
