//! Plays one case: starts head-end and program afresh, gets the players their tokens, runs the load, and asks the
//! program's own counters whether it did what was wanted.

use std::collections::BTreeMap;

use serde_json::Value;
use tempfile::TempDir;

use crate::call::{Answer, Player};
use crate::closed::{self, Measured};
use crate::discard::disturbance;
use crate::machine::Cores;
use crate::options::Options;
use crate::peers::{self, Program, Scene};
use crate::rows::{Case, Load, Peer, Protocol, Table, Work};
use crate::target::{Target, tls_client};
use crate::upstream::Upstream;
use crate::window::Measure;
use crate::wire::{Client, Reader};
use crate::{Outcome, http2, idle, open, segments};

pub(crate) type Figures = BTreeMap<String, f64>;

pub(crate) struct Stage<'a> {
    pub(crate) cores: Cores,
    folder: TempDir,
    options: &'a Options,
    upstream: Upstream,
}

impl<'a> Stage<'a> {
    pub(crate) async fn build(options: &'a Options) -> Outcome<Self> {
        let (cores, folder) = (Cores::of_this_machine()?, TempDir::new()?);
        cores.pin_the_load()?;
        peers::certificates(&options.sidebeat, folder.path())?;
        let upstream = Upstream::start(folder.path()).await?;
        Ok(Self { cores, folder, options, upstream })
    }

    /// Plays a case and gives its figures.
    pub(crate) async fn play(&self, table: &Table, case: Case, round: u64) -> Outcome<Figures> {
        let head_end = peers::head_end(&self.options.sidebeat, self.cores)?;
        let scene = self.scene(&head_end, table.workers);
        match table.load {
            Load::Idle => return idle::memory(self, &scene, table, case).await,
            Load::Starts => return idle::starts(self, &scene, table, case).await,
            _ => {}
        }
        let program = scene.start(case.peer)?;
        if table.load == Load::Segments {
            let measure = segments::kept(program.plain, case.peer, self.measured(&program)).await?;
            return self.counted(table, &measure);
        }
        let count = table.load.players(self.options.time.as_secs_f64());
        let players = players(&head_end, count, case.work.token_bytes()).await?;
        self.expect(case, &players);
        let target = self.target(&program, table.protocol, case)?;
        if case.work == Work::Refusal {
            refuse(&target, &program, case.peer, &players).await?;
        }
        let measure = self.load(table, &target, &program, players, round).await;
        let measure = measure.map_err(|fault| format!("{fault}{}", scene.last_line(case.peer)))?;
        if case.peer.is_sidebeat() {
            check_outcomes(&program, case.work).await?;
        }
        check_opens(&head_end, if case.work.is_managed() { count } else { 0 }).await?;
        self.counted(table, &measure)
    }

    /// The figures, unless the case was disturbed. A ratio of the small form need not be that exact.
    fn counted(&self, table: &Table, measure: &Measure) -> Outcome<Figures> {
        match disturbance(measure) {
            Some(why) if !self.options.keeps_noise && !self.options.is_small && table.workers == 1 => Err(why.into()),
            _ => Ok(figures(measure)),
        }
    }

    fn measured(&self, program: &Program) -> Measured {
        Measured { core: self.cores.proxy, id: program.id(), time: self.options.time }
    }

    pub(crate) fn scene<'b>(&'b self, head_end: &Program, workers: usize) -> Scene<'b> {
        Scene {
            cores: self.cores,
            folder: self.folder.path(),
            head_end: head_end.plain,
            options: self.options,
            upstream: self.upstream.plain,
            upstream_tls: self.upstream.tls,
            workers,
        }
    }

    /// Tells the license server what it will see.
    pub(crate) fn expect(&self, case: Case, players: &[Player]) {
        self.upstream.judge.expect(case.work.is_managed(), players);
    }

    pub(crate) fn target(&self, program: &Program, protocol: Protocol, case: Case) -> Outcome<Target> {
        let tls = match protocol {
            Protocol::Http2 => Some(tls_client(self.folder.path(), b"h2", false)?),
            Protocol::Plain => None,
            Protocol::Tls => Some(tls_client(self.folder.path(), b"http/1.1", false)?),
        };
        let address = if tls.is_some() { program.tls } else { program.plain };
        Ok(Target { address, answer: case.work.answer(), path: case.work.path(), tls })
    }

    pub(crate) async fn load(
        &self,
        table: &Table,
        target: &Target,
        program: &Program,
        players: Vec<Player>,
        round: u64,
    ) -> Outcome<Measure> {
        let measured = self.measured(program);
        let folder = self.folder.path();
        match (table.load, table.protocol) {
            (Load::Kept, Protocol::Http2) => http2::kept(target, players, measured).await,
            (Load::FullHandshakes, _) => closed::handshakes(target, players, measured, folder, false).await,
            (Load::ResumedHandshakes, _) => closed::handshakes(target, players, measured, folder, true).await,
            (Load::Open, _) => open::run(target, players, measured, round).await,
            (Load::Setups, _) => closed::setups(target, players, measured).await,
            (Load::Idle | Load::Kept | Load::Segments | Load::Starts, _) => {
                closed::kept(target, players, measured).await
            }
        }
    }
}

fn figures(measure: &Measure) -> Figures {
    let mut figures = Figures::from([
        ("calls".to_owned(), measure.calls as f64),
        ("calls_per_second".to_owned(), measure.calls as f64 / measure.took.as_secs_f64()),
        ("cpu_us".to_owned(), measure.cpu_us()),
        ("kernel_share".to_owned(), measure.spent.kernel_share()),
    ]);
    for (name, value) in ["p50_us", "p99_us", "p999_us"].into_iter().zip(measure.latencies_us.into_iter().flatten()) {
        figures.insert(name.to_owned(), value);
    }
    figures
}

/// Gets so many devices, each with an account and a content token of its own, of about this length.
pub(crate) async fn players(head_end: &Program, count: usize, token_bytes: usize) -> Outcome<Vec<Player>> {
    let mut client = Client::connect(head_end.plain).await?;
    let shortest = content_token(&mut client, "device-0", 0).await?.len();
    // Four letters of a token hold three of a claim.
    let filler = token_bytes.saturating_sub(shortest) * 3 / 4;
    let mut players = Vec::with_capacity(count);
    for number in 0..count {
        let device = format!("device-{number}");
        let token = content_token(&mut client, &device, filler).await?;
        players.push(Player { device: device.into(), token: token.into() });
    }
    Ok(players)
}

/// The filler goes half into the account and half into the content, as names have a largest length.
async fn content_token(client: &mut Client, device: &str, filler: usize) -> Outcome<String> {
    let (of_account, of_content) = ("a".repeat(filler / 2), "c".repeat(filler / 2));
    let path = format!("/sim/token?account={device}{of_account}&device={device}&content=news{of_content}");
    let reply: Value = serde_json::from_str(&client.ask("GET", &path, "").await?)?;
    Ok(reply.get("token").and_then(Value::as_str).ok_or("no token")?.to_owned())
}

/// Opens a session for each player and kills it.
pub(crate) async fn refuse(target: &Target, program: &Program, peer: Peer, players: &[Player]) -> Outcome<()> {
    let opening = Target { answer: Answer::License, ..target.clone() };
    for player in players {
        let mut stream = opening.connect().await?;
        opening.call(player, 1, &mut *stream, &mut Reader::default()).await?;
    }
    if peer == Peer::NginxLua {
        let mut client = Client::connect(program.plain).await?;
        for player in players {
            client.ask("GET", &format!("/~kill?device={}", player.device), "").await?;
        }
        return Ok(());
    }
    let mut client = Client::connect(program.admin).await?;
    let list: Value = serde_json::from_str(&client.ask("GET", "/v1/sessions?limit=1000", "").await?)?;
    let sessions = list.get("sessions").and_then(Value::as_array).ok_or("no list of sessions")?;
    if sessions.len() != players.len() {
        return Err(format!("{} sessions of {} players", sessions.len(), players.len()).into());
    }
    for session in sessions {
        let id = session.get("id").and_then(Value::as_str).ok_or("a session without id")?;
        client.ask("POST", &format!("/v1/sessions/{id}/kill"), "").await?;
    }
    Ok(())
}

/// The head-end must have seen one open for each playback.
async fn check_opens(head_end: &Program, expected: usize) -> Outcome<()> {
    let books: Value =
        serde_json::from_str(&Client::connect(head_end.plain).await?.ask("GET", "/sim/books", "").await?)?;
    let opened = books.pointer("/counters/opened").and_then(Value::as_u64).ok_or("no count of opens")?;
    if opened == expected as u64 {
        Ok(())
    } else {
        Err(format!("{opened} sessions opened for {expected} playbacks").into())
    }
}

/// sidebeat's own counters must tell the same as the answers.
async fn check_outcomes(program: &Program, work: Work) -> Outcome<()> {
    let page = Client::connect(program.admin).await?.ask("GET", "/metrics", "").await?;
    let expected: &[_] = match work {
        Work::Both | Work::Pass | Work::Segment => &["passed"],
        Work::Embedded | Work::Ssm | Work::SsmBoth | Work::SsmLong => &["served"],
        // The calls that opened the sessions were served.
        Work::Refusal => &["served", "refused"],
    };
    let stray = page.lines().filter(|line| line.starts_with("sidebeat_license_calls_total{")).find(|line| {
        !expected.iter().any(|outcome| line.contains(&format!("outcome=\"{outcome}\""))) && !line.ends_with(" 0")
    });
    stray.map_or(Ok(()), |line| Err(format!("not the outcome that was wanted: {line}").into()))
}
