//! Runs the real shell under the storm: `Sessions`, its dispatcher and its timer on a runtime with paused time, players
//! in tasks of their own, and processes that die.
//!
//! A life is a runtime: dropped at any moment, it takes all tasks along, as a process does. The next life finds the
//! store's content. Conditions are checked where they arise: in [`Far`], by the log lines, and at every answer to a
//! player.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sidebeat::clock::Clock;
use sidebeat::config::DeviceSource;
use sidebeat::ids::{RandomSource, SessionId};
use sidebeat::secret::Fingerprint;
use sidebeat::session::{
    CallKind, EndReason, Input, MediaFetch, PlayerReport, PlayingState, Policy, Reason, StreamType,
};
use sidebeat::sessions::{
    AuthorityDispatcher, AuthorityId, ConnectionGuard, DeviceKey, LivePolicy, RestoreHome, SessionContext,
    SessionRoute, Sessions, pace,
};
use sidebeat::store::{DialectName, Memory, SessionContextRecord, Store};
use sidebeat::task::Tasks;
use tokio::runtime::{Builder, Handle};
use tokio::task::{AbortHandle, JoinSet};

use super::cast::{Cast, DEVICES};
use super::far::{Began, Far, Line};
use super::player::Player;
use super::rng::Rng;
use super::segment::Segment;
use super::sums::Sums;
use super::viewer::Viewer;
use super::watch::Watch;
use super::witness::{Witness, let_each_line_ask};

/// Events that must happen in a run of many seeds, beside all end reasons.
pub(crate) const HAPPENINGS: [&str; 56] = [
    "authority answers again",
    "authority call failed",
    "beat",
    "beat late",
    "crashes",
    "credit settled",
    "drains",
    "expiries",
    "forwarded",
    "grants given straight back",
    "hung up",
    "intervals changed",
    "killed",
    "kills by an operator",
    "kills by the head-end",
    "late answer dropped",
    "late answers heard",
    "late answers missed",
    "left open",
    "limits reached",
    "media cut",
    "media of nobody",
    "media passed",
    "media refused",
    "media refused: killed",
    "on credit",
    "opened",
    "opening anew",
    "open lost in a restart",
    "opens made again",
    "outages",
    "passed: no grant",
    "passed: opens nothing",
    "refused",
    "refused: denied",
    "refused: ended",
    "refused: expired",
    "refused: killed",
    "refused: unreachable",
    "renewals carry the session",
    "renewed",
    "replies 503",
    "replies lost",
    "requests doubled",
    "requests lost",
    "resumed",
    "resumed while a license was out",
    "resumed with the newest token",
    "resumed without the newest token",
    "stale answers",
    "stalls",
    "suspensions",
    "tokens used twice",
    "taken up again",
    "unmanaged",
    "wall clock set",
];

pub(crate) struct World {
    ample: bool,
    /// Licenses say when they run out.
    dated: bool,
    far: Arc<Mutex<Far>>,
    keys: Vec<DeviceKey>,
    mortal: bool,
    names: Arc<Names>,
    players: Vec<Player>,
    step: u64,
    /// The store that outlives a process, in some worlds.
    store: Option<Arc<Memory>>,
    /// When the next life begins, in the head-end's time.
    wakes: Instant,
    wall: Duration,
}

struct Names {
    devices: Vec<String>,
    of_route: Arc<SessionRoute>,
}

fn session_route(policy: Policy) -> Arc<SessionRoute> {
    Arc::new(SessionRoute {
        authority: AuthorityId::of("head-end"),
        authority_name: "head-end".into(),
        dialect: DialectName::NagraSsm,
        error_name: |_| "error",
        policy: Arc::new(LivePolicy::new(policy)),
        route: "/".into(),
    })
}

impl Names {
    fn context(&self, device: usize, content: String, opened: Duration) -> Arc<SessionContext> {
        Arc::new(SessionContext {
            account: Some((device / 2).to_string().into()),
            content: Some(content.into()),
            device: self.devices[device].as_str().into(),
            groups: None,
            kill_memory: None,
            network: Fingerprint::default(),
            of_route: self.of_route.clone(),
            opened: opened.into(),
            registration: None,
            device_source: DeviceSource::Header,
            schedule: None,
            stream: None,
            token: None,
        })
    }
}

/// Writes what changed soon after something happened, and now and then.
async fn write(store: Arc<Memory>, far: Arc<Mutex<Far>>) {
    let stirs = far.lock().expect("as above").stirs.clone();
    loop {
        let _idle = tokio::time::timeout(Duration::from_millis(700), stirs.notified()).await;
        let takes = far.lock().expect("the promise that was broken is told above").rng.millis(1, 40);
        tokio::time::sleep(takes).await;
        store.commit();
    }
}

/// A process, from its start to its end.
struct Life {
    calls: JoinSet<()>,
    clock: Clock,
    running: Vec<AbortHandle>,
    sessions: Arc<Sessions>,
    tasks: Tasks,
    /// The connections of players that have one.
    guards: Vec<Option<ConnectionGuard>>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Died {
    Crashed,
    Finished,
    Stopped,
}

/// Runs all lives of one seed; returns the trace and the sums.
pub(crate) fn run(seed: u64, steps: u64) -> (u64, Sums) {
    let_each_line_ask();
    let mut world = World::new(seed, steps);
    let _heard = tracing::subscriber::set_default(Witness(world.far.clone()));
    loop {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let died = runtime.block_on(world.live(steps));
        drop(runtime);
        match died {
            Died::Crashed | Died::Stopped => world.bury(died),
            Died::Finished => break,
        }
    }
    let far = world.far.lock().expect("all promises held");
    (far.watch.trace, far.sums.clone())
}

impl World {
    fn new(seed: u64, steps: u64) -> Self {
        let epoch = Clock.now();
        let mut rng = Rng::new(seed ^ 0xfa12);
        let Cast { ample, head, players, policy } = Cast::draw(&mut rng);
        let policy = Arc::new(policy);
        let (dated, mortal, stored) = (rng.chance(400), rng.chance(600), rng.chance(600));
        let devices: Vec<_> = (0..DEVICES).map(|device| device.to_string()).collect();
        let mut watch = Watch::new((seed, steps), epoch);
        watch.written_within = Watch::WRITTEN;
        let far = Far::new(rng, head, policy.clone(), watch);
        Self {
            ample,
            dated,
            far: Arc::new(Mutex::new(far)),
            keys: devices.iter().map(|device| DeviceKey::new("head-end", DeviceSource::Header, device)).collect(),
            mortal,
            names: Arc::new(Names { devices, of_route: session_route(Policy::clone(&policy)) }),
            players,
            step: 0,
            store: stored.then(Memory::manual),
            wakes: epoch,
            wall: Duration::from_secs(1_800_000_000),
        }
    }

    /// A context as the configuration makes it anew.
    fn context(&self, record: &SessionContextRecord) -> Arc<SessionContext> {
        let content = record.content.clone().expect("every context of ours has its number");
        self.names.context(record.device.parse().expect("a device of ours"), content, record.opened.into())
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().expect("the promise that was broken is told above")
    }

    async fn live(&mut self, steps: u64) -> Died {
        let mut life = Life::begin(self);
        while self.step < steps {
            self.step += 1;
            self.far().watch.step = self.step;
            if self.mortal
                && let Some(died) = self.die(&mut life).await
            {
                return died;
            }
            self.act(&mut life).await;
            self.far().stirs.notify_one();
            life.reap();
        }
        self.finish(&mut life).await;
        Died::Finished
    }

    /// The process may end here: at once, or in order.
    async fn die(&mut self, life: &mut Life) -> Option<Died> {
        let fate = self.far().rng.below(1_000);
        let died = match fate {
            0..2 => {
                self.far().sums.add("crashes");
                Died::Crashed
            }
            2..3 => {
                self.far().sums.add("drains");
                life.sessions.drain(EndReason::Drained, Duration::from_secs(10)).await;
                Died::Stopped
            }
            _ => return None,
        };
        self.far().mark("dies", fate as u64, 0);
        self.part(life);
        Some(died)
    }

    /// Ends a life and returns its time. None of its tasks runs any more.
    fn part(&mut self, life: &mut Life) {
        let mut far = self.far.lock().expect("the promise that was broken is told above");
        self.wakes = far.now();
        self.wall = life.clock.wall();
        life.calls.abort_all();
        far.cut(self.wakes);
        far.dead = true;
    }

    /// Between two lives: what the store does not know may only expire.
    fn bury(&mut self, died: Died) {
        let mut far = self.far.lock().expect("the promise that was broken is told above");
        if let Some(store) = &mut self.store {
            if died == Died::Stopped {
                store.commit();
            }
            *store = store.crash();
            let records = store.load().sessions;
            far.compare(self.wakes, &records);
        } else {
            far.lose_all();
        }
        let gone = far.rng.pick(&[100, 3_000, 60_000]);
        let gone = far.rng.millis(50, gone);
        // Longer than the head-end waits.
        if gone > Duration::from_secs(5) {
            far.head.sleep();
        }
        (self.wakes, self.wall) = (self.wakes + gone, self.wall + gone);
    }

    /// Makes one move.
    async fn act(&mut self, life: &mut Life) {
        let (player, what) = {
            let mut far = self.far();
            (far.rng.below(self.players.len()), far.rng.below(1_000))
        };
        match what {
            0..220 => self.ask(life, player, CallKind::License),
            220..260 => self.ask(life, player, CallKind::Certificate),
            260..400 => self.ask(life, player, CallKind::Renewal),
            400..440 => {
                let call = self.players[player].left_over(&mut self.far.lock().expect("as above").rng);
                call.into_iter().for_each(|call| self.call(life, player, call));
            }
            440..470 => self.ask(life, player, CallKind::Release),
            470..530 => {
                self.players[player].zap();
                self.ask(life, player, CallKind::License);
            }
            530..570 => {
                self.players[player].refresh();
                self.ask(life, player, CallKind::License);
            }
            570..595 => self.stop(life, player),
            595..600 => self.hang_up(life),
            600..605 => self.connect(life, player),
            605..620 => self.report(life, player),
            620..630 => self.kill_there(),
            630..640 => self.kill_here(life, player),
            640..648 => self.turn_outage(),
            648..650 => self.suspend(life),
            650..654 => self.set_wall(life),
            654..658 => self.stall().await,
            658..708 => self.fetch(life, player),
            708..800 => self.pass(1, 500).await,
            800..950 => self.pass(500, 8_000).await,
            _ => self.pass(8_000, 70_000).await,
        }
    }

    fn ask(&mut self, life: &mut Life, player: usize, kind: CallKind) {
        let call = self.players[player].call(&mut self.far.lock().expect("as above").rng, kind);
        self.call(life, player, call);
    }

    fn call(&mut self, life: &mut Life, player: usize, call: sidebeat::session::PlayerCall) {
        let device = self.players[player].device;
        let number = {
            let mut far = self.far();
            far.mark("calls", call.kind as u64, call.token.map_or(0, |token| token.get()));
            far.calls.push(Began { call, device });
            far.calls.len() - 1
        };
        let context = self.names.context(device, number.to_string(), life.clock.wall());
        let viewer = Viewer {
            call,
            context,
            dated: self.dated,
            device,
            key: self.keys[device],
            line: Arc::new(Line(self.far.clone())),
            number,
            sessions: life.sessions.clone(),
            tasks: life.tasks.clone(),
        };
        life.running.push(life.calls.spawn(viewer.play()));
    }

    fn hang_up(&mut self, life: &mut Life) {
        life.running.retain(|call| !call.is_finished());
        if life.running.is_empty() {
            return;
        }
        let mut far = self.far();
        let at = far.rng.below(life.running.len());
        far.sums.add("hung up");
        far.mark("hangs up", at as u64, 0);
        drop(far);
        life.running.swap_remove(at).abort();
    }

    /// A player's connection goes, or is there again.
    fn connect(&mut self, life: &mut Life, player: usize) {
        self.far().mark("connects", player as u64, life.guards[player].is_some().into());
        life.guards[player] = match life.guards[player].take() {
            Some(_goes) => None,
            None => Some(life.sessions.guard(self.keys[self.players[player].device])),
        };
    }

    fn stop(&mut self, life: &Life, player: usize) {
        let Player { device, .. } = self.players[player];
        let token = self.players[player].token();
        self.far().mark("stops", player as u64, 0);
        life.sessions.stop(self.keys[device], Some(token));
    }

    /// The player says something of itself, and perhaps never again.
    fn report(&mut self, life: &Life, player: usize) {
        let plays = [
            PlayingState::Plays,
            PlayingState::Plays,
            PlayingState::Unsaid,
            PlayingState::Paused,
            PlayingState::Done,
            PlayingState::Quit,
        ];
        let streams = [None, Some(StreamType::Live), Some(StreamType::Vod)];
        let (report, token) = {
            let mut far = self.far();
            far.mark("reports", player as u64, 0);
            let report = PlayerReport {
                at_end: false,
                by_interval: far.rng.chance(700),
                of_several: false,
                playhead: None,
                playing: far.rng.pick(&plays),
                preloads: far.rng.chance(100),
                slowed: false,
                starts: far.rng.chance(100),
                stream: far.rng.pick(&streams),
                until: None,
            };
            (report, far.rng.chance(900).then(|| self.players[player].token()))
        };
        life.sessions.report(self.keys[self.players[player].device], token, report);
    }

    /// A player whose media pass through sidebeat requests a segment, perhaps with a report.
    fn fetch(&mut self, life: &mut Life, player: usize) {
        let Player { device, fetches, .. } = self.players[player];
        if !fetches {
            return;
        }
        let segment = {
            let mut far = self.far();
            far.mark("fetches", player as u64, 0);
            let report = PlayerReport {
                playing: far.rng.pick(&[PlayingState::Plays, PlayingState::Paused]),
                ..PlayerReport::default()
            };
            Segment {
                device,
                key: self.keys[device],
                line: Arc::new(Line(self.far.clone())),
                report: far.rng.chance(200).then_some(report),
                sessions: life.sessions.clone(),
                media: MediaFetch {
                    leads_past: None,
                    segment: far.rng.chance(800),
                    again: far.rng.chance(900).then_some(Duration::ZERO),
                    stream: far.rng.pick(&[
                        None,
                        Some(StreamType::Live),
                        Some(StreamType::Live),
                        Some(StreamType::Vod),
                    ]),
                },
                takes: far.rng.millis(10, 8_000),
                token: self.players[player].token(),
            }
        };
        life.running.push(life.calls.spawn(segment.play()));
    }

    fn kill_there(&mut self) {
        let far = &mut *self.far();
        let now = far.now();
        far.catch_up(now);
        far.sums.add("kills by the head-end");
        far.head.kill_one(now, &mut far.rng);
        far.mark("kills there", 0, 0);
    }

    /// An operator's kill, of whatever the player's device has last.
    fn kill_here(&mut self, life: &Life, player: usize) {
        let device = self.players[player].device;
        let name = &self.names.devices[device];
        let newest =
            life.sessions.list().into_iter().filter(|row| *row.context.device == **name).map(|row| row.id).max();
        let Some(id) = newest else { return };
        {
            let mut far = self.far();
            far.sums.add("kills by an operator");
            far.mark("kills here", id.0 >> 32, 0);
            far.killed_here.insert(SessionId(id.0 >> 32));
        }
        life.sessions.deliver(self.keys[device], id, Input::Kill(Reason::without_reply("by an operator").into()));
    }

    fn turn_outage(&mut self) {
        let far = &mut *self.far();
        let now = far.now();
        far.catch_up(now);
        far.outage = far.faulty && far.rng.chance(300);
        far.sums.add_all(far.outage.then_some("outages"));
    }

    /// The machine sleeps and wakes. Until the shell knows, no fault counts.
    fn suspend(&mut self, life: &Life) {
        let far = &mut *self.far();
        if !self.mortal {
            return;
        }
        let most = far.rng.pick(&[10_000, 120_000, 3_600_000]);
        let slept = far.rng.millis(1_000, most);
        far.sums.add("suspensions");
        far.mark("sleeps", slept.as_millis() as u64, 0);
        far.sleep();
        life.clock.suspend(slept);
    }

    fn set_wall(&mut self, life: &Life) {
        let far = &mut *self.far();
        let by = far.rng.next() as i64 % 7_200_000;
        far.sums.add("wall clock set");
        far.mark("sets the wall clock", by.unsigned_abs(), 0);
        far.stepped = Some(far.now());
        life.clock.step_wall(by);
    }

    /// The process is not given its time when it wants it.
    async fn stall(&mut self) {
        let by = {
            let far = &mut *self.far();
            if !far.faulty {
                return;
            }
            far.sums.add("stalls");
            let (now, by) = (far.now(), far.rng.millis(10, 3_000));
            far.stalled = Some([now, now + by]);
            by
        };
        // Begun calls have been sent before.
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::time::advance(by).await;
    }

    async fn pass(&mut self, from: u64, to: u64) {
        let time = self.far().rng.millis(from, to);
        tokio::time::sleep(time).await;
        let mut far = self.far();
        let now = far.now();
        far.catch_up(now);
    }

    /// Everybody stops, or just goes; then time runs until nothing is left.
    async fn finish(&mut self, life: &mut Life) {
        life.calls.abort_all();
        life.guards.clear();
        let how = {
            let far = &mut *self.far();
            let now = far.now();
            far.catch_up(now);
            far.outage = false;
            far.rng.below(3)
        };
        match how {
            0 => self.players.iter().for_each(|player| {
                life.sessions.stop(self.keys[player.device], Some(player.token()));
            }),
            1 => drop(life.sessions.drain(EndReason::Drained, Duration::from_secs(60)).await),
            _ => {}
        }
        let mut waited = 0;
        while !life.sessions.list().is_empty() {
            assert!(life.sessions.counts_are_exact(), "the running counters drift");
            self.pass(1_000, 20_000).await;
            waited += 1;
            assert!(waited < 1_000, "something is never forgotten: {:?}", life.sessions.list());
        }
        // Time for calls that were forgotten while pending.
        self.pass(60_000, 60_001).await;
        self.far().audit(self.ample && !self.mortal);
    }
}

impl Life {
    fn begin(world: &World) -> Self {
        let clock = Clock::steered(world.wall);
        let far = world.far.clone();
        far.lock().expect("as above").begin_life(clock, world.wakes);
        let (tasks, _deaths) = Tasks::new();
        let dispatcher = AuthorityDispatcher::new(Arc::new(Line(far.clone())), Handle::current(), tasks.clone());
        let chance = RandomSource::Given(Arc::new(move || far.lock().expect("as above").draw()));
        let store = world.store.clone();
        let sessions = Sessions::with_chance(
            chance,
            clock,
            dispatcher,
            Arc::default(),
            store.clone().map(|store| store as Arc<dyn Store>),
        );
        if let Some(store) = store {
            let records = store.load().sessions;
            sessions.restore(records, |record| RestoreHome::Here(world.context(record)));
            tasks.spawn(write(store, world.far.clone()));
        }
        tasks.spawn(pace(sessions.clone(), tasks.clone()));
        let guards = world.players.iter().map(|_| None).collect();
        Self { calls: JoinSet::new(), clock, running: Vec::new(), sessions, tasks, guards }
    }

    fn reap(&mut self) {
        while let Some(ended) = self.calls.try_join_next() {
            assert!(!ended.is_err_and(|fault| fault.is_panic()), "the promise that was broken is told above");
        }
        if self.running.len() > 64 {
            self.running.retain(|call| !call.is_finished());
        }
    }
}
