//! The texts of an MPD: attributes where they stand, and what they mean.

use std::borrow::Cow;

use quick_xml::Reader as XmlReader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::UnfitManifest;

/// Longer texts are no URLs that anybody serves.
const MAX_URI_TEXT_BYTES: usize = 16 * 1024;

/// Names with prefixes, and raw values: slices of the text.
pub(super) fn attributes<'s>(start: &'s BytesStart<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    let mut found = start.attributes();
    // Two of one name are one too many, but looking for them takes the square of their number.
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

/// References resolved, marks of character data and comments taken off; what cannot be read stays as it is.
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

/// Whether anything but text and comments stands in it.
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

/// A longer one would be read as nothing, and lead past the route; data that stand in a URI lead nowhere.
pub(super) fn readable(raw: &str) -> Result<(), UnfitManifest> {
    let fits = raw.len() <= MAX_URI_TEXT_BYTES || raw.trim_start().starts_with("data:");
    if fits { Ok(()) } else { Err(UnfitManifest::Grows) }
}
