//! What a playback's player shows of itself: licenses that last, releases, stops, reports, messages.
//!
//! Called by `gateway`. What it means for the session is the core's to say.

use std::sync::Arc;
use std::time::Duration;

use super::Sessions;
use super::card::DeviceKey;
use super::table::Seat;
use crate::eme::{self, Mirror};
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{End, Farewell, Input, Playing, Report, Served, Stream};

impl Sessions {
    /// The player was given a license: what it says of renewals, and how long it lasts, none where that is
    /// unknown or for ever.
    pub fn licensed(
        self: &Arc<Self>,
        key: DeviceKey,
        id: SessionId,
        served: Served,
        (key_session, lasts): (Fingerprint, Option<Duration>),
    ) {
        self.notice_sleep();
        self.with(key, |device, out| {
            let Some(playback) = device.playback_mut(id) else { return };
            let (now, policy) = (self.clock.now(), &playback.card.card.policy());
            device.deliver(id, now, Input::Served(served), policy, out);
            device.licensed(id, now, key_session, lasts, policy, out);
        });
    }

    /// The player released a license; the playback ends with its last one.
    pub fn release(self: &Arc<Self>, key: DeviceKey, id: SessionId, key_session: Option<Fingerprint>) {
        let last = self.with(key, |device, _| device.release(id, key_session));
        if last && self.policy(key, id).is_some_and(|policy| policy.endings.release) {
            self.deliver(key, id, Input::End(End::Released));
        }
    }

    /// Ends the playback of this content token, or all of the device's without one, where stop calls
    /// are believed. Returns how many.
    pub fn stop(self: &Arc<Self>, key: DeviceKey, token: Option<Fingerprint>) -> usize {
        let playing = self.playing(key, token).into_iter();
        playing.filter(|id| self.leave(key, *id, token, Farewell::Stop)).count()
    }

    fn leave(self: &Arc<Self>, key: DeviceKey, id: SessionId, token: Option<Fingerprint>, how: Farewell) -> bool {
        self.notice_sleep();
        self.with(key, |device, out| {
            let Some(policy) = device.playback_mut(id).map(|playback| playback.card.card.policy()) else {
                return false;
            };
            device.leave(id, self.clock.now(), token, how, &policy, out)
        })
    }

    /// What a player tells about itself: about the playback of this content token, or about its only
    /// one. A report that fits several shows no more than life, and of each: else one of them would
    /// fall silent when another begins.
    pub fn report(self: &Arc<Self>, key: DeviceKey, token: Option<Fingerprint>, report: Report) {
        let playing = self.playing(key, token);
        let report = match (playing.len(), report.playing) {
            (..2, _) => report,
            (_, Playing::Done | Playing::Fails | Playing::Quit) => return,
            (_, Playing::Buffers | Playing::Paused | Playing::Plays | Playing::Seeks | Playing::Unsaid) => {
                Report { by_interval: false, playing: Playing::Unsaid, ..Report::default() }
            }
        };
        for id in playing {
            match report.playing {
                Playing::Quit => drop(self.leave(key, id, token, Farewell::Quit(report))),
                Playing::Buffers
                | Playing::Done
                | Playing::Fails
                | Playing::Paused
                | Playing::Plays
                | Playing::Seeks
                | Playing::Unsaid => drop(self.deliver(key, id, Input::Report(report))),
            }
        }
    }

    /// Somebody other than the player knows what this playback is of.
    pub fn streams(self: &Arc<Self>, key: DeviceKey, id: SessionId, stream: Stream) -> bool {
        self.deliver(key, id, Input::Streams(stream))
    }

    /// A message of one of its key sessions was seen: `look` tells the mirror, at this wall time.
    pub fn see(
        self: &Arc<Self>,
        key: DeviceKey,
        id: SessionId,
        look: impl FnOnce(&mut Mirror, Duration) -> Option<eme::Happening>,
    ) {
        self.table.with(key, |Seat { device, .. }| {
            let Some(playback) = device.playback_mut(id) else { return };
            let wall = self.clock.wall();
            if let Some(happening) = look(&mut playback.card.mirror, wall) {
                playback.card.timeline.add_eme(wall, happening);
            }
        });
    }
}
