//! Tests of sessions whose player has received nothing.

use super::*;
use crate::session::DeliveryState;
use crate::session::player_evidence::{EvidenceRecord, PlayerEvidence};
use crate::time::{ClockMoment, MonotonicTime};

const AFTER: Duration = secs(30);

/// When it ends because its player got nothing.
fn unused_at(session: &Session, policy: &Policy) -> Option<MonotonicTime> {
    session.ends(policy).find(|(end, _)| *end == EndReason::Unused).and_then(|(_, at)| at)
}

/// An open session without a delivery to its player.
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
fn an_unused_session_ends_a_while_after_its_last_call() {
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
fn any_delivery_to_the_player_is_use_for_good() {
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
fn a_media_request_counts_as_a_call_until_a_delivery() {
    let mut lab = opened();
    lab.wait(secs(20));
    lab.feed(Input::Media(MediaFetch::default()));
    let start = lab.now;
    assert_eq!(over(lab, start), (Some(EndReason::Unused), AFTER));
}

/// A page that shows an error may report for hours.
#[test]
fn reports_of_a_player_without_a_delivery_do_not_keep_its_session() {
    let mut lab = opened();
    let start = lab.now;
    for _ in 0..2 {
        lab.wait(secs(10));
        lab.feed(report(PlayingState::Unsaid));
    }
    assert_eq!(over(lab, start), (Some(EndReason::Unused), AFTER));
}

#[test]
fn an_unused_session_on_credit_ends_too() {
    let mut lab = Lab::owing(on_credit());
    let at = ClockMoment { now: (lab.now).into(), wall: secs(1_000_000) };
    let asked = EvidenceRecord { usage: DeliveryState::Asked, ..lab.session.evidence.record(&at) };
    lab.session.evidence = PlayerEvidence::restore(&asked, &at);
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
fn the_end_of_unused_sessions_can_be_switched_off() {
    let policy = endings(EndingRules { unused: None, ..EndingRules::default() });
    let mut lab = opened();
    lab.feed(Input::Unserved);
    assert_eq!(unused_at(&lab.session, &policy), None);
}

/// A license in transit when the process died may have arrived, and its player must keep the session.
#[test]
fn only_a_certainly_undelivered_session_is_unused_after_a_restart() {
    for (unserved, unused) in [(false, false), (true, true)] {
        let mut lab = opened();
        lab.wait(secs(20));
        if unserved {
            lab.feed(Input::Unserved);
        }
        lab.wait(secs(600));
        step(&mut lab.session, lab.now, Input::Restored { orphan: false }, &lab.policy);
        let at = unused_at(&lab.session, &lab.policy);
        assert_eq!(at, unused.then(|| lab.now + AFTER), "and it has its time anew");
        // The player asks again: from then on it may have received a license.
        lab.call(CallKind::License);
        step(&mut lab.session, lab.now, Input::Restored { orphan: false }, &lab.policy);
        assert_eq!(unused_at(&lab.session, &lab.policy), None);
    }
}
