//! The story of one call: from a player's request to its reply.
//!
//! Reads who asks for what (`asked`), lets the core decide ([`crate::sessions`]), and then forwards,
//! renews or refuses. Holds no session and no connection; decides nothing that the core decides.
//! Called by the edge, one instance per worker.

mod asked;
mod expiry;
mod flight;
mod forward;
mod identity;
mod license;
mod media;
mod query;
mod refusal;
mod renewal;
mod route;
mod signs;
mod twin;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

pub use self::flight::Flights;
pub use self::media::Shelf;
use self::route::Route;
pub use self::route::Routes;
use self::signs::Sign;
use crate::authority::Client;
use crate::clock::Clock;
use crate::edge::reply::Refusal;
use crate::edge::{Handler, Peer, Reply, ReplyBody, Sending};
use crate::playbacks::Registrations;
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::upstream::Pool;

/// What one worker needs to answer calls. Cheap to clone: every call takes one along.
#[derive(Clone)]
pub struct Gateway {
    pub body: Duration,
    pub body_max: usize,
    /// For one call in all.
    pub call: Duration,
    pub client: Client,
    pub clock: Clock,
    /// Those of all workers.
    pub flights: Arc<Flights>,
    pub pool: Pool,
    pub registrations: Arc<Registrations>,
    pub routes: Arc<Routes>,
    pub sessions: Arc<Sessions>,
    /// What media of playbacks has shown; that of all workers.
    pub shelf: Arc<Shelf>,
    pub tasks: Tasks,
    pub telemetry: Arc<Telemetry>,
}

impl Handler for Arc<Gateway> {
    fn call(&self, peer: &Peer, request: Request<Incoming>) -> Reply {
        let (gateway, peer) = (self.clone(), peer.clone());
        Box::pin(async move { gateway.answer(&peer, request).await })
    }
}

impl Gateway {
    async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response<Sending> {
        let Some((route, rest)) = self.routes.find(request.uri().path()) else {
            return refuse(StatusCode::NOT_FOUND, "no_route", "no route of this proxy has this path")
                .map(Sending::from);
        };
        let rest = rest.to_owned();
        if let Some(media) = route.config.media.as_deref()
            && Sign::of(&rest).is_none()
        {
            return self.media(route, media, peer, &rest, request).await;
        }
        self.answer_license(route, peer, rest, request).await.map(Sending::from)
    }

    async fn answer_license(
        &self,
        route: &Arc<Route>,
        peer: &Peer,
        rest: String,
        request: Request<Incoming>,
    ) -> Response<ReplyBody> {
        match (request.method(), Sign::of(&rest)) {
            (&Method::POST | &Method::GET, Some((sign, rest))) => {
                self.take_sign(route, peer, sign, rest, request).await
            }
            (&Method::POST | &Method::GET, None) => self.license(route, peer, &rest, request).await,
            (_, _) => refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "license calls are POST or GET"),
        }
    }
}

fn refuse(status: StatusCode, error: &'static str, detail: &'static str) -> Response<ReplyBody> {
    Refusal { status, error, detail, close: false }.reply()
}
