//! Makes a slate's MPD follow a live programme: its period repeats, each time at its place on the programme's timeline.
//! So a player that reloads its MPD goes on from one period to the next. The media route calls [`insert`].

use std::fmt::Write as _;
use std::time::Duration;

use quick_xml::Reader as XmlReader;
use quick_xml::events::Event;

use super::super::MAX_EXTRA_OUTPUT_BYTES;
use super::text::value;
use super::{date_time, position};

/// The programme's way to count time, and the start of the slate; times since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct DashSlate<'a> {
    pub now: Duration,
    /// The MPD that the player has seen.
    pub programme: &'a str,
    pub since: Duration,
}

/// The parts of the slate's MPD.
struct MpdParts<'a> {
    duration: Duration,
    inner: &'a str,
    profiles: String,
}

/// Returns the MPD that follows the programme's. `slate` is an MPD with an end, its URIs edited. `None` unless the
/// slate has one period with a duration and the programme is live.
pub fn insert(slate: &str, at: &DashSlate<'_>) -> Option<String> {
    let start = availability_start(at.programme)?;
    let MpdParts { duration, inner, profiles } = parts(slate)?;
    let begun = at.since.checked_sub(start)?;
    let round = (at.now.saturating_sub(at.since).as_secs_f64() / duration.as_secs_f64()) as u32;
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         xmlns:cenc=\"urn:mpeg:cenc:2013\" profiles=\"{}\" type=\"dynamic\" availabilityStartTime=\"{}\" \
         publishTime=\"{}\" minimumUpdatePeriod=\"PT2S\" minBufferTime=\"PT2S\" timeShiftBufferDepth=\"PT30S\">\n",
        quick_xml::escape::escape(&profiles),
        date_text(start),
        date_text(at.now),
    );
    // A delayed player still plays the previous round. For a very large slate that round is omitted.
    let most = slate.len().saturating_mul(2).saturating_add(MAX_EXTRA_OUTPUT_BYTES);
    let behind = u32::from(inner.len().saturating_mul(3) <= most);
    for round in round.saturating_sub(behind)..=round.saturating_add(1) {
        let start = begun.saturating_add(duration.saturating_mul(round)).as_secs_f64();
        let length = duration.as_secs_f64();
        // Writing into a String cannot fail.
        let _written = writeln!(
            text,
            "<Period id=\"slate-{}-{round}\" start=\"PT{start:.3}S\" duration=\"PT{length:.3}S\">{inner}</Period>",
            at.since.as_secs(),
        );
    }
    text.push_str("</MPD>\n");
    Some(text)
}

fn availability_start(programme: &str) -> Option<Duration> {
    let mut xml = XmlReader::from_str(programme);
    loop {
        match xml.read_event().ok()? {
            Event::Start(start) => {
                let live = value(&start, "type").as_deref() == Some("dynamic");
                return date_time::date_time(&value(&start, "availabilityStartTime")?).filter(|_| live);
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Text(_) => {}
            Event::CData(_)
            | Event::DocType(_)
            | Event::Empty(_)
            | Event::End(_)
            | Event::Eof
            | Event::GeneralRef(_) => return None,
        }
    }
}

/// The first period of a slate with an end.
fn parts(slate: &str) -> Option<MpdParts<'_>> {
    let mut xml = XmlReader::from_str(slate);
    let (mut depth, mut duration, mut from, mut profiles) = (0_usize, None, None, String::new());
    loop {
        let before = position(&xml);
        match xml.read_event().ok()? {
            Event::Start(start) => {
                match (depth, start.local_name().as_ref()) {
                    (0, "MPD") if value(&start, "type").as_deref() == Some("dynamic") => return None,
                    (0, "MPD") => {
                        duration =
                            value(&start, "mediaPresentationDuration").and_then(|text| date_time::duration(&text));
                        profiles = value(&start, "profiles").unwrap_or_default();
                    }
                    (1, "Period") => {
                        let own = value(&start, "duration").and_then(|text| date_time::duration(&text));
                        duration = own.or(duration);
                        from = Some(position(&xml));
                    }
                    _ => {}
                }
                depth += 1;
            }
            Event::End(_) => {
                depth = depth.checked_sub(1)?;
                if let (1, Some(from)) = (depth, from) {
                    let duration = duration.filter(|duration| *duration >= Duration::from_millis(500))?;
                    return Some(MpdParts { duration, inner: slate.get(from..before)?, profiles });
                }
            }
            Event::DocType(_) | Event::Eof => return None,
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::Empty(_)
            | Event::GeneralRef(_)
            | Event::PI(_)
            | Event::Text(_) => {}
        }
    }
}

/// `2026-01-01T19:00:00.000Z`
fn date_text(at: Duration) -> String {
    let (days, seconds) = (at.as_secs() / 86_400, at.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", at.subsec_millis())
}

/// The inverse of `date_time::days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLATE: &str = "<MPD type=\"static\" mediaPresentationDuration=\"PT8S\" profiles=\"p\"><Period id=\"x\">\
        <AdaptationSet/></Period></MPD>";

    #[test]
    fn a_slate_stands_on_the_programmes_timeline() {
        let programme = "<?xml version=\"1.0\"?><!-- x --><MPD type=\"dynamic\" \
            availabilityStartTime=\"2026-01-01T00:00:00Z\"><Period/></MPD>";
        let start = Duration::from_secs(1_767_225_600);
        let at = |now: u64| DashSlate {
            now: start + Duration::from_secs(now),
            programme,
            since: start + Duration::from_secs(100),
        };
        let first = insert(SLATE, &at(101)).unwrap();
        assert!(first.contains("availabilityStartTime=\"2026-01-01T00:00:00.000Z\""), "{first}");
        assert!(first.contains("<Period id=\"slate-1767225700-0\" start=\"PT100.000S\" duration=\"PT8.000S\">"));
        let later = insert(SLATE, &at(118)).unwrap();
        let starts: Vec<_> = later.split("start=\"PT").skip(1).map(|rest| rest.split('S').next().unwrap()).collect();
        assert_eq!(starts, ["108.000", "116.000", "124.000"]);
        assert!(insert(SLATE, &DashSlate { programme: "<MPD/>", ..at(1) }).is_none());
        assert!(insert("<MPD><Period/></MPD>", &at(101)).is_none());
    }

    #[test]
    fn written_dates_read_back_equal() {
        for days in (0..100_000).step_by(7) {
            let at = Duration::from_secs(days * 86_400 + 3661);
            assert_eq!(date_time::date_time(&date_text(at)), Some(at));
        }
    }
}
