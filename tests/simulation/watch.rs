//! Keeps a shadow of every playback, and checks the promises against it at every turn.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use sidebeat::ids::SessionId;
use sidebeat::secret::Fingerprint;
use sidebeat::session::{
    AskKind, AuthorityFault, BeatSource, CallAnswer, Policy, Session, SessionRefusal, Ticket, Verdict,
};

/// The shadow's knowledge of a playback.
#[derive(Default)]
pub(crate) struct Shadow {
    /// Start and distance of counted beats; `None` while beats are lost.
    basis: Option<(Instant, Duration)>,
    /// The basis is an open's answer, which the session hears of when it is written down.
    by_open: bool,
    faulted: Option<Instant>,
    flying: Option<(Ticket, AskKind, Instant)>,
    pub(crate) killed: bool,
    killed_at: Option<Instant>,
    /// Content tokens that calls for it brought, also those that another one has.
    named: BTreeSet<Fingerprint>,
    /// True if its player has a license.
    pub(crate) licensed: bool,
    /// A beat that is about to set out was noted as late.
    pub(crate) late: bool,
    opened: bool,
    owed: bool,
    /// Opens anew what an answer that was lost has cost it, as often as its place is taken.
    reopens: bool,
    /// Plays without a session with the authority's leave, or on credit.
    pub(crate) sessionless: bool,
    tokens: BTreeSet<Fingerprint>,
}

pub(crate) struct Watch {
    /// Content tokens that were killed, per device, and until when that holds.
    banned: HashMap<(usize, Fingerprint), Instant>,
    base: Instant,
    /// When something was killed last, at which device, and its tokens.
    last_kill: Option<(Instant, usize, BTreeSet<Fingerprint>)>,
    moves: VecDeque<(u64, Duration, &'static str, u64, u64)>,
    seed: u64,
    /// Number of steps in the run.
    steps: u64,
    /// A replay shows every move.
    shown: usize,
    shadows: Vec<Shadow>,
    /// When the machine slept last.
    slept: Option<Instant>,
    pub(crate) step: u64,
    pub(crate) trace: u64,
    /// Longest time that an answer may wait until the store knows of its open.
    pub(crate) written_within: Duration,
}

impl Watch {
    pub(crate) fn new((seed, steps): (u64, u64), base: Instant) -> Self {
        let (banned, moves, shadows) = (HashMap::new(), VecDeque::new(), Vec::new());
        let shown = if std::env::var_os("SIMULATION_SEED").is_some() { usize::MAX } else { 60 };
        Self {
            banned,
            base,
            last_kill: None,
            moves,
            seed,
            steps,
            shown,
            shadows,
            slept: None,
            step: 0,
            trace: 0,
            written_within: Duration::ZERO,
        }
    }

    pub(crate) fn base(&self) -> Instant {
        self.base
    }

    /// The setting under which it happens again: a run ends differently after another count of steps.
    pub(crate) fn replay(&self) -> String {
        format!("SIMULATION_SEED={} SIMULATION_STEPS={}", self.seed, self.steps)
    }

    /// Adds to the trace, and to what a failure shows.
    pub(crate) fn mark(&mut self, now: Instant, what: &'static str, a: u64, b: u64) {
        self.count(now, what, a, b);
        let at = now - self.base;
        if self.moves.len() == self.shown {
            self.moves.pop_front();
        }
        self.moves.push_back((self.step, at, what, a, b));
    }

    /// Adds to the trace alone.
    pub(crate) fn count(&mut self, now: Instant, what: &'static str, a: u64, b: u64) {
        let at = now - self.base;
        let letters = what.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        for part in [at.as_nanos() as u64, letters, a, b] {
            self.trace = (self.trace ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
    }

    pub(crate) fn shadow(&mut self, SessionId(id): SessionId) -> &mut Shadow {
        let at = id as usize;
        if self.shadows.len() <= at {
            self.shadows.resize_with(at + 1, Shadow::default);
        }
        &mut self.shadows[at]
    }

    pub(crate) fn is_flying(&self, SessionId(id): SessionId, ticket: Ticket, kind: AskKind) -> bool {
        let flying = self.shadows.get(id as usize).and_then(|shadow| shadow.flying);
        flying.is_some_and(|(flies, of, _)| (flies, of) == (ticket, kind))
    }

    /// A call waits at most so long until the store knows of it.
    pub(crate) const WRITTEN: Duration = Duration::from_secs(1);

    /// Within this time a shell must know that the machine slept.
    const NOTICED: Duration = Duration::from_secs(6);

    /// The machine slept: what was due meanwhile is due now, and sooner than its interval.
    pub(crate) fn sleeps(&mut self, now: Instant) {
        self.slept = Some(now);
        for shadow in &mut self.shadows {
            (shadow.basis, shadow.faulted) = (None, Some(self.base));
        }
    }

    /// The process died: nothing is under way any more, and what it knew is gone.
    pub(crate) fn forget_all(&mut self) {
        self.banned.clear();
        for shadow in &mut self.shadows {
            (shadow.basis, shadow.faulted) = (None, Some(self.base));
            let lost = shadow.flying.take();
            shadow.opened &= lost.is_none_or(|(_, kind, _)| kind != AskKind::Open);
        }
    }

    /// A playback of this content token was killed, and is remembered.
    pub(crate) fn is_banned(&self, now: Instant, device: usize, token: Fingerprint) -> bool {
        self.banned.get(&(device, token)).is_some_and(|until| now < *until)
    }

    /// A call of a killed token is refused, whichever playback of the device it is for.
    pub(crate) fn answers(&self, now: Instant, device: usize, token: Option<Fingerprint>, answer: &CallAnswer) {
        let banned = token.is_some_and(|token| self.is_banned(now, device, token));
        let refused = matches!(answer, CallAnswer::Refuse(SessionRefusal::Killed(_)));
        assert!(!banned || refused, "a killed token is refused everywhere, not {answer:?}");
    }

    /// A call for this playback brought this token.
    pub(crate) fn names(&mut self, id: SessionId, token: Option<Fingerprint>) {
        self.shadow(id).named.extend(token);
    }

    /// A call reached this playback and left its token with it.
    pub(crate) fn called(&mut self, id: SessionId, token: Option<Fingerprint>) {
        self.shadow(id).tokens.extend(token);
    }

    pub(crate) fn asks(
        &mut self,
        now: Instant,
        device: usize,
        id: SessionId,
        (ticket, kind): (Ticket, AskKind),
        token: Option<Fingerprint>,
    ) {
        if kind == AskKind::Open {
            let decided = self.shadow(id).killed_at.is_some_and(|at| now <= at + Self::WRITTEN);
            let banned = token.filter(|_| !decided).and_then(|token| self.banned.get(&(device, token)));
            assert!(banned.is_none_or(|until| now >= *until), "nothing but a new playback re-opens a killed one");
        }
        let shadow = self.shadow(id);
        if ticket == Ticket::OrphanedGrant {
            return;
        }
        if kind == AskKind::Open && shadow.reopens {
            shadow.opened = false;
            // A session that met the limit is seen when it asks again.
            shadow.flying.take_if(|(_, kind, _)| *kind == AskKind::Open);
        }
        shadow.reopens &= kind == AskKind::Open;
        assert!(kind != AskKind::Open || !shadow.opened, "one open per playback, unless it failed");
        assert!(shadow.flying.is_none(), "one writer: {kind:?} while {:?}", shadow.flying);
        // A decision before the kill may be sent after it, when it is written.
        let killed = shadow.killed && shadow.killed_at.is_some_and(|at| now > at + Self::WRITTEN);
        assert!(!killed || kind == AskKind::Close, "the killed neither beats nor opens");
        shadow.opened |= kind == AskKind::Open;
        shadow.flying = Some((ticket, kind, now));
    }

    pub(crate) fn beats(&mut self, now: Instant, id: SessionId, session: &Session, policy: &Policy, counted: bool) {
        assert_eq!(session.beats(), BeatSource::Timer, "renewals are the beats");
        self.shadow(id).late = counted;
        self.beats_in_time(now, id, policy);
    }

    /// A beat sets out; that it is late was noted, or not, with [`Shadow::late`].
    pub(crate) fn beats_in_time(&mut self, now: Instant, id: SessionId, policy: &Policy) {
        let written_within = self.written_within;
        let shadow = self.shadow(id);
        let counted = std::mem::take(&mut shadow.late);
        let heard_later = if shadow.by_open { written_within } else { Duration::ZERO };
        match shadow.basis {
            Some((since, interval)) => {
                let due = since + interval.mul_f64(policy.fraction);
                assert!(now >= due, "early by {:?}", due - now);
                let late = now - due;
                assert!(
                    counted || late <= Policy::MAX_BEAT_LATENESS + heard_later,
                    "late by {late:?}, and not counted"
                );
                assert!(!counted || late > Policy::MAX_BEAT_LATENESS, "counted as late by {late:?}");
            }
            None => {
                let faulted = shadow.faulted.expect("a first beat has its basis");
                assert!(now >= faulted + policy.retry_after(1), "retried after {:?}", now - faulted);
            }
        }
    }

    /// An answer is about to be delivered. False if its caller no longer waits.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        id: SessionId,
        call: (Ticket, AskKind),
        known: Option<Duration>,
        result: &Result<Verdict, AuthorityFault>,
    ) -> bool {
        let (base, slept) = (self.base, self.slept);
        let shadow = self.shadow(id);
        let Some((_, kind, since)) = shadow.flying.take_if(|flying| (flying.0, flying.1) == call) else { return false };
        let interval = match result {
            Ok(Verdict::Alive { interval, .. }) => interval.or(known),
            Ok(Verdict::Granted(grant)) => Some(grant.interval),
            Ok(_) | Err(_) => None,
        };
        shadow.late = false;
        shadow.owed |= kind == AskKind::Open && result.is_err();
        shadow.opened &= !(kind == AskKind::Open && result.is_err());
        shadow.by_open = kind == AskKind::Open;
        shadow.basis = interval.map(|interval| (if kind == AskKind::Open { now } else { since }, interval));
        if result.is_err() {
            shadow.faulted = Some(now);
        }
        if slept.is_some_and(|slept| since <= slept + Self::NOTICED) {
            shadow.basis = None;
            shadow.faulted.get_or_insert(base);
        }
        true
    }

    /// A tick is about to be delivered: what has been in flight for too long is given up by it.
    pub(crate) fn ticks(&mut self, now: Instant, id: SessionId, policy: &Policy) -> Option<AskKind> {
        let late = self.shadow(id).flying.is_some_and(|(_, _, since)| now >= since + policy.call_timeout);
        if late { self.gives_up(now, id) } else { None }
    }

    /// Gives up the pending call.
    pub(crate) fn gives_up(&mut self, now: Instant, id: SessionId) -> Option<AskKind> {
        let shadow = self.shadow(id);
        let given_up = shadow.flying.take();
        if let Some((_, kind, _)) = given_up {
            shadow.owed |= kind == AskKind::Open;
            shadow.opened &= kind != AskKind::Open;
            shadow.basis = None;
            shadow.faulted = Some(now);
        }
        given_up.map(|(_, kind, _)| kind)
    }

    /// An open failed, and may be granted late, beside a later one that is in use.
    pub(crate) fn has_owed(&mut self, id: SessionId) -> bool {
        self.shadow(id).owed
    }

    /// The authority lost it, for want of an answer that it had given.
    pub(crate) fn reopens(&mut self, id: SessionId) {
        self.shadow(id).reopens = true;
    }

    /// On credit it may outlive its session.
    pub(crate) fn may_open_again(&mut self, id: SessionId) {
        self.shadow(id).opened = false;
    }

    /// True if a kill of this moment covers this playback as well: both have the same token, or none.
    pub(crate) fn is_reached(&mut self, now: Instant, device: usize, id: SessionId) -> bool {
        let Shadow { named, tokens, .. } = self.shadow(id);
        let tokens: BTreeSet<_> = tokens.union(named).copied().collect();
        self.last_kill.as_ref().is_some_and(|(at, of, killed)| {
            let alike = !killed.is_disjoint(&tokens) || (killed.is_empty() && tokens.is_empty());
            (*at, *of) == (now, device) && alike
        })
    }

    pub(crate) fn killed(&mut self, now: Instant, device: usize, id: SessionId, policy: &Policy) {
        let shadow = self.shadow(id);
        assert!(!shadow.killed, "killed once");
        (shadow.killed, shadow.killed_at) = (true, Some(now));
        let (named, tokens) = (shadow.named.clone(), std::mem::take(&mut shadow.tokens));
        let before = self.last_kill.take().filter(|(at, of, _)| (*at, *of) == (now, device));
        let mut killed = before.map(|(_, _, tokens)| tokens).unwrap_or_default();
        killed.extend(named.union(&tokens));
        self.last_kill = Some((now, device, killed));
        self.banned.extend(tokens.into_iter().map(|token| ((device, token), now + policy.kill_memory)));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        println!("{} failed at step {}; the last moves:", self.replay(), self.step);
        for (step, at, what, a, b) in &self.moves {
            println!("{step:6} {:12.3} s  {what} {a} {b}", at.as_secs_f64());
        }
    }
}
