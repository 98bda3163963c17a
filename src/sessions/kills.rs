//! Applies kills: refuses calls besides those of the killed playback, and takes a kill back for an operator.
//!
//! A device remembers its own kills. An index of content tokens, across devices, finds a kill when its token comes with
//! another device. It holds only names; the playback itself knows whether its kill still holds. An entry goes with its
//! playback, so the index is as large as the number of remembered kills. Locked after a device, and never while another
//! one is read.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Sessions;
use super::device_table::SessionEntry;
use super::session_context::DeviceKey;
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{CallNames, Device, EndReason, Input, Reason, Session, SessionKill};

impl Sessions {
    /// A kill that refuses a call without a session. `key` is the caller's device, if known.
    pub fn killed(self: &Arc<Self>, authority: &str, key: Option<DeviceKey>, names: &CallNames) -> Option<SessionKill> {
        let elsewhere = self.killed_elsewhere(authority, key, names);
        let Some(key) = key else { return elsewhere };
        let here = self.table.look(key, |device| (device.kill_of(names).cloned(), device.plays_by(names)));
        let (killed, plays) = here.unwrap_or_default();
        killed.or(elsewhere.filter(|_| !plays))
    }

    /// The kill of the playback of one of these tokens at another device. A playback of this device
    /// that had the token before goes on: see [`Device::plays_by`].
    pub(super) fn killed_elsewhere(
        self: &Arc<Self>,
        authority: &str,
        key: Option<DeviceKey>,
        names: &CallNames,
    ) -> Option<SessionKill> {
        let holders = names.tokens().flat_map(|token| self.killed_tokens.of(authority, token));
        let mut others = holders.filter(|(holder, _)| Some(*holder) != key);
        others.find_map(|(holder, id)| self.killed_by(holder, id))
    }

    /// Kills this session for an operator, with all playbacks of its device that share a token. Returns those others;
    /// `None` if the session is forgotten and nothing is killed.
    pub fn kill(self: &Arc<Self>, key: DeviceKey, id: SessionId, by: SessionKill) -> Option<Vec<SessionId>> {
        self.notice_sleep();
        self.with(key, |device, out| {
            let context = device.playback_mut(id)?.entry.context.clone();
            let mut others = device.alike(id);
            others.retain(|other| !device.is_killed(*other));
            device.deliver(id, self.clock.now().into(), Input::Kill(by), &context.policy(), out);
            others.retain(|other| device.is_killed(*other));
            Some(others)
        })
    }

    /// Delivers a kill that the authority pushed for the device's session with this grant token. False if there is
    /// none.
    pub fn kill_pushed(self: &Arc<Self>, key: DeviceKey, token: Fingerprint, reason: &Reason) -> bool {
        self.notice_sleep();
        self.with(key, |device, out| {
            let has = |session: &Session| session.grant().is_some_and(|grant| grant.token.fingerprint() == token);
            let found = device.playbacks_mut().find(|playback| has(&playback.session));
            let Some((id, context)) = found.map(|playback| (playback.id, playback.entry.context.clone())) else {
                return false;
            };
            let input = Input::PushedKill { reason: reason.clone(), token };
            device.deliver(id, self.clock.now().into(), input, &context.policy(), out);
            true
        })
    }

    /// Ends this session for an operator. False if it was over before; `None` if it is forgotten.
    pub fn teardown(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<bool> {
        self.notice_sleep();
        self.with(key, |device, out| {
            let playback = device.playback_mut(id)?;
            let (context, goes_on) =
                (playback.entry.context.clone(), !playback.session.is_killed() && !playback.is_over());
            device.deliver(id, self.clock.now().into(), Input::End(EndReason::Stopped), &context.policy(), out);
            Some(goes_on)
        })
    }

    /// The kill that refuses a call of this session after all: it, or a token of the call, was killed meanwhile.
    pub fn killed_under(self: &Arc<Self>, key: DeviceKey, id: SessionId, names: &CallNames) -> Option<SessionKill> {
        let killed = |device: &Device<SessionEntry>| {
            let killed = device.playback(id).and_then(|playback| playback.session.killed_by());
            killed.or_else(|| device.killed_with(names)).cloned()
        };
        self.table.look(key, killed)?
    }

    /// Takes a kill back, for all playbacks that it reached. False if there was none.
    pub fn forgive(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> bool {
        let killed = self.killed_by(key, id).is_some();
        if killed {
            let alike = self.table.look(key, |device| {
                let mut alike = device.alike(id);
                alike.retain(|other| device.is_killed(*other));
                alike
            });
            let mut killed = alike.unwrap_or_default();
            killed.push(id);
            for id in killed {
                self.deliver(key, id, Input::Forgive);
            }
            // The memory of all kills that shared the token has expired.
            let forgiven = self.table.look(key, |device| {
                let killed = device.playbacks().iter().filter(|playback| playback.session.is_killed());
                killed.map(|playback| playback.id).collect::<Vec<_>>()
            });
            for id in forgiven.into_iter().flatten() {
                self.deliver(key, id, Input::Tick);
            }
        }
        killed
    }

    /// Updates the index after a step of the device.
    pub(super) fn mark_killed(&self, key: DeviceKey, device: &mut Device<SessionEntry>) {
        for playback in device.playbacks_mut() {
            let follows = playback.session.killed_by().is_some_and(SessionKill::follows_token);
            if follows && !playback.entry.tokens_killed && !playback.is_device_session() {
                self.killed_tokens.add(
                    &playback.entry.context.authority_name,
                    key,
                    playback.id,
                    playback.killed_tokens(),
                );
                playback.entry.tokens_killed = true;
            }
        }
    }
}

/// A content token at one authority.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct TokenName(u64);

impl TokenName {
    pub(super) fn of(authority: &str, token: Fingerprint) -> Self {
        Self(Fingerprint::of_parts(&[authority.as_bytes(), &token.get().to_be_bytes()]).get())
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
