//! Passes a parsed request to the handler, and its reply back to hyper.
//!
//! Applies the edge's rules in order: framing, origin, preflight, calls in flight. Adds the CORS headers to every
//! reply, and logs refusals. Each [`ConnectionService`] serves one connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::service::Service;

use super::address_limits::{AddressHandle, AddressKey, AddressShare};
use super::call_place::{CallPlace, RequestBody};
use super::connection::ConnectionWorker;
use super::connection_guards::ConnectionGuards;
use super::connection_state::{ConnectionState, ReceivingBody, UnansweredRequest};
use super::cors::{self, HOST_REFUSED, OriginDecision};
use super::counters::add;
use super::host::host_note;
use super::own_replies::{self, EdgeRefusal, RefusalTrace, RefusedCaller};
use super::permit_pool::Permit;
use super::refusal_help::AskedCall;
use super::request_rules::RequestViolation;
use super::viewer_address::ForwardedViewer;
use super::{OutgoingBody, Peer, ReplyBody, ReplyFuture, VIEWER_PAGE, body, request_rules};

pub(super) struct ConnectionService {
    /// Of `peer`, looked up once.
    pub(super) address: AddressHandle,
    pub(super) line: Arc<ConnectionState>,
    pub(super) peer: Peer,
    pub(super) worker: Arc<ConnectionWorker>,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<OutgoingBody>;
    type Error = Infallible;
    type Future = ReplyInProgress;

    fn call(&self, request: Request<Incoming>) -> ReplyInProgress {
        let broken = self.line.next();
        let running = UnansweredRequest::begin(&self.line);
        let (mut parts, body) = request.into_parts();
        let shared = &self.worker.shared;
        let mut caller = shared.cors.load().caller(&parts.headers);
        let for_viewers = parts.method.is_safe() && parts.uri.path().contains(VIEWER_PAGE);
        // The list of origins does not concern our own pages.
        if caller == OriginDecision::Refuse {
            let public_url = shared.public_url.load();
            let public_url = public_url.as_ref().map(|url| url.as_str());
            if for_viewers || cors::is_own_page(&parts.headers, parts.uri.authority(), public_url) {
                caller = OriginDecision::Ignore;
            }
        }
        let mut finish = ReplyFinish {
            close: parts.headers.contains_key(TRANSFER_ENCODING),
            preflight: (parts.method == Method::OPTIONS).then(|| parts.headers.clone()),
            guards: self.peer.guards.clone(),
            version: parts.version,
            worker: Arc::clone(&self.worker),
            address: AddressKey::of(self.peer.address),
            asked: AskedCall::of(&parts, self.peer.tls),
            caller,
        };
        if let Some(breach) = broken.or(request_rules::check(&parts, self.peer.tls).err()) {
            return ReplyInProgress::ready(self.refuse(breach), finish, running);
        }
        let addressed = shared.cors.load().admits_host(&parts.headers, parts.uri.authority(), self.peer.tls);
        finish.asked.is_addressed = addressed;
        // A page that is not on the list gets nothing done, because browsers send a simple POST without a preflight.
        let answers_preflights = !self.worker.shared.cors.load().is_left_to_the_handler();
        if (parts.method == Method::OPTIONS && answers_preflights) || finish.caller == OriginDecision::Refuse {
            let finish = ReplyFinish { close: finish.close || !body.is_end_stream(), ..finish };
            return ReplyInProgress::ready(self.preflight(&finish, &parts.headers), finish, running);
        }
        // A page on the list has sent its origin. A page that has rebound its name to us sends none with a GET.
        if finish.caller == OriginDecision::Ignore && !addressed && !for_viewers {
            add(&shared.counters.refused_hosts);
            let mut reply = HOST_REFUSED.reply();
            own_replies::note(&mut reply, host_note(&parts));
            return ReplyInProgress::ready(reply, finish, running);
        }
        request_rules::drop_hop_by_hop(&mut parts.headers);
        let viewer = self.viewer(&parts.headers);
        let peer = viewer.as_ref().unwrap_or(&self.peer);
        let finish = ReplyFinish { address: AddressKey::of(peer.address), ..finish };
        let receiving = (!body.is_end_stream()).then(|| ReceivingBody::begin(&self.line));
        let address = match &viewer {
            Some(viewer) => shared.addresses.handle(viewer.address),
            None => self.address.clone(),
        };
        let place = match CallPlace::begin(shared, address, receiving) {
            Ok(place) => place,
            Err(refusal) => return ReplyInProgress::ready(refusal.refusal().reply(), finish, running),
        };
        add(&shared.counters.calls);
        let body = RequestBody::new(body, Arc::clone(&place));
        let reply = self.worker.handler.call(peer, Request::from_parts(parts, body)).at(place.clone());
        let state = ReplyState::Call { place, reply, _unanswered: shared.unanswered.enter() };
        ReplyInProgress { state: Some(state), finish, running: Some(running), share: None }
    }
}

impl ConnectionService {
    /// The viewer that a trusted proxy names; `None` if the peer calls for itself.
    fn viewer(&self, headers: &HeaderMap) -> Option<Peer> {
        match self.worker.shared.forwarding.load().read(self.peer.address, headers) {
            ForwardedViewer::Nothing => None,
            ForwardedViewer::Unreadable => {
                add(&self.worker.shared.counters.forwarded_unreadable);
                tracing::debug!(proxy = %self.peer.address, "a trusted proxy names no viewer that can be read");
                None
            }
            ForwardedViewer::Viewer(address) => Some(Peer {
                address,
                certificate: None,
                limits: Arc::clone(&self.peer.limits),
                proxy: Some(self.peer.address),
                guards: ConnectionGuards::of_a_proxy(),
                tls: self.peer.tls,
            }),
        }
    }

    fn refuse(&self, breach: RequestViolation) -> Response<ReplyBody> {
        self.worker.shared.counters.breach(breach);
        let status =
            if breach == RequestViolation::Connect { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::BAD_REQUEST };
        EdgeRefusal { status, error: breach.label(), detail: breach.detail(), close: true }.reply()
    }

    fn preflight(&self, finish: &ReplyFinish, headers: &HeaderMap) -> Response<ReplyBody> {
        let shared = &self.worker.shared;
        let mut reply = shared.cors.load().preflight(&finish.caller);
        if finish.caller == OriginDecision::Refuse {
            add(&shared.counters.refused_origins);
            own_replies::note(&mut reply, cors::origin_note(headers));
        }
        reply
    }
}

/// A reply in progress. Saves an allocation: no boxed future around the handler's boxed one.
pub(super) struct ReplyInProgress {
    state: Option<ReplyState>,
    finish: ReplyFinish,
    running: Option<UnansweredRequest>,
    /// Set once the reply is there.
    share: Option<Arc<AddressShare>>,
}

enum ReplyState {
    Call { place: Arc<CallPlace>, reply: ReplyFuture, _unanswered: Option<Permit> },
    Ready(Response<OutgoingBody>),
}

/// The changes to a reply before it leaves.
struct ReplyFinish {
    address: AddressKey,
    /// Facts for a refusal's log line.
    asked: AskedCall,
    caller: OriginDecision,
    close: bool,
    preflight: Option<HeaderMap>,
    guards: ConnectionGuards,
    version: Version,
    worker: Arc<ConnectionWorker>,
}

impl ReplyInProgress {
    fn ready(reply: Response<ReplyBody>, finish: ReplyFinish, running: UnansweredRequest) -> Self {
        Self {
            state: Some(ReplyState::Ready(reply.map(OutgoingBody::from))),
            finish,
            running: Some(running),
            share: None,
        }
    }
}

impl Future for ReplyInProgress {
    type Output = Result<Response<OutgoingBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(ReplyState::Call { place, reply, .. }) = &mut self.state {
            let reply = ready!(Pin::new(reply).poll(cx));
            let share = place.answered();
            self.share = share;
            self.state = Some(ReplyState::Ready(reply));
        }
        match self.state.take() {
            Some(ReplyState::Ready(reply)) => {
                let is_last = self.running.as_ref().is_some_and(UnansweredRequest::is_last);
                let reply = self.finish.apply(reply, is_last);
                Poll::Ready(Ok(match self.running.take() {
                    Some(running) => reply.map(|body| body.within(running, self.share.take())),
                    None => reply,
                }))
            }
            Some(ReplyState::Call { .. }) | None => Poll::Pending,
        }
    }
}

impl ReplyFinish {
    /// Applies the changes. With `is_last` the connection ends with this reply.
    fn apply(&self, mut reply: Response<OutgoingBody>, is_last: bool) -> Response<OutgoingBody> {
        if let Some(fault) = reply.extensions().get::<body::BodyFault>() {
            self.worker.shared.counters.body(*fault);
        }
        if let Some(trace) = reply.extensions().get::<RefusalTrace>() {
            let caller = reply.extensions().get::<RefusedCaller>();
            let AskedCall { method, uri, .. } = &self.asked;
            let asked = || (known_method(method), self.worker.handler.route_of(uri.path()));
            self.worker.shared.log_refusal(self.address, trace, reply.status(), caller, asked);
            let public_url = self.worker.shared.public_url.load();
            self.asked.help(&*self.worker.handler, public_url.as_ref().map(|url| url.as_str()), &mut reply);
        }
        let headers = reply.headers_mut();
        self.worker.shared.cors.load().mark(&self.caller, self.preflight.as_ref(), headers);
        if self.version == Version::HTTP_2 {
            // RFC 9113 section 8.2.2: such a field makes the reply malformed.
            headers.remove(CONNECTION);
        } else if self.close || is_last || self.worker.shared.announce.is_cancelled() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if headers.contains_key(CONNECTION) {
            self.guards.end();
        }
        reply
    }
}

/// Names the method for the log. An unknown method could be any text.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("another")
}
