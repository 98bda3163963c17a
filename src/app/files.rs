//! Reads the files that the configuration names as they will be used: for `check`, before a start and before a
//! reload. Each fault is reported at the key that named the file.

use std::path::Path;

use super::reload::named;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigFaults};
use crate::edge::{self, CertificateFault, CheckedCertificate, CheckedTlsFiles, local_ca};
use crate::upstream::{Pins, Trust};

/// Files as they will be used, each read once.
pub(super) struct CheckedFiles {
    pub(super) pins: Pins,
    pub(super) tls: CheckedTlsFiles,
}

/// Checks every certificate, key and CA that must exist. The pair at its default place may be missing, because `run`
/// makes it.
///
/// # Errors
/// A list of all files that cannot be used.
pub fn check_files(config: &Config) -> Result<(), ConfigFaults> {
    let trust = Trust::public()
        .map_err(|fault| ConfigFaults::sorted(vec![config.files.place_of(&[], "ca").fault(fault.to_string())]))?;
    read_files(config, &trust).map(|_files| ())
}

/// Like [`check_files`], and returns what was read. `trust` is not changed.
pub(super) fn read_files(config: &Config, trust: &Trust) -> Result<CheckedFiles, ConfigFaults> {
    let mut faults = Vec::new();
    let mut note = |files: &[&Path], unset: &str, what: String| {
        let fault = config.files.place_of(files, unset).fault(what);
        // Several keys may name the same file.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    };
    let tls = &config.server.tls;
    let mut read = CheckedTlsFiles::default();
    match read_pair(&config.server) {
        Ok(pair) => read.certificate = pair,
        Err(fault) => {
            let files = [fault.file(tls), &tls.certificate, &tls.key];
            note(&files, "server.tls.certificate", fault.to_string());
        }
    }
    if let Some(client_ca) = &tls.client_ca {
        match edge::read_client_ca(client_ca) {
            Ok(roots) => read.client_ca = Some(roots),
            Err(fault) => note(&[client_ca], "server.tls.client-ca", fault.to_string()),
        }
    }
    let pins = trust.prepare(named(config), |ca, fault| note(&[ca], "ca", fault.to_string()));
    if faults.is_empty() { Ok(CheckedFiles { pins, tls: read }) } else { Err(ConfigFaults::sorted(faults)) }
}

#[derive(Debug, thiserror::Error)]
enum PairFault {
    #[error(transparent)]
    Half(local_ca::CertsFault),
    #[error(transparent)]
    Unusable(CertificateFault),
}

impl PairFault {
    /// The file whose key gets the fault.
    fn file<'a>(&'a self, tls: &'a config::TlsSettings) -> &'a Path {
        match self {
            Self::Unusable(fault) => fault.file().unwrap_or(&tls.certificate),
            Self::Half(_) if tls.certificate.exists() => &tls.key,
            Self::Half(_) => &tls.certificate,
        }
    }
}

/// `None` if there is no listener that needs the pair, or `run` makes it.
fn read_pair(server: &config::ServerSettings) -> Result<Option<CheckedCertificate>, PairFault> {
    let tls = &server.tls;
    if server.listen.is_empty() {
        return Ok(None);
    }
    if tls.is_at_its_usual_place && !local_ca::is_there(&tls.certificate, &tls.key).map_err(PairFault::Half)? {
        return Ok(None);
    }
    CheckedCertificate::read(&tls.certificate, &tls.key).map(Some).map_err(PairFault::Unusable)
}

/// Makes certificates for this machine on a fresh checkout. A pair that the configuration names elsewhere must exist.
pub(super) fn ensure_certificates(server: &config::ServerSettings, clock: Clock) -> Result<(), local_ca::CertsFault> {
    if server.listen.is_empty() || !server.tls.is_at_its_usual_place {
        return Ok(());
    }
    let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let bound = server.listen.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    names.extend(bound.map(|ip| ip.to_string()));
    local_ca::ensure(&server.tls.certificate, &server.tls.key, &names, clock.wall()).map(|_written| ())
}
