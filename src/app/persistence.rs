//! Keeps sessions across a restart: opens the journal, restores its records, ends it in order.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::AppFault;
use super::reload::turn_out;
use crate::authority::{self, Authorities};
use crate::clock::Clock;
use crate::config::{self, StoreKind};
use crate::gateway::Routes;
use crate::registrations::Registrations;
use crate::sessions::{RestoreResult, Sessions};
use crate::store::{
    JournalFault, Loaded, RecordJournal, RecordKey, RegistrationRecord, RegistrationStore, SessionRecord, SlotRecord,
    Store, Writer,
};
use crate::task::Tasks;
use crate::telemetry::Telemetry;

/// Time for the last changes at the end of the process.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// Slots of authorities that are not configured any more.
#[derive(Clone, Copy, Default)]
struct UnknownAuthoritySlots {
    dropped: usize,
    kept: usize,
}

/// The journal and its writer, if sessions survive the process.
#[derive(Default)]
pub(super) struct Durable {
    journal: Option<RunningJournal>,
}

struct RunningJournal {
    ended: oneshot::Receiver<()>,
    file: PathBuf,
    journal: Arc<RecordJournal>,
}

impl Drop for RunningJournal {
    /// Always lets go of the file.
    fn drop(&mut self) {
        self.journal.end();
    }
}

/// A journal that is being opened and read on a thread of its own, beside what needs no sessions.
pub(super) struct JournalOpening {
    file: PathBuf,
    opened: JoinHandle<Result<(Arc<RecordJournal>, Writer), JournalFault>>,
}

impl JournalOpening {
    /// `None` if sessions do not survive the process.
    pub(super) fn begin(config: &config::StoreSettings, telemetry: &Arc<Telemetry>) -> Option<Self> {
        let file = match &config.kind {
            StoreKind::Journal(file) => file.clone(),
            StoreKind::Memory => return None,
        };
        let (path, telemetry) = (file.clone(), telemetry.clone());
        Some(Self { file, opened: spawn_blocking(move || RecordJournal::open(&path, telemetry)) })
    }

    pub(super) async fn finish(self, tasks: &Tasks) -> Result<Durable, AppFault> {
        let (journal, writer) = self.opened.await.map_err(|fault| AppFault::Thread(fault.into()))??;
        let ended = tasks.thread("journal", move || writer.run()).map_err(AppFault::Thread)?;
        Ok(Durable { journal: Some(RunningJournal { ended, file: self.file, journal }) })
    }
}

impl Durable {
    /// True if sessions survive the process.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// The journal's file.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.journal.as_ref().map(|running| running.file.clone())
    }

    /// Registrations, kept in the same store as the sessions.
    pub(super) fn registrations(&self, clock: Clock) -> Registrations {
        match self.store() {
            Some(store) => Registrations::kept_in(Box::new(RegistrationStore { clock, store })),
            None => Registrations::default(),
        }
    }

    pub(super) fn store(&self) -> Option<Arc<dyn Store>> {
        self.journal.as_ref().map(|running| running.journal.clone() as Arc<dyn Store>)
    }

    /// Restores everything before anything is served. Embedded authorities come first, because their slots must be
    /// held when the first session goes on.
    pub(super) fn restore(
        &self,
        authorities: &Authorities,
        routes: &Routes,
        registrations: &Registrations,
        sessions: &Arc<Sessions>,
        telemetry: &Telemetry,
    ) {
        let Some(store) = self.store() else { return };
        let clock = sessions.clock();
        let Loaded { registrations: registered, sessions: records, slots } = store.load();
        let registered = take_back(registrations, registered, clock);
        let places = authorities.keep_in(&store, &slots, &records);
        turn_out(authorities, telemetry);
        let places_of_strangers = keep_strangers(&store, authorities, &slots, &records, clock.wall());
        let restored = sessions.restore(records, |context| {
            let known = context.registration.and_then(|id| registrations.find(clock.now(), id));
            routes.home(context, authorities, known)
        });
        authorities.recall(sessions);
        restored.counts().into_iter().for_each(|(result, count)| telemetry.metrics.sessions_restored(result, count));
        let RestoreResult { closing, dropped: _, killed, orphaned, remembered, resumed, stranded: _ } = restored;
        tracing::info!(resumed, closing, killed, orphaned, remembered, places, registered, "sessions restored");
        tell_of_strangers(&restored, places_of_strangers);
    }

    /// Writes the remaining changes and ends. Nothing may be written afterwards.
    pub(super) async fn end(self) {
        let Some(mut running) = self.journal else { return };
        running.journal.end();
        if tokio::time::timeout(LAST_WRITE_TIMEOUT, &mut running.ended).await.is_err() {
            tracing::error!("the journal could not be written to its end");
        }
    }
}

/// Restores registrations before the sessions that use them.
fn take_back(registrations: &Registrations, found: Vec<RegistrationRecord>, clock: Clock) -> usize {
    let wall = clock.wall();
    let found = found.into_iter().map(|record| {
        let unused = wall.saturating_sub(record.used.into());
        (record.restore(), unused)
    });
    registrations.restore(clock.now(), found)
}

/// Keeps slots of authorities that are not configured any more as long as the sessions that claim them, and slots
/// that are kept for a device until their time.
fn keep_strangers(
    store: &Arc<dyn Store>,
    authorities: &Authorities,
    slots: &[SlotRecord],
    records: &[SessionRecord],
    wall: Duration,
) -> UnknownAuthoritySlots {
    let known = |name: &Arc<str>| authorities.by_name(name).is_some_and(|authority| authority.counter().is_some());
    let matter = records.iter().filter(|record| record.playback.session.matters_until() > wall);
    let claims: HashSet<_> =
        matter.filter_map(|record| Some((&record.context.authority, authority::claim(record)?.0))).collect();
    let mut strangers = UnknownAuthoritySlots::default();
    for slot in slots.iter().filter(|slot| !known(&slot.authority)) {
        let waits = slot.kept.as_ref().is_some_and(|kept| Duration::from(kept.until) > wall);
        if waits || claims.contains(&(&slot.authority, slot.slot)) {
            strangers.kept += 1;
        } else {
            strangers.dropped += 1;
            store.forget(RecordKey::Slot(slot.authority.clone(), slot.slot));
        }
    }
    strangers
}

fn tell_of_strangers(restored: &RestoreResult, places: UnknownAuthoritySlots) {
    if restored.stranded + places.kept > 0 {
        tracing::warn!(
            sessions = restored.stranded,
            places = places.kept,
            "kept in the journal: their authority is not configured any more, nobody beats them or gives them back; \
             if that is a mistake, configure one of the same name and kind and restart before they expire"
        );
    }
    if restored.dropped + places.dropped > 0 {
        tracing::warn!(
            sessions = restored.dropped,
            places = places.dropped,
            "dropped from the journal: their authority is not configured any more, and must have let them expire"
        );
    }
}
