//! Turns bytes into typed calls: listeners, TLS, connections, framing, CORS.
//!
//! Owns every socket that players connect to and every deadline on it. Knows no route, device or DRM system. A
//! request that passes its rules goes to a [`Handler`], whose reply is sent.

mod address_limits;
pub mod body;
mod call_place;
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
mod listen;
pub mod local_ca;
pub mod own_replies;
mod parking;
mod passed_reply;
mod permit_pool;
mod plain_http;
mod proxy_protocol;
mod refusal_help;
mod reply_body;
mod request_rules;
mod serve;
mod service;
mod serving;
mod shared;
mod stall_timeout;
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
pub use self::call_place::{CallRefusal, RequestBody};
pub use self::connection_guards::{ConnectionGuards, ConnectionScoped};
pub use self::cors::{Cors, OriginDecision, has_browser_headers, is_own_page, only_value};
pub use self::counters::EdgeCounters;
pub use self::listen::BoundListener;
pub use self::passed_reply::passed_on;
pub use self::refusal_help::ViewerPage;
pub use self::reply_body::{CountedBody, CutReply, OutgoingBody};
pub use self::request_rules::RequestViolation;
pub use self::serve::{BoundAddress, Edge, EdgeFault, ReloadableTerms};
pub use self::serving::Serving;
pub use self::tls::{CertificateFault, Certificates, CheckedCertificate, CheckedTlsFiles, read_client_ca};

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The viewer's address: the connection's other end or, behind a trusted proxy, the address that the proxy names.
    /// All limits and logs use this one. Never IPv4-mapped.
    pub address: IpAddr,
    /// Limits of the address, for resources that the handler itself hands out.
    pub limits: Arc<AddressLimits>,
    /// SHA-256 of the client's certificate, hex, when one was asked for and verified.
    pub certificate: Option<String>,
    /// The trusted proxy that named `address`, if one did.
    pub proxy: Option<IpAddr>,
    /// Values that the handler leaves with the connection.
    pub guards: ConnectionGuards,
    pub tls: bool,
}

/// Part of the path of every page for viewers. Such a page does nothing by GET and stands in no frame, so any page
/// may link to it.
pub const VIEWER_PAGE: &str = "/~refused/";

/// A reply that is whole in memory, as most are.
pub type ReplyBody = Full<Bytes>;

/// Boxed, so that an idle connection holds only a pointer for its call.
pub type ReplyFuture = CarriedCall<Response<OutgoingBody>>;

pub trait Handler: Send + Sync + 'static {
    /// Answers a request that passed the framing rules. OPTIONS was answered before. The edge adds the CORS headers.
    fn call(&self, peer: &Peer, request: Request<RequestBody>) -> ReplyFuture;

    /// Configured name of the route that serves this path, for the log line of a refused call. The path itself is
    /// never logged, because it may hold a secret.
    fn route_of(&self, _path: &str) -> Option<String> {
        None
    }

    /// Page about the refusal of a call of this path; `None` if no viewer reads pages here.
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
