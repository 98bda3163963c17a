//! Handles players' calls, from the request to the reply.
//!
//! Handles one call in this order: refuse what no route may see, find the route, read who asks (`identity`), let
//! the core decide ([`crate::sessions`]), then forward, renew or refuse. Holds no session and no connection. The
//! edge calls it; each worker has one instance.

mod authorize;
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

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use self::control::ControlPath;
use self::dot_segments::has_dot_segment;
pub use self::identity::watch::IdentityWatch;
pub use self::license::SingleFlight;
pub use self::media::MediaMemory;
pub use self::refusal::slot_tickets::SlotTickets;
use self::refusal::viewer_texts::{ViewerTexts, key_of};
use self::route::LicenseRoute;
pub use self::route::{ConfiguredRoutes, Routes};
pub use self::via::ViaName;
use crate::authority::AuthorityClient;
use crate::clock::Clock;
use crate::config::{RouteKind, ViewerHeader};
use crate::edge::own_replies::{self, EdgeRefusal};
use crate::edge::{Handler, OutgoingBody, Peer, ReplyBody, ReplyFuture, RequestBody, VIEWER_PAGE, ViewerPage};
use crate::registrations::{BLACKOUT_PATH, Registrations};
use crate::sessions::Sessions;
use crate::task::{HangUp, Tasks};
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
        let (gateway, peer) = (self.clone(), peer.clone());
        ReplyFuture::new(self.tasks.clone(), |hang_up| async move { gateway.answer(&peer, request, &hang_up).await })
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

impl Gateway {
    /// Answers one call. When the player hangs up, stop calls, reports and releases are still carried out; all
    /// other work is dropped with the connection (`hang_up`).
    async fn answer(&self, peer: &Peer, mut request: Request<RequestBody>, hang_up: &HangUp) -> Response<OutgoingBody> {
        if has_dot_segment(request.uri().path()) {
            return refuse(StatusCode::BAD_REQUEST, "dot_segment", "the path has a segment that is \".\" or \"..\"")
                .map(OutgoingBody::Whole);
        }
        if request.uri().path().strip_prefix(BLACKOUT_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            self.telemetry.metrics.refusal("blackout", "http");
            return refuse(StatusCode::FORBIDDEN, "blackout", refusal::BLACKED_OUT).map(OutgoingBody::Whole);
        }
        if self.via.is_in(request.headers()) {
            self.telemetry.metrics.refusal("request_loop", "http");
            const PROXY_LOOP_DETAIL: &str =
                "this request has gone through this proxy before: an upstream of a route leads back here";
            return refuse(StatusCode::LOOP_DETECTED, "request_loop", PROXY_LOOP_DETAIL).map(OutgoingBody::Whole);
        }
        let version = request.version();
        self.via.sign(version, request.headers_mut());
        let routes = self.routes.load_full();
        // The edge lets a page of any origin navigate to paths with these words, so they are answered before
        // anything else.
        if request.uri().path().contains(VIEWER_PAGE) {
            return self.answer_page(&routes, request).await.map(OutgoingBody::Whole);
        }
        if let Some((route, rest)) = routes.authorize(request.uri().path()) {
            let rest = rest.to_owned();
            write_viewer_headers(&route.config.viewer_headers, peer, &mut request);
            if hang_up.let_go() {
                return nobody().map(OutgoingBody::Whole);
            }
            return self.authorize(route, peer, &rest, request).await.map(OutgoingBody::Whole);
        }
        let Some((route, rest)) = routes.find(request.uri().path()) else {
            let mut refused = refuse(StatusCode::NOT_FOUND, "no_route", "no route of this proxy has this path");
            let note = routes.no_route_note(request.uri().path(), |name| self.telemetry.shown(name));
            own_replies::note(&mut refused, note);
            return refused.map(OutgoingBody::Whole);
        };
        let rest = rest.to_owned();
        write_viewer_headers(&route.config.viewer_headers, peer, &mut request);
        if let (&Method::GET, Some(rest)) = (request.method(), control::of(&rest)) {
            hang_up.let_go();
            return self.listen(route, peer, rest, request.headers(), request.uri().query());
        }
        match (&route.config.kind, ControlPath::of(&rest)) {
            (_, Some(_)) if !is_post_or_get(request.method()) => wrong_method().map(OutgoingBody::Whole),
            (_, Some((sign, rest))) => self.take_sign(route, peer, sign, rest, request).await.map(OutgoingBody::Whole),
            (RouteKind::License(license), None) => {
                let route = LicenseRoute::new(route, license);
                self.answer_license_call(&route, peer, &rest, request, hang_up).await.map(OutgoingBody::Whole)
            }
            (RouteKind::Media(_), None) if hang_up.let_go() => nobody().map(OutgoingBody::Whole),
            (RouteKind::Media(media), None) => self.media(route, media, peer, &rest, request).await,
        }
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

    async fn answer_license_call(
        &self,
        route: &LicenseRoute,
        peer: &Peer,
        rest: &str,
        request: Request<RequestBody>,
        hang_up: &HangUp,
    ) -> Response<ReplyBody> {
        if is_post_or_get(request.method()) {
            self.license(route, peer, rest, request, hang_up).await
        } else {
            wrong_method()
        }
    }
}

fn is_post_or_get(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::GET)
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
