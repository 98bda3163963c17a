//! Removes reply headers by which a server describes itself and not its content.
//!
//! To a browser the reply is ours. A license server's `Strict-Transport-Security` would forbid plain HTTP on
//! every port of our host, and its `Clear-Site-Data` would empty the storage of pages. Called for every reply of
//! an upstream.

use http::header::{ALT_SVC, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderName};

static OF_THE_SERVER: [HeaderName; 9] = [
    ALT_SVC,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("expect-ct"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("origin-agent-cluster"),
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    STRICT_TRANSPORT_SECURITY,
];

pub(super) fn take_off(headers: &mut HeaderMap) {
    for name in &OF_THE_SERVER {
        headers.remove(name);
    }
}
