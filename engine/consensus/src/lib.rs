//! Sequenced consensus as a pure state machine.
