//! The window in which a case is measured, after it has warmed up: what was answered in it, and what that cost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::Outcome;
use crate::cpu::{CoreTime, Spent};

/// Interval at which the calls are looked at, where their number ends the window.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The calls of a case, counted by its players.
#[derive(Default)]
pub(crate) struct Progress {
    calls: AtomicU64,
    is_over: AtomicBool,
    is_warm: AtomicBool,
}

impl Progress {
    pub(crate) fn answered(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// True once the window is open.
    pub(crate) fn is_warm(&self) -> bool {
        self.is_warm.load(Relaxed)
    }
}

/// The end of the warm-up, and of the window.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// So many calls of this case are answered.
    Calls(u64),
    /// So much time is over.
    Time(Duration),
}

impl Until {
    async fn come(self, progress: &Progress) {
        match self {
            Self::Calls(calls) => {
                while progress.calls.load(Relaxed) < calls {
                    sleep(LOOK_INTERVAL).await;
                }
            }
            Self::Time(time) => sleep(time).await,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measure {
    pub(crate) calls: u64,
    /// The proxy's core.
    pub(crate) core: CoreTime,
    /// 99th percentile of the time by which the load itself was late; in an open loop.
    pub(crate) lateness_us: Option<f64>,
    /// Median, 99th percentile, 99.9th; in an open loop.
    pub(crate) latencies_us: Option<[f64; 3]>,
    pub(crate) spent: Spent,
    pub(crate) took: Duration,
}

impl Measure {
    /// Measures the process `id` on `core`, and tells the players when it is over.
    pub(crate) async fn take(id: u32, core: usize, progress: &Progress, ends: [Until; 2]) -> Outcome<Self> {
        let [warm, over] = ends;
        warm.come(progress).await;
        progress.is_warm.store(true, Relaxed);
        let (began, calls) = (Instant::now(), progress.calls.load(Relaxed));
        let (core_then, spent) = (CoreTime::of(core)?, Spent::of(id)?);
        over.come(progress).await;
        let spent = Spent::of(id)?.since(spent);
        let core = CoreTime::of(core)?.since(core_then);
        let calls = progress.calls.load(Relaxed) - calls;
        let took = began.elapsed();
        progress.is_over.store(true, Relaxed);
        if calls == 0 {
            return Err("no call was answered".into());
        }
        Ok(Self { calls, core, spent, took, ..Self::default() })
    }

    /// Microseconds of CPU for each call.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.spent.whole().as_secs_f64() * 1e6 / self.calls as f64
    }
}
