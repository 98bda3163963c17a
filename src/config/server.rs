//! `[server]` and `[server.tls]`: the listeners for players.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use super::limits::limits;
use super::table_reader::TableReader;
use super::trusted_proxies::{forwarded_header, trusted_proxies};
use super::{EndpointUrl, ForwardedHeader, HostPattern, ServerLimits, TrustedProxies, host_pattern, words};

/// `[server]`: the listeners for players.
#[derive(Debug)]
pub struct ServerSettings {
    /// The header of a trusted proxy that names the viewer.
    pub forwarded_header: ForwardedHeader,
    /// Names by which players may call us, besides addresses and localhost. They matter if `origins` is a list.
    pub host_names: Vec<HostPattern>,
    pub limits: ServerLimits,
    /// HTTPS, HTTP/1.1 and HTTP/2 by ALPN.
    pub listen: Vec<SocketAddr>,
    /// Cleartext HTTP/1.1; only loopback addresses unless `plain-beyond-loopback = true`.
    pub listen_plain: Vec<SocketAddr>,
    pub origins: AllowedOrigins,
    /// Listeners among `listen` and `listen_plain` whose connections begin with a PROXY protocol header.
    pub proxy_protocol: Vec<SocketAddr>,
    /// Base URL by which players reach us, without a slash at its end; `None` takes their `Host`.
    pub public_url: Option<String>,
    pub tls: TlsSettings,
    /// Proxies that may name the viewer of a call.
    pub trusted_proxies: TrustedProxies,
    /// Threads that serve players, each with its own runtime and listener; at least 1.
    pub workers: usize,
}

#[derive(Debug)]
pub struct TlsSettings {
    pub certificate: PathBuf,
    /// CA whose client certificates are requested and name the device (`mtls`).
    pub client_ca: Option<PathBuf>,
    /// `true` if certificate and key are at the place where `run` makes them.
    pub is_at_its_usual_place: bool,
    pub key: PathBuf,
}

/// Web pages that may call us across origins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AllowedOrigins {
    Any,
    List(Vec<String>),
}

/// `admin` is the address of the admin listener, which no other listener can share.
pub(super) fn server(table: &TableReader<'_>, admin: Option<SocketAddr>) -> ServerSettings {
    let listen = table.list("listen", "[\"127.0.0.1:8443\"]", words::address);
    let listen = listen.unwrap_or_else(|| vec![SocketAddr::from(([127, 0, 0, 1], 8443))]);
    let listen_plain = table.list("listen-plain", "[\"127.0.0.1:8080\"]", words::address);
    let listen_plain = listen_plain.unwrap_or_else(|| vec![SocketAddr::from(([127, 0, 0, 1], 8080))]);
    check_listeners(table, &listen, &listen_plain, admin);
    let trusted_proxies = trusted_proxies(table);
    let proxy_protocol = proxy_protocol(table, listen.iter().chain(&listen_plain), &trusted_proxies);
    let public_url = table.word("public-url", public_url);
    let host_names = host_names(table, public_url.as_deref());
    ServerSettings {
        forwarded_header: forwarded_header(table, &trusted_proxies),
        host_names,
        limits: limits(&table.table("limits")),
        listen,
        listen_plain,
        origins: origins(table),
        proxy_protocol,
        public_url,
        tls: tls(&table.table("tls")),
        trusted_proxies,
        workers: workers(table),
    }
}

fn check_listeners(table: &TableReader<'_>, listen: &[SocketAddr], plain: &[SocketAddr], admin: Option<SocketAddr>) {
    let beyond = table.flag("plain-beyond-loopback").unwrap_or(false);
    for address in plain.iter().filter(|address| !beyond && !address.ip().to_canonical().is_loopback()) {
        let what = format!(
            "offers cleartext at {address}, beyond this machine: use server.listen, \
            or set plain-beyond-loopback = true if you mean it"
        );
        table.fault("listen-plain", what);
    }
    if listen.is_empty() && plain.is_empty() && (table.has("listen") || table.has("listen-plain")) {
        table.fault("listen", "is empty, and listen-plain too: no player could connect");
    }
    let mut taken: Vec<SocketAddr> = admin.into_iter().collect();
    for (key, address) in
        listen.iter().map(|address| ("listen", address)).chain(plain.iter().map(|address| ("listen-plain", address)))
    {
        if address.port() != 0 && taken.contains(address) {
            table.fault(key, format!("has {address}, which another listener uses already"));
        }
        taken.push(*address);
    }
}

/// Reads `host-names`, and adds the host of `public-url`.
fn host_names(table: &TableReader<'_>, public_url: Option<&str>) -> Vec<HostPattern> {
    let mut hosts =
        table.list("host-names", "[\"tv-proxy.home.arpa\"]", host_pattern::host_pattern).unwrap_or_default();
    let public = public_url.and_then(|url| EndpointUrl::parse(url).ok());
    hosts.extend(public.map(|public| HostPattern::Exact(public.host().to_ascii_lowercase())));
    hosts
}

fn proxy_protocol<'l>(
    table: &TableReader<'_>,
    listeners: impl Iterator<Item = &'l SocketAddr> + Clone,
    trusted: &TrustedProxies,
) -> Vec<SocketAddr> {
    let expecting = table.list("proxy-protocol", "[\"0.0.0.0:8443\"]", words::address).unwrap_or_default();
    for address in expecting.iter().filter(|address| !listeners.clone().any(|listener| listener == *address)) {
        table.fault("proxy-protocol", format!("has {address}, which is in neither listen nor listen-plain"));
    }
    if !expecting.is_empty() && trusted.is_empty() && !table.has("trusted-proxies") {
        table.fault("proxy-protocol", "needs server.trusted-proxies, or every connection would be closed");
    }
    expecting
}

fn origins(table: &TableReader<'_>) -> AllowedOrigins {
    if table.is("origins", "any") {
        return AllowedOrigins::Any;
    }
    let list = table.list("origins", "[\"https://tv.example\"], or \"any\"", words::origin);
    list.map_or(AllowedOrigins::Any, AllowedOrigins::List)
}

fn tls(table: &TableReader<'_>) -> TlsSettings {
    let from_folder = |name: &str| table.sheet.folder.join(name);
    let usual = (from_folder("certs/leaf.pem"), from_folder("certs/leaf.key"));
    let certificate = table.file("certificate").unwrap_or_else(|| usual.0.clone());
    let key = table.file("key").unwrap_or_else(|| usual.1.clone());
    let is_at_its_usual_place = (&certificate, &key) == (&usual.0, &usual.1);
    TlsSettings { certificate, client_ca: table.file("client-ca"), is_at_its_usual_place, key }
}

/// Reads the number of workers; 0 means the number of cores.
fn workers(table: &TableReader<'_>) -> usize {
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    table.whole("workers", 0..=1024).filter(|workers| *workers > 0).unwrap_or_else(cores)
}

/// A base for URLs of ours: `https://tv-proxy.example`, without a slash at its end.
fn public_url(text: &str) -> Result<String, &'static str> {
    let base = text.trim_end_matches('/');
    let endpoint = EndpointUrl::parse(base)?;
    if endpoint.query().is_some() { Err("must not have a query") } else { Ok(base.to_owned()) }
}
