//! One shard's door to its peers.
//!
//! Invariant: nothing here waits; whatever the caller gives is taken whole or answered.

use crate::core::Core;
use crate::io::Io;
use crate::udp::Udp;
use crate::wire::CloseCode;
use crate::{BindError, Config, Frame, Key, Lane, Notice, Peer, SendError, Stats};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// All connections of one shard, on one socket. It belongs to one thread and is driven by its loop:
/// `poll`, `next_frame` until `None`, `send`, `flush`; before parking, `next_timer_ns` and `fd`.
pub struct Endpoint<I: Io = Udp> {
    io: I,
    core: Core,
    buffer: Vec<u8>,
    /// The last `poll` left its packets to the caller's `flush`.
    had_frames: bool,
}

impl Endpoint<Udp> {
    /// Binds the socket; peers are dialled from the first `poll` on.
    pub fn bind(addr: SocketAddr, config: Config) -> Result<Self, BindError> {
        let io = Udp::bind(addr).map_err(|source| BindError::Socket { addr, source })?;
        Self::with_io(io, config)
    }

    /// Readable when a packet waits: for parking.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.io.fd()
    }
}

impl<I: Io> Endpoint<I> {
    /// Over any carrier of datagrams.
    pub fn with_io(io: I, config: Config) -> Result<Self, BindError> {
        let buffer = Vec::with_capacity(io.segments_max() * 2048);
        Ok(Endpoint { core: Core::new(config)?, io, buffer, had_frames: false })
    }

    /// Receives, runs timers, dials, sends. `now_ns` is monotonic. True: something came, or waits in `next_frame`.
    pub fn poll(&mut self, now_ns: u64) -> bool {
        self.core.set_now(now_ns);
        let Endpoint { io, core, .. } = self;
        let received = io.receive(&mut |from, bytes| core.handle_datagram(from, bytes));
        if received || self.core.is_due() {
            self.core.advance();
        }
        let has_frames = self.core.has_frames();
        // Whoever takes frames answers them, and the answer carries the acknowledgement: `flush` sends both.
        // A caller that leaves frames where they are must not silence the connection with it.
        if !has_frames || self.had_frames {
            self.flush();
        }
        self.had_frames = has_frames;
        received || has_frames
    }

    /// Puts everything that waits onto the wire; call it after taking frames and after a burst of `send`.
    pub fn flush(&mut self) {
        if !self.core.has_to_send() {
            return;
        }
        let Endpoint { io, core, buffer, .. } = self;
        core.transmit(io.segments_max(), buffer, &mut |to, bytes, segment_bytes| {
            io.send(to, bytes, segment_bytes)
        });
    }

    /// Takes a whole frame or none of it.
    ///
    /// # Panics
    /// When the frame is empty or longer than `Limits::frame_bytes_max`: the caller's own promise.
    pub fn send(&mut self, to: &Key, lane: Lane, frame: &[u8]) -> Result<(), SendError> {
        self.core.send(to, lane, frame)
    }

    /// The next whole frame; call until `None` after each `poll`. What is not taken holds its sender back.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.core.next_frame()
    }

    /// Replaces the membership: connections of whoever left or moved are closed, newcomers are dialled.
    pub fn set_peers(&mut self, peers: &[Peer]) {
        self.core.set_peers(peers);
        self.flush();
    }

    /// Closes the connection of a key and never accepts it again.
    pub fn bar(&mut self, key: &Key) {
        self.core.bar(key);
        self.flush();
    }

    /// Tells every peer that this end goes away; they redial until it is back.
    pub fn close(&mut self) {
        self.core.close(CloseCode::Leaving);
        self.flush();
    }

    /// Whether frames to this peer are taken at the moment.
    pub fn is_connected(&self, key: &Key) -> bool {
        self.core.is_connected(key)
    }

    /// The smoothed round trip to a connected peer, as QUIC measures it.
    pub fn round_trip_ns(&self, key: &Key) -> Option<u64> {
        self.core.round_trip_ns(key)
    }

    /// When `poll` must be called at the latest though no packet came. `None`: nothing to wait for.
    pub fn next_timer_ns(&self) -> Option<u64> {
        self.core.next_timer_ns()
    }

    /// Where the endpoint is reached.
    pub fn local_addr(&self) -> SocketAddr {
        self.io.local_addr()
    }

    /// The next thing worth a log line.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.core.poll_notice()
    }

    /// Counters since birth.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }
}

impl<I: Io> Drop for Endpoint<I> {
    fn drop(&mut self) {
        self.close();
    }
}
