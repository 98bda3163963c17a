//! Segments through a media route: players fetch the same one over and over. The license server is their origin too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::closed::{Measured, watch};
use crate::rows::Peer;
use crate::window::{Measure, Progress};

const PLAYERS: usize = 8;
const SEGMENT_BYTES: usize = 4 << 20;
const READ_BYTES: usize = 256 * 1024;
const PLAYLIST: &[u8] = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\ns.m4s\n#EXT-X-ENDLIST\n";
static SEGMENT: [u8; SEGMENT_BYTES] = [b'x'; SEGMENT_BYTES];

/// The origin's file of this path, and its type.
pub(crate) fn file(path: &str) -> (&'static str, &'static [u8]) {
    if path.ends_with(".m3u8") { ("application/x-mpegurl", PLAYLIST) } else { ("video/mp4", &SEGMENT) }
}

/// Begins a playback where there is one, and lets the players fetch its segment.
pub(crate) async fn kept(address: SocketAddr, peer: Peer, measured: Measured) -> Outcome<Measure> {
    let path = if peer.is_sidebeat() { bound_path(address).await? } else { "/s.m4s".to_owned() };
    let (progress, mut running) = (Arc::<Progress>::default(), JoinSet::new());
    for _ in 0..PLAYERS {
        running.spawn(fetch(address, path.clone(), Arc::clone(&progress)));
    }
    watch(measured, &progress, measured.times(), running).await
}

/// sidebeat sends a player that asks for a playlist to a path of its own playback.
async fn bound_path(address: SocketAddr) -> Outcome<String> {
    let mut stream = TcpStream::connect(address).await?;
    let (head, _) = ask(&mut stream, "/media/main.m3u8").await?;
    let location = head.lines().find_map(|line| line.strip_prefix("location: "));
    let (folder, _) = location.and_then(|path| path.rsplit_once('/')).ok_or_else(|| format!("no playback: {head}"))?;
    Ok(format!("{folder}/s.m4s"))
}

async fn fetch(address: SocketAddr, path: String, progress: Arc<Progress>) -> io::Result<()> {
    let (mut stream, mut buffer) = (TcpStream::connect(address).await?, vec![0; READ_BYTES]);
    while !progress.is_over() {
        let (head, mut left) = ask(&mut stream, &path).await?;
        if left != SEGMENT_BYTES {
            return Err(io::Error::other(format!("a segment of another length: {head}")));
        }
        while left > 0 {
            let most = left.min(READ_BYTES);
            let read = stream.read(&mut buffer[..most]).await?;
            let ends = [buffer.first(), read.checked_sub(1).and_then(|last| buffer.get(last))];
            if ends != [Some(&b'x'); 2] {
                return Err(io::Error::other("a segment that is cut or changed"));
            }
            left -= read;
        }
        progress.answered();
    }
    Ok(())
}

/// The head of the reply, and the length that it announces.
async fn ask(stream: &mut TcpStream, path: &str) -> io::Result<(String, usize)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Device-Id: tv\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok((head, length.unwrap_or(0)))
}
