//! Takes off a reply what its server says of itself, and not of what it sends.
//!
//! To a browser the reply is ours: a license server that says `Strict-Transport-Security` would take plain HTTP from
//! every port of our host, and one that says `Clear-Site-Data` would empty what pages keep there. Called for whatever an
//! upstream answers.

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
