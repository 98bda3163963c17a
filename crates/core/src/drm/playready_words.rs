//! The words of PlayReady's SOAP: which elements matter, and what each operation is.
//!
//! Local names only; the namespace is looked for once, by `playready`.

use super::message::{Direction, MessageKind};

/// Elements that mean something to us, by local name.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum SoapTag {
    Body,
    CustomData,
    EncryptedData,
    Envelope,
    Kid,
    La,
    License,
    LicenseNonce,
    LicenseResponse,
    Licenses,
    Other,
    StatusCode,
    TransactionId,
    WrmHeader,
}

impl SoapTag {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "Body" => Self::Body,
            "CustomData" => Self::CustomData,
            "EncryptedData" => Self::EncryptedData,
            "Envelope" => Self::Envelope,
            "KID" => Self::Kid,
            "LA" => Self::La,
            "License" => Self::License,
            "LicenseNonce" => Self::LicenseNonce,
            "LicenseResponse" => Self::LicenseResponse,
            "Licenses" => Self::Licenses,
            "StatusCode" => Self::StatusCode,
            "TransactionID" => Self::TransactionId,
            "WRMHEADER" => Self::WrmHeader,
            _ => Self::Other,
        }
    }
}

/// Whether the element of this local name asks for a license, or brings one.
pub(super) fn is_about_a_license(direction: Direction, name: &str) -> bool {
    operation(direction, name) == Some(license_kind(direction))
}

pub(super) fn license_kind(direction: Direction) -> MessageKind {
    match direction {
        Direction::Reply => MessageKind::License,
        Direction::Request => MessageKind::LicenseRequest,
    }
}

/// The kind of an operation, by the local name of a child of the SOAP body.
pub(super) fn operation(direction: Direction, name: &str) -> Option<MessageKind> {
    let name = match direction {
        Direction::Reply if name == "Fault" => return Some(MessageKind::Error),
        Direction::Reply => name.strip_suffix("Response")?,
        Direction::Request => name,
    };
    match (name, direction) {
        ("AcquireLicense", Direction::Reply) => Some(MessageKind::License),
        ("AcquireLicense", Direction::Request) => Some(MessageKind::LicenseRequest),
        ("AcknowledgeLicense", _) => Some(MessageKind::Acknowledge),
        ("ProcessDeleteLicenseData" | "ProcessSecureStopData", Direction::Reply) => Some(MessageKind::Acknowledge),
        ("ProcessDeleteLicenseData" | "ProcessSecureStopData", Direction::Request) => Some(MessageKind::Release),
        (
            "AcquirePackagingData" | "GetMeteringCertificate" | "JoinDomain" | "LeaveDomain" | "ProcessMeteringData",
            _,
        ) => Some(MessageKind::Other),
        _ => None,
    }
}
