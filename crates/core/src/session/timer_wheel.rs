//! A lazy hashed timer wheel, which says when to look at which session again.
//!
//! A session keeps its own deadline. If a deadline moves later, the entry comes up at its old time, is found early and
//! is put back, at no further cost. If it moves earlier, a new entry is inserted, and the old one is recognised as
//! stale by its [`WheelSlot`]. Deadlines beyond one turn park in the farthest slot. Coming up and re-arming takes tens
//! of nanoseconds at a million entries (`benches/core.rs`). The timer of `sessions` drives it.

use crate::time::MonotonicTime;
use std::time::Duration;

/// Position of an entry: its absolute tick. The session keeps it, to recognise stale entries.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct WheelSlot(u64);

#[derive(Debug)]
pub struct Wheel<T> {
    base: MonotonicTime,
    /// The first tick that has not come up yet.
    next: u64,
    slots: Vec<Vec<T>>,
}

impl<T> Wheel<T> {
    /// Half of the promised lateness; the other half is for the spread of beats and the way to the wheel.
    pub const WHEEL_TICK_TIME: Duration = Duration::from_millis(50);
    const WHEEL_SLOTS: u64 = 1024;

    pub fn new(now: MonotonicTime) -> Self {
        Self { base: now, next: 1, slots: (0..Self::WHEEL_SLOTS).map(|_| Vec::new()).collect() }
    }

    /// The slot that [`Self::insert`] would use: never before the deadline, nor after it by more than
    /// a tick unless it lies beyond the wheel.
    pub fn slot_for(&self, deadline: MonotonicTime) -> WheelSlot {
        let ticks = deadline.saturating_duration_since(self.base).as_nanos().div_ceil(Self::WHEEL_TICK_TIME.as_nanos());
        let tick = u64::try_from(ticks).unwrap_or(u64::MAX);
        WheelSlot(tick.clamp(self.next, self.next + Self::WHEEL_SLOTS - 1))
    }

    pub fn insert(&mut self, deadline: MonotonicTime, entry: T) -> WheelSlot {
        let slot = self.slot_for(deadline);
        if let Some(entries) = self.slots.get_mut((slot.0 % Self::WHEEL_SLOTS) as usize) {
            entries.push(entry);
        }
        slot
    }

    /// Takes out the entries of the earliest tick that has come up by `now`; `None` if there is none yet.
    pub fn advance(&mut self, now: MonotonicTime) -> Option<(WheelSlot, Vec<T>)> {
        let reached = now.saturating_duration_since(self.base).as_nanos() / Self::WHEEL_TICK_TIME.as_nanos();
        while u128::from(self.next) <= reached {
            let slot = WheelSlot(self.next);
            self.next += 1;
            let entries =
                self.slots.get_mut((slot.0 % Self::WHEEL_SLOTS) as usize).map(std::mem::take).unwrap_or_default();
            if !entries.is_empty() {
                return Some((slot, entries));
            }
        }
        None
    }

    /// Time of the next entry, if there is one.
    pub fn next_due(&self) -> Option<MonotonicTime> {
        (self.next..self.next + Self::WHEEL_SLOTS)
            .find(|tick| self.slots.get((tick % Self::WHEEL_SLOTS) as usize).is_some_and(|entries| !entries.is_empty()))
            .map(|tick| self.base + Self::WHEEL_TICK_TIME * u32::try_from(tick).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::time::testing::Clock;

    proptest! {
        /// Compared to a sorted map, no entry comes early, none is lost, and none is later than a tick.
        #[test]
        fn the_wheel_delivers_like_a_sorted_map(deadlines in prop::collection::vec(0u64..120_000, 1..200), pace in 1u64..400) {
            let base = Clock.now();
            let mut wheel = Wheel::new(base);
            let mut model = BTreeMap::new();
            for (entry, ms) in deadlines.iter().enumerate() {
                let due = base + Duration::from_millis(*ms);
                wheel.insert(due, entry);
                model.insert(entry, due);
            }
            let mut now = base;
            while !model.is_empty() {
                now += Duration::from_millis(pace);
                while let Some((_, entries)) = wheel.advance(now) {
                    for entry in entries {
                        let due = model[&entry];
                        if due > now {
                            // An entry beyond the wheel's turn is put back, as the timer does.
                            wheel.insert(due, entry);
                        } else {
                            prop_assert!(now - due <= Wheel::<usize>::WHEEL_TICK_TIME + Duration::from_millis(pace));
                            model.remove(&entry);
                        }
                    }
                }
                prop_assert!(now - base < Duration::from_secs(200), "left: {model:?}");
            }
        }
    }

    #[test]
    fn the_wheel_tells_when_to_wake() {
        let base = Clock.now();
        let mut wheel = Wheel::new(base);
        assert_eq!(wheel.next_due(), None);
        wheel.insert(base + Duration::from_millis(120), ());
        assert_eq!(wheel.next_due(), Some(base + Duration::from_millis(150)));
        assert!(wheel.advance(base + Duration::from_millis(149)).is_none());
        assert!(wheel.advance(base + Duration::from_millis(150)).is_some());
        assert_eq!(wheel.next_due(), None);
    }
}
