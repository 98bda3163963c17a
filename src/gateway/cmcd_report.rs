//! Translates what a player reports of itself (CMCD) into the words of the core.

use std::time::Duration;

use crate::cmcd::{self, Event, State};
use crate::session::{Playing, Report, Stream};

/// A report in the words of the core. Players that send no state are taken to play.
pub(super) fn read(told: &cmcd::Report) -> Report {
    // A page that nobody sees may play on all the same: that its timers are slow is a matter of its own.
    let playing = match told.state {
        Some(State::Quit) => Playing::Quit,
        Some(State::Ended) => Playing::Done,
        Some(State::Failed) => Playing::Fails,
        Some(State::Paused) => Playing::Paused,
        Some(State::Rebuffering | State::Waiting) => Playing::Buffers,
        Some(State::Seeking) => Playing::Seeks,
        Some(State::Playing | State::Starting) => Playing::Plays,
        Some(State::Preloading) | None => Playing::Unsaid,
    };
    let playhead = told.playhead_ms.map(Duration::from_millis);
    let stream = told.live.map(|live| if live { Stream::Live } else { Stream::Vod });
    let (at_end, by_interval) = (told.state == Some(State::Ended), told.event == Some(Event::Interval));
    let starts = told.state == Some(State::Starting);
    let preloads = told.state == Some(State::Preloading);
    let of_several = false;
    let slowed = told.background == Some(true);
    Report { at_end, by_interval, of_several, playhead, playing, preloads, slowed, starts, stream, until: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_nobody_sees_may_play_on() {
        for (text, playing, slowed) in [
            ("sta=p,bg", Playing::Plays, true),
            ("sta=a,bg", Playing::Paused, true),
            ("sta=r,bg", Playing::Buffers, true),
            ("bg", Playing::Unsaid, true),
            ("sta=p", Playing::Plays, false),
            ("sta=p,bg=?0", Playing::Plays, false),
        ] {
            let query = format!("CMCD={}", text.replace('=', "%3D").replace(',', "%2C").replace('?', "%3F"));
            let report = read(&cmcd::from_query(&query).unwrap());
            assert_eq!((report.playing, report.slowed), (playing, slowed), "{text}");
        }
    }
}
