//! Frames between the same shard of different nodes, over QUIC.
//!
//! Invariant: this room carries frames and never reads them. WIRE.md draws every byte of its own.
//!
//! quinn-proto is driven by hand from the shard's own loop: no thread, no task, no wait. What that costs here, two pinned
//! threads on loopback (2 cores, kernel 6.18, neighbours at work; the quietest of several runs, the command prints yours):
//!
//! ```text
//! cargo run --release -p io_oi_quic --example round_trip -- 30000 128
//!            spin p50 8.8 µs p99 10.6 · yield p50 9.4 µs p99 11.2 · park p50 57 µs (two wake-ups)
//!            of which protocol and cryptography of both ends, no socket: 3.3 µs
//! cargo run --release -p io_oi_quic --example round_trip -- 3000 4096
//!            spin p50 13.1 µs · yield p50 14.1 µs
//! cargo run --release -p io_oi_quic --example round_trip -- 3000 65536      (64 KiB each way)
//!            spin p50 72 µs · yield p50 73 µs
//! cargo run --release -p io_oi_quic --example bulk -- 200
//!            datagrams up to 1,452 B 288 MB/s · up to 8,952 B 1,350 MB/s
//! ```
//!
//! What was measured and chosen, or left:
//! - A small datagram ends the batch of `receive`: asking the kernel once more delays every answer.
//! - Long sends are cut by the kernel (GSO through quinn-udp): about twice the bytes a second of `sendmmsg` at 1,452 B.
//!   Receiving stays one plain call a datagram: coalescing needs control messages that each small frame would pay for.
//! - Path discovery finds 8,952 B on loopback and jumbo networks by itself.
//! - Connected sockets save a route look-up a message, and cost an empty `recv` a peer in every turn: left out.
//! - A congestion window of our own (`transport`) that starts wide: a rack answers before a slow start has begun.
//! - Every fourth packet is acknowledged: with every eleventh, small windows wait for the 1 ms timer
//!   (`cargo test -p io_oi_quic --test path_is_narrow` holds that).
#![forbid(unsafe_code)]

mod core;
mod endpoint;
pub mod floor;
mod frames;
mod identity;
pub mod io;
mod link;
pub mod memory;
mod transport;
pub mod udp;
mod wire;

pub use endpoint::Endpoint;
pub use wire::CloseCode;

use std::net::SocketAddr;

/// The version of WIRE.md that this room speaks; another one is refused in the handshake.
pub const WIRE_VERSION: u32 = 1;

/// The public key of a node: its identity on the wire.
pub type Key = [u8; 32];

/// What an endpoint is told at birth. `Default` does not exist: every identity is somebody's.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's own public key.
    pub own: Key,
    /// The seed of the node's ed25519 key (RFC 8032's private key).
    pub secret: [u8; 32],
    /// The cluster: peers of another one are refused in the handshake.
    pub cluster: [u8; 32],
    /// The shard: only the same shard of another node is spoken to.
    pub shard: u16,
    /// Feeds the jitter of redialling, nothing that must be secret.
    pub seed: u64,
    /// Everybody this endpoint talks to; itself in the list is ignored.
    pub peers: Vec<Peer>,
    /// Sizes and times.
    pub limits: Limits,
}

/// One other node, as the membership names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its public key.
    pub key: Key,
    /// Where its endpoint of the same shard is bound: packets from elsewhere are ignored.
    pub addr: SocketAddr,
}

/// Sizes and times of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame that is sent or accepted.
    pub frame_bytes_max: usize,
    /// What may wait in one lane to one peer before `send` answers `Full`.
    pub send_bytes_max: usize,
    /// What a peer may send in one lane before its frames were taken.
    pub window_bytes: u32,
    /// Silence that ends a connection.
    pub idle_ns: u64,
    /// A quiet connection is proven alive this often.
    pub keep_alive_ns: u64,
    /// A handshake that takes longer is begun anew.
    pub dial_ns: u64,
    /// The UDP payload to start with: 1,452 fits Ethernet below IPv6.
    pub mtu: u16,
    /// The UDP payload up to which the path is probed; loopback and jumbo frames carry more.
    pub mtu_max: u16,
}

/// Which of the two streams carries a frame. They do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Small and awaited: goes first.
    Urgent,
    /// Large or patient.
    Bulk,
}

impl Lane {
    const fn index(self) -> usize {
        match self {
            Lane::Urgent => 0,
            Lane::Bulk => 1,
        }
    }
}

/// Streams each way of one connection.
const LANES: usize = 2;

/// A frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who sent it: authenticated.
    pub from: Key,
    /// How it came.
    pub lane: Lane,
    /// What it holds: not looked at by this room.
    pub bytes: &'a [u8],
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection stands at the moment.
    #[error("no connection to this peer: it is dialled in the background; send again later")]
    NotConnected,
    /// The lane to this peer holds all it may.
    #[error("the lane to this peer is full: send again after the next poll")]
    Full,
}

/// Why an endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket was refused.
    #[error("cannot bind {addr}: {source}; is another node running there?")]
    Socket {
        /// The address asked for.
        addr: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The key was refused.
    #[error("the node's key is not a usable ed25519 key: {0}")]
    Key(String),
    /// A size was refused.
    #[error("a limit does not fit QUIC: {0}")]
    Limits(String),
}

/// What became of a connection; for logs and status, no decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Both ends know each other.
    Connected(Key),
    /// A standing connection ended.
    Lost(Key),
}

/// Counters since birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// UDP payloads received and sent.
    pub datagrams_received: u64,
    /// UDP payloads sent.
    pub datagrams_sent: u64,
    /// Payloads from addresses that the membership does not list.
    pub strangers_ignored: u64,
    /// Connections that came to stand.
    pub connections: u64,
    /// Handshakes that failed: wrong key, cluster, shard or version.
    pub handshakes_refused: u64,
    /// Connections closed because the peer broke a rule of WIRE.md.
    pub violations: u64,
    /// Frames received and sent.
    pub frames_received: u64,
    /// Frames taken by `send`.
    pub frames_sent: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frame_bytes_max: 1024 * 1024 + 256,
            send_bytes_max: 4 * 1024 * 1024,
            window_bytes: 2 * 1024 * 1024,
            idle_ns: 1_000_000_000,
            keep_alive_ns: 250_000_000,
            dial_ns: 250_000_000,
            mtu: 1452,
            mtu_max: 8952,
        }
    }
}
