//! Devices, players and the head-end under one virtual clock. The world drives `Device` and `Wheel` like the shell
//! does, and checks all promises after every step.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidebeat::clock::{Clock, MonotonicTime};
use sidebeat::ids::SessionId;
use sidebeat::secret::Fingerprint;
use sidebeat::session::{
    AskKind, AuthorityAsk, AuthorityFault, BeatSource, CallAnswer, CallKind, Device, DeviceEffects, Effect, EndReason,
    Grant, Input, LicenseFeedback, MediaFetch, PlaybackStart, PlayerCall, PlayerReport, PlayingState, Policy, Reason,
    SessionEvent, SessionRefusal, StreamType, Ticket, Verdict, Wheel, WheelSlot,
};

use super::cast::{Cast, DEVICES};
use super::headend::{Book, Fate, HeadEnd};
use super::network::{Flight, Happening, Network, TIMEOUT, error};
use super::player::Player;
use super::rng::Rng;
use super::watch::Watch;

/// Longest time of a license call.
const ADMISSION: Duration = Duration::from_secs(6);

#[derive(Debug, Default)]
pub(crate) struct Card {
    slotted: Option<(MonotonicTime, WheelSlot)>,
}

/// How often what is worth seeing was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    beats: u64,
    ends: [u64; EndReason::ALL.len()],
    killed: u64,
    late: u64,
    limits: u64,
    new_on_credit: u64,
    opened: u64,
    orphans: u64,
    recovered: u64,
    renewed: u64,
    reopened: u64,
    running_on_credit: u64,
    stale: u64,
}

impl Tally {
    pub(crate) fn plus(self, other: Self) -> Self {
        let mut ends = self.ends;
        ends.iter_mut().zip(other.ends).for_each(|(sum, more)| *sum += more);
        Self {
            beats: self.beats + other.beats,
            ends,
            killed: self.killed + other.killed,
            late: self.late + other.late,
            limits: self.limits + other.limits,
            new_on_credit: self.new_on_credit + other.new_on_credit,
            opened: self.opened + other.opened,
            orphans: self.orphans + other.orphans,
            recovered: self.recovered + other.recovered,
            renewed: self.renewed + other.renewed,
            reopened: self.reopened + other.reopened,
            running_on_credit: self.running_on_credit + other.running_on_credit,
            stale: self.stale + other.stale,
        }
    }

    /// A storm that does not blow proves nothing.
    pub(crate) fn assert_that_all_of_it_happened(&self) {
        let Self { beats, ends, killed, late, limits, opened, orphans, recovered, renewed, reopened, stale, .. } =
            *self;
        let credits = [self.new_on_credit, self.running_on_credit];
        for seen in [beats, killed, late, limits, opened, orphans, recovered, renewed, reopened, stale]
            .into_iter()
            .chain(credits)
        {
            assert!(seen > 0, "{self:?}");
        }
        for (end, seen) in EndReason::ALL.into_iter().zip(ends) {
            // No playback here has a programme, and the process does not end.
            let absent = matches!(end, EndReason::Drained | EndReason::Orphaned | EndReason::Programme);
            assert!(seen > 0 || absent, "never {}", end.name());
        }
    }
}

pub(crate) struct World {
    /// Room for every device of an account at once: then no limit may be reached without a fault.
    ample: bool,
    /// Licenses say when they run out.
    dated: bool,
    devices: Vec<Device<Card>>,
    head: HeadEnd,
    killed_here: HashSet<SessionId>,
    next_id: u64,
    net: Network,
    now: Instant,
    players: Vec<Player>,
    policy: Policy,
    rng: Rng,
    stalled: bool,
    pub(crate) tally: Tally,
    pub(crate) watch: Watch,
    wheel: Wheel<(usize, SessionId)>,
    woken: Vec<usize>,
}

impl World {
    pub(crate) fn new(seed: u64, steps: u64) -> Self {
        let now = Clock.now();
        let mut rng = Rng::new(seed);
        let Cast { ample, head, players, policy } = Cast::draw(&mut rng);
        Self {
            ample,
            dated: rng.chance(400),
            devices: (0..DEVICES).map(|_| Device::default()).collect(),
            head,
            killed_here: HashSet::new(),
            next_id: 0,
            net: Network::new(rng.chance(750)),
            now,
            players,
            policy,
            rng,
            stalled: false,
            tally: Tally::default(),
            watch: Watch::new((seed, steps), now),
            wheel: Wheel::new(now.into()),
            woken: Vec::new(),
        }
    }

    /// Makes one move.
    pub(crate) fn step(&mut self, step: u64) {
        self.watch.step = step;
        let player = self.rng.below(self.players.len());
        match self.rng.below(100) {
            0..22 => self.ask(player, CallKind::License),
            22..25 => self.ask(player, CallKind::Certificate),
            25 => self.connect(player),
            26..40 => self.ask(player, CallKind::Renewal),
            40..44 => {
                if let Some(call) = self.players[player].left_over(&mut self.rng) {
                    self.call(player, call, None);
                }
            }
            44..47 => self.ask(player, CallKind::Release),
            47..53 => {
                self.players[player].zap();
                self.ask(player, CallKind::License);
            }
            53..57 => {
                self.players[player].refresh();
                self.ask(player, CallKind::License);
            }
            57..60 => self.stop(player),
            60 => self.players[player].waits = None,
            61 => self.report(player),
            62 => self.head.kill_one(self.now, &mut self.rng),
            63 => self.kill(player),
            64 => self.net.outage = self.net.faulty && self.rng.chance(300),
            65..70 => self.fetch(player),
            70..80 => self.pass(1, 500),
            80..95 => self.pass(500, 8_000),
            _ => self.pass(8_000, 70_000),
        }
        self.settle();
        self.look();
    }

    /// Everybody stops, or just goes; then time runs until nothing is left.
    pub(crate) fn finish(&mut self) {
        self.players.iter_mut().for_each(|player| player.waits = None);
        self.net.outage = false;
        if self.rng.chance(500) {
            for device in 0..self.devices.len() {
                self.end_all(device, EndReason::Stopped);
            }
        }
        let start = self.now;
        while self.devices.iter().any(|device| !device.is_empty()) || self.net.due().is_some() {
            self.pass(1_000, 5_000);
            self.settle();
            self.look();
            assert!(self.now - start < Duration::from_secs(3_600), "something is never forgotten");
        }
        self.head.expire(self.now + Duration::from_secs(600));
        assert_eq!(self.head.open_ones(), 0);
        for book in &self.head.books {
            let excused = book.hurt || book.renewed;
            assert!(book.fate != Fate::Expired || excused, "left to expire: {book:?}");
        }
        self.tally.limits = self.head.limits_reached;
        assert!(!self.ample || self.net.faulty || self.tally.limits == 0, "a limit was reached without need");
    }

    fn ask(&mut self, player: usize, kind: CallKind) {
        let call = self.players[player].call(&mut self.rng, kind);
        self.call(player, call, None);
    }

    fn call(&mut self, player: usize, call: PlayerCall, waited: Option<SessionId>) {
        let (device, now) = (self.players[player].device, self.now);
        self.players[player].waits = None;
        let (policy, next) = (self.policy.clone(), &mut self.next_id);
        let start = || {
            *next += 1;
            Some(PlaybackStart {
                account: None,
                caller: None,
                entry: Card::default(),
                id: SessionId(*next),
                seed: *next as u32,
            })
        };
        let devices = &mut self.devices;
        let mut out = DeviceEffects::new();
        let (id, answer) = match waited {
            Some(id) => devices[device].call_again(id, now.into(), &call, &policy, start, &mut out),
            None => devices[device].call(now.into(), &call, &policy, start, &mut out),
        };
        self.watch.mark(
            now,
            ["asks for a certificate", "asks for a license", "releases", "asks for a renewal"][call.kind as usize],
            id.map_or(0, |id| id.0),
            call.token.map_or(0, |token| token.get()),
        );
        self.watch.count(now, name_of(&answer), id.map_or(0, |id| id.0), 0);
        self.watch.answers(now, device, call.token, &answer);
        if let Some(id) = id {
            self.watch.names(id, call.token);
            if let Some(playback) = self.devices[device].playback_mut(id) {
                self.watch.called(id, call.token.filter(|token| playback.has_token(*token)));
            }
            let refused = matches!(answer, CallAnswer::Refuse(SessionRefusal::Killed(_)));
            assert!(!self.watch.shadow(id).killed || refused, "the killed are refused, not {answer:?}");
        }
        match (&answer, id) {
            (CallAnswer::Forward(_) | CallAnswer::Pass, Some(id)) => self.devices[device].accept(id, &call),
            (CallAnswer::Renew(..), Some(id)) => self.devices[device].accept_renewal(id, &call),
            (_, _) => {}
        }
        self.carry_out(device, out);
        match (answer, id) {
            (CallAnswer::Forward(grant), Some(id)) => self.forward(device, id, &call, &grant),
            (CallAnswer::Renew(grant, ticket), Some(id)) => {
                self.check_grant(device, id, &grant);
                self.send(device, id, ticket, AskKind::Renew, Some(grant));
            }
            (CallAnswer::Wait, Some(id)) => self.players[player].waits = Some((call, now + ADMISSION, id)),
            (CallAnswer::Pass | CallAnswer::Refuse(_), _) => {}
            (answer, None) => unreachable!("{answer:?} by no playback"),
        }
    }

    fn forward(&mut self, device: usize, id: SessionId, call: &PlayerCall, grant: &Grant) {
        self.check_grant(device, id, grant);
        if call.kind == CallKind::Release {
            if self.devices[device].release(id, call.key_session) {
                self.deliver(device, id, Input::End(EndReason::Released));
            }
            return;
        }
        let every = self.rng.chance(300).then(|| self.rng.millis(5_000, 60_000));
        let served =
            self.rng.pick(&[LicenseFeedback::Plain, LicenseFeedback::Renews { every }, LicenseFeedback::Stays]);
        let at = self.now + self.rng.millis(10, 500);
        self.net.put(at, Happening::Served(device, id, served));
    }

    /// No token reaches another device, and a player does not play long after a kill at the head-end.
    fn check_grant(&mut self, device: usize, id: SessionId, grant: &Grant) {
        let at = self.head.book_of(&grant.token);
        let timer = self.playback_beats(device, id) == Some(BeatSource::Timer);
        let book = &self.head.books[at];
        assert_eq!((book.device, book.id), (device, id), "a token of another playback");
        let beaten = timer && !book.renewed;
        if let Fate::Killed { at } = book.fate
            && beaten
            && !book.hurt
            && !self.stalled
        {
            let slow = book.interval + Duration::from_secs(2);
            assert!(self.now <= at + slow, "forwarded {:?} after the kill", self.now - at);
        }
    }

    fn playback_beats(&mut self, device: usize, id: SessionId) -> Option<BeatSource> {
        self.devices[device].playback_mut(id).map(|playback| playback.session.beats())
    }

    /// More than one where a first open was granted late, after a second one.
    fn books_of(&mut self, device: usize, id: SessionId) -> impl Iterator<Item = &mut Book> {
        self.head.books.iter_mut().filter(move |book| (book.device, book.id) == (device, id))
    }

    fn stop(&mut self, player: usize) {
        self.tell(player, &Input::End(EndReason::Stopped));
    }

    /// The player says something of itself, and perhaps never again.
    fn report(&mut self, player: usize) {
        let plays = [
            PlayingState::Plays,
            PlayingState::Plays,
            PlayingState::Unsaid,
            PlayingState::Paused,
            PlayingState::Done,
            PlayingState::Quit,
        ];
        let stream = self.rng.pick(&[None, Some(StreamType::Live), Some(StreamType::Vod)]);
        let by_interval = self.rng.chance(700);
        let report = PlayerReport { by_interval, playing: self.rng.pick(&plays), stream, ..PlayerReport::default() };
        self.tell(player, &Input::Report(report));
    }

    /// A player whose media pass through sidebeat requests a segment.
    fn fetch(&mut self, player: usize) {
        if self.players[player].fetches {
            let stream = self.rng.pick(&[None, Some(StreamType::Live), Some(StreamType::Vod)]);
            let again = self.rng.chance(900).then_some(Duration::ZERO);
            self.tell(player, &Input::Media(MediaFetch { again, leads_past: None, segment: true, stream }));
        }
    }

    /// Gives an input to the playback of the player's token.
    fn tell(&mut self, player: usize, input: &Input) {
        let (device, token) = (self.players[player].device, self.players[player].token());
        let fits = |p: &&sidebeat::session::Playback<Card>| p.session.is_active() && p.has_token(token);
        let ids: Vec<_> = self.devices[device].playbacks().iter().filter(fits).map(|p| p.id).collect();
        ids.into_iter().for_each(|id| self.deliver(device, id, input.clone()));
    }

    fn served(&mut self, device: usize, id: SessionId, served: LicenseFeedback) {
        self.deliver(device, id, Input::Served(served));
        let mut out = DeviceEffects::new();
        let lasts = self.dated.then(|| self.rng.millis(5_000, 100_000));
        let key_session = Fingerprint::new(self.rng.below(3) as u64);
        self.devices[device].licensed(id, self.now.into(), key_session, lasts, &self.policy, &mut out);
        self.carry_out(device, out);
    }

    /// A player's last connection goes, or one is there again.
    fn connect(&mut self, player: usize) {
        let (device, connected, mut out) = (self.players[player].device, self.rng.chance(400), DeviceEffects::new());
        let policy = Arc::new(self.policy.clone());
        self.devices[device].connected(self.now.into(), connected, |_| Policy::clone(&policy), &mut out);
        self.carry_out(device, out);
    }

    fn end_all(&mut self, device: usize, why: EndReason) {
        let ids: Vec<_> = self.devices[device].playbacks().iter().map(|p| p.id).collect();
        ids.into_iter().for_each(|id| self.deliver(device, id, Input::End(why)));
    }

    /// An operator's kill, of whatever the player's device has last.
    fn kill(&mut self, player: usize) {
        let device = self.players[player].device;
        let Some(id) = self.devices[device].playbacks().last().map(|p| p.id) else { return };
        self.killed_here.insert(id);
        self.deliver(device, id, Input::Kill(Reason::without_reply("by an operator").into()));
    }

    fn deliver(&mut self, device: usize, id: SessionId, input: Input) {
        let mut out = DeviceEffects::new();
        if matches!(input, Input::Tick) {
            let given_up = self.watch.ticks(self.now, id, &self.policy);
            if given_up == Some(AskKind::Close) {
                self.books_of(device, id).for_each(|book| book.closes_failed += 1);
            }
        }
        self.devices[device].deliver(id, self.now.into(), input, &self.policy, &mut out);
        self.carry_out(device, out);
    }

    fn carry_out(&mut self, device: usize, out: DeviceEffects) {
        let late: Vec<_> = out.iter().filter(|(_, e)| matches!(e, Effect::Note(SessionEvent::BeatLate(_)))).collect();
        let late: Vec<_> = late.into_iter().map(|(id, _)| *id).collect();
        for (id, effect) in out {
            match effect {
                Effect::Ask(AuthorityAsk { beside: _, grant, kind, ticket, told: _ }) => {
                    if kind == AskKind::Beat
                        && let Some(playback) = self.devices[device].playback_mut(id)
                    {
                        self.watch.beats(self.now, id, &playback.session, &self.policy, late.contains(&id));
                    }
                    self.send(device, id, ticket, kind, grant);
                }
                Effect::Displace(_) | Effect::Forget => self.watch.mark(self.now, "forget", id.0, 0),
                Effect::Note(event) => self.note(device, id, &event),
                Effect::Wake => self.woken.push(device),
            }
        }
        self.schedule(device);
    }

    fn note(&mut self, device: usize, id: SessionId, event: &SessionEvent) {
        self.watch.mark(self.now, event.name(), id.0, 0);
        match event {
            SessionEvent::Beat => self.tally.beats += 1,
            SessionEvent::BeatLate(_) => self.tally.late += 1,
            SessionEvent::Closed(end) => {
                let at = EndReason::ALL.iter().position(|known| known == end).expect("one of all");
                self.tally.ends[at] += 1;
            }
            SessionEvent::Killed(_) => {
                self.tally.killed += 1;
                let by_us = self.killed_here.contains(&id);
                let reached = self.watch.is_reached(self.now, device, id);
                assert!(by_us || reached || self.head.has_killed(id), "no kill was: {id:?}");
                self.watch.killed(self.now, device, id, &self.policy);
            }
            SessionEvent::Opened { .. } => {
                self.tally.opened += 1;
                if self.playback_beats(device, id) != Some(BeatSource::Timer) {
                    self.books_of(device, id).for_each(|book| book.renewed = true);
                }
            }
            SessionEvent::Recovered(_) => self.tally.recovered += 1,
            SessionEvent::Renewed => self.tally.renewed += 1,
            SessionEvent::Reopening => {
                self.tally.reopened += 1;
                self.watch.reopens(id);
            }
            SessionEvent::Returned => self.watch.may_open_again(id),
            SessionEvent::Stale(_) => self.tally.stale += 1,
            SessionEvent::RenewalsCarry => self.books_of(device, id).for_each(|book| book.renewed = true),
            SessionEvent::OnCredit { running: false } => self.tally.new_on_credit += 1,
            SessionEvent::OnCredit { running: true } => {
                self.tally.running_on_credit += 1;
                self.watch.may_open_again(id);
            }
            SessionEvent::Blackout(_)
            | SessionEvent::Failed(..)
            | SessionEvent::Forgiven
            | SessionEvent::Joined
            | SessionEvent::Left(_)
            | SessionEvent::LeftOpen
            | SessionEvent::Orphaned
            | SessionEvent::Reached(_)
            | SessionEvent::Refused(..)
            | SessionEvent::Resumed
            | SessionEvent::Settled(_)
            | SessionEvent::Unmanaged => {}
        }
    }

    fn send(&mut self, device: usize, id: SessionId, ticket: Ticket, kind: AskKind, grant: Option<Grant>) {
        let now = self.now;
        self.watch.mark(now, kind_name(kind), id.0, u64::from(ticket.number()));
        let begun = self.devices[device].playback_mut(id).and_then(|playback| playback.first_token());
        self.watch.asks(now, device, id, (ticket, kind), begun);
        let holds = self.devices[device].playback_mut(id).is_some_and(|playback| playback.session.interval().is_some());
        let owed = self.watch.has_owed(id);
        assert!(ticket != Ticket::OrphanedGrant || !holds || owed, "what is in use is not given back beside the lane");
        let renews = self.playback_beats(device, id) != Some(BeatSource::Timer);
        let token = grant.map(|grant| grant.token);
        if let Some(token) = &token {
            self.head.look_at(token, kind);
            let at = self.head.book_of(token);
            let book = &mut self.head.books[at];
            book.renewed |= renews || kind == AskKind::Renew;
            if kind == AskKind::Close && ticket != Ticket::OrphanedGrant {
                book.closes_asked += 1;
                assert!(book.closes_asked <= book.closes_failed + 1, "closed once: {book:?}");
            }
        }
        let flight = Flight { device, id, kind, sent: now, ticket, token };
        if self.net.send(now, &mut self.rng, flight.clone()) {
            self.head.hurt(flight.token.as_ref());
        }
    }

    fn arrive(&mut self, flight: Flight, deaf: bool) {
        let from = (flight.device, flight.id);
        let ill = self.net.outage || (self.net.faulty && self.rng.chance(20));
        let result = if ill {
            self.head.hurt(flight.token.as_ref());
            error()
        } else {
            self.head.handle(self.now, &mut self.rng, from, flight.kind, flight.token.as_ref())
        };
        let granted = matches!(result, Ok(Verdict::Granted(_)));
        let token = flight.token.clone();
        if deaf || self.net.reply(self.now, &mut self.rng, flight, result) {
            self.head.hurt(token.as_ref());
            if granted {
                self.head.hurt_last();
            }
        }
    }

    fn answer(&mut self, flight: Flight, result: Result<Verdict, AuthorityFault>) {
        let Flight { device, id, kind, sent, ticket, token } = flight;
        self.watch.mark(self.now, "answer", id.0, u64::from(ticket.number()));
        if let (AskKind::Close, Some(token), Err(_)) = (kind, &token, &result) {
            let at = self.head.book_of(token);
            self.head.books[at].closes_failed += 1;
        }
        let Some(playback) = self.devices[device].playback_mut(id) else {
            // The shell does the same: the playback is forgotten, so the grant is given back at once.
            if let (AskKind::Open, Ok(Verdict::Granted(grant))) = (kind, result) {
                self.tally.orphans += 1;
                self.send(device, id, Ticket::OrphanedGrant, AskKind::Close, Some(grant));
            }
            return;
        };
        let known = playback.session.interval();
        if self.watch.answered(self.now, id, (ticket, kind), known, &result) {
            // A late answer only confirms an earlier state.
            let fresh = self.now <= sent + TIMEOUT;
            token.iter().filter(|_| fresh).for_each(|token| self.head.heal(token, &result));
            token.iter().for_each(|token| self.head.tell(token, kind, &result));
        }
        if kind == AskKind::Open && matches!(&result, Ok(Verdict::Denied(denial, _)) if denial.may_pass()) {
            // The result is ignored: the shell would ask once more.
            let mut out = DeviceEffects::new();
            self.devices[device].turn(id, self.now.into(), |_| true, &self.policy, &mut out);
            self.carry_out(device, out);
        }
        self.deliver(device, id, Input::Answered(ticket, kind, result));
    }

    fn schedule(&mut self, device: usize) {
        let due: Vec<_> =
            self.devices[device].playbacks().iter().map(|p| (p.id, p.session.deadline(), p.entry.slotted)).collect();
        for (id, deadline, slotted) in due {
            let Some(deadline) = deadline else { continue };
            let since = deadline.saturating_duration_since(self.watch.base().into());
            self.watch.count(self.now, "deadline", id.0, since.as_nanos() as u64);
            if slotted.is_some_and(|(at, _)| at <= deadline) {
                continue;
            }
            let slot = self.wheel.insert(deadline, (device, id));
            if let Some(playback) = self.devices[device].playback_mut(id) {
                playback.entry.slotted = Some((deadline, slot));
            }
        }
    }

    /// Lets time go by, with everything that happens in it.
    fn pass(&mut self, from: u64, to: u64) {
        let until = self.now + self.rng.millis(from, to);
        for turns in 0.. {
            assert!(turns < 100_000, "time stands still");
            let next = [self.net.due(), self.wake()].into_iter().flatten().min().filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            // The process is not always given its time when it wants it.
            if self.net.faulty && self.rng.chance(5) {
                self.stalled = true;
                self.now += self.rng.millis(10, 3_000);
            }
            while let Some(happening) = self.net.take(self.now) {
                match happening {
                    Happening::Answer(flight, result) => self.answer(flight, result),
                    Happening::Arrive(flight, deaf) => self.arrive(flight, deaf),
                    Happening::Served(device, id, served) => self.served(device, id, served),
                }
                self.settle();
            }
            self.turn();
            self.settle();
        }
        self.now = self.now.max(until);
    }

    /// When the timer wakes: at the wheel's tick after the earliest deadline that stands on it. The
    /// wheel's own answer is compared now and then only, since it looks at every slot.
    fn wake(&mut self) -> Option<Instant> {
        if self.rng.chance(20) {
            return self.wheel.next_due().map(Instant::from);
        }
        let playbacks = self.devices.iter().flat_map(|device| device.playbacks());
        let earliest = playbacks.filter_map(|p| p.entry.slotted).map(|(at, _)| at).min()?;
        let tick = Wheel::<()>::WHEEL_TICK_TIME.as_nanos();
        let ticks = earliest.saturating_duration_since(self.watch.base().into()).as_nanos().div_ceil(tick);
        let at = self.watch.base() + Duration::from_nanos((ticks * tick) as u64);
        // A deadline that had passed already stands in the wheel's next tick.
        if at > self.now { Some(at) } else { self.wheel.next_due().map(Instant::from) }
    }

    fn turn(&mut self) {
        while let Some((slot, entries)) = self.wheel.advance(self.now.into()) {
            for (device, id) in entries {
                let Some(playback) = self.devices[device].playback_mut(id) else { continue };
                if playback.entry.slotted.is_none_or(|(_, stands)| stands != slot) {
                    continue;
                }
                playback.entry.slotted = None;
                if playback.session.deadline().is_some_and(|deadline| deadline <= self.now.into()) {
                    self.deliver(device, id, Input::Tick);
                } else {
                    self.schedule(device);
                }
            }
        }
    }

    /// The players that were woken ask again; those that waited too long give up.
    fn settle(&mut self) {
        let mut wakes = 0;
        while let Some(device) = self.woken.pop() {
            wakes += 1;
            assert!(wakes < 1_000, "calls of a device wake each other without end");
            for player in 0..self.players.len() {
                if self.players[player].device == device
                    && let Some((call, until, id)) = self.players[player].waits.take()
                    && self.now < until
                {
                    self.call(player, call, Some(id));
                    if let Some((_, again, _)) = &mut self.players[player].waits {
                        *again = until;
                    }
                }
            }
        }
    }

    /// Checks the conditions that hold between any two moves.
    fn look(&mut self) {
        for device in &self.devices {
            let taken = device.playbacks().iter().filter(|p| p.session.takes_place()).count();
            // Beside the allowed playbacks there is at most one preload, and one that is being opened.
            assert!(taken <= self.policy.sessions_per_device + 2, "{taken} places are taken");
            for playback in device.playbacks() {
                let killed = self.watch.shadow(playback.id).killed;
                assert_eq!(killed, playback.session.is_killed());
                let deadline = playback.session.deadline().expect("every state ends some day");
                let stands = playback.entry.slotted.is_some_and(|(at, _)| at <= deadline);
                assert!(stands, "no wheel entry before its deadline");
            }
        }
        for player in &self.players {
            let Some((call, until, _)) = &player.waits else { continue };
            let someone = !self.devices[player.device].is_empty();
            assert!(someone || self.now >= *until, "nobody is left to wake {call:?}");
        }
    }
}

/// Outage: none, or for as long as one may last.
pub(crate) fn kind_name(kind: AskKind) -> &'static str {
    match kind {
        AskKind::Beat => "send beat",
        AskKind::Close => "send close",
        AskKind::Open => "send open",
        AskKind::Renew => "send renewal",
    }
}

/// The name of a refusal includes its cause, so that traces differ.
fn name_of(answer: &CallAnswer) -> &'static str {
    match answer {
        CallAnswer::Forward(_) => "forward",
        CallAnswer::Pass => "pass",
        CallAnswer::Refuse(SessionRefusal::Denied(..)) => "refused: denied",
        CallAnswer::Refuse(SessionRefusal::Ended(end)) => end.name(),
        CallAnswer::Refuse(SessionRefusal::Expired) => "refused: expired",
        CallAnswer::Refuse(SessionRefusal::Killed(_)) => "refused: killed",
        CallAnswer::Refuse(SessionRefusal::Unreachable(_)) => "refused: unreachable",
        CallAnswer::Renew(..) => "renew",
        CallAnswer::Wait => "wait",
    }
}
