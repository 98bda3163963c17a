//! Tests of lost answers: the authority's answer about a token is no kill unless that is known to be the newest.

use super::super::super::held_grant::MAX_OVERTAKEN_CALL_TIME;
use super::*;

fn unknown() -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Unknown(reason()))
}

fn stale() -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Denied(Denial::Token, Reason::new(400, Some(1006), "Invalid token")))
}

fn failed(kind: FaultKind) -> Result<Verdict, AuthorityFault> {
    Err(AuthorityFault { kind, reason: Reason::without_reply("no decision") })
}

/// The next beat is answered so.
fn beaten(lab: &mut Lab, result: Result<Verdict, AuthorityFault>) {
    if lab.flying.is_none() {
        lab.come_up();
    }
    lab.answer(result);
}

fn reopens(lab: &Lab) -> bool {
    matches!(lab.flying, Some((_, AskKind::Open))) && lab.session.is_active()
}

#[test]
fn only_a_token_that_is_known_to_be_the_newest_makes_no_such_session_a_kill() {
    let silent = || Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None });
    let rows: [(&[Result<Verdict, AuthorityFault>], bool); 16] = [
        (&[], true),
        (&[alive("second")], true),
        // The answer may have named a lost token. A token that is good afterwards was not replaced.
        (&[silent()], false),
        (&[silent(), silent()], true),
        (&[silent(), silent(), silent()], true),
        (&[silent(), alive("second")], true),
        (&[silent(), alive("second"), silent()], false),
        (&[silent(), silent(), alive("second"), silent()], false),
        (&[silent(), silent(), failed(FaultKind::Timeout)], false),
        (&[failed(FaultKind::Timeout)], false),
        (&[failed(FaultKind::Lost)], false),
        (&[failed(FaultKind::Malformed)], false),
        (&[failed(FaultKind::Refused)], false),
        // These calls were never sent.
        (&[failed(FaultKind::Unreachable), failed(FaultKind::Busy)], true),
        (&[failed(FaultKind::Timeout), alive("second")], true),
        (&[failed(FaultKind::Timeout), silent(), failed(FaultKind::Unreachable)], false),
    ];
    for (before, kills) in rows {
        let mut lab = Lab::live(Policy::default());
        before.iter().for_each(|result| beaten(&mut lab, result.clone()));
        beaten(&mut lab, unknown());
        assert_eq!((lab.session.is_killed(), reopens(&lab)), (kills, !kills), "{before:?}");
    }
}

/// A call that was given up may be processed behind later ones, and replace the token that those have kept.
#[test]
fn a_call_in_transit_keeps_the_token_in_doubt() {
    let silent = || Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None });
    for (after, kills) in [(secs(1), false), (secs(20), false), (MAX_OVERTAKEN_CALL_TIME, true)] {
        let mut lab = Lab::live(Policy::default());
        // It is known that the authority keeps its tokens.
        [silent(), silent()].into_iter().for_each(|result| beaten(&mut lab, result));
        beaten(&mut lab, failed(FaultKind::Timeout));
        let given_up = lab.now;
        while lab.now < given_up + after {
            beaten(&mut lab, silent());
        }
        beaten(&mut lab, unknown());
        assert_eq!((lab.session.is_killed(), reopens(&lab)), (kills, !kills), "{after:?}");
    }
}

#[test]
fn a_call_of_a_lost_session_leaves_the_token_of_the_next_one_in_no_doubt() {
    let silent = || Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None });
    let mut lab = Lab::live(Policy::default());
    beaten(&mut lab, failed(FaultKind::Timeout));
    beaten(&mut lab, unknown());
    assert!(reopens(&lab));
    lab.answer(Ok(Verdict::Granted(grant("another"))));
    // It is known that this authority keeps its tokens.
    [silent(), silent()].into_iter().for_each(|result| beaten(&mut lab, result));
    beaten(&mut lab, unknown());
    assert!(lab.session.is_killed(), "{:?}", lab.session.state());
}

#[test]
fn a_good_answer_without_a_token_ends_the_doubt_where_tokens_do_not_rotate() {
    let mut lab = Lab::live(Policy { rotates_tokens: false, ..Policy::default() });
    beaten(&mut lab, fault());
    beaten(&mut lab, Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }));
    beaten(&mut lab, unknown());
    assert!(lab.session.is_killed());
}

#[test]
fn an_explicit_kill_counts_after_any_lost_answer() {
    let mut lab = Lab::failing();
    beaten(&mut lab, Ok(Verdict::Killed(reason())));
    assert!(lab.session.is_killed());
    for word in [unknown(), Ok(Verdict::Killed(reason()))] {
        let mut lab = Lab::failing();
        beaten(&mut lab, stale());
        assert!(reopens(&lab));
        lab.answer(word);
        assert!(lab.session.is_killed(), "the open that follows says it");
    }
}

#[test]
fn calls_wait_for_the_session_that_takes_the_place_of_a_lost_one() {
    for gone in [unknown(), stale()] {
        let mut lab = Lab::failing();
        beaten(&mut lab, gone);
        for kind in [CallKind::License, CallKind::Renewal, CallKind::Release] {
            assert_eq!(lab.call(kind), CallAnswer::Wait);
        }
        assert_eq!((lab.session.on_credit(), lab.events.contains(&SessionEvent::Reopening)), (None, true));
        lab.answer(Ok(Verdict::Granted(grant("another"))));
        assert_eq!(lab.call(CallKind::License), CallAnswer::Forward(grant("another")));
        // The newest token of this one is known.
        beaten(&mut lab, unknown());
        assert!(lab.session.is_killed());
    }
}

/// A renewal shows that its player is there, also when the session had expired by its age.
#[test]
fn a_renewal_of_an_expired_session_opens_another_at_once() {
    let mut lab = Lab::renewing();
    lab.wait(secs(41));
    lab.call(CallKind::Renewal);
    lab.answer(unknown());
    assert!(reopens(&lab), "{:?}", lab.session.state);
}

#[test]
fn a_lost_sessions_place_is_waited_for_until_it_must_have_expired() {
    let limit = || Ok(Verdict::Denied(Denial::Limit, Reason::new(400, Some(1007), "full")));
    let mut lab = Lab::failing();
    beaten(&mut lab, unknown());
    let since = lab.now;
    let mut tries = 0;
    while lab.session.is_active() {
        match lab.flying {
            Some((_, kind)) => {
                assert_eq!(kind, AskKind::Open);
                tries += 1;
                lab.answer(limit());
            }
            None => lab.come_up(),
        }
    }
    assert!(matches!(lab.session.state, SessionState::Closed { why: SessionClosure::Denied(Denial::Limit, _), .. }));
    let (waited, held) = (lab.now - since, INTERVAL + lab.policy.grace);
    assert!(waited == held && (4..20).contains(&tries), "{waited:?}, {tries} tries");
}

#[test]
fn a_late_answer_brings_the_newest_token_unless_a_later_call_was_answered() {
    // Given up, and answered late: nothing was asked since.
    let mut lab = Lab::beating(Policy { grace: secs(60), ..Policy::default() });
    let (late, _) = lab.flying.expect("a beat");
    lab.come_up();
    lab.feed(Input::Answered(late, AskKind::Beat, alive("late")));
    lab.feed(Input::Answered(late, AskKind::Beat, alive("once more")));
    lab.come_up();
    assert_eq!(lab.asks.last().and_then(|ask| ask.grant.clone()), Some(grant("late")));
    lab.answer(unknown());
    assert!(lab.session.is_killed(), "it was known to be the newest");

    // A later call is under way with the token before: what is said of that one is no verdict on the newest.
    for gone in [unknown(), stale()] {
        let mut lab = Lab::beating(Policy { grace: secs(60), ..Policy::default() });
        let (late, _) = lab.flying.expect("a beat");
        lab.come_up();
        lab.come_up();
        lab.feed(Input::Answered(late, AskKind::Beat, alive("late")));
        lab.answer(gone);
        lab.come_up();
        assert!(lab.session.is_active());
        assert_eq!(lab.asks.last().and_then(|ask| ask.grant.clone()), Some(grant("late")));
    }

    // A later call was answered.
    let mut lab = Lab::beating(Policy { grace: secs(60), ..Policy::default() });
    let (late, _) = lab.flying.expect("a beat");
    lab.come_up();
    beaten(&mut lab, alive("second"));
    lab.feed(Input::Answered(late, AskKind::Beat, alive("late")));
    assert_eq!(lab.session.grant().cloned(), Some(grant("second")));
}

#[test]
fn a_session_that_a_doubtful_token_cannot_close_is_reported_as_left_open() {
    for (before, said, left) in [
        (alive("second"), unknown(), 0),
        (fault(), unknown(), 1),
        (fault(), stale(), 1),
        (fault(), Ok(Verdict::Closed), 0),
    ] {
        let mut lab = Lab::beating(Policy::default());
        lab.answer(before);
        lab.feed(Input::End(EndReason::Stopped));
        lab.answer(said.clone());
        assert_eq!(lab.ended(), Some(EndReason::Stopped), "{said:?}");
        let told = lab.events.iter().filter(|event| **event == SessionEvent::LeftOpen).count();
        assert_eq!(told, left, "{said:?}");
        assert_eq!(lab.count(AskKind::Close), 1);
    }
}

#[test]
fn a_denied_close_is_reported() {
    let mut lab = Lab::live(Policy::default());
    lab.feed(Input::End(EndReason::Stopped));
    lab.answer(stale());
    let told =
        |event: &SessionEvent| matches!(event, SessionEvent::Failed(AskKind::Close, by) if by.error_code == Some(1006));
    assert!(lab.events.iter().any(told), "{:?}", lab.events);
}

#[test]
fn a_session_that_the_service_stops_is_given_back_at_once_and_plays_on() {
    let mut lab = Lab::beating(Policy { counts_ended: true, ..Policy::default() });
    lab.answer(Ok(Verdict::Disabled));
    assert_eq!((lab.closed_with("first"), lab.asks.last().map(|ask| ask.ticket)), (1, Some(Ticket::OrphanedGrant)));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Pass);
}

/// The process may end, or the player stop, while the beat is under way that is answered so.
#[test]
fn a_session_that_the_service_stops_while_it_ends_is_given_back_once() {
    for counts_ended in [false, true] {
        let mut lab = Lab::beating(Policy { counts_ended, ..Policy::default() });
        lab.feed(Input::End(EndReason::Stopped));
        lab.answer(Ok(Verdict::Disabled));
        assert_eq!(lab.closed_with("first"), 1);
        assert!(lab.flying.is_some_and(|(_, ask)| ask == AskKind::Close), "and it is waited for");
    }
}

#[test]
fn a_killed_session_is_given_back_if_it_is_counted_until_then() {
    for (counts_ended, closes) in [(false, 0), (true, 1)] {
        let mut lab = Lab::beating(Policy { counts_ended, ..Policy::default() });
        lab.answer(Ok(Verdict::Killed(reason())));
        assert!(lab.session.is_killed());
        assert_eq!(lab.closed_with("first"), closes);
        // Its close is in flight when the answer comes.
        let mut lab = Lab::beating(Policy { counts_ended, ..Policy::default() });
        lab.feed(Input::End(EndReason::Stopped));
        lab.answer(Ok(Verdict::Killed(reason())));
        assert_eq!(lab.closed_with("first"), closes);
    }
}

/// Its player could take it back, and must not.
#[test]
fn the_answer_to_its_beat_kills_a_yielding_session() {
    for counts_ended in [false, true] {
        let mut lab = Lab::beating(Policy { counts_ended, ..Policy::default() });
        lab.feed(Input::GiveWay);
        lab.answer(Ok(Verdict::Killed(reason())));
        assert!(lab.session.is_killed() && !lab.session.may_return(lab.now, &lab.policy));
        assert_eq!(lab.closed_with("first"), usize::from(counts_ended));
        lab.feed(Input::TakeBack);
        assert!(lab.session.is_killed());
    }
}

/// Its close waits for the beat: until then its viewer may continue it.
#[test]
fn a_session_that_gives_way_during_a_beat_may_return_until_its_answer() {
    for answer in [alive("second"), fault()] {
        let token = if answer.is_ok() { "second" } else { "first" };
        let mut lab = Lab::beating(Policy::default());
        lab.feed(Input::GiveWay);
        assert!(lab.session.may_return(lab.now, &lab.policy));
        lab.answer(answer);
        assert!(!lab.session.may_return(lab.now, &lab.policy));
        assert_eq!(lab.closed_with(token), 1);
    }
    let mut lab = Lab::beating(Policy::default());
    lab.feed(Input::GiveWay);
    lab.feed(Input::TakeBack);
    lab.answer(alive("second"));
    assert!(matches!(lab.session.state(), SessionState::Live { .. }));
}

/// The oldest is dropped: its answer is the least likely to come.
#[test]
fn the_newest_abandoned_opens_are_known() {
    let allowed = OutageBudget { live: secs(3600), vod: secs(3600) };
    let new = OnUnreachable { new: allowed, running: allowed };
    let mut lab = Lab::owing(Policy { on_unreachable: new, ..Policy::default() });
    let mut given_up = Vec::new();
    while given_up.len() < 4 {
        lab.come_up();
        if let Some((ticket, AskKind::Open)) = lab.flying {
            given_up.push(ticket);
            lab.come_up();
        }
    }
    for (number, ticket) in given_up.into_iter().enumerate() {
        let token = format!("late {number}");
        lab.feed(Input::Answered(ticket, AskKind::Open, Ok(Verdict::Granted(grant(&token)))));
        assert_eq!(lab.closed_with(&token), usize::from(number > 0), "{token}");
    }
}

#[test]
fn a_token_runs_out_while_the_machine_sleeps() {
    let mut lab = Lab::opening(Policy::default());
    let lifetime = Some(secs(600));
    lab.answer(Ok(Verdict::Granted(Grant { lifetime, ..grant("first") })));
    let since = lab.now;
    lab.feed(Input::Slept(secs(400)));
    while lab.session.is_active() {
        match lab.flying {
            Some(_) => lab.answer(failed(FaultKind::Unreachable)),
            None => lab.come_up(),
        }
    }
    assert_eq!((lab.ended(), lab.now - since), (Some(EndReason::Lost), secs(200)));
}

/// A session without beats during a pause is not late afterwards.
#[test]
fn a_player_that_plays_on_after_a_pause_without_beats_is_not_beaten_late() {
    let mut lab = Lab::live(Policy { beat_while_paused: false, ..Policy::default() });
    let report = |playing| Input::Report(PlayerReport { playing, ..PlayerReport::default() });
    lab.feed(report(PlayingState::Paused));
    lab.wait(secs(3_600));
    lab.feed(report(PlayingState::Plays));
    assert_eq!(lab.last(), AskKind::Beat);
    assert!(!lab.events.iter().any(|event| matches!(event, SessionEvent::BeatLate(_))), "{:?}", lab.events);
}

/// Without a doubt about the token there is nothing that another session could put right.
#[test]
fn a_token_that_is_refused_though_it_is_the_newest_ends_the_session_as_expired() {
    let mut lab = Lab::beating(Policy::default());
    lab.answer(stale());
    assert_eq!((lab.ended(), reopens(&lab)), (Some(EndReason::Expired), false));
}

#[test]
fn an_expired_session_is_given_back_if_it_is_counted_until_then() {
    for (counts_ended, closes) in [(false, 0), (true, 1)] {
        let mut lab = Lab::beating(Policy { counts_ended, ..Policy::default() });
        lab.now += INTERVAL + lab.policy.grace;
        lab.answer(unknown());
        assert_eq!((lab.ended(), lab.closed_with("first")), (Some(EndReason::Expired), closes));
    }
}

#[test]
fn a_running_session_that_is_opened_anew_in_vain_is_remembered_as_long_as_one_that_spent_its_credit() {
    let mut lab = Lab::failing();
    beaten(&mut lab, unknown());
    // Its last try is answered when the time is over.
    lab.wait(secs(41));
    lab.answer(failed(FaultKind::Unreachable));
    assert!(
        matches!(lab.session.state, SessionState::Closed { why: SessionClosure::Spent { .. }, .. }),
        "{:?}",
        lab.session.state
    );
    lab.wait(lab.policy.kill_memory - millis(1));
    lab.feed(Input::Tick);
    assert!(!lab.forgotten);
}

/// The lost session must have expired after 40 s; the credit of running television lasts for ten minutes.
#[test]
fn a_session_that_is_opened_anew_has_the_longer_of_its_credit_and_the_time_of_the_lost_one() {
    for (stream, lasts) in [(StreamType::Live, secs(600)), (StreamType::Vod, secs(60))] {
        let mut lab = Lab::failing();
        lab.policy = on_credit();
        lab.feed(Input::Streams(stream));
        beaten(&mut lab, unknown());
        let since = lab.now;
        while lab.session.is_active() {
            match lab.flying {
                Some(_) => lab.answer(failed(FaultKind::Unreachable)),
                None => lab.come_up(),
            }
        }
        assert_eq!(lab.now - since, lasts, "{stream:?}");
    }
}

#[test]
fn the_first_license_that_shows_renewals_is_reported_once() {
    let mut lab = Lab::live(Policy::default());
    for every in [None, Some(secs(20)), None] {
        lab.feed(Input::Served(LicenseFeedback::Renews { every }));
    }
    assert_eq!(lab.events.iter().filter(|event| **event == SessionEvent::RenewalsCarry).count(), 1);
}

#[test]
fn a_yielded_session_reports_that_its_player_took_it_back() {
    let told = |lab: &Lab| lab.events.iter().filter(|event| **event == SessionEvent::Returned).count();
    // Its close waits for a beat.
    let mut waiting = Lab::beating(Policy::default());
    waiting.feed(Input::GiveWay);
    waiting.feed(Input::TakeBack);
    assert_eq!((told(&waiting), matches!(waiting.session.state, SessionState::Live { .. })), (1, true));
    // Its close is answered.
    let mut closed = Lab::live(Policy::default());
    closed.feed(Input::GiveWay);
    closed.answer(Ok(Verdict::Closed));
    closed.feed(Input::TakeBack);
    assert_eq!((told(&closed), matches!(closed.session.state, SessionState::Waiting { .. })), (1, true));
}
