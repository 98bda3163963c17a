//! The tables: which programs do which work, over which protocol, and how their calls come.

use crate::call::Answer;

/// One table of the page. All its cases are played in each of its rounds, one after the other.
pub(crate) struct Table {
    pub(crate) cases: Vec<Case>,
    pub(crate) key: &'static str,
    pub(crate) load: Load,
    pub(crate) protocol: Protocol,
    pub(crate) title: &'static str,
    /// Workers of each program. One has the proxy's core; two share all cores with the load.
    pub(crate) workers: usize,
}

/// One line of a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Case {
    pub(crate) peer: Peer,
    pub(crate) work: Work,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http2,
    Plain,
    Tls,
}

/// How calls come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Load {
    /// Each call has a connection of its own, with a full handshake.
    FullHandshakes,
    /// Nothing is asked: connections wait.
    Idle,
    /// Players ask again as soon as they are answered.
    Kept,
    /// Calls arrive at a rate, answered or not.
    Open,
    /// The same as full handshakes, with a resumed TLS session.
    ResumedHandshakes,
    /// Players fetch a segment as soon as they have the one before.
    Segments,
    /// Each call is the first of a new device, so that it sets its session up.
    Setups,
    /// The program is started over and over.
    Starts,
}

/// The programs. `Before` and `Dist` are other builds of sidebeat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peer {
    Before,
    Dist,
    HaProxy,
    Nginx,
    /// The last case of each round: how much it differs from the first is the noise.
    NginxAgain,
    NginxLua,
    Relay,
    Sidebeat,
}

/// The work that is done for each call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    Both,
    Embedded,
    Pass,
    Refusal,
    Segment,
    Ssm,
    SsmBoth,
    /// With a content token of 950 bytes.
    SsmLong,
}

impl Peer {
    /// The name in records and on the page.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "sidebeat, before",
            Self::Dist => "sidebeat, dist",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::NginxAgain => "nginx (again)",
            Self::NginxLua => "nginx + Lua",
            Self::Relay => "relay",
            Self::Sidebeat => "sidebeat",
        }
    }

    pub(crate) fn is_sidebeat(self) -> bool {
        matches!(self, Self::Before | Self::Dist | Self::Sidebeat)
    }

    /// The packages of Debian that hold it, apart from `nginx`, without which nothing can be compared.
    pub(crate) fn packages(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy",
            Self::NginxLua => "libnginx-mod-http-lua lua-cjson",
            Self::Nginx | Self::NginxAgain => "nginx",
            Self::Before | Self::Dist | Self::Relay | Self::Sidebeat => "",
        }
    }
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "pass, TLS to the license server",
            Self::Embedded => "embedded",
            Self::Pass => "pass",
            Self::Refusal => "refusal",
            Self::Segment => "segment",
            Self::Ssm => "ssm",
            Self::SsmBoth => "ssm, TLS to the license server",
            Self::SsmLong => "ssm, longer token",
        }
    }

    /// The path that players ask for; sidebeat has a route of this name.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Both => "/both",
            Self::Embedded => "/embedded",
            Self::Pass => "/pass",
            Self::Refusal | Self::Ssm | Self::SsmLong => "/ssm",
            Self::Segment => "/media",
            Self::SsmBoth => "/ssm-both",
        }
    }

    /// True if a call that reaches the license server must bring a session's token.
    pub(crate) fn is_managed(self) -> bool {
        matches!(self, Self::Refusal | Self::Ssm | Self::SsmBoth | Self::SsmLong)
    }

    pub(crate) fn token_bytes(self) -> usize {
        if self == Self::SsmLong { 950 } else { 700 }
    }

    pub(crate) fn answer(self) -> Answer {
        if self == Self::Refusal { Answer::Refusal } else { Answer::License }
    }
}

impl Load {
    /// Players of a case; where each call is a new player's, `seconds` tell how many there are.
    pub(crate) fn players(self, seconds: f64) -> usize {
        match self {
            Self::FullHandshakes | Self::ResumedHandshakes => 16,
            Self::Idle | Self::Segments | Self::Starts => 1,
            Self::Kept => 64,
            Self::Open => 256,
            Self::Setups => ((seconds * 3_000.0) as usize).max(64),
        }
    }
}

/// The builds of sidebeat that are measured beside the default one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Builds {
    pub(crate) before: bool,
    pub(crate) dist: bool,
}

/// All tables; with `is_small` the relay and one managed call.
pub(crate) fn tables(builds: Builds, is_small: bool) -> Vec<Table> {
    use Load::{FullHandshakes, Idle, Kept, Open, ResumedHandshakes, Segments, Setups, Starts};
    use Peer::{HaProxy, NginxLua, Relay, Sidebeat};
    use Protocol::{Http2, Plain, Tls};
    use Work::{Both, Embedded, Pass, Refusal, Segment, Ssm, SsmBoth, SsmLong};
    if is_small {
        let cases = vec![case(Relay, Pass), case(Sidebeat, Ssm)];
        return vec![Table { cases, key: "small", load: Kept, protocol: Plain, title: "The small form", workers: 1 }];
    }
    let pass: &[_] = &[(HaProxy, Pass), (Relay, Pass), (Sidebeat, Pass)];
    let kept: &[_] =
        &[(HaProxy, Pass), (Relay, Pass), (Sidebeat, Pass), (Sidebeat, Embedded), (Sidebeat, Ssm), (NginxLua, Ssm)];
    let long = [kept, &[(Sidebeat, SsmLong)]].concat();
    let both: &[_] = &[(HaProxy, Both), (Sidebeat, Both), (Sidebeat, SsmBoth)];
    let refusals: &[_] = &[(Sidebeat, Refusal), (NginxLua, Refusal)];
    let setups: &[_] = &[(Sidebeat, Ssm), (NginxLua, Ssm)];
    let open: &[_] = &[(HaProxy, Pass), (Relay, Pass), (Sidebeat, Pass), (Sidebeat, Ssm), (NginxLua, Ssm)];
    let table = |key, title, protocol, load, cases: &[(Peer, Work)]| {
        let yardstick = match cases.first() {
            Some((_, work @ (Both | Segment))) => *work,
            _ => Pass,
        };
        Table { cases: with_builds(yardstick, cases, builds), key, load, protocol, title, workers: 1 }
    };
    let mut tables = vec![
        table("plain", "Plain HTTP/1.1, kept connections", Plain, Kept, &long),
        table("tls", "TLS 1.3, kept connections", Tls, Kept, kept),
        table("h2", "HTTP/2 over TLS, kept connections", Http2, Kept, kept),
        table("both", "TLS on both sides, kept connections", Tls, Kept, both),
        table("full", "A new TLS connection for each call, full handshake", Tls, FullHandshakes, pass),
        table("resumed", "A new TLS connection for each call, resumed", Tls, ResumedHandshakes, pass),
        table("refusal", "Calls of killed sessions, refused from memory", Plain, Kept, refusals),
        table("setup", "Calls that set their session up", Plain, Setups, setups),
        table("open", "3,000 calls a second, plain", Plain, Open, open),
        table(
            "segment",
            "Segments of 4 MiB through a media route; a call is a segment",
            Plain,
            Segments,
            &[(Sidebeat, Segment)],
        ),
        table("workers", "Two workers on all cores, plain", Plain, Kept, &[(Sidebeat, Ssm)]),
        table("idle-plain", "Idle connections, plain", Plain, Idle, pass),
        table("idle-tls", "Idle connections, TLS", Tls, Idle, pass),
        table("idle-h2", "Idle connections, HTTP/2 over TLS", Http2, Idle, pass),
        table("start", "Start to first answer", Plain, Starts, pass),
    ];
    for table in tables.iter_mut().filter(|table| table.key == "workers") {
        table.workers = 2;
    }
    tables
}

fn case(peer: Peer, work: Work) -> Case {
    Case { peer, work }
}

/// nginx comes first and last; each case of sidebeat is followed by its other builds.
fn with_builds(yardstick: Work, cases: &[(Peer, Work)], builds: Builds) -> Vec<Case> {
    let mut all = vec![case(Peer::Nginx, yardstick)];
    for (peer, work) in cases {
        all.push(case(*peer, *work));
        if *peer == Peer::Sidebeat {
            all.extend(builds.dist.then_some(case(Peer::Dist, *work)));
            all.extend(builds.before.then_some(case(Peer::Before, *work)));
        }
    }
    all.push(case(Peer::NginxAgain, yardstick));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_is_first_and_last_in_each_table() {
        for table in tables(Builds::default(), false) {
            assert_eq!(table.cases.first().map(|case| case.peer), Some(Peer::Nginx), "{}", table.key);
            assert_eq!(table.cases.last().map(|case| case.peer), Some(Peer::NginxAgain), "{}", table.key);
        }
    }

    #[test]
    fn other_builds_do_the_same_work_beside_the_default_one() {
        let both = Builds { before: true, dist: true };
        for table in tables(both, false) {
            let of = |peer| table.cases.iter().filter(move |case| case.peer == peer).map(|case| case.work);
            assert!(of(Peer::Dist).eq(of(Peer::Sidebeat)) && of(Peer::Before).eq(of(Peer::Sidebeat)), "{}", table.key);
        }
        assert!(
            tables(Builds::default(), false).iter().all(|table| table.cases.iter().all(|case| case.peer != Peer::Dist))
        );
    }

    #[test]
    fn the_small_form_needs_no_peer_that_must_be_installed() {
        let tables = tables(Builds::default(), true);
        assert!(tables.iter().flat_map(|table| &table.cases).all(|case| case.peer.packages().is_empty()));
    }
}
