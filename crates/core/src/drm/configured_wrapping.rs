//! Removes and adds the wrapping that a route is configured with.
//!
//! This module knows no license message: it moves bytes between raw, base64, a JSON field and a form field. Without a
//! configured wrapping, `recognise` finds the message by itself, and the body is forwarded unchanged.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use thiserror::Error;

use super::form;
use super::json::{JsonContainer, JsonScanner, JsonToken};

/// A wrapping of a body, as `[route.body]` names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BodyWrapping {
    Base64,
    /// `form:FIELD`
    Form(String),
    /// `json:FIELD`
    Json(String),
    Raw,
}

/// The body is not what the route says. The fault shows nothing of the body.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum WrappingMisfit {
    #[error("expected base64")]
    Base64,
    #[error("expected a form with the field that the route names")]
    Form,
    #[error("expected a JSON object")]
    Json,
    #[error("expected a string, or an array that begins with one, in the JSON field that the route names")]
    JsonField,
}

/// Takes the message out of `body`. In a JSON array the first element counts; in a form a literal `+` stays one. Both
/// base64 alphabets are accepted, with or without padding.
pub fn unwrap<'a>(wrapping: &BodyWrapping, body: &'a [u8]) -> Result<Cow<'a, [u8]>, WrappingMisfit> {
    let text = match wrapping {
        BodyWrapping::Base64 => Cow::Borrowed(body.trim_ascii()),
        BodyWrapping::Form(field) => form_field(body, field)?,
        BodyWrapping::Json(field) => json_field(body, field)?,
        BodyWrapping::Raw => return Ok(Cow::Borrowed(body)),
    };
    base64_decode(&text).filter(|message| !message.is_empty()).map(Cow::Owned).ok_or(WrappingMisfit::Base64)
}

/// Returns the content type of the wrapping, and the wrapped message.
pub fn wrap(wrapping: &BodyWrapping, message: &[u8]) -> (Option<&'static str>, Vec<u8>) {
    match wrapping {
        BodyWrapping::Base64 => (Some("text/plain"), STANDARD.encode(message).into_bytes()),
        BodyWrapping::Form(field) => {
            let name = percent_encode(field.as_bytes(), NON_ALPHANUMERIC);
            let text = STANDARD.encode(message);
            let value = percent_encode(text.as_bytes(), NON_ALPHANUMERIC);
            (Some("application/x-www-form-urlencoded"), format!("{name}={value}").into_bytes())
        }
        BodyWrapping::Json(field) => {
            let name = serde_json::Value::from(field.as_str());
            (Some("application/json"), format!("{{{name}:\"{}\"}}", STANDARD.encode(message)).into_bytes())
        }
        BodyWrapping::Raw => (Some("application/octet-stream"), message.to_vec()),
    }
}

/// Accepts trailing bits that are not zero, because some encoders leave them.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// Decodes both alphabets, also mixed, with or without padding, with line ends. Any other character makes it `None`.
pub fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let is_foreign = |byte: &u8| matches!(byte, b'-' | b'_' | b'\r' | b'\n');
    if text.iter().any(is_foreign) {
        let plain = text.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
        let plain: Vec<u8> = plain
            .map(|byte| {
                if *byte == b'-' {
                    b'+'
                } else if *byte == b'_' {
                    b'/'
                } else {
                    *byte
                }
            })
            .collect();
        return TOLERANT.decode(unpad(&plain)).ok();
    }
    TOLERANT.decode(unpad(text)).ok()
}

fn unpad(text: &[u8]) -> &[u8] {
    let once = text.strip_suffix(b"=").unwrap_or(text);
    once.strip_suffix(b"=").unwrap_or(once)
}

fn form_field<'a>(body: &'a [u8], field: &str) -> Result<Cow<'a, [u8]>, WrappingMisfit> {
    let named = |name: &[u8]| percent_encoding::percent_decode(name).eq(field.bytes());
    form::pairs(body).find(|(name, _)| named(name)).map(|(_, value)| value).ok_or(WrappingMisfit::Form)
}

fn json_field<'a>(body: &'a [u8], field: &str) -> Result<Cow<'a, [u8]>, WrappingMisfit> {
    let mut scanner = JsonScanner::new(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let mut next = || scanner.next().map(|token| (token, scanner.depth())).map_err(|_| WrappingMisfit::Json);
    if !matches!(next()?.0, Some(JsonToken::Open(JsonContainer::Object))) {
        return Err(WrappingMisfit::Json);
    }
    while let (Some(token), depth) = next()? {
        if depth != 1 || !matches!(token, JsonToken::Key(key) if key.is(field)) {
            continue;
        }
        let value = match next()?.0 {
            Some(JsonToken::Open(JsonContainer::Array)) => next()?.0,
            value => value,
        };
        let Some(JsonToken::String(text)) = value else { break };
        return Ok(text.unescape());
    }
    Err(WrappingMisfit::JsonField)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(field: &str) -> BodyWrapping {
        BodyWrapping::Json(field.to_owned())
    }

    fn form(field: &str) -> BodyWrapping {
        BodyWrapping::Form(field.to_owned())
    }

    #[test]
    fn bodies_are_unwrapped() {
        for (wrapping, body, message) in [
            (BodyWrapping::Raw, &b"\x08\x04"[..], Ok(&b"\x08\x04"[..])),
            (BodyWrapping::Raw, b"", Ok(b"")),
            (BodyWrapping::Base64, b" CAQ=\r\n", Ok(b"\x08\x04")),
            (BodyWrapping::Base64, b"CAQ", Ok(b"\x08\x04")),
            (BodyWrapping::Base64, b"", Err(WrappingMisfit::Base64)),
            (BodyWrapping::Base64, b"CA Q=", Err(WrappingMisfit::Base64)),
            (json("m"), br#"{"x":[{"m":"AAAA"}],"m":"CAQ="}"#, Ok(b"\x08\x04")),
            (json("m"), br#"{"m":["\/\/8","AAAA"]}"#, Ok(b"\xff\xff")),
            (json("m"), b"\xef\xbb\xbf{\"m\":\"__8=\"}", Ok(b"\xff\xff")),
            (json("m"), br#"{"n":"CAQ="}"#, Err(WrappingMisfit::JsonField)),
            (json("m"), br#"{"m":{"m":"CAQ="}}"#, Err(WrappingMisfit::JsonField)),
            (json("m"), br#"{"m":[]}"#, Err(WrappingMisfit::JsonField)),
            (json("m"), br#"{"m":null}"#, Err(WrappingMisfit::JsonField)),
            (json("m"), br#"{"m":"!"}"#, Err(WrappingMisfit::Base64)),
            (json("m"), br#"["m"]"#, Err(WrappingMisfit::Json)),
            (json("m"), b"<xml>", Err(WrappingMisfit::Json)),
            (json("m"), b"", Err(WrappingMisfit::Json)),
            (form("spc"), b"a=1&spc=+/+/&b", Ok(b"\xfb\xff\xbf")),
            (form("spc"), b"s%70c=%2B%2f%2B%2F", Ok(b"\xfb\xff\xbf")),
            (form("spc"), b"SPC=CAQ=", Err(WrappingMisfit::Form)),
            (form("spc"), b"spc=", Err(WrappingMisfit::Base64)),
        ] {
            assert_eq!(unwrap(&wrapping, body).as_deref(), message.as_ref().map(|m| *m), "{wrapping:?} {body:?}");
        }
    }

    #[test]
    fn messages_are_wrapped() {
        let message = b"\xfb\xff\xbf\x04";
        for (wrapping, content_type, body) in [
            (BodyWrapping::Raw, "application/octet-stream", &message[..]),
            (BodyWrapping::Base64, "text/plain", b"+/+/BA=="),
            (json("a\"b"), "application/json", br#"{"a\"b":"+/+/BA=="}"#),
            (form("a b"), "application/x-www-form-urlencoded", b"a%20b=%2B%2F%2B%2FBA%3D%3D"),
        ] {
            assert_eq!(wrap(&wrapping, message), (Some(content_type), body.to_vec()), "{wrapping:?}");
        }
    }

    #[test]
    fn base64_is_read_tolerantly_but_wholly() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("_-8", Some(b"\xff\xef")),
            ("/+8=", Some(b"\xff\xef")),
            ("_+8=", Some(b"\xff\xef")),
            ("AA\r\nAA", Some(b"\0\0\0")),
            ("AB==", Some(b"\0")),
            ("A", None),
            ("AAAAA", None),
            ("AA=A", None),
            ("====", None),
            ("AA A", None),
            ("spc=AAAA", None),
        ] {
            assert_eq!(base64_decode(text.as_bytes()).as_deref(), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_wrapped_message_unwraps_to_itself(
            message in prop::collection::vec(any::<u8>(), 1..200),
            field in "[ -~é]{1,12}",
        ) {
            for wrapping in [BodyWrapping::Raw, BodyWrapping::Base64, json(&field), form(&field)] {
                let (_, body) = wrap(&wrapping, &message);
                prop_assert_eq!(&*unwrap(&wrapping, &body).unwrap(), &message[..]);
            }
        }

        #[test]
        fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for wrapping in [BodyWrapping::Raw, BodyWrapping::Base64, json("a"), form("a")] {
                let _ = unwrap(&wrapping, &body);
            }
        }
    }
}
