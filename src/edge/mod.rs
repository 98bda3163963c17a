//! Bytes to typed calls: listeners, TLS, connections, framing, CORS.
//!
//! Owns every socket that players connect to and every deadline on it. Knows no route, no device
//! and no DRM: what survives its rules goes to a [`Handler`], whose reply it sends.

mod address_limits;
pub mod body;
mod certificate_expiry;
mod connection;
mod connection_guards;
mod connection_lifetime;
mod connection_place;
mod connection_registry;
mod connection_state;
mod cors;
mod counters;
mod descriptors;
mod exposed_headers;
mod head_scanner;
mod held_connection_end;
mod host;
mod host_rules;
mod listen;
pub mod local_ca;
pub mod own_replies;
mod permit_pool;
mod plain_http;
mod proxy_protocol;
mod refusal_help;
mod reply_body;
mod request_body;
mod request_rules;
mod request_violation;
mod role;
mod serve;
mod service;
mod serving;
mod shared;
mod stall_timeout;
mod stalled_stream;
mod tls;
mod viewer_address;
mod watched_stream;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;

use crate::task::CarriedCall;

pub use self::address_limits::{AddressKey, AddressLimits, AddressResource, AddressShare};
pub use self::connection_guards::{ConnectionGuards, ConnectionScoped};
pub use self::cors::{Cors, OriginDecision, has_browser_headers, is_own_page, only_value};
pub use self::counters::EdgeCounters;
pub use self::listen::BoundListener;
pub use self::refusal_help::ViewerPage;
pub use self::reply_body::{CountedBody, CutReply, OutgoingBody};
pub use self::request_body::{CallRefusal, RequestBody};
pub use self::request_violation::RequestViolation;
pub use self::serve::{BoundAddress, Edge, EdgeFault, ReloadableTerms};
pub use self::serving::Serving;
pub use self::tls::{CertificateFault, Certificates, CheckedCertificate, read_client_ca};

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The viewer's: that of the connection's other end or, where a trusted proxy speaks there, the one for
    /// which it calls. All that is counted or told by address goes by this one. Never an IPv4-mapped one.
    pub address: IpAddr,
    /// What its address may take, for what the handler itself hands out.
    pub limits: Arc<AddressLimits>,
    /// SHA-256 of the client's certificate, hex, when one was asked for and verified.
    pub certificate: Option<String>,
    /// The trusted proxy that named `address`, if one did.
    pub proxy: Option<IpAddr>,
    /// What the handler leaves with the connection.
    pub ties: ConnectionGuards,
    pub tls: bool,
}

/// What the paths of pages for viewers have in them. They do nothing by GET and stand in no frame, so any page may lead
/// there, and whoever reads one comes from anywhere.
pub const VIEWER_PAGE: &str = "/~refused/";

/// A reply that is there as a whole, which most are.
pub type ReplyBody = Full<Bytes>;

/// Boxed, so that an idle connection holds one pointer and not the whole story of a call.
pub type ReplyFuture = CarriedCall<Response<OutgoingBody>>;

pub trait Handler: Send + Sync + 'static {
    /// Called for every request that passed the framing rules; OPTIONS is answered before. The
    /// reply's CORS headers are added by the edge.
    fn call(&self, peer: &Peer, request: Request<RequestBody>) -> ReplyFuture;

    /// What serves this path, by its name in the configuration, for the log line of a call that is refused. Nothing else
    /// of a path may be written: it can hold what only its player may know.
    fn route_of(&self, _path: &str) -> Option<String> {
        None
    }

    /// The page about the refusal of a call of this path. None: nobody reads pages here.
    fn viewer_page(
        &self,
        _path: &str,
        _error: &str,
        _incident: &str,
        _accept_language: &[HeaderValue],
    ) -> Option<ViewerPage> {
        None
    }
}
