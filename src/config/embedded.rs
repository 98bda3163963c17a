//! `[[authority]]` with `kind = "embedded"`: how it counts sessions, how many it allows, and the reaction at a limit.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::authority::{GRACE_RANGE, INTERVAL_RANGE, KindSettings};
use super::table_reader::TableReader;
use super::token_keys::token_keys;
use super::{AccountSource, EndpointUrl, IdentitySource, SessionControlMode, TokenKeySettings, identity_source};
use crate::ledger::OnLimit;

/// The account of every device if no source is configured: one household.
pub const HOUSEHOLD_ACCOUNT: &str = "home";

/// Limits that sidebeat itself enforces.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// Sources of the account; the first that answers counts. If none answers, nothing is granted.
    pub account: Vec<AccountSource>,
    /// Accounts and devices that may play; all if empty.
    pub allow: Vec<NamePattern>,
    pub content_groups: GroupLimits,
    /// Accounts and devices that may not, whatever `allow` says.
    pub deny: Vec<NamePattern>,
    pub device_groups: GroupLimits,
    /// Session length without a beat is `interval` + `grace`.
    pub grace: Duration,
    pub interval: Duration,
    pub on_limit: OnLimit,
    /// Sessions at once of one account.
    pub sessions_per_account: u32,
    /// `None` if content tokens are believed.
    pub token_keys: Option<TokenKeySettings>,
    /// `true` lets a viewer who met a limit see the devices of the account, and end one of them.
    pub viewers_free_slots: bool,
}

impl KindSettings for EmbeddedSettings {
    fn servers(&self) -> Vec<(&EndpointUrl, Option<&Path>)> {
        let url = self.token_keys.iter().flat_map(|keys| &keys.url);
        url.map(|url| (&url.endpoint, url.ca.as_deref())).collect()
    }

    /// Tokens for an embedded authority are the app's own and need not mention sessions.
    fn session_control(&self) -> SessionControlMode {
        SessionControlMode::Always
    }
}

/// The limits of one kind of group within an account: how many sessions each group may have at once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupLimits {
    /// Groups with a limit of their own.
    pub limits: BTreeMap<String, u32>,
    /// Limit of each other group; no limit if absent.
    pub others: Option<u32>,
    /// Sources of the group name; the first that answers counts. A session may be in no group.
    pub source: Vec<IdentitySource>,
}

impl GroupLimits {
    pub fn limit(&self, group: &str) -> Option<u32> {
        self.limits.get(group).copied().or(self.others)
    }
}

/// A name, or the beginning of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamePattern {
    /// `NAME`
    Exact(String),
    /// `NAME*`
    Prefix(String),
}

impl NamePattern {
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

const SESSIONS_RANGE: RangeInclusive<u32> = 1..=1_000_000;
/// A limit of 0 shuts a group out.
const GROUP_SESSIONS_RANGE: RangeInclusive<u32> = 0..=1_000_000;

const ON_LIMIT_WORDS: [(&str, OnLimit); 2] = [("deny-newest", OnLimit::DenyNewest), ("end-oldest", OnLimit::EndOldest)];

pub(super) fn embedded(table: &TableReader<'_>, _call: Duration) -> Option<EmbeddedSettings> {
    let names = |key| table.list(key, "[\"guest-*\", \"tv-1\"]", pattern).unwrap_or_default();
    let account = account(table);
    Some(EmbeddedSettings {
        token_keys: token_keys(table, &account),
        account,
        allow: names("allow"),
        content_groups: groups(table, "content-group"),
        deny: names("deny"),
        device_groups: groups(table, "device-group"),
        grace: table.duration("grace", GRACE_RANGE).unwrap_or(Duration::from_secs(10)),
        interval: table.duration("interval", INTERVAL_RANGE).unwrap_or(Duration::from_secs(30)),
        on_limit: table.choice("on-limit", &ON_LIMIT_WORDS).unwrap_or(OnLimit::DenyNewest),
        sessions_per_account: table.whole("sessions-per-account", SESSIONS_RANGE).unwrap_or(1),
        viewers_free_slots: table.flag("viewers-free-slots").unwrap_or(true),
    })
}

fn account(table: &TableReader<'_>) -> Vec<AccountSource> {
    let sources = table.list("account", "[\"header:x-account\", \"fixed:home\"]", identity_source::account_source);
    let sources = sources.unwrap_or_else(|| vec![AccountSource::Fixed(HOUSEHOLD_ACCOUNT.to_owned())]);
    let always = sources.iter().position(|source| matches!(source, AccountSource::Device | AccountSource::Fixed(_)));
    match always {
        _ if sources.is_empty() => table.fault("account", "is empty: name at least \"fixed:home\""),
        Some(at) if at + 1 < sources.len() => {
            table.fault("account", "names others behind \"device\" or \"fixed:NAME\", which always answers");
        }
        Some(_) | None => {}
    }
    if sources.contains(&AccountSource::Device) {
        let what = "falls to device: each device that names no account is an account of its own, and sessions-per-account \
            limits nobody; write \"fixed:home\" in place of \"device\" for one household";
        table.warn("account", what);
    }
    sources
}

/// `kind` is `device-group` or `content-group`.
fn groups(table: &TableReader<'_>, kind: &str) -> GroupLimits {
    let (others_key, table_key) = (format!("sessions-per-{kind}"), format!("{kind}s"));
    let source = table.list(kind, "[\"header:x-group\"]", identity_source::group_source).unwrap_or_default();
    let others = table.whole(&others_key, GROUP_SESSIONS_RANGE);
    let named = table.table(&table_key);
    let names = named.names();
    let limits =
        names.iter().filter_map(|name| Some((name.clone(), named.whole(name, GROUP_SESSIONS_RANGE)?))).collect();
    let needs = || format!("needs {kind}, which says where the group stands");
    match (table.has(kind), table.has(&others_key), names.first()) {
        (false, true, _) => table.fault(&others_key, needs()),
        (false, false, Some(name)) => named.fault(name, needs()),
        (true, false, None) => {
            table.fault(kind, format!("limits nothing: set {others_key}, or groups in [authority.{table_key}]"));
        }
        (false, false, None) | (true, _, _) => {}
    }
    GroupLimits { limits, others, source }
}

/// A name, or the beginning of one with `*` behind it.
pub(super) fn pattern(text: &str) -> Result<NamePattern, String> {
    let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
    if text.is_empty() || name.contains('*') || name.chars().any(char::is_control) {
        return Err("must be a name, or the beginning of one with a * at its end".to_owned());
    }
    Ok(if prefix { NamePattern::Prefix(name.to_owned()) } else { NamePattern::Exact(name.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_its_beginning() {
        for (text, fits, not) in
            [("tv-1", "tv-1", "tv-12"), ("tv-*", "tv-", "tv"), ("*", "", "\0"), ("a b*", "a bc", "a")]
        {
            let pattern = pattern(text).unwrap();
            assert!(pattern.fits(fits), "{text} {fits}");
            assert!(text == "*" || !pattern.fits(not), "{text} {not}");
        }
        for text in ["", "a*b", "**", "a\n"] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }
}
