//! Measures the whole proxy: CPU per license call beside nginx, memory, size.
//!
//! The benchmark runs the release binary as a child on core 0; it generates the load and plays the license server on
//! core 1. `benches/README.md` says how to read the figures.

#[path = "proxy/figures.rs"]
mod figures;
#[path = "proxy/load.rs"]
mod load;
#[path = "proxy/machine.rs"]
mod machine;
#[path = "proxy/memory.rs"]
mod memory;
#[path = "proxy/options.rs"]
mod options;
#[path = "proxy/peers.rs"]
mod peers;
#[path = "proxy/rounds.rs"]
mod rounds;
#[path = "proxy/upstream.rs"]
mod upstream;
#[path = "proxy/wire.rs"]
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use self::options::Options;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    machine::bench(measure)
}

async fn measure(options: &Options, binary: &std::path::Path) -> Outcome<()> {
    let memory = memory::measure(binary).await?;
    let rounds = rounds::run(options, binary).await?;
    let page = figures::page(options, binary, &memory, &rounds)?;
    say(&page);
    if options.write { figures::write(&page) } else { Ok(()) }
}

/// Standard output that is gone is no reason to fail.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout();
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush());
}
