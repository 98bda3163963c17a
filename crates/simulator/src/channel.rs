//! A small channel to try and test media routes: live and on demand, in HLS and DASH, with a slate.
//!
//! The channel has two rounds of 8 s in four segments each, video and audio apart (`channel/asset/make.sh` makes
//! them): the programme is encrypted with the simulator's first ClearKey key, the slate is in clear. A title of the
//! programme has eight rounds, the slate one. Live, they repeat by wall time: everything is computed from the time,
//! and nothing is kept.
//!
//! | path | |
//! |---|---|
//! | `/live/main.m3u8`, `/live/main.mpd` | the programme, live |
//! | `/vod/main.m3u8`, `/vod/main.mpd` | the programme, with an end |
//! | `/slate/main.m3u8`, `/slate/main.mpd` | the slate, with an end |
//! | `/slate-live/main.m3u8`, `/slate-live/main.mpd` | the slate, live |

mod dash;
mod hls;
mod title;

use std::time::Duration;

use bytes::Bytes;

use self::title::{PROGRAMME, SLATE, TitleFiles, TitleTrack};

/// Duration of a whole round.
const ROUND_DURATION: Duration = Duration::from_secs(8);
const SEGMENT_DURATION: Duration = Duration::from_secs(2);
/// Segments of a round.
const SEGMENTS_PER_ROUND: u64 = 4;
/// Rounds of the programme on demand, which is longer than players buffer.
const ROUNDS_PER_TITLE: u64 = 8;
/// Segments that a live window shows.
const LIVE_WINDOW_SEGMENTS: u64 = 8;

pub(super) struct ChannelPage {
    pub(super) body: Bytes,
    pub(super) media_type: &'static str,
}

/// The channel's file at this path; `None` if there is none. `wall` is the time since the epoch.
pub(super) fn page(path: &str, wall: Duration) -> Option<ChannelPage> {
    let (folder, below) = path.strip_prefix('/')?.split_once('/')?;
    let (title, live) = match folder {
        "live" => (&PROGRAMME, true),
        "slate" => (&SLATE, false),
        "slate-live" => (&SLATE, true),
        "vod" => (&PROGRAMME, false),
        _ => return None,
    };
    let window = if live {
        window(wall)
    } else {
        (0, if folder == "vod" { ROUNDS_PER_TITLE * SEGMENTS_PER_ROUND } else { SEGMENTS_PER_ROUND })
    };
    let text = |media_type, text: String| ChannelPage { body: text.into(), media_type };
    Some(match below {
        "a.m3u8" => text(hls::MEDIA_TYPE, hls::playlist(&title.audio, "a", window, live)),
        "main.m3u8" => text(hls::MEDIA_TYPE, hls::main()),
        "main.mpd" => text(dash::MEDIA_TYPE, dash::mpd(title, window, wall, live)),
        "v.m3u8" => text(hls::MEDIA_TYPE, hls::playlist(&title.video, "v", window, live)),
        _ => ChannelPage { body: segment(title, below)?, media_type: "video/mp4" },
    })
}

/// The segments of the live window, counted since the epoch.
fn window(wall: Duration) -> (u64, u64) {
    let ended = wall.as_secs() / SEGMENT_DURATION.as_secs();
    (ended.saturating_sub(LIVE_WINDOW_SEGMENTS), ended)
}

/// Reads `v/init.mp4` or `v/3.m4s`. The number counts since the epoch or within the round.
fn segment(title: &TitleFiles, path: &str) -> Option<Bytes> {
    let (track, name) = path.split_once('/')?;
    let track: &TitleTrack = match track {
        "a" => &title.audio,
        "v" => &title.video,
        _ => return None,
    };
    if name == "init.mp4" {
        return track.init();
    }
    track.segment(name.strip_suffix(".m4s")?.parse::<u64>().ok()? % SEGMENTS_PER_ROUND)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::options::DEMO_KEYS;
    use super::*;

    fn text(path: &str, wall: Duration) -> String {
        String::from_utf8(page(path, wall).unwrap().body.to_vec()).unwrap()
    }

    #[test]
    fn a_live_window_slides_and_keeps_its_numbers() {
        let at = |seconds: u64| Duration::from_secs(1_795_307_401 + seconds);
        let (early, late) = (text("/live/v.m3u8", at(0)), text("/live/v.m3u8", at(2)));
        let segments = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.ends_with(".m4s")).map(str::to_owned).collect()
        };
        assert_eq!(segments(&early)[1..], segments(&late)[..LIVE_WINDOW_SEGMENTS as usize - 1]);
        assert!(
            early.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", (1_795_307_401 / 2) - LIVE_WINDOW_SEGMENTS)),
            "{early}"
        );
        assert!(!early.contains("ENDLIST"));
        assert!(text("/vod/v.m3u8", at(0)).contains("#EXT-X-ENDLIST"));
    }

    #[test]
    fn the_programme_is_encrypted_with_the_first_key_and_the_slate_is_clear() {
        let wall = Duration::from_secs(1_795_307_401);
        let id = DEMO_KEYS[0].id;
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let holds = |path: &str, what: &[u8]| memchr::memmem::find(&page(path, wall).unwrap().body, what).is_some();
        for (folder, encrypted) in [("live", true), ("vod", true), ("slate", false), ("slate-live", false)] {
            for track in ["a", "v"] {
                let playlist = text(&format!("/{folder}/{track}.m3u8"), wall);
                let uri = format!("URI=\"data:text/plain;base64,{}\"", STANDARD.encode(id));
                assert_eq!(playlist.matches(&uri).count(), usize::from(encrypted), "{playlist}");
                assert_eq!(playlist.contains("#EXT-X-KEY"), encrypted);
                let init = format!("/{folder}/{track}/init.mp4");
                assert!(holds(&init, b"tenc") == encrypted && holds(&init, &id) == encrypted);
                assert_eq!(holds(&format!("/{folder}/{track}/3.m4s"), b"senc"), encrypted);
            }
            let mpd = text(&format!("/{folder}/main.mpd"), wall);
            let (sets, protected) = (mpd.matches("<AdaptationSet").count(), mpd.matches("default_KID").count());
            assert_eq!(protected, if encrypted { sets } else { 0 });
            assert_eq!(mpd.replace('-', "").matches(&hex).count(), protected);
        }
    }

    #[test]
    fn every_segment_that_is_named_is_there() {
        let wall = Duration::from_secs(1_795_307_401);
        for folder in ["live", "vod", "slate", "slate-live"] {
            for track in ["v", "a"] {
                let playlist = text(&format!("/{folder}/{track}.m3u8"), wall);
                for uri in playlist.lines().filter(|line| line.ends_with(".m4s")) {
                    let body = page(&format!("/{folder}/{uri}"), wall).unwrap().body;
                    // A fragment begins with a box of its own.
                    assert!(matches!(&body[4..8], b"moof" | b"styp" | b"sidx"), "{folder} {uri}");
                }
                let init = page(&format!("/{folder}/{track}/init.mp4"), wall).unwrap().body;
                assert_eq!(&init[4..8], b"ftyp");
            }
            assert!(text(&format!("/{folder}/main.mpd"), wall).contains("<Period "));
        }
        assert!(page("/live/x", wall).is_none() && page("/other/main.mpd", wall).is_none());
    }
}
