//! `[[route]]`: the checked settings of a license or media route, and the words that all routes share.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::{Endings, Endpoint, Media, ViewerHeader};

/// `[[route]]`: a path prefix that players use.
#[derive(Debug)]
pub struct Route {
    /// Index into [`crate::config::Config::authorities`]; none means: pass through, count, manage nothing.
    pub authority: Option<usize>,
    /// Trusted for the license server in place of the public roots.
    pub ca: Option<PathBuf>,
    pub content_token: Vec<TokenSource>,
    /// The identity ladder: the first rung that answers names the device.
    pub device: Vec<Rung>,
    pub endings: Endings,
    pub enforcement: Enforcement,
    /// Request headers that are passed on to the license server, beside the built-in ones.
    pub headers: Vec<HeaderName>,
    /// How long a kill is remembered when the content token tells no expiry; at least 30 s.
    pub kill_memory: Duration,
    /// Of a media route: the origin.
    pub license_server: Endpoint,
    /// For a media route, and only for one.
    pub media: Option<Box<Media>>,
    /// Begins with `/`, has no trailing `/` (except `/` itself), unique among the routes.
    pub path: String,
    /// For how long a viewer who zapped away may find the session as it was left, where its close has
    /// not been sent yet.
    pub re_entry: Duration,
    pub refusal: Refusal,
    pub retry: Retry,
    pub session_control: SessionControl,
    pub sessions_per_device: usize,
    /// Whether CMCD is taken off what goes to the license server or the origin.
    pub strip_cmcd: bool,
    /// From connect to the last byte of the license server's reply.
    pub timeout: Duration,
    /// What becomes of license calls in which no DRM message is recognised.
    pub unrecognised: UnrecognisedCalls,
    /// Headers that we write with the viewer's address; their names are among `headers`.
    pub viewer_headers: Vec<ViewerHeader>,
    pub wrapping: Wrappings,
}

/// What is asked of the license server or the origin again, within the time of the player's call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// After replies of 502, 503 and 504.
    pub gateway_errors: RetriedCalls,
    /// While it cannot be reached, or turns the call away unprocessed.
    pub unreachable: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetriedCalls {
    All,
    None,
    Renewals,
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

/// `unrecognised`: what becomes of license calls in which no DRM message is recognised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnrecognisedCalls {
    /// To the license server, without a session.
    Pass,
    Refuse,
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
