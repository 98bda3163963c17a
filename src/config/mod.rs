//! The configuration as the rest of the program sees it: checked, complete, immutable.
//!
//! `raw` holds the file as it stands, `environment` lays `SIDEBEAT_…` over it, `section`, `take`
//! and `value` read it key by key, `check` knows all keys and turns the sum into a [`Config`] or
//! into all its faults at once. Nothing above this module parses a setting again.

mod check;
mod embedded;
mod endpoint;
mod environment;
mod fault;
mod firstlight;
mod media;
mod near;
mod raw;
mod section;
mod take;
mod units;
mod value;
mod words;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub use self::check::{keys, load, parse};
pub use self::embedded::{AccountRung, Embedded, Groups, OnLimit, Pattern};
pub use self::endpoint::Endpoint;
pub use self::fault::{Fault, Faults};
pub use self::firstlight::{FirstLight, Names, StreamConcurrency};
pub use self::media::{HostPattern, Media};
use crate::secret::Secret;

#[derive(Debug)]
pub struct Config {
    pub admin: Admin,
    pub authorities: Vec<Authority>,
    pub log: Log,
    pub routes: Vec<Route>,
    pub server: Server,
}

/// `[server]`: what players connect to.
#[derive(Debug)]
pub struct Server {
    pub limits: Limits,
    /// HTTPS, HTTP/1.1 and HTTP/2 by ALPN.
    pub listen: Vec<SocketAddr>,
    /// Cleartext HTTP/1.1; only loopback addresses unless `plain-beyond-loopback = true`.
    pub listen_plain: Vec<SocketAddr>,
    pub origins: Origins,
    pub tls: Tls,
    /// Threads that serve players, each with its own runtime and listener; at least 1.
    pub workers: usize,
}

#[derive(Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    /// Client certificates signed by this CA are asked for, and name the device (`mtls`).
    pub client_ca: Option<PathBuf>,
    pub key: PathBuf,
}

/// Which web pages may call us across origins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origins {
    Any,
    List(Vec<String>),
}

/// `[server.limits]`: every bound toward players.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Request body, from its first to its last byte.
    pub body: Duration,
    /// Largest body on a license route, bytes.
    pub body_max: usize,
    /// One license call, upstream included. At most 7 s: dash.js gives up at 8.
    pub call: Duration,
    /// Connections at once, all workers together.
    pub connections: usize,
    /// How long SIGTERM waits for calls in flight.
    pub drain: Duration,
    /// From the accepted connection to its first byte.
    pub first_byte: Duration,
    pub handshake: Duration,
    /// Request head, and the idle time of a kept-alive connection.
    pub idle: Duration,
    /// Calls at once, all workers together.
    pub in_flight: usize,
    /// Longest life of one connection; it is then closed after the running call.
    pub lifetime: Duration,
}

/// `[admin]`: health, metrics, sessions API.
#[derive(Debug)]
pub struct Admin {
    pub listen: Option<SocketAddr>,
    /// Web pages of these origins may read the API; for dashboards.
    pub origins: Vec<String>,
    /// When set, `Authorization: Bearer` must carry it (health checks excepted).
    pub token: Option<Secret>,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a tracing filter.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    Json,
    Text,
}

/// `[[authority]]`
#[derive(Debug)]
pub struct Authority {
    pub kind: AuthorityKind,
    /// Referred to by routes; also a metric label.
    pub name: String,
}

#[derive(Debug)]
pub enum AuthorityKind {
    Embedded(Box<Embedded>),
    NagraSsm(Box<NagraSsm>),
}

/// NAGRA SSM v1. Facts: `docs/authorities.md`.
#[derive(Debug)]
pub struct NagraSsm {
    /// Name of the header that carries tokens: `nv-authorizations`.
    pub authorization: HeaderName,
    /// Trusted for these endpoints in place of the public roots.
    pub ca: Option<PathBuf>,
    /// Share of the interval after which a beat is sent, 0.5 to 1.0.
    pub fraction: f64,
    /// Added to interval before a silent session counts as expired.
    pub grace: Duration,
    /// Constant headers of every call, such as `nv-tenant-id`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub heartbeat: Endpoint,
    /// When the setup reply names no interval.
    pub interval: Duration,
    /// `nv-authorizations` of a license call; `{content}` and `{session}` are replaced.
    pub license_authorization: String,
    pub renewal: Endpoint,
    /// Tried once, and remembered, when `renewal` answers 404 without an error code.
    pub renewal_other: Option<Endpoint>,
    pub setup: Endpoint,
    pub teardown: Endpoint,
    /// One call to the authority.
    pub timeout: Duration,
}

/// `[[route]]`: a path prefix that players use.
#[derive(Debug)]
pub struct Route {
    /// Index into [`Config::authorities`]; none means: pass through, count, manage nothing.
    pub authority: Option<usize>,
    /// Trusted for the license server in place of the public roots.
    pub ca: Option<PathBuf>,
    pub content_token: Vec<TokenSource>,
    /// The identity ladder: the first rung that answers names the device.
    pub device: Vec<Rung>,
    /// Whether a player that reports about itself (CMCD) is over when it falls silent.
    pub end_on_silence: bool,
    pub enforcement: Enforcement,
    /// Request headers that are passed on to the license server, beside the built-in ones.
    pub headers: Vec<HeaderName>,
    /// How long a kill is remembered when the content token tells no expiry; at least 30 s.
    pub kill_memory: Duration,
    /// Of a media route: the origin.
    pub license_server: Endpoint,
    /// For a media route, and only for one.
    pub media: Option<Box<Media>>,
    /// A playback without any sign of life ends after this, whatever the beats say.
    pub longest_session: Duration,
    /// Begins with `/`, has no trailing `/` (except `/` itself), unique among the routes.
    pub path: String,
    pub refusal: Refusal,
    pub session_control: SessionControl,
    pub sessions_per_device: usize,
    /// From connect to the last byte of the license server's reply.
    pub timeout: Duration,
    pub wrapping: Wrappings,
}

/// Where a route finds the content token; the first that has one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSource {
    /// `custom-data`: the PlayReady challenge's CustomData.
    CustomData,
    /// `header:NAME`
    Header(HeaderName),
    /// `query:NAME`; removed from the query toward the license server.
    Query(String),
}

/// One rung of the identity ladder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rung {
    /// `cookie:NAME`
    Cookie(String),
    /// `header:NAME`
    Header(HeaderName),
    /// `mtls`: fingerprint of the client's certificate.
    Mtls,
    /// `path-segment`: the first segment after the route's path; not passed on.
    PathSegment,
    /// `peer`: the client's IP address.
    Peer,
    /// `query:NAME`; removed from the query toward the license server.
    Query(String),
    /// `token-claim:PATH`: a claim of the content token, dots between names.
    TokenClaim(String),
}

/// Who keeps the session alive toward the authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// By the Widevine license policy; every other DRM is beaten by us.
    Auto,
    Heartbeat,
    Renewal,
}

/// Whether a content token asks for a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionControl {
    Always,
    /// Yes, unless a readable token has no `sessionControl` or says `sessionControlEnabled: false`.
    Auto,
    Never,
}

/// How bodies are wrapped on either side of us; equal on both sides means untouched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrappings {
    pub player_reply: Wrapping,
    pub player_request: Wrapping,
    pub server_reply: Wrapping,
    pub server_request: Wrapping,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wrapping {
    Base64,
    /// `form:FIELD`
    Form(String),
    /// `json:FIELD`
    Json(String),
    Raw,
}

/// The profile per DRM and phase.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Refusal {
    pub clearkey: Profiles,
    pub fairplay: Profiles,
    pub playready: Profiles,
    pub widevine: Profiles,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Profiles {
    pub first: Profile,
    pub renewal: Profile,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// By player family.
    #[default]
    Auto,
    /// 403 and JSON.
    Http,
    /// 200 and an in-band refusal that the CDM rejects.
    Reject,
    /// 200 and a SOAP fault.
    Soap200,
    /// 500 and a SOAP fault.
    Soap500,
}
