//! Content tokens that have expired: refused here, where the head-end could only say the same.
//!
//! Judged in the authority's own time, and only while that is known: after a start, or after some
//! silence, the head-end judges, and its reply tells the time. Only a call that would open a session
//! is refused; what is running goes on with the token that it has.

use std::time::{Duration, Instant};

use super::asked::Asked;
use super::license::{Ending, Managed, Story};
use super::refusal::{Phase, Turned};
use crate::authority::Authority;
use crate::session::{Answer, AskKind, CallKind, Refusal};
use crate::sessions::Admission;
use crate::telemetry::Outcome;

/// Head-ends have several clocks, and calls take their time.
const LEEWAY: Duration = Duration::from_secs(30);

impl Asked {
    /// How long ago the content token expired, if it is certain that it has. Of a comma list the
    /// first token counts.
    pub(super) fn expired_for(&self, authority: &Authority, now: Instant) -> Option<Duration> {
        let time = authority.time(now)?;
        self.claims.as_ref()?.expired_for(time).filter(|ago| *ago > LEEWAY)
    }
}

impl Story<'_> {
    /// 403 `token_expired`, with the code by which the authority's players know it.
    pub(super) fn refuse_expired(&self, managed: &Managed<'_>, ago: Duration) -> Ending {
        let Managed { authority, call, .. } = managed;
        self.gateway.telemetry.metrics.upstream_call_saved(&self.route.path, "token_expired");
        let turned = Turned {
            code: 403,
            detail: "The content token has expired; play again with a new one.",
            error: "token_expired".to_owned(),
            error_code: authority.expired_code(),
            event: Some(authority.error_name()(AskKind::Open)),
            killed: false,
            message: format!("the content token expired {} s ago", ago.as_secs()),
        };
        (Outcome::Refused, self.turn_away(Phase::of(call.kind), &turned, None))
    }
}

/// Whether this is what the core says to a call that would have opened a session if it could.
pub(super) fn would_open(kind: CallKind, admission: &Admission) -> bool {
    let starts = match kind {
        CallKind::Certificate | CallKind::Release => false,
        CallKind::License | CallKind::Renewal => true,
    };
    starts
        && match &admission.answer {
            Answer::Pass => admission.session.is_none(),
            Answer::Refuse(Refusal::Ended(end)) => kind == CallKind::License || !end.is_wanted(),
            Answer::Forward(_) | Answer::Refuse(_) | Answer::Renew(..) | Answer::Wait => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::secret::Secret;
    use crate::session::{Denial, End, Grant, Reason, Ticket};

    #[test]
    fn only_what_would_open_is_refused() {
        let grant = || Grant { interval: Duration::from_secs(30), lifetime: None, token: Secret::new("x") };
        let (ended, reason) = (|end| Answer::Refuse(Refusal::Ended(end)), || Reason::new(404, Some(3002), "x"));
        let denied = Answer::Refuse(Refusal::Denied(Denial::Limit, reason()));
        let known = Some(SessionId(1));
        let (license, renewal) = (CallKind::License, CallKind::Renewal);
        for (kind, answer, session, expected) in [
            (license, Answer::Pass, None, true),
            (renewal, Answer::Pass, None, true),
            (CallKind::Certificate, Answer::Pass, None, false),
            (CallKind::Release, Answer::Pass, None, false),
            // Not managed by the authority.
            (license, Answer::Pass, known, false),
            (license, ended(End::Stopped), known, true),
            (renewal, ended(End::Stopped), known, false),
            (renewal, ended(End::Lost), known, true),
            (license, denied, known, false),
            (license, Answer::Refuse(Refusal::Killed(reason())), known, false),
            (license, Answer::Forward(grant()), known, false),
            (renewal, Answer::Renew(grant(), Ticket(1)), known, false),
        ] {
            let admission = Admission { answer, session };
            assert_eq!(would_open(kind, &admission), expected, "{kind:?} {:?}", admission.answer);
        }
    }
}
