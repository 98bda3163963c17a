//! Reads HLS playlists line by line (RFC 8216, and draft-pantos-hls-rfc8216bis for its newer tags). `manifest::read`
//! calls it.

pub(super) mod attributes;
mod define;
pub(super) mod slate;
pub(super) mod uri_table;
pub(super) mod variables;

use std::borrow::Cow;

use self::attributes::{attributes, quoted};
use self::slate::PlaylistTail;
use self::uri_table::{ANNOUNCING_TAGS, HlsUriAttribute, UNKNOWN_TAG, URI_ATTRIBUTES};
use self::variables::{has_variable, substituted};
use super::playhead::{PathHash, StartCollector};
use super::uri::{is_data, path_of};
use super::uri_rewrite::{self, ManifestUri, UriRewriter, UriUsage};
use super::{EditPlan, MAX_MANIFEST_PARTS, ManifestEdits, ManifestFacts, Purpose, TextEdit, UnfitManifest};

const MAX_RENDITIONS: usize = 64;
/// Longest segment: a day.
const MAX_TARGET_DURATION_S: u64 = 86_400;
/// A part and an initialization section; some servers announce several.
const MAX_HINTS: usize = 8;

struct HlsReader<'a> {
    /// The tag by which the next URI line names a playlist.
    announced: Option<&'a str>,
    collect: StartCollector,
    /// Position at which the playlist is to end.
    cut: Option<usize>,
    duration_ms: u64,
    ended: bool,
    found: ManifestEdits,
    multivariant: bool,
    places: UriRewriter,
    plan: &'a EditPlan<'a>,
    /// The next segment's first byte, and the byte after the previous one.
    range: (u64, u64),
    start_ms: u64,
    tail: PlaylistTail,
    text: &'a str,
    variables: Vec<(&'a str, Cow<'a, str>)>,
}

pub(super) fn read(text: &str, plan: &EditPlan<'_>) -> Result<ManifestEdits, UnfitManifest> {
    let mut reader = HlsReader {
        announced: None,
        collect: StartCollector::default(),
        cut: None,
        duration_ms: 0,
        ended: false,
        found: ManifestEdits::new(plan),
        multivariant: false,
        places: UriRewriter::new(quoted),
        plan,
        range: (0, 0),
        start_ms: 0,
        tail: PlaylistTail::default(),
        text,
        variables: Vec::new(),
    };
    let mut begin = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    for (count, end) in ends.enumerate() {
        if count == MAX_MANIFEST_PARTS {
            return Err(UnfitManifest::Many);
        }
        // Players also end a line at a lone CR.
        text.get(begin..end)
            .unwrap_or_default()
            .trim_ascii()
            .split('\r')
            .try_for_each(|line| reader.line(line.trim_ascii()))?;
        begin = end + 1;
    }
    reader.finish()
}

impl<'a> HlsReader<'a> {
    fn line(&mut self, line: &'a str) -> Result<(), UnfitManifest> {
        if line.is_empty() {
            return Ok(());
        }
        if !line.starts_with('#') {
            return self.uri_line(line);
        }
        // About half of all lines are these, so they are checked first.
        if let Some(value) = line.strip_prefix("#EXTINF:") {
            self.duration_ms = milliseconds(value);
            return Ok(());
        }
        let Some((tag, value)) = line.split_once(':') else {
            self.bare(line);
            return Ok(());
        };
        self.note(tag, value)?;
        if tag == "#EXT-X-STREAM-INF" {
            self.announced = Some(line);
        }
        if !tag.starts_with("#EXT") {
            return Ok(());
        }
        let mut known = URI_ATTRIBUTES.iter().filter(|row| row.tag == tag).peekable();
        if known
            .clone()
            .any(|row| row.is_document() && attributes(value).any(|(key, uri)| key == row.name && is_data(uri)))
        {
            // A document inside the playlist cannot be edited.
            self.take_off(line);
            return Ok(());
        }
        if known.peek().is_none() && tag != "#EXT-X-DEFINE" {
            return self.attribute(line, value, &UNKNOWN_TAG);
        }
        known.try_for_each(|row| self.attribute(line, value, row))
    }

    fn attribute(&mut self, line: &'a str, value: &'a str, row: &HlsUriAttribute) -> Result<(), UnfitManifest> {
        let HlsUriAttribute { name, tag, usage } = *row;
        if name.is_empty() {
            self.hint(tag, value.trim())?;
            return self.uri(value.trim(), usage, false).map(|_path| ());
        }
        let wanted = |(key, _): &(&str, &str)| *key == name;
        let uris: Vec<_> = attributes(value).filter(wanted).map(|(_, uri)| uri).collect();
        if usage.purpose == Purpose::Steering {
            return self.steering(line, &uris, usage);
        }
        uris.into_iter().try_for_each(|uri| {
            self.hint(tag, uri)?;
            self.uri(uri, usage, false).map(|_path| ())
        })
    }

    fn hint(&mut self, tag: &str, uri: &str) -> Result<(), UnfitManifest> {
        if ANNOUNCING_TAGS.contains(&tag) && self.found.facts.hinted.len() < MAX_HINTS {
            let path = uri_rewrite::path(&self.plan.base, &substituted(&self.variables, uri)?);
            self.found.facts.hinted.push(path);
        }
        Ok(())
    }

    /// Binds the steering tag, or removes it: a list that does not pass through the route could lead anywhere.
    fn steering(&mut self, line: &'a str, uris: &[&'a str], usage: UriUsage) -> Result<(), UnfitManifest> {
        let (edits, left) = (self.found.edits.len(), self.found.left);
        for uri in uris {
            let before = self.found.edits.len();
            self.uri(uri, usage, false)?;
            if self.found.edits.len() == before && !self.plan.is_own(uri) {
                self.found.left = left;
                self.found.edits.truncate(edits);
                self.take_off(line);
                break;
            }
        }
        Ok(())
    }

    fn take_off(&mut self, line: &'a str) {
        let at = self.offset(line);
        self.found.edit(TextEdit { at: at..at + line.len(), with: "#".into() });
    }

    fn bare(&mut self, tag: &str) {
        match tag {
            "#EXT-X-DISCONTINUITY" => self.tail.discontinuity = self.tail.discontinuity.saturating_add(1),
            "#EXT-X-ENDLIST" => self.ended = true,
            _ => {}
        }
    }

    fn note(&mut self, tag: &str, value: &'a str) -> Result<(), UnfitManifest> {
        let number = || value.trim().parse::<u64>().unwrap_or_default();
        match tag {
            "#EXT-X-BYTERANGE" => self.range.0 = self.byte_range(value),
            "#EXT-X-DEFINE" => self.define(value)?,
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.tail.discontinuity = self.tail.discontinuity.saturating_add(number())
            }
            "#EXT-X-MEDIA" => {
                self.multivariant = true;
                self.rendition(value)?;
            }
            "#EXT-X-MEDIA-SEQUENCE" => self.tail.next = self.tail.next.saturating_add(number()),
            "#EXT-X-STREAM-INF" => self.multivariant = true,
            "#EXT-X-SKIP" => self.skip(value),
            "#EXT-X-TARGETDURATION" => self.tail.target_s = number().min(MAX_TARGET_DURATION_S),
            _ => {}
        }
        Ok(())
    }

    fn byte_range(&mut self, value: &str) -> u64 {
        let (length, first) = value.trim().split_once('@').map_or((value.trim(), None), |(l, f)| (l, Some(f)));
        let first = first.and_then(|first| first.parse().ok()).unwrap_or(self.range.1);
        self.range.1 = first.saturating_add(length.parse().unwrap_or_default());
        first
    }

    /// Counts the segments that the player has already.
    fn skip(&mut self, value: &str) {
        let skipped = attributes(value).find(|(key, _)| *key == "SKIPPED-SEGMENTS");
        let skipped = skipped.and_then(|(_, number)| number.trim().parse().ok());
        self.tail.next = self.tail.next.saturating_add(skipped.unwrap_or_default());
    }

    fn rendition(&mut self, value: &str) -> Result<(), UnfitManifest> {
        let find = |name| attributes(value).find(|(key, _)| *key == name).map(|(_, value)| value);
        if let (Some("AUDIO"), Some(uri)) = (find("TYPE"), find("URI"))
            && self.found.facts.audio.len() < MAX_RENDITIONS
        {
            let path = uri_rewrite::path(&self.plan.base, &substituted(&self.variables, uri)?);
            self.found.facts.audio.push(path);
        }
        Ok(())
    }

    fn uri_line(&mut self, uri: &'a str) -> Result<(), UnfitManifest> {
        if let Some(tag) = self.announced.take() {
            if is_data(uri) {
                self.take_off(tag);
                self.take_off(uri);
                return Ok(());
            }
            return self.uri(uri, rooted(Purpose::Manifest), false).map(|_path| ());
        }
        let path = self.uri(uri, rooted(Purpose::Segment), self.plan.playheads)?;
        if let Some(path) = path {
            self.collect.note(path, self.range.0, self.start_ms);
        }
        self.start_ms = self.start_ms.saturating_add(self.duration_ms);
        self.range.0 = 0;
        self.tail.next = self.tail.next.saturating_add(1);
        if self.plan.end == Some(self.tail.next) {
            let end = self.offset(uri) + uri.len();
            let line = self.text.get(end..).and_then(|rest| rest.find(['\n', '\r']));
            self.cut = line.map(|more| end + more + 1);
        }
        Ok(())
    }

    /// Binds a URI and returns its path at its server, if `wanted`.
    fn uri(&mut self, uri: &'a str, usage: UriUsage, wanted: bool) -> Result<Option<PathHash>, UnfitManifest> {
        let named = ManifestUri { at: self.offset(uri), raw: uri, usage };
        let whole = substituted(&self.variables, uri)?;
        if has_variable(path_of(&whole)) && self.plan.base.absolute(&whole).is_some() {
            return self.unknown(usage.purpose).map(|()| None);
        }
        let path = self.places.bind(self.plan, &self.plan.base, &named, |_| whole.clone(), &mut self.found, wanted);
        self.found.check(self.text.len())?;
        Ok(path)
    }

    /// Position of a slice in the text.
    fn offset(&self, slice: &str) -> usize {
        (slice.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    fn finish(mut self) -> Result<ManifestEdits, UnfitManifest> {
        let live = (!self.multivariant).then_some(!self.ended);
        if live == Some(true) && self.plan.end.is_some() {
            if self.cut.is_none() && self.plan.end.is_some_and(|end| end < self.tail.next) {
                return Err(UnfitManifest::Moved);
            }
            let cut = self.cut.unwrap_or(self.text.len());
            self.found.edits.retain(|edit| edit.at.end <= cut);
            let whole = self.text.get(..cut).is_some_and(|kept| kept.ends_with('\n'));
            let with = if whole { "#EXT-X-ENDLIST\n" } else { "\n#EXT-X-ENDLIST\n" };
            self.found.edit(TextEdit { at: cut..self.text.len(), with: with.into() });
        }
        let variables = if self.multivariant { self.exported() } else { Vec::new() };
        let facts = &mut self.found.facts;
        facts.playheads =
            if live == Some(false) { self.collect.finish(Some(self.start_ms)) } else { Default::default() };
        *facts = ManifestFacts { live, tail: live.map(|_| self.tail), variables, ..std::mem::take(facts) };
        Ok(self.found)
    }
}

fn rooted(purpose: Purpose) -> UriUsage {
    UriUsage { absolute: false, purpose }
}

fn milliseconds(value: &str) -> u64 {
    let seconds = value.split(',').next().unwrap_or_default().trim().parse::<f64>();
    seconds.ok().filter(|seconds| (0.0..1e6).contains(seconds)).map_or(0, |seconds| (seconds * 1000.0).round() as u64)
}
