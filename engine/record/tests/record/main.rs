//! The room from outside: every noun there and back, damaged bytes, signatures, golden files, blocks.

mod attach;
mod blocks;
mod corpus;
mod damaged_bytes;
mod evidence;
mod format_page;
mod golden;
mod messages;
mod proofs;
mod round_trip;
mod shapes;
mod shipments;
mod signatures;
