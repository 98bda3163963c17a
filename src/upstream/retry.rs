//! Holds a call whose server cannot be reached just now: asks again, with growing pauses, until its time is up.
//!
//! Only what the server has certainly not processed is asked again, or, where the caller says that it may be, what
//! something in front of the server answered with 502, 503 or 504. The pauses are scattered, so that a server that is
//! back does not meet everybody at once. Owns no timer of its own: dropped, it asks no more.

use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::sleep;

use super::{CallPhase, ConnectionPool, Streamed, UpstreamCall, UpstreamFault, UpstreamReply};
use crate::ids::random_u64;

/// Between two attempts: from the first to the longest, each time doubled.
const MIN_CALL_RETRY_PAUSE: Duration = Duration::from_millis(100);
const MAX_CALL_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A server that gives its connections up after some requests takes them on the next ones.
const TURNED_AWAY_PAUSE: Duration = Duration::from_millis(250);
/// An attempt that would have less time than this is not made.
const MIN_ATTEMPT_TIME: Duration = Duration::from_millis(250);

/// For how long a call is held, and what for.
#[derive(Clone, Copy)]
pub struct CallHold<'a> {
    /// Longest time of one attempt.
    pub attempt: Duration,
    /// Told when a server that cannot be reached is first waited for.
    pub begins: Option<&'a (dyn Fn(&UpstreamFault) + Sync)>,
    /// A reply of 502, 503 or 504 is asked again, too.
    pub gateway_errors: bool,
    /// Also while no connection comes about. Where one came about, and did not take the call, it is asked again in any
    /// case: the server is there.
    pub unreachable: bool,
    /// The caller has its reply by then.
    pub until: Instant,
}

/// How a call that was held ended, and how often it was made again.
pub struct HeldOutcome<T> {
    pub again: u32,
    pub outcome: Result<T, UpstreamFault>,
}

impl UpstreamFault {
    /// Nothing of the request was processed, and a moment later it may be: the server is restarted, or its name is
    /// looked up anew. Trust does not come by waiting, and our own limit is there to shed calls.
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
    /// As [`ConnectionPool::send`], but held. The deadline of `call` is not looked at.
    pub async fn send_held(&self, call: UpstreamCall<'_>, hold: CallHold<'_>) -> HeldOutcome<UpstreamReply> {
        self.hold(call, hold, |call| self.send(call), |reply| reply.status).await
    }

    /// As [`ConnectionPool::stream`], but held. The deadline of `call` is not looked at.
    pub async fn stream_held(
        &self,
        call: UpstreamCall<'_>,
        idle: Duration,
        hold: CallHold<'_>,
    ) -> HeldOutcome<Streamed> {
        self.hold(call, hold, |call| self.stream(call, idle), |reply| reply.status).await
    }

    pub(super) async fn hold<'a, T, F: Future<Output = Result<T, UpstreamFault>>>(
        &self,
        call: UpstreamCall<'a>,
        hold: CallHold<'_>,
        send: impl Fn(UpstreamCall<'a>) -> F,
        status: impl Fn(&T) -> StatusCode,
    ) -> HeldOutcome<T> {
        let mut again = 0;
        loop {
            let deadline = hold.until.min(self.now() + hold.attempt);
            let outcome = send(UpstreamCall { deadline, ..call.clone() }).await;
            let may_pass = match &outcome {
                Ok(reply) => hold.gateway_errors && is_gateway_error(status(reply)),
                Err(fault) => (hold.unreachable || fault.is_not_taken()) && fault.may_pass(),
            };
            let turned_away = matches!(&outcome, Err(fault) if fault.is_not_taken());
            let pause = pause(again, if turned_away { TURNED_AWAY_PAUSE } else { MAX_CALL_RETRY_PAUSE }, random_u64());
            if !may_pass || self.now() + pause + MIN_ATTEMPT_TIME > hold.until {
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

/// Between half of it and all of it.
fn pause(again: u32, longest: Duration, random: u64) -> Duration {
    let whole = MIN_CALL_RETRY_PAUSE.saturating_mul(1 << again.min(10)).min(longest);
    let share = (random >> 40) as f64 / f64::from(1 << 24);
    whole.mul_f64((1.0 + share) / 2.0)
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
    fn only_what_was_not_processed_may_be_asked_again() {
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
    fn what_stands_in_front_of_a_server_says_502_to_504() {
        let said = (100..600).filter(|status| is_gateway_error(StatusCode::from_u16(*status).unwrap()));
        assert!(said.eq([502, 503, 504]));
    }
}
