//! Reads the bodies of operators' orders: how large and how slow they may be.

use std::time::Duration;

use bytes::Bytes;

use crate::edge::RequestBody;
use crate::edge::body::{self, BodyFault};

/// Largest body of all: a playback with its authorization.
pub(super) const MAX_REGISTRATION_BYTES: usize = 256 * 1024;
/// Largest body that moves a slot: `{"device": "…"}`.
pub(super) const MAX_SLOT_ORDER_BYTES: usize = 4096;
pub(super) const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn collect(incoming: RequestBody, max_bytes: usize) -> Result<Bytes, BodyFault> {
    body::collect(incoming, max_bytes, ORDER_TIMEOUT).await
}
