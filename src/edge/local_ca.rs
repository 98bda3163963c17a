//! Makes a local CA and a leaf certificate, for a checkout or a home gateway without one.
//!
//! Owns the four files and their modes. `sidebeat certs init` calls it, and `run` on a first start. Files appear
//! whole: each is written under another name and renamed. An existing CA is kept, because devices trust it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificate_expiry;
use crate::ids;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Time before now at which validity begins, for devices whose clock is behind.
const BACKDATING_TIME: Duration = DAY;
const CA_LIFETIME: Duration = DAY.saturating_mul(3650);
/// Browsers refuse leaves that are valid for more than 398 days, backdating included.
const LEAF_LIFETIME: Duration = DAY.saturating_mul(396);

/// Arguments of `certs init`.
#[derive(Clone, Copy, Debug)]
pub struct CertsRequest<'a> {
    pub directory: &'a Path,
    /// DNS names and IP addresses of the leaf; at least one.
    pub names: &'a [String],
    /// Wall time since the Unix epoch.
    pub now: Duration,
    /// Makes a new CA even if there is one. Every device must then trust the new one.
    pub renew_authority: bool,
}

/// The files that exist now, and which of them are new.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrittenFiles {
    pub authority: PathBuf,
    pub authority_is_new: bool,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// End of the leaf's validity, since the Unix epoch.
    pub not_after: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum CertsFault {
    #[error("{} is not the key of {}; restore the right one, or make a new CA with `sidebeat certs init --force`", key.display(), authority.display())]
    Alien { authority: PathBuf, key: PathBuf },
    #[error("the CA in {} has expired; make a new one with `sidebeat certs init --force`", path.display())]
    Expired { path: PathBuf },
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: io::Error },
    #[error("{} exists but {} does not; restore it, or remove the other to have both made", present.display(), missing.display())]
    Half { missing: PathBuf, present: PathBuf },
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("{name:?} is neither a DNS name nor an IP address")]
    Name { name: String },
    #[error("no name was given for the certificate")]
    Nameless,
}

/// Makes `leaf.pem` (with its CA behind it) and `leaf.key`, and `ca.pem` and `ca.key` if need be.
pub fn init(request: &CertsRequest<'_>) -> Result<WrittenFiles, CertsFault> {
    let place = |name: &str| request.directory.join(name);
    let files = CertificateFiles {
        authority: place("ca.pem"),
        authority_key: place("ca.key"),
        certificate: place("leaf.pem"),
        key: place("leaf.key"),
    };
    files.make(request.names, request.now, request.renew_authority)
}

/// Makes the pair and its CA for `run` on a fresh checkout, if neither file exists, and returns the names of the
/// files. `None` if both exist; one without the other is a fault.
pub fn ensure(
    certificate: &Path,
    key: &Path,
    names: &[String],
    now: Duration,
) -> Result<Option<WrittenFiles>, CertsFault> {
    if both(certificate, key)? {
        return Ok(None);
    }
    let directory = certificate.parent().unwrap_or_else(|| Path::new(""));
    let files = CertificateFiles {
        authority: directory.join("ca.pem"),
        authority_key: directory.join("ca.key"),
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    let written = files.make(names, now, false)?;
    tracing::warn!(
        certificate = %written.certificate.display(),
        authority = %written.authority.display(),
        "made a certificate since there was none; devices must be told to trust the CA"
    );
    Ok(Some(written))
}

/// True if the pair exists.
///
/// # Errors
/// Only one of the files exists.
pub fn is_there(certificate: &Path, key: &Path) -> Result<bool, CertsFault> {
    both(certificate, key)
}

struct CertificateFiles {
    authority: PathBuf,
    authority_key: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl CertificateFiles {
    fn make(self, names: &[String], now: Duration, renew: bool) -> Result<WrittenFiles, CertsFault> {
        let names = names.iter().map(|name| alternative(name)).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(CertsFault::Nameless);
        }
        let authority_is_new = renew || !both(&self.authority, &self.authority_key)?;
        if authority_is_new {
            self.make_authority(now)?;
        }
        self.make_leaf(names, now)?;
        Ok(WrittenFiles {
            authority: self.authority,
            authority_is_new,
            certificate: self.certificate,
            key: self.key,
            not_after: now + LEAF_LIFETIME,
        })
    }

    fn make_authority(&self, now: Duration) -> Result<(), CertsFault> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(now, CA_LIFETIME);
        // A device's list would show two CAs of the same name, which could be confused.
        let name = format!("sidebeat local CA {:08x}", ids::random_u64() >> 32);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        write(&self.authority_key, key.serialize_pem().as_bytes(), 0o600)?;
        write(&self.authority, certificate.pem().as_bytes(), 0o644)
    }

    fn make_leaf(&self, names: Vec<SanType>, now: Duration) -> Result<(), CertsFault> {
        let authority = read(&self.authority)?;
        if expiry(&authority).is_some_and(|end| end <= now) {
            return Err(CertsFault::Expired { path: self.authority.clone() });
        }
        let authority_key = KeyPair::from_pem(&read(&self.authority_key)?)?;
        if !belongs(&authority, &authority_key) {
            return Err(CertsFault::Alien { authority: self.authority.clone(), key: self.authority_key.clone() });
        }
        let issuer = Issuer::from_ca_cert_pem(&authority, authority_key)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(now, LEAF_LIFETIME);
        params.distinguished_name.push(DnType::CommonName, "sidebeat");
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        write(&self.key, key.serialize_pem().as_bytes(), 0o600)?;
        write(&self.certificate, format!("{}{authority}", certificate.pem()).as_bytes(), 0o644)
    }
}

fn params(now: Duration, life: Duration) -> CertificateParams {
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(BACKDATING_TIME);
    params.not_after = epoch + (now + life);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

fn alternative(name: &str) -> Result<SanType, CertsFault> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let fault = || CertsFault::Name { name: name.to_owned() };
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > 253 || !name.strip_prefix("*.").unwrap_or(name).split('.').all(label) {
        return Err(fault());
    }
    name.try_into().map(SanType::DnsName).map_err(|_| fault())
}

fn both(one: &Path, other: &Path) -> Result<bool, CertsFault> {
    let half = |present: &Path, missing: &Path| CertsFault::Half { missing: missing.into(), present: present.into() };
    match (one.exists(), other.exists()) {
        (true, true) => Ok(true),
        (false, false) => Ok(false),
        (true, false) => Err(half(one, other)),
        (false, true) => Err(half(other, one)),
    }
}

fn expiry(pem: &str) -> Option<Duration> {
    certificate_expiry::not_after(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
}

/// True if the key belongs to the certificate. Otherwise no device would trust the leaf.
fn belongs(authority: &str, key: &KeyPair) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(authority.as_bytes()) else { return false };
    let Ok(private) = PrivateKeyDer::try_from(key.serialize_der()) else { return false };
    CertifiedKey::from_der(vec![certificate], private, &aws_lc_rs::default_provider()).is_ok()
}

fn read(path: &Path) -> Result<String, CertsFault> {
    fs::read_to_string(path).map_err(|why| CertsFault::File { path: path.to_owned(), why })
}

/// Writes a file under another name, with its mode from the start, and renames it. So no other user can read a key,
/// and a reload never sees half a file.
fn write(path: &Path, text: &[u8], mode: u32) -> Result<(), CertsFault> {
    let aside = path.with_extension(format!("{:016x}.new", ids::random_u64()));
    let written = (|| {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    written.map_err(|why| {
        let _gone = fs::remove_file(&aside);
        CertsFault::File { path: path.to_owned(), why }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn keys_are_private_and_lives_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let names = names(&["localhost", "*.tv.example", "127.0.0.1", "::1"]);
        let written =
            init(&CertsRequest { directory: directory.path(), names: &names, now: NOW, renew_authority: false })
                .unwrap();
        for (name, mode) in [("ca.key", 0o600), ("leaf.key", 0o600), ("ca.pem", 0o644), ("leaf.pem", 0o644)] {
            let found = fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(found & !mode, 0, "{name} has mode {found:o}");
        }
        let leaf = fs::read_to_string(&written.certificate).unwrap();
        assert_eq!(leaf.matches("BEGIN CERTIFICATE").count(), 2, "leaf, then CA");
        assert_eq!(expiry(&leaf), Some(written.not_after));
        assert!(written.not_after - (NOW - BACKDATING_TIME) <= DAY * 397);
        assert_eq!(expiry(&read(&written.authority).unwrap()), Some(NOW + CA_LIFETIME));
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 4, "nothing is left beside the files");
    }

    #[test]
    fn a_local_ca_is_kept_unless_it_must_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let names = names(&["localhost"]);
        let ask = |renew_authority, now| {
            init(&CertsRequest { directory: directory.path(), names: &names, now, renew_authority })
        };
        let first = ask(false, NOW).unwrap();
        let authority = read(&first.authority).unwrap();
        let leaf = read(&first.certificate).unwrap();
        assert!(first.authority_is_new);
        assert!(!ask(false, NOW).unwrap().authority_is_new);
        assert_eq!(read(&first.authority).unwrap(), authority);
        assert_ne!(read(&first.certificate).unwrap(), leaf);
        assert!(matches!(ask(false, NOW + DAY * 3651), Err(CertsFault::Expired { .. })));
        assert!(ask(true, NOW).unwrap().authority_is_new);
        assert_ne!(read(&first.authority).unwrap(), authority);
        let key = directory.path().join("ca.key");
        fs::copy(&first.key, &key).unwrap();
        assert!(matches!(ask(false, NOW), Err(CertsFault::Alien { .. })));
        fs::remove_file(&key).unwrap();
        assert!(matches!(ask(false, NOW), Err(CertsFault::Half { .. })));
    }

    #[test]
    fn ensure_makes_a_pair_once_and_refuses_half_a_pair() {
        let directory = tempfile::tempdir().unwrap();
        let (leaf, key) = (directory.path().join("made/tls.pem"), directory.path().join("made/tls.key"));
        let names = names(&["localhost"]);
        assert!(ensure(&leaf, &key, &names, NOW).unwrap().is_some());
        assert!(ensure(&leaf, &key, &names, NOW).unwrap().is_none());
        fs::remove_file(&key).unwrap();
        let said = ensure(&leaf, &key, &names, NOW).unwrap_err().to_string();
        assert!(said.contains("tls.pem exists but") && said.contains("tls.key does not"), "{said}");
    }

    #[test]
    fn names_are_checked() {
        // RFC 1035: a label has at most 63 bytes, a name 253.
        let label = "a".repeat(63);
        let name = |last: usize| format!("{label}.{label}.{label}.{}", "a".repeat(last));
        let (longest, too_long, long_label) = (name(61), name(62), "a".repeat(64));
        assert_eq!((longest.len(), too_long.len()), (253, 254));
        for good in ["h", "tv.example", "*.tv.example", "10.0.0.1", "::1", &label, &longest] {
            assert!(alternative(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a b", "a..b", "https://h", "-a", "a-", "*", "ü.example", "h:443", "a.*.b", &long_label, &too_long]
        {
            assert!(alternative(bad).is_err(), "{bad}");
        }
        let directory = tempfile::tempdir().unwrap();
        let none = CertsRequest { directory: directory.path(), names: &[], now: NOW, renew_authority: false };
        assert!(matches!(init(&none), Err(CertsFault::Nameless)));
    }
}
