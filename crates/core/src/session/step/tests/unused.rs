//! Sessions of which nothing has reached their player.

use super::*;
use crate::session::DeliveryState;
use crate::session::player_evidence::{LastingEvidence, PlayerEvidence};

const AFTER: Duration = secs(30);

/// When it ends because its player got nothing.
fn unused_at(session: &Session, policy: &Policy) -> Option<Instant> {
    session.ends(policy).find(|(end, _)| *end == EndReason::Unused).and_then(|(_, at)| at)
}

/// Open, and nobody has got anything.
fn opened() -> Lab {
    let mut lab = Lab::opening(Policy::default());
    let (ticket, kind) = lab.flying.unwrap();
    lab.feed(Input::Answered(ticket, kind, granted()));
    assert!(matches!(lab.session.state, SessionState::Live { .. }));
    lab
}

fn report(playing: PlayingState) -> Input {
    Input::Report(PlayerReport { by_interval: true, playing, ..PlayerReport::default() })
}

#[test]
fn a_session_that_served_nobody_ends_a_while_after_its_last_call() {
    for calls in [&[][..], &[CallKind::License], &[CallKind::Certificate, CallKind::License]] {
        let mut lab = opened();
        let mut start = lab.now;
        for call in calls {
            lab.wait(secs(20));
            assert!(matches!(lab.call(*call), CallAnswer::Forward(_) | CallAnswer::Pass));
            lab.feed(Input::Unserved);
            start = lab.now;
        }
        assert_eq!(over(lab, start), (Some(EndReason::Unused), AFTER), "{calls:?}");
    }
}

#[test]
fn a_player_that_tries_its_license_again_and_again_stays() {
    let mut lab = opened();
    for _ in 0..200 {
        lab.wait(secs(5));
        lab.feed(Input::Tick);
        if lab.flying.is_some() {
            lab.answer(alive("second"));
        }
        assert!(matches!(lab.call(CallKind::License), CallAnswer::Forward(_)));
        lab.feed(Input::Unserved);
    }
    let start = lab.now;
    assert_eq!(over(lab, start), (Some(EndReason::Unused), AFTER));
}

#[test]
fn whatever_reaches_the_player_is_use_and_stays_it() {
    let starts = Input::Report(PlayerReport { playing: PlayingState::Plays, starts: true, ..PlayerReport::default() });
    let rows = [
        (Input::Used, true),
        (Input::Licensed(None), true),
        (report(PlayingState::Plays), true),
        (starts, false),
        (report(PlayingState::Unsaid), false),
        (report(PlayingState::Paused), false),
        (Input::Media(MediaFetch::default()), false),
        (Input::Served(LicenseFeedback::Plain), false),
        (Input::Unserved, false),
    ];
    for (input, used) in rows {
        let mut lab = opened();
        lab.feed(input.clone());
        lab.feed(Input::Unserved);
        assert_eq!(unused_at(&lab.session, &lab.policy).is_none(), used, "{input:?}");
    }
}

#[test]
fn an_accepted_renewal_is_use() {
    let mut lab = opened();
    assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)));
    lab.answer(alive("second"));
    assert_eq!(unused_at(&lab.session, &lab.policy), None);
}

#[test]
fn a_request_for_media_is_a_call_until_something_came() {
    let mut lab = opened();
    lab.wait(secs(20));
    lab.feed(Input::Media(MediaFetch::default()));
    let start = lab.now;
    assert_eq!(over(lab, start), (Some(EndReason::Unused), AFTER));
}

/// A page that shows an error may report for hours.
#[test]
fn reports_of_a_player_that_got_nothing_do_not_keep_it() {
    let mut lab = opened();
    let start = lab.now;
    for _ in 0..2 {
        lab.wait(secs(10));
        lab.feed(report(PlayingState::Unsaid));
    }
    assert_eq!(over(lab, start), (Some(EndReason::Unused), AFTER));
}

#[test]
fn one_on_credit_that_served_nobody_ends_too() {
    let mut lab = Lab::owing(on_credit());
    let asked = LastingEvidence { usage: DeliveryState::Asked, ..lab.session.evidence.lasting() };
    lab.session.evidence = PlayerEvidence::restore(lab.now, asked);
    let start = lab.now;
    while lab.session.is_active() {
        match lab.flying {
            Some((ticket, kind)) => drop(lab.feed(Input::Answered(ticket, kind, fault()))),
            None => lab.come_up(),
        }
    }
    assert_eq!((lab.ended(), lab.now - start), (Some(EndReason::Unused), AFTER));
}

#[test]
fn it_can_be_switched_off() {
    let policy = endings(EndingRules { unused: None, ..EndingRules::default() });
    let mut lab = opened();
    lab.feed(Input::Unserved);
    assert_eq!(unused_at(&lab.session, &policy), None);
}

/// A license that was on its way when the process died may have arrived, and whoever plays by it must stay.
#[test]
fn after_a_restart_only_what_surely_came_to_nothing_is_unused() {
    for (unserved, unused) in [(false, false), (true, true)] {
        let mut lab = opened();
        lab.wait(secs(20));
        if unserved {
            lab.feed(Input::Unserved);
        }
        lab.wait(secs(600));
        resume(&mut lab.session, lab.now, false, &lab.policy);
        let at = unused_at(&lab.session, &lab.policy);
        assert_eq!(at, unused.then(|| lab.now + AFTER), "and it has its time anew");
        // It asks again: from then on it may have got it.
        lab.call(CallKind::License);
        resume(&mut lab.session, lab.now, false, &lab.policy);
        assert_eq!(unused_at(&lab.session, &lab.policy), None);
    }
}
