//! A player's call, from its arrival to the core's answer: it waits while its session is being opened or beaten.

use std::sync::Arc;
use std::time::Instant;

use super::card::{Card, DeviceKey};
use super::{Admission, Sessions};
use crate::ids::SessionId;
use crate::session::{Answer, Call, Fault, FaultKind, Reason, Refusal};

impl Sessions {
    /// Delivers a player's call and waits, until `deadline`, while its session is being opened or its
    /// token replaced. What is under way goes on when the caller is dropped.
    pub async fn admit(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &Call,
        card: &Arc<Card>,
        deadline: Instant,
    ) -> Admission {
        self.admit_waiting(key, call, card, None, deadline).await
    }

    /// As [`Self::admit`], for a call that was with this session already.
    pub async fn admit_again(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &Call,
        card: &Arc<Card>,
        id: SessionId,
        deadline: Instant,
    ) -> Admission {
        self.admit_waiting(key, call, card, Some(id), deadline).await
    }

    async fn admit_waiting(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &Call,
        card: &Arc<Card>,
        mut waited: Option<SessionId>,
        deadline: Instant,
    ) -> Admission {
        loop {
            let (admission, woken) = self.call(key, call, card, waited);
            let Some(woken) = woken else { return admission };
            if tokio::time::timeout_at(deadline.into(), woken).await.is_err() {
                let reason = Reason::new(0, None, "no decision in time");
                let fault = Fault { kind: FaultKind::Timeout, reason };
                return Admission { answer: Answer::Refuse(Refusal::Unreachable(fault)), ..admission };
            }
            waited = admission.session;
        }
    }
}
