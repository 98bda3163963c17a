//! The shell around the core: keeps the sessions, carries out their effects, wakes them in time.
//!
//! Owns the table, the wheel and the calls to authorities that are under way. Decides nothing about
//! a session: every decision is a step of `session`. Called by `gateway` for players, by `admin` for
//! operators, and by its own pacer. No lock is held over an await: the table is behind closures.

mod card;
mod pacer;
mod pump;
mod table;
mod timeline;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub use self::card::{Card, DeviceKey};
pub use self::pacer::pace;
pub use self::pump::{Asker, Asking, Pump, Verdicts};
use self::table::{Kept, Table};
pub use self::timeline::{Entry, Timeline};
use crate::clock::Clock;
use crate::ids::{self, SessionId};
use crate::secret::Fingerprint;
use crate::session::{
    Answer, AskKind, Beats, Call, Effect, End, Event, Fault, FaultKind, Input, Outbox, Playback, Reason, Refusal,
    Start, State, Ticket, Verdict, Wheel,
};
use crate::telemetry::Telemetry;

pub struct Sessions {
    alarm: Notify,
    clock: Clock,
    pump: Pump,
    table: Table,
    telemetry: Arc<Telemetry>,
    wheel: Mutex<Wheel<(DeviceKey, SessionId)>>,
}

/// Where a call ended up.
#[derive(Debug)]
pub struct Admission {
    pub answer: Answer,
    pub session: Option<SessionId>,
}

impl Sessions {
    pub fn new(clock: Clock, pump: Pump, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let wheel = Mutex::new(Wheel::new(clock.now()));
        Arc::new(Self { alarm: Notify::new(), clock, pump, table: Table::default(), telemetry, wheel })
    }

    /// Delivers a player's call and waits, until `deadline`, while its session is being opened or its
    /// token replaced. What is under way goes on when the caller is dropped.
    pub async fn admit(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &Call,
        card: &Arc<Card>,
        deadline: Instant,
    ) -> Admission {
        let mut admission = self.call(key, call, card);
        while admission.answer == Answer::Wait {
            let wake = self.table.wake(key);
            let mut woken = std::pin::pin!(wake.notified());
            // Asked once more when registered, so that no wake between the two is missed.
            woken.as_mut().enable();
            admission = self.call_again(key, call, card, admission.session);
            if admission.answer != Answer::Wait {
                break;
            }
            if tokio::time::timeout_at(deadline.into(), woken).await.is_err() {
                let reason = Reason::new(0, None, "no decision in time");
                let fault = Fault { kind: FaultKind::Timeout, reason };
                return Admission { answer: Answer::Refuse(Refusal::Unreachable(fault)), ..admission };
            }
            admission = self.call_again(key, call, card, admission.session);
        }
        admission
    }

    /// A call that waited stays with its playback: if that one was stopped or zapped away meanwhile,
    /// opening another for it would undo what the viewer did last.
    fn call_again(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &Call,
        card: &Arc<Card>,
        session: Option<SessionId>,
    ) -> Admission {
        let answer = session.and_then(|id| self.deliver(key, id, Input::Call(call.kind)));
        answer.map_or_else(|| self.call(key, call, card), |answer| Admission { answer, session })
    }

    fn call(self: &Arc<Self>, key: DeviceKey, call: &Call, card: &Arc<Card>) -> Admission {
        let now = self.clock.now();
        let policy = &card.policy;
        let (session, answer) = self.with(key, |device, out| {
            let start =
                || Start { card: Kept::new(card.clone()), id: SessionId::random(), seed: ids::random_u64() as u32 };
            device.call(now, call, policy, start, out)
        });
        Admission { answer, session }
    }

    /// Delivers an input to one session; the answer is there if the input was a call. A session that
    /// is gone ignores it.
    pub fn deliver(self: &Arc<Self>, key: DeviceKey, id: SessionId, input: Input) -> Option<Answer> {
        let now = self.clock.now();
        self.with(key, |device, out| {
            let card = device.playback_mut(id)?.card.card.clone();
            device.deliver(id, now, input, &card.policy, out)
        })
    }

    pub fn answered(
        self: &Arc<Self>,
        key: DeviceKey,
        id: SessionId,
        ticket: Ticket,
        ask: AskKind,
        result: Result<Verdict, Fault>,
    ) {
        self.deliver(key, id, Input::Answered(ticket, ask, result));
    }

    /// The player released a license; the playback ends with its last one.
    pub fn release(self: &Arc<Self>, key: DeviceKey, id: SessionId, key_session: Option<Fingerprint>) {
        if self.with(key, |device, _| device.release(id, key_session)) {
            self.deliver(key, id, Input::End(End::Released));
        }
    }

    /// Ends the device's playbacks that fit: of this content token, or all of them without one.
    /// Returns how many.
    pub fn stop(self: &Arc<Self>, key: DeviceKey, token: Option<Fingerprint>) -> usize {
        let fits =
            |playback: &Playback<Kept>| playback.session.is_active() && (token.is_none() || playback.token == token);
        let ids: Vec<_> =
            self.with(key, |device, _| device.playbacks().iter().filter(|p| fits(p)).map(|p| p.id).collect());
        ids.iter().for_each(|id| drop(self.deliver(key, *id, Input::End(End::Stopped))));
        ids.len()
    }

    /// Ends every playback, for the end of the process, and waits for the closes, at most `grace`.
    /// Returns how many sessions are still held at their authorities.
    pub async fn drain(self: &Arc<Self>, why: End, grace: Duration) -> usize {
        let held = |key, playback: &Playback<Kept>| playback.session.takes_place().then_some((key, playback.id));
        for (key, id) in self.table.collect(held) {
            self.deliver(key, id, Input::End(why));
        }
        self.pump.idle(grace).await;
        self.table.collect(held).len()
    }

    /// The playback whose id begins with these digits; an error says why there is not exactly one.
    pub fn find(&self, prefix: &str) -> Result<(DeviceKey, SessionId), FindFault> {
        let fits =
            |key, playback: &Playback<Kept>| playback.id.to_string().starts_with(prefix).then_some((key, playback.id));
        match self.table.collect(fits).as_slice() {
            [one] => Ok(*one),
            [] => Err(FindFault::Unknown),
            [..] => Err(FindFault::Ambiguous),
        }
    }

    pub fn list(&self) -> Vec<Row> {
        let now = self.clock.now();
        let mut rows = self.table.collect(|_, playback| Some(Row::of(playback, now)));
        rows.sort_by_key(|row| (row.opened, row.id));
        rows
    }

    /// Runs one device's step under its lock, then carries the effects out.
    fn with<R>(
        self: &Arc<Self>,
        key: DeviceKey,
        act: impl FnOnce(&mut crate::session::Device<Kept>, &mut Outbox) -> R,
    ) -> R {
        let mut jobs = Vec::new();
        let result = self.table.with(key, |device, wake| {
            let mut out = Outbox::new();
            let result = act(device, &mut out);
            for (id, effect) in out {
                self.carry_out(key, device, id, effect, wake, &mut jobs);
            }
            self.schedule(key, device);
            result
        });
        jobs.into_iter().for_each(|job| self.pump.run(self.clone(), job));
        result
    }

    fn carry_out(
        &self,
        key: DeviceKey,
        device: &mut crate::session::Device<Kept>,
        id: SessionId,
        effect: Effect,
        wake: &Notify,
        jobs: &mut Vec<Asking>,
    ) {
        let Some(playback) = device.playback_mut(id) else {
            // Forgotten in this very step; its calls may still wait.
            wake.notify_waiters();
            return;
        };
        match effect {
            Effect::Ask(ask) => jobs.push(Asking { ask, card: playback.card.card.clone(), id, key }),
            Effect::Forget => {}
            Effect::Note(event) => {
                self.telemetry.note(&playback.card.card.labels(), id, &event);
                playback.card.timeline.add(self.clock.wall(), event);
            }
            Effect::Wake => wake.notify_waiters(),
        }
    }

    /// Puts every playback whose deadline moved to an earlier time on the wheel anew.
    fn schedule(&self, key: DeviceKey, device: &mut crate::session::Device<Kept>) {
        let due: Vec<_> = device.playbacks().iter().map(|p| (p.id, p.session.deadline(), p.card.slotted)).collect();
        for (id, deadline, slotted) in due {
            let Some(deadline) = deadline else { continue };
            if slotted.is_some_and(|(at, _)| at <= deadline) {
                continue;
            }
            let slot = self.wheel.lock().unwrap_or_else(PoisonError::into_inner).insert(deadline, (key, id));
            if let Some(playback) = device.playback_mut(id) {
                playback.card.slotted = Some((deadline, slot));
            }
            self.alarm.notify_one();
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FindFault {
    #[error("more than one session begins with these digits")]
    Ambiguous,
    #[error("no such session")]
    Unknown,
}

/// One session as an operator sees it.
#[derive(Clone, Debug)]
pub struct Row {
    pub beats: u32,
    pub card: Arc<Card>,
    /// Until the next beat or look, if there is one.
    pub due_in: Option<Duration>,
    pub id: SessionId,
    pub interval: Option<Duration>,
    pub key_sessions: usize,
    /// Since the authority last confirmed it.
    pub last_good: Duration,
    /// Wall time since the epoch.
    pub opened: Duration,
    /// Who keeps it alive: `timer` or `renewals`.
    pub paced_by: &'static str,
    pub state: &'static str,
    pub timeline: Timeline,
}

impl Row {
    fn of(playback: &Playback<Kept>, now: Instant) -> Self {
        let session = &playback.session;
        let timeline = playback.card.timeline.clone();
        Self {
            beats: timeline.beats(),
            card: playback.card.card.clone(),
            due_in: session.deadline().map(|deadline| deadline.saturating_duration_since(now)),
            id: playback.id,
            interval: session.interval(),
            key_sessions: playback.key_sessions(),
            last_good: now.saturating_duration_since(session.last_good()),
            opened: playback.card.card.opened,
            paced_by: match session.beats() {
                Beats::Renewals { .. } => "renewals",
                Beats::Timer => "timer",
            },
            state: state_name(session.state()),
            timeline,
        }
    }
}

fn state_name(state: &State) -> &'static str {
    match state {
        State::Closed { .. } => "closed",
        State::Closing { .. } => "closing",
        State::Failing { .. } => "failing",
        State::Killed { .. } => "killed",
        State::Live { .. } => "live",
        State::Opening { held: true, .. } => "waiting",
        State::Opening { held: false, .. } => "opening",
    }
}

impl Event {
    /// Beats are counted and not listed.
    fn is_routine(&self) -> bool {
        matches!(self, Self::Beat | Self::Renewed)
    }
}
