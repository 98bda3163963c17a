//! Rewrites the origin's cookies for the paths by which a player reaches it (RFC 6265 section 5.2).
//!
//! A CDN's cookie names the CDN's host and path, so a player would drop it or never send it. The rewritten cookie
//! is for our host, and for the same part of that server as this playback sees it.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::paths::{MediaTarget, PlaybackPaths};

/// `secure` is true if the player came over TLS. Otherwise `Secure` is dropped, because browsers would reject the
/// cookie.
pub(super) fn rewrite(headers: &mut HeaderMap, map: &PlaybackPaths<'_>, target: &MediaTarget, secure: bool) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let rewritten = |cookie: &HeaderValue| {
        let text = cookie.to_str().ok()?;
        HeaderValue::try_from(rewritten(text, |path| map.cookie_path(target, path), secure)).ok()
    };
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().filter_map(rewritten).collect();
    headers.remove(SET_COOKIE);
    headers.extend(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
}

fn rewritten(cookie: &str, path: impl Fn(&str) -> String, secure: bool) -> String {
    let mut parts = cookie.split(';');
    let mut whole = parts.next().unwrap_or_default().trim().to_owned();
    // A `__Host-` name promises that the cookie is for the whole host.
    let for_host = whole.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("__host-"));
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').map_or((part, ""), |(name, value)| (name.trim(), value.trim()));
        match name.to_ascii_lowercase().as_str() {
            "domain" => {}
            // A value that is no path counts as missing.
            "path" if !value.starts_with('/') => {}
            "path" if for_host => whole.push_str("; Path=/"),
            "path" => whole.extend(["; Path=", &path(value)]),
            "partitioned" | "secure" if !secure => {}
            "samesite" if !secure && value.eq_ignore_ascii_case("none") => {}
            _ => whole.extend(["; ", part]),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_our_host_and_the_path_of_its_server() {
        let path = |path: &str| format!("/ours{path}");
        for (cookie, secure, expected) in [
            ("a=b", true, "a=b"),
            ("a=b; Domain=.cdn.example; Path=/vod/; Secure; HttpOnly", true, "a=b; Path=/ours/vod/; Secure; HttpOnly"),
            ("a=\"x=y\";path=/;SAMESITE=None;secure;Max-Age=9", false, "a=\"x=y\"; Path=/ours/; Max-Age=9"),
            ("a=b; SameSite=Lax; Path=vod", false, "a=b; SameSite=Lax"),
            ("__Host-a=b; Secure; Path=/", true, "__Host-a=b; Secure; Path=/"),
            ("", true, ""),
        ] {
            assert_eq!(rewritten(cookie, path, secure), expected, "{cookie}");
        }
    }
}
