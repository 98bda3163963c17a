//! Between the paths that players use and the servers that have the media.
//!
//! Below a playback's own path stands what stands below the origin. Other servers are named in the path,
//! `~h/s/HOST/…` (`s` for https, `p` for http), a slate's in the same way behind `~s`, and steering lists behind
//! `~g`. Only servers that the
//! route or the playback's registration allows are reached: whoever knows an id cannot make us call others.

use crate::config::{self, Endpoint};
use crate::gateway::dot_segments::has_dot_segment;
use crate::gateway::route::Route;
use crate::manifest::{Absolute, Base, Purpose};
use crate::playbacks::Registration;

/// How one playback's paths are read and made.
pub(super) struct Map<'a> {
    pub(super) media: &'a config::Media,
    pub(super) registration: &'a Registration,
    pub(super) route: &'a Route,
    /// Where its slate is, if it is shown.
    pub(super) slate: Option<&'a Endpoint>,
}

/// What a request is for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// At the server, without a query.
    pub(super) path: String,
    root: String,
    /// A part of the slate.
    pub(super) slate: bool,
    /// A steering list.
    pub(super) steering: bool,
}

impl Target {
    pub(super) fn base(&self) -> Base<'_> {
        Base { authority: self.endpoint.authority(), path: &self.path, root: &self.root, tls: self.endpoint.tls() }
    }

    /// A slate's manifest.
    pub(super) fn of_slate(endpoint: &Endpoint, path: &str) -> Self {
        Self { endpoint: endpoint.clone(), path: path.to_owned(), root: "/".to_owned(), slate: true, steering: false }
    }
}

impl Map<'_> {
    /// What `rest`, behind the playback's id, leads to. None: to nothing that it may.
    pub(super) fn target(&self, rest: &str) -> Option<Target> {
        // Steps upward would lead to what the route does not show.
        if has_dot_segment(rest) {
            return None;
        }
        for (mark, slate, steering) in [("/~g/", false, true), ("/~h/", false, false), ("/~s/", true, false)] {
            let Some(rest) = rest.strip_prefix(mark) else { continue };
            let (scheme, rest) = rest.split_once('/')?;
            let tls = matches!(scheme, "s").then_some(true).or(matches!(scheme, "p").then_some(false))?;
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let endpoint = self.allowed(tls, authority)?;
            let path = if path.is_empty() { "/" } else { path };
            return Some(Target { endpoint, path: path.to_owned(), root: "/".to_owned(), slate, steering });
        }
        let origin = &self.route.config.license_server;
        let root = root(origin);
        let path = format!("{}{rest}", root.trim_end_matches('/'));
        let path = if path.is_empty() { root.clone() } else { path };
        Some(Target { endpoint: origin.clone(), path, root, slate: false, steering: false })
    }

    /// What every path of this playback begins with.
    pub(super) fn own(&self) -> String {
        format!("{}{}/", self.route.path.trim_end_matches('/'), self.registration.id.segment())
    }

    /// The player's URI for it; the server's own where segments do not pass through.
    pub(super) fn bind(&self, to: &Absolute<'_>, purpose: Purpose, slate: bool) -> Option<String> {
        if self.media.direct && purpose == Purpose::Segment {
            return Some(format!("http{}://{}{}", if to.tls { "s" } else { "" }, to.authority, to.path));
        }
        let origin = &self.route.config.license_server;
        let own = self.own();
        let at_origin = to.tls == origin.tls() && to.authority.eq_ignore_ascii_case(origin.authority());
        let steering = purpose == Purpose::Steering;
        if let (false, true, Some(below)) = (slate || steering, at_origin, to.path.strip_prefix(&root(origin))) {
            return Some(format!("{own}{below}"));
        }
        self.allowed(to.tls, &to.authority)?;
        let mark = match (slate, steering) {
            (_, true) => "~g",
            (true, false) => "~s",
            (false, false) => "~h",
        };
        let scheme = if to.tls { "s" } else { "p" };
        Some(format!("{own}{mark}/{scheme}/{}{}", to.authority, to.path))
    }

    /// The path of the content that was registered, for players that were given the playback alone. The true URL's
    /// query stays as it is, because manifests may refer to it (`QUERYPARAM`, `useMPDUrlQuery`); what the player
    /// itself `added` follows.
    pub(super) fn content(&self, added: Option<String>) -> Option<String> {
        let url = self.registration.content_url.as_ref()?;
        let queries: Vec<_> = url.query().into_iter().chain(added.as_deref()).collect();
        let query = if queries.is_empty() { String::new() } else { format!("?{}", queries.join("&")) };
        let path = format!("{}{query}", url.path());
        let to = Absolute { authority: url.authority().into(), path, tls: url.tls() };
        self.bind(&to, Purpose::Manifest, self.slate.is_some())
    }

    fn allowed(&self, tls: bool, authority: &str) -> Option<Endpoint> {
        let is = |endpoint: &Endpoint| endpoint.tls() == tls && endpoint.authority().eq_ignore_ascii_case(authority);
        let known = [Some(&self.route.config.license_server), self.registration.content_url.as_ref(), self.slate];
        let allowed = known.into_iter().flatten().any(is) || self.media.hosts.iter().any(|host| host.fits(authority));
        if !allowed {
            return None;
        }
        Endpoint::parse(&format!("http{}://{authority}", if tls { "s" } else { "" })).ok()
    }
}

fn root(origin: &Endpoint) -> String {
    format!("{}/", origin.path().trim_end_matches('/'))
}
