//! Takes a player's call to the core and waits for the answer while its session is being opened or beaten.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::futures::OwnedNotified;
use tokio_util::either::Either;

use super::session_context::{CallContext, DeviceKey};
use super::{Admission, Sessions};
use crate::ids::SessionId;
use crate::session::{AuthorityFault, CallAnswer, EndReason, FaultKind, PlayerCall, Reason, SessionRefusal};

impl Sessions {
    /// Delivers a player's call and waits, until `deadline`, while its session is being opened or its token replaced.
    /// The open or beat goes on if the caller is dropped.
    pub async fn admit(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &PlayerCall,
        context: &impl CallContext,
        deadline: Instant,
    ) -> Admission {
        self.admit_waiting(key, call, context, None, deadline, std::future::pending()).await
    }

    /// Like [`Self::admit`], for a call whose caller may go: `gone` resolves when nobody waits for the reply any
    /// more. If a playback waits for its turn and no other call waits for it, it then gives the turn up.
    ///
    /// The core is asked at once. Only a wait is boxed, so that most calls have no room for it.
    pub fn admit_while_wanted<'a>(
        self: &'a Arc<Self>,
        key: DeviceKey,
        call: &'a PlayerCall,
        context: &'a impl CallContext,
        deadline: Instant,
        gone: impl Future<Output = ()> + Send + 'a,
    ) -> impl Future<Output = Admission> + Send + 'a {
        self.admit_waiting(key, call, context, None, deadline, gone)
    }

    /// Like [`Self::admit`], for a call that already belonged to this session.
    pub async fn admit_again(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &PlayerCall,
        context: &impl CallContext,
        id: SessionId,
        deadline: Instant,
    ) -> Admission {
        self.admit_waiting(key, call, context, Some(id), deadline, std::future::pending()).await
    }

    fn admit_waiting<'a>(
        self: &'a Arc<Self>,
        key: DeviceKey,
        call: &'a PlayerCall,
        context: &'a impl CallContext,
        waited: Option<SessionId>,
        deadline: Instant,
        gone: impl Future<Output = ()> + Send + 'a,
    ) -> impl Future<Output = Admission> + Send + 'a {
        match self.call(key, call, context, waited) {
            (admission, None) => Either::Left(ready(admission)),
            (admission, Some(woken)) => {
                let ask = move |waited| self.call(key, call, context, waited);
                Either::Right(Box::pin(self.wait_for_answer(key, ask, (admission, woken), deadline, gone)))
            }
        }
    }

    /// Waits for the answer of a call that must wait, and asks again with each change.
    async fn wait_for_answer(
        self: &Arc<Self>,
        key: DeviceKey,
        ask: impl Fn(Option<SessionId>) -> (Admission, Option<OwnedNotified>),
        first: (Admission, OwnedNotified),
        deadline: Instant,
        gone: impl Future<Output = ()>,
    ) -> Admission {
        let (mut gone, mut is_gone) = (pin!(gone), false);
        let mut waiting: Option<WaitingCall<'_>> = None;
        let (mut admission, mut woken) = first;
        loop {
            if let Some(id) = admission.session.filter(|_| !is_gone)
                && waiting.as_ref().is_none_or(|waiting| waiting.id != id)
            {
                waiting = Some(self.waits(key, id));
            }
            let in_time = tokio::time::timeout_at(deadline.into(), woken);
            let in_time = tokio::select! {
                in_time = in_time => in_time.is_ok(),
                () = gone.as_mut(), if !is_gone => {
                    is_gone = true;
                    if waiting.take().is_some_and(WaitingCall::leave) {
                        return Admission { answer: CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Abandoned)), ..admission };
                    }
                    // A change that came meanwhile is asked about at once.
                    true
                }
            };
            if !in_time {
                let reason = Reason::without_reply("no decision in time");
                let fault = AuthorityFault { kind: FaultKind::Timeout, reason };
                return Admission { answer: CallAnswer::Refuse(SessionRefusal::Unreachable(fault)), ..admission };
            }
            match ask(admission.session) {
                (answered, None) => return answered,
                (again, Some(change)) => (admission, woken) = (again, change),
            }
        }
    }

    fn waits(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> WaitingCall<'_> {
        self.table.with(key, |entry| {
            entry.device.playback_mut(id).into_iter().for_each(|playback| playback.entry.rare_mut().calls_waiting += 1);
        });
        WaitingCall { id, key, sessions: self }
    }
}

/// A call that waits for the core's answer. When the last one of a playback that waits for its turn is dropped, the
/// playback gives the turn up.
struct WaitingCall<'a> {
    id: SessionId,
    key: DeviceKey,
    sessions: &'a Arc<Sessions>,
}

impl WaitingCall<'_> {
    /// True if the turn was given up.
    fn leave(self) -> bool {
        let gives_up = self.give_up();
        std::mem::forget(self);
        gives_up
    }

    fn give_up(&self) -> bool {
        let Self { id, key, sessions } = *self;
        sessions.with(key, |device, out| {
            let Some(playback) = device.playback_mut(id) else { return false };
            let policy = playback.entry.context.policy();
            let is_deserted = playback.entry.rare_if_any().is_none_or(|rare| {
                rare.calls_waiting = rare.calls_waiting.saturating_sub(1);
                rare.calls_waiting == 0
            });
            is_deserted && device.desert(id, sessions.clock.now().into(), &policy, out)
        })
    }
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        let _gave_up = self.give_up();
    }
}
