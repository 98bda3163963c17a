//! Refuses content tokens that have expired or prove nothing, before the head-end is asked.
//!
//! A token has expired only if the authority's clock and this machine's both say so; an embedded authority uses this
//! machine's. If they differ, or the authority's time is not known (after a start or a long silence), the head-end
//! judges, and its reply tells its time. Otherwise one wrong clock would refuse every call that could correct it. The
//! core applies an expiry only to calls that would open a session; running playbacks keep their token.

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
    /// Refuses a token that none of the authority's keys signed.
    pub(in crate::gateway) fn unproven_refusal(&self) -> Option<LicenseRefusal> {
        let body = unproven(self.route.authority.as_deref()?, self.request.identity.token_fault?);
        Some(LicenseRefusal::new(LicensePhase::License, body).noted_of_device())
    }
}
