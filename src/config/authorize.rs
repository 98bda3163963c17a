//! `[[route]]` with `kind = "authorize"`: the app's own authorization service behind us.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::{Endpoint, Rung, ViewerHeader};

#[derive(Debug)]
pub struct Authorize {
    /// Index into the authorities.
    pub authority: usize,
    /// The service that the app asked before.
    pub authorize_url: Endpoint,
    pub ca: Option<PathBuf>,
    /// More places of the content's URL in the reply, dots between names.
    pub content_paths: Vec<String>,
    /// The identity ladder; the request's `deviceId` stands before its last resort, `peer`.
    pub device: Vec<Rung>,
    /// Request headers that are passed on, beside the built-in ones.
    pub headers: Vec<HeaderName>,
    /// More places of the license URL in the reply.
    pub license_paths: Vec<String>,
    /// Where the rewritten license URL leads; the content's, likewise. None: left as it is.
    pub license_route: Option<String>,
    pub media_route: Option<String>,
    pub path: String,
    /// Whether CMCD is taken off what goes to the service.
    pub strip_cmcd: bool,
    pub timeout: Duration,
    /// Headers that we write with the viewer's address; their names are among `headers`.
    pub viewer_headers: Vec<ViewerHeader>,
}
