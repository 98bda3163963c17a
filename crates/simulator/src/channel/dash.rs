//! The channel's MPDs. Each round is a period, numbered since the epoch.

use std::fmt::Write;
use std::time::Duration;

use super::title::TitleFiles;
use super::{ROUND_DURATION, SEGMENT_DURATION, SEGMENTS_PER_ROUND};

pub(super) const MEDIA_TYPE: &str = "application/dash+xml";

/// Marks encrypted content: the key's id, and ClearKey by the scheme that Shaka and dash.js both know.
const PROTECTION: &str = "<ContentProtection schemeIdUri=\"urn:mpeg:dash:mp4protection:2011\" value=\"cenc\" \
     cenc:default_KID=\"00112233-4455-6677-8899-aabbccddeeff\"/>\
     <ContentProtection schemeIdUri=\"urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e\" value=\"ClearKey1.0\"/>";

pub(super) fn mpd(title: &TitleFiles, (first, end): (u64, u64), wall: Duration, live: bool) -> String {
    let kind = if live {
        format!(
            "type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\" minimumUpdatePeriod=\"PT2S\" \
             timeShiftBufferDepth=\"PT16S\" suggestedPresentationDelay=\"PT6S\" publishTime=\"{}\"",
            date_time(wall)
        )
    } else {
        format!("type=\"static\" mediaPresentationDuration=\"PT{}S\"", (end - first) * SEGMENT_DURATION.as_secs())
    };
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         xmlns:cenc=\"urn:mpeg:cenc:2013\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" \
         minBufferTime=\"PT2S\" {kind}>\n"
    );
    // A round that has begun is announced whole. Its segments become available by the clock.
    for round in first / SEGMENTS_PER_ROUND..=end.saturating_sub(u64::from(!live)) / SEGMENTS_PER_ROUND {
        let (start, length) = (round * ROUND_DURATION.as_secs(), ROUND_DURATION.as_secs());
        // Writing into a String cannot fail.
        let _written = writeln!(text, "<Period id=\"{round}\" start=\"PT{start}S\" duration=\"PT{length}S\">");
        for (track, name, kind, codecs, more) in [
            (&title.video, "v", "video", "avc1.4d4015", "bandwidth=\"90000\" width=\"320\" height=\"180\""),
            (&title.audio, "a", "audio", "mp4a.40.2", "bandwidth=\"26000\" audioSamplingRate=\"44100\""),
        ] {
            let protection = track.key().map_or("", |_| PROTECTION);
            let (number, duration) = (round * SEGMENTS_PER_ROUND, SEGMENT_DURATION.as_secs());
            let _written = writeln!(
                text,
                "<AdaptationSet contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\" \
                 startWithSAP=\"1\">{protection}<SegmentTemplate media=\"{name}/$Number$.m4s\" \
                 initialization=\"{name}/init.mp4\" startNumber=\"{number}\" duration=\"{duration}\"/>\
                 <Representation id=\"{name}\" codecs=\"{codecs}\" {more}/></AdaptationSet>"
            );
        }
        text.push_str("</Period>\n");
    }
    text.push_str("</MPD>\n");
    text
}

/// Rewrites `Sun, 06 Nov 1994 08:49:37 GMT` in the form of an MPD.
fn date_time(wall: Duration) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(wall.as_secs()));
    let mut parts = text.split(' ').skip(1);
    let (day, month) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let month = MONTHS.iter().position(|name| *name == month).unwrap_or_default() + 1;
    let (year, time) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{year}-{month:02}-{day}T{time}Z")
}
