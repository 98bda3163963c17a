//! Checks the code and the documents against each other.
//!
//! The guards read the sources as text. They check which layer uses which, that pure layers have no impure calls, and
//! that every metric, key, refusal and link of the documents exists in the code, and the reverse.

#[cfg(test)]
mod documents;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod names;
#[cfg(test)]
mod source;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod words;
