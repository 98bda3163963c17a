//! Runs a playback on credit: it goes on without the authority's decision, for as long as its policy allows.
//!
//! A running playback keeps its last grant, and is on credit from the time at which the authority must have let that
//! expire. A new one has no grant: it owes its open, which is tried again and again. Both end with any decision of the
//! authority, or with the budget.

use std::time::Duration;

use super::super::effect::{CallAnswer, SessionEvent};
use super::super::end_reason::EndReason;
use super::super::player_call::CallKind;
use super::super::policy::Policy;
use super::super::state::{Forfeit, Session, SessionClosure, SessionState};
use super::super::verdict::AuthorityFault;
use super::context::Step;
use crate::session::OnUnreachable;
use crate::time::MonotonicTime;

impl Session {
    /// The open failed; the playback owes it from now on if it may have credit.
    pub(super) fn owe(&mut self, fault: AuthorityFault, step: &mut Step<'_>) {
        let (ran, since, tries) = if let SessionState::Owing { ran, since, tries, .. } = self.state {
            (ran, since, tries.saturating_add(1))
        } else {
            (false, step.now, 0)
        };
        let until = self
            .owes_until(step.policy)
            .unwrap_or_else(|| step.now + self.evidence.allowed(&step.policy.on_unreachable.new));
        // An undecided answer gives no credit, and takes none away.
        let owing = matches!(self.state, SessionState::Owing { .. });
        if !(owing || fault.kind.is_unanswered()) || self.unconfirmed.is_spent() || until <= step.now {
            return self.close_unreachable(fault, step);
        }
        let next = self.next_open(step.now, tries);
        self.enter(|_| SessionState::Owing { next, ran, since, tries });
    }

    pub(super) fn next_open(&self, now: MonotonicTime, tries: u8) -> MonotonicTime {
        self.unconfirmed.next_open(now, tries, |most| self.calls.jitter(most))
    }

    /// The authority is back and has let the session of a playback expire meanwhile: it opens another.
    pub(super) fn owe_again(&mut self, now: MonotonicTime, since: MonotonicTime) {
        self.enter_without_grant(Forfeit::Gone, SessionState::Owing { next: now, ran: true, since, tries: 0 });
    }

    /// The silence of the authority exceeds this policy. The authority has let it expire by its own rule, so there is
    /// no grant to give back.
    pub(super) fn lose(&mut self, step: &mut Step<'_>) {
        let why = if self.credit_from(step.policy).is_some() {
            self.out_of_credit(AuthorityFault::spent(), step)
        } else {
            SessionClosure::Ended(EndReason::Lost)
        };
        self.close_without_grant(Forfeit::Expired, why, step);
    }

    fn close_unreachable(&mut self, fault: AuthorityFault, step: &mut Step<'_>) {
        let why = self.out_of_credit(fault, step);
        self.close(why, step);
    }

    fn out_of_credit(&self, fault: AuthorityFault, step: &mut Step<'_>) -> SessionClosure {
        let ran = matches!(self.state, SessionState::Failing { .. } | SessionState::Owing { ran: true, .. });
        if ran {
            step.note(SessionEvent::Closed(EndReason::Lost));
        }
        let again = step.now + step.policy.undecided_memory();
        let spent = ran || self.unconfirmed.is_spent() || self.unconfirmed.is_running();
        if spent {
            SessionClosure::Spent { again, fault: fault.into() }
        } else {
            SessionClosure::Unreachable(fault.into())
        }
    }

    pub(super) fn tick_owing(&mut self, step: &mut Step<'_>) {
        if !self.calls.is_idle() {
            return;
        }
        let over = |(_, at): &(EndReason, Option<MonotonicTime>)| at.is_some_and(|at| step.now >= at);
        if let Some((why, _)) = self.ends(step.policy).find(over) {
            self.end(why, step);
        } else if self.budget_ends(step.policy).is_some_and(|at| step.now >= at) {
            self.close_unreachable(AuthorityFault::spent(), step);
        } else {
            self.reach(step);
        }
    }

    /// Without a session no token can be replaced during the call, so no call waits. Only a reopening session is worth
    /// the wait: it usually opens within a moment.
    pub(super) fn call_owing(&mut self, now: MonotonicTime, kind: CallKind, policy: &Policy) -> CallAnswer {
        self.evidence.asks(kind);
        match kind {
            CallKind::Certificate => return CallAnswer::Pass,
            CallKind::License | CallKind::Release => self.evidence.heard(now),
            CallKind::Renewal => {
                self.evidence.heard(now);
                self.shows_renewal(now, policy);
            }
        }
        if self.unconfirmed.is_reopening(now) { CallAnswer::Wait } else { CallAnswer::Pass }
    }

    /// Time at which an owing session is given up. A reopening one has the time that its last try takes.
    pub(super) fn budget_ends(&self, policy: &Policy) -> Option<MonotonicTime> {
        let until = self.owes_until(policy)?;
        Some(if self.unconfirmed.reopens_until() == Some(until) { until + policy.call_timeout } else { until })
    }

    /// Time until which an owing session needs its open: the end of its credit, or the expiry of its lost session.
    fn owes_until(&self, policy: &Policy) -> Option<MonotonicTime> {
        let SessionState::Owing { ran, since, .. } = self.state else { return None };
        let OnUnreachable { new, running } = &policy.on_unreachable;
        let credit = self.evidence.spare(since + self.evidence.allowed(if ran { running } else { new }));
        Some(self.unconfirmed.reopens_until().map_or(credit, |until| until.max(credit)))
    }

    /// True if its credit is spent, and the authority has not decided since.
    pub(in super::super) fn has_spent(&self) -> bool {
        let SessionState::Closed { why, .. } = &self.state else { return self.unconfirmed.is_spent() };
        match why {
            SessionClosure::Spent { .. } => true,
            SessionClosure::Denied(..) | SessionClosure::Unmanaged => false,
            SessionClosure::Ended(_) | SessionClosure::Unreachable(_) => self.unconfirmed.is_spent(),
        }
    }

    /// Time for which such an end is remembered. A spent budget is remembered as long as any, so that the next playback
    /// gets no other one.
    pub(in super::super) fn memory_of(&self, end: EndReason, policy: &Policy) -> Duration {
        let memory = policy.memory_of(end);
        if self.unconfirmed.is_spent() { memory.max(policy.kill_memory) } else { memory }
    }

    /// Time from which on a session with lost beats is on credit, if it may be.
    pub(super) fn credit_from(&self, policy: &Policy) -> Option<MonotonicTime> {
        let failing = matches!(self.state, SessionState::Failing { .. });
        (failing && self.runs_on(policy)).then(|| self.confirmed_until(policy))
    }

    /// True if a playback of its kind may continue without the authority's word.
    fn runs_on(&self, policy: &Policy) -> bool {
        !self.evidence.allowed(&policy.on_unreachable.running).is_zero()
    }

    /// Time of the next try of a lost beat; on credit less often, and scattered.
    pub(super) fn retry_beat(&self, now: MonotonicTime, missed: u8, policy: &Policy) -> MonotonicTime {
        let pause = policy.retry_after(missed);
        now + if self.unconfirmed.is_running() { pause + self.calls.jitter(pause * 3) } else { pause }
    }

    /// Sends the waiting close now, because the process ends.
    pub(super) fn close_now(&mut self, now: MonotonicTime) {
        if let Some(release) = self.release_mut().and_then(Option::as_mut) {
            release.try_now(now);
        }
    }

    /// Keeps the account of credit: reports its start, and its end with its length.
    pub(super) fn account(&mut self, step: &mut Step<'_>) {
        if !matches!(self.state, SessionState::Owing { .. }) {
            self.unconfirmed.stop_reopening();
        }
        match self.state {
            SessionState::Failing { .. } | SessionState::Owing { .. } if self.unconfirmed.is_running() => {}
            SessionState::Owing { .. } if self.unconfirmed.is_reopening(step.now) => {}
            SessionState::Owing { ran, since, .. } => step.note(self.unconfirmed.begin(since, ran)),
            SessionState::Failing { .. } => {
                if let Some(from) = self.credit_from(step.policy).filter(|from| step.now >= *from) {
                    step.note(self.unconfirmed.begin(from, true));
                }
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => {
                self.unconfirmed.settle(step.now).into_iter().for_each(|event| step.note(event));
            }
        }
    }
}
