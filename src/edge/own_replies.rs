//! Makes replies that come from no upstream.
//!
//! All have one form: RFC 9457 problem details with our members `error` and `incident`. They are never cached, and
//! the edge logs each once with the same incident, so that support can find it. The service adds the CORS headers.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::ReplyBody;
use super::refusal_help::ViewerPage;
use crate::ids::Incident;

/// The incident, in a header that scripts may read.
pub const INCIDENT: HeaderName = HeaderName::from_static("x-sidebeat-incident");

/// A refusal's status and reason, in words that hold nothing of the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EdgeRefusal {
    pub status: StatusCode,
    /// Stable name for programs.
    pub error: &'static str,
    /// Explanation for people.
    pub detail: &'static str,
    /// True if an HTTP/1.1 connection ends with this reply.
    pub close: bool,
}

/// Account and device of a refused call, as the log shows them. The handler attaches them to the reply.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RefusedCaller {
    pub account: Option<String>,
    pub device: Option<String>,
}

/// True if the reply is made from an [`EdgeRefusal`].
pub fn is_refusal<B>(reply: &Response<B>) -> bool {
    reply.extensions().get::<RefusalTrace>().is_some()
}

/// Attached to the reply for the edge, which knows the address and logs it.
#[derive(Clone, Debug)]
pub(super) struct RefusalTrace {
    pub(super) error: &'static str,
    pub(super) incident: String,
    /// Detail for the log alone.
    pub(super) note: Option<String>,
    refusal: EdgeRefusal,
}

impl RefusalTrace {
    /// The body with a link to a page that tells more, in the page's language; `href` is the page's URL.
    pub(super) fn body(&self, page: &ViewerPage, href: &str) -> Bytes {
        self.refusal.body(&self.incident, page.detail.as_deref(), Some(href), Some(&page.title))
    }
}

impl EdgeRefusal {
    pub fn reply(self) -> Response<ReplyBody> {
        let (mut reply, trace) = self.traced(None);
        reply.extensions_mut().insert(trace);
        reply
    }

    /// The reply, and its trace for the log. `href` is a URL that helps the caller.
    pub(super) fn traced(self, href: Option<&str>) -> (Response<ReplyBody>, RefusalTrace) {
        let incident = Incident::random();
        let trace = RefusalTrace { error: self.error, incident: incident.to_string(), note: None, refusal: self };
        (self.told(incident, href), trace)
    }

    fn body(self, incident: &str, detail: Option<&str>, href: Option<&str>, title: Option<&str>) -> Bytes {
        let mut text = serde_json::json!({
            "type": "about:blank", "title": self.status.canonical_reason(), "status": self.status.as_u16(),
            "error": self.error, "detail": detail.unwrap_or(self.detail), "incident": incident,
        });
        if let Some(text) = text.as_object_mut() {
            let help = [("href", href), ("hrefTitle", title)].into_iter();
            text.extend(help.filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        }
        text.to_string().into()
    }

    fn told(self, incident: Incident, href: Option<&str>) -> Response<ReplyBody> {
        let incident = incident.to_string();
        let mut reply = json(self.status, self.body(&incident, None, href, None));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Ok(incident) = HeaderValue::try_from(incident) {
            reply.headers_mut().insert(INCIDENT, incident);
        }
        if self.close {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, OPTIONS"));
        }
        reply
    }
}

/// Adds to a refusal's log line the part of the request that caused it. Must hold no token, key or query.
pub fn note<B>(reply: &mut Response<B>, note: String) {
    if let Some(trace) = reply.extensions_mut().get_mut::<RefusalTrace>() {
        trace.note = Some(note);
    }
}

/// A JSON reply of our own; never cached.
pub fn json(status: StatusCode, text: Bytes) -> Response<ReplyBody> {
    let mut reply = empty(status);
    *reply.body_mut() = Full::new(text);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// A reply without a body; never cached.
pub fn empty(status: StatusCode) -> Response<ReplyBody> {
    let mut reply = Response::new(ReplyBody::default());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_refusal_names_its_incident_twice() {
        let refusal = EdgeRefusal { status: StatusCode::FORBIDDEN, error: "overloaded", detail: "later", close: true };
        let reply = refusal.told(Incident(0), None);
        assert_eq!(reply.status(), 403);
        assert_eq!(reply.headers()[INCIDENT], "00000000");
        assert_eq!(reply.headers()[CONNECTION], "close");
        assert_eq!(reply.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(reply.headers()[CONTENT_TYPE], "application/problem+json");
        let text = reply.into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Forbidden", "status": 403,
            "error": "overloaded", "detail": "later", "incident": "00000000",
        });
        assert_eq!(told, expected);
    }
}
