//! Runs the players: each has its own connection and calls again as soon as it gets its reply.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sidebeat::clock::Clock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::upstream::{CALLER, LICENSE};
use crate::wire::{Reader, Stream};
use crate::{Outcome, machine};

const CHALLENGE: &[u8] = include_bytes!("../../tests/vectors/drm/wv_new_privacy.bin");

/// The target of the calls, and the expected reply.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// True if the reply must be the benchmark's own license, byte by byte; else any Widevine license will do.
    pub(crate) exact: bool,
    pub(crate) tls: Option<TlsConnector>,
}

/// A player: a device with its content token.
#[derive(Clone)]
pub(crate) struct Player {
    pub(crate) device: String,
    pub(crate) token: String,
}

pub(crate) struct Measure {
    pub(crate) calls: u64,
    pub(crate) cpu: Duration,
    pub(crate) took: Duration,
}

#[derive(Clone, Default)]
struct Count {
    calls: Rc<Cell<u64>>,
    over: Rc<Cell<bool>>,
}

/// Runs the players against the process `id` and counts its time; any wrong answer is an error.
pub(crate) async fn run(target: &Target, players: &[Player], id: u32, seconds: Duration) -> Outcome<Measure> {
    let count = Count::default();
    let set = LocalSet::new();
    let mut running = JoinSet::new();
    for player in players {
        running.spawn_local_on(play(target.clone(), player.clone(), count.clone()), &set);
    }
    set.run_until(async {
        sleep(seconds / 4).await;
        let (began, calls, cpu) = (Clock.now(), count.calls.get(), machine::cpu(id)?);
        sleep(seconds).await;
        let cpu = machine::cpu(id)?.saturating_sub(cpu);
        let measure = Measure { calls: count.calls.get() - calls, cpu, took: Clock.now() - began };
        count.over.set(true);
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(measure)
    })
    .await
}

async fn play(target: Target, player: Player, count: Count) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    let (mut reader, mut turn) = (Reader::default(), 0_u64);
    while !count.over.get() {
        turn += 1;
        call(&target, &player, turn, &mut *stream, &mut reader).await?;
        count.calls.set(count.calls.get() + 1);
    }
    Ok(())
}

pub(crate) async fn connect(target: &Target) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &target.tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

pub(crate) async fn call(
    target: &Target,
    player: &Player,
    turn: u64,
    stream: &mut dyn Stream,
    reader: &mut Reader,
) -> io::Result<()> {
    let Player { device, token } = player;
    let caller = format!("{device}-{turn}");
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {caller}\r\nAccept: */*\r\nOrigin: https://tv.example\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\nX-Device-Id: {device}\r\n\
         nv-authorizations: {token}\r\n\r\n",
        target.path,
        CHALLENGE.len(),
    )
    .into_bytes();
    request.extend_from_slice(CHALLENGE);
    stream.write_all(&request).await?;
    stream.flush().await?;
    if !reader.next(&mut *stream).await? {
        return Err(io::Error::other(format!("{}: the connection was closed", target.path)));
    }
    let right = match target.exact {
        true => reader.body() == LICENSE && reader.header(CALLER) == Some(caller.as_str()),
        // The first field of a signed message says its type; 2 is a license.
        false => reader.body().starts_with(&[8, 2]),
    };
    if right && reader.is_good() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(reader.body().get(..200).unwrap_or(reader.body())).into_owned();
    Err(io::Error::other(format!("{}: a wrong answer: {} {said}", target.path, reader.status_line())))
}

/// Trusts the CA beside the certificate that all proxies are given.
pub(crate) fn connector(ca: &std::path::Path) -> Outcome<TlsConnector> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
