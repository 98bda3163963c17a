//! The example on real sockets: what each reply becomes, and what a session makes of it.

use std::collections::VecDeque;
use std::path::Path;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::*;
use crate::authority::testing::settings;
use crate::authority::{Authorities, Authority, AuthorityClient};
use crate::clock::Clock;
use crate::config::DeviceSource;
use crate::secret::Fingerprint;
use crate::session::{CallAnswer, CallKind, KillSource, OpenAbility, PlayerCall, PlayerFacts, Policy, SessionRefusal};
use crate::sessions::{AskAuthority, AuthorityDispatcher, DeviceKey, LivePolicy, SessionRoute, Sessions, pace};
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::time::EpochTime;
use crate::upstream::{ConnectionPool, Trust};

const LATEST: Duration = Duration::from_secs(10);

/// A reply of the service: 202 with a session and its end, or another status with a body.
fn granted(session: &str) -> String {
    let now = SystemTime::UNIX_EPOCH + Clock.wall();
    let (date, expires) = (httpdate::fmt_http_date(now), httpdate::fmt_http_date(now + Duration::from_secs(20)));
    format!(
        "HTTP/1.1 202 Accepted\r\nlocation: {session}\r\ndate: {date}\r\nexpires: {expires}\r\ncontent-length: 0\r\n\r\n"
    )
}

fn status(status: u16, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Said\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
}

/// A service that gives these replies in turn, and tells the first line of each request.
struct Service {
    asked: mpsc::UnboundedReceiver<String>,
    tasks: Tasks,
    url: String,
}

impl Service {
    async fn new(replies: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v2/sessions", listener.local_addr().unwrap());
        let ((tell, asked), (tasks, _deaths)) = (mpsc::unbounded_channel(), Tasks::new());
        tasks.spawn(async move {
            let mut replies = VecDeque::from(replies);
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &mut replies, &tell).await;
            }
        });
        Self { asked, tasks, url }
    }

    async fn asked(&mut self) -> String {
        tokio::time::timeout(LATEST, self.asked.recv()).await.expect("a request in time").expect("a service")
    }
}

async fn serve(mut stream: TcpStream, replies: &mut VecDeque<String>, tell: &mpsc::UnboundedSender<String>) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            head.clear();
            let _gone = tell.send(line);
            let Some(reply) = replies.pop_front() else { return };
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    }
}

struct Stage {
    context: Arc<SessionContext>,
    client: AuthorityClient,
    kills: ExampleKillSenders,
    service: Service,
}

impl Stage {
    async fn new(replies: Vec<String>) -> Self {
        let service = Service::new(replies).await;
        let kind = settings(&format!("kind = \"example\"\nsetup-url = \"{}\"", service.url)).remove(0).kind;
        let AuthorityKind::Example(config) = kind else { panic!("another kind") };
        let dialect = ExampleDialect::new(config);
        let kills = dialect.kills.clone();
        let authority = Authority::speaking(Box::new(dialect), "a".into(), crate::config::SessionUnit::Playback);
        let (pace, policy) = (authority.pace(), authority.refine(Policy::default()));
        assert_eq!(pace, (1.0, Policy::default().grace), "an authority without peculiarities");
        let of_route = Arc::new(SessionRoute {
            authority: authority.id,
            authority_name: authority.name.clone(),
            dialect: authority.dialect(),
            error_name: authority.error_name(),
            // A beat after 40 ms: the wire says intervals in whole seconds.
            policy: Arc::new(LivePolicy::new(Policy { fraction: 0.002, ..policy })),
            route: "/".into(),
        });
        let context = Arc::new(SessionContext {
            account: None,
            content: None,
            device: "tv".into(),
            groups: None,
            kill_memory: None,
            network: Fingerprint::default(),
            of_route,
            opened: EpochTime::default(),
            registration: None,
            device_source: DeviceSource::Header,
            schedule: None,
            stream: None,
            token: Some(Secret::new("content-token")),
        });
        let authorities = Authorities::with(vec![authority]);
        let pool = ConnectionPool::new(service.tasks.clone(), Clock, Trust::public().unwrap());
        let client = AuthorityClient::new(authorities, Clock, pool, Arc::new(Telemetry::default()));
        Self { context, client, kills, service }
    }

    async fn ask(&self, kind: AskKind) -> Result<Verdict, AuthorityFault> {
        let grant = Grant { interval: LATEST, lifetime: None, token: Secret::new("s1") };
        let grant = Some(grant).filter(|_| kind != AskKind::Open);
        let ask = AuthorityAsk {
            beside: None,
            grant,
            kind,
            ticket: crate::session::Ticket::Session(1),
            told: PlayerFacts::default(),
        };
        self.client.ask(&ask, &self.context).await
    }

    fn sessions(&self) -> Arc<Sessions> {
        let tasks = &self.service.tasks;
        let dispatcher = AuthorityDispatcher::new(Arc::new(self.client.clone()), Handle::current(), tasks.clone());
        let sessions = Sessions::new(Clock, dispatcher, Arc::default());
        self.client.serve(&sessions);
        tasks.spawn(pace(sessions.clone(), tasks.clone()));
        sessions
    }

    fn key(&self) -> DeviceKey {
        DeviceKey::new(&self.context.authority_name, self.context.device_source, &self.context.device)
    }

    /// The license server's answer to the player's call.
    async fn call(&self, sessions: &Arc<Sessions>) -> CallAnswer {
        let admission = sessions.admit(self.key(), &license(), &self.context, Clock.now() + LATEST).await;
        if let (CallAnswer::Forward(_), Some(id)) = (&admission.answer, admission.session) {
            sessions.accept(self.key(), id, &license());
            sessions.used(self.key(), license().token.unwrap());
        }
        admission.answer
    }
}

fn license() -> PlayerCall {
    let token = Some(Secret::new("content-token").fingerprint());
    let kind = CallKind::License;
    PlayerCall { content: None, content_token: token, key_session: None, kind, opens: OpenAbility::Yes, token }
}

/// A new authority touches what the documents say, and no other file.
#[test]
fn the_documents_name_each_file_that_a_dialect_touches() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chapter = std::fs::read_to_string(root.join("docs/authorities.md")).unwrap();
    let (_, chapter) = chapter.split_once("## Another authority").unwrap();
    let (mut folders, mut touched) = (vec![root.join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
            if path.is_dir() {
                folders.push(path);
            } else if !is_test
                && std::fs::read_to_string(&path)
                    .is_ok_and(|text| text.contains("Example") || text.contains("mod example;"))
            {
                touched.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    assert!(touched.len() > 4, "{touched:?}");
    let unnamed: Vec<_> = touched.iter().filter(|path| !chapter.contains(&format!("](../{path})"))).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

type Fits = Box<dyn Fn(&Result<Verdict, AuthorityFault>) -> bool>;

#[tokio::test]
async fn each_reply_has_its_meaning() {
    let terminated = r#"{"terminator":{"deviceName":"Living room"}}"#;
    let by_another = Reason::new(410, None, "Gone").taken_by("Living room");
    let rows: Vec<(AskKind, String, &str, Fits)> = vec![
        (
            AskKind::Open,
            granted("/v2/sessions/s1"),
            "POST /v2/sessions ",
            Box::new(|said| {
                matches!(said, Ok(Verdict::Granted(grant))
                if grant.token.expose() == "s1" && grant.interval == Duration::from_secs(20))
            }),
        ),
        (
            AskKind::Open,
            status(202, "", ""),
            "POST /v2/sessions ",
            Box::new(|said| matches!(said, Err(AuthorityFault { kind: FaultKind::Malformed, .. }))),
        ),
        (
            AskKind::Open,
            status(409, "", ""),
            "POST /v2/sessions ",
            Box::new(|said| matches!(said, Ok(Verdict::Denied(Denial::Limit, _)))),
        ),
        (
            AskKind::Beat,
            granted("ignored"),
            "POST /v2/sessions/s1 ",
            Box::new(|said| {
                matches!(said, Ok(Verdict::Alive { interval: Some(interval), token: None, .. })
                if *interval == Duration::from_secs(20))
            }),
        ),
        (
            AskKind::Beat,
            status(409, "", ""),
            "POST /v2/sessions/s1 ",
            Box::new(|said| matches!(said, Ok(Verdict::Killed(reason)) if reason.killed_by == KillSource::Authority)),
        ),
        (
            AskKind::Beat,
            status(410, "", terminated),
            "POST /v2/sessions/s1 ",
            Box::new(move |said| *said == Ok(Verdict::Killed(by_another.clone()))),
        ),
        (
            AskKind::Beat,
            status(410, "", ""),
            "POST /v2/sessions/s1 ",
            Box::new(|said| matches!(said, Ok(Verdict::Gone(_)))),
        ),
        (
            AskKind::Beat,
            status(503, "retry-after: 7\r\n", ""),
            "POST /v2/sessions/s1 ",
            Box::new(|said| {
                matches!(said, Err(AuthorityFault { kind: FaultKind::Refused, reason })
                if reason.retry_after == Some(Duration::from_secs(7)))
            }),
        ),
        (
            AskKind::Beat,
            status(418, "", ""),
            "POST /v2/sessions/s1 ",
            Box::new(|said| matches!(said, Err(AuthorityFault { kind: FaultKind::Malformed, .. }))),
        ),
        (AskKind::Close, status(410, "", ""), "DELETE /v2/sessions/s1 ", Box::new(|said| *said == Ok(Verdict::Closed))),
    ];
    let mut stage = Stage::new(rows.iter().map(|(_, reply, ..)| reply.clone()).collect()).await;
    for (kind, reply, line, fits) in rows {
        let said = stage.ask(kind).await;
        let asked = stage.service.asked().await;
        assert!(asked.starts_with(line), "{kind:?}: {asked}");
        assert!(fits(&said), "{kind:?} {reply}: {said:?}");
    }
}

/// Nothing of it reaches the viewer: the player's next call goes on under the other session.
#[tokio::test]
async fn a_session_that_is_let_go_of_is_opened_again_without_a_word() {
    let mut stage = Stage::new(vec![granted("s1"), status(410, "", ""), granted("s2")]).await;
    let sessions = stage.sessions();
    assert!(matches!(stage.call(&sessions).await, CallAnswer::Forward(grant) if grant.token.expose() == "s1"));
    for line in ["POST /v2/sessions ", "POST /v2/sessions/s1 ", "POST /v2/sessions "] {
        let asked = stage.service.asked().await;
        assert!(asked.starts_with(line), "{asked}");
    }
    assert!(matches!(stage.call(&sessions).await, CallAnswer::Forward(grant) if grant.token.expose() == "s2"));
}

#[tokio::test]
async fn a_session_that_may_not_be_opened_again_has_met_a_limit() {
    let mut stage = Stage::new(vec![granted("s1"), status(410, "", ""), status(409, "", "")]).await;
    let sessions = stage.sessions();
    assert!(matches!(stage.call(&sessions).await, CallAnswer::Forward(_)));
    for _ in 0..3 {
        stage.service.asked().await;
    }
    let refused = stage.call(&sessions).await;
    assert!(matches!(refused, CallAnswer::Refuse(SessionRefusal::Denied(Denial::Limit, _))), "{refused:?}");
}

/// A kill that the authority pushes needs no beat, and sends no close: the authority has ended the session.
#[tokio::test]
async fn a_pushed_kill_ends_its_session_and_no_other() {
    let mut stage = Stage::new(vec![granted("s1")]).await;
    let long = Policy::default();
    stage.context.policy.change(long);
    let sessions = stage.sessions();
    assert!(matches!(stage.call(&sessions).await, CallAnswer::Forward(_)));
    stage.service.asked().await;
    let kills = stage.kills.lock().unwrap().pop().expect("the session plays");
    let another = Grant { interval: LATEST, lifetime: None, token: Secret::new("s0") };
    let of_another = PushedKills::of(Arc::downgrade(&sessions), &stage.context, &another);
    let reason = Reason::without_reply("TAKE_OVER").taken_by("Kitchen");
    assert!(!of_another.push(&reason), "an earlier session of the device");
    assert!(matches!(stage.call(&sessions).await, CallAnswer::Forward(_)));
    assert!(kills.push(&reason));
    let refused = stage.call(&sessions).await;
    assert!(
        matches!(&refused, CallAnswer::Refuse(SessionRefusal::Killed(by)) if by.reason().taken_by.as_deref() == Some("Kitchen")),
        "{refused:?}"
    );
    assert!(stage.service.asked.try_recv().is_err(), "nothing is closed");
}
