//! DASH MPDs (ISO/IEC 23009-1), read once from the front to the back.

mod base;
mod inject;
pub(super) mod slate;
mod text;
mod time;
mod timing;

use quick_xml::Reader as XmlReader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use self::base::{Owned, owned};
use self::inject::Inject;
use self::text::{attributes, leads, local, plain, readable};
use self::timing::Timing;
use super::places::{Named, Places};
use super::uri::Base;
use super::{Edit, Found, MAX_EXPANDED_URI_BYTES, MOST, Plan, Purpose, Unfit};

const DEEPEST: usize = 32;

/// An open element.
struct Open {
    /// Where URIs below it begin; none: as in its parent.
    base: Option<Owned>,
    /// Its own text is a URI for this, from this byte on.
    text: Option<(Text, usize)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Text {
    Base,
    License,
    Manifest,
    Patch,
    Steering,
}

struct Reader<'a> {
    found: Found,
    /// For each depth: edits of relative URIs, by index, that elements within the one there inherit.
    inherited: [Vec<usize>; DEEPEST + 1],
    inject: Inject,
    /// It is asked for at another place next time, which is not the route.
    moves: bool,
    open: Vec<Open>,
    places: Places,
    plan: &'a Plan<'a>,
    text: &'a str,
    timing: Timing,
}

pub(super) fn read(text: &str, plan: &Plan<'_>) -> Result<Found, Unfit> {
    let mut xml = XmlReader::from_str(text);
    xml.config_mut().check_end_names = true;
    let mut reader = Reader {
        found: Found::default(),
        inherited: [const { Vec::new() }; DEEPEST + 1],
        inject: Inject::default(),
        moves: false,
        open: Vec::new(),
        places: Places::new(|uri| escape(uri)),
        plan,
        text,
        timing: Timing::default(),
    };
    for _ in 0..MOST {
        let before = position(&xml);
        match xml.read_event().map_err(|_| Unfit::Broken)? {
            Event::Start(start) => reader.start(&start, before, position(&xml))?,
            Event::Empty(start) => reader.empty(&start, before, position(&xml))?,
            Event::End(_) => reader.end(before)?,
            Event::DocType(_) => return Err(Unfit::Broken),
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
    Err(Unfit::Many)
}

fn position(xml: &XmlReader<&[u8]>) -> usize {
    usize::try_from(xml.buffer_position()).unwrap_or(usize::MAX)
}

impl<'a> Reader<'a> {
    fn start(&mut self, start: &BytesStart<'_>, before: usize, after: usize) -> Result<(), Unfit> {
        if self.open.len() == DEEPEST {
            return Err(Unfit::Deep);
        }
        self.element(start, before)?;
        let text = match start.local_name().as_ref() {
            "BaseURL" => Some(Text::Base),
            "ContentSteering" => Some(Text::Steering),
            "ImportedMPD" | "Location" => Some(Text::Manifest),
            "PatchLocation" => Some(Text::Patch),
            name if name.eq_ignore_ascii_case("laurl") => Some(Text::License),
            _ => None,
        };
        self.inject.start(start, self.open.len());
        self.open.push(Open { base: None, text: text.map(|text| (text, after)) });
        Ok(())
    }

    fn empty(&mut self, start: &BytesStart<'_>, before: usize, after: usize) -> Result<(), Unfit> {
        self.element(start, before)?;
        self.timing.end(self.open.len());
        if let Some(edit) = self.inject.empty(start, self.open.len(), before..after, self.plan.cmcd) {
            self.found.edit(edit);
        }
        Ok(())
    }

    fn end(&mut self, before: usize) -> Result<(), Unfit> {
        if let Some(edit) = self.inject.end(self.open.len(), before, self.plan.cmcd) {
            self.found.edit(edit);
        }
        if let Some(within) = self.inherited.get_mut(self.open.len()) {
            within.clear();
        }
        let closed = self.open.pop();
        self.timing.end(self.open.len());
        let Some(Open { base: own, text }) = closed else { return Ok(()) };
        if own.is_some() {
            self.places.forget();
        }
        let Some((kind, from)) = text else { return Ok(()) };
        let Some(raw) = self.text.get(from..before) else { return Ok(()) };
        if !matches!(kind, Text::Patch | Text::Steering) {
            readable(raw)?;
        }
        let plain = plain(raw);
        match kind {
            Text::Base => self.uri_text(raw, from, Purpose::Segment, plain.trim())?,
            Text::Manifest => self.uri_text(raw, from, Purpose::Manifest, plain.trim())?,
            // A patch is no MPD that could be edited: a player without it asks for the whole.
            Text::Patch => self.take_off(from, before),
            Text::Steering => self.steering(from, before, plain.trim()),
            Text::License => self.license(raw, from, plain.trim()),
        }
        Ok(())
    }

    /// The text of an element, which is one URI.
    fn uri_text(&mut self, raw: &str, from: usize, purpose: Purpose, plain: &str) -> Result<(), Unfit> {
        let (at, manifest) = (from..from + raw.len(), purpose == Purpose::Manifest);
        // A location is the MPD's own, whatever its base is.
        let base = if manifest { self.plan.base } else { base(&self.open, self.plan) };
        let left = self.found.left;
        let bound = self.places.bind_whole(self.plan, &base, at, plain, purpose, &mut self.found);
        self.moves |= manifest && self.found.left > left;
        if !manifest {
            let base = owned(&base, base.resolve_any(plain));
            if base.path.len() > MAX_EXPANDED_URI_BYTES {
                return Err(Unfit::Grows);
            }
            if let Some(parent) = self.open.last_mut() {
                // Of several, the first: the others lead to the same files.
                parent.base.get_or_insert(base);
                self.places.forget();
            }
            if bound.is_some() {
                self.inherit();
            }
        }
        Ok(())
    }

    /// Where its list cannot be bound, the whole element goes. As a location, it is the MPD's own.
    fn steering(&mut self, from: usize, before: usize, plain: &str) {
        let (edits, left) = (self.found.edits.len(), self.found.left);
        let base = self.plan.base;
        self.places.bind_whole(self.plan, &base, from..before, plain, Purpose::Steering, &mut self.found);
        let bound = self.found.edits.len() > edits || plain.starts_with(self.plan.own);
        if !bound {
            self.found.left = left;
            self.take_off(from, before);
        }
    }

    /// The element whose text this is.
    fn take_off(&mut self, from: usize, before: usize) {
        let start = self.text.get(..from).and_then(|text| text.rfind('<'));
        let end = self.text.get(before..).and_then(|text| text.find('>'));
        if let (Some(start), Some(more)) = (start, end) {
            // What was found within it stands last.
            while self.found.edits.pop_if(|edit| edit.at.start >= start).is_some() {}
            self.found.edit(Edit { at: start..before + more + 1, with: "".into() });
        }
    }

    fn license(&mut self, raw: &str, from: usize, plain: &str) {
        if let Some(license) = self.plan.license.filter(|license| !plain.is_empty() && *license != plain) {
            self.found.edit(Edit { at: from..from + raw.len(), with: escape(license).into() });
        }
    }

    /// What an element says in attributes.
    fn element(&mut self, start: &BytesStart<'_>, before: usize) -> Result<(), Unfit> {
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
                    self.attribute(raw, Purpose::Manifest);
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

    fn attribute(&mut self, raw: &str, purpose: Purpose) {
        let uri = Named { at: self.offset(raw), purpose, raw };
        let base = base(&self.open, self.plan);
        self.places.bind(self.plan, &base, &uri, plain, &mut self.found, false);
    }

    /// `depth`: of the element that has this list or template, for itself and for what is in it.
    fn segment(&mut self, raw: &str, depth: usize) {
        let edits = self.found.edits.len();
        self.attribute(raw, Purpose::Segment);
        let relative = self.plan.all && base(&self.open, self.plan).stays(&plain(raw));
        if relative && self.found.edits.len() > edits {
            self.inherited.get_mut(depth).into_iter().for_each(|within| within.push(edits));
        }
    }

    /// Of what has a base of its own: by that, which is bound, its relative URIs are bound as well.
    fn inherit(&mut self) {
        for index in self.inherited.iter_mut().flat_map(|within| within.drain(..)) {
            if let Some(edit) = self.found.edits.get_mut(index) {
                *edit = Edit::insert(edit.at.start, "");
            }
        }
    }

    /// `raw` is a slice of the text.
    fn offset(&self, raw: &str) -> usize {
        (raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    fn finish(mut self) -> Result<Found, Unfit> {
        if !self.open.is_empty() || !self.inject.is_mpd() {
            return Err(Unfit::Broken);
        }
        self.found.facts.reload = self.timing.reload().filter(|_| !self.moves);
        (self.found.facts.live, self.found.facts.playheads) = self.timing.finish();
        // An element that is filled at its end was noted behind what it holds.
        self.found.edits.sort_by_key(|edit| edit.at.start);
        Ok(self.found)
    }
}

/// Where relative URIs begin.
fn base<'a>(open: &'a [Open], plan: &Plan<'a>) -> Base<'a> {
    open.iter().rev().find_map(|open| open.base.as_ref()).map_or(plan.base, Owned::base)
}
