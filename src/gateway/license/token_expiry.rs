//! Content tokens that have expired: refused here, where the head-end could only say the same.
//!
//! Judged by the authority's own time and by this machine's: where only one of them says so, or the authority's is not known, as after a
//! start or some silence, the head-end judges, and its reply tells the time. One wrong date would else refuse
//! everybody whose call could correct it. An embedded authority goes by this machine's. That only a call that would open a
//! session is refused is the core's rule; what is running goes on with the token that it has.

use std::time::Duration;

use super::request::LicenseRequest;
use super::{CallOutcome, LicenseCall, ManagedCall};
use crate::authority::Authority;
use crate::clock::Clock;
use crate::gateway::refusal::token_faults::unproven;
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::session::AskKind;
use crate::telemetry::Outcome;

/// Head-ends have several clocks, and calls take their time.
const LEEWAY: Duration = Duration::from_secs(30);

impl LicenseRequest {
    /// How long ago the content token expired, if it is certain that it has. Of a comma list the
    /// first token counts.
    pub(in crate::gateway) fn expired_for(&self, authority: &Authority, clock: Clock) -> Option<Duration> {
        let time = authority.time(clock)?;
        let leeway = authority.token_leeway().unwrap_or(LEEWAY);
        self.identity.claims.as_ref()?.expired_for(time).filter(|ago| *ago > leeway)
    }
}

impl LicenseCall<'_> {
    /// 403 `token_expired`, with the code by which the authority's players know it.
    pub(in crate::gateway) fn refuse_expired(&self, managed: &ManagedCall<'_>) -> CallOutcome {
        let ManagedCall { authority, call, expired, .. } = managed;
        self.gateway.telemetry.metrics.upstream_call_saved(&self.route.path, "token_expired");
        let turned = RefusalBody {
            comes_again: None,
            code: 403,
            detail: "The content token has expired; play again with a new one.",
            error: "token_expired".to_owned(),
            error_code: authority.expired_code(),
            event: Some(authority.error_name()(AskKind::Open)),
            help: None,
            killed: false,
            message: format!("the content token expired {} s ago", expired.unwrap_or_default().as_secs()),
        };
        (Outcome::Refused, self.turn_away(LicensePhase::of(call.kind), &turned, None))
    }

    pub(in crate::gateway) fn turn_unproven_away(&self) -> Option<CallOutcome> {
        let turned = unproven(self.route.authority.as_deref()?, self.request.identity.token_fault?);
        self.note_refused(turned.message.clone());
        Some((Outcome::Refused, self.turn_away(LicensePhase::License, &turned, None)))
    }
}
