//! Takes wrappings off a text: whatever may hold a message inside it is looked at, one level deeper.
//!
//! Lenient on purpose: a server may read what a strict parser refuses. So a text is split wherever a quote, a tag, a
//! field or a part ends, and no grammar has to hold as a whole. Each byte goes into few pieces, so that a level costs
//! what its bytes cost. For FairPlay, which shows nothing itself, the names beside the message tell what
//! content it is for.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2, memmem};
use percent_encoding::percent_decode;

use super::clearkey;
use super::form;
use super::json::{Scanner, Text, Token};
use super::message::{Message, System};
use super::playready;
use super::recognise::Search;
use super::runs;
use super::wrap::base64_decode;
use crate::secret::Fingerprint;

/// Parts of one multipart body.
const PARTS_MAX: usize = 64;
/// As RFC 2046 section 5.1.1 has it.
const BOUNDARY_MAX: usize = 70;
/// Longest head of a PlayReady element before its name: `<prefix:Envelope`.
const PREFIX_MAX: usize = 64;

impl Search {
    /// Looks into all wrappings of this text.
    pub(super) fn peel(&mut self, text: &[u8]) {
        let before = self.found_mut().is_some();
        self.peel_pieces(text);
        if !before && let Some(found) = self.found_mut().filter(|found| found.system == System::FairPlay) {
            Hints::of(text).tell(found);
        }
    }

    fn peel_pieces(&mut self, text: &[u8]) {
        runs::number_lists(text, |bytes| self.descend(bytes));
        if let Some(bytes) = runs::hex_text(text) {
            self.descend(&bytes);
        }
        self.peel_markup(text);
        self.peel_objects(text);
        self.peel_strings(text);
        self.peel_escapes(text);
    }

    /// What stands in quotes, without its escapes; and what stands outside of them.
    fn peel_strings(&mut self, text: &[u8]) {
        let mut outside = 0;
        while let Some(open) = find_from(text, outside, b'"') {
            self.peel_runs(text.get(outside..open).unwrap_or_default());
            let close = closing_quote(text, open + 1);
            let inner = text.get(open + 1..close).unwrap_or_default();
            let plain = Text::new(inner).unescape();
            if let Some(narrow) = narrow(&plain) {
                self.descend(&narrow);
            }
            self.descend(&plain);
            outside = close + 1;
        }
        self.peel_runs(text.get(outside..).unwrap_or_default());
    }

    /// Base64 and hexadecimal digits between whatever separates values.
    fn peel_runs(&mut self, text: &[u8]) {
        for run in runs::split(text) {
            runs::decode(run, |bytes| self.descend(bytes));
        }
    }

    /// Percent-encoded values: of forms, of data URLs, of whole bodies.
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
            // A form's own space; base64 is often posted with a `+` that means itself.
            let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            self.descend(&percent_decode(&spaced).collect::<Vec<u8>>());
        }
        self.descend(&decoded);
    }

    /// What stands between tags, where references or sections hide it; and a PlayReady message among other markup.
    fn peel_markup(&mut self, text: &[u8]) {
        if memchr(b'<', text).is_none() && memchr(b'&', text).is_none() {
            return;
        }
        for piece in text.split(|byte| matches!(byte, b'<' | b'>')).filter(|piece| memchr(b'&', piece).is_some()) {
            if let Some(plain) = runs::without_references(piece) {
                self.descend(&plain);
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

    /// A ClearKey message among other JSON.
    fn peel_objects(&mut self, text: &[u8]) {
        let Some(at) = memmem::find(text, b"\"kids\"") else { return };
        let open = text.get(..at).and_then(|before| memchr::memrchr(b'{', before));
        let Some(object) = open.and_then(|open| text.get(object_at(text, open))) else { return };
        if object.len() < text.len()
            && let Ok(Some(message)) = clearkey::read(self.direction, Scanner::new(object))
        {
            self.note_wrapped(message, object.len());
        }
    }

    fn note_wrapped(&mut self, message: Message, length: usize) {
        self.note(Message { wrapped: true, ..message }, length);
    }

    /// The parts of a multipart body, whose values may be no text.
    pub(super) fn peel_multipart(&mut self, content_type: Option<&str>, body: &[u8]) {
        let said = content_type.and_then(boundary_of);
        let shown = body.strip_prefix(b"--").map(|rest| {
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            rest.get(..end).unwrap_or_default().trim_ascii_end()
        });
        let boundaries = [said, shown].into_iter().flatten();
        for boundary in boundaries.filter(|boundary| (1..=BOUNDARY_MAX).contains(&boundary.len())) {
            let delimiter = [b"--", boundary].concat();
            let starts = memmem::find_iter(body, &delimiter).take(PARTS_MAX).collect::<Vec<_>>();
            for (number, start) in starts.iter().enumerate() {
                let end = starts.get(number + 1).copied().unwrap_or(body.len());
                let part = body.get(start + delimiter.len()..end).unwrap_or_default();
                let Some(value) = part_value(part) else { continue };
                self.descend(value);
            }
        }
    }
}

/// Behind the head of a part, without the line end before the next delimiter.
fn part_value(part: &[u8]) -> Option<&[u8]> {
    let (head, mark) = [(memmem::find(part, b"\r\n\r\n"), 4), (memmem::find(part, b"\n\n"), 2)]
        .into_iter()
        .filter_map(|(at, length)| Some((at?, length)))
        .min()?;
    let value = part.get(head + mark..)?;
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    Some(value.strip_suffix(b"\r").unwrap_or(value))
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

/// Where the string that begins at `from` ends; the end of the text, if it never does.
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

/// The bytes that a text stands for if each of its characters is one: how scripts turn bytes into strings.
fn narrow(text: &[u8]) -> Option<Vec<u8>> {
    let begins = text.first().is_some_and(|byte| *byte < b' ');
    let wide = || text.iter().any(|byte| *byte >= 0x80);
    if !begins || !wide() {
        return None;
    }
    std::str::from_utf8(text).ok()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// From the first tag of an envelope to the last.
fn envelope_in(text: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"Envelope";
    let name = memmem::find(text, NAME)?;
    let before = text.get(name.saturating_sub(PREFIX_MAX)..name)?;
    let open = memchr::memrchr(b'<', before).map(|at| name - before.len() + at)?;
    let close = memmem::rfind(text, NAME).map(|at| at + NAME.len())?;
    let end = memchr(b'>', text.get(close..)?).map(|at| close + at + 1)?;
    text.get(open..end)
}

/// The object that begins at `open`, up to its own end or the text's.
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

/// What stands beside a FairPlay message. The first of each kind counts.
#[derive(Default)]
struct Hints {
    asset: Option<Fingerprint>,
    /// Decoded; more than one when a reply or request carries several messages.
    key_ids: Vec<Vec<u8>>,
    uri: Option<Fingerprint>,
}

impl Hints {
    fn of(text: &[u8]) -> Self {
        if matches!(text, [b'{' | b'[', ..]) { Self::of_json(text) } else { Self::of_form(text) }
    }

    fn of_json(body: &[u8]) -> Self {
        let mut hints = Self::default();
        let mut scanner = Scanner::new(body);
        let mut name = Text::default();
        while let Ok(Some(token)) = scanner.next() {
            match token {
                Token::Key(key) => name = key,
                Token::String(text) => hints.add(&name.unescape(), &text.unescape()),
                Token::Close | Token::Open(_) | Token::Scalar => {}
            }
        }
        hints
    }

    fn of_form(body: &[u8]) -> Self {
        let mut hints = Self::default();
        form::pairs(body).for_each(|(name, value)| hints.add(name, &value));
        hints
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let print = Some(Fingerprint::of_parts(&[b"asset", value])).filter(|_| !value.is_empty());
        match name {
            b"assetId" | b"asset_id" => self.asset = self.asset.or(print),
            b"keyID" => self.key_ids.extend(base64_decode(value)),
            b"uri" => self.uri = self.uri.or(print),
            _ => {}
        }
    }

    fn tell(self, message: &mut Message) {
        self.key_ids.iter().for_each(|id| message.key_ids.insert(id));
        let shown = self.uri.or(self.asset).or_else(|| message.key_ids.fingerprint());
        message.content_id = message.content_id.or(shown);
    }
}
