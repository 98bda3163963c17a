//! `[[route]]` and `[route.body]`; the other kinds of routes have files of their own.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use super::authorize::authorize;
use super::endings::endings;
use super::media;
use super::own_listener::check_urls;
use super::refusal::refusal;
use super::unit;
use super::unlimited;
use crate::config::near::nearest;
use crate::config::section::Section;
use crate::config::units::{LONGEST, show_duration};
use crate::config::words;
use crate::config::{
    Authority, AuthorityKind, Authorize, Endpoint, Enforcement, Refusal, RetriedCalls, Retry, Route, Rung,
    SessionControl, TokenSource, UnrecognisedCalls, ViewerHeader, Wrapping, Wrappings,
};

/// Where content tokens name the device that they are for.
const DEVICE_CLAIM: &str = "device.deviceId";

const ANY: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST;

const ENFORCEMENT: [(&str, Enforcement); 3] =
    [("auto", Enforcement::Auto), ("heartbeat", Enforcement::Heartbeat), ("renewal", Enforcement::Renewal)];
const SESSION_CONTROL: [(&str, SessionControl); 3] =
    [("always", SessionControl::Always), ("auto", SessionControl::Auto), ("never", SessionControl::Never)];

const UNRECOGNISED: [(&str, UnrecognisedCalls); 2] =
    [("pass", UnrecognisedCalls::Pass), ("refuse", UnrecognisedCalls::Refuse)];

const KINDS: [(&str, Kind); 3] = [("authorize", Kind::Authorize), ("license", Kind::License), ("media", Kind::Media)];

const RETRIED: [(&str, RetriedCalls); 3] =
    [("all", RetriedCalls::All), ("none", RetriedCalls::None), ("renewals", RetriedCalls::Renewals)];

#[derive(Clone, Copy)]
enum Kind {
    Authorize,
    License,
    Media,
}

/// What a route is checked against.
pub(super) struct Frame<'a> {
    /// Names in the order of their tables; none where a name is at fault.
    pub(super) authorities: &'a [Option<String>],
    /// `server.limits.call`
    pub(super) call: Duration,
    /// Whether players are asked for certificates.
    pub(super) client_ca: bool,
    /// In the order of `authorities`; none where something is at fault.
    pub(super) found: &'a [Option<&'a Authority>],
    /// All that this process listens on.
    pub(super) listeners: &'a [SocketAddr],
}

impl<'a> Frame<'a> {
    pub(super) fn kind(&self, authority: Option<usize>) -> Option<&'a AuthorityKind> {
        self.authority(authority).map(|authority| &authority.kind)
    }

    fn authority(&self, authority: Option<usize>) -> Option<&'a Authority> {
        self.found.get(authority?).copied().flatten()
    }
}

/// What holds where a route does not say. The tokens of an embedded authority are the app's own: they do not
/// speak of sessions, and that says nothing.
fn usual_session_control(authority: Option<&AuthorityKind>) -> SessionControl {
    match authority {
        Some(AuthorityKind::Embedded(_)) => SessionControl::Always,
        Some(AuthorityKind::FirstLight(_) | AuthorityKind::NagraSsm(_)) | None => SessionControl::Auto,
    }
}

pub(super) fn routes(root: &Section<'_>, frame: &Frame<'_>) -> Option<(Vec<Route>, Vec<Authorize>)> {
    let tables = root.tables("route");
    if tables.is_empty() {
        root.need("route", "write at least one [[route]], or there is nothing that players can ask for");
    }
    let mut paths = Vec::new();
    for table in &tables {
        table.need("path", "write the path that players use, such as \"/license\"");
        let path = table.word("path", words::route_path);
        if path.is_some() && paths.contains(&path) {
            table.fault("path", "is the path of another route too");
        }
        paths.push(path);
    }
    let (mut routes, mut authorizes) = (Vec::new(), Vec::new());
    for (table, path) in tables.iter().zip(paths.iter().cloned()) {
        check_urls(table, &["authorize-url", "license-server", "origin"], frame.listeners);
        let kind = table.choice("kind", &KINDS);
        match kind.unwrap_or(Kind::License) {
            Kind::Authorize => authorizes.push(authorize(table, path, &paths, frame)),
            Kind::License => routes.push(route(table, path, frame)),
            Kind::Media => routes.push(media_route(table, path, frame)),
        }
    }
    let routes = routes.into_iter().collect::<Option<Vec<_>>>().filter(|_| !tables.is_empty());
    routes.zip(authorizes.into_iter().collect())
}

fn route(table: &Section<'_>, path: Option<String>, frame: &Frame<'_>) -> Option<Route> {
    table.need("license-server", "write the URL that players asked for licenses before");
    let license_server = table.word("license-server", Endpoint::parse);
    let enforcement = enforcement(table);
    let refusal = refusal(&table.table("refusal"));
    let strip_cmcd = strip_cmcd(table).unwrap_or(false);
    let wrapping = wrappings(&table.table("body"));
    let session_control = table.choice("session-control", &SESSION_CONTROL);
    let unrecognised = table.choice("unrecognised", &UNRECOGNISED);
    let base = base(table, path, license_server, frame)?;
    let session_control = session_control.unwrap_or_else(|| usual_session_control(frame.kind(base.authority)));
    if session_control == SessionControl::Auto {
        unlimited::warn_of_unregistered(table, frame.kind(base.authority));
    }
    unlimited::warn_of_unlimited(table, session_control, frame.kind(base.authority));
    if base.authority.is_some() {
        unlimited::warn_of_unused(table, base.endings.unused, frame.call);
    }
    if enforcement == Enforcement::Renewal {
        expect_renewals(table, base.authority, frame);
    }
    let managed = base.authority.is_some() && session_control == SessionControl::Always;
    let usual = if managed { UnrecognisedCalls::Refuse } else { UnrecognisedCalls::Pass };
    let unrecognised = unrecognised.unwrap_or(usual);
    Some(Route { enforcement, refusal, session_control, strip_cmcd, unrecognised, wrapping, ..base })
}

fn enforcement(table: &Section<'_>) -> Enforcement {
    table.choice("enforcement", &ENFORCEMENT).unwrap_or(Enforcement::Auto)
}

/// Sessions that only renewals keep alive would expire where none can come.
fn expect_renewals(table: &Section<'_>, authority: Option<usize>, frame: &Frame<'_>) {
    let renews = match authority {
        Some(_) => frame.kind(authority).map(AuthorityKind::takes_renewals),
        // A name that is none has its own fault.
        None => table.has("authority").then_some(true).or(Some(false)),
    };
    if renews == Some(false) {
        let what = "\"renewal\" needs an authority that takes renewals as beats (kind \"nagra-ssm\"): \
            write \"auto\" or \"heartbeat\", or leave it out";
        table.fault("enforcement", what);
    }
}

fn media_route(table: &Section<'_>, path: Option<String>, frame: &Frame<'_>) -> Option<Route> {
    let origin = media::origin(table);
    let media = Some(Box::new(media::media(table)));
    let strip_cmcd = strip_cmcd(table).unwrap_or(true);
    Some(Route { media, strip_cmcd, ..base(table, path, origin, frame)? })
}

/// What routes of both kinds have. No license passes here: the keys about licenses have no meaning yet.
fn base(table: &Section<'_>, path: Option<String>, upstream: Option<Endpoint>, frame: &Frame<'_>) -> Option<Route> {
    let (headers, viewer_headers) = upstream_headers(table, "[\"x-correlation-id\"]");
    let kill_memory = table.duration("kill-memory", Duration::from_secs(30)..=LONGEST);
    let raw = || Wrapping::Raw;
    let authority = authority(table, frame.authorities);
    let device = device(table, frame.client_ca);
    let unit = frame.authority(authority).map(|authority| authority.unit);
    unit::warn_of_peers(table, &device, unit);
    let route = Route {
        authority,
        ca: table.file("ca"),
        content_token: content_token(table),
        device,
        endings: endings(&table.table("endings")),
        enforcement: Enforcement::Heartbeat,
        headers,
        kill_memory: kill_memory.unwrap_or(Duration::from_hours(1)),
        media: None,
        re_entry: re_entry(table),
        refusal: Refusal::default(),
        retry: retry(table),
        session_control: SessionControl::Always,
        sessions_per_device: unit::sessions_per_device(table, unit),
        strip_cmcd: true,
        timeout: timeout(table, frame.call),
        unrecognised: UnrecognisedCalls::Pass,
        viewer_headers,
        wrapping: Wrappings { player_reply: raw(), player_request: raw(), server_reply: raw(), server_request: raw() },
        // Last, so that all of the table is read before a missing one gives up.
        license_server: upstream?,
        path: path?,
    };
    Some(route)
}

/// The names of all headers that go on to the upstream, and those of them that we write.
pub(super) fn upstream_headers(table: &Section<'_>, example: &str) -> (Vec<HeaderName>, Vec<ViewerHeader>) {
    let headers = table.list("headers", example, words::upstream_header).unwrap_or_default();
    let (names, written): (Vec<_>, Vec<_>) = headers.into_iter().unzip();
    (names, written.into_iter().flatten().collect())
}

pub(super) fn strip_cmcd(table: &Section<'_>) -> Option<bool> {
    table.choice("cmcd", &[("pass", false), ("strip", true)])
}

fn re_entry(table: &Section<'_>) -> Duration {
    table.duration("re-entry", Duration::ZERO..=Duration::from_mins(1)).unwrap_or(Duration::from_secs(5))
}

fn retry(table: &Section<'_>) -> Retry {
    Retry {
        gateway_errors: table.choice("retry-gateway-errors", &RETRIED).unwrap_or(RetriedCalls::Renewals),
        unreachable: table.flag("retry-unreachable").unwrap_or(true),
    }
}

pub(super) fn authority(table: &Section<'_>, names: &[Option<String>]) -> Option<usize> {
    let wanted = table.word("authority", words::label)?;
    let found = names.iter().position(|name| name.as_ref() == Some(&wanted));
    if found.is_none() && names.iter().all(Option::is_some) {
        let near = nearest(&wanted, names.iter().flatten().map(String::as_str));
        let advice = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_else(|| known_names(names));
        table.fault("authority", format!("is not the name of any [[authority]]{advice}"));
    }
    found
}

/// What there is, as far as it fits into a line.
fn known_names(names: &[Option<String>]) -> String {
    const SHOWN: usize = 10;
    let names: Vec<_> = names.iter().flatten().map(|name| format!("\"{name}\"")).collect();
    match names.len() {
        0 => "; there is none".to_owned(),
        count if count > SHOWN => {
            format!("; there are {count}, such as {}", names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
        }
        _ => format!("; there is {}", names.join(", ")),
    }
}

fn content_token(table: &Section<'_>) -> Vec<TokenSource> {
    let sources = table.list("content-token", "[\"header:nv-authorizations\"]", words::token_source);
    sources.unwrap_or_else(|| {
        let header = TokenSource::Header(HeaderName::from_static("nv-authorizations"));
        vec![header, TokenSource::Query("token".to_owned()), TokenSource::CustomData]
    })
}

pub(super) fn device(table: &Section<'_>, client_ca: bool) -> Vec<Rung> {
    let rungs = table.list("device", "[\"header:x-device-id\", \"peer\"]", words::rung);
    let rungs = rungs.unwrap_or_else(|| {
        let header = Rung::Header(HeaderName::from_static("x-device-id"));
        let claim = Rung::TokenClaim(DEVICE_CLAIM.to_owned());
        vec![header, Rung::Query("device".to_owned()), claim, Rung::Peer]
    });
    if rungs.is_empty() {
        table.fault("device", "is empty: name at least \"peer\"");
    }
    let told = rungs.iter().any(|rung| *rung != Rung::Peer);
    if rungs.contains(&Rung::Peer) && !told {
        let what = "names only the peer: all devices behind one address (a home's router, a proxy) are one device; \
            put what tells them apart before it, such as \"token-claim:device.deviceId\"";
        table.warn("device", what);
    }
    if rungs.contains(&Rung::Mtls) && !client_ca {
        table.fault("device", "names mtls, which needs server.tls.client-ca");
    }
    rungs
}

pub(super) fn timeout(table: &Section<'_>, call: Duration) -> Duration {
    let timeout = table.duration("timeout", ANY).unwrap_or(Duration::from_secs(5));
    if timeout >= call {
        table.fault("timeout", format!("must be shorter than server.limits.call, which is {}", show_duration(call)));
    }
    timeout
}

/// What is not said is as on the other side, so that one word describes a head-end that wraps.
fn wrappings(table: &Section<'_>) -> Wrappings {
    let wrapping = |key: &str| table.word(key, words::wrapping);
    let player_request = wrapping("player").unwrap_or(Wrapping::Raw);
    let server_request = wrapping("server").unwrap_or_else(|| player_request.clone());
    Wrappings {
        player_reply: wrapping("player-reply").unwrap_or_else(|| player_request.clone()),
        server_reply: wrapping("server-reply").unwrap_or_else(|| server_request.clone()),
        player_request,
        server_request,
    }
}
