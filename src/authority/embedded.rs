//! The embedded authority: a ledger of sessions and its limits, used like any other authority.
//!
//! As a dialect it answers at once, without a network: it turns a session's context into a claim, and the ledger's answers
//! into verdicts. [`super::AuthorityClient`] calls it for sessions, `gateway` to see a kill between two beats, and `admin`
//! for its slots. When the lock of the ledger is dropped, changed slots go to the store.

mod slots;

use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use self::slots::{HeldSlot, KeptSlot, MOVED_SLOT_KEPT};
use super::AuthoritySignals;
use super::client::{AskContext, unspeakable};
use super::dialect::{Dialect, DialectSettings, PushedKills};
use super::token_keys::TokenVerifier;
use crate::clock::Clock;
use crate::config::{AuthorityKind, EmbeddedSettings, GroupLimits, NamePattern};
use crate::ids;
use crate::ledger::{KillCause, LedgerClaim, LimitReached, SlotLedger, SlotLimits, SlotLoss, SlotNumber};
use crate::secret::Secret;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Denial, Grant, KillSource, Policy, Reason, Verdict};
use crate::sessions::{OpenFuture, SessionContext};
use crate::store::{DialectName, RecordKey, SessionRecord, SlotRecord, Store, StoredRecord};

pub struct EmbeddedAuthority {
    config: EmbeddedSettings,
    ledger_store: Arc<LedgerState>,
    verifier: Option<TokenVerifier>,
}

/// State that all values of one embedded authority share, whatever their limits.
struct LedgerState {
    clock: Clock,
    keeping: OnceLock<LedgerStore>,
    ledger: Mutex<SlotLedger>,
}

/// Sessions counted at once.
const MAX_SESSIONS: usize = 1_000_000;

impl EmbeddedAuthority {
    pub(super) fn new(config: EmbeddedSettings, signals: &AuthoritySignals) -> Self {
        let ledger = Mutex::new(SlotLedger::new(MAX_SESSIONS, ids::random_u64()));
        let verifier = config.token_keys.clone().map(|keys| TokenVerifier::new(keys, &signals.keys_wanted));
        Self {
            config,
            ledger_store: Arc::new(LedgerState { clock: signals.clock, keeping: OnceLock::new(), ledger }),
            verifier,
        }
    }

    /// The same ledger with other limits. Taken slots stay taken.
    fn renewed_with(&self, config: EmbeddedSettings, signals: &AuthoritySignals) -> Self {
        let renew = |keys| TokenVerifier::renewed(self.verifier.as_ref(), keys, &signals.keys_wanted);
        let verifier = config.token_keys.clone().map(renew);
        Self { config, ledger_store: self.ledger_store.clone(), verifier }
    }

    pub(super) fn verifier(&self) -> Option<&TokenVerifier> {
        self.verifier.as_ref()
    }

    /// The settings of the limits.
    pub fn config(&self) -> &EmbeddedSettings {
        &self.config
    }

    /// Opens a provisional session: it ends no other session before its player has got a license or media. `beside`
    /// is a session of the same device, if one of the two may be a preload.
    pub(super) fn open(&self, now: Instant, context: &SessionContext, beside: Option<&Grant>) -> Verdict {
        let Some(account) = context.account.as_deref() else {
            return rejected("the call names no account");
        };
        if let Some(why) = self.unwelcome(account, &context.device) {
            return rejected(why);
        }
        let groups = context.groups.as_deref();
        let claim = LedgerClaim {
            account,
            content: context.content.as_deref().unwrap_or_default(),
            content_group: groups.and_then(|groups| groups.content.as_deref()),
            device: &context.device,
            device_group: groups.and_then(|groups| groups.device.as_deref()),
        };
        match self.ledger().reserve(now, &claim, beside.and_then(slot), &self.limits(&claim)) {
            Ok(slot) => {
                let token = Secret::new(slot.0.to_string());
                Verdict::Granted(Grant { interval: self.config.interval, lifetime: None, token })
            }
            Err(limit @ LimitReached::Name) => rejected(&limit.to_string()),
            Err(
                limit @ (LimitReached::Account { .. }
                | LimitReached::ContentGroup { .. }
                | LimitReached::Device { .. }
                | LimitReached::DeviceGroup { .. }
                | LimitReached::Full { .. }),
            ) => Verdict::Denied(Denial::Limit, Reason::new(403, None, &limit.to_string())),
        }
    }

    /// Confirms a session whose player has got a license or media. Returns how many other sessions ended for it.
    pub(super) fn confirm(&self, grant: &Grant) -> usize {
        let Some(slot) = slot(grant) else { return 0 };
        let mut ledger = self.ledger();
        let Some(row) = ledger.row(slot) else { return 0 };
        let limits = self.limits(&LedgerClaim {
            account: row.account,
            content: row.content,
            content_group: row.content_group,
            device: row.device,
            device_group: row.device_group,
        });
        ledger.confirm(slot, &limits).len()
    }

    pub(super) fn beat(&self, now: Instant, grant: &Grant) -> Verdict {
        let lost = match slot(grant).map(|slot| self.ledger().beat(now, slot)) {
            Some(Ok(())) => return Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None },
            Some(Err(lost)) => lost,
            None => SlotLoss::Unknown,
        };
        match lost {
            SlotLoss::Killed(cause) => Verdict::Killed(killed(cause)),
            SlotLoss::Expired | SlotLoss::Unknown => {
                Verdict::Denied(Denial::Token, Reason::new(404, None, &lost.to_string()))
            }
        }
    }

    /// The reason of a kill that the session's next beat would meet.
    pub(super) fn killed(&self, grant: &Grant) -> Option<Reason> {
        match self.ledger().lost(slot(grant)?)? {
            SlotLoss::Killed(cause) => Some(killed(cause)),
            SlotLoss::Expired | SlotLoss::Unknown => None,
        }
    }

    pub(super) fn close(&self, grant: &Grant) -> Verdict {
        if let Some(slot) = slot(grant) {
            self.ledger().close(slot);
        }
        Verdict::Closed
    }

    /// Writes slots to `store` from now on, and takes back those of an earlier process: of the held ones only those
    /// that a session still knows by its token. A session keeps the interval that it was given, even if today's is
    /// shorter. Returns how many are held.
    pub(super) fn keep(&self, keeping: LedgerStore, records: &[SlotRecord], claimed: &HashMap<u64, Duration>) -> usize {
        let moment = self.ledger_store.clock.moment();
        let mut ledger = self.ledger_store.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.track();
        for record in records.iter().filter(|record| record.authority == keeping.authority) {
            let given = claimed.get(&record.slot);
            if record.held.is_some() && given.is_none() {
                keeping.store.forget(RecordKey::Slot(record.authority.clone(), record.slot));
            } else {
                let interval = given.map_or(self.config.interval, |given| self.config.interval.max(*given));
                ledger.restore(record, interval.saturating_add(self.config.grace), &moment);
            }
        }
        let held = ledger.len();
        drop(ledger);
        let _once = self.ledger_store.keeping.set(keeping);
        held
    }

    pub(super) fn ledger(&self) -> LedgerGuard<'_> {
        let ledger = self.ledger_store.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        LedgerGuard { clock: self.ledger_store.clock, keeping: self.ledger_store.keeping.get(), ledger }
    }

    fn limits(&self, claim: &LedgerClaim<'_>) -> SlotLimits {
        let EmbeddedSettings { content_groups, device_groups, grace, interval, .. } = &self.config;
        let limit = |groups: &GroupLimits, group: Option<&str>| groups.limit(group?);
        SlotLimits {
            grace: *grace,
            interval: *interval,
            on_limit: self.config.on_limit,
            per_account: self.config.sessions_per_account,
            per_content_group: limit(content_groups, claim.content_group),
            per_device: None,
            per_device_group: limit(device_groups, claim.device_group),
        }
    }

    pub(super) fn admits_all(&self) -> bool {
        self.config.allow.is_empty() && self.config.deny.is_empty()
    }

    pub(super) fn unwelcome(&self, account: &str, device: &str) -> Option<&'static str> {
        let among = |list: &[NamePattern]| list.iter().any(|pattern| pattern.fits(account) || pattern.fits(device));
        if among(&self.config.deny) {
            return Some("this account or device is on the deny list");
        }
        let stranger = !self.config.allow.is_empty() && !among(&self.config.allow);
        stranger.then_some("neither this account nor this device is on the allow list")
    }
}

fn killed(cause: KillCause) -> Reason {
    let source = match cause {
        KillCause::Deny | KillCause::Order => KillSource::Operator,
        KillCause::Move | KillCause::Replace => KillSource::Successor,
    };
    Reason::new(403, None, &cause.to_string()).wanted_by(source)
}

fn rejected(why: &str) -> Verdict {
    Verdict::Denied(Denial::Rejected, Reason::new(403, None, why))
}

/// The slot and interval of an earlier process's session, if its authority was an embedded one.
pub fn claim(session: &SessionRecord) -> Option<(u64, Duration)> {
    let grant = session.playback.session.grant.as_ref()?;
    Some((number(&grant.token)?, grant.interval.into()))
}

fn slot(grant: &Grant) -> Option<SlotNumber> {
    number(&grant.token).map(SlotNumber)
}

/// The slot number in a token of this authority.
fn number(token: &Secret) -> Option<u64> {
    token.expose().parse().ok()
}

impl fmt::Debug for EmbeddedAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedAuthority").field("config", &self.config).finish_non_exhaustive()
    }
}

impl EmbeddedAuthority {
    fn answer(&self, now: Instant, ask: &AuthorityAsk, context: &SessionContext) -> Result<Verdict, AuthorityFault> {
        match (ask.kind, &ask.grant) {
            (AskKind::Open, _) => Ok(self.open(now, context, ask.beside.as_ref())),
            (AskKind::Beat | AskKind::Renew, Some(grant)) => Ok(self.beat(now, grant)),
            (AskKind::Close, Some(grant)) => Ok(self.close(grant)),
            (AskKind::Beat | AskKind::Close | AskKind::Renew, None) => Err(unspeakable("there is no grant")),
        }
    }
}

impl DialectSettings for EmbeddedSettings {
    fn dialect(self: Box<Self>, signals: &AuthoritySignals) -> Box<dyn Dialect> {
        Box::new(EmbeddedAuthority::new(*self, signals))
    }
}

impl Dialect for EmbeddedAuthority {
    fn name(&self) -> DialectName {
        DialectName::Embedded
    }

    fn renewed(&self, config: AuthorityKind, signals: &AuthoritySignals) -> Option<Box<dyn Dialect>> {
        let AuthorityKind::Embedded(config) = config else { return None };
        Some(Box::new(self.renewed_with(*config, signals)))
    }

    fn error_name(&self) -> fn(AskKind) -> &'static str {
        |ask| match ask {
            AskKind::Beat => "beat-error",
            AskKind::Close => "close-error",
            AskKind::Open => "open-error",
            AskKind::Renew => "renew-error",
        }
    }

    fn perform<'a>(&'a self, context: AskContext<'a>, ask: &'a AuthorityAsk) -> OpenFuture<'a> {
        let result = self.answer(context.began(), ask, context.context);
        context.count(&result);
        Box::pin(std::future::ready((result, None)))
    }

    fn accepted(&self, grant: &Grant, _kills: PushedKills) -> Option<usize> {
        Some(self.confirm(grant))
    }

    /// False, because no network is needed.
    fn has_breaker(&self) -> bool {
        false
    }

    fn pace(&self) -> (f64, Duration) {
        (1.0, self.config.grace)
    }

    fn refine(&self, policy: Policy) -> Policy {
        Policy { rotates_tokens: false, ..policy }
    }

    fn needs_token(&self) -> bool {
        self.verifier().is_some()
    }

    fn embedded(&self) -> Option<&EmbeddedAuthority> {
        Some(self)
    }
}

/// The store for an embedded authority's slots, and the authority's name in it.
#[derive(Debug)]
pub(in crate::authority) struct LedgerStore {
    pub(in crate::authority) authority: Arc<str>,
    pub(in crate::authority) store: Arc<dyn Store>,
}

pub(in crate::authority) struct LedgerGuard<'a> {
    clock: Clock,
    keeping: Option<&'a LedgerStore>,
    ledger: MutexGuard<'a, SlotLedger>,
}

impl Deref for LedgerGuard<'_> {
    type Target = SlotLedger;

    fn deref(&self) -> &SlotLedger {
        &self.ledger
    }
}

impl DerefMut for LedgerGuard<'_> {
    fn deref_mut(&mut self) -> &mut SlotLedger {
        &mut self.ledger
    }
}

impl Drop for LedgerGuard<'_> {
    fn drop(&mut self) {
        let Some(LedgerStore { authority, store }) = self.keeping else { return };
        let changed = self.ledger.take_changed();
        if changed.is_empty() {
            return;
        }
        let moment = self.clock.moment();
        for slot in changed {
            match self.ledger.record(slot, authority, &moment) {
                Some(record) => store.put(StoredRecord::Slot(Box::new(record))),
                None => store.forget(RecordKey::Slot(authority.clone(), slot.0)),
            }
        }
    }
}
