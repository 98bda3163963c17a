//! Keeps notes of license calls without a session, for questions about a device or an account.
//!
//! Sessions have timelines of their own. Bounded as a whole and per device, so that a device that asks without end
//! displaces no other. `gateway` writes a note as often as a log line is allowed, `admin` reads them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::PlayerCallOutcome;

const MAX_NOTES: usize = 4_096;
const MAX_NOTES_PER_DEVICE: usize = 16;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceNote {
    pub account: Option<String>,
    /// Wall time since the epoch.
    pub at: Duration,
    pub device: Option<String>,
    pub outcome: PlayerCallOutcome,
    /// The reason in words.
    pub reason: String,
    pub route: String,
}

/// Notes of all devices, oldest first.
#[derive(Debug, Default)]
pub struct DeviceNotes(Mutex<VecDeque<DeviceNote>>);

impl DeviceNotes {
    pub fn add(&self, note: DeviceNote) {
        let mut notes = self.notes();
        let of_device = |other: &DeviceNote| other.device == note.device;
        if notes.iter().filter(|other| of_device(other)).count() >= MAX_NOTES_PER_DEVICE
            && let Some(oldest) = notes.iter().position(of_device)
        {
            notes.remove(oldest);
        }
        if notes.len() >= MAX_NOTES {
            notes.pop_front();
        }
        notes.push_back(note);
    }

    /// The notes of a device, of an account, or of both if both are given; all notes without either.
    pub fn find(&self, device: Option<&str>, account: Option<&str>) -> Vec<DeviceNote> {
        let fits = |wanted: Option<&str>, found: &Option<String>| wanted.is_none() || found.as_deref() == wanted;
        let notes = self.notes();
        notes.iter().filter(|note| fits(device, &note.device) && fits(account, &note.account)).cloned().collect()
    }

    fn notes(&self) -> MutexGuard<'_, VecDeque<DeviceNote>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(device: &str, number: u64) -> DeviceNote {
        DeviceNote {
            account: Some("ann".to_owned()),
            at: Duration::from_secs(number),
            device: Some(device.to_owned()),
            outcome: PlayerCallOutcome::Passed,
            reason: number.to_string(),
            route: "/license".to_owned(),
        }
    }

    #[test]
    fn one_device_takes_no_other_ones_place() {
        let notes = DeviceNotes::default();
        notes.add(note("quiet", 0));
        (1..=10_000).for_each(|number| notes.add(note("loud", number)));
        assert_eq!(notes.find(Some("quiet"), None), [note("quiet", 0)]);
        let loud = notes.find(Some("loud"), Some("ann"));
        assert_eq!((loud.len(), loud.last().unwrap().at.as_secs()), (MAX_NOTES_PER_DEVICE, 10_000));
        assert!(notes.find(Some("loud"), Some("bob")).is_empty());
    }

    #[test]
    fn many_devices_push_out_the_oldest() {
        let notes = DeviceNotes::default();
        (0..5_000).for_each(|number| notes.add(note(&number.to_string(), number)));
        let all = notes.find(None, None);
        assert_eq!((all.len(), all.first().unwrap().at.as_secs()), (MAX_NOTES, 5_000 - MAX_NOTES as u64));
    }
}
