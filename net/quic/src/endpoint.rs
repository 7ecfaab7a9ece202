//! One shard's door to its peers.
//!
//! Invariant: nothing here waits; whatever the caller gives is taken whole or answered.

use crate::{BindError, Config, Frame, Key, Lane, Notice, Peer, SendError, Stats};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// All connections of one shard, on one socket.
pub struct Endpoint {
    socket: std::net::UdpSocket,
    peers: Vec<Peer>,
    stats: Stats,
}

impl Endpoint {
    /// Binds the socket; peers are dialled from the first `poll` on.
    pub fn bind(addr: SocketAddr, config: Config) -> Result<Self, BindError> {
        let socket = std::net::UdpSocket::bind(addr)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|source| BindError::Socket { addr, source })?;
        Ok(Endpoint { socket, peers: config.peers, stats: Stats::default() })
    }

    /// Receives, runs timers, dials, sends. `now_ns` is monotonic. True: something happened.
    pub fn poll(&mut self, _now_ns: u64) -> bool {
        false
    }

    /// Puts what `send` took onto the wire without looking for news; call it after a burst of `send`.
    pub fn flush(&mut self) {}

    /// Takes a whole frame or none of it.
    pub fn send(&mut self, _to: &Key, _lane: Lane, _frame: &[u8]) -> Result<(), SendError> {
        Err(SendError::NotConnected)
    }

    /// The next whole frame; call until `None` after each `poll`. What is not taken holds its sender back.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        None
    }

    /// Replaces the membership: connections of whoever left are closed.
    pub fn set_peers(&mut self, peers: &[Peer]) {
        self.peers = peers.to_vec();
    }

    /// Closes the connection of a key and never accepts it again.
    pub fn bar(&mut self, key: &Key) {
        self.peers.retain(|peer| peer.key != *key);
    }

    /// Whether frames to this peer are taken at the moment.
    pub fn is_connected(&self, _key: &Key) -> bool {
        false
    }

    /// The latest time at which `poll` must be called though no packet came. `None`: nothing to wait for.
    pub fn next_timer_ns(&self) -> Option<u64> {
        None
    }

    /// Readable when a packet waits: for parking.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Where the socket is bound.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next thing worth a log line.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        None
    }

    /// Counters since birth.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
