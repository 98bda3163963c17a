//! Medians, ranges, and ratios within a round.

use std::collections::BTreeMap;

/// Median and range of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) largest: f64,
    pub(crate) median: f64,
    pub(crate) smallest: f64,
}

impl Spread {
    /// None if there are no figures.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let median = f64::midpoint(values[last / 2], values[last.div_ceil(2)]);
        Some(Self { largest: values[last], median, smallest: values[0] })
    }

    pub(crate) fn show(self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.smallest, self.largest)
    }
}

/// Divides the figures of a case by those of its yardstick, each by that of its own round.
pub(crate) fn ratios(of: &BTreeMap<u64, f64>, yardstick: &BTreeMap<u64, f64>) -> Option<Spread> {
    Spread::of(of.iter().filter_map(|(round, value)| Some(value / yardstick.get(round)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle_or_between_the_two_that_do() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { largest: 3.0, median: 2.0, smallest: 1.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, 2.0]).map(|spread| spread.show(2)), Some("1.50 (1.00 to 2.00)".to_owned()));
    }

    #[test]
    fn a_ratio_compares_within_its_round() {
        // A machine that is three times as slow in the second round changes no ratio.
        let yardstick = BTreeMap::from([(1, 10.0), (2, 30.0)]);
        let ratio = ratios(&BTreeMap::from([(1, 20.0), (2, 60.0), (3, 1.0)]), &yardstick);
        assert_eq!(ratio, Some(Spread { largest: 2.0, median: 2.0, smallest: 2.0 }));
    }
}
