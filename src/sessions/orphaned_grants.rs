//! Strays: grants that no session has, because an open that was given up was granted after all.
//!
//! Nobody else knows of them. So their closes are tried again here, while the authority cannot be reached and
//! may still hold them. Used by the pump; the end of the process waits for the first try alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::dispatcher::AskAuthority;
use super::pending_releases::PendingRelease;
use super::session_context::SessionContext;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Ticket, Verdict};
use crate::task::Tasks;

/// Between two tries: doubled from the first to the last.
const ORPHAN_CLOSE_RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// No authority is believed to hold a silent session for longer.
const MAX_ORPHAN_CLOSE_TIME: Duration = Duration::from_secs(3600);

/// Closes that are tried again at a time; beyond it, an authority lets its own expire.
pub(super) const MAX_ORPHANED_GRANTS: usize = 4_096;

#[derive(Clone)]
pub(super) struct OrphanedGrants {
    pub(super) asker: Arc<dyn AskAuthority>,
    pub(super) control: Handle,
    pub(super) permits: Arc<Semaphore>,
    pub(super) places: Arc<Semaphore>,
    pub(super) tasks: Tasks,
}

/// Whether this ask gives back what no session has.
pub(super) fn is_stray(ask: &AuthorityAsk) -> bool {
    ask.kind == AskKind::Close && ask.ticket == Ticket(0)
}

impl OrphanedGrants {
    /// `result`: of the close's first try. As with a session's, an open waits for the second one and no longer.
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
            // The authority lets it expire, as after a longer outage.
            return;
        };
        // Giving back needs no content token.
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
