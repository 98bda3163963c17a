//! A grant as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::grant::Grant;
use super::super::step::bounded;
use super::serde_helpers::{expose, hide};
use crate::secret::Secret;
use crate::time::RecordedSpan;

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GrantRecord {
    #[serde(rename = "i")]
    pub interval: RecordedSpan,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<RecordedSpan>,
    #[serde(rename = "t", serialize_with = "expose", deserialize_with = "hide")]
    pub token: Secret,
}

impl GrantRecord {
    pub(super) fn of(grant: &Grant) -> Self {
        Self {
            interval: grant.interval.into(),
            lifetime: grant.lifetime.map(RecordedSpan::from),
            token: grant.token.clone(),
        }
    }

    pub(super) fn restore(&self) -> Grant {
        let Self { interval, lifetime, token } = self.clone();
        Grant { interval: bounded(interval.into()), lifetime: lifetime.map(Duration::from), token }
    }
}
