//! Starts the measured programs, as children that end with their owner.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::machine::{self, Core};

pub(crate) struct Proxy {
    /// Admin address; sidebeat only.
    pub(crate) admin: Option<SocketAddr>,
    child: Running,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
}

impl Proxy {
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }
}

pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Writes a CA and a certificate for localhost into the directory.
pub(crate) fn certificates(binary: &Path, directory: &Path) -> Outcome<()> {
    machine::text_of(Command::new(binary).args(["certs", "init", "--dir"]).arg(directory)).map(drop)
}

/// The simulated head-end, on the core of the load.
pub(crate) fn head_end(binary: &Path) -> Outcome<(Running, SocketAddr)> {
    let mut command = machine::pinned(Core::Load, binary);
    command.args(["headend", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let said = child.stdout.take().ok_or("no output")?;
    let running = Running(child);
    let address = addresses(said, ["head-end at http://"])?;
    Ok((running, address[0]))
}

/// `arguments` follow `sidebeat run`; `environment` may set any key of the configuration.
pub(crate) fn sidebeat(binary: &Path, config: &Path, environment: &[(&str, &str)]) -> Outcome<Proxy> {
    let mut command = machine::pinned(Core::Proxy, binary);
    command.arg("run").arg("-c").arg(config).envs(environment.iter().copied());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let said = child.stderr.take().ok_or("no log")?;
    let child = Running(child);
    let [plain, tls, admin] = addresses(said, ["players: http://", "players: https://", "admin: http://"])?;
    Ok(Proxy { admin: Some(admin), child, plain, tls })
}

/// Starts one nginx process, which equals one worker; its temporary files are beside its configuration.
pub(crate) fn nginx(directory: &Path, upstream: SocketAddr) -> Outcome<Proxy> {
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let (plain, tls) = (free()?, free()?);
    let file = directory.join("nginx.conf");
    let places = [("PLAIN-ADDRESS", plain), ("TLS-ADDRESS", tls), ("UPSTREAM-ADDRESS", upstream)];
    fs::write(&file, filled(include_str!("nginx.conf"), &places))?;
    let mut command = machine::pinned(Core::Proxy, Path::new("nginx"));
    command.arg("-p").arg(directory).arg("-c").arg(&file).args(["-e", "nginx.log"]);
    let child = Running(command.stdin(Stdio::null()).spawn()?);
    for _ in 0..100 {
        if TcpStream::connect(plain).is_ok() {
            return Ok(Proxy { admin: None, child, plain, tls });
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err("nginx does not listen".into())
}

/// A configuration with its addresses.
pub(crate) fn filled(text: &str, places: &[(&str, SocketAddr)]) -> String {
    places.iter().fold(text.to_owned(), |text, (mark, address)| text.replace(mark, &address.to_string()))
}

/// Reads lines until each mark was followed by an address. Later lines are read and dropped, so that the child never
/// blocks.
fn addresses<const N: usize>(said: impl Read + Send + 'static, marks: [&str; N]) -> Outcome<[SocketAddr; N]> {
    let mut found = [None; N];
    let mut lines = BufReader::new(said).lines();
    let mut all = String::new();
    while found.contains(&None) {
        let Some(line) = lines.next() else { return Err(format!("it did not start:\n{all}").into()) };
        let line = line?;
        for (mark, place) in marks.iter().zip(&mut found) {
            let after = line.split_once(mark).and_then(|(_, after)| after.split_whitespace().next());
            *place = place.or(after.and_then(|address| address.parse().ok()));
        }
        all.push_str(&line);
        all.push('\n');
    }
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    let none = SocketAddr::from(([0, 0, 0, 0], 0));
    Ok(found.map(|address| address.unwrap_or(none)))
}
