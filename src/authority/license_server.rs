//! What a license server's refusal tells about the session of the call.

use http::StatusCode;

use super::{Authority, Kind, nagra_ssm};
use crate::drm::System;
use crate::session::Reason;

impl Authority {
    /// Why the session of this license call has ended, where its license server says so.
    pub fn killed_by_license_server(&self, system: System, status: StatusCode, body: &[u8]) -> Option<Reason> {
        match &self.kind {
            Kind::NagraSsm(_) if system == System::PlayReady => nagra_ssm::killed_by_license_server(status, body),
            Kind::Embedded(_) | Kind::FirstLight(_) | Kind::NagraSsm(_) => None,
        }
    }
}
