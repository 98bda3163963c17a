//! The composition: everything is built here, top to bottom, and taken down in the other order.
//!
//! Signals are heard first. Sockets are bound early, so that a taken port is known before a session exists, and
//! served late.
//! On SIGTERM or SIGINT: not ready, stop accepting, finish the calls in flight, close the sessions at
//! their authorities or leave them for the next process, end. On SIGHUP the configuration is read again
//! ([`Reload`]).

mod durable;
mod files;
mod reload;
mod signals;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use self::durable::Durable;
pub use self::files::check_files;
pub use self::reload::Reload;
use self::reload::{named, restart_only, warn_of};
pub use self::signals::Signals;
use crate::admin::{self, Admin};
use crate::authority::{self, Authorities, Client};
use crate::clock::Clock;
use crate::config::{self, Config, Faults, OnExit};
use crate::edge::{self, Bound, Counters, Edge, Handler, certs};
use crate::gateway::{Configured, Flights, Gateway, IdentityWatch, Routes, Shelf};
use crate::playbacks::Registrations;
use crate::session::End;
use crate::sessions::{self, Pump, Sessions};
use crate::store;
use crate::task::{Deaths, Tasks};
use crate::telemetry::Telemetry;
use crate::upstream::{Pool, Trust, TrustFault};
use crate::webhooks::Courier;

/// Closes at the authorities get this long when the process ends.
const CLOSING: Duration = Duration::from_secs(3);

pub struct App {
    admin: Arc<Admin>,
    admin_listener: Option<Edge>,
    call: Call,
    deaths: Deaths,
    durable: Durable,
    edge: Edge,
    on_exit: OnExit,
    reload: Arc<Reload>,
    sessions: Arc<Sessions>,
    signals: Signals,
    tasks: Tasks,
}

/// What every worker makes its gateway from.
#[derive(Clone)]
struct Call {
    authorities: Arc<Authorities>,
    clock: Clock,
    flights: Arc<Flights>,
    identities: Arc<IdentityWatch>,
    public_url: Option<Arc<str>>,
    registrations: Arc<Registrations>,
    routes: Arc<ArcSwap<Routes>>,
    sessions: Arc<Sessions>,
    shelf: Arc<Shelf>,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
    trust: Trust,
}

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("admin.listen: {0}")]
    Admin(edge::Fault),
    #[error(transparent)]
    Certificates(#[from] certs::Fault),
    #[error("the configuration names files that cannot be used\n{}", .0.to_string().trim_end())]
    Files(#[from] Faults),
    #[error("{0} ended before its time")]
    Death(&'static str),
    #[error(transparent)]
    Edge(#[from] edge::Fault),
    #[error(transparent)]
    Journal(#[from] store::Fault),
    #[error("signals cannot be heard: {0}")]
    Signals(std::io::Error),
    #[error("no thread can be made: {0}")]
    Thread(std::io::Error),
    #[error(transparent)]
    Trust(#[from] TrustFault),
}

impl App {
    /// Builds and binds everything; nothing is served yet. Must run on the control runtime.
    pub async fn build(config: Config) -> Result<Self, Fault> {
        let (clock, signals) = (Clock, Signals::hear()?);
        check_files(&config)?;
        let (tasks, deaths) = Tasks::new();
        let telemetry = Arc::new(Telemetry::default());
        count_panics(telemetry.clone());
        let trust = Trust::public()?;
        trust.take(trust.prepare(named(&config))?);
        let fixed = restart_only(&config);
        let Config {
            admin: admin_config,
            authorities,
            authorize,
            routes,
            server,
            store,
            files: _,
            log: _,
            warnings,
            webhooks,
        } = config;
        let warnings = warn_of(warnings);
        ensure_certificates(&server, clock)?;
        let authorities = Authorities::new(authorities);
        let pool = Pool::new(tasks.clone(), clock, trust.clone());
        for webhook in webhooks {
            let listener = telemetry.events.listen(None);
            let courier = Courier::new(webhook, clock, pool.clone(), tasks.clone(), telemetry.clone());
            tasks.spawn(courier.run(listener));
        }
        let client = Client::new(authorities.clone(), clock, pool, telemetry.clone());
        let pump = Pump::new(Arc::new(client), Handle::current(), tasks.clone());
        let durable = Durable::open(&store, &telemetry, &tasks)?;
        let registrations = Arc::new(durable.registrations(clock));
        let sessions = Sessions::with_store(clock, pump, telemetry.clone(), durable.store());
        let counters = Arc::new(Counters::default());
        let edge = Edge::bind(&server, tasks.clone(), counters.clone()).await?;
        let admin_counters = Arc::new(Counters::default());
        let admin_listener = match admin_config.listen {
            Some(address) => {
                Some(admin::bind(address, tasks.clone(), admin_counters.clone()).await.map_err(Fault::Admin)?)
            }
            None => None,
        };
        let public_url: Option<Arc<str>> = server.public_url.as_deref().map(Arc::from);
        let mut admin = Admin::new(
            &admin_config,
            authorities.clone(),
            sessions.clone(),
            registrations.clone(),
            telemetry.clone(),
            counters,
            tasks.clone(),
        );
        admin.public_url.clone_from(&public_url);
        admin.own = admin_counters;
        admin.warn_of(warnings);
        let admin = Arc::new(admin);
        let limits = edge.terms().limits();
        let routes = Configured { authorize, routes };
        let routes = Routes::new(&Routes::default(), routes, &authorities.current(), &limits);
        durable.restore(&authorities, &routes, &registrations, &sessions, &telemetry);
        let routes = Arc::new(ArcSwap::from_pointee(routes));
        let call = Call {
            authorities: authorities.clone(),
            clock,
            flights: Flights::new(Flights::MOST),
            identities: Arc::default(),
            public_url,
            registrations,
            routes: routes.clone(),
            sessions: sessions.clone(),
            shelf: Arc::default(),
            tasks: tasks.clone(),
            telemetry: telemetry.clone(),
            trust: trust.clone(),
        };
        let reload = Reload {
            admin: admin.clone(),
            authorities,
            certificates: edge.certificates(),
            fixed,
            load: None,
            one: Mutex::default(),
            routes,
            telemetry,
            terms: edge.terms(),
            trust,
        };
        reload.show(clock.wall());
        let (on_exit, reload) = (store.on_exit, Arc::new(reload));
        Ok(Self { admin, admin_listener, call, deaths, durable, edge, on_exit, reload, sessions, signals, tasks })
    }

    /// Signals that were heard since before there was a configuration to build it from.
    pub fn hearing(self, signals: Signals) -> Self {
        Self { signals, ..self }
    }

    /// On SIGHUP the configuration comes from there; otherwise the certificates alone are read again.
    pub fn reloading(mut self, load: impl Fn() -> Result<Config, Faults> + Send + Sync + 'static) -> Self {
        if let Some(reload) = Arc::get_mut(&mut self.reload) {
            reload.load = Some(Box::new(load));
        }
        self
    }

    /// For whoever has a new configuration for it while it runs.
    pub fn reload(&self) -> Arc<Reload> {
        self.reload.clone()
    }

    /// Where players connect.
    pub fn addresses(&self) -> &[Bound] {
        self.edge.addresses()
    }

    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin_listener.as_ref()?.addresses().first().map(|bound| bound.address)
    }

    /// Serves until a signal, until `until` resolves, or until something dies that must not.
    pub async fn run(self, until: impl Future<Output = ()>) -> Result<(), Fault> {
        let Self { admin, admin_listener, call, mut deaths, durable, edge, on_exit, reload, sessions, signals, tasks } =
            self;
        authority::watch(&reload.authorities, &sessions, &reload.telemetry, &tasks);
        tasks.critical("pacer", sessions::pace(sessions.clone(), tasks.clone()));
        let operators = match admin_listener {
            Some(listener) => Some(admin::serve(admin.clone(), listener).map_err(Fault::Admin)?),
            None => None,
        };
        let terms = edge.terms();
        let serving = edge.serve(move |_| call.handler())?;
        admin.ready.store(true, Ordering::Release);
        let end = tokio::select! {
            () = signals.follow(&reload) => Ok(()),
            () = until => Ok(()),
            Some(name) = deaths.recv() => Err(Fault::Death(name)),
        };
        admin.ready.store(false, Ordering::Release);
        reload.telemetry.events.end_streams();
        let cut = serving.drain(terms.limits().drain).await;
        let left = match on_exit {
            OnExit::Close => sessions.drain(End::Drained, CLOSING).await,
            OnExit::Keep => sessions.leave_open(CLOSING).await,
        };
        tracing::info!(cut_connections = cut, open_sessions_left = left, "stopped");
        tasks.stop();
        serving.end().await;
        if let Some(operators) = operators {
            operators.end().await;
        }
        tasks.drain(CLOSING).await;
        durable.end().await;
        end
    }
}

impl Call {
    /// Runs inside a worker's runtime: connections to upstreams belong to it.
    fn handler(&self) -> Arc<dyn Handler> {
        let pool = Pool::new(self.tasks.clone(), self.clock, self.trust.clone());
        let client = Client::new(self.authorities.clone(), self.clock, pool.clone(), self.telemetry.clone());
        Arc::new(Arc::new(Gateway {
            client,
            clock: self.clock,
            flights: self.flights.clone(),
            identities: self.identities.clone(),
            pool,
            public_url: self.public_url.clone(),
            registrations: self.registrations.clone(),
            routes: self.routes.clone(),
            sessions: self.sessions.clone(),
            shelf: self.shelf.clone(),
            tasks: self.tasks.clone(),
            telemetry: self.telemetry.clone(),
        }))
    }
}

/// A fresh checkout gets certificates for this machine. A pair that the configuration wants elsewhere must be there.
fn ensure_certificates(server: &config::Server, clock: Clock) -> Result<(), certs::Fault> {
    if server.listen.is_empty() || !server.tls.is_at_its_usual_place {
        return Ok(());
    }
    let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let bound = server.listen.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    names.extend(bound.map(|ip| ip.to_string()));
    certs::ensure(&server.tls.certificate, &server.tls.key, &names, clock.wall()).map(|_written| ())
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
