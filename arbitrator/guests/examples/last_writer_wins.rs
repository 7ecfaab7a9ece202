//! The guest of [`io_oi_guests::LastWriterWins`]. Invariant: it holds no logic of its own.
#![cfg_attr(target_arch = "wasm32", no_std)]

io_oi_arbitrator_sdk::planning_arbitrator!(io_oi_guests::LastWriterWins);
