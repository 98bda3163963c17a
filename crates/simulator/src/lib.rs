//! `sidebeat headend`: a simulated head-end, for trying, teaching and testing.
//!
//! Serves NAGRA's session service (version 1), FirstLight's services, and license servers with really signed tokens
//! and faithfully shaped messages without keys (only ClearKey has real ones), content with byte ranges, a live
//! channel, and a control API under `/sim/` that scripts faults and lists sessions. Shares no dialect code with the
//! proxy: it uses only the ledger and the lowest layer.

mod answer;
mod body;
mod call;
mod caller;
mod channel;
mod clearkey;
mod content;
mod control_api;
mod endpoint;
mod fairplay;
mod fault_action;
mod fault_script;
mod filler;
mod firstlight;
mod journal;
mod jwt;
mod license;
mod options;
mod playready;
mod protobuf_writer;
mod range;
mod serve;
mod settings;
mod shared;
mod ssm;
mod state;
mod token;
mod widevine;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use self::content::ContentFiles;
pub use self::options::{ClearKey, DEMO_KEYS, EmbeddedFile, HeadendTls, Options};
pub use self::settings::{
    HeartbeatSpelling, LightSettings, RenewalPath, Settings, SettingsFault, StaleToken, WidevinePolicy,
};
use self::shared::HeadendShared;
use self::state::HeadendState;
use self::token::Issuer;
use sidebeat_system::clock::Clock;
use sidebeat_system::task::Tasks;

/// Addresses of a bound head-end.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedHeadend {
    pub address: SocketAddr,
    pub tls_address: Option<SocketAddr>,
}

#[derive(Debug, Error)]
pub enum BindFault {
    #[error("--content {}: {why}; name a folder that can be read", folder.display())]
    Content { folder: PathBuf, why: io::Error },
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("cannot read a certificate or key: {0}")]
    Pem(#[from] pem::Error),
    #[error(transparent)]
    Settings(#[from] SettingsFault),
    #[error("the certificate and key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

impl SimulatedHeadend {
    /// Binds every listener. Nothing is served before the returned future runs. It ends when `tasks` are stopped;
    /// open connections are tasks of their own and finish their call.
    pub async fn bind(
        options: Options,
        tasks: Tasks,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), BindFault> {
        if let Some(folder) = &options.content
            && let Err(why) = std::fs::read_dir(folder)
        {
            return Err(BindFault::Content { folder: folder.clone(), why });
        }
        let plain = listen(options.listen).await?;
        let tls = match &options.tls {
            Some(tls) => Some((listen(tls.listen).await?, acceptor(&tls.certificate, &tls.key)?)),
            None => None,
        };
        let bound = Self {
            address: plain.local_addr().map_err(|fault| BindFault::Listen(options.listen, fault))?,
            tls_address: tls.as_ref().and_then(|(listener, _)| listener.local_addr().ok()),
        };
        let shared = Arc::new(share(options, tasks)?);
        Ok((bound, run(shared, plain, tls)))
    }
}

async fn run(shared: Arc<HeadendShared>, plain: TcpListener, tls: Option<(TcpListener, TlsAcceptor)>) {
    let secure = async {
        if let Some((listener, acceptor)) = tls {
            serve::accept(listener, Some(acceptor), Arc::clone(&shared)).await;
        }
    };
    tokio::join!(serve::accept(plain, None, Arc::clone(&shared)), secure, shared.expire());
}

fn share(options: Options, tasks: Tasks) -> Result<HeadendShared, SettingsFault> {
    let clock = Clock;
    let issuer = Arc::new(Issuer::new(options.secret.as_ref(), &options.tenant));
    let state = HeadendState::new(issuer, options.settings.checked()?, options.clear_keys, clock.now());
    let content = ContentFiles { clock, embeds: options.embeds, folder: options.content };
    Ok(HeadendShared::new(state, content, options.tenant, tasks, clock))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BindFault> {
    TcpListener::bind(address).await.map_err(|fault| BindFault::Listen(address, fault))
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, BindFault> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
