//! Measures a segment's way: bytes per CPU second of sidebeat's media route beside nginx's `proxy_pass`.
//!
//! The benchmark runs the release binary and nginx as children on core 0, and origin and players on core 1, like the
//! comparison of calls. It checks each segment's length, and sidebeat's playback of it.

#![allow(dead_code, reason = "its parts were made for more programs")]

#[path = "media/machine.rs"]
mod machine;
#[path = "media/options.rs"]
mod options;
#[path = "media/peers.rs"]
mod peers;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use self::options::Options;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const SEGMENT: usize = 4 << 20;
const PLAYERS: usize = 8;
const CONFIG: &str = include_str!("media/sidebeat.toml");
const PLAYLIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\ns.m4s\n#EXT-X-ENDLIST\n";

fn main() -> ExitCode {
    machine::bench(measure)
}

async fn measure(options: &Options, binary: &Path) -> Outcome<()> {
    let mut set = JoinSet::new();
    let origin = origin(&mut set).await?;
    let folder = tempfile::tempdir()?;
    peers::certificates(binary, folder.path())?;
    let config = folder.path().join("sidebeat.toml");
    std::fs::write(&config, peers::filled(CONFIG, &[("ORIGIN-ADDRESS", origin)]))?;
    let ours = peers::sidebeat(binary, &config, &[])?;
    let nginx = peers::nginx(folder.path(), origin)?;
    let path = begin(ours.plain).await?;
    let segment = format!("{}/s.m4s", path.rsplit_once('/').ok_or("no folder")?.0);
    let mut ratios = Vec::new();
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..options.rounds {
        let theirs = run(nginx.plain, "/s.m4s", nginx.id(), options.seconds).await?;
        let own = run(ours.plain, &segment, ours.id(), options.seconds).await?;
        ratios.push(own / theirs);
        rates[0].push(theirs);
        rates[1].push(own);
    }
    let text = format!(
        "{}; {} rounds of {} s each, {PLAYERS} players, segments of 4 MiB; median (smallest to largest).\n\n\
         | | GiB per CPU second | ratio to nginx |\n|---|---|---|\n| nginx `proxy_pass` | {} | 1.00 |\n\
         | sidebeat, media route, session live | {} | {} |\n",
        machine::describe()?,
        options.rounds,
        options.seconds.as_secs_f64(),
        spread(&mut rates[0]),
        spread(&mut rates[1]),
        spread(&mut ratios),
    );
    let mut out = io::stdout();
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush());
    if options.write { write(&text) } else { Ok(()) }
}

/// GiB per second of the process's own time.
async fn run(address: SocketAddr, path: &str, id: u32, seconds: Duration) -> Outcome<f64> {
    let total = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    let (set, mut players) = (LocalSet::new(), JoinSet::new());
    for _ in 0..PLAYERS {
        players.spawn_local_on(play(address, path.to_owned(), total.clone()), &set);
    }
    set.run_until(async {
        sleep(seconds / 4).await;
        let (before, cpu) = (total.get(), machine::cpu(id)?);
        sleep(seconds).await;
        let (bytes, cpu) = (total.get() - before, machine::cpu(id)?.saturating_sub(cpu));
        if let Some(ended) = players.try_join_next() {
            ended??;
        }
        Ok(bytes as f64 / f64::from(1 << 30) / cpu.as_secs_f64())
    })
    .await
}

async fn play(address: SocketAddr, path: String, total: std::rc::Rc<std::cell::Cell<u64>>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut left = ask(&mut stream, &path).await?.1;
        if left != SEGMENT {
            return Err(io::Error::other("a segment of a wrong length"));
        }
        while left > 0 {
            let most = left.min(buffer.len());
            let read = stream.read(&mut buffer[..most]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read;
            total.set(total.get() + read as u64);
        }
    }
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

/// Opens a playback; gives the path that it is bound to.
async fn begin(address: SocketAddr) -> Outcome<String> {
    let mut stream = TcpStream::connect(address).await?;
    let (head, _) = ask(&mut stream, "/media/main.m3u8").await?;
    let location = head.lines().find_map(|line| line.strip_prefix("location: "));
    Ok(location.ok_or_else(|| format!("no playback: {head}"))?.to_owned())
}

/// Serves the same segment to every caller.
async fn origin(set: &mut JoinSet<()>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let segment: &'static [u8] = vec![b'x'; SEGMENT].leak();
    set.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move { drop(serve(stream, segment).await) });
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, segment: &'static [u8]) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await?;
            if read == 0 {
                return Ok(());
            }
            head.extend_from_slice(&bytes[..read]);
        }
        let playlist = head.windows(5).any(|part| part == b".m3u8");
        let (kind, body) =
            if playlist { ("application/x-mpegurl", PLAYLIST.as_bytes()) } else { ("video/mp4", segment) };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
    }
}

fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let last = values.len().saturating_sub(1);
    format!("{:.2} ({:.2} to {:.2})", f64::midpoint(at(last / 2), at(last.div_ceil(2))), at(0), at(last))
}

fn write(text: &str) -> Outcome<()> {
    const BEGIN: &str = "<!-- media figures: written by the command -->";
    const END: &str = "<!-- end of media figures -->";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let page = std::fs::read_to_string(&file)?;
    let (before, rest) = page.split_once(BEGIN).ok_or("the README has no place for figures")?;
    let (_, after) = rest.split_once(END).ok_or("the README's place for figures has no end")?;
    Ok(std::fs::write(file, format!("{before}{BEGIN}\n{text}{END}{after}"))?)
}
