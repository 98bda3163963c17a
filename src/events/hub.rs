//! Passes notices to all listeners, and remembers the last ones for listeners that come back.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::notice::{Notice, PlaybackInfo};
use crate::session::SessionEvent;

/// Notices that wait for one listener. Beyond that it misses the oldest.
const MAX_NOTICES_PER_LISTENER: usize = 1024;
/// Notices that are remembered for listeners that come back.
const MAX_NOTICES_REMEMBERED: usize = 256;

#[derive(Debug)]
pub struct EventHub {
    /// Cancelled to end all streams, so that the process can end.
    pub(super) ending: CancellationToken,
    past: Mutex<VecDeque<Arc<Notice>>>,
    sender: broadcast::Sender<Arc<Notice>>,
    /// Number of streams, of operators and of players.
    pub(super) operator_streams: Arc<AtomicUsize>,
    pub(super) streams: Arc<AtomicUsize>,
}

/// The next thing that a listener hears.
#[derive(Clone, Debug)]
pub enum HeardNext {
    /// The listener was too slow and has missed so many notices.
    Missed(u64),
    Notice(Arc<Notice>),
}

/// Hears every notice from its creation on.
#[derive(Debug)]
pub struct Listener {
    past: VecDeque<Arc<Notice>>,
    receiver: broadcast::Receiver<Arc<Notice>>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self {
            ending: CancellationToken::new(),
            operator_streams: Arc::default(),
            past: Mutex::default(),
            sender: broadcast::Sender::new(MAX_NOTICES_PER_LISTENER),
            streams: Arc::default(),
        }
    }
}

impl EventHub {
    /// `at`: wall time since the epoch.
    pub fn publish(&self, playback: &PlaybackInfo<'_>, event: &SessionEvent, at: Duration) {
        let Some(mut notice) = Notice::of(playback, event, at) else { return };
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        // Microseconds since the epoch, so that numbers rise over a restart, too.
        let last = past.back().map_or(0, |notice| notice.number);
        notice.number = (at.as_micros() as u64).max(last + 1);
        let notice = Arc::new(notice);
        if past.len() == MAX_NOTICES_REMEMBERED {
            past.pop_front();
        }
        past.push_back(notice.clone());
        // Without a listener this fails, which is fine. Sent under the lock, so that all listeners see the same
        // order.
        let _listeners = self.sender.send(notice);
    }

    /// Ends every stream, now and in future. Webhooks still hear the events of the end.
    pub fn end_streams(&self) {
        self.ending.cancel();
    }

    /// Listens from now on, or after the notice with number `after`, as far as notices are remembered.
    pub fn listen(&self, after: Option<u64>) -> Listener {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let past = match after {
            Some(after) => past.iter().filter(|notice| notice.number > after).cloned().collect(),
            None => VecDeque::new(),
        };
        Listener { past, receiver }
    }
}

impl Listener {
    /// The next notice; `None` if there will be no more.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<HeardNext> {
        if let Some(notice) = self.past.pop_front() {
            return Some(HeardNext::Notice(notice));
        }
        match self.receiver.recv().await {
            Ok(notice) => Some(HeardNext::Notice(notice)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(HeardNext::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next notice, if it is there already.
    pub fn try_next(&mut self) -> Option<HeardNext> {
        if let Some(notice) = self.past.pop_front() {
            return Some(HeardNext::Notice(notice));
        }
        match self.receiver.try_recv() {
            Ok(notice) => Some(HeardNext::Notice(notice)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(HeardNext::Missed(missed)),
            Err(broadcast::error::TryRecvError::Closed | broadcast::error::TryRecvError::Empty) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::notice::tests::{names, playback};
    use super::*;
    use crate::session::EndReason;

    fn publish(hub: &EventHub, times: u64) {
        let names = names();
        for at in 0..times {
            hub.publish(&playback(&names), &SessionEvent::Closed(EndReason::Stopped), Duration::from_micros(at));
        }
    }

    fn numbers(listener: &mut Listener) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(heard) = listener.try_next() {
            match heard {
                HeardNext::Notice(notice) => numbers.push(notice.number),
                HeardNext::Missed(missed) => panic!("missed {missed}"),
            }
        }
        numbers
    }

    #[test]
    fn numbers_rise_and_a_listener_that_comes_back_misses_nothing() {
        let hub = EventHub::default();
        publish(&hub, 3);
        let mut back = hub.listen(Some(1));
        let mut fresh = hub.listen(None);
        publish(&hub, 1);
        assert_eq!(numbers(&mut back), [2, 3, 4]);
        assert_eq!(numbers(&mut fresh), [4]);
    }

    #[tokio::test]
    async fn a_slow_listener_learns_how_many_events_it_missed() {
        let hub = EventHub::default();
        let mut listener = hub.listen(None);
        publish(&hub, MAX_NOTICES_PER_LISTENER as u64 + 10);
        assert!(matches!(listener.next().await, Some(HeardNext::Missed(10))));
        assert!(matches!(listener.next().await, Some(HeardNext::Notice(_))));
    }

    #[test]
    fn memory_is_bounded() {
        let hub = EventHub::default();
        publish(&hub, MAX_NOTICES_REMEMBERED as u64 * 2);
        assert_eq!(numbers(&mut hub.listen(Some(0))).len(), MAX_NOTICES_REMEMBERED);
    }
}
