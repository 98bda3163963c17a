//! Makes replies that come from no upstream.
//!
//! All have one form: RFC 9457 problem details with our members `error` and `incident`. They are never cached, and
//! the edge logs each once with the same incident, so that support can find it. The service adds the CORS headers.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};

use super::ReplyBody;
use super::refusal_help::ViewerPage;
use crate::ids::Incident;

/// Media type of problem details.
pub const PROBLEM_TYPE: &str = "application/problem+json";
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
        let detail = detail.unwrap_or(self.detail);
        let said = [("error", Some(self.error)), ("detail", Some(detail)), ("incident", Some(incident))];
        let said = said.into_iter().chain([("href", href), ("hrefTitle", title)]);
        let members = said.filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        problem(self.status, None, members).into()
    }

    fn told(self, incident: Incident, href: Option<&str>) -> Response<ReplyBody> {
        let incident = incident.to_string();
        let mut reply = own(self.status, PROBLEM_TYPE, Full::new(self.body(&incident, None, href, None)));
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

/// RFC 9457 problem details. Without a type and title of its own a problem has its status in words, as the RFC wants
/// it.
pub fn problem(status: StatusCode, kind: Option<(&str, &str)>, mut members: Map<String, Value>) -> String {
    let (kind, title) = kind.unwrap_or(("about:blank", status.canonical_reason().unwrap_or("Refused")));
    let first = [("type", kind.into()), ("title", title.into()), ("status", status.as_u16().into())];
    members.extend(first.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(members).to_string()
}

/// A JSON reply of our own; never cached.
pub fn json(status: StatusCode, value: &Value) -> Response<ReplyBody> {
    own(status, "application/json", Full::new(value.to_string().into()))
}

/// A reply of our own with a body of this media type; never cached.
pub fn own<B>(status: StatusCode, media_type: &'static str, body: B) -> Response<B> {
    let mut reply = uncached(status, body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

/// A reply without a body; never cached.
pub fn empty(status: StatusCode) -> Response<ReplyBody> {
    uncached(status, ReplyBody::default())
}

fn uncached<B>(status: StatusCode, body: B) -> Response<B> {
    let mut reply = Response::new(body);
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
