//! Criterion benches, one per stage plus the journey.
