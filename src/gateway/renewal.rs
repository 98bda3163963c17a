//! The player's renewal, which is the session's beat where the authority takes it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::Full;
use tokio::sync::oneshot;

use super::license::{Ending, Managed, Story};
use super::route::Route;
use crate::authority::Renewal;
use crate::drm::wrap;
use crate::edge::ReplyBody;
use crate::ids::SessionId;
use crate::session::{Answer, AskKind, CallKind, Fault, FaultKind, Grant, Reason, Refusal, Ticket, Verdict};
use crate::telemetry::Outcome;

/// What the renewal came to: a license for the player, or why it gets none.
type News = Result<Vec<u8>, Refusal>;

impl Story<'_> {
    /// Runs in a task of its own: a player that hangs up must not lose the session's new token.
    pub(super) async fn renew(&self, managed: &Managed<'_>, grant: Grant, ticket: Ticket, id: SessionId) -> Ending {
        let challenge = self.asked.challenge(self.route).map(|bare| Bytes::copy_from_slice(&bare)).unwrap_or_default();
        let (client, sessions) = (self.gateway.client.clone(), self.gateway.sessions.clone());
        let (card, key) = (managed.card.clone(), managed.key);
        let (tell, told) = oneshot::channel();
        self.gateway.tasks.spawn(async move {
            let Renewal { license, result } = client.renew(&card, &grant, &challenge).await;
            let news = news(&result, license);
            let unknown = matches!(result, Ok(Verdict::Unknown(_)));
            sessions.answered(key, id, ticket, AskKind::Renew, result);
            // Whether it was killed or had expired is the core's to say. Not asked as a renewal: that could
            // be granted, if this answer was late, and nobody would make it.
            let decided = unknown.then(|| sessions.call_under(key, id, CallKind::License)).flatten();
            let news = match decided {
                Some(Answer::Refuse(refusal)) => Err(refusal),
                Some(_) | None => news,
            };
            // The player may be gone; the session goes on all the same.
            let _gone = tell.send(news);
        });
        let news = tokio::time::timeout_at(self.deadline.into(), told).await;
        match news
            .ok()
            .and_then(Result::ok)
            .unwrap_or_else(|| Err(fault(FaultKind::Timeout, "the renewal took too long")))
        {
            Ok(license) => (Outcome::Served, reply(self.route, &license)),
            Err(refusal) => self.refuse(managed, AskKind::Renew, &refusal, Some(id)),
        }
    }
}

fn news(result: &Result<Verdict, Fault>, license: Option<Vec<u8>>) -> News {
    match result {
        Ok(
            Verdict::Alive { .. }
            | Verdict::Closed
            | Verdict::Disabled
            | Verdict::Granted(_)
            | Verdict::Unconfirmed(..),
        ) => license.ok_or_else(|| fault(FaultKind::Malformed, "the renewal reply holds no license")),
        Ok(Verdict::Denied(denial, reason)) => Err(Refusal::Denied(*denial, reason.clone())),
        Ok(Verdict::Blackout(reason) | Verdict::Killed(reason) | Verdict::Unknown(reason)) => {
            Err(Refusal::Killed(reason.clone()))
        }
        Err(fault) => Err(Refusal::Unreachable(fault.clone())),
    }
}

fn fault(kind: FaultKind, message: &str) -> Refusal {
    Refusal::Unreachable(Fault { kind, reason: Reason::new(0, None, message) })
}

/// The renewed license in the form in which the player expects it.
fn reply(route: &Route, license: &[u8]) -> Response<ReplyBody> {
    let (content_type, body) = wrap::wrap(&route.config.wrapping.player_reply, license);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let content_type = HeaderValue::from_static(content_type.unwrap_or("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
