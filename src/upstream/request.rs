//! Builds the fresh request from a call; nothing is taken from a player's request.
//!
//! Adds `Host` and `Content-Length` to the caller's headers, and writes the target for either version of HTTP.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::{UpstreamCall, hop_by_hop};

/// Larger heads and fields are refused by common servers (nginx before 1.19.7 takes fields up to 4 KiB).
const MAX_REQUEST_FIELD_BYTES: usize = 4 * 1024;
const MAX_REQUEST_HEAD_BYTES: usize = 16 * 1024;
/// Bytes that HTTP/2 counts per field besides name and value (RFC 9113, 6.5.2).
const HTTP2_FIELD_OVERHEAD_BYTES: usize = 32;

pub(super) type UpstreamRequest = Request<Full<Bytes>>;

/// The target of a request.
pub(super) struct RequestTarget {
    pub(super) authority: Authority,
    pub(super) host: HeaderValue,
}

fn fresh(call: &UpstreamCall<'_>) -> UpstreamRequest {
    let (mut headers, body) = (call.headers.clone(), call.body.clone());
    hop_by_hop::strip(&mut headers);
    headers.remove(EXPECT);
    if needs_length(call) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    } else {
        headers.remove(CONTENT_LENGTH);
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = Uri::from(call.path_and_query.clone());
    *request.headers_mut() = headers;
    request
}

/// True for a body, and where the method lets the server expect one.
pub(super) fn needs_length(call: &UpstreamCall<'_>) -> bool {
    !call.body.is_empty() || matches!(call.method, Method::PATCH | Method::POST | Method::PUT)
}

/// True if the head is so large that a server may end the connection, with all calls on it. A caller decides the
/// length of its tokens.
pub(super) fn has_large_head(call: &UpstreamCall<'_>) -> bool {
    let path = call.path_and_query.as_str().len();
    let fields = call.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let (longest, whole) = fields.fold((path, path), |(longest, whole), field| {
        (longest.max(field), whole.saturating_add(field + HTTP2_FIELD_OVERHEAD_BYTES))
    });
    longest > MAX_REQUEST_FIELD_BYTES || whole > MAX_REQUEST_HEAD_BYTES
}

/// The request as HTTP/1.1 names its target.
pub(super) fn for_http1(call: &UpstreamCall<'_>, target: &RequestTarget) -> UpstreamRequest {
    let mut request = fresh(call);
    request.headers_mut().insert(HOST, target.host.clone());
    request
}

/// The request as HTTP/2 names its target.
pub(super) fn for_http2(call: &UpstreamCall<'_>, target: &RequestTarget) -> UpstreamRequest {
    let mut request = fresh(call);
    request.headers_mut().remove(HOST);
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(target.authority.clone());
    // All three parts are there, so this cannot fail; if it did, h2 would fail the call.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}
