//! A grant that the authority may still hold, and how sure we are of its token.
