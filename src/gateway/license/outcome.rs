//! Outcome of a license call, with the player's reply.

use http::{Response, StatusCode};

use crate::edge::ReplyBody;
use crate::edge::own_replies::EdgeRefusal;
use crate::telemetry::PlayerCallOutcome;

pub(in crate::gateway) type CallOutcome = (PlayerCallOutcome, Response<ReplyBody>);

/// Outcome of a leading call that ended without a reply.
pub(in crate::gateway) fn broken_off() -> CallOutcome {
    let refusal = EdgeRefusal {
        // Not 500: players repeat that up to 27 times.
        status: StatusCode::FORBIDDEN,
        error: "internal",
        detail: "the call could not be finished",
        close: false,
    };
    (PlayerCallOutcome::Failed, refusal.reply())
}
