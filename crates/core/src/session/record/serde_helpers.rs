//! How single fields of a record are written: secrets in clear, and nothing of what says nothing.

use serde::{Deserialize, Deserializer, Serializer};

use crate::secret::Secret;

/// A field that says nothing is left out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A record is the one place where a token is written down: the journal could not use it otherwise.
pub fn expose<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

pub fn hide<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}
