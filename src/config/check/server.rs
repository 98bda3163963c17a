//! `[server]`, `[server.tls]` and `[server.limits]`.

use std::net::SocketAddr;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use crate::config::section::Section;
use crate::config::words;
use crate::config::{Endpoint, ForwardedHeader, HostPattern, Limits, Origins, Server, Tls, TrustedProxies};

const UP_TO_A_DAY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

const FORWARDED_HEADER: [(&str, ForwardedHeader); 3] = [
    ("any", ForwardedHeader::Any),
    ("forwarded", ForwardedHeader::Forwarded),
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
];

/// `admin` is the address of the admin listener, which no other listener can share.
pub(super) fn server(table: &Section<'_>, admin: Option<SocketAddr>) -> Server {
    let listen = table.list("listen", "[\"127.0.0.1:8443\"]", words::address);
    let listen = listen.unwrap_or_else(|| vec![SocketAddr::from(([127, 0, 0, 1], 8443))]);
    let listen_plain = table.list("listen-plain", "[\"127.0.0.1:8080\"]", words::address);
    let listen_plain = listen_plain.unwrap_or_else(|| vec![SocketAddr::from(([127, 0, 0, 1], 8080))]);
    check_listeners(table, &listen, &listen_plain, admin);
    let trusted_proxies = trusted_proxies(table);
    let forwarded_header = table.choice("forwarded-header", &FORWARDED_HEADER).unwrap_or_default();
    if forwarded_header != ForwardedHeader::Any && trusted_proxies.is_empty() && !table.has("trusted-proxies") {
        table.fault("forwarded-header", "needs server.trusted-proxies: the header of anybody else is not read");
    }
    let proxy_protocol = proxy_protocol(table, listen.iter().chain(&listen_plain), &trusted_proxies);
    let public_url = table.word("public-url", words::public_url);
    let host_names = host_names(table, public_url.as_deref());
    Server {
        forwarded_header,
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

fn check_listeners(table: &Section<'_>, listen: &[SocketAddr], plain: &[SocketAddr], admin: Option<SocketAddr>) {
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

/// Those of the list, and the one of `public-url`.
fn host_names(table: &Section<'_>, public_url: Option<&str>) -> Vec<HostPattern> {
    let mut hosts = table.list("host-names", "[\"tv-proxy.home.arpa\"]", words::host_pattern).unwrap_or_default();
    let public = public_url.and_then(|url| Endpoint::parse(url).ok());
    hosts.extend(public.map(|public| HostPattern::Exact(public.host().to_ascii_lowercase())));
    hosts
}

fn trusted_proxies(table: &Section<'_>) -> TrustedProxies {
    let networks = table.list("trusted-proxies", "[\"10.0.0.2\", \"172.16.0.0/12\"]", words::network);
    let trusted = TrustedProxies::new(networks.unwrap_or_default());
    if trusted.trusts_everybody() {
        table.warn("trusted-proxies", "trusts everybody: any player can claim any address");
    }
    trusted
}

fn proxy_protocol<'l>(
    table: &Section<'_>,
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

fn origins(table: &Section<'_>) -> Origins {
    if table.is("origins", "any") {
        return Origins::Any;
    }
    let list = table.list("origins", "[\"https://tv.example\"], or \"any\"", words::origin);
    list.map_or(Origins::Any, Origins::List)
}

fn tls(table: &Section<'_>) -> Tls {
    let from_folder = |name: &str| table.sheet.folder.join(name);
    let usual = (from_folder("certs/leaf.pem"), from_folder("certs/leaf.key"));
    let certificate = table.file("certificate").unwrap_or_else(|| usual.0.clone());
    let key = table.file("key").unwrap_or_else(|| usual.1.clone());
    let is_at_its_usual_place = (&certificate, &key) == (&usual.0, &usual.1);
    Tls { certificate, client_ca: table.file("client-ca"), is_at_its_usual_place, key }
}

/// 0 stands for as many as there are cores.
fn workers(table: &Section<'_>) -> usize {
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    table.whole("workers", 0..=1024).filter(|workers| *workers > 0).unwrap_or_else(cores)
}

fn limits(table: &Section<'_>) -> Limits {
    let duration = |key: &str, default| table.duration(key, UP_TO_A_DAY).unwrap_or(Duration::from_secs(default));
    let count = |key: &str, default| table.whole(key, 1..=1_000_000).unwrap_or(default);
    // dash.js gives up on a license after 8 s.
    let call = table.duration("call", Duration::from_millis(1)..=Duration::from_secs(7));
    let body_max = table.size("body-max", 1 << 10..=16 << 20).unwrap_or(64 << 10);
    let all_memory = body_memory(table, "body-memory", 64 << 20, body_max);
    let body_memory_per_address = body_memory(table, "body-memory-per-address", 8 << 20, body_max);
    Limits {
        body: duration("body", 10),
        body_max,
        body_memory: all_memory,
        body_memory_per_address,
        call: call.unwrap_or(Duration::from_secs(6)),
        connections: count("connections", 10_000),
        connections_per_address: count("connections-per-address", 256),
        drain: table.duration("drain", Duration::ZERO..=Duration::from_hours(1)).unwrap_or(Duration::from_secs(10)),
        event_listeners_per_address: count("event-listeners-per-address", 32),
        first_byte: duration("first-byte", 5),
        handshake: duration("handshake", 5),
        head: duration("head", 10),
        idle: duration("idle", 120),
        in_flight: count("in-flight", 1000),
        in_flight_per_address: count("in-flight-per-address", 128),
        lifetime: duration("lifetime", 3600),
        new_connections_per_address: count("new-connections-per-address", 200),
        sessions: table.whole("sessions", 1..=10_000_000).unwrap_or(1_000_000),
    }
}

/// At least one body of the largest size fits, or none of that size would ever be taken.
fn body_memory(table: &Section<'_>, key: &str, default: usize, body_max: usize) -> usize {
    let memory = table.size(key, 1 << 10..=64 << 30);
    if memory.is_some_and(|memory| memory < body_max) {
        table.fault(key, "must be at least body-max, or no body of that size could come in");
    }
    memory.unwrap_or(default.max(body_max))
}
