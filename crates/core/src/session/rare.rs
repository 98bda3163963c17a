//! Facts that few sessions have: 8 bytes, and a box only while they differ from their default.

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RareFacts<T>(Option<Box<T>>);

impl<T: Default + PartialEq> RareFacts<T> {
    pub(super) fn new(facts: T) -> Self {
        Self(Some(Box::new(facts)).filter(|facts| **facts != T::default()))
    }

    /// `None` if they are the default.
    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut facts = self.0.take().unwrap_or_default();
        let result = change(&mut facts);
        self.0 = Some(facts).filter(|facts| **facts != T::default());
        result
    }

    /// For a change that leaves the default as it is: most sessions take no box for it.
    pub(super) fn change_known(&mut self, change: impl FnOnce(&mut T)) {
        if self.0.is_some() {
            self.change(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_box_while_the_facts_differ_from_their_default() {
        let mut facts = RareFacts::<[u64; 4]>::default();
        assert_eq!(size_of_val(&facts), 8);
        facts.change_known(|facts| facts[0] = 1);
        assert_eq!((facts.get(), RareFacts::new([0; 4])), (None, facts.clone()));
        assert_eq!(facts.change(|facts| std::mem::replace(&mut facts[0], 1)), 0);
        assert_eq!((facts.get(), RareFacts::new([1, 0, 0, 0])), (Some(&[1, 0, 0, 0]), facts.clone()));
        facts.change_known(|facts| facts[0] = 0);
        assert_eq!(facts.get(), None);
    }
}
