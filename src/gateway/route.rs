//! The routes as the gateway uses them: found by path, with the policy for the core made once.

use std::sync::Arc;

use crate::authority::Authority;
use crate::config;
use crate::session::Policy;

#[derive(Debug)]
pub(super) struct Route {
    pub(super) config: config::Route,
    pub(super) path: Arc<str>,
    pub(super) policy: Arc<Policy>,
}

#[derive(Debug)]
pub struct Routes {
    /// Longest path first.
    routes: Vec<Arc<Route>>,
}

impl Routes {
    pub fn new(routes: Vec<config::Route>, authorities: &[Authority]) -> Self {
        let routes = routes.into_iter().map(|config| Arc::new(Route::new(config, authorities)));
        let mut routes: Vec<_> = routes.collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Self { routes }
    }

    /// The route with the longest path that is a whole-segment prefix, and what follows it: empty or
    /// beginning with `/`.
    pub(super) fn find<'a>(&self, path: &'a str) -> Option<(&Arc<Route>, &'a str)> {
        self.routes.iter().find_map(|route| {
            let rest = if &*route.path == "/" { path } else { path.strip_prefix(&*route.path)? };
            (rest.is_empty() || rest.starts_with('/')).then_some((route, rest))
        })
    }
}

impl Route {
    fn new(config: config::Route, authorities: &[Authority]) -> Self {
        let authority = config.authority.and_then(|index| authorities.get(index));
        let (fraction, grace) = authority.map_or((1.0, Policy::default().grace), Authority::pace);
        let policy = Policy {
            end_on_silence: config.end_on_silence,
            enforcement: config.enforcement,
            fraction,
            grace,
            kill_memory: config.kill_memory,
            media_silence: config.media.as_ref().map_or(Policy::default().media_silence, |media| media.silence),
            longest: config.longest_session,
            renews: authority.is_some_and(Authority::renews),
            sessions_per_device: config.sessions_per_device,
            ..Policy::default()
        };
        Self { path: config.path.as_str().into(), policy: Arc::new(policy), config }
    }
}
