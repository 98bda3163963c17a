//! Opens connections: from a host and port to a TCP stream, and to TLS on top of it.
//!
//! Bounds the time of each step, whatever the call would allow, and tries every address of the name. Called once per
//! connection. Only one attempt at a time connects to an origin that may speak HTTP/2, detached from the call that began
//! it. If it fails, all waiting calls get its fault instead of trying in turn.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{CallPhase, UpstreamFault};
use crate::secret::scrub;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for all addresses together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// An unresponsive address must not use up the time of the next, unless there are so many that a distant server could
/// not answer in its share.
const MIN_TIME_PER_ADDRESS: Duration = Duration::from_millis(250);
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

const CONNECT_TIMED_OUT: UpstreamFault = UpstreamFault::Slow { phase: CallPhase::Connect };

pub(super) async fn tcp(host: &str, port: u16) -> Result<TcpStream, UpstreamFault> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolve(host, port).await?,
    };
    let stream = timeout(CONNECT_TIMEOUT, first(&addresses)).await.map_err(|_| CONNECT_TIMED_OUT)??;
    // Small HTTP/2 frames would wait for acknowledgements. A failure only costs speed.
    let _refused = stream.set_nodelay(true);
    Ok(stream)
}

/// Opens TLS. The stream's ALPN result tells the peer's HTTP version.
pub(super) async fn tls(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, UpstreamFault> {
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return Err(UpstreamFault::Tls("the host is no name that a certificate can have".into()));
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    timeout(TLS_HANDSHAKE_TIMEOUT, handshake)
        .await
        .map_err(|_| CONNECT_TIMED_OUT)?
        .map_err(|error| disagreement(&error))
}

/// The fault of a TLS handshake. A connection that just ended says nothing about trust.
fn disagreement(error: &io::Error) -> UpstreamFault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => UpstreamFault::Tls(in_words(inner)),
        None => UpstreamFault::Connect(error.kind()),
    }
}

/// Usual mistakes with their remedies; else rustls' own words.
fn in_words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    use rustls::Error;
    match error {
        Error::InvalidMessage(_) => {
            "it does not answer as a TLS server does; does it answer plain HTTP there? Then its URL begins with http://"
        }
        Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "nobody who is trusted here has issued its certificate; name the file of its CA by the key \"ca\""
        }
        Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; is the clock of this machine right?"
        }
        Error::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }) => {
            "its certificate is for another name than the host in its URL"
        }
        Error::InvalidCertificate(Certificate::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of a CA, as \"openssl req -x509\" makes them, which no server may show; make it \
             with -addext basicConstraints=critical,CA:FALSE and name its file by the key \"ca\""
        }
        other => return scrub(&other.to_string()),
    }
    .to_owned()
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, UpstreamFault> {
    let found = timeout(RESOLVE_TIMEOUT, lookup_host((host, port))).await.map_err(|_| CONNECT_TIMED_OUT)?;
    let addresses: Vec<SocketAddr> = found.map_err(|_| UpstreamFault::Resolve)?.collect();
    if addresses.is_empty() { Err(UpstreamFault::Resolve) } else { Ok(addresses) }
}

/// Connects to the first address that answers; else returns the last fault.
async fn first(addresses: &[SocketAddr]) -> Result<TcpStream, UpstreamFault> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let share = (CONNECT_TIMEOUT / count).max(MIN_TIME_PER_ADDRESS);
    let mut fault = UpstreamFault::Connect(io::ErrorKind::NotFound);
    for address in addresses {
        fault = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => UpstreamFault::Connect(error.kind()),
            Err(_) => CONNECT_TIMED_OUT,
        };
    }
    Err(fault)
}

type OpeningOutcome = Option<Result<(), UpstreamFault>>;

/// Reports the attempt's outcome.
pub(super) struct OpeningFlight(watch::Sender<OpeningOutcome>);

/// Waits for the attempt's outcome.
#[derive(Clone)]
pub(super) struct OpeningWaiters(watch::Receiver<OpeningOutcome>);

impl OpeningFlight {
    pub(super) fn new() -> (Self, OpeningWaiters) {
        let (tell, hear) = watch::channel(None);
        (Self(tell), OpeningWaiters(hear))
    }

    pub(super) fn land(self, outcome: Result<(), UpstreamFault>) {
        self.0.send_replace(Some(outcome));
    }
}

impl OpeningWaiters {
    /// False if the attempt is over, or its task ended without an outcome.
    pub(super) fn is_awaited(&self) -> bool {
        self.0.has_changed().is_ok()
    }

    pub(super) async fn outcome(mut self) -> Result<(), UpstreamFault> {
        let lost = Err(UpstreamFault::Connect(io::ErrorKind::Interrupted));
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(lost),
            Err(_) => lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        assert_eq!(first(&[gone, there]).await.unwrap().peer_addr().unwrap(), there);
        assert_eq!(first(&[gone]).await.unwrap_err(), UpstreamFault::Connect(io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_is_not_resolved() {
        // A label has at most 63 characters (RFC 1035, 2.3.4), so that no server need be asked.
        assert_eq!(tcp(&"a".repeat(70), 80).await.unwrap_err(), UpstreamFault::Resolve);
    }
}
