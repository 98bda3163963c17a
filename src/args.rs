//! Reads the command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::admin::AdminCommand;

pub const HELP: &str = "\
sidebeat: session management for unmodified video players

  sidebeat run [-c FILE]            run the proxy until SIGTERM or Ctrl-C
  sidebeat check [-c FILE]          validate a configuration; exit 0 or 1
  sidebeat demo [--check]           proxy, head-end, content and a page, all on this machine;
                                    with --check the same story without a browser
  sidebeat headend [options]        a simulated head-end: SSM, FirstLight, licenses, content
      --listen ADDRESS              127.0.0.1:9200
      --tenant NAME                 DEMO
      --heartbeat SECONDS           30
      --limit N                     sessions of one account: 2
      --content DIRECTORY           served under /content/
  sidebeat certs init [NAME …]      a local CA and a certificate for these names and addresses
      --dir DIRECTORY               certs
      --force                       a new CA too
  sidebeat sessions [list | show ID | kill ID | forgive ID | teardown ID]
  sidebeat slots [list NAME | end NAME ID | move NAME ID DEVICE]
                                    the places of the embedded authority NAME
  sidebeat configuration            since when the running proxy has it, and why the last reload failed
  all three with:
      -c FILE | --admin URL         where the running proxy's admin listener is
      --token-file FILE             its token
      --json                        as the API gives it
  sidebeat --version | --help       also for short: -V, -h

FILE is config.toml unless given. An ID may be its first digits. Exit codes: 0 good, 1 failed, 2 usage, 70 a part died.
";

#[derive(Debug)]
pub enum Command {
    CertsInit { directory: PathBuf, force: bool, names: Vec<String> },
    Check { config: PathBuf },
    Demo { check: bool },
    Headend(HeadendArgs),
    Help,
    Run { config: PathBuf },
    Sessions { admin: Option<String>, config: PathBuf, json: bool, order: AdminCommand, token_file: Option<PathBuf> },
    Version,
}

#[derive(Debug)]
pub struct HeadendArgs {
    pub content: Option<PathBuf>,
    pub heartbeat: f64,
    pub limit: u32,
    pub listen: SocketAddr,
    pub tenant: String,
}

impl Default for HeadendArgs {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9200));
        Self { content: None, heartbeat: 30.0, limit: 2, listen, tenant: "DEMO".to_owned() }
    }
}

/// All arguments of all commands.
#[derive(Default)]
struct ParsedArgs {
    admin: Option<String>,
    check: bool,
    config: Option<PathBuf>,
    directory: Option<PathBuf>,
    force: bool,
    headend: HeadendArgs,
    json: bool,
    plain: Vec<String>,
    token_file: Option<PathBuf>,
}

/// Reads the arguments, without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let command = match parser.next()? {
        Some(Value(word)) => word.string()?,
        Some(Long("help") | Short('h')) | None => return Ok(Command::Help),
        Some(Long("version") | Short('V')) => return Ok(Command::Version),
        Some(other) => return Err(other.unexpected()),
    };
    let mut words = ParsedArgs::default();
    while let Some(argument) = parser.next()? {
        match (command.as_str(), argument) {
            (_, Long("help") | Short('h')) => return Ok(Command::Help),
            ("check" | "configuration" | "run" | "sessions" | "slots", Long("config") | Short('c')) => {
                words.config = Some(parser.value()?.into())
            }
            ("certs" | "sessions" | "slots", Value(word)) => words.plain.push(word.string()?),
            ("certs", Long("dir")) => words.directory = Some(parser.value()?.into()),
            ("certs", Long("force")) => words.force = true,
            ("demo", Long("check")) => words.check = true,
            ("headend", Long("content")) => words.headend.content = Some(parser.value()?.into()),
            ("headend", Long("heartbeat")) => words.headend.heartbeat = parser.value()?.parse()?,
            ("headend", Long("limit")) => words.headend.limit = parser.value()?.parse()?,
            ("headend", Long("listen")) => words.headend.listen = parser.value()?.parse()?,
            ("headend", Long("tenant")) => words.headend.tenant = parser.value()?.string()?,
            ("configuration" | "sessions" | "slots", Long("admin")) => words.admin = Some(parser.value()?.string()?),
            ("configuration" | "sessions" | "slots", Long("json")) => words.json = true,
            ("configuration" | "sessions" | "slots", Long("token-file")) => {
                words.token_file = Some(parser.value()?.into())
            }
            (_, other) => return Err(other.unexpected()),
        }
    }
    words.command(&command)
}

impl ParsedArgs {
    fn command(self, name: &str) -> Result<Command, lexopt::Error> {
        let config = self.config.unwrap_or_else(|| "config.toml".into());
        Ok(match name {
            "certs" => {
                let mut words = self.plain.into_iter();
                if words.next().as_deref() != Some("init") {
                    return Err("certs: say `certs init`".into());
                }
                let names = words.collect();
                Command::CertsInit {
                    directory: self.directory.unwrap_or_else(|| "certs".into()),
                    force: self.force,
                    names,
                }
            }
            "check" => Command::Check { config },
            "demo" => Command::Demo { check: self.check },
            "headend" => Command::Headend(self.headend),
            "help" => Command::Help,
            "run" => Command::Run { config },
            "configuration" | "sessions" | "slots" => Command::Sessions {
                admin: self.admin,
                config,
                json: self.json,
                order: match name {
                    "configuration" => AdminCommand::Configuration,
                    "slots" => slot_order(&self.plain)?,
                    _ => order(&self.plain)?,
                },
                token_file: self.token_file,
            },
            _ => return Err(format!("{name:?} is no command").into()),
        })
    }
}

fn order(words: &[String]) -> Result<AdminCommand, lexopt::Error> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        [] | ["list"] => AdminCommand::List,
        ["forgive", id] => AdminCommand::Forgive((*id).to_owned()),
        ["kill", id] => AdminCommand::Kill((*id).to_owned()),
        ["show", id] => AdminCommand::Show((*id).to_owned()),
        ["teardown", id] => AdminCommand::Teardown((*id).to_owned()),
        _ => return Err("sessions: say list, show ID, kill ID, forgive ID or teardown ID".into()),
    })
}

fn slot_order(words: &[String]) -> Result<AdminCommand, lexopt::Error> {
    Ok(match words {
        [list, authority] if list == "list" => AdminCommand::ListSlots { authority: authority.clone() },
        [end, authority, id] if end == "end" => AdminCommand::EndSlot { authority: authority.clone(), id: id.clone() },
        [to, authority, id, device] if to == "move" => {
            AdminCommand::MoveSlot { authority: authority.clone(), device: device.clone(), id: id.clone() }
        }
        _ => return Err("slots: say list NAME, end NAME ID or move NAME ID DEVICE".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_are_read() {
        assert!(matches!(read(""), Ok(Command::Help)));
        assert!(matches!(read("run -c a.toml"), Ok(Command::Run { config }) if config.as_os_str() == "a.toml"));
        assert!(matches!(read("demo --check"), Ok(Command::Demo { check: true })));
        assert!(
            matches!(read("sessions kill 0a1b"), Ok(Command::Sessions { order: AdminCommand::Kill(id), .. }) if id == "0a1b")
        );
        assert!(matches!(
            read("slots move home 0a1b tv-2 --json"),
            Ok(Command::Sessions { json: true, order: AdminCommand::MoveSlot { authority, device, id }, .. })
                if (&*authority, &*device, &*id) == ("home", "tv-2", "0a1b")
        ));
        assert!(matches!(
            read("slots list home"),
            Ok(Command::Sessions { order: AdminCommand::ListSlots { authority }, .. }) if authority == "home"
        ));
        assert!(matches!(
            read("configuration --json"),
            Ok(Command::Sessions { json: true, order: AdminCommand::Configuration, .. })
        ));
        assert!(matches!(read("slots end home 1"), Ok(Command::Sessions { order: AdminCommand::EndSlot { .. }, .. })));
        assert!(matches!(read("certs init a.lan 10.0.0.1"), Ok(Command::CertsInit { names, .. }) if names.len() == 2));
        assert!(
            matches!(read("headend --listen 127.0.0.1:0"), Ok(Command::Headend(headend)) if headend.listen.port() == 0)
        );
    }

    #[test]
    fn an_argument_that_no_command_takes_is_named() {
        for line in [
            "fly",
            "run --fast",
            "certs",
            "configuration x",
            "sessions kill",
            "slots",
            "slots end home",
            "slots list home --force",
            "run x",
            "headend --listen nowhere",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
