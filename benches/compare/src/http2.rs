//! The closed loop over HTTP/2: a few connections with several calls at once on each.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Method, Request, Version};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::Outcome;
use crate::call::{CALLER, Player, Reply, SEEN, challenge};
use crate::closed::{Measured, watch};
use crate::target::Target;
use crate::window::{Measure, Progress};

/// Calls at once on each connection.
const STREAMS_PER_CONNECTION: usize = 8;

pub(crate) type Connection = client::Connection<TlsStream<TcpStream>, Bytes>;

pub(crate) async fn connect(target: &Target) -> io::Result<(SendRequest<Bytes>, Connection)> {
    let tls = target.tls.as_ref().ok_or_else(|| io::Error::other("HTTP/2 needs TLS"))?;
    client::handshake(target.handshake(tls).await?).await.map_err(io::Error::other)
}

pub(crate) async fn kept(target: &Target, players: Vec<Player>, measured: Measured) -> Outcome<Measure> {
    let (progress, mut running, mut connections) = (Arc::<Progress>::default(), JoinSet::new(), JoinSet::new());
    for group in players.chunks(STREAMS_PER_CONNECTION) {
        let (sender, connection) = connect(target).await?;
        connections.spawn(connection);
        for player in group {
            let (target, player, sender) = (target.clone(), player.clone(), sender.clone());
            let progress = Arc::clone(&progress);
            running.spawn(async move {
                let (mut sender, mut turn) = (sender, 0);
                while !progress.is_over() {
                    turn += 1;
                    call(&target, &player, turn, &mut sender).await?;
                    progress.answered();
                }
                Ok(())
            });
        }
    }
    watch(measured, &progress, measured.times(), running).await
}

/// Sends a player's call, waits for the answer and judges it.
pub(crate) async fn call(
    target: &Target,
    player: &Player,
    turn: u32,
    sender: &mut SendRequest<Bytes>,
) -> io::Result<()> {
    let caller = player.caller(turn);
    let request = request(target.path, player, &caller).map_err(io::Error::other)?;
    let (status, headers, body) = exchange(sender, request, challenge(turn).into()).await.map_err(io::Error::other)?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let reply =
        Reply { body: &body, caller: header(CALLER), content_type: header("content-type"), seen: header(SEEN), status };
    target.answer.judge(&caller, &reply).map_err(io::Error::other)
}

fn request(path: &str, player: &Player, caller: &str) -> http::Result<Request<()>> {
    let body_bytes = crate::call::CHALLENGE.len();
    Request::builder()
        .method(Method::POST)
        .uri(format!("https://localhost{path}"))
        .version(Version::HTTP_2)
        .header("user-agent", caller)
        .header("accept", "*/*")
        .header("origin", "https://tv.example")
        .header("content-type", "application/octet-stream")
        .header("content-length", body_bytes)
        .header("x-device-id", &*player.device)
        .header("nv-authorizations", &*player.token)
        .body(())
}

async fn exchange(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<(u16, HeaderMap, Vec<u8>), h2::Error> {
    std::future::poll_fn(|context| sender.poll_ready(context)).await?;
    let (reply, mut sending) = sender.send_request(request, false)?;
    sending.send_data(body, true)?;
    let (head, mut receiving) = reply.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = receiving.data().await {
        let piece = piece?;
        receiving.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok((head.status.as_u16(), head.headers, body))
}
