//! Holds a call whose server cannot be reached: retries it with growing pauses until its time is up.
//!
//! Only requests that the server has certainly not processed are repeated and, if the caller allows it, those that a
//! proxy in front of the server answered with 502, 503 or 504. The pauses have jitter, so that a returning server
//! does not meet all calls at once. Needs no timer: a dropped call stops.

use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::sleep;

use super::{CallPhase, ConnectionPool, Streamed, UpstreamCall, UpstreamFault, UpstreamReply};
use crate::ids::random_u64;
use crate::time::{Backoff, half_to_whole};

/// Pauses between attempts: doubled from the first to the longest.
const MIN_CALL_RETRY_PAUSE: Duration = Duration::from_millis(100);
const MAX_CALL_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A server that gives up connections after some requests accepts calls on the next ones.
const TURNED_AWAY_PAUSE: Duration = Duration::from_millis(250);
/// An attempt that would have less time is not made.
const MIN_ATTEMPT_TIME: Duration = Duration::from_millis(250);

/// Bounds and reasons for holding a call.
#[derive(Clone, Copy)]
pub struct CallHold<'a> {
    /// Longest time of one attempt.
    pub attempt: Duration,
    /// Called when the wait for an unreachable server begins.
    pub begins: Option<&'a (dyn Fn(&UpstreamFault) + Sync)>,
    /// Also retry after a reply of 502, 503 or 504.
    pub gateway_errors: bool,
    /// Also retry if no connection can be opened. If one was opened but did not take the call, the retry happens in
    /// any case, because the server is there.
    pub unreachable: bool,
    /// The caller must have its reply by then.
    pub until: Instant,
}

/// Outcome of a held call, and the number of its retries.
pub struct HeldOutcome<T> {
    pub again: u32,
    pub outcome: Result<T, UpstreamFault>,
}

impl UpstreamFault {
    /// True if nothing was processed and a retry may succeed soon: the server restarts, or its name is resolved
    /// again. Waiting mends neither missing trust nor our own limit.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Refused | Self::Resolve | Self::Slow { phase: CallPhase::Connect } => true,
            Self::Busy
            | Self::Malformed
            | Self::Reset
            | Self::Slow { phase: CallPhase::Body | CallPhase::Head }
            | Self::Tls(_)
            | Self::TooLarge => false,
        }
    }
}

impl ConnectionPool {
    /// Like [`ConnectionPool::send`], but held. Ignores the deadline of `call`.
    pub async fn send_held(&self, call: &UpstreamCall<'_>, hold: CallHold<'_>) -> HeldOutcome<UpstreamReply> {
        self.hold(hold, |deadline| self.send_by(call, deadline), |reply| reply.status).await
    }

    /// Like [`ConnectionPool::stream`], but held. Ignores the deadline of `call`.
    pub async fn stream_held(
        &self,
        call: &UpstreamCall<'_>,
        idle: Duration,
        hold: CallHold<'_>,
    ) -> HeldOutcome<Streamed> {
        self.hold(hold, |deadline| self.stream_by(call, deadline, idle), |reply| reply.status).await
    }

    /// `send` makes one attempt, which ends by its deadline. The call is lent to it, so that an attempt copies nothing.
    pub(super) async fn hold<T, F: Future<Output = Result<T, UpstreamFault>>>(
        &self,
        hold: CallHold<'_>,
        send: impl Fn(Instant) -> F,
        status: impl Fn(&T) -> StatusCode,
    ) -> HeldOutcome<T> {
        let mut again = 0;
        loop {
            let deadline = hold.until.min(self.now() + hold.attempt);
            let outcome = send(deadline).await;
            let may_pass = match &outcome {
                Ok(reply) => hold.gateway_errors && is_gateway_error(status(reply)),
                Err(fault) => (hold.unreachable || fault.is_not_taken()) && fault.may_pass(),
            };
            if !may_pass {
                return HeldOutcome { again, outcome };
            }
            let turned_away = matches!(&outcome, Err(fault) if fault.is_not_taken());
            let pause = pause(again, if turned_away { TURNED_AWAY_PAUSE } else { MAX_CALL_RETRY_PAUSE }, random_u64());
            if self.now() + pause + MIN_ATTEMPT_TIME > hold.until {
                return HeldOutcome { again, outcome };
            }
            if let (0, Err(fault), Some(begins)) = (again, &outcome, hold.begins) {
                begins(fault);
            }
            drop(outcome);
            sleep(pause).await;
            again += 1;
        }
    }
}

fn is_gateway_error(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// A random pause between half of it and all of it.
fn pause(again: u32, longest: Duration, random: u64) -> Duration {
    half_to_whole(random, Backoff::new(MIN_CALL_RETRY_PAUSE, longest).after(again))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_grow_to_a_second_and_are_scattered(again in 0u32..100, random in any::<u64>()) {
            let whole = MIN_CALL_RETRY_PAUSE.saturating_mul(1 << again.min(4)).min(MAX_CALL_RETRY_PAUSE);
            let pause = pause(again, MAX_CALL_RETRY_PAUSE, random);
            prop_assert!(pause >= whole / 2 && pause <= whole);
        }
    }

    #[test]
    fn only_unprocessed_calls_may_be_asked_again() {
        let faults = [
            UpstreamFault::Busy,
            UpstreamFault::Connect(std::io::ErrorKind::ConnectionRefused),
            UpstreamFault::Malformed,
            UpstreamFault::Refused,
            UpstreamFault::Reset,
            UpstreamFault::Resolve,
            UpstreamFault::Slow { phase: CallPhase::Body },
            UpstreamFault::Slow { phase: CallPhase::Connect },
            UpstreamFault::Slow { phase: CallPhase::Head },
            UpstreamFault::Tls(String::new()),
            UpstreamFault::TooLarge,
        ];
        let held: Vec<_> = faults.iter().filter(|fault| fault.may_pass()).map(UpstreamFault::to_string).collect();
        assert!(faults.iter().all(|fault| !fault.may_pass() || fault.was_not_processed()));
        assert_eq!(held.len(), 4, "{held:?}");
    }

    #[test]
    fn a_proxy_in_front_of_a_server_says_502_to_504() {
        let said = (100..600).filter(|status| is_gateway_error(StatusCode::from_u16(*status).unwrap()));
        assert!(said.eq([502, 503, 504]));
    }
}
