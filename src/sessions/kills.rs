//! Kills as calls meet them: which calls they refuse beside those of the killed playback, and how an operator takes
//! one back.

use std::sync::Arc;

use super::table::Kept;
use super::{DeviceKey, Sessions};
use crate::ids::SessionId;
use crate::session::{CallNames, Device, Input, Reason};

impl Sessions {
    /// Why a call that belongs to no session is refused, if a kill says so. `key`: the caller's device, if anything
    /// names it.
    pub fn killed(self: &Arc<Self>, authority: &str, key: Option<DeviceKey>, names: &CallNames) -> Option<Reason> {
        let elsewhere = self.killed_elsewhere(authority, key, names);
        let Some(key) = key else { return elsewhere };
        self.with(key, |device, _| match device.kill_of(names) {
            Some(reason) => Some(reason.clone()),
            None => elsewhere.filter(|_| !device.plays_by(names)),
        })
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

    /// False when there was no kill to take back.
    pub fn forgive(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> bool {
        let killed = self.killed_by(key, id).is_some();
        if killed {
            self.deliver(key, id, Input::Forgive);
            // Its time is over: nothing is left to remember.
            self.deliver(key, id, Input::Tick);
        }
        killed
    }

    /// Keeps the index as the device is after this step.
    pub(super) fn mark_killed(&self, key: DeviceKey, device: &mut Device<Kept>) {
        for playback in device.playbacks_mut() {
            let follows = playback.session.killed_by().is_some_and(Reason::follows_token);
            if follows && !playback.card.tokens_killed {
                self.killed_tokens.add(&playback.card.card.authority_name, key, playback.id, playback.tokens());
                playback.card.tokens_killed = true;
            }
        }
    }
}
