//! Decides by which names players may call us, if `server.origins` is a list.
//!
//! A page can let its own name resolve to our address (DNS rebinding). It then has our origin, and its GETs carry no
//! `Origin`, but `Host` holds its name. An address in `Host` cannot be rebound, and over TLS the certificate
//! protects.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use crate::config::{AllowedOrigins, HostPattern, ServerSettings};
use crate::secret::clean_name;

#[derive(Clone, Debug, Default)]
pub(super) struct HostRules {
    /// `None` if any name is accepted.
    names: Option<Vec<HostPattern>>,
}

impl HostRules {
    pub(super) fn of(server: &ServerSettings) -> Self {
        match server.origins {
            AllowedOrigins::Any => Self::default(),
            AllowedOrigins::List(_) => Self { names: Some(server.host_names.clone()) },
        }
    }

    /// Decides about a request. `headers` have at most one `Host`. Only HTTP/1.0 may lack one, which no browser
    /// speaks.
    pub(super) fn admits(&self, headers: &HeaderMap, target: Option<&Authority>, tls: bool) -> bool {
        let Some(names) = self.names.as_ref().filter(|_| !tls) else { return true };
        let host = match (target, headers.get(HOST)) {
            (Some(target), _) => target.clone(),
            (None, Some(written)) => match Authority::try_from(written.as_bytes()) {
                Ok(host) => host,
                Err(_) => return false,
            },
            (None, None) => return true,
        };
        let bare = host.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let is_local = bare.eq_ignore_ascii_case("localhost")
            || bare.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("localhost"));
        is_local
            || bare.parse::<IpAddr>().is_ok()
            || names.iter().any(|name| name.fits(bare) || name.fits(host.as_str()))
    }
}

/// Names the unknown host, for the person who has to add it.
pub(super) fn host_note(parts: &Parts) -> String {
    let written = || parts.headers.get(HOST).map(|host| clean_name(host.as_bytes()));
    let target = parts.uri.authority().map(|target| clean_name(target.as_str().as_bytes()));
    format!("host {}", target.or_else(written).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn admits(names: Option<&[&str]>, host: &str, tls: bool) -> bool {
        let pattern = |name: &&str| match name.strip_prefix("*.") {
            Some(end) => HostPattern::Below(format!(".{end}")),
            None => HostPattern::Exact((*name).to_owned()),
        };
        let rules = HostRules { names: names.map(|names| names.iter().map(pattern).collect()) };
        let headers = [(HOST, HeaderValue::from_str(host).unwrap())].into_iter().collect();
        rules.admits(&headers, None, tls)
    }

    #[test]
    fn a_name_that_a_page_let_resolve_to_us_is_refused() {
        let names = Some(&["tv.home.arpa", "*.proxy.example"][..]);
        for (host, good) in [
            ("127.0.0.1:8080", true),
            ("192.168.1.2", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            ("tv.localhost", true),
            ("TV.home.arpa:8080", true),
            ("tv.home.arpa.", true),
            ("a.proxy.example", true),
            ("evil.example:8080", false),
            ("evil.example:", false),
            ("evil.example.:80", false),
            ("", false),
            ("tv.home.arpa.evil.example", false),
            ("proxy.example", false),
            ("127.0.0.1.evil.example", false),
            ("notlocalhost", false),
        ] {
            assert_eq!(admits(names, host, false), good, "{host}");
            assert!(admits(names, host, true), "over TLS the certificate tells: {host}");
            assert!(admits(None, host, false), "any page may call: {host}");
        }
        assert!(!admits(Some(&[]), "tv.home.arpa", false));
    }
}
