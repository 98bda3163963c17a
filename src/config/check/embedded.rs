//! `[[authority]]` with `kind = "embedded"`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::authority::{GRACE, INTERVAL};
use super::token_keys::token_keys;
use crate::config::section::Section;
use crate::config::words;
use crate::config::{AccountRung, Embedded, Groups, HOUSEHOLD_ACCOUNT, OnLimit};

const SESSIONS: RangeInclusive<u32> = 1..=1_000_000;
/// A group may be shut out.
const GROUP_SESSIONS: RangeInclusive<u32> = 0..=1_000_000;

const ON_LIMIT: [(&str, OnLimit); 2] = [("deny-newest", OnLimit::DenyNewest), ("end-oldest", OnLimit::EndOldest)];

pub(super) fn embedded(table: &Section<'_>) -> Embedded {
    let names = |key| table.list(key, "[\"guest-*\", \"tv-1\"]", words::pattern).unwrap_or_default();
    let account = account(table);
    Embedded {
        token_keys: token_keys(table, &account),
        account,
        allow: names("allow"),
        content_groups: groups(table, "content-group"),
        deny: names("deny"),
        device_groups: groups(table, "device-group"),
        grace: table.duration("grace", GRACE).unwrap_or(Duration::from_secs(10)),
        interval: table.duration("interval", INTERVAL).unwrap_or(Duration::from_secs(30)),
        on_limit: table.choice("on-limit", &ON_LIMIT).unwrap_or(OnLimit::DenyNewest),
        sessions_per_account: table.whole("sessions-per-account", SESSIONS).unwrap_or(1),
        viewers_free_slots: table.flag("viewers-free-slots").unwrap_or(true),
    }
}

fn account(table: &Section<'_>) -> Vec<AccountRung> {
    let sources = table.list("account", "[\"header:x-account\", \"fixed:home\"]", words::account_rung);
    let sources = sources.unwrap_or_else(|| vec![AccountRung::Fixed(HOUSEHOLD_ACCOUNT.to_owned())]);
    let always = sources.iter().position(|source| matches!(source, AccountRung::Device | AccountRung::Fixed(_)));
    match always {
        _ if sources.is_empty() => table.fault("account", "is empty: name at least \"fixed:home\""),
        Some(at) if at + 1 < sources.len() => {
            table.fault("account", "names others behind \"device\" or \"fixed:NAME\", which always answers");
        }
        Some(_) | None => {}
    }
    if sources.contains(&AccountRung::Device) {
        let what = "falls to device: each device that names no account is an account of its own, and sessions-per-account \
            limits nobody; write \"fixed:home\" in place of \"device\" for one household";
        table.warn("account", what);
    }
    sources
}

/// `kind` is `device-group` or `content-group`.
fn groups(table: &Section<'_>, kind: &str) -> Groups {
    let (others_key, table_key) = (format!("sessions-per-{kind}"), format!("{kind}s"));
    let source = table.list(kind, "[\"header:x-group\"]", words::group_rung).unwrap_or_default();
    let others = table.whole(&others_key, GROUP_SESSIONS);
    let named = table.table(&table_key);
    let names = named.names();
    let limits = names.iter().filter_map(|name| Some((name.clone(), named.whole(name, GROUP_SESSIONS)?))).collect();
    let needs = || format!("needs {kind}, which says where the group stands");
    match (table.has(kind), table.has(&others_key), names.first()) {
        (false, true, _) => table.fault(&others_key, needs()),
        (false, false, Some(name)) => named.fault(name, needs()),
        (true, false, None) => {
            table.fault(kind, format!("limits nothing: set {others_key}, or groups in [authority.{table_key}]"));
        }
        (false, false, None) | (true, _, _) => {}
    }
    Groups { limits, others, source }
}
