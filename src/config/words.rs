//! The small words of the configuration: `header:x-device-id`, `json:challenge`, `/license`.
//!
//! One function per word, from text to its type or to what should be written instead. None of
//! them repeats the text, which may hold a secret.

use std::net::{IpAddr, SocketAddr};

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use ipnet::{IpNet, Ipv4Net};

use super::{AccountRung, Endpoint, HostPattern, Pattern, Rung, TokenSource, ViewerHeader, Wrapping};

/// Where an embedded authority finds an account. What belongs to a route's path or to a certificate
/// can name the device, and `device` then stands for it.
pub(super) fn account_rung(text: &str) -> Result<AccountRung, String> {
    match pair(text) {
        ("device", None) => Ok(AccountRung::Device),
        ("fixed", Some(name)) => Ok(AccountRung::Fixed(name.to_owned())),
        _ => group_rung(text).map(AccountRung::Rung).map_err(|_| {
            "must be cookie:NAME, device, fixed:NAME, header:NAME, peer, query:NAME or token-claim:PATH".to_owned()
        }),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as \"127.0.0.1:8443\" or \"[::1]:8443\"".to_owned())
}

/// An address, or a network as CIDR. One of IPv4-mapped addresses is the IPv4 network that it stands for.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    const WHAT: &str = "must be an IP address or a network, such as \"10.0.0.2\" or \"10.0.0.0/8\"";
    let read = || Some(if text.contains('/') { text.parse().ok()? } else { IpNet::from(text.parse::<IpAddr>().ok()?) });
    let network: IpNet = read().ok_or(WHAT)?;
    let IpNet::V6(six) = network else { return Ok(network) };
    match (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96)) {
        (Some(four), Some(prefix)) => Ipv4Net::new(four, prefix).map(IpNet::V4).map_err(|_| WHAT.to_owned()),
        (Some(_), None) | (None, _) => Ok(network),
    }
}

pub(super) fn group_rung(text: &str) -> Result<Rung, String> {
    match rung(text) {
        Ok(rung @ (Rung::Cookie(_) | Rung::Header(_) | Rung::Peer | Rung::Query(_) | Rung::TokenClaim(_))) => Ok(rung),
        Ok(Rung::Mtls | Rung::PathSegment) | Err(_) => {
            Err("must be cookie:NAME, header:NAME, peer, query:NAME or token-claim:PATH".to_owned())
        }
    }
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "must be the name of a header".to_owned())?;
    // RFC 9110 sections 7.2 and 7.6.1: these belong to one connection and are written anew for the next.
    const OURS: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if OURS.contains(&name.as_str()) {
        return Err(format!("must not be {name}, which sidebeat writes itself"));
    }
    Ok(name)
}

/// A header that is passed on, or with `: TEMPLATE` behind its name one that we write.
pub(super) fn upstream_header(text: &str) -> Result<(HeaderName, Option<ViewerHeader>), String> {
    let Some((name, template)) = text.split_once(':') else { return Ok((passed_header(text)?, None)) };
    let name = passed_header(name.trim())?;
    let header = ViewerHeader::new(name.clone(), template.trim())?;
    Ok((name, Some(header)))
}

/// A request header that is passed on to a license server or an authorization service. Not one by which that server
/// would see another request than the one that was judged here.
pub(super) fn passed_header(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    const CHANGING: [&str; 11] = [
        "content-encoding",
        "content-transfer-encoding",
        "x-envoy-original-path",
        "x-forwarded-uri",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
    ];
    if CHANGING.contains(&name.as_str()) {
        return Err(format!(
            "must not be {name}: the server would see another request than the one that sidebeat judged"
        ));
    }
    Ok(name)
}

/// Marked as sensitive: an operator may put an API key into any header.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "must be the text of a header, without line breaks")?;
    value.set_sensitive(true);
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(value) }
}

/// A name that is also the value of a metric label.
pub(super) fn label(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if plain && (1..=64).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 64 letters, digits, \"-\", \".\" or \"_\"".to_owned())
}

/// `scheme://host` with an optional port, as browsers write it; `null` is what packaged apps send.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, host)| host);
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']) => {
            Ok(text.to_ascii_lowercase())
        }
        _ if text == "null" => Ok(text.to_owned()),
        _ => Err("must be an origin, such as \"https://tv.example\", without a path".to_owned()),
    }
}

/// `host`, `host:port`, or `*.` and the end of either.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    if name.is_empty() || !name.chars().all(plain) {
        return Err("must be a host, such as \"cdn.example\", \"cdn.example:8443\" or \"*.cdn.example\"".to_owned());
    }
    let name = name.to_ascii_lowercase();
    Ok(if below { HostPattern::Below(format!(".{name}")) } else { HostPattern::Exact(name) })
}

/// The path of a route, or a URL.
pub(super) fn license_route(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return route_path(text);
    }
    Endpoint::parse(text).map_err(str::to_owned)?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// A name, or the beginning of one with `*` behind it.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
    if text.is_empty() || name.contains('*') || name.chars().any(char::is_control) {
        return Err("must be a name, or the beginning of one with a * at its end".to_owned());
    }
    Ok(if prefix { Pattern::Prefix(name.to_owned()) } else { Pattern::Exact(name.to_owned()) })
}

/// The path prefix of a route.
pub(super) fn route_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with /".to_owned());
    }
    if text == "/" {
        return Ok(text.to_owned());
    }
    if text.ends_with('/') {
        return Err("must not end with /".to_owned());
    }
    let steps = text.split('/').skip(1).any(|segment| matches!(segment, "" | "." | ".."));
    if text.split('/').any(|segment| segment.starts_with('~')) {
        return Err(
            "must not have a segment that begins with ~: those are calls of sidebeat itself (~stop, ~ID)".to_owned()
        );
    }
    let plain = !steps && !text.contains(['?', '#', '%']) && text.parse::<PathAndQuery>().is_ok();
    if plain { Ok(text.to_owned()) } else { Err("must be a plain path, such as \"/license\"".to_owned()) }
}

/// A base for URLs of ours: `https://tv-proxy.example`, without a slash at its end.
pub(super) fn public_url(text: &str) -> Result<String, &'static str> {
    let base = text.trim_end_matches('/');
    let endpoint = Endpoint::parse(base)?;
    if endpoint.query().is_some() { Err("must not have a query") } else { Ok(base.to_owned()) }
}

pub(super) fn rung(text: &str) -> Result<Rung, String> {
    match pair(text) {
        ("cookie", Some(name)) => Ok(Rung::Cookie(name.to_owned())),
        ("header", Some(name)) => header_name(name).map(Rung::Header),
        ("mtls", None) => Ok(Rung::Mtls),
        ("path-segment", None) => Ok(Rung::PathSegment),
        ("peer", None) => Ok(Rung::Peer),
        ("query", Some(name)) => Ok(Rung::Query(name.to_owned())),
        ("token-claim", Some(path)) if path.split('.').all(|name| !name.is_empty()) => {
            Ok(Rung::TokenClaim(path.to_owned()))
        }
        _ => {
            Err("must be cookie:NAME, header:NAME, mtls, path-segment, peer, query:NAME or token-claim:PATH".to_owned())
        }
    }
}

pub(super) fn token_source(text: &str) -> Result<TokenSource, String> {
    match pair(text) {
        ("custom-data", None) => Ok(TokenSource::CustomData),
        ("header", Some(name)) => header_name(name).map(TokenSource::Header),
        ("query", Some(name)) => Ok(TokenSource::Query(name.to_owned())),
        _ => Err("must be custom-data, header:NAME or query:NAME".to_owned()),
    }
}

pub(super) fn wrapping(text: &str) -> Result<Wrapping, String> {
    match pair(text) {
        ("base64", None) => Ok(Wrapping::Base64),
        ("form", Some(field)) => Ok(Wrapping::Form(field.to_owned())),
        ("json", Some(field)) => Ok(Wrapping::Json(field.to_owned())),
        ("raw", None) => Ok(Wrapping::Raw),
        _ => Err("must be raw, base64, json:FIELD or form:FIELD".to_owned()),
    }
}

/// `word` or `word:NAME`; a colon without a name behind it belongs to the word, which is then none.
fn pair(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((word, name)) if !name.is_empty() && !name.contains(char::is_whitespace) => (word, Some(name)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rungs_sources_and_wrappings() {
        let name = HeaderName::from_static("x-device-id");
        for (text, word) in [
            ("cookie:Device", Some(Rung::Cookie("Device".into()))),
            ("header:X-Device-Id", Some(Rung::Header(name.clone()))),
            ("mtls", Some(Rung::Mtls)),
            ("path-segment", Some(Rung::PathSegment)),
            ("peer", Some(Rung::Peer)),
            ("query:device", Some(Rung::Query("device".into()))),
            ("token-claim:device.deviceId", Some(Rung::TokenClaim("device.deviceId".into()))),
            ("token-claim:device..deviceId", None),
            ("header:", None),
            ("header", None),
            ("header:a b", None),
            ("header:host", None),
            ("peer:1", None),
            ("", None),
        ] {
            assert_eq!(rung(text).ok(), word, "{text}");
        }
        assert_eq!(token_source("custom-data"), Ok(TokenSource::CustomData));
        assert_eq!(token_source("header:X-Device-Id"), Ok(TokenSource::Header(name)));
        assert_eq!(token_source("query:token"), Ok(TokenSource::Query("token".into())));
        assert_eq!(token_source("cookie:token"), Err("must be custom-data, header:NAME or query:NAME".into()));
        for (text, word) in [
            ("base64", Some(Wrapping::Base64)),
            ("form:body", Some(Wrapping::Form("body".into()))),
            ("json:challenge", Some(Wrapping::Json("challenge".into()))),
            ("raw", Some(Wrapping::Raw)),
            ("json", None),
            ("Raw", None),
        ] {
            assert_eq!(wrapping(text).ok(), word, "{text}");
        }
    }

    #[test]
    fn a_route_takes_no_path_of_our_own_calls() {
        for path in ["/", "/license", "/a/b~c"] {
            assert_eq!(route_path(path).as_deref(), Ok(path));
        }
        for path in ["license", "/a/", "//a", "/a/../b", "/a%2e", "/a?b", "/~stop", "/a/~refused", "/~x/a"] {
            assert!(route_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn headers_that_change_the_request_are_not_passed() {
        for name in
            ["Content-Encoding", "Expect", "X-HTTP-Method-Override", "x-original-url", "x-forwarded-uri", "host", ""]
        {
            assert!(passed_header(name).is_err(), "{name}");
        }
        assert!(passed_header("x-correlation-id").is_ok());
    }

    #[test]
    fn patterns() {
        for (text, fits, not) in
            [("tv-1", "tv-1", "tv-12"), ("tv-*", "tv-", "tv"), ("*", "", "\0"), ("a b*", "a bc", "a")]
        {
            let pattern = pattern(text).unwrap();
            assert!(pattern.fits(fits), "{text} {fits}");
            assert!(text == "*" || !pattern.fits(not), "{text} {not}");
        }
        for text in ["", "a*b", "**", "a\n"] {
            assert!(pattern(text).is_err(), "{text}");
        }
        assert_eq!(account_rung("device"), Ok(AccountRung::Device));
        assert_eq!(account_rung("peer"), Ok(AccountRung::Rung(Rung::Peer)));
        assert_eq!(account_rung("fixed:home"), Ok(AccountRung::Fixed("home".to_owned())));
        for text in ["mtls", "path-segment", "account", "fixed", "fixed:", "fixed:a b", "header:", ""] {
            assert!(account_rung(text).is_err() && group_rung(text).is_err(), "{text}");
        }
        assert!(group_rung("device").is_err());
    }

    #[test]
    fn a_trusted_proxy_is_an_address_or_a_network() {
        for (text, inside, outside) in [
            ("10.0.0.2", "10.0.0.2", "10.0.0.3"),
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            // As `ip addr` shows it.
            ("172.17.0.1/16", "172.17.9.9", "172.18.0.1"),
            ("::1", "::1", "::2"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::ffff:192.0.2.0/120", "192.0.2.7", "192.0.3.7"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
        ] {
            let network = network(text).unwrap();
            assert!(network.contains(&inside.parse::<IpAddr>().unwrap()), "{text}");
            assert!(!network.contains(&outside.parse::<IpAddr>().unwrap()), "{text}");
        }
        for text in
            ["", "proxy", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.1:80", "::1/129", "[::1]", "*", "fe80::1%lo"]
        {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn route_paths() {
        let plain = "must be a plain path, such as \"/license\"";
        for (text, what) in [
            ("/", None),
            ("/license", None),
            ("/a/b.c_d~e-f", None),
            ("", Some("must begin with /")),
            ("license", Some("must begin with /")),
            ("/license/", Some("must not end with /")),
            ("//", Some("must not end with /")),
            ("/a//b", Some(plain)),
            ("/a/../b", Some(plain)),
            ("/a?b", Some(plain)),
            ("/a#b", Some(plain)),
            ("/a%2f", Some(plain)),
            ("/a b", Some(plain)),
        ] {
            assert_eq!(route_path(text).err().as_deref(), what, "{text}");
        }
    }

    #[test]
    fn origins() {
        for (text, read) in [
            ("https://TV.example", Some("https://tv.example")),
            ("http://127.0.0.1:3000", Some("http://127.0.0.1:3000")),
            ("null", Some("null")),
            ("https://tv.example/", None),
            ("https://*.example", None),
            ("tv.example", None),
            ("://tv", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(origin(text).ok().as_deref(), read, "{text}");
        }
    }

    #[test]
    fn a_header_is_passed_on_or_written() {
        assert_eq!(upstream_header("X-Trace"), Ok((HeaderName::from_static("x-trace"), None)));
        let (name, written) = upstream_header("x-forwarded-for: {viewer-address}").unwrap();
        assert_eq!(
            (name.as_str(), written.map(|header| header.name().clone())),
            ("x-forwarded-for", Some(name.clone()))
        );
        for text in ["", "a b", "x-trace:", "x-trace: 1", ": {viewer-address}", "host: {viewer-address}"] {
            assert!(upstream_header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn header_values_are_not_shown() {
        assert_eq!(format!("{:?}", header_value("hush").unwrap()), "Sensitive");
        assert!(header_value("a\r\nb").is_err());
        assert!(header_value("").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(header|query|json|token-claim|/|https://)?.*") {
            let _ = (address(&text), header_name(&text), header_value(&text), origin(&text));
            let _ = (account_rung(&text), group_rung(&text), pattern(&text));
            let _ = (route_path(&text), rung(&text), token_source(&text), wrapping(&text));
        }
    }
}
