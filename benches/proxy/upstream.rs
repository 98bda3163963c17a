//! The license server of the benchmark: it gives every caller the same license, and its own name back.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::wire::Reader;

pub(crate) const LICENSE: &[u8] = include_bytes!("../../tests/vectors/drm/wv_license.bin");
/// The caller's `User-Agent`, which every proxy passes on: it exposes a reply for another caller.
pub(crate) const CALLER: &str = "x-caller";

/// Serves for as long as the set lives.
pub(crate) async fn start(set: &mut JoinSet<()>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    set.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move { drop(serve(stream).await) });
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut reply) = (Reader::default(), Vec::new());
    while reader.next(&mut stream).await? {
        reply.clear();
        reply.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n");
        reply.extend_from_slice(format!("content-length: {}\r\n{CALLER}: ", LICENSE.len()).as_bytes());
        reply.extend_from_slice(reader.header("user-agent").unwrap_or_default().as_bytes());
        reply.extend_from_slice(b"\r\n\r\n");
        reply.extend_from_slice(LICENSE);
        stream.write_all(&reply).await?;
    }
    Ok(())
}
