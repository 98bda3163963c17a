//! Answers an authorize call: passes it to the app's authorization service, and registers the playback that the
//! reply describes.
//!
//! An authorization reaches the player with our URLs in it. A reply that is no authorization passes untouched and
//! is counted. A reply that the app might read as one, but that cannot be read here, is refused.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use super::Gateway;
use super::identity::account::network;
use super::identity::caller::CallerNames;
use super::identity::sources::{self, DeviceIdentity, IdentityEvidence, is_name};
use super::license::outgoing;
use super::onward_target;
use super::passed_headers;
use super::query;
use super::route::AuthorizeRoute;
use crate::authority::Authority;
use crate::cmcd;
use crate::config::{self, DeviceSource, IdentitySource};
use crate::edge::own_replies::EdgeRefusal;
use crate::edge::{Peer, ReplyBody, RequestBody, body, passed_on};
use crate::ids::PlaybackId;
use crate::registrations::{AuthorizationBlock, Registration, RewriteTargets, unread};
use crate::secret::Fingerprint;
use crate::upstream::{UpstreamCall, UpstreamFault, UpstreamReply};

/// Authorizations are a few KiB.
const MAX_AUTHORIZATION_REPLY_BYTES: usize = 256 * 1024;

/// Outcomes of an authorize call, for metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AuthorizeOutcome {
    Blackout,
    /// The service said no in its own words.
    Denied,
    Failed,
    /// The reply held nothing that sidebeat knows.
    Passed,
    Registered,
}

/// The caller of an authorize call.
struct AuthorizeCaller {
    /// URL by which it reaches us.
    base: Option<String>,
    device: Option<DeviceIdentity>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// See [`CallerNames::network`].
    network: Fingerprint,
}

impl AuthorizeCaller {
    fn names(&self) -> CallerNames {
        let device = self.device.as_ref().map(|device| device.name.clone());
        CallerNames { account: None, device, is_proven: false, network: self.network }
    }
}

impl Gateway {
    pub(super) async fn authorize(
        &self,
        route: &AuthorizeRoute,
        peer: &Peer,
        rest: &str,
        request: Request<RequestBody>,
    ) -> Response<ReplyBody> {
        if !matches!(*request.method(), Method::POST | Method::GET) {
            return super::refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "authorize calls are POST or GET");
        }
        let AuthorizeRoute { authority, config: route, limits } = route;
        let deadline = self.clock.now() + route.timeout;
        let (parts, incoming) = request.into_parts();
        let body = match body::collect(incoming, limits.body_max, limits.body.min(limits.call)).await {
            Ok(body) => body,
            Err(fault) => return fault.reply(),
        };
        // The device may be named in the body.
        let caller = self.caller(route, authority, peer, rest, &parts, &body);
        if let Err(unfit) = outgoing::check_encoding(&parts.headers) {
            return self.naming(unfit.reply(), || caller.names());
        }
        let Some(path_and_query) = onward_target(route, rest, parts.uri.query()) else {
            return self.fail_by(&UpstreamFault::Malformed, &caller.names());
        };
        let (_, needed) = authority.authorization();
        let call = UpstreamCall {
            body,
            deadline,
            endpoint: &route.authorize_url,
            headers: passed_headers::for_authorization(needed, &route.headers, route.strip_cmcd, &parts.headers),
            method: parts.method,
            path_and_query,
            reply_max: MAX_AUTHORIZATION_REPLY_BYTES,
        };
        let names = caller.names();
        let (outcome, response) = match self.pool.send(call).await {
            Ok(reply) => self.conclude_authorization(route, authority, caller, reply),
            Err(fault) => (AuthorizeOutcome::Failed, self.fail_by(&fault, &names)),
        };
        self.telemetry.metrics.authorization(&route.path, outcome.name());
        if outcome.may_register() {
            // The app keeps these URLs, so their registrations must be on disk before it gets them.
            self.sessions.durable().await;
        }
        response
    }

    fn caller(
        &self,
        route: &config::AuthorizeRouteSettings,
        authority: &Authority,
        peer: &Peer,
        rest: &str,
        parts: &Parts,
        body: &Bytes,
    ) -> AuthorizeCaller {
        let (names, pass) = authority.authorization();
        let evidence = IdentityEvidence { claims: None, headers: &parts.headers, peer, query: parts.uri.query(), rest };
        let said: Vec<_> = route.device.iter().filter(|source| **source != IdentitySource::Peer).cloned().collect();
        let in_body = || {
            let body: Value = serde_json::from_slice(body).ok()?;
            let name = body.get(names.of("deviceId"))?.as_str()?.to_owned();
            is_name(&name).then_some(DeviceIdentity { name, source: DeviceSource::Body })
        };
        let device =
            sources::device(&said, &evidence).or_else(in_body).or_else(|| sources::device(&route.device, &evidence));
        let headers = pass.iter().filter_map(|name| Some((name.clone(), sensitive(parts.headers.get(name)?))));
        let network = network(peer.address);
        AuthorizeCaller { base: self.base(peer, parts), device, headers: headers.collect(), network }
    }

    fn fail_by(&self, fault: &UpstreamFault, caller: &CallerNames) -> Response<ReplyBody> {
        let slow = matches!(fault, UpstreamFault::Slow { .. });
        let status = if slow { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
        self.fail(status, fault, caller)
    }

    /// Apps ask for authorizations, not players, so they get a status that says what happened.
    fn fail(&self, status: StatusCode, why: &dyn std::fmt::Display, caller: &CallerNames) -> Response<ReplyBody> {
        let device = caller.device.as_deref().unwrap_or_default();
        if self.telemetry.may_write("authorization failed", device, caller.network) {
            let device = caller.device.as_deref().map(|device| self.telemetry.shown(device));
            tracing::warn!(fault = %why, device, "the authorization service could not be used");
        }
        let detail = "the authorization service could not be used, or its reply cannot be read here";
        let refusal = EdgeRefusal { status, error: "authorization_failed", detail, close: false };
        self.naming(refusal.reply(), || caller.clone())
    }

    fn conclude_authorization(
        &self,
        route: &config::AuthorizeRouteSettings,
        authority: &Authority,
        caller: AuthorizeCaller,
        mut reply: UpstreamReply,
    ) -> (AuthorizeOutcome, Response<ReplyBody>) {
        if !reply.status.is_success() {
            return (AuthorizeOutcome::Denied, as_it_is(reply));
        }
        let (names, _) = authority.authorization();
        // Browsers skip a byte order mark.
        let text = reply.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&reply.body);
        let value = serde_json::from_slice::<Value>(text).ok();
        let encoded = is_encoded(&reply.headers).then_some("a reply in a content encoding");
        if let Some(why) = encoded.or_else(|| unread(value.as_ref(), text, names)) {
            return (AuthorizeOutcome::Failed, self.fail(StatusCode::BAD_GATEWAY, &why, &caller.names()));
        }
        reply.headers.remove(CONTENT_ENCODING);
        let block = value.as_ref().and_then(|value| AuthorizationBlock::read(value, names));
        let (Some(mut value), Some(block)) = (value, block) else { return (AuthorizeOutcome::Passed, as_it_is(reply)) };
        let id = PlaybackId::random();
        // A playback is registered only if the caller's device and URL are known. A blackout is refused in any case.
        let known = caller.device.filter(|_| caller.base.is_some());
        let targets = RewriteTargets {
            base: caller.base.as_deref().unwrap_or_default(),
            content_paths: &route.content_paths,
            enforces_blackouts: authority.enforces_blackouts(),
            license_paths: &route.license_paths,
            license_route: route.license_route.as_deref().filter(|_| known.is_some()),
            media_route: route.media_route.as_deref().filter(|_| known.is_some()),
            names,
        };
        let taken = targets.rewrite(&mut value, &block, id);
        let outcome = if block.blackout.is_some() { AuthorizeOutcome::Blackout } else { AuthorizeOutcome::Registered };
        if !taken.leads_here {
            let outcome = if outcome == AuthorizeOutcome::Blackout { outcome } else { AuthorizeOutcome::Passed };
            return (outcome, as_it_is(reply));
        }
        if let Some(DeviceIdentity { name: device, source: device_source }) = known {
            let registration = Registration {
                authority: Some(authority.name.clone()),
                block: Some(block),
                content_token: None,
                content_url: taken.content_url,
                device,
                headers: caller.headers,
                id,
                license_url: taken.license_url,
                route: Arc::from(route.path.as_str()),
                device_source,
            };
            self.register(caller.network, registration);
        }
        (outcome, as_it_is(UpstreamReply { body: value.to_string().into(), ..reply }))
    }
}

impl AuthorizeOutcome {
    fn may_register(self) -> bool {
        match self {
            Self::Blackout | Self::Registered => true,
            Self::Denied | Self::Failed | Self::Passed => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Blackout => "blackout",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Registered => "registered",
        }
    }
}

fn sensitive(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

/// Some servers name `identity`, or nothing, where there is no encoding.
fn is_encoded(headers: &HeaderMap) -> bool {
    let plain = |value: &HeaderValue| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
    !headers.get_all(CONTENT_ENCODING).iter().all(plain)
}

/// Path and query at the service, without the parameters that only name the device to us.
fn onward_target(route: &config::AuthorizeRouteSettings, rest: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let cmcd = route.strip_cmcd.then_some(cmcd::PARAMETER);
    let ours: Vec<_> = route.device.iter().filter_map(IdentitySource::query_parameter).chain(cmcd).collect();
    let query = query::without(query, &ours);
    onward_target::at_server(&route.authorize_url, rest, query.as_deref())
}

fn as_it_is(reply: UpstreamReply) -> Response<ReplyBody> {
    let UpstreamReply { body, mut headers, status } = reply;
    headers.remove(CONTENT_LENGTH);
    headers.remove(ETAG);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    passed_on(status, headers, Full::new(body))
}
