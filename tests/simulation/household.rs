//! Tests the embedded authority under crashes: its ledger, and the sessions that hold its places, must agree after
//! every restart and in every quiet moment.
//!
//! The shell, client, counter and store are real; a crash may come between any two writes. Every held place has its
//! session, and every playing session has its place.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidebeat::authority::{Authorities, Authority, AuthorityClient, EmbeddedAuthority, claim};
use sidebeat::clock::Clock;
use sidebeat::config::{self, DeviceSource, EndingRules};
use sidebeat::ids::RandomSource;
use sidebeat::secret::{Fingerprint, Secret};
use sidebeat::session::{
    CallAnswer, CallKind, EndReason, Grant, LicenseFeedback, OpenAbility, PlayerCall, Policy, StateRecord,
};
use sidebeat::sessions::{
    Admission, AuthorityDispatcher, DeviceKey, LivePolicy, RestoreHome, SessionContext, SessionPhase, SessionRoute,
    SessionView, Sessions, pace,
};
use sidebeat::store::{DialectName, Loaded, Memory, SessionContextRecord, SessionRecord, Store};
use sidebeat::task::Tasks;
use sidebeat::upstream::{ConnectionPool, Trust};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;

use super::rng::Rng;
use super::sums::Sums;
use super::witness::let_each_line_ask;

/// Three of an account that may have two places.
const DEVICES: usize = 6;
const INTERVAL: Duration = Duration::from_secs(5);

/// Events that must happen in a run of many seeds.
pub(crate) const HAPPENINGS: [&str; 6] =
    ["crashes", "ended by an operator", "places free again", "places held again", "quiet", "sessions without a place"];
/// Events that must happen if a device has one session.
pub(crate) const PICTURE_HAPPENINGS: [&str; 7] = [
    "crashes",
    "ended by an operator",
    "pictures beside each other",
    "pictures over beside others",
    "places held again",
    "quiet",
    "sessions without a place",
];

pub(crate) struct Household {
    chance: Arc<Mutex<Rng>>,
    config: String,
    /// True if the authority counts devices.
    counts_devices: bool,
    replay: String,
    rng: Rng,
    store: Arc<Memory>,
    sums: Sums,
    wall: Duration,
}

/// A process.
struct Life {
    calls: JoinSet<()>,
    clock: Clock,
    counts_devices: bool,
    home: Arc<Authority>,
    policy: Arc<LivePolicy>,
    sessions: Arc<Sessions>,
}

/// Runs all lives of one seed.
pub(crate) fn run(seed: u64, steps: u64, counts_devices: bool) -> Sums {
    let_each_line_ask();
    let mut household = Household::new(seed, steps, counts_devices);
    let mut left = steps;
    while left > 0 {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let before = left;
        left = runtime.block_on(household.live(left));
        assert!(left < before, "a life made no step: {left} are left");
        drop(runtime);
        household.store = household.store.crash();
    }
    household.sums.clone()
}

impl Household {
    fn new(seed: u64, steps: u64, counts_devices: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0xe11b);
        let on_limit = rng.pick(&["deny-newest", "end-oldest"]);
        let unit = if counts_devices { "device" } else { "playback" };
        let config = format!(
            "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = 2\ninterval = \"5s\"\n\
             grace = \"2s\"\non-limit = \"{on_limit}\"\nunit = \"{unit}\"\n\
             [[route]]\npath = \"/l\"\nlicense-server = \"http://127.0.0.1:9/\"\nauthority = \"home\"\n"
        );
        Self {
            chance: Arc::new(Mutex::new(Rng::new(seed ^ 0x1d5))),
            config,
            counts_devices,
            replay: format!("SIMULATION_SEED={seed} SIMULATION_STEPS={}", steps * 10),
            rng,
            store: Memory::manual(),
            sums: Sums::default(),
            wall: Duration::from_secs(1_800_000_000),
        }
    }

    /// Until it crashes, or nothing is left to do. Gives the steps that are left.
    async fn live(&mut self, steps: u64) -> u64 {
        let mut life = self.begin();
        for left in (0..steps).rev() {
            if self.rng.chance(20) {
                self.sums.add("crashes");
                self.wall = life.clock.wall() + self.rng.millis(10, 20_000);
                return left;
            }
            self.act(&mut life).await;
        }
        life.calls.abort_all();
        life.sessions.drain(EndReason::Drained, Duration::from_secs(60)).await;
        self.store.commit();
        assert!(life.held().is_empty(), "nobody plays, and places are held");
        0
    }

    fn begin(&mut self) -> Life {
        let clock = Clock::steered(self.wall);
        let (tasks, _deaths) = Tasks::new();
        let read = config::parse(&self.config, Path::new(""), std::iter::empty()).expect("it is good");
        let authorities = Authorities::new(read.authorities, clock);
        let home = authorities.by_name("home").expect("it is configured");
        let pool = ConnectionPool::new(tasks.clone(), clock, Trust::public().expect("roots are compiled in"));
        let client = AuthorityClient::new(authorities.clone(), clock, pool, Arc::default());
        let dispatcher = AuthorityDispatcher::new(Arc::new(client), Handle::current(), tasks.clone());
        let chance = self.chance.clone();
        let chance = RandomSource::Given(Arc::new(move || chance.lock().expect("nobody else has it").next()));
        let store: Arc<dyn Store> = self.store.clone();
        let Loaded { sessions: records, slots, .. } = store.load();
        let sessions = Sessions::with_chance(chance, clock, dispatcher, Arc::default(), Some(store.clone()));
        let endings = EndingRules { longest: Duration::from_secs(300), ..EndingRules::default() };
        let policy = Policy { endings, shares_session: self.counts_devices, ..policy() };
        let life = Life {
            calls: JoinSet::new(),
            clock,
            counts_devices: self.counts_devices,
            home,
            policy: Arc::new(LivePolicy::new(policy)),
            sessions: sessions.clone(),
        };
        authorities.keep_in(&store, &slots, &records);
        self.look_at_restart(&life, &found_in(&records), slots.iter().filter(|slot| slot.held.is_some()).count());
        sessions.restore(records, |record| RestoreHome::Here(life.card_of(record)));
        tasks.spawn(pace(sessions, tasks.clone()));
        life
    }

    /// The held places are those that sessions claim, and every playing session has its place.
    fn look_at_restart(&mut self, life: &Life, found: &Found, written: usize) {
        let held = life.held();
        assert!(
            held.is_subset(&found.claims),
            "places that nobody claims: {held:?} {:?}, {}",
            found.claims,
            self.replay
        );
        for slot in found.playing.difference(&held) {
            assert!(life.was_ended(*slot), "plays without its place: {slot}, {}", self.replay);
            self.sums.add("sessions without a place");
        }
        (0..held.len()).for_each(|_| self.sums.add("places held again"));
        (held.len()..written).for_each(|_| self.sums.add("places free again"));
    }

    async fn act(&mut self, life: &mut Life) {
        let device = self.rng.below(DEVICES);
        match self.rng.below(100) {
            0..35 => {
                let content = self.rng.next() % 3;
                let server = (self.rng.chance(700), self.rng.millis(1, 300));
                life.play(device, content, server);
            }
            35..45 if self.counts_devices && !self.rng.chance(200) => {
                let token = picture(device, self.rng.next() % 3);
                let _stopped = life.sessions.stop(key(device), Some(token));
            }
            35..45 => drop(life.sessions.stop(key(device), None)),
            45..48 => self.sums.add_all(life.end_oldest().then_some("ended by an operator")),
            48..68 => drop(self.store.commit()),
            68..72 => self.be_quiet(life).await,
            72..95 => tokio::time::sleep(self.rng.millis(1, 200)).await,
            _ => tokio::time::sleep(self.rng.millis(200, 20_000)).await,
        }
        while life.calls.try_join_next().is_some_and(|ended| ended.is_ok()) {}
        self.look_at_pictures(life);
    }

    /// A device has one place, for as long as one of its pictures plays.
    fn look_at_pictures(&mut self, life: &Life) {
        if !self.counts_devices {
            return;
        }
        let held = life.counter().held_after(life.clock.now(), None, usize::MAX);
        let devices: BTreeSet<_> = held.iter().map(|held| held.device.clone()).collect();
        assert_eq!(devices.len(), held.len(), "a device has two places: {held:?}, {}", self.replay);
        for row in life.sessions.list() {
            let goes_on = |row: &SessionView| !OVER.contains(&row.state);
            let pictures = row.playbacks.iter().filter(|row| goes_on(row)).count();
            assert_eq!(goes_on(&row), pictures > 0, "{row:?}, {}", self.replay);
            self.sums.add_all((pictures > 1).then_some("pictures beside each other"));
            let over = pictures > 0 && row.playbacks.len() > pictures;
            self.sums.add_all(over.then_some("pictures over beside others"));
        }
    }

    /// No call is pending, and all is written: ledger, sessions and store agree.
    async fn be_quiet(&mut self, life: &Life) {
        let moves = |life: &Life| life.sessions.list().iter().any(|row| !SETTLED.contains(&row.state));
        for turn in 0.. {
            assert!(turn < 1_000, "never quiet: {:?}, {}", life.sessions.list(), self.replay);
            self.store.commit();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if !moves(life) {
                break;
            }
        }
        // A session that lost its place hears of it at its next beat.
        tokio::time::sleep(INTERVAL * 2).await;
        self.store.commit();
        if moves(life) {
            return;
        }
        self.sums.add("quiet");
        let Loaded { sessions, slots, .. } = self.store.crash().load();
        let written: BTreeSet<_> = slots.iter().filter(|slot| slot.held.is_some()).map(|slot| slot.slot).collect();
        let found = found_in(&sessions);
        assert_eq!(life.held(), found.playing, "ledger and sessions, {}", self.replay);
        assert_eq!(life.held(), written, "ledger and store, {}", self.replay);
    }
}

const SETTLED: [SessionPhase; 3] = [SessionPhase::Closed, SessionPhase::Killed, SessionPhase::Live];
const OVER: [SessionPhase; 3] = [SessionPhase::Closed, SessionPhase::Closing, SessionPhase::Killed];

/// The places in sessions' records.
struct Found {
    claims: BTreeSet<u64>,
    playing: BTreeSet<u64>,
}

fn found_in(records: &[SessionRecord]) -> Found {
    let plays = |record: &&SessionRecord| {
        matches!(record.playback.session.state, StateRecord::Failing { .. } | StateRecord::Live { .. })
    };
    Found {
        claims: records.iter().filter_map(|record| Some(claim(record)?.0)).collect(),
        playing: records.iter().filter(plays).filter_map(|record| Some(claim(record)?.0)).collect(),
    }
}

fn policy() -> Policy {
    Policy { grace: Duration::from_secs(2), renews: false, ..Policy::default() }
}

/// The content token of what this device plays.
fn picture(device: usize, content: u64) -> Fingerprint {
    Fingerprint::new(1_000 + device as u64 * 10 + content)
}

fn key(device: usize) -> DeviceKey {
    DeviceKey::new("home", DeviceSource::Header, &device.to_string())
}

impl Life {
    fn counter(&self) -> &EmbeddedAuthority {
        self.home.counter().expect("it is embedded")
    }

    fn held(&self) -> BTreeSet<u64> {
        let held = self.counter().held_after(self.clock.now(), None, usize::MAX);
        held.into_iter().map(|held| held.slot.0).collect()
    }

    /// An operator's kill. False without a playing session.
    fn end_oldest(&self) -> bool {
        let (counter, now) = (self.counter(), self.clock.now());
        counter.held_after(now, None, 1).first().is_some_and(|held| counter.end(now, held.slot))
    }

    /// True if its player does not know the reason yet.
    fn was_ended(&self, slot: u64) -> bool {
        let token = Secret::new(slot.to_string());
        self.home.killed(&Grant { interval: INTERVAL, lifetime: None, token }).is_some()
    }

    /// The license server accepts the call or declines it, after so long.
    fn play(&mut self, device: usize, content: u64, (accepts, takes): (bool, Duration)) {
        let token = self.counts_devices.then(|| picture(device, content));
        let call = PlayerCall {
            content: Some(Fingerprint::new(content)),
            content_token: token,
            key_session: None,
            kind: CallKind::License,
            opens: OpenAbility::Yes,
            token,
        };
        let context = self.context(device.to_string(), self.clock.wall());
        let (deadline, sessions) = (self.clock.now() + Duration::from_secs(6), self.sessions.clone());
        self.calls.spawn(async move {
            let Admission { answer, session } = sessions.admit(key(device), &call, &context, deadline).await;
            let (CallAnswer::Forward(_), Some(id)) = (answer, session) else { return };
            let _place = sessions.guard_call(key(device), id);
            tokio::time::sleep(takes).await;
            if accepts {
                sessions.accept(key(device), id, &call);
                sessions.licensed(key(device), id, LicenseFeedback::Plain, (Fingerprint::new(content), None));
            }
        });
    }

    fn card_of(&self, record: &SessionContextRecord) -> Arc<SessionContext> {
        self.context(record.device.clone(), record.opened.into())
    }

    fn context(&self, device: String, opened: Duration) -> Arc<SessionContext> {
        let account = device.parse::<usize>().expect("a device of ours") % 2;
        Arc::new(SessionContext {
            account: Some(account.to_string().into()),
            content: None,
            device: device.into(),
            groups: None,
            kill_memory: None,
            network: Fingerprint::default(),
            of_route: Arc::new(SessionRoute {
                authority: self.home.id,
                authority_name: self.home.name.clone(),
                dialect: DialectName::Embedded,
                error_name: |_| "error",
                policy: self.policy.clone(),
                route: "/l".into(),
            }),
            opened: opened.into(),
            registration: None,
            device_source: DeviceSource::Header,
            schedule: None,
            stream: None,
            token: None,
        })
    }
}
