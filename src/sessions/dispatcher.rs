//! Makes the calls to authorities that the core asks for, each in a task of its own.
//!
//! The tasks run on the control runtime, so a player that hangs up ends nothing. The core has at most one under way
//! per session; at most [`AuthorityDispatcher::MAX_AUTHORITY_CALLS`] are under way in all. An open that waits for a
//! slot to come back does not count, because the close that it waits for must set out.

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
use super::orphaned_grants::{MAX_ORPHANED_GRANTS, OrphanedGrants, is_orphaned};
use super::pending_releases::{PendingRelease, PendingReleases};
use super::session_context::{DeviceKey, SessionContext};
use crate::ids::SessionId;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Device, FaultKind, Grant, Playback, Reason, Verdict};
use crate::store::DialectName;
use crate::task::{HeldPlace, Tasks};

/// A call to an authority that must be made.
#[derive(Debug)]
pub struct DispatchedAsk {
    pub ask: AuthorityAsk,
    pub context: Arc<SessionContext>,
    pub id: SessionId,
    pub key: DeviceKey,
    /// Place of the player's call that caused an open. The player may hang up; the open goes on.
    pub place: Option<HeldPlace>,
}

pub type VerdictFuture<'a> = Pin<Box<dyn Future<Output = Result<Verdict, AuthorityFault>> + Send + 'a>>;

/// An open's verdict, and a late grant if its answer may still come.
pub type OpenFuture<'a> =
    Pin<Box<dyn Future<Output = (Result<Verdict, AuthorityFault>, Option<LateGrant>)> + Send + 'a>>;

/// Resolves when the answer has come or is no longer awaited.
pub type LateGrant = Pin<Box<dyn Future<Output = Option<Grant>> + Send>>;

/// Speaks with the authorities. Every call ends within the authority's time limit.
pub trait AskAuthority: Send + Sync + 'static {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> VerdictFuture<'a>;

    /// Like [`Self::ask`], for an open.
    fn open<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> OpenFuture<'a> {
        Box::pin(async move { (self.ask(ask, context).await, None) })
    }

    /// The session's player has got a license or media. Called once per process and session, under the device's lock,
    /// so it must neither wait nor call back.
    fn accepted(&self, _grant: &Grant, _card: &SessionContext) {}
}

pub struct AuthorityDispatcher {
    pub(super) client: Arc<dyn AskAuthority>,
    pending_releases: Arc<PendingReleases>,
    control: Handle,
    pub(super) stall_timeout: Duration,
    pub(super) permits: Arc<Semaphore>,
    /// Permits for closes that belong to no session.
    pub(super) orphaned_grants: Arc<Semaphore>,
    tasks: Tasks,
    under_way: TaskTracker,
}

impl AuthorityDispatcher {
    /// More calls would only queue at the authority; 1,024 calls of 20 ms are 50,000 beats per second.
    pub const MAX_AUTHORITY_CALLS: usize = 1024;

    /// A call that has not set out after this time has failed. Together with the authority's own time limit it must
    /// stay below [`crate::session::Policy::call_timeout`]. Otherwise the core has given the call up, and a late
    /// beat could overlap with its successor.
    pub const MAX_DISPATCH_WAIT: Duration = Duration::from_secs(5);

    pub fn new(client: Arc<dyn AskAuthority>, control: Handle, tasks: Tasks) -> Self {
        Self {
            client,
            pending_releases: Arc::default(),
            control,
            stall_timeout: Self::MAX_DISPATCH_WAIT,
            permits: Arc::new(Semaphore::new(Self::MAX_AUTHORITY_CALLS)),
            orphaned_grants: Arc::new(Semaphore::new(MAX_ORPHANED_GRANTS)),
            tasks,
            under_way: TaskTracker::new(),
        }
    }

    pub(super) fn run(&self, sessions: Arc<Sessions>, asking: DispatchedAsk) {
        let (pending_releases, orphaned_grants) = (self.pending_releases.clone(), self.orphaned_grants());
        // No session holds a pending release for a grant that is given straight back.
        let closing = is_orphaned(&asking.ask).then(|| pending_releases.begin(&asking.context));
        let known = sessions.known(&asking);
        let latest = sessions.clock.now() + MAX_OPEN_RETRY_AGE;
        let work = async move {
            let DispatchedAsk { ask, context, id, key, place } = asking;
            let asked = sessions.perform(&ask, &context, (key, id), latest, place.as_ref());
            let result = if ask.kind == AskKind::Close {
                // If a restart did not know of the close, it would take its result for a kill.
                known.await;
                asked.await
            } else {
                // An open is written while it travels, and done before its answer is used.
                tokio::join!(asked, known).0
            };
            if let Some(closing) = closing {
                orphaned_grants.look_after(ask.clone(), context.clone(), closing, &result);
            }
            let late = match (ask.kind, &result) {
                (AskKind::Open, Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _))) => Some(grant.clone()),
                (AskKind::Beat | AskKind::Close | AskKind::Open | AskKind::Renew, _) => None,
            };
            let known = sessions.answered(key, id, ask.ticket, ask.kind, result);
            if let Some(grant) = late.filter(|_| !known) {
                // The session is forgotten, so its grant is given back here.
                let closing = pending_releases.begin(&context);
                sessions.dispatcher.give_back(AuthorityAsk::giving_back(grant, ask.told), context, closing).await;
            }
        };
        self.tasks.spawn_on(&self.control, self.under_way.track_future(work));
    }

    /// Tells the authority of sessions whose players have got a license or media.
    pub(super) fn mark_accepted(&self, device: &mut Device<SessionEntry>) {
        for playback in device.playbacks_mut().filter(|playback| playback.session.is_served()) {
            if playback.session.grant().is_none() {
                // The next grant is another slot.
                playback.entry.accepted = false;
            }
            if let (false, Some(grant)) = (playback.entry.accepted, playback.session.grant()) {
                self.client.accepted(grant, &playback.entry.context);
                playback.entry.accepted = true;
            }
        }
    }

    /// Marks slots that are being given back. Done under the device's lock, so that an open that is sent after a
    /// session has ended knows of it. A slot that the own device waits for does not count: its next session takes it.
    pub(super) fn mark_closing(&self, device: &mut Device<SessionEntry>) {
        let asks = device.playbacks().iter().any(|playback| playback.session.is_asking());
        let held = device.playbacks().iter().filter(|playback| playback.session.is_held());
        // A session that is being opened may need the slot itself.
        let mut awaited = if asks { 0 } else { held.count() };
        for playback in device.playbacks_mut() {
            let gives_back = playback.session.gives_back();
            let is_closing = (gives_back && awaited == 0) || is_provisional(playback);
            awaited -= usize::from(gives_back && awaited > 0);
            match (is_closing, playback.entry.rare().is_some_and(|rare| rare.closing.is_some())) {
                (true, false) => {
                    let closing = self.pending_releases.begin(&playback.entry.context);
                    playback.entry.rare_mut().closing = Some(closing);
                }
                (false, true) => playback.entry.rare_mut().closing = None,
                (true, true) | (false, false) => {}
            }
        }
    }

    pub(super) fn pending_releases(&self) -> &PendingReleases {
        &self.pending_releases
    }

    /// Runs a task on the control runtime; [`Self::idle`] waits for it.
    pub(super) fn track(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(&self.control, self.under_way.track_future(work));
    }

    pub(super) fn orphaned_grants(&self) -> OrphanedGrants {
        let Self { client, control, permits, orphaned_grants, tasks, .. } = self;
        OrphanedGrants {
            client: client.clone(),
            control: control.clone(),
            permits: permits.clone(),
            places: orphaned_grants.clone(),
            tasks: tasks.clone(),
        }
    }

    /// Resolves when no call is under way. Another may set out right after.
    pub(super) async fn idle(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Makes the close of a grant without a session, however long it must wait, and retries it if it is lost.
    pub(super) async fn give_back(&self, close: AuthorityAsk, context: Arc<SessionContext>, closing: PendingRelease) {
        let result = {
            let _permit = self.permits.acquire().await;
            self.client.ask(&close, &context).await
        };
        self.orphaned_grants().look_after(close, context, closing, &result);
    }

    /// A permit for a call. `None` if there is none in time, or not before `latest`.
    pub(super) async fn set_out(&self, latest: Option<Duration>) -> Option<SemaphorePermit<'_>> {
        let stall_timeout = latest.map_or(self.stall_timeout, |left| left.min(self.stall_timeout));
        tokio::time::timeout(stall_timeout, self.permits.acquire()).await.ok()?.ok()
    }

    /// Resolves when another call could set out at once.
    pub(super) async fn ready(&self) {
        let _permit = self.permits.acquire().await;
    }
}

/// True if the slot may become free within the call: an embedded authority frees it when the license server declines.
fn is_provisional(playback: &Playback<SessionEntry>) -> bool {
    let session = &playback.session;
    let holds = session.is_active() && session.grant().is_some();
    holds && session.is_unused() && playback.entry.context.dialect == DialectName::Embedded
}

pub(super) fn busy() -> AuthorityFault {
    AuthorityFault { kind: FaultKind::Busy, reason: Reason::without_reply("too many calls under way") }
}
