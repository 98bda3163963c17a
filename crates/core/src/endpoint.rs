//! A URL that sidebeat may call: `http` or `https`, with a host, without user or fragment. Configuration, authorities
//! and records hold such URLs.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Eq, PartialEq)]
pub struct EndpointUrl {
    uri: Uri,
    host: String,
    port: u16,
    tls: bool,
}

impl EndpointUrl {
    /// # Errors
    /// The fault, without the text, which may hold a key.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('#') {
            return Err("must not have a fragment (#)");
        }
        let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let tls = begins("https://");
        if !tls && !begins("http://") {
            return Err("must begin with http:// or https://");
        }
        let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("must not hold a user name or password");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("names no host");
        }
        // The parser accepts anything behind the brackets of an address.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => Some(if tls { 443 } else { 80 }),
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()),
            None => None,
        };
        let port = port.ok_or("has something else than a port behind its host")?;
        Ok(Self { host, port, tls, uri })
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port for a person.
    pub fn host_and_port(&self) -> String {
        let bracketed = self.host.contains(':');
        if bracketed { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The value of the `Host` header.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    pub fn path(&self) -> &str {
        self.uri.path()
    }

    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// Path and query; `/` if the URL has neither.
    pub fn path_and_query(&self) -> PathAndQuery {
        self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
    }
}

/// Writes the whole URL with its query, which a record needs.
impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.uri)
    }
}

impl<'de> Deserialize<'de> for EndpointUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for EndpointUrl {
    /// Shows the URL without its query, which may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path())
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_its_parts() {
        for (text, host, port, tls, authority, path) in [
            ("https://drm.example", "drm.example", 443, true, "drm.example", "/"),
            ("http://drm.example/a?b", "drm.example", 80, false, "drm.example", "/a"),
            ("http://[::1]:9200/x", "::1", 9200, false, "[::1]:9200", "/x"),
        ] {
            let endpoint = EndpointUrl::parse(text).unwrap();
            assert_eq!((endpoint.host(), endpoint.port(), endpoint.tls()), (host, port, tls), "{text}");
            assert_eq!((endpoint.authority(), endpoint.path()), (authority, path), "{text}");
        }
    }

    #[test]
    fn a_url_that_is_no_endpoint_is_refused() {
        for (text, what) in [
            ("", "must begin with http:// or https://"),
            ("https://drm.example/a b", "is not a URL"),
            ("drm.example/a", "must begin with http:// or https://"),
            ("drm.example:8443/a", "must begin with http:// or https://"),
            ("https:/drm.example/", "must begin with http:// or https://"),
            ("/license", "must begin with http:// or https://"),
            ("ftp://drm.example", "must begin with http:// or https://"),
            ("https://u:p@drm.example", "must not hold a user name or password"),
            ("https://drm.example/#a", "must not have a fragment (#)"),
            ("http://:80/", "names no host"),
            // A check of the host's end and a connection would take different hosts.
            ("http://[::1].cdn.example/", "has something else than a port behind its host"),
            ("http://[::1]x:80/", "has something else than a port behind its host"),
            ("http://drm.example:65536/", "has something else than a port behind its host"),
        ] {
            assert_eq!(EndpointUrl::parse(text).err(), Some(what), "{text}");
        }
    }

    #[test]
    fn the_query_is_not_shown() {
        let endpoint = EndpointUrl::parse("https://drm.example/a?key=hush").unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}"), "https://drm.example/a https://drm.example/a");
        assert_eq!(endpoint.query(), Some("key=hush"));
    }
}
