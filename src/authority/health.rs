//! The health of the way to one authority: its breakers, its outage, and the accounts that must wait.
//!
//! The calls that players wait for (opens, renewals) and the others (beats, closes) have a breaker each, because
//! operators put them behind different gateways, and one that is down must not affect the others. When calls of one
//! class are answered, the other class is tried again. An account that is told to wait (429) waits alone, and only
//! with opens. The client asks around every call.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::breaker::{BreakerChange, CallPermit, CircuitBreaker};
use super::client::is_turned_away;
use super::deferrals::AccountDeferrals;
use super::outage_evidence::{CallEvidence, CallerKey, OutageKind};
use crate::secret::Fingerprint;
use crate::session::{AskKind, AuthorityFault, FaultKind, Reason, Verdict};
use crate::sessions::SessionContext;
use crate::telemetry::OutageEnd;

#[derive(Debug)]
pub(super) struct Health {
    ways: Mutex<BreakerPair>,
}

/// The caller that a call is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallOrigin {
    account: Fingerprint,
    caller: CallerKey,
}

impl CallOrigin {
    pub(super) fn of(context: &SessionContext) -> Self {
        let device = Fingerprint::of_parts(&[context.device_source.name().as_bytes(), context.device.as_bytes()]);
        // Any caller can name any account. Mixed with the network, one caller's wait does not hold up the account
        // elsewhere.
        let account = context.account.as_ref().map_or(device, |account| Fingerprint::of(account.as_bytes()));
        let account = Fingerprint::of_parts(&[&account.get().to_be_bytes(), &context.network.get().to_be_bytes()]);
        Self { account, caller: CallerKey { address: context.network.get(), device: device.get() } }
    }
}

/// Changes that a call caused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct HealthChanges {
    /// True if a breaker opened, false if one closed.
    pub(super) breaker: Option<bool>,
    /// Time that the account must wait from now on, if it did not wait before.
    pub(super) deferred: Option<Duration>,
    /// The end of an outage: these calls are answered again.
    pub(super) outage_end: Option<OutageEnd>,
}

#[derive(Debug)]
struct BreakerPair {
    deferrals: AccountDeferrals,
    /// Breaker of beats and closes.
    ours: CircuitBreaker,
    /// Breaker of opens and renewals.
    players: CircuitBreaker,
}

/// A probe makes one player wait. Without probes, and without beats, players would stay refused after the authority
/// has returned.
const MAX_PLAYERS_PROBE_PAUSE: Duration = Duration::from_secs(10);
/// No player waits for a beat, and a spared beat is lost. Probes come as often as a lost beat is repeated, so that a
/// returned authority is noticed while the other sessions still have tries left.
const MAX_OWN_PROBE_PAUSE: Duration = Duration::from_secs(3);

/// Classes of calls, each with a breaker of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallClass {
    Ours,
    Players,
}

impl CallClass {
    pub const ALL: [Self; 2] = [Self::Ours, Self::Players];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "beat,close",
            Self::Players => "open,renew",
        }
    }

    pub(super) fn of(ask: AskKind) -> Self {
        match ask {
            AskKind::Beat | AskKind::Close => Self::Ours,
            AskKind::Open | AskKind::Renew => Self::Players,
        }
    }
}

impl Health {
    pub(super) fn new() -> Self {
        let (ours, players) = (CircuitBreaker::new(MAX_OWN_PROBE_PAUSE), CircuitBreaker::new(MAX_PLAYERS_PROBE_PAUSE));
        Self { ways: Mutex::new(BreakerPair { deferrals: AccountDeferrals::default(), ours, players }) }
    }

    /// The state for calls after a reload. Earlier calls report to the old one and hold up nothing.
    pub(super) fn renewed(&self, now: Instant) -> Self {
        let BreakerPair { deferrals, ours, players } = &*self.ways();
        let (ours, players) = (ours.renewed(now), players.renewed(now));
        Self { ways: Mutex::new(BreakerPair { deferrals: deferrals.clone(), ours, players }) }
    }

    /// # Errors
    /// The call must not be made: no call of its class was answered lately, or this account must wait.
    pub(super) fn leave(&self, now: Instant, ask: AskKind, of: CallOrigin) -> Result<CallPermit, AuthorityFault> {
        let deferred = self.ways().deferrals.wait(now, of.account);
        if let Some(wait) = deferred.filter(|_| ask == AskKind::Open) {
            let reason = Reason::new(429, None, "not asked: it has told this account to wait");
            return Err(AuthorityFault {
                kind: FaultKind::Refused,
                reason: Reason { retry_after: Some(wait), ..reason },
            });
        }
        self.ways().breaker(CallClass::of(ask)).leave(now, of.caller).map_err(|outage| match outage {
            // As it has answered the calls that were made, so no credit follows.
            OutageKind::Errors => AuthorityFault {
                kind: FaultKind::Refused,
                reason: Reason::new(503, None, "not asked: it has answered with errors lately"),
            },
            OutageKind::Silence => AuthorityFault {
                kind: FaultKind::Unreachable,
                reason: Reason::without_reply("not asked: it has not answered lately"),
            },
        })
    }

    pub(super) fn tell(
        &self,
        now: Instant,
        ask: AskKind,
        leave: CallPermit,
        of: CallOrigin,
        result: &Result<Verdict, AuthorityFault>,
    ) -> HealthChanges {
        let deferred = self.defer(now, of, result);
        let (calls, told) = (CallClass::of(ask), told(result));
        let mut ways = self.ways();
        let elsewhere = CallClass::ALL.into_iter().any(|other| other != calls && ways.breaker(other).has_answers(now));
        let change = ways.breaker(calls).tell(now, leave, of.caller, told, elsewhere);
        if told == CallEvidence::Answered {
            CallClass::ALL
                .into_iter()
                .filter(|other| *other != calls)
                .for_each(|other| ways.breaker(other).encourage(now));
        }
        let (breaker, outage_end) = match change {
            None => (None, None),
            Some(BreakerChange::Closed { since, open }) => {
                let (is_whole, lasted) = (ways.since().is_none(), now.saturating_duration_since(since));
                (open.then_some(false), Some(OutageEnd { is_whole, lasted, open }))
            }
            Some(BreakerChange::Opened) => (Some(true), None),
        };
        HealthChanges { breaker, deferred, outage_end }
    }

    /// An open was left unanswered, but others are answered.
    pub(super) fn hear(&self, now: Instant) {
        self.ways().players.hear(now);
    }

    /// True if an open or a renewal was answered since then. Beats do not count: they may have a gateway of their
    /// own, and their answers would take the credit from playbacks whose setup is down.
    pub(super) fn has_answers_since(&self, since: Instant) -> bool {
        self.ways().players.has_answers_since(since)
    }

    fn defer(&self, now: Instant, of: CallOrigin, result: &Result<Verdict, AuthorityFault>) -> Option<Duration> {
        let deferrals = &mut self.ways().deferrals;
        match result {
            Err(AuthorityFault { kind: FaultKind::Refused, reason }) if reason.code == Some(429) => {
                let begins = deferrals.defer(now, of.account, reason.retry_after);
                begins.then(|| deferrals.wait(now, of.account)).flatten()
            }
            Ok(_) => {
                deferrals.settle(of.account);
                None
            }
            Err(_) => None,
        }
    }

    /// Number of accounts that must wait.
    pub(super) fn waiting(&self, now: Instant) -> usize {
        self.ways().deferrals.waiting(now)
    }

    /// Notes that an earlier process has had no answer to such calls since then. The first answer ends the outage.
    pub(super) fn recall(&self, ask: AskKind, since: Instant) {
        self.ways().breaker(CallClass::of(ask)).recall(since);
    }

    pub(super) fn is_open(&self, calls: CallClass) -> bool {
        self.ways().breaker(calls).is_open()
    }

    /// Duration of the outage: time without an answer while a breaker is open.
    pub(super) fn outage(&self, now: Instant) -> Option<Duration> {
        let mut ways = self.ways();
        let open = CallClass::ALL.into_iter().any(|calls| ways.breaker(calls).is_open());
        ways.since().filter(|_| open).map(|since| now.saturating_duration_since(since))
    }

    fn ways(&self) -> MutexGuard<'_, BreakerPair> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BreakerPair {
    fn breaker(&mut self, calls: CallClass) -> &mut CircuitBreaker {
        match calls {
            CallClass::Ours => &mut self.ours,
            CallClass::Players => &mut self.players,
        }
    }

    fn since(&self) -> Option<Instant> {
        self.ours.since().into_iter().chain(self.players.since()).min()
    }
}

/// Evidence of a result. Denials and kills are answers. An error answer below 500 concerns the call or its caller.
fn told(result: &Result<Verdict, AuthorityFault>) -> CallEvidence {
    let fault = match result {
        Ok(_) => return CallEvidence::Answered,
        Err(fault) => fault,
    };
    match fault.kind {
        FaultKind::Busy => CallEvidence::Unasked,
        // A call that could not be made has no status.
        FaultKind::Malformed if fault.reason.code.is_none() => CallEvidence::Unasked,
        FaultKind::Malformed => CallEvidence::Nothing,
        FaultKind::Lost | FaultKind::Timeout => CallEvidence::Silent,
        FaultKind::Refused if fault.reason.code >= Some(500) => CallEvidence::Failed,
        FaultKind::Refused => CallEvidence::Nothing,
        // The server gives up one connection, but accepts calls on the next.
        FaultKind::Unreachable if is_turned_away(fault) => CallEvidence::Nothing,
        FaultKind::Unreachable => CallEvidence::Unreached,
    }
}

#[cfg(test)]
mod tests {
    use super::super::outage_evidence::MIN_FAILURES;
    use super::*;
    use crate::clock::Clock;

    const ANN: CallOrigin = CallOrigin { account: Fingerprint::new(1), caller: CallerKey { address: 1, device: 1 } };

    fn lost() -> Result<Verdict, AuthorityFault> {
        Err(AuthorityFault { kind: FaultKind::Unreachable, reason: Reason::new(502, None, "nobody is there") })
    }

    fn answered(code: u16, after: Option<Duration>) -> Result<Verdict, AuthorityFault> {
        let reason = Reason { retry_after: after, ..Reason::new(code, None, "not now") };
        Err(AuthorityFault { kind: FaultKind::Refused, reason })
    }

    fn open(health: &Health, now: Instant, ask: AskKind) {
        let told: Vec<_> = (0..MIN_FAILURES).map(|_| tell(health, now, ask, CallPermit::Usual, &lost())).collect();
        assert_eq!(told.last(), Some(&Some(true)));
    }

    fn tell(
        health: &Health,
        now: Instant,
        ask: AskKind,
        leave: CallPermit,
        result: &Result<Verdict, AuthorityFault>,
    ) -> Option<bool> {
        health.tell(now, ask, leave, ANN, result).breaker
    }

    #[test]
    fn error_answers_to_one_caller_cost_no_other_a_call_under_any_of_its_names() {
        let (now, health) = (Clock.now(), Health::new());
        for device in 0..1_000 {
            let garbage =
                CallOrigin { account: Fingerprint::new(10 + device), caller: CallerKey { address: 6, device } };
            for code in [500, 502, 503, 504, 429, 408, 400] {
                let changes = health.tell(now, AskKind::Open, CallPermit::Usual, garbage, &answered(code, None));
                assert_eq!(changes.breaker, None, "{code}");
            }
        }
        assert_eq!(health.leave(now, AskKind::Open, ANN), Ok(CallPermit::Usual));
    }

    #[test]
    fn an_account_that_must_wait_waits_alone_and_is_still_beaten() {
        let (now, health) = (Clock.now(), Health::new());
        let ten = Duration::from_secs(10);
        let changes = health.tell(now, AskKind::Open, CallPermit::Usual, ANN, &answered(429, Some(ten)));
        assert_eq!(changes, HealthChanges { breaker: None, deferred: Some(ten), outage_end: None });
        let fault = health.leave(now, AskKind::Open, ANN).unwrap_err();
        assert_eq!((fault.kind, fault.reason.retry_after), (FaultKind::Refused, Some(ten)));
        for ask in [AskKind::Beat, AskKind::Close, AskKind::Renew] {
            assert_eq!(health.leave(now, ask, ANN), Ok(CallPermit::Usual), "what plays goes on");
        }
        let bob = CallOrigin { account: Fingerprint::new(2), ..ANN };
        assert_eq!(health.leave(now, AskKind::Open, bob), Ok(CallPermit::Usual));
        assert_eq!((health.waiting(now), health.waiting(now + ten)), (1, 0));
        assert_eq!(health.leave(now + ten, AskKind::Open, ANN), Ok(CallPermit::Usual));
    }

    #[test]
    fn a_setup_that_is_down_costs_no_beat() {
        let (now, health) = (Clock.now(), Health::new());
        open(&health, now, AskKind::Open);
        assert!(health.leave(now, AskKind::Renew, ANN).is_err());
        assert_eq!(health.leave(now, AskKind::Beat, ANN), Ok(CallPermit::Usual));
        assert_eq!(health.leave(now, AskKind::Close, ANN), Ok(CallPermit::Usual));
    }

    #[test]
    fn a_beat_that_is_answered_takes_no_credit_from_those_whose_setup_is_down() {
        let (now, health) = (Clock.now(), Health::new());
        let (silent, busy) = (FaultKind::Timeout, FaultKind::Busy);
        let fault = |kind| Err(AuthorityFault { kind, reason: Reason::new(504, None, "nothing came") });
        for number in 0..MIN_FAILURES as u64 {
            let caller = CallerKey { address: number, device: number };
            let of = CallOrigin { account: Fingerprint::new(number), caller };
            health.tell(now, AskKind::Beat, CallPermit::Usual, of, &Ok(Verdict::Closed));
            health.tell(now, AskKind::Open, CallPermit::Usual, of, &fault(busy));
            assert!(!health.has_answers_since(now), "neither a beat nor our own limit is an answer to an open");
            health.tell(now, AskKind::Open, CallPermit::Usual, of, &fault(silent));
        }
        let spared = health.leave(now, AskKind::Open, ANN).unwrap_err();
        assert_eq!(spared.kind, FaultKind::Unreachable, "credit goes on where the breaker spares the call");
        health.tell(now, AskKind::Renew, CallPermit::Usual, ANN, &answered(503, None));
        assert!(health.has_answers_since(now), "a renewal is");
    }

    #[test]
    fn a_beat_that_is_answered_has_opens_tried_again_at_once() {
        let (now, health) = (Clock.now(), Health::new());
        open(&health, now, AskKind::Open);
        open(&health, now, AskKind::Beat);
        assert!(health.leave(now, AskKind::Open, ANN).is_err());
        let end = |is_whole, secs| Some(OutageEnd { is_whole, lasted: Duration::from_secs(secs), open: true });
        let changes = health.tell(now, AskKind::Beat, CallPermit::Usual, ANN, &Ok(Verdict::Closed));
        assert_eq!((changes.breaker, changes.outage_end), (Some(false), end(false, 0)), "opens are still down");
        assert_eq!(health.leave(now, AskKind::Open, ANN), Ok(CallPermit::Probe));
        let later = now + Duration::from_secs(7);
        assert_eq!(health.outage(later), Some(Duration::from_secs(7)));
        let changes = health.tell(later, AskKind::Open, CallPermit::Probe, ANN, &Ok(Verdict::Disabled));
        assert_eq!((changes.breaker, changes.outage_end), (Some(false), end(true, 7)));
        assert_eq!(health.outage(later), None);
    }

    /// Beats of many sessions, of which each lost one is tried again within 3 s: about ten a second.
    #[test]
    fn beats_notice_the_end_of_an_outage_while_they_have_tries_left() {
        let (began, health) = (Clock.now(), Health::new());
        let ends = began + Duration::from_secs(18);
        let calls = (0u32..).map(|call| began + Duration::from_millis(100) * call);
        let mut answered = calls.filter(|now| {
            let Ok(leave) = health.leave(*now, AskKind::Beat, ANN) else { return false };
            let result = if *now < ends { lost() } else { Ok(Verdict::Closed) };
            tell(&health, *now, AskKind::Beat, leave, &result);
            result.is_ok()
        });
        let first = answered.next().unwrap();
        assert!(first <= ends + crate::session::Policy::default().retry_after(2), "{:?} late", first - ends);
    }

    #[test]
    fn an_outage_that_an_earlier_process_knew_is_over_with_the_first_answer() {
        let (began, health) = (Clock.now(), Health::new());
        let now = began + Duration::from_secs(60);
        health.recall(AskKind::Open, began + Duration::from_secs(5));
        health.recall(AskKind::Open, began);
        assert_eq!(health.outage(now), None);
        let changes = health.tell(now, AskKind::Open, CallPermit::Usual, ANN, &Ok(Verdict::Disabled));
        let end = OutageEnd { is_whole: true, lasted: Duration::from_secs(60), open: false };
        assert_eq!(changes.outage_end, Some(end));
    }

    #[test]
    fn a_reload_has_the_authority_tried_at_once_and_goes_on_with_the_outage() {
        let (now, before) = (Clock.now(), Health::new());
        open(&before, now, AskKind::Open);
        // Long pauses lie between its probes by now, and one of them is under way.
        let mut later = now;
        for _ in 0..8 {
            later += MAX_PLAYERS_PROBE_PAUSE;
            assert_eq!(before.leave(later, AskKind::Open, ANN), Ok(CallPermit::Probe));
            tell(&before, later, AskKind::Open, CallPermit::Probe, &lost());
        }
        later += MAX_PLAYERS_PROBE_PAUSE;
        assert_eq!(before.leave(later, AskKind::Open, ANN), Ok(CallPermit::Probe));
        let after = before.renewed(later);
        assert_eq!(after.leave(later, AskKind::Open, ANN), Ok(CallPermit::Probe));
        tell(&before, later, AskKind::Open, CallPermit::Probe, &lost());
        assert_eq!(after.outage(later), Some(later - now));
        let changes = after.tell(later, AskKind::Open, CallPermit::Probe, ANN, &Ok(Verdict::Disabled));
        assert_eq!(after.leave(later, AskKind::Open, ANN), Ok(CallPermit::Usual));
        assert_eq!(changes.outage_end, Some(OutageEnd { is_whole: true, lasted: later - now, open: true }));
    }

    #[test]
    fn each_result_tells_what_it_can() {
        let reason = |code| Reason { code, ..Reason::new(400, Some(1007), "no") };
        let denied = Ok(Verdict::Denied(crate::session::Denial::Limit, reason(Some(400))));
        assert_eq!(
            (told(&denied), told(&Ok(Verdict::Killed(reason(Some(404)))))),
            (CallEvidence::Answered, CallEvidence::Answered)
        );
        for (kind, code, expected) in [
            (FaultKind::Busy, Some(502), CallEvidence::Unasked),
            (FaultKind::Lost, Some(502), CallEvidence::Silent),
            (FaultKind::Malformed, None, CallEvidence::Unasked),
            (FaultKind::Malformed, Some(200), CallEvidence::Nothing),
            (FaultKind::Refused, Some(400), CallEvidence::Nothing),
            (FaultKind::Refused, Some(408), CallEvidence::Nothing),
            (FaultKind::Refused, Some(429), CallEvidence::Nothing),
            (FaultKind::Refused, Some(500), CallEvidence::Failed),
            (FaultKind::Refused, Some(503), CallEvidence::Failed),
            (FaultKind::Timeout, Some(504), CallEvidence::Silent),
            (FaultKind::Unreachable, Some(502), CallEvidence::Unreached),
            (FaultKind::Unreachable, Some(503), CallEvidence::Nothing),
            (FaultKind::Unreachable, Some(504), CallEvidence::Unreached),
        ] {
            assert_eq!(told(&Err(AuthorityFault { kind, reason: reason(code) })), expected, "{kind:?} {code:?}");
        }
    }
}
