//! The timeline of a playback: its last events with their times, for support.

use std::collections::VecDeque;
use std::time::Duration;

use crate::eme;
use crate::session::{AskKind, SessionEvent};

#[derive(Clone, Debug)]
pub struct TimelineEntry {
    /// Wall time since the epoch.
    pub at: Duration,
    pub what: TimelineEvent,
}

/// An event of the session or of one of its key sessions.
#[derive(Clone, Debug)]
pub enum TimelineEvent {
    /// Outcome of a license call, in words.
    Call(String),
    Core(SessionEvent),
    Eme(eme::EmeEvent),
}

impl TimelineEvent {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Call(_) => "license call",
            Self::Core(event) => event.name(),
            Self::Eme(happening) => happening.name(),
        }
    }

    /// The event in words for a person.
    pub fn describe(&self, error_name: fn(AskKind) -> &'static str) -> String {
        match self {
            Self::Call(what) => what.clone(),
            Self::Core(event) => event.describe(error_name),
            Self::Eme(happening) => happening.describe(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Timeline {
    beats: u32,
    confirmed: bool,
    entries: VecDeque<TimelineEntry>,
}

impl Timeline {
    const MAX_TIMELINE_ENTRIES: usize = 32;

    /// Timeline of a session of an earlier process.
    pub(super) fn with_beats(beats: u32) -> Self {
        Self { beats, confirmed: beats > 0, entries: VecDeque::new() }
    }

    pub(super) fn add(&mut self, at: Duration, event: SessionEvent) {
        self.confirmed |= matches!(event, SessionEvent::Beat | SessionEvent::Opened { .. } | SessionEvent::Renewed);
        if matches!(event, SessionEvent::Beat | SessionEvent::Renewed) {
            self.beats = self.beats.saturating_add(1);
            return;
        }
        self.push(TimelineEntry { at, what: TimelineEvent::Core(event) });
    }

    pub(super) fn add_eme(&mut self, at: Duration, happening: eme::EmeEvent) {
        self.push(TimelineEntry { at, what: TimelineEvent::Eme(happening) });
    }

    /// Adds a call. Repeated equal calls leave one entry, with the newest time.
    pub(super) fn add_call(&mut self, at: Duration, what: String) {
        if matches!(self.entries.back(), Some(TimelineEntry { what: TimelineEvent::Call(last), .. }) if *last == what) {
            self.entries.pop_back();
        }
        self.push(TimelineEntry { at, what: TimelineEvent::Call(what) });
    }

    fn push(&mut self, entry: TimelineEntry) {
        if self.entries.len() == Self::MAX_TIMELINE_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// True if the authority ever confirmed the session.
    pub(super) fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// Number of good beats and renewals.
    pub fn beats(&self) -> u32 {
        self.beats
    }

    pub fn entries(&self) -> impl Iterator<Item = &TimelineEntry> {
        self.entries.iter()
    }
}
