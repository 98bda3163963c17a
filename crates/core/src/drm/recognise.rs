//! Finds the license message in a body.
//!
//! The first bytes decide; headers only break ties, because players mislabel. Then the search takes off wrappings in
//! any order (`nested_messages`, `encoded_text`). Of several messages the one that asks for most counts, because it is
//! unknown which one the server takes. Depth and the number of searched bytes, a multiple of the body's, are bounded. A
//! request beyond either bound, without a license request found, is `Tangled`; no player sends one.

use super::clearkey;
use super::fairplay;
use super::json::JsonScanner;
use super::message::{Direction, DrmMessage, MessageKind, UnrecognisedBody};
use super::playready;
use super::playready_envelope::Envelope;
use super::utf16;
use super::widevine;

/// JSON in JSON in a form, of base64, needs six.
const MAX_WRAPPING_DEPTH: u8 = 10;
/// Bytes that may be searched for each byte of the body, beside [`LOOKED_AT_MIN`].
const LOOKED_AT_PER_BYTE: usize = 8;
const LOOKED_AT_MIN: usize = 16 * 1024;
/// Upper limit, for a body of any size.
const LOOKED_AT_MAX: usize = 8 * 1024 * 1024;
/// A text of at least this length at the greatest depth is another wrapping, not an accident of decoding.
const TANGLED_MIN: usize = 64;
/// So many decoded bytes tell text from noise.
const TEXT_PROBE: usize = 24;
/// Bytes that may stand beside a wrapped request that needs no session: more could hide a license request.
const MAX_BYTES_BESIDE_MESSAGE: usize = 512;

/// Recognises the message in `body`. An `Err` means that nothing is known of it.
///
/// Recognition costs well under a millisecond for any body that a player sends (`benches/recognise.rs`), and allocates
/// nothing for an unwrapped Widevine or FairPlay message.
pub fn recognise(
    direction: Direction,
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    body: &[u8],
) -> Result<DrmMessage, UnrecognisedBody> {
    let encoding = content_encoding.map(str::trim).unwrap_or_default();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(UnrecognisedBody::Compressed);
    }
    let mut search = MessageSearch::new(direction, body.len());
    search.look_at_body(content_type, body);
    search.finish(body.len())
}

/// Recognises the request in `body`, or in one of the texts `beside` it (query, path, headers). Those are searched only
/// if the body holds no license request.
pub fn recognise_request<'a>(
    content_type: Option<&str>,
    body: &[u8],
    beside: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<DrmMessage, UnrecognisedBody> {
    let whole = beside.clone().fold(body.len(), |sum, text| sum.saturating_add(text.len()));
    let mut search = MessageSearch::new(Direction::Request, whole);
    search.look_at_body(content_type, body);
    for text in beside {
        search.descend(text);
    }
    search.finish(whole)
}

/// A search: its finding so far, its depth, and the bytes that it may still search.
pub(super) struct MessageSearch {
    depth: u8,
    pub(super) direction: Direction,
    found: Option<DrmMessage>,
    /// Length of the found message as it stood in its wrapping.
    found_length: usize,
    left: usize,
    tangled: bool,
}

impl MessageSearch {
    fn new(direction: Direction, length: usize) -> Self {
        let most = length.saturating_mul(LOOKED_AT_PER_BYTE).saturating_add(LOOKED_AT_MIN);
        let left = most.min(LOOKED_AT_MAX.max(length.saturating_mul(2)));
        Self { depth: 0, direction, found: None, found_length: 0, left, tangled: false }
    }

    fn finish(self, length: usize) -> Result<DrmMessage, UnrecognisedBody> {
        // An encoded message is up to half as long again.
        let beside = length.saturating_sub(self.found_length.saturating_mul(3) / 2);
        let hides = |message: &DrmMessage| {
            self.direction == Direction::Request
                && message.wrapped
                && message.needs_no_session()
                && beside > MAX_BYTES_BESIDE_MESSAGE
        };
        // The unsearched rest may ask for more than the found message.
        let tangled = self.tangled && self.direction == Direction::Request;
        match self.found {
            Some(message) if !hides(&message) && (!tangled || weight(&message) == WEIGHT_MAX) => Ok(message),
            _ if self.tangled => Err(UnrecognisedBody::Tangled),
            _ => Err(UnrecognisedBody::Unknown),
        }
    }

    fn look_at_body(&mut self, content_type: Option<&str>, body: &[u8]) {
        self.look(content_type, body);
        if !self.is_done() {
            self.peel_head(body);
        }
    }

    fn look(&mut self, content_type: Option<&str>, bytes: &[u8]) {
        if self.look_at_bare(bytes) {
            return;
        }
        if let Some(narrow) = narrow(bytes) {
            self.descend(&narrow);
        }
        self.look_at_letters(bytes);
        if !self.is_done() {
            self.peel_multipart(content_type, bytes);
        }
    }

    fn look_at_letters(&mut self, bytes: &[u8]) {
        if let Some(text) = utf16::transcode(bytes) {
            self.look_at_text(trim(text.as_bytes()));
        } else if self.depth == 0 || is_text(bytes) {
            self.look_at_text(trim(bytes));
        }
    }

    /// Reads messages that are no text. True when it is one.
    fn look_at_bare(&mut self, bytes: &[u8]) -> bool {
        let message = match bytes {
            [0x00, ..] => fairplay::read(self.direction, bytes),
            _ if bytes.starts_with(fairplay::RELEASE) => fairplay::release(self.direction),
            // Widevine fields may come in any order, so the first byte tells little.
            _ => widevine::read(self.direction, bytes).ok(),
        };
        let provisioning = || matches!(bytes, [0x0a, ..]).then(|| widevine::provisioning(bytes).ok()).flatten();
        match message.or_else(provisioning) {
            Some(message) => self.note(message, bytes.len()),
            None => return false,
        }
        true
    }

    /// Searches unwrapped bytes, one level deeper.
    pub(super) fn descend(&mut self, inner: &[u8]) {
        self.descend_as(None, inner);
    }

    /// Searches unwrapped bytes whose wrapping names their type.
    pub(super) fn descend_as(&mut self, content_type: Option<&str>, inner: &[u8]) {
        if inner.is_empty() || self.is_done() {
            return;
        }
        if !self.spend(inner.len()) {
            return;
        }
        if self.depth == MAX_WRAPPING_DEPTH {
            let may_wrap = || is_text(inner) || utf16::transcode(inner).is_some();
            self.tangled |= !self.look_at_bare(inner) && inner.len() >= TANGLED_MIN && may_wrap();
            return;
        }
        self.depth += 1;
        self.look(content_type, inner);
        self.depth -= 1;
    }

    /// False when the search may not look at so many more bytes.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.tangled |= left.is_none();
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    fn look_at_text(&mut self, text: &[u8]) {
        match text {
            [b'<', ..] => {
                if let Ok(text) = std::str::from_utf8(text) {
                    self.look_at_xml(text);
                }
            }
            [b'{' | b'[', ..] => {
                if let Ok(Some(message)) = clearkey::read(self.direction, JsonScanner::new(text)) {
                    self.note(message, text.len());
                }
            }
            _ => {}
        }
        if !self.is_done() {
            self.peel(text);
        }
    }

    fn look_at_xml(&mut self, text: &str) {
        match Envelope::read(text) {
            Some(envelope) => {
                envelope.challenges.iter().for_each(|challenge| self.look_through(challenge));
                if let Some(message) = envelope.alone(self.direction).filter(|_| self.found.is_none()) {
                    self.note(message, text.len());
                }
            }
            None => {
                if let Some(message) = playready::read(self.direction, text) {
                    self.note(message, text.len());
                }
            }
        }
    }

    /// Searches the CDM's own envelope, which does not count as wrapped by an app.
    fn look_through(&mut self, inner: &[u8]) {
        if let Ok(text) = std::str::from_utf8(inner)
            && let Some(message) = playready::read(self.direction, text)
        {
            return self.note(message, text.len());
        }
        if let Some(text) = utf16::transcode(inner)
            && let Some(message) = playready::read(self.direction, &text)
        {
            return self.note(message, text.len());
        }
        self.descend(inner);
    }

    /// Of several messages keeps the one that asks for most, and of equal ones the first.
    pub(super) fn note(&mut self, mut message: DrmMessage, length: usize) {
        message.wrapped |= self.depth > 0;
        if self.found.as_ref().is_none_or(|found| weight(&message) > weight(found)) {
            self.found = Some(message);
            self.found_length = length;
        }
    }

    pub(super) fn found_mut(&mut self) -> Option<&mut DrmMessage> {
        self.found.as_mut()
    }

    /// True if no later message could count for more.
    pub(super) fn is_done(&self) -> bool {
        self.found.as_ref().is_some_and(|found| weight(found) == WEIGHT_MAX)
    }
}

const WEIGHT_MAX: u8 = 6;

/// Ranks a message by what it asks for or gives.
pub(super) fn weight(message: &DrmMessage) -> u8 {
    match message.kind {
        MessageKind::License => WEIGHT_MAX,
        MessageKind::LicenseRequest if !message.offline => WEIGHT_MAX,
        MessageKind::LicenseRequest => 5,
        MessageKind::Renewal => 4,
        MessageKind::Error | MessageKind::Release => 3,
        MessageKind::Acknowledge | MessageKind::Other => 2,
        MessageKind::Certificate | MessageKind::CertificateRequest => 1,
        MessageKind::Provisioning => 0,
    }
}

/// True if decoded bytes may be text and not noise.
fn is_text(bytes: &[u8]) -> bool {
    let probe = bytes.get(..TEXT_PROBE).unwrap_or(bytes);
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let valid = match std::str::from_utf8(probe) {
        Ok(_) => true,
        // The probe ends inside a character.
        Err(error) => error.error_len().is_none(),
    };
    valid && !probe.iter().any(control)
}

/// Converts each character of a text to one byte, to undo how scripts turn bytes into strings.
pub(super) fn narrow(text: &[u8]) -> Option<Vec<u8>> {
    let begins = text.first().is_some_and(|byte| *byte < b' ');
    let wide = || text.iter().any(|byte| *byte >= 0x80);
    if !begins || !wide() {
        return None;
    }
    std::str::from_utf8(text).ok()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// Removes a byte order mark, and white space around the text.
fn trim(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_no_text() {
        for (bytes, text) in [
            (&b"{\"a\":1}"[..], true),
            (b"\r\n\t<a>", true),
            ("é".as_bytes(), true),
            ("aé".as_bytes().get(..2).unwrap_or_default(), true),
            (b"a\xffb", false),
            (b"a\0b", false),
            (b"\x1b", false),
        ] {
            assert_eq!(is_text(bytes), text, "{bytes:02x?}");
        }
    }
}
