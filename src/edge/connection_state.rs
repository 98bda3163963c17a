//! State that a connection's byte stream, service, driver and registry share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::connection_registry::ConnectionRegistry;
use super::permit_pool::Permit;
use super::request_rules::RequestViolation;

pub(super) struct ConnectionState {
    /// Number of requests after which the byte stream is at rest; zero if it is not.
    at_rest_after: AtomicU32,
    /// Held while the connection may bring a request, so that a hand-over waits for it.
    awaited: Mutex<Option<Permit>>,
    /// Zero, or the number of the broken request (from 1) with its violation in the low byte.
    broken: AtomicU64,
    /// Signalled to make room for another connection.
    close: Notify,
    /// The next reply must say that the connection ends with it.
    ends: AtomicBool,
    /// The registry's number since which the connection is idle; valid while no request is served.
    idle_since: AtomicU64,
    /// The head of a request has begun and is not complete.
    mid_head: AtomicBool,
    /// Place among the connections; `None` once another connection has it.
    permit: Mutex<Option<Permit>>,
    /// Pieces of whole replies that the peer has taken.
    pieces_taken: AtomicU32,
    /// Running requests whose body is still arriving.
    receiving: AtomicU32,
    registry: Arc<ConnectionRegistry>,
    requests: AtomicU32,
    running: AtomicU32,
}

impl ConnectionState {
    pub(super) fn new(registry: Arc<ConnectionRegistry>) -> Self {
        Self {
            at_rest_after: AtomicU32::default(),
            awaited: Mutex::default(),
            broken: AtomicU64::default(),
            close: Notify::new(),
            ends: AtomicBool::default(),
            idle_since: AtomicU64::default(),
            mid_head: AtomicBool::default(),
            permit: Mutex::default(),
            pieces_taken: AtomicU32::default(),
            receiving: AtomicU32::default(),
            registry,
            requests: AtomicU32::default(),
            running: AtomicU32::default(),
        }
    }

    /// Notes a violation. Only the first one counts, because the connection ends with it.
    pub(super) fn break_at(&self, request: u32, breach: RequestViolation) {
        self.broken.store((u64::from(request) + 1) << 8 | breach as u64, Ordering::Relaxed);
    }

    /// The first violation of any request.
    pub(super) fn breach(&self) -> Option<RequestViolation> {
        let broken = self.broken.load(Ordering::Relaxed);
        if broken == 0 { None } else { RequestViolation::ALL.get((broken & 0xff) as usize).copied() }
    }

    /// Requests begun so far, and those without an answer.
    pub(super) fn activity(&self) -> (u32, u32) {
        (self.requests.load(Ordering::Relaxed), self.running.load(Ordering::Relaxed))
    }

    pub(super) fn pieces_taken(&self) -> u32 {
        self.pieces_taken.load(Ordering::Relaxed)
    }

    /// Counts the next request, and returns a violation that breaks it. Called once per request, in order.
    pub(super) fn next(&self) -> Option<RequestViolation> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let broken = self.broken.load(Ordering::Relaxed);
        let hit = broken != 0 && u64::from(request) >= (broken >> 8) - 1;
        if hit { self.breach() } else { None }
    }

    /// Notes whether the connection may bring a request; `permit` is held as long as it may.
    pub(super) fn await_request(&self, permit: Option<Permit>) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }

    pub(super) fn await_nothing(&self) {
        self.await_request(None);
    }

    pub(super) fn announce_end(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    pub(super) fn note_head(&self, is_mid_head: bool) {
        self.mid_head.store(is_mid_head, Ordering::Relaxed);
    }

    pub(super) fn is_mid_head(&self) -> bool {
        self.mid_head.load(Ordering::Relaxed)
    }

    /// Notes that the byte stream is at rest after `requests`, or that it is not: zero.
    pub(super) fn note_rest(&self, requests: u32) {
        self.at_rest_after.store(requests, Ordering::Relaxed);
    }

    /// True if every request that has arrived was answered, nothing of a reply waits to be sent, and nothing of another
    /// request is there. Before the first request other deadlines hold.
    pub(super) fn is_at_rest(&self) -> bool {
        let (requests, running) = self.activity();
        requests > 0
            && running == 0
            && self.at_rest_after.load(Ordering::Relaxed) == requests
            && self.receiving.load(Ordering::Relaxed) == 0
            && !self.is_mid_head()
            && !self.is_ending()
    }

    /// True if a call is served. A call with an incomplete body does not count, because its peer may never send the
    /// rest.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > self.receiving.load(Ordering::Relaxed)
    }

    pub(super) fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }

    pub(super) fn idle_from(&self, sequence: u64) {
        self.idle_since.store(sequence, Ordering::Relaxed);
    }

    pub(super) fn occupy(&self, permit: Permit) {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    /// Gives the place back, unless another connection has it.
    pub(super) fn vacate(&self) -> Option<Permit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells the driver to close, and returns the place; `None` if another connection has it already.
    pub(super) fn evict(&self) -> Option<Permit> {
        let permit = self.vacate()?;
        self.close.notify_one();
        Some(permit)
    }

    /// Resolves when the connection must make room.
    pub(super) async fn evicted(&self) {
        self.close.notified().await;
    }

    #[cfg(test)]
    pub(super) fn is_evicted(&self) -> bool {
        self.permit.lock().unwrap().is_none()
    }
}

/// Counts a request as unanswered for as long as it exists.
pub(super) struct UnansweredRequest(Arc<ConnectionState>);

impl UnansweredRequest {
    pub(super) fn begin(line: &Arc<ConnectionState>) -> Self {
        line.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(line))
    }

    /// True if its reply is the connection's last one.
    pub(super) fn is_last(&self) -> bool {
        self.0.is_ending()
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        self.0.idle_from(self.0.registry.stamp());
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A whole reply that its peer takes piece by piece. The call is over, but the connection is not idle while pieces
/// are taken.
pub(super) struct BeingTaken(Arc<ConnectionState>);

impl BeingTaken {
    pub(super) fn after(running: &UnansweredRequest) -> Self {
        Self(Arc::clone(&running.0))
    }

    pub(super) fn took_a_piece(&self) {
        self.0.pieces_taken.fetch_add(1, Ordering::Relaxed);
        self.0.idle_from(self.0.registry.stamp());
    }
}

/// Counts a running request whose body is still arriving, for as long as it exists.
pub(super) struct ReceivingBody(Arc<ConnectionState>);

impl ReceivingBody {
    /// The connection counts as idle from its first incomplete body on. Further bodies or bytes do not make it
    /// younger.
    pub(super) fn begin(line: &Arc<ConnectionState>) -> Self {
        if line.receiving.fetch_add(1, Ordering::Relaxed) == 0 {
            line.idle_from(line.registry.stamp());
        }
        Self(Arc::clone(line))
    }
}

impl Drop for ReceivingBody {
    fn drop(&mut self) {
        self.0.receiving.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> ConnectionState {
        ConnectionState::new(Arc::default())
    }

    #[test]
    fn a_broken_request_is_met_at_its_number() {
        let line = line();
        line.break_at(2, RequestViolation::TargetInvalid);
        assert_eq!([line.next(), line.next()], [None, None]);
        assert_eq!(line.next(), Some(RequestViolation::TargetInvalid));
        assert_eq!(line.next(), Some(RequestViolation::TargetInvalid), "and nothing passes after it");
    }

    #[test]
    fn the_first_breach_has_a_number_too() {
        let line = line();
        line.break_at(0, RequestViolation::BareLineFeed);
        assert_eq!(line.next(), Some(RequestViolation::BareLineFeed));
    }
}
