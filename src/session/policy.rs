//! The numbers and choices that the core follows. Made from the route and its authority.

use std::time::Duration;

use super::schedule::Schedule;
use crate::config::Enforcement;

#[derive(Clone, Debug)]
pub struct Policy {
    /// A player that plays again is beaten at once, if the last beat is older than half an interval.
    pub beat_on_resume: bool,
    pub beat_while_paused: bool,
    /// How often a close is tried in all.
    pub close_tries: u8,
    /// Players come back within seconds after a refusal; they get the same one.
    pub denial_memory: Duration,
    /// Whether a player that reports about itself is over when it falls silent.
    pub end_on_silence: bool,
    /// How long an ended playback is remembered, so that its left-over calls are known.
    pub end_memory: Duration,
    pub enforcement: Enforcement,
    /// Share of the interval after which a beat is due.
    pub fraction: f64,
    /// Added to the interval before the authority must have let a silent session expire.
    pub grace: Duration,
    pub kill_memory: Duration,
    /// A call in flight for longer than this is given up.
    pub lane_patience: Duration,
    /// Whether it is live, if known before the player says.
    pub live: Option<bool>,
    /// Without a sign of life for this long, a playback is over.
    pub longest: Duration,
    /// Counts lost beats in place of time: each is sent again when the next is due, and a live playback
    /// is over after more than so many in line; what is not live never is.
    pub max_failures: Option<u8>,
    /// A player of something live that fetches nothing for this long is gone; longer than its buffer and a segment.
    pub media_silence: Duration,
    /// The authority takes the player's renewals as beats (Widevine under SSM).
    pub renews: bool,
    /// Waits before a failed beat is sent again; the last one repeats.
    pub retries: [Duration; 2],
    /// What the clock will bring.
    pub schedule: Option<Schedule>,
    pub sessions_per_device: usize,
    /// Whether a blackout or the end of its programme ends the playback, or is told alone.
    pub stop_on_moment: bool,
}

impl Policy {
    /// How late a beat may be, spread and wheel included, before it counts as late.
    pub const TICK: Duration = Duration::from_millis(100);

    pub fn retry_after(&self, missed: u8) -> Duration {
        let [first, later] = self.retries;
        if missed <= 1 { first } else { later }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            beat_on_resume: false,
            beat_while_paused: true,
            close_tries: 2,
            denial_memory: Duration::from_secs(3),
            end_on_silence: true,
            end_memory: Duration::from_secs(60),
            enforcement: Enforcement::Auto,
            fraction: 1.0,
            grace: Duration::from_secs(10),
            kill_memory: Duration::from_secs(3600),
            lane_patience: Duration::from_secs(15),
            live: None,
            longest: Duration::from_secs(12 * 3600),
            max_failures: None,
            media_silence: Duration::from_secs(90),
            renews: true,
            retries: [Duration::from_secs(1), Duration::from_secs(3)],
            schedule: None,
            sessions_per_device: 1,
            stop_on_moment: true,
        }
    }
}
