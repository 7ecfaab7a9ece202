//! What an endpoint knows of one peer between and during connections: who dials, when, and how often it may try.
//!
//! Invariant: the smaller key dials; the other end only answers, and only as often as its buckets allow.

use crate::{Key, Limits, Peer};
use quinn_proto::{ClientConfig, ConnectionHandle, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;

/// One peer.
pub(crate) struct Link {
    pub(crate) key: Key,
    pub(crate) addr: SocketAddr,
    /// We dial; else we are dialled.
    pub(crate) dials: bool,
    pub(crate) dialler: ClientConfig,
    pub(crate) listener: Arc<ServerConfig>,
    /// The connection that carries frames.
    pub(crate) standing: Option<ConnectionHandle>,
    /// The connection in its handshake.
    pub(crate) half: Option<ConnectionHandle>,
    /// When to dial next, or when to give the handshake up.
    pub(crate) dial_at_ns: u64,
    failures: u32,
    /// How many Retry packets its address may cause.
    pub(crate) retries: Bucket,
    /// How many handshakes its address may cause.
    pub(crate) handshakes: Bucket,
}

impl Link {
    pub(crate) fn new(own: &Key, peer: &Peer, dialler: ClientConfig, listener: Arc<ServerConfig>) -> Self {
        Link {
            key: peer.key,
            addr: peer.addr,
            dials: *own < peer.key,
            dialler,
            listener,
            standing: None,
            half: None,
            dial_at_ns: 0,
            failures: 0,
            retries: Bucket::new(RETRY_EVERY_NS, RETRY_BURST),
            handshakes: Bucket::new(HANDSHAKE_EVERY_NS, HANDSHAKE_BURST),
        }
    }

    /// Whether it is time to dial.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.dials && self.standing.is_none() && self.half.is_none() && self.dial_at_ns <= now_ns
    }

    /// Whether the handshake takes so long that a new one is quicker.
    pub(crate) fn is_overdue(&self, now_ns: u64) -> bool {
        self.dials && self.half.is_some() && self.dial_at_ns <= now_ns
    }

    /// When one of the two above may become true.
    pub(crate) fn timer_ns(&self) -> u64 {
        if self.dials && (self.standing.is_none() || self.half.is_some()) {
            self.dial_at_ns
        } else {
            u64::MAX
        }
    }

    /// A dial begins.
    pub(crate) fn begin(&mut self, now_ns: u64, handle: ConnectionHandle, limits: &Limits) {
        self.half = Some(handle);
        self.dial_at_ns = now_ns.saturating_add(limits.dial_ns);
    }

    /// The connection stands.
    pub(crate) fn stand(&mut self, handle: ConnectionHandle) {
        self.half = None;
        self.standing = Some(handle);
        self.failures = 0;
    }

    /// A connection is over. True: it was the standing one.
    pub(crate) fn forget(
        &mut self,
        now_ns: u64,
        handle: ConnectionHandle,
        is_refused: bool,
        random: &mut Random,
    ) -> bool {
        let stood = self.standing == Some(handle);
        if stood {
            self.standing = None;
        } else if self.half == Some(handle) {
            self.half = None;
        } else {
            return false;
        }
        if is_refused {
            self.failures = DOUBLINGS_MAX;
        } else if !stood {
            self.failures = (self.failures + 1).min(DOUBLINGS_MAX);
        }
        if self.dials {
            let pause_ns = DIAL_PAUSE_NS << self.failures;
            self.dial_at_ns = now_ns.saturating_add(pause_ns / 2 + random.below(pause_ns));
        }
        stood
    }
}

/// The pause before the first redial; it doubles with each failure to about a third of a second.
const DIAL_PAUSE_NS: u64 = 2_000_000;
const DOUBLINGS_MAX: u32 = 7;

/// A Retry costs a few microseconds of the shard: at most one in a hundred of its time, with room for a burst.
const RETRY_EVERY_NS: u64 = 1_000_000;
const RETRY_BURST: u64 = 64;
/// A handshake costs a third of a millisecond; an honest peer needs one.
const HANDSHAKE_EVERY_NS: u64 = 50_000_000;
const HANDSHAKE_BURST: u64 = 16;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    every_ns: u64,
    burst: u64,
    /// The time at which the bucket is full again.
    full_at_ns: u64,
}

impl Bucket {
    fn new(every_ns: u64, burst: u64) -> Self {
        Bucket { every_ns, burst, full_at_ns: 0 }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now_ns: u64) -> bool {
        let full_at_ns = self.full_at_ns.max(now_ns).saturating_add(self.every_ns);
        let is_there = full_at_ns - now_ns <= self.every_ns * self.burst;
        if is_there {
            self.full_at_ns = full_at_ns;
        }
        is_there
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): spreads redials, keeps no secret.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, 3);
        assert_eq!((0..10).filter(|_| bucket.take(1_000)).count(), 3);
        assert!(!bucket.take(1_009));
        assert!(bucket.take(1_010));
        assert!(!bucket.take(1_011));
        assert_eq!((0..10).filter(|_| bucket.take(9_000)).count(), 3);
    }
}
