//! The attributes of an MPD that are URIs.

use quick_xml::events::BytesStart;

use super::super::places::{Named, UriUsage};
use super::super::{Edit, Purpose, Unfit};
use super::text::{attributes, leads, local, plain, readable};
use super::{Reader, base, strays};

impl Reader<'_> {
    /// What an element says in attributes.
    pub(super) fn element(&mut self, start: &BytesStart<'_>, before: usize) -> Result<(), Unfit> {
        let name = start.local_name();
        if name.as_ref() == "Period"
            && let Some(edit) = self.inject.period(before, self.plan.cmcd)
        {
            self.found.edit(edit);
        }
        if name.as_ref() == "SegmentTemplate" {
            // Once more, for its times.
            self.found.expansion.resolve(base(&self.open, self.plan).path.len());
        }
        self.timing.element(start, self.open.len(), || base(&self.open, self.plan));
        if !leads(name.as_ref()) && memchr::memchr(b':', start.attributes_raw().as_bytes()).is_none() {
            return Ok(());
        }
        for (key, raw) in attributes(start) {
            self.found.check(self.text.len())?;
            match (name.as_ref(), local(key)) {
                ("SegmentTemplate" | "SegmentURL", "index" | "media")
                | ("SegmentTemplate", "bitstreamSwitching" | "initialization")
                | ("BitstreamSwitching" | "Initialization" | "RepresentationIndex", "sourceURL") => {
                    readable(raw)?;
                    let within = usize::from(name.as_ref() != "SegmentTemplate");
                    self.segment(raw, self.open.len().saturating_sub(within));
                }
                ("ContentSteering", "proxyServerURL") => {
                    // The list passes through us, and another proxy could not reach what it stands at.
                    let at = self.offset(key)..self.offset(raw) + raw.len() + 1;
                    self.found.edit(Edit { at, with: "".into() });
                }
                (_, "href") if key.contains(':') => {
                    readable(raw)?;
                    self.attribute(raw, UriUsage { absolute: true, purpose: Purpose::Manifest });
                }
                (laurl, "licenseUrl" | "LicenseUrl") if laurl.eq_ignore_ascii_case("laurl") => {
                    readable(raw)?;
                    let at = self.offset(raw);
                    self.license(raw, at, &plain(raw));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn attribute(&mut self, raw: &str, usage: UriUsage) {
        let uri = Named { at: self.offset(raw), raw, usage };
        let base = base(&self.open, self.plan);
        self.places.bind(self.plan, &base, &uri, plain, &mut self.found, false);
    }

    /// `depth`: of the element that has this list or template, for itself and for what is in it.
    fn segment(&mut self, raw: &str, depth: usize) {
        let edits = self.found.edits.len();
        self.attribute(raw, UriUsage { absolute: strays(&self.open), purpose: Purpose::Segment });
        let Some(edit) = self.found.edits.get(edits) else { return };
        if edit.with.starts_with('/') {
            self.inherited.note_rooted(depth, edits);
        }
        if self.plan.all && base(&self.open, self.plan).stays(&plain(raw)) {
            self.inherited.note_relative(depth, edits);
        }
    }

    /// `raw` is a slice of the text.
    fn offset(&self, raw: &str) -> usize {
        (raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }
}
