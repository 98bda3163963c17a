//! Reads the license server's reply, and builds the player's reply from it.
//!
//! The license itself is never changed; only its wrapping is, where the route says so.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::call::LicenseCall;
use super::outgoing::set_content_type;
use super::refuse::LicenseRefusal;
use super::single_flight::CallOutcome;
use super::upstream::LicenseServerFailure;
use crate::drm::{self, Direction, DrmMessage, DrmSystem};
use crate::edge::{ReplyBody, passed_on};
use crate::gateway::route::LicenseRoute;
use crate::manifest::{decoded, encodings};
use crate::telemetry::PlayerCallOutcome;
use crate::upstream::UpstreamReply;

/// Decoded size of a reply whose license is read.
const MAX_PLAIN_REPLY_BYTES: usize = 256 * 1024;

impl LicenseCall<'_> {
    /// Builds the player's reply; a success also returns the facts that the reply shows.
    pub(in crate::gateway) fn read_license(
        &self,
        reply: Result<UpstreamReply, LicenseServerFailure>,
        good: PlayerCallOutcome,
    ) -> (CallOutcome, Option<LicenseReply>) {
        let granted = reply.as_ref().ok().filter(|reply| reply.status.is_success());
        let request = self.request.message.as_ref().ok().filter(|message| message.asks_for_a_license());
        let shown = granted.map(|reply| LicenseReply::read(self.route, request.map(|message| message.system), reply));
        let says_no = shown.as_ref().is_none_or(|shown| shown.says_no);
        (self.reply_or_failure(reply, if says_no { PlayerCallOutcome::Declined } else { good }), shown)
    }

    pub(in crate::gateway) fn reply_or_failure(
        &self,
        reply: Result<UpstreamReply, LicenseServerFailure>,
        outcome: PlayerCallOutcome,
    ) -> CallOutcome {
        let passed = reply.and_then(|reply| Ok((outcome, onward_reply(self.route, reply)?)));
        passed.unwrap_or_else(|failure| {
            self.gateway.telemetry.metrics.upstream_fault(&self.route.path, failure.name());
            self.refuse(LicenseRefusal::failed(&failure))
        })
    }
}

/// The player's reply: byte-exact, except for a wrapping that the route translates.
pub(in crate::gateway) fn onward_reply(
    route: &LicenseRoute,
    reply: UpstreamReply,
) -> Result<Response<ReplyBody>, LicenseServerFailure> {
    let UpstreamReply { body, mut headers, status } = reply;
    let (from, to) = (&route.license.wrapping.server_reply, &route.license.wrapping.player_reply);
    let body = if from == to || !status.is_success() {
        body
    } else {
        let bare = drm::configured_wrapping::unwrap(from, &body).map_err(LicenseServerFailure::Reply)?;
        let (content_type, wrapped) = drm::configured_wrapping::wrap(to, &bare);
        set_content_type(&mut headers, content_type);
        wrapped.into()
    };
    headers.remove(CONTENT_LENGTH);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(passed_on(status, headers, Full::new(body)))
}

/// Facts that the license server's reply shows.
#[derive(Debug)]
pub(in crate::gateway) struct LicenseReply {
    /// The reply has an encoding that cannot be undone here, so it may hold anything.
    pub(in crate::gateway) is_sealed: bool,
    pub(in crate::gateway) message: Option<DrmMessage>,
    /// The reply cannot hold a license: see [`drm::is_no_license`].
    pub(in crate::gateway) is_empty_handed: bool,
    /// The status is good, but the requested license is missing.
    pub(in crate::gateway) says_no: bool,
}

impl LicenseReply {
    /// `asked` is the DRM system, if a license was asked for.
    pub(in crate::gateway) fn read(route: &LicenseRoute, asked: Option<DrmSystem>, reply: &UpstreamReply) -> Self {
        let content_type = reply.headers.get(CONTENT_TYPE).and_then(|value: &HeaderValue| value.to_str().ok());
        let plain = plain_body(reply);
        let bare = plain.as_deref().map(|plain| {
            let unwrapped = drm::configured_wrapping::unwrap(&route.license.wrapping.server_reply, plain);
            unwrapped.unwrap_or(Cow::Borrowed(plain))
        });
        let message = bare.as_deref().and_then(|bare| drm::recognise(Direction::Reply, content_type, None, bare).ok());
        let has_body =
            !matches!(reply.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT);
        // If the system is unknown, ClearKey is assumed, whose licenses are shortest.
        let is_no = |body: &[u8]| drm::is_no_license(asked.unwrap_or(DrmSystem::ClearKey), body);
        let is_empty_handed = !has_body || message.is_none() && plain.as_deref().is_some_and(is_no);
        let says_no = asked.is_some() && is_empty_handed;
        Self { is_empty_handed, is_sealed: plain.is_none(), message, says_no }
    }
}

/// The reply's body without content encodings, which sidebeat never asks for. `None` if they cannot be undone, or
/// if the body is larger than any license.
pub(in crate::gateway) fn plain_body(reply: &UpstreamReply) -> Option<Bytes> {
    let lines: Option<Vec<_>> = reply.headers.get_all(CONTENT_ENCODING).iter().map(|line| line.to_str().ok()).collect();
    let names = encodings(lines?.into_iter());
    decoded(&names, reply.body.clone(), MAX_PLAIN_REPLY_BYTES).ok()
}
