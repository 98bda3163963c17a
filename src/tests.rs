#[path = "../tests/support/cost.rs"]
pub(crate) mod cost;
