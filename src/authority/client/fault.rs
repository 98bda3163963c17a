//! Why a call brought no verdict, in words that name the endpoint.

use http::StatusCode;

use crate::config::Endpoint;
use crate::session::{Fault, FaultKind, Reason, Verdict};
use crate::upstream;

/// The authority is there, and said that it has not processed the call.
const TURNED_AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

pub(in crate::authority) fn is_turned_away(fault: &Fault) -> bool {
    fault.kind == FaultKind::Unreachable && fault.reason.code == TURNED_AWAY.as_u16()
}

/// The documentation prints two paths: a 404 without a code means the path, not the session.
pub(in crate::authority) fn is_no_path(result: &Result<Verdict, Fault>) -> bool {
    let Err(Fault { kind, reason }) = result else { return false };
    *kind == FaultKind::Malformed && reason.code == 404 && reason.error_code.is_none()
}

/// Something that we cannot even ask: a mistake in the configuration or in the player's token.
pub(in crate::authority) fn unspeakable(message: &str) -> Fault {
    Fault { kind: FaultKind::Malformed, reason: Reason::new(0, None, message) }
}

/// A 404 without a code is nearly always that of a wrong path.
pub(super) fn with_path(reason: Reason, endpoint: &Endpoint) -> Reason {
    if reason.code != 404 || reason.error_code.is_some() {
        return reason;
    }
    let message = format!("{endpoint}: {} (is that the right path?)", reason.message);
    Reason { message: message.into(), ..reason }
}

pub(in crate::authority) fn naming(fault: Fault, endpoint: &Endpoint) -> Fault {
    Fault { reason: with_path(fault.reason, endpoint), ..fault }
}

pub(super) fn infrastructure(fault: &upstream::Fault, endpoint: &Endpoint) -> Fault {
    let kind = match fault {
        upstream::Fault::Busy => FaultKind::Busy,
        upstream::Fault::Malformed | upstream::Fault::TooLarge => FaultKind::Malformed,
        upstream::Fault::Reset => FaultKind::Lost,
        upstream::Fault::Slow { .. } if !fault.was_not_processed() => FaultKind::Timeout,
        upstream::Fault::Connect(_)
        | upstream::Fault::Refused
        | upstream::Fault::Resolve
        | upstream::Fault::Slow { .. }
        | upstream::Fault::Tls(_) => FaultKind::Unreachable,
    };
    let status = match fault {
        upstream::Fault::Refused => TURNED_AWAY,
        upstream::Fault::Slow { .. } => StatusCode::GATEWAY_TIMEOUT,
        upstream::Fault::Busy
        | upstream::Fault::Connect(_)
        | upstream::Fault::Malformed
        | upstream::Fault::Reset
        | upstream::Fault::Resolve
        | upstream::Fault::Tls(_)
        | upstream::Fault::TooLarge => StatusCode::BAD_GATEWAY,
    };
    // The fault's text is scrubbed already, and the host is the configuration's.
    let message = format!("{}: {fault}", endpoint.host_and_port()).into();
    Fault { kind, reason: Reason { message, ..Reason::new(status.as_u16(), None, "") } }
}
