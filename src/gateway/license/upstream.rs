//! A fresh request to the license server, and its reply on the way back.
//!
//! Sends what `onward` has built and the core has judged, with the header that carries the session. The license
//! itself is never changed; only its wrapping is, where the route says so.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::LicenseCall;
use super::redirect::{RedirectFault, RedirectTrail};
use crate::config::{self, Endpoint, RetriedCalls};
use crate::drm::{self, Direction, Message, System};
use crate::edge::ReplyBody;
use crate::gateway::route::LicenseRoute;
use crate::gateway::server_headers;
use crate::manifest::{decoded, encodings};
use crate::upstream::{Call, Fault, Hold, Reply};

/// Larger than any license met, which are below 64 KiB.
const REPLY_MAX: usize = 1024 * 1024;

/// What comes out of an encoded one, in bytes.
const PLAIN_REPLY_MAX: usize = 256 * 1024;

/// Why the license server's answer cannot be given to the player.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::gateway) enum LicenseServerFailure {
    /// Of the server that is named.
    #[error("{1}: {0}")]
    Fault(Fault, String),
    #[error("the player's body is not wrapped as the route says: {0}")]
    Misfit(drm::wrap::Misfit),
    #[error(transparent)]
    Redirect(#[from] RedirectFault),
    #[error("the license server's reply is not wrapped as the route says: {0}")]
    Reply(drm::wrap::Misfit),
    #[error("the path or query cannot be passed on")]
    Unspeakable,
}

impl LicenseServerFailure {
    pub(in crate::gateway) fn name(&self) -> &'static str {
        match self {
            Self::Fault(fault, _) => fault.name(),
            Self::Misfit(_) => "request_wrapping",
            Self::Redirect(fault) => fault.name(),
            Self::Reply(_) => "reply_wrapping",
            Self::Unspeakable => "path",
        }
    }

    /// The status that asks the player to come again: the license server may answer then, and no kill stands behind it.
    /// What waiting does not mend is a plain refusal, and so is what we shed: players come back at once, and often.
    pub(in crate::gateway) fn comes_again(&self) -> Option<StatusCode> {
        match self {
            Self::Fault(Fault::Connect(_) | Fault::Refused | Fault::Reset | Fault::Resolve, _) => {
                Some(StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Fault(Fault::Slow { .. }, _) => Some(StatusCode::GATEWAY_TIMEOUT),
            Self::Fault(Fault::Busy | Fault::Malformed | Fault::Tls(_) | Fault::TooLarge, _) => None,
            Self::Misfit(_) | Self::Redirect(_) | Self::Reply(_) | Self::Unspeakable => None,
        }
    }
}

impl LicenseCall<'_> {
    /// Sends the call to the license server. `authorization` is the header that carries the session,
    /// or the content token where none applies.
    pub(in crate::gateway) async fn forward(
        &self,
        authorization: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Reply, LicenseServerFailure> {
        let LicenseCall { request, deadline, lead: _, gateway, route } = *self;
        let onward = &request.onward;
        let mut headers = onward.headers.clone();
        // In place of the player's own, if its header is passed on as well: two could not be told apart.
        if let Some((name, value)) = authorization {
            headers.insert(name, value);
        }
        let registered = request.registration.as_ref().and_then(|registration| registration.license_url.as_ref());
        let server = registered.unwrap_or(&route.license.license_server);
        let path = onward_path(server, &onward.path, onward.query.as_deref());
        let mut trail = RedirectTrail::new(server, &onward.method, path);
        loop {
            let call = Call {
                body: onward.body.clone(),
                deadline,
                endpoint: server,
                headers: headers.clone(),
                method: onward.method.clone(),
                path_and_query: trail.path().parse().map_err(|_| LicenseServerFailure::Unspeakable)?,
                reply_max: REPLY_MAX,
            };
            let begins = |why: &Fault| route.reach.tell_loss(&route.path, server, why);
            let hold = Hold { begins: Some(&begins), ..self.hold() };
            let held = gateway.pool.send_held(call, hold).await;
            route.reach.tell(&gateway.telemetry, &route.path, server, &held);
            let reply = held.outcome.map_err(|fault| LicenseServerFailure::Fault(fault, server.host_and_port()))?;
            if !trail.follow(&reply)? {
                return Ok(reply);
            }
        }
    }

    fn hold(&self) -> Hold<'static> {
        let LicenseCall { request, deadline, route, .. } = *self;
        let config::RetrySettings { gateway_errors, unreachable } = route.config.retry;
        let renews = request.message.as_ref().is_ok_and(|message| message.kind == drm::Kind::Renewal);
        let gateway_errors = match gateway_errors {
            RetriedCalls::All => true,
            RetriedCalls::None => false,
            RetriedCalls::Renewals => renews,
        };
        Hold { attempt: route.config.timeout, begins: None, gateway_errors, unreachable, until: deadline }
    }
}

/// The reply as the player gets it: byte-exact, but for a wrapping that the route translates.
pub(in crate::gateway) fn onward_reply(
    route: &LicenseRoute,
    reply: Reply,
) -> Result<Response<ReplyBody>, LicenseServerFailure> {
    let Reply { body, mut headers, status } = reply;
    let (from, to) = (&route.license.wrapping.server_reply, &route.license.wrapping.player_reply);
    let body = if from == to || !status.is_success() {
        body
    } else {
        let bare = drm::wrap::unwrap(from, &body).map_err(LicenseServerFailure::Reply)?;
        let (content_type, wrapped) = drm::wrap::wrap(to, &bare);
        set_content_type(&mut headers, content_type);
        wrapped.into()
    };
    server_headers::take_off(&mut headers);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What the license server's reply shows.
#[derive(Debug)]
pub(in crate::gateway) struct LicenseReply {
    /// An encoding that is not undone here: it may hold anything.
    pub(in crate::gateway) is_sealed: bool,
    pub(in crate::gateway) message: Option<Message>,
    /// Nothing in it can be a license: see [`drm::is_no_license`].
    pub(in crate::gateway) is_empty_handed: bool,
    /// A good status without a license that was asked for.
    pub(in crate::gateway) says_no: bool,
}

impl LicenseReply {
    /// `asked`: the system, if a license was asked for.
    pub(in crate::gateway) fn read(route: &LicenseRoute, asked: Option<System>, reply: &Reply) -> Self {
        let content_type = reply.headers.get(CONTENT_TYPE).and_then(|value: &HeaderValue| value.to_str().ok());
        let plain = plain_body(reply);
        let bare = plain.as_deref().map(|plain| {
            let unwrapped = drm::wrap::unwrap(&route.license.wrapping.server_reply, plain);
            unwrapped.unwrap_or(Cow::Borrowed(plain))
        });
        let message = bare.as_deref().and_then(|bare| drm::recognise(Direction::Reply, content_type, None, bare).ok());
        let has_body =
            !matches!(reply.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT);
        // Of a system that nobody knows, what could be ClearKey's may be a license: that is the shortest.
        let is_no = |body: &[u8]| drm::is_no_license(asked.unwrap_or(System::ClearKey), body);
        let is_empty_handed = !has_body || message.is_none() && plain.as_deref().is_some_and(is_no);
        let says_no = asked.is_some() && is_empty_handed;
        Self { is_empty_handed, is_sealed: plain.is_none(), message, says_no }
    }
}

/// The reply's body without its content encodings, which nobody asked for; none if they cannot be undone, or if that is
/// larger than any license.
pub(in crate::gateway) fn plain_body(reply: &Reply) -> Option<Bytes> {
    let lines: Option<Vec<_>> = reply.headers.get_all(CONTENT_ENCODING).iter().map(|line| line.to_str().ok()).collect();
    let names = encodings(lines?.into_iter());
    decoded(&names, reply.body.clone(), PLAIN_REPLY_MAX).ok()
}

pub(in crate::gateway) fn set_content_type(headers: &mut HeaderMap, content_type: Option<&'static str>) {
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
}

/// Path and query at the server for what follows our route's path.
pub(in crate::gateway) fn onward_path(server: &Endpoint, rest: &str, query: Option<&str>) -> String {
    let mut path = format!("{}{rest}", server.path().trim_end_matches('/'));
    if path.is_empty() {
        path.push('/');
    }
    let queries: Vec<_> = server.query().into_iter().chain(query).collect();
    if !queries.is_empty() {
        path.push('?');
        path.push_str(&queries.join("&"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_path_and_query_come_first() {
        for (server, rest, query, path) in [
            ("https://lic.example", "", None, "/"),
            ("https://lic.example/", "/x", None, "/x"),
            ("https://lic.example/a/", "/x", Some("p=1"), "/a/x?p=1"),
            ("https://lic.example/a?b=c", "", Some("p=1"), "/a?b=c&p=1"),
            ("https://lic.example/a?b=c", "", None, "/a?b=c"),
        ] {
            assert_eq!(onward_path(&Endpoint::parse(server).unwrap(), rest, query), path, "{server}");
        }
    }

    #[test]
    fn only_what_waiting_may_mend_asks_the_player_to_come_again() {
        let of = |fault| {
            LicenseServerFailure::Fault(fault, "lic.example".to_owned()).comes_again().map(|status| status.as_u16())
        };
        for fault in [Fault::Refused, Fault::Reset, Fault::Resolve] {
            assert_eq!(of(fault), Some(503));
        }
        assert_eq!(of(Fault::Slow { phase: crate::upstream::Phase::Head }), Some(504));
        for fault in [Fault::Busy, Fault::Malformed, Fault::TooLarge] {
            assert_eq!(of(fault), None);
        }
        assert_eq!(
            (
                LicenseServerFailure::Redirect(RedirectFault::Loop).comes_again(),
                LicenseServerFailure::Unspeakable.comes_again()
            ),
            (None, None)
        );
    }
}
