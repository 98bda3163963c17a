//! A bounded walk over XML text.
//!
//! The walk narrows the parser to the needs of the PlayReady readers and bounds depth and roots in one place. It takes
//! time linear in the text and expands nothing: a DOCTYPE and its entities are ignored. Names are local names, because
//! prefixes are the sender's choice.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Depth that common parsers accept.
const MAX_XML_DEPTH: usize = 256;

pub(super) enum XmlNode<'a> {
    Close,
    /// Character data section, taken literally.
    Data(Cow<'a, str>),
    Open(BytesStart<'a>),
    Reference(BytesRef<'a>),
    /// Text with its line ends as written; never empty.
    Text(Cow<'a, str>),
}

/// The text is not XML, or not within the bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UnfitXml;

pub(super) struct XmlWalk<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    rooted: bool,
}

impl<'a> XmlWalk<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, depth: 0, rooted: false }
    }

    /// `None` when the root is closed and the text has ended.
    pub(super) fn next(&mut self) -> Result<Option<XmlNode<'a>>, UnfitXml> {
        loop {
            let node = match self.reader.read_event().map_err(|_| UnfitXml)? {
                Event::CData(data) => XmlNode::Data(data.into_inner()),
                Event::Comment(_) | Event::Decl(_) | Event::DocType(_) | Event::PI(_) => continue,
                Event::Empty(_) => return Err(UnfitXml),
                Event::End(_) => {
                    self.depth = self.depth.checked_sub(1).ok_or(UnfitXml)?;
                    XmlNode::Close
                }
                Event::Eof => return if self.depth == 0 && self.rooted { Ok(None) } else { Err(UnfitXml) },
                Event::GeneralRef(reference) => XmlNode::Reference(reference),
                Event::Start(start) => {
                    if self.depth == MAX_XML_DEPTH || (self.depth == 0 && self.rooted) {
                        return Err(UnfitXml);
                    }
                    self.depth += 1;
                    self.rooted = true;
                    XmlNode::Open(start)
                }
                Event::Text(text) => XmlNode::Text(text.into_inner()),
            };
            return Ok(Some(node));
        }
    }
}

/// Resolves one of the five named references of XML, or a character reference.
pub(super) fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    match &**reference {
        "amp" => Some('&'),
        "apos" => Some('\''),
        "gt" => Some('>'),
        "lt" => Some('<'),
        "quot" => Some('"'),
        _ => reference.resolve_char_ref().ok()?,
    }
}

/// The text inside an element, if that is exactly one piece; any other shape is ambiguous and has no text.
#[derive(Default)]
pub(super) enum XmlLeaf<'a> {
    Empty,
    #[default]
    Mixed,
    One(Cow<'a, str>),
}

impl<'a> XmlLeaf<'a> {
    pub(super) fn add(&mut self, text: Cow<'a, str>) {
        *self = if matches!(self, Self::Empty) { Self::One(text) } else { Self::Mixed };
    }

    /// The text, trimmed. The element around it counts as mixed from here on.
    pub(super) fn take(&mut self) -> Option<Cow<'a, str>> {
        match std::mem::take(self) {
            Self::Empty | Self::Mixed => None,
            Self::One(Cow::Borrowed(text)) => Some(Cow::Borrowed(text.trim())),
            Self::One(Cow::Owned(text)) => Some(Cow::Owned(text.trim().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(text: &str) -> Result<usize, UnfitXml> {
        let mut walk = XmlWalk::of(text);
        let mut nodes = 0;
        while walk.next()?.is_some() {
            nodes += 1;
        }
        Ok(nodes)
    }

    #[test]
    fn depth_is_bounded_and_number_is_not() {
        assert_eq!(walk(&("<a>".repeat(256) + &"</a>".repeat(256))), Ok(512));
        assert_eq!(walk(&("<a>".repeat(257) + &"</a>".repeat(257))), Err(UnfitXml));
        assert_eq!(walk(&format!("<a>{}</a>", "<b/>".repeat(2000))), Ok(4002));
        assert_eq!(walk(&format!("<a>{}</a>", "<b/>".repeat(20_000))), Ok(40_002));
    }

    #[test]
    fn only_one_whole_document_passes() {
        assert_eq!(walk("<?xml version=\"1.0\"?><!DOCTYPE a><!-- c --><a>t</a>\r\n"), Ok(4));
        for text in ["", "text", "<a>", "<a></b>", "<a/><a/>", "</a>", "<a", "<a>&"] {
            assert_eq!(walk(text), Err(UnfitXml), "{text}");
        }
    }
}
