//! Authorities: who grants, confirms and kills sessions.

pub mod embedded;
