//! Tests of counted lost beats, blackouts, moments of the programme, and players that report their position.

use super::*;
use crate::session::{ProgramTimes, Schedule, StreamTimelineEvent};
use crate::time::MonotonicTime;

const PLAYS: PlayingState = PlayingState::Plays;
const PAUSED: PlayingState = PlayingState::Paused;

fn counting(live: Option<bool>) -> Policy {
    let stream = live.map(|live| if live { StreamType::Live } else { StreamType::Vod });
    Policy { beat_on_resume: true, max_failures: Some(2), stream, ..Policy::default() }
}

fn report(playing: PlayingState) -> Input {
    Input::Report(PlayerReport { by_interval: false, playing, ..PlayerReport::default() })
}

/// Loses so many beats in line, each in its turn.
fn lose(lab: &mut Lab, beats: usize) {
    for _ in 0..beats {
        let before = lab.now;
        lab.come_up();
        assert!(lab.now >= before + INTERVAL, "a lost beat waits for its turn");
        assert_eq!(lab.last(), AskKind::Beat);
        lab.answer(fault());
    }
}

#[test]
fn a_live_playback_survives_two_lost_beats_and_no_third() {
    let mut lab = Lab::live(counting(Some(true)));
    lose(&mut lab, 2);
    lab.come_up();
    lab.answer(alive("second"));
    assert!(matches!(lab.session.state, SessionState::Live { .. }), "a good one resets the count");
    lose(&mut lab, 3);
    assert_eq!(lab.last(), AskKind::Close);
    lab.answer(Ok(Verdict::Closed));
    assert_eq!(lab.ended(), Some(EndReason::Lost));
}

/// A fault whose service names a time.
fn later(seconds: u64) -> Result<Verdict, AuthorityFault> {
    let reason = Reason { retry_after: Some(secs(seconds)), ..reason() };
    Err(AuthorityFault { kind: FaultKind::Refused, reason })
}

#[test]
fn a_beat_comes_when_the_service_asked_for_it_and_never_after_its_turn() {
    let mut lab = Lab::beating(counting(Some(true)));
    let turn = lab.flown + INTERVAL;
    lab.answer(later(INTERVAL.as_secs() * 10));
    assert!(lab.session.deadline().unwrap() < turn + secs(1), "never beyond the interval");
    let mut lab = Lab::beating(counting(Some(true)));
    let turn = lab.flown + INTERVAL;
    lab.answer(later(2));
    for tried in 1..=3 {
        let before = lab.now;
        lab.come_up();
        assert_eq!((lab.now, lab.count(AskKind::Beat)), (before + secs(2), tried + 1));
        lab.answer(later(2));
        assert!(matches!(lab.session.state, SessionState::Failing { missed: 1, .. }), "one turn is one failure");
    }
    while lab.count(AskKind::Close) == 0 {
        lab.come_up();
        if lab.last() == AskKind::Beat {
            lab.answer(later(2));
        }
    }
    assert!(lab.now >= turn + INTERVAL && lab.now < turn + INTERVAL + secs(2), "the third turn ends it");
}

#[test]
fn a_beat_that_was_brought_forward_and_is_good_sets_the_pace_anew() {
    let mut lab = Lab::beating(counting(Some(true)));
    lab.answer(later(2));
    lab.come_up();
    let sent = lab.now;
    lab.answer(alive("second"));
    assert!(lab.session.deadline().unwrap() >= sent + INTERVAL);
    lose(&mut lab, 2);
    assert!(matches!(lab.session.state, SessionState::Failing { missed: 2, .. }));
}

#[test]
fn lost_beats_never_end_a_playback_that_is_not_live() {
    for live in [Some(false), None] {
        let mut lab = Lab::live(counting(live));
        lose(&mut lab, 300);
        assert!(matches!(lab.session.state, SessionState::Failing { missed: 255, .. }));
        assert_eq!(lab.call(CallKind::License), CallAnswer::Forward(grant("first")));
    }
}

#[test]
fn a_player_can_report_that_it_is_live() {
    let mut lab = Lab::live(counting(None));
    lab.feed(Input::Report(PlayerReport { stream: Some(StreamType::Live), ..PlayerReport::default() }));
    lose(&mut lab, 3);
    assert_eq!(lab.last(), AskKind::Close);
}

#[test]
fn an_open_without_a_decision_is_the_first_lost_beat() {
    let mut lab = Lab::opening(counting(Some(true)));
    let Err(fault) = fault() else { unreachable!("it is one") };
    lab.answer(Ok(Verdict::Unconfirmed(grant("first"), fault)));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Forward(grant("first")));
    lose(&mut lab, 2);
    assert_eq!(lab.last(), AskKind::Close);
}

#[test]
fn a_blackout_is_refused_and_its_place_given_back_once() {
    let mut lab = Lab::beating(Policy::default());
    lab.answer(Ok(Verdict::Blackout(blackout())));
    assert_eq!((lab.last(), lab.closed_with("first")), (AskKind::Close, 1));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Killed(blackout().into())));
    lab.answer(Ok(Verdict::Closed));
    lab.wait(INTERVAL * 3);
    lab.feed(Input::Tick);
    assert_eq!((lab.closed_with("first"), lab.count(AskKind::Beat)), (1, 1));
    assert!(lab.events.contains(&SessionEvent::Blackout(blackout())));

    let mut lab = Lab::opening(Policy::default());
    lab.answer(Ok(Verdict::Blackout(blackout())));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Killed(blackout().into())));
    assert_eq!(lab.count(AskKind::Close), 0, "nothing was granted");
}

#[test]
fn a_blackout_may_be_reported_only() {
    let mut lab = Lab::beating(Policy { stop_on_blackout: false, ..Policy::default() });
    lab.answer(Ok(Verdict::Blackout(blackout())));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Pass);
    assert!(lab.events.contains(&SessionEvent::Blackout(blackout())));
}

fn programme(now: MonotonicTime, begins: u64, ends: u64) -> Schedule {
    let times = ProgramTimes { end: Some(secs(ends)), start: Some(secs(begins)), ..ProgramTimes::default() };
    Schedule::new(now, secs(1000), &times)
}

#[test]
fn a_playback_ends_with_its_programme() {
    let mut lab = Lab::opening(Policy::default());
    lab.session.schedule = programme(lab.now, 1005, 1010);
    lab.answer(granted());
    let began = lab.now;
    lab.come_up();
    assert_eq!(
        (lab.now - began, lab.events.last()),
        (secs(5), Some(&SessionEvent::Reached(StreamTimelineEvent::LiveEventStart)))
    );
    lab.come_up();
    assert_eq!(lab.now - began, secs(10));
    assert!(lab.events.contains(&SessionEvent::Reached(StreamTimelineEvent::LiveEventEnd)));
    lab.answer(Ok(Verdict::Closed));
    assert_eq!(lab.ended(), Some(EndReason::Programme));
}

#[test]
fn a_programme_goes_on_while_the_machine_sleeps() {
    let mut lab = Lab::opening(Policy::default());
    lab.session.schedule = programme(lab.now, 1005, 1090);
    lab.feed(Input::Slept(secs(20)));
    lab.answer(granted());
    let began = lab.now;
    lab.feed(Input::Slept(secs(30)));
    assert_eq!(over(lab, began), (Some(EndReason::Programme), secs(40)));

    let mut lab = Lab::opening(Policy::default());
    lab.session.schedule = programme(lab.now, 1005, 1090);
    lab.answer(granted());
    let began = lab.now;
    lab.feed(Input::Slept(secs(3_600)));
    assert_eq!(over(lab, began), (Some(EndReason::Programme), Duration::ZERO), "it was over before we woke");
}

#[test]
fn an_end_that_is_only_reported_or_had_passed_stops_nothing() {
    for (stop_on_end, ends) in [(false, 1010), (true, 900)] {
        let mut lab = Lab::opening(Policy { stop_on_end, ..Policy::default() });
        lab.session.schedule = programme(lab.now, 800, ends);
        lab.answer(granted());
        lab.come_up();
        assert_eq!(lab.events.last(), Some(&SessionEvent::Reached(StreamTimelineEvent::LiveEventEnd)));
        assert!(matches!(lab.session.state, SessionState::Live { .. }));
        lab.come_up();
        assert_eq!(lab.last(), AskKind::Beat, "the rhythm goes on");
    }
}

#[test]
fn a_beat_can_move_the_end_of_the_programme() {
    let mut lab = Lab::opening(Policy::default());
    lab.session.schedule = programme(lab.now, 900, 1060);
    lab.answer(granted());
    lab.come_up();
    let schedule = Some(programme(lab.now, 900, 1005));
    lab.answer(Ok(Verdict::Alive { interval: None, lifetime: None, schedule, token: None }));
    let moved = lab.now;
    lab.come_up();
    assert_eq!((lab.now - moved, lab.last()), (secs(5), AskKind::Close));
}

#[test]
fn a_player_that_plays_again_is_beaten_at_once_if_the_last_beat_is_old() {
    for (seconds, beaten) in [(14, false), (15, true)] {
        let mut lab = Lab::live(counting(None));
        lab.feed(report(PAUSED));
        lab.wait(secs(seconds));
        lab.feed(report(PLAYS));
        assert_eq!(lab.count(AskKind::Beat) == 1, beaten, "{seconds}");
        assert!(!lab.events.iter().any(|event| matches!(event, SessionEvent::BeatLate(_))));
    }
    let mut lab = Lab::live(Policy::default());
    lab.feed(report(PAUSED));
    lab.wait(secs(15));
    lab.feed(report(PLAYS));
    assert_eq!(lab.count(AskKind::Beat), 0, "not every authority wants it");
}

/// Most players say that they buffer or seek before they say that they play.
#[test]
fn a_player_that_buffers_or_seeks_before_it_plays_again_is_beaten_at_once() {
    for between in [PlayingState::Buffers, PlayingState::Seeks] {
        let mut lab = Lab::live(counting(None));
        lab.feed(report(PAUSED));
        lab.wait(secs(15));
        lab.feed(report(between));
        lab.feed(report(PLAYS));
        assert_eq!(lab.count(AskKind::Beat), 1, "{between:?}");
    }
    // A playback that plays on was not gone.
    let mut lab = Lab::live(counting(None));
    lab.feed(report(PLAYS));
    lab.wait(secs(15));
    lab.feed(report(PlayingState::Buffers));
    lab.feed(report(PLAYS));
    assert_eq!(lab.count(AskKind::Beat), 0);
}

#[test]
fn a_paused_player_may_rest() {
    for (beat_while_paused, beats) in [(true, 1), (false, 0)] {
        let mut lab = Lab::live(Policy { beat_while_paused, ..counting(None) });
        lab.feed(report(PAUSED));
        lab.wait(INTERVAL * 2);
        lab.feed(Input::Tick);
        assert_eq!(lab.count(AskKind::Beat), beats, "{beat_while_paused}");
        if beats == 0 {
            lab.feed(report(PLAYS));
            assert_eq!(lab.last(), AskKind::Beat);
        }
    }
}

#[test]
fn a_player_that_was_beaten_for_while_it_paused_keeps_the_rhythm_when_it_plays_on() {
    let mut lab = Lab::live(Policy { beat_on_resume: false, beat_while_paused: true, ..counting(None) });
    lab.feed(report(PAUSED));
    let due = lab.session.deadline();
    lab.wait(INTERVAL / 2);
    lab.feed(report(PLAYS));
    assert_eq!((lab.session.deadline(), lab.count(AskKind::Beat)), (due, 0));
}

#[test]
fn beats_and_closes_carry_the_players_position() {
    let mut lab = Lab::live(Policy::default());
    lab.feed(Input::Report(PlayerReport { playhead: Some(secs(100)), playing: PLAYS, ..PlayerReport::default() }));
    lab.come_up();
    let told = lab.asks.last().unwrap().told;
    assert_eq!((told.playhead.map(|at| at.as_secs()), told.playing), (Some(130), Some(PLAYS)));
    lab.answer(alive("second"));
    lab.feed(report(PAUSED));
    lab.wait(secs(20));
    lab.feed(Input::End(EndReason::Stopped));
    let told = lab.asks.last().unwrap().told;
    assert_eq!((told.playhead.map(|at| at.as_secs()), told.playing), (Some(130), Some(PAUSED)));
}

/// Players that report with their requests alone (CMCD version 1).
#[test]
fn a_player_that_sends_no_state_is_taken_to_play_as_far_as_it_can_come() {
    for (playing, until, told) in [
        (PlayingState::Unsaid, Some(secs(110)), 110),
        (PlayingState::Unsaid, Some(secs(500)), 130),
        (PlayingState::Unsaid, None, 100),
        (PLAYS, Some(secs(110)), 110),
        (PLAYS, None, 130),
        (PAUSED, Some(secs(500)), 100),
        // The request is behind its position: it has repeated earlier media.
        (PLAYS, Some(secs(90)), 100),
    ] {
        let mut lab = Lab::live(Policy::default());
        lab.feed(Input::Report(PlayerReport { playhead: Some(secs(100)), playing, until, ..PlayerReport::default() }));
        lab.come_up();
        let playhead = lab.asks.last().unwrap().told.playhead;
        // In whole seconds, because beats are spread.
        assert_eq!(playhead.map(|at| at.as_secs()), Some(told), "{playing:?} {until:?}");
    }
}

/// dash.js at the end of a period; a player that fails is done wherever it is.
#[test]
fn a_player_that_says_that_it_has_ended_long_before_its_end_plays_on() {
    for (at_end, until, expected) in [
        (true, Some(secs(120)), PLAYS),
        (true, Some(secs(112)), PlayingState::Done),
        (true, None, PlayingState::Done),
        (false, Some(secs(120)), PlayingState::Done),
    ] {
        let mut lab = Lab::live(Policy::default());
        lab.feed(Input::Report(PlayerReport {
            playhead: Some(secs(100)),
            playing: PLAYS,
            until,
            ..PlayerReport::default()
        }));
        lab.wait(secs(10));
        lab.feed(Input::Report(PlayerReport { at_end, playing: PlayingState::Done, ..PlayerReport::default() }));
        assert_eq!(lab.session.playing(), Some(expected), "{at_end} {until:?}");
        lab.wait(secs(10));
        let playhead = lab.session.evidence.told(lab.now).playhead.map(|at| at.as_secs());
        assert_eq!(playhead, Some(if expected == PLAYS { 120 } else { 110 }), "{at_end} {until:?}");
    }
}
