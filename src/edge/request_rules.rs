//! Checks a parsed request head by rules that hyper does not apply, as pure functions; and names every violation.
//!
//! hyper accepts what a proxy must not: a missing or second Host, a second Transfer-Encoding, a target that
//! contradicts its Host, CONNECT, a GET with a body. `head_scanner` finds what hyper hides, `plain_http` and
//! `watched_stream` read the first byte. Called once per request, before anything else; `service` tells the client, and
//! the counters use the label.

use std::fmt;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Method, Version};

use super::host::NamedHost;
use crate::upstream::strip_hop_by_hop;

/// Checks a head of either protocol; `tls` tells the default port that a host may leave out.
pub(super) fn check(parts: &Parts, tls: bool) -> Result<(), RequestViolation> {
    if parts.method == Method::CONNECT {
        return Err(RequestViolation::Connect);
    }
    check_encoding(&parts.headers)?;
    check_target(parts)?;
    check_host(parts, tls)?;
    check_body(parts)
}

/// Removes headers that concern this connection alone. `Expect` is one, because hyper has answered it.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
}

fn check_encoding(headers: &HeaderMap) -> Result<(), RequestViolation> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(_), None) if headers.contains_key(CONTENT_LENGTH) => Err(RequestViolation::BothLengths),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => Err(RequestViolation::EncodingUnknown),
    }
}

fn check_target(parts: &Parts) -> Result<(), RequestViolation> {
    let web = parts.uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    // RFC 9112 section 3.2.4: the asterisk is for OPTIONS alone.
    let path = match parts.uri.path() {
        "*" => parts.method == Method::OPTIONS,
        path => path.starts_with('/'),
    };
    if web && path { Ok(()) } else { Err(RequestViolation::TargetInvalid) }
}

fn check_host(parts: &Parts, tls: bool) -> Result<(), RequestViolation> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let target = parts.uri.authority().map(|authority| authority.as_str());
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(RequestViolation::HostTwice),
        (Some(host), None) => {
            let host = named_host(host.as_bytes())?;
            let default_port = if tls { 443 } else { 80 };
            // A target without a host, or with a user, differs from Host.
            let names_it = |target: &str| {
                NamedHost::parse(target.as_bytes()).is_some_and(|target| target.is_same(&host, default_port))
            };
            if target.is_none_or(names_it) { Ok(()) } else { Err(RequestViolation::HostMismatch) }
        }
        // HTTP/2 has `:authority` for it; HTTP/1.0 knew no Host; HTTP/1.1 must send it.
        (None, _) => match (parts.version, target) {
            (Version::HTTP_2 | Version::HTTP_10, Some(target)) => named_host(target.as_bytes()).map(|_host| ()),
            (Version::HTTP_10, None) => Ok(()),
            _ => Err(RequestViolation::HostMissing),
        },
    }
}

fn named_host(text: &[u8]) -> Result<NamedHost<'_>, RequestViolation> {
    NamedHost::parse(text).ok_or(RequestViolation::HostInvalid)
}

fn check_body(parts: &Parts) -> Result<(), RequestViolation> {
    let bodiless = parts.method == Method::GET || parts.method == Method::HEAD;
    let announced = parts.headers.contains_key(TRANSFER_ENCODING)
        || parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if bodiless && announced { Err(RequestViolation::BodyUnexpected) } else { Ok(()) }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum RequestViolation {
    /// A line of the head ends with a bare LF, which other parsers read differently.
    BareLineFeed,
    /// GET or HEAD with a body.
    BodyUnexpected,
    /// Content-Length and Transfer-Encoding together (RFC 9112 section 6.1).
    BothLengths,
    /// CONNECT: this is no tunnel.
    Connect,
    /// Transfer-Encoding more than once, or anything but `chunked`.
    EncodingUnknown,
    /// Host is not a host with an optional port.
    HostInvalid,
    /// The target and Host name different hosts.
    HostMismatch,
    HostMissing,
    HostTwice,
    /// The head cannot be read with certainty.
    Malformed,
    /// Plain HTTP on a port that speaks TLS.
    PlainHttp,
    /// The target is neither a path nor an absolute URL.
    TargetInvalid,
    /// TLS on a port that speaks plain HTTP.
    TlsUnexpected,
}

impl RequestViolation {
    pub const ALL: [Self; 13] = [
        Self::BareLineFeed,
        Self::BodyUnexpected,
        Self::BothLengths,
        Self::Connect,
        Self::EncodingUnknown,
        Self::HostInvalid,
        Self::HostMismatch,
        Self::HostMissing,
        Self::HostTwice,
        Self::Malformed,
        Self::PlainHttp,
        Self::TargetInvalid,
        Self::TlsUnexpected,
    ];

    /// Stable name: the `error` of the reply and a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::BodyUnexpected => "body_unexpected",
            Self::BothLengths => "both_lengths",
            Self::Connect => "connect",
            Self::EncodingUnknown => "encoding_unknown",
            Self::HostInvalid => "host_invalid",
            Self::HostMismatch => "host_mismatch",
            Self::HostMissing => "host_missing",
            Self::HostTwice => "host_twice",
            Self::Malformed => "malformed",
            Self::PlainHttp => "plain_http",
            Self::TargetInvalid => "target_invalid",
            Self::TlsUnexpected => "tls_unexpected",
        }
    }

    pub const fn detail(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of the request head ends without a carriage return",
            Self::BodyUnexpected => "GET and HEAD carry no body",
            Self::BothLengths => "Content-Length and Transfer-Encoding exclude each other",
            Self::Connect => "CONNECT is not served",
            Self::EncodingUnknown => "the only transfer encoding is chunked, once",
            Self::HostInvalid => "Host must be a host and an optional port",
            Self::HostMismatch => "the request target and Host name different hosts",
            Self::HostMissing => "Host is missing",
            Self::HostTwice => "Host is given twice",
            Self::Malformed => "the request head cannot be read with certainty",
            Self::PlainHttp => "this port speaks HTTPS: use the same URL with https:// in place of http://",
            Self::TargetInvalid => "the request target must be a path",
            Self::TlsUnexpected => "this port speaks plain HTTP: use the same URL with http:// in place of https://",
        }
    }
}

impl fmt::Display for RequestViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request};

    use super::*;

    type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], Result<(), RequestViolation>);

    fn verdict(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), RequestViolation> {
        verdict_over(false, version, method, uri, headers)
    }

    fn verdict_over(
        tls: bool,
        version: Version,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), RequestViolation> {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0, tls)
    }

    /// `http://h:80/` names `h` and `https://h:443/` does; with the other one's port they name other servers.
    #[test]
    fn a_host_without_a_port_means_the_default_port_of_its_connection() {
        for (tls, default, other) in [(false, 80, 443), (true, 443, 80)] {
            for (target, host, expected) in [
                (format!("https://h:{default}/a"), "h".to_owned(), Ok(())),
                ("https://h/a".to_owned(), format!("h:{default}"), Ok(())),
                (format!("https://h:{other}/a"), "h".to_owned(), Err(RequestViolation::HostMismatch)),
                ("https://h/a".to_owned(), format!("h:{other}"), Err(RequestViolation::HostMismatch)),
            ] {
                for version in [Version::HTTP_11, Version::HTTP_2] {
                    let found = verdict_over(tls, version, "POST", &target, &[("host", &host)]);
                    assert_eq!(found, expected, "TLS: {tls}, {target}, Host: {host}");
                }
            }
        }
    }

    #[test]
    fn http1_table() {
        let rows: &[Row] = &[
            ("POST", "/a", &[("host", "h")], Ok(())),
            ("POST", "/a", &[("host", "[::1]:8443")], Ok(())),
            ("POST", "/a", &[], Err(RequestViolation::HostMissing)),
            ("POST", "/a", &[("host", "")], Err(RequestViolation::HostInvalid)),
            ("POST", "/a", &[("host", "a b")], Err(RequestViolation::HostInvalid)),
            ("POST", "/a", &[("host", "u@h")], Err(RequestViolation::HostInvalid)),
            ("POST", "/a", &[("host", ":8080")], Err(RequestViolation::HostInvalid)),
            ("POST", "/a", &[("host", "h/x")], Err(RequestViolation::HostInvalid)),
            ("POST", "/a", &[("host", "h"), ("host", "h")], Err(RequestViolation::HostTwice)),
            ("POST", "http://h/a", &[("host", "h")], Ok(())),
            ("POST", "http://H:80/a", &[("host", "h")], Ok(())),
            ("POST", "http://h:81/a", &[("host", "h")], Err(RequestViolation::HostMismatch)),
            ("GET", "http://evil/a", &[("host", "h")], Err(RequestViolation::HostMismatch)),
            ("GET", "http://u@h/a", &[("host", "h")], Err(RequestViolation::HostMismatch)),
            ("GET", "http://h/a", &[], Err(RequestViolation::HostMissing)),
            ("GET", "ftp://h/a", &[("host", "h")], Err(RequestViolation::TargetInvalid)),
            ("GET", "h:80", &[("host", "h:80")], Err(RequestViolation::TargetInvalid)),
            ("GET", "*", &[("host", "h")], Err(RequestViolation::TargetInvalid)),
            ("OPTIONS", "*", &[("host", "h")], Ok(())),
            ("CONNECT", "h:443", &[("host", "h:443")], Err(RequestViolation::Connect)),
            ("POST", "/a", &[("host", "h"), ("transfer-encoding", "Chunked")], Ok(())),
            (
                "POST",
                "/a",
                &[("host", "h"), ("transfer-encoding", "gzip, chunked")],
                Err(RequestViolation::EncodingUnknown),
            ),
            (
                "POST",
                "/a",
                &[("host", "h"), ("transfer-encoding", "identity"), ("transfer-encoding", "chunked")],
                Err(RequestViolation::EncodingUnknown),
            ),
            (
                "POST",
                "/a",
                &[("host", "h"), ("transfer-encoding", "chunked"), ("content-length", "4")],
                Err(RequestViolation::BothLengths),
            ),
            ("GET", "/a", &[("host", "h"), ("content-length", "5")], Err(RequestViolation::BodyUnexpected)),
            ("HEAD", "/a", &[("host", "h"), ("transfer-encoding", "chunked")], Err(RequestViolation::BodyUnexpected)),
            ("GET", "/a", &[("host", "h"), ("content-length", "0")], Ok(())),
        ];
        for (method, uri, headers, expected) in rows {
            assert_eq!(verdict(Version::HTTP_11, method, uri, headers), *expected, "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn http2_takes_the_authority_for_the_host() {
        assert_eq!(verdict(Version::HTTP_2, "POST", "http://h/a", &[]), Ok(()));
        assert_eq!(verdict(Version::HTTP_2, "POST", "http://h/a", &[("host", "H")]), Ok(()));
        assert_eq!(verdict(Version::HTTP_2, "POST", "/a", &[("host", "h")]), Ok(()));
        assert_eq!(verdict(Version::HTTP_2, "POST", "/a", &[]), Err(RequestViolation::HostMissing));
        assert_eq!(
            verdict(Version::HTTP_2, "POST", "http://h/a", &[("host", "i")]),
            Err(RequestViolation::HostMismatch)
        );
        assert_eq!(verdict(Version::HTTP_2, "POST", "http://u@h/a", &[]), Err(RequestViolation::HostInvalid));
    }

    #[test]
    fn http10_needs_no_host() {
        assert_eq!(verdict(Version::HTTP_10, "POST", "/a", &[]), Ok(()));
        assert_eq!(
            verdict(Version::HTTP_10, "POST", "/a", &[("host", "h"), ("host", "i")]),
            Err(RequestViolation::HostTwice)
        );
    }

    #[test]
    fn every_connection_header_is_honoured() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "h"),
            ("connection", "keep-alive, Host"),
            ("connection", "x-auth, , bad name"),
            ("x-auth", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("expect", "100-continue"),
            ("x-kept", "1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        drop_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-kept"]);
    }
}
