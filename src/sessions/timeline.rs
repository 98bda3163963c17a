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
    entries: VecDeque<Entry>,
}

impl Timeline {
    const LONGEST: usize = 24;

    pub(super) fn with_beats(beats: u32) -> Self {
        Self { beats, entries: VecDeque::new() }
    }

    pub(super) fn add(&mut self, at: Duration, event: Event) {
        if matches!(event, Event::Beat | Event::Renewed) {
            self.beats = self.beats.saturating_add(1);
            return;
        }
        if self.entries.len() == Self::LONGEST {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { event, at });
    }

    /// Good beats and renewals so far.
    pub fn beats(&self) -> u32 {
        self.beats
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}
