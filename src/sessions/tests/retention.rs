//! The memory of sessions that are over, and its bounds.

use super::*;
use crate::session::KillSource;

impl Stage {
    fn with_token(policy: Policy) -> Self {
        let mut stage = Self::new(policy);
        let context =
            SessionContext { token: Some(Secret::new("t".repeat(32 * 1024))), ..SessionContext::clone(&stage.context) };
        stage.context = Arc::new(context);
        stage
    }

    /// The device's first call, answered so.
    async fn open_as(&mut self, device: u64, verdict: Verdict) -> Admission {
        let waits = self.wait_of(DeviceKey(device), device);
        self.asked().await.say(Ok(verdict));
        waits.await.expect("an admission")
    }

    async fn refuse(&mut self, device: u64) {
        let verdict = Verdict::Denied(Denial::Limit, Reason::new(403, None, "too many"));
        assert!(self.open_as(device, verdict).await.answer.refusal().is_some());
    }

    async fn kill(&mut self, device: u64, by: KillSource) {
        let grant = Grant { interval: HOUR, lifetime: None, token: Secret::new("session") };
        let id = self.open_as(device, Verdict::Granted(grant)).await.session.expect("a session");
        let reason = Reason::new(403, None, "killed").wanted_by(by);
        self.sessions.deliver(DeviceKey(device), id, Input::Kill(reason.into()));
        self.grant(AskKind::Close).await;
        // The answer is taken in by a task.
        let closed = async {
            while self.sessions.row(id).is_some_and(|row| row.state != SessionPhase::Killed)
                || self.is_owed_a_close(device)
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("its close is answered");
    }

    fn is_owed_a_close(&self, device: u64) -> bool {
        let owed = |device: &crate::session::Device<SessionEntry>| {
            device.playbacks().iter().any(|p| p.session.is_owed_a_close())
        };
        self.sessions.table.look(DeviceKey(device), owed).unwrap_or_default()
    }

    fn holds_a_token(&self) -> bool {
        self.sessions.list()[0].context.token.is_some()
    }

    fn displaced(&self, state: &str) -> Option<u64> {
        let page = self.sessions.telemetry.metrics.render(|_| {});
        let name = format!("sidebeat_sessions_displaced_total{{state=\"{state}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    }

    fn knows(&self, device: u64) -> bool {
        self.sessions.list().iter().any(|row| self.sessions.index.device_of(row.id) == Some(DeviceKey(device)))
    }
}

fn long() -> Policy {
    Policy { refusal_memory: HOUR, end_memory: HOUR, kill_memory: HOUR, ..Policy::default() }
}

#[tokio::test]
async fn a_session_that_is_over_keeps_no_content_token_and_one_that_may_go_on_does() {
    let mut refused = Stage::with_token(long());
    refused.refuse(1).await;
    assert!(!refused.holds_a_token(), "refused");

    let mut stopped = Stage::with_token(long());
    let id = stopped.play(1).await;
    assert!(stopped.holds_a_token(), "it plays");
    stopped.sessions.stop_all(key());
    let close = stopped.asked().await;
    assert!(stopped.holds_a_token(), "its close is under way");
    close.yes(HOUR);
    stopped.until("closed", |row| row.state == SessionPhase::Closed).await;
    assert_eq!((stopped.holds_a_token(), stopped.sessions.list()[0].id), (false, id), "stopped");

    let mut killed = Stage::with_token(long());
    killed.kill(1, KillSource::Operator).await;
    assert!(!killed.holds_a_token(), "killed");

    let mut unmanaged = Stage::with_token(long());
    assert_eq!(unmanaged.open_as(1, Verdict::Disabled).await.answer, CallAnswer::Pass);
    assert!(unmanaged.holds_a_token(), "its calls go on with it");
    for stage in [refused, stopped, killed, unmanaged] {
        stage.tasks.stop();
    }
}

#[tokio::test]
async fn refused_opens_are_remembered_up_to_a_bound_and_the_oldest_goes_and_is_counted() {
    let mut stage = Stage::new(long());
    let (most, more) = (MAX_ENDED_SESSIONS_REMEMBERED as u64, 20);
    for device in 1..=most + more {
        stage.refuse(device).await;
    }
    assert_eq!(
        (stage.sessions.states()[&SessionPhase::Closed], stage.displaced("ended")),
        (MAX_ENDED_SESSIONS_REMEMBERED, Some(more))
    );
    assert_eq!([1, more, more + 1, most + more].map(|device| stage.knows(device)), [false, false, true, true]);
    assert!(stage.sessions.counts_are_exact());
    stage.tasks.stop();
}

#[tokio::test]
async fn kills_are_remembered_up_to_a_bound_and_the_oldest_goes_with_its_tokens() {
    let mut stage = Stage::new(long());
    let (most, more) = (MAX_ENDED_SESSIONS_REMEMBERED as u64, 3);
    for device in 1..=most + more {
        stage.kill(device, KillSource::Authority).await;
    }
    assert_eq!(
        (stage.sessions.states()[&SessionPhase::Killed], stage.displaced("killed")),
        (MAX_ENDED_SESSIONS_REMEMBERED, Some(more))
    );
    let is_killed = |device| stage.sessions.killed("test", None, &license(device).names()).is_some();
    assert_eq!([1, more, more + 1, most + more].map(is_killed), [false, false, true, true]);
    stage.tasks.stop();
}

/// Two devices of a household can take each other's place for ever.
#[tokio::test]
async fn places_that_went_to_other_devices_displace_no_kill() {
    let mut stage = Stage::new(long());
    stage.kill(1, KillSource::Operator).await;
    let (most, more) = (MAX_REPLACED_SESSIONS_REMEMBERED as u64, 3);
    for device in 2..=most + more + 1 {
        stage.kill(device, KillSource::Successor).await;
    }
    assert_eq!((stage.displaced("replaced"), stage.displaced("killed")), (Some(more), None));
    assert!(stage.sessions.killed("test", None, &license(1).names()).is_some());
    stage.tasks.stop();
}

#[tokio::test]
async fn no_more_sessions_than_the_bound_begin_and_those_that_play_go_on() {
    let mut stage = Stage::new(long());
    stage.sessions.bound(2);
    stage.kill(1, KillSource::Authority).await;
    let grant = || Verdict::Granted(Grant { interval: HOUR, lifetime: None, token: Secret::new("session") });
    for device in [2, 3] {
        assert!(matches!(stage.open_as(device, grant()).await.answer, CallAnswer::Forward(_)));
    }
    let refused = stage.admit_of(DeviceKey(4), 4, HOUR).await;
    let is_busy = matches!(
        refused.answer.refusal(),
        Some(SessionRefusal::Unreachable(AuthorityFault { kind: FaultKind::Busy, .. }))
    );
    assert!(is_busy && refused.session.is_none(), "{refused:?}");
    assert!(matches!(stage.admit_of(DeviceKey(2), 2, HOUR).await.answer, CallAnswer::Forward(_)));
    stage.sessions.stop_all(DeviceKey(3));
    stage.grant(AskKind::Close).await;
    let ended = async {
        while stage.sessions.states()[&SessionPhase::Closing] > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("closed");
    assert!(matches!(stage.open_as(4, grant()).await.answer, CallAnswer::Forward(_)), "there is room again");
    stage.tasks.stop();
}
