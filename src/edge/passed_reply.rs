//! Passes on an upstream's reply, without the headers by which its server describes itself and not its content.
//!
//! To a browser the reply is ours. A license server's `Strict-Transport-Security` would forbid plain HTTP on
//! every port of our host, and its `Clear-Site-Data` would empty the storage of pages. Every reply of an upstream
//! is made here.

use http::header::{ALT_SVC, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderName, Response, StatusCode};

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

/// A reply of an upstream for the player.
pub fn passed_on<B>(status: StatusCode, mut headers: HeaderMap, body: B) -> Response<B> {
    // Nearly every reply has none of them, and a look at the names that are there costs less than nine searches.
    while let Some(name) = headers.keys().find_map(|name| OF_THE_SERVER.iter().find(|known| *known == name)) {
        headers.remove(name);
    }
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}
