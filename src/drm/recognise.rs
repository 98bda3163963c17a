//! The decision procedure: from a body to the message in it.
//!
//! The first bytes decide; headers only break ties, because players mislabel. The order is safe:
//! `{`, `<`, letters and byte order marks are all illegal as a first protobuf tag, and so is the
//! zero of FairPlay. Every step is bounded in depth, in bytes and in nodes. `peel` takes the
//! wrappings off; the readers of each system stand in their own files.

use super::clearkey;
use super::fairplay;
use super::form;
use super::json::Scanner;
use super::message::{Direction, Message, Unrecognised};
use super::playready;
use super::playready_envelope::Envelope;
use super::utf16;
use super::widevine;
use super::wrap::base64_decode;

/// What all wrappings of one body may decode to, together and for each byte of it.
const DECODED_PER_BYTE: usize = 2;
/// Wrappings inside each other.
const PEELS_MAX: u8 = 3;
/// Values in one JSON body.
pub(super) const NODES_MAX: usize = 256;
const SPACE_MAX: usize = 64;

/// What `body` is. Never alters, delays or refuses anything: an `Err` means that nothing is known.
///
/// Costs well under a millisecond for any body (`benches/recognise.rs`), and allocates nothing for an
/// unwrapped Widevine or FairPlay message.
pub fn recognise(
    direction: Direction,
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    body: &[u8],
) -> Result<Message, Unrecognised> {
    let encoding = content_encoding.map(str::trim).unwrap_or_default();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(Unrecognised::Compressed);
    }
    let form = content_type.is_some_and(form::is_content_type);
    let mut search = Search { budget: body.len().saturating_mul(DECODED_PER_BYTE), direction, form, peels: 0 };
    search.look(body).ok_or(Unrecognised::Unknown)
}

/// One body's search: how deep it is, and what it may still spend.
pub(super) struct Search {
    budget: usize,
    pub(super) direction: Direction,
    /// The content type says form.
    form: bool,
    peels: u8,
}

impl Search {
    fn look(&mut self, body: &[u8]) -> Option<Message> {
        match body {
            [0x00, ..] => return fairplay::read(self.direction, body),
            [0x08 | 0x12, ..] => return widevine::read(self.direction, body).ok(),
            // Also a line feed before text.
            [0x0a, ..] if let Ok(message) = widevine::provisioning(body) => return Some(message),
            _ if body.starts_with(fairplay::RELEASE) => return fairplay::release(self.direction),
            _ => {}
        }
        if let Some(text) = utf16::transcode(body) {
            return self.descend(text.as_bytes());
        }
        self.look_at_text(trim(body))
    }

    /// Looks at what was inside the body, one level deeper.
    pub(super) fn descend(&mut self, inner: &[u8]) -> Option<Message> {
        self.budget = self.budget.checked_sub(inner.len())?;
        if self.peels == PEELS_MAX {
            return None;
        }
        self.peels += 1;
        let found = self.look(inner);
        self.peels -= 1;
        found
    }

    fn look_at_text(&mut self, text: &[u8]) -> Option<Message> {
        match text {
            [b'<', ..] => self.look_at_xml(std::str::from_utf8(text).ok()?),
            [b'{' | b'[', ..] => match clearkey::read(self.direction, Scanner::new(text, NODES_MAX)).ok()? {
                None => self.peel_json(text),
                found => found,
            },
            _ => self.peel_base64(text).or_else(|| {
                let form = (self.form && self.peels == 0) || form::is_likely(text);
                if form { self.peel_form(text) } else { None }
            }),
        }
    }

    fn look_at_xml(&mut self, text: &str) -> Option<Message> {
        if let Some(ckc) = text.strip_prefix("<ckc>") {
            return self.peel_base64(ckc.trim_end().strip_suffix("</ckc>")?.trim().as_bytes());
        }
        let Some(envelope) = Envelope::read(text) else { return playready::read(self.direction, text) };
        let inside = envelope.challenge.as_ref().and_then(|challenge| self.descend(challenge));
        inside.or_else(|| envelope.alone(self.direction))
    }

    pub(super) fn peel_base64(&mut self, text: &[u8]) -> Option<Message> {
        let mut message = self.descend(&base64_decode(text)?)?;
        message.wrapped = true;
        Some(message)
    }
}

/// Without a byte order mark, and without the white space around the text.
fn trim(body: &[u8]) -> &[u8] {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let space = body.iter().take(SPACE_MAX).take_while(|byte| byte.is_ascii_whitespace()).count();
    body.get(space..).unwrap_or_default().trim_ascii_end()
}
