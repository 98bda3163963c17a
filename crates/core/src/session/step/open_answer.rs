//! Applies the answer to an open: a grant, a denial, or no decision.

use std::time::Duration;

use super::super::effect::{SessionEvent, SessionRefusal};
use super::super::grant::AskKind;
use super::super::grant_release::GrantRelease;
use super::super::held_grant::HeldGrant;
use super::super::session_calls::CallInFlight;
use super::super::state::{BeatSource, Session, SessionClosure, SessionState};
use super::super::verdict::{AuthorityFault, Reason, Verdict};
use super::authority_answer::unexpected;
use super::context::Step;
use crate::session::Enforcement;

impl Session {
    pub(super) fn opened(&mut self, lane: &CallInFlight, result: Result<Verdict, AuthorityFault>, step: &mut Step<'_>) {
        match &mut self.state {
            SessionState::Opening { .. } | SessionState::Owing { .. } => self.opened_in_time(lane, result, step),
            // The player left, or an operator killed it, before the authority decided.
            SessionState::Closing { release, .. } | SessionState::Killed { release, .. } => {
                if let Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _)) = result {
                    self.unconfirmed.decide();
                    *release = Some(GrantRelease::new(step.now, HeldGrant::new(step.now, grant)));
                }
            }
            SessionState::Closed { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    fn opened_in_time(&mut self, lane: &CallInFlight, result: Result<Verdict, AuthorityFault>, step: &mut Step<'_>) {
        match result {
            Ok(Verdict::Granted(grant)) => self.begin(lane, HeldGrant::new(step.now, grant), step),
            Ok(Verdict::Unconfirmed(grant, fault)) => {
                let (after, grant) = (fault.reason.retry_after, HeldGrant::unconfirmed(step.now, grant, &fault));
                step.note(SessionEvent::Failed(AskKind::Open, fault.reason));
                self.begin(lane, grant, step);
                self.miss(lane, after, step);
            }
            Ok(Verdict::Blackout(dark)) => {
                step.note(SessionEvent::Blackout(dark.clone()));
                if step.policy.stop_on_blackout {
                    self.kill_by_authority(dark.into(), step);
                } else {
                    self.close(SessionClosure::Unmanaged, step);
                }
            }
            // The lost session may still hold the place.
            Ok(Verdict::Denied(denial, reason))
                if denial.may_pass()
                    && self.unconfirmed.is_reopening(step.now)
                    && !self.unconfirmed.was_reopened_silently() =>
            {
                step.note(SessionEvent::Failed(AskKind::Open, reason));
                self.reopen_later(step.now);
            }
            Ok(Verdict::Denied(denial, reason)) if denial.may_pass() && self.way_back.is_returning() => {
                step.note(SessionEvent::Failed(AskKind::Open, reason.clone()));
                self.stay_away(Some(SessionRefusal::Denied(denial, reason)), step);
            }
            Ok(Verdict::Denied(denial, reason)) => {
                step.note(SessionEvent::Failed(AskKind::Open, reason.clone()));
                self.close(SessionClosure::Denied(denial, reason.into()), step);
            }
            Ok(Verdict::Disabled) => self.close(SessionClosure::Unmanaged, step),
            Ok(Verdict::Killed(reason) | Verdict::Unknown(reason)) => {
                step.note(SessionEvent::Failed(AskKind::Open, reason.clone()));
                self.kill_by_authority(Reason { killed_on: Some(AskKind::Open), ..reason }.into(), step);
            }
            Ok(Verdict::Alive { .. } | Verdict::Closed | Verdict::Gone(_)) => self.owe(unexpected(), step),
            Err(fault) => self.owe(fault, step),
        }
    }

    fn begin(&mut self, lane: &CallInFlight, grant: HeldGrant, step: &mut Step<'_>) {
        self.granted(lane, grant.interval(), step);
        self.enter(|_| SessionState::Live { beat: step.now, grant });
        let due = self.beat_after_sleep(step.now, step.now, lane.slept(), step.policy);
        if let SessionState::Live { beat, .. } = &mut self.state {
            *beat = due;
        }
    }

    fn granted(&mut self, lane: &CallInFlight, interval: Duration, step: &mut Step<'_>) {
        // The signs of its player since it gave way keep counting.
        if !self.way_back.is_returning() {
            self.evidence.shows_itself_anew();
        }
        self.way_back.opened();
        step.note(SessionEvent::Opened { interval });
        self.unconfirmed.decide();
        self.confirmation.confirm(step.now, lane.since, lane.slept());
        // A retried open of an owing session is no sign of its player: no call waits for it.
        if matches!(self.state, SessionState::Opening { .. }) {
            self.evidence.heard(step.now);
        }
        if step.policy.enforcement == Enforcement::Renewal && step.policy.renews {
            self.beats = BeatSource::Renewals { every: None };
        }
    }
}
