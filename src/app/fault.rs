//! Reasons why the proxy does not start, or ends early.

use std::io;

use super::handover::HandoverFault;
use super::sockets::SocketFault;
use crate::config::ConfigFaults;
use crate::edge::{self, local_ca};
use crate::store;
use crate::upstream::TrustFault;

#[derive(Debug, thiserror::Error)]
pub enum AppFault {
    #[error(transparent)]
    Admin(edge::EdgeFault),
    #[error(transparent)]
    Certificates(#[from] local_ca::CertsFault),
    #[error("the configuration names files that cannot be used\n{}", .0.to_string().trim_end())]
    Files(#[from] ConfigFaults),
    #[error("a listening socket cannot be copied: {0}")]
    Copies(io::Error),
    #[error("{0} ended before its time")]
    Death(&'static str),
    #[error(transparent)]
    Edge(#[from] edge::EdgeFault),
    #[error("the successor (process {0}) does not serve: {1}")]
    Handover(u32, HandoverFault),
    #[error("nothing is handed over: {0}")]
    HandoverRefused(HandoverFault),
    #[error(transparent)]
    Journal(#[from] store::JournalFault),
    #[error(transparent)]
    Sockets(#[from] SocketFault),
    #[error("signals cannot be heard: {0}")]
    Signals(io::Error),
    #[error("no thread can be made: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Trust(#[from] TrustFault),
}
