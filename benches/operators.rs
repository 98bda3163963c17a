//! Measures how late beats are while operators read long lists.
//!
//! One thread serves 100,000 sessions of an embedded authority, and operators have a thread of their own, as in
//! `sidebeat run`. The first phase is quiet; then operators list all sessions and all places, page after page, and
//! scrape the metrics, without a pause. `-- --write` puts the figures into `benches/README.md`.

mod setup;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::iter;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sidebeat::admin::{self, Admin};
use sidebeat::authority::{Authorities, AuthorityClient};
use sidebeat::clock::Clock;
use sidebeat::config::DeviceSource;
use sidebeat::edge::EdgeCounters;
use sidebeat::secret::Fingerprint;
use sidebeat::session::{AskKind, AuthorityAsk, Grant, Policy};
use sidebeat::sessions::{AskAuthority, AuthorityDispatcher, DeviceKey, SessionContext, Sessions, VerdictFuture, pace};
use sidebeat::store::DialectName;
use sidebeat::task::Tasks;
use sidebeat::telemetry::Telemetry;
use sidebeat::upstream::{ConnectionPool, Trust};
use tokio::runtime::Handle;

use setup::Outcome;

const SESSIONS: u64 = 100_000;
const INTERVAL: Duration = Duration::from_secs(30);
/// Length of each phase, and of the filling before them.
const PHASE: Duration = INTERVAL;
const READERS: usize = 3;
/// A page that takes longer has failed.
const PAGE_PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\ninterval = \"30s\"\n\
                      sessions-per-account = 2\n\
                      [[route]]\npath = \"/license\"\nlicense-server = \"http://127.0.0.1:9/\"\nauthority = \"home\"\n";

/// The real client; remembers when each session was beaten last, and how late it was by its interval.
struct Timed {
    client: AuthorityClient,
    late: Mutex<Vec<Duration>>,
    last: Mutex<HashMap<String, Instant>>,
}

impl AskAuthority for Timed {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, context: &'a SessionContext) -> VerdictFuture<'a> {
        let now = Clock.now();
        if matches!(ask.kind, AskKind::Beat | AskKind::Open) {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(before) = last.insert(context.device.to_string(), now) {
                let late = now.saturating_duration_since(before + INTERVAL);
                self.late.lock().unwrap_or_else(PoisonError::into_inner).push(late);
            }
        }
        self.client.ask(ask, context)
    }

    fn accepted(&self, grant: &Grant, context: &SessionContext) {
        self.client.accepted(grant, context);
    }
}

struct Late {
    beats: usize,
    counted: u64,
    median: f64,
    most: f64,
    rare: f64,
}

impl Timed {
    fn take(&self, counted: u64) -> Late {
        let mut late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        late.sort_unstable();
        let at = |share: f64| {
            let index = ((late.len() as f64 * share) as usize).min(late.len().saturating_sub(1));
            late.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        Late { beats: late.len(), counted, median: at(0.5), most: at(1.0), rare: at(0.999) }
    }
}

fn beats_late(telemetry: &Telemetry) -> u64 {
    let page = telemetry.metrics.render(|_| {});
    let line = page.lines().find_map(|line| line.strip_prefix("sidebeat_beats_late_total "));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

async fn fill(sessions: &Arc<Sessions>, authorities: &Authorities) -> Outcome<()> {
    let authority = authorities.by_name("home").ok_or("no authority")?;
    let of_route = setup::session_route(&authority.name, DialectName::Embedded, Policy::default());
    let began = Clock.now();
    for number in 0..SESSIONS {
        if number % 64 == 0 {
            tokio::time::sleep_until((began + PHASE.mul_f64(number as f64 / SESSIONS as f64)).into()).await;
        }
        let context = Arc::new(SessionContext {
            account: Some(format!("account-{}", number / 2).into()),
            content: Some(format!("content-{}", number % 500).into()),
            network: Fingerprint::new(number),
            of_route: of_route.clone(),
            ..setup::context(format!("device-{number}"))
        });
        let key = DeviceKey::new("home", DeviceSource::Header, &context.device);
        let admission =
            sessions.admit(key, &setup::call(number), &context, Clock.now() + Duration::from_secs(30)).await;
        if admission.answer.refusal().is_some() {
            return Err(format!("{:?}", admission.answer).into());
        }
        sessions.used(key, Fingerprint::new(number));
    }
    Ok(())
}

/// Reads pages until `stop` is set, and keeps none of them, so that the readers use little of the measured cores.
fn read(address: SocketAddr, number: usize, stop: &AtomicBool, pages: &AtomicUsize) -> Outcome<()> {
    let list = if number.is_multiple_of(2) { "/v1/sessions" } else { "/v1/authorities/home/slots" };
    let mut connection = BufReader::new(TcpStream::connect(address)?);
    connection.get_ref().set_read_timeout(Some(PAGE_PATIENCE))?;
    let mut after = String::new();
    while !stop.load(Ordering::Relaxed) {
        let head = format!("GET {list}?limit=10000{after} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        connection.get_mut().write_all(head.as_bytes())?;
        let page = body(&mut connection)?;
        pages.fetch_add(1, Ordering::Relaxed);
        // The first key of the page, if there is another one.
        let next = page.strip_prefix("{\"next\":\"").and_then(|rest| rest.split('"').next());
        after = next.map(|next| format!("&after={next}")).unwrap_or_default();
    }
    Ok(())
}

fn body(connection: &mut impl BufRead) -> Outcome<String> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.starts_with("http/") && !line.contains(" 200 ") {
            return Err(line.into());
        }
        if let Some(said) = line.strip_prefix("content-length:") {
            length = said.trim().parse()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(String::from_utf8(body)?)
}

async fn measure() -> Outcome<String> {
    let (tasks, _deaths) = Tasks::new();
    let telemetry = Arc::new(Telemetry::default());
    let config =
        sidebeat::config::parse(CONFIG, Path::new("."), iter::empty()).map_err(|faults| format!("{faults:?}"))?;
    let authorities = Authorities::new(config.authorities, Clock);
    let pool = ConnectionPool::new(tasks.clone(), Clock, Trust::public()?);
    let client = AuthorityClient::new(authorities.clone(), Clock, pool, telemetry.clone());
    let timed = Arc::new(Timed { client, late: Mutex::default(), last: Mutex::default() });
    let dispatcher = AuthorityDispatcher::new(timed.clone(), Handle::current(), tasks.clone());
    let sessions = Sessions::new(Clock, dispatcher, telemetry.clone());
    tasks.spawn(pace(sessions.clone(), tasks.clone()));
    let counters: Arc<EdgeCounters> = Arc::default();
    let listener =
        admin::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Clock, tasks.clone(), counters.clone(), None).await?;
    let address = listener.addresses().first().ok_or("no address")?.address;
    let admin = Admin::new(
        &config.admin,
        authorities.clone(),
        sessions.clone(),
        Arc::default(),
        telemetry.clone(),
        counters,
        tasks.clone(),
    );
    let _serving = admin::serve(Arc::new(admin), listener)?;

    fill(&sessions, &authorities).await?;
    timed.take(0);
    let before = beats_late(&telemetry);
    tokio::time::sleep(PHASE).await;
    let quiet = timed.take(beats_late(&telemetry) - before);

    let (stop, pages) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..READERS)
        .map(|number| {
            let (stop, pages) = (stop.clone(), pages.clone());
            thread::spawn(move || read(address, number, &stop, &pages).map_err(|fault| fault.to_string()))
        })
        .collect();
    let before = beats_late(&telemetry);
    tokio::time::sleep(PHASE).await;
    let loud = timed.take(beats_late(&telemetry) - before);
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().map_err(|_| "a reader died")??;
    }
    let (headline, pages) = (setup::headline()?, pages.load(Ordering::Relaxed));
    let row = |name: &str, late: &Late| {
        let Late { beats, counted, median, most, rare } = late;
        format!("| {name} | {beats} | {median:.1} | {rare:.1} | {most:.1} | {counted} |\n")
    };
    Ok(format!(
        "{headline}; {SESSIONS} sessions, a beat every {} s, {} s each; {READERS} operators read {pages} pages.\n\n\
         | | beats | late, median, ms | 99.9 %, ms | most, ms | counted as late |\n|---|---|---|---|---|---|\n{}{}",
        INTERVAL.as_secs(),
        PHASE.as_secs(),
        row("in quiet", &quiet),
        row("while operators read", &loud).trim_end(),
    ))
}

fn main() -> ExitCode {
    setup::run("operators", measure())
}
