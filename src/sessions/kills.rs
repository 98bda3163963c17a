//! Applies kills: refuses calls besides those of the killed playback, and takes a kill back for an operator.

use std::sync::Arc;

use super::device_table::SessionEntry;
use super::{DeviceKey, Sessions};
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{CallNames, Device, EndReason, Input, Reason, Session};

impl Sessions {
    /// The reason of a kill that refuses a call without a session. `key` is the caller's device, if known.
    pub fn killed(self: &Arc<Self>, authority: &str, key: Option<DeviceKey>, names: &CallNames) -> Option<Reason> {
        let elsewhere = self.killed_elsewhere(authority, key, names);
        let Some(key) = key else { return elsewhere };
        let here = self.table.look(key, |device| (device.kill_of(names).cloned(), device.plays_by(names)));
        let (killed, plays) = here.unwrap_or_default();
        killed.or(elsewhere.filter(|_| !plays))
    }

    /// The reason why the playback of one of these tokens was killed at another device. A playback of this device
    /// that had the token before goes on: see [`Device::plays_by`].
    pub(super) fn killed_elsewhere(
        self: &Arc<Self>,
        authority: &str,
        key: Option<DeviceKey>,
        names: &CallNames,
    ) -> Option<Reason> {
        let holders = names.tokens().flat_map(|token| self.killed_tokens.of(authority, token));
        let mut others = holders.filter(|(holder, _)| Some(*holder) != key);
        others.find_map(|(holder, id)| self.killed_by(holder, id))
    }

    /// Kills this session for an operator, with all playbacks of its device that share a token. Returns those others;
    /// `None` if the session is forgotten and nothing is killed.
    pub fn kill(self: &Arc<Self>, key: DeviceKey, id: SessionId, by: Reason) -> Option<Vec<SessionId>> {
        self.notice_sleep();
        self.with(key, |device, out| {
            let card = device.playback_mut(id)?.card.card.clone();
            let mut others = device.alike(id);
            others.retain(|other| !device.is_killed(*other));
            device.deliver(id, self.clock.now(), Input::Kill(by), &card.policy(), out);
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
            let Some((id, card)) = found.map(|playback| (playback.id, playback.card.card.clone())) else {
                return false;
            };
            let input = Input::PushedKill { reason: reason.clone(), token };
            device.deliver(id, self.clock.now(), input, &card.policy(), out);
            true
        })
    }

    /// Ends this session for an operator. False if it was over before; `None` if it is forgotten.
    pub fn teardown(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<bool> {
        self.notice_sleep();
        self.with(key, |device, out| {
            let playback = device.playback_mut(id)?;
            let (card, goes_on) = (playback.card.card.clone(), !playback.session.is_killed() && !playback.is_over());
            device.deliver(id, self.clock.now(), Input::End(EndReason::Stopped), &card.policy(), out);
            Some(goes_on)
        })
    }

    /// The reason to refuse a call of this session after all: it, or a token of the call, was killed meanwhile.
    pub fn killed_under(self: &Arc<Self>, key: DeviceKey, id: SessionId, names: &CallNames) -> Option<Reason> {
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
            let follows = playback.session.killed_by().is_some_and(Reason::follows_token);
            if follows && !playback.card.tokens_killed && !playback.is_device_session() {
                self.killed_tokens.add(&playback.card.card.authority_name, key, playback.id, playback.killed_tokens());
                playback.card.tokens_killed = true;
            }
        }
    }
}
