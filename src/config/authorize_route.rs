//! `[[route]]` with `kind = "authorize"`: a route to the app's own authorization service.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::route::{RouteContext, authority, device, strip_cmcd, timeout, upstream_headers};
use super::table_reader::TableReader;
use super::{EndpointUrl, IdentitySource, ViewerHeader, route};

#[derive(Debug)]
pub struct AuthorizeRouteSettings {
    /// Index into the authorities.
    pub authority: usize,
    /// URL of the authorization service.
    pub authorize_url: EndpointUrl,
    pub ca: Option<PathBuf>,
    /// Further places of the content's URL in the reply, as names joined by dots.
    pub content_paths: Vec<String>,
    /// Identity sources of the device; the request's `deviceId` comes before the last resort, `peer`.
    pub device: Vec<IdentitySource>,
    /// Request headers that are passed on, beside the built-in ones.
    pub headers: Vec<HeaderName>,
    /// Further places of the license URL in the reply.
    pub license_paths: Vec<String>,
    /// Path of the route to which the license URL is rewritten; `None` leaves it as it is.
    pub license_route: Option<String>,
    pub media_route: Option<String>,
    pub path: String,
    /// `true` removes CMCD from requests to the service.
    pub strip_cmcd: bool,
    pub timeout: Duration,
    /// Headers that we write with the viewer's address; their names are among `headers`.
    pub viewer_headers: Vec<ViewerHeader>,
}

pub(super) fn authorize(
    table: &TableReader<'_>,
    path: Option<String>,
    frame: &RouteContext<'_>,
) -> Option<AuthorizeRouteSettings> {
    table.need("authorize-url", "write the URL of the app's own authorization service");
    table.need("authority", "name the [[authority]] that grants what is authorized here");
    let url = table.word("authorize-url", EndpointUrl::parse);
    let places = |key| table.list(key, "[\"data.playback.url\"]", json_path).unwrap_or_default();
    let route = |key: &str| table.word(key, route::route_path);
    let (headers, viewer_headers) = upstream_headers(table, "[\"x-authorization\"]");
    let authority = authority(table, frame.authorities);
    let authorize = AuthorizeRouteSettings {
        ca: table.file("ca"),
        content_paths: places("content-paths"),
        device: device(table, frame.client_ca),
        headers,
        license_paths: places("license-paths"),
        license_route: route("license-route"),
        media_route: route("media-route"),
        strip_cmcd: strip_cmcd(table).unwrap_or(false),
        timeout: timeout(table, frame.call),
        viewer_headers,
        authority: authority?,
        authorize_url: url?,
        path: path?,
    };
    Some(authorize)
}

fn json_path(text: &str) -> Result<String, String> {
    let fits = text.len() <= 256 && text.split('.').all(|name| !name.is_empty());
    if fits { Ok(text.to_owned()) } else { Err("must be names with dots between them".to_owned()) }
}
