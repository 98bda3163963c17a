//! Converts a manifest of another character set to UTF-8, in which every edited one is sent. The media route calls it.

use std::borrow::Cow;

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::UnfitManifest;

/// XML declarations stand at the very beginning, and none is longer.
const MAX_DECLARATION_BYTES: usize = 256;

/// A manifest in UTF-8, and whether it was converted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestUtf8 {
    pub bytes: Bytes,
    pub converted: bool,
}

/// Takes the character set from the first of these that names one: a byte order mark, zeros like those of UTF-16,
/// `charset` of the media type, the XML declaration. UTF-16 by name alone is not believed: neither sidebeat nor a
/// parser could read such a declaration.
///
/// # Errors
/// [`UnfitManifest::Broken`]: the bytes are no text in that character set.
pub fn utf8(bytes: Bytes, charset: Option<&str>) -> Result<ManifestUtf8, UnfitManifest> {
    let encoding = Encoding::for_bom(&bytes).map(|(encoding, _)| encoding).or_else(|| by_zeros(&bytes));
    let declared = declared(&bytes);
    let named = || {
        let labels = [charset, declared.map(|(label, _)| label)];
        let known = labels.into_iter().flatten().filter_map(|label| Encoding::for_label(label.as_bytes()));
        let mut known = known;
        known.find(|encoding| !matches!(encoding.name(), "UTF-16LE" | "UTF-16BE"))
    };
    let encoding = encoding.or_else(|| is_utf8_by_format(&bytes).then_some(UTF_8));
    let encoding = encoding.or_else(named).unwrap_or(UTF_8);
    let wide = encoding == UTF_16BE || encoding == UTF_16LE;
    if !wide && !encoding.is_ascii_compatible() {
        return Err(UnfitManifest::Broken);
    }
    if encoding == UTF_8 {
        return Ok(ManifestUtf8 { bytes, converted: false });
    }
    let (text, _, faulty) = encoding.decode(&bytes);
    if faulty {
        return Err(UnfitManifest::Broken);
    }
    Ok(ManifestUtf8 { bytes: redeclared(text).into_owned().into(), converted: true })
}

/// Playlists (RFC 8216 section 4) and JSON lists (RFC 8259 section 8.1) are UTF-8, whatever is declared. Bytes that are
/// not UTF-8 are read as declared.
fn is_utf8_by_format(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start(), [b'#' | b'{', ..]) && std::str::from_utf8(bytes).is_ok()
}

fn by_zeros(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [0, b'#' | b'<', ..] => Some(UTF_16BE),
        [b'#' | b'<', 0, ..] => Some(UTF_16LE),
        _ => None,
    }
}

/// The encoding that an XML declaration names, and the position of the name.
fn declared(bytes: &[u8]) -> Option<(&str, usize)> {
    let head = bytes.get(..bytes.len().min(MAX_DECLARATION_BYTES))?;
    let end = memchr::memmem::find(head, b"?>").filter(|_| head.starts_with(b"<?xml"))?;
    let declaration = std::str::from_utf8(head.get(..end)?).ok()?;
    let (_, rest) = declaration.split_once("encoding")?;
    let value = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (label, _) = value.get(1..)?.split_once(quote)?;
    Some((label, (label.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize)))
}

/// Replaces the encoding in the declaration by UTF-8.
fn redeclared(text: Cow<'_, str>) -> Cow<'_, str> {
    let Some((label, at)) = declared(text.as_bytes()) else { return text };
    let (Some(before), Some(after)) = (text.get(..at), text.get(at + label.len()..)) else { return text };
    Cow::Owned(format!("{before}UTF-8{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, little: bool) -> Vec<u8> {
        let units = text.encode_utf16();
        units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    }

    const MPD: &str = "<?xml version=\"1.0\" encoding='UTF-16'?><MPD a=\"\u{e9}\u{1f600}\"><Period/></MPD>";

    #[test]
    fn a_manifest_is_read_in_its_own_character_set() {
        let utf8_mpd = MPD.replace("UTF-16", "UTF-8");
        for little in [true, false] {
            for mark in ["\u{feff}", ""] {
                let found = utf8(wide(&format!("{mark}{MPD}"), little).into(), Some("us-ascii")).unwrap();
                assert_eq!((&found.bytes[..], found.converted), (utf8_mpd.as_bytes(), true));
            }
        }
        let found = utf8(Bytes::from_static(b"#EXTM3U\n\xe9.ts"), Some("iso-8859-1")).unwrap();
        assert_eq!(&found.bytes[..], "#EXTM3U\n\u{e9}.ts".as_bytes());
        let latin = |declaration: &str| [declaration.as_bytes(), b"<MPD a=\"\xe9\"/>"].concat();
        let declared = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" standalone=\"yes\"?>";
        for (declaration, charset) in [(declared, None), ("", Some("iso-8859-1")), (declared, Some("latin1"))] {
            let found = utf8(latin(declaration).into(), charset).unwrap();
            let expected = format!("{}<MPD a=\"\u{e9}\"/>", declaration.replace("ISO-8859-1", "UTF-8"));
            assert_eq!((&found.bytes[..], found.converted), (expected.as_bytes(), true));
        }
    }

    #[test]
    fn a_manifest_in_utf_8_stays_unchanged_with_any_declaration() {
        for (text, charset) in [
            ("#EXTM3U\n\u{e9}.ts\n", None),
            ("\u{feff}#EXTM3U\n\u{e9}.ts\n", Some("iso-8859-1")),
            ("#EXTM3U\n\u{e9}.ts\n", Some("iso-8859-1")),
            ("{\"ASSETS\":[{\"URI\":\"\u{e9}\"}]}", Some("windows-1252")),
            ("#EXTM3U\n", Some("utf-16")),
            ("#EXTM3U\n", Some("no such one")),
            ("<?xml version=\"1.0\" encoding=\"UTF-16\"?><MPD/>", None),
            ("", None),
        ] {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            assert_eq!(utf8(bytes.clone(), charset), Ok(ManifestUtf8 { bytes, converted: false }), "{text}");
        }
        for (bytes, charset) in
            [(&b"\xff\xfe<\0M\0x"[..], None), (b"<MPD/>", Some("iso-2022-jp")), (b"\xff\xfe\0\xd8", None)]
        {
            assert_eq!(utf8(Bytes::from_static(bytes), charset), Err(UnfitManifest::Broken));
        }
    }
}
