//! Recognises the ClearKey messages of the EME specification: JSON objects.
//!
//! The members `kids` and `keys` at the top level identify them. The keys themselves (`k`) are in clear, so they are
//! only checked for presence and never kept. `recognise` and `nested_messages` call [`read`] with JSON bodies.

use super::configured_wrapping::base64_decode;
use super::json::{JsonContainer, JsonScanner, JsonText, JsonToken};
use super::key_ids::KeyIds;
use super::message::{Direction, DrmMessage, DrmSystem, MessageKind};
use super::protobuf::MalformedProtobuf;

/// `Ok(None)` means well-formed JSON that is not of ClearKey.
pub(super) fn read(direction: Direction, scanner: JsonScanner<'_>) -> Result<Option<DrmMessage>, MalformedProtobuf> {
    let found = ClearKeyFields::read(scanner)?;
    let kind = match direction {
        Direction::Reply if found.keys => MessageKind::License,
        Direction::Reply if found.kids && !found.typed => MessageKind::Acknowledge,
        Direction::Request if found.kids && found.typed => MessageKind::LicenseRequest,
        Direction::Request if found.kids => MessageKind::Release,
        Direction::Reply | Direction::Request => return Ok(None),
    };
    let mut message = DrmMessage::new(DrmSystem::ClearKey, kind);
    message.content_id = found.ids.fingerprint();
    message.key_ids = found.ids;
    message.offline = found.persistent && !found.temporary;
    Ok(Some(message))
}

#[derive(Default)]
struct ClearKeyFields {
    ids: KeyIds,
    /// The reply has a key with its id.
    keys: bool,
    kids: bool,
    persistent: bool,
    /// The request has another type, perhaps beside `persistent`. Parsers differ on which of two members with one name
    /// counts.
    temporary: bool,
    typed: bool,
}

impl ClearKeyFields {
    fn read(mut scanner: JsonScanner<'_>) -> Result<Self, MalformedProtobuf> {
        let mut found = Self::default();
        let (mut top, mut inner) = (None, None);
        // True once the key object being read has shown its key and its id.
        let (mut key, mut id) = (false, false);
        while let Some(token) = scanner.next()? {
            match (scanner.depth(), token) {
                (1, JsonToken::Key(name)) => top = Some(name),
                (3, JsonToken::Key(name)) => inner = Some(name),
                (3, JsonToken::Open(JsonContainer::Object)) => (key, id) = (false, false),
                (1, JsonToken::String(text)) if named(top, "type") => {
                    found.typed = true;
                    let persistent = text.is("persistent-license");
                    found.persistent |= persistent;
                    found.temporary |= !persistent;
                }
                (2, JsonToken::String(text)) if named(top, "kids") => found.kids |= found.add(text),
                (3, JsonToken::String(_)) if named(top, "keys") && named(inner, "k") => key = true,
                (3, JsonToken::String(text)) if named(top, "keys") && named(inner, "kid") => id = found.add(text),
                _ => {}
            }
            found.keys |= key && id;
        }
        Ok(found)
    }

    /// True if this can be a key id. Old Androids write the standard alphabet, and some servers pad.
    fn add(&mut self, text: JsonText<'_>) -> bool {
        let Some(id) = base64_decode(&text.unescape()).filter(|id| !id.is_empty()) else { return false };
        self.ids.insert(&id);
        true
    }
}

fn named(key: Option<JsonText<'_>>, name: &str) -> bool {
    key.is_some_and(|key| key.is(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_offline_only_if_every_type_is_persistent() {
        for (types, offline) in [
            (r#""type":"persistent-license""#, true),
            (r#""type":"temporary""#, false),
            (r#""type":"temporary","type":"persistent-license""#, false),
            (r#""type":"persistent-license","type":"temporary""#, false),
            (r#""type":"persistent-license","ty\u0070e":"temporary""#, false),
        ] {
            let body = format!(r#"{{"kids":["AAAA"],{types}}}"#);
            let message = read(Direction::Request, JsonScanner::new(body.as_bytes())).unwrap().unwrap();
            assert_eq!((message.kind, message.offline), (MessageKind::LicenseRequest, offline), "{body}");
        }
    }

    fn kind(direction: Direction, body: &str) -> Option<MessageKind> {
        read(direction, JsonScanner::new(body.as_bytes())).unwrap().map(|message| message.kind)
    }

    #[test]
    fn shape_and_direction_decide_the_kind() {
        use Direction::{Reply, Request};
        for (direction, body, expected) in [
            (Request, r#"{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":"temporary"}"#, Some(MessageKind::LicenseRequest)),
            (Request, r#"{"type":"persistent-license","kids":["AAAA"]}"#, Some(MessageKind::LicenseRequest)),
            (Request, r#"{"kids":["AAAA"],"firstTime":1,"latestTime":2}"#, Some(MessageKind::Release)),
            (Reply, r#"{"kids":["AAAA"]}"#, Some(MessageKind::Acknowledge)),
            (Reply, r#"{"kids":["AAAA"],"type":"temporary"}"#, None),
            (Reply, r#"{"keys":[{"kty":"oct","kid":"AAAA","k":"AAAA"}]}"#, Some(MessageKind::License)),
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
