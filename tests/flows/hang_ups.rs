//! Tests players that hang up: the work that goes on for them counts for their address until it ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::player::{self, CLEARKEY};
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(20);
const HANG_UPS: usize = 300;
const MOST: usize = 16;

/// A server that takes every call in, and answers none.
struct Silent {
    address: SocketAddr,
    begun: watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

impl Silent {
    async fn serve() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, (tell, begun)) = (listener.local_addr().unwrap(), watch::channel(0));
        let (mut serving, tell) = (JoinSet::new(), Arc::new(tell));
        serving.spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let tell = tell.clone();
                calls.spawn(async move {
                    let read = stream.read(&mut [0; 4096]).await.unwrap_or(0);
                    tell.send_modify(|begun| *begun += usize::from(read > 0));
                    while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        Self { address, begun, _serving: serving }
    }
}

/// Closes its connection as soon as its call was sent. False if it was refused.
async fn asks_and_hangs_up(to: SocketAddr, path: &str, (device, token): (usize, &str), server: &mut Silent) -> bool {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
    let mut stream: TcpStream = socket.connect(to).await.unwrap();
    let length = CLEARKEY.len();
    let call = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-device-id: {device}\r\nnv-authorizations: {token}\r\n\
         content-length: {length}\r\n\r\n{CLEARKEY}"
    );
    stream.write_all(call.as_bytes()).await.unwrap();
    let mut part = [0; 1024];
    let told = async {
        tokio::select! {
            begun = server.begun.changed() => begun.map(|()| true).unwrap(),
            read = stream.read(&mut part) => {
                let reply = String::from_utf8_lossy(&part[..read.unwrap()]).into_owned();
                assert!(reply.contains("\"too_many_calls\""), "{reply}");
                false
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("the call neither sets out nor is refused"))
}

async fn hang_ups_take_no_more_than_their_share(path: &str) {
    let mut server = Silent::serve().await;
    let silent = server.address;
    let stage = Stage::clearkey()
        .authority("timeout = \"5s\"")
        .limits(&format!("in-flight-per-address = {MOST}"))
        .settings(|settings| settings.limit = 1_000)
        .tables(&format!(
            "[[authority]]\nname = \"slow\"\nkind = \"nagra-ssm\"\nurl = \"http://{silent}/DEMO/ssm\"\n\
             tenant = \"DEMO\"\ntimeout = \"5s\"\n"
        ))
        .upstream("/slow-authority", &format!("http://{silent}"), "authority = \"slow\"")
        .upstream("/slow-license", &format!("http://{silent}"), "authority = \"head-end\"\ntimeout = \"5s\"")
        .start()
        .await;
    let token = stage.headend.token("account=ann&device=pad&content=film").await;
    let mut begun = 0;
    for device in 0..HANG_UPS {
        begun += usize::from(asks_and_hangs_up(stage.proxy, path, (device, &token), &mut server).await);
    }
    // The first of them may have been given up by now, and have made room for others.
    assert!((MOST..=2 * MOST).contains(&begun), "{begun} calls of one address are under way");
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good(), "another address is served");
    // The pending calls end, and give their places back.
    drop(server);
    let again = async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
        let mut stream = socket.connect(stage.proxy).await.unwrap();
        stream.write_all(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await.unwrap();
        String::from_utf8_lossy(&part[..read]).contains("\"no_route\"")
    };
    stage.eventually("its places given back", again).await;
    stage.end_leaving_some_open().await;
}

#[tokio::test]
async fn opens_of_players_that_hang_up_count_for_their_address_until_they_are_over() {
    hang_ups_take_no_more_than_their_share("/slow-authority").await;
}

#[tokio::test]
async fn license_calls_of_players_that_hang_up_count_for_their_address_until_they_are_over() {
    hang_ups_take_no_more_than_their_share("/slow-license").await;
}

/// Plays a caller at another address that names the device `tv`, with unsigned tokens. Closes each connection this long
/// after its call, and begins the next one.
async fn names_anothers_device(to: SocketAddr, tokens: Vec<String>, stays: Duration, begun: Arc<watch::Sender<usize>>) {
    for (number, token) in tokens.iter().cycle().enumerate() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
        let Ok(mut stream) = socket.connect(to).await else { return };
        let body = player::widevine_new(&format!("{token}{number}"));
        let head = format!(
            "POST /license HTTP/1.1\r\nhost: localhost\r\nx-device-id: tv\r\nnv-authorizations: {token}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        tokio::time::sleep(stays).await;
        drop(stream);
        begun.send_modify(|begun| *begun += 1);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

/// The players hang up at once, and before the device's next playback may begin.
#[tokio::test]
async fn callers_at_another_address_who_hang_up_take_no_turn_from_one_that_waits() {
    for (stays, callers, plays) in [(20, 1, false), (20, 1, true), (400, 3, false), (400, 3, true)] {
        let stage = Stage::widevine().settings(|settings| settings.limit = 5).start().await;
        stage.headend.fault("setup", json!({"delay_ms": 150}), 10_000).await;
        if plays {
            assert!(stage.player("tv", "film").await.license("film").await.is_good());
        }
        let (begun, mut seen) = watch::channel(0);
        let (begun, mut calling) = (Arc::new(begun), JoinSet::new());
        for caller in 0..callers {
            let mut tokens = Vec::new();
            for number in 0..20 {
                let good = stage.headend.token(&format!("account=ann&device=tv&content=x{caller}-{number}")).await;
                tokens.push(format!("{}AAAA", &good[..good.len() - 4]));
            }
            let stays = Duration::from_millis(stays);
            calling.spawn(names_anothers_device(stage.proxy, tokens, stays, begun.clone()));
        }
        let under_way = tokio::time::timeout(PATIENCE, seen.wait_for(|begun| *begun >= 6));
        drop(under_way.await.expect("they call and hang up").unwrap());
        let reply = stage.player("tv", "next").await.license("next").await;
        assert!(reply.is_good(), "{stays} ms, {callers} callers, plays: {plays}: {} {}", reply.status, reply.text());
        calling.shutdown().await;
        stage.end_leaving_some_open().await;
    }
}
