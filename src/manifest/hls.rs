//! HLS playlists, line by line (RFC 8216, and draft-pantos-hls-rfc8216bis for its newer tags).

pub(super) mod attributes;
pub(super) mod slate;
mod variables;

use self::attributes::{attributes, quoted};
use self::slate::Tail;
use self::variables::substituted;
use super::places::{self, Named, Places};
use super::playhead::{Collect, Key};
use super::{Edit, Facts, Found, MOST, Plan, Purpose, Unfit};

/// Tags that carry URIs, the attributes that do, and what for.
const TAGS: [(&str, &str, Purpose); 14] = [
    ("#EXT-X-CONTENT-STEERING", "SERVER-URI", Purpose::Steering),
    ("#EXT-X-DATERANGE", "X-ASSET-LIST", Purpose::Data),
    ("#EXT-X-DATERANGE", "X-ASSET-URI", Purpose::Manifest),
    ("#EXT-X-I-FRAME-STREAM-INF", "URI", Purpose::Manifest),
    ("#EXT-X-IMAGE-STREAM-INF", "URI", Purpose::Manifest),
    ("#EXT-X-KEY", "URI", Purpose::Data),
    ("#EXT-X-MAP", "URI", Purpose::Segment),
    ("#EXT-X-MEDIA", "URI", Purpose::Manifest),
    ("#EXT-X-PART", "URI", Purpose::Segment),
    ("#EXT-X-PRELOAD-HINT", "URI", Purpose::Segment),
    ("#EXT-X-RENDITION-REPORT", "URI", Purpose::Manifest),
    ("#EXT-X-SESSION-DATA", "URI", Purpose::Data),
    ("#EXT-X-SESSION-KEY", "URI", Purpose::Data),
    ("#EXT-X-STREAM-INF", "", Purpose::Manifest),
];
/// Variables that one playlist may define. One that was not followed could lead past the route unseen.
const MAX_VARIABLES: usize = 64;
const RENDITIONS: usize = 64;

struct Reader<'a> {
    /// The URI line to come names a playlist.
    announced: bool,
    collect: Collect,
    /// Where the playlist is to end.
    cut: Option<usize>,
    duration_ms: u64,
    ended: bool,
    found: Found,
    multivariant: bool,
    places: Places,
    plan: &'a Plan<'a>,
    /// Of the segment to come: first byte, and the byte after the last one before.
    range: (u64, u64),
    start_ms: u64,
    tail: Tail,
    text: &'a str,
    variables: Vec<(&'a str, &'a str)>,
}

pub(super) fn read(text: &str, plan: &Plan<'_>) -> Result<Found, Unfit> {
    let mut reader = Reader {
        announced: false,
        collect: Collect::default(),
        cut: None,
        duration_ms: 0,
        ended: false,
        found: Found::default(),
        multivariant: false,
        places: Places::new(quoted),
        plan,
        range: (0, 0),
        start_ms: 0,
        tail: Tail::default(),
        text,
        variables: Vec::new(),
    };
    let mut begin = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    for (count, end) in ends.enumerate() {
        if count == MOST {
            return Err(Unfit::Many);
        }
        // For players a CR alone ends a line, too.
        text.get(begin..end)
            .unwrap_or_default()
            .trim_ascii()
            .split('\r')
            .try_for_each(|line| reader.line(line.trim_ascii()))?;
        begin = end + 1;
    }
    Ok(reader.finish())
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) -> Result<(), Unfit> {
        if line.is_empty() {
            return Ok(());
        }
        if !line.starts_with('#') {
            return self.uri_line(line);
        }
        // Every other line is one of these.
        if let Some(value) = line.strip_prefix("#EXTINF:") {
            self.duration_ms = milliseconds(value);
            return Ok(());
        }
        let Some((tag, value)) = line.split_once(':') else {
            self.bare(line);
            return Ok(());
        };
        self.note(tag, value)?;
        if !tag.starts_with("#EXT-X-") {
            return Ok(());
        }
        for (_, name, purpose) in TAGS.iter().filter(|(known, ..)| *known == tag) {
            let wanted = |(key, _): &(&str, &str)| key == name;
            let uris: Vec<_> = attributes(value).filter(wanted).map(|(_, uri)| uri).collect();
            if *purpose == Purpose::Steering {
                self.steering(line, &uris)?;
                continue;
            }
            for uri in uris {
                self.uri(uri, *purpose, false)?;
            }
        }
        Ok(())
    }

    /// Bound, or taken off as a whole: a list that does not pass through us could lead anywhere.
    fn steering(&mut self, line: &'a str, uris: &[&'a str]) -> Result<(), Unfit> {
        let (edits, left) = (self.found.edits.len(), self.found.left);
        for uri in uris {
            let before = self.found.edits.len();
            self.uri(uri, Purpose::Steering, false)?;
            if self.found.edits.len() == before && !uri.starts_with(self.plan.own) {
                self.found.left = left;
                self.found.edits.truncate(edits);
                let at = self.offset(line);
                self.found.edit(Edit { at: at..at + line.len(), with: "#".into() });
                break;
            }
        }
        Ok(())
    }

    fn bare(&mut self, tag: &str) {
        match tag {
            "#EXT-X-DISCONTINUITY" => self.tail.discontinuity += 1,
            "#EXT-X-ENDLIST" => self.ended = true,
            _ => {}
        }
    }

    fn note(&mut self, tag: &str, value: &'a str) -> Result<(), Unfit> {
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
            "#EXT-X-STREAM-INF" => {
                self.multivariant = true;
                self.announced = true;
            }
            "#EXT-X-SKIP" => self.skip(value),
            "#EXT-X-TARGETDURATION" => self.tail.target_s = number(),
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

    fn define(&mut self, value: &'a str) -> Result<(), Unfit> {
        let find = |name| attributes(value).find(|(key, _)| *key == name).map(|(_, value)| value);
        let (Some(name), Some(value)) = (find("NAME"), find("VALUE")) else { return Ok(()) };
        if self.variables.len() == MAX_VARIABLES {
            return Err(Unfit::Many);
        }
        self.lead(value);
        self.variables.push((name, value));
        self.places.forget();
        Ok(())
    }

    /// Other playlists import it. What a URI of theirs can only begin with leads them through us.
    fn lead(&mut self, value: &'a str) {
        let absolute = value.split_once("//").is_some_and(|(scheme, _)| scheme.is_empty() || scheme.ends_with(':'));
        let Some(to) = self.plan.base.absolute(value).filter(|_| absolute) else { return };
        let Some(bound) = (self.plan.bind)(&to, Purpose::Segment) else { return };
        let bare = to.path == "/" && !value.ends_with('/');
        let bound = if bare { bound.trim_end_matches('/') } else { &bound };
        if bound != value {
            let at = self.offset(value);
            self.found.edit(Edit { at: at..at + value.len(), with: quoted(bound).into() });
        }
    }

    /// Segments that the player has already, from the number of its playlist on.
    fn skip(&mut self, value: &str) {
        let skipped = attributes(value).find(|(key, _)| *key == "SKIPPED-SEGMENTS");
        let skipped = skipped.and_then(|(_, number)| number.trim().parse().ok());
        self.tail.next = self.tail.next.saturating_add(skipped.unwrap_or_default());
    }

    fn rendition(&mut self, value: &str) -> Result<(), Unfit> {
        let find = |name| attributes(value).find(|(key, _)| *key == name).map(|(_, value)| value);
        if let (Some("AUDIO"), Some(uri)) = (find("TYPE"), find("URI"))
            && self.found.facts.audio.len() < RENDITIONS
        {
            let path = places::path(&self.plan.base, &substituted(&self.variables, uri)?);
            self.found.facts.audio.push(path);
        }
        Ok(())
    }

    fn uri_line(&mut self, uri: &'a str) -> Result<(), Unfit> {
        if std::mem::take(&mut self.announced) {
            return self.uri(uri, Purpose::Manifest, false).map(|_path| ());
        }
        let path = self.uri(uri, Purpose::Segment, self.plan.playheads)?;
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

    /// Its path at its server, if that is wanted.
    fn uri(&mut self, uri: &'a str, purpose: Purpose, wanted: bool) -> Result<Option<Key>, Unfit> {
        let named = self.named(uri, purpose);
        let whole = substituted(&self.variables, uri)?;
        if uri.starts_with("{$") && whole.starts_with("{$") {
            // Only the player knows what it begins with.
            return Ok(None);
        }
        let path = self.places.bind(self.plan, &self.plan.base, &named, |_| whole.clone(), &mut self.found, wanted);
        self.found.check(self.text.len())?;
        Ok(path)
    }

    /// `raw` is a slice of the text.
    fn named(&self, raw: &'a str, purpose: Purpose) -> Named<'a> {
        Named { at: self.offset(raw), purpose, raw }
    }

    fn offset(&self, slice: &str) -> usize {
        (slice.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    fn finish(mut self) -> Found {
        let live = (!self.multivariant).then_some(!self.ended);
        if live == Some(true) && self.plan.end.is_some() {
            let cut = self.cut.unwrap_or(self.text.len());
            self.found.edits.retain(|edit| edit.at.end <= cut);
            let whole = self.text.get(..cut).is_some_and(|kept| kept.ends_with('\n'));
            let with = if whole { "#EXT-X-ENDLIST\n" } else { "\n#EXT-X-ENDLIST\n" };
            self.found.edit(Edit { at: cut..self.text.len(), with: with.into() });
        }
        let facts = &mut self.found.facts;
        facts.playheads =
            if live == Some(false) { self.collect.finish(Some(self.start_ms)) } else { Default::default() };
        *facts = Facts { live, tail: live.map(|_| self.tail), ..std::mem::take(facts) };
        self.found
    }
}

fn milliseconds(value: &str) -> u64 {
    let seconds = value.split(',').next().unwrap_or_default().trim().parse::<f64>();
    seconds.ok().filter(|seconds| (0.0..1e6).contains(seconds)).map_or(0, |seconds| (seconds * 1000.0).round() as u64)
}
