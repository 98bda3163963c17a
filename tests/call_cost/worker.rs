//! One worker of the proxy on the calling thread, whose allocations are counted; the rest on a control thread.

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;

use allocation_counter::AllocationInfo;
use sidebeat::app::App;
use sidebeat::clock::Clock;
use sidebeat::config::{self, Config};
use sidebeat::edge::{Edge, Serving};
use tokio::runtime::{Builder, Runtime};

use crate::far_side;
use crate::player::{CallingPlayer, Player};

/// Calls before the count begins.
const WARM_UP_CALLS: usize = 64;
/// Calls of the shorter of the two runs that are compared.
const CALLS: usize = 100;

/// Mean of one call in the worker's thread, rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

pub(crate) struct Worker {
    app: App,
    runtime: Runtime,
    settings: Config,
}

impl Worker {
    pub(crate) fn start() -> Self {
        let worker = Self::build();
        keep_panics_readable();
        worker
    }

    fn build() -> Self {
        let text = "[server]\nlisten = []\nlisten-plain = [\"127.0.0.1:0\"]\nworkers = 1\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [[authority]]\nname = \"head-end\"\nkind = \"nagra-ssm\"\nurl = \"http://FAR/DEMO/ssm\"\ntenant = \"DEMO\"\n\
             [[route]]\npath = \"/pass\"\nlicense-server = \"http://FAR/license\"\n\
             [[route]]\npath = \"/ssm\"\nlicense-server = \"http://FAR/license\"\nauthority = \"head-end\"\n\
             enforcement = \"heartbeat\"\n";
        let text = text.replace("FAR", &far_side::start().to_string());
        let settings = || config::parse(&text, Path::new("."), std::iter::empty()).unwrap();
        let (tell, told) = channel();
        let of_app = settings();
        thread::spawn(move || {
            current_thread().block_on(async {
                let _ended = tell.send(App::build(of_app).await.unwrap());
                // Asks of the session service run here.
                std::future::pending::<()>().await;
            });
        });
        Self { app: told.recv().unwrap(), runtime: current_thread(), settings: settings() }
    }

    pub(crate) fn cost_of_a_call(self, player: Player) -> Cost {
        // For a profiler: so many calls that all else is little.
        let calls = std::env::var("CALL_COST_CALLS").map_or(CALLS, |calls| calls.parse().unwrap());
        let serving = self.runtime.block_on(self.serve());
        let mut player = player.connect(serving.1);
        self.run(&mut player, WARM_UP_CALLS);
        let (once, twice) = (self.run(&mut player, calls), self.run(&mut player, 2 * calls));
        let mean = |once, twice| (twice - once + calls as u64 / 2) / calls as u64;
        Cost {
            allocations: mean(once.count_total, twice.count_total),
            bytes: mean(once.bytes_total, twice.bytes_total),
        }
    }

    async fn serve(&self) -> (Serving, std::net::SocketAddr) {
        let edge = Edge::bind(&self.settings.server, Clock, self.app.tasks(), Default::default()).await.unwrap();
        let address = edge.addresses()[0].address;
        (edge.serve_here(self.app.handler()), address)
    }

    /// The runtime's tasks run only within this.
    fn run(&self, player: &mut CallingPlayer, calls: usize) -> AllocationInfo {
        allocation_counter::measure(|| self.runtime.block_on(player.call(calls)))
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The proxy's own hook hides what a panic says; a test's must be read.
#[expect(clippy::print_stdout, reason = "which the harness shows for a test that fails")]
fn keep_panics_readable() {
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
}
