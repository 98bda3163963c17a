//! Measures a program that has nothing to do: its memory at rest and for each idle connection, and its start.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::call::Player;
use crate::machine::resident_bytes;
use crate::peers::Scene;
use crate::rows::{Case, Protocol, Table};
use crate::stage::{Figures, Stage};
use crate::statistics::Spread;
use crate::target::{Stream, Target};
use crate::wire::Reader;
use crate::{Outcome, http2};

/// Idle connections that are measured.
const CONNECTIONS: u32 = 500;
/// Those before them, which also pay for what is made once.
const FIRST_CONNECTIONS: u32 = 50;
/// Connections that come at once: what those before gave back is used again.
const CONNECTIONS_PER_BATCH: u32 = 100;
/// Time for late starts and late frees; sidebeat gives back a connection's buffers after 3 s without a call.
const SETTLE_TIME: Duration = Duration::from_secs(5);
const STARTS_PER_ROUND: u32 = 5;

/// A connection that has made one call and stays.
enum IdleConnection {
    Http1 { _stream: Box<dyn Stream> },
    Http2 { _sender: h2::client::SendRequest<bytes::Bytes>, _driver: JoinSet<Result<(), h2::Error>> },
}

/// Memory at rest, and for each connection that has made one call and waits for the next.
pub(crate) async fn memory(stage: &Stage<'_>, scene: &Scene<'_>, table: &Table, case: Case) -> Outcome<Figures> {
    let player = player(stage, case);
    let program = scene.start(case.peer)?;
    let target = stage.target(&program, table.protocol, case)?;
    sleep(SETTLE_TIME).await;
    let idle = resident_bytes(program.id())?;
    let (mut open, mut before) = (Vec::new(), 0);
    for turn in 0..FIRST_CONNECTIONS + CONNECTIONS {
        if turn % CONNECTIONS_PER_BATCH == FIRST_CONNECTIONS {
            sleep(SETTLE_TIME).await;
        }
        if turn == FIRST_CONNECTIONS {
            before = resident_bytes(program.id())?;
        }
        open.push(connect(&target, table.protocol, &player, turn).await?);
    }
    sleep(SETTLE_TIME).await;
    let each = resident_bytes(program.id())?.saturating_sub(before) as f64 / f64::from(CONNECTIONS);
    drop(open);
    Ok(Figures::from([("connection_bytes".to_owned(), each), ("idle_bytes".to_owned(), idle as f64)]))
}

async fn connect(target: &Target, protocol: Protocol, player: &Player, turn: u32) -> Outcome<IdleConnection> {
    if protocol == Protocol::Http2 {
        let (mut sender, connection) = http2::connect(target).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        http2::call(target, player, turn, &mut sender).await?;
        return Ok(IdleConnection::Http2 { _sender: sender, _driver: driver });
    }
    let mut stream = target.connect().await?;
    target.call(player, turn, &mut *stream, &mut Reader::default()).await?;
    Ok(IdleConnection::Http1 { _stream: stream })
}

/// Milliseconds from the start of the process to the end of its first call: the median of a few.
pub(crate) async fn starts(stage: &Stage<'_>, scene: &Scene<'_>, table: &Table, case: Case) -> Outcome<Figures> {
    let (player, mut times) = (player(stage, case), Vec::new());
    for _ in 0..STARTS_PER_ROUND {
        let began = Instant::now();
        let program = scene.start(case.peer)?;
        let target = stage.target(&program, table.protocol, case)?;
        drop(connect(&target, table.protocol, &player, 1).await?);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let median = Spread::of(times).ok_or("no start")?.median;
    Ok(Figures::from([("start_ms".to_owned(), median)]))
}

/// A player that the license server knows. These routes have no authority, so that any token will do.
fn player(stage: &Stage<'_>, case: Case) -> Player {
    let player = Player { device: "device".into(), token: "a.b.c".into() };
    stage.expect(case, std::slice::from_ref(&player));
    player
}
