//! Decodes bytes that are written as text: base64, hexadecimal digits, lists of numbers, references of XML.
//!
//! Each function finds them among other text and skips the characters that server decoders skip, so only the message
//! itself has to be well-formed. Each takes time linear in its text. `nested_messages` calls them.

use super::configured_wrapping::base64_decode;

/// Shorter runs are words: `08 04`, the shortest message, is three characters of base64.
const RUN_MIN: usize = 3;
/// Numbers in a list: `8,4` is the shortest message.
const LIST_MIN: usize = 2;
const REFERENCE_MAX: usize = 12;

/// The pieces between characters that end a value wherever they stand. Line ends and spaces end none, unless the line
/// is empty or begins a part of a multipart body.
pub(super) fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = (0..rest.len()).find(|at| ends(rest, *at)).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end)?;
        rest = after.get(1..).unwrap_or_default();
        Some(run)
    })
    .filter(|run| run.len() >= RUN_MIN)
}

fn ends(text: &[u8], at: usize) -> bool {
    const ENDS: &[u8] = b"\"'&<>,;=:.|{}[]()%`$?#\0";
    let rest = text.get(at..).unwrap_or_default();
    let line = matches!(rest, [b'\n', b'\n', ..] | [b'\n', b'\r', b'\n', ..] | [b'\n', b'-', b'-', ..]);
    line || rest.first().is_none_or(|byte| memchr::memchr(*byte, ENDS).is_some())
}

/// Passes on each meaning that one run may have: hexadecimal digits, base64, or base64 in each word.
pub(super) fn decode(run: &[u8], mut look: impl FnMut(&[u8])) {
    if let Some(bytes) = hex(run) {
        look(&bytes);
    }
    let kept: Vec<u8> = run.iter().copied().filter(|byte| is_base64(*byte)).collect();
    if kept.len() >= RUN_MIN
        && let Some(bytes) = base64_decode(&kept)
    {
        look(&bytes);
    }
    // The words one by one, because spaces may separate values.
    let words = || run.split(u8::is_ascii_whitespace).filter(|word| word.len() >= RUN_MIN);
    if memchr::memchr2(b' ', b'\n', run).is_some() {
        words().filter(|word| word.iter().all(|byte| is_base64(*byte))).filter_map(base64_decode).for_each(|bytes| {
            look(&bytes);
        });
    }
}

/// Decodes a text that has nothing but hexadecimal digits and their usual separators.
pub(super) fn hex_text(text: &[u8]) -> Option<Vec<u8>> {
    let separated = text.iter().any(|byte| matches!(byte, b',' | b':' | b';' | b'\\'));
    if separated { hex(text) } else { None }
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let mut digits: Vec<u8> = Vec::new();
    for byte in text {
        match byte {
            b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f' => digits.push(*byte),
            // The zero of `0x`, if there is one.
            b'x' | b'X' if digits.len() % 2 == 1 && digits.last() == Some(&b'0') => drop(digits.pop()),
            b'x' | b'X' | b'\\' | b',' | b':' | b';' | b'-' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => return None,
        }
    }
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    bytes.collect::<Option<Vec<u8>>>().filter(|bytes| bytes.len() >= LIST_MIN)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Every list of numbers that can be bytes, also signed, hexadecimal, in quotes, or as the values of an object whose
/// keys count them.
pub(super) fn number_lists(text: &[u8], mut look: impl FnMut(&[u8])) {
    let mut list: Vec<u8> = Vec::new();
    let mut flush = |list: &mut Vec<u8>| {
        if list.len() >= LIST_MIN {
            look(list);
        }
        list.clear();
    };
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'0'..=b'9' | b'-' => {
                let (number, length) = number(text.get(at..).unwrap_or_default());
                at += length.max(1);
                match number {
                    _ if is_key(text.get(at..).unwrap_or_default()) => {}
                    Some(value) => list.push(value),
                    None => flush(&mut list),
                }
                continue;
            }
            b',' | b':' | b';' | b'"' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => flush(&mut list),
        }
        at += 1;
    }
    flush(&mut list);
}

/// True if the digits before `rest` are a key that counts, and no value.
fn is_key(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    matches!(rest, [b':', ..] | [b' ', b':', ..])
}

/// Reads the number that begins here. Returns it as a byte if it fits, and its written length.
fn number(text: &[u8]) -> (Option<u8>, usize) {
    let sign = usize::from(text.first() == Some(&b'-'));
    let rest = text.get(sign..).unwrap_or_default();
    let is_hex = matches!(rest, [b'0', b'x' | b'X', ..]);
    let skip = if is_hex { 2 } else { 0 };
    let digits = rest.get(skip..).unwrap_or_default();
    let is_digit = |byte: &&u8| if is_hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let length = digits.iter().take_while(is_digit).count();
    let mut written = sign + skip + length;
    let mut fraction = digits.get(length..).unwrap_or_default();
    // Some languages write a whole number as `8.0`.
    if !is_hex && let [b'.', b'0', ..] = fraction {
        fraction = fraction.get(1..).unwrap_or_default();
        written += 1 + fraction.iter().take_while(|byte| **byte == b'0').count();
    }
    let text = std::str::from_utf8(digits.get(..length.min(4)).unwrap_or_default()).unwrap_or_default();
    let value = i64::from_str_radix(text, if is_hex { 16 } else { 10 }).ok().filter(|_| length <= 4);
    let value = value.map(|value| if sign == 1 { -value } else { value });
    let byte = match value {
        Some(value @ 0..=255) => u8::try_from(value).ok(),
        Some(value @ -128..0) => i8::try_from(value).ok().map(i8::cast_unsigned),
        Some(_) | None => None,
    };
    (byte, written)
}

/// Decodes quoted-printable text (RFC 2045, section 6.7); any other byte stands for itself.
pub(super) fn without_soft_breaks(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            (b'=', [b'\r', b'\n', behind @ ..] | [b'\n', behind @ ..]) => rest = behind,
            (b'=', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.extend(percent_encoding::percent_decode(&[b'%', *high, *low]));
                rest = behind;
            }
            _ => bytes.push(byte),
        }
    }
    bytes
}

/// Resolves the five references of XML and those by number; `None` if the text has none.
pub(super) fn without_references(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(at) = memchr::memchr(b'&', rest) {
        let (before, reference) = rest.split_at_checked(at)?;
        plain.extend_from_slice(before);
        let name = reference.get(1..reference.len().min(REFERENCE_MAX)).unwrap_or_default();
        let end = memchr::memchr(b';', name);
        match end.and_then(|end| meaning(name.get(..end)?).map(|c| (c, end))) {
            Some((character, end)) => {
                found = true;
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = reference.get(end + 2..).unwrap_or_default();
            }
            None => {
                plain.push(b'&');
                rest = reference.get(1..).unwrap_or_default();
            }
        }
    }
    plain.extend_from_slice(rest);
    found.then_some(plain)
}

fn meaning(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"gt" => Some('>'),
        b"lt" => Some('<'),
        b"quot" => Some('"'),
        _ => {
            let number = std::str::from_utf8(name.strip_prefix(b"#")?).ok()?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(text: &str) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        number_lists(text.as_bytes(), |list| found.push(list.to_vec()));
        found
    }

    #[test]
    fn lists_of_numbers_are_bytes() {
        for (text, list) in [
            ("8,1,18", &[8, 1, 18][..]),
            ("[8, 1, -1, -128]", &[8, 1, 255, 128]),
            ("8 1\n18", &[8, 1, 18]),
            ("0x08,0x01,0x12", &[8, 1, 18]),
            ("[\"8\",\"1\"]", &[8, 1]),
            ("{\"0\":8,\"1\":1,\"2\":18}", &[8, 1, 18]),
            ("{\"type\":\"Buffer\",\"data\":[8,1,18]}", &[8, 1, 18]),
            ("[8.0,1.00]", &[8, 1]),
            ("a=8,4", &[8, 4]),
            ("{\"299\":8,\"300\":1, \"301\" : 18}", &[8, 1, 18]),
        ] {
            assert_eq!(lists(text), [list], "{text}");
        }
        for text in ["", "8", "[256,300]", "[-129]", "1700000000,99999", "a1b2", "--", "[1e9]"] {
            assert!(lists(text).iter().all(|list| list.len() < 3), "{text} {:?}", lists(text));
        }
    }

    #[test]
    fn hexadecimal_digits_are_bytes() {
        for text in ["080112", "08 01 12", "08:01:12", "08-01-12", "\\x08\\x01\\x12", "0x08,0x01,0x12", "0x080112"] {
            assert_eq!(hex(text.as_bytes()).as_deref(), Some(&[8, 1, 18][..]), "{text}");
        }
        for text in ["", "08", "080", "08g1", "zz"] {
            assert_eq!(hex(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn runs_end_where_values_end() {
        let found = |text: &'static str| {
            split(text.as_bytes()).map(|run| std::str::from_utf8(run).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(found("challenge=AAAA&b=c"), ["challenge", "AAAA"]);
        assert_eq!(found("AAAA\r\nBBBB\r\n"), ["AAAA\r\nBBBB\r\n"]);
        assert_eq!(found("name\r\n\r\nAAAA\r\n--part"), ["name\r", "\r\nAAAA\r", "--part"]);
    }

    #[test]
    fn a_run_is_decoded_whole_and_word_by_word_unless_that_is_shorter_than_a_message() {
        let looked_at = |run: &str| {
            let mut found = Vec::new();
            decode(run.as_bytes(), |bytes| found.push(bytes.to_vec()));
            found
        };
        for (run, found) in [
            ("CAQ", &[&[8, 4][..]][..]),
            ("a ?Q", &[]),
            ("xx CAQ", &[&[8, 4]]),
            ("Q!CAQ aQ", &[&[0x40, 0x20, 0x10, 0x69]]),
            ("0804", &[&[8, 4], &[0xd3, 0xcd, 0x38]]),
        ] {
            assert_eq!(looked_at(run), found, "{run}");
        }
    }

    #[test]
    fn references_are_resolved() {
        for (text, plain) in [
            ("&lt;a&gt;", Some("<a>")),
            ("&#x41;&#65;&amp;lt;", Some("AA&lt;")),
            ("a&b", None),
            ("&unknown;&quot;", Some("&unknown;\"")),
            ("&#xffffffff;", None),
        ] {
            assert_eq!(without_references(text.as_bytes()).as_deref(), plain.map(str::as_bytes), "{text}");
        }
    }
}
