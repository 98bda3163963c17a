//! One call to an authority as it goes out, and as it came back.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::config::Endpoint;
use crate::session::AskKind;

/// Always a POST.
pub(super) struct Wire<'a> {
    pub(super) body: Bytes,
    pub(super) endpoint: &'a Endpoint,
    pub(super) headers: HeaderMap,
}

pub(super) struct Asked<'a> {
    pub(super) body: &'a [u8],
    pub(super) kind: AskKind,
    pub(super) status: StatusCode,
}
