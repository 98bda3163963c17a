//! Reads answers to opens that come after their call was given up, so that their grants can be given back.

use std::sync::Arc;
use std::time::Duration;

use super::{AuthorityClient, infrastructure};
use crate::authority::Authority;
use crate::authority::exchange::AuthorityRequest;
use crate::session::{AskKind, AuthorityFault, Verdict};
use crate::sessions::{LateGrant, SessionContext};
use crate::upstream::{LateReply, UpstreamReply};

/// Time for which a late answer is awaited. An authority holds a silent session about as long, so a later grant need
/// not be given back.
const MAX_LATE_WAIT: Duration = Duration::from_secs(60);

impl AuthorityClient {
    pub(super) async fn send_patiently(
        &self,
        request: AuthorityRequest<'_>,
        kind: AskKind,
        timeout: Duration,
    ) -> (Result<UpstreamReply, AuthorityFault>, Option<LateReply>) {
        let (call, hold) = match self.call(request, kind, timeout) {
            Ok(call) => call,
            Err(fault) => return (Err(fault), None),
        };
        let endpoint = call.endpoint;
        let (held, late) = self.pool.send_held_patiently(call, hold, MAX_LATE_WAIT).await;
        (held.outcome.map_err(|fault| infrastructure(&fault, endpoint)), late)
    }

    /// Resolves to the grant in the late reply to this open.
    pub(super) fn late_grant(&self, late: LateReply, authority: Arc<Authority>, card: &SessionContext) -> LateGrant {
        let (client, card) = (self.clone(), card.without_token());
        Box::pin(async move {
            let reply = late.reply().await?;
            match client.read(&authority, AskKind::Open, &card, &reply) {
                Ok(Verdict::Granted(grant)) => Some(grant),
                Ok(_) | Err(_) => None,
            }
        })
    }
}
