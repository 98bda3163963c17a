//! Wrappings that a route is configured with, taken off and put on.
//!
//! Knows no license message: it moves bytes between raw, base64, a JSON field and a form field.
//! Where nothing is configured, `recognise` finds the message by itself and the body is forwarded
//! as it came.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use thiserror::Error;

use super::form;
use super::json::{Container, Scanner, Token};
use crate::config::Wrapping;

/// What the route says a body is and the body is not. Says nothing of the body itself.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Misfit {
    #[error("expected base64")]
    Base64,
    #[error("expected a form with the field that the route names")]
    Form,
    #[error("expected a JSON object")]
    Json,
    #[error("expected a string, or an array that begins with one, in the JSON field that the route names")]
    JsonField,
}

/// The message inside `body`. Of a JSON array the first element counts; in a form a literal `+`
/// stays one. Both base64 alphabets are read, with or without padding.
pub fn unwrap<'a>(wrapping: &Wrapping, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Misfit> {
    let text = match wrapping {
        Wrapping::Base64 => Cow::Borrowed(body.trim_ascii()),
        Wrapping::Form(field) => form_field(body, field)?,
        Wrapping::Json(field) => json_field(body, field)?,
        Wrapping::Raw => return Ok(Cow::Borrowed(body)),
    };
    base64_decode(&text).filter(|message| !message.is_empty()).map(Cow::Owned).ok_or(Misfit::Base64)
}

/// The content type that belongs to the wrapping, and the wrapped message.
pub fn wrap(wrapping: &Wrapping, message: &[u8]) -> (Option<&'static str>, Vec<u8>) {
    match wrapping {
        Wrapping::Base64 => (Some("text/plain"), STANDARD.encode(message).into_bytes()),
        Wrapping::Form(field) => {
            let name = percent_encode(field.as_bytes(), NON_ALPHANUMERIC);
            let text = STANDARD.encode(message);
            let value = percent_encode(text.as_bytes(), NON_ALPHANUMERIC);
            (Some("application/x-www-form-urlencoded"), format!("{name}={value}").into_bytes())
        }
        Wrapping::Json(field) => {
            let name = serde_json::Value::from(field.as_str());
            (Some("application/json"), format!("{{{name}:\"{}\"}}", STANDARD.encode(message)).into_bytes())
        }
        Wrapping::Raw => (Some("application/octet-stream"), message.to_vec()),
    }
}

/// Trailing bits that are not zero are let pass: some encoders leave them.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// Decodes both alphabets, also mixed, with or without padding, with line ends. `None` when
/// anything else is in the text.
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

fn form_field<'a>(body: &'a [u8], field: &str) -> Result<Cow<'a, [u8]>, Misfit> {
    let named = |name: &[u8]| percent_encoding::percent_decode(name).eq(field.bytes());
    form::pairs(body).find(|(name, _)| named(name)).map(|(_, value)| value).ok_or(Misfit::Form)
}

fn json_field<'a>(body: &'a [u8], field: &str) -> Result<Cow<'a, [u8]>, Misfit> {
    // The caller bounds the body, and so the number of its values.
    let mut scanner = Scanner::new(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body), body.len());
    let mut next = || scanner.next().map(|token| (token, scanner.depth())).map_err(|_| Misfit::Json);
    if !matches!(next()?.0, Some(Token::Open(Container::Object))) {
        return Err(Misfit::Json);
    }
    while let (Some(token), depth) = next()? {
        if depth != 1 || !matches!(token, Token::Key(key) if key.is(field)) {
            continue;
        }
        let value = match next()?.0 {
            Some(Token::Open(Container::Array)) => next()?.0,
            value => value,
        };
        let Some(Token::String(text)) = value else { break };
        return Ok(text.unescape());
    }
    Err(Misfit::JsonField)
}
