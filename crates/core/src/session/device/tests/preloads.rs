//! Tests of preloads and zaps: what ends the older playback, what ends the newer, and which one comes back.

use super::*;
use crate::session::MediaFetch;

const SECOND: Duration = Duration::from_secs(1);

impl Stage {
    fn renews(&mut self, id: u64) {
        assert_eq!(self.renew(RENEWAL.with(id).under(id * 100)), id);
    }

    fn fetches(&mut self, id: u64, segments: usize) {
        let media = MediaFetch { segment: true, ..MediaFetch::default() };
        (0..segments).for_each(|_| self.deliver(id, Input::Media(media)));
    }

    /// Time in small steps, with an authority that says yes.
    fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tick(SECOND.min(end - self.now));
            self.settle();
        }
    }

    /// The authority has no place for the open in flight, which the shell handles: perhaps another playback gives way.
    fn has_no_place(&mut self) -> bool {
        let (id, ask) = self.flying.remove(0);
        assert_eq!(ask.kind, AskKind::Open);
        let mut out = DeviceEffects::new();
        let turned = self.device.turn(id, self.now, |()| true, &self.policy, &mut out);
        self.take(out);
        self.settle();
        let turned = turned == PlaceTurn::Given;
        if turned {
            self.told.push_str(&format!("o{} ", id.0));
        }
        self.flying.push((id, ask));
        turned
    }

    fn is_live(&self, id: u64) -> bool {
        matches!(self.state(id), SessionState::Live { .. })
    }

    fn gives_way(&self, id: u64) -> bool {
        matches!(self.state(id), SessionState::Closed { why: SessionClosure::Ended(EndReason::GaveWay), .. })
    }

    fn is_over(&self, id: u64) -> bool {
        matches!(self.state(id), SessionState::Closed { why: SessionClosure::Ended(EndReason::Zapped), .. })
    }
}

/// A film, and the next title beside it. Renewals are the beats of both.
fn film_and_preload() -> Stage {
    let mut stage = Stage::new();
    for id in [1, 2] {
        stage.play(LICENSE.with(id).under(id * 100));
        stage.deliver(id, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) }));
        stage.passes(SECOND);
    }
    stage
}

#[test]
fn a_preload_does_not_end_the_film() {
    let mut stage = film_and_preload();
    // Media3 does this some 50 s ahead.
    stage.fetches(2, 6);
    stage.passes(SECOND * 25);
    stage.renews(1);
    stage.passes(SECOND * 25);
    stage.renews(1);
    assert!(stage.is_live(1) && stage.is_live(2));
    stage.says(2, PlayingState::Plays);
    stage.settle();
    assert!(stage.is_over(1) && stage.is_live(2));
    assert_eq!(stage.told, "o1 o2 c1 ");
}

#[test]
fn a_call_that_the_authority_does_not_accept_ends_nothing_and_holds_no_place() {
    for refusal in [Denial::Token, Denial::Rejected, Denial::Limit, Denial::InUse] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        stage.play(LICENSE.with(2));
        stage.quiet();
        stage.call(LICENSE.with(3));
        stage.answer(Ok(Verdict::Denied(refusal, reason())));
        assert!(matches!(stage.call_again(3, LICENSE.with(3)).1, CallAnswer::Refuse(SessionRefusal::Denied(..))));
        assert!(stage.is_live(1) && stage.is_live(2));
        assert_eq!(stage.told, "o1 o2 o3 ");
    }
}

#[test]
fn a_player_that_reports_a_preload_shows_no_life_by_its_requests() {
    let mut stage = film_and_preload();
    stage.deliver(2, Input::Report(PlayerReport { preloads: true, ..PlayerReport::default() }));
    stage.fetches(2, 20);
    for _ in 0..6 {
        stage.passes(SECOND * 25);
        stage.renews(1);
        stage.renews(2);
        stage.fetches(2, 1);
        assert!(stage.is_live(1) && stage.is_live(2));
    }
    stage.says(2, PlayingState::Plays);
    assert!(!stage.is_live(1));
}

#[test]
fn a_newer_playback_that_renews_ends_a_silent_older_one() {
    let mut stage = film_and_preload();
    stage.passes(SECOND * 30);
    assert!(stage.is_live(1));
    stage.renews(2);
    stage.settle();
    assert!(stage.gives_way(1) && stage.is_live(2));
}

#[test]
fn an_older_playback_without_signs_for_interval_and_grace_gives_way() {
    let mut stage = film_and_preload();
    // Interval and grace, two seconds of which went by.
    stage.passes(SECOND * 37);
    assert!(stage.is_live(1));
    stage.passes(SECOND);
    assert!(stage.gives_way(1) && stage.is_live(2));
}

#[test]
fn a_stream_ends_a_silent_playback_beside_it() {
    for (segments, ended) in [(8, false), (9, true)] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        stage.fetches(1, 30);
        stage.play(LICENSE.with(2));
        stage.fetches(2, segments);
        stage.passes(SECOND * 9);
        assert!(stage.is_live(1));
        stage.passes(SECOND * 2);
        assert_eq!(stage.gives_way(1), ended, "{segments} segments");
    }
}

#[test]
fn a_device_with_two_viewers_keeps_the_newer_playback() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    for _ in 0..11 {
        stage.fetches(1, 2);
        stage.fetches(2, 2);
        stage.passes(SECOND * 5);
    }
    assert!(stage.is_live(1));
    for _ in 0..6 {
        stage.fetches(1, 2);
        stage.fetches(2, 2);
        stage.passes(SECOND * 5);
    }
    assert!(stage.is_over(1) && stage.is_live(2));
    // A device that may have two loses none.
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    for _ in 0..30 {
        stage.fetches(1, 2);
        stage.fetches(2, 2);
        stage.passes(SECOND * 5);
    }
    assert!(stage.is_live(1) && stage.is_live(2));
}

#[test]
fn an_abandoned_preload_gives_way_and_comes_back_when_its_player_asks() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    for _ in 0..12 {
        assert!(stage.is_live(1) && stage.is_live(2));
        stage.passes(SECOND * 10);
        stage.fetches(1, 2);
    }
    stage.settle();
    assert!(stage.is_live(1) && stage.gives_way(2));
    // The film ends, and the preloaded title plays, under the same id.
    stage.told.clear();
    stage.passes(SECOND * 5);
    stage.says(2, PlayingState::Plays);
    stage.settle();
    assert!(stage.is_over(1) && stage.is_live(2));
    assert_eq!(stage.told, "b1 o2 c1 ");
}

/// A film that is paused in a page whose timers stand, and another one that is tried for a while.
#[test]
fn a_yielded_playback_is_taken_back_under_its_id_by_any_sign_of_its_player() {
    let signs: [fn(&mut Stage); 4] = [
        |stage| stage.fetches(1, 1),
        |stage| assert_eq!(stage.call(RENEWAL.with(1).under(100)), (1, CallAnswer::Wait)),
        |stage| assert_eq!(stage.call(LICENSE.with(1).under(100)), (1, CallAnswer::Wait)),
        |stage| stage.says(1, PlayingState::Plays),
    ];
    for sign in signs {
        let mut stage = film_and_preload();
        stage.passes(SECOND * 60);
        assert!(stage.gives_way(1));
        sign(&mut stage);
        stage.settle();
        assert!(stage.is_live(1) && stage.is_live(2));
        assert_eq!(stage.told, "o1 o2 c1 o1 ");
    }
    // The session is forgotten.
    let mut stage = film_and_preload();
    stage.passes(SECOND * 60);
    stage.fetches(2, 1);
    stage.passes(Policy::MAX_GIVEN_WAY_TIME);
    assert!(stage.device.playbacks.iter().all(|p| p.id != SessionId(1)));
}

#[test]
fn a_yielded_playback_that_is_stopped_or_killed_stays_so() {
    let ends = [Input::End(EndReason::Stopped), Input::Kill(reason().into())];
    for end in ends {
        let mut stage = film_and_preload();
        stage.passes(SECOND * 60);
        stage.deliver(1, end);
        stage.fetches(1, 20);
        assert!(stage.call(RENEWAL.with(1).under(100)).1.refusal().is_some());
        stage.settle();
        assert_eq!(stage.told, "o1 o2 c1 ");
    }
}

/// Two players behind one device, each of which goes on until it is refused.
#[test]
fn two_titles_never_take_turns_for_long() {
    for apart in [5, 15, 25, 45] {
        let mut stage = film_and_preload();
        let mut players = vec![1, 2];
        for _ in 0..40 {
            stage.passes(SECOND * apart);
            players.retain(|id| {
                let (of, answer) = stage.call(RENEWAL.with(*id).under(id * 100));
                if let CallAnswer::Renew(_, ticket) = answer {
                    let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None };
                    stage.deliver(of, Input::Answered(ticket, AskKind::Renew, Ok(alive)));
                }
                stage.settle();
                answer.refusal().is_none()
            });
        }
        assert_eq!(players, [2], "{apart} s apart: {}", stage.told);
        let opens = stage.told.matches('o').count();
        assert!(opens <= 5, "{apart} s apart: {}", stage.told);
    }
}

// At the limit.

fn film_at_the_limit() -> Stage {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).under(100));
    stage.deliver(1, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) }));
    stage.passes(SECOND);
    stage.call(LICENSE.with(2).under(200));
    stage
}

#[test]
fn the_older_gives_way_at_the_limit_and_is_taken_back_if_that_was_for_nothing() {
    let mut stage = film_at_the_limit();
    assert!(stage.has_no_place());
    assert!(stage.gives_way(1));
    assert_eq!(stage.told, "o1 o2 c1 o2 ");
    stage.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
    stage.settle();
    assert!(stage.is_live(1));
    assert_eq!(stage.told, "o1 o2 c1 o2 o1 ");
}

#[test]
fn a_returning_playback_without_a_place_is_not_requested_again_and_again() {
    let mut stage = film_at_the_limit();
    assert!(stage.has_no_place());
    // Another device has the place by now.
    for _ in 0..5 {
        if !stage.flying.is_empty() {
            let (SessionId(id), ask) = stage.flying.remove(0);
            let denied = Ok(Verdict::Denied(Denial::Limit, reason()));
            stage.deliver(id, Input::Answered(ask.ticket, ask.kind, denied));
        }
        stage.tick(SECOND);
    }
    assert!(stage.gives_way(1));
    assert_eq!(stage.told, "o1 o2 c1 o2 o1 ");
}

#[test]
fn a_license_server_that_declines_gives_the_older_its_place_back() {
    let mut stage = film_at_the_limit();
    assert!(stage.has_no_place());
    let (id, ask) = stage.flying.remove(0);
    stage.deliver(id.0, Input::Answered(ask.ticket, ask.kind, Ok(granted(2))));
    stage.deliver(2, Input::Unserved);
    stage.passes(SECOND * 31);
    assert!(stage.is_live(1) && !stage.is_live(2));
}

#[test]
fn a_preload_at_a_limit_of_one_costs_the_film_nothing() {
    let mut stage = film_at_the_limit();
    assert!(stage.has_no_place());
    stage.settle();
    assert!(stage.gives_way(1) && stage.is_live(2));
    // The film goes on: the preload gives its place back.
    stage.passes(SECOND * 20);
    assert_eq!(stage.call(RENEWAL.with(1).under(100)), (1, CallAnswer::Wait));
    assert!(stage.has_no_place());
    stage.settle();
    assert!(stage.is_live(1) && stage.gives_way(2));
    // The preload's requests meanwhile do not end the film. Its renewal has the place for a moment.
    stage.fetches(2, 8);
    stage.passes(SECOND * 5);
    assert!(stage.is_live(1) && stage.gives_way(2));
    assert_eq!(stage.call(RENEWAL.with(2).under(200)), (2, CallAnswer::Wait));
    assert!(stage.has_no_place());
    stage.settle();
    stage.renews(2);
    stage.passes(SECOND * 5);
    stage.fetches(1, 1);
    assert!(stage.has_no_place());
    stage.settle();
    assert!(stage.is_live(1) && stage.gives_way(2));
    // Then the next title plays.
    stage.passes(SECOND * 5);
    stage.says(2, PlayingState::Plays);
    assert!(stage.has_no_place());
    stage.settle();
    assert!(stage.is_live(2) && stage.is_over(1));
}

#[test]
fn an_open_for_another_account_ends_no_playback() {
    let mut stage = film_at_the_limit();
    let (id, _) = stage.flying[0];
    assert_eq!(
        stage.device.turn(id, stage.now, |()| false, &stage.policy, &mut DeviceEffects::new()),
        PlaceTurn::Nobody
    );
    assert!(stage.is_live(1));
}

#[test]
fn the_spare_place_is_the_preloads_until_it_plays() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    assert_eq!(stage.device.spare(&stage.policy), None);
    stage.play(LICENSE.with(2));
    assert_eq!(stage.device.spare(&stage.policy), Some(SessionId(2)));
    // Another device needs the place.
    stage.deliver(2, Input::GiveWay);
    stage.settle();
    assert_eq!(stage.device.spare(&stage.policy), None);
    assert!(stage.is_live(1) && stage.gives_way(2));
}

// Facts remembered of a player.

fn unreachable() -> AuthorityFault {
    AuthorityFault { kind: FaultKind::Timeout, reason: Reason::without_reply("no reply") }
}

/// The authority was away when the film began, or has lost its session, and is back for the preload.
#[test]
fn a_film_on_credit_misses_no_round_while_a_preload_renews() {
    let allowed = || OutageBudget { live: SECOND * 600, vod: SECOND * 600 };
    let on_unreachable = OnUnreachable { new: allowed(), running: allowed() };
    for (has_run, round) in [(false, 30), (true, 60)] {
        let mut stage = Stage::under(Policy { on_unreachable, ..Policy::default() });
        let film = LICENSE.with(1).under(100);
        if has_run {
            stage.play(film);
            stage.deliver(1, Input::Served(LicenseFeedback::Renews { every: None }));
            let interval = Some(SECOND * round);
            let alive = Verdict::Alive { interval, lifetime: None, schedule: None, token: None };
            for verdict in [alive, Verdict::Denied(Denial::Token, reason())] {
                let (_, answer) = stage.call(RENEWAL.with(1).under(100));
                let CallAnswer::Renew(_, ticket) = answer else { panic!("no renewal: {answer:?}") };
                stage.deliver(1, Input::Answered(ticket, AskKind::Renew, Ok(verdict)));
            }
        } else {
            stage.call(film);
        }
        stage.answer(Err(unreachable()));
        stage.deliver(1, Input::Served(LicenseFeedback::Renews { every: None }));
        stage.play(LICENSE.with(2).under(200));
        stage.deliver(2, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) }));
        for (after, gives_way) in [(15, false), (round - 16, false), (1, true)] {
            stage.now += SECOND * after;
            stage.renews(2);
            assert!(stage.is_live(2));
            let is_owing = matches!(stage.state(1), SessionState::Owing { .. });
            assert_eq!((is_owing, stage.gives_way(1)), (!gives_way, gives_way), "{round}");
        }
    }
}

#[test]
fn a_players_report_of_a_preload_is_remembered_when_it_gives_way() {
    let mut stage = film_and_preload();
    stage.deliver(2, Input::Report(PlayerReport { preloads: true, ..PlayerReport::default() }));
    stage.deliver(2, Input::GiveWay);
    stage.settle();
    assert_eq!(stage.call(RENEWAL.with(2).under(200)).1, CallAnswer::Wait);
    stage.settle();
    assert!(stage.is_live(1) && stage.is_live(2));
    // The film misses a round.
    stage.passes(SECOND * 31);
    stage.renews(2);
    assert!(stage.is_live(1) && stage.is_live(2));
}

#[test]
fn renewals_of_a_yielded_preload_show_nothing_if_its_media_pass_through() {
    let mut stage = film_and_preload();
    stage.fetches(2, 6);
    stage.deliver(2, Input::GiveWay);
    stage.settle();
    assert_eq!(stage.call(RENEWAL.with(2).under(200)).1, CallAnswer::Wait);
    stage.settle();
    stage.passes(SECOND * 31);
    stage.renews(2);
    assert!(stage.is_live(1) && stage.is_live(2));
}

#[test]
fn renewals_that_come_seldom_show_two_viewers_as_well() {
    let mut stage = Stage::new();
    for id in [1, 2] {
        stage.play(LICENSE.with(id).under(id * 100));
        stage.deliver(id, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 100) }));
    }
    for _ in 0..2 {
        assert!(stage.is_live(1) && stage.is_live(2));
        stage.passes(SECOND * 90);
        stage.renews(1);
        stage.renews(2);
    }
    assert!(!stage.is_live(1) && stage.is_live(2));
}

/// Both renew again and again, like two tabs of one device.
#[test]
fn neither_of_two_is_refused_at_a_limit_of_one_until_they_are_two_viewers_and_then_the_newer_is() {
    let mut stage = film_at_the_limit();
    assert!(stage.has_no_place());
    stage.settle();
    stage.deliver(2, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) }));
    let (mut served, mut players) = (Vec::new(), vec![1, 2]);
    for round in 0..8 {
        for id in players.clone() {
            stage.passes(SECOND * 12);
            let renewal = RENEWAL.with(id).under(id * 100);
            let (_, mut answer) = stage.call(renewal);
            if answer == CallAnswer::Wait {
                if stage.has_no_place() {
                    stage.settle();
                } else {
                    stage.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
                }
                answer = stage.call_again(id, renewal).1;
            }
            if let CallAnswer::Renew(_, ticket) = answer {
                let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None };
                stage.deliver(id, Input::Answered(ticket, AskKind::Renew, Ok(alive)));
                served.push((round, id));
            } else {
                assert!(answer.refusal().is_some());
                players.retain(|player| *player != id);
            }
        }
    }
    let of = |id: u64| served.iter().filter(|(_, of)| *of == id).map(|(round, _)| *round).collect::<Vec<_>>();
    assert_eq!(of(1), (0..8).collect::<Vec<_>>(), "the film goes on");
    assert_eq!(of(2), [0, 1, 2], "a minute");
}

/// Its open is owed, and tried again without a call.
#[test]
fn a_preload_without_signs_does_not_end_the_film_at_the_limit() {
    let mut stage = film_at_the_limit();
    stage.policy.on_unreachable.new = OutageBudget { live: SECOND * 600, vod: SECOND * 600 };
    assert!(stage.has_no_place());
    stage.answer(Err(unreachable()));
    assert!(matches!(stage.state(2), SessionState::Owing { .. }));
    stage.passes(Duration::from_millis(100));
    assert!(stage.gives_way(1));
    // The authority is back, and the film as well.
    assert_eq!(stage.call(RENEWAL.with(1).under(100)), (1, CallAnswer::Wait));
    for _ in 0..20 {
        stage.tick(SECOND);
        while let Some((id, ask)) = stage.flying.first().cloned() {
            if id == SessionId(2) && ask.kind == AskKind::Open && stage.is_live(1) {
                assert!(!stage.has_no_place());
                let at = stage.flying.iter().position(|(id, _)| *id == SessionId(2)).unwrap();
                let open = stage.flying.remove(at);
                stage.flying.insert(0, open);
                stage.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
            } else if id == SessionId(2) && ask.kind == AskKind::Open {
                stage.answer(Err(unreachable()));
            } else {
                stage.yes();
            }
        }
        if stage.is_live(1) {
            stage.renews(1);
        }
    }
    assert!(stage.is_live(1) && stage.gives_way(2), "{:?} {:?}", stage.state(1), stage.state(2));
    // When its player asks for it, it gets the place.
    assert_eq!(stage.call(LICENSE.with(2).under(200)), (2, CallAnswer::Wait));
    assert!(stage.has_no_place());
}

#[test]
fn a_film_beside_a_silent_title_does_not_count_as_the_surplus_preload() {
    for streams in [false, true] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        if !streams {
            stage.deliver(1, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 2) }));
        }
        stage.play(LICENSE.with(2));
        stage.deliver(2, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 2) }));
        stage.passes(SECOND * 5);
        if streams {
            stage.fetches(2, 9);
        }
        // Renewals also show the film's life after the next title has begun.
        stage.call(LICENSE.with(3));
        if !streams {
            stage.now += SECOND * 26;
            stage.renews(2);
        }
        stage.settle();
        assert!(stage.is_live(2) && stage.is_live(3), "{streams}: {}", stage.told);
        assert!(stage.gives_way(1), "{streams}");
    }
}

#[test]
fn a_call_that_waits_while_its_film_gives_way_takes_it_back() {
    for waiting in [RENEWAL.with(1).under(100), LICENSE.with(1).under(101)] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1).under(100));
        stage.tick(SECOND * 31);
        assert_eq!(stage.told, "o1 b1 ");
        assert_eq!(stage.call(waiting), (1, CallAnswer::Wait));
        stage.call(LICENSE.with(2).under(200));
        stage.flying.rotate_left(1);
        assert!(stage.has_no_place());
        // The preload is served first.
        assert_eq!(stage.call_again(1, waiting), (1, CallAnswer::Wait));
        stage.yes();
        stage.passes(SECOND);
        assert!(stage.is_live(1) && stage.is_live(2), "{}", stage.told);
        assert_eq!(stage.told, "o1 b1 o2 c1 o2 o1 ");
    }
}

#[test]
fn a_first_open_that_waits_loses_its_turn_to_no_call_that_is_not_accepted() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    // The film waits, because the device zaps fast; then a stranger calls in its name.
    assert_eq!(stage.call(LICENSE.with(3)), (3, CallAnswer::Wait));
    for garbage in 4..7 {
        assert_eq!(stage.call(LICENSE.with(garbage)).1, CallAnswer::Wait);
    }
    for _ in 0..30 {
        stage.tick(Duration::from_millis(100));
        while let Some((SessionId(id), ask)) = stage.flying.first().cloned() {
            match ask.kind {
                AskKind::Open if id > 3 => stage.answer(Ok(Verdict::Denied(Denial::Token, reason()))),
                _ => stage.yes(),
            }
        }
    }
    assert!(matches!(stage.call_again(3, LICENSE.with(3)), (3, CallAnswer::Forward(_))), "{}", stage.told);
}

#[test]
fn waiting_playbacks_lose_their_turn_when_the_last_takes_the_only_place_and_may_ask_again() {
    let mut stage = film_at_the_limit();
    assert!(stage.has_no_place());
    stage.settle();
    stage.deliver(2, Input::Used);
    let waits = LICENSE.with(3).under(300);
    assert_eq!(stage.call(waits), (3, CallAnswer::Wait));
    assert_eq!(stage.call(LICENSE.with(4)), (4, CallAnswer::Wait));
    stage.quiet();
    assert!(stage.has_no_place());
    stage.settle();
    stage.deliver(4, Input::Used);
    assert_eq!(stage.call_again(3, waits), (3, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Zapped))));
    // The call is a new wish.
    assert_eq!(stage.call(waits), (5, CallAnswer::Wait));
}

#[test]
fn a_license_call_gets_a_place_beside_a_reported_playback_and_a_renewal_does_not() {
    for (call, has_place) in [(LICENSE.with(1).under(101), true), (RENEWAL.with(1).under(100), false)] {
        let mut stage = film_at_the_limit();
        assert!(stage.has_no_place());
        stage.settle();
        assert_eq!(stage.call(call), (1, CallAnswer::Wait));
        stage.says(2, PlayingState::Plays);
        assert_eq!(stage.has_no_place(), has_place, "{}", stage.told);
    }
}

/// The titles of a playlist, opened all at once.
#[test]
fn a_waiting_playback_beyond_the_bound_is_given_up_and_refused() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    let waits = |id: u64, stage: &mut Stage| stage.call_again(id, LICENSE.with(id)).1;
    for title in 3..12 {
        assert_eq!(stage.call(LICENSE.with(title)), (title, CallAnswer::Wait));
    }
    // The first ones keep their turn: a stranger with the device's name takes none of them.
    let given_up: Vec<_> = (3..12).filter(|id| waits(*id, &mut stage).refusal().is_some()).collect();
    assert_eq!(given_up, [10]);
    assert_eq!(waits(10, &mut stage), CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Abandoned)));
}

#[test]
fn a_film_with_signs_of_life_is_kept_before_a_preload_without() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    stage.fetches(2, 9);
    // The viewer goes back to the first title, whose player fetches media, and the next title is preloaded.
    stage.passes(SECOND * 3);
    stage.fetches(1, 2);
    stage.play(LICENSE.with(3));
    stage.deliver(3, Input::Used);
    stage.settle();
    assert!(stage.is_live(1) && stage.gives_way(2) && stage.is_live(3), "{}", stage.told);
}

/// The viewer turns to a title that was fetched ahead some time ago; two others were fetched ahead since.
#[test]
fn the_preload_that_shows_life_is_kept_among_several() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    stage.passes(SECOND * 2);
    stage.play(LICENSE.with(3));
    stage.deliver(3, Input::Used);
    stage.passes(SECOND * 4);
    assert!(stage.is_live(1) && stage.gives_way(2) && stage.is_live(3), "{}", stage.told);
    stage.fetches(1, 1);
    assert_eq!(stage.call(LICENSE.with(2)).1, CallAnswer::Wait);
    stage.settle();
    assert!(matches!(stage.call(LICENSE.with(2)).1, CallAnswer::Forward(_)));
    stage.passes(SECOND * 5);
    assert!(stage.is_live(1) && stage.is_live(2) && stage.gives_way(3), "{}", stage.told);
}

#[test]
fn two_playbacks_with_signs_for_a_minute_are_two_viewers() {
    let mut stage = film_and_preload();
    // The media of the newer one flow; the other one's license is renewed and nothing of it is fetched.
    for _ in 0..16 {
        stage.fetches(2, 9);
        stage.renews(1);
        stage.renews(2);
        stage.passes(SECOND * 5);
        assert!(stage.is_live(2) && !stage.is_over(1), "{}", stage.told);
    }
}

#[test]
fn an_owed_open_is_no_sign_of_its_player() {
    let mut stage = Stage::new();
    stage.policy.on_unreachable.new = OutageBudget { live: SECOND * 600, vod: SECOND * 600 };
    stage.call(LICENSE.with(1));
    stage.answer(Err(unreachable()));
    let before = stage.device.playback_mut(SessionId(1)).unwrap().session.life().last();
    stage.passes(SECOND * 40);
    assert!(stage.is_live(1));
    assert_eq!(stage.device.playback_mut(SessionId(1)).unwrap().session.life().last(), before);
}

#[test]
fn the_first_playback_at_the_limit_has_its_license_before_it_gives_way() {
    let mut stage = Stage::new();
    let (one, other) = (LICENSE.with(1).under(100), LICENSE.with(2).under(200));
    stage.call(one);
    stage.grants();
    assert!(matches!(stage.call_again(1, one).1, CallAnswer::Forward(_)));
    // The license server has not answered yet.
    stage.call(other);
    let (id, _) = stage.flying[0];
    let turn = |stage: &mut Stage| {
        let mut out = DeviceEffects::new();
        let turn = stage.device.turn(id, stage.now, |()| true, &stage.policy, &mut out);
        stage.take(out);
        turn
    };
    assert_eq!(turn(&mut stage), PlaceTurn::Later);
    stage.deliver(1, Input::Used);
    assert_eq!(turn(&mut stage), PlaceTurn::Given);
}

#[test]
fn a_first_license_call_whose_session_gives_way_meanwhile_waits_for_it() {
    let mut stage = film_at_the_limit();
    stage.yes();
    stage.deliver(2, Input::GiveWay);
    assert_eq!(stage.call_again(2, LICENSE.with(2).under(200)), (2, CallAnswer::Wait));
    stage.passes(SECOND);
    assert!(matches!(stage.call_again(2, LICENSE.with(2).under(200)).1, CallAnswer::Forward(_)), "{}", stage.told);
}

#[test]
fn a_call_that_takes_its_session_back_goes_on_before_that_gives_way_again() {
    for waiting in [RENEWAL.with(1).under(100), LICENSE.with(1).under(101)] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1).under(100));
        stage.play(LICENSE.with(2).under(200));
        // Its player reports its end; then its viewer goes back to it.
        stage.says(1, PlayingState::Done);
        stage.settle();
        assert!(stage.gives_way(1));
        assert_eq!(stage.call(waiting), (1, CallAnswer::Wait));
        stage.yes();
        assert_eq!(stage.told, "o1 o2 c1 o1 ");
        let (id, answer) = stage.call_again(1, waiting);
        assert!(id == 1 && matches!(answer, CallAnswer::Forward(_) | CallAnswer::Renew(..)), "{answer:?}");
    }
}

// Facts known of a preload, after any other events.

/// Browsers also renew a preloaded license.
#[test]
fn renewals_of_a_preloaded_license_end_no_film_whose_media_pass_through() {
    let mut stage = film_and_preload();
    for _ in 0..12 {
        stage.fetches(1, 2);
        stage.renews(1);
        stage.passes(SECOND * 10);
        stage.renews(2);
        assert!(stage.is_live(1) && stage.is_live(2));
    }
}

#[test]
fn media_requests_right_after_giving_way_show_only_that_media_pass_through() {
    let mut stage = film_and_preload();
    stage.deliver(2, Input::GiveWay);
    stage.settle();
    stage.fetches(2, 1);
    let next = stage.device.playback_mut(SessionId(2)).unwrap();
    assert!(next.session.life().streams() && next.session.life().segments() == 0);
}

/// Its own session was lost while the machine slept, and began anew behind the preload's.
#[test]
fn a_film_that_began_behind_its_preload_does_not_end_it_by_saying_that_it_plays() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).under(100));
    stage.deliver(1, Input::Report(PlayerReport { preloads: true, ..PlayerReport::default() }));
    stage.play(LICENSE.with(2).under(200));
    for _ in 0..6 {
        stage.says(2, PlayingState::Plays);
        stage.deliver(1, Input::Report(PlayerReport { preloads: true, ..PlayerReport::default() }));
        stage.passes(SECOND * 10);
        assert!(stage.is_live(1) && stage.is_live(2));
    }
    assert_eq!(stage.device.spare(&stage.policy), Some(SessionId(1)));
    stage.says(1, PlayingState::Plays);
    stage.settle();
    assert!(stage.is_live(1) && !stage.is_live(2));
}

#[test]
fn a_renewal_that_meets_a_presumed_end_on_its_way_begins_anew() {
    for (end, begins) in [(EndReason::RenewalsOverdue, true), (EndReason::Silent, true), (EndReason::Stopped, false)] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1).under(100));
        stage.deliver(1, Input::End(end));
        assert!(matches!(stage.state(1), SessionState::Closing { .. }));
        let (_, answer) = stage.call(RENEWAL.with(1).under(100));
        assert_eq!(answer == CallAnswer::Wait, begins, "{end:?}: {answer:?}");
    }
}

#[test]
fn a_title_that_continues_by_a_renewal_keeps_its_place_before_preloads() {
    let mut stage = film_and_preload();
    stage.fetches(1, 9);
    stage.deliver(1, Input::End(EndReason::RenewalsOverdue));
    stage.settle();
    let (id, answer) = stage.call(RENEWAL.with(1).under(100));
    assert_eq!(answer, CallAnswer::Wait);
    stage.settle();
    let order: Vec<_> = stage.device.playbacks().iter().map(|p| p.id).collect();
    assert!(order.iter().position(|of| *of == SessionId(id)) < order.iter().position(|of| *of == SessionId(2)));
    assert!(stage.device.playback_mut(SessionId(id)).unwrap().session.life().streams());
}

/// A title is left for another one, which finds no place; then that one's own predecessor waits no longer.
#[test]
fn a_playback_returns_if_the_one_it_yielded_to_came_to_nothing() {
    let mut stage = Stage::new();
    for id in [1, 2] {
        stage.play(LICENSE.with(id).under(id * 100));
        stage.passes(SECOND);
    }
    let policy = stage.policy.clone();
    let mut out = DeviceEffects::new();
    let step = &mut DeviceStep { now: stage.now, policy: &policy, out: &mut out };
    stage.device.give_way(SessionId(2), SessionId(1), step);
    stage.take(out);
    stage.settle();
    stage.call(LICENSE.with(3).under(300));
    let mut out = DeviceEffects::new();
    let step = &mut DeviceStep { now: stage.now, policy: &policy, out: &mut out };
    stage.device.give_way(SessionId(1), SessionId(3), step);
    stage.take(out);
    stage.told.clear();
    while let Some(at) = stage.flying.iter().position(|(id, _)| *id == SessionId(1)) {
        let flight = stage.flying.remove(at);
        stage.flying.insert(0, flight);
        stage.answer(Ok(Verdict::Closed));
    }
    stage.answer(Ok(Verdict::Denied(Denial::Token, reason())));
    stage.settle();
    assert!(stage.is_live(1) && stage.gives_way(2), "{}", stage.told);
}
