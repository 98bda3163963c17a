//! What a player told of itself, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::report::{Playing, Reports};
use super::form::is_default;
use crate::clock::{Moment, Span, Wall};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportsRecord {
    pub at: Option<Wall>,
    pub gaps: [Span; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playhead: Option<(Wall, Span)>,
    pub playing: Playing,
    #[serde(default, skip_serializing_if = "is_default")]
    pub slowed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
}

impl ReportsRecord {
    pub(super) fn of(reports: &Reports, at: &Moment) -> Self {
        Self {
            at: reports.at.map(|seen| at.wall_of(seen)),
            gaps: reports.gaps.map(Span::from),
            playhead: reports.playhead.map(|(seen, playhead)| (at.wall_of(seen), playhead.into())),
            playing: reports.playing,
            slowed: reports.slowed,
            until: reports.until.map(Span::from),
        }
    }

    pub(super) fn restore(&self, at: &Moment) -> Reports {
        Reports {
            at: self.at.map(|seen| at.instant_of(seen)),
            gaps: self.gaps.map(Duration::from),
            playhead: self.playhead.map(|(seen, playhead)| (at.instant_of(seen), playhead.into())),
            playing: self.playing,
            slowed: self.slowed,
            until: self.until.map(Duration::from),
        }
    }
}
