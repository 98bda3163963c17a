//! Tells when the machine has slept, without looking: an idle process never wakes up.

use std::future::pending;
use std::time::Duration;

use super::Clock;

/// Where the system does not tell, somebody must look.
const SLEEP_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Waits for the end of suspension. It may also resolve when the machine did not sleep: [`Clock::suspended`] tells.
#[derive(Debug)]
pub struct ResumptionWatch(Source);

#[derive(Debug)]
enum Source {
    /// The clock does not count suspension.
    #[cfg_attr(target_os = "linux", expect(dead_code, reason = "other systems do not tell how long they slept"))]
    Never,
    Poll,
    #[cfg(target_os = "linux")]
    Timer(linux::CancelledTimer),
}

impl ResumptionWatch {
    /// Must run on a runtime.
    pub fn new(clock: Clock) -> Self {
        Self(if clock.is_steered() { Source::Poll } else { Source::of_system() })
    }

    /// Resolves after the end of suspension. Nothing is lost if it is dropped before.
    pub async fn resumed(&mut self) {
        match &mut self.0 {
            Source::Never => pending().await,
            Source::Poll => tokio::time::sleep(SLEEP_POLL_INTERVAL).await,
            #[cfg(target_os = "linux")]
            Source::Timer(timer) => {
                if let Err(fault) = timer.fired().await {
                    tracing::warn!(%fault, "the system no longer tells when it slept");
                    self.0 = Source::Poll;
                }
            }
        }
    }
}

impl Source {
    #[cfg(target_os = "linux")]
    fn of_system() -> Self {
        linux::CancelledTimer::new().map_or(Self::Poll, Self::Timer)
    }

    #[cfg(not(target_os = "linux"))]
    fn of_system() -> Self {
        Self::Never
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// The year 2262, where the kernel's nanoseconds end.
    const NEVER_S: i64 = i64::MAX / 1_000_000_000;

    /// A timer that never expires. The kernel cancels it when the wall clock jumps, which it also does at the end of
    /// suspension (timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`).
    #[derive(Debug)]
    pub(super) struct CancelledTimer(AsyncFd<OwnedFd>);

    impl CancelledTimer {
        pub(super) fn new() -> io::Result<Self> {
            Self::at(NEVER_S)
        }

        /// A timer that also fires at a time since the epoch.
        pub(super) fn at(seconds: i64) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let time = Itimerspec { it_interval: once, it_value: Timespec { tv_sec: seconds, tv_nsec: 0 } };
            timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &time)?;
            #[expect(deprecated, reason = "an owned descriptor stays the same, and the other constructor is unsafe")]
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        pub(super) async fn fired(&mut self) -> io::Result<()> {
            let read = |timer: &OwnedFd| match rustix::io::read(timer, &mut [0; 8]) {
                // The read arms it again.
                Ok(_) | Err(Errno::CANCELED) => Ok(()),
                Err(fault) => Err(fault.into()),
            };
            self.0.async_io(Interest::READABLE, read).await
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_tells_once_that_its_timer_fired_and_waits_on() {
        let now = Clock.wall().as_secs() as i64;
        let mut watch = ResumptionWatch(Source::Timer(linux::CancelledTimer::at(now).unwrap()));
        watch.resumed().await;
        let again = tokio::time::timeout(Duration::from_millis(50), watch.resumed());
        assert!(again.await.is_err(), "it fired once");
        assert!(matches!(watch.0, Source::Timer(_)), "and still tells");
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_does_not_sleep_wakes_nobody() {
        let mut watch = ResumptionWatch::new(Clock);
        let hour = tokio::time::timeout(Duration::from_secs(3600), watch.resumed());
        assert!(hour.await.is_err());
        assert!(matches!(watch.0, Source::Timer(_)), "Linux tells");
    }
}
