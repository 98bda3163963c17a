//! Carries out each command, down to its exit code. Nothing else writes to standard output.

#[cfg(feature = "simulator")]
mod simulator;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::runtime;

use crate::admin::{self, AdminCommand};
use crate::app::{self, App, InheritedSockets, Launcher, Predecessor, Signals};
use crate::args::{self, Command};
use crate::clock::Clock;
use crate::config::{self, Config, ConfigFaults, EndpointUrl, StoreKind};
use crate::edge::local_ca;
use crate::secret::Secret;
use crate::store;
use crate::telemetry;

/// Exit code if a critical task died; EX_SOFTWARE of sysexits.
const DIED: u8 = 70;

pub fn run(command: Command) -> ExitCode {
    match command {
        Command::CertsInit { directory, force, names } => certs_init(&directory, force, names),
        Command::Check { config } => with_config(&config, |checked| {
            if let StoreKind::Journal(file) = &checked.store.kind
                && let Err(fault) = store::check(file)
            {
                return complain(&fault.to_string());
            }
            if let Err(faults) = app::check_files(&checked) {
                return complain_of(&config, faults);
            }
            let ConfigFaults(warnings) = &checked.warnings;
            let count = match warnings.len() {
                0 => String::new(),
                1 => ", 1 warning".to_owned(),
                count => format!(", {count} warnings"),
            };
            say(&format!("{}: good{count}\n{}", config.display(), checked.warnings));
            ExitCode::SUCCESS
        }),
        #[cfg(feature = "simulator")]
        Command::Demo { check } => on_runtime(simulator::demo(check)),
        #[cfg(feature = "simulator")]
        Command::Headend(options) => on_runtime(simulator::headend(options)),
        #[cfg(not(feature = "simulator"))]
        Command::Demo { .. } | Command::Headend(_) => {
            complain("this build has no simulator: build it with the feature \"simulator\", which is on by default")
        }
        Command::Help => {
            say(args::HELP);
            ExitCode::SUCCESS
        }
        Command::Run { config } => on_runtime(serve(config)),
        Command::Sessions { admin, config, json, order, token_file } => {
            sessions(admin.as_deref(), &config, json, &order, token_file.as_deref())
        }
        Command::Version => {
            say(concat!("sidebeat ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
    }
}

/// Writes to standard output. A closed one is no failure.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout();
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) -> ExitCode {
    let _gone = writeln!(io::stderr(), "sidebeat: {text}");
    ExitCode::FAILURE
}

fn with_config(file: &Path, act: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match load(file) {
        Ok(config) => act(config),
        Err(faults) => complain_of(file, faults),
    }
}

fn complain_of(file: &Path, ConfigFaults(faults): ConfigFaults) -> ExitCode {
    let count = faults.len();
    let plural = if count == 1 { "" } else { "s" };
    complain(&format!("{}: {count} fault{plural}\n{}", file.display(), ConfigFaults(faults).to_string().trim_end()))
}

fn load(file: &Path) -> Result<Config, ConfigFaults> {
    let environment =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    config::load(file, environment)
}

fn on_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(fault) => complain(&format!("no runtime can be made: {fault}")),
    }
}

async fn serve(file: PathBuf) -> ExitCode {
    // Before this process opens any descriptor.
    let sockets = match InheritedSockets::take() {
        Ok(sockets) => sockets,
        Err(fault) => return complain(&fault.to_string()),
    };
    let signals = match Signals::hear() {
        Ok(signals) => signals,
        Err(fault) => return complain(&fault.to_string()),
    };
    let predecessor = match Predecessor::of_this_process() {
        Ok(predecessor) => predecessor,
        Err(fault) => return complain(&format!("standard input is no channel to the process before: {fault}")),
    };
    let config = match load(&file) {
        Ok(config) => config,
        Err(faults) => return complain_of(&file, faults),
    };
    telemetry::start_log(&config.log);
    raise_descriptor_limit();
    let built = App::build_after(config, predecessor, sockets).await;
    let app = match built.and_then(|app| app.launching(Launcher::of_this_process())) {
        Ok(app) => app.hearing(signals).reloading(move || load(&file)),
        Err(fault) => return complain(&fault.to_string()),
    };
    match app.run(std::future::pending()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault @ app::AppFault::Death(_)) => {
            complain(&fault.to_string());
            ExitCode::from(DIED)
        }
        Err(fault) => complain(&fault.to_string()),
    }
}

/// Raises the soft limit of open files: every connection needs a descriptor, and the soft limit is often 1,024 where
/// the hard one is a million.
fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::info!(limit, "open files"),
        Err(fault) => tracing::warn!(%fault, "the limit of open files could not be raised"),
    }
}

fn certs_init(directory: &Path, force: bool, mut names: Vec<String>) -> ExitCode {
    if names.is_empty() {
        names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    }
    let request = local_ca::CertsRequest { directory, names: &names, now: Clock.wall(), renew_authority: force };
    match local_ca::init(&request) {
        Ok(written) => {
            let (which, advice) = if written.authority_is_new {
                ("new CA", ": tell players' devices to trust it")
            } else {
                ("same CA", ", which devices may trust already")
            };
            say(&format!(
                "certificate  {} for {}\nkey          {}\n{which:<12} {}{advice}\n",
                written.certificate.display(),
                names.join(", "),
                written.key.display(),
                written.authority.display(),
            ));
            ExitCode::SUCCESS
        }
        Err(fault) => complain(&fault.to_string()),
    }
}

fn sessions(admin: Option<&str>, file: &Path, json: bool, order: &AdminCommand, token_file: Option<&Path>) -> ExitCode {
    let (endpoint, token) = match where_admin(admin, file, token_file) {
        Ok(found) => found,
        Err(why) => return complain(&why),
    };
    on_runtime(async {
        match admin::order(&endpoint, token.as_ref(), order, json).await {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(why) => complain(&why),
        }
    })
}

/// The admin listener's URL and token, from the command line or else from the proxy's configuration.
fn where_admin(
    admin: Option<&str>,
    file: &Path,
    token_file: Option<&Path>,
) -> Result<(EndpointUrl, Option<Secret>), String> {
    let mut token = match token_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|fault| format!("{}: {fault}", file.display()))?;
            Some(Secret::new(text.trim_end()))
        }
        None => None,
    };
    let url = match admin {
        Some(url) => url.to_owned(),
        None => {
            let config = load(file).map_err(|faults| format!("{}:\n{faults}(or say --admin URL)", file.display()))?;
            token = token.or(config.admin.token);
            let address = config.admin.listen.ok_or("admin.listen is off")?;
            format!("http://{address}")
        }
    };
    let endpoint = EndpointUrl::parse(&url).map_err(|why| format!("--admin {url}: {why}"))?;
    Ok((endpoint, token))
}
