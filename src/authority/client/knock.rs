//! Whether an authority that leaves an open unanswered answers at all.
//!
//! A caller can provoke silence by what it sends, where something in front of the authority ends such calls or lets
//! them hang, and a playback that begins on credit is counted by nobody. So a call of our own goes the same way, with
//! nothing in it that a caller has written: an open without a token. Whatever is answered to that, or to anybody else
//! meanwhile, is an answer. One at a time, for whoever waits for it, and only where an authority gives credit.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout_at};

use super::{Client, REPLY_MAX};
use crate::authority::ssm::Ssm;
use crate::session::{Fault, FaultKind, Reason, Verdict};
use crate::upstream::{self, Call, LateReply};

type Opened = (Result<Verdict, Fault>, Option<LateReply>);

/// What was found holds for so long.
const HOLDS: Duration = Duration::from_secs(1);

impl Client {
    /// Makes the call, and where it is left unanswered, also tells whether the authority answers others. One that
    /// takes long is not waited for longer: the other one sets out beside it.
    pub(super) async fn knock_beside(
        &self,
        ssm: &Ssm,
        began: Instant,
        call: impl Future<Output = Opened>,
    ) -> (Opened, bool) {
        let timeout = ssm.config.timeout;
        let (half, latest) = (began + timeout / 2, began + timeout * 7 / 8);
        let mut call = pin!(call);
        let beside = async {
            sleep_until(half.into()).await;
            self.answers(ssm, began, latest).await
        };
        let (opened, answers) = tokio::select! {
            biased;
            opened = &mut call => (opened, None),
            answers = beside => (call.await, Some(answers)),
        };
        let unanswered = matches!(&opened.0, Err(fault) if fault.kind.is_silence());
        if !unanswered {
            return (opened, false);
        }
        let answers = match answers {
            Some(answers) => answers || ssm.health.has_answers_since(began),
            None => self.answers(ssm, began, latest.max(self.clock.now() + timeout / 4)).await,
        };
        if answers {
            ssm.health.hear(self.clock.now());
        }
        (opened, answers)
    }

    async fn answers(&self, ssm: &Ssm, began: Instant, until: Instant) -> bool {
        let ask = async {
            let mut last = ssm.knocked.lock().await;
            let now = self.clock.now();
            if let Some((_, answers)) = last.filter(|(at, _)| now.saturating_duration_since(*at) < HOLDS) {
                return answers;
            }
            let answers = self.knock(ssm, until).await;
            *last = Some((self.clock.now(), answers));
            answers
        };
        ssm.health.has_answers_since(began) || timeout_at(until.into(), ask).await.unwrap_or(false)
    }

    async fn knock(&self, ssm: &Ssm, until: Instant) -> bool {
        let wire = ssm.config.knock();
        let path_and_query = wire.endpoint.path_and_query();
        let (endpoint, headers) = (wire.endpoint, wire.headers);
        let call = Call {
            body: wire.body,
            deadline: until,
            endpoint,
            headers,
            method: wire.method,
            path_and_query,
            reply_max: REPLY_MAX,
        };
        match self.pool.send(call).await {
            Ok(_) => true,
            // Our own limit says nothing, and gives no credit either.
            Err(upstream::Fault::Busy | upstream::Fault::Malformed | upstream::Fault::TooLarge) => true,
            Err(
                upstream::Fault::Connect(_)
                | upstream::Fault::Refused
                | upstream::Fault::Reset
                | upstream::Fault::Resolve
                | upstream::Fault::Slow { .. }
                | upstream::Fault::Tls(_),
            ) => false,
        }
    }
}

/// What only this call met is no outage, and gives no credit.
pub(super) fn answers_others(fault: Fault) -> Fault {
    let message = format!("{}; other calls are answered", fault.reason.message).into();
    Fault { kind: FaultKind::Refused, reason: Reason { message, ..fault.reason } }
}
