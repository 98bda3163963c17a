//! Counts interesting events by name.

use std::collections::BTreeMap;

use sidebeat::session::EndReason;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sums(BTreeMap<&'static str, u64>);

impl Sums {
    pub(crate) fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add_all(&mut self, what: impl IntoIterator<Item = &'static str>) {
        what.into_iter().for_each(|what| self.add(what));
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn plus(mut self, other: Self) -> Self {
        for (what, times) in other.0 {
            *self.0.entry(what).or_default() += times;
        }
        self
    }

    /// A storm that does not blow proves nothing.
    pub(crate) fn assert_that_all_of_it_happened(&self, names: &[&str]) {
        // No playback here has a programme.
        let ends = EndReason::ALL.iter().filter(|end| !matches!(end, EndReason::Programme)).map(|end| end.name());
        self.assert_that_these_happened(&ends.chain(names.iter().copied()).collect::<Vec<_>>());
    }

    pub(crate) fn assert_that_these_happened(&self, names: &[&str]) {
        for name in names {
            assert!(self.of(name) > 0, "never {name}: {self:?}");
        }
    }
}
