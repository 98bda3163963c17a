//! Makes the calls to authorities that the core asks for, each in a task of its own.
//!
//! The tasks run on the control runtime, whoever caused them: a player that hangs up ends nothing.
//! At most one is under way per session, which the core sees to, and at most [`AuthorityDispatcher::MAX_AUTHORITY_CALLS`] for all. An open that waits
//! for a place to come back is not under way: the close that it waits for has to set out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

use super::Sessions;
use super::device_table::SessionEntry;
use super::opening::MAX_OPEN_RETRY_AGE;
use super::orphaned_grants::{MAX_ORPHANED_GRANTS, OrphanedGrants, is_stray};
use super::pending_releases::{PendingRelease, PendingReleases};
use super::session_context::{DeviceKey, SessionContext};
use crate::ids::SessionId;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Device, FaultKind, Grant, Playback, Reason, Verdict};
use crate::store::DialectName;
use crate::task::{HeldPlace, Tasks};

/// A call to an authority that is to be made.
#[derive(Debug)]
pub struct DispatchedAsk {
    pub ask: AuthorityAsk,
    pub card: Arc<SessionContext>,
    pub id: SessionId,
    pub key: DeviceKey,
    /// Of the player's call for which an open is made: the player may hang up, the open goes on.
    pub place: Option<HeldPlace>,
}

pub type VerdictFuture<'a> = Pin<Box<dyn Future<Output = Result<Verdict, AuthorityFault>> + Send + 'a>>;

/// An open's verdict; and where its answer may come yet, what that grants.
pub type OpenFuture<'a> =
    Pin<Box<dyn Future<Output = (Result<Verdict, AuthorityFault>, Option<LateGrant>)> + Send + 'a>>;

/// Resolves when the answer has come, or is waited for no more.
pub type LateGrant = Pin<Box<dyn Future<Output = Option<Grant>> + Send>>;

/// Who speaks with the authorities. Every call ends within the authority's time limit.
pub trait AskAuthority: Send + Sync + 'static {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, card: &'a SessionContext) -> VerdictFuture<'a>;

    /// As [`Self::ask`], for an open.
    fn open<'a>(&'a self, ask: &'a AuthorityAsk, card: &'a SessionContext) -> OpenFuture<'a> {
        Box::pin(async move { (self.ask(ask, card).await, None) })
    }

    /// The session's player has got something to play by: a license, or media. Told once a process, under the device's
    /// lock: it must neither wait nor call back.
    fn accepted(&self, _grant: &Grant, _card: &SessionContext) {}
}

pub struct AuthorityDispatcher {
    pub(super) asker: Arc<dyn AskAuthority>,
    closings: Arc<PendingReleases>,
    control: Handle,
    pub(super) patience: Duration,
    pub(super) permits: Arc<Semaphore>,
    /// Places of closes that no session looks after.
    pub(super) strays: Arc<Semaphore>,
    tasks: Tasks,
    under_way: TaskTracker,
}

impl AuthorityDispatcher {
    /// More would only queue at the authority; 1,024 in 20 ms each is 50,000 beats a second.
    pub const MAX_AUTHORITY_CALLS: usize = 1024;

    /// A call that has not set out after this long counts as failed. With the authority's own time limit
    /// it must stay below [`crate::session::Policy::lane_patience`]: the core has then given the call up,
    /// and a late beat would overlap with its successor.
    pub const MAX_DISPATCH_WAIT: Duration = Duration::from_secs(5);

    pub fn new(asker: Arc<dyn AskAuthority>, control: Handle, tasks: Tasks) -> Self {
        Self {
            asker,
            closings: Arc::default(),
            control,
            patience: Self::MAX_DISPATCH_WAIT,
            permits: Arc::new(Semaphore::new(Self::MAX_AUTHORITY_CALLS)),
            strays: Arc::new(Semaphore::new(MAX_ORPHANED_GRANTS)),
            tasks,
            under_way: TaskTracker::new(),
        }
    }

    pub(super) fn run(&self, sessions: Arc<Sessions>, asking: DispatchedAsk) {
        let (closings, strays) = (self.closings.clone(), self.strays());
        // No session holds one for what is given straight back.
        let closing = is_stray(&asking.ask).then(|| closings.begin(&asking.card));
        let known = sessions.known(&asking);
        let latest = sessions.clock.now() + MAX_OPEN_RETRY_AGE;
        let work = async move {
            let DispatchedAsk { ask, card, id, key, place } = asking;
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
                sessions.pump.give_back(AuthorityAsk::giving_back(grant, ask.told), card, closing).await;
            }
        };
        self.tasks.spawn_on(&self.control, self.under_way.track_future(work));
    }

    /// Tells the authority whose sessions' players have got something to play by.
    pub(super) fn mark_accepted(&self, device: &mut Device<SessionEntry>) {
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
    pub(super) fn mark_closing(&self, device: &mut Device<SessionEntry>) {
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

    pub(super) fn closings(&self) -> &PendingReleases {
        &self.closings
    }

    /// A task on the control runtime that [`Self::idle`] waits for.
    pub(super) fn track(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(&self.control, self.under_way.track_future(work));
    }

    pub(super) fn strays(&self) -> OrphanedGrants {
        let Self { asker, control, permits, strays, tasks, .. } = self;
        OrphanedGrants {
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
    pub(super) async fn give_back(&self, close: AuthorityAsk, card: Arc<SessionContext>, closing: PendingRelease) {
        let result = {
            let _permit = self.permits.acquire().await;
            self.asker.ask(&close, &card).await
        };
        self.strays().look_after(close, card, closing, &result);
    }

    /// A place among the calls that are under way. None where there is none in time, or not before `latest`.
    pub(super) async fn set_out(&self, latest: Option<Duration>) -> Option<SemaphorePermit<'_>> {
        let patience = latest.map_or(self.patience, |left| left.min(self.patience));
        tokio::time::timeout(patience, self.permits.acquire()).await.ok()?.ok()
    }

    /// Resolves when another call could start at once.
    pub(super) async fn ready(&self) {
        let _permit = self.permits.acquire().await;
    }
}

/// Its place may be free again within the call: an embedded authority lets it go when the license server declines.
fn is_provisional(playback: &Playback<SessionEntry>) -> bool {
    let session = &playback.session;
    let holds = session.is_active() && session.grant().is_some();
    holds && session.is_unused() && playback.card.card.dialect == DialectName::Embedded
}

pub(super) fn busy() -> AuthorityFault {
    AuthorityFault { kind: FaultKind::Busy, reason: Reason::new(0, None, "too many calls under way") }
}
