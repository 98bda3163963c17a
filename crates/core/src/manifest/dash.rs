//! Reads DASH MPDs (ISO/IEC 23009-1) in one pass from front to back. `manifest::read` calls it.

mod attributes;
mod base_url;
mod cmcd_injection;
mod date_time;
mod events;
mod namespace;
pub(super) mod slate;
mod text;
mod timing;
pub(super) mod uri_table;

use quick_xml::Reader as XmlReader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use self::base_url::{ElementBases, InheritedEdits};
use self::cmcd_injection::CmcdInjection;
use self::namespace::Namespaces;
use self::text::{plain, readable};
use self::timing::SegmentTiming;
use super::uri::UriBase;
use super::uri_rewrite::{BaseStanding, UriRewriter, UriUsage};
use super::{EditPlan, MAX_EXPANDED_URI_BYTES, MAX_MANIFEST_PARTS, ManifestEdits, Purpose, TextEdit, UnfitManifest};

const MAX_ELEMENT_DEPTH: usize = 32;

/// An open element.
struct OpenElement {
    /// Base of the URIs below it; `None` if its parent's holds.
    bases: Option<ElementBases>,
    /// True if its text is in Base64.
    encoded: bool,
    /// The use of its own text as a URI, which begins at this byte.
    text: Option<(UriTextKind, usize)>,
}

/// The use of a URI that is an element's text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UriTextKind {
    Base,
    Beside,
    License,
    Manifest,
    Patch,
    Steering,
}

struct DashReader<'a> {
    found: ManifestEdits,
    /// The use of the URLs in the open event stream.
    events: Option<UriTextKind>,
    inherited: InheritedEdits,
    inject: CmcdInjection,
    /// The player asks for the MPD at another place next time, beyond the route.
    moves: bool,
    namespaces: Namespaces,
    open: Vec<OpenElement>,
    places: UriRewriter,
    plan: &'a EditPlan<'a>,
    text: &'a str,
    timing: SegmentTiming,
}

pub(super) fn read(text: &str, plan: &EditPlan<'_>) -> Result<ManifestEdits, UnfitManifest> {
    let mut xml = XmlReader::from_str(text);
    xml.config_mut().check_end_names = true;
    let mut reader = DashReader {
        found: ManifestEdits::new(plan),
        events: None,
        inherited: InheritedEdits::new(),
        inject: CmcdInjection::default(),
        moves: false,
        namespaces: Namespaces::default(),
        open: Vec::new(),
        places: UriRewriter::new(|uri| escape(uri)),
        plan,
        text,
        timing: SegmentTiming::default(),
    };
    for _ in 0..MAX_MANIFEST_PARTS {
        let before = position(&xml);
        match xml.read_event().map_err(|_| UnfitManifest::Broken)? {
            Event::Start(start) => reader.start(&start, before, position(&xml))?,
            Event::Empty(start) => reader.empty(&start, before, position(&xml))?,
            Event::End(_) => reader.end(before)?,
            Event::DocType(_) => return Err(UnfitManifest::Broken),
            Event::Eof => return reader.finish(),
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::GeneralRef(_)
            | Event::PI(_)
            | Event::Text(_) => {}
        }
        reader.found.check(text.len())?;
    }
    Err(UnfitManifest::Many)
}

fn position(xml: &XmlReader<&[u8]>) -> usize {
    usize::try_from(xml.buffer_position()).unwrap_or(usize::MAX)
}

impl<'a> DashReader<'a> {
    fn start(&mut self, start: &BytesStart<'_>, before: usize, after: usize) -> Result<(), UnfitManifest> {
        if self.open.len() == MAX_ELEMENT_DEPTH {
            return Err(UnfitManifest::Deep);
        }
        self.element(start, before)?;
        self.namespaces.start(start, self.open.len());
        let text = match start.local_name().as_ref() {
            "Event" => self.events,
            // An app may have elements of the same names.
            name => uri_table::uri_text(name).filter(|text| !text.is_of_mpd() || !self.namespaces.is_foreign(start)),
        };
        let encoded = text.is_some() && text::value(start, "contentEncoding").as_deref() == Some("base64");
        self.inject.start(start, self.open.len());
        self.open.push(OpenElement { bases: None, encoded, text: text.map(|text| (text, after)) });
        Ok(())
    }

    fn empty(&mut self, start: &BytesStart<'_>, before: usize, after: usize) -> Result<(), UnfitManifest> {
        self.element(start, before)?;
        self.timing.end(self.open.len());
        if let Some(edit) = self.inject.empty(start, self.open.len(), before..after, self.plan.cmcd) {
            self.found.edit(edit);
        }
        Ok(())
    }

    fn end(&mut self, before: usize) -> Result<(), UnfitManifest> {
        if let Some(edit) = self.inject.end(self.open.len(), before, self.plan.cmcd) {
            self.found.edit(edit);
        }
        self.inherited.end(self.open.len());
        let closed = self.open.pop();
        self.timing.end(self.open.len());
        self.namespaces.end(self.open.len());
        let Some(OpenElement { bases, encoded, text }) = closed else { return Ok(()) };
        if bases.is_some() {
            self.places.forget();
        }
        let Some((kind, from)) = text else { return Ok(()) };
        let Some(raw) = self.text.get(from..before) else { return Ok(()) };
        if !matches!(kind, UriTextKind::Patch | UriTextKind::Steering) {
            readable(raw)?;
        }
        let plain = plain(raw);
        match kind {
            UriTextKind::Base => self.base_url(raw, from, plain.trim())?,
            UriTextKind::Beside | UriTextKind::Manifest => self.location(kind, raw, from, encoded),
            // A patch cannot be edited. A player without it asks for the whole MPD.
            UriTextKind::Patch => self.take_off(from, before),
            UriTextKind::Steering => self.steering(from, before, plain.trim()),
            UriTextKind::License => self.license(raw, from, plain.trim()),
        }
        Ok(())
    }

    /// Adds a base of the open element, relative to the bases of its parents.
    fn base_url(&mut self, raw: &str, from: usize, plain: &str) -> Result<(), UnfitManifest> {
        let Some((within, around)) = self.open.split_last_mut() else { return Ok(()) };
        let plan = plan(around, self.plan);
        let (base, strays) = (base(around, self.plan), self.plan.part || strays(around));
        let several = bases(around).is_some_and(|bases| bases.several);
        let usage = UriUsage { absolute: strays, purpose: Purpose::Segment };
        let at = from..from + raw.len();
        let bound = self.places.bind_whole(&plan, &base, at, plain, usage, &mut self.found);
        let standing = bound.as_ref().map(|bound| bound.standing);
        let strays = match standing {
            Some(BaseStanding::Elsewhere) => true,
            Some(BaseStanding::Inherited) => strays,
            Some(BaseStanding::Ours) => false,
            None => strays || !plain.is_empty(),
        };
        let is_one = bound.is_some();
        let bases = within.bases.get_or_insert_default();
        bases.add(&base, plain, (strays, several));
        if bases.longest() > MAX_EXPANDED_URI_BYTES {
            return Err(UnfitManifest::Grows);
        }
        self.places.forget();
        if is_one {
            self.inherited.rebase(&mut self.found);
        }
        if strays {
            self.inherited.stray(self.plan, &mut self.found);
        }
        Ok(())
    }

    /// Binds a steering list, or removes the element. As a location it belongs to the MPD itself.
    fn steering(&mut self, from: usize, before: usize, plain: &str) {
        let (edits, left) = (self.found.edits.len(), self.found.left);
        let base = self.plan.base;
        let usage = UriUsage { absolute: true, purpose: Purpose::Steering };
        self.places.bind_whole(self.plan, &base, from..before, plain, usage, &mut self.found);
        let bound = self.found.edits.len() > edits || self.plan.is_own(plain);
        if !bound {
            self.found.left = left;
            self.take_off(from, before);
        }
    }

    /// Removes the element with this text.
    fn take_off(&mut self, from: usize, before: usize) {
        let start = self.text.get(..from).and_then(|text| text.rfind('<'));
        let end = self.text.get(before..).and_then(|text| text.find('>'));
        if let (Some(start), Some(more)) = (start, end) {
            // Its own edits are the last ones.
            while self.found.edits.pop_if(|edit| edit.at.start >= start).is_some() {}
            self.inherited.forget(self.found.edits.len());
            self.found.edit(TextEdit { at: start..before + more + 1, with: "".into() });
        }
    }

    fn license(&mut self, raw: &str, from: usize, plain: &str) {
        if let Some(license) = self.plan.license.filter(|license| !plain.is_empty() && *license != plain) {
            self.found.edit(TextEdit { at: from..from + raw.len(), with: escape(license).into() });
        }
    }

    /// True if rooted URIs may be read below a base on another server. The base of a part is unknown here.
    fn strays(&self) -> bool {
        self.plan.part || strays(&self.open)
    }

    fn finish(mut self) -> Result<ManifestEdits, UnfitManifest> {
        if !self.open.is_empty() || !(self.inject.is_mpd() || self.plan.part) {
            return Err(UnfitManifest::Broken);
        }
        if self.plan.part {
            return Ok(self.found);
        }
        self.found.facts.reload = self.timing.reload().filter(|_| !self.moves);
        (self.found.facts.live, self.found.facts.playheads) = self.timing.finish();
        Ok(self.found)
    }
}

/// Base of relative URIs.
fn base<'a>(open: &'a [OpenElement], plan: &EditPlan<'a>) -> UriBase<'a> {
    bases(open).map_or(plan.base, |bases| bases.base(plan.base))
}

/// Plan for URIs below alternative bases: a relative URI follows the base that its player chooses. All bases are bound,
/// and binding the URI to one of them would leave the others unused. If a base leads past the route, the URI is bound.
fn plan<'a>(open: &[OpenElement], plan: &EditPlan<'a>) -> EditPlan<'a> {
    let follows = bases(open).is_some_and(|bases| bases.several && !bases.strays);
    EditPlan { all: plan.all && !follows, ..*plan }
}

/// True if some relative and rooted URIs lead to another server in spite of every edit.
fn strays(open: &[OpenElement]) -> bool {
    bases(open).is_some_and(|bases| bases.strays)
}

fn bases(open: &[OpenElement]) -> Option<&ElementBases> {
    open.iter().rev().find_map(|open| open.bases.as_ref())
}
