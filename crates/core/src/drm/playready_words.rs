//! The names in PlayReady's SOAP: which elements matter, and which kind each operation is.
//!
//! Only local names are compared; `playready` looks for the namespace once.

use super::message::{Direction, MessageKind};

/// Elements that are read, by local name.
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

/// True if the element of this local name requests a license, or delivers one.
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
