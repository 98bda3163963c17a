//! Signs of a playback's life and end that are no license calls.
//!
//! `{route}/~stop`: it is over; the strongest evidence there is. `{route}/~report`: CMCD event
//! reports, which prove life while they come and death when they stop. Both take the same identity
//! and content token as a license call, in headers or in the query, so that one URL is all that an app
//! has to set: `navigator.sendBeacon(url)`, or a player's event target. With a content token they mean
//! its playback, whatever names the device: no beacon can set a header. Without one they mean those of the device that
//! began without one. Answered 204, whatever it meant: who asks learns nothing, and a player that hears 410 would never
//! report again. Only a call that is none gets another answer: a GET of a browser's 405, a body that is broken 400, slow
//! 408, too large 413, or one too many 403. The answer waits for nothing: the authority is told behind it.

use http::{Method, Request, Response, StatusCode};

use crate::cmcd;
use crate::edge::{Peer, ReplyBody, RequestBody, body, has_browser_headers, own_replies};
use crate::gateway::identity::IdentityClues;
use crate::gateway::route::GatewayRoute;
use crate::gateway::{Gateway, cmcd_report};
use crate::secret::Fingerprint;
use crate::sessions::DeviceKey;

/// No license server's path ends like these.
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

    /// The sign that a path below a route stands for, and the path without it.
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
        // An image in any page could ask for it, unasked and unseen.
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
                self.tie(route, peer, Some(key));
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
            // What cannot be read tells nothing, and is nobody's fault that we could name.
            Ok(body) => cmcd::from_body(&body).iter().flatten().for_each(|told| self.tell(key, token, told)),
            Err(fault) => return fault.reply(),
        }
        own_replies::empty(StatusCode::NO_CONTENT)
    }

    fn tell(&self, key: DeviceKey, token: Option<Fingerprint>, told: &cmcd::CmcdReport) {
        self.sessions.report(key, token, cmcd_report::read(told));
    }
}
