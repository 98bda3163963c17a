//! Answers a HEAD for a manifest before its playback has begun. Nothing is kept of it.

use std::sync::Arc;

use http::Response;
use http::header::LOCATION;
use http::request::Parts;

use super::fetch::MAX_REDIRECTS;
use super::replies::NO_PLAYBACK;
use super::{MediaCall, told};
use crate::authority::Authority;
use crate::cmcd;
use crate::edge::{OutgoingBody, Peer};
use crate::gateway::route::GatewayRoute;
use crate::gateway::{Gateway, onward_target, query};
use crate::registrations::Registration;

impl Gateway {
    /// Returns the origin's own answer to a HEAD. The registration is never stored, so nobody could follow
    /// redirects below its path; they are followed here.
    pub(super) async fn look(
        &self,
        route: &Arc<GatewayRoute>,
        peer: &Peer,
        registration: Registration,
        (rest, query): (&str, &str),
        request: &Parts,
    ) -> Response<OutgoingBody> {
        let (registration, playback) = (Arc::new(registration), Arc::default());
        let Some(media) = route.config.media() else { return told(NO_PLAYBACK) };
        let mut request = request.clone();
        let own = format!("{}{}", route.path.trim_end_matches('/'), registration.id.segment());
        let mut at = format!("{own}{rest}{query}");
        for _ in 0..=MAX_REDIRECTS {
            let Ok(uri) = at.parse() else { break };
            request.uri = uri;
            let (gateway, registration, playback) = (self, &registration, &playback);
            let story = MediaCall {
                request: &request,
                authority: None,
                gateway,
                key: None,
                media,
                peer,
                registration,
                route,
                playback,
            };
            let map = story.map(None);
            let Some(target) = request.uri.path().strip_prefix(&own).and_then(|rest| map.target(rest)) else { break };
            let response = story.pass(&map, &target).await;
            match sent_on_to(&response, &own) {
                Some(next) => at = next,
                None => return response,
            }
        }
        told(NO_PLAYBACK)
    }
}

/// The path below this playback's own that a redirect leads to.
fn sent_on_to(response: &Response<OutgoingBody>, own: &str) -> Option<String> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?.to_str().ok()?;
    location.starts_with(own).then(|| location.to_owned())
}

/// The server's part of a first request's query, with its question mark. With `own` only reports are taken off.
pub(super) fn onward_query(route: &GatewayRoute, authority: Option<&Authority>, own: bool, request: &Parts) -> String {
    let mut ours = if own { Vec::new() } else { onward_target::our_names(route, authority) };
    ours.push(cmcd::PARAMETER);
    query::without(request.uri.query(), &ours).map(|query| format!("?{query}")).unwrap_or_default()
}
