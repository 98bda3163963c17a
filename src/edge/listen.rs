//! Listening sockets, and the loop that accepts connections from them.
//!
//! Owns one socket per worker and address (`SO_REUSEPORT` lets the kernel spread connections), and sorts the errors
//! of `accept`. Hands each connection to `connection` with a permit, or closes it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::address_limits::AddressKey;
use super::connection::ConnectionWorker;
use super::connection_place::ConnectionPlace;
use super::counters::add;
use super::shared::{DrainHold, EdgeShared};
use super::{ConnectionGuards, Peer};

const LISTEN_BACKLOG_CONNECTIONS: u32 = 1024;
/// Long enough that a process without descriptors does not spin, short enough to go unnoticed.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A worker's listener, and how its connections begin.
pub(super) struct WorkerSocket {
    /// The address as configured.
    pub(super) address: SocketAddr,
    pub(super) listener: StdListener,
    /// True if each connection begins with a PROXY protocol header.
    pub(super) proxy_protocol: bool,
    pub(super) tls: Option<TlsAcceptor>,
}

/// Sockets of one listener that are bound already and may hold connections in their backlog.
#[derive(Debug)]
pub struct BoundListener {
    /// The address as configured.
    pub address: SocketAddr,
    pub sockets: Vec<StdListener>,
    pub tls: bool,
}

/// Distributes the sockets among `workers`. Every socket gets a worker, because connections in an unserved backlog
/// would be lost, and every worker gets a socket.
pub(super) fn share(sockets: Vec<StdListener>, workers: usize) -> io::Result<Vec<Vec<StdListener>>> {
    let workers = workers.max(1);
    let mut shares: Vec<Vec<StdListener>> = (0..workers).map(|_| Vec::new()).collect();
    let more: io::Result<Vec<_>> = (sockets.len()..workers)
        .filter_map(|index| Some(sockets.get(index % sockets.len().max(1))?.try_clone()))
        .collect();
    let all = sockets.into_iter().chain(more?);
    for (share, socket) in (0..workers).cycle().zip(all) {
        if let Some(share) = shares.get_mut(share) {
            share.push(socket);
        }
    }
    Ok(shares)
}

/// Binds a socket for each of `workers`, all on one address. Must run inside a runtime; the sockets may be served on
/// others. Port 0 takes a free port, the same for all.
pub(super) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let address = probe(address)?;
    (0..workers.max(1))
        .map(|_| {
            let socket = socket(address)?;
            socket.set_reuseport(true)?;
            socket.bind(address)?;
            socket.listen(LISTEN_BACKLOG_CONNECTIONS)?.into_std()
        })
        .collect()
}

/// Binds without `SO_REUSEPORT` first. Otherwise a second process of the same user would silently take half of our
/// connections.
fn probe(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = socket(address)?;
    socket.bind(address)?;
    socket.local_addr()
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait until old connections leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// Accepts connections until drain begins, and then those that are in the backlog. Returns early only on a fatal
/// error, which ends the process through `Tasks::critical`.
pub(super) async fn accept(socket: WorkerSocket, listening: DrainHold, worker: Arc<ConnectionWorker>) {
    let WorkerSocket { address: _, listener, proxy_protocol, tls } = socket;
    let shared = Arc::clone(&worker.shared);
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(fault) => return fatal(&fault),
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        fault = take_connections(&listener, &worker, tls.as_ref(), proxy_protocol) => return fatal(&fault),
    }
    take_backlog(listener, &worker, tls.as_ref(), proxy_protocol);
    drop(listening);
    // The listener is closed by now. An acceptor that ended before the process would count as dead.
    shared.tasks.stopped().await;
}

fn fatal(fault: &io::Error) {
    tracing::error!(%fault, "a listener broke");
}

async fn take_connections(
    listener: &TcpListener,
    worker: &Arc<ConnectionWorker>,
    tls: Option<&TlsAcceptor>,
    proxy_protocol: bool,
) -> io::Error {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => admit(stream, address, worker, tls, proxy_protocol),
            Err(fault) => match triage(&fault) {
                AcceptTriage::Continue => {}
                AcceptTriage::Fail => return fault,
                AcceptTriage::Rest => {
                    log_fault(&worker.shared, &fault);
                    sleep(ACCEPT_RETRY_PAUSE).await;
                }
                AcceptTriage::Starve => {
                    add(&worker.shared.counters.accept_starved);
                    log_fault(&worker.shared, &fault);
                    // A spare descriptor takes this connection; later ones wait until an idle one has closed.
                    if !worker.shared.spare_descriptors.release() {
                        drop(worker.shared.make_room());
                        sleep(ACCEPT_RETRY_PAUSE).await;
                    }
                }
            },
        }
    }
}

/// Accepts the connections in the backlog, which closing the listener would reset, perhaps with a request. Asks the
/// system, because the runtime may not know of them yet.
fn take_backlog(
    listener: TcpListener,
    worker: &Arc<ConnectionWorker>,
    tls: Option<&TlsAcceptor>,
    proxy_protocol: bool,
) {
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..LISTEN_BACKLOG_CONNECTIONS {
        match listener.accept() {
            Ok((stream, address)) => {
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    admit(stream, address, worker, tls, proxy_protocol);
                }
            }
            Err(fault) if triage(&fault) == AcceptTriage::Continue => {}
            // Mostly the backlog is empty.
            Err(_) => return,
        }
    }
}

fn log_fault(shared: &EdgeShared, fault: &io::Error) {
    if shared.may_log("accept", AddressKey::of(Ipv4Addr::UNSPECIFIED.into())) {
        tracing::warn!(%fault, "cannot accept, trying again");
    }
}

fn admit(
    stream: TcpStream,
    address: SocketAddr,
    worker: &Arc<ConnectionWorker>,
    tls: Option<&TlsAcceptor>,
    proxy_protocol: bool,
) {
    let shared = &worker.shared;
    add(&shared.counters.accepted);
    let address = address.ip().to_canonical();
    let Some(place) = ConnectionPlace::take(shared, address) else { return };
    // Replies are written whole; waiting to fill a segment would only delay them.
    let _refused = stream.set_nodelay(true);
    let limits = Arc::clone(&shared.addresses);
    let tls_spoken = tls.is_some();
    let peer =
        Peer { address, certificate: None, limits, proxy: None, guards: ConnectionGuards::default(), tls: tls_spoken };
    let (worker, line, acceptor) = (Arc::clone(worker), Arc::clone(&place.line), tls.cloned());
    if proxy_protocol {
        shared.tasks.spawn(shared.tracker.track_future(async move {
            let mut place = place;
            // Boxed, so that an idle connection does not carry the state of reading its header.
            let introduced = tokio::select! {
                introduced = Box::pin(worker.introduce(stream, peer)) => introduced,
                () = line.evicted() => None,
                () = worker.shared.has_no_more_time() => None,
            };
            let Some((stream, peer)) = introduced else { return };
            if !place.belongs_to(peer.address) {
                return;
            }
            match acceptor {
                Some(acceptor) => worker.serve_tls(stream, peer, line, acceptor).await,
                None => worker.serve_http1(stream, peer, line).await,
            }
        }));
        return;
    }
    match acceptor {
        Some(acceptor) => shared.tasks.spawn(shared.tracker.track_future(async move {
            let _place = place;
            worker.serve_tls(stream, peer, line, acceptor).await;
        })),
        None => shared.tasks.spawn(shared.tracker.track_future(async move {
            let _place = place;
            worker.serve_http1(stream, peer, line).await;
        })),
    }
}

#[derive(Debug, Eq, PartialEq)]
enum AcceptTriage {
    /// Only that connection is gone; the next may be good.
    Continue,
    /// The socket is invalid.
    Fail,
    /// The cause is unknown; another call at once might spin.
    Rest,
    /// The system lacks a resource; another call at once would spin.
    Starve,
}

/// Sorts by error number, because the standard library names only some; see accept(2). On Linux `accept` also returns
/// network errors of the new connection, and no list of them is complete, so only errors of the socket itself are
/// fatal.
fn triage(fault: &io::Error) -> AcceptTriage {
    const EBADF: i32 = 9;
    const ENOMEM: i32 = 12;
    const EFAULT: i32 = 14;
    const EINVAL: i32 = 22;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOTSOCK: i32 = if cfg!(target_os = "linux") { 88 } else { 38 };
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    match (fault.kind(), fault.raw_os_error()) {
        (_, Some(EBADF | EFAULT | EINVAL | ENOTSOCK)) => AcceptTriage::Fail,
        (_, Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)) => AcceptTriage::Starve,
        (
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            // A firewall's refusal.
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut,
            _,
        ) => AcceptTriage::Continue,
        _ => AcceptTriage::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_of_the_socket_itself_ends_a_listener() {
        for number in 1..=133 {
            let expected = match number {
                // EBADF, EFAULT, EINVAL, ENOTSOCK
                9 | 14 | 22 | 88 => AcceptTriage::Fail,
                // ENOMEM, ENFILE, EMFILE, ENOBUFS
                12 | 23 | 24 | 105 => AcceptTriage::Starve,
                // EPERM, EINTR, EACCES, ENETDOWN, ENETUNREACH, ECONNABORTED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH
                1 | 4 | 13 | 100 | 101 | 103 | 104 | 110 | 113 => AcceptTriage::Continue,
                // Among them EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET and EOPNOTSUPP.
                _ => AcceptTriage::Rest,
            };
            assert_eq!(triage(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
    }

    #[test]
    fn every_inherited_socket_is_served_and_every_worker_serves_one() {
        for (sockets, workers, expected) in
            [(1, 1, vec![1]), (1, 3, vec![1, 1, 1]), (2, 3, vec![1, 1, 1]), (3, 2, vec![2, 1]), (4, 1, vec![4])]
        {
            let bound: Vec<_> = (0..sockets).map(|_| StdListener::bind("127.0.0.1:0").unwrap()).collect();
            let mut wanted: Vec<_> = bound.iter().map(|socket| socket.local_addr().unwrap()).collect();
            let shares = share(bound, workers).unwrap();
            assert_eq!(shares.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            let mut served: Vec<_> = shares.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect();
            wanted.sort();
            served.sort();
            served.dedup();
            assert_eq!(served, wanted);
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
