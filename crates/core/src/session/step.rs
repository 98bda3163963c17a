//! The step function: every state answers every input.
//!
//! An input changes the known facts. [`settle`] then decides the next call to the authority, if none is in flight, and
//! the next deadline. `sessions` calls it through `Device`.

use self::context::Step;
pub(super) use self::deadlines::bounded;
use self::remembered_refusal::ended_answer;
use super::effect::{AuthorityAsk, CallAnswer, Effects, SessionEvent, SessionRefusal};
use super::end_reason::EndReason;
use super::grant::AskKind;
use super::input::Input;
use super::player_call::CallKind;
use super::policy::Policy;
use super::state::{BeatSource, Forfeit, Session, SessionClosure, SessionState};
use super::verdict::{AuthorityFault, FaultKind, Reason};

mod after_restart;
mod after_sleep;
mod authority_answer;
mod context;
mod deadlines;
mod give_way;
mod kill;
mod open_answer;
mod player_signals;
mod remembered_refusal;
mod reopen;
mod share;
mod unconfirmed;

pub(super) use self::share::SharedFate;
use crate::time::MonotonicTime;

/// Applies an input. No input in any state panics, and only a new playback brings a killed session back.
pub fn step(session: &mut Session, now: MonotonicTime, input: Input, policy: &Policy) -> Effects {
    let mut step = Step::new(now, policy);
    match input {
        Input::RetryCall(kind) => step.answer(session.call(now, kind, policy)),
        Input::Disconnected => session.evidence.disconnected(now),
        Input::Answered(ticket, ask, result) => session.answered(ticket, ask, result, &mut step),
        Input::Reconnected => session.evidence.connected(),
        Input::Call(kind) => {
            session.evidence.connected();
            step.answer(session.call(now, kind, policy));
        }
        Input::End(why) => session.end(why, &mut step),
        Input::Followed(fate) => session.followed(fate, &mut step),
        Input::Forgive => session.forgive(&mut step),
        Input::GiveWay => session.give_way(&mut step),
        Input::Kill(reason) => session.kill(reason, &mut step),
        Input::Licensed(until) => {
            session.evidence.licensed(until);
            session.evidence.served();
        }
        Input::Media(media) => session.media(now, media, policy),
        Input::PushedKill { reason, token } => session.pushed_kill(token, reason, &mut step),
        Input::Report(report) => session.report(report, &mut step),
        Input::Restored { orphan } => session.restored(orphan, &mut step),
        Input::Served(served) => session.served(served, &mut step),
        Input::Slept(by) => session.slept(now, by, policy),
        Input::Start => session.start(now),
        Input::Streams(stream) => session.evidence.streams(stream),
        Input::TakeBack => session.take_back(&mut step),
        Input::Tick => session.tick(&mut step),
        Input::Unserved => session.evidence.unserved(),
        Input::Used => session.evidence.served(),
    }
    session.settle(&mut step);
    session.account(&mut step);
    session.check_invariants();
    step.into_effects()
}

impl Session {
    fn call(&mut self, now: MonotonicTime, kind: CallKind, policy: &Policy) -> CallAnswer {
        match &self.state {
            _ if self.gives_way() => self.call_away(now, kind, policy),
            SessionState::Closed { why, .. } => why.remembered_answer(kind),
            SessionState::Closing { why, .. } => ended_answer(*why, kind),
            SessionState::Killed { by, .. } => CallAnswer::Refuse(SessionRefusal::Killed((**by).clone())),
            SessionState::Opening { .. } | SessionState::Waiting { .. } => match kind {
                CallKind::Certificate => CallAnswer::Pass,
                CallKind::Release => CallAnswer::Wait,
                CallKind::License | CallKind::Renewal => self.call_opening(now),
            },
            SessionState::Failing { .. } | SessionState::Live { .. } => self.call_granted(now, kind, policy),
            SessionState::Owing { .. } => self.call_owing(now, kind, policy),
            // Its device's session answers.
            SessionState::Sharing { .. } => {
                self.evidence.heard(now);
                self.evidence.asks(kind);
                CallAnswer::Wait
            }
        }
    }

    /// Answers a call of a granted session. While a call to the authority is in flight, its answer may replace the
    /// token, so the player's call waits.
    fn call_granted(&mut self, now: MonotonicTime, kind: CallKind, policy: &Policy) -> CallAnswer {
        self.evidence.heard(now);
        self.evidence.asks(kind);
        let Some(grant) = self.grant().cloned() else { return CallAnswer::Wait };
        if kind == CallKind::Certificate {
            return CallAnswer::Pass;
        }
        if !self.calls.is_idle() {
            return CallAnswer::Wait;
        }
        self.evidence.call_goes_on();
        match kind {
            CallKind::Renewal if policy.renews => CallAnswer::Renew(grant, self.calls.begin(now, AskKind::Renew)),
            CallKind::Renewal => {
                self.shows_renewal(now, policy);
                CallAnswer::Forward(grant)
            }
            CallKind::Certificate | CallKind::License | CallKind::Release => CallAnswer::Forward(grant),
        }
    }

    fn end(&mut self, why: EndReason, step: &mut Step<'_>) {
        match self.state {
            SessionState::Sharing { .. } | SessionState::Waiting { .. } => self.close(SessionClosure::Ended(why), step),
            SessionState::Opening { .. } | SessionState::Owing { .. } if self.calls.is_idle() => {
                self.close(SessionClosure::Ended(why), step);
            }
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. } => {
                self.enter_releasing(step.now, |release| SessionState::Closing { release, why });
                step.wake();
            }
            SessionState::Closing { .. } | SessionState::Killed { .. }
                if self.lingers() && why == EndReason::Drained =>
            {
                self.close_now(step.now)
            }
            // A presumed end is certain now, and its player no longer takes it back.
            SessionState::Closing { why: EndReason::GaveWay, .. } => {
                self.way_back.forget_unsent();
                self.enter_releasing(step.now, |release| SessionState::Closing { release, why });
            }
            SessionState::Closed { why: SessionClosure::Ended(EndReason::GaveWay), .. } => {
                let until = step.now + self.memory_of(why, step.policy);
                self.enter(|_| SessionState::Closed { until, why: SessionClosure::Ended(why) });
                step.wake();
            }
            SessionState::Closed { .. } | SessionState::Closing { .. } | SessionState::Killed { .. } => {}
        }
    }

    fn start(&mut self, now: MonotonicTime) {
        if self.is_held() {
            self.enter(|_| SessionState::Opening { since: now });
        }
    }

    fn tick(&mut self, step: &mut Step<'_>) {
        self.give_up_call(step);
        match self.state {
            SessionState::Closed { until, .. } | SessionState::Killed { until, .. } => {
                if step.now >= until && self.held().is_none() && self.calls.is_idle() {
                    step.forget();
                }
            }
            SessionState::Closing { .. } | SessionState::Opening { .. } => {}
            SessionState::Waiting { since, .. } => {
                if step.now >= since + step.policy.call_timeout {
                    self.close(SessionClosure::Ended(EndReason::Abandoned), step);
                }
            }
            SessionState::Failing { .. } | SessionState::Live { .. } | SessionState::Sharing { .. } => {
                self.tick_granted(step)
            }
            SessionState::Owing { .. } => self.tick_owing(step),
        }
    }

    fn tick_granted(&mut self, step: &mut Step<'_>) {
        if !self.calls.is_idle() {
            return;
        }
        let over = self.ends(step.policy).find(|(_, at)| at.is_some_and(|at| step.now >= at));
        match over {
            Some((EndReason::Lost, _)) => self.lose(step),
            Some((why, _)) => self.end(why, step),
            None => self.reach(step),
        }
    }

    /// Gives up a call whose answer was lost on sidebeat's side, or it would hold the session for ever.
    fn give_up_call(&mut self, step: &mut Step<'_>) {
        let Some(call) = self.calls.give_up(step.now, step.policy.call_timeout) else { return };
        let reason = Reason::without_reply("the call was given up");
        self.decide(&call, Err(AuthorityFault { kind: FaultKind::Timeout, reason }), step);
    }

    /// Decides the next call to the authority and the next deadline.
    fn settle(&mut self, step: &mut Step<'_>) {
        if self.calls.is_idle() {
            self.next_ask(step);
        }
        self.deadline = Some(match self.calls.in_flight() {
            Some(call) => call.since + step.policy.call_timeout,
            None => self.next_deadline(step.now, step.policy),
        });
    }

    fn next_ask(&mut self, step: &mut Step<'_>) {
        match self.state {
            SessionState::Opening { .. } => self.ask(AskKind::Open, step),
            SessionState::Owing { next, .. } if step.now >= next => self.ask(AskKind::Open, step),
            SessionState::Live { beat, .. } if self.beats_itself() && step.now >= beat && !self.rests(step.policy) => {
                let late = step.now - (beat - self.calls.beat_jitter());
                if late > Policy::MAX_BEAT_LATENESS {
                    step.note(SessionEvent::BeatLate(late));
                }
                self.ask(AskKind::Beat, step);
            }
            SessionState::Failing { retry, .. } if self.beats == BeatSource::Timer && step.now >= retry => {
                self.ask(AskKind::Beat, step);
            }
            SessionState::Closing { release: None, why } => self.close(SessionClosure::Ended(why), step),
            // sidebeat killed it and not the authority, so the grant must still be given back.
            SessionState::Closing { .. } | SessionState::Killed { .. }
                if self.release().is_some_and(|release| step.now >= release.next()) =>
            {
                self.ask(AskKind::Close, step);
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    fn ask(&mut self, kind: AskKind, step: &mut Step<'_>) {
        let ticket = self.calls.begin(step.now, kind);
        step.ask(AuthorityAsk {
            beside: None,
            grant: self.grant().cloned(),
            kind,
            ticket,
            told: self.evidence.told(step.now),
        });
    }

    fn close(&mut self, why: SessionClosure, step: &mut Step<'_>) {
        if self.way_back.stop_returning()
            && let Some(refusal) = Self::is_for_now(&why)
        {
            return self.stay_away(refusal, step);
        }
        let closed = self.over(why, step);
        self.enter(|_| closed);
        step.wake();
    }

    fn close_without_grant(&mut self, forfeit: Forfeit, why: SessionClosure, step: &mut Step<'_>) {
        let closed = self.over(why, step);
        self.enter_without_grant(forfeit, closed);
        step.wake();
    }
}

#[cfg(test)]
mod tests;
