//! Finds the time at which a segment begins, by its path.
//!
//! The playhead is the time of the newest requested segment, minus the buffer that the player reports (CMCD `bl`). Only
//! titles with an end have such times; a live playhead is now. The parsers fill [`Playheads`]; the media route asks it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A title of a day in segments of six seconds; later segments are not stored.
const MAX_SEGMENT_STARTS: usize = 14_400;
const MAX_TEMPLATES: usize = 64;

/// Starts of segments in milliseconds, in the order of a hash of path and first byte.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Playheads {
    /// End of the title in milliseconds, if the manifest names it.
    end: Option<u64>,
    listed: Arc<[(u32, u32)]>,
    templates: Arc<[NumberedSegments]>,
}

/// Segments by number or time.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct NumberedSegments {
    /// Duration of a segment, in units of `timescale`; only for numbers.
    pub(super) duration: u64,
    pub(super) first: u64,
    /// Start of the period in milliseconds.
    pub(super) offset: u64,
    /// Start of the period in units of `timescale`.
    pub(super) origin: u64,
    /// The path at the origin, with identifiers in dollars.
    pub(super) path: String,
    /// Segments of unlike length; empty if all have the duration.
    pub(super) runs: Vec<SegmentRun>,
    pub(super) timescale: u64,
}

/// Consecutive segments of one length, in units of `timescale`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct SegmentRun {
    pub(super) count: u64,
    pub(super) duration: u64,
    pub(super) start: u64,
}

#[derive(Default)]
pub(super) struct StartCollector {
    known: HashSet<u64>,
    listed: Vec<(u32, u32)>,
    templates: Vec<NumberedSegments>,
}

impl StartCollector {
    pub(super) fn note(&mut self, path: PathHash, first_byte: u64, start_ms: u64) {
        if let (true, Ok(start)) = (self.listed.len() < MAX_SEGMENT_STARTS, u32::try_from(start_ms)) {
            self.listed.push((path.at(first_byte), start));
        }
    }

    pub(super) fn is_full_of_templates(&self) -> bool {
        self.templates.len() >= MAX_TEMPLATES
    }

    /// Adds a template; representations may share one. Hashes find duplicates, because comparing each with all would
    /// cost the product of their lengths. Of two with one hash, one is lost, which costs a playhead.
    pub(super) fn template(&mut self, template: NumberedSegments) {
        let mut hasher = DefaultHasher::new();
        template.hash(&mut hasher);
        if !self.is_full_of_templates() && self.known.insert(hasher.finish()) {
            self.templates.push(template);
        }
    }

    /// `end`: of the title in milliseconds.
    pub(super) fn finish(mut self, end: Option<u64>) -> Playheads {
        self.listed.sort_unstable();
        Playheads { end, listed: self.listed.into(), templates: self.templates.into() }
    }
}

impl Playheads {
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.templates.is_empty()
    }

    /// Approximate memory use.
    pub fn heap_bytes(&self) -> usize {
        let template =
            |template: &NumberedSegments| size_of_val(template) + template.path.len() + size_of_val(&*template.runs);
        size_of_val(&*self.listed) + self.templates.iter().map(template).sum::<usize>()
    }

    /// End of the title in milliseconds.
    pub fn end(&self) -> Option<u64> {
        self.end
    }

    /// Start of the segment at this path (without query), in milliseconds from the title's start.
    pub fn start(&self, path: &str, first_byte: u64) -> Option<u64> {
        let key = PathHash::of(path).at(first_byte);
        let listed = self.listed.binary_search_by_key(&key, |(key, _)| *key).ok();
        let listed = listed.and_then(|index| self.listed.get(index)).map(|(_, start)| u64::from(*start));
        // Periods may share a template: each goes from its own first number to the next one's.
        let fitting = || self.templates.iter().filter_map(|template| Some((template.offset, template.start(path)?)));
        listed.or_else(|| fitting().max_by_key(|(offset, _)| *offset).map(|(_, start)| start))
    }
}

impl NumberedSegments {
    fn start(&self, path: &str) -> Option<u64> {
        let (name, value) = matched(&self.path, path)?;
        let units = match name {
            "Number" => self.numbered(value.checked_sub(self.first)?)?,
            "Time" => value.saturating_sub(self.origin),
            _ => return None,
        };
        Some(units.checked_mul(1000)?.checked_div(self.timescale)?.saturating_add(self.offset))
    }

    /// Start of the segment with this `index`, which counts from 0, since the origin.
    fn numbered(&self, index: u64) -> Option<u64> {
        if self.runs.is_empty() {
            return index.checked_mul(self.duration).filter(|_| self.duration > 0);
        }
        let mut left = index;
        for run in &self.runs {
            if left < run.count {
                return Some(run.start.saturating_add(left.checked_mul(run.duration)?).saturating_sub(self.origin));
            }
            left -= run.count;
        }
        None
    }

    /// Adds an `S` of a timeline (ISO/IEC 23009-1, section 5.3.9.6): `t`, `d` and `r`. The last may repeat to the end.
    pub(super) fn run(&mut self, start: Option<u64>, duration: u64, repeat: i64) {
        const RUNS: usize = 4096;
        let open = |run: &SegmentRun| run.count == u64::MAX;
        let before = self.runs.last_mut().map(|run| {
            if let (true, Some(start)) = (open(run), start) {
                run.count = start.saturating_sub(run.start).checked_div(run.duration).unwrap_or_default();
            }
            run.start.saturating_add(run.duration.saturating_mul(run.count))
        });
        let count = u64::try_from(repeat).map_or(u64::MAX, |repeat| repeat.saturating_add(1));
        if self.runs.len() < RUNS {
            self.runs.push(SegmentRun { count, duration, start: start.or(before).unwrap_or_default() });
        }
    }
}

/// The number at `$Number$` or `$Time$`, if the rest of the path fits.
fn matched<'t>(template: &'t str, path: &str) -> Option<(&'t str, u64)> {
    let (mut left, mut found) = (path, None);
    let mut parts = template.split('$');
    left = left.strip_prefix(parts.next()?)?;
    while let Some(name) = parts.next() {
        let after = parts.next()?;
        let name = name.split('%').next().unwrap_or_default();
        let end = match name {
            "" => 0,
            "Number" | "Time" => left.find(|c: char| !c.is_ascii_digit()).unwrap_or(left.len()),
            _ if after.is_empty() => left.find('/').unwrap_or(left.len()),
            _ => left.find(after)?,
        };
        let (value, rest) = left.split_at_checked(end)?;
        if matches!(name, "Number" | "Time") {
            found = Some((name, value.parse().ok()?));
        }
        left = rest.strip_prefix(after)?;
    }
    found.filter(|_| left.is_empty())
}

/// An FNV-1a hash of a path: a collision only costs a wrong playhead. Hashing on from a prefix gives the hash of the
/// whole path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PathHash(u32);

impl PathHash {
    pub(super) fn of(path: &str) -> Self {
        Self(0x811c_9dc5).and(path)
    }

    pub(super) fn and(self, more: &str) -> Self {
        self.with(more.bytes())
    }

    /// Hash of the part that begins at this byte.
    fn at(self, first_byte: u64) -> u32 {
        self.with(first_byte.to_be_bytes().into_iter()).0
    }

    fn with(self, bytes: impl Iterator<Item = u8>) -> Self {
        Self(bytes.fold(self.0, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_tells_when_a_segment_begins() {
        let template = |path: &str| NumberedSegments {
            duration: 96_000,
            first: 1,
            offset: 10_000,
            origin: 0,
            path: path.to_owned(),
            runs: Vec::new(),
            timescale: 48_000,
        };
        for (pattern, path, start) in [
            ("/v/$RepresentationID$/s$Number%05d$.m4s", "/v/hd/s00004.m4s", Some(16_000)),
            ("/v/$RepresentationID$/s$Number%05d$.m4s", "/v/hd/s00000.m4s", None),
            ("/v/$RepresentationID$/s$Number%05d$.m4s", "/v/hd/init.m4s", None),
            ("/v/$Time$.m4s", "/v/480000.m4s", Some(20_000)),
            ("/v/$Bandwidth$-$Number$", "/v/9-3", Some(14_000)),
            ("/v/$Time", "/v/1", None),
        ] {
            assert_eq!(template(pattern).start(path), start, "{pattern} {path}");
        }
    }
}
