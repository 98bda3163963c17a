//! Recognises a manifest by its first bytes, independent of path and media type. The media route calls it.

use super::ManifestFormat;

/// Comments may precede the root of an MPD; a manifest must begin within so many bytes.
pub const MAX_SNIFFED_BYTES: usize = 64 * 1024;

/// The result of reading the first bytes of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SniffedBody {
    Manifest(ManifestFormat),
    /// More bytes are needed.
    More,
    Other,
    /// A separate period of an MPD.
    Part,
}

/// Looks for `#EXTM3U` or another tag of playlists, or for XML whose root is an `MPD` or a `Period`, in UTF-8 or
/// UTF-16. `whole`: no more follows.
pub fn sniff(bytes: &[u8], whole: bool) -> SniffedBody {
    let bytes = bytes.get(..bytes.len().min(MAX_SNIFFED_BYTES)).unwrap_or_default();
    let found = match bytes {
        [] => SniffedBody::More,
        // The byte order marks of UTF-16, or an ASCII character in UTF-16 without a mark.
        [0xff, 0xfe, rest @ ..] => narrow(rest, 0),
        [0xfe, 0xff, rest @ ..] => narrow(rest, 1),
        [0, b'#' | b'<', ..] => narrow(bytes, 1),
        [b'#' | b'<', 0, ..] => narrow(bytes, 0),
        [0xef, 0xbb, 0xbf, rest @ ..] => text(rest),
        [0xef | 0xfe | 0xff | 0] | [0xef, 0xbb] => SniffedBody::More,
        _ => text(bytes),
    };
    let more = found == SniffedBody::More && !whole && bytes.len() < MAX_SNIFFED_BYTES;
    if found == SniffedBody::More && !more { SniffedBody::Other } else { found }
}

/// Takes every second byte from this one on.
fn narrow(bytes: &[u8], from: usize) -> SniffedBody {
    let ascii: Vec<u8> = bytes.chunks_exact(2).filter_map(|unit| unit.get(from).copied()).collect();
    text(&ascii)
}

fn text(bytes: &[u8]) -> SniffedBody {
    let bytes = bytes.trim_ascii_start();
    match bytes.first() {
        None => SniffedBody::More,
        Some(b'#') => playlist(bytes),
        Some(b'<') => xml(bytes),
        Some(_) => SniffedBody::Other,
    }
}

/// Reads up to the first tag. Some players need no `#EXTM3U` and accept comments before it.
fn playlist(bytes: &[u8]) -> SniffedBody {
    const TAG: &[u8] = b"#EXT";
    let mut lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii_start);
    let first = lines.find(|line| line.starts_with(TAG) || !(line.is_empty() || line.starts_with(b"#")));
    match first {
        Some(line) if line.starts_with(TAG) => SniffedBody::Manifest(ManifestFormat::Hls),
        Some(_) => SniffedBody::Other,
        None => SniffedBody::More,
    }
}

/// Reads up to the name of the root.
fn xml(mut bytes: &[u8]) -> SniffedBody {
    loop {
        bytes = bytes.trim_ascii_start();
        let after = match bytes {
            [b'<', b'?', ..] => behind(bytes, b"?>"),
            [b'<', b'!', b'-', b'-', rest @ ..] => behind(rest, b"-->"),
            // A document type is refused later, with a reason.
            [b'<', b'!', b'D', ..] => behind_doctype(bytes),
            [b'<', b'!', ..] if bytes.len() < 4 => None,
            [b'<', name @ ..] => return root(name),
            [] => None,
            _ => return SniffedBody::Other,
        };
        let Some(after) = after else { return SniffedBody::More };
        bytes = after;
    }
}

fn behind<'a>(bytes: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    bytes.get(memchr::memmem::find(bytes, end)? + end.len()..)
}

fn behind_doctype(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'>', bytes)?;
    match memchr::memchr(b'[', bytes).filter(|subset| *subset < end) {
        Some(_) => behind(behind(bytes, b"]")?, b">"),
        None => bytes.get(end + 1..),
    }
}

fn root(bytes: &[u8]) -> SniffedBody {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>');
    let Some(end) = bytes.iter().position(ends) else { return SniffedBody::More };
    let name = bytes.get(..end).unwrap_or_default();
    let local = memchr::memrchr(b':', name).and_then(|colon| name.get(colon + 1..)).unwrap_or(name);
    match local {
        b"MPD" => SniffedBody::Manifest(ManifestFormat::Dash),
        b"Period" => SniffedBody::Part,
        _ => SniffedBody::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HLS: SniffedBody = SniffedBody::Manifest(ManifestFormat::Hls);
    const DASH: SniffedBody = SniffedBody::Manifest(ManifestFormat::Dash);

    #[test]
    fn a_manifest_is_recognised_by_its_first_bytes() {
        for (text, expected) in [
            ("#EXTM3U\n", HLS),
            ("\u{feff}#EXTM3U", HLS),
            ("\r\n \t#EXTM3U\r", HLS),
            ("#EXTINF:4,\n1.ts", HLS),
            ("# a comment\r\n\n  #EXTM3U\n", HLS),
            ("#EX", SniffedBody::Other),
            ("#!/bin/sh\n", SniffedBody::Other),
            ("# a list\n1.ts\n#EXTM3U\n", SniffedBody::Other),
            ("<MPD/>", DASH),
            ("\u{feff}<?xml version=\"1.0\"?>\n<!-- <html> -->\n<d:MPD\nx='1'>", DASH),
            ("<!DOCTYPE MPD [<!ENTITY a \"b>\">]><MPD>", DASH),
            ("<!DOCTYPE MPD><MPD>", DASH),
            ("<Period id='1'>", SniffedBody::Part),
            ("<x:Period/>", SniffedBody::Part),
            ("<html><MPD/></html>", SniffedBody::Other),
            ("<MPDx/>", SniffedBody::Other),
            ("<tt xmlns=\"http://www.w3.org/ns/ttml\"/>", SniffedBody::Other),
            ("WEBVTT\n", SniffedBody::Other),
            ("G@\0", SniffedBody::Other),
            ("\0\0\0\u{18}ftyp", SniffedBody::Other),
            ("{}", SniffedBody::Other),
            ("", SniffedBody::Other),
        ] {
            assert_eq!(sniff(text.as_bytes(), true), expected, "{text:?}");
            // The result does not depend on how the bytes are split, and comes as early as it can.
            let early = (0..text.len()).map(|end| sniff(&text.as_bytes()[..end], false));
            let first = early.into_iter().find(|found| *found != SniffedBody::More).unwrap_or(expected);
            assert_eq!(first, expected, "{text:?}");
            for little in [true, false] {
                let units = text.trim_start_matches('\u{feff}').encode_utf16().map(|unit| unit.to_be_bytes());
                let units = units.flat_map(|[high, low]| if little { [low, high] } else { [high, low] });
                let mark: [u8; 2] = if little { [0xff, 0xfe] } else { [0xfe, 0xff] };
                let marked: Vec<u8> = mark.into_iter().chain(units).collect();
                assert_eq!(sniff(&marked, true), expected, "{text:?}");
            }
        }
        for whole in ["<MPD ", "#EXT", "# a\n#EXT"] {
            for end in 1..whole.len() {
                assert_eq!(sniff(&whole.as_bytes()[..end], false), SniffedBody::More);
            }
        }
    }

    #[test]
    fn a_body_that_begins_late_is_no_manifest() {
        let text = |spaces: usize| format!("{}<MPD>", " ".repeat(spaces));
        assert_eq!(sniff(text(60_000).as_bytes(), true), DASH);
        assert_eq!(sniff(text(70_000).as_bytes(), false), SniffedBody::Other);
    }
}
