//! The shell around the core: keeps the sessions, carries out their effects, wakes them in time.
//!
//! Owns the table, the wheel and the calls to authorities. Every decision about a session is a step of `session`.
//! `gateway` calls it for players, `admin` for operators, and its own timer for deadlines. No lock is held over an
//! await, because the table is reached by closures.

mod admit;
mod device_connections;
mod device_notes;
mod device_table;
mod dispatcher;
mod drain;
mod evidence;
mod index;
mod kills;
mod media_flow;
mod opening;
mod orphaned_grants;
mod overview;
mod pending_releases;
mod persistence;
mod retention;
mod session_context;
mod session_view;
mod shared_values;
mod spare_places;
mod stepping;
mod timeline;
mod timer;
mod token_index;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

pub use self::device_connections::{CallGuard, ConnectionGuard};
pub use self::device_notes::{DeviceNote, DeviceNotes};
use self::device_table::{DeviceTable, SessionEntry};
pub use self::dispatcher::{AskAuthority, AuthorityDispatcher, DispatchedAsk, LateGrant, OpenFuture, VerdictFuture};
pub use self::index::OpeningOrder;
use self::index::SessionIndex;
use self::kills::KilledTokens;
pub use self::media_flow::{Fetched, MediaFlow};
pub use self::overview::{FindFault, SessionPage, SessionQuery};
pub use self::persistence::{RestoreHome, RestoreResult};
pub use self::retention::{MAX_ENDED_SESSIONS_REMEMBERED, MAX_REPLACED_SESSIONS_REMEMBERED};
pub use self::session_context::{
    AuthorityId, CallContext, CountedGroups, DeviceKey, LivePolicy, SessionContext, SessionRoute,
};
pub use self::session_view::{SessionPhase, SessionView};
use self::shared_values::SharedValues;
use self::spare_places::SparePlaces;
pub use self::timeline::{Timeline, TimelineEntry, TimelineEvent};
use self::timer::SleepDetector;
pub use self::timer::pace;
use crate::clock::Clock;
use crate::drm::KeyId;
use crate::ids::{RandomSource, SessionId};
use crate::secret::Fingerprint;
use crate::session::{
    AskKind, AuthorityFault, CallAnswer, CallKind, Device, Grant, Input, Playback, PlaybackStart, PlayerCall, Policy,
    SessionKill, SessionRefusal, Ticket, Verdict, Wheel,
};
use crate::store::Store;
use crate::task::HeldPlace;
use crate::telemetry::Telemetry;

pub struct Sessions {
    alarm: Notify,
    /// Outcomes of license calls in words, as the timelines have them.
    call_outcomes: SharedValues<str>,
    chance: RandomSource,
    clock: Clock,
    /// Names of contents and of counted groups, as the contexts have them.
    content_names: SharedValues<str>,
    /// Notes of calls without a session.
    pub device_notes: DeviceNotes,
    /// True while the table's unused room is given back.
    gives_room_back: AtomicBool,
    index: Arc<SessionIndex>,
    /// Lists of keys, as the mirrors have them.
    key_lists: SharedValues<[KeyId]>,
    killed_tokens: KilledTokens,
    /// Bound of playbacks that are not over.
    max_active: AtomicUsize,
    dispatcher: AuthorityDispatcher,
    sleep: SleepDetector,
    spares: SparePlaces,
    /// `None` if sessions end with the process.
    store: Option<Arc<dyn Store>>,
    table: DeviceTable,
    telemetry: Arc<Telemetry>,
    wheel: Mutex<Wheel<(DeviceKey, SessionId)>>,
}

/// Answer to a call, and its session.
#[derive(Debug)]
pub struct Admission {
    pub answer: CallAnswer,
    pub session: Option<SessionId>,
}

impl Sessions {
    pub fn new(clock: Clock, dispatcher: AuthorityDispatcher, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Self::with_store(clock, dispatcher, telemetry, None)
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Like [`Self::new`]. With a store, sessions survive a restart: see [`Self::restore`].
    pub fn with_store(
        clock: Clock,
        dispatcher: AuthorityDispatcher,
        telemetry: Arc<Telemetry>,
        store: Option<Arc<dyn Store>>,
    ) -> Arc<Self> {
        Self::with_chance(RandomSource::System, clock, dispatcher, telemetry, store)
    }

    /// Like [`Self::with_store`]; ids and the jitter of beats come from `chance`.
    pub fn with_chance(
        chance: RandomSource,
        clock: Clock,
        dispatcher: AuthorityDispatcher,
        telemetry: Arc<Telemetry>,
        store: Option<Arc<dyn Store>>,
    ) -> Arc<Self> {
        let (alarm, table) = (Notify::new(), DeviceTable::default());
        let wheel = Mutex::new(Wheel::new(clock.now().into()));
        let sleep = SleepDetector::new(clock.suspended());
        let killed_tokens = KilledTokens::default();
        let index = Arc::default();
        let device_notes = DeviceNotes::default();
        Arc::new(Self {
            alarm,
            call_outcomes: SharedValues::default(),
            chance,
            clock,
            content_names: SharedValues::default(),
            device_notes,
            gives_room_back: AtomicBool::new(false),
            index,
            key_lists: SharedValues::default(),
            killed_tokens,
            max_active: AtomicUsize::new(usize::MAX),
            dispatcher,
            sleep,
            spares: SparePlaces::default(),
            store,
            table,
            telemetry,
            wheel,
        })
    }

    /// Asks the core once. The second value resolves when the call may ask again.
    fn call(
        self: &Arc<Self>,
        key: DeviceKey,
        call: &PlayerCall,
        context: &impl CallContext,
        waited: Option<SessionId>,
    ) -> (Admission, Option<OwnedNotified>) {
        let policy = &context.policy();
        self.notice_sleep();
        let killed = self.killed_elsewhere(&context.of_route().authority_name, Some(key), &call.names());
        self.with_seat(key, |entry, out| {
            let device = &mut entry.device;
            if let Some(by) = killed.filter(|_| !device.plays_by(&call.names())) {
                return (Admission { answer: CallAnswer::Refuse(SessionRefusal::Killed(by)), session: None }, None);
            }
            let now = self.clock.now();
            let start = || {
                let context = context.whole();
                let (account, id) = (pending_releases::account_name(context), SessionId(self.chance.draw()));
                let start = || PlaybackStart {
                    account,
                    caller: Some(context.network),
                    entry: SessionEntry::new(self.content_names.share_content(context)),
                    id,
                    seed: self.chance.draw() as u32,
                };
                self.has_room().then(start)
            };
            let (session, answer) = match waited {
                Some(id) => device.call_again(id, now.into(), call, policy, start, out),
                None => device.call(now.into(), call, policy, start, out),
            };
            if let Some(playback) = session.and_then(|id| device.playback_mut(id))
                && playback.session.returns()
            {
                // A new session uses the newest known token. Another token may replace it only if it has expired,
                // because it may be another caller's.
                let (network, token) = (context.network(), context.token().cloned());
                let is_its_own = call.token.is_some_and(|token| playback.answers_to(token));
                if token.is_some() && (is_its_own || playback.entry.context.has_expired_token(self.clock.wall())) {
                    let context = SessionContext { network, token, ..SessionContext::clone(&playback.entry.context) };
                    playback.entry.change_context(Arc::new(context));
                }
            }
            if let Some(playback) = session.and_then(|id| device.playback_mut(id)).filter(|p| p.session.waits()) {
                // The open may set out when this call is gone, so the session keeps the caller's place.
                let place = &mut playback.entry.rare_mut().place;
                *place = place.take().or_else(HeldPlace::of_caller);
            }
            let woken = (answer == CallAnswer::Wait).then(|| entry.change());
            (Admission { answer, session }, woken)
        })
    }

    /// Delivers an input. False if the playback is forgotten, unless its device's shared session awaits this
    /// renewal's answer.
    pub fn deliver(self: &Arc<Self>, key: DeviceKey, id: SessionId, input: Input) -> bool {
        self.notice_sleep();
        self.tell(key, id, input)
    }

    fn tell(self: &Arc<Self>, key: DeviceKey, id: SessionId, input: Input) -> bool {
        self.with(key, |device, out| {
            let id = device.addressee(id, &input);
            let Some(playback) = device.playback_mut(id) else { return false };
            let context = playback.entry.context.clone();
            device.deliver(id, self.clock.now().into(), input, &context.policy(), out);
            true
        })
    }

    /// Decides a call against this session even if it has ended. `None` if it is forgotten.
    pub fn call_under(self: &Arc<Self>, key: DeviceKey, id: SessionId, kind: CallKind) -> Option<CallAnswer> {
        self.with(key, |device, out| {
            let context = device.playback_mut(id)?.entry.context.clone();
            device.deliver(id, self.clock.now().into(), Input::RetryCall(kind), &context.policy(), out)
        })
    }

    /// Grant of a running playback, or of the session that it shares, even while a call is under way. `None` also if
    /// it is forgotten.
    pub fn last_grant(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<Grant> {
        let grant = |device: &Device<SessionEntry>| {
            let id = device.playback(id)?.shares().unwrap_or(id);
            let session = &device.playback(id)?.session;
            session.grant().filter(|_| session.is_active()).cloned()
        };
        self.table.look(key, grant)?
    }

    pub fn answered(
        self: &Arc<Self>,
        key: DeviceKey,
        id: SessionId,
        ticket: Ticket,
        ask: AskKind,
        result: Result<Verdict, AuthorityFault>,
    ) -> bool {
        self.deliver(key, id, Input::Answered(ticket, ask, result))
    }

    /// The cause of this session's kill, if it was killed.
    pub fn killed_by(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<SessionKill> {
        self.table.look(key, |device| device.playback(id)?.session.killed_by().cloned())?
    }

    /// True if this token may speak for that playback, or for one that shares its session. False if it is forgotten.
    pub fn answers_to(self: &Arc<Self>, key: DeviceKey, id: SessionId, token: Fingerprint) -> bool {
        self.table.look(key, |device| device.answers_to(id, token)).unwrap_or_default()
    }

    /// True if this token may speak for a running playback.
    pub fn plays_with(self: &Arc<Self>, key: DeviceKey, token: Fingerprint) -> bool {
        !self.playing(key, Some(token)).is_empty()
    }

    fn policy(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> Option<Policy> {
        self.table.look(key, |device| Some(device.playback(id)?.entry.context.policy()))?
    }

    fn playing(self: &Arc<Self>, key: DeviceKey, token: Option<Fingerprint>) -> Vec<SessionId> {
        let fits = |playback: &&Playback<SessionEntry>| match token {
            // Its end may be taken back, so a call that names it counts.
            Some(_) => playback.session.is_active() || playback.session.gives_way(),
            None => playback.session.is_active(),
        };
        let fits = |playback: &&Playback<SessionEntry>| fits(playback) && playback.is_spoken_for_by(token);
        let playing = |device: &Device<SessionEntry>| {
            device.playbacks().iter().filter(fits).map(|playback| playback.id).collect()
        };
        self.table.look(key, playing).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
