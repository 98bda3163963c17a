//! Unwraps a text: looks at each part that may hold a message, one level deeper.
//!
//! The search is lenient, because a server may read a text that a strict parser refuses. So a text is split wherever a
//! quote, a tag, a field or a part ends, and no grammar has to hold as a whole. Each byte goes into few pieces, so a
//! level costs time linear in its bytes. FairPlay messages show no content; the names beside them do
//! (`fairplay_hints`). `recognise` calls this for each text.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2, memmem};
use percent_encoding::percent_decode;

use super::clearkey;
use super::encoded_text;
use super::fairplay_hints::FairPlayHints;
use super::json::{JsonScanner, JsonText};
use super::message::{Direction, DrmMessage, DrmSystem};
use super::playready;
use super::recognise::MessageSearch;

/// Longest head before a message, in bytes.
const MAX_WRAPPED_HEAD_BYTES: usize = 4096;
/// Limit of RFC 2046, section 5.1.1.
const MAX_MULTIPART_BOUNDARY_BYTES: usize = 70;
/// Longest head of a PlayReady element before its name: `<prefix:Envelope`.
const MAX_PREFIX_BYTES: usize = 64;

impl MessageSearch {
    /// Looks into all wrappings of this text.
    pub(super) fn peel(&mut self, text: &[u8]) {
        let before = self.found_mut().is_some();
        self.peel_pieces(text);
        if !before && let Some(found) = self.found_mut().filter(|found| found.system == DrmSystem::FairPlay) {
            FairPlayHints::of(text).tell(found);
        }
    }

    fn peel_pieces(&mut self, text: &[u8]) {
        encoded_text::number_lists(text, |bytes| self.descend(bytes));
        if let Some(bytes) = encoded_text::hex_text(text) {
            self.descend(&bytes);
        }
        self.peel_markup(text);
        self.peel_objects(text);
        self.peel_strings(text);
        self.peel_escapes(text);
    }

    /// Looks at each quoted text, unescaped, and at the text between the quotes.
    fn peel_strings(&mut self, text: &[u8]) {
        let mut outside = 0;
        while let Some(open) = find_from(text, outside, b'"') {
            self.peel_runs(text.get(outside..open).unwrap_or_default());
            let close = closing_quote(text, open + 1);
            let inner = text.get(open + 1..close).unwrap_or_default();
            let plain = JsonText::new(inner).unescape();
            self.descend(&plain);
            outside = close + 1;
        }
        self.peel_runs(text.get(outside..).unwrap_or_default());
    }

    /// Looks at base64 and hexadecimal digits between separators.
    fn peel_runs(&mut self, text: &[u8]) {
        for run in encoded_text::split(text) {
            encoded_text::decode(run, |bytes| self.descend(bytes));
        }
    }

    /// Looks at percent-encoded values: of forms, of data URLs, of whole bodies.
    fn peel_escapes(&mut self, text: &[u8]) {
        if memchr(b'%', text).is_none() {
            return;
        }
        for pair in text.split(|byte| *byte == b'&') {
            let value = memchr(b'=', pair).and_then(|equals| pair.get(equals + 1..)).unwrap_or(pair);
            self.peel_escaped(value.trim_ascii());
            // A data URL has its parameters before a comma.
            if let Some(data) = memchr(b',', value).and_then(|comma| value.get(comma + 1..)) {
                self.peel_escaped(data);
            }
        }
    }

    fn peel_escaped(&mut self, value: &[u8]) {
        let decoded: Cow<'_, [u8]> = percent_decode(value).into();
        let Cow::Owned(decoded) = decoded else { return };
        let markup = matches!(decoded.trim_ascii_start(), [b'<' | b'{' | b'[', ..]);
        if markup && memchr(b'+', value).is_some() {
            // Forms write a space as `+`; base64 is often posted with a literal `+`.
            let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            self.descend(&percent_decode(&spaced).collect::<Vec<u8>>());
        }
        self.descend(&decoded);
    }

    /// Looks at text between tags that references or sections hide, and for a PlayReady message among other markup.
    fn peel_markup(&mut self, text: &[u8]) {
        if memchr(b'<', text).is_none() && memchr(b'&', text).is_none() {
            return;
        }
        for piece in text.split(|byte| matches!(byte, b'<' | b'>')) {
            self.peel_references(piece);
        }
        // Text between tags may hold a `>` that ends no tag.
        for piece in text.split(|byte| *byte == b'<') {
            let data = memchr(b'>', piece).and_then(|end| piece.get(end + 1..)).unwrap_or_default();
            if memchr(b'>', data).is_some() {
                self.peel_references(data);
            }
        }
        let mut rest = text;
        while let Some(start) = memmem::find(rest, b"<![CDATA[") {
            rest = rest.get(start + 9..).unwrap_or_default();
            let end = memmem::find(rest, b"]]>").unwrap_or(rest.len());
            self.descend(rest.get(..end).unwrap_or_default());
            rest = rest.get(end..).unwrap_or_default();
        }
        if let Some(inner) = envelope_in(text).filter(|inner| inner.len() < text.len())
            && let Ok(inner) = std::str::from_utf8(inner)
            && let Some(message) = playready::read(self.direction, inner)
        {
            self.note_wrapped(message, inner.len());
        }
    }

    fn peel_references(&mut self, piece: &[u8]) {
        if memchr(b'&', piece).is_some()
            && let Some(plain) = encoded_text::without_references(piece)
        {
            self.descend(&plain);
        }
    }

    /// Looks for ClearKey messages among other JSON: each object that has their keys or key ids.
    fn peel_objects(&mut self, text: &[u8]) {
        self.peel_objects_with(text, b"\"kids\"", 1);
        if self.direction == Direction::Reply {
            // The name stands in an object of the list that the message holds.
            self.peel_objects_with(text, b"\"k\"", 2);
        }
    }

    /// `levels`: number of objects around the name, up to the message.
    fn peel_objects_with(&mut self, text: &[u8], name: &[u8], levels: usize) {
        for at in memmem::find_iter(text, name) {
            if self.is_done() {
                return;
            }
            let open = (0..levels).try_fold(at, |at, _| object_around(text, at));
            // Without an object around it, the whole text before it was searched.
            if !self.spend(at - open.unwrap_or_default()) {
                return;
            }
            let Some(object) = open.and_then(|open| text.get(object_at(text, open))) else { continue };
            if !self.spend(object.len()) {
                return;
            }
            if object.len() < text.len()
                && let Ok(Some(message)) = clearkey::read(self.direction, JsonScanner::new(object))
            {
                self.note_wrapped(message, object.len());
            }
        }
    }

    /// Looks behind an HTTP-like head: old license proxies put one before the license (`GLS/1.0 0 OK`).
    pub(super) fn peel_head(&mut self, body: &[u8]) {
        let start = body.get(..MAX_WRAPPED_HEAD_BYTES).unwrap_or(body);
        let is_head = start.first().is_some_and(u8::is_ascii_alphabetic);
        if let Some(begins) = behind_head(start).filter(|_| is_head) {
            self.descend(body.get(begins..).unwrap_or_default());
        }
    }

    fn note_wrapped(&mut self, message: DrmMessage, length: usize) {
        self.note(DrmMessage { wrapped: true, ..message }, length);
    }

    /// Looks at the parts of a multipart body, whose values may be binary.
    pub(super) fn peel_multipart(&mut self, content_type: Option<&str>, body: &[u8]) {
        let said = content_type.and_then(boundary_of);
        let shown = body.strip_prefix(b"--").map(|rest| {
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            rest.get(..end).unwrap_or_default().trim_ascii_end()
        });
        let boundaries = [said, shown].into_iter().flatten();
        for boundary in boundaries.filter(|boundary| (1..=MAX_MULTIPART_BOUNDARY_BYTES).contains(&boundary.len())) {
            let delimiter = [b"--", boundary].concat();
            let mut starts = memmem::find_iter(body, &delimiter).peekable();
            while let Some(start) = starts.next().filter(|_| !self.is_done()) {
                let end = starts.peek().copied().unwrap_or(body.len());
                self.peel_part(body.get(start + delimiter.len()..end).unwrap_or_default());
            }
        }
    }

    fn peel_part(&mut self, part: &[u8]) {
        let Some((head, value)) = split_part(part) else { return };
        let field = |name| head.lines().find_map(|line| field_value(line, name));
        self.descend_as(field("content-type"), value);
        if field("content-transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("quoted-printable")) {
            self.descend(&encoded_text::without_soft_breaks(value));
        }
    }
}

/// Splits a part into head and value, without the line end before the next delimiter.
fn split_part(part: &[u8]) -> Option<(&str, &[u8])> {
    let (head, value) = part.split_at_checked(behind_head(part)?)?;
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    Some((std::str::from_utf8(head).unwrap_or_default(), value.strip_suffix(b"\r").unwrap_or(value)))
}

/// The value in this line of the field of this name.
fn field_value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

/// Position behind the first empty line.
fn behind_head(text: &[u8]) -> Option<usize> {
    let ends = [(memmem::find(text, b"\r\n\r\n"), 4), (memmem::find(text, b"\n\n"), 2)];
    let (head, mark) = ends.into_iter().filter_map(|(at, length)| Some((at?, length))).min()?;
    Some(head + mark)
}

fn boundary_of(content_type: &str) -> Option<&[u8]> {
    let mut parameters = content_type.split(';');
    let media = parameters.next()?.trim_ascii();
    if !media.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/")) {
        return None;
    }
    parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.as_bytes())
    })
}

fn find_from(text: &[u8], from: usize, byte: u8) -> Option<usize> {
    memchr(byte, text.get(from..)?).map(|at| from + at)
}

/// Position of the quote that ends the string beginning at `from`; the end of the text, if there is none.
fn closing_quote(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    text.len()
}

/// From the first tag of an envelope to the last.
fn envelope_in(text: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"Envelope";
    let name = memmem::find(text, NAME)?;
    let before = text.get(name.saturating_sub(MAX_PREFIX_BYTES)..name)?;
    let open = memchr::memrchr(b'<', before).map(|at| name - before.len() + at)?;
    let close = memmem::rfind(text, NAME).map(|at| at + NAME.len())?;
    let end = memchr(b'>', text.get(close..)?).map(|at| close + at + 1)?;
    text.get(open..end)
}

/// Position at which the object around `at` begins. Braces in strings count like others.
fn object_around(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for found in memchr::memrchr2_iter(b'{', b'}', text.get(..at)?) {
        match (text.get(found), depth) {
            (Some(b'{'), 0) => return Some(found),
            (Some(b'{'), _) => depth -= 1,
            _ => depth += 1,
        }
    }
    None
}

/// The object that begins at `open`, up to its end or the end of the text.
fn object_at(text: &[u8], open: usize) -> Range<usize> {
    let (mut at, mut depth) = (open, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = closing_quote(text, at + 1),
            b'{' => depth += 1,
            b'}' if depth == 1 => return open..at + 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    open..text.len()
}
