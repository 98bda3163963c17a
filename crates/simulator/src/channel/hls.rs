//! The channel's playlists. Each round is a discontinuity, because its segments' timestamps restart.

use std::fmt::Write;

use super::SEGMENTS_PER_ROUND;
use super::title::TitleTrack;

pub(super) const MEDIA_TYPE: &str = "application/vnd.apple.mpegurl";

/// The count of rounds restarts after six days, because hls.js 1.7 takes seconds for each playlist that counts
/// hundreds of millions of discontinuities.
const MAX_ROUNDS_COUNTED: u64 = 1 << 16;

pub(super) fn main() -> String {
    "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
     #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"tone\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a.m3u8\"\n\
     #EXT-X-STREAM-INF:BANDWIDTH=120000,CODECS=\"avc1.4d4015,mp4a.40.2\",RESOLUTION=320x180,AUDIO=\"a\"\nv.m3u8\n"
        .to_owned()
}

pub(super) fn playlist(track: &TitleTrack, name: &str, (first, end): (u64, u64), live: bool) -> String {
    let begun = first.checked_sub(1).map_or(0, |before| before / SEGMENTS_PER_ROUND + 1) % MAX_ROUNDS_COUNTED;
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{begun}\n#EXT-X-MAP:URI=\"{name}/init.mp4\"\n"
    );
    if let Some(key) = track.key() {
        text.extend([key, "\n"]);
    }
    for number in first..end {
        if number % SEGMENTS_PER_ROUND == 0 && (live || number > 0) {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let length = track.length(number % SEGMENTS_PER_ROUND).unwrap_or("2.0");
        // Writing into a String cannot fail.
        let _written = write!(text, "#EXTINF:{length},\n{name}/{number}.m4s\n");
    }
    if !live {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}
