//! Helpers for single fields of a record: secrets are written in clear, and default values are omitted.

use serde::{Deserialize, Deserializer, Serializer};

use crate::secret::Secret;

/// True for a default value, which is omitted.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes a secret in clear. Only records do so, because the journal could not use it otherwise.
pub fn expose<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

pub fn hide<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}
