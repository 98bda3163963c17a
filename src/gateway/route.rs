//! The routes as the gateway uses them: found by path, each with its policy for the core.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::call_counters::CallCounters;
use super::upstream_reach::UpstreamReach;
use crate::authority::Authority;
use crate::config::{
    self, Enforcement, LicenseRouteSettings, RouteKind, ServerLimits, SessionUnit, ViewerTextSettings,
};
use crate::registrations::Registration;
use crate::secret::scrub;
use crate::session::{Policy, SessionRefusal};
use crate::sessions::{LivePolicy, SessionRoute};

/// A route's path and its authority's name, because each authority has policies of its own.
type PolicyKey = (String, Option<Arc<str>>);

#[derive(Debug)]
pub(super) struct GatewayRoute {
    pub(super) authority: Option<Arc<Authority>>,
    pub(super) call_counters: CallCounters,
    pub(super) config: config::RouteSettings,
    /// The part of the context that all sessions of the route share; `None` without an authority.
    context: Option<Arc<SessionRoute>>,
    pub(super) limits: Arc<ServerLimits>,
    pub(super) path: Arc<str>,
    pub(super) policy: Arc<LivePolicy>,
    pub(super) reach: UpstreamReach,
    pub(super) texts: Arc<ViewerTextSettings>,
}

impl GatewayRoute {
    /// The part of the context that all its sessions at this authority share.
    pub(super) fn context_at(&self, authority: &Authority) -> Arc<SessionRoute> {
        let is_own = self.authority.as_deref().is_some_and(|own| std::ptr::eq(own, authority));
        let own = self.context.as_ref().filter(|_| is_own).cloned();
        own.unwrap_or_else(|| session_route(authority, self.path.clone(), self.policy.clone()))
    }

    /// False for a playback of another authority.
    pub(super) fn may_have(&self, registration: &Registration) -> bool {
        let own = self.authority.as_ref().map(|authority| &authority.name);
        registration.authority.is_none() || registration.authority.as_ref() == own
    }

    /// The reason why its authorization blacks the playback out, unless the route only notes blackouts.
    pub(super) fn blackout_of(&self, registration: &Registration) -> Option<SessionRefusal> {
        let dark = registration.block.as_ref()?.blackout_reason()?;
        self.policy.now().stop_on_blackout.then_some(SessionRefusal::Killed(dark.into()))
    }
}

/// The part of the context that all sessions of this path share. The route itself may be gone.
pub(super) fn session_route(authority: &Authority, route: Arc<str>, policy: Arc<LivePolicy>) -> Arc<SessionRoute> {
    Arc::new(SessionRoute {
        authority: authority.id,
        authority_name: authority.name.clone(),
        dialect: authority.dialect(),
        error_name: authority.error_name(),
        policy,
        route,
    })
}

/// A license route, with the fields that only its kind has.
#[derive(Clone, Debug)]
pub(super) struct LicenseRoute {
    pub(super) license: Arc<LicenseRouteSettings>,
    route: Arc<GatewayRoute>,
}

impl LicenseRoute {
    pub(super) fn new(route: &Arc<GatewayRoute>, license: &Arc<LicenseRouteSettings>) -> Self {
        Self { license: license.clone(), route: route.clone() }
    }
}

impl Deref for LicenseRoute {
    type Target = Arc<GatewayRoute>;

    fn deref(&self) -> &Arc<GatewayRoute> {
        &self.route
    }
}

/// A route for authorize calls.
#[derive(Debug)]
pub(super) struct AuthorizeRoute {
    pub(super) authority: Arc<Authority>,
    pub(super) config: config::AuthorizeRouteSettings,
    pub(super) limits: Arc<ServerLimits>,
}

/// The routes of one configuration, by kind.
#[derive(Debug)]
pub struct ConfiguredRoutes {
    pub authorize: Vec<config::AuthorizeRouteSettings>,
    /// License routes and media routes.
    pub routes: Vec<config::RouteSettings>,
    pub texts: Arc<ViewerTextSettings>,
}

/// Everything of the configuration that answers calls. A reload swaps it as a whole; a call keeps the one with
/// which it began.
#[derive(Debug, Default)]
pub struct Routes {
    /// Longest path first.
    authorize: Vec<Arc<AuthorizeRoute>>,
    /// Longest path first.
    routes: Vec<Arc<GatewayRoute>>,
    /// Policies of all routes that ever existed. Sessions of a removed route go on under its last policy.
    standings: BTreeMap<PolicyKey, Arc<LivePolicy>>,
    pub(super) texts: Arc<ViewerTextSettings>,
}

impl Routes {
    /// `authorities` are in the order of the configuration. Sessions of a route that existed `before` follow its
    /// new policy from now on.
    pub fn new(
        before: &Self,
        configured: ConfiguredRoutes,
        authorities: &[Arc<Authority>],
        limits: &Arc<ServerLimits>,
    ) -> Self {
        let mut standings = before.standings.clone();
        let ConfiguredRoutes { authorize, routes, texts } = configured;
        let mut authorize: Vec<_> = authorize
            .into_iter()
            .filter_map(|config| {
                let authority = authorities.get(config.authority)?.clone();
                Some(Arc::new(AuthorizeRoute { authority, config, limits: limits.clone() }))
            })
            .collect();
        authorize.sort_by_key(|route| std::cmp::Reverse(route.config.path.len()));
        let mut routes: Vec<_> = routes
            .into_iter()
            .map(|config| {
                let authority = config.authority.and_then(|index| authorities.get(index)).cloned();
                let policy = policy(&config, authority.as_deref());
                let post = (config.path.clone(), authority.as_ref().map(|authority| authority.name.clone()));
                let policy = stand(&mut standings, post, policy);
                let (limits, path) = (limits.clone(), Arc::<str>::from(config.path.as_str()));
                let context = authority.as_deref().map(|of| session_route(of, path.clone(), policy.clone()));
                let (reach, texts) = (UpstreamReach::default(), texts.clone());
                let call_counters = CallCounters::default();
                Arc::new(GatewayRoute { authority, call_counters, config, context, limits, path, policy, reach, texts })
            })
            .collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Self { authorize, routes, standings, texts }
    }

    /// Tells whoever set the player's URL which path has no route, and which routes exist. `shown` hides names as
    /// the log does.
    pub(super) fn no_route_note(&self, path: &str, shown: impl Fn(&str) -> String) -> String {
        const MAX_ROUTES_SHOWN: usize = 8;
        let authorize = self.authorize.iter().map(|route| route.config.path.as_str());
        let mut there: Vec<_> = self.routes.iter().map(|route| &*route.path).chain(authorize).collect();
        let is_ours = |segment: &str| there.iter().any(|path| path.split('/').any(|ours| ours == segment));
        // The segment may also be a token.
        let segment = |text: &str| if is_ours(text) { text.to_owned() } else { shown(&scrub(text)) };
        let path: String = path.split('/').map(segment).collect::<Vec<_>>().join("/").chars().take(200).collect();
        there.sort_unstable();
        let more = if there.len() > MAX_ROUTES_SHOWN { ", …" } else { "" };
        there.truncate(MAX_ROUTES_SHOWN);
        format!("path {path}; there is {}{more}", there.join(", "))
    }

    /// The route whose path is this one.
    pub(super) fn at(&self, path: &str) -> Option<&Arc<GatewayRoute>> {
        self.routes.iter().find(|route| &*route.path == path)
    }

    /// The authorize route of this path, unless another route has a longer one that fits.
    pub(super) fn authorize<'a>(&self, path: &'a str) -> Option<(&Arc<AuthorizeRoute>, &'a str)> {
        let found = self.authorize.iter().find_map(|route| Some((route, below(&route.config.path, path)?)))?;
        let other = self.find(path).map_or(0, |(route, _)| route.path.len());
        (found.0.config.path.len() > other).then_some(found)
    }

    /// The route with the longest path that is a whole-segment prefix, and the rest, which is empty or begins
    /// with `/`.
    pub(super) fn find<'a>(&self, path: &'a str) -> Option<(&Arc<GatewayRoute>, &'a str)> {
        self.routes.iter().find_map(|route| Some((route, below(&route.path, path)?)))
    }
}

/// The rest of the path, if the route's path is a whole-segment prefix of it.
fn below<'a>(route: &str, path: &'a str) -> Option<&'a str> {
    let rest = if route == "/" { path } else { path.strip_prefix(route)? };
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn stand(standings: &mut BTreeMap<PolicyKey, Arc<LivePolicy>>, post: PolicyKey, policy: Policy) -> Arc<LivePolicy> {
    match standings.get(&post) {
        Some(standing) => {
            standing.change(policy);
            standing.clone()
        }
        None => standings.entry(post).or_insert(Arc::new(LivePolicy::new(policy))).clone(),
    }
}

fn policy(config: &config::RouteSettings, authority: Option<&Authority>) -> Policy {
    let (fraction, grace) = authority.map_or((1.0, Policy::default().grace), Authority::pace);
    let policy = Policy {
        endings: config.endings,
        enforcement: match &config.kind {
            RouteKind::License(license) => license.enforcement,
            // Media routes see no licenses whose renewal could be a heartbeat.
            RouteKind::Media(_) => Enforcement::Heartbeat,
        },
        fraction,
        grace,
        kill_memory: config.kill_memory,
        on_unreachable: authority.map(Authority::on_unreachable).unwrap_or_default(),
        re_entry: config.re_entry,
        renews: authority.is_some_and(Authority::renews),
        sessions_per_device: config.sessions_per_device,
        tokens_prove: authority.is_some_and(Authority::verifies_tokens),
        shares_session: authority.is_some_and(|authority| authority.unit == SessionUnit::Device),
        ..Policy::default()
    };
    match authority {
        Some(authority) => authority.refine(policy),
        None => policy,
    }
}
