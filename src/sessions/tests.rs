//! The shell over real tasks, with an authority that answers when the test says so.

use std::sync::Barrier;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::config::{DeviceSource, OnUnreachable, OutageBudget};
use crate::secret::Secret;
use crate::session::{
    AuthorityAsk, CallKind, Denial, EndReason, FarewellSignal, FaultKind, Grant, OpenAbility, PlayerReport,
    PlayingState, Policy, Reason,
};
use crate::store::DialectName;
use crate::task::Tasks;
use crate::time::EpochTime;

mod deserted;
mod household;
mod keep;
mod kills;
mod memory;
mod places;
mod retention;
mod views;

type Answered = Result<Verdict, AuthorityFault>;

/// An authority call that lies open.
struct Open {
    ask: AuthorityAsk,
    reply: oneshot::Sender<Answered>,
}

impl Open {
    fn say(self, result: Answered) {
        self.reply.send(result).expect("somebody waits");
    }

    /// As an authority does that says yes.
    fn yes(self, interval: Duration) -> AskKind {
        let kind = self.ask.kind;
        self.say(Ok(match kind {
            AskKind::Open => Verdict::Granted(Grant { interval, lifetime: None, token: Secret::new("session") }),
            AskKind::Close => Verdict::Closed,
            AskKind::Beat | AskKind::Renew => {
                Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }
            }
        }));
        kind
    }
}

struct Script(mpsc::UnboundedSender<Open>);

impl AskAuthority for Script {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, _card: &'a SessionContext) -> VerdictFuture<'a> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Open { ask: ask.clone(), reply }).expect("the test runs");
        Box::pin(async move { answer.await.expect("an answer") })
    }
}

struct Stage {
    asked: mpsc::UnboundedReceiver<Open>,
    context: Arc<SessionContext>,
    sessions: Arc<Sessions>,
    tasks: Tasks,
}

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

fn brief() -> Policy {
    Policy { end_memory: SHORT, refusal_memory: SHORT, kill_memory: SHORT, ..Policy::default() }
}

impl Sessions {
    /// The player of each of its playbacks stops.
    fn stop_all(self: &Arc<Self>, key: DeviceKey) -> usize {
        let active = |device: &Device<SessionEntry>| {
            let active = device.playbacks().iter().filter(|playback| playback.session.is_active());
            active.map(|playback| playback.id).collect::<Vec<_>>()
        };
        let ids = self.with(key, |device, _| active(device));
        ids.into_iter().filter(|id| self.leave(key, *id, None, FarewellSignal::Stop)).count()
    }
}

impl Stage {
    fn new(policy: Policy) -> Self {
        Self::with_pump(policy, |_| {})
    }

    fn with_pump(policy: Policy, change: impl FnOnce(&mut AuthorityDispatcher)) -> Self {
        Self::by(Clock, policy, None, change)
    }

    fn with(policy: Policy, store: Option<Arc<dyn Store>>, change: impl FnOnce(&mut AuthorityDispatcher)) -> Self {
        Self::by(Clock, policy, store, change)
    }

    fn by(
        clock: Clock,
        policy: Policy,
        store: Option<Arc<dyn Store>>,
        change: impl FnOnce(&mut AuthorityDispatcher),
    ) -> Self {
        let (tell, asked) = mpsc::unbounded_channel();
        let (tasks, _deaths) = Tasks::new();
        let mut dispatcher = AuthorityDispatcher::new(Arc::new(Script(tell)), Handle::current(), tasks.clone());
        change(&mut dispatcher);
        let sessions = Sessions::with_store(clock, dispatcher, Arc::default(), store);
        tasks.spawn(pace(sessions.clone(), tasks.clone()));
        Self { asked, context: context(policy), sessions, tasks }
    }

    fn admit(&self, token: u64, within: Duration) -> impl Future<Output = Admission> + use<> {
        self.admit_of(key(), token, within)
    }

    fn admit_of(&self, key: DeviceKey, token: u64, within: Duration) -> impl Future<Output = Admission> + use<> {
        let (sessions, context) = (self.sessions.clone(), self.context.clone());
        async move { sessions.admit(key, &license(token), &context, Clock.now() + within).await }
    }

    /// Lets a player wait in a task of its own.
    fn wait(&self, token: u64) -> oneshot::Receiver<Admission> {
        self.wait_of(key(), token)
    }

    fn wait_of(&self, key: DeviceKey, token: u64) -> oneshot::Receiver<Admission> {
        let (tell, told) = oneshot::channel();
        let admit = self.admit_of(key, token, HOUR);
        self.tasks.spawn(async move { drop(tell.send(admit.await)) });
        told
    }

    async fn asked(&mut self) -> Open {
        tokio::time::timeout(Duration::from_secs(10), self.asked.recv()).await.expect("in time").expect("a call")
    }

    /// The next call is of this kind, and is answered with yes.
    async fn grant(&mut self, kind: AskKind) {
        assert_eq!(self.asked().await.yes(HOUR), kind);
    }

    async fn play(&mut self, token: u64) -> SessionId {
        self.play_of(key(), token).await
    }

    async fn play_of(&mut self, key: DeviceKey, token: u64) -> SessionId {
        let waits = self.wait_of(key, token);
        self.grant(AskKind::Open).await;
        let admission = waits.await.expect("an admission");
        assert!(matches!(admission.answer, CallAnswer::Forward(_)));
        self.sessions.used(key, Fingerprint::new(token));
        admission.session.expect("a session")
    }

    /// Until the first session is as wanted.
    async fn until(&self, what: &str, fits: impl Fn(&SessionView) -> bool) {
        let looking = async {
            while !fits(&self.sessions.list()[0]) {
                tokio::time::sleep(SHORT / 20).await;
            }
        };
        let looked = tokio::time::timeout(Duration::from_secs(10), looking).await;
        looked.unwrap_or_else(|_| panic!("never {what}: {:?}", self.sessions.list()));
    }

    /// Until nothing is kept any more: no playback, and no device.
    async fn emptied(&self) {
        let emptied = async {
            while !self.sessions.table.is_empty() {
                tokio::time::sleep(SHORT / 4).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), emptied).await.expect("all is forgotten");
    }
}

/// Context of a playback, without a token.
fn context(policy: Policy) -> Arc<SessionContext> {
    let of_route = Arc::new(SessionRoute {
        authority: AuthorityId::of("test"),
        authority_name: "test".into(),
        dialect: DialectName::NagraSsm,
        error_name: |_| "error",
        policy: Arc::new(LivePolicy::new(policy)),
        route: "/".into(),
    });
    Arc::new(SessionContext {
        account: None,
        content: None,
        device: "device".into(),
        groups: None,
        kill_memory: None,
        network: Fingerprint::default(),
        of_route,
        opened: EpochTime::default(),
        registration: None,
        schedule: None,
        stream: None,
        device_source: DeviceSource::Header,
        token: None,
    })
}

fn key() -> DeviceKey {
    DeviceKey::new("test", DeviceSource::Header, "device")
}

fn killed(sessions: &Arc<Sessions>, token: u64) -> Option<SessionKill> {
    sessions.killed("test", Some(key()), &license(token).names())
}

fn license(token: u64) -> PlayerCall {
    let token = Some(Fingerprint::new(token));
    PlayerCall {
        content: None,
        content_token: token,
        key_session: None,
        kind: CallKind::License,
        opens: OpenAbility::Yes,
        token,
    }
}

#[tokio::test]
async fn many_waiting_calls_share_one_open() {
    let mut stage = Stage::new(brief());
    let waiting: Vec<_> = (0..200).map(|_| stage.wait(1)).collect();
    stage.grant(AskKind::Open).await;
    for waits in waiting {
        assert!(matches!(waits.await.expect("an admission").answer, CallAnswer::Forward(_)));
    }
    assert!(stage.asked.try_recv().is_err());
}

#[tokio::test]
async fn an_operator_is_warned_of_licenses_once_a_session_and_never_if_the_proxy_beats() {
    use crate::config::Enforcement;
    for (renews, enforcement, warned) in [
        (true, Enforcement::Auto, true),
        (true, Enforcement::Renewal, true),
        (true, Enforcement::Heartbeat, false),
        (false, Enforcement::Auto, false),
    ] {
        let mut stage = Stage::new(Policy { enforcement, renews, ..brief() });
        let id = stage.play(1).await;
        let told: Vec<_> = (0..3).map(|_| stage.sessions.warns_of_escapes(key(), id)).collect();
        assert_eq!(told, [warned, false, false], "{renews} {enforcement:?}");
    }
}

#[tokio::test]
async fn a_player_that_hangs_up_while_it_waits_leaks_nothing() {
    let mut stage = Stage::new(brief());
    let gone = tokio::time::timeout(SHORT, stage.admit(1, HOUR)).await;
    assert!(gone.is_err());
    stage.grant(AskKind::Open).await;
    assert!(matches!(stage.admit(1, HOUR).await.answer, CallAnswer::Forward(_)), "what was opened is there");
    assert_eq!(stage.sessions.stop_all(key()), 1);
    stage.grant(AskKind::Close).await;
    stage.emptied().await;
}

#[tokio::test]
async fn a_player_that_hangs_up_and_is_stopped_before_the_open_is_answered_leaks_nothing() {
    let mut stage = Stage::new(brief());
    assert!(tokio::time::timeout(SHORT, stage.admit(1, HOUR)).await.is_err());
    assert_eq!(stage.sessions.stop(key(), Some(Fingerprint::new(1))), 1);
    stage.grant(AskKind::Open).await;
    stage.grant(AskKind::Close).await;
    stage.emptied().await;
}

#[tokio::test]
async fn a_call_is_answered_by_its_deadline_and_the_open_goes_on() {
    let mut stage = Stage::new(brief());
    let admission = stage.admit(1, SHORT).await;
    assert!(matches!(admission.answer.refusal(), Some(SessionRefusal::Unreachable(_))));
    stage.grant(AskKind::Open).await;
    assert!(matches!(stage.admit(1, HOUR).await.answer, CallAnswer::Forward(_)));
}

#[tokio::test]
async fn the_last_call_goes_first_and_what_waits_still_goes_next() {
    let mut stage = Stage::new(brief());
    let first = stage.wait(1);
    let open = stage.asked().await;
    let mut second = stage.wait(2);
    let third = stage.wait(3);
    assert_eq!(open.yes(HOUR), AskKind::Open);
    assert!(matches!(first.await.expect("an admission").answer, CallAnswer::Forward(_)));
    stage.grant(AskKind::Open).await;
    assert!(matches!(third.await.expect("an admission").answer, CallAnswer::Forward(_)));
    assert!(second.try_recv().is_err(), "the third one may yet come to nothing");
    stage.sessions.used(key(), Fingerprint::new(3));
    // Somebody waits for it still.
    stage.grant(AskKind::Open).await;
    assert!(matches!(second.await.expect("an admission").answer, CallAnswer::Forward(_)));
}

#[tokio::test]
async fn beats_come_at_their_interval_and_end_with_the_session() {
    let mut stage = Stage::new(brief());
    let interval = Duration::from_millis(60);
    let waits = stage.wait(1);
    let start = Clock.now();
    stage.asked().await.yes(interval);
    assert!(matches!(waits.await.expect("an admission").answer, CallAnswer::Forward(_)));
    for beat in 1..6 {
        let open = stage.asked().await;
        assert!(Clock.now() - start >= interval * beat, "beat {beat} is early");
        assert_eq!(open.yes(interval), AskKind::Beat);
    }
    assert_eq!(stage.sessions.list().len(), 1);
    stage.sessions.stop_all(key());
    let mut late = 0;
    while stage.asked().await.yes(interval) == AskKind::Beat {
        late += 1;
        assert!(late < 10, "it is beaten on, and not closed");
    }
    stage.emptied().await;
    assert!(stage.asked.try_recv().is_err());
}

#[tokio::test]
async fn only_the_end_of_a_devices_last_connection_is_reported_and_a_new_one_takes_it_back() {
    let mut stage = Stage::new(brief());
    let first = stage.sessions.guard(key());
    stage.play(1).await;
    let gone = |stage: &Stage| stage.sessions.list()[0].connections_gone.is_some();
    let second = stage.sessions.guard(key());
    drop(first);
    assert!(!gone(&stage), "another one is there");
    drop(second);
    assert!(gone(&stage));
    let third = stage.sessions.guard(key());
    assert!(!gone(&stage));
    stage.sessions.stop_all(key());
    stage.grant(AskKind::Close).await;
    // The device is known for as long as one of its connections is there.
    drop(third);
    stage.emptied().await;
}

#[tokio::test]
async fn a_session_is_found_by_the_digits_it_begins_with() {
    let mut stage = Stage::new(Policy { sessions_per_device: 2, ..brief() });
    assert_eq!(stage.sessions.find("0"), Err(FindFault::Unknown));
    let (one, other) = (stage.play(1).await, stage.play(2).await);
    for id in [one, other] {
        assert_eq!(stage.sessions.find(&id.to_string()), Ok((key(), id)));
        assert_eq!(stage.sessions.find(&id.short().to_string()), Ok((key(), id)));
    }
    // A slip that names nobody must not hit the only one there is.
    for few in ["", "no digits", "/", &one.to_string()[..3]] {
        assert_eq!(stage.sessions.find(few), Err(FindFault::Unknown), "{few}");
    }
}

#[tokio::test]
async fn a_stop_ends_what_it_names() {
    let mut stage = Stage::new(Policy { sessions_per_device: 2, ..brief() });
    stage.play(1).await;
    stage.play(2).await;
    assert_eq!(stage.sessions.stop(key(), Some(Fingerprint::new(9))), 0);
    assert_eq!(
        stage.sessions.stop(DeviceKey::new("test", DeviceSource::Header, "other"), Some(Fingerprint::new(1))),
        0
    );
    assert_eq!(stage.sessions.stop(key(), None), 0, "the device alone is none of its tokens");
    assert_eq!(stage.sessions.stop(key(), Some(Fingerprint::new(1))), 1);
    stage.grant(AskKind::Close).await;
    assert_eq!(stage.sessions.stop(key(), Some(Fingerprint::new(2))), 1);
    stage.grant(AskKind::Close).await;
    stage.emptied().await;
}

#[tokio::test]
async fn a_token_finds_the_device_that_plays_by_it_and_is_forgotten_with_its_session() {
    let mut stage = Stage::new(brief());
    let sessions = stage.sessions.clone();
    let named = |device, token| sessions.device_of_token("test", device, Fingerprint::new(token));
    let other = DeviceKey::new("test", DeviceSource::Header, "other");
    stage.play(1).await;
    for device in [None, Some(key()), Some(other)] {
        assert_eq!((named(device, 1), named(device, 2)), (Some(key()), None), "{device:?}");
    }
    assert_eq!(sessions.device_of_token("elsewhere", None, Fingerprint::new(1)), None, "another authority's token");
    stage.play_of(other, 1).await;
    assert_eq!(named(None, 1), None, "two devices play by it");
    assert_eq!((named(Some(key()), 1), named(Some(other), 1)), (Some(key()), Some(other)));

    assert_eq!(sessions.stop(key(), Some(Fingerprint::new(1))), 1);
    assert_eq!(named(Some(key()), 1), Some(other), "what is over is nobody's choice");
    stage.grant(AskKind::Close).await;
    assert_eq!(sessions.stop(other, Some(Fingerprint::new(1))), 1);
    assert_eq!((named(Some(other), 1), sessions.index.tokens.len()), (None, 0));
    stage.grant(AskKind::Close).await;
    stage.emptied().await;
}

#[tokio::test]
async fn a_token_of_too_many_devices_names_none_of_them() {
    let mut stage = Stage::new(brief());
    for number in 0..17 {
        stage.play_of(DeviceKey::new("test", DeviceSource::Header, &number.to_string()), 1).await;
    }
    let named = |device| stage.sessions.device_of_token("test", device, Fingerprint::new(1));
    assert_eq!(stage.sessions.index.tokens.devices("test", Fingerprint::new(1)), []);
    let last = DeviceKey::new("test", DeviceSource::Header, "16");
    assert_eq!((named(None), named(Some(last))), (None, Some(last)));
}

/// Two playbacks without a token, and one target: whoever reports, neither may be taken for silent.
#[tokio::test]
async fn a_report_that_fits_several_shows_that_they_live_and_ends_none() {
    let mut stage = Stage::new(Policy { sessions_per_device: 2, ..brief() });
    let says = |playing| PlayerReport { by_interval: true, playing, ..PlayerReport::default() };
    for playback in [1, 2] {
        let (sessions, context) = (stage.sessions.clone(), stage.context.clone());
        let call = PlayerCall { content_token: None, ..license(playback) };
        tokio::join!(sessions.admit(key(), &call, &context, Clock.now() + HOUR), stage.grant(AskKind::Open));
        stage.sessions.used(key(), Fingerprint::new(playback));
        stage.sessions.report(key(), None, says(PlayingState::Plays));
    }
    for playing in [PlayingState::Plays, PlayingState::Quit] {
        stage.sessions.report(key(), None, says(playing));
    }
    let rows = stage.sessions.list();
    assert!(rows.iter().all(|row| (row.state, row.player.is_some()) == (SessionPhase::Live, true)), "{rows:?}");
}

#[tokio::test]
async fn the_end_of_the_process_opens_nothing_more() {
    let mut stage = Stage::new(brief());
    stage.play(1).await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    let close = stage.asked().await;
    let held = stage.wait(2);
    while stage.sessions.list().len() < 2 {
        tokio::task::yield_now().await;
    }
    let sessions = stage.sessions.clone();
    let told = async {
        assert_eq!(
            held.await.expect("an admission").answer.refusal(),
            Some(&SessionRefusal::Ended(EndReason::Drained))
        );
        assert_eq!(close.yes(HOUR), AskKind::Close);
    };
    let (left, ()) = tokio::join!(sessions.drain(EndReason::Drained, HOUR), told);
    assert_eq!(left, 0);
    stage.emptied().await;
    assert!(stage.asked.try_recv().is_err());
}

#[tokio::test]
async fn the_end_of_the_process_tries_a_lost_close_again() {
    let mut stage = Stage::new(Policy { retries: [SHORT, SHORT], ..brief() });
    stage.play(1).await;
    let sessions = stage.sessions.clone();
    let told = async {
        let reason = Reason::without_reply("lost");
        stage.asked().await.say(Err(AuthorityFault { kind: FaultKind::Timeout, reason }));
        stage.grant(AskKind::Close).await;
    };
    let (left, ()) = tokio::join!(sessions.drain(EndReason::Drained, HOUR), told);
    assert_eq!(left, 0);
    stage.emptied().await;
}

/// Lost twice, nobody waits for it any more; its place at the authority is taken all the same.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_has_a_lingering_close_tried_once_more() {
    let lost = || Err(AuthorityFault { kind: FaultKind::Timeout, reason: Reason::without_reply("lost") });
    for (killed, answered) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut stage = Stage::new(Policy::default());
        let id = stage.play(1).await;
        let end =
            if killed { Input::Kill(Reason::new(403, None, "no").into()) } else { Input::End(EndReason::Stopped) };
        stage.sessions.deliver(key(), id, end);
        for _ in 0..2 {
            stage.asked().await.say(lost());
        }
        // The answer arrives; the next try would be seconds away.
        tokio::time::sleep(SHORT).await;
        let (sessions, began) = (stage.sessions.clone(), Clock.now());
        let told = async {
            let close = stage.asked().await;
            assert_eq!((close.ask.kind, Clock.now() - began < Duration::from_secs(1)), (AskKind::Close, true));
            close.say(if answered { Ok(Verdict::Closed) } else { lost() });
        };
        let (left, ()) = tokio::join!(sessions.drain(EndReason::Drained, HOUR), told);
        assert_eq!(left, usize::from(!answered), "killed: {killed}");
        stage.tasks.stop();
    }
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_a_renewal_and_closes_with_its_token() {
    let mut stage = Stage::new(brief());
    let id = stage.play(1).await;
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let admission = stage.sessions.admit(key(), &renewal, &stage.context, Clock.now() + HOUR).await;
    let CallAnswer::Renew(_, ticket) = admission.answer else { panic!("{admission:?}") };
    let sessions = stage.sessions.clone();
    let told = async {
        tokio::time::sleep(SHORT).await;
        let alive =
            Verdict::Alive { interval: None, lifetime: None, schedule: None, token: Some(Secret::new("renewed")) };
        assert!(stage.sessions.answered(key(), id, ticket, AskKind::Renew, Ok(alive)));
        let close = stage.asked().await;
        assert_eq!(close.ask.grant.as_ref().map(|grant| grant.token.expose()), Some("renewed"));
        assert_eq!(close.yes(HOUR), AskKind::Close);
    };
    let (left, ()) = tokio::join!(sessions.drain(EndReason::Drained, HOUR), told);
    assert_eq!(left, 0);
}

/// The playback goes on without a session. The close of its old one belongs to none, and is awaited in any case.
#[tokio::test]
async fn the_end_of_the_process_waits_for_a_close_that_no_session_looks_after() {
    let mut stage = Stage::new(Policy { counts_ended: true, ..brief() });
    let id = stage.play(1).await;
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let admission = stage.sessions.admit(key(), &renewal, &stage.context, Clock.now() + HOUR).await;
    let CallAnswer::Renew(_, ticket) = admission.answer else { panic!("{admission:?}") };
    assert!(stage.sessions.answered(key(), id, ticket, AskKind::Renew, Ok(Verdict::Disabled)));
    let close = stage.asked().await;
    let sessions = stage.sessions.clone();
    let mut left = std::pin::pin!(sessions.drain(EndReason::Drained, HOUR));
    let early = tokio::time::timeout(SHORT * 5, &mut left).await;
    assert!(early.is_err(), "its place is still taken");
    assert_eq!(close.yes(HOUR), AskKind::Close);
    assert_eq!(left.await, 0);
}

#[tokio::test]
async fn a_shared_session_takes_no_place_among_those_that_play_by_a_token() {
    let mut stage = Stage::new(Policy { shares_session: true, ..Policy::default() });
    stage.play(1).await;
    stage.admit(2, HOUR).await.session.expect("a session");
    assert_eq!(stage.sessions.index.tokens.len(), 2);
    stage.tasks.stop();
}

#[tokio::test]
async fn a_shared_session_gets_the_token_of_a_renewal_whose_picture_is_forgotten() {
    let mut stage = Stage::new(Policy { shares_session: true, ..Policy::default() });
    let asks = stage.play(1).await;
    let stays = stage.admit(2, HOUR).await.session.expect("a session");
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let admission = stage.sessions.admit(key(), &renewal, &stage.context, Clock.now() + HOUR).await;
    let CallAnswer::Renew(_, ticket) = admission.answer else { panic!("{admission:?}") };
    assert!(stage.sessions.leave(key(), asks, None, FarewellSignal::Stop));
    let again = stage.wait(1);
    let forgotten = async {
        while stage.sessions.policy(key(), asks).is_some() {
            tokio::time::sleep(SHORT / 4).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), forgotten).await.expect("it makes room");
    let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: Some(Secret::new("renewed")) };
    assert!(stage.sessions.answered(key(), asks, ticket, AskKind::Renew, Ok(alive)));
    let token = |grant: Grant| grant.token.expose().to_owned();
    assert_eq!(stage.sessions.last_grant(key(), stays).map(token).as_deref(), Some("renewed"));
    assert!(matches!(again.await.expect("an admission").answer, CallAnswer::Forward(_)));
    stage.tasks.stop();
}

#[tokio::test]
async fn a_session_that_stays_open_gets_the_token_of_the_renewal_under_way() {
    let mut stage = Stage::new(brief());
    let id = stage.play(1).await;
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let admission = stage.sessions.admit(key(), &renewal, &stage.context, Clock.now() + HOUR).await;
    let CallAnswer::Renew(_, ticket) = admission.answer else { panic!("{admission:?}") };
    let sessions = stage.sessions.clone();
    let mut left = std::pin::pin!(sessions.leave_open(HOUR));
    let early = tokio::time::timeout(SHORT * 3, &mut left).await;
    assert!(early.is_err(), "nobody else could write the answer down");
    let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: Some(Secret::new("renewed")) };
    assert!(stage.sessions.answered(key(), id, ticket, AskKind::Renew, Ok(alive)));
    assert_eq!(left.await, 1);
}

#[tokio::test]
async fn sessions_that_stay_open_wait_for_the_calls_under_way() {
    let mut stage = Stage::new(brief());
    let waits = stage.wait(1);
    let open = stage.asked().await;
    let sessions = stage.sessions.clone();
    let mut left = std::pin::pin!(sessions.leave_open(HOUR));
    let early = tokio::time::timeout(SHORT * 5, &mut left).await;
    assert!(early.is_err(), "nobody else could write the answer down");
    assert_eq!(open.yes(HOUR), AskKind::Open);
    assert_eq!(left.await, 1);
    assert!(matches!(waits.await.expect("an admission").answer, CallAnswer::Forward(_)));
}

#[tokio::test]
async fn every_state_is_counted_empty_or_not() {
    let policy = Policy { on_unreachable: owing(), ..brief() };
    let mut stage = Stage::new(policy);
    let names: Vec<_> = stage.sessions.states().into_keys().collect();
    let waits = stage.wait(1);
    let reason = Reason::without_reply("nobody is there");
    stage.asked().await.say(Err(AuthorityFault { kind: FaultKind::Unreachable, reason }));
    assert_eq!(waits.await.expect("an admission").answer, CallAnswer::Pass);
    let states = stage.sessions.states();
    assert_eq!(states.get(&SessionPhase::Owing), Some(&1));
    assert_eq!((stage.sessions.on_credit(stage.context.authority), stage.sessions.counts_are_exact()), (1, true));
    assert_eq!(states.into_keys().collect::<Vec<_>>(), names);
}

fn owing() -> OnUnreachable {
    let allowed = OutageBudget { live: HOUR, vod: HOUR };
    OnUnreachable { new: allowed, running: allowed }
}

/// Else it could still be under way when the core, which has given it up, sends the next one.
#[tokio::test(start_paused = true)]
async fn an_open_is_not_made_again_after_the_player_has_given_up() {
    let mut stage = Stage::new(Policy { sessions_per_device: 2, ..Policy::default() });
    stage.play(1).await;
    assert_eq!(stage.sessions.stop(key(), Some(Fingerprint::new(1))), 1);
    let close = stage.asked().await;
    let waits = stage.wait(2);
    let open = stage.asked().await;
    tokio::time::sleep(opening::MAX_OPEN_RETRY_AGE).await;
    assert_eq!(close.yes(HOUR), AskKind::Close);
    open.say(Ok(Verdict::Denied(Denial::Limit, Reason::new(403, None, "too many"))));
    assert!(matches!(waits.await.expect("an admission").answer.refusal(), Some(SessionRefusal::Denied(..))));
    assert!(stage.asked.try_recv().is_err());
    stage.tasks.stop();
}

#[tokio::test]
async fn the_end_of_the_process_waits_no_longer_than_its_grace() {
    let mut stage = Stage::new(brief());
    stage.play(1).await;
    assert_eq!(stage.sessions.drain(EndReason::Drained, SHORT).await, 1);
    stage.grant(AskKind::Close).await;
}

#[tokio::test]
async fn a_grant_that_comes_when_all_is_forgotten_is_given_back() {
    let mut stage = Stage::new(Policy { call_timeout: SHORT, ..brief() });
    let waits = stage.wait(1);
    let open = stage.asked().await;
    assert!(matches!(waits.await.expect("an admission").answer.refusal(), Some(SessionRefusal::Unreachable(_))));
    stage.emptied().await;
    assert_eq!(open.yes(HOUR), AskKind::Open);
    stage.grant(AskKind::Close).await;
}

#[tokio::test(start_paused = true)]
async fn an_orphaned_grant_is_given_back_when_the_authority_is_there_again() {
    let away =
        || Err(AuthorityFault { kind: FaultKind::Unreachable, reason: Reason::without_reply("nobody is there") });
    for late in [false, true] {
        let mut stage = Stage::new(Policy { call_timeout: SHORT, ..brief() });
        let waits = stage.wait(1);
        let open = stage.asked().await;
        assert!(matches!(waits.await.expect("an admission").answer.refusal(), Some(SessionRefusal::Unreachable(_))));
        if late {
            stage.emptied().await;
        }
        assert_eq!(open.yes(HOUR), AskKind::Open);
        for _ in 0..3 {
            let close = stage.asked().await;
            assert_eq!(close.ask.kind, AskKind::Close);
            close.say(away());
        }
        stage.grant(AskKind::Close).await;
        // It is done: nothing more is asked.
        assert!(tokio::time::timeout(HOUR * 2, stage.asked.recv()).await.is_err());
    }
}

#[tokio::test]
async fn a_call_that_cannot_set_out_in_time_is_busy_and_is_not_made() {
    let mut stage = Stage::with_pump(brief(), |dispatcher| dispatcher.stall_timeout = SHORT);
    let permits = stage.sessions.dispatcher.permits.clone();
    let all = permits.acquire_many(AuthorityDispatcher::MAX_AUTHORITY_CALLS as u32).await.expect("open");
    let admission = stage.admit(1, HOUR).await;
    assert!(
        matches!(
            admission.answer.refusal(),
            Some(SessionRefusal::Unreachable(AuthorityFault { kind: FaultKind::Busy, .. }))
        ),
        "{admission:?}"
    );
    drop(all);
    assert!(stage.asked.try_recv().is_err());
    // The timer was held up by the full dispatcher as well.
    stage.emptied().await;
}

/// Players on threads of their own against an authority on another: no wake is lost, whatever meets.
#[test]
fn no_wake_is_lost_between_threads() {
    const PLAYERS: u64 = 4;
    const ROUNDS: u64 = 300;
    let control = runtime();
    let mut stage = {
        let _inside = control.enter();
        Stage::new(Policy { settle: [Duration::ZERO; 2], ..brief() })
    };
    let barrier = Arc::new(Barrier::new(PLAYERS as usize));
    let players: Vec<_> = (0..PLAYERS)
        .map(|player| {
            let (sessions, context, barrier) = (stage.sessions.clone(), stage.context.clone(), barrier.clone());
            std::thread::spawn(move || {
                let own = runtime();
                for round in 1..=ROUNDS {
                    barrier.wait();
                    // Every fourth player of every third round zaps the others.
                    let token = if player == 0 && round % 3 == 0 { round + ROUNDS } else { round };
                    let deadline = Clock.now() + Duration::from_secs(20);
                    let admission = own.block_on(sessions.admit(key(), &license(token), &context, deadline));
                    admission.session.map(|id| sessions.deliver(key(), id, Input::Used));
                    let late = matches!(admission.answer.refusal(), Some(SessionRefusal::Unreachable(_)));
                    assert!(!late, "round {round}: {admission:?}");
                }
            })
        })
        .collect();
    let watch = std::thread::spawn(move || players.into_iter().for_each(|player| player.join().expect("in time")));
    let opens = control.block_on(async {
        let mut opens = 0;
        while !watch.is_finished() {
            let next = tokio::time::timeout(SHORT, stage.asked.recv()).await;
            let Ok(Some(open)) = next else { continue };
            opens += u64::from(open.yes(HOUR) == AskKind::Open);
        }
        opens
    });
    watch.join().expect("no player waited in vain");
    assert!((ROUNDS..=ROUNDS * 3).contains(&opens), "{opens} opens");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

const WALL: Duration = Duration::from_secs(1_800_000_000);

#[tokio::test(start_paused = true)]
async fn a_session_that_ran_out_while_the_machine_slept_was_not_killed() {
    for player_first in [false, true] {
        let clock = Clock::steered(WALL);
        let mut stage = Stage::by(clock, Policy::default(), None, |_| {});
        stage.play(1).await;
        clock.suspend(HOUR * 2);
        if player_first {
            // Before the timer could look.
            assert!(matches!(stage.admit(1, HOUR).await.answer, CallAnswer::Forward(_)));
        }
        let woke = clock.now();
        let beat = tokio::time::timeout(HOUR / 2, stage.asked.recv()).await.expect("soon").expect("a call");
        assert_eq!(beat.ask.kind, AskKind::Beat);
        assert!(clock.now() - woke <= Duration::from_secs(11), "due at once: {:?}", clock.now() - woke);
        beat.say(Ok(Verdict::Unknown(Reason::new(404, Some(3002), "Not Found"))));
        stage.until("no longer live", |row| row.state != SessionPhase::Live).await;
        assert_eq!(stage.sessions.list()[0].state, SessionPhase::Closed);
        assert_eq!(killed(&stage.sessions, 1), None);
        stage.tasks.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn the_timer_wakes_up_at_deadlines_alone() {
    let parks = || Handle::current().metrics().worker_park_count(0);
    // A look each 5 s would be 360, and each is several turns of the runtime's wheel.
    let sleeps = async || {
        let before = parks();
        tokio::time::sleep(HOUR / 2).await;
        (parks() - before) < 300
    };
    let mut stage = Stage::new(Policy::default());
    assert!(sleeps().await, "without a session");
    stage.play(1).await;
    assert!(sleeps().await, "with a session whose beat is due later");
    stage.tasks.stop();
}

/// The call was on its way while the machine slept, and lasts from now on.
#[tokio::test(start_paused = true)]
async fn a_license_that_comes_after_a_sleep_lasts_from_then_on() {
    let clock = Clock::steered(WALL);
    let mut stage = Stage::by(clock, Policy::default(), None, |_| {});
    let id = stage.play(1).await;
    clock.suspend(HOUR);
    stage.sessions.licensed(key(), id, crate::session::LicenseFeedback::Stays, (Fingerprint::new(9), Some(HOUR)));
    stage.grant(AskKind::Beat).await;
    tokio::time::sleep(HOUR / 2).await;
    assert_eq!(stage.sessions.list()[0].state, SessionPhase::Live, "it plays on");
    stage.tasks.stop();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_a_sleep_is_read_in_its_light() {
    let clock = Clock::steered(WALL);
    let mut stage = Stage::by(clock, Policy::default(), None, |_| {});
    stage.play(1).await;
    let beat = tokio::time::timeout(HOUR * 2, stage.asked.recv()).await.expect("due").expect("a call");
    clock.suspend(HOUR);
    beat.say(Ok(Verdict::Unknown(Reason::new(404, Some(3002), "Not Found"))));
    stage.until("no longer live", |row| row.state != SessionPhase::Live).await;
    assert_eq!(killed(&stage.sessions, 1), None);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_moves_no_deadline_and_ends_nothing() {
    const DAY_MS: i64 = 86_400_000;
    let clock = Clock::steered(WALL);
    let mut stage = Stage::by(clock, Policy::default(), None, |_| {});
    stage.play(1).await;
    let mut due = clock.now() + HOUR;
    for by in [DAY_MS, -DAY_MS, -DAY_MS, DAY_MS, DAY_MS] {
        clock.step_wall(by);
        assert!(matches!(stage.admit(1, HOUR).await.answer, CallAnswer::Forward(_)));
        let beat = tokio::time::timeout(HOUR * 2, stage.asked.recv()).await.expect("due").expect("a call");
        let late = clock.now().checked_duration_since(due).expect("not early");
        assert!(late <= Policy::MAX_BEAT_LATENESS, "{late:?} late after a jump by {by} ms");
        due = clock.now() + HOUR;
        assert_eq!(beat.yes(HOUR), AskKind::Beat);
        stage.until("confirmed", |row| row.last_good.is_some_and(|since| since <= SHORT)).await;
        assert_eq!(stage.sessions.list()[0].state, SessionPhase::Live);
    }
}
