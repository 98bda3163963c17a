//! Runs the rounds: each has every case once, one after the other, so that all cases meet the same machine.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::{self, Measure, Player, Target};
use crate::options::Options;
use crate::peers::Proxy;
use crate::wire::Reader;
use crate::{Outcome, peers, say, upstream};

/// A row of the table.
pub(crate) struct Case {
    id: u32,
    pub(crate) name: String,
    players: Vec<Player>,
    target: Target,
    /// nginx in the same protocol, which the others are compared with.
    pub(crate) yardstick: usize,
}

pub(crate) struct Rounds {
    pub(crate) cases: Vec<Case>,
    /// A row for each good round, in the order of the cases.
    pub(crate) rounds: Vec<Vec<Measure>>,
}

/// The path of each case at sidebeat, and its meaning.
const ROUTES: [(&str, &str); 4] = [
    ("/pass", "no authority"),
    ("/embedded", "embedded authority, session live"),
    ("/ssm", "SSM, session live"),
    ("/head-end", "SSM, session live, simulated head-end's own license server"),
];

pub(crate) async fn run(options: &Options, binary: &Path) -> Outcome<Rounds> {
    let directory = TempDir::new()?;
    let mut set = JoinSet::new();
    let upstream = upstream::start(&mut set).await?;
    let (_head_end, head_end) = peers::head_end(binary)?;
    peers::certificates(binary, directory.path())?;
    let config = directory.path().join("sidebeat.toml");
    let places = [("HEADEND-ADDRESS", head_end), ("UPSTREAM-ADDRESS", upstream)];
    fs::write(&config, peers::filled(include_str!("sidebeat.toml"), &places))?;
    let nginx = peers::nginx(directory.path(), upstream)?;
    let mut proxies = vec![("sidebeat", peers::sidebeat(binary, &config, &[])?)];
    if let Some(before) = &options.before {
        proxies.push(("before", peers::sidebeat(before, &config, &[])?));
    }
    let mut cases = Vec::new();
    for tls in [false, true] {
        let connector = tls.then(|| load::connector(&directory.path().join("ca.pem"))).transpose()?;
        let yardstick = cases.len();
        let mut add = |proxy: &Proxy, name: String, path: &str, players| {
            let address = if tls { proxy.tls } else { proxy.plain };
            let target = Target { address, exact: path != "/head-end", path: path.to_owned(), tls: connector.clone() };
            cases.push(Case { id: proxy.id(), name, players, target, yardstick });
        };
        let protocol = if tls { "TLS" } else { "plain" };
        let players = ask_players(head_end, "nginx", options.connections).await?;
        add(&nginx, format!("nginx `proxy_pass`, {protocol}"), "/license", players);
        for (program, proxy) in &proxies {
            for (path, what) in ROUTES.iter().take(if tls { 3 } else { 4 }) {
                let group = format!("{program}-{protocol}{}", path.replace('/', "-"));
                let players = ask_players(head_end, &group, options.connections).await?;
                add(proxy, format!("{program}: {what}, {protocol}"), path, players);
            }
        }
    }
    let rounds = repeat(options, &cases).await;
    for (_, proxy) in &proxies {
        check_sessions(proxy).await?;
    }
    Ok(Rounds { cases, rounds })
}

async fn repeat(options: &Options, cases: &[Case]) -> Vec<Vec<Measure>> {
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        match once(options, cases).await {
            Ok(measures) => rounds.push(measures),
            Err(fault) => say(&format!("round {round} does not count: {fault}")),
        }
    }
    rounds
}

async fn once(options: &Options, cases: &[Case]) -> Outcome<Vec<Measure>> {
    let mut measures = Vec::new();
    for case in cases {
        measures.push(load::run(&case.target, &case.players, case.id, options.seconds).await?);
    }
    Ok(measures)
}

/// Gets `count` devices, each with an account and a content token of the head-end.
async fn ask_players(head_end: SocketAddr, group: &str, count: usize) -> Outcome<Vec<Player>> {
    let mut players = Vec::new();
    for number in 0..count {
        let device = format!("{group}-{number}");
        let reply = get(head_end, &format!("/sim/token?account={device}&device={device}&content=news")).await?;
        let reply: serde_json::Value = serde_json::from_str(&reply)?;
        let token = reply.get("token").and_then(serde_json::Value::as_str).ok_or("no token")?.to_owned();
        players.push(Player { device, token });
    }
    Ok(players)
}

async fn get(address: SocketAddr, path: &str) -> Outcome<String> {
    let (mut stream, mut reader) = (TcpStream::connect(address).await?, Reader::default());
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    if reader.next(&mut stream).await? && reader.is_good() {
        return Ok(String::from_utf8_lossy(reader.body()).into_owned());
    }
    Err(format!("{path}: {}", reader.status_line()).into())
}

/// A session was live in every call, but for the route that has no authority: sidebeat's own counters
/// say so.
async fn check_sessions(proxy: &Proxy) -> Outcome<()> {
    let Some(admin) = proxy.admin else { return Ok(()) };
    let page = get(admin, "/metrics").await?;
    let calls = page.lines().filter(|line| line.starts_with("sidebeat_license_calls_total{"));
    let stray: Vec<_> = calls
        .filter(|line| {
            let expected = if line.contains("route=\"/pass\"") { "passed" } else { "served" };
            !line.contains(&format!("outcome=\"{expected}\""))
        })
        .collect();
    if stray.is_empty() { Ok(()) } else { Err(format!("not as told: {}", stray.join(", ")).into()) }
}
