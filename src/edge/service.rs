//! From a parsed request to the handler, and from its reply back to hyper.
//!
//! Owns the order of the edge's rules: framing, origin, preflight, calls in flight. Adds the CORS
//! headers to whatever is answered, and logs what is refused. One [`Calls`] serves one connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::service::Service;

use super::address_limits::{AddressKey, AddressShare};
use super::breach::Breach;
use super::conn::Worker;
use super::cors::{self, Caller, HOST_REFUSED};
use super::counters::add;
use super::host_rules::host_note;
use super::line::{Line, Receiving, Running};
use super::permit::Permit;
use super::refusal_help::AskedCall;
use super::reply::{self, Refusal, RefusalTrace, RefusedCaller};
use super::request_body::{CallPlace, RequestBody};
use super::ties::Ties;
use super::viewer::Told;
use super::{Peer, Reply, ReplyBody, Sending, VIEWER_PAGE, body, guard};

pub(super) struct Calls {
    pub(super) line: Arc<Line>,
    pub(super) peer: Peer,
    pub(super) worker: Arc<Worker>,
}

impl Service<Request<Incoming>> for Calls {
    type Response = Response<Sending>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let broken = self.line.next();
        let running = Running::begin(&self.line);
        let (mut parts, body) = request.into_parts();
        let shared = &self.worker.shared;
        let mut caller = shared.cors.load().caller(&parts.headers);
        let for_viewers = parts.method.is_safe() && parts.uri.path().contains(VIEWER_PAGE);
        // Of our own pages no list says anything.
        if caller == Caller::Refuse {
            let public_url = shared.public_url.load();
            let public_url = public_url.as_ref().map(|url| url.as_str());
            if for_viewers || cors::is_own_page(&parts.headers, parts.uri.authority(), public_url) {
                caller = Caller::Ignore;
            }
        }
        let mut finish = Finish {
            close: parts.headers.contains_key(TRANSFER_ENCODING),
            preflight: (parts.method == Method::OPTIONS).then(|| parts.headers.clone()),
            ties: self.peer.ties.clone(),
            version: parts.version,
            worker: Arc::clone(&self.worker),
            address: AddressKey::of(self.peer.address),
            asked: AskedCall::of(&parts, self.peer.tls),
            caller,
        };
        if let Some(breach) = broken.or(guard::check(&parts, self.peer.tls).err()) {
            return Answer::ready(self.refuse(breach), finish, running);
        }
        let addressed = shared.cors.load().admits_host(&parts.headers, parts.uri.authority(), self.peer.tls);
        finish.asked.is_addressed = addressed;
        // A page that is not on the list gets nothing done either: browsers send a simple POST unasked.
        let answers_preflights = !self.worker.shared.cors.load().is_left_to_the_handler();
        if (parts.method == Method::OPTIONS && answers_preflights) || finish.caller == Caller::Refuse {
            let finish = Finish { close: finish.close || !body.is_end_stream(), ..finish };
            return Answer::ready(self.preflight(&finish, &parts.headers), finish, running);
        }
        // A page that is on the list has said so; one that has rebound its name to us says nothing by a GET.
        if finish.caller == Caller::Ignore && !addressed && !for_viewers {
            add(&shared.counters.refused_hosts);
            let mut reply = HOST_REFUSED.reply();
            reply::note(&mut reply, host_note(&parts));
            return Answer::ready(reply, finish, running);
        }
        guard::drop_hop_by_hop(&mut parts.headers);
        let viewer = self.viewer(&parts.headers);
        let peer = viewer.as_ref().unwrap_or(&self.peer);
        let finish = Finish { address: AddressKey::of(peer.address), ..finish };
        let receiving = (!body.is_end_stream()).then(|| Receiving::begin(&self.line));
        let place = match CallPlace::begin(shared, peer.address, receiving) {
            Ok(place) => place,
            Err(refusal) => return Answer::ready(refusal.refusal().reply(), finish, running),
        };
        add(&shared.counters.calls);
        let body = RequestBody::new(body, Arc::clone(&place));
        let reply = self.worker.handler.call(peer, Request::from_parts(parts, body)).at(place.clone());
        let state = State::Call { place, reply, _unanswered: shared.unanswered.enter() };
        Answer { state: Some(state), finish, running: Some(running), share: None }
    }
}

impl Calls {
    /// For whom a trusted proxy calls; none where the peer calls for itself.
    fn viewer(&self, headers: &HeaderMap) -> Option<Peer> {
        match self.worker.shared.forwarding.load().read(self.peer.address, headers) {
            Told::Nothing => None,
            Told::Unreadable => {
                add(&self.worker.shared.counters.forwarded_unreadable);
                tracing::debug!(proxy = %self.peer.address, "a trusted proxy names no viewer that can be read");
                None
            }
            Told::Viewer(address) => Some(Peer {
                address,
                certificate: None,
                limits: Arc::clone(&self.peer.limits),
                proxy: Some(self.peer.address),
                ties: Ties::of_a_proxy(),
                tls: self.peer.tls,
            }),
        }
    }

    fn refuse(&self, breach: Breach) -> Response<ReplyBody> {
        self.worker.shared.counters.breach(breach);
        let status = if breach == Breach::Connect { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::BAD_REQUEST };
        Refusal { status, error: breach.label(), detail: breach.detail(), close: true }.reply()
    }

    fn preflight(&self, finish: &Finish, headers: &HeaderMap) -> Response<ReplyBody> {
        let shared = &self.worker.shared;
        let mut reply = shared.cors.load().preflight(&finish.caller);
        if finish.caller == Caller::Refuse {
            add(&shared.counters.refused_origins);
            reply::note(&mut reply, cors::origin_note(headers));
        }
        reply
    }
}

/// A reply on its way: one allocation less than a boxed future around the handler's boxed one.
pub(super) struct Answer {
    state: Option<State>,
    finish: Finish,
    running: Option<Running>,
    /// Once the reply is there.
    share: Option<Arc<AddressShare>>,
}

enum State {
    Call { place: Arc<CallPlace>, reply: Reply, _unanswered: Option<Permit> },
    Ready(Response<Sending>),
}

/// What is done to a reply before it leaves.
struct Finish {
    address: AddressKey,
    /// For the line of a refusal.
    asked: AskedCall,
    caller: Caller,
    close: bool,
    preflight: Option<HeaderMap>,
    ties: Ties,
    version: Version,
    worker: Arc<Worker>,
}

impl Answer {
    fn ready(reply: Response<ReplyBody>, finish: Finish, running: Running) -> Self {
        Self { state: Some(State::Ready(reply.map(Sending::from))), finish, running: Some(running), share: None }
    }
}

impl Future for Answer {
    type Output = Result<Response<Sending>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(State::Call { place, reply, .. }) = &mut self.state {
            let reply = ready!(Pin::new(reply).poll(cx));
            let share = place.answered();
            self.share = share;
            self.state = Some(State::Ready(reply));
        }
        match self.state.take() {
            Some(State::Ready(reply)) => {
                let is_last = self.running.as_ref().is_some_and(Running::is_last);
                let reply = self.finish.apply(reply, is_last);
                Poll::Ready(Ok(match self.running.take() {
                    Some(running) => reply.map(|body| body.within(running, self.share.take())),
                    None => reply,
                }))
            }
            Some(State::Call { .. }) | None => Poll::Pending,
        }
    }
}

impl Finish {
    /// `is_last`: the connection ends with it.
    fn apply(&self, mut reply: Response<Sending>, is_last: bool) -> Response<Sending> {
        if let Some(fault) = reply.extensions().get::<body::Fault>() {
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
            self.ties.end();
        }
        reply
    }
}

/// A method that is none of HTTP's own can be any text.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("another")
}
