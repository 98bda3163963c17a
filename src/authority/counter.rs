//! The embedded authority behind the same face as the others: a ledger and its limits.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::embedded::{Ledger, Limit, Limits, Lost, Slot};
use crate::config::Embedded;
use crate::ids;
use crate::secret::Secret;
use crate::session::{AskKind, Denial, Grant, Reason, Verdict};

pub(super) struct Counter {
    ledger: Mutex<Ledger>,
    limits: Limits,
}

/// Sessions that one process counts at most.
const CAPACITY: usize = 1_000_000;

impl Counter {
    pub(super) fn new(config: &Embedded) -> Self {
        let limits = Limits {
            grace: config.grace,
            interval: config.interval,
            per_account: config.sessions_per_account,
            per_device: None,
        };
        Self { ledger: Mutex::new(Ledger::new(CAPACITY, ids::random_u64())), limits }
    }

    pub(super) fn grace(&self) -> Duration {
        self.limits.grace
    }

    pub(super) fn open(&self, now: Instant, account: &str, device: &str, content: &str) -> Verdict {
        match self.ledger().open(now, account, device, content, &self.limits) {
            Ok(slot) => Verdict::Granted(Grant {
                interval: self.limits.interval,
                lifetime: None,
                token: Secret::new(slot.0.to_string()),
            }),
            Err(limit @ (Limit::Account { .. } | Limit::Device { .. } | Limit::Full { .. })) => {
                Verdict::Denied(Denial::Limit, Reason::new(403, None, &limit.to_string()))
            }
            Err(limit @ Limit::Name) => Verdict::Denied(Denial::Rejected, Reason::new(403, None, &limit.to_string())),
        }
    }

    pub(super) fn beat(&self, now: Instant, grant: &Grant) -> Verdict {
        let lost = match slot(grant).map(|slot| self.ledger().beat(now, slot)) {
            Some(Ok(())) => return Verdict::Alive { interval: None, lifetime: None, token: None },
            Some(Err(lost)) => lost,
            None => Lost::Unknown,
        };
        let reason = Reason::new(404, None, &lost.to_string());
        match lost {
            Lost::Killed => Verdict::Killed(reason),
            Lost::Expired | Lost::Unknown => Verdict::Denied(Denial::Token, reason),
        }
    }

    pub(super) fn close(&self, grant: &Grant) -> Verdict {
        if let Some(slot) = slot(grant) {
            self.ledger().close(slot);
        }
        Verdict::Closed
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(grant: &Grant) -> Option<Slot> {
    grant.token.expose().parse().ok().map(Slot)
}

pub(super) fn error_name(ask: AskKind) -> &'static str {
    match ask {
        AskKind::Beat => "beat-error",
        AskKind::Close => "close-error",
        AskKind::Open => "open-error",
        AskKind::Renew => "renew-error",
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("limits", &self.limits).finish_non_exhaustive()
    }
}
