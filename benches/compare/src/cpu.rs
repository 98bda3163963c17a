//! Tells what a process has spent, and whether somebody else was on its core meanwhile.

use std::fs;
use std::time::Duration;

use crate::Outcome;

/// `USER_HZ`, in which Linux writes the times of `/proc` on every platform it builds for.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process and of its children.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Of all threads that are alive, to the nanosecond (`/proc/PID/task/*/schedstat`).
    exact: Duration,
    /// User and system time in ticks, of threads that have ended too (`/proc/PID/stat`).
    user: Duration,
    system: Duration,
}

impl Spent {
    /// The process's own time and that of its children: a second worker of nginx is one.
    pub(crate) fn of(id: u32) -> Outcome<Self> {
        let mut spent = Self::alone(id)?;
        for child in children(id) {
            let of_child = Self::alone(child)?;
            spent.exact += of_child.exact;
            spent.user += of_child.user;
            spent.system += of_child.system;
        }
        Ok(spent)
    }

    fn alone(id: u32) -> Outcome<Self> {
        let mut nanoseconds = 0_u64;
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            // A thread may end between the two.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanoseconds += text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        let (user, system) = times_of(&fs::read_to_string(format!("/proc/{id}/stat"))?)?;
        Ok(Self { exact: Duration::from_nanos(nanoseconds), user, system })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            exact: self.exact.saturating_sub(before.exact),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }

    #[cfg(test)]
    pub(crate) fn of_ticks(user: Duration) -> Self {
        Self { exact: Duration::ZERO, user, system: Duration::ZERO }
    }

    /// The exact time, unless threads that ended took some of theirs along.
    pub(crate) fn whole(self) -> Duration {
        let ticks = self.user + self.system;
        if self.exact + TICK * 3 < ticks { ticks } else { self.exact }
    }

    /// The kernel's part of it, from 0 to 1.
    pub(crate) fn kernel_share(self) -> f64 {
        let ticks = (self.user + self.system).max(TICK);
        self.system.as_secs_f64() / ticks.as_secs_f64()
    }
}

pub(crate) fn children(id: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// User and system time in a line of `/proc/PID/stat`.
fn times_of(stat: &str) -> Outcome<(Duration, Duration)> {
    // The name in parentheses may hold spaces; after it, utime and stime are the 12th and 13th field.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let mut next = || times.next().and_then(Result::ok).ok_or("no times in stat");
    Ok((TICK * next()?, TICK * next()?))
}

/// The work of a core, for all programs on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CoreTime {
    /// Time in which it ran anything, interrupts included.
    pub(crate) busy: Duration,
    /// Time in which the machine below gave it to somebody else.
    pub(crate) stolen: Duration,
}

impl CoreTime {
    pub(crate) fn of(core: usize) -> Outcome<Self> {
        Self::read(core, &fs::read_to_string("/proc/stat")?)
    }

    fn read(core: usize, text: &str) -> Outcome<Self> {
        let name = format!("cpu{core} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name)).ok_or("no such core in /proc/stat")?;
        let ticks: Vec<u32> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks.as_slice() else {
            return Err("too few fields in /proc/stat".into());
        };
        Ok(Self { busy: TICK * (user + nice + system + irq + softirq), stolen: TICK * *steal })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { busy: self.busy.saturating_sub(before.busy), stolen: self.stolen.saturating_sub(before.stolen) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_blanks() {
        let stat = "12 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        assert_eq!(times_of(stat).unwrap(), (Duration::from_millis(2_500), Duration::from_millis(500)));
        assert!(times_of("12 (a) S 1").is_err());
    }

    #[test]
    fn a_core_is_busy_with_all_but_idling_and_what_is_stolen() {
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 10 1 20 500 7 2 3 4 0 0\ncpu10 0 0 0 0 0 0 0 0 0 0\n";
        let core = CoreTime::read(1, text).unwrap();
        assert_eq!((core.busy, core.stolen), (TICK * 36, TICK * 4));
        assert!(CoreTime::read(2, text).is_err());
    }

    #[test]
    fn time_of_ended_threads_is_not_lost() {
        let spent = Spent { exact: TICK * 90, user: TICK * 60, system: TICK * 32 };
        assert_eq!(spent.whole(), TICK * 90);
        assert_eq!(Spent { exact: TICK * 50, ..spent }.whole(), TICK * 92);
    }
}
