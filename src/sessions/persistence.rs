//! Writes changed sessions to the store, and restores them after a restart.
//!
//! A record is made under the device's lock, in the step that changed something that must survive. Policy and dialect
//! come from the configuration again. A new field of the context that must survive needs one in
//! `store::SessionContextRecord`, in [`SessionContext::record`], and where the context is rebuilt ([`RestoreHome`]'s
//! maker in `gateway`).

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::either::Either;

use super::device_table::SessionEntry;
use super::session_context::{DeviceKey, SessionContext};
use super::session_view::SessionPhase;
use super::timeline::{Timeline, TimelineEntry, TimelineEvent};
use super::{DispatchedAsk, Sessions, pending_releases};
use crate::clock::ClockMoment;
use crate::ids::SessionId;
use crate::session::{
    AskKind, Device, DeviceEffects, EndReason, Input, Playback, PlaybackRecord, Role, SessionEvent, StateRecord,
    WrittenStamp,
};
use crate::store::{ChangeMark, RecordKey, SessionContextRecord, SessionRecord, StoredRecord, TimelineRecord};

/// Home of a restored session in today's configuration.
#[derive(Debug)]
pub enum RestoreHome {
    /// The authority is no longer configured, or has another kind, so the session cannot be closed there.
    Gone,
    /// Route and authority still exist.
    Here(Arc<SessionContext>),
    /// The route is gone or has another authority, so the session is given back.
    Leaving(Arc<SessionContext>),
}

/// Results of restoring the sessions of an earlier process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RestoreResult {
    /// Sessions that are being given back to the authority.
    pub closing: usize,
    /// Sessions whose authority is not configured and must have let them expire.
    pub dropped: usize,
    pub killed: usize,
    /// Opens that were under way, with unknown results.
    pub orphaned: usize,
    /// Sessions that are over, kept to answer late calls.
    pub remembered: usize,
    pub resumed: usize,
    /// Sessions that are kept until their authority is configured again or has let them expire.
    pub stranded: usize,
}

/// A disk that takes longer is in trouble, and the call goes on without it.
const RECORD_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

impl Sessions {
    /// True if changes would not survive a restart now.
    pub fn is_store_degraded(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.is_degraded())
    }

    /// Waits until a call to the authority is on disk: an open because of its possible grant, a close because it must
    /// be repeated. Counts from now, not from the first poll.
    pub(super) fn known(&self, asking: &DispatchedAsk) -> impl Future<Output = ()> + Send + use<> {
        let wait = match (asking.ask.kind, &self.store) {
            (AskKind::Close | AskKind::Open, Some(store)) => Some(store.durable()),
            (AskKind::Beat | AskKind::Close | AskKind::Open | AskKind::Renew, _) => None,
        };
        in_time(wait)
    }

    /// Resolves when the session's present state is on disk. A player with a license or with the path of its media
    /// plays, so no crash may lose its session. If this is called before the license is asked for, it costs no time.
    /// Boxed, so that a call without a store has no room for it.
    pub fn written(self: &Arc<Self>, key: DeviceKey, id: SessionId) -> impl Future<Output = ()> + Send + use<> {
        let wait = self.store.as_ref().and_then(|store| {
            let mark = self.table.with(key, |entry| newest_mark(&entry.device, id))?;
            Some(store.durable_up_to(mark))
        });
        match wait {
            Some(wait) => Either::Left(Box::pin(in_time(Some(wait)))),
            None => Either::Right(ready(())),
        }
    }

    /// Resolves when all changes until now are on disk.
    pub fn durable(&self) -> impl Future<Output = ()> + Send + use<> {
        in_time(self.store.as_ref().map(|store| store.durable()))
    }

    /// Writes the sessions that this step has changed.
    pub(super) fn keep(&self, key: DeviceKey, device: &mut Device<SessionEntry>) {
        let Some(store) = &self.store else { return };
        let mut moment = None;
        for playback in device.playbacks_mut() {
            let stamp = WrittenStamp::of(playback);
            match (playback.entry.written().and_then(|written| written.stamp.as_ref()), &stamp) {
                (Some(old), Some(new)) if !old.is_outdated_by(new) => continue,
                (None, None) => continue,
                (Some(_), None) => store.forget(RecordKey::Session(playback.id)),
                (Some(_) | None, Some(_)) => {
                    let moment = *moment.get_or_insert_with(|| self.clock.moment());
                    let written = playback.entry.written().and_then(|written| written.record.clone());
                    let context = written.unwrap_or_else(|| playback.entry.context.record());
                    let timeline = playback.entry.timeline.record();
                    if let Some(record) = PlaybackRecord::of(playback, &moment) {
                        let record = SessionRecord { context, device: key.0, playback: record, timeline };
                        store.put(StoredRecord::Session(Box::new(record)));
                        playback.entry.written_mut().mark = Some(store.mark());
                    }
                }
            }
            playback.entry.written_mut().stamp = stamp;
        }
    }

    /// Writes the players' playheads at the end of the process. They are not written as often as they are reported.
    pub(super) fn keep_playheads(&self) {
        let moved = |key, playback: &Playback<SessionEntry>| {
            let newer = WrittenStamp::of(playback)?;
            let written = playback.entry.written()?.stamp.as_ref()?;
            written.has_moved(&newer, Duration::ZERO).then_some((key, playback.id))
        };
        for (key, id) in self.table.collect(moved) {
            self.table.with(key, |entry| {
                if let Some(playback) = entry.device.playback_mut(id) {
                    playback.entry.written_mut().stamp = None;
                }
                self.keep(key, &mut entry.device);
            });
        }
    }

    /// Removes a forgotten playback's record.
    pub(super) fn forget(&self, id: SessionId) {
        self.killed_tokens.remove(id);
        if let Some(store) = &self.store {
            store.forget(RecordKey::Session(id));
        }
    }

    /// Restores the sessions of an earlier process before anything is served: they go on with their newest token, and
    /// closes are sent again. `home` finds each its place in the configuration.
    pub fn restore(
        self: &Arc<Self>,
        mut records: Vec<SessionRecord>,
        home: impl Fn(&SessionContextRecord) -> RestoreHome,
    ) -> RestoreResult {
        records.sort_by_key(|record| record.playback.began);
        let moment = self.clock.moment();
        let (mut leaving, mut shared) = (Vec::new(), Vec::new());
        let mut restored = RestoreResult::default();
        for record in &records {
            let id = record.playback.id;
            let (context, leaves) = match home(&record.context) {
                RestoreHome::Gone => {
                    self.strand(record, moment.wall, &mut restored);
                    continue;
                }
                RestoreHome::Here(context) => (context, false),
                RestoreHome::Leaving(context) => (context, true),
            };
            let key = DeviceKey(record.device);
            self.with(key, |device, out| {
                self.take_back(device, record, context, &moment, out);
                restored.count(device, id, record.playback.session.is_orphan());
            });
            leaving.extend(leaves.then_some((key, id)));
            shared.extend((record.playback.role != Role::Alone).then_some(key));
        }
        shared.sort_unstable();
        shared.dedup();
        for key in shared {
            self.with(key, |device, out| device.rejoin(self.clock.now().into(), |kept| kept.context.policy(), out));
        }
        for (key, id) in leaving {
            self.deliver(key, id, Input::End(EndReason::Stopped));
        }
        restored
    }

    /// Keeps the record of a session that cannot be given back today, because a later start may correct its
    /// authority's name. A session that is over holds nothing.
    fn strand(&self, record: &SessionRecord, wall: Duration, restored: &mut RestoreResult) {
        let session = &record.playback.session;
        let holds = session.grant.is_some();
        let over = match session.state {
            StateRecord::Closed { .. } => true,
            StateRecord::Killed { .. } => !holds,
            StateRecord::Closing { .. }
            | StateRecord::Failing { .. }
            | StateRecord::Live { .. }
            | StateRecord::Opening { .. }
            | StateRecord::Owing { .. } => false,
        };
        let kept = record.playback.session.matters_until() > wall;
        let counts = !over && session.shares.is_none();
        *(if kept { &mut restored.stranded } else { &mut restored.dropped }) += usize::from(counts);
        if let Some(store) = self.store.as_ref().filter(|_| !kept) {
            store.forget(RecordKey::Session(record.playback.id));
        }
    }

    fn take_back(
        &self,
        device: &mut Device<SessionEntry>,
        record: &SessionRecord,
        context: Arc<SessionContext>,
        moment: &ClockMoment,
        out: &mut DeviceEffects,
    ) {
        let policy = context.policy();
        let mut kept = SessionEntry::new(self.content_names.share_content(&context));
        kept.written_mut().record = Some(record.context.clone());
        kept.timeline = Timeline::restore(&record.timeline);
        let mut playback = record.playback.restore(kept, moment, &policy);
        playback.account = pending_releases::account_name(&playback.entry.context);
        let orphan = record.playback.session.is_orphan();
        // Unchanged sessions are not rewritten, which would rewrite the whole journal. An orphaned open is, so that
        // it is not restored twice.
        playback.entry.written_mut().stamp = WrittenStamp::of(&playback).filter(|_| !orphan);
        device.resume(playback, moment.now.into(), orphan, &policy, out);
        if let (Some(playback), Some(store)) = (device.playback_mut(record.playback.id), &self.store)
            && WrittenStamp::of(playback).is_none()
        {
            store.forget(RecordKey::Session(record.playback.id));
        }
    }
}

impl RestoreResult {
    fn count(&mut self, device: &mut Device<SessionEntry>, id: SessionId, orphan: bool) {
        let Some(playback) = device.playback_mut(id).filter(|playback| playback.shares().is_none()) else { return };
        *match SessionPhase::of(playback.session.state()) {
            SessionPhase::Closed if orphan => &mut self.orphaned,
            SessionPhase::Closed => &mut self.remembered,
            SessionPhase::Closing => &mut self.closing,
            SessionPhase::Killed => &mut self.killed,
            SessionPhase::Failing
            | SessionPhase::Live
            | SessionPhase::Opening
            | SessionPhase::Owing
            | SessionPhase::Waiting => &mut self.resumed,
        } += 1;
    }

    /// The counts with their names in metrics.
    pub fn counts(&self) -> [(&'static str, usize); 7] {
        let Self { closing, dropped, killed, orphaned, remembered, resumed, stranded } = *self;
        [
            ("closing", closing),
            ("dropped", dropped),
            ("killed", killed),
            ("orphaned", orphaned),
            ("remembered", remembered),
            ("resumed", resumed),
            ("stranded", stranded),
        ]
    }
}

/// The newest mark of the playback and of the session that it shares.
fn newest_mark(device: &Device<SessionEntry>, id: SessionId) -> Option<ChangeMark> {
    let of = |id| device.playbacks().iter().find(|playback| playback.id == id);
    let playback = of(id)?;
    let session = playback.shares().and_then(of);
    [Some(playback), session].into_iter().flatten().filter_map(|playback| playback.entry.written()?.mark).max()
}

async fn in_time(wait: Option<impl Future<Output = ()>>) {
    if let Some(wait) = wait {
        let _slow = tokio::time::timeout(RECORD_WRITE_TIMEOUT, wait).await;
    }
}

impl Timeline {
    fn record(&self) -> TimelineRecord {
        let core = |TimelineEntry { at, what }| match what {
            TimelineEvent::Core(event) => Some((at.into(), event)),
            // The mirror begins anew, and calls are not kept.
            TimelineEvent::Call(_) | TimelineEvent::Eme(_) => None,
        };
        TimelineRecord { beats: self.beats(), entries: self.entries().filter_map(core).collect() }
    }

    fn restore(record: &TimelineRecord) -> Self {
        let mut timeline = Self::with_beats(record.beats);
        let told = |event: &SessionEvent| !matches!(event, SessionEvent::Beat | SessionEvent::Renewed);
        record
            .entries
            .iter()
            .filter(|(_, event)| told(event))
            .for_each(|(at, event)| timeline.add((*at).into(), event.clone()));
        timeline
    }
}
