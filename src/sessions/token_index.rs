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

/// The tokens of a playback in the index. Most have one.
#[derive(Debug, Default)]
pub(super) struct IndexedTokens {
    first: Option<IndexedToken>,
    more: Option<Box<[IndexedToken]>>,
}

#[derive(Clone, Copy, Debug)]
struct IndexedToken {
    name: TokenName,
    token: Fingerprint,
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
    /// Updates the entry after a step; mostly nothing has changed.
    pub(super) fn update(
        &mut self,
        index: &TokenIndex,
        authority: &str,
        (key, id): (DeviceKey, SessionId),
        tokens: impl Iterator<Item = Fingerprint> + Clone,
    ) {
        if tokens.clone().eq(self.tokens().map(|indexed| indexed.token)) {
            return;
        }
        self.remove(index, (key, id));
        let mut tokens = tokens.map(|token| IndexedToken { name: TokenName::of(authority, token), token });
        self.first = tokens.next();
        self.more = Some(tokens.collect::<Box<[_]>>()).filter(|more| !more.is_empty());
        let mut holders = index.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders.extend(self.tokens().map(|indexed| (indexed.name, key, id)));
    }

    /// Takes the tokens out of the index.
    pub(super) fn remove(&mut self, index: &TokenIndex, (key, id): (DeviceKey, SessionId)) {
        let before = std::mem::take(self);
        if before.first.is_none() {
            return;
        }
        let mut holders = index.0.lock().unwrap_or_else(PoisonError::into_inner);
        for indexed in before.tokens() {
            holders.remove(&(indexed.name, key, id));
        }
    }

    fn tokens(&self) -> impl Iterator<Item = IndexedToken> {
        self.first.iter().chain(self.more.iter().flatten()).copied()
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
        let devices = self.index.tokens.devices(authority, token).into_iter();
        let mut devices = devices.filter(|key| self.plays_with(*key, token));
        devices.next().filter(|_| devices.next().is_none())
    }

    /// Updates the index after a step of the device.
    pub(super) fn index_tokens(&self, device: &mut Device<SessionEntry>) {
        for playback in device.playbacks_mut().filter(|playback| !playback.is_device_session()) {
            // Every playback is in the index of sessions by now, and its tokens go with it.
            let Some(mut indexed) = playback.entry.indexed.take() else { continue };
            let goes_on = playback.goes_on();
            indexed.hold_tokens(&playback.entry.context.authority_name, playback.tokens().filter(|_| goes_on));
            playback.entry.indexed = Some(indexed);
        }
    }
}
