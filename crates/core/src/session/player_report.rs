//! Reads a player's reports about itself (CMCD event reports) as evidence of life.
//!
//! No player reports that it is gone: it falls silent. A player that reports by interval and then misses two and a half
//! rounds, with no other sign of life, is over. A player that only reports events is never silent before it has
//! reported its end or a failure. A paused or hidden player, or one without a state, gets more time, because browsers
//! slow the timers of hidden pages to one a minute.

use std::time::Duration;

use crate::time::MonotonicTime;
use serde::{Deserialize, Serialize};

/// The facts of a report that matter here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PlayerReport {
    /// [`PlayingState::Done`] by reaching its end, and not by a failure.
    pub at_end: bool,
    /// Sent because its interval passed, and not because of an event.
    pub by_interval: bool,
    /// The report names no playback, and its device has several: it may be of any.
    pub of_several: bool,
    /// Position since the content's beginning, if known.
    pub playhead: Option<Duration>,
    pub playing: PlayingState,
    /// Its player reports that it only preloads.
    pub preloads: bool,
    /// The page is hidden: browsers slow its timers.
    pub slowed: bool,
    /// [`PlayingState::Plays`] before the first picture.
    pub starts: bool,
    pub stream: Option<StreamType>,
    /// Upper limit of the playhead until the next report: the end of the requested media.
    pub until: Option<Duration>,
}

/// The facts of a media request that matter to its playback.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MediaFetch {
    /// Time within which a live player certainly requests more media through sidebeat; `None` if segments bypass it and
    /// the reload time is unknown.
    pub again: Option<Duration>,
    /// True if some playlists bypass the proxy: a player that switches to one is seen no more. `None` leaves it as
    /// before.
    pub leads_past: Option<bool>,
    /// True for anything but a manifest.
    pub segment: bool,
    pub stream: Option<StreamType>,
}

/// The kind of stream: vod can be requested again later, live cannot.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StreamType {
    Live,
    Vod,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum PlayingState {
    /// Waiting for data to play on.
    Buffers,
    /// Reached its end; it may still report, and may start again.
    Done,
    /// Like [`Self::Done`], by a failure.
    Fails,
    /// Paused by its viewer.
    Paused,
    /// Playing, or about to.
    Plays,
    /// The player reported that it quits.
    Quit,
    /// Moving to another position of its content.
    Seeks,
    /// The player sends no state.
    #[default]
    Unsaid,
}

impl PlayingState {
    /// True unless it reached its end or failed.
    fn goes_on(self) -> bool {
        match self {
            Self::Done | Self::Fails => false,
            Self::Buffers | Self::Paused | Self::Plays | Self::Quit | Self::Seeks | Self::Unsaid => true,
        }
    }

    /// True if it plays, or will without an action of its viewer.
    pub(super) fn is_under_way(self) -> bool {
        match self {
            Self::Buffers | Self::Plays | Self::Seeks => true,
            Self::Done | Self::Fails | Self::Paused | Self::Quit | Self::Unsaid => false,
        }
    }
}

/// The reports of a session so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportHistory {
    /// The last report by interval, if there was one.
    pub(super) at: Option<MonotonicTime>,
    /// Time between the last two interval reports, and between the two before.
    pub(super) gaps: [Duration; 2],
    /// The playhead, and its time.
    pub(super) playhead: Option<(MonotonicTime, Duration)>,
    pub(super) playing: PlayingState,
    /// Like [`PlayerReport::slowed`].
    pub(super) slowed: bool,
    /// Upper limit of the playhead.
    pub(super) until: Option<Duration>,
}

impl ReportHistory {
    /// CTA-5004's default, until two reports show the interval.
    const DEFAULT_REPORT_INTERVAL: Duration = Duration::from_secs(30);
    /// A playhead so near to its end counts as there.
    const AT_END_TOLERANCE: Duration = Duration::from_secs(3);
    const MIN_REPORT_INTERVAL: Duration = Duration::from_secs(1);
    const MAX_REPORT_INTERVAL: Duration = Duration::from_secs(600);
    /// Two and a half times the timer period of a hidden page.
    const HIDDEN_PAGE_REPORT_GAP: Duration = Duration::from_secs(150);

    pub(super) fn first(now: MonotonicTime, report: PlayerReport) -> Self {
        let PlayerReport { by_interval, playhead, playing, slowed, until, .. } = report;
        let playhead = playhead.map(|playhead| (now, playhead));
        Self {
            at: by_interval.then_some(now),
            gaps: [Self::DEFAULT_REPORT_INTERVAL; 2],
            playhead,
            playing,
            slowed,
            until,
        }
    }

    /// Adds a report. Batches and repeats come close together and show no interval.
    pub(super) fn next(self, now: MonotonicTime, report: PlayerReport) -> Self {
        let between = self.at.filter(|_| report.by_interval).map(|at| now.saturating_duration_since(at));
        let [newest, _] = self.gaps;
        Self {
            at: if report.by_interval { Some(now) } else { self.at },
            gaps: match between.filter(|between| *between >= Self::MIN_REPORT_INTERVAL / 2) {
                Some(between) => [between.clamp(Self::MIN_REPORT_INTERVAL, Self::MAX_REPORT_INTERVAL), newest],
                None => self.gaps,
            },
            playhead: match report.playhead {
                Some(playhead) => Some((now, playhead)),
                // The playhead stays here from now on, or begins to run.
                None => self.playhead(now).map(|playhead| (now, playhead)),
            },
            playing: match report.playing {
                PlayingState::Done if report.at_end && self.is_before_its_end(now, report) => PlayingState::Plays,
                PlayingState::Unsaid => self.playing,
                PlayingState::Buffers
                | PlayingState::Done
                | PlayingState::Fails
                | PlayingState::Paused
                | PlayingState::Plays
                | PlayingState::Quit
                | PlayingState::Seeks => report.playing,
            },
            slowed: report.slowed,
            until: if report.playhead.is_some() { report.until.or(self.until) } else { self.until },
        }
    }

    /// True if much of the requested media is left. dash.js 5.2 reports an end where a period ends, and repeats it
    /// until it is paused.
    fn is_before_its_end(&self, now: MonotonicTime, report: PlayerReport) -> bool {
        let playhead = report.playhead.or_else(|| self.playhead(now));
        let until = report.until.or(self.until);
        playhead.zip(until).is_some_and(|(playhead, until)| playhead.saturating_add(Self::AT_END_TOLERANCE) < until)
    }

    /// The present playhead; it runs while the player plays. A player without a state is taken to play as long as the
    /// limit of its playhead is known.
    pub(super) fn playhead(&self, now: MonotonicTime) -> Option<Duration> {
        let (at, playhead) = self.playhead?;
        let runs = match self.playing {
            PlayingState::Plays => true,
            PlayingState::Unsaid => self.until.is_some(),
            PlayingState::Buffers
            | PlayingState::Done
            | PlayingState::Fails
            | PlayingState::Paused
            | PlayingState::Quit
            | PlayingState::Seeks => false,
        };
        let run = playhead.saturating_add(now.saturating_duration_since(at));
        Some(if runs { self.until.map_or(run, |until| run.min(until.max(playhead))) } else { playhead })
    }

    /// Longest silence of this player; `None` if it never reports by interval, unless it reported its end. A single
    /// short gap is no interval: a report came late, or a copied page reports in between.
    pub(super) fn allowed_silence(&self) -> Option<Duration> {
        let [newest, before] = self.gaps;
        let rounds = newest.max(before) * 5 / 2;
        let (may_be_slow, by_interval) = match self.playing {
            PlayingState::Done | PlayingState::Fails => return Some(rounds),
            PlayingState::Buffers | PlayingState::Plays | PlayingState::Quit | PlayingState::Seeks => {
                (self.slowed, self.at)
            }
            PlayingState::Paused | PlayingState::Unsaid => (true, self.at),
        };
        by_interval.map(|_| if may_be_slow { rounds.max(Self::HIDDEN_PAGE_REPORT_GAP) } else { rounds })
    }

    /// True if it reported its end and never reports by interval: its silence begins with that report.
    pub(super) fn is_last_word(&self, before: Option<PlayingState>) -> bool {
        self.at.is_none() && !self.playing.goes_on() && before.is_none_or(PlayingState::goes_on)
    }

    /// The player requests a license, which overrides an earlier end.
    pub(super) fn again(self) -> Self {
        Self { playing: if self.playing.goes_on() { self.playing } else { PlayingState::Unsaid }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::session::EndingRules;
    use crate::session::{
        AskKind, CallKind, Effect, EndReason, Grant, Input, Policy, Session, SessionState, Verdict, step,
    };
    use crate::time::testing::Clock;

    /// A live session, and the time at which it became live.
    fn live(policy: &Policy) -> (Session, MonotonicTime) {
        let now = Clock.now();
        let mut session = Session::new(now, 1, policy);
        let fx = step(&mut session, now, Input::Start, policy);
        let ticket = fx.list.iter().find_map(|effect| match effect {
            Effect::Ask(ask) => Some(ask.ticket),
            Effect::Displace(_) | Effect::Forget | Effect::Note(_) | Effect::Wake => None,
        });
        let grant = Grant { interval: Duration::from_secs(3000), lifetime: None, token: Secret::new("t") };
        let answer = Input::Answered(ticket.unwrap(), AskKind::Open, Ok(Verdict::Granted(grant)));
        step(&mut session, now, answer, policy);
        step(&mut session, now, Input::Used, policy);
        (session, now)
    }

    fn tell(session: &mut Session, now: MonotonicTime, playing: PlayingState) {
        step(
            session,
            now,
            Input::Report(PlayerReport { by_interval: true, playing, ..PlayerReport::default() }),
            &Policy::default(),
        );
    }

    /// Ticks at every deadline until the session is no longer active; returns the time and the reason.
    fn over(session: &mut Session, policy: &Policy) -> (MonotonicTime, EndReason) {
        loop {
            let now = session.deadline().unwrap();
            step(session, now, Input::Tick, policy);
            if let SessionState::Closing { why, .. } = session.state() {
                return (now, *why);
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_player_that_falls_silent_is_over_after_two_and_a_half_rounds() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        for round in 1..=3 {
            tell(&mut session, began + SECOND * 10 * round, PlayingState::Plays);
        }
        assert_eq!(over(&mut session, &policy), (began + SECOND * 55, EndReason::Silent));
    }

    #[test]
    fn the_standard_interval_counts_before_a_second_report() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        tell(&mut session, began, PlayingState::Plays);
        assert_eq!(over(&mut session, &policy), (began + SECOND * 75, EndReason::Silent));
    }

    #[test]
    fn a_paused_player_in_a_slowed_page_is_not_over() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        tell(&mut session, began, PlayingState::Plays);
        tell(&mut session, began + SECOND * 5, PlayingState::Paused);
        // A browser that slows the page's timers reports once a minute.
        for minute in 1..=5 {
            tell(&mut session, began + SECOND * 60 * minute, PlayingState::Paused);
            assert!(session.deadline().unwrap() >= began + SECOND * 60 * (minute + 1));
        }
        assert_eq!(over(&mut session, &policy), (began + SECOND * 450, EndReason::Silent));
    }

    #[test]
    fn a_background_tab_that_reports_once_a_minute_keeps_its_session() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        tell(&mut session, began, PlayingState::Plays);
        for minute in 1..=10 {
            tell(&mut session, began + SECOND * 60 * minute, PlayingState::Paused);
            // Each report comes on a connection of its own, which the browser closes.
            step(&mut session, began + SECOND * (60 * minute + 1), Input::Disconnected, &policy);
            assert!(session.deadline().unwrap() >= began + SECOND * 60 * (minute + 1));
        }
        assert_eq!(over(&mut session, &policy), (began + SECOND * 675, EndReason::Silent));
    }

    /// The player plays, and its playhead moves on, but its timers are slow.
    #[test]
    fn a_hidden_player_that_plays_keeps_its_session_and_its_playhead_runs() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        let report = PlayerReport {
            by_interval: true,
            playhead: Some(SECOND * 10),
            playing: PlayingState::Plays,
            slowed: true,
            ..PlayerReport::default()
        };
        let reports = ReportHistory::first(began, report);
        assert_eq!(reports.playhead(began + SECOND * 50), Some(SECOND * 60));
        step(&mut session, began, Input::Report(report), &policy);
        assert_eq!(over(&mut session, &policy), (began + SECOND * 150, EndReason::Silent));
        let seen = ReportHistory { slowed: false, ..reports };
        assert_eq!((reports.allowed_silence(), seen.allowed_silence()), (Some(SECOND * 150), Some(SECOND * 75)));
    }

    #[test]
    fn a_player_that_never_reported_is_never_silent() {
        let policy = Policy {
            endings: EndingRules { longest: SECOND * 3600 * 100, ..EndingRules::default() },
            ..Policy::default()
        };
        let (session, began) = live(&policy);
        assert!(session.deadline().unwrap() > began + SECOND * 2999, "the next beat, and nothing before");
    }

    #[test]
    fn a_license_call_is_a_sign_of_life_too() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        tell(&mut session, began, PlayingState::Plays);
        step(&mut session, began + SECOND * 70, Input::Call(CallKind::License), &policy);
        assert_eq!(over(&mut session, &policy).0, began + SECOND * 145);
    }

    #[test]
    fn a_player_that_is_done_may_report_as_long_as_it_likes() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        tell(&mut session, began + SECOND * 10, PlayingState::Plays);
        for round in 2..=3 {
            tell(&mut session, began + SECOND * 10 * round, PlayingState::Done);
        }
        assert_eq!(over(&mut session, &policy), (began + SECOND * 35, EndReason::Silent));
    }

    #[test]
    fn a_player_that_quits_is_believed_at_once() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        tell(&mut session, began + SECOND, PlayingState::Quit);
        assert!(matches!(session.state(), SessionState::Closing { why: EndReason::Quit, .. }));
    }

    #[test]
    fn repeats_and_batches_do_not_shorten_the_interval() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        tell(&mut session, began, PlayingState::Plays);
        tell(&mut session, began + SECOND * 20, PlayingState::Plays);
        tell(&mut session, began + SECOND * 20 + SECOND / 100, PlayingState::Plays);
        assert!(over(&mut session, &policy).0 >= began + SECOND * 70);
    }

    fn happened(session: &mut Session, now: MonotonicTime, playing: PlayingState) {
        step(
            session,
            now,
            Input::Report(PlayerReport { by_interval: false, playing, ..PlayerReport::default() }),
            &Policy::default(),
        );
    }

    #[test]
    fn a_player_that_only_reports_events_is_never_silent() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        happened(&mut session, began, PlayingState::Plays);
        assert!(session.deadline().unwrap() > began + SECOND * 2999);
    }

    #[test]
    fn a_player_that_only_reports_events_is_silent_after_its_end() {
        let policy = Policy::default();
        for last in [PlayingState::Done, PlayingState::Fails] {
            let (mut session, began) = live(&policy);
            happened(&mut session, began, PlayingState::Plays);
            let end = began + SECOND * 1000;
            happened(&mut session, end, last);
            // A repeated report does not count as a later one.
            happened(&mut session, end + SECOND * 10, last);
            assert_eq!(over(&mut session, &policy), (end + SECOND * 75, EndReason::Silent), "{last:?}");
        }
    }

    #[test]
    fn a_player_that_plays_again_after_its_end_stays() {
        let policy = Policy::default();
        let again = PlayerReport { playing: PlayingState::Plays, ..PlayerReport::default() };
        for sign in [Input::Report(again), Input::Call(CallKind::License)] {
            let (mut session, began) = live(&policy);
            happened(&mut session, began, PlayingState::Done);
            step(&mut session, began + SECOND * 60, sign, &policy);
            assert!(session.deadline().unwrap() > began + SECOND * 2999);
        }
        // Media are signs of life, for as long as it fetches some.
        let (mut session, began) = live(&policy);
        happened(&mut session, began, PlayingState::Done);
        step(&mut session, began + SECOND * 60, media(StreamType::Vod), &policy);
        assert_eq!(over(&mut session, &policy), (began + SECOND * 135, EndReason::Silent));
    }

    #[test]
    fn an_event_before_a_report_by_interval_is_no_interval() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        happened(&mut session, began, PlayingState::Plays);
        tell(&mut session, began + SECOND * 2, PlayingState::Plays);
        assert_eq!(over(&mut session, &policy), (began + SECOND * 77, EndReason::Silent));
    }

    /// A copied tab has the same content token, and reports in between.
    #[test]
    fn two_pages_with_one_playback_do_not_shorten_the_interval() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        for round in 0..5 {
            tell(&mut session, began + SECOND * 30 * round, PlayingState::Plays);
            tell(&mut session, began + SECOND * (30 * round + 3), PlayingState::Plays);
            assert!(session.deadline().unwrap() > began + SECOND * 30 * (round + 1), "round {round}");
        }
    }

    #[test]
    fn one_late_report_does_not_shorten_the_interval() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        for at in [0, 30, 60, 119, 120] {
            tell(&mut session, began + SECOND * at, PlayingState::Plays);
        }
        assert!(over(&mut session, &policy).0 >= began + SECOND * 195);
    }

    /// Shaka reports neither playing nor paused.
    #[test]
    fn a_player_without_a_state_may_be_paused_in_a_slowed_page() {
        let policy = Policy::default();
        let (mut session, began) = live(&policy);
        for round in 0..3 {
            tell(&mut session, began + SECOND * 10 * round, PlayingState::Unsaid);
        }
        assert_eq!(over(&mut session, &policy), (began + SECOND * 170, EndReason::Silent));
    }

    fn media(stream: StreamType) -> Input {
        Input::Media(MediaFetch { again: Some(Duration::ZERO), leads_past: None, segment: true, stream: Some(stream) })
    }

    /// Its segments come from elsewhere: at most its manifest is requested through sidebeat.
    #[test]
    fn a_live_player_that_need_not_come_back_in_time_is_not_gone() {
        let policy = fetching();
        for (again, is_over) in [(None, false), (Some(46), false), (Some(45), true), (Some(4), true)] {
            let (mut session, began) = live(&policy);
            let again = again.map(|again| SECOND * again);
            step(&mut session, began, media(StreamType::Live), &policy);
            step(
                &mut session,
                began,
                Input::Media(MediaFetch { again, leads_past: None, segment: true, stream: Some(StreamType::Live) }),
                &policy,
            );
            assert_eq!(session.deadline() == Some(began + SECOND * 90), is_over, "{again:?}");
        }
    }

    /// The silence that ends it may be shortened while it plays, and while no process runs.
    #[test]
    fn the_reload_time_is_compared_with_the_present_silence() {
        let after = |policy: &Policy, silence| {
            let media_silence = Some(SECOND * silence);
            Policy { endings: EndingRules { media_silence, ..policy.endings }, ..policy.clone() }
        };
        let policy = fetching();
        let (mut session, began) = live(&policy);
        let again =
            MediaFetch { again: Some(SECOND * 30), leads_past: None, segment: true, stream: Some(StreamType::Live) };
        step(&mut session, began, Input::Media(again), &policy);
        assert_eq!(session.deadline(), Some(began + SECOND * 90));
        step(&mut session, began + SECOND, Input::Tick, &after(&policy, 10));
        assert!(session.deadline().unwrap() > began + SECOND * 90);
        step(&mut session, began + SECOND * 2, Input::Tick, &after(&policy, 60));
        assert_eq!(session.deadline(), Some(began + SECOND * 60));
    }

    fn fetching() -> Policy {
        Policy {
            endings: EndingRules { media_silence: Some(SECOND * 90), ..EndingRules::default() },
            ..Policy::default()
        }
    }

    #[test]
    fn a_live_player_without_media_requests_is_gone() {
        let policy = fetching();
        let (mut session, began) = live(&policy);
        step(&mut session, began + SECOND, media(StreamType::Live), &policy);
        step(&mut session, began + SECOND * 5, media(StreamType::Live), &policy);
        assert_eq!(over(&mut session, &policy), (began + SECOND * 95, EndReason::MediaSilent));
    }

    #[test]
    fn a_player_with_its_whole_title_may_stay_silent_and_a_paused_live_one_for_ten_minutes() {
        let policy = fetching();
        let (mut session, began) = live(&policy);
        step(&mut session, began, media(StreamType::Vod), &policy);
        assert!(session.deadline().unwrap() > began + SECOND * 2999);
        step(&mut session, began, media(StreamType::Live), &policy);
        happened(&mut session, began, PlayingState::Paused);
        assert_eq!(session.deadline().unwrap(), began + SECOND * 600);
        happened(&mut session, began + SECOND, PlayingState::Plays);
        assert_eq!(session.deadline().unwrap(), began + SECOND * 91);
        // Its page was closed while it was paused.
        happened(&mut session, began + SECOND * 2, PlayingState::Paused);
        assert_eq!(over(&mut session, &policy), (began + SECOND * 602, EndReason::MediaSilent));
    }

    #[test]
    fn silence_ends_nothing_if_it_is_switched_off() {
        let policy =
            Policy { endings: EndingRules { report_silence: false, ..EndingRules::default() }, ..Policy::default() };
        let (mut session, began) = live(&policy);
        let report = PlayerReport { by_interval: true, playing: PlayingState::Plays, ..PlayerReport::default() };
        step(&mut session, began, Input::Report(report), &policy);
        assert!(session.deadline().unwrap() > began + SECOND * 2999);
    }
}
