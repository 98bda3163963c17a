//! Reads a player's license request once, in the words of the core.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority as HostAndPort;
use http::{HeaderMap, HeaderValue, Response, header};

use super::LicenseArrival;
use super::call_kind::call_kind;
use super::outgoing::OutgoingRequest;
use crate::authority::Authority;
use crate::clock::{Clock, ClockMoment};
use crate::cmcd;
use crate::config::SessionControlMode;
use crate::drm::{self, Direction, DrmMessage, DrmSystem, MessageKind, UnrecognisedBody};
use crate::edge::ReplyBody;
use crate::gateway::identity::sources::{DeviceIdentity, kept_name};
use crate::gateway::identity::{CallIdentity, IdentityClues, content_token};
use crate::gateway::refusal::ViewerCall;
use crate::gateway::route::LicenseRoute;
use crate::gateway::session_context::SessionOrigin;
use crate::gateway::{Gateway, onward_target};
use crate::ids::PlaybackId;
use crate::registrations::{AuthorizationBlock, Registration};
use crate::secret::{Fingerprint, Secret};
use crate::session::{CallNames, OpenAbility, PlayerCall};
use crate::sessions::{DeviceKey, SessionContext, SessionRoute};
use crate::task::TooBusy;
use crate::token::TokenFault;

pub(in crate::gateway) struct LicenseRequest {
    /// A token beside the one that counts may ask for a session: see [`content_token::asks_beside`].
    asks_beside: bool,
    /// The host by which the player reached us, if the request's target names it.
    authority: Option<HostAndPort>,
    pub(in crate::gateway) headers: HeaderMap,
    pub(in crate::gateway) identity: CallIdentity,
    pub(in crate::gateway) message: Result<DrmMessage, UnrecognisedBody>,
    /// The request for the license server.
    pub(in crate::gateway) onward: OutgoingRequest,
    /// The playback that the id in the path names.
    pub(in crate::gateway) registration: Option<Arc<Registration>>,
    route_path: Arc<str>,
    tls: bool,
    /// The player's CMCD report.
    pub(in crate::gateway) told: Option<cmcd::CmcdReport>,
}

/// Larger bodies are searched on a thread of their own. The search takes up to a millisecond per 64 KiB.
const READ_APART_MIN_BYTES: usize = 256 * 1024;

/// Head-ends have several clocks, and calls take time.
const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

/// A request that was read, or one that is searched on a thread of its own.
enum CallReading {
    Apart(Pin<Box<dyn Future<Output = Result<SearchedRequest, TooBusy>> + Send>>),
    Done(Arc<LicenseRequest>),
    /// The request cannot be sent on.
    Refused(Response<ReplyBody>),
}

/// The request for the license server, and the message that was found in it.
type SearchedRequest = (OutgoingRequest, Result<DrmMessage, UnrecognisedBody>);

impl Gateway {
    /// Reads a request whose body is there.
    ///
    /// # Errors
    /// The reply to a request that cannot be sent on, or for which there is no time.
    pub(in crate::gateway) async fn read_call(
        &self,
        arrival: &mut LicenseArrival,
        body: Bytes,
    ) -> Result<Arc<LicenseRequest>, Response<ReplyBody>> {
        let request = match self.search_call(arrival, body) {
            CallReading::Done(request) => request,
            CallReading::Refused(refused) => return Err(refused),
            CallReading::Apart(search) => {
                self.read_searched(arrival, search.await.map_err(|_busy| crate::gateway::overloaded())?)
            }
        };
        let keys = arrival.route.authority.as_deref().filter(|_| request.wants_keys());
        let Some(authority) = keys else { return Ok(request) };
        // The license server needs the rest of the call's time.
        Box::pin(authority.fetch_token_keys(self.clock, arrival.route.limits.call / 3)).await;
        Ok(self.identify_anew(arrival, request))
    }

    fn search_call(&self, arrival: &mut LicenseArrival, body: Bytes) -> CallReading {
        let LicenseArrival { parts, route, .. } = &*arrival;
        let outgoing = OutgoingRequest::build(route, route.authority.as_deref(), arrival.rest(), parts, body);
        let onward = match outgoing {
            Ok(onward) => onward,
            Err(unfit) => return CallReading::Refused(self.refuse_unfit(route, unfit, || self.caller_of(arrival))),
        };
        let search = |onward: OutgoingRequest, route: &LicenseRoute| {
            let message = onward.recognise(route);
            (onward, message)
        };
        if onward.body.len() < READ_APART_MIN_BYTES {
            let searched = search(onward, route);
            return CallReading::Done(self.read_searched(arrival, searched));
        }
        let (route, tasks) = (route.clone(), self.tasks.clone());
        let apart = async move { tasks.heavy(move || search(onward, &route)).await };
        CallReading::Apart(Box::pin(apart))
    }

    fn read_searched(&self, arrival: &mut LicenseArrival, (onward, message): SearchedRequest) -> Arc<LicenseRequest> {
        let headers = std::mem::take(&mut arrival.parts.headers);
        let LicenseArrival { parts, peer, registration, route, .. } = &*arrival;
        let query = parts.uri.query();
        let custom_data = message.as_ref().ok().and_then(|message| message.custom_data.as_ref());
        let sources = &route.config.content_token;
        let told = query.and_then(cmcd::from_query).or_else(|| cmcd::from_headers(&headers));
        let mut request = LicenseRequest {
            asks_beside: content_token::asks_beside(sources, &headers, query, custom_data),
            authority: parts.uri.authority().cloned(),
            identity: self.identity_of(arrival, &headers, &message),
            headers,
            message,
            onward,
            registration: registration.clone(),
            route_path: route.path.clone(),
            tls: peer.tls,
            told,
        };
        request.take_off_device(arrival);
        Arc::new(request)
    }

    fn identity_of(
        &self,
        arrival: &LicenseArrival,
        headers: &HeaderMap,
        message: &Result<DrmMessage, UnrecognisedBody>,
    ) -> CallIdentity {
        let LicenseArrival { parts, peer, registration, route, .. } = arrival;
        self.identify_at_once(&IdentityClues {
            custom_data: message.as_ref().ok().and_then(|message| message.custom_data.as_ref()),
            headers,
            peer,
            query: parts.uri.query(),
            registration: registration.as_deref(),
            rest: arrival.rest(),
            route,
        })
    }

    /// Reads the identity again after newer token keys were asked for.
    fn identify_anew(&self, arrival: &LicenseArrival, mut request: Arc<LicenseRequest>) -> Arc<LicenseRequest> {
        let identity = self.identity_of(arrival, &request.headers, &request.message);
        if let Some(request) = Arc::get_mut(&mut request) {
            request.identity = identity;
            request.take_off_device(arrival);
        }
        request
    }
}

impl LicenseRequest {
    /// Builds the onward path, without the segment that names the device.
    fn take_off_device(&mut self, arrival: &LicenseArrival) {
        // Below a registered playback's path no segment names the device.
        let device = self.identity.device.as_ref().filter(|_| self.registration.is_none());
        let source = device.map(|device| device.source);
        self.onward.path = onward_target::without_device(&arrival.route, arrival.rest(), source);
    }

    /// True if newer token keys could verify the token.
    fn wants_keys(&self) -> bool {
        self.identity.token_fault.is_some_and(TokenFault::wants_keys)
    }

    pub(in crate::gateway) fn viewer_call(&self) -> ViewerCall<'_> {
        ViewerCall { authority: self.authority.as_ref(), headers: &self.headers, tls: self.tls }
    }

    /// The call for the core, if it may belong to a session.
    pub(in crate::gateway) fn call(
        &self,
        route: &LicenseRoute,
        authority: &Authority,
        expired: bool,
    ) -> Option<PlayerCall> {
        let message = self.message.as_ref().ok()?;
        if message.offline || self.identity.device.is_none() || !self.wants_session(route) {
            return None;
        }
        let kind = call_kind(message.kind, || self.challenge(route).is_some())?;
        Some(PlayerCall {
            content: self.content_name(),
            content_token: self.content_token(),
            key_session: message.request_id.filter(|_| message.system == DrmSystem::Widevine),
            kind,
            opens: match (&self.identity.token, authority.needs_token()) {
                (_, _) if self.is_authorized() => OpenAbility::Yes,
                (Some(_), _) if expired => OpenAbility::Expired,
                (Some(_), true) | (_, false) => OpenAbility::Yes,
                (None, true) => OpenAbility::No,
            },
            token: self.playback(),
        })
    }

    pub(in crate::gateway) fn is_release(&self) -> bool {
        self.message.as_ref().is_ok_and(|message| message.kind == MessageKind::Release)
    }

    /// Like [`PlayerCall::content_token`]. An authorization, like a content token, is made for one playback.
    pub(in crate::gateway) fn content_token(&self) -> Option<Fingerprint> {
        let authorized = self.registration.as_ref().filter(|_| self.is_authorized());
        self.identity.playback_token().or_else(|| authorized.map(|registration| registration.token()))
    }

    /// Names by which a kill may know this call if it has no session.
    pub(in crate::gateway) fn names(&self) -> CallNames {
        CallNames { content: self.content_name(), content_token: self.content_token(), token: self.playback() }
    }

    /// The content as sessions know it; `None` for a registered playback, because another one of the same content
    /// has another token.
    fn content_name(&self) -> Option<Fingerprint> {
        let message = self.message.as_ref().ok().and_then(|message| message.content_id);
        let content = self.content().map(|name| Fingerprint::of(name.as_bytes())).or(message);
        content.filter(|_| self.registration.is_none())
    }

    /// The playback's token: its registration's, or the content token.
    pub(in crate::gateway) fn playback(&self) -> Option<Fingerprint> {
        match &self.registration {
            Some(registration) => Some(registration.token()),
            None => self.identity.playback_token(),
        }
    }

    /// The key session whose license it is or, where the DRM system names none, its keys.
    pub(in crate::gateway) fn key_session(&self, call: &PlayerCall) -> Fingerprint {
        let keys = || self.message.as_ref().ok()?.content_id;
        call.key_session.or_else(keys).unwrap_or_else(|| Fingerprint::of(&[]))
    }

    /// The context of the session that this call may open.
    pub(in crate::gateway) fn session_context(
        &self,
        of_route: Arc<SessionRoute>,
        authority: &Authority,
        clock: Clock,
    ) -> Arc<SessionContext> {
        let ClockMoment { now, wall } = clock.moment();
        let block = self.registration.as_ref().and_then(|registration| registration.block.as_ref());
        let origin = SessionOrigin {
            content: self.content(),
            counted: self.identity.counted.clone(),
            device: self.identity.device.clone().unwrap_or_default(),
            kill_memory: self.kill_memory(authority, clock),
            opened: wall,
            registration: self.registration.clone(),
            schedule: block.and_then(|block| authority.schedule(block, now, wall)),
            stream: block.and_then(AuthorizationBlock::stream),
            token: self.identity.token.clone(),
        };
        origin.context_of(of_route)
    }

    pub(in crate::gateway) fn key(&self, authority: &Authority) -> Option<DeviceKey> {
        self.identity.key(authority)
    }

    /// True if equal calls may share a reply.
    pub(in crate::gateway) fn may_share(&self) -> bool {
        self.identity.device.is_some() && self.message.is_ok()
    }

    /// True if one reply may answer both calls.
    pub(in crate::gateway) fn is_equal(&self, other: &Self) -> bool {
        self.registration_id() == other.registration_id() && self.parts().eq(other.parts())
    }

    /// Equal calls have the same hash.
    pub(in crate::gateway) fn hash_into(&self, hasher: &mut impl Hasher) {
        self.registration_id().hash(hasher);
        self.parts().for_each(|part| part.hash(hasher));
    }

    /// Everything that the license server would see or that sidebeat reads, besides the registration.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (source, name) = match &self.identity.device {
            Some(DeviceIdentity { name, source }) => (source.name(), name.as_str()),
            None => ("", ""),
        };
        let OutgoingRequest { body, headers, method, path, query } = &self.onward;
        let query = query.as_deref().unwrap_or_default();
        let token = self.identity.token.as_ref().map(Secret::expose).unwrap_or_default();
        let words = [&*self.route_path, source, name, method.as_str(), path, query, token].map(str::as_bytes);
        // The refusal's shape depends on the origin.
        let origin = self.headers.get(header::ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
        let headers = headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        words.into_iter().chain([origin, body]).chain(headers)
    }

    fn registration_id(&self) -> Option<PlaybackId> {
        self.registration.as_ref().map(|registration| registration.id)
    }

    /// The bare DRM message, if the route's wrapping yields it.
    pub(in crate::gateway) fn challenge(&self, route: &LicenseRoute) -> Option<Cow<'_, [u8]>> {
        let bare = drm::configured_wrapping::unwrap(&route.license.wrapping.server_request, &self.onward.body).ok()?;
        let wrapped = drm::recognise(Direction::Request, None, None, &bare).map_or(true, |message| message.wrapped);
        (!wrapped).then_some(bare)
    }

    /// Time since the content token expired, if it certainly has. The first token of a comma list counts.
    pub(in crate::gateway) fn expired_for(&self, authority: &Authority, clock: Clock) -> Option<Duration> {
        let time = authority.time(clock)?;
        let leeway = authority.token_leeway().unwrap_or(CLOCK_LEEWAY);
        self.identity.claims.as_ref()?.expired_for(time).filter(|ago| *ago > leeway)
    }

    /// The time for which a kill is remembered, by the content token.
    pub(in crate::gateway) fn kill_memory(&self, authority: &Authority, clock: Clock) -> Option<Duration> {
        let time = authority.time(clock).unwrap_or_else(|| clock.wall());
        let token = self.identity.playback_token();
        // The id of an authorization is never reused.
        if self.is_authorized() { None } else { content_token::kill_memory(token, self.identity.claims.as_ref(), time) }
    }

    fn is_authorized(&self) -> bool {
        self.registration.as_ref().is_some_and(|registration| registration.block.is_some())
    }

    fn content(&self) -> Option<String> {
        if let Some(block) = self.registration.as_ref().and_then(|registration| registration.block.as_ref()) {
            return block.content_id.clone().map(kept_name);
        }
        self.identity.claims.as_ref()?.text("contentRights.0.contentId").map(kept_name)
    }

    pub(in crate::gateway) fn wants_session(&self, route: &LicenseRoute) -> bool {
        match (route.license.session_control, &self.identity.claims) {
            (SessionControlMode::Always, _) => true,
            (SessionControlMode::Never, _) => false,
            // An opaque or missing token does not rule a session out.
            (SessionControlMode::Auto, None) => true,
            (SessionControlMode::Auto, Some(claims)) => claims.wants_session() || self.asks_beside,
        }
    }
}

#[cfg(test)]
impl LicenseRequest {
    /// A call of some device with this body.
    pub(in crate::gateway) fn with_body(body: &str) -> Self {
        let identity = CallIdentity {
            claims: None,
            counted: crate::gateway::identity::account::SessionAccount::default(),
            device: Some(DeviceIdentity::default()),
            token: None,
            token_fault: None,
        };
        let onward = OutgoingRequest {
            body: body.to_owned().into(),
            headers: HeaderMap::new(),
            method: http::Method::POST,
            path: String::new(),
            query: None,
        };
        Self {
            asks_beside: false,
            authority: None,
            headers: HeaderMap::new(),
            identity,
            message: Err(UnrecognisedBody::Unknown),
            onward,
            registration: None,
            route_path: "/license".into(),
            tls: false,
            told: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn calls_are_equal_only_if_each_of_their_parts_is() {
        let call = || LicenseRequest::with_body("challenge");
        assert!(call().is_equal(&call()));
        let device = |name: &str| Some(DeviceIdentity { name: name.to_owned(), ..DeviceIdentity::default() });
        let header = (header::USER_AGENT, HeaderValue::from_static("player"));
        let changes: [&dyn Fn(&mut LicenseRequest); 9] = [
            &|call| call.identity.device = device("pad"),
            &|call| call.identity.token = Some(Secret::new("token")),
            &|call| call.onward.body = "challengf".to_owned().into(),
            &|call| call.onward.headers.extend([header.clone()]),
            &|call| call.onward.method = Method::GET,
            &|call| call.onward.path = "/path".to_owned(),
            &|call| call.onward.query = Some("a=b".to_owned()),
            &|call| call.headers.extend([(header::ORIGIN, HeaderValue::from_static("https://a.example"))]),
            &|call| call.route_path = "/licenses".into(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = call();
            change(&mut other);
            assert!(!call().is_equal(&other), "change {number}");
        }
        let [mut left, mut right] = [call(), call()];
        (left.onward.path, left.onward.query) = ("/ab".to_owned(), Some("c".to_owned()));
        (right.onward.path, right.onward.query) = ("/a".to_owned(), Some("bc".to_owned()));
        assert!(!left.is_equal(&right), "the same bytes, cut elsewhere");
    }
}
