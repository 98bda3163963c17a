//! Places that are being given back, by account: who is told "limit reached" may only have to wait for one.
//!
//! A household that stops one stream and starts another is not over its limit, but the two calls can
//! overtake each other. A place is on its way back from the moment at which its session ends, though a
//! beat may have to be answered first or a lost close be tried again: so each closing session holds one
//! of these. Owned by the pump; the authority stays the only one who counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::session_context::{AuthorityId, SessionContext};
use crate::secret::Fingerprint;

/// An account at an authority.
type ReleaseAccount = (AuthorityId, String);

#[derive(Default)]
pub(super) struct PendingReleases {
    /// How many each account has, and what is cancelled with the last one. Who waits is woken in the order
    /// of waiting.
    under_way: Arc<Mutex<HashMap<ReleaseAccount, (usize, CancellationToken)>>>,
}

/// A place on its way back, until this is dropped.
#[derive(Debug)]
pub(super) struct PendingRelease {
    account: ReleaseAccount,
    of: Arc<Mutex<HashMap<ReleaseAccount, (usize, CancellationToken)>>>,
}

/// Resolves when the account gives nothing back any more.
pub(super) struct ReleasesSettled(CancellationToken);

impl ReleasesSettled {
    pub(super) async fn wait(self) {
        self.0.cancelled().await;
    }
}

impl PendingReleases {
    /// To be held while a place of this card's account is on its way back.
    pub(super) fn begin(&self, card: &SessionContext) -> PendingRelease {
        let account = account(card);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.entry(account.clone()).or_default().0 += 1;
        PendingRelease { account, of: self.under_way.clone() }
    }

    /// None if the account gives nothing back.
    pub(super) fn of(&self, card: &SessionContext) -> Option<ReleasesSettled> {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.get(&account(card)).map(|(_, settled)| ReleasesSettled(settled.clone()))
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

/// By what the accounts of a device's playbacks are told from each other.
pub(super) fn account_name(card: &SessionContext) -> Option<Fingerprint> {
    card.account.as_ref().map(|account| Fingerprint::of(account.as_bytes()))
}

/// A device without an account is its own.
pub(super) fn account(card: &SessionContext) -> ReleaseAccount {
    (card.authority, card.account.clone().unwrap_or_else(|| card.device.clone()))
}
