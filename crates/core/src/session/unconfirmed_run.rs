//! A run without the authority's word: since when, whether its budget was spent before, and whether it reopens.
