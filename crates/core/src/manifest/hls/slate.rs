//! Makes a slate's playlist follow a live playlist: its segments repeat, numbered on from the end of the programme.
//!
//! The player sees its playlist go on behind a discontinuity (RFC 8216, section 6.2.2). The media route calls
//! [`continued`].

use std::fmt::Write as _;
use std::time::Duration;

use super::super::MAX_EXTRA_OUTPUT_BYTES;
use super::attributes::attributes;
use super::milliseconds;

/// Segments that the player may already fetch when the slate begins, and later ones in advance.
const SEGMENTS_AHEAD_OF_SLATE: u64 = 3;
const SLATE_WINDOW_SEGMENTS: u64 = 6;

/// The end of a playlist that a player has seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PlaylistTail {
    /// Number of discontinuities up to its end.
    pub discontinuity: u64,
    /// Number of the next segment.
    pub next: u64,
    pub target_s: u64,
}

#[derive(Default)]
struct SlateSegment<'a> {
    /// Lines except the URI and the byte range.
    lines: Vec<&'a str>,
    ms: u64,
    /// Byte range with its offset.
    range: Option<String>,
    uri: &'a str,
}

#[derive(Default)]
struct HlsSlate<'a> {
    /// Key and map: those of the first segment serve all.
    head: Vec<&'a str>,
    pieces: Vec<SlateSegment<'a>>,
    target_s: u64,
    total_ms: u64,
}

/// Returns the playlist that follows `tail`, so long after the slate began. `slate` is a media playlist with an end,
/// its URIs edited. `None` if it has no segments, or if the lines repeated in each round are too large.
pub fn continued(slate: &str, tail: &PlaylistTail, elapsed: Duration) -> Option<String> {
    let most = slate.len().saturating_mul(2).saturating_add(MAX_EXTRA_OUTPUT_BYTES);
    let slate = parse(slate);
    if slate.total_ms == 0 {
        return None;
    }
    let count = slate.pieces.len() as u64;
    let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let end = slate.index(elapsed).saturating_add(SEGMENTS_AHEAD_OF_SLATE);
    let first = end.saturating_sub(SLATE_WINDOW_SEGMENTS);
    let begun = if first == 0 { 0 } else { (first - 1) / count + 1 };
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
        tail.target_s.max(slate.target_s),
        tail.next.saturating_add(first),
        tail.discontinuity.saturating_add(begun),
    );
    for index in first..end {
        slate.write(&mut text, index % count, index == first);
        if text.len() > most {
            return None;
        }
    }
    Some(text)
}

/// The first playlist that a multivariant one names for sound alone, or for everything. `None` for a media playlist, or
/// if there is none.
pub fn rendition(text: &str, audio: bool) -> Option<&str> {
    let mut announced = false;
    let mut variant = None;
    for line in text.lines().map(str::trim) {
        if let Some(list) = line.strip_prefix("#EXT-X-MEDIA:").filter(|_| audio) {
            let find = |name| attributes(list).find(|(key, _)| *key == name).map(|(_, value)| value);
            if let (Some("AUDIO"), Some(uri)) = (find("TYPE"), find("URI")) {
                return Some(uri);
            }
        } else if line.starts_with("#EXT-X-STREAM-INF:") {
            announced = true;
        } else if announced && !line.is_empty() && !line.starts_with('#') {
            announced = false;
            variant = variant.or(Some(line));
        }
    }
    variant
}

impl HlsSlate<'_> {
    /// Index of the segment at this time, counted on over the rounds.
    fn index(&self, elapsed: u64) -> u64 {
        let (round, mut left) = (elapsed / self.total_ms, elapsed % self.total_ms);
        let within = self.pieces.iter().position(|piece| {
            let plays = left < piece.ms;
            left = left.saturating_sub(piece.ms);
            plays
        });
        round.saturating_mul(self.pieces.len() as u64).saturating_add(within.unwrap_or_default() as u64)
    }

    fn write(&self, text: &mut String, index: u64, first: bool) {
        let Some(piece) = usize::try_from(index).ok().and_then(|index| self.pieces.get(index)) else { return };
        if index == 0 {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if index == 0 || first {
            self.head.iter().for_each(|line| text.extend([line, "\n"]));
        }
        piece.lines.iter().for_each(|line| text.extend([line, "\n"]));
        if let Some(range) = &piece.range {
            // Writing into a String cannot fail.
            let _written = writeln!(text, "#EXT-X-BYTERANGE:{range}");
        }
        text.extend([piece.uri, "\n"]);
    }
}

fn parse(text: &str) -> HlsSlate<'_> {
    let (mut slate, mut piece, mut after) = (HlsSlate::default(), SlateSegment::default(), 0_u64);
    let mut clear = true;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            _ if !line.starts_with('#') => {
                piece.uri = line;
                slate.total_ms = slate.total_ms.saturating_add(piece.ms);
                slate.pieces.push(std::mem::take(&mut piece));
            }
            "#EXTINF" => {
                piece.ms = milliseconds(value).max(1);
                piece.lines.push(line);
            }
            "#EXT-X-BYTERANGE" => piece.range = Some(with_offset(value, &mut after)),
            "#EXT-X-KEY" | "#EXT-X-MAP" => {
                clear &= tag != "#EXT-X-KEY";
                if slate.pieces.is_empty() {
                    slate.head.push(line);
                }
            }
            "#EXT-X-TARGETDURATION" => slate.target_s = value.trim().parse().unwrap_or_default(),
            _ => {}
        }
    }
    if clear {
        // The programme's keys end here.
        slate.head.insert(0, "#EXT-X-KEY:METHOD=NONE");
    }
    slate
}

fn with_offset(value: &str, after: &mut u64) -> String {
    let (length, first) = value.split_once('@').unwrap_or((value, ""));
    let length: u64 = length.trim().parse().unwrap_or_default();
    let first = first.trim().parse().unwrap_or(*after);
    *after = first.saturating_add(length);
    format!("{length}@{first}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLATE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"/i.mp4\",BYTERANGE=\"9@0\"\n#EXTINF:2.0,\n\
        #EXT-X-BYTERANGE:10@9\n/v.mp4\n#EXTINF:2.0,\n#EXT-X-BYTERANGE:11\n/v.mp4\n#EXT-X-ENDLIST\n";

    #[test]
    fn a_slate_follows_the_programme_without_a_gap_in_its_numbers() {
        let tail = PlaylistTail { discontinuity: 4, next: 100, target_s: 6 };
        let (mut seen, mut discontinuities) = (Vec::<(u64, String)>::new(), Vec::new());
        for seconds in 0..40 {
            let text = continued(SLATE, &tail, Duration::from_secs(seconds)).unwrap();
            let number = |tag: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(tag)).unwrap();
                line.parse::<u64>().unwrap()
            };
            assert_eq!(number("#EXT-X-TARGETDURATION:"), 6);
            assert!(!text.contains("ENDLIST"));
            let (mut sequence, mut discontinuity) =
                (number("#EXT-X-MEDIA-SEQUENCE:"), number("#EXT-X-DISCONTINUITY-SEQUENCE:"));
            let mut range = "";
            let mut mapped = false;
            for line in text.lines() {
                mapped = (mapped && line != "#EXT-X-DISCONTINUITY") || line.starts_with("#EXT-X-MAP:");
                discontinuity += u64::from(line == "#EXT-X-DISCONTINUITY");
                range = line.strip_prefix("#EXT-X-BYTERANGE:").unwrap_or(range);
                if !line.starts_with('#') {
                    assert!(mapped, "a segment that nothing initialises, {seconds} s in:\n{text}");
                    seen.push((sequence, format!("{line} {range}")));
                    discontinuities.push((sequence, discontinuity));
                    sequence += 1;
                }
            }
        }
        seen.sort();
        seen.dedup();
        discontinuities.sort();
        discontinuities.dedup();
        // Each number names one segment in one discontinuity, at any time.
        let numbers: Vec<_> = seen.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (100..100 + 19 + 3).collect::<Vec<_>>());
        assert_eq!(seen[0].1, "/v.mp4 10@9");
        assert_eq!(seen[3].1, "/v.mp4 11@19");
        assert!(discontinuities.iter().all(|(number, which)| *which == 5 + (number - 100) / 2), "{discontinuities:?}");
    }

    #[test]
    fn the_programmes_key_and_map_do_not_reach_the_slate() {
        let text = continued(SLATE, &PlaylistTail::default(), Duration::ZERO).unwrap();
        let (_, behind) = text.split_once("#EXT-X-DISCONTINUITY\n").unwrap();
        assert!(behind.starts_with("#EXT-X-KEY:METHOD=NONE\n#EXT-X-MAP:URI=\"/i.mp4\""), "{text}");
        assert_eq!(continued("#EXTM3U\n", &PlaylistTail::default(), Duration::ZERO), None);
    }
}
