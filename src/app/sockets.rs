//! Inherits listening sockets, from systemd or from the process before this one.
//!
//! They come as systemd passes them (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`). Each goes to the configured
//! listener that it fits, by its name or by its address.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::config::ServerSettings;
use crate::edge::BoundListener;

pub(super) const COUNT_VARIABLE: &str = "LISTEN_FDS";
pub(super) const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";
pub(super) const PROCESS_VARIABLE: &str = "LISTEN_PID";

/// Kinds of listeners, by the key that configures their address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ListenerKind {
    Admin,
    Plain,
    Tls,
}

impl ListenerKind {
    const ALL: [Self; 3] = [Self::Admin, Self::Plain, Self::Tls];

    /// Name in `FileDescriptorName=` of a socket unit.
    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Plain => "listen-plain",
            Self::Tls => "listen",
        }
    }

    /// The name under which a process hands a socket to the next. Names have no colons.
    pub(super) fn full_name(self, configured: SocketAddr) -> String {
        format!("{}@{configured}", self.name()).replace(':', "_")
    }
}

/// Inherited sockets that no listener has taken yet.
#[derive(Debug, Default)]
pub struct InheritedSockets {
    sockets: Vec<InheritedSocket>,
}

#[derive(Debug)]
struct InheritedSocket {
    address: SocketAddr,
    listener: TcpListener,
    name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    #[error("LISTEN_FDS: socket {number} (\"{name}\") cannot be listened on: {why}")]
    Unusable { name: String, number: usize, why: std::io::Error },
    #[error(
        "LISTEN_FDS: the socket \"{name}\" on {address} fits no listener of the configuration: write its address into \
         server.listen, server.listen-plain or admin.listen, or name it listen, listen-plain or admin \
         (FileDescriptorName=)"
    )]
    Unwanted { address: SocketAddr, name: String },
}

impl InheritedSockets {
    /// Takes the sockets that the environment names. Must come before anything opens a descriptor.
    ///
    /// # Errors
    /// A descriptor is not a listening socket.
    pub fn take() -> Result<Self, SocketFault> {
        let names = std::env::var(NAMES_VARIABLE).unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..handed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let socket = handed.take_tcp_listener(index).and_then(|listener| match listener {
                Some(listener) => InheritedSocket::new(name.clone(), listener).map(Some),
                None => Ok(None),
            });
            let fault = |why| SocketFault::Unusable { name: name.clone(), number: index + 3, why };
            sockets.extend(socket.map_err(fault)?);
        }
        Ok(Self { sockets })
    }

    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The sockets of the players' listeners. Missing ones are bound anew.
    pub(super) fn for_players(&mut self, server: &ServerSettings) -> Vec<BoundListener> {
        let listeners = [(ListenerKind::Tls, &server.listen), (ListenerKind::Plain, &server.listen_plain)];
        let wanted = listeners
            .into_iter()
            .flat_map(|(kind, addresses)| addresses.iter().map(move |address| (kind, *address, addresses.len() == 1)));
        let taken = wanted.map(|(kind, address, alone)| BoundListener {
            address,
            sockets: self.claim(kind, address, alone),
            tls: kind == ListenerKind::Tls,
        });
        taken.filter(|listener| !listener.sockets.is_empty()).collect()
    }

    pub(super) fn for_admin(&mut self, address: SocketAddr) -> Option<BoundListener> {
        let sockets = self.claim(ListenerKind::Admin, address, true);
        Some(BoundListener { address, sockets, tls: false }).filter(|listener| !listener.sockets.is_empty())
    }

    /// The sockets of one listener: of its name, else on its address. `alone` is true if no other listener has this
    /// kind.
    fn claim(&mut self, kind: ListenerKind, configured: SocketAddr, alone: bool) -> Vec<TcpListener> {
        let full = kind.full_name(configured);
        let named_otherwise =
            |name: &str| ListenerKind::ALL.into_iter().any(|other| other != kind && name == other.name());
        let by_full_name = |socket: &&InheritedSocket| socket.name == full;
        let by_address =
            |socket: &&InheritedSocket| is_same(socket.address, configured) && !named_otherwise(&socket.name);
        let by_name = |socket: &&InheritedSocket| alone && socket.name == kind.name();
        let find = |fits: &dyn Fn(&&InheritedSocket) -> bool| self.sockets.iter().find(fits);
        let first = find(&by_full_name).or_else(|| find(&by_address)).or_else(|| find(&by_name));
        let Some((name, address)) = first.map(|first| (first.name.clone(), first.address)) else { return Vec::new() };
        // Each worker may have had a socket of its own.
        let of_one = |socket: &mut InheritedSocket| socket.name == name && socket.address == address;
        self.sockets.extract_if(.., of_one).map(|socket| socket.listener).collect()
    }

    /// Call when every listener has its own. A remaining socket would hold connections that are never accepted.
    pub(super) fn finish(self, is_handed_over: bool) -> Result<(), SocketFault> {
        for InheritedSocket { address, name, listener: _closed } in self.sockets {
            if !is_handed_over {
                return Err(SocketFault::Unwanted { address, name });
            }
            tracing::warn!(%address, "no longer listened on: the configuration does not name it any more");
        }
        Ok(())
    }
}

impl InheritedSocket {
    fn new(name: String, listener: TcpListener) -> std::io::Result<Self> {
        #[cfg(target_os = "linux")]
        if !rustix::net::sockopt::socket_acceptconn(&listener)? {
            return Err(std::io::Error::other("it does not listen (Accept= must be off)"));
        }
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, listener, name })
    }
}

/// True if the socket fits. `[::]` of a socket unit that names only a port accepts IPv4 as well.
fn is_same(bound: SocketAddr, configured: SocketAddr) -> bool {
    let ip = bound.ip() == configured.ip() || (bound.ip().is_unspecified() && configured.ip().is_unspecified());
    ip && bound.port() == configured.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(names: &[&str]) -> (InheritedSockets, Vec<SocketAddr>) {
        let bind =
            |name: &&str| InheritedSocket::new((*name).to_owned(), TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let sockets: Vec<_> = names.iter().map(bind).collect();
        let addresses = sockets.iter().map(|socket| socket.address).collect();
        (InheritedSockets { sockets }, addresses)
    }

    fn claimed(
        sockets: &mut InheritedSockets,
        kind: ListenerKind,
        configured: SocketAddr,
        alone: bool,
    ) -> Vec<SocketAddr> {
        sockets.claim(kind, configured, alone).iter().map(|listener| listener.local_addr().unwrap()).collect()
    }

    #[test]
    fn a_socket_goes_to_the_listener_that_it_fits() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        // By its address, whatever systemd calls it.
        let (mut sockets, at) = inherited(&["sidebeat.socket", "sidebeat.socket"]);
        assert_eq!(claimed(&mut sockets, ListenerKind::Tls, at[1], false), [at[1]]);
        assert_eq!(claimed(&mut sockets, ListenerKind::Tls, any, true), []);
        assert!(sockets.finish(false).unwrap_err().to_string().contains("fits no listener"));
        // By the name of its key, where there is one listener of it.
        let (mut sockets, at) = inherited(&["admin", "listen-plain", "listen"]);
        assert_eq!(claimed(&mut sockets, ListenerKind::Plain, any, false), []);
        assert_eq!(claimed(&mut sockets, ListenerKind::Plain, at[2], false), [], "it is named for another");
        assert_eq!(claimed(&mut sockets, ListenerKind::Plain, any, true), [at[1]]);
        assert_eq!(claimed(&mut sockets, ListenerKind::Tls, any, true), [at[2]]);
        assert_eq!(claimed(&mut sockets, ListenerKind::Admin, any, true), [at[0]]);
        assert!(sockets.finish(false).is_ok());
        // By the full name of a process before, though the system chose the port.
        let plain = ListenerKind::Plain.full_name(any);
        assert!(!plain.contains(':'));
        let (mut sockets, at) = inherited(&["listen@other", &plain, &plain]);
        assert_eq!(claimed(&mut sockets, ListenerKind::Plain, any, false), [at[1]], "and not another listener's");
        assert_eq!(claimed(&mut sockets, ListenerKind::Plain, any, false), [at[2]]);
        assert!(sockets.finish(true).is_ok(), "a listener may go with a new configuration");
    }

    #[test]
    fn a_socket_for_every_address_is_one_for_every_ipv4_address() {
        for (bound, configured, same) in [
            ("[::]:8443", "0.0.0.0:8443", true),
            ("[::]:8443", "[::]:8443", true),
            ("0.0.0.0:8443", "0.0.0.0:8444", false),
            ("127.0.0.1:8443", "0.0.0.0:8443", false),
            ("[::1]:8443", "[::]:8443", false),
        ] {
            assert_eq!(is_same(bound.parse().unwrap(), configured.parse().unwrap()), same, "{bound} {configured}");
        }
    }
}
