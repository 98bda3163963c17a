//! Tests of the step function: each promise of the core by name, then every state against every input.

mod counted;
mod credit;
mod let_go;
mod lost;
mod unused;

use std::time::Duration;

use proptest::prelude::*;

use super::super::effect::Effect;
use super::*;
use crate::secret::Secret;
use crate::session::{
    AuthorityFault, Blackout, BlackoutReason, Denial, FaultKind, Grant, LicenseFeedback, MediaFetch, PlayerReport,
    PlayingState, StreamType, Verdict,
};
use crate::session::{EndingRules, Enforcement, OnUnreachable, OutageBudget};
use crate::session::{KillSource, Ticket};
use crate::time::MonotonicTime;
use crate::time::testing::Clock;

const INTERVAL: Duration = secs(30);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A session under observation: every input goes through here, and every invariant is checked here.
struct Lab {
    asks: Vec<AuthorityAsk>,
    events: Vec<SessionEvent>,
    flying: Option<(Ticket, AskKind)>,
    flown: MonotonicTime,
    forgotten: bool,
    inputs: usize,
    now: MonotonicTime,
    policy: Policy,
    session: Session,
    wakes: usize,
}

/// More inputs than any story needs: a story that waits in vain fails, and does not hang.
const MAX_INPUTS: usize = 200_000;

impl Lab {
    fn held(policy: Policy) -> Self {
        let now = Clock.now();
        let session = Session::new(now, 7, &policy);
        let (asks, events) = (Vec::new(), Vec::new());
        Self { asks, events, flying: None, flown: now, forgotten: false, inputs: 0, now, policy, session, wakes: 0 }
    }

    /// Of a playback that waits for its device's session.
    fn held_sharing() -> Self {
        let lab = Self::held(Policy::default());
        Self { session: Session::sharing(lab.now, 7, &lab.policy), ..lab }
    }

    fn opening(policy: Policy) -> Self {
        let mut lab = Self::held(policy);
        lab.feed(Input::Start);
        assert_eq!(lab.last(), AskKind::Open);
        lab
    }

    fn live(policy: Policy) -> Self {
        let mut lab = Self::opening(policy);
        lab.answer(granted());
        assert!(matches!(lab.session.state, SessionState::Live { .. }));
        lab
    }

    fn renewing() -> Self {
        let mut lab = Self::live(Policy::default());
        lab.feed(Input::Served(LicenseFeedback::Renews { every: None }));
        assert_eq!(lab.session.beats, BeatSource::Renewals { every: None });
        lab
    }

    /// A session whose first due beat is in flight.
    fn beating(policy: Policy) -> Self {
        let mut lab = Self::live(policy);
        lab.come_up();
        assert_eq!(lab.last(), AskKind::Beat);
        lab
    }

    fn failing() -> Self {
        let mut lab = Self::beating(Policy::default());
        lab.answer(fault());
        assert!(matches!(lab.session.state, SessionState::Failing { .. }));
        lab
    }

    /// A session whose open has failed, and which plays.
    fn owing(policy: Policy) -> Self {
        let mut lab = Self::opening(policy);
        lab.answer(fault());
        assert!(matches!(lab.session.state, SessionState::Owing { .. }), "{:?}", lab.session.state);
        lab
    }

    fn failing_on_credit() -> Self {
        let mut lab = Self::beating(on_credit());
        while lab.session.on_credit().is_none() {
            match lab.flying {
                Some(_) => lab.answer(fault()),
                None => lab.come_up(),
            }
        }
        assert!(matches!(lab.session.state, SessionState::Failing { .. }));
        lab
    }

    fn feed(&mut self, input: Input) -> Option<CallAnswer> {
        self.inputs += 1;
        assert!(self.inputs < MAX_INPUTS, "what is waited for never comes: {:?}", self.session.state);
        let called = matches!(input, Input::RetryCall(_) | Input::Call(_));
        let killed = self.session.is_killed();
        if let Input::Answered(ticket, ask, _) = &input
            && self.flying == Some((*ticket, *ask))
        {
            self.flying = None;
        }
        if matches!(input, Input::Tick) && self.now >= self.flown + self.policy.call_timeout {
            self.flying = None;
        }
        let Effects { answer, list } = step(&mut self.session, self.now, input, &self.policy);
        assert_eq!(answer.is_some(), called, "an answer belongs to a call");
        if killed {
            assert!(self.session.is_killed(), "a kill is final");
        }
        if self.session.is_killed() {
            let refused = matches!(answer, None | Some(CallAnswer::Refuse(SessionRefusal::Killed(_))));
            assert!(refused, "a killed session forwards nothing: {answer:?}");
        }
        if let Some(CallAnswer::Renew(_, ticket)) = &answer {
            self.fly(*ticket, AskKind::Renew);
        }
        list.into_iter().for_each(|effect| self.take(effect));
        answer
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Ask(ask) => {
                assert_eq!(ask.grant.is_none(), ask.kind == AskKind::Open, "{ask:?}");
                // A grant that came too late is given back beside whatever else is under way.
                if ask.ticket != Ticket::OrphanedGrant {
                    self.fly(ask.ticket, ask.kind);
                }
                self.asks.push(ask);
            }
            Effect::Displace(_) | Effect::Forget => {
                assert!(self.flying.is_none() && self.session.grant().is_none(), "nothing may be left to do");
                self.forgotten = true;
            }
            Effect::Note(event) => self.events.push(event),
            Effect::Wake => self.wakes += 1,
        }
    }

    fn fly(&mut self, ticket: Ticket, kind: AskKind) {
        let before = self.flying.replace((ticket, kind));
        assert!(before.is_none(), "{kind:?} while {before:?}");
        self.flown = self.now;
    }

    /// The answer to an open reaches its player.
    fn answer(&mut self, result: Result<Verdict, AuthorityFault>) {
        let (ticket, kind) = self.flying.expect("a call in flight");
        self.feed(Input::Answered(ticket, kind, result));
        if kind == AskKind::Open {
            self.feed(Input::Used);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Goes to the deadline and ticks.
    fn come_up(&mut self) {
        self.now = self.now.max(self.session.deadline().expect("a deadline"));
        self.feed(Input::Tick);
    }

    fn call(&mut self, kind: CallKind) -> CallAnswer {
        self.feed(Input::Call(kind)).expect("an answer")
    }

    fn last(&self) -> AskKind {
        self.asks.last().expect("an ask").kind
    }

    fn count(&self, kind: AskKind) -> usize {
        self.asks.iter().filter(|ask| ask.kind == kind).count()
    }

    fn closed_with(&self, token: &str) -> usize {
        let fits = |ask: &&AuthorityAsk| ask.grant.as_ref().is_some_and(|grant| grant.token == Secret::new(token));
        self.asks.iter().filter(|ask| ask.kind == AskKind::Close).filter(fits).count()
    }

    fn lost(&self) -> usize {
        self.events.iter().filter(|event| **event == SessionEvent::Closed(EndReason::Lost)).count()
    }

    fn ended(&self) -> Option<EndReason> {
        match &self.session.state {
            SessionState::Closed { why: SessionClosure::Ended(end), .. } => Some(*end),
            _ => None,
        }
    }
}

fn endings(endings: EndingRules) -> Policy {
    Policy { endings, ..Policy::default() }
}

/// A minute for all, but ten for running television and two for a new film.
fn on_credit() -> Policy {
    let new = OutageBudget { live: secs(60), vod: secs(120) };
    let running = OutageBudget { live: secs(600), vod: secs(60) };
    Policy { on_unreachable: OnUnreachable { new, running }, ..Policy::default() }
}

fn blackout() -> BlackoutReason {
    let blackout = Blackout { action: "DENY".into(), url: None };
    BlackoutReason { blackout: blackout.into(), reason: reason() }
}

fn reason() -> Reason {
    Reason::new(404, Some(3002), "Not Found")
}

fn grant(token: &str) -> Grant {
    Grant { interval: INTERVAL, lifetime: None, token: Secret::new(token) }
}

fn granted() -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Granted(grant("first")))
}

fn alive(token: &str) -> Result<Verdict, AuthorityFault> {
    Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: Some(Secret::new(token)) })
}

fn fault() -> Result<Verdict, AuthorityFault> {
    Err(AuthorityFault { kind: FaultKind::Timeout, reason: Reason::without_reply("no reply") })
}

// One writer, one open.

#[test]
fn any_number_of_waiting_calls_has_one_open_in_flight() {
    let mut lab = Lab::held(Policy::default());
    assert_eq!(lab.call(CallKind::License), CallAnswer::Wait);
    lab.feed(Input::Start);
    for _ in 0..100 {
        assert_eq!(lab.call(CallKind::License), CallAnswer::Wait);
        assert_eq!(lab.call(CallKind::Renewal), CallAnswer::Wait);
        lab.feed(Input::Start);
        lab.feed(Input::Tick);
    }
    assert_eq!(lab.asks.len(), 1);
    lab.answer(granted());
    assert_eq!(lab.wakes, 1);
    assert_eq!(lab.call(CallKind::License), CallAnswer::Forward(grant("first")));
    assert_eq!(lab.asks.len(), 1);
}

#[test]
fn a_renewal_waits_for_the_beat_in_flight_and_takes_the_new_token() {
    let mut lab = Lab::beating(Policy::default());
    assert_eq!(lab.call(CallKind::Renewal), CallAnswer::Wait);
    assert_eq!(lab.call(CallKind::License), CallAnswer::Wait);
    assert_eq!(lab.call(CallKind::Certificate), CallAnswer::Pass);
    lab.answer(alive("second"));
    assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(grant, _) if grant.token == Secret::new("second")));
}

#[test]
fn a_beat_waits_for_the_renewal_in_flight_and_is_then_not_due() {
    let mut lab = Lab::live(Policy { enforcement: Enforcement::Heartbeat, ..Policy::default() });
    lab.wait(INTERVAL - millis(200));
    assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)));
    lab.wait(secs(2));
    lab.feed(Input::Tick);
    assert_eq!(lab.count(AskKind::Beat), 0);
    lab.answer(alive("second"));
    assert_eq!(lab.count(AskKind::Beat), 0);
    lab.come_up();
    assert_eq!(lab.asks.last().and_then(|ask| ask.grant.clone()), Some(grant("second")));
}

#[test]
fn a_close_waits_for_the_beat_in_flight_and_takes_the_new_token() {
    let mut lab = Lab::beating(Policy::default());
    lab.feed(Input::End(EndReason::Stopped));
    assert_eq!(lab.count(AskKind::Close), 0);
    lab.answer(alive("second"));
    assert_eq!((lab.count(AskKind::Close), lab.closed_with("second")), (1, 1));
    lab.answer(Ok(Verdict::Closed));
    assert_eq!(lab.ended(), Some(EndReason::Stopped));
}

#[test]
fn an_answer_with_another_ticket_changes_nothing() {
    let mut lab = Lab::beating(Policy::default());
    let ticket = lab.session.calls.made();
    for (ticket, ask) in [(ticket + 1, AskKind::Beat), (ticket - 1, AskKind::Beat), (ticket, AskKind::Renew)] {
        lab.feed(Input::Answered(Ticket::Session(ticket), ask, Ok(Verdict::Killed(reason()))));
        assert_eq!(lab.events.pop(), Some(SessionEvent::Stale(ask)));
        assert!(matches!(lab.session.state, SessionState::Live { .. }));
    }
}

// Kills.

#[test]
fn a_killed_session_forwards_nothing_and_stays_killed() {
    let mut lab = Lab::beating(Policy::default());
    lab.answer(Ok(Verdict::Killed(reason())));
    assert_eq!(lab.events.last(), Some(&SessionEvent::Killed(reason().into())));
    for _ in 0..20 {
        for kind in CALLS {
            assert_eq!(lab.call(kind), CallAnswer::Refuse(SessionRefusal::Killed(reason().into())));
        }
        for input in inputs(lab.session.calls.made()) {
            lab.feed(input);
        }
        lab.wait(lab.policy.kill_memory / 40);
    }
    assert_eq!((lab.count(AskKind::Open), lab.count(AskKind::Close), lab.count(AskKind::Beat)), (1, 0, 1));
    lab.wait(lab.policy.kill_memory);
    lab.feed(Input::Tick);
    assert!(lab.forgotten);
}

#[test]
fn an_operators_kill_gives_the_grant_back_once() {
    let mut lab = Lab::live(Policy::default());
    lab.feed(Input::Kill(reason().into()));
    lab.feed(Input::Kill(reason().into()));
    assert_eq!(lab.closed_with("first"), 1);
    lab.answer(Ok(Verdict::Closed));
    lab.feed(Input::Tick);
    assert_eq!(lab.count(AskKind::Close), 1);
}

#[test]
fn the_age_of_the_last_good_beat_separates_killed_from_expired() {
    let allowed = INTERVAL + Policy::default().grace;
    for (age, killed) in [(INTERVAL + secs(1), true), (allowed, true), (allowed + millis(1), false)] {
        let mut lab = Lab::live(Policy::default());
        let good = lab.session.last_good();
        lab.come_up();
        lab.now = good + age;
        lab.answer(Ok(Verdict::Unknown(reason())));
        assert_eq!(lab.session.is_killed(), killed, "{age:?}");
        assert_eq!(lab.ended().is_none(), killed, "{age:?}");
        assert_eq!(lab.count(AskKind::Close), 0, "the authority has nothing to take back");
    }
}

/// The authority counts from when it confirmed, which may be as long ago as the call that it confirmed.
#[test]
fn a_session_that_ran_out_since_its_confirmation_travelled_is_no_kill() {
    let mut lab = Lab::beating(Policy::default());
    let sent = lab.now;
    lab.now += secs(2);
    lab.answer(Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }));
    lab.come_up();
    lab.now = sent + INTERVAL + Policy::default().grace + millis(1);
    lab.answer(Ok(Verdict::Unknown(reason())));
    assert_eq!(lab.ended(), Some(EndReason::Expired));
}

/// The grant was good from when the authority gave it, and not from when it came.
#[test]
fn a_session_that_ran_out_since_its_grant_travelled_is_no_kill() {
    for (travels, killed) in [(Duration::ZERO, true), (secs(2), false)] {
        let mut lab = Lab::opening(Policy::default());
        let sent = lab.now;
        lab.now += travels;
        lab.answer(granted());
        lab.come_up();
        lab.now = sent + INTERVAL + Policy::default().grace + travels / 2;
        lab.answer(Ok(Verdict::Unknown(reason())));
        assert_eq!((lab.session.is_killed(), lab.ended().is_some()), (killed, !killed), "{travels:?}");
    }
}

#[test]
fn a_fault_is_never_a_kill() {
    for kind in [
        FaultKind::Busy,
        FaultKind::Lost,
        FaultKind::Malformed,
        FaultKind::Refused,
        FaultKind::Timeout,
        FaultKind::Unreachable,
    ] {
        let fault = || Err(AuthorityFault { kind, reason: reason() });
        let mut lab = Lab::opening(Policy::default());
        lab.answer(fault());
        assert!(matches!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Unreachable(_))));
        let mut lab = Lab::beating(Policy::default());
        while lab.session.is_active() {
            match lab.flying {
                Some(_) => lab.answer(fault()),
                None => lab.come_up(),
            }
        }
        assert_eq!(lab.ended(), Some(EndReason::Lost));
        let mut lab = Lab::renewing();
        assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)));
        lab.answer(fault());
        assert!(matches!(lab.call(CallKind::License), CallAnswer::Forward(_)));
    }
}

// Opens.

#[test]
fn a_late_open_is_closed_when_the_player_has_gone() {
    let mut lab = Lab::opening(Policy::default());
    lab.feed(Input::End(EndReason::Stopped));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Stopped)));
    lab.answer(granted());
    assert_eq!(lab.closed_with("first"), 1);
    lab.answer(Ok(Verdict::Closed));
    assert_eq!(lab.ended(), Some(EndReason::Stopped));
}

#[test]
fn a_late_open_is_closed_when_it_was_killed_meanwhile() {
    let mut lab = Lab::opening(Policy::default());
    lab.feed(Input::Kill(reason().into()));
    lab.answer(granted());
    assert_eq!(lab.closed_with("first"), 1);
    lab.answer(Ok(Verdict::Closed));
    assert!(lab.session.is_killed());
}

#[test]
fn a_late_open_is_closed_when_it_had_been_given_up() {
    let mut lab = Lab::opening(Policy::default());
    let (ticket, _) = lab.flying.expect("an open");
    lab.come_up();
    assert!(matches!(lab.session.state, SessionState::Closed { why: SessionClosure::Unreachable(_), .. }));
    lab.feed(Input::Answered(ticket, AskKind::Open, granted()));
    assert_eq!(lab.closed_with("first"), 1);
    // Told twice, it is still one grant.
    lab.feed(Input::Answered(ticket, AskKind::Open, granted()));
    assert_eq!(lab.closed_with("first"), 1);
}

#[test]
fn a_repeated_answer_does_not_close_a_grant_in_use() {
    let mut lab = Lab::opening(Policy::default());
    let (ticket, _) = lab.flying.expect("an open");
    lab.answer(granted());
    lab.feed(Input::Answered(ticket, AskKind::Open, granted()));
    assert_eq!(lab.count(AskKind::Close), 0);
    assert!(matches!(lab.session.state, SessionState::Live { .. }));
}

#[test]
fn an_abandoned_beats_grant_does_not_close_a_grant_in_use() {
    let mut lab = Lab::beating(Policy { grace: secs(60), ..Policy::default() });
    let (ticket, _) = lab.flying.expect("a beat");
    lab.come_up();
    assert!(matches!(lab.session.state, SessionState::Failing { .. }));
    lab.feed(Input::Answered(ticket, AskKind::Beat, granted()));
    assert_eq!(lab.count(AskKind::Close), 0);
}

#[test]
fn limit_reached_is_remembered_for_a_moment() {
    let mut lab = Lab::opening(Policy::default());
    lab.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Denied(Denial::Limit, reason())));
    lab.wait(lab.policy.refusal_memory - millis(1));
    lab.feed(Input::Tick);
    assert!(!lab.forgotten);
    assert_eq!(lab.call(CallKind::License), CallAnswer::Refuse(SessionRefusal::Denied(Denial::Limit, reason())));
    lab.come_up();
    assert!(lab.forgotten);
    assert_eq!(lab.asks.len(), 1);
}

#[test]
fn an_authority_without_session_management_lets_calls_pass() {
    let mut lab = Lab::opening(Policy::default());
    lab.answer(Ok(Verdict::Disabled));
    assert_eq!(lab.call(CallKind::License), CallAnswer::Pass);
}

#[test]
fn a_playback_that_never_gets_its_turn_is_abandoned() {
    let mut lab = Lab::held(Policy::default());
    lab.come_up();
    assert_eq!(lab.ended(), Some(EndReason::Abandoned));
    assert!(lab.asks.is_empty());
}

// Closes.

#[test]
fn every_ending_of_a_live_session_closes_its_grant_once() {
    // A yielded session is certainly over with the next end of any kind.
    for why in EndReason::ALL.into_iter().filter(|why| *why != EndReason::GaveWay) {
        let mut lab = Lab::live(Policy::default());
        lab.feed(Input::End(why));
        lab.feed(Input::End(EndReason::Drained));
        lab.wait(secs(1));
        lab.feed(Input::Tick);
        lab.answer(Ok(Verdict::Closed));
        lab.feed(Input::Tick);
        assert_eq!((lab.closed_with("first"), lab.ended()), (1, Some(why)));
        lab.come_up();
        assert!(lab.forgotten);
    }
}

#[test]
fn a_close_without_an_answer_gives_its_place_up_and_is_tried_until_the_authority_must_have_let_it_expire() {
    let mut lab = Lab::live(Policy::default());
    let held = lab.session.last_good() + INTERVAL + lab.policy.grace;
    lab.feed(Input::End(EndReason::Stopped));
    let mut sent = vec![lab.now];
    loop {
        assert_eq!(lab.session.takes_place(), sent.len() <= 2, "after {} tries", sent.len());
        lab.answer(fault());
        if lab.ended().is_some() {
            break;
        }
        lab.come_up();
        sent.push(lab.now);
    }
    let gaps: Vec<_> = sent.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!((gaps, lab.ended()), (vec![1, 3, 6, 12], Some(EndReason::Stopped)));
    assert!(lab.now < held && lab.now + secs(24) >= held);
    assert_eq!(lab.closed_with("first"), 5);
}

#[test]
fn the_close_of_a_killed_session_is_tried_as_any_other() {
    let killed = || Input::Kill(Reason::new(403, None, "by an operator").into());
    let mut lab = Lab::live(Policy::default());
    let held = lab.session.last_good() + INTERVAL + lab.policy.grace;
    lab.feed(killed());
    let mut sent = vec![lab.now];
    loop {
        assert_eq!(lab.session.takes_place(), sent.len() <= 2, "after {} tries", sent.len());
        lab.answer(fault());
        assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Refuse(SessionRefusal::Killed(_))));
        if lab.session.grant().is_none() {
            break;
        }
        lab.come_up();
        sent.push(lab.now);
    }
    let gaps: Vec<_> = sent.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!((gaps, lab.closed_with("first")), (vec![1, 3, 6, 12], 5));
    assert!(lab.now < held && lab.now + secs(24) >= held && !lab.forgotten);
    lab.come_up();
    assert!(lab.forgotten && lab.now >= held, "the kill itself is remembered for its own time");
    // An answer settles it.
    let mut lab = Lab::live(Policy::default());
    lab.feed(killed());
    for _ in 0..2 {
        lab.answer(fault());
        lab.come_up();
    }
    lab.answer(Ok(Verdict::Closed));
    lab.come_up();
    assert_eq!((lab.forgotten, lab.count(AskKind::Close)), (true, 3));
}

#[test]
fn a_close_that_gets_an_answer_at_last_is_done() {
    let mut lab = Lab::live(Policy::default());
    lab.feed(Input::End(EndReason::Stopped));
    for _ in 0..3 {
        lab.answer(fault());
        lab.come_up();
    }
    lab.answer(Ok(Verdict::Closed));
    assert_eq!((lab.ended(), lab.count(AskKind::Close)), (Some(EndReason::Stopped), 4));
    // Nonsense is no outage: twice is enough.
    let mut lab = Lab::live(Policy::default());
    lab.feed(Input::End(EndReason::Stopped));
    let nonsense = || Err(AuthorityFault { kind: FaultKind::Malformed, reason: reason() });
    lab.answer(nonsense());
    lab.come_up();
    lab.answer(nonsense());
    assert_eq!((lab.ended(), lab.count(AskKind::Close)), (Some(EndReason::Stopped), 2));
}

#[test]
fn a_session_found_dead_while_it_was_to_be_closed_is_not_closed() {
    for dead in [Verdict::Killed(reason()), Verdict::Unknown(reason()), Verdict::Denied(Denial::Token, reason())] {
        let mut lab = Lab::beating(Policy::default());
        lab.feed(Input::End(EndReason::Stopped));
        lab.answer(Ok(dead));
        assert_eq!((lab.count(AskKind::Close), lab.ended()), (0, Some(EndReason::Stopped)));
    }
}

// Beats.

#[test]
fn a_beat_is_never_early_nor_late_beyond_a_tick_uncounted() {
    for fraction in [0.8, 1.0] {
        let mut lab = Lab::live(Policy { fraction, enforcement: Enforcement::Heartbeat, ..Policy::default() });
        let mut due = lab.now + INTERVAL.mul_f64(fraction);
        for late in (0..200).map(millis) {
            let deadline = lab.session.deadline().expect("a beat to come");
            assert!(deadline >= due && deadline <= due + Policy::MAX_BEAT_LATENESS, "{:?}", deadline - due);
            lab.now = deadline - millis(1);
            lab.feed(Input::Tick);
            assert!(lab.flying.is_none(), "early");
            lab.now = deadline + late;
            lab.events.clear();
            lab.feed(Input::Tick);
            assert_eq!(lab.last(), AskKind::Beat);
            let counted = lab.events.iter().any(|event| matches!(event, SessionEvent::BeatLate(_)));
            assert_eq!(counted, lab.now - due > Policy::MAX_BEAT_LATENESS, "{:?} after it was due", lab.now - due);
            due = lab.now + INTERVAL.mul_f64(fraction);
            lab.wait(millis(70));
            lab.answer(alive("next"));
        }
    }
}

#[test]
fn a_wheel_tick_after_its_time_is_not_yet_late() {
    for seed in 0..2_000 {
        let mut lab = Lab::held(Policy::default());
        lab.session.calls.set_seed(seed);
        lab.feed(Input::Start);
        lab.answer(granted());
        lab.now =
            lab.session.deadline().expect("a beat to come") + crate::session::Wheel::<()>::WHEEL_TICK_TIME + millis(5);
        lab.feed(Input::Tick);
        assert!(!lab.events.iter().any(|event| matches!(event, SessionEvent::BeatLate(_))));
    }
}

#[test]
fn a_lost_beat_is_retried_after_one_and_three_seconds_and_then_the_session_is_lost() {
    let mut lab = Lab::beating(Policy::default());
    let good = lab.session.last_good();
    let mut sent = vec![lab.now];
    while lab.session.is_active() {
        match lab.flying {
            Some(_) => lab.answer(fault()),
            None => {
                lab.come_up();
                if lab.flying.is_some() {
                    sent.push(lab.now);
                }
            }
        }
    }
    let gaps: Vec<_> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [secs(1), secs(3), secs(3)]);
    assert_eq!(lab.ended(), Some(EndReason::Lost));
    assert_eq!(lab.now, good + INTERVAL + lab.policy.grace);
    assert_eq!(lab.count(AskKind::Close), 0, "the authority has let it expire");
}

/// The answer to the beat may still come.
#[test]
fn a_session_is_not_lost_during_a_beat() {
    let mut lab = Lab::failing();
    let lost = lab.session.last_good() + INTERVAL + lab.policy.grace;
    lab.come_up();
    while lab.now + secs(4) < lost {
        lab.answer(fault());
        lab.come_up();
    }
    lab.now = lost + millis(1);
    lab.feed(Input::Tick);
    assert_eq!((lab.ended(), lab.last()), (None, AskKind::Beat));
    lab.answer(alive("second"));
    assert!(matches!(lab.session.state, SessionState::Live { .. }));
}

#[test]
fn credit_does_not_end_during_an_open() {
    let allowed = OutageBudget { live: secs(10), vod: secs(10) };
    let mut lab =
        Lab::owing(Policy { on_unreachable: OnUnreachable { new: allowed, running: allowed }, ..on_credit() });
    let spent = lab.now + secs(10);
    lab.come_up();
    assert!(lab.flying.is_some() && lab.now < spent && spent < lab.now + lab.policy.call_timeout);
    lab.now = spent + millis(1);
    lab.feed(Input::Tick);
    assert!(matches!(lab.session.state, SessionState::Owing { .. }), "{:?}", lab.session.state);
    lab.answer(granted());
    assert!(matches!(lab.session.state, SessionState::Live { .. }));
}

#[test]
fn a_session_is_not_lost_before_its_token_ends() {
    let mut lab = Lab::opening(Policy { enforcement: Enforcement::Heartbeat, ..Policy::default() });
    let opened = lab.now;
    lab.answer(Ok(Verdict::Granted(Grant { lifetime: Some(secs(100)), ..grant("first") })));
    // A good beat without a new token: the token's life counts from when it was given.
    lab.come_up();
    lab.answer(Ok(Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }));
    while lab.session.is_active() {
        match lab.flying {
            Some(_) => lab.answer(fault()),
            None => lab.come_up(),
        }
    }
    assert_eq!((lab.ended(), lab.now - opened), (Some(EndReason::Lost), secs(100)));
}

#[test]
fn an_answered_beat_recovers_the_session() {
    let mut lab = Lab::failing();
    assert!(matches!(lab.call(CallKind::License), CallAnswer::Forward(_)));
    lab.come_up();
    let sent = lab.now;
    lab.answer(alive("second"));
    assert_eq!(lab.events.last(), Some(&SessionEvent::Recovered(1)));
    assert!(lab.session.deadline().is_some_and(|at| at >= sent + INTERVAL));
}

#[test]
fn a_beat_that_is_answered_as_if_it_were_a_close_counts_as_lost() {
    let mut lab = Lab::beating(Policy::default());
    lab.answer(Ok(Verdict::Closed));
    assert!(lab.flying.is_none(), "asked again at once, and then for ever");
    assert!(matches!(lab.session.state, SessionState::Failing { missed: 1, .. }));
}

#[test]
fn the_authority_may_change_the_interval() {
    let mut lab = Lab::beating(Policy::default());
    let sent = lab.now;
    lab.answer(Ok(Verdict::Alive { interval: Some(secs(60)), lifetime: None, schedule: None, token: None }));
    assert!(
        lab.session
            .deadline()
            .is_some_and(|at| at >= sent + secs(60) && at <= sent + secs(60) + Policy::MAX_BEAT_LATENESS)
    );
}

#[test]
fn a_call_whose_answer_never_comes_is_given_up() {
    let mut lab = Lab::beating(Policy { grace: secs(60), ..Policy::default() });
    assert_eq!(lab.call(CallKind::License), CallAnswer::Wait);
    let wakes = lab.wakes;
    lab.come_up();
    assert_eq!(lab.wakes, wakes + 1);
    assert!(matches!(lab.call(CallKind::License), CallAnswer::Forward(_)));
}

#[test]
fn a_playback_without_any_sign_of_life_ends_after_the_longest_time() {
    let mut lab = Lab::live(endings(EndingRules { longest: secs(300), ..EndingRules::default() }));
    let sign = lab.now;
    while lab.session.is_active() {
        match lab.flying {
            Some(_) => lab.answer(alive("next")),
            None => lab.come_up(),
        }
    }
    assert_eq!((lab.now - sign, lab.last()), (secs(300), AskKind::Close));
    lab.answer(Ok(Verdict::Closed));
    assert_eq!(lab.ended(), Some(EndReason::Longest));
}

// Renewals.

#[test]
fn renewals_that_carry_the_session_leave_nothing_to_the_timer() {
    let mut lab = Lab::renewing();
    for round in 0..20 {
        lab.wait(INTERVAL);
        lab.feed(Input::Tick);
        assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)), "{round}");
        lab.wait(millis(100));
        lab.answer(alive("next"));
    }
    assert_eq!(lab.count(AskKind::Beat), 0);
}

#[test]
fn renewals_that_are_overdue_close_the_session() {
    let mut lab = Lab::renewing();
    let good = lab.now;
    lab.come_up();
    assert_eq!(lab.now, good + INTERVAL * 2 + lab.policy.grace);
    assert_eq!(lab.last(), AskKind::Close);
    lab.answer(Ok(Verdict::Closed));
    assert_eq!(lab.ended(), Some(EndReason::RenewalsOverdue));
}

// Connections, which end nothing by themselves.

/// Returns how and when it ends by itself, counted from the start of the test.
fn over(mut lab: Lab, start: MonotonicTime) -> (Option<EndReason>, Duration) {
    while lab.session.is_active() {
        match lab.flying {
            Some(_) => lab.answer(alive("next")),
            None => lab.come_up(),
        }
    }
    let after = lab.now - start;
    while lab.flying.is_some() {
        lab.answer(Ok(Verdict::Closed));
    }
    (lab.ended(), after)
}

#[test]
fn a_player_whose_connections_are_gone_is_overdue_after_one_round() {
    let grace = Policy::default().grace;
    for (back, rounds) in [
        (None, 1),
        (Some(Input::Reconnected), 2),
        (Some(Input::Call(CallKind::Certificate)), 2),
        // Asked before its connection was gone.
        (Some(Input::RetryCall(CallKind::License)), 1),
    ] {
        let mut lab = Lab::renewing();
        let start = lab.now;
        lab.feed(Input::Disconnected);
        back.into_iter().for_each(|input| drop(lab.feed(input)));
        assert_eq!(over(lab, start), (Some(EndReason::RenewalsOverdue), INTERVAL * rounds + grace));
    }
}

#[test]
fn a_player_whose_connections_are_gone_is_silent_after_a_round_and_a_quarter() {
    let report = |playing| Input::Report(PlayerReport { by_interval: true, playing, ..PlayerReport::default() });
    for (playing, silent) in [(PlayingState::Plays, millis(37_500)), (PlayingState::Paused, secs(75))] {
        let mut lab = Lab::live(Policy::default());
        let start = lab.now;
        lab.feed(report(playing));
        lab.feed(Input::Disconnected);
        lab.feed(Input::Disconnected);
        assert_eq!(over(lab, start), (Some(EndReason::Silent), silent), "{playing:?}");
    }
}

/// The process was not given its time, and finds several at once.
#[test]
fn the_strongest_of_several_ends_is_the_reason() {
    let mut lab = Lab::live(endings(EndingRules { longest: secs(20), ..EndingRules::default() }));
    let everything = [
        Input::Served(LicenseFeedback::Renews { every: None }),
        Input::Licensed(Some(lab.now)),
        Input::Media(MediaFetch {
            again: Some(Duration::ZERO),
            leads_past: None,
            segment: true,
            stream: Some(StreamType::Live),
        }),
        Input::Report(PlayerReport { by_interval: true, playing: PlayingState::Plays, ..PlayerReport::default() }),
    ];
    everything.into_iter().for_each(|input| drop(lab.feed(input)));
    lab.wait(secs(3600));
    let mut order = Vec::new();
    loop {
        let come = lab.session.ends(&lab.policy).into_iter().find(|(_, at)| at.is_some_and(|at| at <= lab.now));
        let Some((end, _)) = come else { break };
        order.push(end);
        assert!(order.len() < 10, "an end that was taken away comes again: {order:?}");
        let endings = &mut lab.policy.endings;
        match end {
            EndReason::RenewalsOverdue => endings.renewals_overdue = None,
            EndReason::Silent => endings.report_silence = false,
            EndReason::MediaSilent => endings.media_silence = None,
            EndReason::LicenseExpired => endings.license_expiry = false,
            _ => endings.longest = secs(86_400),
        }
    }
    let strength = [
        EndReason::RenewalsOverdue,
        EndReason::Silent,
        EndReason::MediaSilent,
        EndReason::LicenseExpired,
        EndReason::Longest,
    ];
    assert_eq!(order, strength);
}

#[test]
fn connections_count_only_when_they_have_been_gone_for_the_dwell_time() {
    for (dwell, gone, over_after) in
        [(Some(secs(50)), 0, 50), (Some(secs(30)), 15, 45), (Some(secs(300)), 0, 70), (None, 0, 70)]
    {
        let mut lab = Lab::live(endings(EndingRules { connections_gone: dwell, ..EndingRules::default() }));
        lab.feed(Input::Served(LicenseFeedback::Renews { every: None }));
        let start = lab.now;
        lab.wait(secs(gone));
        lab.feed(Input::Disconnected);
        assert_eq!(over(lab, start).1, secs(over_after), "{dwell:?}");
    }
}

#[test]
fn a_player_with_no_other_evidence_is_untouched_when_its_connections_are_gone() {
    let mut lab = Lab::live(Policy::default());
    let start = lab.now;
    lab.feed(Input::Disconnected);
    assert_eq!(over(lab, start), (Some(EndReason::Longest), EndingRules::default().longest));
}

// Licenses.

#[test]
fn a_player_whose_licenses_have_all_run_out_is_over_after_a_grace() {
    let mut lab = Lab::live(Policy::default());
    let start = lab.now;
    lab.feed(Input::Licensed(Some(start + secs(60))));
    assert_eq!(over(lab, start), (Some(EndReason::LicenseExpired), secs(60) + Policy::default().grace));
}

#[test]
fn a_renewed_license_and_one_without_an_end_keep_the_session() {
    let mut lab = Lab::live(Policy::default());
    let start = lab.now;
    lab.feed(Input::Licensed(Some(start + secs(60))));
    lab.feed(Input::Licensed(Some(start + secs(600))));
    assert_eq!(over(lab, start).1, secs(610));
    for (until, license_expiry) in [(None, true), (Some(secs(60)), false)] {
        let policy = endings(EndingRules { license_expiry, ..EndingRules::default() });
        let mut lab = Lab::live(policy);
        let start = lab.now;
        lab.feed(Input::Licensed(until.map(|until| start + until)));
        assert_eq!(over(lab, start).0, Some(EndReason::Longest));
    }
}

#[test]
fn a_call_in_transit_at_the_end_of_the_license_is_waited_for() {
    let mut lab = Lab::live(Policy::default());
    let start = lab.now;
    lab.feed(Input::Licensed(Some(start + secs(20))));
    lab.wait(secs(29));
    lab.call(CallKind::License);
    assert_eq!(over(lab, start).1, secs(39));
}

#[test]
fn an_accepted_renewal_stops_the_timer_unless_that_is_forced() {
    for (enforcement, renews, carried) in [
        (Enforcement::Auto, true, true),
        (Enforcement::Heartbeat, true, false),
        (Enforcement::Renewal, true, true),
        (Enforcement::Auto, false, false),
        (Enforcement::Renewal, false, false),
    ] {
        let mut lab = Lab::live(Policy { enforcement, renews, ..Policy::default() });
        match lab.call(CallKind::Renewal) {
            CallAnswer::Renew(..) => lab.answer(alive("second")),
            CallAnswer::Forward(_) => assert!(!renews),
            answer => panic!("{answer:?}"),
        }
        let carries = matches!(lab.session.beats, BeatSource::Renewals { .. });
        assert_eq!(carries, carried, "{enforcement:?}, renews: {renews}");
        lab.come_up();
        assert_eq!(lab.count(AskKind::Beat), usize::from(!carried), "{enforcement:?}, renews: {renews}");
    }
}

#[test]
fn a_license_without_renewals_brings_the_timer_back() {
    let mut lab = Lab::renewing();
    lab.feed(Input::Served(LicenseFeedback::Stays));
    lab.come_up();
    assert_eq!(lab.last(), AskKind::Beat);
}

#[test]
fn a_renewal_that_is_lost_leaves_the_session_to_the_next_one() {
    let mut lab = Lab::renewing();
    lab.wait(INTERVAL);
    assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)));
    lab.answer(fault());
    lab.wait(secs(2));
    lab.feed(Input::Tick);
    assert_eq!(lab.count(AskKind::Beat), 0);
    assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)));
    lab.answer(alive("second"));
    assert!(matches!(lab.session.state, SessionState::Live { .. }));
}

#[test]
fn a_renewal_whose_answer_is_a_kill_kills() {
    let mut lab = Lab::renewing();
    assert!(matches!(lab.call(CallKind::Renewal), CallAnswer::Renew(..)));
    lab.answer(Ok(Verdict::Killed(reason())));
    assert!(lab.session.is_killed());
}

// Totality.

const CALLS: [CallKind; 4] = [CallKind::Certificate, CallKind::License, CallKind::Release, CallKind::Renewal];
const ASKS: [AskKind; 4] = [AskKind::Beat, AskKind::Close, AskKind::Open, AskKind::Renew];
const ENDLESS: Duration = Duration::MAX;

fn verdicts() -> Vec<Result<Verdict, AuthorityFault>> {
    let odd = |interval, lifetime| Verdict::Granted(Grant { interval, lifetime, token: Secret::new("odd") });
    vec![
        granted(),
        alive("second"),
        fault(),
        Ok(Verdict::Alive {
            interval: Some(ENDLESS),
            lifetime: Some(ENDLESS),
            schedule: None,
            token: Some(Secret::new("")),
        }),
        Ok(Verdict::Blackout(blackout())),
        Ok(Verdict::Closed),
        Ok(Verdict::Denied(Denial::Limit, reason())),
        Ok(Verdict::Denied(Denial::Token, reason())),
        Ok(Verdict::Disabled),
        Ok(odd(Duration::ZERO, Some(Duration::ZERO))),
        Ok(odd(ENDLESS, Some(ENDLESS))),
        Ok(Verdict::Killed(reason())),
        Ok(Verdict::Unconfirmed(grant("first"), AuthorityFault { kind: FaultKind::Timeout, reason: reason() })),
        Ok(Verdict::Unknown(reason())),
    ]
}

fn inputs(number: u32) -> Vec<Input> {
    let mut all = vec![
        Input::Disconnected,
        Input::Reconnected,
        Input::Forgive,
        Input::Kill(reason().into()),
        Input::Kill(reason().wanted_by(KillSource::Operator).into()),
        Input::Start,
        Input::Tick,
        Input::Unserved,
        Input::Used,
    ];
    let now = Clock.now();
    all.extend([None, Some(now), Some(now + secs(3_000_000_000))].map(Input::Licensed));
    all.extend([Input::GiveWay, Input::TakeBack]);
    all.extend([false, true].map(|orphan| Input::Restored { orphan }));
    let (until, why) = (now + secs(60), SessionClosure::Ended(EndReason::Stopped));
    all.extend([None, Some(INTERVAL)].map(|interval| Input::Followed(SharedFate::Plays { interval })));
    all.push(Input::Followed(SharedFate::Closed { until, why }));
    all.push(Input::Followed(SharedFate::Ends(EndReason::Stopped)));
    all.push(Input::Followed(SharedFate::Killed { by: reason().into(), since: now, until }));
    all.extend([StreamType::Live, StreamType::Vod].map(Input::Streams));
    all.extend([Duration::ZERO, secs(7_200), ENDLESS].map(Input::Slept));
    all.extend(CALLS.map(Input::RetryCall));
    all.extend(CALLS.map(Input::Call));
    all.extend(EndReason::ALL.map(Input::End));
    all.extend([None, Some(INTERVAL), Some(ENDLESS)].map(|every| Input::Served(LicenseFeedback::Renews { every })));
    all.extend([LicenseFeedback::Plain, LicenseFeedback::Stays].map(Input::Served));
    let media = |stream| {
        [None, Some(Duration::ZERO), Some(ENDLESS)].map(|again| MediaFetch {
            again,
            leads_past: Some(again.is_none()),
            segment: true,
            stream,
        })
    };
    all.extend([None, Some(StreamType::Live), Some(StreamType::Vod)].into_iter().flat_map(media).map(Input::Media));
    let playing =
        [PlayingState::Done, PlayingState::Paused, PlayingState::Plays, PlayingState::Quit, PlayingState::Unsaid];
    let stream = Some(StreamType::Live);
    let (at_end, by_interval, playhead, until) = (true, true, Some(ENDLESS), Some(ENDLESS));
    let report =
        |playing| PlayerReport { at_end, by_interval, playhead, playing, stream, until, ..PlayerReport::default() };
    all.extend(playing.map(report).map(Input::Report));
    for ticket in [number, number.wrapping_sub(1), number.wrapping_add(1)].map(Ticket::Session) {
        for ask in ASKS {
            all.extend(verdicts().into_iter().map(|result| Input::Answered(ticket, ask, result)));
        }
    }
    all
}

/// The session that it shares is open.
const PLAYS: Input = Input::Followed(SharedFate::Plays { interval: Some(INTERVAL) });

type Reach = fn() -> Lab;

/// Every state, with and without a call in flight, and how it is reached.
fn states() -> Vec<(&'static str, Reach)> {
    fn after(mut lab: Lab, inputs: impl IntoIterator<Item = Input>) -> Lab {
        inputs.into_iter().for_each(|input| drop(lab.feed(input)));
        lab
    }
    fn told(mut lab: Lab, result: Result<Verdict, AuthorityFault>) -> Lab {
        lab.answer(result);
        lab
    }
    vec![
        ("held", || Lab::held(Policy::default())),
        ("held, sharing", Lab::held_sharing),
        ("sharing", || after(Lab::held_sharing(), [PLAYS])),
        ("sharing, unused", || after(Lab::held_sharing(), [PLAYS, Input::Unserved])),
        ("sharing, ended", || after(Lab::held_sharing(), [PLAYS, Input::End(EndReason::Stopped)])),
        ("sharing, killed", || after(Lab::held_sharing(), [PLAYS, Input::Kill(reason().into())])),
        ("opening", || Lab::opening(Policy::default())),
        ("live", || Lab::live(Policy::default())),
        ("live, beating", || Lab::beating(Policy::default())),
        ("live, by renewals", Lab::renewing),
        ("live, renewal in flight", || after(Lab::renewing(), [Input::Call(CallKind::Renewal)])),
        ("failing", Lab::failing),
        ("failing, beating", || {
            let mut lab = Lab::failing();
            lab.come_up();
            lab
        }),
        ("failing, by renewals", || told(after(Lab::renewing(), [Input::Call(CallKind::Renewal)]), fault())),
        ("failing, on credit", || Lab::failing_on_credit()),
        ("owing", || Lab::owing(on_credit())),
        ("owing, open in flight", || {
            let mut lab = Lab::owing(on_credit());
            lab.come_up();
            lab
        }),
        ("closed, spent", || {
            let mut lab = Lab::owing(on_credit());
            lab.wait(secs(60));
            lab.come_up();
            if lab.flying.is_some() {
                lab.answer(fault());
            }
            assert!(matches!(lab.session.state, SessionState::Closed { why: SessionClosure::Spent { .. }, .. }));
            lab
        }),
        ("closed, spent while it ran", || {
            let mut lab = Lab::failing_on_credit();
            lab.wait(secs(60));
            while lab.session.is_active() {
                match lab.flying {
                    Some(_) => lab.answer(fault()),
                    None => lab.come_up(),
                }
            }
            assert!(matches!(lab.session.state, SessionState::Closed { why: SessionClosure::Spent { .. }, .. }));
            lab
        }),
        ("owing, having run", || {
            let mut lab = Lab::failing_on_credit();
            while lab.flying.is_none() {
                lab.come_up();
            }
            told(told(lab, Ok(Verdict::Unknown(reason()))), fault())
        }),
        ("closing, lingering", || {
            let lab = told(after(Lab::live(Policy::default()), [Input::End(EndReason::Zapped)]), fault());
            let mut lab = after(lab, []);
            lab.come_up();
            told(lab, fault())
        }),
        ("closing, open in flight", || after(Lab::opening(Policy::default()), [Input::End(EndReason::Zapped)])),
        ("closing, beat in flight", || after(Lab::beating(Policy::default()), [Input::End(EndReason::Zapped)])),
        ("closing", || after(Lab::live(Policy::default()), [Input::End(EndReason::Zapped)])),
        ("closing, to be tried again", || {
            told(after(Lab::live(Policy::default()), [Input::End(EndReason::Zapped)]), fault())
        }),
        ("closing, giving way", || after(Lab::beating(Policy::default()), [Input::GiveWay])),
        ("closed, gave way", || told(after(Lab::live(Policy::default()), [Input::GiveWay]), Ok(Verdict::Closed))),
        ("closed, and wanted back", || {
            let gave_way = told(after(Lab::live(Policy::default()), [Input::GiveWay]), Ok(Verdict::Closed));
            after(gave_way, [Input::Call(CallKind::Renewal)])
        }),
        ("held, to be taken back", || {
            let gave_way = told(after(Lab::live(Policy::default()), [Input::GiveWay]), Ok(Verdict::Closed));
            after(gave_way, [Input::TakeBack])
        }),
        ("closed, denied", || told(Lab::opening(Policy::default()), Ok(Verdict::Denied(Denial::Limit, reason())))),
        ("closed, ended", || {
            told(after(Lab::live(Policy::default()), [Input::End(EndReason::Stopped)]), Ok(Verdict::Closed))
        }),
        ("closed, unmanaged", || told(Lab::opening(Policy::default()), Ok(Verdict::Disabled))),
        ("closed, unreachable", || told(Lab::opening(Policy::default()), fault())),
        ("killed", || told(Lab::beating(Policy::default()), Ok(Verdict::Killed(reason())))),
        ("killed, open in flight", || after(Lab::opening(Policy::default()), [Input::Kill(reason().into())])),
        ("killed, beat in flight", || after(Lab::beating(Policy::default()), [Input::Kill(reason().into())])),
        ("killed, close in flight", || after(Lab::live(Policy::default()), [Input::Kill(reason().into())])),
    ]
}

#[test]
fn every_state_answers_every_input_now_and_later() {
    let waits = [Duration::ZERO, secs(1), secs(16), secs(45), secs(7_200), secs(200_000)];
    for (name, reach) in states() {
        let number = reach().session.calls.made();
        for wait in waits {
            for input in inputs(number) {
                let mut lab = reach();
                lab.wait(wait);
                let told = format!("{name}, {wait:?} later: {input:?}");
                lab.feed(input);
                assert!(lab.session.deadline().is_some(), "{told}");
                // In any state, time alone ends every session.
                let mut ticks = 0;
                while !lab.forgotten {
                    lab.come_up();
                    ticks += 1;
                    assert!(ticks < 100_000, "{told}");
                    if lab.flying.is_some() && ticks % 2 == 0 {
                        lab.answer(fault());
                    }
                }
            }
        }
    }
}

#[test]
fn a_follower_joins_a_session_that_plays_and_goes_with_it_but_is_not_killed_twice() {
    let mut lab = Lab::held_sharing();
    lab.feed(PLAYS);
    assert_eq!((lab.session.interval(), lab.wakes), (Some(INTERVAL), 1));
    let until = lab.now + secs(60);
    for (fate, killed) in [
        (SharedFate::Ends(EndReason::Stopped), false),
        (SharedFate::Plays { interval: None }, false),
        (SharedFate::Closed { until, why: SessionClosure::Unmanaged }, false),
        (SharedFate::Killed { by: reason().into(), since: lab.now, until }, true),
        (SharedFate::Killed { by: reason().wanted_by(KillSource::Operator).into(), since: until, until }, true),
    ] {
        lab.feed(Input::Followed(fate));
        assert!(!lab.session.is_active());
        assert_eq!(lab.session.is_killed(), killed);
    }
    assert_eq!((lab.wakes, lab.session.killed_since()), (3, Some(lab.now)));
}

proptest! {
    /// Any life at all, at any pace, under any policy.
    #[test]
    fn any_sequence_of_inputs_is_survived(
        moves in prop::collection::vec((any::<prop::sample::Index>(), 0u64..40_000), 1..60),
        enforcement in prop::sample::select(vec![Enforcement::Auto, Enforcement::Heartbeat, Enforcement::Renewal]),
        renews in any::<bool>(),
        close_tries in any::<u8>(),
        memory in 0u64..3,
        flags in any::<[bool; 5]>(),
        max_failures in prop::option::of(0u8..4),
        end in prop::option::of(0u64..4_000),
    ) {
        let memory = secs(memory);
        let [beat_on_resume, beat_while_paused, live, stop_on_blackout, stop_on_end] = flags;
        let policy = Policy { close_tries, refusal_memory: memory, end_memory: memory, enforcement, renews, ..Policy::default() };
        let policy = Policy { beat_on_resume, beat_while_paused, stream: live.then_some(StreamType::Live), max_failures, stop_on_blackout, stop_on_end, ..policy };
        let mut lab = Lab::held(policy);
        let times = crate::session::ProgramTimes { end: end.map(secs), start: end.map(secs), ..Default::default() };
        lab.session.schedule = crate::session::Schedule::new(lab.now, secs(1_000), &times);
        for (index, pause) in moves {
            lab.wait(millis(pause));
            let inputs = inputs(lab.session.calls.made());
            lab.feed(index.get(&inputs).clone());
            if lab.forgotten {
                break;
            }
        }
    }
}
