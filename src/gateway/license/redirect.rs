//! Decides whether a license server's redirect is followed, and to where (RFC 9110, sections 10.2.2 and 15.4).
//!
//! A redirect is followed only to the same server, because the request carries tokens, and only with the same
//! method. `Location` is resolved against the URL that was asked.

use std::borrow::Cow;

use http::header::LOCATION;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::config::EndpointUrl;
use crate::manifest::UriBase;
use crate::upstream::{UpstreamCall, UpstreamReply};

/// A longer chain of different URLs counts as a loop.
const MAX_REDIRECTS: usize = 5;
/// ASCII characters that servers write into `Location` though no request line may hold them. Characters beyond
/// ASCII are always encoded.
const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// Reasons not to follow a redirect.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::gateway) enum RedirectFault {
    #[error("the license server sends us to another server; set license-server to its final URL")]
    Elsewhere,
    #[error("the license server's redirects lead back to where they began")]
    Loop,
    #[error("the license server's redirect would change the method: only 307 and 308 keep it")]
    Method,
    #[error("the license server redirects more than {MAX_REDIRECTS} times")]
    TooMany,
    #[error("the license server redirects without a Location that can be read")]
    Unreadable,
}

impl RedirectFault {
    /// Name for metrics and the refusal.
    pub(in crate::gateway) fn name(self) -> &'static str {
        match self {
            Self::Elsewhere | Self::Method | Self::Unreadable => "redirect",
            Self::Loop | Self::TooMany => "redirect_loop",
        }
    }
}

/// The paths that one call has asked before its redirects. Most calls have none.
#[derive(Default)]
pub(in crate::gateway) struct RedirectTrail {
    asked: Vec<PathAndQuery>,
}

impl RedirectTrail {
    /// Path and query of the next hop. `None` if the reply is no redirect and goes to the player.
    pub(in crate::gateway) fn follow(
        &mut self,
        call: &UpstreamCall<'_>,
        reply: &UpstreamReply,
    ) -> Result<Option<String>, RedirectFault> {
        let keeps_method = match reply.status {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => call.method == Method::GET,
            status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => false,
            _ => return Ok(None),
        };
        if !keeps_method {
            return Err(RedirectFault::Method);
        }
        let mut locations = reply.headers.get_all(LOCATION).iter();
        let (Some(location), None) = (locations.next(), locations.next()) else {
            return Err(RedirectFault::Unreadable);
        };
        self.asked.push(call.path_and_query.clone());
        let path = resolve(call, location)?;
        if self.asked.iter().any(|asked| asked.as_str() == path) {
            return Err(RedirectFault::Loop);
        }
        if self.asked.len() > MAX_REDIRECTS {
            return Err(RedirectFault::TooMany);
        }
        Ok(Some(path))
    }
}

fn resolve(call: &UpstreamCall<'_>, location: &HeaderValue) -> Result<String, RedirectFault> {
    let server = call.endpoint;
    let location: Cow<'_, str> = percent_encode(location.as_bytes().trim_ascii(), UNFIT).into();
    let location = location.split('#').next().unwrap_or_default();
    if location.is_empty() {
        return Err(RedirectFault::Loop);
    }
    let path = call.path_and_query.path();
    let base = UriBase { authority: server.authority(), path, root: "/", tls: server.tls() };
    let target = base.absolute(location).ok_or(RedirectFault::Elsewhere)?;
    let scheme = if target.tls { "https" } else { "http" };
    let there =
        EndpointUrl::parse(&format!("{scheme}://{}", target.authority)).map_err(|_| RedirectFault::Unreadable)?;
    let is_same = there.tls() == server.tls()
        && there.host().eq_ignore_ascii_case(server.host())
        && there.port() == server.port();
    if is_same { Ok(target.path) } else { Err(RedirectFault::Elsewhere) }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::clock::Clock;

    fn reply(status: u16, locations: &[&str]) -> UpstreamReply {
        let mut headers = HeaderMap::new();
        for location in locations {
            headers.append(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap());
        }
        UpstreamReply { body: Default::default(), headers, status: StatusCode::from_u16(status).unwrap() }
    }

    fn call<'a>(endpoint: &'a EndpointUrl, method: Method, path: &str) -> UpstreamCall<'a> {
        UpstreamCall {
            body: Default::default(),
            deadline: Clock.now(),
            endpoint,
            headers: HeaderMap::new(),
            method,
            path_and_query: path.parse().unwrap(),
            reply_max: 0,
        }
    }

    fn followed(method: Method, status: u16, locations: &[&str]) -> Result<String, RedirectFault> {
        let server = EndpointUrl::parse("https://lic.example:8443/a/b?c=d").unwrap();
        let call = call(&server, method, "/a/b/issue?c=d");
        let path = RedirectTrail::default().follow(&call, &reply(status, locations))?;
        Ok(path.unwrap_or_else(|| call.path_and_query.to_string()))
    }

    #[test]
    fn a_redirect_is_resolved_against_the_url_that_was_asked() {
        for (location, path) in [
            ("/x?y=1", "/x?y=1"),
            ("v2/issue", "/a/b/v2/issue"),
            ("../v2/x", "/a/v2/x"),
            ("../../../x", "/x"),
            (".", "/a/b/"),
            ("./x?y=../z", "/a/b/x?y=../z"),
            ("?x", "/a/b/issue?x"),
            ("?x#f", "/a/b/issue?x"),
            ("v2/issue#f?x", "/a/b/v2/issue"),
            ("//lic.example:8443/z", "/z"),
            ("//LIC.example:8443/z?q#f", "/z?q"),
            ("https://lic.example:8443/z?q", "/z?q"),
            ("HTTPS://lic.example:8443", "/"),
            ("https://lic.example:8443?q", "/?q"),
            ("/a b/\u{e4}", "/a%20b/%C3%A4"),
            ("/a%20b", "/a%20b"),
            (" /x ", "/x"),
        ] {
            for status in [307, 308] {
                let found = followed(Method::POST, status, &[location]);
                assert_eq!(found, Ok(path.to_owned()), "{status} {location:?}");
            }
        }
    }

    #[test]
    fn a_redirect_is_followed_to_the_same_server_alone_and_only_with_the_same_method() {
        use RedirectFault::{Elsewhere, Loop, Method as OtherMethod, Unreadable};
        for (location, fault) in [
            ("http://lic.example:8443/z", Elsewhere),
            ("https://lic.example/z", Elsewhere),
            ("https://other.example:8443/z", Elsewhere),
            ("//other.example:8443/z", Elsewhere),
            ("\\\\other.example:8443/z", Elsewhere),
            ("https://lic.example:8443.other.example/z", Unreadable),
            ("https://lic.example:8443@other.example/z", Unreadable),
            ("https://u@lic.example:8443/z", Unreadable),
            ("data:text/plain,x", Elsewhere),
            ("", Loop),
            ("#f", Loop),
            ("issue?c=d", Loop),
            ("https://lic.example:8443/a/b/issue?c=d", Loop),
        ] {
            assert_eq!(followed(Method::POST, 307, &[location]), Err(fault), "{location:?}");
        }
        assert_eq!(followed(Method::POST, 307, &[]), Err(Unreadable));
        assert_eq!(followed(Method::POST, 307, &["/x", "/y"]), Err(Unreadable));
        for status in [301, 302, 303] {
            assert_eq!(followed(Method::POST, status, &["/x"]), Err(OtherMethod), "{status}");
            assert_eq!(followed(Method::GET, status, &["/x"]), Ok("/x".to_owned()), "{status}");
        }
        for status in [300, 305, 306] {
            assert_eq!(followed(Method::GET, status, &["/x"]), Err(OtherMethod), "{status}");
        }
        for status in [200, 304, 404] {
            assert_eq!(followed(Method::POST, status, &["/x"]), Ok("/a/b/issue?c=d".to_owned()), "{status}");
        }
    }

    #[test]
    fn circles_and_long_ways_end() {
        let server = EndpointUrl::parse("https://lic.example").unwrap();
        let mut call = call(&server, Method::POST, "/a");
        let mut circle = RedirectTrail::default();
        assert_eq!(circle.follow(&call, &reply(307, &["b"])), Ok(Some("/b".to_owned())));
        call.path_and_query = PathAndQuery::from_static("/b");
        assert_eq!(circle.follow(&call, &reply(307, &["./a"])), Err(RedirectFault::Loop));
        let mut long = RedirectTrail::default();
        for hop in 0..MAX_REDIRECTS {
            let next = long.follow(&call, &reply(308, &[&format!("/{hop}")])).unwrap().unwrap();
            call.path_and_query = next.parse().unwrap();
        }
        assert_eq!(long.follow(&call, &reply(308, &["/more"])), Err(RedirectFault::TooMany));
    }
}
