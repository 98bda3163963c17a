//! Finds the device that plays with a content token, for callers that name only the token.
//!
//! A page's beacon cannot set headers, so it may name another device than its license call did. Its token is the
//! proof: this index finds the running playbacks with it. An entry goes with its playback, so the index is as large
//! as the number of sessions. Locked after a device, and never while one is read.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::device_table::SessionEntry;
use super::kills::TokenName;
use super::{DeviceKey, Sessions};
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::Device;

/// Playbacks of one token that are examined. With more of them none is the only one.
const MAX_HOLDERS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct TokenIndex(Mutex<BTreeSet<(TokenName, DeviceKey, SessionId)>>);

/// The tokens of a playback in the index.
#[derive(Debug)]
pub(super) struct IndexedTokens {
    id: SessionId,
    index: Arc<TokenIndex>,
    key: DeviceKey,
    tokens: Box<[(Fingerprint, TokenName)]>,
}

impl TokenIndex {
    /// Devices with playbacks of this token; none if there are more than [`MAX_HOLDERS`].
    pub(super) fn devices(&self, authority: &str, token: Fingerprint) -> Vec<DeviceKey> {
        let name = TokenName::of(authority, token);
        let holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = holders.range((name, DeviceKey(u64::MIN), SessionId(u64::MIN))..);
        let of_name = of_name.take_while(|(of, ..)| *of == name).map(|(_, key, _)| *key).take(MAX_HOLDERS + 1);
        let mut devices: Vec<_> = of_name.collect();
        if devices.len() > MAX_HOLDERS {
            return Vec::new();
        }
        devices.dedup();
        devices
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl IndexedTokens {
    fn new(index: Arc<TokenIndex>, key: DeviceKey, id: SessionId) -> Self {
        Self { id, index, key, tokens: Box::default() }
    }

    /// Updates the entry after a step; mostly nothing has changed.
    fn update(&mut self, authority: &str, tokens: impl Iterator<Item = Fingerprint> + Clone) {
        if tokens.clone().eq(self.tokens.iter().map(|(token, _)| *token)) {
            return;
        }
        let tokens = tokens.map(|token| (token, TokenName::of(authority, token))).collect();
        let before = std::mem::replace(&mut self.tokens, tokens);
        let mut holders = self.index.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, name) in before {
            holders.remove(&(name, self.key, self.id));
        }
        holders.extend(self.tokens.iter().map(|(_, name)| (*name, self.key, self.id)));
    }
}

impl Drop for IndexedTokens {
    fn drop(&mut self) {
        let mut holders = self.index.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, name) in &*self.tokens {
            holders.remove(&(*name, self.key, self.id));
        }
    }
}

impl Sessions {
    /// The device that a caller with this content token means: the named one if it plays with the token, else the
    /// only device that does. `None` if none or several do, because the token alone cannot tell them apart.
    pub fn device_of_token(
        self: &Arc<Self>,
        authority: &str,
        named: Option<DeviceKey>,
        token: Fingerprint,
    ) -> Option<DeviceKey> {
        if let Some(named) = named.filter(|key| self.plays_with(*key, token)) {
            return Some(named);
        }
        let devices = self.token_index.devices(authority, token).into_iter();
        let mut devices = devices.filter(|key| self.plays_with(*key, token));
        devices.next().filter(|_| devices.next().is_none())
    }

    /// Updates the index after a step of the device.
    pub(super) fn index_tokens(&self, key: DeviceKey, device: &mut Device<SessionEntry>) {
        for playback in device.playbacks_mut().filter(|playback| !playback.is_device_session()) {
            let mut indexed = playback.entry.indexed_tokens.take();
            if indexed.is_none() && playback.goes_on() && playback.tokens().next().is_some() {
                indexed = Some(IndexedTokens::new(self.token_index.clone(), key, playback.id));
            }
            if let Some(indexed) = indexed.as_mut().filter(|_| playback.goes_on()) {
                indexed.update(&playback.entry.context.authority_name, playback.tokens());
            }
            playback.entry.indexed_tokens = indexed.filter(|_| playback.goes_on());
        }
    }
}
