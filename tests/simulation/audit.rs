//! Compares the head-end's books with the shell at the end of each life and at the end of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sidebeat::ids::SessionId;
use sidebeat::session::StateRecord;
use sidebeat::store::SessionRecord;

use super::far::Far;
use super::headend::Fate;

impl Far {
    /// Longest time that the writer takes for an open.
    const WRITES_WITHIN: Duration = Duration::from_millis(100);

    /// Forgets which sessions were open.
    pub(crate) fn lose_all(&mut self) {
        self.head.hurt_all();
    }

    /// Compares the next process's findings with the books: each granted session is known there, or as an open with an
    /// unknown result.
    pub(crate) fn compare(&mut self, now: Instant, records: &[SessionRecord]) {
        let number = |record: &SessionRecord| SessionId(record.playback.id.0 >> 32);
        let known = records.iter().map(|record| (number(record), &record.playback.session));
        // A session that is over holds nothing, and is not given back.
        let known: BTreeMap<_, _> =
            known.filter(|(_, record)| !matches!(record.state, StateRecord::Closed { .. })).collect();
        // An end that was not written was none.
        self.over.retain(|id| !known.contains_key(id));
        // Times that were written by another wall clock tell little.
        let stepped = self.stepped.is_some_and(|at| now < at + Duration::from_secs(120));
        for book in self.head.books.iter_mut().filter(|book| known.contains_key(&book.id)) {
            book.closes_failed = book.closes_asked;
            book.hurt |= stepped;
        }
        for book in self.head.books.iter_mut().filter(|book| book.fate == Fate::Open) {
            let record = known.get(&book.id);
            // The answer has no effect before it is written, and a stalled process writes late.
            let written_by = book.heard + Self::WRITES_WITHIN;
            let stalled = self.stalled.filter(|[from, _]| *from <= written_by);
            let young = now <= stalled.map_or(written_by, |[_, to]| written_by.max(to + Self::WRITES_WITHIN));
            book.hurt |= record.is_none() && !book.acted_on && young;
            assert!(record.is_some() || book.hurt || book.slept, "nothing durable is known of {book:?}");
            let grant = record.and_then(|record| record.grant.as_ref());
            let licensed = self.watch.shadow(book.id).licensed;
            assert!(grant.is_some() || !licensed || book.hurt || book.slept, "played, and lost: {book:?}");
            self.sums.add_all(licensed.then_some("resumed while a license was out"));
            let newest = grant.is_some_and(|grant| self.head.tokens[grant.token.expose()].1 == book.serial);
            self.sums.add(if newest { "resumed with the newest token" } else { "resumed without the newest token" });
            book.hurt |= !newest;
            if grant.is_none() && record.is_some_and(|record| record.opening) {
                self.orphans.insert(book.id);
            }
        }
        for id in (1..self.numbers.len() as u64).map(SessionId) {
            let killed = known.get(&id).is_some_and(|record| matches!(record.state, StateRecord::Killed { .. }));
            self.watch.shadow(id).killed &= killed;
        }
        for (id, record) in known {
            self.intervals.extend(record.grant.as_ref().map(|grant| (id, grant.interval.into())));
        }
    }

    /// The end: no player plays, nothing is under way, and the head-end's books tell whether all was
    /// given back.
    pub(crate) fn audit(&mut self, unlimited: bool) {
        let now = self.now();
        self.catch_up(now);
        self.head.expire(now);
        assert!(self.orphans.is_empty(), "nobody was told of opens that were lost: {:?}", self.orphans);
        let still: Vec<_> =
            self.head.books.iter().filter(|book| book.fate == Fate::Open && !book.hurt && !book.slept).collect();
        assert!(still.is_empty(), "open, and nobody plays: {still:?}");
        self.head.expire(now + Duration::from_secs(600));
        assert_eq!(self.head.open_ones(), 0);
        for book in &self.head.books {
            let excused = book.hurt || book.renewed || book.slept;
            assert!(book.fate != Fate::Expired || excused, "left to expire: {book:?}");
            self.sums.add_all((book.fate == Fate::Expired).then_some("expiries"));
        }
        let limits = self.head.limits_reached;
        assert!(!unlimited || self.faulty || limits == 0, "a limit was reached without need");
        (0..limits).for_each(|_| self.sums.add("limits reached"));
    }
}
