//! One call to an authority as it goes out, and as it came back.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::config::Endpoint;
use crate::session::AskKind;

pub(super) struct AuthorityRequest<'a> {
    pub(super) body: Bytes,
    pub(super) endpoint: &'a Endpoint,
    pub(super) headers: HeaderMap,
    pub(super) method: Method,
    /// In place of the endpoint's own path and query.
    pub(super) path: Option<String>,
}

pub(super) struct AuthorityReply<'a> {
    pub(super) body: &'a [u8],
    pub(super) kind: AskKind,
    pub(super) status: StatusCode,
}
