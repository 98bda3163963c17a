//! Listening sockets and the loop that takes connections from them.
//!
//! Owns one socket per worker and address (`SO_REUSEPORT` lets the kernel spread connections), and
//! the triage of `accept` errors. Hands each connection to `conn` with a permit, or closes it.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::conn::{Shared, Worker};
use super::counters::{add, take};
use super::permit::Permit;
use super::{Peer, Ties};

const BACKLOG: u32 = 1024;
/// Long enough that a process out of descriptors does not spin, short enough that nobody notices.
const REST: Duration = Duration::from_millis(50);

/// One worker's listener, and what its connections begin with.
pub(super) struct Socket {
    pub(super) listener: StdListener,
    /// Whether a PROXY protocol header comes first.
    pub(super) proxy_protocol: bool,
    pub(super) tls: Option<TlsAcceptor>,
}

/// A socket for each of `workers`, all on one address. Must run inside a runtime; the sockets may
/// be served on others. Port 0 takes a free port, the same for all.
pub(super) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let address = probe(address)?;
    (0..workers.max(1))
        .map(|_| {
            let socket = socket(address)?;
            socket.set_reuseport(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?.into_std()
        })
        .collect()
}

/// Without `SO_REUSEPORT`, so that a second process of the same user, which would silently take half
/// of our connections, is told that the address is in use.
fn probe(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = socket(address)?;
    socket.bind(address)?;
    socket.local_addr()
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for old connections to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// Takes connections until drain begins. Returns early only on a fatal error, which then ends the
/// process through `Tasks::critical`.
pub(super) async fn accept(socket: Socket, worker: Arc<Worker>) {
    let Socket { listener, proxy_protocol, tls } = socket;
    let shared = Arc::clone(&worker.shared);
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(fault) => return fatal(&fault),
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        fault = take_connections(&listener, &worker, tls.as_ref(), proxy_protocol) => return fatal(&fault),
    }
    drop(listener);
    // The listener is closed by now; an acceptor that ends before the process does is a death.
    shared.tasks.stopped().await;
}

fn fatal(fault: &io::Error) {
    tracing::error!(%fault, "a listener broke");
}

async fn take_connections(
    listener: &TcpListener,
    worker: &Arc<Worker>,
    tls: Option<&TlsAcceptor>,
    proxy_protocol: bool,
) -> io::Error {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => admit(stream, address, worker, tls, proxy_protocol),
            Err(fault) => match triage(&fault) {
                Triage::Continue => {}
                Triage::Fail => return fault,
                Triage::Rest => {
                    add(&worker.shared.counters.accept_starved);
                    tracing::warn!(%fault, "cannot accept, trying again");
                    sleep(REST).await;
                }
            },
        }
    }
}

fn admit(
    stream: TcpStream,
    address: SocketAddr,
    worker: &Arc<Worker>,
    tls: Option<&TlsAcceptor>,
    proxy_protocol: bool,
) {
    let shared = &worker.shared;
    add(&shared.counters.accepted);
    let Some(permit) = shared.connections.enter() else {
        add(&shared.counters.refused_connections);
        return tracing::debug!("closed a connection at once: too many are open");
    };
    // Replies are written whole; waiting to fill a segment would only delay them.
    let _refused = stream.set_nodelay(true);
    let place = Place::take(Arc::clone(shared), permit);
    let peer = Peer {
        address: address.ip().to_canonical(),
        certificate: None,
        proxy: None,
        ties: Ties::default(),
        tls: tls.is_some(),
    };
    let (worker, acceptor) = (Arc::clone(worker), tls.cloned());
    if proxy_protocol {
        shared.tasks.spawn(shared.tracker.track_future(async move {
            let _place = place;
            // Boxed, so that an idle connection does not carry what reading its header took.
            let Some((stream, peer)) = Box::pin(worker.introduce(stream, peer)).await else { return };
            match acceptor {
                Some(acceptor) => worker.serve_tls(stream, peer, acceptor).await,
                None => worker.serve_http1(stream, peer).await,
            }
        }));
        return;
    }
    match acceptor {
        Some(acceptor) => shared.tasks.spawn(shared.tracker.track_future(async move {
            let _place = place;
            worker.serve_tls(stream, peer, acceptor).await;
        })),
        None => shared.tasks.spawn(shared.tracker.track_future(async move {
            let _place = place;
            worker.serve_http1(stream, peer).await;
        })),
    }
}

/// An open connection: its permit, and its one in the gauge.
struct Place {
    shared: Arc<Shared>,
    _permit: Permit,
}

impl Place {
    fn take(shared: Arc<Shared>, permit: Permit) -> Self {
        add(&shared.counters.open);
        Self { shared, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        take(&self.shared.counters.open);
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Triage {
    /// That one connection is gone; the next may be well.
    Continue,
    Fail,
    /// The system is out of something; asking again at once would spin.
    Rest,
}

/// By number, since the standard library names only some of them; see accept(2).
fn triage(fault: &io::Error) -> Triage {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    match (fault.kind(), fault.raw_os_error()) {
        (_, Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)) => Triage::Rest,
        (
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            // A firewall's refusal.
            | io::ErrorKind::PermissionDenied,
            _,
        ) => Triage::Continue,
        _ => Triage::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_accept() {
        for number in [12, 23, 24, 105] {
            assert_eq!(triage(&io::Error::from_raw_os_error(number)), Triage::Rest, "{number}");
        }
        // ECONNABORTED, EINTR, ENETDOWN, EPERM
        for number in [103, 4, 100, 1] {
            assert_eq!(triage(&io::Error::from_raw_os_error(number)), Triage::Continue, "{number}");
        }
        // EBADF, EINVAL, ENOTSOCK
        for number in [9, 22, 88] {
            assert_eq!(triage(&io::Error::from_raw_os_error(number)), Triage::Fail, "{number}");
        }
    }

    #[tokio::test]
    async fn workers_share_a_port_that_no_one_else_gets() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        assert_eq!(bind(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
