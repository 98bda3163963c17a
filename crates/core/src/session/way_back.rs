//! What a session that gave way can still do: go on while its close is unsent, or be opened again.

use std::time::{Duration, Instant};

use super::effect::SessionRefusal;

/// A session that gave way is still fetched from for so long, by what its player had under way.
const LEFT_OVER_FETCH_TIME: Duration = Duration::from_secs(3);

/// Nothing of it is kept over a restart.
#[derive(Debug, Default)]
pub(super) struct WayBack {
    /// When it last gave way.
    gave_way: Option<Instant>,
    /// It could not be taken back until then; and what its calls are told, if one of them asked.
    refused: Option<(Instant, Option<SessionRefusal>)>,
    /// It is opened again.
    returning: bool,
    unsent: Option<UnsentClose>,
}

/// What a session needs to go on after it gave way.
#[derive(Clone, Copy, Debug)]
struct UnsentClose {
    /// When its next beat is due; none while it is opened.
    beat: Option<Instant>,
    since: Instant,
}

impl WayBack {
    pub(super) fn gave_way(&mut self, now: Instant) {
        self.gave_way = Some(now);
    }

    /// Its close waits for the call that is under way.
    pub(super) fn close_is_unsent(&mut self, now: Instant, beat: Option<Instant>) {
        self.unsent = Some(UnsentClose { beat, since: now });
    }

    /// It goes on as what it was, or it is known now that it is over.
    pub(super) fn forget_unsent(&mut self) {
        self.unsent = None;
    }

    /// Another session is opened for it, when its turn comes.
    pub(super) fn opens_again(&mut self) {
        self.returning = true;
        self.unsent = None;
    }

    pub(super) fn opened(&mut self) {
        self.refused = None;
        self.returning = false;
    }

    /// True if it was to be opened again.
    pub(super) fn stop_returning(&mut self) -> bool {
        std::mem::take(&mut self.returning)
    }

    /// It cannot be opened now, and is over as it was. `refused`: until when, and what a call that waited was told.
    pub(super) fn stay_away(&mut self, refused: Option<(Instant, Option<SessionRefusal>)>) {
        self.refused = refused;
        self.returning = false;
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// When the next beat of one that may go on is due.
    pub(super) fn beat_of_unsent(&self) -> Option<Instant> {
        self.unsent?.beat
    }

    /// Whether its player may come back to what it was, while its close is unsent.
    pub(super) fn may_return(&self, now: Instant, re_entry: Duration) -> bool {
        self.unsent.is_some_and(|unsent| now < unsent.since + re_entry)
    }

    /// What a call is told while it cannot be taken back, if one that waited was told.
    pub(super) fn refusal(&self, now: Instant) -> Option<&SessionRefusal> {
        self.refused.as_ref().filter(|(until, _)| now < *until)?.1.as_ref()
    }

    /// Whether it is too early to try again. `is_news`: whether its player has shown more since, by whether a call was
    /// told then.
    pub(super) fn is_refused(&self, now: Instant, is_news: impl Fn(bool) -> bool) -> bool {
        self.refused.as_ref().is_some_and(|(until, told)| now < *until && !is_news(told.is_some()))
    }

    pub(super) fn is_returning(&self) -> bool {
        self.returning
    }

    /// Whether what is fetched now may have been under way when it gave way.
    pub(super) fn is_left_over(&self, now: Instant) -> bool {
        self.gave_way.is_some_and(|since| now < since + LEFT_OVER_FETCH_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::EndReason;
    use crate::time::testing::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_close_that_is_unsent_is_taken_back_within_the_re_entry_alone() {
        let (mut way, now) = (WayBack::default(), Clock.now());
        assert!(!way.may_return(now, SECOND * 10));
        way.close_is_unsent(now, Some(now + SECOND));
        assert!(way.may_return(now + SECOND * 9, SECOND * 10) && !way.may_return(now + SECOND * 10, SECOND * 10));
        assert_eq!((way.is_unsent(), way.beat_of_unsent()), (true, Some(now + SECOND)));
        way.forget_unsent();
        assert_eq!((way.is_unsent(), way.beat_of_unsent()), (false, None));
        way.close_is_unsent(now, None);
        assert_eq!((way.is_unsent(), way.beat_of_unsent()), (true, None), "it was being opened");
        way.opens_again();
        assert!(!way.is_unsent() && way.is_returning());
    }

    #[test]
    fn a_return_ends_with_its_open_or_with_a_refusal() {
        let mut way = WayBack::default();
        assert!(!way.stop_returning());
        way.opens_again();
        assert!(way.stop_returning() && !way.stop_returning());
        way.opens_again();
        way.stay_away(None);
        assert!(!way.is_returning());
        way.opens_again();
        way.opened();
        assert!(!way.is_returning());
    }

    #[test]
    fn a_refusal_holds_for_its_time_and_until_the_player_shows_more() {
        let (mut way, now) = (WayBack::default(), Clock.now());
        let ended = SessionRefusal::Ended(EndReason::Abandoned);
        for told in [None, Some(ended)] {
            way.stay_away(Some((now + SECOND, told.clone())));
            assert_eq!(way.refusal(now), told.as_ref());
            assert_eq!(way.refusal(now + SECOND), None);
            assert!(way.is_refused(now, |_| false) && !way.is_refused(now + SECOND, |_| false));
            assert_eq!(way.is_refused(now, |was_told| !was_told), told.is_some());
        }
        way.opened();
        assert!(!way.is_refused(now, |_| false) && way.refusal(now).is_none());
    }

    #[test]
    fn what_is_fetched_for_a_moment_after_giving_way_is_left_over() {
        let (mut way, now) = (WayBack::default(), Clock.now());
        assert!(!way.is_left_over(now));
        way.gave_way(now);
        assert!(way.is_left_over(now + SECOND * 2) && !way.is_left_over(now + SECOND * 3));
    }
}
