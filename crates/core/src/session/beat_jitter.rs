//! Jitter of beats: spreads the beats of many sessions that would fall on one moment.

use std::time::Duration;

use super::policy::Policy;
use super::timer_wheel::Wheel;
use crate::time::jitter;

/// Less than a tick, so that it and the wheel together keep a beat within [`Policy::MAX_BEAT_LATENESS`].
pub(super) fn beat_jitter(seed: u64) -> Duration {
    jitter(seed, (Policy::MAX_BEAT_LATENESS - Wheel::<()>::WHEEL_TICK_TIME) * 4 / 5)
}
