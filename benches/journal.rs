//! Measures durable sessions: CPU and added latency at 1,000 changes a second, and a recovery.
//!
//! The real shell runs sessions before an authority and a license server that answer after 10 ms each, alternately with
//! and without the journal. `-- --write` puts the figures into `benches/README.md`.

mod setup;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sidebeat::clock::Clock;
use sidebeat::config::DeviceSource;
use sidebeat::ids::SessionId;
use sidebeat::secret::Secret;
use sidebeat::session::{AskKind, AuthorityAsk, Grant, Verdict};
use sidebeat::sessions::{
    AskAuthority, AuthorityDispatcher, DeviceKey, RestoreHome, SessionContext, Sessions, VerdictFuture,
};
use sidebeat::store::{RecordJournal, SessionRecord, Store, StoredRecord};
use sidebeat::task::Tasks;
use sidebeat::telemetry::Telemetry;
use tokio::runtime;
use tokio::task::JoinSet;

use setup::{Outcome, TOKEN_BYTES};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
/// Each cycle opens and stops one playback: four changes of its record.
const CYCLES_A_SECOND: u32 = 250;
const RECOVERED: u64 = 100_000;

/// A head-end that is not far away.
const ROUND_TRIP: Duration = Duration::from_millis(10);

struct Yes;

impl AskAuthority for Yes {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, _card: &'a SessionContext) -> VerdictFuture<'a> {
        let interval = Duration::from_secs(30);
        let verdict = match ask.kind {
            AskKind::Open => {
                Verdict::Granted(Grant { interval, lifetime: None, token: Secret::new("t".repeat(TOKEN_BYTES)) })
            }
            AskKind::Close => Verdict::Closed,
            AskKind::Beat | AskKind::Renew => {
                Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }
            }
        };
        Box::pin(async move {
            tokio::time::sleep(ROUND_TRIP).await;
            Ok(verdict)
        })
    }
}

fn sessions(tasks: &Tasks, store: Option<Arc<dyn Store>>) -> Arc<Sessions> {
    let dispatcher = AuthorityDispatcher::new(Arc::new(Yes), runtime::Handle::current(), tasks.clone());
    Sessions::with_store(Clock, dispatcher, Arc::default(), store)
}

/// User and system time of this process so far.
fn cpu() -> Outcome<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

struct Measured {
    cpu: f64,
    latencies: Vec<Duration>,
}

/// Opens and stops a playback; returns how long its player waited for the open.
async fn cycle(sessions: Arc<Sessions>, number: u64) -> Result<Duration, &'static str> {
    let key = DeviceKey::new("head-end", DeviceSource::Header, &number.to_string());
    let call = setup::call(number);
    let context = Arc::new(setup::context("a device".to_owned()));
    let start = Clock.now();
    let admission = sessions.admit(key, &call, &context, start + Duration::from_secs(6)).await;
    let license = tokio::time::sleep(ROUND_TRIP);
    if let Some(id) = admission.session {
        tokio::join!(license, sessions.written(key, id));
    }
    let latency = Clock.now() - start;
    if admission.answer.refusal().is_some() {
        return Err("an open was refused");
    }
    sessions.stop(key, call.token);
    Ok(latency)
}

async fn round(tasks: &Tasks, store: Option<Arc<dyn Store>>, serial: u64) -> Outcome<Measured> {
    let sessions = sessions(tasks, store);
    let (began, spent) = (Clock.now(), cpu()?);
    let cycles = CYCLES_A_SECOND * ROUND.as_secs() as u32;
    // A pending open must not delay the next one.
    let mut under_way = JoinSet::new();
    for number in 0..cycles {
        tokio::time::sleep_until((began + ROUND / cycles * number).into()).await;
        under_way.spawn(cycle(sessions.clone(), serial << 32 | u64::from(number)));
    }
    let mut latencies = under_way.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    latencies.sort_unstable();
    Ok(Measured { cpu: (cpu()? - spent).as_secs_f64() / began.elapsed().as_secs_f64(), latencies })
}

fn at(latencies: &[Duration], share: f64) -> f64 {
    let index = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
    latencies.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A journal that a killed process left with so many live sessions; gives the time until all go on.
async fn recover(folder: &Path, tasks: &Tasks) -> Outcome<(f64, f64, [u64; 2])> {
    let context = Arc::new(setup::context("a device".to_owned()));
    let template = {
        let (journal, writer) = RecordJournal::open(&folder.join("one.redb"), Arc::default())?;
        let writing = std::thread::spawn(move || writer.run());
        let sessions = sessions(tasks, Some(journal.clone()));
        let key = DeviceKey::new("head-end", DeviceSource::Header, "one");
        sessions.admit(key, &setup::call(1), &context, Clock.now() + Duration::from_secs(6)).await;
        (journal.clone() as Arc<dyn Store>).durable().await;
        journal.end();
        writing.join().map_err(|_| "the writer died")?;
        let (journal, _) = RecordJournal::open(&folder.join("one.redb"), Arc::default())?;
        journal.load().sessions.pop().ok_or("no session was written")?
    };
    let path = folder.join("many.redb");
    let (journal, writer) = RecordJournal::open(&path, Arc::default())?;
    let writing = std::thread::spawn(move || writer.run());
    let store: Arc<dyn Store> = journal.clone();
    for number in 0..RECOVERED {
        let mut record: SessionRecord = template.clone();
        record.device = number;
        record.playback.id = SessionId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        record.playback.session.seed = number as u32;
        store.put(StoredRecord::Session(Box::new(record)));
    }
    store.durable().await;
    // The copy is the file that a kill would leave, while its process lives.
    let left = folder.join("left.redb");
    fs::copy(&path, &left)?;
    let metadata = fs::metadata(&path)?;
    // Disk usage in blocks of 512 bytes.
    let size = [metadata.len(), metadata.blocks() * 512];
    journal.end();
    writing.join().map_err(|_| "the writer died")?;

    let start = Clock.now();
    let (journal, writer) = RecordJournal::open(&left, Arc::new(Telemetry::default()))?;
    let opened = start.elapsed().as_secs_f64();
    let sessions = sessions(tasks, Some(journal.clone()));
    let restored = sessions.restore(journal.load().sessions, |_| RestoreHome::Here(context.clone()));
    let all = start.elapsed().as_secs_f64();
    if restored.resumed as u64 != RECOVERED {
        return Err(format!("{restored:?}").into());
    }
    drop(writer);
    Ok((opened, all, size))
}

async fn measure() -> Outcome<String> {
    let (tasks, _deaths) = Tasks::new();
    let folder = tempfile::tempdir_in(".")?;
    let (mut plain, mut kept) = (Vec::new(), Vec::new());
    let (mut plain_cpu, mut kept_cpu, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for serial in 0..ROUNDS as u64 {
        let without = round(&tasks, None, serial).await?;
        let (journal, writer) = RecordJournal::open(&folder.path().join(format!("{serial}.redb")), Arc::default())?;
        let writing = std::thread::spawn(move || writer.run());
        let with = round(&tasks, Some(journal.clone()), serial).await?;
        journal.end();
        writing.join().map_err(|_| "the writer died")?;
        added.push(at(&with.latencies, 0.99) - at(&without.latencies, 0.99));
        plain_cpu.push(without.cpu * 100.0);
        kept_cpu.push((with.cpu - without.cpu) * 100.0);
        plain.extend(without.latencies);
        kept.extend(with.latencies);
    }
    plain.sort_unstable();
    kept.sort_unstable();
    let (opened, all, [len, used]) = recover(folder.path(), &tasks).await?;
    let headline = setup::headline()?;
    Ok(format!(
        "{headline}; {ROUNDS} rounds of {} s, {} changes a second.\n\n\
         | | memory | journal | difference |\n|---|---|---|---|\n\
         | share of one core, % (median) | {:.1} | | +{:.1} |\n\
         | a license call that opens, median, ms | {:.2} | {:.2} | |\n\
         | a license call that opens, 99th percentile, ms | {:.2} | {:.2} | {:+.2} (median of the rounds) |\n\n\
         | recovery of {RECOVERED} sessions after a kill | |\n|---|---|\n\
         | file looked at, repaired, read | {opened:.2} s |\n| and all sessions going on | {all:.2} s |\n\
         | the file | {} MiB, of which {} MiB in use |",
        ROUND.as_secs(),
        CYCLES_A_SECOND * 4,
        median(plain_cpu),
        median(kept_cpu),
        at(&plain, 0.5),
        at(&kept, 0.5),
        at(&plain, 0.99),
        at(&kept, 0.99),
        median(added),
        len >> 20,
        used >> 20,
    ))
}

fn main() -> ExitCode {
    setup::run("journal", measure())
}
