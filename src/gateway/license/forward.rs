//! Forwards a license call to the license server: under its session's grant, for a session without a grant, or
//! without a session.

use http::{HeaderName, HeaderValue};

use super::call::{LicenseCall, ManagedCall};
use super::reply::LicenseReply;
use super::single_flight::CallOutcome;
use crate::ids::SessionId;
use crate::session::Grant;
use crate::telemetry::PlayerCallOutcome;

impl LicenseCall<'_> {
    /// Forwards under the session's grant.
    pub(in crate::gateway) async fn forward(
        &self,
        managed: &ManagedCall<'_>,
        grant: &Grant,
        id: SessionId,
    ) -> CallOutcome {
        // A call without a token uses the one that opened its session.
        let own = self.request.identity.token.as_ref();
        let opener = if own.is_none() { self.gateway.sessions.content_token(managed.key, id) } else { None };
        let authorization = managed.authority.license_header(own.or(opener.as_ref()), grant);
        let reply = self.ask_license_server(authorization).await;
        if let Some(killed) = self.killed_by_license_server(managed, id, &reply) {
            return self.refuse(killed);
        }
        let (outcome, shown) = self.read_license(reply, PlayerCallOutcome::Served);
        let message = shown.and_then(|shown| shown.message);
        self.note_declined(Some((managed.key, id)), &outcome);
        self.feed_back(managed, id, outcome.0, message.as_ref());
        if let Some(message) = &message {
            self.warn_of_escapes(managed, id, message, grant);
        }
        outcome
    }

    /// Forwards for a session that has no grant.
    pub(in crate::gateway) async fn forward_without_grant(
        &self,
        managed: &ManagedCall<'_>,
        id: SessionId,
    ) -> CallOutcome {
        let (outcome, shown) = self.exchange().await;
        self.note_declined(Some((managed.key, id)), &outcome);
        self.feed_back(managed, id, outcome.0, shown.and_then(|shown| shown.message).as_ref());
        outcome
    }

    /// Forwards a call to which no session applies. The route may refuse it because it demands sessions.
    pub(in crate::gateway) async fn forward_without_session(&self) -> CallOutcome {
        let reason = self.sessionless_reason();
        if let Some(refusal) = self.sessionless_refusal(reason) {
            return self.refuse(refusal);
        }
        let (outcome, reply) = self.exchange().await;
        if outcome.0 == PlayerCallOutcome::Passed {
            if self.withholds(reason, reply.as_ref()) {
                return self.refuse(self.refusal_as(reason));
            }
            if reply.is_none_or(|reply| !reply.is_empty_handed) {
                self.note_unknown();
            }
        }
        self.note_sessionless(reason, outcome.0);
        self.note_declined(None, &outcome);
        outcome
    }

    async fn exchange(&self) -> (CallOutcome, Option<LicenseReply>) {
        let reply = self.ask_license_server(self.own_token()).await;
        self.read_license(reply, PlayerCallOutcome::Passed)
    }

    /// The call's own content token, sent in a header even if the player could only put it in the query.
    fn own_token(&self) -> Option<(HeaderName, HeaderValue)> {
        let authority = self.route.authority.as_deref()?;
        authority.token_header(self.request.identity.token.as_ref()?)
    }
}
