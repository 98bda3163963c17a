//! Tests of a device: which playback each call belongs to, and in which order playbacks open and close.

mod callers;
mod preloads;
mod shared;

use std::time::Duration;

use super::super::end_reason::EndReason;
use super::super::state::{SessionClosure, SessionState};
use super::*;
use crate::secret::Secret;
use crate::session::playback::SAME_TITLE_KEY_WINDOW;
use crate::session::playback::playback_names::MAX_KEY_SESSION_NAMES;
use crate::session::{
    AskKind, AuthorityAsk, AuthorityFault, Blackout, BlackoutReason, CallKind, Denial, FaultKind, Grant, KillSource,
    LicenseFeedback, OpenAbility, PlaybackRecord, PlayerReport, PlayingState, Reason, SessionKill, StreamType, Ticket,
    Verdict,
};
use crate::session::{OnUnreachable, OutageBudget};
use crate::time::testing::Clock;
use crate::time::{ClockMoment, MonotonicTime};

const CERTIFICATE: PlayerCall = call(CallKind::Certificate);
const LICENSE: PlayerCall = call(CallKind::License);
const RELEASE: PlayerCall = call(CallKind::Release);
const RENEWAL: PlayerCall = call(CallKind::Renewal);

const fn call(kind: CallKind) -> PlayerCall {
    let (content, content_token, token) = (None, None, None);
    PlayerCall { content, content_token, key_session: None, kind, opens: OpenAbility::Yes, token }
}

impl PlayerCall {
    const fn of(self, content: u64) -> Self {
        Self { content: Some(Fingerprint::new(content)), ..self }
    }

    const fn under(self, key_session: u64) -> Self {
        Self { key_session: Some(Fingerprint::new(key_session)), ..self }
    }

    const fn with(self, token: u64) -> Self {
        Self { content_token: Some(Fingerprint::new(token)), token: Some(Fingerprint::new(token)), ..self }
    }

    /// A call of a playback that was registered under that name, with this content token.
    const fn registered(self, name: u64, token: u64) -> Self {
        Self { content_token: Some(Fingerprint::new(token)), token: Some(Fingerprint::new(name)), ..self }
    }

    const fn expired(self) -> Self {
        Self { opens: OpenAbility::Expired, ..self }
    }

    const fn bare(self) -> Self {
        Self { opens: OpenAbility::No, ..self }
    }
}

/// A device on a stage: its calls to the authority lie open until the test answers them.
struct Stage {
    /// The address that calls from here on.
    caller: Option<Fingerprint>,
    device: Device<()>,
    flying: Vec<(SessionId, AuthorityAsk)>,
    inputs: usize,
    next: u64,
    now: MonotonicTime,
    policy: Policy,
    /// Every ask so far, as `o1`, `b1`, `c1`: kind and playback.
    told: String,
}

/// More inputs than any story needs: a story that waits in vain fails, and does not hang.
const MAX_INPUTS: usize = 200_000;

impl Stage {
    fn new() -> Self {
        Self::under(Policy::default())
    }

    fn under(policy: Policy) -> Self {
        let (device, flying, told) = (Device::default(), Vec::new(), String::new());
        Self { caller: None, device, flying, inputs: 0, next: 1, now: Clock.now(), policy, told }
    }

    fn call(&mut self, call: PlayerCall) -> (u64, CallAnswer) {
        let mut out = DeviceEffects::new();
        let (caller, next) = (self.caller, SessionId(self.next));
        let start = || Some(PlaybackStart { account: None, caller, entry: (), id: next, seed: 0 });
        let (id, answer) = self.device.call(self.now, &call, &self.policy, start, &mut out);
        self.take(out);
        if let (Some(id), CallAnswer::Forward(_) | CallAnswer::Pass) = (id, &answer) {
            // The license server gives to every caller.
            self.device.accept(id, &call);
        }
        let id = id.map_or(0, |SessionId(id)| id);
        self.next = self.next.max(id + 1);
        (id, answer)
    }

    fn call_again(&mut self, id: u64, call: PlayerCall) -> (u64, CallAnswer) {
        let mut out = DeviceEffects::new();
        let (caller, next) = (self.caller, SessionId(self.next));
        let start = || Some(PlaybackStart { account: None, caller, entry: (), id: next, seed: 0 });
        let (id, answer) = self.device.call_again(SessionId(id), self.now, &call, &self.policy, start, &mut out);
        self.take(out);
        if let (Some(id), CallAnswer::Forward(_) | CallAnswer::Pass) = (id, &answer) {
            // The license server gives to every caller.
            self.device.accept(id, &call);
        }
        let id = id.map_or(0, |SessionId(id)| id);
        self.next = self.next.max(id + 1);
        (id, answer)
    }

    fn deliver(&mut self, id: u64, input: Input) {
        self.inputs += 1;
        assert!(self.inputs < MAX_INPUTS, "what is waited for never comes");
        let mut out = DeviceEffects::new();
        self.device.deliver(SessionId(id), self.now, input, &self.policy, &mut out);
        self.take(out);
    }

    /// A stop call that names this content token.
    fn stop(&mut self, id: u64, token: u64) -> bool {
        self.leave(id, token, FarewellSignal::Stop)
    }

    fn leave(&mut self, id: u64, token: u64, how: FarewellSignal) -> bool {
        let (mut out, token) = (DeviceEffects::new(), Some(Fingerprint::new(token)));
        let stopped = self.device.leave(SessionId(id), self.now, token, how, &self.policy, &mut out);
        self.take(out);
        stopped
    }

    /// A renewal that the authority grants.
    fn renew(&mut self, call: PlayerCall) -> u64 {
        let (id, CallAnswer::Renew(_, ticket)) = self.call(call) else { panic!("no renewal: {call:?}") };
        let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None };
        self.deliver(id, Input::Answered(ticket, AskKind::Renew, Ok(alive)));
        self.device.accept_renewal(SessionId(id), &call);
        id
    }

    fn take(&mut self, out: DeviceEffects) {
        for (id, effect) in out {
            let Effect::Ask(ask) = effect else { continue };
            let letter = match ask.kind {
                AskKind::Beat => 'b',
                AskKind::Close => 'c',
                AskKind::Open => 'o',
                AskKind::Renew => 'r',
            };
            self.told.push_str(&format!("{letter}{} ", id.0));
            self.flying.push((id, ask));
        }
        let places = self.device.playbacks.iter().filter(|p| p.session.takes_place()).count();
        assert!(places <= self.policy.sessions_per_device + 2, "{places} places are taken");
    }

    /// Answers the oldest call in flight as an authority does that says yes.
    fn yes(&mut self) {
        let (SessionId(id), ask) = self.flying.first().expect("a call in flight");
        let verdict = match ask.kind {
            AskKind::Open => granted(*id),
            AskKind::Close => Verdict::Closed,
            AskKind::Beat | AskKind::Renew => {
                Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }
            }
        };
        self.answer(Ok(verdict));
    }

    fn answer(&mut self, result: Result<Verdict, AuthorityFault>) {
        let (SessionId(id), ask) = self.flying.remove(0);
        self.deliver(id, Input::Answered(ask.ticket, ask.kind, result));
        if ask.kind == AskKind::Open {
            self.deliver(id, Input::Used);
        }
    }

    /// Grants every open, and no license has reached a player yet.
    fn grants(&mut self) {
        while let Some((SessionId(id), ask)) = self.flying.first().cloned() {
            self.flying.remove(0);
            let verdict = if ask.kind == AskKind::Open { granted(id) } else { Verdict::Closed };
            self.deliver(id, Input::Answered(ask.ticket, ask.kind, Ok(verdict)));
        }
    }

    fn settle(&mut self) {
        while !self.flying.is_empty() {
            self.yes();
        }
    }

    /// Calls for a license that has to be opened for, and has it opened.
    fn play(&mut self, call: PlayerCall) -> u64 {
        let (id, answer) = self.call(call);
        assert_eq!(answer, CallAnswer::Wait);
        self.settle();
        while matches!(self.state(id), SessionState::Waiting { .. }) {
            self.tick(Duration::from_millis(100));
            self.settle();
        }
        assert!(matches!(self.call(call), (again, CallAnswer::Forward(_)) if again == id));
        id
    }

    fn says(&mut self, id: u64, playing: PlayingState) {
        self.deliver(id, Input::Report(PlayerReport { playing, ..PlayerReport::default() }));
    }

    fn kill(&mut self, id: u64) {
        self.deliver(id, Input::Kill(reason().into()));
        self.settle();
    }

    fn state(&self, id: u64) -> &SessionState {
        let playback = self.device.playbacks.iter().find(|playback| playback.id == SessionId(id));
        playback.expect("a playback").session.state()
    }

    /// Until the next zap is a single one again.
    fn quiet(&mut self) {
        self.tick(self.policy.settle[1]);
    }

    fn tick(&mut self, time: Duration) {
        self.now += time;
        let ids: Vec<_> = self.device.playbacks.iter().map(|playback| playback.id.0).collect();
        ids.into_iter().for_each(|id| self.deliver(id, Input::Tick));
    }
}

fn granted(id: u64) -> Verdict {
    Verdict::Granted(Grant {
        interval: Duration::from_secs(30),
        lifetime: None,
        token: Secret::new(format!("session {id}")),
    })
}

fn reason() -> Reason {
    Reason::new(404, Some(3002), "Not Found")
}

fn refused(answer: &CallAnswer) -> &SessionRefusal {
    answer.refusal().expect("a refusal")
}

// Facts learned from calls.

/// The first caller with another's content must not control the other's playback.
#[test]
fn an_unaccepted_first_token_yields_to_an_accepted_one() {
    let mut stage = Stage::new();
    assert_eq!(stage.call(LICENSE.with(1).of(9)), (1, CallAnswer::Wait));
    let answers_to = |stage: &Stage, token| stage.device.playbacks[0].answers_to(Fingerprint::new(token));
    assert!(answers_to(&stage, 1), "it may be stopped while it is opened");
    stage.settle();
    assert!(matches!(stage.call(LICENSE.with(2).of(9)), (1, CallAnswer::Forward(_))));
    assert_eq!([1, 2].map(|token| answers_to(&stage, token)), [false, true]);
    assert!(stage.device.playbacks[0].has_token(Fingerprint::new(1)), "a kill refuses it all the same");
    stage.device.accept(SessionId(1), &LICENSE.with(1).of(9));
    assert_eq!([1, 2].map(|token| answers_to(&stage, token)), [true; 2]);
}

#[test]
fn a_renewal_renames_a_playback_only_with_its_key_session_or_one_of_its_tokens() {
    for (renewal, learned) in [
        (RENEWAL.with(2).of(9).under(100), true),
        (RENEWAL.with(2).of(9).under(666), false),
        (RENEWAL.with(2).of(9), false),
    ] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1).of(9).under(100));
        assert_eq!(stage.renew(renewal), 1);
        assert_eq!(stage.device.playbacks[0].answers_to(Fingerprint::new(2)), learned, "{renewal:?}");
        assert_eq!(stage.device.playbacks[0].key_sessions(), 1);
    }
}

#[test]
fn a_device_name_alone_joins_no_playback_if_tokens_are_verified() {
    for (proves, call, joins) in [
        (true, RENEWAL, false),
        (true, RENEWAL.under(666), false),
        (true, RENEWAL.of(9), false),
        (true, LICENSE, false),
        (true, LICENSE.of(9), false),
        (true, LICENSE.under(666), false),
        // These have what a stranger has not, or request what any caller gets.
        (true, RENEWAL.under(100), true),
        (true, LICENSE.with(1), true),
        (true, CERTIFICATE, true),
        (false, RENEWAL, true),
        (false, RENEWAL.under(666), true),
        (false, LICENSE, true),
        (false, LICENSE.of(9), true),
    ] {
        let mut stage = Stage::under(Policy { tokens_prove: proves, ..Policy::default() });
        stage.play(LICENSE.with(1).of(9).under(100));
        let (id, _) = stage.call(call.bare());
        assert_eq!(id, u64::from(joins), "{proves} {call:?}");
    }
    let mut stage = Stage::under(Policy { tokens_prove: true, ..Policy::default() });
    stage.play(LICENSE.of(9));
    assert_eq!(stage.call(RENEWAL.bare()).0, 1, "it began without a token");
    stage.kill(1);
    assert!(matches!(stage.call(LICENSE.bare()), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
}

#[test]
fn certificates_and_releases_teach_nothing() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).of(9).under(100));
    for call in [CERTIFICATE.with(2).of(9), RELEASE.with(2).of(9).under(100)] {
        stage.device.accept(SessionId(1), &call);
        assert!(!stage.device.playbacks[0].answers_to(Fingerprint::new(2)), "{call:?}");
    }
}

#[test]
fn a_kill_holds_for_its_content_token_though_two_registrations_have_it() {
    for killed in [1, 2] {
        let mut stage = Stage::under(Policy { sessions_per_device: 3, ..Policy::default() });
        let calls = [LICENSE.registered(11, 1), LICENSE.registered(12, 1)];
        let ids = calls.map(|call| stage.play(call));
        assert_eq!(ids, [1, 2]);
        let answers = stage.device.playbacks.iter().map(|p| p.answers_to(Fingerprint::new(1))).collect::<Vec<_>>();
        assert_eq!(answers, [true, false], "a stop by the token alone names one of them");
        stage.kill(killed);
        // Any call with the token: of either registration, of a third one, and without a registration.
        for call in [calls[0], calls[1], LICENSE.registered(13, 1), LICENSE.with(1), RENEWAL.with(1)] {
            let (_, answer) = stage.call(call);
            assert!(matches!(refused(&answer), SessionRefusal::Killed(_)), "{killed} {call:?}");
        }
        assert!(matches!(stage.call(LICENSE.registered(14, 2)).1, CallAnswer::Wait), "another token plays");
    }
}

/// It came with the token of another playback, which goes on; its kill holds for that token nevertheless.
#[test]
fn a_kill_holds_for_a_content_token_that_another_playback_keeps() {
    let mut stage = Stage::under(Policy { sessions_per_device: 3, ..Policy::default() });
    stage.play(LICENSE.with(1).of(5));
    stage.play(LICENSE.with(2).of(6));
    stage.device.accept(SessionId(2), &LICENSE.with(1).of(6));
    assert!(!stage.device.playbacks[1].answers_to(Fingerprint::new(1)), "that one's token stays that one's");
    assert!(!stage.device.playbacks[0].answers_to(Fingerprint::new(2)));
    stage.kill(2);
    for token in [1, 2] {
        assert!(matches!(refused(&stage.call(LICENSE.with(token)).1), SessionRefusal::Killed(_)), "{token}");
    }
}

#[test]
fn shared_tokens_are_bounded() {
    let mut stage = Stage::under(Policy { sessions_per_device: 20, ..Policy::default() });
    for token in 1..=12 {
        stage.play(LICENSE.registered(100 + token, token));
    }
    for token in 1..=12 {
        stage.device.accept(SessionId(1), &LICENSE.registered(101, token));
    }
    let shared: Vec<_> = stage.device.playbacks[0].names.shared_tokens().iter().map(|token| token.get()).collect();
    assert_eq!(shared, [5, 6, 7, 8, 9, 10, 11, 12], "the newest stay");
}

// Zaps.

#[test]
fn a_newer_playback_is_opened_beside_the_older_and_a_zap_closes_that_one() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    assert_eq!(stage.told, "o1 o2 ");
    assert!(matches!((stage.state(1), stage.state(2)), (SessionState::Live { .. }, SessionState::Live { .. })));
    stage.says(2, PlayingState::Plays);
    stage.settle();
    assert_eq!(stage.told, "o1 o2 c1 ");
}

#[test]
fn ten_zaps_in_two_seconds_cost_one_close_and_one_open_more() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    for token in 2..12 {
        stage.call(LICENSE.with(token));
        stage.tick(Duration::from_millis(200));
    }
    stage.settle();
    stage.quiet();
    stage.settle();
    assert_eq!(stage.told, "o1 o2 o11 c2 ");
    assert!(matches!(stage.call(LICENSE.with(11)), (11, CallAnswer::Forward(_))));
}

/// The authority answers before the next zap.
fn zaps(stage: &mut Stage, tokens: std::ops::Range<u64>, apart: u64) {
    for token in tokens {
        stage.call(LICENSE.with(token));
        stage.settle();
        stage.tick(Duration::from_millis(apart));
        stage.settle();
    }
    stage.quiet();
    stage.settle();
}

#[test]
fn ten_zaps_at_an_instant_authority_cost_one_close_and_one_open_beyond_the_first_pair() {
    for apart in [0, 50, 200, 299] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        zaps(&mut stage, 2..12, apart);
        assert_eq!(stage.told, "o1 o2 o11 c2 ", "{apart} ms apart");
        assert!(matches!(stage.call(LICENSE.with(11)), (11, CallAnswer::Forward(_))));
    }
}

#[test]
fn zaps_that_are_slower_are_outwaited_soon() {
    for (apart, told) in [(450, "o1 o2 o3 c2 o11 c3 "), (650, "o1 o2 o3 c2 o4 c3 o11 c4 ")] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        zaps(&mut stage, 2..12, apart);
        assert_eq!(stage.told, told, "{apart} ms apart");
    }
}

#[test]
fn a_zap_after_a_quiet_time_goes_at_once() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    zaps(&mut stage, 2..6, 200);
    stage.told.clear();
    stage.call(LICENSE.with(7));
    stage.settle();
    assert_eq!(stage.told, "o6 c5 ", "without a tick between");
}

#[test]
fn the_last_of_many_fast_zaps_waits_less_than_a_second() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    for token in 2..40 {
        stage.call(LICENSE.with(token));
        stage.settle();
        stage.tick(Duration::from_millis(100));
    }
    stage.tick(Duration::from_millis(600));
    stage.settle();
    assert!(matches!(stage.call(LICENSE.with(39)).1, CallAnswer::Forward(_)));
}

#[test]
fn a_zap_back_before_the_close_is_sent_keeps_the_session() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).of(9));
    stage.play(LICENSE.with(2));
    stage.quiet();
    // Players fetch a fresh token when they tune in.
    assert!(matches!(stage.call(LICENSE.with(3).of(9)), (1, CallAnswer::Forward(_))));
    stage.says(1, PlayingState::Plays);
    assert_eq!(stage.told, "o1 o2 ", "no close and no open");
    assert!(matches!(stage.call(RENEWAL.with(3)), (1, CallAnswer::Renew(..))), "it is what it was");
}

/// The earlier player sends the renewal: no viewer has tuned in again.
#[test]
fn a_late_renewal_of_the_last_channel_does_not_zap_back() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(2).of(9));
    stage.play(LICENSE.with(3));
    stage.says(2, PlayingState::Plays);
    let (id, answer) = stage.call(RENEWAL.with(2).of(9));
    assert_eq!((id, refused(&answer)), (1, &SessionRefusal::Ended(EndReason::Zapped)));
    stage.settle();
    assert_eq!(stage.told, "o1 o2 c1 ");
}

#[test]
fn a_zap_back_to_an_opening_channel_waits_for_that_open() {
    let mut stage = Stage::new();
    stage.call(LICENSE.with(1));
    stage.call(LICENSE.with(2));
    assert_eq!(stage.call(LICENSE.with(1)), (1, CallAnswer::Wait));
    assert_eq!(stage.call_again(1, LICENSE.with(1)), (1, CallAnswer::Wait));
    assert_eq!(stage.call_again(2, LICENSE.with(2)), (2, CallAnswer::Wait));
    assert_eq!(stage.call_again(1, LICENSE.with(1)), (1, CallAnswer::Wait));
    stage.settle();
    let zapped = CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Zapped));
    assert_eq!(stage.call_again(2, LICENSE.with(2)), (2, zapped));
    assert!(matches!(stage.call_again(1, LICENSE.with(1)), (1, CallAnswer::Forward(_))));
    assert_eq!(stage.told, "o1 ");
}

#[test]
fn a_zap_back_during_a_beat_keeps_the_session_and_its_new_token() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.tick(Duration::from_secs(31));
    stage.deliver(1, Input::GiveWay);
    assert_eq!(stage.told, "o1 b1 ", "the close waits for the beat");
    assert_eq!(stage.call(LICENSE.with(1)), (1, CallAnswer::Wait));
    stage.settle();
    assert!(matches!(stage.call(LICENSE.with(1)), (1, CallAnswer::Forward(_))));
    stage.tick(Duration::from_secs(29));
    assert_eq!(stage.told, "o1 b1 ");
    stage.tick(Duration::from_secs(2));
    assert_eq!(stage.told, "o1 b1 b1 ", "and the rhythm goes on");
}

#[test]
fn a_zap_back_after_the_re_entry_window_opens_the_channel_anew() {
    for (re_entry, told) in [(Duration::ZERO, "o1 b1 c1 o1 "), (Duration::from_secs(5), "o1 b1 ")] {
        let mut stage = Stage::under(Policy { re_entry, ..Policy::default() });
        stage.play(LICENSE.with(1));
        stage.tick(Duration::from_secs(31));
        stage.deliver(1, Input::GiveWay);
        assert_eq!(stage.call(LICENSE.with(1)), (1, CallAnswer::Wait));
        stage.settle();
        assert_eq!(stage.told, told);
        assert!(matches!(stage.call_again(1, LICENSE.with(1)), (1, CallAnswer::Forward(_))));
    }
}

#[test]
fn a_zap_back_with_room_for_both_finds_the_channel_running() {
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    assert!(matches!(stage.call(LICENSE.with(1)), (1, CallAnswer::Forward(_))));
    // A third and a fourth: the one before the last is a preload that gives way.
    stage.play(LICENSE.with(3));
    stage.quiet();
    stage.play(LICENSE.with(4));
    assert!(matches!(stage.call(LICENSE.with(2)), (2, CallAnswer::Forward(_))));
    assert_eq!(stage.told, "o1 o2 o3 o4 c3 ");
}

#[test]
fn a_zap_while_opening_asks_when_that_open_is_answered() {
    let mut stage = Stage::new();
    stage.call(LICENSE.with(1));
    stage.call(LICENSE.with(2));
    assert_eq!(stage.told, "o1 ");
    stage.settle();
    assert_eq!(stage.told, "o1 o2 ");
    assert!(matches!(stage.call_again(1, LICENSE.with(1)), (1, CallAnswer::Forward(_))));
}

#[test]
fn a_zap_away_from_a_refused_open_opens_at_once() {
    let mut stage = Stage::new();
    stage.call(LICENSE.with(1));
    stage.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
    assert!(matches!(refused(&stage.call(LICENSE.with(1)).1), SessionRefusal::Denied(Denial::Limit, _)));
    stage.play(LICENSE.with(2));
    assert_eq!(stage.told, "o1 o2 ");
}

#[test]
fn a_passed_over_playback_opens_next_if_a_call_still_waits_for_it() {
    for waits in [true, false] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        stage.play(LICENSE.with(9));
        for title in 2..5 {
            stage.call(LICENSE.with(title));
        }
        stage.quiet();
        // The one that was called for last, and then the others, one at a time.
        let mut served = Vec::new();
        for _ in 0..8 {
            stage.grants();
            for id in [3, 4, 5] {
                if !served.contains(&id) && (waits || id == 5) {
                    let (of, answer) = stage.call_again(id, LICENSE.with(id - 1));
                    assert!(of == id && answer.refusal().is_none(), "{answer:?}");
                    if matches!(answer, CallAnswer::Forward(_)) {
                        served.push(id);
                        stage.deliver(id, Input::Used);
                    }
                }
            }
        }
        assert_eq!(served, if waits { vec![5, 3, 4] } else { vec![5] }, "{}", stage.told);
        let opens = stage.told.matches('o').count();
        assert_eq!(opens, 2 + served.len(), "{}", stage.told);
    }
}

/// Picture and sound of two players behind one device, while nothing can be opened: a call does not begin another
/// playback when its own is forgotten for a successor of the same name.
#[test]
fn waiting_calls_of_two_titles_do_not_zap_each_other_without_end() {
    let by_token = [LICENSE.with(1), LICENSE.with(2), LICENSE.with(1), LICENSE.with(2)];
    let by_content = [LICENSE.of(1).with(1), LICENSE.of(2).with(2), LICENSE.of(1).with(3), LICENSE.of(2).with(4)];
    for calls in [by_token, by_content] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(9));
        let mut waiting: Vec<_> = calls.into_iter().map(|call| (stage.call(call).0, call)).collect();
        for _round in 0..10 {
            let again = |(id, call)| (stage.call_again(id, call), call);
            let answers: Vec<_> = waiting.into_iter().map(again).collect();
            let waits = |((id, answer), call)| (answer == CallAnswer::Wait).then_some((id, call));
            waiting = answers.into_iter().filter_map(waits).collect();
        }
        let begun = stage.next;
        assert!(begun <= 7, "{begun}: each has its turn once");
        assert!(!waiting.is_empty(), "one has the last word");
    }
}

#[test]
fn a_waiting_renewal_whose_session_turns_out_expired_opens_anew() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).under(100));
    stage.tick(Duration::from_secs(60));
    assert_eq!(stage.call(RENEWAL.with(1).under(100)), (1, CallAnswer::Wait));
    stage.answer(Ok(Verdict::Unknown(reason())));
    assert_eq!(stage.call_again(1, RENEWAL.with(1).under(100)), (2, CallAnswer::Wait));
    assert_eq!(stage.told, "o1 b1 o2 ");
}

#[test]
fn a_zap_back_after_the_other_one_has_played_opens_anew() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    stage.says(2, PlayingState::Plays);
    stage.settle();
    stage.quiet();
    assert_eq!(stage.call(LICENSE.with(1)), (3, CallAnswer::Wait));
    stage.settle();
    assert_eq!(stage.told, "o1 o2 c1 o3 ");
}

#[test]
fn a_zap_behind_a_close_that_is_lost_opens_after_its_tries() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.deliver(1, Input::End(EndReason::Stopped));
    stage.call(LICENSE.with(2));
    let lost = || Err(AuthorityFault { kind: FaultKind::Timeout, reason: Reason::without_reply("no reply") });
    stage.answer(lost());
    stage.tick(Duration::from_secs(1));
    stage.answer(lost());
    assert_eq!(stage.told, "o1 c1 c1 o2 ");
}

#[test]
fn left_over_calls_of_a_zapped_playback_do_not_open_it_again() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).under(100));
    stage.play(LICENSE.with(2).under(200));
    stage.says(2, PlayingState::Plays);
    stage.settle();
    for left_over in [RENEWAL.under(100), RENEWAL.with(1), RENEWAL.with(1).under(100)] {
        assert!(matches!(stage.call(left_over), (1, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Zapped)))));
    }
    assert_eq!(stage.call(RELEASE.with(1).under(100)), (1, CallAnswer::Pass));
    assert_eq!(stage.call(CERTIFICATE.with(1)), (1, CallAnswer::Pass));
    assert_eq!(stage.told, "o1 o2 c1 ");
    assert!(matches!(stage.state(2), SessionState::Live { .. }));
}

#[test]
fn two_places_take_two_playbacks_and_the_third_ends_the_silent_one() {
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    stage.tick(Duration::from_secs(20));
    assert!(matches!(stage.call(LICENSE.with(1)), (1, CallAnswer::Forward(_))));
    stage.play(LICENSE.with(3));
    stage.says(3, PlayingState::Plays);
    stage.settle();
    assert_eq!(stage.told, "o1 o2 o3 c2 ");
}

// One session for one playback.

#[test]
fn calls_for_one_playback_share_one_open() {
    let mut stage = Stage::new();
    for _ in 0..50 {
        assert_eq!(stage.call(LICENSE.with(1).of(9)), (1, CallAnswer::Wait));
        assert_eq!(stage.call(LICENSE.of(9)), (1, CallAnswer::Wait));
        assert_eq!(stage.call(LICENSE), (1, CallAnswer::Wait));
    }
    assert_eq!(stage.told, "o1 ");
}

#[test]
fn several_key_sessions_share_one_session() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).under(100));
    for key_session in 101..140 {
        assert!(matches!(stage.call(LICENSE.with(1).under(key_session)), (1, CallAnswer::Forward(_))));
    }
    assert_eq!(stage.told, "o1 ");
    assert_eq!(stage.device.playbacks[0].key_sessions(), MAX_KEY_SESSION_NAMES);
}

#[test]
fn a_refreshed_token_for_the_same_content_keeps_the_session() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).of(9));
    assert!(matches!(stage.call(LICENSE.with(2).of(9)), (1, CallAnswer::Forward(_))));
    assert!(matches!(stage.call(RENEWAL.with(2)), (1, CallAnswer::Renew(..))));
    assert_eq!(stage.told, "o1 ");
}

#[test]
fn a_renewal_belongs_to_the_playback_of_its_key_session() {
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1).under(100));
    stage.play(LICENSE.with(2).under(200));
    assert!(matches!(stage.call(RENEWAL.under(100)), (1, CallAnswer::Renew(..))));
    assert!(matches!(stage.call(RENEWAL.under(200)), (2, CallAnswer::Renew(..))));
    // It is unknown to which of the two this call belongs.
    assert_eq!(stage.call(RENEWAL.bare()), (0, CallAnswer::Pass));
}

#[test]
fn a_call_without_a_token_joins_the_only_playback() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).of(9));
    assert!(matches!(stage.call(LICENSE.bare()), (1, CallAnswer::Forward(_))));
    assert!(matches!(stage.call(RENEWAL.bare()), (1, CallAnswer::Renew(..))));
    // Other content is another playback.
    assert_eq!(stage.call(LICENSE.of(8).bare()), (0, CallAnswer::Pass));
    assert_eq!(stage.call(LICENSE.of(8)), (2, CallAnswer::Wait));
}

#[test]
fn a_first_call_without_a_token_opens_only_if_it_can() {
    let mut stage = Stage::new();
    for call in [LICENSE, RENEWAL, CERTIFICATE, RELEASE] {
        assert_eq!(stage.call(call.bare()), (0, CallAnswer::Pass));
    }
    assert!(stage.device.is_empty());
    assert_eq!(stage.call(LICENSE), (1, CallAnswer::Wait));
}

#[test]
fn a_renewal_of_an_unknown_session_adopts_it() {
    let mut stage = Stage::new();
    assert_eq!(stage.call(RENEWAL.with(1).under(100)), (1, CallAnswer::Wait));
    stage.settle();
    assert!(matches!(stage.call(RENEWAL.with(1).under(100)), (1, CallAnswer::Renew(..))));
}

// Kills.

#[test]
fn a_killed_playback_stays_refused_and_a_new_content_token_opens() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).of(9).under(100));
    stage.kill(1);
    let left_over = [
        LICENSE.with(1).of(9),
        LICENSE.with(1),
        LICENSE.of(9),
        LICENSE,
        RENEWAL.under(100),
        RENEWAL.with(1),
        CERTIFICATE.with(1),
        CERTIFICATE,
        RELEASE.with(1).under(100),
    ];
    for call in left_over {
        assert_eq!(stage.call(call), (1, CallAnswer::Refuse(SessionRefusal::Killed(reason().into()))), "{call:?}");
    }
    assert_eq!(stage.told, "o1 c1 ");
    assert_eq!(stage.call(LICENSE.with(2).of(9)), (2, CallAnswer::Wait));
    stage.settle();
    // The new one does not bring the old one back.
    assert!(matches!(stage.call(LICENSE.with(1).of(9)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
    assert!(matches!(stage.call(RENEWAL.under(100)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
    assert_eq!(stage.told, "o1 c1 o2 ");
}

#[test]
fn every_token_that_a_killed_playback_had_is_refused() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).of(9));
    for token in 2..5 {
        assert!(matches!(stage.call(LICENSE.with(token).of(9)), (1, CallAnswer::Forward(_))));
    }
    stage.kill(1);
    for token in 1..5 {
        assert!(
            matches!(stage.call(LICENSE.with(token).of(9)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))),
            "{token}"
        );
    }
    assert_eq!(stage.call(LICENSE.with(5).of(9)), (2, CallAnswer::Wait));
}

#[test]
fn a_killed_token_does_not_continue_in_another_playback() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.kill(1);
    stage.play(LICENSE.with(2).under(200));
    // By its key session this call belongs to the second playback, by its token to the killed one.
    assert!(matches!(stage.call(RENEWAL.with(1).under(200)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
    assert!(matches!(stage.call(LICENSE.with(1)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
    // A call that waits while its token is killed is refused, too.
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1));
    let (2, CallAnswer::Wait) = stage.call(LICENSE.with(2).under(200)) else { panic!("it opens") };
    let renewal = RENEWAL.with(1).under(200);
    assert_eq!(stage.call(renewal), (2, CallAnswer::Wait));
    stage.deliver(1, Input::Kill(reason().into()));
    stage.settle();
    assert!(matches!(stage.call_again(2, renewal), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
    assert!(
        matches!(stage.call_again(2, LICENSE.with(2).under(200)), (2, CallAnswer::Forward(_))),
        "the other one plays on"
    );
}

/// A player that goes on by its old key session may bring the token of what it plays by now.
#[test]
fn a_token_has_one_playback_though_a_renewal_of_an_ended_one_brings_it() {
    for ends in [Input::End(EndReason::Silent), Input::End(EndReason::Expired), Input::End(EndReason::Stopped)] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1).under(100));
        // After a stop, another tab's player may go on: its renewals begin anew.
        if matches!(ends, Input::End(EndReason::Stopped)) {
            _ = stage.stop(1, 1)
        } else {
            stage.deliver(1, ends)
        };
        stage.settle();
        // The playback opens, and then it plays.
        assert_eq!(stage.call(LICENSE.with(2).under(200)), (2, CallAnswer::Wait));
        assert_eq!(stage.call(RENEWAL.with(2).under(100)), (2, CallAnswer::Wait));
        stage.settle();
        stage.renew(RENEWAL.with(2).under(100));
        assert_eq!(stage.device.playbacks.len(), 2, "{}", stage.told);
        stage.kill(2);
        for call in [LICENSE.with(2), RENEWAL.with(2).under(100), RENEWAL.with(2).under(200)] {
            assert!(matches!(stage.call(call), (2, CallAnswer::Refuse(SessionRefusal::Killed(_)))), "{call:?}");
        }
    }
}

/// It ended while the order was on the way: its viewer plays with the same token, or is about to.
#[test]
fn an_operators_kill_reaches_the_successor_of_an_ended_playback() {
    let by = || reason().wanted_by(KillSource::Operator);
    for call in [LICENSE.with(1), LICENSE.of(9), LICENSE.with(1).of(9)] {
        let mut stage = Stage::new();
        stage.play(call);
        stage.deliver(1, Input::End(EndReason::Stopped));
        assert_eq!(stage.call(call), (2, CallAnswer::Wait), "its close is under way");
        stage.settle();
        assert!(
            matches!(stage.state(1), SessionState::Closed { .. })
                && matches!(stage.state(2), SessionState::Live { .. })
        );
        stage.deliver(1, Input::Kill(by().into()));
        stage.settle();
        assert!(matches!(stage.call(call), (_, CallAnswer::Refuse(SessionRefusal::Killed(_)))), "{call:?}");
        assert_eq!(stage.told, "o1 c1 o2 c2 ", "its place is given back");
    }
    // No playback has followed yet, and none will.
    for (killed_by, holds) in [(KillSource::Operator, true), (KillSource::Authority, false)] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        stage.deliver(1, Input::End(EndReason::Stopped));
        stage.settle();
        stage.deliver(1, Input::Kill(reason().wanted_by(killed_by).into()));
        let refused = matches!(stage.call(LICENSE.with(1)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_))));
        assert_eq!(refused, holds, "{killed_by:?}");
    }
    // Another title of the device is no successor.
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.deliver(1, Input::End(EndReason::Stopped));
    stage.play(LICENSE.with(2));
    stage.deliver(1, Input::Kill(by().into()));
    assert!(matches!(stage.call(LICENSE.with(2)), (2, CallAnswer::Forward(_))));
}

/// The content token of two authorizations: it belongs to whatever plays by it now.
#[test]
fn a_content_token_of_an_ended_playback_is_its_successors() {
    let registered = |id: u64, token: u64| PlayerCall { token: Some(Fingerprint::new(id)), ..LICENSE.with(token) };
    let mut stage = Stage::new();
    stage.play(registered(50, 1));
    stage.deliver(1, Input::End(EndReason::Stopped));
    stage.settle();
    stage.play(registered(51, 1));
    stage.kill(2);
    assert!(matches!(stage.call(registered(52, 1)), (2, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
}

#[test]
fn a_kill_is_forgotten_after_its_time() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.kill(1);
    stage.tick(stage.policy.kill_memory);
    assert!(stage.device.is_empty());
    assert_eq!(stage.call(LICENSE.with(1)), (2, CallAnswer::Wait));
}

#[test]
fn a_kill_refuses_every_call_of_its_device_that_brings_no_content_token() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).of(9).under(100));
    stage.kill(1);
    let strangers = [
        LICENSE.of(8),
        LICENSE.of(8).under(101),
        LICENSE.of(8).bare(),
        LICENSE.of(8).expired(),
        RENEWAL.under(101),
        RENEWAL.of(8).under(101).bare(),
        CERTIFICATE.of(8),
        RELEASE.under(101),
        // The app made no registration without an authorization.
        PlayerCall { token: Some(Fingerprint::new(50)), ..LICENSE.of(8) },
    ];
    for call in strangers {
        assert_eq!(stage.call(call), (1, CallAnswer::Refuse(SessionRefusal::Killed(reason().into()))), "{call:?}");
    }
    // A new content token is a new playback, whose other calls need none.
    stage.play(LICENSE.with(2).of(8).under(200));
    assert!(matches!(stage.call(LICENSE.of(8)), (2, CallAnswer::Forward(_))));
    assert!(matches!(stage.call(LICENSE.of(7)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
    assert!(matches!(stage.call(RENEWAL.under(200)), (2, CallAnswer::Renew(..))));
    stage.tick(stage.policy.kill_memory);
    assert_eq!(stage.call(LICENSE.of(7)).1, CallAnswer::Wait, "the kill is forgotten");
}

#[test]
fn another_key_of_a_killed_device_without_tokens_is_refused_until_the_kill_is_forgotten() {
    let mut stage = Stage::new();
    let news = stage.play(LICENSE.of(1));
    stage.kill(news);
    for call in [LICENSE.of(1), LICENSE.of(2), LICENSE.of(3).under(7), LICENSE] {
        stage.tick(Duration::from_secs(1));
        assert_eq!(stage.call(call), (news, CallAnswer::Refuse(SessionRefusal::Killed(reason().into()))), "{call:?}");
    }
    stage.tick(stage.policy.kill_memory);
    assert_eq!(stage.call(LICENSE.of(2)).1, CallAnswer::Wait);
}

#[test]
fn a_playback_of_a_killed_device_that_goes_on_keeps_its_calls_and_a_left_one_does_not_return() {
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    let (news, film) = (stage.play(LICENSE.of(1)), {
        stage.tick(SAME_TITLE_KEY_WINDOW);
        stage.play(LICENSE.of(2))
    });
    stage.kill(news);
    assert!(matches!(stage.call(LICENSE.of(2)), (id, CallAnswer::Forward(_)) if id == film));
    let mut stage = Stage::new();
    stage.play(LICENSE.of(1));
    stage.tick(SAME_TITLE_KEY_WINDOW);
    let (film, _) = stage.call(LICENSE.of(2));
    stage.settle();
    stage.deliver(1, Input::GiveWay);
    stage.settle();
    stage.deliver(film, Input::Kill(reason().into()));
    assert!(matches!(stage.call(LICENSE.of(1)), (id, CallAnswer::Refuse(SessionRefusal::Killed(_))) if id == film));
}

/// A blackout is about what may not be shown, and says nothing of anything else.
#[test]
fn a_blackout_refuses_only_its_content_to_the_device() {
    let mut stage = Stage::new();
    let news = stage.play(LICENSE.of(1).under(100));
    let blackout = Blackout { action: "DENY".to_owned(), url: None };
    let dark = SessionKill::Blackout(BlackoutReason { blackout: blackout.into(), reason: reason() });
    stage.deliver(news, Input::Kill(dark.clone()));
    stage.settle();
    for call in [LICENSE.of(1), RENEWAL.under(100), PlayerCall { token: Some(Fingerprint::new(50)), ..LICENSE.of(1) }] {
        assert_eq!(stage.call(call), (news, CallAnswer::Refuse(SessionRefusal::Killed(dark.clone()))), "{call:?}");
    }
    assert_eq!(stage.call(LICENSE.of(2)).1, CallAnswer::Wait);
}

/// The content token of one that is known by its registration is a name of it as well.
#[test]
fn a_registered_playback_that_was_killed_is_known_by_its_content_token() {
    let mut stage = Stage::new();
    let registered = |id: u64, token: u64| PlayerCall { token: Some(Fingerprint::new(id)), ..LICENSE.with(token) };
    stage.play(registered(50, 1));
    assert!(matches!(stage.call(registered(50, 2)), (1, CallAnswer::Forward(_))));
    stage.kill(1);
    for call in [registered(50, 3), registered(51, 1), registered(51, 2), LICENSE.with(1), LICENSE.with(2)] {
        assert_eq!(stage.call(call), (1, CallAnswer::Refuse(SessionRefusal::Killed(reason().into()))), "{call:?}");
    }
    assert_eq!(stage.call(registered(51, 3)), (2, CallAnswer::Wait));
}

#[test]
fn an_operators_kill_is_remembered_for_the_routes_time_even_if_its_token_expires_before() {
    let secs = Duration::from_secs;
    for (killed_by, lasts) in [(KillSource::Authority, 30), (KillSource::Successor, 30), (KillSource::Operator, 3600)] {
        let policy = Policy { kill_memory: secs(30), operator_kill_memory: secs(3600), ..Policy::default() };
        let mut stage = Stage::under(policy);
        stage.play(LICENSE.of(1));
        stage.deliver(1, Input::Kill(reason().wanted_by(killed_by).into()));
        stage.settle();
        stage.tick(secs(lasts - 1));
        assert!(
            matches!(stage.call(LICENSE.of(1)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))),
            "{killed_by:?}"
        );
        stage.tick(secs(1));
        assert!(stage.device.is_empty(), "{killed_by:?}");
    }
}

#[test]
fn a_kill_that_is_forgiven_is_forgotten_at_once_and_its_close_goes_on_by_itself() {
    let lost = || Err(AuthorityFault { kind: FaultKind::Timeout, reason: reason() });
    let mut stage = Stage::new();
    stage.play(LICENSE.of(1));
    stage.kill(1);
    stage.deliver(1, Input::Forgive);
    stage.tick(Duration::ZERO);
    assert!(stage.device.is_empty());
    // Its close is lost, and waits for its next try.
    let mut stage = Stage::new();
    stage.play(LICENSE.of(1));
    stage.deliver(1, Input::Kill(reason().into()));
    stage.answer(lost());
    stage.deliver(1, Input::Forgive);
    assert_eq!(
        stage.flying.last().map(|(_, ask)| (ask.kind, ask.ticket)),
        Some((AskKind::Close, Ticket::OrphanedGrant))
    );
    stage.tick(Duration::ZERO);
    assert!(stage.device.is_empty());
    // Its close is in flight and awaited.
    let mut stage = Stage::new();
    stage.play(LICENSE.of(1));
    stage.deliver(1, Input::Kill(reason().into()));
    stage.deliver(1, Input::Forgive);
    stage.tick(Duration::ZERO);
    assert!(matches!(stage.state(1), SessionState::Killed { .. }));
    stage.answer(lost());
    assert_eq!(
        stage.flying.last().map(|(_, ask)| (ask.kind, ask.ticket)),
        Some((AskKind::Close, Ticket::OrphanedGrant))
    );
    stage.tick(Duration::ZERO);
    assert!(stage.device.is_empty());
    // A playback without a kill needs no forgiving.
    let mut stage = Stage::new();
    stage.play(LICENSE.of(1));
    stage.deliver(1, Input::Forgive);
    stage.tick(Duration::ZERO);
    assert!(matches!(stage.call(LICENSE.of(1)), (1, CallAnswer::Forward(_))));
}

#[test]
fn a_kill_of_a_playback_does_not_affect_the_others_of_the_device() {
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1));
    stage.play(LICENSE.with(2));
    stage.kill(1);
    assert!(matches!(stage.call(LICENSE.with(2)), (2, CallAnswer::Forward(_))));
    assert!(matches!(stage.call(LICENSE.with(1)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
}

// Certificates and releases.

#[test]
fn a_certificate_opens_nothing() {
    let mut stage = Stage::new();
    assert_eq!(stage.call(CERTIFICATE.with(1).of(9)), (0, CallAnswer::Pass));
    assert!(stage.device.is_empty());
    stage.call(LICENSE.with(1));
    assert_eq!(stage.call(CERTIFICATE.with(1)), (1, CallAnswer::Pass));
    stage.settle();
    assert_eq!(stage.call(CERTIFICATE.with(1)), (1, CallAnswer::Pass));
    assert_eq!(stage.told, "o1 ");
}

#[test]
fn a_certificate_is_refused_after_a_kill_or_a_denial() {
    let mut stage = Stage::new();
    stage.call(LICENSE.with(1));
    stage.answer(Ok(Verdict::Denied(Denial::Rejected, reason())));
    assert!(matches!(stage.call(CERTIFICATE.with(1)), (1, CallAnswer::Refuse(SessionRefusal::Denied(..)))));
    stage.play(LICENSE.with(2));
    stage.kill(2);
    assert!(matches!(stage.call(CERTIFICATE.with(2)), (2, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
}

#[test]
fn the_release_of_the_last_key_session_is_reported() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).under(100));
    stage.call(LICENSE.with(1).under(101));
    let id = SessionId(1);
    assert!(!stage.device.release(id, Some(Fingerprint::new(100))));
    assert!(!stage.device.release(id, Some(Fingerprint::new(999))), "an unknown one ends nothing");
    assert!(stage.device.release(id, Some(Fingerprint::new(101))));
    assert!(!stage.device.release(SessionId(77), Some(Fingerprint::new(101))), "no such playback");
    stage.deliver(1, Input::End(EndReason::Released));
    stage.settle();
    assert!(matches!(stage.call(RENEWAL.with(1)), (1, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Released)))));
    assert_eq!(stage.told, "o1 c1 ");
}

#[test]
fn the_release_of_a_key_session_that_was_never_here_ends_nothing() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    assert!(matches!(stage.call(RELEASE.with(1).under(999)), (1, CallAnswer::Forward(_))));
    assert!(!stage.device.release(SessionId(1), Some(Fingerprint::new(999))));
}

// Two tabs with the same content: each has a content token of its own, and they share one session.

fn two_tabs(places: usize) -> Stage {
    let mut stage = Stage::under(Policy { sessions_per_device: places, ..Policy::default() });
    stage.play(LICENSE.with(1).of(9).under(100));
    assert!(matches!(stage.call(LICENSE.with(2).of(9).under(200)), (1, CallAnswer::Forward(_))));
    stage
}

#[test]
fn a_stop_that_names_one_of_two_tabs_lets_the_other_begin_anew() {
    for (places, closed) in [(1, true), (2, true), (1, false), (2, false)] {
        let mut stage = two_tabs(places);
        assert!(stage.stop(1, 1), "nothing shows yet that there are two");
        if closed {
            stage.settle();
        }
        let left_over = RENEWAL.with(1).of(9).under(100);
        assert_eq!(stage.call(left_over), (1, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Stopped))));
        assert_eq!(stage.call(RENEWAL.with(2).of(9).under(200)), (2, CallAnswer::Wait));
        stage.settle();
        assert_eq!(stage.renew(RENEWAL.with(2).of(9).under(200)), 2);
        assert_eq!(stage.told, "o1 c1 o2 ", "{places} places");
    }
}

#[test]
fn a_stop_without_a_tab_or_by_an_operator_stops_both() {
    let mut stage = two_tabs(1);
    stage.deliver(1, Input::End(EndReason::Stopped));
    stage.settle();
    for (token, key_session) in [(1, 100), (2, 200)] {
        let renewal = RENEWAL.with(token).of(9).under(key_session);
        assert_eq!(stage.call(renewal), (1, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Stopped))));
    }
}

#[test]
fn two_tabs_that_renew_in_turns_are_stopped_one_by_one() {
    let mut stage = two_tabs(1);
    let renewals = [RENEWAL.with(1).of(9).under(100), RENEWAL.with(2).of(9).under(200)];
    renewals.into_iter().for_each(|renewal| assert_eq!(stage.renew(renewal), 1));
    // The quit of a player that is not believed.
    stage.policy.endings.quit = false;
    assert!(!stage.leave(
        1,
        2,
        FarewellSignal::Quit(PlayerReport { playing: PlayingState::Quit, ..PlayerReport::default() })
    ));
    // A call and a beacon.
    assert!(!stage.stop(1, 1) && !stage.stop(1, 1));
    assert_eq!(stage.renew(renewals[1]), 1);
    assert_eq!(stage.told, "o1 ");
    assert!(stage.stop(1, 2));
    assert_eq!(stage.told, "o1 c1 ");

    // The first one was only loaded again.
    let mut stage = two_tabs(1);
    renewals.into_iter().for_each(|renewal| assert_eq!(stage.renew(renewal), 1));
    assert!(!stage.stop(1, 1));
    assert_eq!(stage.renew(renewals[0]), 1);
    assert!(!stage.stop(1, 2) && stage.stop(1, 1));

    // The other one is gone without a word: its renewals stay away.
    let mut stage = two_tabs(1);
    stage.deliver(1, Input::Served(LicenseFeedback::Renews { every: Some(Duration::from_secs(30)) }));
    renewals.into_iter().for_each(|renewal| assert_eq!(stage.renew(renewal), 1));
    assert!(!stage.stop(1, 1));
    for _ in 0..10 {
        stage.tick(Duration::from_secs(15));
    }
    assert!(!matches!(stage.state(1), SessionState::Live { .. }), "nothing holds the place for ever");
}

/// With timer beats nothing would show that the other tab is gone as well.
#[test]
fn tabs_that_do_not_renew_hold_no_place_after_a_stop() {
    let mut stage = two_tabs(1);
    let renewals = [RENEWAL.with(1).of(9).under(100), RENEWAL.with(2).of(9).under(200)];
    stage.policy.renews = false;
    for renewal in renewals {
        assert!(matches!(stage.call(renewal), (1, CallAnswer::Forward(_))));
    }
    assert!(stage.stop(1, 1));
    assert_eq!(stage.told, "o1 c1 ");
}

#[test]
fn a_waiting_renewal_of_the_other_tab_begins_anew_and_one_of_the_stopped_tab_does_not() {
    let mut stage = two_tabs(1);
    stage.tick(Duration::from_secs(31));
    assert_eq!(stage.told, "o1 b1 ");
    let renewals = [RENEWAL.with(1).of(9).under(100), RENEWAL.with(2).of(9).under(200)];
    renewals.into_iter().for_each(|renewal| assert_eq!(stage.call(renewal), (1, CallAnswer::Wait)));
    assert!(stage.stop(1, 1));
    assert!(matches!(refused(&stage.call_again(1, renewals[0]).1), SessionRefusal::Ended(EndReason::Stopped)));
    assert_eq!(stage.call_again(1, renewals[1]), (2, CallAnswer::Wait));
    stage.settle();
    assert_eq!(stage.told, "o1 b1 c1 o2 ");
}

#[test]
fn a_playback_that_one_tab_left_may_still_be_killed() {
    let mut stage = two_tabs(1);
    assert!(stage.stop(1, 1));
    stage.deliver(1, Input::Kill(reason().into()));
    stage.settle();
    for call in [RENEWAL.with(2).of(9).under(200), LICENSE.with(2).of(9)] {
        assert_eq!(stage.call(call), (1, CallAnswer::Refuse(SessionRefusal::Killed(reason().into()))));
    }
}

/// The playback was zapped away meanwhile: nothing of it can begin anew.
#[test]
fn a_stop_of_an_ended_playback_says_nothing_of_the_other_tab() {
    let mut stage = two_tabs(1);
    stage.deliver(1, Input::End(EndReason::Zapped));
    stage.settle();
    assert!(!stage.stop(1, 1));
    assert_eq!(
        stage.call(RENEWAL.with(2).of(9).under(200)),
        (1, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Zapped)))
    );
}

// Playbacks that open again.

#[test]
fn an_unwanted_end_is_undone_by_any_call_and_a_wanted_one_only_by_a_license() {
    for why in EndReason::ALL.into_iter().filter(|why| *why != EndReason::GaveWay) {
        for (call, anew) in [
            (LICENSE, why != EndReason::Programme),
            (RENEWAL, !why.is_wanted()),
            (CERTIFICATE, false),
            (RELEASE, false),
        ] {
            let mut stage = Stage::new();
            stage.play(LICENSE.with(1));
            stage.deliver(1, Input::End(why));
            stage.settle();
            let id = stage.call(call.with(1)).0;
            assert_eq!(id, if anew { 2 } else { 1 }, "{why:?}, then {call:?}");
            assert_eq!(stage.call(call.with(1).bare()).0, id, "{why:?}, then {call:?}");
        }
    }
}

#[test]
fn a_playback_that_consecutive_failures_ended_stays_ended_however_long_its_player_asks() {
    let stream = Some(StreamType::Live);
    let mut stage = Stage::under(Policy { max_failures: Some(2), stream, ..Policy::default() });
    stage.play(LICENSE.with(1));
    stage.deliver(1, Input::End(EndReason::Lost));
    let lost = |answer: &CallAnswer| *refused(answer) == SessionRefusal::Ended(EndReason::Lost);
    assert!(matches!(stage.state(1), SessionState::Closing { .. }));
    assert!(lost(&stage.call(LICENSE.with(1)).1));
    stage.settle();
    for call in [LICENSE, RENEWAL] {
        let (id, answer) = stage.call(call.with(1));
        assert!(id == 1 && lost(&answer), "{call:?}");
        stage.tick(stage.policy.end_memory);
    }
    // Another authorization is another playback.
    assert_eq!(stage.call(LICENSE.with(2)).0, 2);
}

/// It would open for a programme that is over, and then never end by that again.
#[test]
fn a_programme_that_is_over_stays_so_however_long_its_player_asks() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.deliver(1, Input::End(EndReason::Programme));
    stage.settle();
    for _ in 0..3 {
        assert_eq!(*refused(&stage.call(LICENSE.with(1)).1), SessionRefusal::Ended(EndReason::Programme));
        stage.tick(stage.policy.end_memory);
    }
    assert_eq!(stage.call(LICENSE.with(2)).0, 2);
}

#[test]
fn only_a_license_begins_anew_during_a_close() {
    for (call, id) in [(RENEWAL, 1), (CERTIFICATE, 1), (RELEASE, 1), (LICENSE, 2)] {
        let mut stage = Stage::new();
        stage.play(LICENSE.with(1));
        stage.deliver(1, Input::End(EndReason::Stopped));
        assert!(matches!(stage.state(1), SessionState::Closing { .. }));
        assert_eq!(stage.call(call.with(1)).0, id, "{call:?}");
        assert_eq!(stage.told, "o1 c1 ", "first the close");
    }
}

#[test]
fn licenses_run_out_while_the_machine_sleeps() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    let licensed = |stage: &mut Stage, key, lasts| {
        let (now, policy, mut out) = (stage.now, stage.policy.clone(), DeviceEffects::new());
        stage.device.licensed(SessionId(1), now, Fingerprint::new(key), Some(lasts), &policy, &mut out);
    };
    let last_end =
        |stage: &Stage| stage.device.playbacks[0].session.evidence.licensed_until().expect("an end") - stage.now;
    licensed(&mut stage, 1, minutes(60));
    stage.deliver(1, Input::Slept(minutes(50)));
    assert_eq!(last_end(&stage), minutes(10));
    // The sleep counts for all of them, and not only for the newest.
    licensed(&mut stage, 2, minutes(5));
    assert_eq!(last_end(&stage), minutes(10));
}

#[test]
fn a_denial_is_remembered_for_its_moment_and_then_asked_again() {
    let mut stage = Stage::new();
    stage.call(LICENSE.with(1));
    stage.answer(Ok(Verdict::Denied(Denial::Limit, reason())));
    stage.now += stage.policy.refusal_memory - Duration::from_millis(1);
    assert!(matches!(refused(&stage.call(LICENSE.with(1)).1), SessionRefusal::Denied(..)));
    assert!(matches!(refused(&stage.call(RENEWAL.with(1)).1), SessionRefusal::Denied(..)));
    stage.now += Duration::from_millis(1);
    assert_eq!(stage.call(LICENSE.with(1)), (2, CallAnswer::Wait));
    assert_eq!(stage.told, "o1 o2 ");
    assert_eq!(stage.device.playbacks.len(), 1, "the spent one made room");
}

#[test]
fn an_authority_that_cannot_be_reached_is_asked_again_after_a_second() {
    let mut stage = Stage::new();
    stage.call(LICENSE.with(1));
    stage.answer(Err(AuthorityFault { kind: FaultKind::Unreachable, reason: Reason::without_reply("no way") }));
    assert!(matches!(refused(&stage.call(LICENSE.with(1)).1), SessionRefusal::Unreachable(_)));
    stage.now += Duration::from_secs(1);
    assert_eq!(stage.call(LICENSE.with(1)), (2, CallAnswer::Wait));
}

#[test]
fn a_running_budget_that_is_spent_is_not_followed_by_that_of_a_new_playback() {
    let minutes =
        |minutes: u64| OutageBudget { live: Duration::from_secs(minutes * 60), vod: Duration::from_secs(minutes * 60) };
    let on_unreachable = OnUnreachable { new: minutes(10), running: minutes(10) };
    for call in [LICENSE, RENEWAL] {
        let mut stage = Stage::under(Policy { on_unreachable, ..Policy::default() });
        let first = stage.play(LICENSE.with(1).under(100));
        while stage.device.playbacks[0].session.is_active() {
            match stage.flying.is_empty() {
                true => stage.tick(Duration::from_secs(1)),
                false => stage.answer(Err(AuthorityFault { kind: FaultKind::Unreachable, reason: reason() })),
            }
        }
        assert!(matches!(refused(&stage.call(call.with(1).under(100)).1), SessionRefusal::Unreachable(_)));
        stage.now += Duration::from_secs(1);
        // It may ask, and does not play before the answer.
        let (second, answer) = stage.call(call.with(1).under(100));
        assert_eq!((second == first, answer), (false, CallAnswer::Wait));
        stage.answer(Err(AuthorityFault { kind: FaultKind::Unreachable, reason: reason() }));
        assert!(matches!(refused(&stage.call(call.with(1).under(100)).1), SessionRefusal::Unreachable(_)), "{call:?}");
        // Nor does it after a while, however often it asked in vain.
        stage.tick(stage.policy.end_memory);
        assert_eq!(stage.call(call.with(1).under(100)).1, CallAnswer::Wait);
        stage.answer(Err(AuthorityFault { kind: FaultKind::Unreachable, reason: reason() }));
        assert!(matches!(refused(&stage.call(call.with(1).under(100)).1), SessionRefusal::Unreachable(_)), "{call:?}");
    }
}

/// It is stopped before its one probe is answered, as by a viewer who reloads the page again and again.
#[test]
fn a_budget_that_is_spent_is_not_given_again_though_the_next_try_was_stopped() {
    let ten = OutageBudget { live: Duration::from_secs(600), vod: Duration::from_secs(600) };
    let on_unreachable = OnUnreachable { new: ten, running: ten };
    let mut stage = Stage::under(Policy { on_unreachable, ..Policy::default() });
    let unreachable = || Err(AuthorityFault { kind: FaultKind::Unreachable, reason: reason() });
    let call = LICENSE.with(1).under(100);
    stage.call(call);
    while stage.device.playbacks.iter().any(|playback| playback.session.is_active()) {
        match stage.flying.is_empty() {
            true => stage.tick(Duration::from_secs(1)),
            false => stage.answer(unreachable()),
        }
    }
    for _ in 0..2 {
        // Longer than what ended otherwise is remembered.
        stage.tick(stage.policy.end_memory + Duration::from_secs(5));
        let (id, answer) = stage.call(call);
        assert_eq!(answer, CallAnswer::Wait);
        stage.stop(id, 1);
        stage.answer(unreachable());
    }
    stage.tick(Duration::from_secs(5));
    assert_eq!(stage.call(call).1, CallAnswer::Wait);
    stage.answer(unreachable());
    assert!(matches!(refused(&stage.call(call).1), SessionRefusal::Unreachable(_)));
    // The authority has decided, although no call waits for it any more.
    stage.tick(Duration::from_secs(5));
    let (id, _) = stage.call(call);
    stage.stop(id, 1);
    stage.settle();
    stage.tick(Duration::from_secs(5));
    stage.call(call);
    stage.answer(unreachable());
    assert_eq!(stage.call(call).1, CallAnswer::Pass);
}

/// Its authority was not configured for a while, and another playback began meanwhile.
#[test]
fn a_playback_that_comes_back_beside_its_successor_gives_way() {
    let (mut old, mut stage) = (Stage::new(), Stage::new());
    stage.next = 2;
    old.play(LICENSE.with(1));
    stage.now += Duration::from_secs(60);
    stage.play(LICENSE.with(2));
    let moment = ClockMoment { now: stage.now.into(), wall: Duration::from_secs(1_900_000_000) };
    let records = [&old, &stage].map(|of| PlaybackRecord::of(&of.device.playbacks[0], &moment).unwrap());
    let (mut next, mut out) = (Stage::new(), DeviceEffects::new());
    for record in records {
        next.device.resume(record.restore((), &moment, &next.policy), next.now, false, &next.policy, &mut out);
    }
    // Its evidence decides, and it has none.
    let policy = next.policy.clone();
    next.device.deliver(SessionId(2), next.now + Duration::from_secs(60), Input::Tick, &policy, &mut out);
    assert!(matches!(next.state(1), SessionState::Closing { why: EndReason::GaveWay, .. }));
    assert!(matches!(next.state(2), SessionState::Live { .. }));
    let closes = |(id, effect): &(SessionId, Effect)| {
        *id == SessionId(1) && matches!(effect, Effect::Ask(AuthorityAsk { kind: AskKind::Close, .. }))
    };
    assert_eq!(out.iter().filter(|told| closes(told)).count(), 1);

    // Playbacks side by side go on, although there is room for only one by now.
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1));
    stage.now += Duration::from_secs(10);
    stage.play(LICENSE.with(2));
    stage.tick(Duration::from_secs(21));
    stage.settle();
    let moment = ClockMoment { now: stage.now.into(), wall: Duration::from_secs(1_900_000_000) };
    let mut next = Stage::new();
    for playback in &stage.device.playbacks {
        let record = PlaybackRecord::of(playback, &moment).unwrap();
        let restored = record.restore((), &moment, &next.policy);
        next.device.resume(restored, moment.time(), false, &next.policy, &mut DeviceEffects::new());
    }
    assert!(matches!((next.state(1), next.state(2)), (SessionState::Live { .. }, SessionState::Live { .. })));
}

#[test]
fn an_expired_session_is_opened_again_by_the_players_renewal() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1).under(100));
    stage.tick(Duration::from_secs(60));
    assert_eq!(stage.told, "o1 b1 ");
    stage.answer(Ok(Verdict::Unknown(reason())));
    assert_eq!(stage.call(RENEWAL.with(1).under(100)), (2, CallAnswer::Wait));
    stage.settle();
    assert_eq!(stage.told, "o1 b1 o2 ");
}

#[test]
fn the_memory_of_a_device_that_asks_without_end_is_bounded() {
    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.kill(1);
    for token in 2..2_000 {
        stage.call(LICENSE.with(token));
        if token % 3 == 0 && !stage.flying.is_empty() {
            stage.answer(Ok(Verdict::Denied(Denial::Token, reason())));
        }
    }
    assert!(
        stage.device.playbacks.len() <= capacity::MAX_ENDED_PLAYBACKS_REMEMBERED + capacity::MAX_WAITING_PLAYBACKS + 3,
        "{} playbacks",
        stage.device.playbacks.len()
    );
    // A killed playback is never forgotten for want of room.
    assert!(matches!(stage.call(LICENSE.with(1)), (1, CallAnswer::Refuse(SessionRefusal::Killed(_)))));
}

#[test]
fn keys_of_a_title_belong_together_until_time_separates_them() {
    let mut stage = Stage::new();
    let picture = stage.play(LICENSE.of(1));
    assert_eq!(stage.call(LICENSE.of(2)).0, picture, "the keys of the sound");
    stage.tick(SAME_TITLE_KEY_WINDOW);
    assert_eq!(stage.call(LICENSE.of(2)).0, picture, "also when they are asked for again");
    assert_eq!(stage.call(LICENSE.of(1)).0, picture);
    assert_ne!(stage.call(LICENSE.of(3)).0, picture, "the next title");

    let mut stage = Stage::new();
    let picture = stage.play(LICENSE.of(1));
    assert_ne!(stage.call(LICENSE.of(2).with(2)).0, picture, "a content token is of a title of its own");
    // A renewal goes on with what began before: which of two that is cannot be known.
    let mut stage = Stage::under(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(LICENSE.with(1).under(100));
    stage.play(LICENSE.of(2).under(200));
    assert_eq!(stage.call(RENEWAL.bare()), (0, CallAnswer::Pass));

    let mut stage = Stage::new();
    let news = stage.play(LICENSE.of(1).with(1));
    assert_ne!(stage.call(LICENSE.of(2).with(2)).0, news, "content tokens need no time");
}

// Content tokens that have expired.

#[test]
fn an_expired_content_token_opens_nothing_and_ends_nothing() {
    let expired = |stage: &mut Stage, call: PlayerCall| stage.call(call.with(1).expired());
    let refused = (0, CallAnswer::Refuse(SessionRefusal::Expired));
    let mut stage = Stage::new();
    assert_eq!(expired(&mut stage, LICENSE), refused);
    assert_eq!(expired(&mut stage, RENEWAL), refused);
    assert_eq!(expired(&mut stage, CERTIFICATE), (0, CallAnswer::Pass));
    assert_eq!(expired(&mut stage, RELEASE), (0, CallAnswer::Pass));
    assert!(stage.told.is_empty() && stage.device.is_empty());

    stage.play(LICENSE.with(1));
    assert!(matches!(expired(&mut stage, LICENSE), (1, CallAnswer::Forward(_))), "what runs goes on");
    stage.deliver(1, Input::End(EndReason::Stopped));
    stage.settle();
    assert_eq!(expired(&mut stage, LICENSE), refused);
    assert_eq!(expired(&mut stage, RENEWAL), (1, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Stopped))));

    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.deliver(1, Input::End(EndReason::Silent));
    stage.settle();
    assert_eq!(expired(&mut stage, RENEWAL), refused, "it would open again");

    let mut stage = Stage::new();
    stage.play(LICENSE.with(1));
    stage.kill(1);
    assert_eq!(expired(&mut stage, LICENSE), (1, CallAnswer::Refuse(SessionRefusal::Killed(reason().into()))));
}

#[test]
fn kills_of_one_device_are_bounded_and_its_own_households_displace_no_other() {
    let mut stage = Stage::under(Policy { kill_memory: Duration::from_secs(86_400), ..Policy::default() });
    let first = stage.play(LICENSE.with(1));
    stage.deliver(first, Input::Kill(reason().into()));
    stage.settle();
    let successor = || reason().wanted_by(KillSource::Successor);
    let most = capacity::MAX_KILLS_REMEMBERED as u64;
    let mut token = 1;
    let mut kill_another = |stage: &mut Stage, by: Reason| {
        token += 1;
        stage.quiet();
        let id = stage.play(LICENSE.with(token));
        stage.deliver(id, Input::Kill(by.into()));
        stage.settle();
    };
    (0..most + 10).for_each(|_| kill_another(&mut stage, successor()));
    // The remembered playbacks are counted when another one begins.
    assert!(stage.device.playbacks.len() as u64 <= most + 2, "{}", stage.device.playbacks.len());
    assert!(stage.device.kill_of(&LICENSE.with(1).names()).is_some(), "the operator's kill is remembered");
    (0..most + 10).for_each(|_| kill_another(&mut stage, reason()));
    assert!(stage.device.playbacks.len() as u64 <= 2 * (most + 1), "{}", stage.device.playbacks.len());
    assert!(stage.device.kill_of(&LICENSE.with(1).names()).is_none(), "the oldest went");
}

#[test]
fn a_device_with_unanswered_closes_begins_a_bounded_number_of_playbacks() {
    let policy = Policy { grace: Duration::from_secs(86_400), ..Policy::default() };
    let most = policy.sessions_per_device + capacity::MAX_UNSETTLED;
    let mut stage = Stage::under(policy);
    let lost = || Err(AuthorityFault { kind: FaultKind::Lost, reason: Reason::without_reply("no answer") });
    let mut refused = 0;
    for token in 1..=most as u64 + 20 {
        stage.quiet();
        let (id, answer) = stage.call(LICENSE.with(token));
        match answer {
            CallAnswer::Refuse(SessionRefusal::Unreachable(AuthorityFault { kind: FaultKind::Busy, .. })) => {
                refused += 1
            }
            answer => assert_eq!((answer, id > 0), (CallAnswer::Wait, true)),
        }
        // Opens are granted, closes are lost.
        while let Some((_, ask)) = stage.flying.first() {
            if ask.kind == AskKind::Close { stage.answer(lost()) } else { stage.yes() }
        }
        while stage.device.playbacks.iter().any(|p| p.session.is_held()) {
            stage.tick(Duration::from_millis(500));
            while let Some((_, ask)) = stage.flying.first() {
                if ask.kind == AskKind::Close { stage.answer(lost()) } else { stage.yes() }
            }
        }
    }
    assert!(
        refused > 0 && stage.device.playbacks.len() <= most + capacity::MAX_ENDED_PLAYBACKS_REMEMBERED,
        "{refused}"
    );
}
