//! A player's call, handled like in the gateway: admitted, then forwarded or renewed.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sidebeat::ids::SessionId;
use sidebeat::secret::Fingerprint;
use sidebeat::session::{
    AskKind, CallAnswer, CallKind, Grant, Input, LicenseFeedback, OpenAbility, PlayerCall, SessionRefusal, Ticket,
    Verdict,
};
use sidebeat::sessions::{Admission, DeviceKey, SessionContext, Sessions};
use sidebeat::task::Tasks;
use tokio::sync::oneshot;

use super::far::{Far, Line};
use super::headend::Fate;

/// Longest time of a license call.
const ADMISSION: Duration = Duration::from_secs(6);

pub(crate) struct Viewer {
    pub(crate) call: PlayerCall,
    pub(crate) context: Arc<SessionContext>,
    pub(crate) dated: bool,
    pub(crate) device: usize,
    pub(crate) key: DeviceKey,
    pub(crate) line: Arc<Line>,
    pub(crate) number: usize,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tasks: Tasks,
}

impl Viewer {
    /// Dropped at any moment when the player hangs up.
    pub(crate) async fn play(self) {
        let Admission { answer, session } = self.admit().await;
        match (answer, session) {
            (CallAnswer::Forward(_), Some(id)) => self.forward(id).await,
            (CallAnswer::Renew(grant, ticket), Some(id)) => self.renew(id, grant, ticket).await,
            (CallAnswer::Pass | CallAnswer::Refuse(_), _) => {}
            (answer, session) => panic!("{answer:?} of {session:?}"),
        }
    }

    /// Says whose call it is whenever it is looked at, because a playback may begin in any of its turns.
    async fn admit(&self) -> Admission {
        let deadline = self.line.far().deadline(ADMISSION);
        let mut admission = pin!(self.sessions.admit(self.key, &self.call, &self.context, deadline));
        let admission = poll_fn(|cx| {
            self.line.far().current = self.number;
            let polled = admission.as_mut().poll(cx);
            // Before anything else happens: a renewal is in flight from here on.
            polled.map(|admission| {
                let learned = admission.session.zip(self.call.token);
                let learned = learned.filter(|(id, token)| self.sessions.answers_to(self.key, *id, *token));
                self.line.far().admitted((self.device, self.number), &self.call, &admission, learned);
                admission
            })
        });
        admission.await
    }

    /// The license server answers, if it does.
    async fn forward(&self, id: SessionId) {
        let (takes, served, lasts) = {
            let rng = &mut self.line.far().rng;
            let every = rng.chance(300).then(|| rng.millis(5_000, 60_000));
            let served = rng.pick(&[LicenseFeedback::Plain, LicenseFeedback::Renews { every }, LicenseFeedback::Stays]);
            (rng.millis(10, 500), (!rng.chance(30)).then_some(served), rng.millis(5_000, 100_000))
        };
        let written = self.sessions.written(self.key, id);
        tokio::time::sleep(takes).await;
        if self.call.kind == CallKind::Release {
            self.sessions.release(self.key, id, self.call.key_session);
        }
        let Some(served) = served else {
            self.sessions.deliver(self.key, id, Input::Unserved);
            return;
        };
        let lasts = self.dated.then_some(lasts);
        let key_session = self.call.key_session.unwrap_or(Fingerprint::new(0));
        self.sessions.accept(self.key, id, &self.call);
        self.sessions.licensed(self.key, id, served, (key_session, lasts));
        written.await;
        self.line.far().watch.shadow(SessionId(id.0 >> 32)).licensed = true;
    }

    /// Runs in a task of its own, as in the gateway, so a player that hangs up loses no token.
    async fn renew(&self, id: SessionId, grant: Grant, ticket: Ticket) {
        let (call, key, device, line) = (self.call, self.key, self.device, self.line.clone());
        let sessions = self.sessions.clone();
        let (tell, told) = oneshot::channel();
        self.tasks.spawn(async move {
            let number = SessionId(id.0 >> 32);
            let result = line.call((device, number), AskKind::Renew, ticket, Some(&grant)).await;
            let unknown = matches!(result, Ok(Verdict::Unknown(_)));
            if matches!(result, Ok(Verdict::Alive { .. })) {
                sessions.accept_renewal(key, id, &call);
            }
            sessions.answered(key, id, ticket, AskKind::Renew, result);
            let decided =
                (unknown && !tell.is_closed()).then(|| sessions.call_under(key, id, CallKind::License)).flatten();
            assert!(!matches!(decided, Some(CallAnswer::Renew(..))), "nobody would make it");
            let _gone = tell.send(());
        });
        let _news = tokio::time::timeout(ADMISSION, told).await;
    }
}

impl Far {
    fn deadline(&self, within: Duration) -> std::time::Instant {
        self.clock_now() + within
    }

    /// Records the reply to a player.
    fn admitted(
        &mut self,
        (device, number): (usize, usize),
        call: &PlayerCall,
        admission: &Admission,
        learned: Option<(SessionId, Fingerprint)>,
    ) {
        let now = self.now();
        let awake = self.awake();
        self.watch.answers(awake, device, call.token, &admission.answer);
        if let Some((id, token)) = learned {
            self.watch.called(SessionId(id.0 >> 32), Some(token));
        }
        let id = admission.session.map(|id| SessionId(id.0 >> 32));
        id.into_iter().for_each(|id| self.watch.names(id, call.token));
        self.watch.mark(now, "answers", number as u64, id.map_or(0, |id| id.0));
        self.sums.add(match &admission.answer {
            CallAnswer::Forward(_) => "forwarded",
            CallAnswer::Pass if id.is_none() => "passed: opens nothing",
            CallAnswer::Pass => "passed: no grant",
            CallAnswer::Refuse(SessionRefusal::Denied(..)) => "refused: denied",
            CallAnswer::Refuse(SessionRefusal::Expired) => "refused: expired",
            CallAnswer::Refuse(SessionRefusal::Ended(_)) => "refused: ended",
            CallAnswer::Refuse(SessionRefusal::Killed(_)) => "refused: killed",
            CallAnswer::Refuse(SessionRefusal::Unreachable(_)) => "refused: unreachable",
            CallAnswer::Renew(..) => "renewals",
            CallAnswer::Wait => panic!("nobody is left waiting"),
        });
        let passes =
            matches!(admission.answer, CallAnswer::Pass) && matches!(call.kind, CallKind::License | CallKind::Renewal);
        // The gateway judges a call that cannot open a session: it refuses it if a session is demanded.
        let sessionless = id.map_or(call.opens == OpenAbility::No, |id| self.watch.shadow(id).sessionless);
        assert!(!passes || sessionless, "a license without a session: {call:?} {id:?}");
        let Some(id) = id else { return };
        assert_eq!(self.calls[self.numbers[id.0 as usize]].device, device, "another device's session");
        let refused = admission.answer.refusal().is_some();
        assert!(!self.watch.shadow(id).killed || refused, "the killed are refused, not {:?}", admission.answer);
        match &admission.answer {
            CallAnswer::Forward(grant) | CallAnswer::Renew(grant, _) => self.look_at_grant((device, id), grant),
            CallAnswer::Pass | CallAnswer::Refuse(_) | CallAnswer::Wait => {}
        }
    }

    /// No token reaches another device, and a player does not play long after a kill at the head-end.
    fn look_at_grant(&mut self, from: (usize, SessionId), grant: &Grant) {
        let now = self.now();
        self.catch_up(now);
        let book = &self.head.books[self.head.book_of(&grant.token)];
        assert_eq!((book.device, book.id), from, "a token of another playback");
        if let Fate::Killed { at } = book.fate
            && !(book.renewed || book.hurt || self.stalled.is_some() || self.slept)
        {
            let slow = book.interval + Duration::from_secs(2);
            // The player could not be told while the process was away.
            let at = at.max(self.began());
            assert!(now <= at + slow, "forwarded {:?} after the kill", now - at);
        }
    }
}
