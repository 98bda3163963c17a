//! Reads the host and port in `Host`, `:authority` or an absolute target, and decides by which names players may call us.
//!
//! Stricter than a URI (RFC 3986, section 3.2.2), which allows a host such as `a,b`: two parsers that read such a
//! value differently would answer for two hosts. Accepts the names of DNS and container networks, IPv4 addresses, and
//! IPv6 addresses in brackets. `request_rules` calls it.
//!
//! Names are bounded if `server.origins` is a list. A page can let its own name resolve to our address (DNS rebinding).
//! Such a page has our origin, and its GETs carry no `Origin`, but `Host` holds its name. An address in `Host` cannot be
//! rebound, and over TLS the certificate protects.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use crate::config::{AllowedOrigins, HostPattern, ServerSettings};
use crate::secret::clean_name;

/// Longest DNS name, without the dot at its end (RFC 1035, section 2.3.4).
const MAX_HOST_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;
const MAX_PORT_DIGITS: usize = 5;

/// A host, and the port if one is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedHost<'t> {
    address: HostAddress<'t>,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
enum HostAddress<'t> {
    /// A name as it was written.
    Name(&'t str),
    V6(Ipv6Addr),
}

impl<'t> NamedHost<'t> {
    /// `None` if the text is no host with an optional port.
    pub(super) fn parse(text: &'t [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, port) = bracketed.split_once(']')?;
                (HostAddress::V6(address.parse().ok()?), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (HostAddress::Name(name_of(name)?), port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            // An empty port is the default one (RFC 3986, section 3.2.3).
            Some("") => None,
            Some(digits) => Some(port_of(digits)?),
        };
        Some(Self { address, port })
    }

    /// `default_port` is the connection's, for a host without one.
    pub(super) fn is_same(&self, other: &NamedHost<'_>, default_port: u16) -> bool {
        self.address.is_same(other.address) && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

impl HostAddress<'_> {
    fn is_same(self, other: HostAddress<'_>) -> bool {
        match (self, other) {
            (Self::Name(one), HostAddress::Name(other)) => one.eq_ignore_ascii_case(other),
            (Self::V6(one), HostAddress::V6(other)) => one == other,
            (Self::Name(_), HostAddress::V6(_)) | (Self::V6(_), HostAddress::Name(_)) => false,
        }
    }
}

fn name_of(name: &str) -> Option<&str> {
    // A fully qualified name may end with a dot.
    let labels = name.strip_suffix('.').unwrap_or(name);
    let fits = labels.len() <= MAX_HOST_NAME_BYTES && labels.split('.').all(is_label);
    fits.then_some(name)
}

/// Underscores occur in names of containers, and `~` is valid in every URI's host.
fn is_label(label: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(fits)
}

fn port_of(digits: &str) -> Option<u16> {
    let fits = digits.len() <= MAX_PORT_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fits { digits.parse().ok() } else { None }
}

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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        let label = "a".repeat(63);
        let longest = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
        for good in [
            "h",
            "TV.home.arpa:8443",
            "tv.home.arpa.",
            "tv.home.arpa.:80",
            "xn--bcher-kva.example",
            "my_container-1",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8443",
            "[2001:DB8::0:1]:65535",
            "[::ffff:127.0.0.1]",
            "h:",
            "[::1]:",
            "h:0",
            "h:00080",
            &label,
            &longest,
            &format!("{longest}.:65535"),
        ] {
            assert!(NamedHost::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            " ",
            ".",
            "..",
            ".h",
            "a..b",
            "h..",
            ":",
            ":8080",
            "a:b",
            "a,b",
            "a, b",
            "a b",
            " h",
            "h ",
            "h\t",
            "h;x",
            "u@h",
            "u:p@h",
            "@h",
            "h@",
            "h/",
            "h/x",
            "h?x",
            "h#x",
            "h\\x",
            "h%2ex",
            "h%00",
            "b\u{fc}cher.example",
            "http://h",
            "h:80:80",
            "h:+80",
            "h:-1",
            "h:0x50",
            "h:65536",
            "h:000080",
            "h:80 ",
            "::1",
            "2001:db8::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]x:80",
            "[::1]:x",
            "[::1]:65536",
            "[::1]]",
            "[[::1]]",
            "[]",
            "[h]",
            "[127.0.0.1]",
            "[::1%25eth0]",
            "[fe80::1%eth0]",
            "[v1.x]",
            "x[::1]",
            "*",
            "*.example",
            "'h'",
            "\"h\"",
            &format!("{label}a"),
            &format!("a.{longest}"),
        ] {
            assert!(NamedHost::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(NamedHost::parse(b"h\xff").is_none());
    }

    #[test]
    fn hosts_are_equal_in_any_case_and_spelling() {
        fn host(text: &str) -> NamedHost<'_> {
            NamedHost::parse(text.as_bytes()).unwrap()
        }
        for (one, other, same) in [
            ("h", "H:80", true),
            ("h:", "h", true),
            ("h", "h:81", false),
            ("h", "i", false),
            ("h", "h.", false),
            ("[::1]", "[0:0::0:1]:80", true),
            ("[::1]", "[::2]", false),
        ] {
            assert_eq!(host(one).is_same(&host(other), 80), same, "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _host = NamedHost::parse(&bytes);
        }
    }

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
    fn a_foreign_name_that_resolves_to_the_proxy_is_refused() {
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
