//! Which device plays by a content token, for those who name the token alone.
//!
//! A beacon of a page can set no header, so it may name another device than its license call did. Its token is the
//! proof: this index finds the playbacks that go on by it. An entry goes with its playback, so the index is as large as
//! the sessions are many. Locked after a device, and never while one is looked at.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::device_table::SessionEntry;
use super::killed_tokens::TokenName;
use super::{DeviceKey, Sessions};
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::Device;

/// Playbacks of one token that a call looks at; with more of them nobody is the only one.
const MAX_HOLDERS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct TokenIndex(Mutex<BTreeSet<(TokenName, DeviceKey, SessionId)>>);

/// The tokens of a playback that stand in the index.
#[derive(Debug)]
pub(super) struct IndexedTokens {
    id: SessionId,
    index: Arc<TokenIndex>,
    key: DeviceKey,
    tokens: Vec<(Fingerprint, TokenName)>,
}

impl TokenIndex {
    /// The devices of this token's playbacks; none where there are more than [`MAX_HOLDERS`].
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
        Self { id, index, key, tokens: Vec::new() }
    }

    /// Said after every step, and mostly nothing new.
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
        for (_, name) in &self.tokens {
            holders.remove(&(*name, self.key, self.id));
        }
    }
}

impl Sessions {
    /// Whose playback is meant by who brings this content token: that of the device that the caller names, if it plays
    /// by the token; else that of the only device that does. None where nobody plays by it, or several others do: which
    /// of them is meant, the token alone does not say.
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

    /// Keeps the index as the device is after this step.
    pub(super) fn index_tokens(&self, key: DeviceKey, device: &mut Device<SessionEntry>) {
        for playback in device.playbacks_mut().filter(|playback| !playback.is_device_session()) {
            let mut indexed = playback.card.indexed_tokens.take();
            if indexed.is_none() && playback.goes_on() && playback.tokens().next().is_some() {
                indexed = Some(IndexedTokens::new(self.token_index.clone(), key, playback.id));
            }
            if let Some(indexed) = indexed.as_mut().filter(|_| playback.goes_on()) {
                indexed.update(&playback.card.card.authority_name, playback.tokens());
            }
            playback.card.indexed_tokens = indexed.filter(|_| playback.goes_on());
        }
    }
}
