//! Starts the measured programs as children that end with their owner.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::cpu::children;
use crate::machine::{self, Cores};
use crate::options::Options;
use crate::rows::Peer;

/// Longest wait for a program to listen.
const MAX_START_TIME: Duration = Duration::from_secs(10);
/// Longest wait for a program to end after SIGTERM.
const MAX_END_TIME: Duration = Duration::from_secs(60);

/// A program that listens.
pub(crate) struct Program {
    /// The interface for operators; sidebeat alone has one.
    pub(crate) admin: SocketAddr,
    child: Child,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
}

impl Program {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as its service manager does, and waits: it writes what it still has to write.
    pub(crate) fn terminate(mut self) -> Outcome<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("no process")?;
        kill_process(id, Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < MAX_END_TIME {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) };
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("it does not end after SIGTERM".into())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for child in children(self.child.id()) {
            let id = i32::try_from(child).ok().and_then(Pid::from_raw);
            let _gone = id.map(|id| kill_process(id, Signal::KILL));
        }
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The surroundings of each program: the folder of certificates, configurations and logs, and the far sides.
pub(crate) struct Scene<'a> {
    pub(crate) cores: Cores,
    pub(crate) folder: &'a Path,
    pub(crate) head_end: SocketAddr,
    pub(crate) options: &'a Options,
    pub(crate) upstream: SocketAddr,
    pub(crate) upstream_tls: SocketAddr,
    pub(crate) workers: usize,
}

impl Scene<'_> {
    /// Starts a program and waits until it listens.
    pub(crate) fn start(&self, peer: Peer) -> Outcome<Program> {
        let [plain, tls, admin] = free_addresses()?;
        let child = self.spawn(peer, [plain, tls, admin])?;
        let program = Program { admin, child, plain, tls };
        self.listening(program, peer)
    }

    fn spawn(&self, peer: Peer, addresses: [SocketAddr; 3]) -> Outcome<Child> {
        let cores = if self.workers > 1 {
            format!("{},{}", self.cores.proxy, self.cores.load)
        } else {
            self.cores.proxy.to_string()
        };
        let pinned = |program: &Path| machine::pinned(&cores, program);
        let mut command = match peer {
            Peer::HaProxy => {
                let mut command = pinned(Path::new("haproxy"));
                command.arg("-db").arg("-C").arg(self.folder).arg("-f");
                command.arg(self.configuration("haproxy.cfg", include_str!("../haproxy.cfg"), addresses)?);
                command
            }
            Peer::Nginx | Peer::NginxAgain => {
                let file = self.configuration("nginx.conf", include_str!("../nginx.conf"), addresses)?;
                nginx(pinned(Path::new("nginx")), self.folder, &file)
            }
            Peer::NginxLua => {
                fs::write(self.folder.join("session.lua"), include_str!("../session.lua"))?;
                let file = self.configuration("nginx-lua.conf", include_str!("../nginx-lua.conf"), addresses)?;
                nginx(pinned(Path::new("nginx")), self.folder, &file)
            }
            Peer::Relay => {
                let mut command = pinned(&self.options.relay);
                command.args([addresses[0], addresses[1], self.upstream].map(|address| address.to_string()));
                command.args(["leaf.pem", "leaf.key"].map(|name| self.folder.join(name)));
                command
            }
            Peer::Before | Peer::Dist | Peer::Sidebeat => {
                let mut command = pinned(self.options.build(peer)?);
                command.arg("run").arg("-c");
                command.arg(self.configuration("sidebeat.toml", include_str!("../sidebeat.toml"), addresses)?);
                command
            }
        };
        let log = fs::File::create(self.log(peer))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().map_err(|fault| format!("{}: {fault}", peer.name()).into())
    }

    /// Writes a configuration with its addresses filled in.
    fn configuration(&self, name: &str, text: &str, [plain, tls, admin]: [SocketAddr; 3]) -> Outcome<PathBuf> {
        let marks = [
            ("UPSTREAM-TLS-ADDRESS", self.upstream_tls.to_string()),
            ("UPSTREAM-TLS-PORT", self.upstream_tls.port().to_string()),
            ("UPSTREAM-ADDRESS", self.upstream.to_string()),
            ("HEADEND-ADDRESS", self.head_end.to_string()),
            ("HEADEND-PORT", self.head_end.port().to_string()),
            ("PLAIN-ADDRESS", plain.to_string()),
            ("ADMIN-ADDRESS", admin.to_string()),
            ("TLS-ADDRESS", tls.to_string()),
            ("DIRECTORY", self.folder.display().to_string()),
            ("LUA-CPATH", lua_folder().unwrap_or_default().display().to_string()),
            ("MODULES", module_folder().unwrap_or_default().display().to_string()),
            ("WORKERS", self.workers.to_string()),
            ("MASTER", if self.workers > 1 { "on" } else { "off" }.to_owned()),
        ];
        let file = self.folder.join(name);
        fs::write(&file, filled(text, &marks))?;
        Ok(file)
    }

    /// The last line that the program wrote, for a fault.
    pub(crate) fn last_line(&self, peer: Peer) -> String {
        let logs = [self.log(peer), self.folder.join("nginx.log"), self.folder.join("nginx-lua.log")];
        let log = logs.map(|log| fs::read_to_string(log).unwrap_or_default()).concat();
        log.lines().last().map_or(String::new(), |line| format!("; it says: {line}"))
    }

    fn log(&self, peer: Peer) -> PathBuf {
        self.folder.join(format!("{}.log", peer.name()))
    }

    fn listening(&self, mut program: Program, peer: Peer) -> Outcome<Program> {
        let began = Instant::now();
        while began.elapsed() < MAX_START_TIME && program.child.try_wait()?.is_none() {
            if TcpStream::connect(program.plain).is_ok() {
                return Ok(program);
            }
            thread::sleep(Duration::from_micros(200));
        }
        Err(format!("{} does not listen{}", peer.name(), self.last_line(peer)).into())
    }
}

/// Marks are filled in one after the other: one that is part of another comes later.
fn filled(text: &str, marks: &[(&str, String)]) -> String {
    marks.iter().fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

fn nginx(mut command: Command, folder: &Path, file: &Path) -> Command {
    command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "nginx.log"]);
    command
}

/// Writes a CA and a certificate for localhost into the folder, and both parts in one file for HAProxy.
pub(crate) fn certificates(sidebeat: &Path, folder: &Path) -> Outcome<()> {
    machine::text_of(Command::new(sidebeat).args(["certs", "init", "--dir"]).arg(folder))?;
    let parts = [fs::read(folder.join("leaf.pem"))?, fs::read(folder.join("leaf.key"))?];
    Ok(fs::write(folder.join("both.pem"), parts.concat())?)
}

/// Starts the simulated head-end.
pub(crate) fn head_end(sidebeat: &Path, cores: Cores) -> Outcome<Program> {
    let [address, unused, _] = free_addresses()?;
    let mut command = machine::pinned(&cores.head_end.to_string(), sidebeat);
    command.args(["headend", "--listen", &address.to_string()]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut program = Program { admin: unused, child, plain: address, tls: unused };
    let began = Instant::now();
    while began.elapsed() < MAX_START_TIME && program.child.try_wait()?.is_none() {
        if TcpStream::connect(address).is_ok() {
            return Ok(program);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err("the head-end does not listen".into())
}

/// True if the program is on this machine.
pub(crate) fn is_installed(peer: Peer) -> bool {
    let runs = |program: &str| Command::new(program).arg("-v").output().is_ok();
    match peer {
        Peer::HaProxy => runs("haproxy"),
        Peer::Nginx | Peer::NginxAgain => runs("nginx"),
        Peer::NginxLua => runs("nginx") && module_folder().is_some() && lua_folder().is_some(),
        Peer::Before | Peer::Dist | Peer::Relay | Peer::Sidebeat => true,
    }
}

/// The folder of nginx's modules.
fn module_folder() -> Option<PathBuf> {
    let folders = ["/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules"];
    folders.into_iter().map(PathBuf::from).find(|folder| folder.join("ngx_http_lua_module.so").exists())
}

/// The folder of lua-cjson, which is named for the architecture.
fn lua_folder() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("lua/5.1"));
    folders.into_iter().find(|folder| folder.join("cjson.so").exists())
}

fn free_addresses() -> Outcome<[SocketAddr; 3]> {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = [free()?, free()?, free()?];
    let [one, two, three] = &listeners;
    Ok([one.local_addr()?, two.local_addr()?, three.local_addr()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_is_part_of_another_is_filled_in_later() {
        let marks = [("A-TLS-ADDRESS", "1".to_owned()), ("TLS-ADDRESS", "2".to_owned())];
        assert_eq!(filled("A-TLS-ADDRESS TLS-ADDRESS", &marks), "1 2");
    }
}
