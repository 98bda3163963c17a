//! A player's reports about itself, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::player_report::{PlayingState, ReportHistory};
use super::serde_helpers::is_default;
use crate::time::{ClockMoment, EpochTime, RecordedSpan};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportsRecord {
    pub at: Option<EpochTime>,
    pub gaps: [RecordedSpan; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playhead: Option<(EpochTime, RecordedSpan)>,
    pub playing: PlayingState,
    #[serde(default, skip_serializing_if = "is_default")]
    pub slowed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<RecordedSpan>,
}

impl ReportsRecord {
    pub(in crate::session) fn of(reports: &ReportHistory, at: &ClockMoment) -> Self {
        Self {
            at: reports.at.map(|seen| at.wall_of(seen)),
            gaps: reports.gaps.map(RecordedSpan::from),
            playhead: reports.playhead.map(|(seen, playhead)| (at.wall_of(seen), playhead.into())),
            playing: reports.playing,
            slowed: reports.slowed,
            until: reports.until.map(RecordedSpan::from),
        }
    }

    pub(in crate::session) fn restore(&self, at: &ClockMoment) -> ReportHistory {
        ReportHistory {
            at: self.at.map(|seen| at.time_of(seen)),
            gaps: self.gaps.map(Duration::from),
            playhead: self.playhead.map(|(seen, playhead)| (at.time_of(seen), playhead.into())),
            playing: self.playing,
            slowed: self.slowed,
            until: self.until.map(Duration::from),
        }
    }
}
