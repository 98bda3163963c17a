//! Sends a fresh request to the license server and returns its reply.
//!
//! The request is the one that `outgoing` has built and the core has judged, plus the header that carries the
//! session.

use std::pin::Pin;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::call::LicenseCall;
use super::redirect::{RedirectFault, RedirectTrail};
use crate::config::{self, RetriedCalls};
use crate::drm;
use crate::gateway::onward_target;
use crate::gateway::refusal::RefusalBody;
use crate::upstream::{CallHold, UpstreamCall, UpstreamFault, UpstreamReply};

/// Minimum time between a call and a reply that asks the player to come again: hls.js makes its 27 retries
/// without a pause.
const COMES_AGAIN_MIN: Duration = Duration::from_secs(1);

/// All licenses that were met are below 64 KiB.
const MAX_LICENSE_REPLY_BYTES: usize = 1024 * 1024;

/// Reasons why the license server's answer cannot be given to the player.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::gateway) enum LicenseServerFailure {
    /// The second field names the server.
    #[error("{1}: {0}")]
    Fault(UpstreamFault, String),
    #[error("the player's body is not wrapped as the route says: {0}")]
    Misfit(drm::configured_wrapping::WrappingMisfit),
    #[error(transparent)]
    Redirect(#[from] RedirectFault),
    #[error("the license server's reply is not wrapped as the route says: {0}")]
    Reply(drm::configured_wrapping::WrappingMisfit),
    #[error("the path or query cannot be passed on")]
    Unspeakable,
}

impl LicenseServerFailure {
    pub(in crate::gateway) fn name(&self) -> &'static str {
        match self {
            Self::Fault(fault, _) => fault.name(),
            Self::Misfit(_) => "request_wrapping",
            Self::Redirect(fault) => fault.name(),
            Self::Reply(_) => "reply_wrapping",
            Self::Unspeakable => "path",
        }
    }

    /// The status that asks the player to come again, for a failure that may pass soon. A lasting failure is
    /// refused plainly, and so is overload: players come back at once, and often.
    pub(in crate::gateway) fn comes_again(&self) -> Option<StatusCode> {
        match self {
            Self::Fault(
                UpstreamFault::Connect(_) | UpstreamFault::Refused | UpstreamFault::Reset | UpstreamFault::Resolve,
                _,
            ) => Some(StatusCode::SERVICE_UNAVAILABLE),
            Self::Fault(UpstreamFault::Slow { .. }, _) => Some(StatusCode::GATEWAY_TIMEOUT),
            Self::Fault(
                UpstreamFault::Busy | UpstreamFault::Malformed | UpstreamFault::Tls(_) | UpstreamFault::TooLarge,
                _,
            ) => None,
            Self::Misfit(_) | Self::Redirect(_) | Self::Reply(_) | Self::Unspeakable => None,
        }
    }
}

impl LicenseServerFailure {
    /// The refusal for the player.
    pub(in crate::gateway) fn refusal_body(&self) -> RefusalBody {
        let error = format!("license_server_{}", self.name());
        let code = if self.name() == "timeout" { 504 } else { 502 };
        let detail = "The license server could not be used.";
        let (comes_again, message) = (self.comes_again(), self.to_string());
        RefusalBody { comes_again, error, message, ..RefusalBody::ours(code, "", detail) }
    }
}

impl LicenseCall<'_> {
    /// Asks the license server. Delays a failure that may pass, for players that retry at once.
    ///
    /// Boxed as a whole: the call's other stages have no room for the exchange.
    pub(in crate::gateway) fn ask_license_server(
        &self,
        authorization: Option<(HeaderName, HeaderValue)>,
    ) -> Pin<Box<dyn Future<Output = Result<UpstreamReply, LicenseServerFailure>> + Send + '_>> {
        Box::pin(async move {
            let reply = self.send(authorization).await;
            self.pace(&reply).await;
            reply
        })
    }

    async fn pace(&self, reply: &Result<UpstreamReply, LicenseServerFailure>) {
        let comes_again = reply.as_ref().is_err_and(|failure| failure.comes_again().is_some());
        let began = self.deadline.checked_sub(self.route.limits.call);
        if let Some(began) = began.filter(|_| comes_again) {
            tokio::time::sleep_until((began + COMES_AGAIN_MIN).min(self.deadline).into()).await;
        }
    }

    /// Sends the call. `authorization` is the header that carries the session, or the content token where no
    /// session applies.
    async fn send(
        &self,
        authorization: Option<(HeaderName, HeaderValue)>,
    ) -> Result<UpstreamReply, LicenseServerFailure> {
        let LicenseCall { request, deadline, lead: _, gateway, route } = *self;
        let onward = &request.onward;
        let mut headers = onward.headers.clone();
        // Replaces the player's own header of that name, because the server could not tell two apart.
        if let Some((name, value)) = authorization {
            headers.insert(name, value);
        }
        let registered = request.registration.as_ref().and_then(|registration| registration.license_url.as_ref());
        let server = registered.unwrap_or(&route.license.license_server);
        let path_and_query = onward_target::at_server(server, &onward.path, onward.query.as_deref());
        let mut call = UpstreamCall {
            body: onward.body.clone(),
            deadline,
            endpoint: server,
            headers,
            method: onward.method.clone(),
            path_and_query: path_and_query.ok_or(LicenseServerFailure::Unspeakable)?,
            reply_max: MAX_LICENSE_REPLY_BYTES,
        };
        let mut trail = RedirectTrail::default();
        loop {
            let begins = |why: &UpstreamFault| route.reach.tell_loss(&route.path, server, why);
            let hold = CallHold { begins: Some(&begins), ..self.hold() };
            let held = gateway.pool.send_held(&call, hold).await;
            route.reach.tell(&gateway.telemetry, &route.path, server, &held);
            let reply = held.outcome.map_err(|fault| LicenseServerFailure::Fault(fault, server.host_and_port()))?;
            match trail.follow(&call, &reply)? {
                Some(path) => call.path_and_query = path.parse().map_err(|_| LicenseServerFailure::Unspeakable)?,
                None => return Ok(reply),
            }
        }
    }

    fn hold(&self) -> CallHold<'static> {
        let LicenseCall { request, deadline, route, .. } = *self;
        let config::RetrySettings { gateway_errors, unreachable } = route.config.retry;
        let renews = request.message.as_ref().is_ok_and(|message| message.kind == drm::MessageKind::Renewal);
        let gateway_errors = match gateway_errors {
            RetriedCalls::All => true,
            RetriedCalls::None => false,
            RetriedCalls::Renewals => renews,
        };
        CallHold { attempt: route.config.timeout, begins: None, gateway_errors, unreachable, until: deadline }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_that_may_pass_ask_the_player_to_come_again() {
        let of = |fault| {
            LicenseServerFailure::Fault(fault, "lic.example".to_owned()).comes_again().map(|status| status.as_u16())
        };
        for fault in [UpstreamFault::Refused, UpstreamFault::Reset, UpstreamFault::Resolve] {
            assert_eq!(of(fault), Some(503));
        }
        assert_eq!(of(UpstreamFault::Slow { phase: crate::upstream::CallPhase::Head }), Some(504));
        for fault in [UpstreamFault::Busy, UpstreamFault::Malformed, UpstreamFault::TooLarge] {
            assert_eq!(of(fault), None);
        }
        assert_eq!(
            (
                LicenseServerFailure::Redirect(RedirectFault::Loop).comes_again(),
                LicenseServerFailure::Unspeakable.comes_again()
            ),
            (None, None)
        );
    }
}
