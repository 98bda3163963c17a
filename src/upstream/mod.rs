//! Outgoing HTTP, for the license servers and the authorities alike.
//!
//! Owns the connections to them: a [`ConnectionPool`] per runtime sends one fresh [`UpstreamCall`] at a time and
//! collects its [`UpstreamReply`] within a deadline and a size. Never passes a player's request through,
//! follows no redirect, decodes no body, and repeats nothing that may have been processed (but what is idempotent).
//! Called by `authority` and `gateway`; what a status means is theirs to say.

mod body_transfer;
mod connect;
mod connection;
mod fault;
mod framing;
mod hop_by_hop;
mod late_replies;
mod origin;
mod pool;
mod progress;
mod reply;
mod request;
mod retry;
mod shared_connect;
#[cfg(test)]
mod tests;
mod trust;

use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

pub use self::body_transfer::{Streamed, Transfer};
pub use self::fault::{CallPhase, UpstreamFault};
pub use self::hop_by_hop::strip as strip_hop_by_hop;
pub use self::late_replies::LateReply;
pub use self::pool::ConnectionPool;
pub use self::retry::{CallHold, HeldOutcome};
pub use self::trust::{Pins, Trust, TrustFault};
use crate::config::EndpointUrl;

/// One request. `Host` comes from the endpoint and `Content-Length` from the body, whatever
/// `headers` says; hop-by-hop headers in it are dropped.
#[derive(Clone)]
pub struct UpstreamCall<'a> {
    pub body: Bytes,
    /// For everything: opening a connection, sending, and the reply's last byte.
    pub deadline: Instant,
    /// Names the server; its path and query are not used.
    pub endpoint: &'a EndpointUrl,
    pub headers: HeaderMap,
    pub method: Method,
    pub path_and_query: PathAndQuery,
    /// Largest body of the reply, bytes.
    pub reply_max: usize,
}

/// A whole reply, without hop-by-hop headers. The body is as the server encoded it.
pub struct UpstreamReply {
    pub body: Bytes,
    pub headers: HeaderMap,
    pub status: StatusCode,
}
