//! Handles cores, processes as `/proc` shows them, and the release build.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use tokio::runtime;

use crate::Outcome;
use crate::options::Options;

const CORE_OF_LOAD: &str = "1";
const CORE_OF_PROXY: &str = "0";
/// `USER_HZ`, in which Linux writes the times of `/proc/PID/stat` on every platform it builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The core of a child.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    Load,
    Proxy,
}

/// A whole benchmark: the command line, this process on its core, the binary, and then `measure`.
pub(crate) fn bench(measure: impl AsyncFnOnce(&Options, &Path) -> Outcome<()>) -> ExitCode {
    let done = Options::read().and_then(|options| {
        pin_this_process()?;
        let binary = release_binary(&options)?;
        runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&options, &binary))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _gone = writeln!(io::stderr(), "{fault}");
            ExitCode::FAILURE
        }
    }
}

fn pin_this_process() -> Outcome<()> {
    let id = std::process::id().to_string();
    text_of(Command::new("taskset").args(["-a", "-p", "-c", CORE_OF_LOAD, &id])).map(drop)
}

/// `taskset` becomes the program, so that the child's id is the program's.
pub(crate) fn pinned(core: Core, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    let core = match core {
        Core::Load => CORE_OF_LOAD,
        Core::Proxy => CORE_OF_PROXY,
    };
    command.arg("-c").arg(core).arg(program);
    command
}

/// The binary that is published. `cargo bench` builds the program too, but with the features that tests add to its
/// dependencies.
fn release_binary(options: &Options) -> Outcome<PathBuf> {
    if let Some(binary) = &options.binary {
        return Ok(binary.clone());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(cargo)
        .args(["build", "--profile", "dist", "--bin", "sidebeat", "--message-format", "json", "--quiet"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    let messages = String::from_utf8_lossy(&build.stdout);
    let executable = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    executable.ok_or_else(|| String::from_utf8_lossy(&build.stderr).into_owned().into())
}

/// User and system time of a process, all its threads together.
pub(crate) fn cpu(id: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name in parentheses may hold spaces; after it, utime and stime are the 12th and 13th field.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = times.sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// Resident memory, KiB.
pub(crate) fn resident(id: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Processor, cores, kernel, and how much else runs.
pub(crate) fn describe() -> Outcome<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let model = model.trim_start_matches([':', '\t', ' ']);
    Ok(format!("{model}, {cores} cores, Linux {}, load average {load}", kernel.trim()))
}

/// Output of a command, from either stream.
pub(crate) fn text_of(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|fault| format!("{}: {fault}", command.get_program().display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if output.status.success() { Ok(said) } else { Err(said.into()) }
}
