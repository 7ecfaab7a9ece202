//! The seam below an endpoint: whole datagrams in, whole datagrams out.
//!
//! Invariant: an implementation may lose, repeat or reorder datagrams, never join them; it never waits.

use std::net::SocketAddr;

/// Carries datagrams.
pub trait Io {
    /// Hands over what arrived, one batch at most; false: nothing had arrived.
    fn receive(&mut self, each: &mut dyn FnMut(SocketAddr, &[u8])) -> bool;

    /// Sends `bytes` cut into datagrams of `segment_bytes`, the last of which may be shorter; 65,000 bytes at most.
    /// False: the queue below is full, and nothing was taken.
    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_bytes: usize) -> bool;

    /// How many datagrams one `send` may carry.
    fn segments_max(&self) -> usize;

    /// Where others reach this.
    fn local_addr(&self) -> SocketAddr;
}
