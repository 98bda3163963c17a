//! Links the viewer of a refused call to the handler's page about it.
//!
//! The edge knows the host name of the call, and the handler the page's path. A host name that is not ours is never
//! written into a reply; then the link is the path alone.

use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Response, Uri};

use super::own_replies::RefusalTrace;
use super::{Handler, OutgoingBody};

/// A page that explains a refusal to a viewer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ViewerPage {
    /// Explanation in the viewer's language; `None` for the refusal's own words.
    pub detail: Option<String>,
    /// Tag of the language of `detail` and `title` (RFC 5646).
    pub language: String,
    /// Path of the page, from the root.
    pub path: String,
    pub title: String,
}

/// Facts of a request that its refusal needs.
pub(super) struct AskedCall {
    /// All lines of the header.
    accept_language: Vec<HeaderValue>,
    host: Option<HeaderValue>,
    /// True once the host name was found to be ours.
    pub(super) is_addressed: bool,
    pub(super) method: Method,
    tls: bool,
    pub(super) uri: Uri,
}

impl AskedCall {
    pub(super) fn of(parts: &Parts, tls: bool) -> Self {
        let header = |name| parts.headers.get(name).cloned();
        let host = header(HOST);
        let accept_language = parts.headers.get_all(ACCEPT_LANGUAGE).into_iter().cloned().collect();
        Self { accept_language, host, is_addressed: false, method: parts.method.clone(), tls, uri: parts.uri.clone() }
    }

    /// Adds the page to the body of a refusal, if the handler has one.
    pub(super) fn help(&self, handler: &dyn Handler, public_url: Option<&str>, reply: &mut Response<OutgoingBody>) {
        let Some(trace) = reply.extensions().get::<RefusalTrace>() else { return };
        let page = handler.viewer_page(self.uri.path(), trace.error, &trace.incident, &self.accept_language);
        let Some(page) = page else { return };
        let href = format!("{}{}", self.base(public_url).unwrap_or_default(), page.path);
        let body = trace.body(&page, &href);
        *reply.body_mut() = OutgoingBody::Whole(body.into());
        let language = HeaderValue::try_from(page.language).ok();
        reply.headers_mut().extend(language.map(|language| (CONTENT_LANGUAGE, language)));
    }

    /// URL by which the player reaches us.
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
