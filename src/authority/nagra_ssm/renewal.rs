//! Sends a player's renewal to SSM, which counts it as a beat, and learns its path: the documented and the observed
//! one differ. A reload forgets it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{SsmDialect, license};
use crate::authority::client::{AskContext, RenewalAnswer, is_no_path, naming, unspeakable};
use crate::config::EndpointUrl;
use crate::session::{Grant, Verdict};

#[derive(Debug, Default)]
pub(super) struct LearnedRenewalPath {
    /// The path in use has brought an answer of the session service.
    has_worked: AtomicBool,
    /// The other path has answered.
    use_other: AtomicBool,
}

impl SsmDialect {
    /// The path for renewals, and the one to try if that is not found.
    fn renewal_paths(&self) -> (&EndpointUrl, Option<&EndpointUrl>) {
        match &self.config.renewal_other {
            Some(other) if self.renewal_path.use_other.load(Ordering::Relaxed) => (other, Some(&self.config.renewal)),
            other => (&self.config.renewal, other.as_ref()),
        }
    }

    /// Uses this path from now on. Taking it by name keeps two calls that find out at once from undoing each other.
    fn keep_renewal_path(&self, endpoint: &EndpointUrl) {
        self.renewal_path.use_other.store(!std::ptr::eq(endpoint, &self.config.renewal), Ordering::Relaxed);
    }

    pub(super) async fn renew_at_either(
        &self,
        context: AskContext<'_>,
        grant: &Grant,
        challenge: &[u8],
    ) -> RenewalAnswer {
        let permit = match context.permit() {
            Ok(permit) => permit,
            Err(fault) => return RenewalAnswer::failed(fault),
        };
        let (usual, other) = self.renewal_paths();
        let mut renewal = self.renew_at(usual, context, grant, challenge).await;
        if let Some(other) = other.filter(|_| is_no_path(&renewal.result)) {
            let elsewhere = self.renew_at(other, context, grant, challenge).await;
            let has_worked = self.renewal_path.has_worked.load(Ordering::Relaxed);
            // A path that has worked may have replaced the token. Then an unknown session at the other path proves
            // nothing.
            if matches!(elsewhere.result, Ok(Verdict::Alive { .. })) || !has_worked {
                renewal = elsewhere;
                if !is_no_path(&renewal.result) {
                    self.keep_renewal_path(other);
                }
            }
        }
        if renewal.result.is_ok() {
            self.renewal_path.has_worked.store(true, Ordering::Relaxed);
        }
        context.tell(permit, &renewal.result);
        context.count(&renewal.result);
        renewal
    }

    async fn renew_at(
        &self,
        endpoint: &EndpointUrl,
        context: AskContext<'_>,
        grant: &Grant,
        challenge: &[u8],
    ) -> RenewalAnswer {
        let Some(request) = self.config.renew(endpoint, grant, challenge) else {
            return RenewalAnswer::failed(unspeakable("the token cannot stand in a header"));
        };
        match context.send(request, self.config.timeout).await {
            Ok(reply) => RenewalAnswer {
                license: license(&reply.body),
                result: context.read(&reply).map_err(|fault| naming(fault, endpoint)),
            },
            Err(fault) => RenewalAnswer::failed(fault),
        }
    }
}
