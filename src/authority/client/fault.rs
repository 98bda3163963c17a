//! Explains why a call brought no verdict, in words that name the endpoint.

use http::StatusCode;

use crate::config::EndpointUrl;
use crate::session::{AuthorityFault, FaultKind, Reason, Verdict};
use crate::upstream;

/// The authority answers this to a call that it has not processed.
const TURNED_AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

pub(in crate::authority) fn is_turned_away(fault: &AuthorityFault) -> bool {
    fault.kind == FaultKind::Unreachable && fault.reason.code == Some(TURNED_AWAY.as_u16())
}

/// True for a 404 without a code: it concerns the path, not the session. The documentation prints two paths.
pub(in crate::authority) fn is_no_path(result: &Result<Verdict, AuthorityFault>) -> bool {
    let Err(AuthorityFault { kind, reason }) = result else { return false };
    *kind == FaultKind::Malformed && reason.code == Some(404) && reason.error_code.is_none()
}

/// A call that cannot even be made: the configuration or the player's token is wrong.
pub(in crate::authority) fn unspeakable(message: &str) -> AuthorityFault {
    AuthorityFault { kind: FaultKind::Malformed, reason: Reason::without_reply(message) }
}

/// Adds advice to a 404 without a code, which nearly always means a wrong path.
pub(super) fn with_path(reason: Reason, endpoint: &EndpointUrl) -> Reason {
    if reason.code != Some(404) || reason.error_code.is_some() {
        return reason;
    }
    let message = format!("{endpoint}: {} (is that the right path?)", reason.message);
    Reason { message: message.into(), ..reason }
}

pub(in crate::authority) fn naming(fault: AuthorityFault, endpoint: &EndpointUrl) -> AuthorityFault {
    AuthorityFault { reason: with_path(fault.reason, endpoint), ..fault }
}

pub(super) fn infrastructure(fault: &upstream::UpstreamFault, endpoint: &EndpointUrl) -> AuthorityFault {
    let kind = match fault {
        upstream::UpstreamFault::Busy => FaultKind::Busy,
        upstream::UpstreamFault::Malformed | upstream::UpstreamFault::TooLarge => FaultKind::Malformed,
        upstream::UpstreamFault::Reset => FaultKind::Lost,
        upstream::UpstreamFault::Slow { .. } if !fault.was_not_processed() => FaultKind::Timeout,
        upstream::UpstreamFault::Connect(_)
        | upstream::UpstreamFault::Refused
        | upstream::UpstreamFault::Resolve
        | upstream::UpstreamFault::Slow { .. }
        | upstream::UpstreamFault::Tls(_) => FaultKind::Unreachable,
    };
    let status = match fault {
        upstream::UpstreamFault::Refused => TURNED_AWAY,
        upstream::UpstreamFault::Slow { .. } => StatusCode::GATEWAY_TIMEOUT,
        upstream::UpstreamFault::Busy
        | upstream::UpstreamFault::Connect(_)
        | upstream::UpstreamFault::Malformed
        | upstream::UpstreamFault::Reset
        | upstream::UpstreamFault::Resolve
        | upstream::UpstreamFault::Tls(_)
        | upstream::UpstreamFault::TooLarge => StatusCode::BAD_GATEWAY,
    };
    // The fault's text is scrubbed already, and the configuration names the host.
    let message = format!("{}: {fault}", endpoint.host_and_port()).into();
    AuthorityFault { kind, reason: Reason { message, ..Reason::new(status.as_u16(), None, "") } }
}
