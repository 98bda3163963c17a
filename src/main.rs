//! The thin binary: reads the command line and calls the library.

use std::io::Write;
use std::process::ExitCode;

use sidebeat::{args, command};

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(asked) => command::run(asked),
        Err(error) => {
            // Without a terminal there is nobody to tell.
            let _gone = writeln!(std::io::stderr(), "sidebeat: {error}\nTry: sidebeat --help");
            ExitCode::from(2)
        }
    }
}
