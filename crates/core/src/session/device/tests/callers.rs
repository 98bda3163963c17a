//! Tests of calls from several addresses for one device: a stranger with its name takes no turn of its players.

use super::*;

const HOME: Option<Fingerprint> = Some(Fingerprint::new(71));
const ELSEWHERE: Option<Fingerprint> = Some(Fingerprint::new(72));
const THIRD: Option<Fingerprint> = Some(Fingerprint::new(73));

impl Stage {
    /// Two titles of the device's own address play beside each other.
    fn full() -> Self {
        let mut stage = Self::new();
        stage.caller = HOME;
        stage.play(LICENSE.with(1));
        stage.play(LICENSE.with(2));
        stage.told.clear();
        stage
    }

    fn calls_from(&mut self, caller: Option<Fingerprint>, titles: impl IntoIterator<Item = u64>) {
        self.caller = caller;
        for title in titles {
            assert_eq!(self.call(LICENSE.with(title)), (title, CallAnswer::Wait));
        }
    }

    fn desert(&mut self, id: u64) -> bool {
        let mut out = DeviceEffects::new();
        let gives_up = self.device.desert(SessionId(id), self.now, &self.policy, &mut out);
        self.take(out);
        gives_up
    }
}

#[test]
fn the_address_with_most_waiting_playbacks_loses_the_surplus() {
    for mine_is_last in [false, true] {
        let mut stage = Stage::full();
        let theirs: Vec<_> = if mine_is_last { (3..11).collect() } else { (4..12).collect() };
        let mine = if mine_is_last { 11 } else { 3 };
        if !mine_is_last {
            stage.calls_from(HOME, [mine]);
        }
        stage.calls_from(ELSEWHERE, theirs.iter().copied());
        if mine_is_last {
            stage.calls_from(HOME, [mine]);
        }
        stage.calls_from(HOME, [12]);
        let answers = |id: &u64, stage: &mut Stage| stage.call_again(*id, LICENSE.with(*id)).1;
        assert_eq!(answers(&mine, &mut stage), CallAnswer::Wait);
        let refused: Vec<_> =
            theirs.iter().map(|id| answers(id, &mut stage)).filter(|a| *a != CallAnswer::Wait).collect();
        assert!(!refused.is_empty());
        assert!(
            refused.iter().all(|answer| *answer == CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Abandoned))),
            "{refused:?}"
        );
    }
}

/// Somebody with a network of addresses calls once from each.
#[test]
fn many_waiting_addresses_take_no_others_turn() {
    let mut stage = Stage::full();
    for title in 3..10 {
        stage.calls_from(Some(Fingerprint::new(100 + title)), [title]);
    }
    stage.calls_from(HOME, [10]);
    stage.calls_from(Some(Fingerprint::new(200)), [11]);
    assert_eq!(stage.call_again(10, LICENSE.with(10)).1, CallAnswer::Wait);
    // The address makes room for itself.
    stage.calls_from(HOME, [12]);
    assert_eq!(
        stage.call_again(10, LICENSE.with(10)).1,
        CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Abandoned))
    );
}

#[test]
fn the_address_that_waited_longest_goes_first_and_none_goes_twice_in_a_row() {
    // The first one is opened at once; of one address the later wish comes first.
    let cases = [
        (vec![(HOME, 3), (ELSEWHERE, 4), (THIRD, 5)], "o3 o4 o5"),
        (vec![(HOME, 3), (HOME, 4), (ELSEWHERE, 5)], "o3 o5 o4"),
        (vec![(HOME, 3), (ELSEWHERE, 4), (ELSEWHERE, 5), (HOME, 6)], "o3 o5 o6"),
    ];
    for (calls, opens) in cases {
        let mut stage = Stage::full();
        stage.passes_all();
        calls.iter().for_each(|(caller, title)| stage.calls_from(*caller, [*title]));
        stage.quiet();
        stage.passes_all();
        let asked: Vec<_> = stage.told.split_whitespace().filter(|ask| ask.starts_with('o')).collect();
        assert_eq!(asked.join(" "), opens, "{calls:?}");
    }
}

#[test]
fn an_address_is_delayed_by_its_own_zaps_alone() {
    let mut stage = Stage::new();
    stage.caller = HOME;
    stage.play(LICENSE.with(1));
    stage.passes_all();
    stage.told.clear();
    stage.calls_from(ELSEWHERE, 2..8);
    stage.calls_from(HOME, [8]);
    // The sent open is answered, and the license server gives nothing to callers from elsewhere.
    let (SessionId(id), ask) = stage.flying.remove(0);
    stage.deliver(id, Input::Answered(ask.ticket, ask.kind, Ok(Verdict::Denied(Denial::Token, reason()))));
    assert_eq!(stage.told, "o2 o8 ");
}

#[test]
fn a_wish_of_another_address_passes_over_no_playback() {
    let mut stage = Stage::full();
    stage.calls_from(HOME, [3]);
    stage.calls_from(ELSEWHERE, [4]);
    stage.quiet();
    stage.grants();
    stage.deliver(4, Input::Used);
    assert!(stage.told.starts_with("o4 "), "{}", stage.told);
    assert!(stage.device.playback_mut(SessionId(3)).is_some_and(|p| p.order.is_coming()));
}

#[test]
fn a_playback_without_callers_gives_up_its_turn_and_a_sent_open_is_completed() {
    let mut stage = Stage::new();
    stage.caller = HOME;
    stage.play(LICENSE.with(1));
    stage.calls_from(HOME, [2, 3]);
    assert!(!stage.desert(2), "its open was sent");
    assert!(stage.desert(3));
    assert!(!stage.desert(3) && !stage.desert(99));
    stage.passes_all();
    assert_eq!(stage.told, "o1 o2 ");
    assert!(matches!(stage.call_again(2, LICENSE.with(2)), (2, CallAnswer::Forward(_))));
}

impl Stage {
    /// Long enough for all that wait.
    fn passes_all(&mut self) {
        for _ in 0..20 {
            self.quiet();
            self.settle();
        }
    }
}
