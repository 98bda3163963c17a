//! Takes evidence about players: licenses, releases, stops, reports, messages.
//!
//! `gateway` calls it. The core decides what it means for the session.

use std::sync::Arc;
use std::time::Duration;

use super::Sessions;
use super::device_table::{DeviceEntry, SessionEntry};
use super::session_context::{DeviceKey, SessionContext};
use crate::config::Enforcement;
use crate::eme::{self, Mirror};
use crate::ids::SessionId;
use crate::secret::{Fingerprint, Secret};
use crate::session::{
    Device, EndReason, FarewellSignal, Input, LicenseFeedback, PlayerCall, PlayerReport, PlayingState, StreamType,
};

impl Sessions {
    /// The player got a license. `served` tells of its renewals, `lasts` how long it is valid; `None` if unknown or
    /// perpetual.
    pub fn licensed(
        self: &Arc<Self>,
        key: DeviceKey,
        id: SessionId,
        served: LicenseFeedback,
        (key_session, lasts): (Fingerprint, Option<Duration>),
    ) {
        self.notice_sleep();
        self.with(key, |device, out| {
            let Some(playback) = device.playback_mut(id) else { return };
            let (now, policy) = (self.clock.now(), &playback.entry.context.policy());
            device.deliver(id, now.into(), Input::Served(served), policy, out);
            device.licensed(id, now.into(), key_session, lasts, policy, out);
        });
    }

    /// The license server gave a license to this call, or the origin media, so the names in the call belong to the
    /// playback.
    pub fn accept(self: &Arc<Self>, key: DeviceKey, id: SessionId, call: &PlayerCall) {
        self.with(key, |device, _| device.accept(id, call));
    }

    /// Like [`Self::accept`], for a call that only the authority has seen.
    pub fn accept_renewal(self: &Arc<Self>, key: DeviceKey, id: SessionId, call: &PlayerCall) {
        self.with(key, |device, _| device.accept_renewal(id, call));
    }

    /// The player released a license; the playback ends with its last one.
    pub fn release(self: &Arc<Self>, key: DeviceKey, id: SessionId, key_session: Option<Fingerprint>) {
        let last = self.with(key, |device, _| device.release(id, key_session));
        if last && self.policy(key, id).is_some_and(|policy| policy.endings.release) {
            self.deliver(key, id, Input::End(EndReason::Released));
        }
    }

    /// Ends the playback of this content token or, without one, all playbacks of the device that began without one.
    /// Does nothing where stop calls are not believed. Returns how many ended.
    pub fn stop(self: &Arc<Self>, key: DeviceKey, token: Option<Fingerprint>) -> usize {
        let playing = self.playing(key, token).into_iter();
        playing.filter(|id| self.leave(key, *id, token, FarewellSignal::Stop)).count()
    }

    pub(super) fn leave(
        self: &Arc<Self>,
        key: DeviceKey,
        id: SessionId,
        token: Option<Fingerprint>,
        how: FarewellSignal,
    ) -> bool {
        self.notice_sleep();
        self.with(key, |device, out| {
            let Some(policy) = device.playback_mut(id).map(|playback| playback.entry.context.policy()) else {
                return false;
            };
            device.leave(id, self.clock.now().into(), token, how, &policy, out)
        })
    }

    /// A player's report, about the playback of this content token or about the device's only one. If several fit, it
    /// counts only as a sign of life for each; otherwise one would fall silent when another begins.
    pub fn report(self: &Arc<Self>, key: DeviceKey, token: Option<Fingerprint>, report: PlayerReport) {
        let playing = self.playing(key, token);
        let report = match (playing.len(), report.playing) {
            (..2, _) => report,
            (_, PlayingState::Done | PlayingState::Fails | PlayingState::Quit) => return,
            (
                _,
                PlayingState::Buffers
                | PlayingState::Paused
                | PlayingState::Plays
                | PlayingState::Seeks
                | PlayingState::Unsaid,
            ) => PlayerReport {
                by_interval: false,
                of_several: true,
                playing: PlayingState::Unsaid,
                ..PlayerReport::default()
            },
        };
        for id in playing {
            match report.playing {
                PlayingState::Quit => drop(self.leave(key, id, token, FarewellSignal::Quit(report))),
                PlayingState::Buffers
                | PlayingState::Done
                | PlayingState::Fails
                | PlayingState::Paused
                | PlayingState::Plays
                | PlayingState::Seeks
                | PlayingState::Unsaid => drop(self.deliver(key, id, Input::Report(report))),
            }
        }
    }

    /// Notes the playback's stream type, told by another source than the player.
    pub fn streams(self: &Arc<Self>, key: DeviceKey, id: SessionId, stream: StreamType) -> bool {
        self.deliver(key, id, Input::Streams(stream))
    }

    /// The content token that opened the session.
    pub fn content_token(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<Secret> {
        self.table.with(key, |DeviceEntry { device, .. }| device.playback_mut(id)?.entry.context.token.clone())
    }

    /// Context of the newest playback of this token.
    pub fn context(self: &Arc<Self>, key: DeviceKey, token: Fingerprint) -> Option<Arc<SessionContext>> {
        let context = |device: &Device<SessionEntry>| {
            let newest = device.playbacks().iter().rev().find(|playback| playback.has_token(token))?;
            Some(newest.entry.context.clone())
        };
        self.table.look(key, context).flatten()
    }

    /// Account of the newest playback of this token.
    pub fn account(self: &Arc<Self>, key: DeviceKey, token: Fingerprint) -> Option<String> {
        let account = |device: &Device<SessionEntry>| {
            let newest = device.playbacks().iter().rev().find(|playback| playback.has_token(token))?;
            newest.entry.context.account.as_deref().map(str::to_owned)
        };
        self.table.look(key, account).flatten()
    }

    /// Notes the outcome of a license call in the timeline.
    pub fn note_call(self: &Arc<Self>, key: DeviceKey, id: SessionId, what: String) {
        self.table.with(key, |DeviceEntry { device, .. }| {
            if let Some(playback) = device.playback_mut(id) {
                // Many calls come to the same.
                let what = self.call_outcomes.shared(&what.into());
                playback.entry.timeline.add_call(self.clock.wall(), what);
            }
        });
    }

    /// True if the operator must be warned of the session's licenses: once, and only while the player's renewals are
    /// its beats.
    pub fn warns_of_escapes(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> bool {
        self.table.with(key, |DeviceEntry { device, .. }| {
            let Some(playback) = device.playback_mut(id) else { return false };
            let policy = playback.entry.context.policy();
            let renewals_carry = policy.renews && policy.enforcement != Enforcement::Heartbeat;
            renewals_carry && !std::mem::replace(&mut playback.entry.escapes_told, true)
        })
    }

    /// Shows a message of a key session to the mirror, with the wall time.
    pub fn see(
        self: &Arc<Self>,
        key: DeviceKey,
        id: SessionId,
        look: impl FnOnce(&mut Mirror, Duration) -> Option<eme::EmeEvent>,
    ) {
        self.table.with(key, |DeviceEntry { device, .. }| {
            let Some(playback) = device.playback_mut(id) else { return };
            let wall = self.clock.wall();
            if let Some(happening) = look(&mut playback.entry.mirror, wall) {
                playback.entry.timeline.add_eme(wall, happening);
            }
            playback.entry.mirror.share_keys(|keys| self.key_lists.shared(keys));
        });
    }
}
