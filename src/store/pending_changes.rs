//! Changes that wait for the store: one per key, the last one wins, taken in groups.
//!
//! Players' calls add changes under their device's lock; one writer takes them. A [`ChangeMark`] counts the changes.
//! Waiting for one wakes the writer at once; other changes may gather for a while.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::record::{RecordKey, StoredRecord};
use crate::clock::Clock;

/// The number of changes at a moment.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ChangeMark(u64);

/// The newest change of each key; `None` removes the record.
pub(super) type ChangeSet = HashMap<RecordKey, Option<StoredRecord>>;

/// Changes that wait while the disk cannot be written. New records are bounded elsewhere, removals are not. A removal
/// beyond this bound is dropped, so that the next start finds the record as last written.
const MAX_PENDING_CHANGES: usize = if cfg!(test) { 1_000 } else { 1_000_000 };

#[derive(Debug, Default)]
pub struct PendingChanges {
    degraded: AtomicBool,
    state: Mutex<PendingState>,
    stir: Condvar,
}

#[derive(Debug, Default)]
struct PendingState {
    added: ChangeMark,
    changes: ChangeSet,
    ended: bool,
    /// The changes that are durable, or given up for now.
    settled: ChangeMark,
    /// Time at which the writer last took changes.
    taken: Option<Instant>,
    /// The marks that are waited for, woken in this order.
    waiting: Vec<(ChangeMark, oneshot::Sender<()>)>,
    /// The highest mark that is waited for.
    wanted: ChangeMark,
}

impl PendingChanges {
    pub fn add(&self, key: RecordKey, record: Option<StoredRecord>) {
        let mut state = self.state();
        let first = state.changes.is_empty();
        if record.is_none() && state.changes.len() >= MAX_PENDING_CHANGES {
            state.changes.remove(&key);
        } else {
            state.changes.insert(key, record);
        }
        state.added.0 += 1;
        drop(state);
        if first {
            self.stir.notify_all();
        }
    }

    pub fn mark(&self) -> ChangeMark {
        self.state().added
    }

    /// See `durable` of the store. The mark is taken now, not at the first poll.
    pub fn durable(&self) -> impl Future<Output = ()> + Send + use<> {
        self.durable_up_to(self.mark())
    }

    /// Like [`Self::durable`], up to this mark. Wakes the writer at once.
    pub fn durable_up_to(&self, mark: ChangeMark) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state();
        let waits = (state.settled < mark && !self.is_degraded()).then(oneshot::channel).map(|(tell, told)| {
            state.wanted = state.wanted.max(mark);
            if state.waiting.len() == state.waiting.capacity() {
                // Every call waits a while for a disk that hangs, so abandoned waits are removed before the list
                // grows.
                state.waiting.retain(|(_, tell)| !tell.is_closed());
            }
            state.waiting.push((mark, tell));
            self.stir.notify_all();
            told
        });
        drop(state);
        async move {
            if let Some(told) = waits {
                // A writer that has ended writes nothing any more.
                let _gone = told.await;
            }
        }
    }

    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Acquire)
    }

    pub fn len(&self) -> usize {
        self.state().changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets the writer take the remaining changes and end.
    pub fn end(&self) {
        self.state().ended = true;
        self.stir.notify_all();
    }

    /// All changes so far, and the mark to settle when they are safe.
    pub(super) fn take(&self) -> (ChangeSet, ChangeMark) {
        let mut state = self.state();
        (mem::take(&mut state.changes), state.added)
    }

    /// Like [`Self::take`], but at least `apart` after the last time. Then returns at once if a mark is waited for,
    /// else when changes have gathered. `None` at the end.
    pub(super) fn take_next(&self, apart: Duration, gathers: Duration) -> Option<(ChangeSet, ChangeMark)> {
        let state = self.state();
        let idle = |state: &mut PendingState| state.changes.is_empty() && !state.ended;
        let state = self.stir.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        // The machine's clock: this thread waits on a condition variable, which no paused runtime moves.
        let since = state.taken.map_or(apart, |taken| Clock.now().saturating_duration_since(taken));
        let running = |state: &mut PendingState| !state.ended;
        let (state, _) = self
            .stir
            .wait_timeout_while(state, apart.saturating_sub(since), running)
            .unwrap_or_else(PoisonError::into_inner);
        let calm = |state: &mut PendingState| state.wanted <= state.settled && !state.ended;
        let (mut state, _) = self.stir.wait_timeout_while(state, gathers, calm).unwrap_or_else(PoisonError::into_inner);
        state.taken = Some(Clock.now());
        let changes = mem::take(&mut state.changes);
        (!changes.is_empty()).then_some((changes, state.added))
    }

    /// Waits for a time before the next try, but not beyond the end.
    pub(super) fn rest(&self, time: Duration) {
        let calm = |state: &mut PendingState| !state.ended;
        drop(self.stir.wait_timeout_while(self.state(), time, calm));
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Returns changes that could not be written. Newer changes of the same keys win.
    pub(super) fn give_back(&self, changes: ChangeSet) {
        let mut state = self.state();
        for (key, record) in changes {
            state.changes.entry(key).or_insert(record);
        }
    }

    /// Notes that all changes up to this mark are as safe as possible for now.
    pub(super) fn settle(&self, mark: ChangeMark, degraded: bool) {
        self.degraded.store(degraded, Ordering::Release);
        let mut state = self.state();
        state.settled = state.settled.max(mark);
        let (safe, waiting) = mem::take(&mut state.waiting).into_iter().partition(|(of, _)| *of <= mark);
        state.waiting = waiting;
        drop(state);
        let _gone: Vec<_> = Vec::into_iter(safe).map(|(_, tell)| tell.send(())).collect();
    }

    fn state(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);
    const KEY: RecordKey = RecordKey::Session(crate::ids::SessionId(1));

    #[test]
    fn an_awaited_change_is_written_at_once_when_it_is_calm() {
        let pending = PendingChanges::default();
        pending.add(KEY, None);
        let _waits = pending.durable();
        let (changes, mark) = pending.take_next(NEVER, NEVER).unwrap();
        assert_eq!((changes.len(), mark), (1, ChangeMark(1)));
        pending.settle(mark, false);
        // Nor does it wait for what came while the last ones were written.
        pending.add(KEY, None);
        let _waits = pending.durable();
        assert_eq!(pending.take_next(Duration::ZERO, NEVER).unwrap().1, ChangeMark(2));
    }

    /// A license waits for the record of its own session, which came too late for this transaction.
    #[tokio::test]
    async fn a_waiter_goes_on_with_its_own_mark_and_not_with_an_earlier_one() {
        let pending = PendingChanges::default();
        pending.add(KEY, None);
        let early = pending.durable();
        let (_, first) = pending.take();
        pending.add(KEY, None);
        let mut late = Box::pin(pending.durable());
        pending.settle(first, false);
        early.await;
        let still_waits = std::future::poll_fn(|cx| std::task::Poll::Ready(late.as_mut().poll(cx).is_pending())).await;
        assert!(still_waits, "its change is not written yet");
        let (changes, second) = pending.take();
        assert_eq!(changes.len(), 1);
        // A transaction that failed lets it go on as well: nobody is held up by a full disk.
        pending.settle(second, true);
        late.await;
        assert!(pending.is_degraded());
    }

    #[test]
    fn a_change_made_during_a_failing_write_wins_over_the_one_that_failed() {
        let other = RecordKey::Session(crate::ids::SessionId(2));
        let record = |device: &str| {
            let (ended, held, kept, authority) = (None, None, None, device.into());
            Some(StoredRecord::Slot(Box::new(crate::store::SlotRecord { authority, ended, held, kept, slot: 1 })))
        };
        let device = |record: &Option<StoredRecord>| match record {
            Some(StoredRecord::Slot(slot)) => Some(slot.authority.to_string()),
            Some(StoredRecord::Registration(_) | StoredRecord::Session(_)) | None => None,
        };
        let pending = PendingChanges::default();
        pending.add(KEY, record("old"));
        pending.add(other.clone(), record("alone"));
        let (failed, mark) = pending.take();
        // What is forgotten meanwhile is a change as any other.
        for newer in [record("new"), None] {
            pending.add(KEY, newer.clone());
            pending.give_back(failed.clone());
            pending.settle(mark, true);
            let (again, newest) = pending.take();
            assert_eq!((device(&again[&KEY]), device(&again[&other])), (device(&newer), Some("alone".to_owned())));
            assert!(newest > mark);
        }
    }

    /// A disk that hangs for hours is waited for by every call, for a second each.
    #[test]
    fn an_abandoned_wait_is_not_kept() {
        let pending = PendingChanges::default();
        pending.add(KEY, None);
        let _waits = pending.durable();
        (0..10_000).for_each(|_| drop(pending.durable()));
        assert!(pending.state().waiting.len() < 100);
    }

    /// A disk that cannot be written for days.
    #[test]
    fn removals_fill_no_memory_while_the_disk_is_full() {
        let pending = PendingChanges::default();
        let key = |number| RecordKey::Session(crate::ids::SessionId(number));
        (0..10 * MAX_PENDING_CHANGES as u64).for_each(|number| pending.add(key(number), None));
        assert_eq!(pending.len(), MAX_PENDING_CHANGES);
        let record = crate::store::SlotRecord { authority: "a".into(), ended: None, held: None, kept: None, slot: 1 };
        pending.add(KEY, Some(StoredRecord::Slot(Box::new(record))));
        pending.add(KEY, None);
        assert!(
            pending.len() <= MAX_PENDING_CHANGES && !pending.take().0.contains_key(&KEY),
            "it is over: not written as it was"
        );
    }

    #[test]
    fn an_end_waits_for_nothing_and_takes_the_rest() {
        let pending = PendingChanges::default();
        pending.add(KEY, None);
        let _waits = pending.durable();
        assert!(pending.take_next(NEVER, NEVER).is_some());
        pending.add(KEY, None);
        pending.end();
        assert_eq!(pending.take_next(NEVER, NEVER).unwrap().1, ChangeMark(2));
        assert!(pending.take_next(NEVER, NEVER).is_none());
    }
}
