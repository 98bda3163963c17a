//! The step function: every state answers every input.
//!
//! An input changes what is known; [`settle`] then looks at the whole and decides which call the
//! authority gets next, if the session's lane is free, and when the session wants to be woken.

use std::time::{Duration, Instant};

pub(super) use self::deadlines::bounded;
use self::deadlines::spread;
pub(super) use self::give_way::GiveWayState;
use super::effect::{AuthorityAsk, CallAnswer, Effect, Effects, SessionEvent, SessionRefusal};
use super::end_reason::EndReason;
use super::grant::{AskKind, Ticket};
use super::input::Input;
use super::player_call::CallKind;
use super::policy::Policy;
use super::state::{BeatSource, CallInFlight, Session, SessionClosure, SessionState};
use super::verdict::{AuthorityFault, FaultKind, Reason};

mod after_restart;
mod after_sleep;
mod authority_answer;
mod context;
mod deadlines;
mod delivery;
mod give_way;
mod kill;
mod open_answer;
mod player_evidence;
mod reopen;
mod share;
mod unconfirmed;

pub use self::after_restart::resume;

/// Total: no input in any state panics, and none but a new playback brings a killed session back.
pub fn step(session: &mut Session, now: Instant, input: Input, policy: &Policy) -> Effects {
    let mut fx = Effects::default();
    match input {
        Input::Again(kind) => fx.answer = Some(session.call(now, kind, policy)),
        Input::Alone => session.alone = session.alone.or(Some(now)),
        Input::Answered(ticket, ask, result) => session.answered(now, ticket, ask, result, policy, &mut fx),
        Input::Back => session.alone = None,
        Input::Call(kind) => {
            session.alone = None;
            fx.answer = Some(session.call(now, kind, policy));
        }
        Input::End(why) => session.end(now, why, policy, &mut fx),
        Input::Forgive => session.forgive(now, &mut fx),
        Input::GiveWay => session.give_way(now, policy, &mut fx),
        Input::Kill(reason) => session.kill(now, reason, policy, &mut fx),
        Input::Licensed(until) => session.licensed(until),
        Input::Media(media) => session.media(now, media, policy),
        Input::PushedKill { reason, token } => session.pushed_kill(now, token, reason, policy, &mut fx),
        Input::Report(report) => session.report(now, report, policy, &mut fx),
        Input::Served(served) => session.served(now, served, policy, &mut fx),
        Input::Slept(by) => session.slept(now, by, policy),
        Input::Start => session.start(now),
        Input::Streams(stream) => session.stream = Some(stream),
        Input::TakeBack => session.take_back(now, policy, &mut fx),
        Input::Tick => session.tick(now, policy, &mut fx),
        Input::Unserved => session.unserved(),
        Input::Used => session.use_it(),
    }
    session.settle(now, policy, &mut fx);
    session.account(now, policy, &mut fx);
    session.check_invariants();
    fx
}

impl Session {
    fn call(&mut self, now: Instant, kind: CallKind, policy: &Policy) -> CallAnswer {
        match &self.state {
            _ if self.gives_way() => self.call_away(now, kind, policy),
            SessionState::Closed { why: SessionClosure::Denied(denial, reason), .. } => {
                CallAnswer::Refuse(SessionRefusal::Denied(*denial, reason.clone()))
            }
            SessionState::Closed { why: SessionClosure::Ended(why), .. } | SessionState::Closing { why, .. } => {
                match kind {
                    // The first step of a playback to come, or the last of one that is over.
                    CallKind::Certificate | CallKind::Release => CallAnswer::Pass,
                    CallKind::License | CallKind::Renewal => CallAnswer::Refuse(SessionRefusal::Ended(*why)),
                }
            }
            SessionState::Closed { why: SessionClosure::Unmanaged, .. } => CallAnswer::Pass,
            SessionState::Closed {
                why: SessionClosure::Spent { fault, .. } | SessionClosure::Unreachable(fault),
                ..
            } => CallAnswer::Refuse(SessionRefusal::Unreachable(fault.clone())),
            SessionState::Killed { by, .. } => CallAnswer::Refuse(SessionRefusal::Killed(by.clone())),
            SessionState::Opening { .. } => match kind {
                CallKind::Certificate => CallAnswer::Pass,
                CallKind::Release => CallAnswer::Wait,
                CallKind::License | CallKind::Renewal => self.call_opening(now),
            },
            SessionState::Failing { .. } | SessionState::Live { .. } => self.call_granted(now, kind, policy),
            SessionState::Owing { .. } => self.call_owing(now, kind, policy),
        }
    }

    /// While a call of ours is in flight the token may be replaced under the player's feet: it waits.
    fn call_granted(&mut self, now: Instant, kind: CallKind, policy: &Policy) -> CallAnswer {
        self.heard(now);
        self.asks(kind);
        let Some(grant) = self.grant.clone() else { return CallAnswer::Wait };
        if kind == CallKind::Certificate {
            return CallAnswer::Pass;
        }
        if self.lane.is_some() {
            return CallAnswer::Wait;
        }
        self.life.calls = false;
        match kind {
            CallKind::Renewal if policy.renews => CallAnswer::Renew(grant, self.occupy(now, AskKind::Renew)),
            CallKind::Renewal => {
                self.shows_renewal(now, policy);
                CallAnswer::Forward(grant)
            }
            CallKind::Certificate | CallKind::License | CallKind::Release => CallAnswer::Forward(grant),
        }
    }

    fn end(&mut self, now: Instant, why: EndReason, policy: &Policy, fx: &mut Effects) {
        match self.state {
            SessionState::Opening { .. } | SessionState::Owing { .. } if self.lane.is_none() => {
                self.close(now, SessionClosure::Ended(why), policy, fx);
            }
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. } => {
                self.enter(SessionState::Closing { next: now, tries: 0, why });
                fx.push(Effect::Wake);
            }
            SessionState::Closing { .. } | SessionState::Killed { .. } if self.lingers && why == EndReason::Drained => {
                self.close_now(now)
            }
            // What was presumed is known now, and its player does not take it back any more.
            SessionState::Closing { next, tries, why: EndReason::GaveWay } => {
                self.away = None;
                self.enter(SessionState::Closing { next, tries, why });
            }
            SessionState::Closed { why: SessionClosure::Ended(EndReason::GaveWay), .. } => {
                let until = now + self.memory_of(why, policy);
                self.enter(SessionState::Closed { until, why: SessionClosure::Ended(why) });
                fx.push(Effect::Wake);
            }
            SessionState::Closed { .. } | SessionState::Closing { .. } | SessionState::Killed { .. } => {}
        }
    }

    fn start(&mut self, now: Instant) {
        match self.state {
            SessionState::Opening { held: true, .. } => self.enter(SessionState::Opening { held: false, since: now }),
            SessionState::Opening { held: false, .. }
            | SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Owing { .. } => {}
        }
    }

    fn tick(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        self.give_up_lane(now, policy, fx);
        match self.state {
            SessionState::Closed { until, .. } | SessionState::Killed { until, .. } => {
                if now >= until && self.grant.is_none() && self.lane.is_none() {
                    fx.push(Effect::Forget);
                }
            }
            SessionState::Closing { .. } => {}
            SessionState::Opening { since, .. } => {
                if self.lane.is_none() && now >= since + policy.lane_patience {
                    self.close(now, SessionClosure::Ended(EndReason::Abandoned), policy, fx);
                }
            }
            SessionState::Failing { .. } | SessionState::Live { .. } => self.tick_granted(now, policy, fx),
            SessionState::Owing { .. } => self.tick_owing(now, policy, fx),
        }
    }

    fn tick_granted(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        if self.lane.is_some() {
            return;
        }
        let over = self.ends(policy).into_iter().find(|(_, at)| at.is_some_and(|at| now >= at));
        match over {
            Some((EndReason::Lost, _)) => self.lose(now, policy, fx),
            Some((why, _)) => self.end(now, why, policy, fx),
            None => self.reach(now, policy, fx),
        }
    }

    /// A call whose answer was lost on our side must not hold the session for ever.
    fn give_up_lane(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        let Some(lane) = self.lane else { return };
        if now < lane.since + policy.lane_patience {
            return;
        }
        let fault = AuthorityFault { kind: FaultKind::Timeout, reason: Reason::new(0, None, "the call was given up") };
        if lane.ask == AskKind::Open {
            if self.given_up.is_full() {
                self.given_up.remove(0);
            }
            self.given_up.push(lane.ticket);
        }
        self.answered(now, lane.ticket, lane.ask, Err(fault), policy, fx);
    }

    /// Decides the next call to the authority and the next deadline.
    fn settle(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        if self.lane.is_none() {
            self.next_ask(now, policy, fx);
        }
        self.deadline = Some(match self.lane {
            Some(lane) => lane.since + policy.lane_patience,
            None => self.next_deadline(now, policy),
        });
    }

    fn next_ask(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        match self.state {
            SessionState::Opening { held: false, .. } => self.ask(now, AskKind::Open, fx),
            SessionState::Owing { next, .. } if now >= next => self.ask(now, AskKind::Open, fx),
            SessionState::Live { beat } if self.beats_itself() && now >= beat && !self.rests(policy) => {
                let late = now - (beat - spread(self.seed, self.generation));
                if late > Policy::MAX_BEAT_LATENESS {
                    fx.note(SessionEvent::BeatLate(late));
                }
                self.ask(now, AskKind::Beat, fx);
            }
            SessionState::Failing { retry, .. } if self.beats == BeatSource::Timer && now >= retry => {
                self.ask(now, AskKind::Beat, fx);
            }
            SessionState::Closing { why, .. } if self.grant.is_none() => {
                self.close(now, SessionClosure::Ended(why), policy, fx)
            }
            SessionState::Closing { next, .. } if now >= next => self.ask(now, AskKind::Close, fx),
            // Killed here and not by the authority: the grant is still ours to give back.
            SessionState::Killed { .. }
                if self.grant.is_some() && self.lost_close.is_none_or(|(next, _)| now >= next) =>
            {
                self.ask(now, AskKind::Close, fx);
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. } => {}
        }
    }

    fn ask(&mut self, now: Instant, kind: AskKind, fx: &mut Effects) {
        let ticket = self.occupy(now, kind);
        fx.push(Effect::Ask(AuthorityAsk {
            beside: None,
            grant: self.grant.clone(),
            kind,
            ticket,
            told: self.told(now),
        }));
    }

    fn occupy(&mut self, now: Instant, ask: AskKind) -> Ticket {
        debug_assert!(self.lane.is_none(), "one call at a time: {:?} while {:?}", ask, self.lane);
        self.generation = self.generation.wrapping_add(1);
        let ticket = Ticket(self.generation);
        self.lane = Some(CallInFlight { ask, outdated: false, since: now, slept: Duration::ZERO, ticket });
        ticket
    }

    fn close(&mut self, now: Instant, why: SessionClosure, policy: &Policy, fx: &mut Effects) {
        if std::mem::take(&mut self.returns)
            && let Some(refusal) = Self::is_for_now(&why)
        {
            return self.stay_away(now, refusal, policy, fx);
        }
        let memory = match &why {
            // It has played: whoever has that token stays refused, as after a kill.
            SessionClosure::Denied(..) if self.credit.is_some() => policy.kill_memory,
            SessionClosure::Denied(..) => policy.denial_memory,
            SessionClosure::Ended(end) => self.memory_of(*end, policy),
            SessionClosure::Unmanaged => policy.end_memory,
            SessionClosure::Spent { .. } => policy.kill_memory,
            SessionClosure::Unreachable(_) => policy.refusal_memory(),
        };
        match &why {
            SessionClosure::Denied(denial, reason) => fx.note(SessionEvent::Refused(*denial, reason.clone())),
            SessionClosure::Ended(end) if self.shares.is_some() => fx.note(SessionEvent::Left(*end)),
            SessionClosure::Ended(end) => fx.note(SessionEvent::Closed(*end)),
            SessionClosure::Unmanaged => fx.note(SessionEvent::Unmanaged),
            // Noted as the failed call that it was, or as the loss of what was running.
            SessionClosure::Spent { .. } | SessionClosure::Unreachable(_) => {}
        }
        self.enter(SessionState::Closed { until: now + memory, why });
        fx.push(Effect::Wake);
    }
}

#[cfg(test)]
mod tests;
