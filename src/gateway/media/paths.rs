//! Translates between the paths that players use and the servers that have the media.
//!
//! A playback's own path mirrors the origin. Other servers are named in the path, `~h/s/HOST/…` (`s` for https,
//! `p` for http), and a slate's server in the same way behind `~s`. Documents with an edit of their own have
//! other marks: asset lists `~a`, steering lists `~g`, parts of MPDs `~x`. Only servers that the route or the
//! registration allows are reached, so that a caller who knows an id cannot make us call others.

use crate::config::{EndpointUrl, MediaRouteSettings};
use crate::gateway::dot_segments::has_dot_segment;
use crate::gateway::route::GatewayRoute;
use crate::manifest::{AbsoluteUri, Purpose, UriBase, without_default_port};
use crate::registrations::Registration;

/// Reads and makes the paths of one playback.
pub(super) struct PlaybackPaths<'a> {
    pub(super) media: &'a MediaRouteSettings,
    pub(super) registration: &'a Registration,
    pub(super) route: &'a GatewayRoute,
    /// The slate's URL, if the slate is shown.
    pub(super) slate: Option<&'a EndpointUrl>,
}

/// Server and path that a request leads to.
#[derive(Clone, Debug)]
pub(super) struct MediaTarget {
    pub(super) endpoint: EndpointUrl,
    /// Path at the server, without a query.
    pub(super) path: String,
    root: String,
    pub(super) document: MediaDocument,
    /// True for a part of the slate.
    pub(super) slate: bool,
}

/// Kinds of documents, as far as the path tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MediaDocument {
    /// A list of inserted assets.
    Assets,
    /// A manifest, a segment, or anything else that a manifest names.
    Media,
    /// A part of an MPD.
    Part,
    /// A steering list.
    Steering,
}

/// Marks that stand before the server's name in a path.
const MARKS: [(&str, MediaDocument, bool); 5] = [
    ("~a", MediaDocument::Assets, false),
    ("~g", MediaDocument::Steering, false),
    ("~h", MediaDocument::Media, false),
    ("~s", MediaDocument::Media, true),
    ("~x", MediaDocument::Part, false),
];

impl MediaDocument {
    /// The purpose of a URI that leads to such a document.
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::Assets => Purpose::Assets,
            Self::Media => Purpose::Manifest,
            Self::Part => Purpose::Part,
            Self::Steering => Purpose::Steering,
        }
    }
}

/// A path that names its server.
struct MarkedPath<'a> {
    document: MediaDocument,
    /// Host and path.
    rest: &'a str,
    slate: bool,
    tls: bool,
}

/// `None` if the path is the origin's, even if it begins with `~`, as users' folders do.
fn marked(path: &str) -> Option<MarkedPath<'_>> {
    MARKS.into_iter().find_map(|(mark, document, slate)| {
        let (scheme, rest) = path.strip_prefix('/')?.strip_prefix(mark)?.strip_prefix('/')?.split_once('/')?;
        let tls = match scheme {
            "p" => false,
            "s" => true,
            _ => return None,
        };
        Some(MarkedPath { document, rest, slate, tls })
    })
}

/// True if a path names its server. Such a path leads nowhere outside a playback.
pub(super) fn is_marked(path: &str) -> bool {
    marked(path).is_some()
}

pub(super) fn is_of_slate(path: &str) -> bool {
    marked(path).is_some_and(|marked| marked.slate)
}

impl MediaTarget {
    pub(super) fn base(&self) -> UriBase<'_> {
        UriBase { authority: self.endpoint.authority(), path: &self.path, root: &self.root, tls: self.endpoint.tls() }
    }

    /// Target for a slate's manifest.
    pub(super) fn of_slate(endpoint: &EndpointUrl, path: &str) -> Self {
        let (endpoint, path, root) = (endpoint.clone(), path.to_owned(), "/".to_owned());
        Self { document: MediaDocument::Media, endpoint, path, root, slate: true }
    }
}

impl PlaybackPaths<'_> {
    /// The target of `rest`, which follows the playback's id. `None` if the playback may not reach it.
    pub(super) fn target(&self, rest: &str) -> Option<MediaTarget> {
        // Steps upward would leave the part of the origin that the route serves.
        if has_dot_segment(rest) {
            return None;
        }
        if let Some(MarkedPath { document, rest, slate, tls }) = marked(rest) {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let endpoint = self.allowed(tls, authority)?;
            let path = if path.is_empty() { "/" } else { path };
            return Some(MediaTarget { document, endpoint, path: path.to_owned(), root: "/".to_owned(), slate });
        }
        let origin = &self.media.origin;
        let root = root(origin);
        let path = format!("{}{rest}", root.trim_end_matches('/'));
        let path = if path.is_empty() { root.clone() } else { path };
        Some(MediaTarget { document: MediaDocument::Media, endpoint: origin.clone(), path, root, slate: false })
    }

    /// The beginning of every path of this playback.
    pub(super) fn own(&self) -> String {
        format!("{}{}/", self.route.path.trim_end_matches('/'), self.registration.id.segment())
    }

    /// The player's URI for a target. With `direct`, a segment's URI is the server's own.
    pub(super) fn bind(&self, to: &AbsoluteUri<'_>, purpose: Purpose, slate: bool) -> Option<String> {
        if self.media.direct && purpose == Purpose::Segment {
            return Some(format!("http{}://{}{}", if to.tls { "s" } else { "" }, to.authority, to.path));
        }
        let origin = &self.media.origin;
        let own = self.own();
        let at_origin = is_server(origin, to.tls, &to.authority);
        let document = match purpose {
            Purpose::Assets => MediaDocument::Assets,
            Purpose::Beside | Purpose::Data | Purpose::Manifest | Purpose::Segment => MediaDocument::Media,
            Purpose::Part => MediaDocument::Part,
            Purpose::Steering => MediaDocument::Steering,
        };
        let plain = !slate && document == MediaDocument::Media;
        if let (true, true, Some(below)) = (plain, at_origin, to.path.strip_prefix(&root(origin)))
            && !is_marked(&format!("/{below}"))
        {
            return Some(format!("{own}{below}"));
        }
        self.allowed(to.tls, &to.authority)?;
        let fits = |of_slate| document != MediaDocument::Media || of_slate == slate;
        let (mark, ..) = MARKS.into_iter().find(|(_, known, of_slate)| *known == document && fits(*of_slate))?;
        let scheme = if to.tls { "s" } else { "p" };
        Some(format!("{own}{mark}/{scheme}/{}{}", to.authority, to.path))
    }

    /// The player's path for this path of the target's server: the longest of ours that covers it.
    pub(super) fn cookie_path(&self, target: &MediaTarget, path: &str) -> String {
        let (own, origin) = (self.own(), &self.media.origin);
        let root = root(origin);
        let same = |at: &EndpointUrl| is_server(at, target.endpoint.tls(), target.endpoint.authority());
        if same(origin) && target.document == MediaDocument::Media && !target.slate {
            if let Some(below) = format!("{}/", path.trim_end_matches('/')).strip_prefix(&root) {
                let below = if path.ends_with('/') { below } else { below.trim_end_matches('/') };
                return format!("{own}{below}");
            }
            // A cookie for the whole server, or for a part above the root.
            if root.starts_with(&format!("{}/", path.trim_end_matches('/'))) {
                return own;
            }
        }
        let (scheme, authority) = (if target.endpoint.tls() { "s" } else { "p" }, target.endpoint.authority());
        let mark = if target.slate { "~s" } else { "~h" };
        format!("{own}{mark}/{scheme}/{authority}{path}")
    }

    /// The path of the registered content, for players that were given the bare playback. The true URL's query stays,
    /// because manifests may refer to it (`QUERYPARAM`, `useMPDUrlQuery`); the player's own query (`added`) follows.
    pub(super) fn content(&self, added: Option<String>) -> Option<String> {
        let url = self.registration.content_url.as_ref()?;
        let queries: Vec<_> = url.query().into_iter().chain(added.as_deref()).collect();
        let query = if queries.is_empty() { String::new() } else { format!("?{}", queries.join("&")) };
        let path = format!("{}{query}", url.path());
        let to = AbsoluteUri { authority: url.authority().into(), path, tls: url.tls() };
        self.bind(&to, Purpose::Manifest, self.slate.is_some())
    }

    fn allowed(&self, tls: bool, authority: &str) -> Option<EndpointUrl> {
        let is = |endpoint: &EndpointUrl| is_server(endpoint, tls, authority);
        let known = [Some(&self.media.origin), self.registration.content_url.as_ref(), self.slate];
        // With and without the scheme's default port it is the same server.
        let bare = without_default_port(authority, tls);
        let whole = format!("{bare}:{}", if tls { 443 } else { 80 });
        let listed = || self.media.hosts.iter().any(|host| host.fits(bare) || host.fits(&whole));
        let allowed = known.into_iter().flatten().any(is) || listed();
        if !allowed {
            return None;
        }
        EndpointUrl::parse(&format!("http{}://{authority}", if tls { "s" } else { "" })).ok()
    }
}

fn is_server(endpoint: &EndpointUrl, tls: bool, authority: &str) -> bool {
    let bare = |authority| without_default_port(authority, tls);
    endpoint.tls() == tls && bare(endpoint.authority()).eq_ignore_ascii_case(bare(authority))
}

fn root(origin: &EndpointUrl) -> String {
    format!("{}/", origin.path().trim_end_matches('/'))
}
