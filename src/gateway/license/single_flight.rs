//! Answers equal license calls once: the first one leads, and equal calls that come meanwhile follow it.
//!
//! Chromium repeats a POST whose connection was reset, dash.js may send a challenge twice, and a one-shot content
//! token survives only one license call. The leading call runs in a task of its own, because its caller may hang
//! up. A call goes alone if its device or message is unknown, if too many calls are under way, or if the session
//! of the call to follow has ended.
//!
//! All workers share one instance, which keeps no replies: when a lead finishes, its fingerprint is forgotten
//! before any follower has the reply. No lock is held over an await.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::digest;
use http::{Response, StatusCode};
use tokio::sync::watch;

use crate::edge::ReplyBody;
use crate::edge::own_replies::EdgeRefusal;
use crate::ids::SessionId;
use crate::secret::sha256;
use crate::sessions::DeviceKey;
use crate::telemetry::PlayerCallOutcome;

/// Identifies equal calls. Keeps the whole SHA-256, because an equal call gets the same reply.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::gateway) struct CallFingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl CallFingerprint {
    pub(in crate::gateway) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(sha256(parts))
    }
}

/// The license calls under way, by fingerprint.
pub struct SingleFlight {
    max_calls: usize,
    under_way: Mutex<HashMap<CallFingerprint, FlightEntry>>,
}

#[derive(Clone)]
struct FlightEntry {
    outcome: Arc<watch::Sender<Option<CallOutcome>>>,
    session: Arc<OnceLock<(DeviceKey, SessionId)>>,
}

/// Ways in which a call proceeds.
pub(in crate::gateway) enum FlightRole {
    /// Too many calls are under way.
    Alone,
    Follow(FlightFollower),
    /// The first of its kind. It runs detached, and its caller follows it like any other.
    Lead(FlightLead, FlightFollower),
}

/// Held by the leading call. Dropped before it finishes, it tells the followers that no reply will come.
pub(in crate::gateway) struct FlightLead {
    entry: FlightEntry,
    fingerprint: CallFingerprint,
    flights: Arc<SingleFlight>,
}

/// Waits for the outcome of the leading call.
pub(in crate::gateway) struct FlightFollower {
    outcome: watch::Receiver<Option<CallOutcome>>,
    session: Arc<OnceLock<(DeviceKey, SessionId)>>,
}

impl SingleFlight {
    /// More calls would be a flood; other limits bound those.
    pub const MAX_CALLS: usize = 4096;

    pub fn new(max_calls: usize) -> Arc<Self> {
        Arc::new(Self { max_calls, under_way: Mutex::default() })
    }

    pub(in crate::gateway) fn enter(self: &Arc<Self>, fingerprint: CallFingerprint) -> FlightRole {
        let mut under_way = self.under_way();
        let full = under_way.len() >= self.max_calls;
        match under_way.entry(fingerprint) {
            Entry::Occupied(entry) => FlightRole::Follow(entry.get().follower()),
            Entry::Vacant(_) if full => FlightRole::Alone,
            Entry::Vacant(vacant) => {
                let entry = FlightEntry { outcome: Arc::new(watch::Sender::new(None)), session: Arc::default() };
                let follower = entry.follower();
                vacant.insert(entry.clone());
                FlightRole::Lead(FlightLead { entry, fingerprint, flights: Arc::clone(self) }, follower)
            }
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<CallFingerprint, FlightEntry>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlightEntry {
    fn follower(&self) -> FlightFollower {
        FlightFollower { outcome: self.outcome.subscribe(), session: Arc::clone(&self.session) }
    }
}

impl FlightLead {
    /// Names the session that followers must belong to.
    pub(in crate::gateway) fn bind(&self, session: (DeviceKey, SessionId)) {
        // A call is admitted once, so this is set once.
        let _known = self.entry.session.set(session);
    }

    pub(in crate::gateway) fn finish(self, outcome: CallOutcome) {
        self.forget();
        self.entry.outcome.send_replace(Some(outcome));
    }

    /// True if nobody waits any more. The fingerprint is then forgotten, so nobody can start to wait.
    pub(in crate::gateway) fn give_up(&self) -> bool {
        let mut under_way = self.flights.under_way();
        let deserted = self.entry.outcome.receiver_count() == 0;
        if deserted {
            self.leave(&mut under_way);
        }
        deserted
    }

    /// Resolves when [`Self::give_up`] would return true.
    pub(in crate::gateway) async fn deserted(&self) {
        loop {
            self.entry.outcome.closed().await;
            if self.give_up() {
                return;
            }
        }
    }

    fn forget(&self) {
        self.leave(&mut self.flights.under_way());
    }

    /// Removes this lead's entry. After it gave up, an equal call may have a new entry, which stays.
    fn leave(&self, under_way: &mut HashMap<CallFingerprint, FlightEntry>) {
        let is_own = |entry: &FlightEntry| Arc::ptr_eq(&entry.outcome, &self.entry.outcome);
        if under_way.get(&self.fingerprint).is_some_and(is_own) {
            under_way.remove(&self.fingerprint);
        }
    }
}

impl Drop for FlightLead {
    fn drop(&mut self) {
        self.forget();
    }
}

impl FlightFollower {
    pub(in crate::gateway) fn session(&self) -> Option<(DeviceKey, SessionId)> {
        self.session.get().copied()
    }

    /// `None` if the leading call ended without a reply, by a panic or the end of the process.
    pub(in crate::gateway) async fn outcome(mut self) -> Option<CallOutcome> {
        self.outcome.wait_for(Option::is_some).await.ok()?.clone()
    }
}

pub(in crate::gateway) type CallOutcome = (PlayerCallOutcome, Response<ReplyBody>);

/// Outcome of a leading call that ended without a reply.
pub(in crate::gateway) fn broken_off() -> CallOutcome {
    let refusal = EdgeRefusal {
        // Not 500: players repeat that up to 27 times.
        status: StatusCode::FORBIDDEN,
        error: "internal",
        detail: "the call could not be finished",
        close: false,
    };
    (PlayerCallOutcome::Failed, refusal.reply())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::join;

    use super::*;
    use crate::config::DeviceSource;

    fn outcome(body: &'static str) -> CallOutcome {
        (PlayerCallOutcome::Served, Response::builder().status(201).header("x-a", "b").body(Full::from(body)).unwrap())
    }

    fn fingerprint(name: &str) -> CallFingerprint {
        CallFingerprint::of([name.as_bytes()])
    }

    fn lead(flights: &Arc<SingleFlight>, name: &str) -> (FlightLead, FlightFollower) {
        match flights.enter(fingerprint(name)) {
            FlightRole::Lead(lead, follower) => (lead, follower),
            FlightRole::Alone | FlightRole::Follow(_) => panic!("{name} is no first call"),
        }
    }

    fn follow(flights: &Arc<SingleFlight>, name: &str) -> FlightFollower {
        match flights.enter(fingerprint(name)) {
            FlightRole::Follow(follower) => follower,
            FlightRole::Alone | FlightRole::Lead(..) => panic!("{name} is not under way"),
        }
    }

    async fn text(follower: FlightFollower) -> Option<(u16, String)> {
        let (_, reply) = follower.outcome().await?;
        assert_eq!(reply.headers()["x-a"], "b");
        let (head, body) = reply.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        Some((head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
    }

    #[test]
    fn parts_that_are_cut_elsewhere_have_another_fingerprint() {
        assert_ne!(CallFingerprint::of([b"ab".as_slice(), b"c"]), CallFingerprint::of([b"a".as_slice(), b"bc"]));
        assert_ne!(CallFingerprint::of([b"a".as_slice()]), CallFingerprint::of([b"a".as_slice(), b""]));
        assert_eq!(fingerprint("a"), fingerprint("a"));
    }

    #[tokio::test]
    async fn equal_calls_get_the_one_reply_and_the_next_call_begins_anew() {
        let flights = SingleFlight::new(8);
        let (leading, first) = lead(&flights, "a");
        let (second, (other, _follower)) = (follow(&flights, "a"), lead(&flights, "b"));
        let finish = async { leading.finish(outcome("license")) };
        let (first, second, ()) = join!(text(first), text(second), finish);
        assert_eq!(first, Some((201, "license".to_owned())));
        assert_eq!(first, second);
        drop(lead(&flights, "a"));
        drop(other);
        assert!(flights.under_way().is_empty());
    }

    #[tokio::test]
    async fn a_follower_gets_the_reply_though_the_first_caller_has_gone() {
        let flights = SingleFlight::new(8);
        let (leading, first) = lead(&flights, "a");
        let late = follow(&flights, "a");
        drop(first);
        leading.finish(outcome("license"));
        assert_eq!(text(late).await, Some((201, "license".to_owned())));
    }

    #[tokio::test]
    async fn a_lead_that_breaks_off_leaves_no_follower_waiting() {
        let flights = SingleFlight::new(8);
        let (leading, first) = lead(&flights, "a");
        let second = follow(&flights, "a");
        drop(leading);
        assert!(join!(text(first), text(second)) == (None, None));
        assert!(flights.under_way().is_empty());
    }

    #[test]
    fn a_call_too_many_goes_alone_but_equal_ones_still_follow() {
        let flights = SingleFlight::new(1);
        let (leading, _follower) = lead(&flights, "a");
        assert!(matches!(flights.enter(fingerprint("b")), FlightRole::Alone));
        follow(&flights, "a");
        drop(leading);
        lead(&flights, "b");
    }

    #[test]
    fn a_lead_gives_up_only_without_waiting_calls_and_leaves_its_successor_alone() {
        let flights = SingleFlight::new(8);
        let (leading, first) = lead(&flights, "a");
        let second = follow(&flights, "a");
        drop(first);
        assert!(!leading.give_up());
        drop(second);
        assert!(leading.give_up());
        let (next, _follower) = lead(&flights, "a");
        drop(leading);
        follow(&flights, "a");
        drop(next);
    }

    #[test]
    fn a_later_follower_learns_the_session() {
        let flights = SingleFlight::new(8);
        let (leading, first) = lead(&flights, "a");
        assert!(first.session().is_none());
        let session = (DeviceKey::new("authority", DeviceSource::Header, "device"), SessionId(1));
        leading.bind(session);
        assert_eq!((first.session(), follow(&flights, "a").session()), (Some(session), Some(session)));
    }
}
