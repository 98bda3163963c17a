//! The story of one playback, for the person on the phone: its last events with their times.

use std::collections::VecDeque;
use std::time::Duration;

use crate::session::Event;

#[derive(Clone, Debug)]
pub struct Entry {
    pub event: Event,
    /// Wall time since the epoch.
    pub at: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Timeline {
    beats: u32,
    confirmed: bool,
    entries: VecDeque<Entry>,
}

impl Timeline {
    const LONGEST: usize = 24;

    pub(super) fn add(&mut self, at: Duration, event: Event) {
        self.confirmed |= matches!(event, Event::Beat | Event::Opened { .. } | Event::Renewed);
        if matches!(event, Event::Beat | Event::Renewed) {
            self.beats = self.beats.saturating_add(1);
            return;
        }
        if self.entries.len() == Self::LONGEST {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { event, at });
    }

    /// Whether the authority ever said yes.
    pub(super) fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// Good beats and renewals so far.
    pub fn beats(&self) -> u32 {
        self.beats
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}
