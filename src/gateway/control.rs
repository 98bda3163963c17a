//! Control paths below a route: an app or a player reports about its own playback, or hears about it. The sessions
//! decide what follows.
//!
//! `~stop` says that the playback is over; no evidence is stronger. `~report` takes CMCD event reports: they
//! prove life while they come, and their silence counts against it. `~events` sends the playback's events as
//! server-sent events.
//!
//! All three take the identity and the content token of a license call, in headers or in the query, because a beacon
//! and an `EventSource` cannot set headers. A call with a content token concerns that token's playback, whichever
//! device it names. A call without one concerns the device's playbacks that began without one.
//!
//! The answer to a report is 204 whatever it meant: the caller learns nothing, and a player that gets 410 would never
//! report again. Calls that cannot be heard get an error: 405 for a browser's GET, 400 for a broken body, 408 for
//! a slow one, 413 for a large one, 403 for one too many. The authority is told after the answer.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;

use super::identity::IdentityClues;
use super::route::GatewayRoute;
use super::{Gateway, cmcd_report, refuse};
use crate::cmcd;
use crate::edge::{
    AddressResource, OutgoingBody, Peer, ReplyBody, RequestBody, body, has_browser_headers, own_replies,
};
use crate::events::{EVENT_STREAM_TYPE, EventAudience, Notice, NoticeStream};
use crate::secret::Fingerprint;
use crate::sessions::{DeviceKey, Sessions};

/// The calls that these paths stand for. No license server's path ends like them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum ControlPath {
    Report,
    Stop,
}

impl ControlPath {
    const ALL: [Self; 2] = [Self::Report, Self::Stop];

    const fn path(self) -> &'static str {
        match self {
            Self::Report => "/~report",
            Self::Stop => "/~stop",
        }
    }

    /// Splits a path below a route into the call that it stands for and the path before that.
    pub(in crate::gateway) fn of(rest: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|sign| Some((sign, rest.strip_suffix(sign.path())?)))
    }
}

impl Gateway {
    pub(in crate::gateway) async fn take_sign(
        &self,
        route: &GatewayRoute,
        peer: &Peer,
        sign: ControlPath,
        rest: &str,
        request: Request<RequestBody>,
    ) -> Response<ReplyBody> {
        // Any page could ask for it by an image, without the viewer's will.
        if request.method() == Method::GET && has_browser_headers(request.headers()) {
            const POST_ONLY_DETAIL: &str = "pages stop and report by POST, as navigator.sendBeacon does";
            return crate::gateway::refuse(StatusCode::METHOD_NOT_ALLOWED, "method", POST_ONLY_DETAIL);
        }
        let (headers, query) = (request.headers(), request.uri().query());
        let clues = IdentityClues { custom_data: None, headers, peer, query, registration: None, rest, route };
        let Some((key, token)) = self.identify_control_call(&clues) else {
            return own_replies::empty(StatusCode::NO_CONTENT);
        };
        match sign {
            ControlPath::Stop => {
                let stopped = self.sessions.stop(key, token);
                tracing::debug!(route = &*route.path, stopped, "stop call");
            }
            ControlPath::Report => {
                self.guard(route, peer, Some(key));
                return self.take_reports(route, key, token, request).await;
            }
        }
        own_replies::empty(StatusCode::NO_CONTENT)
    }

    async fn take_reports(
        &self,
        route: &GatewayRoute,
        key: DeviceKey,
        token: Option<Fingerprint>,
        request: Request<RequestBody>,
    ) -> Response<ReplyBody> {
        if request.method() == Method::GET {
            let told = request.uri().query().and_then(cmcd::from_query);
            told.iter().for_each(|told| self.tell(key, token, told));
            return own_replies::empty(StatusCode::NO_CONTENT);
        }
        match body::collect(request.into_body(), route.limits.body_max, route.limits.body).await {
            // An unreadable report is ignored.
            Ok(body) => cmcd::from_body(&body).iter().flatten().for_each(|told| self.tell(key, token, told)),
            Err(fault) => return fault.reply(),
        }
        own_replies::empty(StatusCode::NO_CONTENT)
    }

    fn tell(&self, key: DeviceKey, token: Option<Fingerprint>, told: &cmcd::CmcdReport) {
        self.sessions.report(key, token, cmcd_report::read(told));
    }
}

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
            Ok(NoticeStream { body, feed }) => {
                self.tasks.spawn(feed);
                let body = OutgoingBody::stream(body.map_err(|never| match never {}));
                own_replies::own(StatusCode::OK, EVENT_STREAM_TYPE, body)
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
        Some(token) => notice.token == Some(token) && sessions.context(key, token).is_none(),
    }
}

fn whole(error: &'static str, detail: &'static str) -> Response<OutgoingBody> {
    refuse(StatusCode::FORBIDDEN, error, detail).map(OutgoingBody::Whole)
}
