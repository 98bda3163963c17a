//! A bounded list of which most sessions have an entry or none: 8 bytes without an entry, and no room beyond a doubling.

use std::ops::Deref;

use thin_vec::ThinVec;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ShortList<T, const MAX: usize>(ThinVec<T>);

impl<T, const MAX: usize> ShortList<T, MAX> {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX
    }

    /// Adds an entry; the oldest one goes if there are too many.
    pub(super) fn push_last(&mut self, entry: T) {
        if self.is_full() {
            self.0.remove(0);
        }
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(self.0.len().clamp(1, MAX - self.0.len()));
        }
        self.0.push(entry);
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        self.0.remove(at)
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> Default for ShortList<T, MAX> {
    fn default() -> Self {
        Self(ThinVec::new())
    }
}

impl<T, const MAX: usize> Deref for ShortList<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// Takes the first entries, as many as there may be.
impl<T, const MAX: usize> FromIterator<T> for ShortList<T, MAX> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut list = Self::default();
        entries.into_iter().take(MAX).for_each(|entry| list.push_last(entry));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_the_newest_entries_and_grows_by_doubling() {
        let mut list = ShortList::<u64, 5>::default();
        assert_eq!((size_of_val(&list), list.0.capacity()), (8, 0));
        let room = [1, 2, 3, 4, 5, 6, 7].map(|entry| {
            list.push_last(entry);
            list.0.capacity()
        });
        assert_eq!((list.as_slice(), room), (&[3, 4, 5, 6, 7][..], [1, 2, 4, 4, 5, 5, 5]));
        assert_eq!((0..9).collect::<ShortList<u64, 5>>().as_slice(), [0, 1, 2, 3, 4]);
    }
}
