//! Knows the machine: its cores, the processes on them as `/proc` shows them, and the versions of what is measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// Cores are given out so that the load never takes time from the proxy.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) head_end: usize,
    pub(crate) load: usize,
    pub(crate) proxy: usize,
}

impl Cores {
    /// The proxy has the first core and the load the last. A third one, if there is one, is the head-end's.
    pub(crate) fn of_this_machine() -> Outcome<Self> {
        let count = fs::read_to_string("/proc/cpuinfo")?.lines().filter(|line| line.starts_with("processor")).count();
        if count < 2 {
            return Err("this needs two cores: one for the proxy, one for its load".into());
        }
        Ok(Self { head_end: if count > 2 { 1 } else { count - 1 }, load: count - 1, proxy: 0 })
    }

    /// Puts this process, which is the load and the license server, on its core.
    pub(crate) fn pin_the_load(self) -> Outcome<()> {
        let (core, id) = (self.load.to_string(), std::process::id().to_string());
        text_of(Command::new("taskset").args(["-a", "-p", "-c", &core, &id])).map(drop)
    }
}

/// Starts a program on these cores. `taskset` becomes the program, so that the child's id is the program's.
pub(crate) fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// Resident memory of a process in bytes.
pub(crate) fn resident_bytes(id: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Date, processor, cores, kernel, and the versions of all programs.
pub(crate) fn describe() -> Outcome<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let said = |program: &str, argument: &str| text_of(Command::new(program).arg(argument)).ok();
    let commit = text_of(Command::new("git").args(["describe", "--always", "--dirty"])).ok();
    let lua_module = text_of(Command::new("dpkg-query").args(["-W", "-f=${Version}", "libnginx-mod-http-lua"])).ok();
    let load = fs::read_to_string("/proc/loadavg")?;
    let known = [
        said("date", "+%Y-%m-%d"),
        Some(format!("{}, {count} cores", model.trim_start_matches([':', '\t', ' ']))),
        Some(format!("Linux {}", kernel.trim())),
        said("rustc", "--version").map(|text| first_words(&text, 2)),
        commit.map(|commit| format!("sidebeat {commit}")),
        said("nginx", "-v").map(|text| text.replace("nginx version: ", "")),
        lua_module.map(|version| format!("its Lua module {version}")),
        said("haproxy", "-v").map(|text| first_words(&text.replace(" version ", " "), 2)),
        Some(format!("load average {}", first_words(&load, 1))),
    ];
    Ok(known.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn first_words(text: &str, count: usize) -> String {
    text.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

/// Output of a command, from either stream.
pub(crate) fn text_of(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|fault| format!("{}: {fault}", command.get_program().display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if output.status.success() { Ok(said) } else { Err(said.into()) }
}
