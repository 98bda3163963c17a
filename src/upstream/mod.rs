//! Outgoing HTTP, for license servers, origins and authorities.
//!
//! Owns the connections to them. Each runtime has a [`ConnectionPool`] that sends a fresh [`UpstreamCall`] and
//! collects its [`UpstreamReply`] within a deadline and a size. It never passes a player's request through, follows
//! no redirect, decodes no body, and repeats only idempotent requests and those that were certainly not processed.
//! `authority` and `gateway` call it and interpret the status.

mod body_transfer;
mod connect;
mod connection;
mod fault;
mod framing;
mod hop_by_hop;
mod http1_body;
mod http1_connection;
mod http1_reply_head;
mod late_replies;
mod origin;
mod pool;
mod reply;
mod request;
mod retry;
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

/// A request. `Host` comes from the endpoint and `Content-Length` from the body, whatever `headers` says. Hop-by-hop
/// headers are dropped.
#[derive(Clone)]
pub struct UpstreamCall<'a> {
    pub body: Bytes,
    /// Covers everything: opening a connection, sending, and the last byte of the reply.
    pub deadline: Instant,
    /// Names the server; its path and query are not used.
    pub endpoint: &'a EndpointUrl,
    pub headers: HeaderMap,
    pub method: Method,
    pub path_and_query: PathAndQuery,
    /// Largest body of the reply, bytes.
    pub reply_max: usize,
}

/// A whole reply, without hop-by-hop headers. The body keeps the server's encoding.
pub struct UpstreamReply {
    pub body: Bytes,
    pub headers: HeaderMap,
    pub status: StatusCode,
}
