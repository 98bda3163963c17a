//! The composition: everything is built here, top to bottom, and taken down in the other order.
//!
//! Sockets are bound early, so that a taken port is known before a session exists, and served late.
//! On SIGTERM or SIGINT: not ready, stop accepting, finish the calls in flight, close the sessions at
//! their authorities, end. On SIGHUP the certificates are read again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{self, Admin};
use crate::authority::{Authority, Client};
use crate::clock::Clock;
use crate::config::{self, AuthorityKind, Config, Endpoint};
use crate::edge::{self, Bound, Certificates, Counters, Edge, Handler, certs};
use crate::gateway::{Flights, Gateway, Routes, Shelf};
use crate::playbacks::Registrations;
use crate::session::End;
use crate::sessions::{self, Pump, Sessions};
use crate::task::{Deaths, Tasks};
use crate::telemetry::Telemetry;
use crate::upstream::{Pool, Trust, TrustFault};

/// Closes at the authorities get this long when the process ends.
const CLOSING: Duration = Duration::from_secs(3);

pub struct App {
    admin: Arc<Admin>,
    admin_listener: Option<TcpListener>,
    call: Call,
    deaths: Deaths,
    drain: Duration,
    edge: Edge,
    sessions: Arc<Sessions>,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
}

/// What every worker makes its gateway from.
#[derive(Clone)]
struct Call {
    authorities: Arc<[Authority]>,
    body: Duration,
    body_max: usize,
    call: Duration,
    clock: Clock,
    flights: Arc<Flights>,
    registrations: Arc<Registrations>,
    routes: Arc<Routes>,
    sessions: Arc<Sessions>,
    shelf: Arc<Shelf>,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
    trust: Trust,
}

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("admin.listen: cannot listen on {0}: {1}")]
    Admin(std::net::SocketAddr, std::io::Error),
    #[error(transparent)]
    Certificates(#[from] certs::Fault),
    #[error("{0} ended before its time")]
    Death(&'static str),
    #[error(transparent)]
    Edge(#[from] edge::Fault),
    #[error("signals cannot be heard: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Trust(#[from] TrustFault),
}

impl App {
    /// Builds and binds everything; nothing is served yet. Must run on the control runtime.
    pub async fn build(config: Config) -> Result<Self, Fault> {
        let clock = Clock;
        let (tasks, deaths) = Tasks::new();
        let telemetry = Arc::new(Telemetry::default());
        count_panics(telemetry.clone());
        let trust = trust(&config)?;
        let Config { admin: admin_config, authorities, routes, server, log: _ } = config;
        ensure_certificates(&server, clock)?;
        let authorities: Arc<[Authority]> = authorities.into_iter().map(Authority::new).collect();
        let pool = Pool::new(tasks.clone(), clock, trust.clone());
        let client = Client::new(authorities.clone(), clock, pool, telemetry.clone());
        let pump = Pump::new(Arc::new(client), Handle::current(), tasks.clone());
        let sessions = Sessions::new(clock, pump, telemetry.clone());
        let counters = Arc::new(Counters::default());
        let edge = Edge::bind(&server, tasks.clone(), counters.clone()).await?;
        let admin_listener = match admin_config.listen {
            Some(address) => Some(admin::bind(address).await.map_err(|fault| Fault::Admin(address, fault))?),
            None => None,
        };
        let admin = Arc::new(Admin::new(
            &admin_config,
            authorities.clone(),
            sessions.clone(),
            telemetry.clone(),
            counters,
            tasks.clone(),
        ));
        let routes = Arc::new(Routes::new(routes, &authorities));
        let call = Call {
            authorities,
            body: server.limits.body,
            body_max: server.limits.body_max,
            call: server.limits.call,
            clock,
            flights: Flights::new(Flights::MOST),
            registrations: Arc::default(),
            routes,
            sessions: sessions.clone(),
            shelf: Arc::default(),
            tasks: tasks.clone(),
            telemetry: telemetry.clone(),
            trust,
        };
        let drain = server.limits.drain;
        Ok(Self { admin, admin_listener, call, deaths, drain, edge, sessions, tasks, telemetry })
    }

    /// Where players connect.
    pub fn addresses(&self) -> &[Bound] {
        self.edge.addresses()
    }

    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin_listener.as_ref()?.local_addr().ok()
    }

    /// Serves until a signal, until `until` resolves, or until something dies that must not.
    pub async fn run(self, until: impl Future<Output = ()>) -> Result<(), Fault> {
        let Self { admin, admin_listener, call, mut deaths, drain, edge, sessions, tasks, telemetry } = self;
        tasks.critical("pacer", sessions::pace(sessions.clone(), tasks.clone()));
        if let Some(listener) = admin_listener {
            tasks.critical("admin listener", admin::serve(admin.clone(), listener));
        }
        let certificates = edge.certificates();
        show_expiry(&telemetry, certificates.as_deref());
        let serving = edge.serve(move |_| call.handler())?;
        admin.ready.store(true, Ordering::Release);
        let end = tokio::select! {
            end = signals(&telemetry, certificates.as_deref()) => end,
            () = until => Ok(()),
            Some(name) = deaths.recv() => Err(Fault::Death(name)),
        };
        admin.ready.store(false, Ordering::Release);
        let cut = serving.drain(drain).await;
        let closing = sessions.drain(End::Drained, CLOSING).await;
        tracing::info!(cut_connections = cut, open_sessions_left = closing, "stopped");
        tasks.stop();
        serving.end().await;
        tasks.drain(CLOSING).await;
        end
    }
}

impl Call {
    /// Runs inside a worker's runtime: connections to upstreams belong to it.
    fn handler(&self) -> Arc<dyn Handler> {
        let pool = Pool::new(self.tasks.clone(), self.clock, self.trust.clone());
        let client = Client::new(self.authorities.clone(), self.clock, pool.clone(), self.telemetry.clone());
        Arc::new(Arc::new(Gateway {
            body: self.body,
            body_max: self.body_max,
            call: self.call,
            client,
            clock: self.clock,
            flights: self.flights.clone(),
            pool,
            registrations: self.registrations.clone(),
            routes: self.routes.clone(),
            sessions: self.sessions.clone(),
            shelf: self.shelf.clone(),
            tasks: self.tasks.clone(),
            telemetry: self.telemetry.clone(),
        }))
    }
}

fn trust(config: &Config) -> Result<Trust, TrustFault> {
    let mut trust = Trust::public()?;
    let mut pin = |endpoints: &[&Endpoint], ca: &Option<PathBuf>| match ca {
        Some(ca) => endpoints.iter().try_for_each(|endpoint| trust.pin(endpoint, ca)),
        None => Ok(()),
    };
    for authority in &config.authorities {
        match &authority.kind {
            AuthorityKind::Embedded(_) => {}
            AuthorityKind::NagraSsm(ssm) => {
                pin(&[&ssm.setup, &ssm.heartbeat, &ssm.renewal, &ssm.teardown], &ssm.ca)?;
                pin(&ssm.renewal_other.as_ref().into_iter().collect::<Vec<_>>(), &ssm.ca)?;
            }
        }
    }
    for route in &config.routes {
        pin(&[&route.license_server], &route.ca)?;
    }
    Ok(trust)
}

/// A fresh checkout gets certificates for this machine.
fn ensure_certificates(server: &config::Server, clock: Clock) -> Result<(), certs::Fault> {
    if server.listen.is_empty() {
        return Ok(());
    }
    let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let bound = server.listen.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    names.extend(bound.map(|ip| ip.to_string()));
    certs::ensure(&server.tls.certificate, &server.tls.key, &names, clock.wall()).map(|_written| ())
}

/// Handles SIGHUP; ends with SIGTERM or SIGINT.
async fn signals(telemetry: &Telemetry, certificates: Option<&Certificates>) -> Result<(), Fault> {
    let listen = |kind| signal(kind).map_err(Fault::Signals);
    let (mut hangup, mut interrupt) = (listen(SignalKind::hangup())?, listen(SignalKind::interrupt())?);
    let mut terminate = listen(SignalKind::terminate())?;
    loop {
        tokio::select! {
            Some(()) = hangup.recv() => reload(telemetry, certificates),
            Some(()) = interrupt.recv() => return Ok(()),
            Some(()) = terminate.recv() => return Ok(()),
        }
    }
}

fn reload(telemetry: &Telemetry, certificates: Option<&Certificates>) {
    let Some(certificates) = certificates else { return };
    let reloaded = certificates.reload();
    match &reloaded {
        Ok(()) => tracing::info!("certificates reloaded"),
        Err(fault) => tracing::error!(%fault, "certificates not reloaded; the old ones stay"),
    }
    telemetry.metrics.reload(reloaded.is_ok());
    show_expiry(telemetry, Some(certificates));
}

fn show_expiry(telemetry: &Telemetry, certificates: Option<&Certificates>) {
    if let Some(not_after) = certificates.and_then(Certificates::not_after) {
        telemetry.metrics.certificate_not_after(not_after.as_secs());
    }
}

/// A panic in one call must not end the others. It is counted and logged by its place alone: its
/// message could hold what must not be seen.
fn count_panics(telemetry: Arc<Telemetry>) {
    std::panic::set_hook(Box::new(move |panic| {
        telemetry.metrics.panics.inc();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}
