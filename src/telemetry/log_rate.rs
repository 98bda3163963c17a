//! Limits the log lines that one source can cause, and counts the suppressed ones.
//!
//! A *source* is an address, a device or an account that provokes lines. A *kind* is the line's reason, from a table
//! of ours. The first lines of a kind are written for each source; the rest are counted, and [`tell_suppressed`]
//! writes one line about them. Time is an argument. The map and the lines of all sources together are bounded, so
//! that a caller with many addresses fills no disk.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::task::Tasks;

/// Time after which a source may cause lines again.
pub const LOG_WINDOW: Duration = Duration::from_secs(10);
/// Lines of one kind that a source causes in a window. A player that retries a refusal comes up to 27 times in three
/// seconds, so its first tries are all logged.
const MAX_LINES_PER_SOURCE: u32 = 20;
/// Bounds for all sources together.
#[derive(Clone, Copy, Debug)]
pub struct LogBounds {
    /// Lines of one group in a window. A caller can take many names, but few addresses.
    max_lines_per_group: u32,
    max_lines_per_window: u32,
    /// Number of sources, and of groups, that are told apart. Lines of further sources are counted, not written.
    max_sources: usize,
}

impl LogBounds {
    /// Bounds for lines about callers' mistakes.
    pub const CALLERS: Self = Self { max_lines_per_group: 200, max_lines_per_window: 1_000, max_sources: 4_096 };
    /// Bounds for lines about sessions. A service with a million sessions opens a thousand per second.
    pub const SESSIONS: Self = Self { max_lines_per_group: 2_000, max_lines_per_window: 20_000, max_sources: 65_536 };
}

#[derive(Debug)]
pub struct LogRateLimiter<S> {
    bounds: LogBounds,
    /// Notified when there is something to report or to forget, so that an idle process needs no timer.
    used: Notify,
    windows: Mutex<LogWindows<S>>,
}

#[derive(Debug)]
struct LogWindows<S> {
    by_group: HashMap<u64, LogWindow>,
    by_source: HashMap<(&'static str, S), LogWindow>,
    /// True from the first line until every source is quiet again.
    is_used: bool,
    /// Lines of sources without a place in the map.
    others: LogWindow,
    total: LogWindow,
}

#[derive(Clone, Copy, Debug, Default)]
struct LogWindow {
    began: Option<Instant>,
    suppressed: u64,
    /// Time of the first suppressed line.
    suppressed_since: Option<Instant>,
    written: u32,
}

/// Lines that were suppressed since the last report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SuppressedLines<S> {
    pub kind: &'static str,
    pub lines: u64,
    /// Time from the first of them until now.
    pub over: Duration,
    /// `None` for lines of many sources.
    pub source: Option<S>,
}

impl<S> Default for LogRateLimiter<S> {
    fn default() -> Self {
        Self::within(LogBounds::CALLERS)
    }
}

impl<S> LogRateLimiter<S> {
    pub fn within(bounds: LogBounds) -> Self {
        let (by_group, by_source) = (HashMap::new(), HashMap::new());
        let (others, total) = (LogWindow::default(), LogWindow::default());
        let windows = Mutex::new(LogWindows { by_group, by_source, is_used: false, others, total });
        Self { bounds, used: Notify::new(), windows }
    }
}

impl<S: Clone + Eq + Hash> LogRateLimiter<S> {
    /// True if a line of this kind about this source may be written now; otherwise it is counted.
    pub fn allow(&self, kind: &'static str, source: S, now: Instant) -> bool {
        self.windows_in_use().allow(self.bounds, (kind, source), now)
    }

    /// Like [`Self::allow`], for a source that the caller may name as it likes. The sources of a group have a bound
    /// of their own, so that one caller takes neither the lines nor the places of all others.
    pub fn allow_in_group(&self, kind: &'static str, source: S, group: u64, now: Instant) -> bool {
        let mut windows = self.windows_in_use();
        let LogWindows { by_group, others, .. } = &mut *windows;
        let full = by_group.len() >= self.bounds.max_sources && !by_group.contains_key(&group);
        if full || !by_group.entry(group).or_default().has_room(self.bounds.max_lines_per_group, now) {
            others.suppress(now);
            return false;
        }
        let written = windows.allow(self.bounds, (kind, source), now);
        if let Some(window) = windows.by_group.get_mut(&group).filter(|_| written) {
            window.written += 1;
        }
        written
    }

    /// The lines suppressed since the last call. Forgets sources that are quiet again.
    pub fn take_suppressed(&self, now: Instant) -> Vec<SuppressedLines<S>> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        windows.by_source.retain(|(kind, source), window| {
            let was_suppressed = window.suppressed > 0;
            told.extend(window.take_suppressed(kind, Some(source.clone()), now));
            was_suppressed || !window.is_over(now)
        });
        told.extend(windows.others.take_suppressed("other", None, now));
        windows.by_group.retain(|_, window| !window.is_over(now));
        windows.is_used = !windows.by_source.is_empty() || !windows.by_group.is_empty();
        if windows.is_used {
            self.used.notify_one();
        }
        told
    }

    fn windows_in_use(&self) -> MutexGuard<'_, LogWindows<S>> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if !mem::replace(&mut windows.is_used, true) {
            self.used.notify_one();
        }
        windows
    }
}

impl<S: Eq + Hash> LogWindows<S> {
    fn allow(&mut self, bounds: LogBounds, key: (&'static str, S), now: Instant) -> bool {
        let Self { by_source, others, total, .. } = self;
        if by_source.len() >= bounds.max_sources && !by_source.contains_key(&key) {
            others.suppress(now);
            return false;
        }
        let window = by_source.entry(key).or_default();
        if window.has_room(MAX_LINES_PER_SOURCE, now) && total.has_room(bounds.max_lines_per_window, now) {
            window.written += 1;
            total.written += 1;
            return true;
        }
        window.suppress(now);
        false
    }
}

impl LogWindow {
    fn is_over(&self, now: Instant) -> bool {
        self.began.is_none_or(|began| now.saturating_duration_since(began) >= LOG_WINDOW)
    }

    fn has_room(&mut self, max_lines: u32, now: Instant) -> bool {
        if self.is_over(now) {
            self.began = Some(now);
            self.written = 0;
        }
        self.written < max_lines
    }

    fn suppress(&mut self, now: Instant) {
        self.suppressed += 1;
        self.suppressed_since.get_or_insert(now);
    }

    fn take_suppressed<S>(
        &mut self,
        kind: &'static str,
        source: Option<S>,
        now: Instant,
    ) -> Option<SuppressedLines<S>> {
        let since = self.suppressed_since.take()?;
        let lines = mem::take(&mut self.suppressed);
        Some(SuppressedLines { kind, lines, over: now.saturating_duration_since(since), source })
    }
}

/// Writes one line per window for each source with suppressed lines, until the process stops. These lines are not
/// limited; there are at most as many as sources. Without a line there is no window, and nothing wakes up.
pub async fn tell_suppressed<S>(limiter: Arc<LogRateLimiter<S>>, clock: Clock, tasks: Tasks)
where
    S: Clone + Display + Eq + Hash,
{
    loop {
        let window_is_over = async {
            limiter.used.notified().await;
            tokio::time::sleep(LOG_WINDOW).await;
        };
        tokio::select! {
            () = window_is_over => {}
            () = tasks.stopped() => return,
        }
        let mut told = limiter.take_suppressed(clock.now());
        // The loudest sources are named, the others share a line.
        told.sort_by_key(|lines| std::cmp::Reverse(lines.lines));
        let rest = told.split_off(told.len().min(MAX_SUMMARIES));
        for SuppressedLines { kind, lines, over, source } in told {
            let (source, seconds) = (source.map(|source| source.to_string()), over.as_secs().max(1));
            tracing::info!(error = kind, source, "… and {lines} more like it in {seconds} s");
        }
        if !rest.is_empty() {
            let (lines, sources) = (rest.iter().map(|lines| lines.lines).sum::<u64>(), rest.len());
            tracing::info!(sources, "… and {lines} more of other sources");
        }
    }
}

/// Lines about suppressed lines per window.
const MAX_SUMMARIES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const CALLERS: LogBounds = LogBounds::CALLERS;

    fn start() -> Instant {
        Clock.now()
    }

    #[test]
    fn a_source_writes_its_first_lines_and_the_rest_are_counted() {
        let (limiter, now) = (LogRateLimiter::default(), start());
        let written = (0..500).filter(|_| limiter.allow("malformed", 1, now)).count();
        assert_eq!(written, MAX_LINES_PER_SOURCE as usize);
        assert!(limiter.allow("malformed", 2, now), "another source has lines of its own");
        assert!(limiter.allow("host_twice", 1, now), "and so has another kind");
        let later = now + LOG_WINDOW;
        let told = limiter.take_suppressed(later);
        let expected = SuppressedLines { kind: "malformed", lines: 480, over: LOG_WINDOW, source: Some(1) };
        assert_eq!(told, [expected]);
        assert!(limiter.allow("malformed", 1, later), "a new window begins");
        assert!(limiter.take_suppressed(later).is_empty(), "nothing is told twice");
    }

    #[test]
    fn omitted_lines_are_counted_across_windows_until_they_are_reported() {
        let (limiter, now) = (LogRateLimiter::default(), start());
        for round in 0..3 {
            let at = now + LOG_WINDOW * round;
            (0..100).for_each(|_| _ = limiter.allow("malformed", 1, at));
        }
        let told = limiter.take_suppressed(now + LOG_WINDOW * 3);
        assert_eq!(told[0].lines, 3 * (100 - u64::from(MAX_LINES_PER_SOURCE)));
    }

    #[test]
    fn one_address_with_many_names_takes_neither_the_lines_nor_the_places_of_others() {
        let (limiter, now) = (LogRateLimiter::default(), start());
        let written = (0..100_000).filter(|name| limiter.allow_in_group("refused", *name, 1, now)).count();
        assert_eq!(written, CALLERS.max_lines_per_group as usize);
        assert!(limiter.windows.lock().unwrap().by_source.len() <= written);
        assert!(limiter.allow_in_group("refused", 200_000, 2, now), "another address has lines of its own");
        let told: u64 = limiter.take_suppressed(now + LOG_WINDOW).iter().map(|lines| lines.lines).sum();
        assert_eq!(told, (100_000 - written) as u64, "every line is either written or counted");
        (0..20_000).for_each(|group| _ = limiter.allow_in_group("refused", 0, group, now + LOG_WINDOW));
        assert!(limiter.windows.lock().unwrap().by_group.len() <= CALLERS.max_sources);
    }

    #[tokio::test(start_paused = true)]
    async fn suppressed_lines_are_reported_a_window_later_and_quiet_sources_need_no_timer() {
        let ((tasks, _deaths), limiter) = (Tasks::new(), Arc::new(LogRateLimiter::default()));
        let parks = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
        // A timer of an hour alone is a few turns of the runtime's wheel; one each 10 s would be 360.
        let sleeps_an_hour = async || {
            let before = parks();
            tokio::time::sleep(Duration::from_secs(3600)).await;
            (parks() - before) < 100
        };
        tasks.spawn(tell_suppressed(limiter.clone(), Clock, tasks.clone()));
        assert!(sleeps_an_hour().await, "nothing was written");
        (0..100).for_each(|_| _ = limiter.allow("malformed", 1, Clock.now()));
        tokio::time::sleep(LOG_WINDOW * 3).await;
        assert!(limiter.take_suppressed(Clock.now()).is_empty(), "they were told");
        assert!(limiter.windows.lock().unwrap().by_source.is_empty(), "and the source is forgotten");
        assert!(sleeps_an_hour().await, "all is told");
        tasks.stop();
    }

    #[test]
    fn many_sources_together_write_a_bounded_number_of_lines_in_bounded_memory() {
        let (limiter, now) = (LogRateLimiter::default(), start());
        let calls = 3 * CALLERS.max_sources;
        let written = (0..calls).filter(|source| limiter.allow("malformed", *source, now)).count();
        assert_eq!(written, CALLERS.max_lines_per_window as usize);
        assert!(limiter.windows.lock().unwrap().by_source.len() <= CALLERS.max_sources);
        let told: u64 = limiter.take_suppressed(now + LOG_WINDOW).iter().map(|lines| lines.lines).sum();
        assert_eq!(told, (calls - written) as u64, "every line is either written or counted");
        limiter.take_suppressed(now + LOG_WINDOW * 2);
        assert!(limiter.windows.lock().unwrap().by_source.is_empty(), "quiet sources are forgotten");
    }
}
