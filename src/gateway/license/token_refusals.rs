//! Content tokens that have expired: refused here, where the head-end could only say the same.
//!
//! Judged by the authority's own time and by this machine's: where only one of them says so, or the authority's is not known, as after a
//! start or some silence, the head-end judges, and its reply tells the time. One wrong date would else refuse
//! everybody whose call could correct it. An embedded authority goes by this machine's. That only a call that would open a
//! session is refused is the core's rule; what is running goes on with the token that it has.

use super::call::{LicenseCall, ManagedCall};
use super::refuse::LicenseRefusal;
use crate::gateway::refusal::token_faults::unproven;
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::session::AskKind;

impl ManagedCall<'_> {
    /// 403 `token_expired`, with the code by which the authority's players know it.
    pub(in crate::gateway) fn expired_refusal(&self) -> LicenseRefusal {
        let Self { authority, call, expired, .. } = self;
        let body = RefusalBody {
            comes_again: None,
            code: 403,
            detail: "The content token has expired; play again with a new one.",
            error: "token_expired".to_owned(),
            error_code: authority.expired_code(),
            event: Some(authority.error_name()(AskKind::Open)),
            help: None,
            killed: false,
            message: format!("the content token expired {} s ago", expired.unwrap_or_default().as_secs()),
            taken_by: None,
        };
        LicenseRefusal::new(LicensePhase::of(call.kind), body)
    }
}

impl LicenseCall<'_> {
    /// Where the authority has keys, a token that none of them signed is refused before anything is asked for it.
    pub(in crate::gateway) fn unproven_refusal(&self) -> Option<LicenseRefusal> {
        let body = unproven(self.route.authority.as_deref()?, self.request.identity.token_fault?);
        Some(LicenseRefusal::new(LicensePhase::License, body).noted_of_device())
    }
}
