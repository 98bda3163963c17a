//! `GET {route}/~events`: an app hears what happens to its own playback, as server-sent events.
//!
//! The same identity and content token as a license call, in headers or in the query: an
//! `EventSource` cannot set headers. With a content token it hears of that playback; without one, where the
//! authority needs none, of its device.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;

use super::Gateway;
use super::refuse;
use super::route::Route;
use crate::edge::{AddressResource, Peer, Sending};
use crate::events::{EventAudience, Notice, Stream};
use crate::secret::Fingerprint;
use crate::sessions::{DeviceKey, Sessions};

/// What stands before the path, if it is one of these.
pub(super) fn of(rest: &str) -> Option<&str> {
    rest.strip_suffix("/~events")
}

impl Gateway {
    pub(super) fn listen(
        &self,
        route: &Route,
        peer: &Peer,
        rest: &str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Response<Sending> {
        let needs_token = route.authority.as_ref().is_some_and(|authority| authority.needs_token());
        let Some((key, token)) =
            self.who(route, peer, rest, headers, query).filter(|(_, token)| token.is_some() || !needs_token)
        else {
            return whole("whose_events", "say whose: the device and the content token of a license call");
        };
        let sessions = self.sessions.clone();
        let scoped = move |notice: &Notice| is_of(&sessions, notice, key, token).then(|| notice.scoped());
        let Some(share) = peer.limits.take(peer.address, AddressResource::EventListeners, 1) else {
            return whole("too_many_listeners", "too many of this address listen to events; close some");
        };
        match self.telemetry.events.stream(EventAudience::Players, share, headers, scoped) {
            Ok(Stream { feed, reply }) => {
                self.tasks.spawn(feed);
                reply.map(|body| Sending::stream(body.map_err(|never| match never {})))
            }
            Err(_full) => whole("too_many_listeners", "too many listen to events; come back later"),
        }
    }
}

/// A token that was refreshed since is found by asking the playback.
fn is_of(sessions: &Arc<Sessions>, notice: &Notice, key: DeviceKey, token: Option<Fingerprint>) -> bool {
    key.is(notice.key)
        && token.is_none_or(|token| notice.token == Some(token) || sessions.answers_to(key, notice.session, token))
}

fn whole(error: &'static str, detail: &'static str) -> Response<Sending> {
    refuse(StatusCode::FORBIDDEN, error, detail).map(Sending::Whole)
}
