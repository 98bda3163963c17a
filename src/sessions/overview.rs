//! All playbacks at a glance, for operators: never on the way of a call.

use std::collections::BTreeMap;
use std::time::Instant;

use super::row::{STATES, state_name};
use super::table::Kept;
use super::{AuthorityId, DeviceKey, Row, Sessions};
use crate::ids::SessionId;
use crate::session::{AskKind, Playback};

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FindFault {
    #[error("more than one session begins with these digits")]
    Ambiguous,
    #[error("no such session")]
    Unknown,
}

/// Digits of an id that are enough, where they fit one session alone.
const MIN_ID_DIGITS: usize = 4;

impl Sessions {
    /// The playback whose id begins with these digits; an error says why there is not exactly one. Fewer than
    /// [`MIN_ID_DIGITS`] name nobody: a slip would hit whoever is the only one.
    pub fn find(&self, prefix: &str) -> Result<(DeviceKey, SessionId), FindFault> {
        if prefix.len() < MIN_ID_DIGITS || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FindFault::Unknown);
        }
        let prefix = prefix.to_ascii_lowercase();
        let fits =
            |key, playback: &Playback<Kept>| playback.id.to_string().starts_with(&prefix).then_some((key, playback.id));
        match self.table.collect(fits).as_slice() {
            [one] => Ok(*one),
            [] => Err(FindFault::Unknown),
            [..] => Err(FindFault::Ambiguous),
        }
    }

    pub fn row(&self, id: SessionId) -> Option<Row> {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        self.table.collect(|_, playback| (playback.id == id).then(|| Row::of(playback, now, wall))).pop()
    }

    /// How many sessions are in each state, 0 included: one that empties is to be seen empty. Copies nothing of them: a scrape must not hold up beats.
    pub fn states(&self) -> BTreeMap<&'static str, usize> {
        let mut states: BTreeMap<_, _> = STATES.map(|state| (state, 0)).into();
        for state in self.table.collect(|_, playback| Some(state_name(playback.session.state()))) {
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// How many playbacks go on without the word of this authority.
    pub fn on_credit(&self, authority: &AuthorityId) -> usize {
        let fits = |playback: &Playback<Kept>| {
            playback.card.card.authority == *authority && playback.session.on_credit().is_some()
        };
        self.table.collect(|_, playback| fits(playback).then_some(())).len()
    }

    /// Since when the calls for which they wait are not answered.
    pub fn unanswered(&self, authority: &AuthorityId) -> Vec<(AskKind, Instant)> {
        self.table.collect(|_, playback| {
            let since = playback.session.on_credit().filter(|_| playback.card.card.authority == *authority)?;
            Some((playback.session.asks_by(), since))
        })
    }

    pub fn list(&self) -> Vec<Row> {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut rows = self.table.collect(|_, playback| Some(Row::of(playback, now, wall)));
        rows.sort_by_key(|row| (row.opened, row.id));
        rows
    }
}
