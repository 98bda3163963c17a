//! Measures the memory of an idle proxy, and of each open connection.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use crate::load::{self, Player, Target};
use crate::wire::Reader;
use crate::{Outcome, machine, peers, upstream};

const CONNECTIONS: usize = 500;
/// Time for late starts and late frees.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) struct Memory {
    /// KiB, after start, with the reference configuration.
    pub(crate) idle: u64,
    /// Bytes for each plain connection that has made one call and waits for the next.
    pub(crate) per_connection: u64,
    /// Bytes for each such connection with TLS.
    pub(crate) per_tls_connection: u64,
}

pub(crate) async fn measure(binary: &Path) -> Outcome<Memory> {
    let directory = TempDir::new()?;
    peers::certificates(binary, directory.path())?;
    let mut set = tokio::task::JoinSet::new();
    let upstream = upstream::start(&mut set).await?;
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let server = format!("http://{upstream}/license");
    let place = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key) = (place("leaf.pem"), place("leaf.key"));
    let environment = [
        ("SIDEBEAT_ADMIN_LISTEN", "127.0.0.1:0"),
        ("SIDEBEAT_ROUTE_0_LICENSE_SERVER", server.as_str()),
        // All connections come from one address here.
        ("SIDEBEAT_SERVER_LIMITS_CONNECTIONS_PER_ADDRESS", "1000"),
        ("SIDEBEAT_ROUTE_0_SESSION_CONTROL", "never"),
        ("SIDEBEAT_SERVER_LISTEN", "127.0.0.1:0"),
        ("SIDEBEAT_SERVER_LISTEN_PLAIN", "127.0.0.1:0"),
        ("SIDEBEAT_SERVER_TLS_CERTIFICATE", certificate.as_str()),
        ("SIDEBEAT_SERVER_TLS_KEY", key.as_str()),
    ];
    let mut idle = 0;
    let mut added = [0; 2];
    for (tls, added) in [false, true].into_iter().zip(&mut added) {
        let proxy = peers::sidebeat(binary, &reference, &environment)?;
        sleep(SETTLE).await;
        idle = machine::resident(proxy.id())?;
        let target = Target {
            address: if tls { proxy.tls } else { proxy.plain },
            exact: true,
            path: "/license".to_owned(),
            tls: tls.then(|| load::connector(&directory.path().join("ca.pem"))).transpose()?,
        };
        *added = fill(&target, proxy.id()).await?;
    }
    let [per_connection, per_tls_connection] = added;
    Ok(Memory { idle, per_connection, per_tls_connection })
}

/// Bytes for each of many connections, except the needs of the first few.
async fn fill(target: &Target, id: u32) -> Outcome<u64> {
    let player = Player { device: "device".to_owned(), token: "opaque".to_owned() };
    let (mut open, mut before) = (Vec::new(), 0);
    for turn in 0..CONNECTIONS + 50 {
        if turn == 50 {
            sleep(SETTLE).await;
            before = machine::resident(id)?;
        }
        let mut stream = load::connect(target).await?;
        load::call(target, &player, turn as u64, &mut *stream, &mut Reader::default()).await?;
        open.push(stream);
    }
    sleep(SETTLE).await;
    Ok(machine::resident(id)?.saturating_sub(before) * 1024 / CONNECTIONS as u64)
}
