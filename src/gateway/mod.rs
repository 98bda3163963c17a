//! Handles players' calls, from the request to the reply.
//!
//! Handles one call in this order: refuse what no route may see, find the route, read who asks (`identity`), let
//! the core decide ([`crate::sessions`]), then forward, renew or refuse. Holds no session and no connection. The
//! edge calls it; each worker has one instance.

mod authorize;
mod call_counters;
mod cmcd_report;
mod connection_guard;
mod control;
mod dot_segments;
mod identity;
mod license;
mod media;
mod onward_target;
mod own_url;
mod passed_headers;
mod query;
mod refusal;
mod restore;
mod route;
mod session_context;
mod upstream_reach;
mod via;

use std::future::ready;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use self::control::ControlPath;
use self::dot_segments::has_dot_segment;
pub use self::identity::watch::IdentityWatch;
use self::license::LicenseArrival;
pub use self::license::SingleFlight;
pub use self::media::MediaMemory;
pub use self::refusal::slot_tickets::SlotTickets;
use self::refusal::viewer_texts::{ViewerTexts, key_of};
use self::route::{AuthorizeRoute, GatewayRoute, LicenseRoute};
pub use self::route::{ConfiguredRoutes, Routes};
pub use self::via::ViaName;
use crate::authority::AuthorityClient;
use crate::clock::Clock;
use crate::config::{RouteKind, ViewerHeader};
use crate::edge::own_replies::{self, EdgeRefusal};
use crate::edge::{Handler, OutgoingBody, Peer, ReplyBody, ReplyFuture, RequestBody, VIEWER_PAGE, ViewerPage};
use crate::registrations::{BLACKOUT_PATH, Registrations};
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::upstream::ConnectionPool;

/// Everything that one worker needs to answer calls. Cheap to clone: each call takes a clone along.
#[derive(Clone)]
pub struct Gateway {
    pub client: AuthorityClient,
    pub clock: Clock,
    /// Shared by all workers.
    pub single_flight: Arc<SingleFlight>,
    /// Shared by all workers.
    pub identity_watch: Arc<IdentityWatch>,
    pub pool: ConnectionPool,
    /// The proxy's public URL, if players reach it by another name than their `Host` says.
    pub public_url: Option<Arc<str>>,
    pub registrations: Arc<Registrations>,
    /// Routes of the newest configuration.
    pub routes: Arc<ArcSwap<Routes>>,
    pub sessions: Arc<Sessions>,
    /// Facts learned from the media of playbacks; shared by all workers.
    pub media_memory: Arc<MediaMemory>,
    /// Shared by all workers.
    pub slot_tickets: Arc<SlotTickets>,
    pub tasks: Tasks,
    pub telemetry: Arc<Telemetry>,
    /// Shared by all workers.
    pub via: ViaName,
}

impl Handler for Arc<Gateway> {
    fn call(&self, peer: &Peer, request: Request<RequestBody>) -> ReplyFuture {
        self.answer(peer, request)
    }

    fn route_of(&self, path: &str) -> Option<String> {
        let routes = self.routes.load();
        let authorize = || routes.authorize(path).map(|(route, _)| route.config.path.clone());
        authorize().or_else(|| routes.find(path).map(|(route, _)| route.path.to_string()))
    }

    fn viewer_page(
        &self,
        path: &str,
        error: &str,
        incident: &str,
        accept_language: &[HeaderValue],
    ) -> Option<ViewerPage> {
        let routes = self.routes.load();
        let route = routes.find(path).map(|(route, _)| &**route);
        let texts = ViewerTexts::wished(&routes.texts, accept_language);
        Some(ViewerPage {
            detail: texts.own(key_of(error)).map(str::to_owned),
            language: texts.tag().to_owned(),
            path: refusal::page::path_of(route, error, incident),
            title: texts.text("page-title").to_owned(),
        })
    }
}

/// Kinds of calls. The number says where the path behind the route's path begins.
enum RoutedCall {
    Authorize(Arc<AuthorizeRoute>, usize),
    Control(Arc<GatewayRoute>, ControlPath, usize),
    License(LicenseRoute, usize),
    Media(Arc<GatewayRoute>, usize),
    Page(Arc<Routes>),
    /// The reply is there already.
    Ready(Response<OutgoingBody>),
}

impl Gateway {
    /// Answers one call. When the player hangs up, stop calls, reports and releases are still carried out, and a
    /// license call that was sent on; all other work is dropped with the connection.
    ///
    /// Each kind of call is a future of its own, so that a license call has no room for the state of the others.
    fn answer(self: &Arc<Self>, peer: &Peer, mut request: Request<RequestBody>) -> ReplyFuture {
        let (gateway, tasks) = (self.clone(), self.tasks.clone());
        let routed = self.find(peer, &mut request);
        let peer = peer.clone();
        match routed {
            RoutedCall::Authorize(route, at) => ReplyFuture::new(tasks, |hang_up| async move {
                let rest = rest_of(&request, at);
                let reply =
                    if hang_up.let_go() { nobody() } else { gateway.authorize(&route, &peer, &rest, request).await };
                reply.map(OutgoingBody::Whole)
            }),
            RoutedCall::Control(route, sign, at) => ReplyFuture::new(tasks, |_| async move {
                let rest = rest_of(&request, at);
                let rest = ControlPath::of(&rest).map_or(&*rest, |(_, rest)| rest);
                gateway.take_sign(&route, &peer, sign, rest, request).await.map(OutgoingBody::Whole)
            }),
            RoutedCall::License(route, at) => ReplyFuture::new(tasks, |hang_up| {
                let call = LicenseArrival::new(request, peer, route, at);
                gateway.license(call, hang_up)
            }),
            RoutedCall::Media(route, at) => ReplyFuture::new(tasks, |hang_up| async move {
                match route.config.media().filter(|_| !hang_up.let_go()) {
                    Some(media) => gateway.media(&route, media, &peer, &rest_of(&request, at), request).await,
                    None => nobody().map(OutgoingBody::Whole),
                }
            }),
            RoutedCall::Page(routes) => ReplyFuture::new(tasks, |_| async move {
                gateway.answer_page(&routes, request).await.map(OutgoingBody::Whole)
            }),
            RoutedCall::Ready(reply) => ReplyFuture::new(tasks, |hang_up| {
                hang_up.let_go();
                ready(reply)
            }),
        }
    }

    /// Finds the kind of the call. Also writes the headers that no player may write itself.
    fn find(&self, peer: &Peer, request: &mut Request<RequestBody>) -> RoutedCall {
        if let Some(refused) = self.unroutable(request) {
            return RoutedCall::Ready(refused.map(OutgoingBody::Whole));
        }
        let version = request.version();
        self.via.sign(version, request.headers_mut());
        let routes = self.routes.load_full();
        let path = request.uri().path();
        // The edge lets a page of any origin navigate to paths with these words, so they are answered before
        // anything else.
        if path.contains(VIEWER_PAGE) {
            return RoutedCall::Page(routes);
        }
        let at = |rest: &str| path.len() - rest.len();
        if let Some((route, rest)) = routes.authorize(path) {
            let (route, at) = (route.clone(), at(rest));
            write_viewer_headers(&route.config.viewer_headers, peer, request);
            return RoutedCall::Authorize(route, at);
        }
        let Some((route, rest)) = routes.find(path) else {
            return RoutedCall::Ready(self.no_route(&routes, path).map(OutgoingBody::Whole));
        };
        let at = at(rest);
        write_viewer_headers(&route.config.viewer_headers, peer, request);
        self.find_on(route, peer, request, at)
    }

    /// Finds the kind of a call on a license or media route.
    fn find_on(&self, route: &Arc<GatewayRoute>, peer: &Peer, request: &Request<RequestBody>, at: usize) -> RoutedCall {
        let rest = request.uri().path().get(at..).unwrap_or_default();
        if let (&Method::GET, Some(rest)) = (request.method(), control::of(rest)) {
            let (headers, query) = (request.headers(), request.uri().query());
            return RoutedCall::Ready(self.listen(route, peer, rest, headers, query));
        }
        let wrong_method = || RoutedCall::Ready(wrong_method().map(OutgoingBody::Whole));
        let is_post_or_get = matches!(*request.method(), Method::POST | Method::GET);
        match (&route.config.kind, ControlPath::of(rest)) {
            (RouteKind::Media(_), None) => RoutedCall::Media(route.clone(), at),
            (_, _) if !is_post_or_get => wrong_method(),
            (_, Some((sign, _))) => RoutedCall::Control(route.clone(), sign, at),
            (RouteKind::License(license), None) => RoutedCall::License(LicenseRoute::new(route, license), at),
        }
    }

    /// Refuses what no route may see.
    fn unroutable(&self, request: &Request<RequestBody>) -> Option<Response<ReplyBody>> {
        let path = request.uri().path();
        if has_dot_segment(path) {
            const DOT_SEGMENT_DETAIL: &str = "the path has a segment that is \".\" or \"..\"";
            return Some(refuse(StatusCode::BAD_REQUEST, "dot_segment", DOT_SEGMENT_DETAIL));
        }
        if path.strip_prefix(BLACKOUT_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            self.telemetry.metrics.refusal("blackout", "http");
            return Some(refuse(StatusCode::FORBIDDEN, "blackout", refusal::BLACKED_OUT));
        }
        if self.via.is_in(request.headers()) {
            self.telemetry.metrics.refusal("request_loop", "http");
            const PROXY_LOOP_DETAIL: &str =
                "this request has gone through this proxy before: an upstream of a route leads back here";
            return Some(refuse(StatusCode::LOOP_DETECTED, "request_loop", PROXY_LOOP_DETAIL));
        }
        None
    }

    fn no_route(&self, routes: &Routes, path: &str) -> Response<ReplyBody> {
        let mut refused = refuse(StatusCode::NOT_FOUND, "no_route", "no route of this proxy has this path");
        own_replies::note(&mut refused, routes.no_route_note(path, |name| self.telemetry.shown(name)));
        refused
    }

    /// Shows a refusal's page. Another path with the page's words in it gets 404.
    async fn answer_page(&self, routes: &Routes, request: Request<RequestBody>) -> Response<ReplyBody> {
        let path = request.uri().path().to_owned();
        let found = routes.find(&path);
        match (found, refusal::page::of(found.map_or(&path, |(_, rest)| rest))) {
            (Some((route, _)), Some(page)) => self.show_refusal(route, page, request).await,
            (None, Some(page)) => refusal::page::without_route(&routes.texts, page, &request),
            (_, None) => refuse(StatusCode::NOT_FOUND, "no_page", "no refusal has such a page"),
        }
    }
}

/// The path behind the route's path, which begins there.
fn rest_of(request: &Request<RequestBody>, at: usize) -> String {
    request.uri().path().get(at..).unwrap_or_default().to_owned()
}

fn wrong_method() -> Response<ReplyBody> {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "license calls are POST or GET")
}

/// Sets the route's viewer headers before anything reads the request, so that the player's own values never count.
fn write_viewer_headers(headers: &[ViewerHeader], peer: &Peer, request: &mut Request<RequestBody>) {
    for header in headers {
        header.write(peer.address, request.headers_mut());
    }
}

/// The reply to a caller that has gone; nobody reads it.
fn nobody() -> Response<ReplyBody> {
    own_replies::empty(StatusCode::NO_CONTENT)
}

fn overloaded() -> Response<ReplyBody> {
    refuse(StatusCode::FORBIDDEN, "overloaded", "too many large calls at once: come back later")
}

fn unknown_playback() -> Response<ReplyBody> {
    const UNKNOWN_PLAYBACK_DETAIL: &str = "this playback is not known here any more; authorize it again";
    refuse(StatusCode::FORBIDDEN, "unknown_playback", UNKNOWN_PLAYBACK_DETAIL)
}

fn refuse(status: StatusCode, error: &'static str, detail: &'static str) -> Response<ReplyBody> {
    EdgeRefusal { status, error, detail, close: false }.reply()
}
