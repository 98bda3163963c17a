//! Replies that come after their caller has given up: some bring what must be given back.
//!
//! Only a request that was sent is waited for; one that has not found a connection by its deadline is never sent. The
//! waiting is bounded in time and in number, because each keeps a connection.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

use super::progress::Progress;
use super::retry::{CallHold, HeldOutcome};
use super::{ConnectionPool, UpstreamCall, UpstreamFault, UpstreamReply};

/// Late replies that one runtime waits for. A quarter of the calls that may be under way to one server: the others
/// stay for those whose callers wait.
pub(super) const MAX_LATE: usize = if cfg!(test) { 8 } else { 256 };

/// The reply to a call that was given up, if it comes after all. Dropped, it is waited for no more.
pub struct LateReply(oneshot::Receiver<UpstreamReply>);

impl LateReply {
    /// Nothing where none has come in time.
    pub async fn reply(self) -> Option<UpstreamReply> {
        self.0.await.ok()
    }
}

impl ConnectionPool {
    /// As [`ConnectionPool::send_held`]. Where the request was sent and its reply did not come in time, that is waited for
    /// `patience` longer.
    pub async fn send_held_patiently(
        &self,
        call: UpstreamCall<'_>,
        hold: CallHold<'_>,
        patience: Duration,
    ) -> (HeldOutcome<UpstreamReply>, Option<LateReply>) {
        // Set by the last attempt alone: what was sent is not asked again.
        let late = Mutex::new(None);
        let send = |call| async {
            let (outcome, reply) = self.send_patiently(call, patience).await;
            *late.lock().unwrap_or_else(PoisonError::into_inner) = reply;
            outcome
        };
        let held = self.hold(call, hold, send, |reply| reply.status).await;
        (held, late.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// In a task of its own from the start: what was sent must not be lost with its caller's waiting.
    async fn send_patiently(
        &self,
        call: UpstreamCall<'_>,
        patience: Duration,
    ) -> (Result<UpstreamReply, UpstreamFault>, Option<LateReply>) {
        let (now, progress) = (self.now(), Progress::default());
        if call.deadline <= now {
            return (Err(progress.slow()), None);
        }
        let (tell, told) = oneshot::channel();
        let UpstreamCall { body, deadline, endpoint, headers, method, path_and_query, reply_max } = call;
        let (endpoint, pool) = (endpoint.clone(), self.clone());
        self.tasks().spawn(async move {
            let call = UpstreamCall { body, deadline, endpoint: &endpoint, headers, method, path_and_query, reply_max };
            let mut exchange = pin!(pool.exchange(call, now, &progress));
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
                outcome = timeout(patience, exchange) => {
                    if let Ok(Ok(reply)) = outcome {
                        let _gone = tell_late.send(reply);
                    }
                }
                () = tell_late.closed() => {}
                () = pool.tasks().stopped() => {}
            }
        });
        // A task ends without a word only with its runtime.
        told.await.unwrap_or((Err(UpstreamFault::Reset), None))
    }
}
