//! Between the paths that players use and the servers that have the media.
//!
//! Below a playback's own path stands what stands below the origin. Other servers are named in the path,
//! `~h/s/HOST/…` (`s` for https, `p` for http), a slate's in the same way behind `~s`. What is edited in a way of its
//! own is marked by how a manifest refers to it: asset lists `~a`, steering lists `~g`, parts of MPDs `~x`. Only servers that the
//! route or the playback's registration allows are reached: whoever knows an id cannot make us call others.

use crate::config::{EndpointUrl, MediaRouteSettings};
use crate::gateway::dot_segments::has_dot_segment;
use crate::gateway::route::GatewayRoute;
use crate::manifest::{AbsoluteUri, Purpose, UriBase, without_default_port};
use crate::registrations::Registration;

/// How one playback's paths are read and made.
pub(super) struct PlaybackPaths<'a> {
    pub(super) media: &'a MediaRouteSettings,
    pub(super) registration: &'a Registration,
    pub(super) route: &'a GatewayRoute,
    /// Where its slate is, if it is shown.
    pub(super) slate: Option<&'a EndpointUrl>,
}

/// What a request is for.
#[derive(Clone, Debug)]
pub(super) struct MediaTarget {
    pub(super) endpoint: EndpointUrl,
    /// At the server, without a query.
    pub(super) path: String,
    root: String,
    pub(super) document: MediaDocument,
    /// A part of the slate.
    pub(super) slate: bool,
}

/// What a request is known to be for by how it was referred to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MediaDocument {
    /// A list of what is inserted.
    Assets,
    /// A manifest, a segment, or whatever else a manifest names.
    Media,
    /// A part of an MPD.
    Part,
    /// A steering list.
    Steering,
}

/// What stands before the server's name in the path.
const MARKS: [(&str, MediaDocument, bool); 5] = [
    ("~a", MediaDocument::Assets, false),
    ("~g", MediaDocument::Steering, false),
    ("~h", MediaDocument::Media, false),
    ("~s", MediaDocument::Media, true),
    ("~x", MediaDocument::Part, false),
];

impl MediaDocument {
    /// Of a URI that leads to one.
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::Assets => Purpose::Assets,
            Self::Media => Purpose::Manifest,
            Self::Part => Purpose::Part,
            Self::Steering => Purpose::Steering,
        }
    }
}

/// What a path begins with that names its server.
struct MarkedPath<'a> {
    document: MediaDocument,
    /// Server and path.
    rest: &'a str,
    slate: bool,
    tls: bool,
}

/// None: it stands at the origin, whatever it looks like; folders of users begin with `~`, too.
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

/// Whether a path names its server: outside a playback it leads nowhere.
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

    /// A slate's manifest.
    pub(super) fn of_slate(endpoint: &EndpointUrl, path: &str) -> Self {
        let (endpoint, path, root) = (endpoint.clone(), path.to_owned(), "/".to_owned());
        Self { document: MediaDocument::Media, endpoint, path, root, slate: true }
    }
}

impl PlaybackPaths<'_> {
    /// What `rest`, behind the playback's id, leads to. None: to nothing that it may.
    pub(super) fn target(&self, rest: &str) -> Option<MediaTarget> {
        // Steps upward would lead to what the route does not show.
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

    /// What every path of this playback begins with.
    pub(super) fn own(&self) -> String {
        format!("{}{}/", self.route.path.trim_end_matches('/'), self.registration.id.segment())
    }

    /// The player's URI for it; the server's own where segments do not pass through.
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

    /// Where a player has this path of the target's server: the longest of ours that holds all of it.
    pub(super) fn cookie_path(&self, target: &MediaTarget, path: &str) -> String {
        let (own, origin) = (self.own(), &self.media.origin);
        let root = root(origin);
        let same = |at: &EndpointUrl| is_server(at, target.endpoint.tls(), target.endpoint.authority());
        if same(origin) && target.document == MediaDocument::Media && !target.slate {
            if let Some(below) = format!("{}/", path.trim_end_matches('/')).strip_prefix(&root) {
                let below = if path.ends_with('/') { below } else { below.trim_end_matches('/') };
                return format!("{own}{below}");
            }
            // The path of a whole server, or of a part above the root.
            if root.starts_with(&format!("{}/", path.trim_end_matches('/'))) {
                return own;
            }
        }
        let (scheme, authority) = (if target.endpoint.tls() { "s" } else { "p" }, target.endpoint.authority());
        let mark = if target.slate { "~s" } else { "~h" };
        format!("{own}{mark}/{scheme}/{authority}{path}")
    }

    /// The path of the content that was registered, for players that were given the playback alone. The true URL's
    /// query stays as it is, because manifests may refer to it (`QUERYPARAM`, `useMPDUrlQuery`); what the player
    /// itself `added` follows.
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
        // With and without the scheme's own port it is the same server.
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
