//! The callers that an edge serves. Players and operators have separate listeners, threads and bounds, so that
//! neither takes what the other needs.

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EdgeRole {
    Operators,
    Players,
}

impl EdgeRole {
    pub(super) const fn acceptor_name(self) -> &'static str {
        match self {
            Self::Operators => "admin acceptor",
            Self::Players => "edge acceptor",
        }
    }

    pub(super) const fn worker_name(self) -> &'static str {
        match self {
            Self::Operators => "admin worker",
            Self::Players => "edge worker",
        }
    }

    pub(super) const fn thread_name(self) -> &'static str {
        match self {
            Self::Operators => "admin",
            Self::Players => "edge",
        }
    }

    /// Descriptors kept back for accepting. The health check must work even when players have taken all others.
    pub(super) const fn spare_descriptors(self) -> usize {
        match self {
            Self::Operators => 8,
            Self::Players => 1,
        }
    }

    /// Number of connections, of so many, that event listeners may hold as long as they like. The operators'
    /// listeners are counted where they are handed out.
    pub(super) fn listeners_among(self, connections: usize) -> usize {
        match self {
            Self::Operators => usize::MAX,
            Self::Players => (connections / 4).max(1),
        }
    }
}
