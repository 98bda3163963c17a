//! Tests of one session for all playbacks of a device.

use proptest::prelude::*;

use super::*;
use crate::session::device::shared_session::MAX_SHARING;
use crate::session::{BeatSource, Effect, MediaFetch, Role, SessionEvent};
use crate::session::{EndingRules, Enforcement};
use crate::time::MonotonicTime;

const SECOND: Duration = Duration::from_secs(1);

/// A device at an authority that counts devices.
struct House {
    device: Device<()>,
    events: Vec<(SessionId, SessionEvent)>,
    flying: Vec<(SessionId, AuthorityAsk)>,
    next: u64,
    now: MonotonicTime,
    policy: Policy,
    told: String,
}

impl House {
    fn new() -> Self {
        Self::under(Policy::default())
    }

    fn under(policy: Policy) -> Self {
        let policy = Policy { shares_session: true, ..policy };
        let (device, events, flying, told) = (Device::default(), Vec::new(), Vec::new(), String::new());
        Self { device, events, flying, next: 1, now: Clock.now(), policy, told }
    }

    fn call(&mut self, call: PlayerCall) -> (SessionId, CallAnswer) {
        self.call_for(1, call)
    }

    fn call_for(&mut self, account: u64, call: PlayerCall) -> (SessionId, CallAnswer) {
        let mut out = DeviceEffects::new();
        let next = &mut self.next;
        let start = || {
            *next += 1;
            Some(PlaybackStart {
                account: Some(Fingerprint::new(account)),
                caller: None,
                entry: (),
                id: SessionId(*next - 1),
                seed: 0,
            })
        };
        let (id, answer) = self.device.call(self.now, &call, &self.policy, start, &mut out);
        self.take(out);
        (id.unwrap_or(SessionId(0)), answer)
    }

    fn deliver(&mut self, id: SessionId, input: Input) {
        let mut out = DeviceEffects::new();
        self.device.deliver(id, self.now, input, &self.policy, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: DeviceEffects) {
        for (id, effect) in out {
            match effect {
                Effect::Ask(ask) => {
                    let role = self.device.playbacks.iter().find(|p| p.id == id).map(|p| p.role);
                    assert!(!matches!(role, Some(Role::Sharing(_))), "{id:?} shares a session, and asks {ask:?}");
                    self.told.push_str(match ask.kind {
                        AskKind::Beat => "beat ",
                        AskKind::Close => "close ",
                        AskKind::Open => "open ",
                        AskKind::Renew => "renew ",
                    });
                    self.flying.push((id, ask));
                }
                Effect::Note(event) => self.events.push((id, event)),
                Effect::Displace(_) | Effect::Forget | Effect::Wake => {}
            }
        }
        self.check();
    }

    fn check(&self) {
        for session in self.device.playbacks.iter().filter(|p| p.is_device_session()) {
            let shared = self.device.playbacks.iter().any(|p| p.shares() == Some(session.id) && p.session.is_active());
            assert_eq!(session.session.is_active(), shared, "a session plays when one that shares it does");
            let alike = |p: &&Playback<()>| p.is_device_session() && p.account == session.account;
            let held = self.device.playbacks.iter().filter(alike).filter(|p| p.session.takes_place()).count();
            assert!(held <= 1, "{held} places for one device");
        }
    }

    fn answer(&mut self, result: Result<Verdict, AuthorityFault>) {
        let (id, ask) = self.flying.remove(0);
        self.deliver(id, Input::Answered(ask.ticket, ask.kind, result));
    }

    fn yes(&mut self) {
        while let Some((SessionId(id), ask)) = self.flying.first() {
            let verdict = match ask.kind {
                AskKind::Open => granted(*id),
                AskKind::Close => Verdict::Closed,
                AskKind::Beat | AskKind::Renew => {
                    Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }
                }
            };
            self.answer(Ok(verdict));
        }
    }

    /// A license is asked for, and reaches the player.
    fn play(&mut self, call: PlayerCall) -> SessionId {
        let (id, _) = self.call(call);
        self.yes();
        let (again, answer) = self.call(call);
        assert!(matches!(answer, CallAnswer::Forward(_)), "{answer:?}");
        assert_eq!(id, again);
        self.device.accept(id, &call);
        self.deliver(id, Input::Used);
        id
    }

    fn stop(&mut self, id: SessionId) {
        self.deliver(id, Input::End(EndReason::Stopped));
    }

    /// No playback is ticked before its deadline, as by the shell's timer.
    fn tick(&mut self, time: Duration) {
        self.now += time;
        let due = |p: &&Playback<()>| p.session.deadline().is_some_and(|deadline| deadline <= self.now);
        let ids: Vec<_> = self.device.playbacks.iter().filter(due).map(|playback| playback.id).collect();
        ids.into_iter().for_each(|id| self.deliver(id, Input::Tick));
        self.yes();
    }

    fn find(&self, id: SessionId) -> &Playback<()> {
        self.device.playbacks.iter().find(|p| p.id == id).expect("a playback")
    }

    fn session(&self) -> &Playback<()> {
        self.device.playbacks.iter().rfind(|p| p.is_device_session()).expect("the device's session")
    }

    fn told(&mut self) -> String {
        std::mem::take(&mut self.told).trim_end().to_owned()
    }
}

#[test]
fn four_pictures_of_a_device_share_one_session_and_the_last_that_closes_gives_it_back() {
    let mut house = House::new();
    let pictures = [1, 2, 3, 4].map(|picture| house.play(LICENSE.with(picture).of(picture)));
    assert_eq!(house.told(), "open");
    for picture in pictures {
        let (id, answer) = house.call(LICENSE.with(house.find(picture).first_token().unwrap().get()));
        assert!(id == picture && matches!(answer, CallAnswer::Forward(_)), "{answer:?}");
    }
    for picture in pictures.into_iter().take(3) {
        house.stop(picture);
        assert_eq!(house.told(), "");
    }
    house.tick(SECOND * 31);
    assert_eq!(house.told(), "beat", "it goes on while one plays");
    house.stop(pictures[3]);
    assert_eq!(house.told(), "close");
    house.yes();
    let left = house.events.iter().filter(|(_, event)| *event == SessionEvent::Left(EndReason::Stopped)).count();
    let closed = house.events.iter().filter(|(_, event)| *event == SessionEvent::Closed(EndReason::Stopped)).count();
    assert_eq!((left, closed), (4, 1));
    let joined = house.events.iter().filter(|(_, event)| *event == SessionEvent::Joined).count();
    assert_eq!(joined, 4);
}

#[test]
fn pictures_that_are_opened_at_once_share_one_open() {
    let mut house = House::new();
    let ids = [1, 2, 3].map(|picture| house.call(LICENSE.with(picture)));
    assert!(ids.iter().all(|(_, answer)| *answer == CallAnswer::Wait));
    assert_eq!(house.told(), "open");
    house.yes();
    for (picture, (id, _)) in ids.into_iter().enumerate() {
        let (again, answer) = house.call(LICENSE.with(picture as u64 + 1));
        assert!(again == id && matches!(answer, CallAnswer::Forward(_)), "{answer:?}");
    }
    assert_eq!(house.told(), "");
}

/// Of four that began together one reports its quit, one releases its license, and one falls silent.
#[test]
fn each_picture_ends_by_its_own_evidence_and_the_others_play_on() {
    let mut house = House::new();
    let [quits, releases, silent, stays] = [1, 2, 3, 4].map(|picture| house.play(LICENSE.with(picture).under(picture)));
    let says = |playing| Input::Report(PlayerReport { by_interval: true, playing, ..PlayerReport::default() });
    house.deliver(silent, says(PlayingState::Plays));
    house.deliver(quits, says(PlayingState::Quit));
    assert!(house.device.release(releases, Some(Fingerprint::new(2))));
    house.deliver(releases, Input::End(EndReason::Released));
    for _ in 0..4 {
        house.tick(SECOND * 30);
    }
    assert!(house.events.contains(&(quits, SessionEvent::Left(EndReason::Quit))));
    assert!(house.events.contains(&(releases, SessionEvent::Left(EndReason::Released))));
    assert!(house.events.contains(&(silent, SessionEvent::Left(EndReason::Silent))));
    assert!(matches!(house.find(stays).session.state(), SessionState::Sharing { .. }));
    assert!(matches!(house.session().session.state(), SessionState::Live { .. }));
    house.told();
    house.stop(stays);
    assert_eq!(house.told(), "close");
}

#[test]
fn a_picture_that_got_nothing_ends_soon_and_takes_nothing_with_it() {
    let mut house = House::new();
    let stays = house.play(LICENSE.with(1));
    let (declined, _) = house.call(LICENSE.with(2));
    house.deliver(declined, Input::Unserved);
    house.tick(SECOND * 31);
    assert!(house.events.contains(&(declined, SessionEvent::Left(EndReason::Unused))));
    house.told();
    house.stop(stays);
    assert_eq!(house.told(), "close");
}

#[test]
fn a_kill_refuses_all_that_the_device_plays_and_a_new_token_opens_anew() {
    for kind in [AskKind::Beat, AskKind::Renew] {
        let mut house = House::new();
        let pictures = [1, 2, 3].map(|picture| house.play(LICENSE.with(picture).under(picture)));
        house.stop(pictures[2]);
        house.told();
        match kind {
            AskKind::Renew => {
                let (id, answer) = house.call(RENEWAL.with(1).under(1));
                let CallAnswer::Renew(_, ticket) = answer else { panic!("{answer:?}") };
                house.deliver(id, Input::Answered(ticket, kind, Ok(Verdict::Killed(reason()))));
            }
            AskKind::Beat | AskKind::Close | AskKind::Open => {
                house.now += SECOND * 31;
                house.deliver(house.session().id, Input::Tick);
                house.answer(Ok(Verdict::Killed(reason())));
            }
        }
        for token in [1, 2] {
            let (_, answer) = house.call(LICENSE.with(token));
            assert_eq!(answer, CallAnswer::Refuse(SessionRefusal::Killed(reason().into())), "token {token}");
        }
        let (_, answer) = house.call(LICENSE);
        assert_eq!(
            answer,
            CallAnswer::Refuse(SessionRefusal::Killed(reason().into())),
            "no token, from a killed device"
        );
        let killed = house.events.iter().filter(|(_, event)| matches!(event, SessionEvent::Killed(_))).count();
        assert_eq!(killed, 1, "one session is killed");
        house.told();
        house.play(LICENSE.with(9));
        assert_eq!(house.told(), "open");
    }
}

#[test]
fn an_operators_kill_of_a_picture_is_for_the_session_and_so_is_its_pardon() {
    let mut house = House::new();
    let [one, other] = [1, 2].map(|picture| house.play(LICENSE.with(picture)));
    house.deliver(one, Input::Kill(reason().into()));
    house.yes();
    assert_eq!(house.told(), "open close");
    assert!([one, other].into_iter().all(|id| house.find(id).session.is_killed()));
    house.deliver(house.session().id, Input::Forgive);
    house.tick(Duration::ZERO);
    let (_, answer) = house.call(LICENSE.with(2));
    assert_eq!(answer, CallAnswer::Wait, "it may begin anew");
}

/// It may have ended since the operator saw it.
#[test]
fn an_operators_kill_reaches_ended_pictures_and_their_successors() {
    let by = || reason().wanted_by(KillSource::Operator);
    let mut house = House::new();
    let [ended, _] = [1, 2].map(|picture| house.play(LICENSE.with(picture)));
    house.stop(ended);
    house.deliver(house.session().id, Input::Kill(by().into()));
    house.yes();
    for token in [1, 2] {
        assert_eq!(
            house.call(LICENSE.with(token)).1,
            CallAnswer::Refuse(SessionRefusal::Killed(by().into())),
            "token {token}"
        );
    }

    let mut house = House::new();
    let picture = house.play(LICENSE.with(1));
    let before = house.session().id;
    house.stop(picture);
    house.yes();
    house.play(LICENSE.with(1));
    let after = house.session().id;
    assert_ne!(before, after);
    house.deliver(before, Input::Kill(by().into()));
    house.yes();
    assert!(house.device.is_killed(after));
    assert_eq!(house.call(LICENSE.with(1)).1, CallAnswer::Refuse(SessionRefusal::Killed(by().into())));
}

#[test]
fn a_renewal_of_any_picture_renews_the_session_and_another_one_waits_for_its_token() {
    let mut house = House::new();
    let [one, other] = [1, 2].map(|picture| house.play(LICENSE.with(picture).under(picture)));
    let renews = Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) });
    house.deliver(one, renews.clone());
    house.deliver(other, renews);
    assert_eq!(house.session().session.beats(), BeatSource::Renewals { every: None });
    let (id, answer) = house.call(RENEWAL.with(1).under(1));
    let CallAnswer::Renew(_, ticket) = answer else { panic!("{answer:?}") };
    assert_eq!(id, one);
    assert_eq!(house.call(RENEWAL.with(2).under(2)), (other, CallAnswer::Wait), "one writer of the token");
    let token = Some(Secret::new("newer"));
    let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: token.clone() };
    house.now += SECOND;
    house.deliver(one, Input::Answered(ticket, AskKind::Renew, Ok(alive)));
    let (_, answer) = house.call(RENEWAL.with(2).under(2));
    assert!(matches!(answer, CallAnswer::Renew(Grant { token, .. }, _) if token == Secret::new("newer")));
    assert_eq!(house.session().session.last_good(), house.now);
}

#[test]
fn a_renewals_answer_reaches_its_session_even_if_the_calling_picture_is_forgotten() {
    let mut house = House::new();
    let [asks, _] = [1, 2].map(|picture| house.play(LICENSE.with(picture).under(picture)));
    let (_, CallAnswer::Renew(_, ticket)) = house.call(RENEWAL.with(1).under(1)) else { panic!("no renewal") };
    house.stop(asks);
    let (again, answer) = house.call(LICENSE.with(1));
    assert!(again != asks && house.device.playback(asks).is_none());
    assert_eq!(answer, CallAnswer::Wait, "the token may be replaced");
    let token = Some(Secret::new("newer"));
    let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token };
    let answered = Input::Answered(ticket, AskKind::Renew, Ok(alive));
    house.deliver(SessionId(99), answered.clone());
    assert_eq!(house.call(LICENSE.with(1)).1, CallAnswer::Wait, "it is nobody else's");
    house.deliver(asks, answered);
    let (_, answer) = house.call(LICENSE.with(1));
    assert!(matches!(answer, CallAnswer::Forward(Grant { token, .. }) if token == Secret::new("newer")));
}

/// One picture's renewals no longer keep the session.
#[test]
fn the_proxy_beats_as_soon_as_a_picture_plays_that_does_not_renew() {
    let mut house = House::new();
    let renews = house.play(LICENSE.with(1).under(1));
    house.deliver(renews, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) }));
    let plain = house.play(LICENSE.with(2).under(2));
    house.told();
    house.tick(SECOND * 40);
    assert_eq!(house.told(), "beat");
    let late = |(_, event): &(SessionId, SessionEvent)| matches!(event, SessionEvent::BeatLate(_));
    assert_eq!(house.events.iter().filter(|event| late(event)).count(), 1, "the clock jumped ten seconds over it");
    house.stop(renews);
    house.tick(SECOND * 31);
    assert_eq!(house.told(), "beat");
    house.stop(plain);
    assert_eq!(house.told(), "close");
}

#[test]
fn beats_go_on_when_the_renewing_picture_ends_before_its_next_renewal() {
    for fails in [false, true] {
        let mut house = House::new();
        let renews = house.play(LICENSE.with(1).under(1));
        house.deliver(renews, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) }));
        house.tick(SECOND * 20);
        let (_, CallAnswer::Renew(_, ticket)) = house.call(RENEWAL.with(1).under(1)) else { panic!("no renewal") };
        let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None };
        let lost = AuthorityFault { kind: FaultKind::Timeout, reason: reason() };
        let result = if fails { Err(lost) } else { Ok(alive) };
        house.deliver(renews, Input::Answered(ticket, AskKind::Renew, result));
        house.play(LICENSE.with(2).under(2));
        house.stop(renews);
        assert_eq!(house.told(), "open");
        for _ in 0..3 {
            house.tick(SECOND);
        }
        assert_eq!(house.told(), if fails { "beat" } else { "" }, "fails: {fails}");
        for _ in 0..29 {
            house.tick(SECOND);
        }
        assert_eq!(house.told(), "beat", "fails: {fails}");
    }
}

#[test]
fn a_picture_whose_renewals_stay_away_is_over_though_another_one_renews() {
    let mut house = House::new();
    let [gone, stays] = [1, 2].map(|picture| house.play(LICENSE.with(picture).under(picture)));
    for id in [gone, stays] {
        house.deliver(id, Input::Served(LicenseFeedback::Renews { every: Some(SECOND * 30) }));
    }
    for _ in 0..4 {
        house.tick(SECOND * 25);
        let (_, answer) = house.call(RENEWAL.with(2).under(2));
        let CallAnswer::Renew(_, ticket) = answer else { panic!("{answer:?}") };
        let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None };
        house.deliver(stays, Input::Answered(ticket, AskKind::Renew, Ok(alive)));
    }
    assert!(house.events.contains(&(gone, SessionEvent::Left(EndReason::RenewalsOverdue))));
    assert!(house.find(stays).session.is_active());
}

#[test]
fn a_refused_token_costs_a_waiting_picture_with_another_token_nothing() {
    let mut house = House::new();
    let (bad, _) = house.call(LICENSE.with(1));
    let (good, _) = house.call(LICENSE.with(2));
    house.answer(Ok(Verdict::Denied(Denial::Token, reason())));
    assert_eq!(house.told(), "open open");
    assert_eq!(house.call(LICENSE.with(1)), (bad, CallAnswer::Refuse(SessionRefusal::Denied(Denial::Token, reason()))));
    assert_eq!(house.session().role, Role::DeviceSession { by: good });
    house.yes();
    assert!(matches!(house.call(LICENSE.with(2)).1, CallAnswer::Forward(_)));
}

#[test]
fn one_open_at_the_limit_refuses_all_waiting_pictures() {
    let mut house = House::new();
    let calls = [1, 2, 3].map(|picture| (house.call(LICENSE.with(picture)).0, picture));
    house.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
    for (id, picture) in calls {
        let answer = house.call(LICENSE.with(picture));
        assert_eq!(answer, (id, CallAnswer::Refuse(SessionRefusal::Denied(Denial::Limit, reason()))));
    }
    assert_eq!(house.told(), "open");
}

#[test]
fn pictures_for_several_accounts_are_counted_for_each() {
    let mut house = House::new();
    for (account, token) in [(1, 1), (2, 2), (1, 3), (2, 4)] {
        house.call_for(account, LICENSE.with(token));
        house.yes();
    }
    assert_eq!(house.told(), "open open");
}

/// An app that changes the title without a word leaves the old ones behind.
#[test]
fn a_picture_beyond_the_bound_ends_the_most_silent_one() {
    let mut house = House::new();
    let mut ids = Vec::new();
    for picture in 0..MAX_SHARING as u64 {
        house.now += SECOND;
        ids.push(house.play(LICENSE.with(picture + 1)));
    }
    house.now += SECOND;
    house.deliver(ids[0], Input::Media(MediaFetch::default()));
    house.play(LICENSE.with(99));
    let zapped: Vec<_> =
        house.events.iter().filter(|(_, event)| *event == SessionEvent::Left(EndReason::Zapped)).collect();
    assert_eq!(zapped, [&(ids[1], SessionEvent::Left(EndReason::Zapped))]);
    assert_eq!(house.told(), "open");
}

/// Anybody can send one that names another's device.
#[test]
fn unaccepted_calls_end_no_picture() {
    let mut house = House::new();
    let pictures: Vec<_> = (1..=MAX_SHARING as u64).map(|token| house.play(LICENSE.with(token))).collect();
    for token in 100..200 {
        house.now += SECOND;
        let (id, _) = house.call(LICENSE.with(token));
        house.deliver(id, Input::Unserved);
    }
    assert!(pictures.into_iter().all(|id| house.find(id).session.is_active()));
    let active = house.device.playbacks.iter().filter(|p| p.shares().is_some() && p.session.is_active()).count();
    assert_eq!(active, MAX_SHARING + 1);
}

/// The answer to a beat is lost, and the session is opened anew: by the newest content token that was accepted.
#[test]
fn a_session_is_opened_anew_by_the_newest_token_that_was_accepted() {
    let mut house = House::new();
    house.play(LICENSE.with(1));
    let accepted = house.play(LICENSE.with(2));
    house.call(LICENSE.with(3));
    assert_eq!(house.session().role, Role::DeviceSession { by: accepted });
    house.now += SECOND * 31;
    house.deliver(house.session().id, Input::Tick);
    house.answer(Err(AuthorityFault { kind: FaultKind::Lost, reason: reason() }));
    house.now += SECOND * 2;
    house.deliver(house.session().id, Input::Tick);
    house.answer(Ok(Verdict::Unknown(reason())));
    assert_eq!(house.told(), "open beat beat open");
    assert_eq!(house.call(LICENSE.with(1)).1, CallAnswer::Wait);
    house.yes();
    assert!(matches!(house.call(LICENSE.with(1)).1, CallAnswer::Forward(_)));
}

/// Its license was in transit when the open was sent, which names another one.
#[test]
fn an_open_that_is_refused_for_its_token_costs_no_picture_that_was_served_meanwhile() {
    let mut house = House::new();
    house.play(LICENSE.with(1));
    let opens = house.play(LICENSE.with(2));
    let (served, answer) = house.call(LICENSE.with(3));
    assert!(matches!(answer, CallAnswer::Forward(_)), "{answer:?}");
    house.now += SECOND * 31;
    house.deliver(house.session().id, Input::Tick);
    house.answer(Err(AuthorityFault { kind: FaultKind::Lost, reason: reason() }));
    house.now += SECOND * 2;
    house.deliver(house.session().id, Input::Tick);
    house.answer(Ok(Verdict::Unknown(reason())));
    assert_eq!(house.told(), "open beat beat open");
    house.device.accept(served, &LICENSE.with(3));
    house.deliver(served, Input::Used);
    assert_eq!(house.session().role, Role::DeviceSession { by: opens });
    house.answer(Ok(Verdict::Denied(Denial::Token, reason())));
    let refused = CallAnswer::Refuse(SessionRefusal::Denied(Denial::Token, reason()));
    assert_eq!(house.call(LICENSE.with(2)), (opens, refused));
    assert_eq!(house.call(LICENSE.with(3)), (served, CallAnswer::Wait));
    house.yes();
    assert!(matches!(house.call(LICENSE.with(3)).1, CallAnswer::Forward(_)));
}

#[test]
fn the_same_picture_again_after_its_end_joins_the_session_again() {
    let mut house = House::new();
    let [one, _] = [1, 2].map(|picture| house.play(LICENSE.with(picture)));
    house.stop(one);
    let again = house.play(LICENSE.with(1));
    assert_ne!(one, again);
    assert_eq!(house.told(), "open");
}

/// A reload may change what the authority counts.
#[test]
fn running_pictures_continue_as_they_began_when_the_unit_changes() {
    let mut house = House::new();
    house.policy.shares_session = false;
    let alone = house.play(LICENSE.with(1));
    house.policy.shares_session = true;
    let shares = house.play(LICENSE.with(2));
    assert_eq!(house.told(), "open open");
    assert!(matches!(house.call(LICENSE.with(1)), (id, CallAnswer::Forward(_)) if id == alone));
    house.policy.shares_session = false;
    assert!(matches!(house.call(LICENSE.with(2)), (id, CallAnswer::Forward(_)) if id == shares));
    for id in [alone, shares] {
        house.stop(id);
        house.yes();
    }
    assert_eq!(house.told(), "close close");
}

/// Two routes to one authority may differ in what they take for the end of a playback.
#[test]
fn a_picture_ends_as_its_own_route_says() {
    let mut house = House::under(Policy { enforcement: Enforcement::Renewal, ..Policy::default() });
    house.policy.endings.unused = None;
    let opens = house.call(LICENSE.with(1)).0;
    let other_route = house.policy.clone();
    house.policy.enforcement = Enforcement::Heartbeat;
    house.policy.endings.unused = Some(SECOND * 30);
    let picture = house.call(LICENSE.with(2)).0;
    let own_route = std::mem::replace(&mut house.policy, other_route);
    // Delivered under the policy of the playback by which the session is opened.
    house.yes();
    assert_eq!(house.find(picture).session.beats(), BeatSource::Timer);
    assert!(matches!(house.find(opens).session.beats(), BeatSource::Renewals { .. }));
    house.deliver(opens, Input::Used);
    house.policy = own_route;
    house.tick(Duration::ZERO);
    house.tick(SECOND * 31);
    assert!(!house.find(picture).session.is_active(), "{:?}", house.find(picture).session.state());
    assert!(house.find(opens).session.is_active());
}

/// The time is that of a picture's own content token.
#[test]
fn a_kill_of_all_pictures_is_remembered_for_each_for_its_own_time() {
    let mut house = House::new();
    let memories = [SECOND * 60, SECOND * 600];
    let pictures = memories.map(|memory| {
        house.policy.kill_memory = memory;
        house.play(LICENSE.with(memory.as_secs()))
    });
    house.policy.kill_memory = SECOND * 30;
    house.deliver(pictures[0], Input::Kill(reason().into()));
    for (id, memory) in pictures.into_iter().zip(memories) {
        let SessionState::Killed { until, .. } = house.find(id).session.state() else { panic!("it plays on") };
        assert_eq!(*until, house.now + memory);
    }
}

#[test]
fn an_open_for_a_shared_session_is_no_spare_place() {
    let mut house = House::new();
    house.policy.shares_session = false;
    house.play(LICENSE.with(1));
    house.policy.shares_session = true;
    house.call(LICENSE.with(2));
    assert_eq!(house.told(), "open open");
    assert_eq!(house.device.coming_spare(&house.policy), None);
}

#[test]
fn pictures_share_their_session_again_after_a_restart() {
    let mut house = House::new();
    let [one, other] = [1, 2].map(|picture| house.play(LICENSE.with(picture).under(picture)));
    house.deliver(one, Input::Report(PlayerReport { playhead: Some(SECOND), ..PlayerReport::default() }));
    let moment = ClockMoment { now: house.now.into(), wall: Duration::from_secs(1_800_000_000) };
    let records: Vec<_> = house.device.playbacks.iter().filter_map(|p| PlaybackRecord::of(p, &moment)).collect();
    assert_eq!(records.len(), 3);
    // Any order is tried.
    for turn in 0..3 {
        let mut next = House::new();
        (next.next, next.now) = (100, house.now);
        for record in records.iter().cycle().skip(turn).take(3) {
            let mut playback = record.restore((), &moment, &next.policy);
            playback.account = Some(Fingerprint::new(1));
            let (orphan, mut out) = (record.session.is_orphan(), DeviceEffects::new());
            next.device.resume(playback, next.now, orphan, &next.policy, &mut out);
        }
        let (mut out, policy) = (DeviceEffects::new(), next.policy.clone());
        next.device.rejoin(next.now, |()| policy.clone(), &mut out);
        next.take(out);
        assert!(matches!(next.call(LICENSE.with(1).under(1)), (id, CallAnswer::Forward(_)) if id == one));
        next.play(LICENSE.with(3));
        assert_eq!(next.told(), "", "it has its place");
        for id in [one, other] {
            next.stop(id);
        }
        assert_eq!(next.told(), "");
        next.stop(next.device.playbacks.last().unwrap().id);
        assert_eq!(next.told(), "close");
    }
}

/// A crash may come between the records of one step.
#[test]
fn a_session_and_its_pictures_do_not_stay_without_each_other_after_a_restart() {
    let mut house = House::new();
    let picture = house.play(LICENSE.with(1));
    let moment = ClockMoment { now: house.now.into(), wall: Duration::from_secs(1_800_000_000) };
    for left in [picture, house.session().id] {
        let mut next = House::new();
        next.now = house.now;
        let record = PlaybackRecord::of(house.find(left), &moment).unwrap();
        let mut out = DeviceEffects::new();
        let playback = record.restore((), &moment, &next.policy);
        next.device.resume(playback, next.now, record.session.is_orphan(), &next.policy, &mut out);
        let policy = next.policy.clone();
        next.device.rejoin(next.now, |()| policy.clone(), &mut out);
        next.take(out);
        assert!(!next.find(left).session.is_active());
        assert_eq!(next.told(), if left == picture { "" } else { "close" });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Players, authority and operator do anything: `House::check` holds after each step, no sharing playback makes a
    /// call, and in the end every place is given back.
    #[test]
    fn a_device_never_has_more_than_its_place(acts in prop::collection::vec((0..11_u8, 1..7_u64, 0..40_u64), 1..80)) {
        let mut house = House::under(Policy { endings: EndingRules::default(), ..Policy::default() });
        let mut known: Vec<SessionId> = Vec::new();
        for (act, token, more) in acts {
            let some = known.get((token * 7 + more) as usize % known.len().max(1)).copied();
            match act {
                0..3 => known.extend(Some(house.call(LICENSE.with(token).under(token)).0).filter(|id| id.0 > 0)),
                3 => {
                    let (id, answer) = house.call(RENEWAL.with(token).under(token));
                    if let CallAnswer::Renew(_, ticket) = answer {
                        let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None };
                        let verdict = if more == 0 { Verdict::Killed(reason()) } else { alive };
                        house.deliver(id, Input::Answered(ticket, AskKind::Renew, Ok(verdict)));
                    }
                }
                4 => some.into_iter().for_each(|id| house.stop(id)),
                5 => some.into_iter().for_each(|id| house.deliver(id, Input::Used)),
                6 if !house.flying.is_empty() => house.answer(match more {
                    0..3 => Ok(Verdict::Denied(Denial::Limit, reason())),
                    3..6 => Ok(Verdict::Denied(Denial::Token, reason())),
                    6..9 => Ok(Verdict::Unknown(reason())),
                    9..12 => Ok(Verdict::Disabled),
                    12..15 => Err(AuthorityFault { kind: FaultKind::Lost, reason: reason() }),
                    _ => Ok(Verdict::Killed(reason())),
                }),
                7 => house.yes(),
                8 => house.tick(SECOND * more as u32),
                9 if more < 4 => some.into_iter().for_each(|id| house.deliver(id, Input::Kill(reason().into()))),
                9 if more < 8 => some.into_iter().for_each(|id| house.deliver(id, Input::Forgive)),
                _ => some.into_iter().for_each(|id| {
                    let report = PlayerReport { by_interval: true, playing: PlayingState::Plays, ..PlayerReport::default() };
                    house.deliver(id, Input::Report(report));
                }),
            }
        }
        let all: Vec<_> = house.device.playbacks.iter().map(|p| p.id).collect();
        all.into_iter().for_each(|id| house.stop(id));
        house.yes();
        (0..300).for_each(|_| house.tick(SECOND * 60));
        prop_assert!(house.device.playbacks.iter().all(|p| !p.session.takes_place() && !p.session.is_active()));
        prop_assert!(house.device.is_empty(), "{:?}", house.device.playbacks.len());
    }
}
