//! Replies that no upstream made.
//!
//! Owns their one shape: RFC 9457 problem details with `error` and `incident` of ours, never cached, and logged once on
//! its way out with the same incident, so that a caller on the phone can be helped. CORS headers are the
//! service's to add.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::ReplyBody;
use super::refusal_help::ViewerPage;
use crate::ids::Incident;

/// Carries the incident where a script may read it.
pub const INCIDENT: HeaderName = HeaderName::from_static("x-sidebeat-incident");

/// What a client is told, and why, in words that hold nothing of its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EdgeRefusal {
    pub status: StatusCode,
    /// Stable, for programs.
    pub error: &'static str,
    /// For people.
    pub detail: &'static str,
    /// Whether an HTTP/1.1 connection ends with this reply.
    pub close: bool,
}

/// Whose call was refused, in the words of the log; goes with the reply to the edge, where the handler knows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RefusedCaller {
    pub account: Option<String>,
    pub device: Option<String>,
}

/// Whether the reply is a [`EdgeRefusal`]'s.
pub fn is_refusal<B>(reply: &Response<B>) -> bool {
    reply.extensions().get::<RefusalTrace>().is_some()
}

/// Goes with the reply to the edge, which knows the address and logs it.
#[derive(Clone, Debug)]
pub(super) struct RefusalTrace {
    pub(super) error: &'static str,
    pub(super) incident: String,
    /// For the log alone.
    pub(super) note: Option<String>,
    refusal: EdgeRefusal,
}

impl RefusalTrace {
    /// The refusal's body, which leads to a page that tells more, in the page's language; `href` is the page's URL.
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

    /// The reply, and what is to be logged of it. `href`: a URL where the caller gets on.
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

/// Says in the log line of a refusal what in the request it was for. Must hold no token, key or query.
pub fn note<B>(reply: &mut Response<B>, note: String) {
    if let Some(trace) = reply.extensions_mut().get_mut::<RefusalTrace>() {
        trace.note = Some(note);
    }
}

/// A JSON text of our own; never cached.
pub fn json(status: StatusCode, text: Bytes) -> Response<ReplyBody> {
    let mut reply = empty(status);
    *reply.body_mut() = Full::new(text);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// Without a body; never cached.
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
