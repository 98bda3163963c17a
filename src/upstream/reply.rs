//! Collects a reply, bounded in size and without the headers of its connection.
//!
//! The caller has the deadline. Keeps `Content-Encoding` and `Content-Type`, decodes nothing.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::framing::{self, ConnectionReuse};
use super::{UpstreamFault, UpstreamReply, hop_by_hop};

/// The head of a reply, and its unread body.
pub(super) struct OpenedReply {
    pub(super) body: Incoming,
    pub(super) headers: HeaderMap,
    pub(super) reuse: ConnectionReuse,
    pub(super) status: StatusCode,
}

/// Collects a reply. A body that announces a larger length is not read.
pub(super) async fn collect(
    response: Response<Incoming>,
    max: usize,
) -> Result<(UpstreamReply, ConnectionReuse), UpstreamFault> {
    let OpenedReply { body, headers, reuse, status } = open(response)?;
    let body = whole(body, max).await?;
    Ok((UpstreamReply { body, headers, status }, reuse))
}

pub(super) fn open(response: Response<Incoming>) -> Result<OpenedReply, UpstreamFault> {
    let (mut head, body) = response.into_parts();
    // Upgrades are never requested.
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamFault::Malformed);
    }
    let reuse = framing::mend(head.status, &mut head.headers)?;
    hop_by_hop::strip(&mut head.headers);
    Ok(OpenedReply { body, headers: head.headers, reuse, status: head.status })
}

async fn whole(mut body: Incoming, max: usize) -> Result<Bytes, UpstreamFault> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > max {
        return Err(UpstreamFault::TooLarge);
    }
    // Most replies are one chunk, which is not copied.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(chunk) = frame.map_err(|error| UpstreamFault::of(&error))?.into_data() else { continue };
        if chunk.len() > max - first.len().max(rest.len()) {
            return Err(UpstreamFault::TooLarge);
        }
        if first.is_empty() && rest.is_empty() {
            first = chunk;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(expected.max(first.len() + chunk.len()));
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&chunk);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
