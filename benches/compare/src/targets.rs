//! The targets of the default build and of the release build, and whether they are reached.

use std::fmt::Write;

use crate::page::{ratio, spread};
use crate::record::Record;
use crate::rows::Peer;

/// A figure of one row, as a multiple of another row's or as it is.
struct Goal {
    /// The word behind `why:` in the page, where it is explained why this is missed.
    key: &'static str,
    /// Most of it, for the default build and for the release build.
    limits: [Option<f64>; 2],
    measure: Figure,
    table: &'static str,
    title: &'static str,
    work: &'static str,
}

#[derive(Clone, Copy)]
enum Figure {
    /// The figure itself, which has this name and this many digits.
    Itself(&'static str, usize),
    /// The ratio of the table's main figure to that of this program and work.
    RatioTo(&'static str, &'static str),
}

const NGINX: Figure = Figure::RatioTo("nginx", "pass");
const LUA: Figure = Figure::RatioTo("nginx + Lua", "ssm");

const fn goal(
    key: &'static str,
    title: &'static str,
    (table, work): (&'static str, &'static str),
    measure: Figure,
    limits: [Option<f64>; 2],
) -> Goal {
    Goal { key, limits, measure, table, title, work }
}

const GOALS: [Goal; 13] = [
    goal("plain/pass", "pass-through, plain", ("plain", "pass"), NGINX, [Some(1.10), Some(1.00)]),
    goal("plain/ssm", "managed call (SSM), plain", ("plain", "ssm"), NGINX, [Some(1.25), Some(1.10)]),
    goal("tls/ssm", "managed call (SSM), TLS kept", ("tls", "ssm"), NGINX, [Some(1.05), Some(0.95)]),
    goal("h2/ssm", "managed call (SSM), HTTP/2 over TLS", ("h2", "ssm"), NGINX, [Some(1.00), Some(0.95)]),
    goal("plain/lua", "managed call beside nginx + Lua, plain", ("plain", "ssm"), LUA, [Some(1.0), Some(0.9)]),
    goal("tls/lua", "managed call beside nginx + Lua, TLS kept", ("tls", "ssm"), LUA, [Some(1.0), Some(0.9)]),
    goal("full", "new TLS connection, full handshake", ("full", "pass"), NGINX, [Some(0.60), Some(0.60)]),
    goal("resumed", "new TLS connection, resumed", ("resumed", "pass"), NGINX, [Some(0.75), Some(0.75)]),
    goal("refusal", "refusal from memory", ("refusal", "refusal"), NGINX, [Some(0.7), Some(0.7)]),
    goal("open", "99th percentile at 3,000 calls a second", ("open", "ssm"), NGINX, [Some(1.0), Some(1.0)]),
    goal(
        "idle-plain",
        "idle connection, plain, bytes",
        ("idle-plain", "pass"),
        Figure::Itself("connection_bytes", 0),
        [Some(3_000.0); 2],
    ),
    goal(
        "idle-tls",
        "idle connection, TLS, bytes",
        ("idle-tls", "pass"),
        Figure::Itself("connection_bytes", 0),
        [Some(9_000.0); 2],
    ),
    goal("start", "start to first answer, ms", ("start", "pass"), Figure::Itself("start_ms", 0), [Some(20.0); 2]),
];

impl Goal {
    fn digits(&self) -> usize {
        if let Figure::Itself(_, digits) = self.measure { digits } else { 2 }
    }

    /// The figure that this build reached, if it was measured.
    fn reached(&self, records: &[Record], build: Peer) -> Option<f64> {
        let own = (build.name(), self.work);
        let spread = match self.measure {
            Figure::Itself(name, _) => spread(records, self.table, own, name),
            Figure::RatioTo(peer, work) => ratio(records, self.table, own, (peer, work)),
        };
        spread.map(|spread| spread.median)
    }
}

/// As it is shown: what rounds to the limit has met it.
fn is_met(reached: f64, limit: f64, digits: usize) -> bool {
    let scale = 10_f64.powi(i32::try_from(digits).unwrap_or(0));
    (reached * scale).round() <= (limit * scale).round()
}

/// The table of targets, and the keys of those that are missed.
pub(crate) fn table(records: &[Record]) -> (String, Vec<&'static str>) {
    let mut page = String::from(
        "| | default build: target | reached | met | release build: target | reached | met |\n|---|---|---|---|---|---|---|\n",
    );
    let mut missed = Vec::new();
    for goal in &GOALS {
        let _ = write!(page, "| {} |", goal.title);
        for (limit, build) in goal.limits.into_iter().zip([Peer::Sidebeat, Peer::Dist]) {
            let reached = goal.reached(records, build);
            let digits = goal.digits();
            let met = reached.zip(limit).map(|(reached, limit)| is_met(reached, limit, digits));
            let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
            let verdict = met.map_or("–", |met| if met { "yes" } else { "no" });
            let _ = write!(page, " {} | {} | {verdict} |", number(limit), number(reached));
            if met == Some(false) && !missed.contains(&goal.key) {
                missed.push(goal.key);
            }
        }
        page.push('\n');
    }
    (page, missed)
}

/// Those of the missed targets for which the page has no `why: KEY`.
pub(crate) fn unexplained<'a>(page: &str, missed: &[&'a str]) -> Vec<&'a str> {
    missed.iter().copied().filter(|key| !page.contains(&format!("why: {key} "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;
    use crate::rows::{Builds, tables};

    #[test]
    fn each_target_is_a_row_of_a_table() {
        let tables = tables(Builds::default(), false);
        for goal in &GOALS {
            let table = tables.iter().find(|table| table.key == goal.table).expect(goal.table);
            let has = |peer, work| table.cases.iter().any(|case| case.peer.name() == peer && case.work.name() == work);
            assert!(has("sidebeat", goal.work), "{}", goal.key);
            if let Figure::RatioTo(peer, work) = goal.measure {
                assert!(has(peer, work), "{}: {peer}, {work}", goal.key);
            }
        }
    }

    #[test]
    fn a_target_is_met_missed_or_not_measured() {
        let of = |work, peer, value| record("plain", work, peer, 1, "cpu_us", value);
        let records = [of("pass", "nginx", 20.0), of("pass", "sidebeat", 22.0), of("ssm", "sidebeat", 30.0)];
        let (page, missed) = table(&records);
        assert!(page.contains("| pass-through, plain | 1.10 | 1.10 | yes | 1.00 | – | – |"), "{page}");
        assert!(page.contains("| managed call (SSM), plain | 1.25 | 1.50 | no | 1.10 | – | – |"), "{page}");
        assert_eq!(missed, ["plain/ssm"]);
    }

    #[test]
    fn a_missed_target_must_be_explained() {
        let page = "<!-- why: plain/ssm -->\nA managed call costs more because …";
        assert_eq!(unexplained(page, &["plain/ssm", "plain"]), ["plain"]);
    }
}
