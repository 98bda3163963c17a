//! Leads the viewer of a refused call to the handler's page about it.
//!
//! The edge knows by which name the call came, and the handler where its pages are. A name that we do not answer to is
//! never written into a reply: then the page is named by its path alone.

use http::header::{ACCEPT_LANGUAGE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Response, Uri};

use super::reply::RefusalTrace;
use super::{Handler, Sending};

/// A page that tells a viewer of a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ViewerPage {
    /// Rooted.
    pub path: String,
    pub title: String,
}

/// What must be known of a request if it is refused.
pub(super) struct AskedCall {
    accept_language: Option<HeaderValue>,
    host: Option<HeaderValue>,
    /// Whether its name for us is one to be repeated: not before it has been looked at.
    pub(super) is_addressed: bool,
    pub(super) method: Method,
    tls: bool,
    pub(super) uri: Uri,
}

impl AskedCall {
    pub(super) fn of(parts: &Parts, tls: bool) -> Self {
        let header = |name| parts.headers.get(name).cloned();
        let (accept_language, host) = (header(ACCEPT_LANGUAGE), header(HOST));
        Self { accept_language, host, is_addressed: false, method: parts.method.clone(), tls, uri: parts.uri.clone() }
    }

    /// Adds the page to the body of a refusal, if the handler has one.
    pub(super) fn help(&self, handler: &dyn Handler, public_url: Option<&str>, reply: &mut Response<Sending>) {
        let Some(trace) = reply.extensions().get::<RefusalTrace>() else { return };
        let page = handler.viewer_page(self.uri.path(), trace.error, &trace.incident, self.accept_language.as_ref());
        let Some(page) = page else { return };
        let href = format!("{}{}", self.base(public_url).unwrap_or_default(), page.path);
        let body = trace.body(&href, Some(&page.title));
        *reply.body_mut() = Sending::Whole(body.into());
    }

    /// How its player reaches us.
    fn base(&self, public_url: Option<&str>) -> Option<String> {
        if let Some(url) = public_url {
            return Some(url.to_owned());
        }
        let host = || self.host.as_ref()?.to_str().ok();
        let host = self.uri.authority().map(http::uri::Authority::as_str).or_else(host);
        let scheme = if self.tls { "https" } else { "http" };
        host.filter(|_| self.is_addressed).map(|host| format!("{scheme}://{host}"))
    }
}
