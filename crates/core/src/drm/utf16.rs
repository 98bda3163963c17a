//! Transcodes UTF-16 to UTF-8, because some CDMs write messages as wide text.
//!
//! A byte order mark identifies UTF-16, or a first character of two bytes that begins XML or JSON.

/// UTF-8 text if the body is UTF-16; `None` if it is not or ends inside a character. Lone surrogates become replacement
/// characters, because the text only labels.
pub(super) fn transcode(body: &[u8]) -> Option<String> {
    let (little, body) = match body {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        [b'<' | b'{', 0, ..] => (true, body),
        _ => return None,
    };
    let (units, []) = body.as_chunks::<2>() else { return None };
    let unit = |unit: &[u8; 2]| if little { u16::from_le_bytes(*unit) } else { u16::from_be_bytes(*unit) };
    let mut text = String::with_capacity(units.len());
    text.extend(char::decode_utf16(units.iter().map(unit)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_and_bare_start_of_utf16_is_known() {
        for (body, text) in [
            (&b"\xff\xfea\0\xe9\0"[..], Some("aé")),
            (b"\xfe\xff\0a\0\xe9", Some("aé")),
            (b"<\0a\0", Some("<a")),
            (b"{\0}\0", Some("{}")),
            (b"\xff\xfe\0\xd8", Some("\u{fffd}")),
            (b"<\0a", None),
            (b"<a", None),
            (b"", None),
        ] {
            assert_eq!(transcode(body).as_deref(), text, "{body:02x?}");
        }
    }
}
