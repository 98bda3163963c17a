//! Common code of the shell's benches: a session context, a call, and the writer of figures into `benches/README.md`.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use sidebeat::clock::Clock;
use sidebeat::config::DeviceSource;
use sidebeat::secret::{Fingerprint, Secret};
use sidebeat::session::{CallKind, OpenAbility, PlayerCall, Policy};
use sidebeat::sessions::{AuthorityId, LivePolicy, SessionContext, SessionRoute};
use sidebeat::store::DialectName;
use tokio::runtime;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Size of a typical content token in bytes.
pub(crate) const TOKEN_BYTES: usize = 700;

/// Context of all playbacks at this authority.
pub(crate) fn session_route(name: &str, dialect: DialectName, policy: Policy) -> Arc<SessionRoute> {
    Arc::new(SessionRoute {
        authority: AuthorityId::of(name),
        authority_name: name.into(),
        dialect,
        error_name: |_| "error",
        policy: Arc::new(LivePolicy::new(policy)),
        route: "/license".into(),
    })
}

/// Context of a playback on this device, of any content.
pub(crate) fn context(device: String) -> SessionContext {
    SessionContext {
        account: Some("account".into()),
        content: Some("content".into()),
        device: device.into(),
        groups: None,
        kill_memory: None,
        network: Fingerprint::default(),
        of_route: session_route("head-end", DialectName::NagraSsm, Policy::default()),
        opened: Clock.wall().into(),
        registration: None,
        device_source: DeviceSource::Header,
        schedule: None,
        stream: None,
        token: Some(Secret::new("t".repeat(TOKEN_BYTES))),
    }
}

/// A license call with this content token.
pub(crate) fn call(token: u64) -> PlayerCall {
    let token = Some(Fingerprint::new(token));
    PlayerCall {
        content: None,
        content_token: token,
        key_session: None,
        kind: CallKind::License,
        opens: OpenAbility::Yes,
        token,
    }
}

/// Describes the machine, and how busy it was.
pub(crate) fn headline() -> Outcome<String> {
    let build = if cfg!(debug_assertions) { " (an unoptimised build)" } else { "" };
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("sidebeat {}{build}, load average {load}", env!("CARGO_PKG_VERSION")))
}

/// Prints what `measure` gives; with `--write` it stands between the marks of this name in the README, too.
pub(crate) fn run(name: &str, measure: impl Future<Output = Outcome<String>>) -> ExitCode {
    let done = runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(|runtime| {
        let page = runtime.block_on(measure)?;
        writeln!(io::stdout(), "{page}")?;
        if std::env::args().any(|argument| argument == "--write") { write(name, &page) } else { Ok(()) }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _gone = writeln!(io::stderr(), "{fault}");
            ExitCode::FAILURE
        }
    }
}

fn write(name: &str, page: &str) -> Outcome<()> {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/README.md");
    let marks = [format!("<!-- {name}: written by the command -->\n"), format!("\n<!-- end of {name} -->")];
    let text = fs::read_to_string(FILE)?;
    let (before, rest) = text.split_once(&marks[0]).ok_or("no mark")?;
    let (_, after) = rest.split_once(&marks[1]).ok_or("no end mark")?;
    Ok(fs::write(FILE, format!("{before}{}{page}{}{after}", marks[0], marks[1]))?)
}
