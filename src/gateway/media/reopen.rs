//! Reopens the session of a playback that was taken for gone, when its player asks again.
//!
//! A laptop that wakes goes on with the segment at which it fell asleep, and a player gives up if that is
//! refused. So any segment or manifest reopens the session, under the same path. The request brings no token and names
//! no account; the session counts for the account of the one before it.

use http::{Method, Response};

use super::MediaCall;
use super::media_memory::FirstWords;
use super::paths::MediaTarget;
use super::replies::viewer_call;
use crate::authority::Authority;
use crate::edge::{OutgoingBody, Peer};
use crate::gateway::Gateway;
use crate::gateway::identity::account::{SessionAccount, network};
use crate::gateway::identity::caller::CallerNames;
use crate::gateway::session_context::SessionOrigin;
use crate::registrations::Registration;
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
            let context = gateway.sessions.context(self.key?, registration.token())?;
            Some(FirstWords::of(&context))
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

impl Gateway {
    /// The device that began a playback, and the account that it was counted for.
    pub(super) fn names_of(&self, registration: &Registration, peer: &Peer) -> CallerNames {
        let names = CallerNames::of_registered(registration, peer);
        match self.media_memory.playback(self.clock.now(), registration.id).counted.get() {
            Some(counted) => CallerNames { account: counted.account.clone(), is_proven: counted.is_proven, ..names },
            None => names,
        }
    }

    /// Counts a playback that follows another one as that was. `now` is the account that its request alone would
    /// give.
    pub(super) fn counted_as(
        &self,
        authority: &Authority,
        before: &Registration,
        now: SessionAccount,
    ) -> SessionAccount {
        if let Some(counted) = self.media_memory.playback(self.clock.now(), before.id).counted.get() {
            return SessionAccount { network: now.network, ..counted.clone() };
        }
        // After a restart its session may still know the account.
        let key = DeviceKey::new(&authority.name, before.device_source, &before.device);
        match self.sessions.account(key, before.token()) {
            Some(account) => SessionAccount { account: Some(account), by_device: false, ..now },
            None => now,
        }
    }
}
