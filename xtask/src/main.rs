//! The project's own verbs: check, tidy, ci.

fn main() {}
