//! Reads the texts of an MPD: attributes in place, and their plain values. The DASH parser calls it.

use std::borrow::Cow;

use quick_xml::Reader as XmlReader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::UnfitManifest;

/// Longer texts are no usable URLs.
const MAX_URI_TEXT_BYTES: usize = 16 * 1024;

/// Names with prefixes, and raw values, as slices of the text.
pub(super) fn attributes<'s>(start: &'s BytesStart<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    let mut found = start.attributes();
    // Duplicate names are not well-formed, but the check takes the square of their number.
    found.with_checks(false);
    found.filter_map(|attribute| {
        let attribute = attribute.ok()?;
        match attribute.value {
            Cow::Borrowed(value) => Some((attribute.key.0, value)),
            Cow::Owned(_) => None,
        }
    })
}

pub(super) fn value(start: &BytesStart<'_>, name: &str) -> Option<String> {
    attributes(start).find(|(key, _)| *key == name).map(|(_, value)| plain(value).into_owned())
}

pub(super) fn local(name: &str) -> &str {
    memchr::memrchr(b':', name.as_bytes()).and_then(|colon| name.get(colon + 1..)).unwrap_or(name)
}

/// Resolves references, and removes marks of character data and comments; unreadable text stays as it is.
pub(super) fn plain(raw: &str) -> Cow<'_, str> {
    if raw.len() > MAX_URI_TEXT_BYTES {
        return Cow::Borrowed("");
    }
    if !raw.contains('<') {
        return unescape(raw).unwrap_or(Cow::Borrowed(raw));
    }
    let mut text = String::new();
    let mut xml = XmlReader::from_str(raw);
    while let Ok(event) = xml.read_event() {
        match event {
            Event::CData(data) => text.push_str(&data.into_inner()),
            Event::Eof => break,
            Event::GeneralRef(name) => text.push_str(&unescape(&format!("&{};", &*name)).unwrap_or_default()),
            Event::Text(more) => text.push_str(&more.into_inner()),
            Event::Comment(_)
            | Event::Decl(_)
            | Event::DocType(_)
            | Event::Empty(_)
            | Event::End(_)
            | Event::PI(_)
            | Event::Start(_) => {}
        }
    }
    Cow::Owned(text)
}

/// True if the text holds more than text and comments.
pub(super) fn has_elements(raw: &str) -> bool {
    let mut xml = XmlReader::from_str(raw);
    while raw.contains('<') {
        match xml.read_event() {
            Ok(Event::Empty(_) | Event::End(_) | Event::Start(_)) | Err(_) => return true,
            Ok(Event::Eof) => return false,
            Ok(_) => {}
        }
    }
    false
}

/// Checks that a URI can be read: a longer one would count as empty, and lead past the route. Data inside a URI leads
/// nowhere.
pub(super) fn readable(raw: &str) -> Result<(), UnfitManifest> {
    let fits = raw.len() <= MAX_URI_TEXT_BYTES || raw.trim_start().starts_with("data:");
    if fits { Ok(()) } else { Err(UnfitManifest::Grows) }
}
