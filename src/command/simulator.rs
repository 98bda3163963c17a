//! The commands of a build that carries the simulator: `headend` and `demo`.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{complain, say};
use crate::args;
use crate::config::{LogFormat, LogSettings};
use crate::demo;
use crate::headend::{Options, SimulatedHeadend};
use crate::task::Tasks;
use crate::telemetry;

pub(super) async fn headend(args: args::HeadendArgs) -> ExitCode {
    start_plain_log("warn");
    let (tasks, _deaths) = Tasks::new();
    let mut options = Options::new(args.listen);
    options.content = args.content;
    options.tenant = args.tenant;
    options.settings.heartbeat = args.heartbeat;
    options.settings.limit = args.limit;
    let tenant = options.tenant.clone();
    match SimulatedHeadend::bind(options, tasks.clone()).await {
        Ok((bound, serve)) => {
            let base = format!("http://{}", bound.address);
            say(&format!(
                "head-end at {base}\n  session service  {base}/{tenant}/ssm\n  \
                 license servers  {base}/{tenant}/{{wvls,prls,fpls,ckls}}/contentlicenseservice/v1/licenses\n  \
                 a content token  {base}/sim/token?account=a&device=d&content=c\n  books            {base}/sim/books\n"
            ));
            tokio::select! {
                () = serve => {}
                _interrupt = tokio::signal::ctrl_c() => {}
                () = terminated() => {}
            }
            tasks.stop();
            tasks.drain(Duration::from_secs(1)).await;
            ExitCode::SUCCESS
        }
        Err(fault) => complain(&fault.to_string()),
    }
}

/// Resolves on SIGTERM; never if signals cannot be heard.
async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(_) => std::future::pending().await,
    }
}

pub(super) async fn demo(check: bool) -> ExitCode {
    start_plain_log(if check { "error" } else { "info" });
    let ended = if check { Box::pin(demo::check(say)).await } else { Box::pin(demo::show(say)).await };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => complain(&fault.to_string()),
    }
}

fn start_plain_log(filter: &str) {
    telemetry::start_log(&LogSettings { hashed_identities: false, filter: filter.to_owned(), format: LogFormat::Text });
}
