//! The edge as a whole: binds early, serves late, drains, ends.
//!
//! Owns the worker threads. Each has its own current-thread runtime, listeners and handler, so that a connection and
//! its upstream pool stay on one thread. `app` builds it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::{io, thread};

use tokio::runtime;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionWorker;
use super::listen::{BoundListener, WorkerSocket};
use super::serving::Serving;
use super::shared::{DrainHold, EdgeRole, EdgeShared};
use super::viewer_address::ForwardingRules;
use super::{
    CertificateFault, Certificates, CheckedCertificate, CheckedTlsFiles, Cors, EdgeCounters, Handler, listen, tls,
};
use crate::clock::Clock;
use crate::config;
use crate::task::Tasks;
use crate::telemetry::tell_suppressed;

#[derive(Debug, thiserror::Error)]
pub enum EdgeFault {
    #[error("{key}: cannot listen on {address}: {why}{}", mends(why, *address))]
    Bind { address: SocketAddr, key: &'static str, why: io::Error },
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    #[error("a worker cannot start: {0}")]
    Start(io::Error),
}

/// An address that players can connect to; a configured port 0 is resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BoundAddress {
    pub address: SocketAddr,
    pub tls: bool,
}

/// Bound sockets that hold connections in their backlog. Nothing is served yet.
pub struct Edge {
    bound: Vec<BoundAddress>,
    /// Listeners that were bound before and are not used yet.
    given: Vec<BoundListener>,
    certificates: Option<Arc<Certificates>>,
    shared: Arc<EdgeShared>,
    /// Sockets of each worker, in the order of `bound`.
    sockets: Vec<Vec<WorkerSocket>>,
}

impl Edge {
    /// Reads the certificates and binds every address once per worker. Must run inside a runtime, of which nothing is
    /// kept.
    pub async fn bind(
        server: &config::ServerSettings,
        clock: Clock,
        tasks: Tasks,
        counters: Arc<EdgeCounters>,
    ) -> Result<Self, EdgeFault> {
        Self::bind_but(server, clock, tasks, counters, Vec::new(), CheckedTlsFiles::default()).await
    }

    /// Like [`Self::bind`], but uses the listeners that are bound already, and the files that were read.
    pub async fn bind_but(
        server: &config::ServerSettings,
        clock: Clock,
        tasks: Tasks,
        counters: Arc<EdgeCounters>,
        bound: Vec<BoundListener>,
        read: CheckedTlsFiles,
    ) -> Result<Self, EdgeFault> {
        let cors = Cors::of(server);
        let forwarding = ForwardingRules::of(server);
        let shared = EdgeShared::new(EdgeRole::Players, &server.limits, cors, forwarding, clock, counters, tasks);
        shared.public_url.store(server.public_url.clone().map(Arc::new));
        let mut edge = Self::unbound(shared, server.workers, bound);
        if !server.listen.is_empty() {
            let read_pair = || CheckedCertificate::read(&server.tls.certificate, &server.tls.key);
            let certificates = Arc::new(Certificates::of(read.certificate.map_or_else(read_pair, Ok)?));
            let config = tls::server_config(&server.tls, Arc::clone(&certificates), read.client_ca)?;
            edge.certificates = Some(certificates);
            edge.listen(&server.proxy_protocol, &server.listen, Some(&TlsAcceptor::from(Arc::new(config))))?;
        }
        edge.listen(&server.proxy_protocol, &server.listen_plain, None)?;
        Ok(edge)
    }

    /// Binds the operators' listener: cleartext, with one worker. The handler judges every request, also OPTIONS and
    /// pages of other origins. Must run inside a runtime.
    pub async fn bind_operators(
        address: SocketAddr,
        limits: &config::ServerLimits,
        clock: Clock,
        tasks: Tasks,
        counters: Arc<EdgeCounters>,
        bound: Vec<BoundListener>,
    ) -> Result<Self, EdgeFault> {
        let shared = EdgeShared::new(
            EdgeRole::Operators,
            limits,
            Cors::left_to_the_handler(),
            ForwardingRules::default(),
            clock,
            counters,
            tasks,
        );
        let mut edge = Self::unbound(shared, 1, bound);
        edge.listen(&[], &[address], None)?;
        Ok(edge)
    }

    fn unbound(shared: EdgeShared, workers: usize, given: Vec<BoundListener>) -> Self {
        let sockets = (0..workers.max(1)).map(|_| Vec::new()).collect();
        Self { bound: Vec::new(), certificates: None, given, shared: Arc::new(shared), sockets }
    }

    /// All bound addresses, TLS first, in the order of the configuration.
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.bound
    }

    /// Copies of all sockets, for a process that listens after this one.
    pub fn copies(&self) -> io::Result<Vec<BoundListener>> {
        let copy = |socket: &WorkerSocket| {
            let sockets = vec![socket.listener.try_clone()?];
            Ok(BoundListener { address: socket.address, sockets, tls: socket.tls.is_some() })
        };
        self.sockets.iter().flatten().map(copy).collect()
    }

    /// Certificates for reload and for the expiry metric; `None` without a TLS listener.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Terms for a reload, also while the edge serves.
    pub fn terms(&self) -> ReloadableTerms {
        ReloadableTerms(Arc::clone(&self.shared))
    }

    /// Parks connections after this time without a call, at most twice that, instead of after 3 s. A parked connection
    /// holds no buffers.
    pub fn parking_after(&self, delay: std::time::Duration) {
        self.shared.parking_delay.store(Arc::new(delay));
    }

    /// Starts the workers. `make` is called in each worker's runtime with the worker's number, so that a handler can
    /// own what must not cross threads. A worker's death is reported by [`Tasks::critical`].
    pub fn serve<F>(self, make: F) -> Result<Serving, EdgeFault>
    where
        F: Fn(usize) -> Arc<dyn Handler> + Send + Sync + 'static,
    {
        let make = Arc::new(make);
        let finish = CancellationToken::new();
        let mut threads = Vec::with_capacity(self.sockets.len());
        let guard = finish.clone().drop_guard();
        let limiter = Arc::clone(&self.shared.log_limiter);
        self.shared.tasks.spawn(tell_suppressed(limiter, self.shared.clock, self.shared.tasks.clone()));
        for (number, sockets) in self.sockets.into_iter().enumerate() {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(EdgeFault::Start)?;
            let (make, shared, finish) = (Arc::clone(&make), Arc::clone(&self.shared), finish.clone());
            let sockets = sockets.into_iter().map(|socket| (socket, shared.listening())).collect();
            let work = move || runtime.block_on(work(shared, sockets, finish, || make(number)));
            let name = format!("{}-{number}", self.shared.role.thread_name());
            let thread = thread::Builder::new().name(name).spawn(work).map_err(EdgeFault::Start)?;
            threads.push(thread);
        }
        if self.shared.role == EdgeRole::Players {
            self.shared.bound_by_descriptors();
        }
        Ok(Serving { shared: self.shared, threads, finish: guard })
    }

    /// Serves all sockets on the runtime of the calling thread, instead of on threads of its own. A
    /// program that counts what a call costs needs this.
    pub fn serve_here(self, handler: Arc<dyn Handler>) -> Serving {
        let sockets = self.sockets.into_iter().flatten().map(|socket| (socket, self.shared.listening())).collect();
        let worker = ConnectionWorker::new(Arc::clone(&self.shared), handler);
        accept_all(&self.shared, sockets, worker);
        Serving { shared: self.shared, threads: Vec::new(), finish: CancellationToken::new().drop_guard() }
    }

    fn listen(
        &mut self,
        proxy_protocol: &[SocketAddr],
        addresses: &[SocketAddr],
        tls: Option<&TlsAcceptor>,
    ) -> Result<(), EdgeFault> {
        for &address in addresses {
            let proxy_protocol = proxy_protocol.contains(&address);
            let key = match (self.shared.role, tls) {
                (EdgeRole::Operators, _) => "admin.listen",
                (EdgeRole::Players, Some(_)) => "server.listen",
                (EdgeRole::Players, None) => "server.listen-plain",
            };
            let fault = |why| EdgeFault::Bind { address, key, why };
            let is_it = |given: &mut BoundListener| given.address == address && given.tls == tls.is_some();
            let listeners = match self.given.extract_if(.., is_it).next() {
                Some(given) => given.sockets,
                None => listen::bind(address, self.sockets.len()).map_err(fault)?,
            };
            if let Some(first) = listeners.first() {
                let address = first.local_addr().map_err(fault)?;
                self.bound.push(BoundAddress { address, tls: tls.is_some() });
            }
            let shares = listen::share(listeners, self.sockets.len()).map_err(fault)?;
            for (sockets, share) in self.sockets.iter_mut().zip(shares) {
                let socket = |listener| WorkerSocket { address, listener, proxy_protocol, tls: tls.cloned() };
                sockets.extend(share.into_iter().map(socket));
            }
        }
        Ok(())
    }
}

/// Advice about a socket that cannot be opened.
fn mends(why: &io::Error, address: SocketAddr) -> String {
    match why.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; `ss -ltnp 'sport = :{}'` shows who has the port: end it, or choose another", address.port())
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address: `ip address` shows those it has".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the right to bind them (AmbientCapabilities=CAP_NET_BIND_SERVICE), or choose another"
                .to_owned()
        }
        _ => String::new(),
    }
}

async fn work(
    shared: Arc<EdgeShared>,
    sockets: Vec<(WorkerSocket, DrainHold)>,
    finish: CancellationToken,
    make: impl FnOnce() -> Arc<dyn Handler>,
) {
    let (tasks, stop) = (shared.tasks.clone(), shared.stop.clone());
    // Ends with this runtime, and so reports a worker that panicked.
    shared.tasks.critical(shared.role.worker_name(), async move {
        tasks.stopped().await;
        stop.cancel();
    });
    accept_all(&shared, sockets, ConnectionWorker::new(Arc::clone(&shared), make()));
    finish.cancelled().await;
}

fn accept_all(shared: &EdgeShared, sockets: Vec<(WorkerSocket, DrainHold)>, worker: ConnectionWorker) {
    let worker = Arc::new(worker);
    for (socket, listening) in sockets {
        shared.tasks.critical(shared.role.acceptor_name(), listen::accept(socket, listening, Arc::clone(&worker)));
    }
}

/// The terms for players that a reload may change.
#[derive(Clone)]
pub struct ReloadableTerms(Arc<EdgeShared>);

impl ReloadableTerms {
    /// Changes the terms. Origins and numbers hold from the next call, times from the next connection.
    pub fn change(&self, server: &config::ServerSettings) {
        self.0.cors.store(Arc::new(Cors::of(server)));
        self.0.forwarding.store(Arc::new(ForwardingRules::of(server)));
        self.0.public_url.store(server.public_url.clone().map(Arc::new));
        self.0.change(Arc::new(server.limits.clone()));
    }

    pub fn limits(&self) -> Arc<config::ServerLimits> {
        self.0.limits.load_full()
    }
}
