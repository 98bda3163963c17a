//! Answers equal license calls once: the first one leads, and equal calls that come meanwhile follow it.
//!
//! Chromium repeats a POST whose connection was reset, dash.js may send a challenge twice, and a one-shot content
//! token survives only one license call. The leading call runs in its caller's place. When that caller hangs up, the
//! call is moved into a task with the rest of the reply (`task::CarriedCall`), and goes on as long as somebody waits
//! for it. A call goes alone if its device or message is unknown, if too many calls are under way, or if the session
//! of the call to follow has ended.
//!
//! A hash finds the call to follow, and the bytes of both decide whether they are equal: a hash that two calls share
//! lets the second go alone. All workers share one instance, which keeps no replies: when a lead finishes, its call is
//! forgotten before any follower has the reply. No lock is held over an await.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use foldhash::fast::RandomState;
use http::{Response, StatusCode};
use tokio::sync::watch;

use super::request::LicenseRequest;
use crate::edge::ReplyBody;
use crate::edge::own_replies::EdgeRefusal;
use crate::ids::SessionId;
use crate::sessions::DeviceKey;
use crate::task::HangUp;
use crate::telemetry::PlayerCallOutcome;

/// The license calls under way, by the hash of what makes calls equal.
pub struct SingleFlight {
    /// Its keys are drawn anew in each process.
    hashes: RandomState,
    max_calls: usize,
    under_way: Mutex<FlightMap>,
}

type FlightMap = HashMap<u64, FlightEntry, RandomState>;
type OutcomeSender = watch::Sender<Option<CallOutcome>>;

struct FlightEntry {
    call: Arc<LicenseRequest>,
    /// Made by the first follower.
    followers: Option<Arc<OutcomeSender>>,
    /// The session that followers must belong to.
    session: Option<(DeviceKey, SessionId)>,
}

/// Ways in which a call proceeds.
pub(in crate::gateway) enum FlightRole {
    /// Too many calls are under way, or another call has the same hash.
    Alone,
    Follow(FlightFollower),
    /// The first of its kind.
    Lead(FlightLead),
}

/// Held by the leading call. Dropped before it finishes, it tells the followers that no reply will come.
pub(in crate::gateway) struct FlightLead {
    call: Arc<LicenseRequest>,
    flights: Arc<SingleFlight>,
    /// Tells whether the lead's own caller is gone.
    hang_up: HangUp,
    hash: u64,
}

/// Waits for the outcome of the leading call.
pub(in crate::gateway) struct FlightFollower {
    outcome: watch::Receiver<Option<CallOutcome>>,
    session: Option<(DeviceKey, SessionId)>,
}

impl SingleFlight {
    /// More calls would be a flood; other limits bound those.
    pub const MAX_CALLS: usize = 4096;

    pub fn new(max_calls: usize) -> Arc<Self> {
        Arc::new(Self { hashes: RandomState::default(), max_calls, under_way: Mutex::default() })
    }

    pub(in crate::gateway) fn enter(self: &Arc<Self>, call: &Arc<LicenseRequest>, hang_up: &HangUp) -> FlightRole {
        self.enter_by(self.hash_of(call), call, hang_up)
    }

    fn enter_by(self: &Arc<Self>, hash: u64, call: &Arc<LicenseRequest>, hang_up: &HangUp) -> FlightRole {
        let mut under_way = self.under_way();
        let full = under_way.len() >= self.max_calls;
        match under_way.entry(hash) {
            Entry::Occupied(mut entry) if entry.get().call.is_equal(call) => {
                FlightRole::Follow(entry.get_mut().follower())
            }
            Entry::Occupied(_) => FlightRole::Alone,
            Entry::Vacant(_) if full => FlightRole::Alone,
            Entry::Vacant(vacant) => {
                vacant.insert(FlightEntry { call: call.clone(), followers: None, session: None });
                // `max_calls` bounds the leads: those of a slow license server must not take the places of stop calls.
                hang_up.need_no_place();
                let (call, flights) = (call.clone(), Arc::clone(self));
                FlightRole::Lead(FlightLead { call, flights, hang_up: hang_up.clone(), hash })
            }
        }
    }

    fn hash_of(&self, call: &LicenseRequest) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        call.hash_into(&mut hasher);
        hasher.finish()
    }

    fn under_way(&self) -> MutexGuard<'_, FlightMap> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlightEntry {
    fn follower(&mut self) -> FlightFollower {
        let outcome = self.followers.get_or_insert_with(|| Arc::new(OutcomeSender::new(None))).subscribe();
        FlightFollower { outcome, session: self.session }
    }

    fn is_followed(&self) -> bool {
        self.followers.as_ref().is_some_and(|outcome| outcome.receiver_count() > 0)
    }
}

impl FlightLead {
    /// Names the session that followers must belong to.
    pub(in crate::gateway) fn bind(&self, session: (DeviceKey, SessionId)) {
        if let Some(entry) = self.own(&mut self.flights.under_way()) {
            entry.session = Some(session);
        }
    }

    /// Gives the outcome to the followers, and hands it back for the lead's own caller.
    pub(in crate::gateway) fn finish(self, outcome: CallOutcome) -> CallOutcome {
        let entry = self.leave(&mut self.flights.under_way());
        if let Some(followers) = entry.and_then(|entry| entry.followers) {
            followers.send_replace(Some(outcome.clone()));
        }
        outcome
    }

    /// True if nobody waits any more. The call is then forgotten, so nobody can start to wait.
    pub(in crate::gateway) fn give_up(&self) -> bool {
        if !self.hang_up.is_gone() {
            return false;
        }
        let mut under_way = self.flights.under_way();
        let is_followed = self.own(&mut under_way).is_some_and(|entry| entry.is_followed());
        if !is_followed {
            self.leave(&mut under_way);
        }
        !is_followed
    }

    /// Resolves when [`Self::give_up`] would return true. The hang-up moves the call into a task, which polls this.
    pub(in crate::gateway) async fn deserted(&self) {
        poll_fn(|_| if self.hang_up.is_gone() { Poll::Ready(()) } else { Poll::Pending }).await;
        while !self.give_up() {
            let followers = self.own(&mut self.flights.under_way()).and_then(|entry| entry.followers.clone());
            if let Some(followers) = followers {
                followers.closed().await;
            }
        }
    }

    /// This lead's entry. After it gave up, an equal call may have a new one.
    fn own<'a>(&self, under_way: &'a mut FlightMap) -> Option<&'a mut FlightEntry> {
        under_way.get_mut(&self.hash).filter(|entry| Arc::ptr_eq(&entry.call, &self.call))
    }

    fn leave(&self, under_way: &mut FlightMap) -> Option<FlightEntry> {
        self.own(under_way)?;
        under_way.remove(&self.hash)
    }
}

impl Drop for FlightLead {
    fn drop(&mut self) {
        // The followers are told outside of the lock.
        let entry = self.leave(&mut self.flights.under_way());
        drop(entry);
    }
}

impl FlightFollower {
    pub(in crate::gateway) fn session(&self) -> Option<(DeviceKey, SessionId)> {
        self.session
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
    use crate::task::{CarriedCall, Tasks};

    fn outcome(body: &'static str) -> CallOutcome {
        (PlayerCallOutcome::Served, Response::builder().status(201).header("x-a", "b").body(Full::from(body)).unwrap())
    }

    fn call(name: &str) -> Arc<LicenseRequest> {
        Arc::new(LicenseRequest::with_body(name))
    }

    fn lead_of(flights: &Arc<SingleFlight>, name: &str, hang_up: &HangUp) -> FlightLead {
        match flights.enter(&call(name), hang_up) {
            FlightRole::Lead(lead) => lead,
            FlightRole::Alone | FlightRole::Follow(_) => panic!("{name} is no first call"),
        }
    }

    fn lead(flights: &Arc<SingleFlight>, name: &str) -> FlightLead {
        lead_of(flights, name, &HangUp::default())
    }

    fn follow(flights: &Arc<SingleFlight>, name: &str) -> FlightFollower {
        match flights.enter(&call(name), &HangUp::default()) {
            FlightRole::Follow(follower) => follower,
            FlightRole::Alone | FlightRole::Lead(..) => panic!("{name} is not under way"),
        }
    }

    async fn read((_, reply): CallOutcome) -> (u16, String) {
        assert_eq!(reply.headers()["x-a"], "b");
        let (head, body) = reply.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn text(follower: FlightFollower) -> Option<(u16, String)> {
        Some(read(follower.outcome().await?).await)
    }

    #[tokio::test]
    async fn equal_calls_get_the_one_reply_and_the_next_call_begins_anew() {
        let flights = SingleFlight::new(8);
        let leading = lead(&flights, "a");
        let (second, other) = (follow(&flights, "a"), lead(&flights, "b"));
        let finish = async { leading.finish(outcome("license")) };
        let (first, second) = join!(finish, text(second));
        assert_eq!(read(first).await, (201, "license".to_owned()));
        assert_eq!(second, Some((201, "license".to_owned())));
        drop(lead(&flights, "a"));
        drop(other);
        assert!(flights.under_way().is_empty());
    }

    #[test]
    fn a_call_that_shares_only_the_hash_of_another_goes_alone() {
        let flights = SingleFlight::new(8);
        let enter = |name: &str| flights.enter_by(7, &call(name), &HangUp::default());
        let FlightRole::Lead(leading) = enter("a") else { panic!("the first call leads") };
        assert!(matches!(enter("b"), FlightRole::Alone));
        assert!(matches!(enter("a"), FlightRole::Follow(_)));
        drop(leading);
        assert!(matches!(enter("b"), FlightRole::Lead(_)));
    }

    #[tokio::test]
    async fn a_follower_gets_the_reply_though_the_first_caller_has_gone() {
        let (flights, hang_up) = (SingleFlight::new(8), HangUp::default());
        let leading = lead_of(&flights, "a", &hang_up);
        let late = follow(&flights, "a");
        hang_up.happens();
        assert!(!leading.give_up());
        leading.finish(outcome("license"));
        assert_eq!(text(late).await, Some((201, "license".to_owned())));
    }

    #[tokio::test]
    async fn a_lead_that_breaks_off_leaves_no_follower_waiting() {
        let flights = SingleFlight::new(8);
        let leading = lead(&flights, "a");
        let (second, third) = (follow(&flights, "a"), follow(&flights, "a"));
        drop(leading);
        assert!(join!(text(second), text(third)) == (None, None));
        assert!(flights.under_way().is_empty());
    }

    #[tokio::test]
    async fn a_lead_goes_on_though_all_places_of_calls_without_a_connection_are_taken() {
        let (tasks, _deaths) = Tasks::new();
        let carried = |call: CarriedCall<()>| drop(call);
        (0..5_000).for_each(|_| carried(CarriedCall::new(tasks.clone(), |_hang_up| std::future::pending())));
        let (flights, (told, mut heard)) = (SingleFlight::new(8), tokio::sync::mpsc::unbounded_channel());
        let told_by = |name: &'static str| {
            let told = told.clone();
            async move { told.send(name).unwrap() }
        };
        carried(CarriedCall::new(tasks.clone(), |_hang_up| told_by("a call of no kind")));
        let mut leading = None;
        carried(CarriedCall::new(tasks.clone(), |hang_up| {
            leading = Some(lead_of(&flights, "a", &hang_up));
            told_by("a lead")
        }));
        drop(told);
        assert_eq!(heard.recv().await, Some("a lead"));
        assert_eq!(heard.recv().await, None, "the other one ended with its connection");
    }

    #[test]
    fn a_call_too_many_goes_alone_but_equal_ones_still_follow() {
        let flights = SingleFlight::new(1);
        let leading = lead(&flights, "a");
        assert!(matches!(flights.enter(&call("b"), &HangUp::default()), FlightRole::Alone));
        follow(&flights, "a");
        drop(leading);
        lead(&flights, "b");
    }

    #[test]
    fn a_lead_gives_up_only_without_waiting_calls_and_leaves_its_successor_alone() {
        let (flights, hang_up) = (SingleFlight::new(8), HangUp::default());
        let leading = lead_of(&flights, "a", &hang_up);
        assert!(!leading.give_up(), "its own caller waits");
        let second = follow(&flights, "a");
        hang_up.happens();
        assert!(!leading.give_up());
        drop(second);
        assert!(leading.give_up());
        let next = lead(&flights, "a");
        drop(leading);
        follow(&flights, "a");
        drop(next);
    }

    #[tokio::test]
    async fn a_lead_is_deserted_when_its_caller_and_its_last_follower_have_gone() {
        let (flights, hang_up) = (SingleFlight::new(8), HangUp::default());
        let leading = lead_of(&flights, "a", &hang_up);
        let mut deserted = Box::pin(leading.deserted());
        let mut polled = || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            deserted.as_mut().poll(&mut context).is_ready()
        };
        assert!(!polled());
        let second = follow(&flights, "a");
        hang_up.happens();
        assert!(!polled());
        drop(second);
        assert!(polled());
        assert!(flights.under_way().is_empty());
    }

    #[test]
    fn a_later_follower_learns_the_session() {
        let flights = SingleFlight::new(8);
        let leading = lead(&flights, "a");
        assert!(follow(&flights, "a").session().is_none());
        let session = (DeviceKey::new("authority", DeviceSource::Header, "device"), SessionId(1));
        leading.bind(session);
        assert_eq!(follow(&flights, "a").session(), Some(session));
    }
}
