//! Plays a mix of calls against one build, for a profile that its next build is optimised by.

use std::time::Duration;

use crate::Outcome;
use crate::options::Options;
use crate::peers;
use crate::rows::{Case, Load, Peer, Protocol, Table, Work};
use crate::stage::{Stage, players, refuse};
use crate::wire::Client;

/// The mix, in hundredths of the time.
const MIX: [(u32, Protocol, Load, Work); 7] = [
    (35, Protocol::Plain, Load::Kept, Work::Ssm),
    (25, Protocol::Tls, Load::Kept, Work::Ssm),
    (15, Protocol::Http2, Load::Kept, Work::Ssm),
    (5, Protocol::Tls, Load::FullHandshakes, Work::Pass),
    (5, Protocol::Tls, Load::ResumedHandshakes, Work::Pass),
    (5, Protocol::Plain, Load::Kept, Work::Refusal),
    (10, Protocol::Plain, Load::Setups, Work::Ssm),
];

/// Settings of the head-end by which live sessions are beaten all the time.
const BEATS: &str = "{\"heartbeat\": 2}";

/// Each part starts the program afresh and ends it by SIGTERM, so that it writes its profile.
pub(crate) async fn run(options: &Options, time: Duration) -> Outcome<()> {
    for (share, protocol, load, work) in MIX {
        // A quarter of each part's time is its warm-up, which trains as well.
        let options = Options { time: time * share / 125, ..options.clone() };
        let stage = Stage::build(&options).await?;
        let head_end = peers::head_end(&options.sidebeat, stage.cores)?;
        if load == Load::Kept {
            Client::connect(head_end.plain).await?.ask("POST", "/sim/settings", BEATS).await?;
        }
        let scene = stage.scene(&head_end, 1);
        let program = scene.start(Peer::Sidebeat)?;
        let case = Case { peer: Peer::Sidebeat, work };
        let players = players(&head_end, load.players(options.time.as_secs_f64()), work.token_bytes()).await?;
        stage.expect(case, &players);
        let target = stage.target(&program, protocol, case)?;
        if work == Work::Refusal {
            refuse(&target, &program, Peer::Sidebeat, &players).await?;
        }
        let table = Table { cases: vec![case], key: "train", load, protocol, title: "", workers: 1 };
        let measure = stage.load(&table, &target, &program, players, 1).await;
        let measure = measure.map_err(|fault| format!("{fault}{}", scene.last_line(Peer::Sidebeat)))?;
        crate::say(&format!("trained: {} calls, {}", measure.calls, work.name()));
        program.terminate()?;
    }
    Ok(())
}
