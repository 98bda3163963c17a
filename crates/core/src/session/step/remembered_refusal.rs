//! Remembers how a session ended, so that a player that asks again at once gets the same answer without a call to the
//! authority.
//!
//! [`Session::over`] says for how long, [`SessionClosure::remembered_answer`] what a call is answered until then. A kill is
//! remembered by the state [`SessionState::Killed`]; across sessions, `sessions::kills` finds it by token and by name.

use super::super::effect::{CallAnswer, SessionEvent, SessionRefusal};
use super::super::end_reason::EndReason;
use super::super::player_call::CallKind;
use super::super::state::{Session, SessionClosure, SessionState};
use super::context::Step;

impl SessionClosure {
    pub(super) fn remembered_answer(&self, kind: CallKind) -> CallAnswer {
        match self {
            Self::Denied(denial, reason) => CallAnswer::Refuse(SessionRefusal::Denied(*denial, (**reason).clone())),
            Self::Ended(why) => ended_answer(*why, kind),
            Self::Unmanaged => CallAnswer::Pass,
            Self::Spent { fault, .. } | Self::Unreachable(fault) => {
                CallAnswer::Refuse(SessionRefusal::Unreachable((**fault).clone()))
            }
        }
    }
}

/// The answer of a session that has ended, or whose close is under way.
pub(super) fn ended_answer(why: EndReason, kind: CallKind) -> CallAnswer {
    match kind {
        // The call is the first of a coming playback, or the last of an ended one.
        CallKind::Certificate | CallKind::Release => CallAnswer::Pass,
        CallKind::License | CallKind::Renewal => CallAnswer::Refuse(SessionRefusal::Ended(why)),
    }
}

impl Session {
    /// Closes it, and sets how long that is remembered.
    pub(super) fn over(&self, why: SessionClosure, step: &mut Step<'_>) -> SessionState {
        let memory = match &why {
            // It has played: its token stays refused, as after a kill.
            SessionClosure::Denied(..) if self.unconfirmed.is_running() => step.policy.kill_memory,
            SessionClosure::Denied(..) => step.policy.refusal_memory,
            SessionClosure::Ended(end) => self.memory_of(*end, step.policy),
            SessionClosure::Unmanaged => step.policy.end_memory,
            SessionClosure::Spent { .. } => step.policy.kill_memory,
            SessionClosure::Unreachable(_) => step.policy.undecided_memory(),
        };
        match &why {
            SessionClosure::Denied(denial, reason) => step.note(SessionEvent::Refused(*denial, (**reason).clone())),
            SessionClosure::Ended(end) if self.sharing => step.note(SessionEvent::Left(*end)),
            SessionClosure::Ended(end) => step.note(SessionEvent::Closed(*end)),
            SessionClosure::Unmanaged => step.note(SessionEvent::Unmanaged),
            // The failed call was reported already, or the loss of the running playback.
            SessionClosure::Spent { .. } | SessionClosure::Unreachable(_) => {}
        }
        SessionState::Closed { until: step.now + memory, why }
    }
}
