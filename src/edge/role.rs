//! For whom an edge listens. Players and operators have listeners, threads and bounds apart, so that
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

    /// Descriptors that are kept back for accepting. Whether the process lives must be told even when
    /// players have taken all others.
    pub(super) const fn spare_descriptors(self) -> usize {
        match self {
            Self::Operators => 8,
            Self::Players => 1,
        }
    }

    /// How many of so many connections listeners of events may hold for as long as they like. Operators' are counted
    /// where they are handed out.
    pub(super) fn listeners_among(self, connections: usize) -> usize {
        match self {
            Self::Operators => usize::MAX,
            Self::Players => (connections / 4).max(1),
        }
    }
}
