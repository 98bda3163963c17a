//! The ways back of a yielded session: it goes on while its close is unsent, or is opened again.

use std::time::Duration;

use super::effect::SessionRefusal;
use super::rare::RareFacts;
use crate::time::MonotonicTime;

/// Time for which a yielded session still receives media requests that were in transit.
const LEFT_OVER_FETCH_TIME: Duration = Duration::from_secs(3);

/// The way back of a session. A restart forgets it.
#[derive(Debug, Default)]
pub(super) struct WayBack(RareFacts<WayBackFacts>);

#[derive(Debug, Default, PartialEq)]
struct WayBackFacts {
    /// Time at which it last gave way.
    gave_way: Option<MonotonicTime>,
    /// End of the time without a return, with the refusal for its calls, if one of them asked.
    refused: Option<(MonotonicTime, Option<SessionRefusal>)>,
    /// True while it is being opened again.
    returning: bool,
    unsent: Option<UnsentClose>,
}

/// The facts by which a session can go on after it gave way.
#[derive(Clone, Copy, Debug, PartialEq)]
struct UnsentClose {
    /// Time of its next beat; `None` while it is being opened.
    beat: Option<MonotonicTime>,
    since: MonotonicTime,
}

impl WayBack {
    pub(super) fn gave_way(&mut self, now: MonotonicTime) {
        self.0.change(|facts| facts.gave_way = Some(now));
    }

    /// Its close waits for the call in flight.
    pub(super) fn close_is_unsent(&mut self, now: MonotonicTime, beat: Option<MonotonicTime>) {
        self.0.change(|facts| facts.unsent = Some(UnsentClose { beat, since: now }));
    }

    /// The session goes on unchanged, or its end is certain.
    pub(super) fn forget_unsent(&mut self) {
        self.0.change_known(|facts| facts.unsent = None);
    }

    /// Another session opens for it, when its turn comes.
    pub(super) fn opens_again(&mut self) {
        self.0.change(|facts| (facts.returning, facts.unsent) = (true, None));
    }

    pub(super) fn opened(&mut self) {
        self.0.change_known(|facts| (facts.refused, facts.returning) = (None, false));
    }

    /// Ends the return. True if it was being opened again.
    pub(super) fn stop_returning(&mut self) -> bool {
        let returned = self.is_returning();
        self.0.change_known(|facts| facts.returning = false);
        returned
    }

    /// The session cannot be opened now and is over as before. `refused`: end of the refusal, and the answer to a call
    /// that waited.
    pub(super) fn stay_away(&mut self, refused: Option<(MonotonicTime, Option<SessionRefusal>)>) {
        self.0.change(|facts| (facts.refused, facts.returning) = (refused, false));
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.unsent().is_some()
    }

    /// Time of the next beat, if it may go on.
    pub(super) fn beat_of_unsent(&self) -> Option<MonotonicTime> {
        self.unsent()?.beat
    }

    /// True if its player may continue it, while its close is unsent.
    pub(super) fn may_return(&self, now: MonotonicTime, re_entry: Duration) -> bool {
        self.unsent().is_some_and(|unsent| now < unsent.since + re_entry)
    }

    /// The refusal for calls while it cannot be taken back, if a waiting call got one.
    pub(super) fn refusal(&self, now: MonotonicTime) -> Option<&SessionRefusal> {
        self.refused().filter(|(until, _)| now < *until)?.1.as_ref()
    }

    /// True if it is too early to try again. `is_news`: tells, given whether a call was refused then, if its player has
    /// shown more since.
    pub(super) fn is_refused(&self, now: MonotonicTime, is_news: impl Fn(bool) -> bool) -> bool {
        self.refused().is_some_and(|(until, told)| now < *until && !is_news(told.is_some()))
    }

    pub(super) fn is_returning(&self) -> bool {
        self.0.get().is_some_and(|facts| facts.returning)
    }

    /// True if a media request may have been in transit when it gave way.
    pub(super) fn is_left_over(&self, now: MonotonicTime) -> bool {
        let gave_way = self.0.get().and_then(|facts| facts.gave_way);
        gave_way.is_some_and(|since| now < since + LEFT_OVER_FETCH_TIME)
    }

    fn unsent(&self) -> Option<UnsentClose> {
        self.0.get()?.unsent
    }

    fn refused(&self) -> Option<&(MonotonicTime, Option<SessionRefusal>)> {
        self.0.get()?.refused.as_ref()
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
    fn media_requests_right_after_giving_way_are_left_over() {
        let (mut way, now) = (WayBack::default(), Clock.now());
        assert!(!way.is_left_over(now));
        way.gave_way(now);
        assert!(way.is_left_over(now + SECOND * 2) && !way.is_left_over(now + SECOND * 3));
    }
}
