//! The stop call: the strongest evidence that a playback is over.
//!
//! `POST {route}/~stop`, with the same identity and content token as a license call, in headers or in
//! the query, so that `navigator.sendBeacon(url)` is enough. With a content token it ends that
//! playback, without one all playbacks of the device. Always answered 204: who asks learns nothing.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::Gateway;
use super::identity::{self, Evidence};
use super::route::Route;
use crate::edge::{Peer, ReplyBody, reply};
use crate::secret::Secret;
use crate::sessions::DeviceKey;
use crate::token::Unverified;

/// No license server's path ends like this.
pub(super) const PATH: &str = "/~stop";

impl Gateway {
    pub(super) fn stop(
        &self,
        route: &Route,
        peer: &Peer,
        rest: &str,
        request: Request<Incoming>,
    ) -> Response<ReplyBody> {
        let (headers, query) = (request.headers(), request.uri().query());
        let token = identity::content_token(&route.config.content_token, headers, query, None);
        let claims = token.as_ref().and_then(|token| Unverified::peek(token.expose()));
        let rest = rest.strip_suffix(PATH).unwrap_or(rest);
        let evidence = Evidence { claims: claims.as_ref(), headers, peer, query, rest };
        let device = identity::device(&route.config.device, &evidence);
        let authority = route.config.authority.and_then(|index| self.client.authority(index));
        if let (Some((device, _)), Some(authority)) = (device, authority) {
            let key = DeviceKey::new(&authority.name, &device);
            let stopped = self.sessions.stop(key, token.as_ref().map(Secret::fingerprint));
            tracing::debug!(route = &*route.path, stopped, "stop call");
        }
        reply::empty(StatusCode::NO_CONTENT)
    }
}
