//! Kills as calls meet them: which calls they refuse beside those of the killed playback, and how an operator takes
//! one back.

use std::sync::Arc;

use super::device_table::SessionEntry;
use super::{DeviceKey, Sessions};
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{CallNames, Device, EndReason, Input, Reason, Session};

impl Sessions {
    /// Why a call that belongs to no session is refused, if a kill says so. `key`: the caller's device, if anything
    /// names it.
    pub fn killed(self: &Arc<Self>, authority: &str, key: Option<DeviceKey>, names: &CallNames) -> Option<Reason> {
        let elsewhere = self.killed_elsewhere(authority, key, names);
        let Some(key) = key else { return elsewhere };
        let here = self.table.look(key, |device| (device.kill_of(names).cloned(), device.plays_by(names)));
        let (killed, plays) = here.unwrap_or_default();
        killed.or(elsewhere.filter(|_| !plays))
    }

    /// Why the playback of one of these tokens was killed at another device. A playback of this device that had the
    /// token before goes on by itself: see [`Device::plays_by`].
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

    /// An operator kills this session, and with it whatever else of its device plays by a token of it. Returns those
    /// others; none where it is forgotten, and nothing is killed.
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

    /// Delivers a kill that the authority pushed to the session of the device that has this token. False where there is
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

    /// An operator gives its place back. False where it was over before; none where it is forgotten.
    pub fn teardown(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<bool> {
        self.notice_sleep();
        self.with(key, |device, out| {
            let playback = device.playback_mut(id)?;
            let (card, goes_on) = (playback.card.card.clone(), !playback.session.is_killed() && !playback.is_over());
            device.deliver(id, self.clock.now(), Input::End(EndReason::Stopped), &card.policy(), out);
            Some(goes_on)
        })
    }

    /// Why a call of this session is refused though it was answered otherwise: it, or a token that the call brings, was
    /// killed meanwhile.
    pub fn killed_under(self: &Arc<Self>, key: DeviceKey, id: SessionId, names: &CallNames) -> Option<Reason> {
        let killed = |device: &Device<SessionEntry>| {
            let killed = device.playback(id).and_then(|playback| playback.session.killed_by());
            killed.or_else(|| device.killed_with(names)).cloned()
        };
        self.table.look(key, killed)?
    }

    /// Takes a kill back, of all that it reached. False when there was none.
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
            // The time of all that shared the kill is over: nothing is left to remember.
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

    /// Keeps the index as the device is after this step.
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
