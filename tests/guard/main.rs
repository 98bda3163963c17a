//! What the code and the documents say about each other, held by tests.
//!
//! Reads the sources as text: which layer may use which, what pure layers must not know, that
//! every metric, key, refusal and link of the documents is real, and the other way round.

#[cfg(test)]
mod documents;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod names;
#[cfg(test)]
mod source;
#[cfg(test)]
mod words;
