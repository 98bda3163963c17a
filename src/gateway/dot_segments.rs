//! Finds path segments that step upward, in any spelling.
//!
//! A request path is appended to the path of an upstream, whose server may resolve `..` and so leave the prefix that
//! the route was given. Servers and gateways decode and split paths in different ways, so every spelling that any of
//! them undoes counts: percent-encoding (also of parts of an escape, and repeated), `%uXXXX`, backslashes, overlong
//! UTF-8, characters that look like dots and slashes, `;parameters` behind the dots, and spaces, controls and broken
//! characters around them. Called once for each request, before a route is looked for.

use std::borrow::Cow;

/// Decodings of one path. A path that still has escapes after so many is no honest one.
const MAX_DECODINGS: usize = 8;

/// True if any server could read a segment of `path` as `.` or `..`, or if the path is encoded too often to tell.
/// Linear in the length of the path.
pub(super) fn has_dot_segment(path: &str) -> bool {
    // Some servers read odd bytes as the characters they stand for, some drop them. Each reading may show a dot
    // that the other hides.
    [OddBytes::Read, OddBytes::Drop].into_iter().any(|odd| climbs(path, odd))
}

/// Ways in which servers treat bytes that are no plain text.
#[derive(Clone, Copy, Eq, PartialEq)]
enum OddBytes {
    Drop,
    Read,
}

fn climbs(path: &str, odd: OddBytes) -> bool {
    let mut path = Cow::Borrowed(path.as_bytes());
    for _ in 0..=MAX_DECODINGS {
        let plain = plain(&path, odd);
        if plain.split(|byte| is_slash(*byte)).any(is_dot_segment) {
            return true;
        }
        match decoded(&plain) {
            Some(decoded) => path = Cow::Owned(decoded),
            None => return false,
        }
    }
    true
}

/// True for one or two dots, ignoring bytes that some servers drop. Counts only up to `;`, `?` or `#`, where
/// servers may cut.
fn is_dot_segment(segment: &[u8]) -> bool {
    let counts = segment.split(|byte| b";?#".contains(byte)).next().unwrap_or_default();
    let mut seen = counts.iter().filter(|byte| !is_dropped(**byte));
    matches!(seen.clone().count(), 1 | 2) && seen.all(|byte| *byte == b'.')
}

fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

fn is_dropped(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | 0x7f)
}

/// Undoes all escapes once; `None` if there are none.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'%', path)?;
    let (mut decoded, mut rest, mut changed) = (Vec::with_capacity(path.len()), path, false);
    while let Some((first, after)) = rest.split_first() {
        let escape = if *first == b'%' { escape(after) } else { None };
        match escape {
            Some((EscapeForm::Byte(byte), after)) => {
                decoded.push(byte);
                (rest, changed) = (after, true);
            }
            Some((EscapeForm::Unit(unit), after)) => {
                // Half of a pair stands for nothing here.
                let character = char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
                decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                (rest, changed) = (after, true);
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    changed.then_some(decoded)
}

enum EscapeForm {
    Byte(u8),
    /// `%u002e`: a UTF-16 unit.
    Unit(u16),
}

/// Reads an escape without its `%`; returns it with the text behind it.
fn escape(code: &[u8]) -> Option<(EscapeForm, &[u8])> {
    let Some(digits) = code.strip_prefix(b"u").or_else(|| code.strip_prefix(b"U")) else {
        let (byte, after) = hex_byte(code)?;
        return Some((EscapeForm::Byte(byte), after));
    };
    let (high, after) = hex_byte(digits)?;
    let (low, after) = hex_byte(after)?;
    Some((EscapeForm::Unit(u16::from_be_bytes([high, low])), after))
}

fn hex_byte(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (two, after) = digits.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low] = *two;
    let value = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    Some((value, after))
}

/// The path with its odd bytes read as ASCII, where they can stand for that, or without them.
fn plain(path: &[u8], odd: OddBytes) -> Cow<'_, [u8]> {
    if path.is_ascii() {
        return Cow::Borrowed(path);
    }
    let (mut plain, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((first, after)) = rest.split_first() {
        if first.is_ascii() {
            plain.push(*first);
            rest = after;
            continue;
        }
        let sequence = OverlongSequence::at(rest);
        let (bytes, after) = rest.split_at_checked(sequence.length).unwrap_or((rest, &[]));
        rest = after;
        match (sequence.meaning(), odd) {
            (SegmentMeaning::Ascii(ascii), OddBytes::Read) => plain.push(ascii),
            (SegmentMeaning::Ascii(_), OddBytes::Drop) if sequence.is_valid() => plain.extend_from_slice(bytes),
            (SegmentMeaning::Ascii(_) | SegmentMeaning::Nothing, OddBytes::Drop) | (SegmentMeaning::Space, _) => {}
            // The next decoding may complete it.
            (SegmentMeaning::Character | SegmentMeaning::Nothing, _) => plain.extend_from_slice(bytes),
        }
    }
    Cow::Owned(plain)
}

/// Bytes that are one character to a decoder that checks nothing, or a single byte that makes none.
struct OverlongSequence {
    code: Option<u32>,
    length: usize,
}

enum SegmentMeaning {
    Ascii(u8),
    Character,
    /// Broken bytes.
    Nothing,
    Space,
}

impl OverlongSequence {
    /// `bytes` begin beyond ASCII.
    fn at(bytes: &[u8]) -> Self {
        let (mut code, length) = match bytes.first() {
            Some(lead @ 0xc0..=0xdf) => (u32::from(lead & 0x1f), 2),
            Some(lead @ 0xe0..=0xef) => (u32::from(lead & 0x0f), 3),
            Some(lead @ 0xf0..=0xf7) => (u32::from(lead & 0x07), 4),
            Some(lead @ 0xf8..=0xfb) => (u32::from(lead & 0x03), 5),
            Some(lead @ 0xfc..=0xfd) => (u32::from(lead & 0x01), 6),
            _ => return Self { code: None, length: 1 },
        };
        let Some(more) = bytes.get(1..length).filter(|more| more.iter().all(|byte| byte >> 6 == 0b10)) else {
            return Self { code: None, length: 1 };
        };
        for byte in more {
            code = code << 6 | u32::from(byte & 0x3f);
        }
        Self { code: Some(code), length }
    }

    fn is_valid(&self) -> bool {
        self.code.and_then(char::from_u32).is_some_and(|character| character.len_utf8() == self.length)
    }

    fn meaning(&self) -> SegmentMeaning {
        let Some(code) = self.code else { return SegmentMeaning::Nothing };
        if let Ok(ascii @ 0..0x80) = u8::try_from(code) {
            return SegmentMeaning::Ascii(ascii);
        }
        match code {
            // Full width.
            0xff01..=0xff5e => u8::try_from(code - 0xfee0).map_or(SegmentMeaning::Character, SegmentMeaning::Ascii),
            0x2024 | 0x3002 | 0xfe52 | 0xff61 => SegmentMeaning::Ascii(b'.'),
            0x2044 | 0x2215 | 0x29f8 => SegmentMeaning::Ascii(b'/'),
            0x2216 | 0x29f5 | 0x29f9 | 0xfe68 => SegmentMeaning::Ascii(b'\\'),
            // Invisible characters.
            0xad | 0x200b..=0x200f | 0x2060..=0x2064 | 0xfeff => SegmentMeaning::Space,
            _ if char::from_u32(code).is_some_and(char::is_whitespace) => SegmentMeaning::Space,
            _ if self.is_valid() => SegmentMeaning::Character,
            _ => SegmentMeaning::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::cost;

    #[test]
    fn every_spelling_of_a_step_upward_is_found() {
        for path in [
            "/license/..",
            "/license/../../internal/admin",
            "/license/./x",
            "/..",
            "/license/%2e%2e/x",
            "/license/%2E./x",
            "/license/.%2e",
            "/license/%2e",
            "/license/%252e%252e/x",
            "/license/%25252e%2e/x",
            "/license/..%2fadmin",
            "/license/..%2Fadmin",
            "/license%2f..%2fadmin",
            "/license/..%252fadmin",
            "/license/..%5cadmin",
            "/license/..\\admin",
            "/license\\..\\admin",
            "/license/a%5c..%5cadmin",
            "/license/..;/admin",
            "/license/..;a=b/admin",
            "/license/..%3bx/admin",
            "/license/%2e%2e%3b/admin",
            "/license/..%00/admin",
            "/license/..%20/admin",
            "/license/%09../admin",
            "/license/.%0a./admin",
            "/license/%c0%ae%c0%ae/admin",
            "/license/..%c0%afadmin",
            "/license/..%c1%9cadmin",
            "/license/%u002e%u002e/admin",
            "/license/..%u2215/../x",
            "/license/..%u2215x",
            "/license/..%u2216x",
            "/license/%e0%80%ae%e0%80%ae/x",
            "/license/%f0%80%80%ae%f0%80%80%ae/x",
            "/license/%f8%80%80%80%ae./x",
            "/license/..%e0%80%afx",
            "/license/%c0%25ae%c0%25ae/x",
            "/license/%25c0%25ae%25c0%25ae/x",
            "/license/%c0%a52e%c0%a52e/x",
            "/license/%25%32%65%25%32%65/x",
            "/license/%%32e%%32e/x",
            "/license/%%32%65%%32%65/x",
            "/license/.%%32%65/x",
            "/license/%2%35%32%65./x",
            "/license/..%25%32%66x",
            "/license/..%25%35%63x",
            "/license/%ef%bc%8e%ef%bc%8e/x",
            "/license/%uff0e%uff0e/x",
            "/license/..%ef%bc%8fx",
            "/license/..%ef%bc%bcx",
            "/license/.%u3002/x",
            "/license/.%e2%80%8b./x",
            "/license/..%c2%a0/x",
            "/license/..%c0%80/x",
            "/license/..%ff/x",
            "/license/%c0%2e%c0%2e/x",
            "/license/..%23/x",
            "/license/..%3f/x",
            "/license/．．/x",
            // Nobody writes a path that is encoded so often.
            "/license/%2525252525252525252525252525252525252541",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
    }

    #[test]
    fn names_with_dots_and_escapes_are_no_steps() {
        for path in [
            "/",
            "",
            "/license",
            "/license/.well-known/x",
            "/license/...",
            "/license/....//x",
            "/license/a..b/c.",
            "/license/..a",
            "/license/%2e%2ea",
            "/license/a%2fb%5cc",
            "/license/a;..;b",
            "/license/%",
            "/license/%2",
            "/license/%25",
            "/license/%zz..",
            "/license/%c3%a9t%c3%a9.m4s",
            "/license/%e2%80%a6",
            "/license//x",
            "/license/~stop",
            "/license/a%252fb%25255c",
            "/license/100%25/x",
            "/license/%u00e9.mp4",
            "/license/%d0%b9..%d0%b9",
            "/license/...%3f",
            "/license/a%2f...%5cb",
            "/license/.%e3%81%82",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    /// A character of a path as `kind` writes it: percent-encoded, overlong, in full width, or as it is.
    fn written(character: u8, kind: u8) -> String {
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let (high, low) = (character >> 6, 0x80 | character & 0x3f);
        let full_width = char::from_u32(u32::from(character) + 0xfee0).filter(|_| character > b' ');
        match kind {
            0 => format!("%{character:02X}"),
            1 => format!("%{character:02x}"),
            2 => format!("%u{character:04x}"),
            3 => escaped(&[0xc0 | high, low]),
            4 => escaped(&[0xe0, 0x80 | high, low]),
            5 => escaped(&[0xf0, 0x80, 0x80 | high, low]),
            6 => full_width
                .map_or_else(|| char::from(character).to_string(), |wide| escaped(wide.to_string().as_bytes())),
            7 => full_width
                .map_or_else(|| char::from(character).to_string(), |wide| format!("%U{:04X}", u32::from(wide))),
            _ => char::from(character).to_string(),
        }
    }

    proptest! {
        /// Each layer writes some characters of the one before in other ways, also those of its escapes.
        #[test]
        fn a_path_that_climbs_after_any_number_of_decodings_is_found(
            folder in "/[ab.]{0,3}",
            step in "(/|\\\\)(\\.|\\.\\.)[;?# \t]?",
            rest in "((/|\\\\)[ab]{0,3})?",
            layers in prop::collection::vec(prop::collection::vec(0_u8..24, 1..40), 0..4),
        ) {
            let mut path = folder + &step + &rest;
            for kinds in layers {
                let kinds = kinds.iter().cycle();
                path = path.bytes().zip(kinds).map(|(character, kind)| written(character, *kind)).collect();
            }
            prop_assert!(has_dot_segment(&path), "{path}");
        }

        /// However names without a step are written, they are none.
        #[test]
        fn names_that_do_not_climb_pass_in_every_spelling(
            path in "(/[ab]{1,3}\\.{0,3}[ab]?){1,3}",
            // What is overlong is dropped by some servers, and so is half of a wide letter that is decoded in two steps.
            layers in prop::collection::vec(prop::collection::vec(prop_oneof![0_u8..3, 8_u8..24], 1..40), 0..2),
            last in prop::collection::vec(prop_oneof![0_u8..3, 6_u8..24], 1..40),
        ) {
            let mut written_path = path.clone();
            for kinds in layers.into_iter().chain([last]) {
                let kinds = kinds.iter().cycle();
                written_path = written_path.bytes().zip(kinds).map(|(byte, kind)| written(byte, *kind)).collect();
            }
            prop_assert!(!has_dot_segment(&written_path), "{path} is {written_path}");
        }

        #[test]
        fn no_path_is_too_odd(path in ".{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = has_dot_segment(&path);
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            let _ = has_dot_segment(&escaped);
        }
    }

    #[test]
    fn a_path_costs_no_more_than_its_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        for (name, part) in [
            ("steps", "/a"),
            ("slashes", "/"),
            ("escapes", "%41"),
            ("escapes of escapes", "%25"),
            ("escapes of escapes of escapes", "%2525"),
            ("escapes of units", "%u0041"),
            ("broken escapes", "%"),
            ("odd characters", "\u{ff0e}a"),
            ("escapes of odd bytes", "%c0%ae%80"),
            ("parameters", ";a/"),
        ] {
            let look = |bytes: &[u8]| usize::from(has_dot_segment(std::str::from_utf8(bytes).unwrap()));
            let make = |size| cost::filled("", |_| part.to_owned(), "", size);
            cost::assert_linear(name, HEAD_BYTES, cost::SHORT, make, look);
        }
    }
}
