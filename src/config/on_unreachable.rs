//! `[authority.on-unreachable]`: time for which playbacks go on while the authority is unreachable. One word for all,
//! or a table in which the more exact key wins.

use std::time::Duration;

use super::table_reader::TableReader;
use super::units;
use crate::session::{OnUnreachable, OutageBudget};

const MAX_BUDGET: Duration = Duration::from_hours(24);

pub(super) fn on_unreachable(authority: &TableReader<'_>) -> OnUnreachable {
    if authority.is_text("on-unreachable") {
        let all = budget(authority, "on-unreachable").unwrap_or_default();
        return OnUnreachable {
            new: OutageBudget { live: all, vod: all },
            running: OutageBudget { live: all, vod: all },
        };
    }
    let table = authority.table("on-unreachable");
    let all = budget(&table, "allow-for");
    let allowed = |which: &str| {
        let both = budget(&table, which).or(all);
        let one = |kind: &str| budget(&table, &format!("{which}-{kind}")).or(both).unwrap_or_default();
        OutageBudget { live: one("live"), vod: one("vod") }
    };
    OnUnreachable { new: allowed("new"), running: allowed("running") }
}

fn budget(table: &TableReader<'_>, key: &str) -> Option<Duration> {
    table.word(key, |text| match text {
        "refuse" => Ok(Duration::ZERO),
        _ => units::duration(text)
            .map_err(|what| format!("must be \"refuse\" or a time, which {what}"))
            .and_then(bounded),
    })
}

fn bounded(time: Duration) -> Result<Duration, String> {
    if time.is_zero() {
        return Err("must be more than nothing: write \"refuse\"".to_owned());
    }
    if time > MAX_BUDGET {
        return Err(format!("must be at most {}", units::show_duration(MAX_BUDGET)));
    }
    Ok(time)
}
