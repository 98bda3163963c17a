//! The state of the simulated head-end, behind the lock in `HeadendShared`.
//!
//! Adds to the ledger what the vendor's wire needs: token rotation, one-shot tokens, the log, the script and the
//! session list. Never waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::ServiceRefusal;
use super::fault_script::FaultScript;
use super::firstlight::FirstLightState;
use super::journal::{CallEntry, CallJournal};
use super::options::ClearKey;
use super::settings::{Settings, StaleToken};
use super::ssm;
use super::token::{ContentToken, Issuer, SessionToken, session_name};
use sidebeat_core::ledger::{LedgerClaim, LimitReached, SlotEnding, SlotLedger, SlotLimits, SlotLoss, SlotNumber};
use sidebeat_system::random::random_u64;

/// Live sessions at most.
const MAX_LIVE_SESSIONS: usize = 1_000_000;
/// Remembered one-shot tokens before the expired ones are dropped.
const MAX_PLAYED_TOKENS: usize = 100_000;
/// A beat before this part of its interval is early.
const MIN_BEAT_FRACTION: f64 = 0.5;

/// The time of a call, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallMoment {
    pub(super) now: Instant,
    /// Seconds since the Unix epoch.
    pub(super) wall: u64,
    /// The same in milliseconds.
    pub(super) wall_ms: u64,
}

pub(super) struct HeadendState {
    pub(super) clear_keys: Vec<ClearKey>,
    pub(super) counters: HeadendCounters,
    pub(super) faults: FaultScript,
    pub(super) issuer: Arc<Issuer>,
    pub(super) journal: CallJournal,
    pub(super) ledger: SlotLedger,
    pub(super) light: FirstLightState,
    pub(super) settings: Settings,
    pub(super) start: Instant,
    live: HashMap<SlotNumber, WireSession>,
    /// Used one-shot tokens, with their expiry.
    played: HashMap<String, u64>,
    settled: u64,
}

#[derive(Debug, Default)]
pub(super) struct HeadendCounters {
    pub(super) calls: BTreeMap<&'static str, u64>,
    pub(super) early_beats: u64,
    pub(super) ended: BTreeMap<&'static str, u64>,
    pub(super) opened: u64,
    /// Calls of a session that came while another one was being served.
    pub(super) overlaps: u64,
    /// Largest number of live sessions.
    pub(super) peak: u64,
    pub(super) refused: BTreeMap<i64, u64>,
}

/// Facts that the wire adds to a session of the ledger.
pub(super) struct WireSession {
    pub(super) early: u64,
    pub(super) in_flight: u32,
    external: Option<String>,
    interval: Duration,
    turn: u64,
    wire_interval: u64,
}

impl HeadendState {
    pub(super) fn new(issuer: Arc<Issuer>, settings: Settings, clear_keys: Vec<ClearKey>, start: Instant) -> Self {
        Self {
            clear_keys,
            counters: HeadendCounters::default(),
            faults: FaultScript::default(),
            issuer,
            journal: CallJournal::default(),
            ledger: SlotLedger::new(MAX_LIVE_SESSIONS, random_u64()),
            light: FirstLightState::default(),
            live: HashMap::new(),
            played: HashMap::new(),
            settings,
            settled: 0,
            start,
        }
    }

    /// Opens a session; returns its slot and first token.
    pub(super) fn open(
        &mut self,
        at: CallMoment,
        content: &ContentToken,
    ) -> Result<(SlotNumber, String), ServiceRefusal> {
        let control = content.session.as_ref().ok_or(ssm::DISABLED)?;
        let external = control.external.as_ref();
        if external.is_some_and(|id| id.len() > 256) {
            return Err(ssm::EXTERNAL_LONG);
        }
        if external.is_some() && self.live.values().any(|live| live.external.as_ref() == external) {
            return Err(ssm::EXTERNAL_USED);
        }
        let limits = self.limits(control.limit);
        let claim = LedgerClaim {
            account: &content.account,
            content: &content.content,
            content_group: None,
            device: &content.device,
            device_group: None,
        };
        let (slot, _ended) = self.ledger.open(at.now, &claim, &limits).map_err(|limit| match limit {
            LimitReached::Account { .. } | LimitReached::ContentGroup { .. } | LimitReached::DeviceGroup { .. } => {
                ssm::LIMIT
            }
            LimitReached::Device { .. } => ssm::LIMIT_DEVICE,
            LimitReached::Full { .. } => ssm::UNAVAILABLE,
            LimitReached::Name => ssm::FORMAT,
        })?;
        let (interval, wire_interval) = (self.settings.interval(), self.settings.wire_interval());
        let external = external.cloned();
        self.live.insert(slot, WireSession { early: 0, external, in_flight: 0, interval, turn: 0, wire_interval });
        self.counters.opened += 1;
        self.counters.peak = self.counters.peak.max(self.ledger.len() as u64);
        Ok((slot, self.token(at, slot)))
    }

    /// Confirms a session by its current token; returns the next one.
    pub(super) fn beat(&mut self, at: CallMoment, token: SessionToken) -> Result<String, ServiceRefusal> {
        self.is_current(token)?;
        let last = self.ledger.row(token.slot).map(|row| row.last);
        self.ledger.beat(at.now, token.slot).map_err(|lost| match lost {
            SlotLoss::Expired | SlotLoss::Killed(_) | SlotLoss::Unknown => ssm::NOT_FOUND,
        })?;
        let live = self.live.get_mut(&token.slot).ok_or(ssm::NOT_FOUND)?;
        live.turn += 1;
        if last.is_some_and(|last| at.now.saturating_duration_since(last) < live.interval.mul_f64(MIN_BEAT_FRACTION)) {
            live.early += 1;
            self.counters.early_beats += 1;
        }
        Ok(self.token(at, token.slot))
    }

    pub(super) fn close(&mut self, token: SessionToken) -> Result<(), ServiceRefusal> {
        self.is_current(token)?;
        if self.ledger.close(token.slot) { Ok(()) } else { Err(ssm::NOT_FOUND) }
    }

    /// True if this is the current or previous token of a live session with this content and account. A license
    /// server knows signature and expiry, not the latest turn.
    pub(super) fn holds(&self, token: SessionToken, content: &ContentToken) -> bool {
        let fresh = self.live.get(&token.slot).is_some_and(|live| live.turn.wrapping_sub(token.turn) <= 1);
        let row = self.ledger.row(token.slot);
        let fits = |plays: &str| self.settings.counts_devices || plays == content.content;
        fresh && row.is_some_and(|row| row.account == content.account && fits(row.content))
    }

    /// Marks a one-shot token as used; false if it was used before. A token without expiry and `jti` is not one-shot.
    pub(super) fn play(&mut self, at: CallMoment, content: &ContentToken) -> bool {
        let (Some(jti), Some(expires)) = (&content.jti, content.expires) else { return true };
        if self.played.len() >= MAX_PLAYED_TOKENS {
            self.played.retain(|_, expires| *expires >= at.wall);
        }
        self.played.insert(jti.clone(), expires).is_none()
    }

    pub(super) fn was_played(&self, content: &ContentToken) -> bool {
        content.expires.is_some() && content.jti.as_ref().is_some_and(|jti| self.played.contains_key(jti))
    }

    pub(super) fn live(&self, slot: SlotNumber) -> Option<&WireSession> {
        self.live.get(&slot)
    }

    /// Counts a call of the session, and an overlap if another one is still being served.
    pub(super) fn enter(&mut self, slot: SlotNumber) {
        let Some(live) = self.live.get_mut(&slot) else { return };
        live.in_flight += 1;
        if live.in_flight > 1 {
            self.counters.overlaps += 1;
        }
    }

    pub(super) fn leave(&mut self, slot: SlotNumber) {
        if let Some(live) = self.live.get_mut(&slot) {
            live.in_flight = live.in_flight.saturating_sub(1);
        }
    }

    pub(super) fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// Forgets the wire's facts of ended sessions, and logs ends that no call of theirs requested.
    pub(super) fn settle(&mut self) {
        let fresh = self.ledger.ended_total() - self.settled;
        if fresh == 0 {
            return;
        }
        self.settled += fresh;
        let ended: Vec<_> = self.ledger.ended().take(usize::try_from(fresh).unwrap_or(usize::MAX)).cloned().collect();
        for end in ended.into_iter().rev() {
            self.live.remove(&end.slot);
            *self.counters.ended.entry(end_name(end.end)).or_default() += 1;
            let endpoint = match end.end {
                SlotEnding::Close => continue,
                SlotEnding::Expire => "session-expired",
                SlotEnding::Kill(_) => "session-killed",
            };
            let session = Some(session_name(end.slot));
            let (device, content) = (Some(end.device.to_string()), Some(end.content.to_string()));
            let ms = self.milliseconds(end.at);
            self.journal.add(CallEntry { content, device, endpoint, ms, session, ..CallEntry::default() });
        }
        if self.live.len() > self.ledger.len() {
            // More sessions ended at once than the ledger remembers.
            let ledger = &self.ledger;
            self.live.retain(|slot, _| ledger.row(*slot).is_some());
        }
    }

    fn limits(&self, per_account: Option<u32>) -> SlotLimits {
        SlotLimits {
            grace: self.settings.grace(),
            interval: self.settings.interval(),
            on_limit: self.settings.on_limit,
            per_account: per_account.unwrap_or(self.settings.limit),
            per_content_group: None,
            per_device_group: None,
            per_device: self.settings.limit_device,
        }
    }

    /// Checks the token. An ended session is reported before a stale token, so a killed session's token always gets
    /// 3002.
    fn is_current(&self, token: SessionToken) -> Result<(), ServiceRefusal> {
        let live = self.live.get(&token.slot).ok_or(ssm::NOT_FOUND)?;
        let behind = live.turn.wrapping_sub(token.turn);
        match self.settings.stale_token {
            _ if behind <= u64::from(self.settings.accept_previous) => Ok(()),
            StaleToken::Invalid => Err(ssm::INVALID_TOKEN),
            StaleToken::NotFound => Err(ssm::NOT_FOUND),
        }
    }

    fn token(&self, at: CallMoment, slot: SlotNumber) -> String {
        let (Some(row), Some(live)) = (self.ledger.row(slot), self.live.get(&slot)) else { return String::new() };
        let left = row.until.saturating_duration_since(at.now).as_secs() + 1;
        let token = SessionToken { slot, turn: live.turn };
        self.issuer.session(token, row.account, live.wire_interval, at.wall.saturating_add(left))
    }
}

/// Name in the session list.
pub(super) fn end_name(end: SlotEnding) -> &'static str {
    match end {
        SlotEnding::Close => "teardown",
        SlotEnding::Expire => "expired",
        SlotEnding::Kill(_) => "killed",
    }
}
