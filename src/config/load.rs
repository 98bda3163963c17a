//! Reads the document into the checked [`Config`], or into all its faults at once.
//!
//! Each table has a reader, which knows its keys, defaults and ranges. A reader that meets a fault goes on with the
//! default, so that the rest is checked, too; [`parse`] then returns no configuration.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::document::ConfigDocument;
use super::environment::EnvironmentVariables;
use super::route::RouteContext;
use super::{Config, ConfigFaults, NamedFiles};
use super::{admin, authority, log, own_listener, route, server, store, texts, webhook};

/// Reads the file and lays the `SIDEBEAT_…` variables of `environment` over it. Take the variables
/// from `std::env::vars_os`: `vars` panics when any of them is not UTF-8.
///
/// # Errors
/// Everything that is wrong with the file or the environment, or the file cannot be read.
pub fn load(file: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigFaults> {
    let text = fs::read_to_string(file).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
            ErrorKind::NotFound => "does not exist: copy the config.toml that comes with sidebeat there, \
                or name another file with --config"
                .to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        ConfigFaults::one(file.display().to_string(), what)
    })?;
    parse(&text, file.parent().unwrap_or(Path::new("")), environment)
}

/// Like [`load`], for a text. The files that it names are looked up from `folder`.
///
/// # Errors
/// Everything that is wrong with the text or the environment.
pub fn parse(
    text: &str,
    folder: &Path,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigFaults> {
    let sheet = ConfigDocument::parse(text, folder, EnvironmentVariables::new(environment))?;
    let config =
        read(&sheet).map(|config| Config { files: sheet.take_files(), warnings: sheet.take_warnings(), ..config });
    let faults = sheet.finish();
    debug_assert!(config.is_some() || !faults.0.is_empty(), "a reader gave nothing and no reason");
    config.filter(|_| faults.0.is_empty()).ok_or(faults)
}

/// Every existing key, without indices: `server.listen`, `route.refusal.widevine.first`.
pub fn keys() -> BTreeSet<String> {
    let mut one_of_each: String =
        authority::kind_names().map(|kind| format!("[[authority]]\nkind = \"{kind}\"\n")).collect();
    one_of_each += "[[route]]\nkind = \"authorize\"\n[[route]]\n[[route]]\nkind = \"media\"\n[[webhook]]\n[texts.de]";
    let sheet = ConfigDocument::parse(&one_of_each, Path::new(""), EnvironmentVariables::new(std::iter::empty()));
    sheet
        .map(|sheet| {
            read(&sheet);
            sheet.keys()
        })
        .unwrap_or_default()
}

/// The kinds of `[[authority]]` or `[[route]]` that have a key or a table of this name.
pub(super) fn kinds_that_have(table: &str, key: &str) -> Vec<&'static str> {
    let authorities: Vec<_> = authority::kind_names().collect();
    let kinds: &[&'static str] = match table {
        "authority" => &authorities,
        "route" => &["authorize", "license", "media"],
        _ => &[],
    };
    let has = |kind: &&&str| {
        let one = format!("[[{table}]]\nkind = \"{kind}\"");
        let sheet = ConfigDocument::parse(&one, Path::new(""), EnvironmentVariables::new(std::iter::empty()));
        sheet.is_ok_and(|sheet| {
            read(&sheet);
            sheet.knows(&format!("{table}.{key}"))
        })
    };
    kinds.iter().filter(has).copied().collect()
}

fn read(sheet: &ConfigDocument<'_>) -> Option<Config> {
    let root = sheet.root();
    let admin = admin::admin(&root.table("admin"));
    let log = log::log(&root.table("log"));
    let store = store::store(&root.table("store"));
    let server = server::server(&root.table("server"), admin.listen);
    let listeners: Vec<_> = server.listen.iter().chain(&server.listen_plain).copied().chain(admin.listen).collect();
    let authorities = root.tables("authority");
    authorities.iter().for_each(|table| own_listener::check_urls(table, &authority::URL_KEYS, &listeners));
    let names = authority::names(&authorities, "routes refer to an authority by it", "authority");
    let call = server.limits.call;
    let authorities: Vec<_> =
        authorities.iter().zip(&names).map(|(table, name)| authority::authority(table, name.as_ref(), call)).collect();
    let found: Vec<_> = authorities.iter().map(Option::as_ref).collect();
    let frame = RouteContext {
        authorities: &names,
        call,
        client_ca: server.tls.client_ca.is_some(),
        found: &found,
        listeners: &listeners,
    };
    let routes = route::routes(&root, &frame);
    let texts = texts::texts(&root);
    let webhooks = webhook::webhooks(&root);
    let authorities = authorities.into_iter().collect::<Option<_>>();
    let ((routes, authorize), webhooks) = (routes?, webhooks?);
    let (authorities, files, warnings) = (authorities?, NamedFiles::default(), ConfigFaults(Vec::new()));
    Some(Config { admin, authorities, authorize, files, log, routes, server, store, texts, warnings, webhooks })
}
