//! Tests of sessions that the authority lets go of without ending them, and of kills that it pushes.

use super::*;
use crate::secret::Fingerprint;

fn gone() -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Gone(Reason::new(410, None, "Gone")))
}

fn granted(token: &str) -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Granted(Grant { interval: INTERVAL, lifetime: None, token: Secret::new(token) }))
}

fn limit() -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Denied(Denial::Limit, Reason::new(409, None, "Conflict")))
}

fn good() -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None })
}

fn next(lab: &mut Lab, result: Result<Verdict, AuthorityFault>) {
    if lab.flying.is_none() {
        lab.come_up();
    }
    lab.answer(result);
}

fn keeps_its_tokens() -> Policy {
    Policy { rotates_tokens: false, ..Policy::default() }
}

/// The state of a session in one word.
fn word(lab: &Lab) -> &'static str {
    match lab.session.state() {
        SessionState::Live { .. } => "live",
        SessionState::Owing { .. } => "opens again",
        SessionState::Closed { why: SessionClosure::Denied(Denial::Limit, _), .. } => "limit",
        SessionState::Killed { .. } => "killed",
        SessionState::Closed { .. }
        | SessionState::Closing { .. }
        | SessionState::Failing { .. }
        | SessionState::Opening { .. }
        | SessionState::Sharing { .. }
        | SessionState::Waiting { .. } => "other",
    }
}

#[test]
fn a_session_that_is_let_go_of_is_opened_again_once_and_then_is_a_limit() {
    for (answers, expected) in [
        (vec![gone()], "opens again"),
        (vec![gone(), granted("s2")], "live"),
        // The authority will not open another one.
        (vec![gone(), limit()], "limit"),
        // The place is taken again in the same way.
        (vec![gone(), granted("s2"), gone()], "limit"),
        // A beat has confirmed the other one, so this is another loss.
        (vec![gone(), granted("s2"), good(), gone()], "opens again"),
        (vec![gone(), granted("s2"), good(), gone(), limit()], "limit"),
    ] {
        let mut lab = Lab::live(keeps_its_tokens());
        answers.iter().for_each(|answer| next(&mut lab, answer.clone()));
        assert_eq!(word(&lab), expected, "{answers:?}");
        assert!(!lab.session.is_killed());
    }
}

#[test]
fn calls_wait_while_a_session_is_opened_again() {
    let mut lab = Lab::live(keeps_its_tokens());
    next(&mut lab, gone());
    let answer = lab.feed(Input::Call(CallKind::License));
    assert_eq!(answer, Some(CallAnswer::Wait));
}

/// Said of a token that may have been replaced, it is said of the session that was lost: that one may hold the place yet.
#[test]
fn a_lost_answer_before_leaves_the_limit_open_for_a_while() {
    let mut lab = Lab::live(Policy::default());
    next(&mut lab, Err(AuthorityFault { kind: FaultKind::Timeout, reason: Reason::new(504, None, "nothing came") }));
    next(&mut lab, gone());
    next(&mut lab, limit());
    assert_eq!(word(&lab), "opens again");
}

#[test]
fn a_pushed_kill_is_for_the_session_whose_token_it_names() {
    let reason = || Reason::without_reply("TAKE_OVER").taken_by("Kitchen");
    let push = |lab: &mut Lab, token: Fingerprint| lab.feed(Input::PushedKill { reason: reason(), token });
    for counts_ended in [false, true] {
        let mut lab = Lab::live(Policy { counts_ended, ..keeps_its_tokens() });
        push(&mut lab, Fingerprint::new(7));
        assert_eq!(word(&lab), "live", "of another");
        let token = lab.session.grant().unwrap().token.fingerprint();
        push(&mut lab, token);
        assert_eq!((word(&lab), lab.session.killed_by()), ("killed", Some(&reason().into())));
        let closes = lab.flying.is_some_and(|(_, ask)| ask == AskKind::Close);
        assert_eq!(closes, counts_ended, "only who counts it still is told");
    }
}

#[test]
fn a_pushed_kill_reaches_a_session_that_gives_way() {
    for is_closing in [false, true] {
        let mut lab = Lab::live(keeps_its_tokens());
        let token = lab.session.grant().unwrap().token.fingerprint();
        if !is_closing {
            lab.come_up();
        }
        lab.feed(Input::GiveWay);
        lab.feed(Input::PushedKill { reason: Reason::without_reply("TAKE_OVER"), token });
        assert_eq!(word(&lab), "killed");
        lab.answer(if is_closing { Ok(Verdict::Closed) } else { good() });
        lab.feed(Input::TakeBack);
        assert_eq!(word(&lab), "killed");
    }
}

/// The beat that is under way when the kill comes brings nothing back.
#[test]
fn a_pushed_kill_stays_after_any_answer_to_a_beat_in_flight() {
    for answer in [good(), gone(), limit()] {
        let mut lab = Lab::live(keeps_its_tokens());
        lab.come_up();
        let token = lab.session.grant().unwrap().token.fingerprint();
        lab.feed(Input::PushedKill { reason: Reason::without_reply("TAKE_OVER"), token });
        lab.answer(answer);
        assert_eq!(word(&lab), "killed");
    }
}

#[test]
fn a_kill_for_another_device_names_it_in_few_characters() {
    let named = |name: &str| Reason::new(410, None, "Gone").taken_by(name);
    assert_eq!(named("Kitchen").taken_by.as_deref(), Some("Kitchen"));
    assert_eq!(named("").taken_by, None);
    assert_eq!(named(&"a b".repeat(1_000)).taken_by.map(|name| name.chars().count()), Some(64));
    assert_eq!(named("x").killed_by, KillSource::Successor);
}
