//! The closed loop: players ask again as soon as they are answered, which shows what a call costs.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::call::Player;
use crate::target::{Target, check_handshake, tls_client};
use crate::window::{Measure, Progress, Until};
use crate::wire::Reader;

/// Connections on which players of a setup call one after the other.
const SETUP_CONNECTIONS: usize = 64;

/// The measured process, its core, and how long it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) core: usize,
    pub(crate) id: u32,
    pub(crate) time: Duration,
}

impl Measured {
    /// A quarter of the time to warm up, and the time itself.
    pub(crate) fn times(self) -> [Until; 2] {
        [Until::Time(self.time / 4), Until::Time(self.time)]
    }
}

/// Takes the measure while the players run; the first fault of any player is the case's.
pub(crate) async fn watch(
    measured: Measured,
    progress: &Progress,
    ends: [Until; 2],
    mut players: JoinSet<io::Result<()>>,
) -> Outcome<Measure> {
    let mut measure = Box::pin(Measure::take(measured.id, measured.core, progress, ends));
    let measure = loop {
        tokio::select! {
            biased;
            measure = &mut measure => break measure?,
            Some(ended) = players.join_next() => ended??,
        }
    };
    while let Some(ended) = players.join_next().await {
        ended??;
    }
    Ok(measure)
}

/// Each player has a connection and keeps it.
pub(crate) async fn kept(target: &Target, players: Vec<Player>, measured: Measured) -> Outcome<Measure> {
    let (progress, mut running) = (Arc::<Progress>::default(), JoinSet::new());
    for player in players {
        let (target, progress) = (target.clone(), Arc::clone(&progress));
        running.spawn(async move {
            let (mut stream, mut reader, mut turn) = (target.connect().await?, Reader::default(), 0);
            while !progress.is_over() {
                turn += 1;
                target.call(&player, turn, &mut *stream, &mut reader).await?;
                progress.answered();
            }
            Ok(())
        });
    }
    watch(measured, &progress, measured.times(), running).await
}

/// Each call has a connection of its own.
pub(crate) async fn handshakes(
    target: &Target,
    players: Vec<Player>,
    measured: Measured,
    folder: &Path,
    resumes: bool,
) -> Outcome<Measure> {
    let (progress, mut running) = (Arc::<Progress>::default(), JoinSet::new());
    for player in players {
        let (target, progress) = (target.clone(), Arc::clone(&progress));
        let tls = tls_client(folder, b"http/1.1", resumes)?;
        running.spawn(async move {
            let mut turn = 0;
            while !progress.is_over() {
                turn += 1;
                let mut stream = target.handshake(&tls).await?;
                // The first one of the warm-up has nothing to resume.
                if turn > 1 || !resumes {
                    check_handshake(&stream, resumes)?;
                }
                target.call(&player, turn, &mut stream, &mut Reader::default()).await?;
                // A program may have closed its side before.
                let _closed = stream.shutdown().await;
                progress.answered();
            }
            Ok(())
        });
    }
    watch(measured, &progress, measured.times(), running).await
}

/// Each call is the first of a new player; the window ends with the last of them.
pub(crate) async fn setups(target: &Target, players: Vec<Player>, measured: Measured) -> Outcome<Measure> {
    let (progress, mut running) = (Arc::<Progress>::default(), JoinSet::new());
    let count = players.len() as u64;
    let players = Arc::new(Mutex::new(players));
    for _ in 0..SETUP_CONNECTIONS {
        let (target, progress, players) = (target.clone(), Arc::clone(&progress), Arc::clone(&players));
        running.spawn(async move {
            let (mut stream, mut reader) = (target.connect().await?, Reader::default());
            loop {
                let Some(player) = players.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return Ok(()) };
                target.call(&player, 1, &mut *stream, &mut reader).await?;
                progress.answered();
            }
        });
    }
    // The last calls have fewer companions: they are not measured.
    watch(measured, &progress, [Until::Calls(count / 5), Until::Calls(count * 19 / 20)], running).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::call::{Answer, CALLER, LICENSE, SEEN};

    /// Answers every call as if it were this caller's.
    async fn careless_proxy(listener: TcpListener, caller: &'static str) -> io::Result<()> {
        let (mut stream, _) = listener.accept().await?;
        let mut reader = Reader::default();
        while reader.next(&mut stream).await? {
            let head = format!("HTTP/1.1 200 OK\r\n{CALLER}: {caller}\r\n{SEEN}: good\r\n");
            let length = format!("content-length: {}\r\n\r\n", LICENSE.len());
            stream.write_all(&[head.as_bytes(), length.as_bytes(), LICENSE].concat()).await?;
        }
        Ok(())
    }

    #[test]
    fn one_answer_for_another_caller_ends_the_case() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut proxy = JoinSet::new();
            // The first call is answered well; each later one gets the answer of the first.
            proxy.spawn(careless_proxy(listener, "device-1"));
            let target = Target { address, answer: Answer::License, path: "/", tls: None };
            let player = Player { device: "device".into(), token: "a.b.c".into() };
            let measured = Measured { core: 0, id: std::process::id(), time: Duration::from_secs(60) };
            let fault = kept(&target, vec![player], measured).await.unwrap_err().to_string();
            assert!(fault.contains("a reply for another caller"), "{fault}");
        });
    }
}
