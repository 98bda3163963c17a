//! `[[route]]`: its kind, and what several kinds have in common.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::uri::PathAndQuery;

use super::authorize_route::authorize;
use super::endings::endings;
use super::license_route::{LicenseRouteSettings, license_route};
use super::media_route::{MediaRouteSettings, media_route};
use super::nearest::nearest;
use super::own_listener::check_urls;
use super::table_reader::TableReader;
use super::units::{MAX_DURATION, show_duration};
use super::{
    AuthorityKind, AuthoritySettings, AuthorizeRouteSettings, EndingRules, EndpointUrl, IdentitySource, SessionUnit,
    TokenSource, ViewerHeader, headers, identity_source, words,
};

/// A `[[route]]` of kind `license` or `media`: a path prefix for players. Those of kind `authorize` are
/// [`AuthorizeRouteSettings`].
#[derive(Debug)]
pub struct RouteSettings {
    /// Index into [`super::Config::authorities`]; `None` to pass calls through and count them, without sessions.
    pub authority: Option<usize>,
    /// CA for the upstream, in place of the public roots.
    pub ca: Option<PathBuf>,
    pub content_token: Vec<TokenSource>,
    /// Sources of the device; the first that answers names it.
    pub device: Vec<IdentitySource>,
    pub endings: EndingRules,
    /// Request headers that are passed on to the upstream besides the built-in ones.
    pub headers: Vec<HeaderName>,
    /// Time for which a kill is remembered when the content token tells no expiry; at least 30 s.
    pub kill_memory: Duration,
    /// The fields of the route's own kind.
    pub kind: RouteKind,
    /// Begins with `/`, has no trailing `/` (except `/` itself), unique among the routes.
    pub path: String,
    /// Time in which a viewer who zapped away may return to the session, if its close has not been sent.
    pub re_entry: Duration,
    pub retry: RetrySettings,
    pub sessions_per_device: usize,
    /// `true` removes CMCD from requests to the upstream.
    pub strip_cmcd: bool,
    /// Time from connecting to the last byte of a license server's reply, or to the head of an origin's.
    pub timeout: Duration,
    /// Headers that we write with the viewer's address. Their names are also in `headers`.
    pub viewer_headers: Vec<ViewerHeader>,
}

/// The kind of a route, with the fields that only this kind has.
#[derive(Debug)]
pub enum RouteKind {
    /// Shared, because another thread may answer the call.
    License(Arc<LicenseRouteSettings>),
    Media(Box<MediaRouteSettings>),
}

impl RouteSettings {
    /// The fields of a media route; `None` if this is a license route.
    pub fn media(&self) -> Option<&MediaRouteSettings> {
        match &self.kind {
            RouteKind::License(_) => None,
            RouteKind::Media(media) => Some(media),
        }
    }

    /// The server that this route stands in front of: a license server or an origin.
    pub fn upstream(&self) -> &EndpointUrl {
        match &self.kind {
            RouteKind::License(license) => &license.license_server,
            RouteKind::Media(media) => &media.origin,
        }
    }
}

/// Calls to the license server or the origin that are retried within the time of the player's call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetrySettings {
    /// Calls that are retried after replies of 502, 503 and 504.
    pub gateway_errors: RetriedCalls,
    /// `true` retries a call while the upstream cannot be reached or turns it away unprocessed.
    pub unreachable: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetriedCalls {
    All,
    None,
    Renewals,
}

/// The claim in which content tokens name their device.
const DEVICE_CLAIM: &str = "device.deviceId";

const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=MAX_DURATION;

const KIND_WORDS: [(&str, RouteKindWord); 3] =
    [("authorize", RouteKindWord::Authorize), ("license", RouteKindWord::License), ("media", RouteKindWord::Media)];

const RETRIED_CALLS_WORDS: [(&str, RetriedCalls); 3] =
    [("all", RetriedCalls::All), ("none", RetriedCalls::None), ("renewals", RetriedCalls::Renewals)];

#[derive(Clone, Copy, Eq, PartialEq)]
enum RouteKindWord {
    Authorize,
    License,
    Media,
}

impl RouteKindWord {
    fn word(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::License => "license",
            Self::Media => "media",
        }
    }
}

/// The rest of the configuration, against which a route is checked.
pub(super) struct RouteContext<'a> {
    /// Names in the order of their tables; `None` for a faulty one.
    pub(super) authorities: &'a [Option<String>],
    /// `server.limits.call`
    pub(super) call: Duration,
    /// `true` if players are asked for client certificates.
    pub(super) client_ca: bool,
    /// Authorities in the order of `authorities`; `None` for one with a fault.
    pub(super) found: &'a [Option<&'a AuthoritySettings>],
    /// All addresses of this process.
    pub(super) listeners: &'a [SocketAddr],
}

impl<'a> RouteContext<'a> {
    pub(super) fn kind(&self, authority: Option<usize>) -> Option<&'a AuthorityKind> {
        self.authority(authority).map(|authority| &authority.kind)
    }

    fn authority(&self, authority: Option<usize>) -> Option<&'a AuthoritySettings> {
        self.found.get(authority?).copied().flatten()
    }
}

pub(super) fn routes(
    root: &TableReader<'_>,
    frame: &RouteContext<'_>,
) -> Option<(Vec<RouteSettings>, Vec<AuthorizeRouteSettings>)> {
    let tables = root.tables("route");
    if tables.is_empty() {
        root.need("route", "write at least one [[route]], or there is nothing that players can ask for");
    }
    let mut paths = Vec::new();
    for table in &tables {
        table.need("path", "write the path that players use, such as \"/license\"");
        let path = table.word("path", route_path);
        if path.is_some() && paths.contains(&path) {
            table.fault("path", "is the path of another route too");
        }
        paths.push(path);
    }
    let (mut routes, mut authorizes) = (Vec::new(), Vec::new());
    let mut named_routes = Vec::new();
    for (table, path) in tables.iter().zip(paths.iter().cloned()) {
        check_urls(table, &["authorize-url", "license-server", "origin"], frame.listeners);
        let kind = table.choice("kind", &KIND_WORDS).unwrap_or(RouteKindWord::License);
        let authority = table.word("authority", |name| Ok::<_, String>(name.to_owned()));
        named_routes.push(NamedRoute { authority, kind, path: path.clone() });
        match kind {
            RouteKindWord::Authorize => authorizes.push(authorize(table, path, frame)),
            RouteKindWord::License => routes.push(license_route(table, path, frame)),
            RouteKindWord::Media => routes.push(media_route(table, path, frame)),
        }
    }
    for (table, route) in tables.iter().zip(&named_routes) {
        let named: &[(&str, RouteKindWord)] = match route.kind {
            RouteKindWord::Authorize => {
                &[("license-route", RouteKindWord::License), ("media-route", RouteKindWord::Media)]
            }
            RouteKindWord::License => &[],
            RouteKindWord::Media => &[("license-route", RouteKindWord::License)],
        };
        named.iter().for_each(|(key, wanted)| check_named_route(table, key, *wanted, route, &named_routes));
    }
    let routes = routes.into_iter().collect::<Option<Vec<_>>>().filter(|_| !tables.is_empty());
    routes.zip(authorizes.into_iter().collect())
}

/// A route as another route may name it.
struct NamedRoute {
    authority: Option<String>,
    kind: RouteKindWord,
    path: Option<String>,
}

/// Checks the route that `key` names: it must exist, be of the wanted kind, and have the same authority.
fn check_named_route(
    table: &TableReader<'_>,
    key: &str,
    wanted: RouteKindWord,
    route: &NamedRoute,
    routes: &[NamedRoute],
) {
    let named = table.word(key, |text| Ok::<_, String>(text.to_owned()));
    // A whole URL leads to a server of another operator.
    let Some(named) = named.filter(|name| name.starts_with('/')) else {
        return;
    };
    let Some(found) = routes.iter().find(|route| route.path.as_ref() == Some(&named)) else {
        if routes.iter().all(|route| route.path.is_some()) {
            table.fault(key, "is not the path of any [[route]]");
        }
        return;
    };
    let is_elsewhere = || match (&found.authority, &route.authority) {
        (Some(one), Some(other)) => one != other && route.kind == RouteKindWord::Media,
        _ => false,
    };
    if found.kind != wanted {
        let [is, wanted] = [found.kind, wanted].map(RouteKindWord::word);
        table.fault(key, format!("is the path of a route of kind \"{is}\"; name one of kind \"{wanted}\""));
    } else if is_elsewhere() {
        table.fault(key, "is the path of a route with another authority, which would not know this one's sessions");
    }
}

/// Fields that license routes and media routes share.
pub(super) struct CommonRouteFields {
    pub(super) authority: Option<usize>,
    ca: Option<PathBuf>,
    content_token: Vec<TokenSource>,
    device: Vec<IdentitySource>,
    pub(super) endings: EndingRules,
    headers: Vec<HeaderName>,
    kill_memory: Duration,
    path: Option<String>,
    re_entry: Duration,
    retry: RetrySettings,
    sessions_per_device: usize,
    timeout: Duration,
    viewer_headers: Vec<ViewerHeader>,
}

impl CommonRouteFields {
    pub(super) fn read(table: &TableReader<'_>, path: Option<String>, frame: &RouteContext<'_>) -> Self {
        let (headers, viewer_headers) = upstream_headers(table, "[\"x-correlation-id\"]");
        let kill_memory = table.duration("kill-memory", Duration::from_secs(30)..=MAX_DURATION);
        let authority = authority(table, frame.authorities);
        let device = device(table, frame.client_ca);
        let unit = frame.authority(authority).map(|authority| authority.unit);
        warn_of_peers(table, &device, unit);
        Self {
            authority,
            ca: table.file("ca"),
            content_token: content_token(table),
            device,
            endings: endings(&table.table("endings")),
            headers,
            kill_memory: kill_memory.unwrap_or(Duration::from_hours(1)),
            path,
            re_entry: re_entry(table),
            retry: retry(table),
            sessions_per_device: sessions_per_device(table, unit),
            timeout: timeout(table, frame.call),
            viewer_headers,
        }
    }

    /// Makes the route, unless its path is faulty.
    pub(super) fn into_route(self, kind: RouteKind, strip_cmcd: bool) -> Option<RouteSettings> {
        let Self { authority, ca, content_token, device, endings, headers, kill_memory, path, .. } = self;
        let Self { re_entry, retry, sessions_per_device, timeout, viewer_headers, .. } = self;
        Some(RouteSettings {
            authority,
            ca,
            content_token,
            device,
            endings,
            headers,
            kill_memory,
            kind,
            path: path?,
            re_entry,
            retry,
            sessions_per_device,
            strip_cmcd,
            timeout,
            viewer_headers,
        })
    }
}

/// The names of all headers for the upstream, and those of them that we write.
pub(super) fn upstream_headers(table: &TableReader<'_>, example: &str) -> (Vec<HeaderName>, Vec<ViewerHeader>) {
    let headers = table.list("headers", example, headers::upstream_header).unwrap_or_default();
    let (names, written): (Vec<_>, Vec<_>) = headers.into_iter().unzip();
    (names, written.into_iter().flatten().collect())
}

pub(super) fn strip_cmcd(table: &TableReader<'_>) -> Option<bool> {
    table.choice("cmcd", &[("pass", false), ("strip", true)])
}

fn re_entry(table: &TableReader<'_>) -> Duration {
    table.duration("re-entry", Duration::ZERO..=Duration::from_mins(1)).unwrap_or(Duration::from_secs(5))
}

fn retry(table: &TableReader<'_>) -> RetrySettings {
    RetrySettings {
        gateway_errors: table.choice("retry-gateway-errors", &RETRIED_CALLS_WORDS).unwrap_or(RetriedCalls::Renewals),
        unreachable: table.flag("retry-unreachable").unwrap_or(true),
    }
}

pub(super) fn authority(table: &TableReader<'_>, names: &[Option<String>]) -> Option<usize> {
    let wanted = table.word("authority", words::label)?;
    let found = names.iter().position(|name| name.as_ref() == Some(&wanted));
    if found.is_none() && names.iter().all(Option::is_some) {
        let near = nearest(&wanted, names.iter().flatten().map(String::as_str));
        let advice = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_else(|| known_names(names));
        table.fault("authority", format!("is not the name of any [[authority]]{advice}"));
    }
    found
}

/// Lists the names of authorities, as far as they fit into a line.
fn known_names(names: &[Option<String>]) -> String {
    const MAX_NAMES_SHOWN: usize = 10;
    let names: Vec<_> = names.iter().flatten().map(|name| format!("\"{name}\"")).collect();
    match names.len() {
        0 => "; there is none".to_owned(),
        count if count > MAX_NAMES_SHOWN => {
            format!(
                "; there are {count}, such as {}",
                names.iter().take(MAX_NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ")
            )
        }
        _ => format!("; there is {}", names.join(", ")),
    }
}

fn content_token(table: &TableReader<'_>) -> Vec<TokenSource> {
    let sources = table.list("content-token", "[\"header:nv-authorizations\"]", identity_source::token_source);
    sources.unwrap_or_else(|| {
        let header = TokenSource::Header(HeaderName::from_static("nv-authorizations"));
        vec![header, TokenSource::Query("token".to_owned()), TokenSource::CustomData]
    })
}

pub(super) fn device(table: &TableReader<'_>, client_ca: bool) -> Vec<IdentitySource> {
    let sources = table.list("device", "[\"header:x-device-id\", \"peer\"]", identity_source::request_source);
    let sources = sources.unwrap_or_else(|| {
        let header = IdentitySource::Header(HeaderName::from_static("x-device-id"));
        let claim = IdentitySource::TokenClaim(DEVICE_CLAIM.to_owned());
        vec![header, IdentitySource::Query("device".to_owned()), claim, IdentitySource::Peer]
    });
    if sources.is_empty() {
        table.fault("device", "is empty: name at least \"peer\"");
    }
    let told = sources.iter().any(|source| *source != IdentitySource::Peer);
    if sources.contains(&IdentitySource::Peer) && !told {
        let what = "names only the peer: all devices behind one address (a home's router, a proxy) are one device; \
            put what tells them apart before it, such as \"token-claim:device.deviceId\"";
        table.warn("device", what);
    }
    if sources.contains(&IdentitySource::Mtls) && !client_ca {
        table.fault("device", "names mtls, which needs server.tls.client-ca");
    }
    sources
}

pub(super) fn timeout(table: &TableReader<'_>, call: Duration) -> Duration {
    let timeout = table.duration("timeout", TIMEOUT_RANGE).unwrap_or(Duration::from_secs(5));
    if timeout >= call {
        table.fault("timeout", format!("must be shorter than server.limits.call, which is {}", show_duration(call)));
    }
    timeout
}

/// Reads how many sessions a device may have: one if the authority counts devices.
pub(super) fn sessions_per_device(table: &TableReader<'_>, unit: Option<SessionUnit>) -> usize {
    let sessions = table.whole("sessions-per-device", 1..=1000).unwrap_or(1);
    if sessions > 1 && unit == Some(SessionUnit::Device) {
        let what = "must be 1, or left out, where the authority counts devices (unit = \"device\"): all that a device plays \
            shares one session";
        table.fault("sessions-per-device", what);
    }
    sessions
}

/// Warns if devices behind one address would count as one.
pub(super) fn warn_of_peers(table: &TableReader<'_>, device: &[IdentitySource], unit: Option<SessionUnit>) {
    if device.contains(&IdentitySource::Peer) && unit == Some(SessionUnit::Device) {
        let what = "falls to the peer, and the authority counts devices (unit = \"device\"): all behind one address that \
            name no device share one session; leave \"peer\" out where each device is named";
        table.warn("device", what);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
