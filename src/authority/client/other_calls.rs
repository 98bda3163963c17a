//! Finds out whether an authority that leaves an open unanswered answers other calls.
//!
//! A caller may provoke silence by its request, if a server in between drops such calls, and a playback that begins
//! on credit is counted nowhere. So a call of our own goes the same way, with nothing in it that a caller has
//! written: an open without a token. An answer to that, or meanwhile to another open or a renewal, shows that the
//! authority answers. An answer to a beat does not count, because the setup may have a gateway of its own. At most
//! one such call runs at a time, only while a caller waits for it, and only if the authority gives credit.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout_at};

use super::{AuthorityClient, MAX_REPLY_BYTES};
use crate::authority::Authority;
use crate::authority::exchange::AuthorityRequest;
use crate::authority::reach::AuthorityReach;
use crate::session::{AuthorityFault, FaultKind, Reason, Verdict};
use crate::upstream::{self, LateReply, UpstreamCall, UpstreamReply};

type AnsweredOpen = (Result<Verdict, AuthorityFault>, Option<LateReply>);

/// Time for which a finding holds.
const FINDING_KEPT: Duration = Duration::from_secs(1);

/// The authority's behaviour toward other callers than the one whose open was left unanswered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::authority) enum OtherCalls {
    Answered,
    /// No other caller is known to be answered.
    Silent,
    /// Our own call could not be made. That gives no credit, and teaches nothing about the authority.
    Unknown,
}

impl OtherCalls {
    fn of(sent: &Result<UpstreamReply, upstream::UpstreamFault>) -> Self {
        match sent {
            // Some server has sent even a reply that makes no sense.
            Ok(_) | Err(upstream::UpstreamFault::Malformed | upstream::UpstreamFault::TooLarge) => Self::Answered,
            Err(upstream::UpstreamFault::Busy) => Self::Unknown,
            Err(
                upstream::UpstreamFault::Connect(_)
                | upstream::UpstreamFault::Refused
                | upstream::UpstreamFault::Reset
                | upstream::UpstreamFault::Resolve
                | upstream::UpstreamFault::Slow { .. }
                | upstream::UpstreamFault::Tls(_),
            ) => Self::Silent,
        }
    }

    /// Judges an unanswered open by the answers to others.
    pub(super) fn judge(self, fault: AuthorityFault) -> AuthorityFault {
        let why = match self {
            // A silence that only this call met is no outage.
            Self::Answered => "other calls are answered",
            Self::Silent => return fault,
            Self::Unknown => "whether others are answered is not known",
        };
        let message = format!("{}; {why}", fault.reason.message).into();
        AuthorityFault { kind: FaultKind::Refused, reason: Reason { message, ..fault.reason } }
    }
}

impl AuthorityClient {
    /// Makes the call. If an authority that gives credit leaves it unanswered, also tells whether the authority
    /// answers others. If the call takes long, the other one starts beside it.
    pub(super) async fn knock_beside(
        &self,
        authority: &Authority,
        began: Instant,
        call: impl Future<Output = AnsweredOpen>,
    ) -> (AnsweredOpen, OtherCalls) {
        let Some(reach) = authority.reach.as_ref().filter(|_| authority.gives_credit()) else {
            return (call.await, OtherCalls::Silent);
        };
        let timeout = authority.dialect.timeout();
        let (half, latest) = (began + timeout / 2, began + timeout * 7 / 8);
        let mut call = pin!(call);
        let beside = async {
            sleep_until(half.into()).await;
            self.others(authority, reach, began, latest).await
        };
        let (opened, found) = tokio::select! {
            biased;
            opened = &mut call => (opened, None),
            found = beside => (call.await, Some(found)),
        };
        let unanswered = matches!(&opened.0, Err(fault) if fault.kind.is_silence());
        if !unanswered {
            return (opened, OtherCalls::Silent);
        }
        let others = match found {
            Some(_) if reach.health.has_answers_since(began) => OtherCalls::Answered,
            Some(found) => found,
            None => self.others(authority, reach, began, latest.max(self.clock.now() + timeout / 4)).await,
        };
        if others == OtherCalls::Answered {
            reach.health.hear(self.clock.now());
        }
        (opened, others)
    }

    async fn others(
        &self,
        authority: &Authority,
        reach: &AuthorityReach,
        began: Instant,
        until: Instant,
    ) -> OtherCalls {
        let ask = async {
            let mut last = reach.knocked.lock().await;
            let now = self.clock.now();
            if let Some((_, found)) = last.filter(|(at, _)| now.saturating_duration_since(*at) < FINDING_KEPT) {
                return found;
            }
            let found = match authority.dialect.knock() {
                Some(knock) => self.knock(knock, until).await,
                None => OtherCalls::Unknown,
            };
            if found != OtherCalls::Unknown {
                *last = Some((self.clock.now(), found));
            }
            found
        };
        if reach.health.has_answers_since(began) {
            return OtherCalls::Answered;
        }
        timeout_at(until.into(), ask).await.unwrap_or(OtherCalls::Silent)
    }

    async fn knock(&self, knock: AuthorityRequest<'_>, until: Instant) -> OtherCalls {
        let AuthorityRequest { body, endpoint, headers, method, .. } = knock;
        let path_and_query = endpoint.path_and_query();
        let call = UpstreamCall {
            body,
            deadline: until,
            endpoint,
            headers,
            method,
            path_and_query,
            reply_max: MAX_REPLY_BYTES,
        };
        OtherCalls::of(&self.pool.send(call).await)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use tokio::net::TcpListener;

    use super::*;
    use crate::authority::Authorities;
    use crate::authority::testing::settings;
    use crate::clock::Clock;
    use crate::task::Tasks;
    use crate::telemetry::Telemetry;
    use crate::upstream::{CallPhase, ConnectionPool, Trust};

    fn lost() -> AuthorityFault {
        AuthorityFault { kind: FaultKind::Lost, reason: Reason::new(502, None, "gone") }
    }

    async fn stage(calls_max: usize) -> (AuthorityClient, Arc<Authority>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authorities = Authorities::new(
            settings(&format!(
                "kind = \"nagra-ssm\"\nurl = \"http://{}/T/ssm\"\ntimeout = \"400ms\"\n\
             [authority.on-unreachable]\nnew-vod = \"1m\"\nnew-live = \"1m\"\n",
                listener.local_addr().unwrap()
            )),
            Clock,
        );
        let (tasks, _deaths) = Tasks::new();
        let pool = ConnectionPool::with_calls_max(tasks, Clock, Trust::public().unwrap(), calls_max);
        let ssm = authorities.by_name("a").unwrap();
        (AuthorityClient::new(authorities, Clock, pool, Arc::new(Telemetry::default())), ssm, listener)
    }

    /// Beats that hang can take every place there is, and then nobody was asked.
    #[tokio::test]
    async fn our_own_limit_is_no_answer_to_others() {
        let (client, ssm, _listener) = stage(1).await;
        let endpoint = *ssm.dialect.endpoints().first().unwrap();
        let reach = ssm.reach.as_ref().unwrap();
        let beat = UpstreamCall {
            body: Bytes::new(),
            deadline: Clock.now() + Duration::from_secs(20),
            endpoint,
            headers: HeaderMap::new(),
            method: Method::POST,
            path_and_query: endpoint.path_and_query(),
            reply_max: MAX_REPLY_BYTES,
        };
        let began = Clock.now();
        let ((opened, _), others) = tokio::select! {
            biased;
            _ = client.pool.send(beat) => panic!("nobody answers"),
            found = client.knock_beside(&ssm, began, async { (Err(lost()), None) }) => found,
        };
        assert_eq!((opened.unwrap_err(), others), (lost(), OtherCalls::Unknown));
        assert!(!reach.health.has_answers_since(began), "nothing was heard");
        assert_eq!(*reach.knocked.lock().await, None, "the next one asks again");
        // There is a place again, and the silence is found to be one.
        let (_, others) = client.knock_beside(&ssm, Clock.now(), async { (Err(lost()), None) }).await;
        assert_eq!(others, OtherCalls::Silent);
        assert!(matches!(*reach.knocked.lock().await, Some((_, OtherCalls::Silent))));
    }

    #[test]
    fn the_result_of_our_own_call_tells_of_other_callers() {
        use upstream::UpstreamFault as Met;
        for (met, expected) in [
            (Met::Busy, OtherCalls::Unknown),
            (Met::Connect(io::ErrorKind::ConnectionRefused), OtherCalls::Silent),
            (Met::Malformed, OtherCalls::Answered),
            (Met::Refused, OtherCalls::Silent),
            (Met::Reset, OtherCalls::Silent),
            (Met::Resolve, OtherCalls::Silent),
            (Met::Slow { phase: CallPhase::Head }, OtherCalls::Silent),
            (Met::Tls("no trust".into()), OtherCalls::Silent),
            (Met::TooLarge, OtherCalls::Answered),
        ] {
            assert_eq!(OtherCalls::of(&Err(met.clone())), expected, "{met:?}");
        }
    }

    #[test]
    fn only_a_silence_toward_everybody_leaves_an_open_unanswered() {
        for (others, unanswered) in
            [(OtherCalls::Answered, false), (OtherCalls::Silent, true), (OtherCalls::Unknown, false)]
        {
            assert_eq!(others.judge(lost()).kind.is_unanswered(), unanswered, "{others:?}");
        }
    }
}
