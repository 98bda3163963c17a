//! Whoever only looks: a HEAD for a manifest before its playback has begun. Nothing is kept of it.

use std::sync::Arc;

use http::Response;
use http::request::Parts;

use super::first::NO_PLAYBACK;
use super::{Story, told};
use crate::authority::Authority;
use crate::cmcd;
use crate::edge::{Peer, Sending};
use crate::gateway::Gateway;
use crate::gateway::route::Route;
use crate::gateway::{asked, query};
use crate::playbacks::Registration;

impl Gateway {
    /// The origin's own answer to a HEAD. `registration` is known to nobody, and forgotten with it.
    pub(super) async fn look(
        &self,
        route: &Arc<Route>,
        peer: &Peer,
        registration: Registration,
        (rest, query): (&str, &str),
        asked: &Parts,
    ) -> Response<Sending> {
        let (registration, seat) = (Arc::new(registration), Arc::default());
        let mut asked = asked.clone();
        let (Some(media), Ok(uri)) = (route.config.media.as_deref(), format!("{rest}{query}").parse()) else {
            return told(NO_PLAYBACK);
        };
        asked.uri = uri;
        let (gateway, registration, seat) = (self, &registration, &seat);
        let story =
            Story { asked: &asked, authority: None, gateway, key: None, media, peer, registration, route, seat };
        let map = story.map(None);
        match map.target(rest) {
            Some(target) => story.pass(&map, &target).await,
            None => told(NO_PLAYBACK),
        }
    }
}

/// What of a first request's query is the server's, with its question mark. `own`: all but its reports.
pub(super) fn onward_query(route: &Route, authority: Option<&Authority>, own: bool, asked: &Parts) -> String {
    let mut ours = if own { Vec::new() } else { asked::our_names(route, authority) };
    ours.push(cmcd::PARAMETER);
    query::without(asked.uri.query(), &ours).map(|query| format!("?{query}")).unwrap_or_default()
}
