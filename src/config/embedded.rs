//! What the embedded authority is told: whom it counts, how many it allows, what happens then.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Rung, TokenKeys};

/// The account of everybody where nothing else is configured: one household.
pub const HOUSEHOLD_ACCOUNT: &str = "home";

/// Limits that sidebeat itself enforces.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Where an account stands; the first rung that answers. When none does, nothing is granted.
    pub account: Vec<AccountRung>,
    /// Accounts and devices that may play; everybody when empty.
    pub allow: Vec<Pattern>,
    pub content_groups: Groups,
    /// Accounts and devices that may not, whatever `allow` says.
    pub deny: Vec<Pattern>,
    pub device_groups: Groups,
    /// Session length without a beat is `interval` + `grace`.
    pub grace: Duration,
    pub interval: Duration,
    pub on_limit: OnLimit,
    /// Sessions at once of one account.
    pub sessions_per_account: u32,
    /// None: content tokens are believed.
    pub token_keys: Option<TokenKeys>,
    /// Whether a viewer who met a limit may see who plays on the account, and end one of them.
    pub viewers_free_slots: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccountRung {
    /// `device`: the device is its own account.
    Device,
    /// `fixed:NAME`: all that nobody before it has named belongs to this account. It always answers.
    Fixed(String),
    Rung(Rung),
}

/// Who gives way when a limit of the account or of one of its groups is reached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLimit {
    DenyNewest,
    /// The oldest session that counts for the limit ends.
    EndOldest,
}

/// One kind of group within an account, and how many sessions each may have at once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Groups {
    /// Groups with a limit of their own.
    pub limits: BTreeMap<String, u32>,
    /// Each of the others; without a limit if absent.
    pub others: Option<u32>,
    /// Where the group stands; the first rung that answers. A session may be in none.
    pub source: Vec<Rung>,
}

impl Groups {
    pub fn limit(&self, group: &str) -> Option<u32> {
        self.limits.get(group).copied().or(self.others)
    }
}

/// A name, or the beginning of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pattern {
    /// `NAME`
    Exact(String),
    /// `NAME*`
    Prefix(String),
}

impl Pattern {
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}
