//! The open loop: calls arrive at a rate, and their latency counts from the time at which they were to be sent.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, yield_now};

use crate::Outcome;
use crate::arrivals::{Arrivals, Latencies};
use crate::call::Player;
use crate::closed::{Measured, watch};
use crate::target::{Stream, Target};
use crate::window::{Measure, Progress};
use crate::wire::Reader;

pub(crate) const CALLS_PER_SECOND: f64 = 3_000.0;

/// A kept connection of one player.
struct Line {
    player: Player,
    reader: Reader,
    stream: Box<dyn Stream>,
    turn: u32,
}

#[derive(Default)]
struct Lines {
    idle: Vec<Line>,
    latencies: Latencies,
    lateness: Latencies,
    /// Calls that found no idle connection; their wait counts.
    waiting: VecDeque<Instant>,
}

struct OpenLoop {
    lines: Mutex<Lines>,
    progress: Arc<Progress>,
    target: Target,
}

impl OpenLoop {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends each call at its time. Timers have steps of a millisecond, so this waits by looking again and again: the
    /// core is the load's own, and each look lets all others run.
    async fn arrive(self: Arc<Self>, arrivals: Arrivals) -> io::Result<()> {
        let (began, mut calls) = (Instant::now(), JoinSet::new());
        for at in arrivals {
            let intended = began + at;
            while Instant::now() < intended {
                yield_now().await;
            }
            if self.progress.is_over() {
                break;
            }
            let idle = {
                let mut lines = self.lines();
                if self.progress.is_warm() {
                    lines.lateness.note(intended.elapsed());
                }
                let idle = lines.idle.pop();
                if idle.is_none() {
                    lines.waiting.push_back(intended);
                }
                idle
            };
            if let Some(line) = idle {
                calls.spawn(Arc::clone(&self).serve(line, intended));
            }
            while let Some(ended) = calls.try_join_next() {
                ended??;
            }
        }
        while let Some(ended) = calls.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Answers one call, and on the same connection those that wait.
    async fn serve(self: Arc<Self>, mut line: Line, mut intended: Instant) -> io::Result<()> {
        loop {
            line.turn += 1;
            self.target.call(&line.player, line.turn, &mut *line.stream, &mut line.reader).await?;
            self.progress.answered();
            let mut lines = self.lines();
            if self.progress.is_warm() && !self.progress.is_over() {
                lines.latencies.note(intended.elapsed());
            }
            let Some(next) = lines.waiting.pop_front() else {
                lines.idle.push(line);
                return Ok(());
            };
            intended = next;
        }
    }
}

pub(crate) async fn run(target: &Target, players: Vec<Player>, measured: Measured, seed: u64) -> Outcome<Measure> {
    let mut lines = Lines::default();
    for player in players {
        // The first call of each, before its time: sessions are live and connections warm.
        let (mut stream, mut reader) = (target.connect().await?, Reader::default());
        target.call(&player, 1, &mut *stream, &mut reader).await?;
        lines.idle.push(Line { player, reader, stream, turn: 1 });
    }
    let progress = Arc::<Progress>::default();
    let all = OpenLoop { lines: Mutex::new(lines), progress: Arc::clone(&progress), target: target.clone() };
    let (all, mut running) = (Arc::new(all), JoinSet::new());
    running.spawn(Arc::clone(&all).arrive(Arrivals::new(CALLS_PER_SECOND, seed)));
    let mut measure = watch(measured, &progress, measured.times(), running).await?;
    let lines = all.lines();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    measure.latencies_us = Some([0.5, 0.99, 0.999].map(|share| us(lines.latencies.at(share))));
    measure.lateness_us = Some(us(lines.lateness.at(0.99)));
    Ok(measure)
}
