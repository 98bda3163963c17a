//! Edits texts that are URLs of the MPD itself, whatever its bases are: its next location, and the content of events.
//! The DASH parser calls it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_xml::escape::unescape;

use super::super::uri_rewrite::UriUsage;
use super::super::{ManifestEdits, Purpose};
use super::text::{has_elements, plain};
use super::{DashReader, UriTextKind};

impl UriTextKind {
    /// True for the URIs of elements that must be in the MPD's own namespace.
    pub(super) fn is_of_mpd(self) -> bool {
        match self {
            Self::Base | Self::Manifest | Self::Patch | Self::Steering => true,
            Self::Beside | Self::License => false,
        }
    }
}

impl DashReader<'_> {
    /// Edits the text `raw` of an element, which begins at `from`. `encoded`: in Base64.
    pub(super) fn location(&mut self, kind: UriTextKind, raw: &str, from: usize, encoded: bool) {
        let left = self.found.left;
        let purpose = if kind == UriTextKind::Beside { Purpose::Beside } else { Purpose::Manifest };
        let text = plain(raw);
        let text = text.trim();
        let within = from + (raw.len() - raw.trim_start().len());
        let at = within..within + raw.trim().len();
        let usage = UriUsage { absolute: true, purpose };
        let decoded =
            || String::from_utf8(STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok()?).ok();
        match encoded.then(decoded) {
            // An MPD, or another document in an event.
            _ if has_elements(raw) => self.found.left += 1,
            None => {
                self.places.bind_whole(self.plan, &self.plan.base, at, text, usage, &mut self.found);
            }
            Some(None) => self.found.left += 1,
            Some(Some(uri)) => {
                let edits = self.found.edits.len();
                self.places.bind_whole(self.plan, &self.plan.base, at, uri.trim(), usage, &mut self.found);
                encode(&mut self.found, edits);
            }
        }
        self.moves |= kind == UriTextKind::Manifest && self.found.left > left;
    }
}

/// Encodes the replacements of the edits from this index on, like the text.
fn encode(found: &mut ManifestEdits, from: usize) {
    for edit in found.edits.iter_mut().skip(from) {
        let with = STANDARD.encode(unescape(&edit.with).as_deref().unwrap_or(&edit.with));
        found.expansion.added += with.len().saturating_sub(edit.with.len());
        edit.with = with.into();
    }
}
