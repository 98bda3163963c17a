//! Translates a player's CMCD report into the core's [`PlayerReport`].

use std::time::Duration;

use crate::cmcd::{self, CmcdEvent, CmcdState};
use crate::session::{PlayerReport, PlayingState, StreamType};

/// Players that send no state are taken to play.
pub(super) fn read(told: &cmcd::CmcdReport) -> PlayerReport {
    // A hidden page may play on, so hiding changes no state; `slowed` tells that its timers are slow.
    let playing = match told.state {
        Some(CmcdState::Quit) => PlayingState::Quit,
        Some(CmcdState::Ended) => PlayingState::Done,
        Some(CmcdState::Failed) => PlayingState::Fails,
        Some(CmcdState::Paused) => PlayingState::Paused,
        Some(CmcdState::Rebuffering | CmcdState::Waiting) => PlayingState::Buffers,
        Some(CmcdState::Seeking) => PlayingState::Seeks,
        Some(CmcdState::Playing | CmcdState::Starting) => PlayingState::Plays,
        Some(CmcdState::Preloading) | None => PlayingState::Unsaid,
    };
    let playhead = told.playhead_ms.map(Duration::from_millis);
    let stream = told.live.map(|live| if live { StreamType::Live } else { StreamType::Vod });
    let (at_end, by_interval) = (told.state == Some(CmcdState::Ended), told.event == Some(CmcdEvent::Interval));
    let starts = told.state == Some(CmcdState::Starting);
    let preloads = told.state == Some(CmcdState::Preloading);
    let of_several = false;
    let slowed = told.background == Some(true);
    PlayerReport { at_end, by_interval, of_several, playhead, playing, preloads, slowed, starts, stream, until: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_page_may_play_on() {
        for (text, playing, slowed) in [
            ("sta=p,bg", PlayingState::Plays, true),
            ("sta=a,bg", PlayingState::Paused, true),
            ("sta=r,bg", PlayingState::Buffers, true),
            ("bg", PlayingState::Unsaid, true),
            ("sta=p", PlayingState::Plays, false),
            ("sta=p,bg=?0", PlayingState::Plays, false),
        ] {
            let query = format!("CMCD={}", text.replace('=', "%3D").replace(',', "%2C").replace('?', "%3F"));
            let report = read(&cmcd::from_query(&query).unwrap());
            assert_eq!((report.playing, report.slowed), (playing, slowed), "{text}");
        }
    }
}
