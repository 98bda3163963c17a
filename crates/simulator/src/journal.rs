//! The log of calls: caller, time and outcome; never tokens or bodies.

use std::collections::VecDeque;

use serde::Serialize;

/// Entries that are kept.
const MAX_JOURNAL_ENTRIES: usize = 10_000;

#[derive(Default)]
pub(super) struct CallJournal {
    entries: VecDeque<CallEntry>,
    last: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct CallEntry {
    /// `errorCode` of the reply.
    pub(super) code: Option<i64>,
    pub(super) content: Option<String>,
    pub(super) device: Option<String>,
    /// The endpoint's name, or `session-expired` or `session-killed`.
    pub(super) endpoint: &'static str,
    pub(super) fault: Option<&'static str>,
    pub(super) message: Option<&'static str>,
    /// Milliseconds since the start.
    pub(super) ms: u64,
    /// Counts from 1, without gaps.
    pub(super) seq: u64,
    pub(super) session: Option<String>,
    /// HTTP status; 0 if no reply was sent.
    pub(super) status: u16,
}

impl CallJournal {
    /// Numbers the entry and keeps it.
    pub(super) fn add(&mut self, entry: CallEntry) {
        self.last += 1;
        self.entries.push_back(CallEntry { seq: self.last, ..entry });
        if self.entries.len() > MAX_JOURNAL_ENTRIES {
            self.entries.pop_front();
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Entries newer than `seq`, oldest first, of one endpoint if one is named.
    pub(super) fn since(&self, seq: u64, endpoint: Option<&str>) -> Vec<CallEntry> {
        let newer = self.entries.iter().filter(|entry| entry.seq > seq);
        newer.filter(|entry| endpoint.is_none_or(|name| name == entry.endpoint)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_numbered_filtered_and_bounded() {
        let mut journal = CallJournal::default();
        for _ in 0..MAX_JOURNAL_ENTRIES {
            journal.add(CallEntry { endpoint: "setup", ..CallEntry::default() });
        }
        journal.add(CallEntry { endpoint: "teardown", ..CallEntry::default() });
        let all = journal.since(0, None);
        assert_eq!((all.len(), all[0].seq, journal.last()), (MAX_JOURNAL_ENTRIES, 2, 10_001));
        assert_eq!(journal.since(0, Some("teardown")).len(), 1);
        assert!(journal.since(10_001, None).is_empty());
    }
}
