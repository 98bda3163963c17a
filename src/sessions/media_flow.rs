//! Whether the media of a playback may flow, and who is told when it may no longer.
//!
//! Asked for every manifest and segment of a media route, so it looks at one device alone.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::futures::OwnedNotified;

use super::device_table::DeviceEntry;
use super::{DeviceKey, SessionEntry, Sessions};
use crate::registrations::Registration;
use crate::session::{Input, MediaFetch, MediaNames, Playback, PlayerReport, SessionRefusal, SessionState};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MediaFlow {
    /// No session is known by this token: none was opened yet, or it is forgotten.
    Absent,
    /// It may flow.
    Goes,
    /// It may not. With a kill comes its time.
    Over(SessionRefusal, Option<Instant>),
}

/// What a request for media tells.
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    pub media: MediaFetch,
    /// What the player said of itself with it.
    pub report: Option<PlayerReport>,
}

impl Sessions {
    /// Whether the media of these names may flow.
    pub fn flow(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>) -> MediaFlow {
        let names = names.into();
        self.table.look(key, |device| device.playback_of_media(&names).map(flow)).flatten().unwrap_or(MediaFlow::Absent)
    }

    /// The player asks for media of this playback, which proves its life if it may have it.
    pub fn fetched(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>, fetched: Fetched) -> MediaFlow {
        let names = names.into();
        self.notice_sleep();
        self.with(key, |device, out| {
            let Some(playback) = device.playback_of_media(&names) else { return MediaFlow::Absent };
            let flow = flow(playback);
            if flow == MediaFlow::Goes {
                let (id, now, policy) = (playback.id, self.clock.now(), playback.card.card.policy());
                device.fetches_media(id, &names);
                device.deliver(id, now, Input::Media(fetched.media), &policy, out);
                if let Some(report) = fetched.report {
                    device.deliver(id, now, Input::Report(report), &policy, out);
                }
            }
            flow
        })
    }

    /// The player of this playback got something to play by that is no license. Said of every part of its media, so
    /// what is known already costs a look.
    pub fn used(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>) {
        let names = names.into();
        let unused = self.table.with(key, |DeviceEntry { device, .. }| {
            device.playback_of_media(&names).filter(|playback| playback.session.is_unused()).map(|playback| playback.id)
        });
        let _known = unused.is_some_and(|id| self.deliver(key, id, Input::Used));
    }

    /// Resolves when something has changed for this device, which may be that the playback is over. None:
    /// nothing is known of it.
    pub fn change(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>) -> Option<OwnedNotified> {
        let names = names.into();
        self.with_seat(key, |DeviceEntry { device, wake, .. }, _| {
            // Made under the lock under which every wake happens, so that none is missed from now on.
            device.playback_of_media(&names).map(|_| wake.clone().notified_owned())
        })
    }
}

impl From<&Registration> for MediaNames {
    fn from(registration: &Registration) -> Self {
        Self { content_token: registration.content_token, path: registration.token() }
    }
}

fn flow(playback: &Playback<SessionEntry>) -> MediaFlow {
    match playback.session.state() {
        // That it is over is presumed: whoever goes on with it takes it back.
        _ if playback.session.gives_way() => MediaFlow::Goes,
        SessionState::Closed { why, .. } => {
            why.refusal().map_or(MediaFlow::Goes, |refusal| MediaFlow::Over(refusal, None))
        }
        SessionState::Closing { why, .. } => MediaFlow::Over(SessionRefusal::Ended(*why), None),
        SessionState::Failing { .. }
        | SessionState::Live { .. }
        | SessionState::Opening { .. }
        | SessionState::Owing { .. } => MediaFlow::Goes,
        SessionState::Killed { by, .. } => {
            MediaFlow::Over(SessionRefusal::Killed(by.clone()), playback.session.killed_since())
        }
    }
}
