//! Indexes the content tokens of killed playbacks, across devices.
//!
//! A device remembers its own kills. This index finds a kill when its token comes with another device. It holds only
//! names; the playback itself knows whether its kill still holds. An entry goes with its playback, so the index is as
//! large as the number of remembered kills. Locked after a device, and never while another one is read.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::session_context::DeviceKey;
use crate::ids::SessionId;
use crate::secret::Fingerprint;

/// A content token at one authority.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct TokenName(u64);

impl TokenName {
    pub(super) fn of(authority: &str, token: Fingerprint) -> Self {
        Self(Fingerprint::of_parts(&[authority.as_bytes(), &token.0.to_be_bytes()]).0)
    }
}

#[derive(Debug, Default)]
pub(super) struct KilledTokens(RwLock<KilledNames>);

#[derive(Debug, Default)]
struct KilledNames {
    of_session: HashMap<SessionId, Vec<TokenName>>,
    of_token: HashMap<TokenName, Vec<(DeviceKey, SessionId)>>,
}

impl KilledTokens {
    /// Adds the tokens of a killed playback.
    pub(super) fn add(
        &self,
        authority: &str,
        key: DeviceKey,
        id: SessionId,
        tokens: impl Iterator<Item = Fingerprint>,
    ) {
        let names: Vec<_> = tokens.map(|token| TokenName::of(authority, token)).collect();
        let mut killed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        killed.remove(id);
        for name in &names {
            killed.of_token.entry(*name).or_default().push((key, id));
        }
        if !names.is_empty() {
            killed.of_session.insert(id, names);
        }
    }

    /// Removes a playback that is forgotten or whose kill was taken back.
    pub(super) fn remove(&self, id: SessionId) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).of_session.contains_key(&id);
        if known {
            self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
    }

    /// Killed playbacks of this token.
    pub(super) fn of(&self, authority: &str, token: Fingerprint) -> Vec<(DeviceKey, SessionId)> {
        let killed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if killed.of_token.is_empty() {
            return Vec::new();
        }
        killed.of_token.get(&TokenName::of(authority, token)).cloned().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let killed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        killed.of_session.is_empty() && killed.of_token.is_empty()
    }
}

impl KilledNames {
    fn remove(&mut self, id: SessionId) {
        for name in self.of_session.remove(&id).into_iter().flatten() {
            let Some(holders) = self.of_token.get_mut(&name) else { continue };
            holders.retain(|(_, holder)| *holder != id);
            if holders.is_empty() {
                self.of_token.remove(&name);
            }
        }
    }
}
