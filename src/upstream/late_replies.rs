//! Waits for replies after their callers have given up, because some must be undone.
//!
//! Only a request that was sent is waited for; one without a connection at its deadline is never sent. The wait is
//! bounded in time and in number, because each keeps a connection.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

use super::body_transfer::Progress;
use super::retry::{CallHold, HeldOutcome};
use super::{ConnectionPool, UpstreamCall, UpstreamFault, UpstreamReply};

/// Late replies that a runtime waits for: a quarter of the calls under way to one server, so that the rest stays for
/// waiting callers.
pub(super) const MAX_LATE: usize = if cfg!(test) { 8 } else { 256 };

/// The late reply to a call that was given up. Dropping it ends the wait.
pub struct LateReply(oneshot::Receiver<UpstreamReply>);

impl LateReply {
    /// The reply; `None` if none came in time.
    pub async fn reply(self) -> Option<UpstreamReply> {
        self.0.await.ok()
    }
}

impl ConnectionPool {
    /// Like [`ConnectionPool::send_held`]. If the request was sent and the reply did not come in time, it is awaited
    /// for `stall_timeout` longer.
    pub async fn send_held_patiently(
        &self,
        call: &UpstreamCall<'_>,
        hold: CallHold<'_>,
        stall_timeout: Duration,
    ) -> (HeldOutcome<UpstreamReply>, Option<LateReply>) {
        // Only the last attempt can set it, because a sent request is not repeated.
        let late = Mutex::new(None);
        let kept = &late;
        let send = |deadline| async move {
            let (outcome, reply) = self.send_patiently(call, deadline, stall_timeout).await;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = reply;
            outcome
        };
        let held = self.hold(hold, send, |reply| reply.status).await;
        (held, late.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends in a task of its own from the start, so that a sent request is not lost when its caller gives up.
    async fn send_patiently(
        &self,
        call: &UpstreamCall<'_>,
        deadline: Instant,
        stall_timeout: Duration,
    ) -> (Result<UpstreamReply, UpstreamFault>, Option<LateReply>) {
        let (now, progress) = (self.now(), Progress::default());
        if deadline <= now {
            return (Err(progress.slow()), None);
        }
        let (tell, told) = oneshot::channel();
        let UpstreamCall { body, deadline: _, endpoint, headers, method, path_and_query, reply_max } = call.clone();
        let (endpoint, pool) = (endpoint.clone(), self.clone());
        self.tasks().spawn(async move {
            let call = UpstreamCall { body, deadline, endpoint: &endpoint, headers, method, path_and_query, reply_max };
            let mut exchange = pin!(pool.exchange(&call, now, &progress));
            if let Ok(outcome) = timeout_at(deadline.into(), &mut exchange).await {
                let _gone = tell.send((outcome, None));
                return;
            }
            let fault = progress.slow();
            let place = (!fault.was_not_processed()).then(|| pool.late_places().clone().try_acquire_owned().ok());
            let Some(_place) = place.flatten() else {
                let _gone = tell.send((Err(fault), None));
                return;
            };
            let (mut tell_late, told_late) = oneshot::channel();
            let _gone = tell.send((Err(fault), Some(LateReply(told_late))));
            tokio::select! {
                outcome = timeout(stall_timeout, exchange) => {
                    if let Ok(Ok(reply)) = outcome {
                        let _gone = tell_late.send(reply);
                    }
                }
                () = tell_late.closed() => {}
                () = pool.tasks().stopped() => {}
            }
        });
        // Only the end of its runtime ends the task without a result.
        told.await.unwrap_or((Err(UpstreamFault::Reset), None))
    }
}
