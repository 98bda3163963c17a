//! Counts slots that are being given back, by account: after "limit reached" an open may only have to wait for one.
//!
//! A household that stops one stream and starts another is within its limit, but the two calls can overtake each
//! other. A slot counts from the end of its session, though a beat may have to be answered first or a lost close
//! retried; each closing session holds a [`PendingRelease`]. The dispatcher owns them; only the authority counts
//! sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::session_context::{AuthorityId, SessionContext};
use crate::secret::Fingerprint;

/// An account at an authority.
type ReleaseAccount = (AuthorityId, Box<str>);

#[derive(Default)]
pub(super) struct PendingReleases {
    /// Number of releases per account, and the token that is cancelled with the last one. Waiting opens are woken in
    /// the order of their waiting.
    under_way: Arc<Mutex<HashMap<ReleaseAccount, (usize, CancellationToken)>>>,
}

/// A slot that is being given back, until this is dropped.
#[derive(Debug)]
pub(super) struct PendingRelease {
    account: ReleaseAccount,
    of: Arc<Mutex<HashMap<ReleaseAccount, (usize, CancellationToken)>>>,
}

/// Resolves when the account gives no slot back any more.
pub(super) struct ReleasesSettled(CancellationToken);

impl ReleasesSettled {
    pub(super) async fn wait(self) {
        self.0.cancelled().await;
    }
}

impl PendingReleases {
    /// Counts a slot of this context's account until the result is dropped.
    pub(super) fn begin(&self, context: &SessionContext) -> PendingRelease {
        let account = account(context);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.entry(account.clone()).or_default().0 += 1;
        PendingRelease { account, of: self.under_way.clone() }
    }

    /// `None` if the account gives no slot back.
    pub(super) fn of(&self, context: &SessionContext) -> Option<ReleasesSettled> {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.get(&account(context)).map(|(_, settled)| ReleasesSettled(settled.clone()))
    }
}

impl Drop for PendingRelease {
    fn drop(&mut self) {
        let mut under_way = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, settled)) = under_way.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                settled.cancel();
                under_way.remove(&self.account);
            }
        }
    }
}

/// Tells the accounts of a device's playbacks apart.
pub(super) fn account_name(context: &SessionContext) -> Option<Fingerprint> {
    context.account.as_ref().map(|account| Fingerprint::of(account.as_bytes()))
}

/// A device without an account counts as one.
pub(super) fn account(context: &SessionContext) -> ReleaseAccount {
    (context.authority, context.account.clone().unwrap_or_else(|| context.device.clone()))
}
