//! Answers `GET {route}/~events`: an app hears about its own playback, as server-sent events.
//!
//! The call takes the identity and the content token of a license call, in headers or in the query, because an
//! `EventSource` cannot set headers. With a content token the app hears about that playback; without one, where
//! the authority needs none, about its device.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;

use crate::edge::{AddressResource, OutgoingBody, Peer};
use crate::events::{EventAudience, Notice, NoticeStream};
use crate::gateway::Gateway;
use crate::gateway::identity::IdentityClues;
use crate::gateway::refuse;
use crate::gateway::route::GatewayRoute;
use crate::secret::Fingerprint;
use crate::sessions::{DeviceKey, Sessions};

/// The path before `/~events`, if it ends so.
pub(in crate::gateway) fn of(rest: &str) -> Option<&str> {
    rest.strip_suffix("/~events")
}

impl Gateway {
    pub(in crate::gateway) fn listen(
        &self,
        route: &GatewayRoute,
        peer: &Peer,
        rest: &str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Response<OutgoingBody> {
        let clues = IdentityClues { custom_data: None, headers, peer, query, registration: None, rest, route };
        let needs_token = route.authority.as_ref().is_some_and(|authority| authority.needs_token());
        let Some((key, token)) =
            self.identify_control_call(&clues).filter(|(_, token)| token.is_some() || !needs_token)
        else {
            return whole("whose_events", "say whose: the device and the content token of a license call");
        };
        let (sessions, authority) = (self.sessions.clone(), route.authority.as_ref().map(|it| it.name.clone()));
        let scoped = move |notice: &Notice| {
            let is_here = authority.as_ref() == Some(&notice.authority);
            (is_here && is_of(&sessions, notice, key, token)).then(|| notice.scoped())
        };
        let Some(share) = peer.limits.take(peer.address, AddressResource::EventListeners, 1) else {
            return whole("too_many_listeners", "too many of this address listen to events; close some");
        };
        match self.telemetry.events.stream(EventAudience::Players, share, headers, scoped) {
            Ok(NoticeStream { feed, reply }) => {
                self.tasks.spawn(feed);
                reply.map(|body| OutgoingBody::stream(body.map_err(|never| match never {})))
            }
            Err(_full) => whole("too_many_listeners", "too many listen to events; come back later"),
        }
    }
}

/// Decides whether a notice concerns the listener. A token that was refreshed since is found by asking the
/// playback. If the named device has no playback of the token, another device's is meant: the license call may
/// name its device by a header.
fn is_of(sessions: &Arc<Sessions>, notice: &Notice, key: DeviceKey, token: Option<Fingerprint>) -> bool {
    match token {
        None => key.is(notice.key),
        Some(token) if key.is(notice.key) => {
            notice.token == Some(token) || sessions.answers_to(key, notice.session, token)
        }
        Some(token) => notice.token == Some(token) && sessions.card(key, token).is_none(),
    }
}

fn whole(error: &'static str, detail: &'static str) -> Response<OutgoingBody> {
    refuse(StatusCode::FORBIDDEN, error, detail).map(OutgoingBody::Whole)
}
