//! Edits the attributes of an MPD that are URIs. The DASH parser calls it for each element.

use std::cell::LazyCell;

use quick_xml::events::BytesStart;

use super::super::uri::{UriBase, UriReach, is_data};
use super::super::uri_rewrite::{ManifestUri, UriUsage};
use super::super::{Purpose, TextEdit, UnfitManifest};
use super::text::{attributes, local, plain, readable, value};
use super::uri_table::{self, DashUriAttribute, UriKind};
use super::{DashReader, UriTextKind, base};

/// Address of a remote element that does not exist.
const RESOLVE_TO_ZERO: &str = "urn:mpeg:dash:resolve-to-zero:2013";

impl DashReader<'_> {
    /// Edits the attributes of an element.
    pub(super) fn element(&mut self, start: &BytesStart<'_>, before: usize) -> Result<(), UnfitManifest> {
        let name = start.local_name();
        if name.as_ref() == "Period"
            && let Some(edit) = self.inject.period(before, self.plan.cmcd)
        {
            self.found.edit(edit);
        }
        if name.as_ref() == "Representation"
            && value(start, "id").is_some_and(|id| matches!(self.plan.base.reach(&id), UriReach::Escapes(_)))
        {
            // A template that begins with a placeholder may lead anywhere.
            self.found.left += 1;
        }
        if name.as_ref() == "SegmentTemplate" {
            // The template is resolved again for its times.
            self.found.expansion.resolve(base(&self.open, self.plan).path.len());
        }
        self.timing.element(start, self.open.len(), || base(&self.open, self.plan));
        self.events(start, name.as_ref())?;
        let rows = uri_table::rows(name.as_ref());
        let (empty, prefixed) = (rows.clone().next().is_none(), start.attributes_raw().contains(':'));
        if empty && !prefixed {
            return Ok(());
        }
        let scheme = LazyCell::new(|| value(start, "schemeIdUri").unwrap_or_default());
        for (key, raw) in attributes(start) {
            self.found.check(self.text.len())?;
            let local = local(key);
            if local == "href" && key.contains(':') {
                self.uris(key, raw, UriKind::Part)?;
                continue;
            }
            let fits = |row: &&DashUriAttribute| row.name == local && scheme_fits(row, &scheme);
            if let Some(row) = rows.clone().find(fits) {
                self.uris(key, raw, row.kind)?;
            }
        }
        Ok(())
    }

    /// Learns the use of an event stream's URLs.
    fn events(&mut self, start: &BytesStart<'_>, name: &str) -> Result<(), UnfitManifest> {
        match name {
            "EventStream" | "InbandEventStream" => {
                let scheme = value(start, "schemeIdUri").unwrap_or_default();
                if scheme == uri_table::UPDATE_SCHEME
                    && value(start, "value").is_some_and(|value| uri_table::UPDATES_WITH_TEXT.contains(&&*value))
                {
                    self.found.left += 1;
                }
                self.events = uri_table::events(&scheme);
                Ok(())
            }
            // A callback may have its URL in this attribute; other events have theirs in the text.
            "Event" if self.events == Some(UriTextKind::Beside) => {
                let data = attributes(start).find(|(key, _)| *key == "messageData");
                data.map_or(Ok(()), |(key, raw)| self.uris(key, raw, UriKind::Beside))
            }
            _ => Ok(()),
        }
    }

    fn uris(&mut self, key: &str, raw: &str, kind: UriKind) -> Result<(), UnfitManifest> {
        if kind == UriKind::Removed {
            // The steering list passes through the route, and the proxy named here could not reach the list's new
            // address.
            let at = self.offset(key)..self.offset(raw) + raw.len() + 1;
            self.found.edit(TextEdit { at, with: "".into() });
            return Ok(());
        }
        readable(raw)?;
        match kind {
            UriKind::Beside => raw.split_ascii_whitespace().for_each(|uri| self.beside(uri)),
            UriKind::File => self.attribute(raw, UriUsage { absolute: self.strays(), purpose: Purpose::Data }),
            UriKind::License => {
                let at = self.offset(raw);
                self.license(raw, at, &plain(raw));
            }
            UriKind::Manifest => raw.split_ascii_whitespace().for_each(|uri| {
                self.attribute(uri, UriUsage { absolute: true, purpose: Purpose::Manifest });
            }),
            // Data inside a URI cannot be edited, so the element is removed (ISO/IEC 23009-1 section 5.5.3).
            UriKind::Part if is_data(&plain(raw)) => {
                let at = self.offset(raw)..self.offset(raw) + raw.len();
                self.found.edit(TextEdit { at, with: RESOLVE_TO_ZERO.into() });
            }
            UriKind::Part => self.attribute(raw, UriUsage { absolute: true, purpose: Purpose::Part }),
            UriKind::Removed => {}
            UriKind::Segment => self.segment(raw, self.open.len(), false),
            UriKind::SegmentOfList => self.segment(raw, self.open.len().saturating_sub(1), false),
            UriKind::Template => self.segment(raw, self.open.len(), true),
        }
        Ok(())
    }

    /// Edits a URI that belongs to the MPD itself, whatever its bases are. `raw` is a slice of the text.
    pub(super) fn beside(&mut self, raw: &str) {
        let at = self.offset(raw)..self.offset(raw) + raw.len();
        let usage = UriUsage { absolute: true, purpose: Purpose::Beside };
        self.places.bind_whole(self.plan, &self.plan.base, at, plain(raw).trim(), usage, &mut self.found);
    }

    fn attribute(&mut self, raw: &str, usage: UriUsage) {
        let uri = ManifestUri { at: self.offset(raw), raw, usage };
        let base = base(&self.open, self.plan);
        self.places.bind(&super::plan(&self.open, self.plan), &base, &uri, plain, &mut self.found, false);
    }

    /// Binds a template. A dollar sign in its path must be doubled (ISO/IEC 23009-1 section 5.3.9.4.4).
    fn template(&mut self, raw: &str, usage: UriUsage) {
        let base = base(&self.open, self.plan);
        let [path, root] = [base.path, base.root].map(|text| text.replace('$', "$$"));
        let base = UriBase { path: &path, root: &root, ..base };
        let at = self.offset(raw)..self.offset(raw) + raw.len();
        let plan = super::plan(&self.open, self.plan);
        self.places.bind_whole(&plan, &base, at, &plain(raw), usage, &mut self.found);
    }

    /// Binds a segment's URI. `depth`: of the element that has this list or template, for itself and its content.
    fn segment(&mut self, raw: &str, depth: usize, template: bool) {
        let edits = self.found.edits.len();
        let usage = UriUsage { absolute: self.strays(), purpose: Purpose::Segment };
        if template && base(&self.open, self.plan).path.contains('$') {
            self.template(raw, usage);
        } else {
            self.attribute(raw, usage);
        }
        let Some(edit) = self.found.edits.get(edits) else { return };
        if edit.with.starts_with('/') {
            self.inherited.note_rooted(depth, edits);
        }
        if self.plan.all && base(&self.open, self.plan).stays(&plain(raw)) {
            self.inherited.note_relative(depth, edits);
        }
    }

    /// Position of `raw`, which is a slice of the text.
    fn offset(&self, raw: &str) -> usize {
        (raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }
}

fn scheme_fits(row: &DashUriAttribute, scheme: &LazyCell<String, impl FnOnce() -> String>) -> bool {
    row.scheme.is_empty() || scheme.starts_with(row.scheme)
}
