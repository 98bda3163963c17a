//! Reopens the session of a playback that was taken for gone, when its player asks again.
//!
//! A laptop that wakes goes on with the segment at which it fell asleep, and a player gives up if that is
//! refused. So any segment or manifest reopens the session, under the same path. The request names no account;
//! the session counts for the account of the one before it.

use http::{Method, Response};

use super::MediaCall;
use super::media_memory::FirstWords;
use super::paths::MediaTarget;
use super::replies::viewer_call;
use crate::edge::OutgoingBody;
use crate::gateway::identity::account::{SessionAccount, network};
use crate::gateway::session_context::SessionOrigin;
use crate::session;
use crate::sessions::DeviceKey;

impl MediaCall<'_> {
    /// True if the player may take this end back.
    pub(super) fn takes_back(&self, refusal: &session::SessionRefusal) -> bool {
        match refusal {
            session::SessionRefusal::Ended(end) => !end.is_wanted() && self.route.policy.now().begins_again(*end),
            session::SessionRefusal::Denied(..)
            | session::SessionRefusal::Expired
            | session::SessionRefusal::Killed(_)
            | session::SessionRefusal::Unreachable(_) => false,
        }
    }

    /// Reopens the session and answers; `None` if its account is not known.
    pub(super) async fn begin_again(&self, target: &MediaTarget) -> Option<Response<OutgoingBody>> {
        let map = self.map(None);
        if self.request.method == Method::HEAD {
            // A HEAD plays nothing, so it opens no session.
            return Some(self.pass(&map, target).await);
        }
        if self.is_authorized() {
            return Some(self.begin(&map, target).await);
        }
        let Self { gateway, registration, route, .. } = *self;
        let authority = self.authority.filter(|authority| authority.opens_for_media())?;
        let words = self.playback.first_words().or_else(|| {
            let card = gateway.sessions.card(self.key?, registration.token())?;
            Some(FirstWords::of(&card))
        })?;
        let key = DeviceKey::new(&authority.name, registration.device_source, &registration.device);
        if let Some(turned) = gateway.killed_before(authority, Some(key), &words.names, None) {
            return Some(gateway.turned_away(route, (&self.caller(), viewer_call(self.peer, self.request)), &turned));
        }
        let counted = SessionAccount { network: network(self.peer.address), ..words.counted };
        let origin = SessionOrigin {
            content: words.content,
            kill_memory: words.kill_memory,
            ..gateway.media_origin(counted, registration, &target.path)
        };
        Some(match gateway.open(route, authority, registration, origin.context(route, authority), words.names).await {
            Ok(()) => {
                // The new session's first sign of life.
                let _goes = self.asks_for(target);
                gateway.sessions.durable().await;
                self.pass(&map, target).await
            }
            Err(turned) => gateway.turned_away(route, (&self.caller(), viewer_call(self.peer, self.request)), &turned),
        })
    }
}
