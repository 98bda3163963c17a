//! Composes the process: builds everything from top to bottom, and takes it down in the reverse order.
//!
//! Signals are heard first. Sockets are bound early, so that a taken port is known in time, and served late. On
//! SIGTERM or SIGINT the process becomes not ready, stops accepting, finishes the calls in flight, closes the
//! sessions at their authorities or leaves them for the next process, and ends. On SIGHUP it reads the configuration
//! again ([`ConfigReloader`]). On SIGUSR2 another process takes over (`app::handover`).

mod files;
mod gateway_parts;
mod handover;
mod persistence;
mod reload;
mod shutdown;
mod signals;
mod sockets;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

pub use self::files::check_files;
use self::files::{CheckedFiles, ensure_certificates, read_files};
use self::gateway_parts::{GatewayParts, start_couriers};
pub use self::handover::{HandoverFault, Launcher, Predecessor};
use self::persistence::{Durable, JournalOpening};
pub use self::reload::ConfigReloader;
use self::reload::{restart_only, warn_of};
use self::shutdown::ShutdownPlan;
use self::signals::ExitCause;
pub use self::signals::Signals;
pub use self::sockets::{InheritedSockets, SocketFault};
use crate::admin::{self, Admin};
use crate::authority::{self, Authorities, AuthorityClient};
use crate::clock::Clock;
use crate::config::{Config, ConfigFaults, OnExit};
use crate::edge::{self, BoundAddress, Edge, EdgeCounters, Handler, local_ca};
use crate::gateway::{ConfiguredRoutes, Routes, SingleFlight};
use crate::sessions::{self, AuthorityDispatcher, Sessions};
use crate::store;
use crate::task::{DeadTasks, Tasks};
use crate::telemetry::Telemetry;
use crate::upstream::{ConnectionPool, Trust, TrustFault};

pub struct App {
    admin: Arc<Admin>,
    admin_listener: Option<Edge>,
    call: GatewayParts,
    deaths: DeadTasks,
    durable: Durable,
    edge: Edge,
    /// True if the listening sockets were open before this process and may stay open after it.
    inherited: bool,
    launcher: Option<Launcher>,
    on_exit: OnExit,
    predecessor: Option<Predecessor>,
    reload: Arc<ConfigReloader>,
    sessions: Arc<Sessions>,
    signals: Signals,
    tasks: Tasks,
}

impl App {
    /// Builds and binds everything; nothing is served yet. Must run on the control runtime.
    pub async fn build(config: Config) -> Result<Self, AppFault> {
        Self::build_after(config, None, InheritedSockets::default()).await
    }

    /// Like [`Self::build`], for a process that inherits its sockets and may follow another one, which goes on
    /// serving until everything that can fail was checked.
    pub async fn build_after(
        config: Config,
        predecessor: Option<Predecessor>,
        sockets: InheritedSockets,
    ) -> Result<Self, AppFault> {
        let trust = Trust::public()?;
        let files = read_files(&config, &trust)?;
        let telemetry = Arc::new(Telemetry::new(Clock));
        count_panics(telemetry.clone());
        Self::build_with(config, (files, trust), telemetry, predecessor, sockets).await
    }

    /// Builds from files that were read; reads none of them again.
    async fn build_with(
        config: Config,
        (files, trust): (CheckedFiles, Trust),
        telemetry: Arc<Telemetry>,
        mut predecessor: Option<Predecessor>,
        mut sockets: InheritedSockets,
    ) -> Result<Self, AppFault> {
        let (clock, signals) = (Clock, Signals::hear()?);
        predecessor.iter().try_for_each(|it| it.check_store(&config.store.kind)).map_err(AppFault::HandoverRefused)?;
        let (tasks, deaths) = Tasks::new();
        // The process before holds its journal until it lets go.
        let opening = match &predecessor {
            None => JournalOpening::begin(&config.store, &telemetry),
            Some(_) => None,
        };
        trust.take(files.pins);
        let fixed = restart_only(&config);
        let Config {
            admin: admin_config,
            authorities,
            authorize,
            routes,
            server,
            store,
            texts,
            files: _,
            log,
            warnings,
            webhooks,
        } = config;
        telemetry.hash_identities(log.hashed_identities);
        telemetry.tell_suppressed_lines(&tasks);
        let warnings = warn_of(warnings);
        ensure_certificates(&server, clock)?;
        let authorities = Authorities::new(authorities, clock);
        let pool = ConnectionPool::new(tasks.clone(), clock, trust.clone());
        start_couriers(webhooks, clock, &pool, &tasks, &telemetry);
        authority::fetch_token_keys(&authorities, pool.clone(), clock, &telemetry, &tasks);
        let client = AuthorityClient::new(authorities.clone(), clock, pool, telemetry.clone());
        let dispatcher = AuthorityDispatcher::new(Arc::new(client), Handle::current(), tasks.clone());
        let (counters, admin_counters) = (Arc::new(EdgeCounters::default()), Arc::new(EdgeCounters::default()));
        let inherited = !sockets.is_empty();
        let bound = sockets.for_players(&server);
        let edge = Edge::bind_but(&server, clock, tasks.clone(), counters.clone(), bound, files.tls).await?;
        let admin_listener = match admin_config.listen {
            Some(address) => {
                let bound = sockets.for_admin(address);
                let listener = admin::bind(address, clock, tasks.clone(), admin_counters.clone(), bound);
                Some(listener.await.map_err(AppFault::Admin)?)
            }
            None => None,
        };
        sockets.finish(predecessor.is_some())?;
        if let Some(predecessor) = &mut predecessor {
            predecessor.let_go().await;
        }
        let durable = match opening.or_else(|| JournalOpening::begin(&store, &telemetry)) {
            Some(opening) => opening.finish(&tasks).await?,
            None => Durable::default(),
        };
        let registrations = Arc::new(durable.registrations(clock));
        let sessions = Sessions::with_store(clock, dispatcher, telemetry.clone(), durable.store());
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
        sessions.bound(limits.sessions);
        let routes = ConfiguredRoutes { authorize, routes, texts: Arc::new(texts) };
        let routes = Routes::new(&Routes::default(), routes, &authorities.current(), &limits);
        durable.restore(&authorities, &routes, &registrations, &sessions, &telemetry);
        let routes = Arc::new(ArcSwap::from_pointee(routes));
        let call = GatewayParts {
            authorities: authorities.clone(),
            clock,
            single_flight: SingleFlight::new(SingleFlight::MAX_CALLS),
            identity_watch: Arc::default(),
            public_url,
            registrations,
            routes: routes.clone(),
            sessions: sessions.clone(),
            media_memory: Arc::default(),
            slot_tickets: Arc::default(),
            via: Default::default(),
            tasks: tasks.clone(),
            telemetry: telemetry.clone(),
            trust: trust.clone(),
        };
        let reload = ConfigReloader {
            admin: admin.clone(),
            authorities,
            certificates: edge.certificates(),
            fixed,
            load: None,
            one: Mutex::default(),
            routes,
            sessions: sessions.clone(),
            telemetry,
            terms: edge.terms(),
            trust,
        };
        reload.show(clock.wall());
        let (on_exit, reload) = (store.on_exit, Arc::new(reload));
        Ok(Self {
            admin,
            admin_listener,
            call,
            deaths,
            durable,
            edge,
            inherited,
            launcher: None,
            on_exit,
            predecessor,
            reload,
            sessions,
            signals,
            tasks,
        })
    }

    /// Uses signals that were heard before there was a configuration.
    pub fn hearing(self, signals: Signals) -> Self {
        Self { signals, ..self }
    }

    /// Starts another process on SIGUSR2.
    ///
    /// # Errors
    /// A socket cannot be copied.
    pub fn launching(mut self, launcher: Option<Launcher>) -> Result<Self, AppFault> {
        self.launcher = match launcher {
            Some(launcher) => {
                let launcher = launcher.keeping(self.durable.file());
                Some(launcher.handing(&self.edge, self.admin_listener.as_ref()).map_err(AppFault::Copies)?)
            }
            None => None,
        };
        Ok(self)
    }

    /// Reads the configuration from there on SIGHUP. Without this only the certificates are read again.
    pub fn reloading(mut self, load: impl Fn() -> Result<Config, ConfigFaults> + Send + Sync + 'static) -> Self {
        if let Some(reload) = Arc::get_mut(&mut self.reload) {
            reload.load = Some(Box::new(load));
        }
        self
    }

    /// Gives a new configuration to the running process.
    pub fn reload(&self) -> Arc<ConfigReloader> {
        self.reload.clone()
    }

    /// A worker's handler, for a program that serves players by an [`Edge`] of its own. Call it in the runtime of the
    /// thread that serves.
    pub fn handler(&self) -> Arc<dyn Handler> {
        self.call.handler()
    }

    /// The addresses for players.
    pub fn addresses(&self) -> &[BoundAddress] {
        self.edge.addresses()
    }

    /// The tasks of the process, to which an embedding program may add its own.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_listener.as_ref()?.addresses().first().map(|bound| bound.address)
    }

    /// Serves until a signal comes, `until` resolves, or a critical task dies.
    pub async fn run(self, until: impl Future<Output = ()>) -> Result<(), AppFault> {
        let (players, admin_address) = (self.addresses().to_vec(), self.admin_address());
        let Self { admin, call, mut deaths, durable, edge, reload, sessions, signals, tasks, .. } = self;
        reload.authorities.serve(&sessions);
        tasks.critical("session timer", sessions::pace(sessions.clone(), tasks.clone()));
        let operators = match self.admin_listener {
            Some(listener) => Some(admin::serve(admin.clone(), listener).map_err(AppFault::Admin)?),
            None => None,
        };
        let terms = edge.terms();
        let serving = edge.serve(move |_| call.handler())?;
        admin.ready.store(true, Ordering::Release);
        shutdown::tell_ready();
        shutdown::say_addresses(&players, admin_address);
        if let Some(predecessor) = self.predecessor {
            predecessor.serving().await;
        }
        let end = tokio::select! {
            ending = signals.follow(&reload, self.launcher.as_ref()) => Ok(ending),
            () = until => Ok(ExitCause::Stop),
            Some(name) = deaths.recv() => Err(AppFault::Death(name)),
        };
        admin.ready.store(false, Ordering::Release);
        reload.telemetry.events.end_streams();
        let grace = terms.limits().drain;
        let (inherited, on_exit) = (self.inherited, self.on_exit);
        let ends = ShutdownPlan { durable, inherited, on_exit, operators, serving, sessions, tasks };
        match (end, self.launcher) {
            (Ok(ExitCause::Handover(successor)), Some(launcher)) => ends.hand_over(successor, launcher, grace).await,
            (end, launcher) => {
                // Otherwise connections would come into the backlog of unserved sockets.
                drop(launcher);
                ends.stop(grace).await;
                end.map(|_stopped| ())
            }
        }
    }
}

/// Keeps a panic in one call from ending the others. Counts it and logs only its place, because its message may hold
/// secrets.
fn count_panics(telemetry: Arc<Telemetry>) {
    std::panic::set_hook(Box::new(move |panic| {
        telemetry.metrics.panics.inc();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

#[derive(Debug, thiserror::Error)]
pub enum AppFault {
    #[error(transparent)]
    Admin(edge::EdgeFault),
    #[error(transparent)]
    Certificates(#[from] local_ca::CertsFault),
    #[error("the configuration names files that cannot be used\n{}", .0.to_string().trim_end())]
    Files(#[from] ConfigFaults),
    #[error("a listening socket cannot be copied: {0}")]
    Copies(io::Error),
    #[error("{0} ended before its time")]
    Death(&'static str),
    #[error(transparent)]
    Edge(#[from] edge::EdgeFault),
    #[error("the successor (process {0}) does not serve: {1}")]
    Handover(u32, HandoverFault),
    #[error("nothing is handed over: {0}")]
    HandoverRefused(HandoverFault),
    #[error(transparent)]
    Journal(#[from] store::JournalFault),
    #[error(transparent)]
    Sockets(#[from] SocketFault),
    #[error("signals cannot be heard: {0}")]
    Signals(io::Error),
    #[error("no thread can be made: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Trust(#[from] TrustFault),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    /// The files are gone when the process is built from what was read.
    #[tokio::test]
    async fn a_start_reads_each_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let now = Clock.wall();
        let request = local_ca::CertsRequest { directory: folder.path(), names: &names, now, renew_authority: false };
        local_ca::init(&request).unwrap();
        let text = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
                    tls = { certificate = \"leaf.pem\", key = \"leaf.key\", client-ca = \"ca.pem\" }\n\
                    [admin]\nlisten = \"off\"\n\
                    [[route]]\npath = \"/l\"\nlicense-server = \"https://127.0.0.1:9/\"\nca = \"ca.pem\"\n";
        let config = config::parse(text, folder.path(), std::iter::empty()).unwrap();
        let trust = Trust::public().unwrap();
        let files = read_files(&config, &trust).unwrap();
        folder.close().unwrap();
        let app =
            App::build_with(config, (files, trust), Arc::new(Telemetry::new(Clock)), None, InheritedSockets::default())
                .await
                .unwrap();
        assert!(app.addresses().iter().any(|bound| bound.tls));
    }

    #[test]
    fn a_check_names_every_file_that_cannot_be_used() {
        let text = "[server]\nlisten = [\"127.0.0.1:0\"]\n\
                    tls = { certificate = \"leaf.pem\", key = \"leaf.key\", client-ca = \"client.pem\" }\n\
                    [[route]]\npath = \"/l\"\nlicense-server = \"https://127.0.0.1:9/\"\nca = \"one.pem\"\n\
                    [[route]]\npath = \"/m\"\nlicense-server = \"https://127.0.0.1:10/\"\nca = \"two.pem\"\n";
        let config = config::parse(text, Path::new("/nowhere"), std::iter::empty()).unwrap();
        let said = check_files(&config).unwrap_err().to_string();
        for file in ["leaf.pem", "client.pem", "one.pem", "two.pem"] {
            assert!(said.contains(file), "{file}: {said}");
        }
    }
}
