//! Gives back grants without a session: an open that was given up was granted after all.
//!
//! Otherwise its slot would be taken until the authority lets it expire. No session knows of such a grant. So its close is
//! retried here while the authority cannot be reached and may still hold it. If the answer to the open never comes, the
//! grant cannot be given back where a close needs the session's own token. Where the token is the authorization's own
//! (FirstLight), an open without an answer is a session and is closed like one. The dispatcher uses it; the end of the
//! process waits for the first try only.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Sessions;
use super::dispatcher::{AskAuthority, LateGrant};
use super::pending_releases::PendingRelease;
use super::session_context::SessionContext;
use crate::session::{AuthorityAsk, AuthorityFault, PlayerFacts, Ticket, Verdict};
use crate::task::{HeldPlace, Tasks};
use crate::time::Backoff;

/// Pauses between two tries: doubled from the first to the last.
const ORPHAN_CLOSE_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// No authority is expected to hold a silent session for longer.
const MAX_ORPHAN_CLOSE_TIME: Duration = Duration::from_secs(3600);

/// Closes that are retried at a time. Beyond it, the authority must let its session expire.
pub(super) const MAX_ORPHANED_GRANTS: usize = 4_096;

#[derive(Clone)]
pub(super) struct OrphanedGrants {
    pub(super) client: Arc<dyn AskAuthority>,
    pub(super) control: Handle,
    pub(super) permits: Arc<Semaphore>,
    pub(super) places: Arc<Semaphore>,
    pub(super) tasks: Tasks,
}

/// True if this ask gives back a grant without a session.
pub(super) fn is_orphaned(ask: &AuthorityAsk) -> bool {
    ask.ticket == Ticket::OrphanedGrant
}

impl OrphanedGrants {
    /// Retries a close if its first try, `result`, was lost. An open waits for the second try and no longer, as with
    /// a session's close.
    pub(super) fn look_after(
        &self,
        ask: AuthorityAsk,
        context: Arc<SessionContext>,
        closing: PendingRelease,
        result: &Result<Verdict, AuthorityFault>,
    ) {
        if !is_lost(result) {
            return;
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            // The authority lets the session expire, as after a longer outage.
            return;
        };
        // Closing needs no content token.
        let context = Arc::new(context.without_token());
        let (orphaned_grants, held) =
            (self.clone(), ask.grant.as_ref().map(|grant| grant.interval).unwrap_or_default());
        let left = held.saturating_add(context.policy().grace).min(MAX_ORPHAN_CLOSE_TIME);
        let work = async move {
            let _place = place;
            tokio::select! {
                () = orphaned_grants.tasks.stopped() => {}
                () = orphaned_grants.close(&ask, &context, closing, left) => {}
            }
        };
        self.tasks.spawn_on(&self.control, work);
    }

    async fn close(&self, ask: &AuthorityAsk, context: &SessionContext, closing: PendingRelease, mut left: Duration) {
        let mut closing = Some(closing);
        for pause in (0..).map(|pauses| ORPHAN_CLOSE_BACKOFF.after(pauses)) {
            let Some(rest) = left.checked_sub(pause) else { return };
            tokio::time::sleep(pause).await;
            let _permit = self.permits.acquire().await;
            if !is_lost(&self.client.ask(ask, context).await) {
                return;
            }
            drop(closing.take());
            left = rest;
        }
    }
}

fn is_lost(result: &Result<Verdict, AuthorityFault>) -> bool {
    result.as_ref().is_err_and(|fault| fault.kind.is_infrastructure())
}

impl Sessions {
    /// Waits for the late grant and closes it. `place` is that of the call that caused the open. An open of the same
    /// account that meets the limit meanwhile waits for the slot. The end of the process waits for this as for any
    /// call.
    pub(super) fn give_late_grant_back(
        self: &Arc<Self>,
        late: LateGrant,
        context: &Arc<SessionContext>,
        place: Option<HeldPlace>,
    ) {
        let (sessions, context) = (self.clone(), Arc::new(context.without_token()));
        let closing = self.dispatcher.pending_releases().begin(&context);
        self.dispatcher.track(async move {
            let _until_done = place;
            let Some(grant) = late.await else { return };
            let (telemetry, authority) = (&sessions.telemetry, &*context.authority_name);
            telemetry.metrics.late_grant(&context.authority_name);
            if telemetry.may_write_about("late grants", authority) {
                tracing::info!(authority, "a session was granted after its open had been given up: it is given back");
            }
            sessions
                .dispatcher
                .give_back(AuthorityAsk::giving_back(grant, PlayerFacts::default()), context, closing)
                .await;
        });
    }
}
