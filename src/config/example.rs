//! `kind = "example"`: the settings of the example dialect. Only tests use it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::EndpointUrl;
use super::authority::{KindSettings, timeout};
use super::table_reader::TableReader;

#[derive(Debug)]
pub struct ExampleSettings {
    /// CA for this server, in place of the public roots.
    pub ca: Option<PathBuf>,
    /// URL at which sessions are opened; each session has its own segment below.
    pub sessions: EndpointUrl,
    /// Time of one call to the authority.
    pub timeout: Duration,
}

/// `call` is the time of a whole license call, of which an open is a part.
pub(super) fn example(table: &TableReader<'_>, call: Duration) -> Option<ExampleSettings> {
    table.need("setup-url", "write where sessions are opened, such as \"https://host/v2/sessions\"");
    let (ca, timeout) = (table.file("ca"), timeout(table, call, Duration::from_secs(2)));
    Some(ExampleSettings { ca, sessions: table.word("setup-url", EndpointUrl::parse)?, timeout })
}

impl KindSettings for ExampleSettings {
    fn servers(&self) -> Vec<(&EndpointUrl, Option<&Path>)> {
        vec![(&self.sessions, self.ca.as_deref())]
    }
}
