//! The operators' side: health, metrics, the sessions API and its page, on a listener of its own.
//!
//! Never on the players' port. Shows no token, key or body. A page from elsewhere cannot use it: a
//! request with a foreign `Origin`, or with a `Host` that is not this listener's (DNS rebinding), is
//! refused. Called by operators, by Prometheus, by `sidebeat sessions` and `sidebeat slots`.

mod api;
mod client;
mod configuration;
mod gate;
mod json;
mod metrics;
mod playbacks;
mod slots;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

pub use self::client::{Order, order};
use self::configuration::Configuration;
use self::gate::Gate;
use crate::authority::Authorities;
use crate::clock::Clock;
use crate::config;
use crate::edge::Counters;
use crate::playbacks::Registrations;
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;

pub struct Admin {
    authorities: Arc<Authorities>,
    clock: Clock,
    configuration: Mutex<Configuration>,
    pub edge: Arc<Counters>,
    gate: ArcSwap<Gate>,
    /// How players reach us, if the configuration says.
    pub public_url: Option<Arc<str>>,
    /// Listening, configured, and not on the way down.
    pub ready: AtomicBool,
    registrations: Arc<Registrations>,
    sessions: Arc<Sessions>,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
}

impl Admin {
    pub fn new(
        config: &config::Admin,
        authorities: Arc<Authorities>,
        sessions: Arc<Sessions>,
        registrations: Arc<Registrations>,
        telemetry: Arc<Telemetry>,
        edge: Arc<Counters>,
        tasks: Tasks,
    ) -> Self {
        let (gate, ready) = (ArcSwap::from_pointee(Gate::new(config)), AtomicBool::new(false));
        let configuration = Mutex::new(Configuration::loaded(Clock.wall()));
        let public_url = None;
        Self {
            authorities,
            clock: Clock,
            configuration,
            edge,
            gate,
            public_url,
            ready,
            registrations,
            sessions,
            tasks,
            telemetry,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// Binds now, so that a taken port is known before anything is served.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the process stops.
pub async fn serve(admin: Arc<Admin>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = admin.tasks.stopped() => return,
        };
        match accepted {
            Ok((stream, _)) => admin.tasks.spawn(converse(admin.clone(), stream)),
            // Out of descriptors, or the peer is gone already: the next one may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(admin: Arc<Admin>, stream: TcpStream) {
    let handler = admin.clone();
    let service = service_fn(move |request| {
        let admin = handler.clone();
        async move { Ok::<_, std::convert::Infallible>(admin.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A peer that breaks off has nobody to tell.
        _broken = connection => {}
        () = admin.tasks.stopped() => {}
    }
}
