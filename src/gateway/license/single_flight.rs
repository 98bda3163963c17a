//! One story for identical challenges: who asks for what is already under way waits for its reply.
//!
//! Chromium repeats a POST whose connection was reset, and dash.js may send twins; a one-shot content
//! token survives only one license call. Owns the challenges under way, of all workers. Keeps no
//! reply: when a flight lands, its challenge is forgotten before anybody is told. No lock is held
//! over an await.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::digest;
use tokio::sync::watch;

use super::Ending;
use crate::ids::SessionId;
use crate::secret::sha256;
use crate::sessions::DeviceKey;

/// The session that a flight came to belong to.
type Session = (DeviceKey, SessionId);
type Teller = watch::Sender<Option<Ending>>;

/// Stands for everything that makes two calls the same. The whole SHA-256, because a reply is given
/// to whoever has an equal one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::gateway) struct Challenge([u8; digest::SHA256_OUTPUT_LEN]);

impl Challenge {
    pub(in crate::gateway) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(sha256(parts))
    }
}

/// The challenges under way.
pub struct Flights {
    most: usize,
    under_way: Mutex<HashMap<Challenge, Entered>>,
}

#[derive(Clone)]
struct Entered {
    session: Arc<OnceLock<Session>>,
    tell: Arc<Teller>,
}

/// What a call does next.
pub(in crate::gateway) enum Boarding {
    /// Too many are under way: the call goes alone.
    Full,
    Join(Landing),
    /// The first of its kind: its story is to be told, detached from whoever asked.
    TakeOff(Flight, Landing),
}

/// The story's side. Dropped without landing it tells those who wait that nothing will come.
pub(in crate::gateway) struct Flight {
    challenge: Challenge,
    entered: Entered,
    flights: Arc<Flights>,
}

/// Where a call waits.
pub(in crate::gateway) struct Landing {
    hear: watch::Receiver<Option<Ending>>,
    session: Arc<OnceLock<Session>>,
}

impl Flights {
    /// More would be a flood, and then calls are bounded elsewhere.
    pub const MOST: usize = 4096;

    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, under_way: Mutex::default() })
    }

    pub(in crate::gateway) fn board(self: &Arc<Self>, challenge: Challenge) -> Boarding {
        let mut under_way = self.under_way();
        let full = under_way.len() >= self.most;
        match under_way.entry(challenge) {
            Entry::Occupied(flight) => Boarding::Join(flight.get().landing()),
            Entry::Vacant(_) if full => Boarding::Full,
            Entry::Vacant(place) => {
                let entered = Entered { session: Arc::default(), tell: Arc::new(watch::Sender::new(None)) };
                let landing = entered.landing();
                place.insert(entered.clone());
                Boarding::TakeOff(Flight { challenge, entered, flights: Arc::clone(self) }, landing)
            }
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Challenge, Entered>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    fn landing(&self) -> Landing {
        Landing { hear: self.tell.subscribe(), session: Arc::clone(&self.session) }
    }
}

impl Flight {
    /// From now on only calls that still belong to this session should join.
    pub(in crate::gateway) fn belong(&self, session: Session) {
        // Told once: a story is admitted once.
        let _known = self.entered.session.set(session);
    }

    pub(in crate::gateway) fn land(self, ending: Ending) {
        self.forget();
        self.entered.tell.send_replace(Some(ending));
    }

    /// True when nobody waits any more; the challenge is then forgotten, and nobody can come to wait.
    pub(in crate::gateway) fn give_up(&self) -> bool {
        let mut under_way = self.flights.under_way();
        let deserted = self.entered.tell.receiver_count() == 0;
        if deserted {
            self.leave(&mut under_way);
        }
        deserted
    }

    fn forget(&self) {
        self.leave(&mut self.flights.under_way());
    }

    /// After a flight was given up, the same challenge may fly again.
    fn leave(&self, under_way: &mut HashMap<Challenge, Entered>) {
        if under_way.get(&self.challenge).is_some_and(|entered| Arc::ptr_eq(&entered.tell, &self.entered.tell)) {
            under_way.remove(&self.challenge);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Landing {
    pub(in crate::gateway) fn session(&self) -> Option<Session> {
        self.session.get().copied()
    }

    /// None if the story ended without a reply, which only a panic or the end of the process does.
    pub(in crate::gateway) async fn ending(mut self) -> Option<Ending> {
        self.hear.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use http_body_util::Full;
    use tokio::join;

    use super::*;
    use crate::telemetry::Outcome;

    fn ending(body: &'static str) -> Ending {
        (Outcome::Served, Response::builder().status(201).header("x-a", "b").body(Full::from(body)).unwrap())
    }

    fn challenge(name: &str) -> Challenge {
        Challenge::of([name.as_bytes()])
    }

    fn take_off(flights: &Arc<Flights>, name: &str) -> (Flight, Landing) {
        match flights.board(challenge(name)) {
            Boarding::TakeOff(flight, landing) => (flight, landing),
            Boarding::Full | Boarding::Join(_) => panic!("{name} is no first call"),
        }
    }

    fn join(flights: &Arc<Flights>, name: &str) -> Landing {
        match flights.board(challenge(name)) {
            Boarding::Join(landing) => landing,
            Boarding::Full | Boarding::TakeOff(..) => panic!("{name} is not under way"),
        }
    }

    async fn text(landing: Landing) -> Option<(u16, String)> {
        let (_, reply) = landing.ending().await?;
        assert_eq!(reply.headers()["x-a"], "b");
        let (head, body) = reply.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        Some((head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(Challenge::of([b"ab".as_slice(), b"c"]), Challenge::of([b"a".as_slice(), b"bc"]));
        assert_ne!(Challenge::of([b"a".as_slice()]), Challenge::of([b"a".as_slice(), b""]));
        assert_eq!(challenge("a"), challenge("a"));
    }

    #[tokio::test]
    async fn all_who_wait_get_the_one_reply_and_the_next_flies_anew() {
        let flights = Flights::new(8);
        let (flight, first) = take_off(&flights, "a");
        let (second, (other, _landing)) = (join(&flights, "a"), take_off(&flights, "b"));
        let land = async { flight.land(ending("license")) };
        let (first, second, ()) = join!(text(first), text(second), land);
        assert_eq!(first, Some((201, "license".to_owned())));
        assert_eq!(first, second);
        drop(take_off(&flights, "a"));
        drop(other);
        assert!(flights.under_way().is_empty());
    }

    #[tokio::test]
    async fn a_reply_waits_for_those_who_came_in_time() {
        let flights = Flights::new(8);
        let (flight, first) = take_off(&flights, "a");
        let late = join(&flights, "a");
        drop(first);
        flight.land(ending("license"));
        assert_eq!(text(late).await, Some((201, "license".to_owned())));
    }

    #[tokio::test]
    async fn a_story_that_breaks_off_leaves_nobody_waiting() {
        let flights = Flights::new(8);
        let (flight, first) = take_off(&flights, "a");
        let second = join(&flights, "a");
        drop(flight);
        assert!(join!(text(first), text(second)) == (None, None));
        assert!(flights.under_way().is_empty());
    }

    #[test]
    fn too_many_go_alone_but_twins_still_join() {
        let flights = Flights::new(1);
        let (flight, _landing) = take_off(&flights, "a");
        assert!(matches!(flights.board(challenge("b")), Boarding::Full));
        join(&flights, "a");
        drop(flight);
        take_off(&flights, "b");
    }

    #[test]
    fn only_a_deserted_flight_is_given_up_and_the_next_one_is_not_its_business() {
        let flights = Flights::new(8);
        let (flight, first) = take_off(&flights, "a");
        let second = join(&flights, "a");
        drop(first);
        assert!(!flight.give_up());
        drop(second);
        assert!(flight.give_up());
        let (next, _landing) = take_off(&flights, "a");
        drop(flight);
        join(&flights, "a");
        drop(next);
    }

    #[test]
    fn those_who_come_later_learn_the_session() {
        let flights = Flights::new(8);
        let (flight, first) = take_off(&flights, "a");
        assert!(first.session().is_none());
        let session = (DeviceKey::new("authority", "header", "device"), SessionId(1));
        flight.belong(session);
        assert_eq!((first.session(), join(&flights, "a").session()), (Some(session), Some(session)));
    }
}
