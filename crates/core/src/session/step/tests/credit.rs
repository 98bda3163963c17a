//! Tests of credit: which playbacks go on without the authority's word, for how long, and how that ends.

use super::*;

fn said(stream: StreamType) -> Input {
    Input::Report(PlayerReport {
        by_interval: false,
        playing: PlayingState::Plays,
        stream: Some(stream),
        ..PlayerReport::default()
    })
}

/// The authority never answers; returns the time until the session is over.
fn never_answered(lab: &mut Lab) -> Duration {
    let began = lab.now;
    while lab.session.is_active() {
        match lab.flying {
            Some(_) => lab.answer(fault()),
            None => lab.come_up(),
        }
    }
    lab.now - began
}

#[test]
fn a_new_playback_plays_without_a_grant_until_its_budget_is_spent() {
    for (stream, budget) in [(None, 60), (Some(StreamType::Live), 60), (Some(StreamType::Vod), 120)] {
        let mut lab = Lab::owing(on_credit());
        stream.into_iter().for_each(|stream| drop(lab.feed(said(stream))));
        for kind in CALLS {
            assert_eq!(lab.call(kind), CallAnswer::Pass);
        }
        assert_eq!(lab.events.last(), Some(&SessionEvent::OnCredit { running: false }));
        assert_eq!(never_answered(&mut lab), secs(budget), "{stream:?}");
        assert!(matches!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Unreachable(_))));
        assert_eq!(lab.events.last(), Some(&SessionEvent::Settled(secs(budget))));
        assert!((4..=12).contains(&lab.count(AskKind::Open)), "{}", lab.count(AskKind::Open));
        assert_eq!(lab.count(AskKind::Close), 0);
    }
}

#[test]
fn a_source_other_than_the_player_sets_the_kind_of_stream() {
    let mut lab = Lab::owing(on_credit());
    lab.feed(Input::Streams(StreamType::Vod));
    assert_eq!(never_answered(&mut lab), secs(120));
}

#[test]
fn a_refusing_policy_refuses_and_so_does_a_senseless_answer() {
    let mut lab = Lab::opening(Policy::default());
    lab.answer(fault());
    assert!(matches!(lab.session.state, SessionState::Closed { why: SessionClosure::Unreachable(_), .. }));
    let mut lab = Lab::opening(on_credit());
    lab.answer(Err(AuthorityFault { kind: FaultKind::Malformed, reason: reason() }));
    assert!(matches!(lab.session.state, SessionState::Closed { why: SessionClosure::Unreachable(_), .. }));
}

#[test]
fn a_senseless_answer_takes_no_credit_away() {
    let mut lab = Lab::owing(on_credit());
    lab.come_up();
    lab.answer(Err(AuthorityFault { kind: FaultKind::Malformed, reason: reason() }));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Pass);
}

#[test]
fn a_later_grant_is_used_and_closed_like_any() {
    let mut lab = Lab::owing(on_credit());
    lab.come_up();
    let began = lab.now;
    assert_eq!(lab.call(CallKind::License), CallAnswer::Pass, "nobody waits for an open that is owed");
    lab.answer(granted());
    assert_eq!(lab.call(CallKind::License), CallAnswer::Forward(grant("first")));
    assert!(matches!(lab.events.last(), Some(SessionEvent::Settled(_))));
    lab.come_up();
    assert_eq!((lab.last(), lab.now >= began + INTERVAL), (AskKind::Beat, true));
    lab.answer(alive("second"));
    lab.feed(Input::End(EndReason::Stopped));
    lab.answer(Ok(Verdict::Closed));
    assert_eq!((lab.closed_with("second"), lab.ended()), (1, Some(EndReason::Stopped)));
}

#[test]
fn a_later_denial_is_remembered() {
    let mut lab = Lab::owing(on_credit());
    lab.come_up();
    lab.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
    lab.wait(lab.policy.kill_memory - millis(1));
    lab.feed(Input::Tick);
    assert!(!lab.forgotten);
    assert_eq!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Denied(Denial::Limit, reason())));
    lab.come_up();
    assert!(lab.forgotten);
}

#[test]
fn a_stop_on_credit_closes_nothing_but_takes_a_late_grant_back() {
    let mut lab = Lab::owing(on_credit());
    lab.feed(Input::End(EndReason::Zapped));
    assert_eq!((lab.ended(), lab.asks.len()), (Some(EndReason::Zapped), 1));
    let mut lab = Lab::owing(on_credit());
    lab.come_up();
    lab.feed(Input::End(EndReason::Stopped));
    lab.answer(granted());
    assert_eq!(lab.closed_with("first"), 1);
    lab.answer(Ok(Verdict::Closed));
    assert_eq!(lab.ended(), Some(EndReason::Stopped));
}

#[test]
fn every_open_that_was_given_up_on_credit_is_taken_back() {
    let mut lab = Lab::owing(on_credit());
    let mut given_up = Vec::new();
    for _ in 0..2 {
        lab.come_up();
        given_up.push(lab.flying.expect("an open").0);
        lab.come_up();
        assert!(matches!(lab.session.state, SessionState::Owing { .. }));
    }
    for (ticket, token) in given_up.into_iter().zip(["one", "two"]) {
        lab.feed(Input::Answered(ticket, AskKind::Open, Ok(Verdict::Granted(grant(token)))));
        assert_eq!(lab.closed_with(token), 1);
    }
}

#[test]
fn a_running_playback_goes_on_with_its_last_grant_until_its_budget_is_spent() {
    let confirmed = INTERVAL + Policy::default().grace;
    for (stream, budget) in [(None, 60), (Some(StreamType::Vod), 60), (Some(StreamType::Live), 600)] {
        let mut lab = Lab::beating(on_credit());
        let good = lab.session.last_good();
        stream.into_iter().for_each(|stream| drop(lab.feed(said(stream))));
        lab.answer(fault());
        while lab.session.on_credit().is_none() {
            match lab.flying {
                Some(_) => lab.answer(fault()),
                None => lab.come_up(),
            }
        }
        assert_eq!((lab.session.on_credit(), lab.ended()), (Some(good + confirmed), None));
        assert!(lab.flying.is_some() || lab.call(CallKind::License) == CallAnswer::Forward(grant("first")));
        never_answered(&mut lab);
        assert_eq!((lab.lost(), lab.now - good), (1, confirmed + secs(budget)), "{stream:?}");
        assert!(matches!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Unreachable(_))));
        assert_eq!(lab.events.last(), Some(&SessionEvent::Settled(secs(budget))));
        assert_eq!(lab.events.iter().filter(|event| **event == SessionEvent::OnCredit { running: true }).count(), 1);
        assert_eq!(lab.count(AskKind::Close), 0, "the authority has let it expire");
    }
}

#[test]
fn renewals_that_are_lost_are_given_the_same_credit() {
    let mut lab = Lab::live(on_credit());
    lab.feed(Input::Served(LicenseFeedback::Renews { every: None }));
    let good = lab.now;
    while lab.session.is_active() {
        if matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)) {
            lab.answer(fault());
        }
        lab.now = lab.session.deadline().expect("a deadline").min(lab.now + INTERVAL);
        lab.feed(Input::Tick);
    }
    assert_eq!((lab.lost(), lab.now - good), (1, INTERVAL + lab.policy.grace + secs(60)));
    assert!(lab.events.contains(&SessionEvent::Settled(secs(60))));
}

#[test]
fn a_session_that_expired_meanwhile_opens_another_one() {
    for gone in [Verdict::Unknown(reason()), Verdict::Denied(Denial::Token, reason())] {
        let mut lab = Lab::failing_on_credit();
        while lab.flying.is_none() {
            lab.come_up();
        }
        lab.answer(Ok(gone));
        assert_eq!((lab.last(), lab.count(AskKind::Close)), (AskKind::Open, 0));
        assert_eq!(lab.call(CallKind::License), CallAnswer::Pass);
        lab.answer(Ok(Verdict::Granted(grant("anew"))));
        assert_eq!(lab.call(CallKind::License), CallAnswer::Forward(grant("anew")));
        assert!(matches!(lab.events.last(), Some(SessionEvent::Settled(_))));
    }
}

/// The authority came back for a moment: long enough to say that the session is gone, and not for another.
#[test]
fn a_running_session_keeps_its_budget_while_it_owes_its_open() {
    let mut lab = Lab::beating(on_credit());
    lab.feed(said(StreamType::Live));
    let expired = lab.session.last_good() + INTERVAL + lab.policy.grace;
    while lab.now < expired + secs(100) || lab.flying.is_none() {
        match lab.flying {
            Some(_) => lab.answer(fault()),
            None => lab.come_up(),
        }
    }
    lab.answer(Ok(Verdict::Unknown(reason())));
    assert_eq!(lab.last(), AskKind::Open);
    lab.answer(fault());
    assert_eq!(lab.call(CallKind::License), CallAnswer::Pass, "a new one's minute is long over");
    never_answered(&mut lab);
    assert_eq!((lab.lost(), lab.now - expired), (1, secs(600)));
}

#[test]
fn sessions_on_credit_are_scattered_when_the_authority_is_back() {
    let at = |seed: u32, mut lab: Lab| {
        lab.session.calls.set_seed(seed);
        let (ticket, ask) = match lab.flying {
            Some(flying) => flying,
            None => {
                lab.come_up();
                lab.flying.expect("a call")
            }
        };
        lab.feed(Input::Answered(ticket, ask, fault()));
        lab.session.deadline().expect("a deadline") - lab.now
    };
    let sorted = |reach: fn() -> Lab| {
        let mut all: Vec<_> = (0..200).map(|seed| at(seed, reach())).collect();
        all.sort();
        all
    };
    for (reach, least) in [(|| Lab::owing(on_credit())) as fn() -> Lab, Lab::failing_on_credit].into_iter().zip([1, 8])
    {
        let all = sorted(reach);
        assert!(all[199] - all[0] > secs(least), "{all:?}");
        let most = all.windows(20).map(|near| near[19] - near[0]).min().expect("some");
        assert!(most > secs(least) / 40, "a tenth of them comes together: {all:?}");
    }
}

// Sleep.

#[test]
fn a_session_that_ran_out_in_suspension_is_not_taken_for_killed() {
    for (slept, killed) in [(secs(0), true), (secs(9), true), (secs(11), false), (secs(86_400), false)] {
        let mut lab = Lab::live(Policy::default());
        lab.wait(secs(29));
        lab.feed(Input::Slept(slept));
        lab.wait(secs(1));
        lab.feed(Input::Tick);
        if lab.flying.is_none() {
            lab.come_up();
        }
        lab.answer(Ok(Verdict::Unknown(reason())));
        assert_eq!((lab.session.is_killed(), lab.ended().is_some()), (killed, !killed), "{slept:?}");
    }
}

#[test]
fn a_beat_that_sleeps_on_its_way_confirms_only_the_time_before() {
    let mut lab = Lab::beating(Policy::default());
    lab.feed(Input::Slept(secs(3_600)));
    lab.answer(alive("second"));
    assert!(lab.session.deadline().expect("a beat") <= lab.now + secs(5), "the next beat is due soon");
    lab.come_up();
    lab.answer(Ok(Verdict::Unknown(reason())));
    assert_eq!(lab.ended(), Some(EndReason::Expired));
}

#[test]
fn after_a_sleep_beats_come_soon_but_not_all_at_once() {
    let due = |seed| {
        let mut lab = Lab::held(Policy::default());
        lab.session.calls.set_seed(seed);
        lab.feed(Input::Start);
        lab.answer(granted());
        lab.feed(Input::Slept(secs(3_600)));
        lab.session.deadline().expect("a beat") - lab.now
    };
    let all: Vec<_> = (0..200).map(due).collect();
    assert!(all.iter().all(|due| *due <= secs(5)), "{all:?}");
    assert!(*all.iter().max().expect("some") - *all.iter().min().expect("some") > secs(4));
    // After a short sleep there is no hurry.
    let mut lab = Lab::live(Policy::default());
    let before = lab.session.deadline().expect("a beat");
    lab.feed(Input::Slept(secs(1)));
    assert!(lab.session.deadline().expect("a beat") >= before - secs(1));
}

#[test]
fn no_session_ends_after_a_sleep_before_it_had_a_chance() {
    let reporting = || {
        let mut lab = Lab::live(Policy::default());
        lab.feed(Input::Report(PlayerReport {
            by_interval: true,
            playing: PlayingState::Plays,
            ..PlayerReport::default()
        }));
        lab
    };
    for (end, mut lab) in [
        (EndReason::Longest, Lab::live(endings(EndingRules { longest: secs(20), ..EndingRules::default() }))),
        (EndReason::Lost, Lab::failing()),
        (EndReason::RenewalsOverdue, Lab::renewing()),
        (EndReason::Silent, reporting()),
    ] {
        let ends = lab.session.ends(&lab.policy);
        let at = ends.into_iter().find_map(|(known, at)| at.filter(|_| known == end)).expect("it may end so");
        lab.now = at - millis(1);
        lab.feed(Input::Slept(secs(7_200)));
        lab.wait(secs(9));
        lab.feed(Input::Tick);
        assert!(lab.session.is_active(), "{end:?}");
    }
}

#[test]
fn an_owed_open_is_tried_beyond_its_budget_after_a_sleep() {
    let mut lab = Lab::owing(on_credit());
    lab.wait(secs(59));
    lab.feed(Input::Slept(secs(7_200)));
    assert_eq!(never_answered(&mut lab), secs(10));
    assert!(lab.count(AskKind::Open) > 2, "the one that failed, and more than one that a chance is worth");
}

/// A clock that is set may look like an endless sleep.
#[test]
fn a_sleep_without_end_before_an_answer_that_took_a_while_is_survived() {
    let mut lab = Lab::beating(Policy::default());
    lab.wait(secs(1));
    lab.answer(alive("newer"));
    lab.feed(Input::Slept(ENDLESS));
    lab.come_up();
    lab.answer(Ok(Verdict::Unknown(reason())));
    assert!(!lab.session.is_killed(), "the authority had time to let it expire");
}
