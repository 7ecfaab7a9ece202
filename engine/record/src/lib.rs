//! The nouns, the one codec, signing and hashing, every limit.
