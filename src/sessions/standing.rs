//! Whether the media of a playback may flow, and who is told when it may no longer.
//!
//! Asked for every manifest and segment of a media route, so it looks at one device and copies nothing of a
//! playback that goes on.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::futures::OwnedNotified;

use super::{DeviceKey, Kept, Sessions};
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{Input, Playback, Refusal, Report, State};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// No session is known by this token: none was opened yet, or it is forgotten.
    Absent,
    /// It may flow.
    Goes,
    /// It may not. With a kill comes its time.
    Over(Refusal, Option<Instant>),
}

/// What a request for media tells.
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    pub live: bool,
    /// What the player said of itself with it.
    pub report: Option<Report>,
}

impl Sessions {
    /// How the newest playback of this token stands.
    pub fn standing(self: &Arc<Self>, key: DeviceKey, token: Fingerprint) -> Standing {
        self.with(key, |device, _| {
            let newest = device.playbacks().iter().rev().find(|playback| playback.has_token(token));
            newest.map_or(Standing::Absent, standing)
        })
    }

    /// The player asks for media of this playback, which proves its life if it may have it.
    pub fn fetched(self: &Arc<Self>, key: DeviceKey, token: Fingerprint, fetched: Fetched) -> Standing {
        let (id, standing) = self.with(key, |device, _| {
            let newest = device.playbacks().iter().rev().find(|playback| playback.has_token(token));
            newest.map_or((None, Standing::Absent), |playback| (Some(playback.id), standing(playback)))
        });
        if let (Some(id), Standing::Goes) = (id, &standing) {
            self.note_media(key, id, fetched);
        }
        standing
    }

    /// Resolves when something has changed for this device, which may be that the playback is over. None:
    /// nothing is known of it.
    pub fn change(self: &Arc<Self>, key: DeviceKey, token: Fingerprint) -> Option<OwnedNotified> {
        self.with_wake(key, |device, wake, _| {
            let known = device.playbacks().iter().any(|playback| playback.has_token(token));
            // Made under the lock under which every wake happens, so that none is missed from now on.
            known.then(|| wake.clone().notified_owned())
        })
    }

    fn note_media(self: &Arc<Self>, key: DeviceKey, id: SessionId, fetched: Fetched) {
        self.deliver(key, id, Input::Media { live: fetched.live });
        if let Some(report) = fetched.report {
            self.deliver(key, id, Input::Report(report));
        }
    }
}

fn standing(playback: &Playback<Kept>) -> Standing {
    match playback.session.state() {
        State::Closed { why, .. } => why.refusal().map_or(Standing::Goes, |refusal| Standing::Over(refusal, None)),
        State::Closing { why, .. } => Standing::Over(Refusal::Ended(*why), None),
        State::Failing { .. } | State::Live { .. } | State::Opening { .. } => Standing::Goes,
        State::Killed { by, until } => {
            let since = until.checked_sub(playback.card.card.policy.kill_memory);
            Standing::Over(Refusal::Killed(by.clone()), since)
        }
    }
}
