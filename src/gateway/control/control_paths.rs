//! Answers `{route}/~stop` and `{route}/~report`.
//!
//! `~stop` says that the playback is over; no evidence is stronger. `~report` takes CMCD event reports: they
//! prove life while they come, and their silence counts against it.
//!
//! Both take the identity and the content token of a license call, in headers or in the query, so that an app can
//! set one URL for `navigator.sendBeacon` or as a player's event target. A call with a content token concerns
//! that token's playback, whichever device it names, because a beacon cannot set headers. A call without one
//! concerns the device's playbacks that began without one.
//!
//! The answer is 204 whatever the call meant: the caller learns nothing, and a player that gets 410 would never
//! report again. Calls that cannot be heard get an error: 405 for a browser's GET, 400 for a broken body, 408 for
//! a slow one, 413 for a large one, 403 for one too many. The authority is told after the answer.

use http::{Method, Request, Response, StatusCode};

use crate::cmcd;
use crate::edge::{Peer, ReplyBody, RequestBody, body, has_browser_headers, own_replies};
use crate::gateway::identity::IdentityClues;
use crate::gateway::route::GatewayRoute;
use crate::gateway::{Gateway, cmcd_report};
use crate::secret::Fingerprint;
use crate::sessions::DeviceKey;

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
