//! The timeline of a playback: its last events with their times, for support.

use std::sync::Arc;
use std::time::Duration;

use crate::drm::DrmSystem;
use crate::eme::{EmeChange, EmeEvent};
use crate::secret::Fingerprint;
use crate::session::{AskKind, SessionEvent};
use crate::time::EpochTime;

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
    Call(Arc<str>),
    Core(SessionEvent),
    Eme(EmeEvent),
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
            Self::Call(what) => what.to_string(),
            Self::Core(event) => event.describe(error_name),
            Self::Eme(happening) => happening.describe(),
        }
    }
}

/// The last events of a playback. Each is kept in a few bytes, because a million playbacks have one.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    beats: u32,
    confirmed: bool,
    /// A slice has no spare room.
    entries: Box<[KeptEntry]>,
}

#[derive(Clone, Debug)]
struct KeptEntry {
    at: EpochTime,
    what: KeptEvent,
}

/// A [`TimelineEvent`] in fewer bytes: those of nearly all sessions in place, others boxed.
#[derive(Clone, Debug)]
enum KeptEvent {
    Call(Box<CallText>),
    Eme { count: u16, key_session: Fingerprint, system: DrmSystem, what: EmeChange },
    Opened { interval_ms: u32 },
    Other(Box<TimelineEvent>),
    RenewalsCarry,
    Resumed,
}

/// A type of its own, so that an entry holds one pointer.
#[derive(Clone, Debug)]
struct CallText(Arc<str>);

impl From<TimelineEvent> for KeptEvent {
    fn from(event: TimelineEvent) -> Self {
        let short = match &event {
            TimelineEvent::Call(text) => Some(Self::Call(Box::new(CallText(text.clone())))),
            TimelineEvent::Core(SessionEvent::Opened { interval }) => whole_ms(*interval).map(Self::opened),
            TimelineEvent::Core(SessionEvent::RenewalsCarry) => Some(Self::RenewalsCarry),
            TimelineEvent::Core(SessionEvent::Resumed) => Some(Self::Resumed),
            TimelineEvent::Eme(EmeEvent { count, key_session, system, what }) => u16::try_from(*count)
                .ok()
                .map(|count| Self::Eme { count, key_session: *key_session, system: *system, what: *what }),
            TimelineEvent::Core(_) => None,
        };
        short.unwrap_or_else(|| Self::Other(Box::new(event)))
    }
}

impl KeptEvent {
    fn opened(interval_ms: u32) -> Self {
        Self::Opened { interval_ms }
    }

    fn whole(&self) -> TimelineEvent {
        match self {
            Self::Call(text) => TimelineEvent::Call(text.0.clone()),
            Self::Eme { count, key_session, system, what } => TimelineEvent::Eme(EmeEvent {
                count: usize::from(*count),
                key_session: *key_session,
                system: *system,
                what: *what,
            }),
            Self::Opened { interval_ms } => {
                TimelineEvent::Core(SessionEvent::Opened { interval: Duration::from_millis((*interval_ms).into()) })
            }
            Self::Other(event) => TimelineEvent::clone(event),
            Self::RenewalsCarry => TimelineEvent::Core(SessionEvent::RenewalsCarry),
            Self::Resumed => TimelineEvent::Core(SessionEvent::Resumed),
        }
    }
}

/// `None` if it is no whole number of milliseconds.
fn whole_ms(time: Duration) -> Option<u32> {
    let ms = u32::try_from(time.as_millis()).ok()?;
    (Duration::from_millis(ms.into()) == time).then_some(ms)
}

impl Timeline {
    const MAX_TIMELINE_ENTRIES: usize = 32;

    /// Timeline of a session of an earlier process.
    pub(super) fn with_beats(beats: u32) -> Self {
        Self { beats, confirmed: beats > 0, entries: Box::default() }
    }

    pub(super) fn add(&mut self, at: Duration, event: SessionEvent) {
        self.confirmed |= matches!(event, SessionEvent::Beat | SessionEvent::Opened { .. } | SessionEvent::Renewed);
        if matches!(event, SessionEvent::Beat | SessionEvent::Renewed) {
            self.beats = self.beats.saturating_add(1);
            return;
        }
        self.push(at, TimelineEvent::Core(event), false);
    }

    pub(super) fn add_eme(&mut self, at: Duration, happening: EmeEvent) {
        self.push(at, TimelineEvent::Eme(happening), false);
    }

    /// Adds a call. Repeated equal calls leave one entry, with the newest time.
    pub(super) fn add_call(&mut self, at: Duration, what: Arc<str>) {
        let last = self.entries.last().map(|last| &last.what);
        let is_last = matches!(last, Some(KeptEvent::Call(last)) if *last.0 == *what);
        self.push(at, TimelineEvent::Call(what), is_last);
    }

    fn push(&mut self, at: Duration, what: TimelineEvent, replaces_last: bool) {
        let mut entries = std::mem::take(&mut self.entries).into_vec();
        if replaces_last {
            entries.pop();
        } else if entries.len() == Self::MAX_TIMELINE_ENTRIES {
            entries.remove(0);
        }
        entries.reserve_exact(1);
        entries.push(KeptEntry { at: at.into(), what: what.into() });
        self.entries = entries.into_boxed_slice();
    }

    /// True if the authority ever confirmed the session.
    pub(super) fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// Number of good beats and renewals.
    pub fn beats(&self) -> u32 {
        self.beats
    }

    /// The events, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = TimelineEntry> {
        self.entries.iter().map(|entry| TimelineEntry { at: entry.at.into(), what: entry.what.whole() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eme::MessageType;
    use crate::session::{EndReason, Reason};

    /// Whatever is kept in short reads as it was told.
    #[test]
    fn a_timeline_tells_each_event_as_it_was() {
        let eme = |count| EmeEvent {
            count,
            key_session: Fingerprint::new(7),
            system: DrmSystem::Widevine,
            what: EmeChange::Message(MessageType::LicenseRequest),
        };
        let opened = |interval| TimelineEvent::Core(SessionEvent::Opened { interval });
        let events = [
            opened(Duration::from_secs(60)),
            opened(Duration::from_nanos(60_000_000_001)),
            opened(Duration::MAX),
            TimelineEvent::Core(SessionEvent::Resumed),
            TimelineEvent::Core(SessionEvent::RenewalsCarry),
            TimelineEvent::Core(SessionEvent::Closed(EndReason::Stopped)),
            TimelineEvent::Core(SessionEvent::Failed(AskKind::Beat, Reason::without_reply("no way"))),
            TimelineEvent::Eme(eme(2)),
            TimelineEvent::Eme(eme(1 << 20)),
            TimelineEvent::Call("declined".into()),
        ];
        let mut timeline = Timeline::default();
        for (second, event) in events.iter().enumerate() {
            let at = Duration::new(second as u64, 1);
            match event.clone() {
                TimelineEvent::Call(what) => timeline.add_call(at, what),
                TimelineEvent::Core(event) => timeline.add(at, event),
                TimelineEvent::Eme(event) => timeline.add_eme(at, event),
            }
        }
        let told: Vec<_> = timeline.entries().map(|entry| (entry.at, format!("{:?}", entry.what))).collect();
        let expected = events.iter().enumerate();
        let expected = expected.map(|(second, event)| (Duration::new(second as u64, 1), format!("{event:?}")));
        assert_eq!(told, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_timeline_keeps_its_newest_entries_and_one_of_equal_calls() {
        let mut timeline = Timeline::default();
        for second in 0..100 {
            timeline.add(Duration::from_secs(second), SessionEvent::Resumed);
        }
        (100..200).for_each(|second| timeline.add_call(Duration::from_secs(second), "declined".into()));
        let times: Vec<_> = timeline.entries().map(|entry| entry.at.as_secs()).collect();
        assert_eq!(times, (69..100).chain([199]).collect::<Vec<_>>());
        assert_eq!(size_of::<KeptEntry>(), 24);
    }
}
