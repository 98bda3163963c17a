use std::path::Path;
use super::{Config, Faults};
pub fn load(_file: &Path, _environment: impl Iterator<Item = (String, String)>) -> Result<Config, Faults> { Err(Faults(Vec::new())) }
