//! Tests requests that cross the end of a process, or a reload, on earlier connections to players' and operators'
//! listeners.

use std::net::{SocketAddr, TcpListener};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::edge_support::{ask, read_reply, read_to_end, status};
use crate::handover::activated;
use crate::home::Home;
use crate::process::{CLEARKEY, Proxy, eventually};

/// The event that the process meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Event {
    Handover,
    Reload,
    /// A service manager keeps the sockets.
    StopWithSockets,
    Stop,
}

/// A connection, what it is still to send, and what it stands for.
struct OpenConnection {
    is_of_player: bool,
    rest: String,
    stream: TcpStream,
    what: String,
}

/// Sends on all of them, before the first reply is awaited: each has a second.
async fn are_answered(mut connections: Vec<OpenConnection>, event: Event) {
    for connection in &mut connections {
        connection.send().await;
    }
    for connection in connections {
        connection.expect_answer(event).await;
    }
}

/// Opens an unused connection and a used one, and one of each with half a head sent.
async fn connect_all(address: SocketAddr, request: &str, whose: &str) -> Vec<OpenConnection> {
    let mut all = Vec::new();
    for (used, half) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if used {
            assert_eq!(status(&ask(&mut stream, request).await.unwrap()), 200);
        }
        let (sent, rest) = request.split_at(if half { 9 } else { 0 });
        stream.write_all(sent.as_bytes()).await.unwrap();
        let (is_of_player, what) = (whose == "player", format!("{whose}, used={used}, half={half}"));
        all.push(OpenConnection { is_of_player, rest: rest.to_owned(), stream, what });
    }
    all
}

impl OpenConnection {
    async fn send(&mut self) {
        // Reading shows if the connection was closed meanwhile.
        let _written = self.stream.write_all(self.rest.as_bytes()).await;
    }

    async fn expect_answer(mut self, event: Event) {
        let what = format!("{event:?}: {}", self.what);
        let reply = read_reply(&mut self.stream).await;
        let reply = reply.unwrap_or_else(|| panic!("{what}: closed without a reply"));
        assert_eq!(status(&reply), 200, "{what}: {reply}");
        let (is_last, is_told) = (event != Event::Reload, self.is_of_player || event == Event::Handover);
        assert!(reply.contains("connection: close") == is_last || !is_told, "{what}: {reply}");
        if is_last {
            assert_eq!(read_to_end(&mut self.stream).await, b"", "{what}");
        }
    }
}

/// True if replies announce the end, or connections are no longer accepted.
async fn is_ending(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return true };
    ask(&mut stream, OPERATORS_CALL).await.is_none_or(|reply| reply.contains("connection: close"))
}

fn license_call(token: &str) -> String {
    let (host, length) = ("Host: localhost\r\n", CLEARKEY.len());
    let headers = format!("{host}nv-authorizations: {token}\r\nx-device-id: tv\r\nContent-Length: {length}\r\n");
    format!("POST /license HTTP/1.1\r\n{headers}\r\n{CLEARKEY}")
}

const OPERATORS_CALL: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn requests_in_transit_at_an_end_or_a_reload_are_answered() {
    for event in [Event::Stop, Event::StopWithSockets, Event::Handover, Event::Reload] {
        let home = Home::new(30.0, "keep", false).await;
        let [players, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let mut proxy = match event {
            Event::StopWithSockets => {
                Proxy::start_by(activated(&home, &[("listen-plain", &players), ("admin", &admin)]))
            }
            Event::Handover | Event::Reload | Event::Stop => home.proxy(),
        };
        let call = license_call(&home.token("tv", "news").await);
        let of_players = connect_all(proxy.players, &call, "player").await;
        let of_operators = connect_all(proxy.admin, OPERATORS_CALL, "operator").await;
        proxy.signal(match event {
            Event::Handover => "-USR2",
            Event::Reload => "-HUP",
            Event::Stop | Event::StopWithSockets => "-TERM",
        });
        match event {
            Event::Reload => drop(proxy.says_soon("configuration reloaded").await),
            Event::Handover | Event::Stop | Event::StopWithSockets => {
                eventually("announced", async || is_ending(proxy.players).await).await;
            }
        }
        if matches!(event, Event::Stop | Event::StopWithSockets) {
            are_answered(of_players, event).await;
            // Operators are served until then, without an earlier announcement.
            proxy.says_soon("stopped").await;
            are_answered(of_operators, event).await;
        } else {
            are_answered(of_players.into_iter().chain(of_operators).collect(), event).await;
        }
        match event {
            Event::Handover => {
                let done = proxy.says_soon(" handed over ").await;
                proxy.followed_by(&done).await;
                proxy.end_successor().await;
            }
            Event::Reload => assert_eq!(proxy.terminate().await.code(), Some(0)),
            Event::Stop | Event::StopWithSockets => assert_eq!(proxy.end().await.code(), Some(0)),
        }
    }
}

/// The next process does not serve it: what is on its way to it is this one's to answer.
#[tokio::test]
async fn a_hand_over_answers_requests_in_transit_to_a_removed_listener() {
    let home = Home::new(30.0, "keep", false).await;
    let file = home.folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let (one, two) = ("listen-plain = [\"127.0.0.1:0\"]", "listen-plain = [\"127.0.0.2:0\", \"127.0.0.1:0\"]");
    assert!(config.contains(one));
    std::fs::write(&file, config.replace(one, two)).unwrap();
    let mut proxy = home.proxy();
    let going = proxy.players;
    assert_eq!(going.ip().to_string(), "127.0.0.2");
    std::fs::write(&file, config).unwrap();
    let call = license_call(&home.token("tv", "news").await);
    let connections = connect_all(going, &call, "player").await;
    proxy.signal("-USR2");
    eventually("announced", async || is_ending(proxy.players).await).await;
    are_answered(connections, Event::Handover).await;
    let done = proxy.says_soon(" handed over ").await;
    proxy.followed_by(&done).await;
    let refused = TcpStream::connect(going).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.end_successor().await;
}
