//! Makes the calls to authorities that the core asks for, each in a task of its own.
//!
//! The tasks run on the control runtime, whoever caused them: a player that hangs up ends nothing.
//! At most one is under way per session, which the core sees to, and at most [`Pump::MOST`] for all. An open that waits
//! for a place to come back is not under way: the close that it waits for has to set out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

use super::Sessions;
use super::card::{Card, DeviceKey};
use super::closings::{Closing, Closings};
use super::strays::{MAX_STRAYS, Strays, is_stray};
use super::table::Kept;
use crate::ids::SessionId;
use crate::session::{Ask, AskKind, Device, Fault, FaultKind, Grant, Playback, Reason, Verdict};
use crate::store::Dialect;
use crate::task::{HeldPlace, Tasks};

/// A call to an authority that is to be made.
#[derive(Debug)]
pub struct Asking {
    pub ask: Ask,
    pub card: Arc<Card>,
    pub id: SessionId,
    pub key: DeviceKey,
    /// Of the player's call for which an open is made: the player may hang up, the open goes on.
    pub place: Option<HeldPlace>,
}

pub type Verdicts<'a> = Pin<Box<dyn Future<Output = Result<Verdict, Fault>> + Send + 'a>>;

/// An open's verdict; and where its answer may come yet, what that grants.
pub type Opening<'a> = Pin<Box<dyn Future<Output = (Result<Verdict, Fault>, Option<LateGrant>)> + Send + 'a>>;

/// Resolves when the answer has come, or is waited for no more.
pub type LateGrant = Pin<Box<dyn Future<Output = Option<Grant>> + Send>>;

/// Who speaks with the authorities. Every call ends within the authority's time limit.
pub trait Asker: Send + Sync + 'static {
    fn ask<'a>(&'a self, ask: &'a Ask, card: &'a Card) -> Verdicts<'a>;

    /// As [`Self::ask`], for an open.
    fn open<'a>(&'a self, ask: &'a Ask, card: &'a Card) -> Opening<'a> {
        Box::pin(async move { (self.ask(ask, card).await, None) })
    }

    /// The session's player has got something to play by: a license, or media. Told once a process, under the device's
    /// lock: it must neither wait nor call back.
    fn accepted(&self, _grant: &Grant, _card: &Card) {}
}

pub struct Pump {
    asker: Arc<dyn Asker>,
    closings: Arc<Closings>,
    control: Handle,
    pub(super) patience: Duration,
    pub(super) permits: Arc<Semaphore>,
    /// Places of closes that no session looks after.
    pub(super) strays: Arc<Semaphore>,
    tasks: Tasks,
    under_way: TaskTracker,
}

impl Pump {
    /// More would only queue at the authority; 1,024 in 20 ms each is 50,000 beats a second.
    pub const MOST: usize = 1024;

    /// A call that has not set out after this long counts as failed. With the authority's own time limit
    /// it must stay below [`crate::session::Policy::lane_patience`]: the core has then given the call up,
    /// and a late beat would overlap with its successor.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    pub fn new(asker: Arc<dyn Asker>, control: Handle, tasks: Tasks) -> Self {
        Self {
            asker,
            closings: Arc::default(),
            control,
            patience: Self::PATIENCE,
            permits: Arc::new(Semaphore::new(Self::MOST)),
            strays: Arc::new(Semaphore::new(MAX_STRAYS)),
            tasks,
            under_way: TaskTracker::new(),
        }
    }

    pub(super) fn run(&self, sessions: Arc<Sessions>, asking: Asking) {
        let (closings, strays) = (self.closings.clone(), self.strays());
        // No session holds one for what is given straight back.
        let closing = is_stray(&asking.ask).then(|| closings.begin(&asking.card));
        let known = sessions.known(&asking);
        let latest = sessions.clock.now() + LATEST;
        let work = async move {
            let Asking { ask, card, id, key, place } = asking;
            let asked = sessions.perform(&ask, &card, (key, id), latest, place.as_ref());
            let result = if ask.kind == AskKind::Close {
                // A restart that did not know of it would take what it finds for a kill.
                known.await;
                asked.await
            } else {
                // An open is written down while it travels: nobody acts on its answer before.
                tokio::join!(asked, known).0
            };
            if let Some(closing) = closing {
                strays.look_after(ask.clone(), card.clone(), closing, &result);
            }
            let late = match (ask.kind, &result) {
                (AskKind::Open, Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _))) => Some(grant.clone()),
                (AskKind::Beat | AskKind::Close | AskKind::Open | AskKind::Renew, _) => None,
            };
            let known = sessions.answered(key, id, ask.ticket, ask.kind, result);
            if let Some(grant) = late.filter(|_| !known) {
                // Whoever asked for it is forgotten: nobody else could give it back.
                let closing = closings.begin(&card);
                sessions.pump.give_back(Ask::giving_back(grant, ask.told), card, closing).await;
            }
        };
        self.tasks.spawn_on(&self.control, self.under_way.track_future(work));
    }

    /// Tells the authority whose sessions' players have got something to play by.
    pub(super) fn mark_accepted(&self, device: &mut Device<Kept>) {
        for playback in device.playbacks_mut().filter(|playback| playback.session.is_served()) {
            if playback.session.grant().is_none() {
                // The next one is another place.
                playback.card.accepted = false;
            }
            if let (false, Some(grant)) = (playback.card.accepted, playback.session.grant()) {
                self.asker.accepted(grant, &playback.card.card);
                playback.card.accepted = true;
            }
        }
    }

    /// Under the device's lock, so that an open that is sent after a session has ended knows of it. What its
    /// own device waits for is not given back: the next ones of that device take it.
    pub(super) fn mark_closing(&self, device: &mut Device<Kept>) {
        let asks = device.playbacks().iter().any(|playback| playback.session.is_asking());
        let held = device.playbacks().iter().filter(|playback| playback.session.is_held());
        // One that is being opened may need the place itself.
        let mut awaited = if asks { 0 } else { held.count() };
        for playback in device.playbacks_mut() {
            let gives_back = playback.session.gives_back();
            let is_closing = (gives_back && awaited == 0) || is_provisional(playback);
            awaited -= usize::from(gives_back && awaited > 0);
            match (is_closing, playback.card.closing.is_some()) {
                (true, false) => playback.card.closing = Some(self.closings.begin(&playback.card.card)),
                (false, true) => playback.card.closing = None,
                (true, true) | (false, false) => {}
            }
        }
    }

    pub(super) fn closings(&self) -> &Closings {
        &self.closings
    }

    /// A task on the control runtime that [`Self::idle`] waits for.
    pub(super) fn track(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(&self.control, self.under_way.track_future(work));
    }

    pub(super) fn strays(&self) -> Strays {
        let Self { asker, control, permits, strays, tasks, .. } = self;
        Strays {
            asker: asker.clone(),
            control: control.clone(),
            permits: permits.clone(),
            places: strays.clone(),
            tasks: tasks.clone(),
        }
    }

    /// Resolves at a moment at which no call is under way; the next one may set out right after.
    pub(super) async fn idle(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Makes the close of what no session holds, however long it waits to set out, and has it tried again if it is lost.
    pub(super) async fn give_back(&self, close: Ask, card: Arc<Card>, closing: Closing) {
        let result = {
            let _permit = self.permits.acquire().await;
            self.asker.ask(&close, &card).await
        };
        self.strays().look_after(close, card, closing, &result);
    }

    /// A place among the calls that are under way. None where there is none in time, or not before `latest`.
    async fn set_out(&self, latest: Option<Duration>) -> Option<SemaphorePermit<'_>> {
        let patience = latest.map_or(self.patience, |left| left.min(self.patience));
        tokio::time::timeout(patience, self.permits.acquire()).await.ok()?.ok()
    }

    /// Resolves when another call could start at once.
    pub(super) async fn ready(&self) {
        let _permit = self.permits.acquire().await;
    }
}

/// Its place may be free again within the call: an embedded authority lets it go when the license server declines.
fn is_provisional(playback: &Playback<Kept>) -> bool {
    let session = &playback.session;
    let holds = session.is_active() && session.grant().is_some();
    holds && session.is_unused() && playback.card.card.dialect == Dialect::Embedded
}

/// Of the six seconds of a license call, what the open may spend on waiting for places to come back.
const SETTLING: Duration = Duration::from_secs(2);

/// Later than this after it was asked for, an open is not made a second time: no license call waits so
/// long, and with an authority's longest time limit (7 s) it would outlast the core's patience.
pub(super) const LATEST: Duration = Duration::from_secs(7);

impl Sessions {
    /// One call; and an open that met the limit, or a session of its name, is made once more when a place has been given
    /// back: one of the same account that was on its way back, or one that is given up for it. Not after `latest`.
    async fn perform(
        self: &Arc<Self>,
        ask: &Ask,
        card: &Arc<Card>,
        whose: (DeviceKey, SessionId),
        latest: Instant,
        place: Option<&HeldPlace>,
    ) -> Result<Verdict, Fault> {
        let Pump { asker, closings, .. } = &self.pump;
        if ask.kind != AskKind::Open {
            let Some(_permit) = self.pump.set_out(None).await else { return Err(busy()) };
            return asker.ask(ask, card).await;
        }
        let mut before = closings.of(card);
        let mut result = match self.pump.set_out(None).await {
            Some(_permit) => self.open(ask, card, place).await,
            None => return Err(busy()),
        };
        for may_wait in [true, false] {
            let Ok(Verdict::Denied(denial, _)) = &result else { break };
            let waits_for = before.take().or_else(|| closings.of(card)).filter(|_| may_wait);
            let given_up = denial.may_pass() && waits_for.is_none() && self.make_room(whose, card, *denial);
            let Some(settled) = waits_for.or_else(|| closings.of(card).filter(|_| given_up)) else { break };
            if !denial.may_pass() {
                break;
            }
            // A close that takes longer is in trouble, and the player will not wait for it either.
            let _settled = tokio::time::timeout(SETTLING, settled.wait()).await;
            let left = latest.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                break;
            }
            let Some(permit) = self.pump.set_out(Some(left)).await else { break };
            result = self.open(ask, card, place).await;
            drop(permit);
            self.telemetry.metrics.open_asked_again(&card.authority_name, result_name(&result));
            if given_up {
                break;
            }
        }
        result
    }

    async fn open(self: &Arc<Self>, ask: &Ask, card: &Arc<Card>, place: Option<&HeldPlace>) -> Result<Verdict, Fault> {
        let (result, late) = self.pump.asker.open(ask, card).await;
        if let Some(late) = late {
            self.give_late_grant_back(late, card, place.cloned());
        }
        result
    }
}

fn result_name(result: &Result<Verdict, Fault>) -> &'static str {
    result.as_ref().map_or_else(|fault| fault.kind.name(), Verdict::name)
}

fn busy() -> Fault {
    Fault { kind: FaultKind::Busy, reason: Reason::new(0, None, "too many calls under way") }
}
