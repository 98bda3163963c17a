//! Retries the closes of grants without a session: an open that was given up was granted after all.
//!
//! No session knows of them. So their closes are retried here while the authority cannot be reached and may still
//! hold them. The dispatcher uses it; the end of the process waits for the first try only.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::dispatcher::AskAuthority;
use super::pending_releases::PendingRelease;
use super::session_context::SessionContext;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Ticket, Verdict};
use crate::task::Tasks;

/// Pauses between two tries: doubled from the first to the last.
const ORPHAN_CLOSE_RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// No authority is expected to hold a silent session for longer.
const MAX_ORPHAN_CLOSE_TIME: Duration = Duration::from_secs(3600);

/// Closes that are retried at a time. Beyond it, the authority must let its session expire.
pub(super) const MAX_ORPHANED_GRANTS: usize = 4_096;

#[derive(Clone)]
pub(super) struct OrphanedGrants {
    pub(super) asker: Arc<dyn AskAuthority>,
    pub(super) control: Handle,
    pub(super) permits: Arc<Semaphore>,
    pub(super) places: Arc<Semaphore>,
    pub(super) tasks: Tasks,
}

/// True if this ask gives back a grant without a session.
pub(super) fn is_stray(ask: &AuthorityAsk) -> bool {
    ask.kind == AskKind::Close && ask.ticket == Ticket(0)
}

impl OrphanedGrants {
    /// Retries a close if its first try, `result`, was lost. An open waits for the second try and no longer, as with
    /// a session's close.
    pub(super) fn look_after(
        &self,
        ask: AuthorityAsk,
        card: Arc<SessionContext>,
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
        let card = Arc::new(card.without_token());
        let (strays, held) = (self.clone(), ask.grant.as_ref().map(|grant| grant.interval).unwrap_or_default());
        let left = held.saturating_add(card.policy().grace).min(MAX_ORPHAN_CLOSE_TIME);
        let work = async move {
            let _place = place;
            tokio::select! {
                () = strays.tasks.stopped() => {}
                () = strays.close(&ask, &card, closing, left) => {}
            }
        };
        self.tasks.spawn_on(&self.control, work);
    }

    async fn close(&self, ask: &AuthorityAsk, card: &SessionContext, closing: PendingRelease, mut left: Duration) {
        let [mut pause, longest] = ORPHAN_CLOSE_RETRY_PAUSES;
        let mut closing = Some(closing);
        while let Some(rest) = left.checked_sub(pause) {
            tokio::time::sleep(pause).await;
            let _permit = self.permits.acquire().await;
            if !is_lost(&self.asker.ask(ask, card).await) {
                return;
            }
            drop(closing.take());
            (left, pause) = (rest, (pause * 2).min(longest));
        }
    }
}

fn is_lost(result: &Result<Verdict, AuthorityFault>) -> bool {
    result.as_ref().is_err_and(|fault| fault.kind.is_infrastructure())
}
