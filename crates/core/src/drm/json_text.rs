//! A JSON string as written in the body, unescaped on demand.
//!
//! Unescaping is lenient: an unknown escape loses its backslash, and a lone surrogate becomes a replacement character.
//! The result labels a message or is base64.

use std::borrow::Cow;
use std::fmt;

/// A string as written between its quotes. Its `Debug` shows the length alone.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub(super) struct JsonText<'a>(&'a [u8]);

impl fmt::Debug for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl<'a> JsonText<'a> {
    pub(super) fn new(written: &'a [u8]) -> Self {
        Self(written)
    }

    pub(super) fn is(self, text: &str) -> bool {
        // An escape takes at most six bytes per byte, so longer texts cannot match and are not unescaped.
        self.0.len() <= text.len().saturating_mul(6).saturating_add(1) && *self.unescape() == *text.as_bytes()
    }

    /// The text without its escapes; borrowed if it has none. An unknown escape loses its backslash.
    pub(super) fn unescape(self) -> Cow<'a, [u8]> {
        let mut plain = Vec::new();
        let mut rest = self.0;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let (before, escape) = rest.split_at(at);
            plain.extend_from_slice(before);
            rest = unescape_one(escape, &mut plain);
        }
        if rest.len() == self.0.len() {
            return Cow::Borrowed(rest);
        }
        plain.extend_from_slice(rest);
        Cow::Owned(plain)
    }
}

/// Takes one escape off the front.
fn unescape_one<'a>(escape: &'a [u8], plain: &mut Vec<u8>) -> &'a [u8] {
    let Some((&[_, letter], rest)) = escape.split_first_chunk::<2>() else { return &[] };
    let byte = match letter {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unicode(rest, plain),
        other => other,
    };
    plain.push(byte);
    rest
}

/// Decodes the digits after `\u`: four, or eight with another `\u` between them.
fn unicode<'a>(digits: &'a [u8], plain: &mut Vec<u8>) -> &'a [u8] {
    let Some((first, rest)) = unit(digits) else { return digits };
    let low = rest.strip_prefix(b"\\u").and_then(unit).filter(|(low, _)| (0xdc00..0xe000).contains(low));
    let pair = low.filter(|_| (0xd800..0xdc00).contains(&first));
    let (units, rest) = match pair {
        Some((second, rest)) => ([first, second], rest),
        None => ([first, 0], rest),
    };
    let count = if pair.is_some() { 2 } else { 1 };
    let characters = char::decode_utf16(units.into_iter().take(count));
    for character in characters.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)) {
        plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    rest
}

fn unit(digits: &[u8]) -> Option<(u16, &[u8])> {
    let (four, rest) = digits.split_first_chunk::<4>()?;
    let four = std::str::from_utf8(four).ok().filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some((u16::from_str_radix(four, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved() {
        for (written, meant) in [
            (r"plain", "plain"),
            (r"a\/b", "a/b"),
            (r#"\"\\\n\t"#, "\"\\\n\t"),
            (r"\u002b\u00e9", "+é"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\uZZZZ", "ZZZZ"),
        ] {
            assert_eq!(JsonText(written.as_bytes()).unescape(), meant.as_bytes(), "{written}");
        }
    }
}
