//! Kills as calls meet them: by content token at whatever device, and by device for what brings none.

use std::collections::HashSet;

use proptest::prelude::*;

use super::keep::Writing;
use super::*;
use crate::config::DeviceSource;
use crate::events::HeardNext;
use crate::session::{CallNames, KillSource};
use crate::store::{Loaded, Memory};

const DEVICES: [&str; 3] = ["tv", "phone", "tablet"];

fn device(name: &str) -> DeviceKey {
    DeviceKey::new("test", DeviceSource::Header, name)
}

fn by_operator() -> SessionKill {
    Reason::new(403, None, "by an operator").wanted_by(KillSource::Operator).into()
}

fn is_killed(admission: &Admission) -> bool {
    matches!(admission.answer, CallAnswer::Refuse(SessionRefusal::Killed(_)))
}

impl Stage {
    /// Plays at a device of this name.
    async fn play_at(&mut self, name: &str, token: u64) -> SessionId {
        let waits = self.wait_of(device(name), token);
        self.grant(AskKind::Open).await;
        waits.await.expect("an admission").session.expect("a session")
    }

    /// Waits until the close of its first playback is answered.
    async fn given_back(&self, name: &str) {
        let given_back = async {
            while self.sessions.with(device(name), |device, _| device.playbacks()[0].session.is_owed_a_close()) {
                tokio::time::sleep(SHORT / 4).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), given_back).await.expect("its close is answered");
    }

    async fn try_at(&self, name: &str, token: u64) -> Admission {
        self.admit_of(device(name), token, HOUR).await
    }
}

#[tokio::test]
async fn a_killed_token_is_refused_with_any_device() {
    let mut stage = Stage::new(Policy::default());
    let id = stage.play_at("tv", 1).await;
    stage.sessions.deliver(device("tv"), id, Input::Kill(by_operator()));
    stage.grant(AskKind::Close).await;
    for name in DEVICES {
        assert!(is_killed(&stage.try_at(name, 1).await), "{name}");
    }
    let names = license(1).names();
    assert_eq!(stage.sessions.killed("test", None, &names), Some(by_operator()), "nothing names the device");
    assert_eq!(stage.sessions.killed("another", None, &names), None, "another authority has tokens of its own");
    // Only who is asked opens: a new token does.
    stage.play_at("phone", 2).await;
    assert!(stage.asked.try_recv().is_err(), "the refused cost no call");
    stage.tasks.stop();
}

/// Two registrations of one device with one content token: the kill of either holds for the token, wherever it comes.
#[tokio::test]
async fn the_kill_of_any_registration_of_a_token_is_known_at_every_device() {
    for killed in [0, 1] {
        let mut stage = Stage::new(Policy { sessions_per_device: 2, ..Policy::default() });
        let registered = |name| PlayerCall { token: Some(Fingerprint::new(name)), ..license(1) };
        let mut ids = Vec::new();
        for name in [11, 12] {
            let (sessions, context, call) = (stage.sessions.clone(), stage.context.clone(), registered(name));
            let admit = async move { sessions.admit(device("tv"), &call, &context, Clock.now() + HOUR).await };
            let (admitted, _) = tokio::join!(admit, stage.grant(AskKind::Open));
            ids.push(admitted.session.unwrap());
            stage.sessions.used(device("tv"), Fingerprint::new(name));
        }
        stage.sessions.deliver(device("tv"), ids[killed], Input::Kill(by_operator()));
        for name in ["phone", "tv"] {
            assert!(is_killed(&stage.try_at(name, 1).await), "{killed} {name}");
        }
        stage.tasks.stop();
    }
}

/// The session had ended when the order came, and its player plays by the same token.
#[tokio::test]
async fn a_kill_says_what_it_has_reached_and_is_taken_back_as_one() {
    let mut stage = Stage::new(Policy::default());
    let first = stage.play_at("tv", 1).await;
    assert_eq!(stage.sessions.teardown(device("tv"), first), Some(true));
    assert_eq!(stage.sessions.stop(device("tv"), None), 0, "it is over");
    let close = stage.asked().await;
    let waits = stage.wait_of(device("tv"), 1);
    close.yes(HOUR);
    stage.grant(AskKind::Open).await;
    let second = waits.await.expect("an admission").session.expect("a session");
    assert_ne!(first, second);
    assert_eq!(stage.sessions.teardown(device("tv"), first), Some(false), "its successor is another one");
    assert!(stage.sessions.plays_with(device("tv"), Fingerprint::new(1)));

    assert_eq!(stage.sessions.kill(device("tv"), first, by_operator()), Some(vec![second]));
    assert_eq!(stage.sessions.kill(device("tv"), second, by_operator()), Some(Vec::new()), "it is killed already");
    stage.grant(AskKind::Close).await;
    for name in DEVICES {
        assert!(is_killed(&stage.try_at(name, 1).await), "{name}");
    }
    assert!(stage.sessions.forgive(device("tv"), second));
    stage.emptied().await;
    assert!(stage.sessions.killed_tokens.is_empty());
    for order in [
        stage.sessions.kill(device("tv"), first, by_operator()).map(|_| true),
        stage.sessions.teardown(device("tv"), first),
    ] {
        assert_eq!(order, None, "nothing is left that could be");
    }
    stage.tasks.stop();
}

/// Its close was lost, so its place is still to be given back. Whichever playback it is asked for.
#[tokio::test(start_paused = true)]
async fn a_pardon_of_a_shared_session_gives_its_place_back_and_is_reported() {
    for which in [0, 1] {
        let mut stage = Stage::new(Policy { shares_session: true, ..Policy::default() });
        let first = stage.play_at("tv", 1).await;
        let other = stage.try_at("tv", 2).await.session.expect("a playback");
        assert!(stage.sessions.kill(device("tv"), first, by_operator()).is_some());
        let reason = Reason::without_reply("nobody is there");
        stage.asked().await.say(Err(AuthorityFault { kind: FaultKind::Unreachable, reason }));
        tokio::time::sleep(SHORT).await;
        let mut events = stage.sessions.telemetry.events.listen(None);
        assert!(stage.sessions.forgive(device("tv"), [first, other][which]));
        stage.grant(AskKind::Close).await;
        stage.emptied().await;
        let notices = std::iter::from_fn(|| events.try_next());
        let told = notices.filter(
            |heard| matches!(heard, HeardNext::Notice(notice) if notice.name == crate::events::NoticeName::Forgiven),
        );
        assert!(told.count() > 0, "nobody hears of it");
        stage.tasks.stop();
    }
}

/// A reload changes for how long a kill is remembered, and not when it was.
#[tokio::test]
async fn a_reload_does_not_move_the_time_of_a_kill() {
    let mut stage = Stage::new(Policy { kill_memory: HOUR, ..Policy::default() });
    let id = stage.play(1).await;
    let before = Clock.now();
    assert!(stage.sessions.kill(key(), id, by_operator()).is_some());
    let after = Clock.now();
    stage.grant(AskKind::Close).await;
    for hours in [2, 48, 100] {
        stage.context.policy.change(Policy { kill_memory: HOUR * hours, ..Policy::default() });
        let MediaFlow::Over(_, Some(since)) = stage.sessions.flow(key(), Fingerprint::new(1)) else {
            panic!("it is not killed")
        };
        assert!(before <= since && since <= after, "a memory of {hours} hours moves it");
    }
    stage.tasks.stop();
}

/// Until its content token expires, whatever the route says; what an operator wants, at least as long as the route says.
#[tokio::test]
async fn a_kill_is_remembered_for_as_long_as_the_token_of_the_session_is_good() {
    let stage = Stage::new(Policy { kill_memory: HOUR, ..Policy::default() });
    let context = SessionContext { kill_memory: Some(HOUR * 5), ..SessionContext::clone(&stage.context) };
    let (of_token, of_route) = (context.policy(), stage.context.policy());
    assert_eq!((of_token.kill_memory, of_token.operator_kill_memory), (HOUR * 5, HOUR));
    assert_eq!((of_route.kill_memory, of_route.operator_kill_memory), (HOUR, HOUR));
    stage.tasks.stop();
}

/// Whichever of them is forgiven first.
#[tokio::test]
async fn a_token_that_two_devices_were_killed_with_stays_killed_until_both_are_forgiven() {
    for (first, last) in [("tv", "phone"), ("phone", "tv")] {
        let mut stage = Stage::new(Policy::default());
        let tv = stage.play_at("tv", 1).await;
        let phone = stage.play_at("phone", 1).await;
        for (name, id) in [("tv", tv), ("phone", phone)] {
            stage.sessions.deliver(device(name), id, Input::Kill(by_operator()));
            stage.grant(AskKind::Close).await;
            stage.given_back(name).await;
        }
        let of = |name: &str| if name == "tv" { tv } else { phone };
        assert!(stage.sessions.forgive(device(first), of(first)));
        assert!(is_killed(&stage.try_at("tablet", 1).await), "{first} alone is forgiven");
        assert!(stage.sessions.forgive(device(last), of(last)));
        assert!(!stage.sessions.forgive(device(last), of(last)), "there is nothing left to forgive");
        stage.play_at("tablet", 1).await;
        stage.tasks.stop();
    }
}

#[tokio::test]
async fn every_token_that_a_killed_playback_had_is_refused_everywhere_and_after_a_restart_too() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let policy = || Policy { kill_memory: HOUR, ..Policy::default() };
    let mut first = Stage::with(policy(), Some(memory.clone() as Arc<dyn Store>), |_| {});
    let mut refreshed = license(1);
    refreshed.content = Some(Fingerprint::new(9));
    let admit = |stage: &Stage, key, call: PlayerCall| {
        let (sessions, context) = (stage.sessions.clone(), stage.context.clone());
        async move { sessions.admit(key, &call, &context, Clock.now() + HOUR).await }
    };
    let opens = admit(&first, device("tv"), refreshed);
    let (admission, ()) = tokio::join!(opens, first.grant(AskKind::Open));
    let id = admission.session.unwrap();
    for token in 2..5 {
        let call = PlayerCall { content: Some(Fingerprint::new(9)), ..license(token) };
        assert_eq!(admit(&first, device("tv"), call).await.session, Some(id));
        first.sessions.accept(device("tv"), id, &call);
    }
    first.sessions.deliver(device("tv"), id, Input::Kill(by_operator()));
    first.grant(AskKind::Close).await;
    drop(writer);
    memory.commit();
    first.tasks.stop();

    let memory = memory.crash();
    let store = memory.clone() as Arc<dyn Store>;
    let next = Stage::with(policy(), Some(store.clone()), |_| {});
    let (Loaded { sessions, .. }, context) = (store.load(), next.context.clone());
    next.sessions.restore(sessions, |_| RestoreHome::Here(context.clone()));
    for stage in [&first, &next] {
        for token in 1..5 {
            assert!(is_killed(&stage.try_at("phone", token).await), "{token}");
        }
        let tokenless = PlayerCall { content_token: None, token: None, ..license(1) };
        assert!(is_killed(&admit(stage, device("tv"), tokenless).await), "the device is known too");
    }
    assert!(next.sessions.forgive(device("tv"), id));
    assert!(next.sessions.killed_tokens.is_empty());
    next.tasks.stop();
}

#[tokio::test]
async fn a_kill_that_is_forgotten_or_forgiven_leaves_no_name_behind() {
    let mut stage = Stage::new(Policy { kill_memory: SHORT, operator_kill_memory: SHORT, ..Policy::default() });
    for token in 1..4 {
        let id = stage.play_at("tv", token).await;
        stage.sessions.deliver(device("tv"), id, Input::Kill(by_operator()));
        stage.grant(AskKind::Close).await;
    }
    stage.emptied().await;
    assert!(stage.sessions.killed_tokens.is_empty());

    let mut stage = Stage::new(Policy::default());
    let id = stage.play_at("tv", 1).await;
    assert!(!stage.sessions.forgive(device("tv"), id), "it is not killed");
    stage.sessions.deliver(device("tv"), id, Input::Kill(by_operator()));
    stage.grant(AskKind::Close).await;
    stage.given_back("tv").await;
    assert!(stage.sessions.forgive(device("tv"), id));
    assert!(stage.sessions.killed_tokens.is_empty() && stage.sessions.list().is_empty());
    stage.play_at("tv", 1).await;
    stage.tasks.stop();
}

/// A token may stand for an account, and be used at each of its devices.
#[tokio::test]
async fn a_session_that_had_the_token_before_the_kill_goes_on_and_a_place_that_moved_takes_no_token_along() {
    let mut stage = Stage::new(Policy::default());
    let (tv, _phone) = (stage.play_at("tv", 1).await, stage.play_at("phone", 1).await);
    stage.sessions.deliver(device("tv"), tv, Input::Kill(by_operator()));
    stage.grant(AskKind::Close).await;
    assert!(matches!(stage.try_at("phone", 1).await.answer, CallAnswer::Forward(_)));
    assert!(is_killed(&stage.try_at("tablet", 1).await) && is_killed(&stage.try_at("tv", 1).await));

    let mut stage = Stage::new(Policy::default());
    let tv = stage.play_at("tv", 1).await;
    let replaced = Reason::new(403, None, "another device plays now").wanted_by(KillSource::Successor);
    stage.sessions.deliver(device("tv"), tv, Input::Kill(replaced.into()));
    stage.grant(AskKind::Close).await;
    assert!(is_killed(&stage.try_at("tv", 1).await));
    stage.play_at("phone", 1).await;
    stage.tasks.stop();
}

/// An authority that grants whatever it is asked for, at once.
struct Generous;

impl AskAuthority for Generous {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, _card: &'a SessionContext) -> VerdictFuture<'a> {
        Box::pin(async move {
            Ok(match ask.kind {
                AskKind::Open => {
                    Verdict::Granted(Grant { interval: HOUR, lifetime: None, token: Secret::new("session") })
                }
                AskKind::Close => Verdict::Closed,
                AskKind::Beat | AskKind::Renew => {
                    Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }
                }
            })
        })
    }
}

#[derive(Clone, Debug)]
enum Move {
    /// The device asks with this content token, or without one, for this content.
    Ask(usize, Option<u64>, u64),
    /// An operator kills the newest session of the device.
    Kill(usize),
    /// Something that is no session's: a body that nobody knows.
    Pass(usize, Option<u64>),
}

fn a_move() -> impl Strategy<Value = Move> {
    let device = 0..DEVICES.len();
    let token = proptest::option::weighted(0.7, 1..6u64);
    prop_oneof![
        5 => (device.clone(), token.clone(), 1..4u64).prop_map(|(at, token, content)| Move::Ask(at, token, content)),
        2 => device.clone().prop_map(Move::Kill),
        2 => (device, token).prop_map(|(at, token)| Move::Pass(at, token)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever devices ask in whatever order: no call passes with a token that was killed, nor without one from a
    /// device that was killed and plays nothing.
    #[test]
    fn no_call_passes_by_a_kill(moves in prop::collection::vec(a_move(), 1..40)) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (tasks, _deaths) = Tasks::new();
            let dispatcher = AuthorityDispatcher::new(Arc::new(Generous), Handle::current(), tasks.clone());
            let sessions = Sessions::new(Clock, dispatcher, Arc::default());
            tasks.spawn(pace(sessions.clone(), tasks.clone()));
            let context = Stage::new(Policy::default()).context;
            let plays_by = |key, names: &CallNames| sessions.with(key, |device, _| device.plays_by(names));
            // What was killed: tokens, each with its device, and devices.
            let (mut tokens, mut devices) = (HashSet::new(), HashSet::new());
            // The playbacks of all devices, in the order of their calls, with the tokens that those brought.
            let mut known: Vec<(usize, SessionId, Option<u64>)> = Vec::new();
            for step in moves {
                match step {
                    Move::Kill(at) => {
                        let newest = known.iter().rev().find(|(of, ..)| *of == at);
                        let Some(id) = newest.map(|(_, id, _)| *id) else { continue };
                        sessions.deliver(device(DEVICES[at]), id, Input::Kill(by_operator()));
                        if sessions.killed_by(device(DEVICES[at]), id).is_some() {
                            let brought = known.iter().filter(|(_, of, _)| *of == id).filter_map(|(.., token)| *token);
                            tokens.extend(brought.map(|token| (at, token)));
                            devices.insert(at);
                        }
                    }
                    Move::Ask(at, token, content) => {
                        let token_print = token.map(Fingerprint::new);
                        let call = PlayerCall {
                            content: Some(Fingerprint::new(content)),
                            content_token: token_print,
                            token: token_print,
                            ..license(1)
                        };
                        let key = device(DEVICES[at]);
                        let had = plays_by(key, &call.names());
                        let Admission { answer, session } = sessions.admit(key, &call, &context, Clock.now() + HOUR).await;
                        let good = matches!(answer, CallAnswer::Forward(_) | CallAnswer::Pass);
                        if let Some(token) = token {
                            let elsewhere = tokens.iter().any(|(_, killed)| *killed == token);
                            prop_assert!(!(good && tokens.contains(&(at, token))), "token {token} passed");
                            prop_assert!(!(good && elsewhere) || had, "token {token} passed at another device");
                            prop_assert!(good || elsewhere, "token {token} was refused: {answer:?}");
                        } else if good && devices.contains(&at) {
                            prop_assert!(known.iter().any(|(_, id, _)| Some(*id) == session), "a new playback");
                        }
                        if let Some(id) = session.filter(|_| good) {
                            sessions.accept(key, id, &call);
                            known.push((at, id, token));
                        }
                    }
                    Move::Pass(at, token) => {
                        let token = token.map(Fingerprint::new);
                        let names = CallNames { content: None, content_token: token, token };
                        let killed = sessions.killed("test", Some(device(DEVICES[at])), &names).is_some();
                        let expected = match token {
                            Some(token) => {
                                let elsewhere = tokens.iter().any(|(_, killed)| *killed == token.get());
                                let plays = plays_by(device(DEVICES[at]), &names);
                                tokens.contains(&(at, token.get())) || (elsewhere && !plays)
                            }
                            None => devices.contains(&at),
                        };
                        prop_assert_eq!(killed, expected, "{:?} of {}", token, at);
                    }
                }
            }
            tasks.stop();
            Ok(())
        })?;
    }
}
