//! Counters and pages of all playbacks for operators; never used by a call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::device_table::SessionEntry;
use super::index::OpeningOrder;
use super::session_view::SessionPhase;
use super::{AuthorityId, DeviceKey, SessionView, Sessions};
use crate::ids::SessionId;
use crate::session::{AskKind, Device, Playback};

/// Least number of digits that may name a session.
const MIN_ID_DIGITS: usize = 4;
/// Sessions taken from the index at once, while it is locked.
const SESSIONS_PER_LOCK: usize = 256;
/// Sessions that a page examines, whether they fit its filters or not.
const MAX_SESSIONS_EXAMINED: usize = 100_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FindFault {
    #[error("more than one session begins with these digits")]
    Ambiguous,
    #[error("no such session")]
    Unknown,
}

/// Filters of a page; a `None` does not filter.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    pub account: Option<String>,
    /// Only sessions that were opened later.
    pub after: Option<OpeningOrder>,
    pub device: Option<String>,
    pub limit: usize,
    pub state: Option<SessionPhase>,
}

/// A page, oldest first. With filters it may hold fewer sessions than requested, or none, though more follow.
#[derive(Debug)]
pub struct SessionPage {
    /// Begin of the next page; `None` at the end.
    pub next: Option<OpeningOrder>,
    pub rows: Vec<SessionView>,
}

impl SessionQuery {
    fn fits(&self, playback: &Playback<SessionEntry>) -> bool {
        let context = &playback.entry.context;
        let is = |asked: &Option<String>, said: Option<&str>| asked.as_deref().is_none_or(|asked| said == Some(asked));
        is(&self.account, context.account.as_deref())
            && is(&self.device, Some(&context.device))
            && self.state.is_none_or(|asked| SessionPhase::of(playback.session.state()) == asked)
    }
}

impl Sessions {
    /// The playback whose id begins with these digits; an error if there is not exactly one. Fewer than
    /// `MIN_ID_DIGITS` find nothing, because a slip could hit the only session.
    pub fn find(&self, prefix: &str) -> Result<(DeviceKey, SessionId), FindFault> {
        const DIGITS: usize = 16;
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_plain || !(MIN_ID_DIGITS..=DIGITS).contains(&prefix.len()) {
            return Err(FindFault::Unknown);
        }
        let bound = |digit: &str| {
            let padded = format!("{prefix}{}", digit.repeat(DIGITS - prefix.len()));
            u64::from_str_radix(&padded, 16).map(SessionId).map_err(|_| FindFault::Unknown)
        };
        match self.index.first_two(bound("0")?, bound("f")?).as_slice() {
            [one] => Ok(*one),
            [] => Err(FindFault::Unknown),
            [..] => Err(FindFault::Ambiguous),
        }
    }

    pub fn row(&self, id: SessionId) -> Option<SessionView> {
        self.look_at(self.index.device_of(id)?, id, |_| true)
    }

    /// Number of sessions in each state, including states without any. Reads only counters.
    pub fn states(&self) -> BTreeMap<SessionPhase, usize> {
        SessionPhase::ALL.into_iter().zip(self.index.states()).collect()
    }

    /// Number of playbacks that go on without this authority's word.
    pub fn on_credit(&self, authority: AuthorityId) -> usize {
        self.index.on_credit(authority)
    }

    /// Kinds and times of the unanswered calls for which they wait.
    pub fn unanswered(&self, authority: AuthorityId) -> Vec<(AskKind, Instant)> {
        if self.on_credit(authority) == 0 {
            return Vec::new();
        }
        self.table.collect(|_, playback| {
            let since = playback.session.on_credit().filter(|_| playback.entry.context.authority == authority)?;
            Some((playback.session.asks_by(), since.into()))
        })
    }

    /// Reads one page. Holds a device only while copying its row. With many sessions it takes a while, so do not call
    /// it on a serving thread.
    pub fn page(&self, query: &SessionQuery) -> SessionPage {
        let (mut next, mut rows, mut looked_at) = (query.after, Vec::new(), 0);
        loop {
            let chunk = self.index.after(next, SESSIONS_PER_LOCK);
            let is_last = chunk.len() < SESSIONS_PER_LOCK;
            for (order, key) in chunk {
                if rows.len() == query.limit || looked_at == MAX_SESSIONS_EXAMINED {
                    return SessionPage { next, rows };
                }
                rows.extend(self.look_at(key, order.id, |playback| query.fits(playback)));
                next = Some(order);
                looked_at += 1;
            }
            if is_last {
                return SessionPage { next: None, rows };
            }
        }
    }

    /// All sessions, for tests. Takes time in proportion to their number.
    pub fn list(&self) -> Vec<SessionView> {
        let all = self.index.after(None, usize::MAX);
        all.into_iter().filter_map(|(order, key)| self.look_at(key, order.id, |_| true)).collect()
    }

    fn look_at(
        &self,
        key: DeviceKey,
        id: SessionId,
        fits: impl FnOnce(&Playback<SessionEntry>) -> bool,
    ) -> Option<SessionView> {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        self.table.look(key, |device| {
            let asked = device.playbacks().iter().find(|playback| playback.id == id)?;
            // A playback that shares a session is shown as a part of that session.
            let of = |session| device.playbacks().iter().find(|playback| playback.id == session);
            let playback = asked.shares().and_then(of).unwrap_or(asked);
            let shares = device.playbacks().iter().filter(|other| other.shares() == Some(playback.id));
            let row = || SessionView {
                playbacks: shares.map(|of| SessionView::of(of, now.into(), wall)).collect(),
                ..SessionView::of(playback, now.into(), wall)
            };
            fits(playback).then(row)
        })?
    }

    /// Updates the index after a step.
    pub(super) fn reindex(&self, key: DeviceKey, device: &mut Device<SessionEntry>) {
        for playback in device.playbacks_mut() {
            let state = playback.shares().is_none().then(|| SessionPhase::of(playback.session.state()));
            let context = &playback.entry.context;
            let credit = playback.session.on_credit().map(|_| context.authority);
            let remembered = playback.remembered();
            let opened = u64::try_from(Duration::from(context.opened).as_nanos()).unwrap_or(u64::MAX);
            let order = OpeningOrder { opened, id: playback.id };
            let indexed = playback.entry.indexed.get_or_insert_with(|| self.index.insert(key, order, state));
            indexed.update(state, credit, remembered);
        }
    }

    /// True if the running counters agree with a count of all sessions. For tests and simulations, while nothing else
    /// runs.
    pub fn counts_are_exact(&self) -> bool {
        let mut scanned: BTreeMap<_, _> = SessionPhase::ALL.map(|state| (state, 0)).into();
        let mut credits: BTreeMap<AuthorityId, usize> = BTreeMap::new();
        let seen = self.table.collect(|_, playback| {
            if playback.shares().is_some() {
                return None;
            }
            let authority = playback.entry.context.authority;
            Some((SessionPhase::of(playback.session.state()), playback.session.on_credit().map(|_| authority)))
        });
        for (state, credit) in seen {
            *scanned.entry(state).or_default() += 1;
            if let Some(authority) = credit {
                *credits.entry(authority).or_default() += 1;
            }
        }
        let listed = self.index.after(None, usize::MAX).len();
        scanned == self.states()
            && listed == scanned.values().sum::<usize>()
            && credits.into_iter().all(|(authority, count)| self.on_credit(authority) == count)
    }
}
