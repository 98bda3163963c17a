//! Decides whether the media of a playback may flow, and wakes transfers when that changes.
//!
//! Called for every manifest and segment of a media route, so it looks at one device only.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::futures::OwnedNotified;

use super::device_table::DeviceEntry;
use super::{DeviceKey, SessionEntry, Sessions};
use crate::registrations::Registration;
use crate::session::{Input, MediaFetch, MediaNames, Playback, PlayerReport, SessionRefusal, SessionState};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MediaFlow {
    /// No session has this token: none was opened, or it is forgotten.
    Absent,
    /// The media may flow.
    Goes,
    /// The playback is over. A kill also has its time.
    Over(SessionRefusal, Option<Instant>),
}

/// Facts about a request for media.
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    pub media: MediaFetch,
    /// The player's own report in the request.
    pub report: Option<PlayerReport>,
}

impl Sessions {
    /// Decides whether the media with these names may flow.
    pub fn flow(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>) -> MediaFlow {
        let names = names.into();
        self.table.look(key, |device| device.playback_of_media(&names).map(flow)).flatten().unwrap_or(MediaFlow::Absent)
    }

    /// Notes that the player asks for media of this playback. That proves its life, if it may have them.
    pub fn fetched(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>, fetched: Fetched) -> MediaFlow {
        let names = names.into();
        self.notice_sleep();
        self.with(key, |device, out| {
            let Some(playback) = device.playback_of_media(&names) else { return MediaFlow::Absent };
            let flow = flow(playback);
            if flow == MediaFlow::Goes {
                let (id, now, policy) = (playback.id, self.clock.now(), playback.entry.context.policy());
                device.fetches_media(id, &names);
                device.deliver(id, now.into(), Input::Media(fetched.media), &policy, out);
                if let Some(report) = fetched.report {
                    device.deliver(id, now.into(), Input::Report(report), &policy, out);
                }
            }
            flow
        })
    }

    /// Notes that the player of this playback got media. Called for every part, so a known fact costs only a look.
    pub fn used(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>) {
        let names = names.into();
        let unused = self.table.with(key, |DeviceEntry { device, .. }| {
            device.playback_of_media(&names).filter(|playback| playback.session.is_unused()).map(|playback| playback.id)
        });
        let _known = unused.is_some_and(|id| self.deliver(key, id, Input::Used));
    }

    /// Resolves when something has changed for this device, such as the end of the playback. `None` if the playback
    /// is not known.
    pub fn change(self: &Arc<Self>, key: DeviceKey, names: impl Into<MediaNames>) -> Option<OwnedNotified> {
        let names = names.into();
        self.with_seat(key, |entry, _| entry.device.playback_of_media(&names).is_some().then(|| entry.change()))
    }
}

impl From<&Registration> for MediaNames {
    fn from(registration: &Registration) -> Self {
        Self { content_token: registration.content_token, path: registration.token() }
    }
}

fn flow(playback: &Playback<SessionEntry>) -> MediaFlow {
    match playback.session.state() {
        // The end is only presumed: a player that goes on takes it back.
        _ if playback.session.gives_way() => MediaFlow::Goes,
        SessionState::Closed { why, .. } => {
            why.refusal().map_or(MediaFlow::Goes, |refusal| MediaFlow::Over(refusal, None))
        }
        SessionState::Closing { why, .. } => MediaFlow::Over(SessionRefusal::Ended(*why), None),
        SessionState::Failing { .. }
        | SessionState::Live { .. }
        | SessionState::Opening { .. }
        | SessionState::Owing { .. }
        | SessionState::Sharing { .. }
        | SessionState::Waiting { .. } => MediaFlow::Goes,
        SessionState::Killed { by, .. } => {
            MediaFlow::Over(SessionRefusal::Killed((**by).clone()), playback.session.killed_since().map(Instant::from))
        }
    }
}
