//! The far side of the real shell: the way to the head-end, and the head-end with its books.
//!
//! Calls under way are kept apart from the tasks that wait for them: a dying shell takes its waiting tasks along, but
//! not the calls that it sent. Arrivals are handled in the order of their times at the next access, so no task of the
//! simulation moves them. Times are the head-end's own, which run on while the proxy is dead or its machine sleeps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sidebeat::clock::Clock;
use sidebeat::ids::SessionId;
use sidebeat::secret::Secret;
use sidebeat::session::{
    AskKind, AuthorityAsk, AuthorityFault, Denial, Grant, PlayerCall, Policy, Reason, Ticket, Verdict,
};
use sidebeat::sessions::{AskAuthority, SessionContext, VerdictFuture};
use tokio::sync::Notify;

use super::headend::{Book, Fate, HeadEnd};
use super::network::{TIMEOUT, delay, error, timeout};
use super::rng::Rng;
use super::sums::Sums;
use super::watch::Watch;
use super::world::kind_name;

/// The playback of a call: the session's number, as [`Far::draw`] gave it.
pub(crate) type From = (usize, SessionId);

/// A call to the head-end, as it travels.
#[derive(Clone, Debug)]
struct Parcel {
    content: Option<u64>,
    from: From,
    kind: AskKind,
    number: u64,
    token: Option<Secret>,
}

/// A call that a task waits for.
#[derive(Debug)]
pub(crate) struct Trip {
    from: From,
    kind: AskKind,
    lost: bool,
    number: u64,
    pub(crate) takes: Duration,
    ticket: Ticket,
    token: Option<Secret>,
}

/// A player's call, from which a playback may begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    pub(crate) call: PlayerCall,
    pub(crate) device: usize,
}

pub(crate) struct Far {
    arrivals: BTreeMap<(Instant, u64), Parcel>,
    /// The sessions that began with each call.
    begun: HashMap<usize, Vec<SessionId>>,
    /// When playbacks began last, and how many in that moment.
    begun_at: (Instant, u32),
    /// Every call of a player.
    pub(crate) calls: Vec<Began>,
    /// Sessions kept alive by the player's renewals.
    pub(crate) carried: HashSet<SessionId>,
    clock: Clock,
    /// True after the process's death; the effects of its remains are ignored.
    pub(crate) dead: bool,
    /// Calls that something on the way sends twice.
    doubled: HashSet<u64>,
    draws_seed: bool,
    /// The call that is being delivered just now.
    pub(crate) current: usize,
    /// The pending calls, and whether each sender will hear its reply.
    flying: BTreeMap<u64, (AskKind, Option<Secret>, bool)>,
    pub(crate) faulty: bool,
    pub(crate) head: HeadEnd,
    /// Sessions killed by an operator.
    pub(crate) killed_here: HashSet<SessionId>,
    pub(crate) intervals: HashMap<SessionId, Duration>,
    last_opens: HashMap<SessionId, Ticket>,
    next: u64,
    /// The calls of which each session was begun, by the session's number.
    pub(crate) numbers: Vec<usize>,
    one_use: bool,
    /// Opens with an unknown result, until it is reported.
    pub(crate) orphans: BTreeSet<SessionId>,
    pub(crate) outage: bool,
    /// Closed, perhaps without ever having been opened.
    pub(crate) over: HashSet<SessionId>,
    pub(crate) policy: Arc<Policy>,
    results: HashMap<u64, (Result<Verdict, AuthorityFault>, Option<usize>)>,
    pub(crate) rng: Rng,
    pub(crate) slept: bool,
    spent: HashSet<u64>,
    /// The proxy was not always given its time when it wanted it.
    /// When the process was last not given its time.
    pub(crate) stalled: Option<[Instant; 2]>,
    /// The time of the head-end, and that of the clock, when this life began.
    start: (Instant, Instant),
    /// When the wall clock was set last.
    pub(crate) stepped: Option<Instant>,
    /// Something happened that may have to be written.
    pub(crate) stirs: Arc<Notify>,
    pub(crate) sums: Sums,
    pub(crate) watch: Watch,
}

impl Far {
    pub(crate) fn new(mut rng: Rng, head: HeadEnd, policy: Arc<Policy>, watch: Watch) -> Self {
        let (faulty, one_use, epoch) = (rng.chance(600), rng.chance(300), watch.base());
        Self {
            arrivals: BTreeMap::new(),
            begun: HashMap::new(),
            begun_at: (epoch, 0),
            calls: Vec::new(),
            carried: HashSet::new(),
            clock: Clock,
            current: 0,
            dead: false,
            doubled: HashSet::new(),
            draws_seed: false,
            flying: BTreeMap::new(),
            faulty,
            head,
            killed_here: HashSet::new(),
            intervals: HashMap::new(),
            last_opens: HashMap::new(),
            next: 0,
            numbers: vec![0],
            one_use,
            orphans: BTreeSet::new(),
            outage: false,
            over: HashSet::new(),
            policy,
            results: HashMap::new(),
            rng,
            slept: false,
            spent: HashSet::new(),
            stalled: None,
            start: (epoch, epoch),
            stepped: None,
            stirs: Arc::default(),
            sums: Sums::default(),
            watch,
        }
    }

    /// A new process, on a machine that was not there for a while.
    pub(crate) fn begin_life(&mut self, clock: Clock, at: Instant) {
        self.clock = clock;
        self.dead = false;
        self.start = (at, clock.now());
    }

    /// The head-end's time; only inside the runtime.
    pub(crate) fn now(&self) -> Instant {
        let (at, began) = self.start;
        at + self.clock.now().duration_since(began) + self.clock.suspended()
    }

    /// When this life began, in the head-end's time.
    pub(crate) fn began(&self) -> Instant {
        self.start.0
    }

    /// The time as the process sees it: without the machine's sleep in this life.
    pub(crate) fn awake(&self) -> Instant {
        let (at, began) = self.start;
        at + self.clock.now().duration_since(began)
    }

    pub(crate) fn clock_now(&self) -> Instant {
        self.clock.now()
    }

    /// For each playback an id and then a seed. An id counts up in its high bits, and is random below.
    pub(crate) fn draw(&mut self) -> u64 {
        let chance = self.rng.next() >> 32;
        self.draws_seed = !self.draws_seed;
        if !self.draws_seed {
            return chance;
        }
        self.stirs.notify_one();
        let number = self.numbers.len() as u64;
        let now = self.now();
        self.watch.mark(now, "begins", self.current as u64, number);
        self.begun_at = if self.begun_at.0 == now { (now, self.begun_at.1 + 1) } else { (now, 0) };
        assert!(self.begun_at.1 < 200, "playbacks begin without end");
        self.numbers.push(self.current);
        self.begun.entry(self.current).or_default().push(SessionId(number));
        number << 32 | chance
    }

    /// The playback of this ask: a call may begin another playback when its first one has ended.
    fn whose(&self, call: usize, ask: &AuthorityAsk) -> From {
        let device = self.calls[call].device;
        if let Some(grant) = &ask.grant {
            return (device, self.head.books[self.head.book_of(&grant.token)].id);
        }
        let begun = &self.begun[&call];
        let again = begun.iter().find(|id| self.watch.is_flying(**id, ask.ticket, ask.kind));
        let newest = begun.iter().rev().find(|id| !self.over.contains(id));
        let given_up = begun.iter().find(|id| self.last_opens.get(id) == Some(&ask.ticket));
        (device, *again.or(newest).or(given_up).expect("it was begun"))
    }

    /// The head-end's books of this session: several if its open was doubled.
    pub(crate) fn books_of(&mut self, id: SessionId) -> impl Iterator<Item = &mut Book> {
        self.head.books.iter_mut().rev().filter(move |book| book.id == id)
    }

    pub(crate) fn mark(&mut self, what: &'static str, a: u64, b: u64) {
        let now = self.now();
        self.watch.mark(now, what, a, b);
    }

    /// A call sets out.
    pub(crate) fn send(&mut self, from: From, kind: AskKind, ticket: Ticket, grant: Option<&Grant>) -> Trip {
        let (now, awake) = (self.now(), self.awake());
        let begun = self.calls[self.numbers[from.1.0 as usize]].call.token;
        self.watch.mark(now, kind_name(kind), from.1.0, u64::from(ticket.number()));
        let token = grant.map(|grant| grant.token.clone());
        self.look_at(awake, from, kind, ticket, token.as_ref());
        let content = begun.map(|token| token.get());
        self.next += 1;
        let number = self.next;
        let parcel = Parcel { content, from, kind, number, token: token.clone() };
        if kind == AskKind::Open {
            self.stirs.notify_one();
        }
        let given_up = kind == AskKind::Open && !self.watch.is_flying(from.1, ticket, kind);
        let (lost, takes) = self.dispatch(now, parcel);
        if lost {
            self.head.hurt(token.as_ref());
        }
        self.flying.insert(number, (kind, token.clone(), !lost && !given_up));
        Trip { from, kind, lost, number, takes, ticket, token }
    }

    /// The promises that concern a call at its start.
    fn look_at(&mut self, now: Instant, from: From, kind: AskKind, ticket: Ticket, token: Option<&Secret>) {
        let (device, id) = from;
        let begun = self.calls[self.numbers[id.0 as usize]].call.token;
        // An open that met the limit is repeated once; a grant without a waiting task is given back at once.
        let again =
            kind == AskKind::Open && self.last_opens.get(&id).is_some_and(|last| last.number() >= ticket.number());
        let orphan = kind == AskKind::Close && self.last_opens.get(&id) == Some(&ticket);
        if kind == AskKind::Open {
            self.last_opens.insert(id, ticket);
        }
        if again {
            self.sums.add("opens made again");
            return;
        }
        if kind == AskKind::Beat {
            self.watch.beats_in_time(now, id, &self.policy);
        }
        self.watch.asks(now, device, id, (if orphan { Ticket::OrphanedGrant } else { ticket }, kind), begun);
        let Some(token) = token else { return };
        self.head.look_at(token, kind);
        let book = self.head.book_of(token);
        let book = &mut self.head.books[book];
        assert_eq!((book.device, book.id), from, "a token of another playback");
        book.renewed |= kind == AskKind::Renew;
        match (kind, orphan || ticket == Ticket::OrphanedGrant) {
            (AskKind::Close, true) => self.sums.add("grants given straight back"),
            (AskKind::Close, false) => {
                book.closes_asked += 1;
                assert!(book.closes_asked <= book.closes_failed + 1, "closed once: {book:?}");
            }
            (AskKind::Beat | AskKind::Open | AskKind::Renew, _) => {}
        }
    }

    /// Decides the fate of a call: whether its reply is lost, and how long its sender waits.
    fn dispatch(&mut self, now: Instant, parcel: Parcel) -> (bool, Duration) {
        let Self { doubled, faulty, rng, sums, .. } = self;
        if *faulty && rng.chance(30) {
            sums.add("requests lost");
            return (true, TIMEOUT);
        }
        let there = delay(rng, *faulty);
        let back = delay(rng, *faulty);
        if *faulty && rng.chance(15) {
            sums.add("requests doubled");
            let at = now + there + rng.millis(0, 5_000);
            self.next += 1;
            doubled.insert(parcel.number);
            self.arrivals.insert((at, self.next), parcel.clone());
        }
        self.next += 1;
        self.arrivals.insert((now + there, self.next), parcel);
        let Self { faulty, rng, sums, .. } = self;
        if *faulty && rng.chance(30) {
            sums.add("replies lost");
            return (true, TIMEOUT);
        }
        let takes = there + back;
        if takes <= TIMEOUT {
            return (false, takes);
        }
        // Some wait without a limit: the core must handle an answer to a call that it gave up.
        let patient = rng.chance(300);
        sums.add(if patient { "late answers heard" } else { "late answers missed" });
        (true, if patient { takes } else { TIMEOUT })
    }

    /// Everything that has reached the head-end by now.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        while let Some(entry) = self.arrivals.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), parcel) = entry.remove_entry();
            self.arrive(at, parcel);
        }
    }

    fn arrive(&mut self, at: Instant, parcel: Parcel) {
        let Parcel { content, from, kind, number, token } = parcel;
        let heard = self.flying.get(&number).is_some_and(|(_, _, heard)| *heard) && !self.results.contains_key(&number);
        self.watch.mark(at, "arrives", from.1.0, number);
        let ill = self.outage || (self.faulty && self.rng.chance(20));
        let used = self.one_use && kind == AskKind::Open && content.is_some_and(|token| self.spent.contains(&token));
        let before = self.head.books.len();
        let result = if ill {
            self.sums.add("replies 503");
            self.head.hurt(token.as_ref());
            error()
        } else if used {
            self.sums.add("tokens used twice");
            Ok(Verdict::Denied(Denial::Token, Reason::new(401, Some(1006), "used")))
        } else {
            self.head.handle(at, &mut self.rng, from, kind, token.as_ref())
        };
        let granted = matches!(result, Ok(Verdict::Granted(_))).then_some(before);
        if let Some(book) = granted {
            self.head.books[book].renewed |= self.carried.contains(&from.1);
            self.spent.extend(content);
        }
        if matches!(result, Ok(Verdict::Alive { interval: Some(_), .. })) {
            self.sums.add("intervals changed");
        }
        if heard {
            self.results.insert(number, (result, granted));
            return self.look_for_crowd(at, from);
        }
        self.head.hurt(token.as_ref());
        let replaced = matches!(result, Ok(Verdict::Alive { token: Some(_), .. }));
        if let Some(token) = token.as_ref().filter(|_| replaced && self.doubled.contains(&number)) {
            let book = self.head.book_of(token);
            self.head.books[book].doubled = true;
        }
        if granted.is_some() {
            self.head.hurt_last();
        }
        // The reply may still be heard, late; a second one is ignored.
        if self.flying.contains_key(&number) {
            self.results.entry(number).or_insert((result, granted));
        }
    }

    /// Beside a device's allowed playbacks there is at most one preload, and one that is being opened.
    fn look_for_crowd(&self, at: Instant, (device, _): From) {
        let open = |book: &&Book| book.device == device && book.fate == Fate::Open && !book.hurt;
        let crowd = self.head.books.iter().filter(open).count();
        let places = self.policy.sessions_per_device;
        assert!(crowd <= places + 2, "{crowd} sessions of one device at {:?}", at - self.watch.base());
    }

    /// The sender has waited for as long as it does.
    pub(crate) fn come_back(&mut self, trip: &Trip) -> Result<Verdict, AuthorityFault> {
        let now = self.now();
        self.catch_up(now);
        // A late call only confirms an earlier state.
        let fresh = self.flying.remove(&trip.number).is_some_and(|(_, _, heard)| heard);
        let (_, id) = trip.from;
        let (result, granted) = self.results.remove(&trip.number).unwrap_or((timeout(), None));
        // A reply that is later than the limit: most are given up before.
        let result = if trip.lost && trip.takes == TIMEOUT { timeout() } else { result };
        if let (Some(book), Err(_)) = (granted, &result) {
            self.head.books[book].hurt = true;
        }
        self.watch.mark(now, if result.is_ok() { "answer" } else { "fault" }, id.0, u64::from(trip.ticket.number()));
        if let (AskKind::Close, Some(token), Err(_)) = (trip.kind, &trip.token, &result) {
            let book = self.head.book_of(token);
            self.head.books[book].closes_failed += 1;
        }
        if matches!(result, Ok(Verdict::Denied(Denial::Limit, _))) {
            return result;
        }
        let known = self.intervals.get(&id).copied();
        let awake = self.awake();
        if self.watch.answered(awake, id, (trip.ticket, trip.kind), known, &result) {
            let interval = match &result {
                Ok(Verdict::Granted(grant)) => Some(grant.interval),
                Ok(Verdict::Alive { interval, .. }) => *interval,
                Ok(_) | Err(_) => None,
            };
            self.intervals.extend(interval.map(|interval| (id, interval)));
            trip.token.iter().filter(|_| fresh).for_each(|token| self.head.heal(token, &result));
            trip.token.iter().for_each(|token| self.head.tell(token, trip.kind, &result));
        } else {
            self.sums.add("stale answers");
        }
        result
    }

    /// The machine sleeps, and its calls with it: what the head-end makes of them meanwhile is its own.
    pub(crate) fn sleep(&mut self) {
        let now = self.now();
        self.catch_up(now);
        self.slept = true;
        self.head.sleep();
        for (_, token, heard) in self.flying.values_mut() {
            *heard = false;
            self.head.hurt(token.as_ref());
        }
        let awake = self.awake();
        self.watch.sleeps(awake);
    }

    /// The proxy dies at once. Its calls may still arrive, without a listener.
    pub(crate) fn cut(&mut self, now: Instant) {
        self.catch_up(now);
        for (_, (kind, token, _)) in std::mem::take(&mut self.flying) {
            self.head.hurt(token.as_ref());
            if let (AskKind::Close, Some(token)) = (kind, &token) {
                let book = self.head.book_of(token);
                self.head.books[book].closes_failed += 1;
            }
        }
        for (_, (_, granted)) in std::mem::take(&mut self.results) {
            granted.into_iter().for_each(|book| self.head.books[book].hurt = true);
        }
        let rng = &mut self.rng;
        self.arrivals.retain(|_, _| rng.chance(500));
        self.watch.forget_all();
        self.head.forget_what_was_told();
    }
}

/// The client of the real shell.
pub(crate) struct Line(pub(crate) Arc<Mutex<Far>>);

impl Line {
    pub(crate) fn far(&self) -> MutexGuard<'_, Far> {
        self.0.lock().expect("the promise that was broken is told above")
    }

    pub(crate) async fn call(
        &self,
        from: From,
        kind: AskKind,
        ticket: Ticket,
        grant: Option<&Grant>,
    ) -> Result<Verdict, AuthorityFault> {
        let trip = self.far().send(from, kind, ticket, grant);
        tokio::time::sleep(trip.takes).await;
        self.far().come_back(&trip)
    }
}

impl AskAuthority for Line {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> VerdictFuture<'a> {
        let number = context.content.as_deref().and_then(|content| content.parse().ok()).expect("a context of ours");
        let from = self.far().whose(number, ask);
        Box::pin(self.call(from, ask.kind, ask.ticket, ask.grant.as_ref()))
    }
}
