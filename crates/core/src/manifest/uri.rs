//! Resolves the URIs of a manifest, as players do.
//!
//! Resolution follows the URL standard where that is more lenient than RFC 3986, because browsers do: backslashes are
//! slashes, tabs are ignored, `%2e` is a dot. `uri_rewrite`, the parsers and the media route call it.

use std::borrow::Cow;

/// The base of relative URIs.
#[derive(Clone, Copy, Debug)]
pub struct UriBase<'a> {
    /// Host, and port if written.
    pub authority: &'a str,
    /// Path of the manifest, without a query; begins with `/`.
    pub path: &'a str,
    /// Start of `path` above which the route does not reach; begins and ends with `/`.
    pub root: &'a str,
    pub tls: bool,
}

/// A URI with its host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AbsoluteUri<'a> {
    pub authority: Cow<'a, str>,
    /// With its query; begins with `/`.
    pub path: String,
    pub tls: bool,
}

/// The place to which an unedited URI leads a player.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum UriReach<'a> {
    /// To a place beyond the route.
    Escapes(AbsoluteUri<'a>),
    /// To no web server, or to the document itself.
    Nowhere,
    /// To the manifest's own URL, so it stays on the route.
    Stays,
}

impl<'a> UriBase<'a> {
    pub(super) fn reach<'b>(&self, uri: &'b str) -> UriReach<'b>
    where
        'a: 'b,
    {
        // Most URIs are plain, and every segment has one.
        if is_plain(uri) {
            return UriReach::Stays;
        }
        let uri = uri.trim_matches(|c: char| c <= ' ');
        if uri.bytes().any(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b'\\')) {
            let plain: String = uri.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
            return own(self.reach_plain(&plain.replace('\\', "/")));
        }
        self.reach_plain(uri)
    }

    /// True if the unedited URI resolves against the manifest's own URL and stays on the route.
    pub(super) fn stays(&self, uri: &str) -> bool {
        matches!(self.reach(uri), UriReach::Stays)
    }

    /// The URI with its host; `None` if it is on no web server.
    pub fn absolute<'b>(&self, uri: &'b str) -> Option<AbsoluteUri<'b>>
    where
        'a: 'b,
    {
        match self.reach(uri) {
            UriReach::Escapes(absolute) => Some(absolute),
            UriReach::Nowhere => None,
            UriReach::Stays => Some(self.resolve(uri)),
        }
    }

    /// The URI with its host; a URI on no web server counts as a path.
    pub(super) fn resolve_any<'b>(&self, uri: &'b str) -> AbsoluteUri<'b>
    where
        'a: 'b,
    {
        match self.reach(uri) {
            UriReach::Escapes(absolute) => absolute,
            UriReach::Nowhere | UriReach::Stays => self.resolve(uri),
        }
    }

    fn reach_plain<'b>(&self, uri: &'b str) -> UriReach<'b>
    where
        'a: 'b,
    {
        let uri = uri.split('#').next().unwrap_or_default();
        if uri.is_empty() {
            return UriReach::Nowhere;
        }
        if let Some((scheme, rest)) = split_scheme(uri) {
            let tls = scheme.eq_ignore_ascii_case("https");
            if !tls && !scheme.eq_ignore_ascii_case("http") {
                return UriReach::Nowhere;
            }
            return UriReach::Escapes(at_host(tls, rest));
        }
        if uri.starts_with("//") {
            return UriReach::Escapes(at_host(self.tls, uri));
        }
        if uri.starts_with('/') {
            return UriReach::Escapes(self.rooted(without_dots(uri)));
        }
        if self.climbs_out(uri) { UriReach::Escapes(self.resolve(uri)) } else { UriReach::Stays }
    }

    fn rooted<'b>(&self, path: String) -> AbsoluteUri<'b>
    where
        'a: 'b,
    {
        AbsoluteUri { authority: Cow::Borrowed(self.authority), path, tls: self.tls }
    }

    fn climbs_out(&self, uri: &str) -> bool {
        if !uri.starts_with(['.', '%']) && !uri.contains("/.") && !uri.contains("/%") {
            return false;
        }
        let below = self.path.strip_prefix(self.root).unwrap_or_default();
        let mut depth = below.matches('/').count();
        for step in path_of(uri).split('/') {
            if is_up(step) {
                let Some(less) = depth.checked_sub(1) else { return true };
                depth = less;
            } else if !is_here(step) {
                depth += 1;
            }
        }
        false
    }

    /// The URI with its host, and dots resolved.
    pub(super) fn resolve<'b>(&self, uri: &str) -> AbsoluteUri<'b>
    where
        'a: 'b,
    {
        let uri = uri.split('#').next().unwrap_or_default();
        let path = path_of(uri);
        let query = uri.get(path.len()..).unwrap_or_default();
        if path.is_empty() {
            return self.rooted(format!("{}{query}", self.path));
        }
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut whole = joined(folder, path);
        whole.push_str(query);
        self.rooted(whole)
    }
}

/// The path in the folder, with dots resolved.
fn joined(folder: &str, path: &str) -> String {
    let mut steps: Vec<&str> = folder.split('/').collect();
    let mut last = "";
    for step in path.split('/') {
        last = step;
        if is_up(step) {
            if steps.len() > 1 {
                steps.pop();
            }
        } else if !is_here(step) || step.is_empty() {
            steps.push(step);
        }
    }
    let mut whole = steps.join("/");
    if (is_up(last) || is_here(last)) && !whole.ends_with('/') {
        whole.push('/');
    }
    if !whole.starts_with('/') {
        whole.insert(0, '/');
    }
    whole
}

/// Resolves dots in a path that begins with `/`. Players do so before they ask: dots left in place would climb out of
/// the path of the playback.
fn without_dots(uri: &str) -> String {
    let path = path_of(uri);
    if !path.contains("/.") && !path.contains("/%") {
        return uri.to_owned();
    }
    let query = uri.get(path.len()..).unwrap_or_default();
    joined("", path.get(1..).unwrap_or_default()) + query
}

/// True for a relative path that has no other meaning and does not climb.
fn is_plain(uri: &str) -> bool {
    let mut before = b'/';
    let plain = uri.bytes().all(|byte| {
        let fits = match byte {
            b'.' | b'/' => before != b'/',
            _ => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        before = byte;
        fits
    });
    plain && !uri.is_empty()
}

fn own<'a>(reach: UriReach<'_>) -> UriReach<'a> {
    match reach {
        UriReach::Escapes(AbsoluteUri { authority, path, tls }) => {
            UriReach::Escapes(AbsoluteUri { authority: Cow::Owned(authority.into_owned()), path, tls })
        }
        UriReach::Nowhere => UriReach::Nowhere,
        UriReach::Stays => UriReach::Stays,
    }
}

/// Splits off a scheme: text before a colon that is no part of a path.
fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let first = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (first && scheme.bytes().all(plain)).then_some((scheme, rest))
}

/// True if the URI names its server.
pub(super) fn names_server(uri: &str) -> bool {
    let uri = uri.trim_start_matches(|c: char| c <= ' ');
    split_scheme(uri).is_some() || uri.starts_with("//") || uri.starts_with("\\\\")
}

fn at_host(tls: bool, rest: &str) -> AbsoluteUri<'_> {
    let rest = rest.trim_start_matches('/');
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.starts_with('/') { without_dots(path) } else { format!("/{path}") };
    AbsoluteUri { authority: Cow::Borrowed(without_default_port(authority, tls)), path, tls }
}

/// Host and port; without the port if it is the scheme's default.
pub fn without_default_port(authority: &str, tls: bool) -> &str {
    let bare = authority.strip_suffix(if tls { ":443" } else { ":80" }).or_else(|| authority.strip_suffix(':'));
    bare.unwrap_or(authority)
}

/// True if the document or bytes stand in the URI itself.
pub(super) fn is_data(uri: &str) -> bool {
    let uri = uri.trim_start_matches(|c: char| c <= ' ');
    split_scheme(uri).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("data"))
}

pub(super) fn path_of(uri: &str) -> &str {
    uri.split('?').next().unwrap_or_default()
}

fn is_up(step: &str) -> bool {
    step == ".." || ["%2e%2e", ".%2e", "%2e."].iter().any(|up| step.eq_ignore_ascii_case(up))
}

fn is_here(step: &str) -> bool {
    step.is_empty() || step == "." || step.eq_ignore_ascii_case("%2e")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: UriBase<'_> = UriBase { authority: "cdn.example", path: "/vod/a/main.mpd", root: "/vod/", tls: true };

    #[test]
    fn uris_lead_where_browsers_take_them() {
        for (uri, expected) in [
            ("seg.m4s", None),
            ("v/1.m4s?x=/../..", None),
            ("../b/1.m4s", None),
            ("./1.m4s", None),
            ("a/b/../../../1.m4s", None),
            ("", None),
            ("?x", None),
            ("#f", None),
            ("data:text/plain;base64,QQ==", None),
            ("skd://key", None),
            ("urn:mpeg:dash:resolve-to-zero:2013", None),
            ("https://cdn.example/vod/1.ts", Some("https://cdn.example/vod/1.ts")),
            ("HTTP://other.example:81", Some("http://other.example:81/")),
            ("http:/other.example/x?y#z", Some("http://other.example/x?y")),
            ("https:other.example?y", Some("https://other.example/?y")),
            ("//other.example/1.ts", Some("https://other.example/1.ts")),
            ("//other.example:443/1.ts", Some("https://other.example/1.ts")),
            ("https://other.example:/1.ts", Some("https://other.example/1.ts")),
            ("http://other.example:80/1.ts", Some("http://other.example/1.ts")),
            ("http://other.example:443/1.ts", Some("http://other.example:443/1.ts")),
            ("http://[::1]:80/1.ts", Some("http://[::1]/1.ts")),
            ("\\\\other.example\\1.ts", Some("https://other.example/1.ts")),
            ("ht\ttps://other.example/1.ts", Some("https://other.example/1.ts")),
            (" /1.ts ", Some("https://cdn.example/1.ts")),
            ("../../x/1.ts?y", Some("https://cdn.example/x/1.ts?y")),
            ("%2E%2e/.%2e/1.ts", Some("https://cdn.example/1.ts")),
            ("b/../../../../1.ts", Some("https://cdn.example/1.ts")),
            ("../..", Some("https://cdn.example/")),
        ] {
            let told = match BASE.reach(uri) {
                UriReach::Escapes(AbsoluteUri { authority, path, tls }) => {
                    Some(format!("http{}://{authority}{path}", if tls { "s" } else { "" }))
                }
                UriReach::Nowhere | UriReach::Stays => None,
            };
            assert_eq!(told.as_deref(), expected, "{uri:?}");
        }
    }

    #[test]
    fn relative_uris_resolve_against_their_base() {
        for (uri, path) in [
            ("1.ts", "/vod/a/1.ts"),
            ("../1.ts?q", "/vod/1.ts?q"),
            ("../../../1.ts", "/1.ts"),
            ("b/./c/", "/vod/a/b/c/"),
            ("..", "/vod/"),
            ("?q", "/vod/a/main.mpd?q"),
        ] {
            assert_eq!(BASE.resolve(uri).path, path, "{uri}");
        }
    }
}
