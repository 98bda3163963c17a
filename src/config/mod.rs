//! The configuration as the rest of the program sees it: checked, complete, immutable.
//!
//! `raw` holds the file as it stands, `environment` lays `SIDEBEAT_…` over it, `section`, `take`
//! and `value` read it key by key, `check` knows all keys and turns the sum into a [`Config`] or
//! into all its faults at once. Nothing above this module parses a setting again.

mod authorize;
mod check;
mod embedded;
mod endings;
mod endpoint;
mod environment;
mod fault;
mod firstlight;
mod media;
mod near;
mod outage;
mod proxies;
mod raw;
mod route;
mod section;
mod store;
mod take;
mod template;
mod texts;
mod token_keys;
mod units;
mod value;
mod viewer_header;
mod webhook;
mod words;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub use self::authorize::Authorize;
pub use self::check::{keys, load, parse};
pub use self::embedded::{AccountRung, Embedded, Groups, HOUSEHOLD_ACCOUNT, OnLimit, Pattern};
pub use self::endings::Endings;
pub use self::endpoint::Endpoint;
pub use self::fault::{Fault, Faults, KeyPlace, NamedFiles};
pub use self::firstlight::{Code, FirstLight, Names, StreamConcurrency};
pub use self::media::{HostPattern, Media};
pub use self::outage::{Allowed, OnUnreachable};
pub use self::proxies::{ForwardedHeader, TrustedProxies};
pub use self::route::{
    Enforcement, Profile, Profiles, Refusal, RetriedCalls, Retry, Route, Rung, SessionControl, TokenSource,
    UnrecognisedCalls, Wrapping, Wrappings,
};
pub use self::store::{OnExit, Store, StoreKind};
pub use self::template::{Place, Template};
pub use self::texts::{BUILT_IN_LANGUAGE, Language, TEXT_KEYS, Texts};
pub use self::token_keys::{JwksUrl, TokenKeys};
pub use self::viewer_header::ViewerHeader;
pub use self::webhook::Webhook;
use crate::secret::Secret;

#[derive(Debug)]
pub struct Config {
    pub admin: Admin,
    pub authorities: Vec<Authority>,
    pub authorize: Vec<Authorize>,
    /// For faults that only show when a file is read.
    pub files: NamedFiles,
    pub log: Log,
    pub routes: Vec<Route>,
    pub server: Server,
    pub store: Store,
    pub texts: Texts,
    /// What is allowed, and hardly meant.
    pub warnings: Faults,
    pub webhooks: Vec<Webhook>,
}

/// `[server]`: what players connect to.
#[derive(Debug)]
pub struct Server {
    /// Which header of a trusted proxy names the viewer.
    pub forwarded_header: ForwardedHeader,
    /// Names that players may call us by, beside addresses and localhost; they matter where `origins` is a list.
    pub host_names: Vec<HostPattern>,
    pub limits: Limits,
    /// HTTPS, HTTP/1.1 and HTTP/2 by ALPN.
    pub listen: Vec<SocketAddr>,
    /// Cleartext HTTP/1.1; only loopback addresses unless `plain-beyond-loopback = true`.
    pub listen_plain: Vec<SocketAddr>,
    pub origins: Origins,
    /// Those of `listen` and `listen_plain` whose connections begin with a PROXY protocol header.
    pub proxy_protocol: Vec<SocketAddr>,
    /// How players reach us, without a slash at its end; none: as their `Host` says.
    pub public_url: Option<String>,
    pub tls: Tls,
    /// Who may say for whom it calls.
    pub trusted_proxies: TrustedProxies,
    /// Threads that serve players, each with its own runtime and listener; at least 1.
    pub workers: usize,
}

#[derive(Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    /// Client certificates signed by this CA are asked for, and name the device (`mtls`).
    pub client_ca: Option<PathBuf>,
    /// Whether certificate and key are where `run` makes them if there are none.
    pub is_at_its_usual_place: bool,
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
    /// Bytes of bodies at once: those on their way and those of calls in flight.
    pub body_memory: usize,
    pub body_memory_per_address: usize,
    /// One license call, upstream included. At most 7 s: dash.js gives up at 8.
    pub call: Duration,
    /// Connections at once, all workers together.
    pub connections: usize,
    pub connections_per_address: usize,
    /// How long SIGTERM waits for calls in flight.
    pub drain: Duration,
    /// Streams of events toward players of one address.
    pub event_listeners_per_address: usize,
    /// From the accepted connection to its first byte.
    pub first_byte: Duration,
    pub handshake: Duration,
    /// From the first byte of a request head to its end; and on a new HTTP/2 connection, to its first request.
    pub head: Duration,
    /// The idle time of a kept-alive connection.
    pub idle: Duration,
    /// Calls at once, all workers together.
    pub in_flight: usize,
    /// From the complete request to the last byte of the reply.
    pub in_flight_per_address: usize,
    /// Longest life of one connection; it is then closed after the running call.
    pub lifetime: Duration,
    /// A second; four seconds' worth may come at once.
    pub new_connections_per_address: usize,
    /// Playbacks that are not over, of all devices.
    pub sessions: usize,
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
    /// Devices and accounts as hashes.
    pub hashed_identities: bool,
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
    pub unit: SessionUnit,
}

/// What one session at an authority stands for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SessionUnit {
    /// All that a device plays for an account.
    Device,
    #[default]
    Playback,
}

#[derive(Debug)]
pub enum AuthorityKind {
    Embedded(Box<Embedded>),
    FirstLight(Box<FirstLight>),
    NagraSsm(Box<NagraSsm>),
}

impl AuthorityKind {
    /// Whether a player's renewals are its beats.
    pub(super) fn takes_renewals(&self) -> bool {
        match self {
            Self::Embedded(_) | Self::FirstLight(_) => false,
            Self::NagraSsm(_) => true,
        }
    }
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
    pub on_unreachable: OnUnreachable,
    pub renewal: Endpoint,
    /// Tried once, and remembered, when `renewal` answers 404 without an error code.
    pub renewal_other: Option<Endpoint>,
    pub setup: Endpoint,
    pub teardown: Endpoint,
    /// One call to the authority.
    pub timeout: Duration,
}
