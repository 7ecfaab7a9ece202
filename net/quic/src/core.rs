//! All connections of one endpoint, between quinn-proto and the membership: datagrams go in, datagrams come out.
//!
//! Invariant: a datagram from an address that the membership does not list costs one comparison a peer and nothing
//! else; an address that has not proven itself causes no state and at most one packet, shorter than its own.

use crate::frames::FrameBytes;
use crate::identity::{Identity, NAME};
use crate::link::{Link, Random};
use crate::transport::{burst, transport};
use crate::wire::{CloseCode, End, Wire};
use crate::{BindError, Config, Frame, Key, Lane, Limits, Notice, Peer, SendError, Stats};
use bytes::{Bytes, BytesMut};
use quinn_proto::{
    AcceptError, ConnectionError, ConnectionHandle, DatagramEvent, EndpointConfig, EndpointEvent,
    HashedConnectionIdGenerator, Incoming, TimeSource, Transmit, TransportConfig, TransportErrorCode, VarInt,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How datagrams leave: destination, bytes, bytes of one datagram; false when nothing was taken.
pub(crate) type Send<'a> = &'a mut dyn FnMut(SocketAddr, &[u8], usize) -> bool;

pub(crate) struct Core {
    quic: quinn_proto::Endpoint,
    identity: Identity,
    transport: Arc<TransportConfig>,
    clock: Arc<Clock>,
    own: Key,
    limits: Limits,
    links: Vec<Link>,
    barred: Vec<Key>,
    /// By connection handle.
    wires: Vec<Option<Wire>>,
    /// Packets that belong to no connection any more, or found the socket full.
    outbox: VecDeque<Packet>,
    notices: VecDeque<Notice>,
    frame: FrameBytes,
    /// Where the next look for frames begins, so that no peer starves another.
    cursor: usize,
    base: Instant,
    now_ns: u64,
    /// The earliest timer of wires and links.
    timer_ns: u64,
    random: Random,
    scratch: Vec<u8>,
    stats: Stats,
}

struct Packet {
    to: SocketAddr,
    bytes: Bytes,
    segment_bytes: usize,
}

/// Packets without a connection that may wait; more are lost, as packets may be.
const OUTBOX_MAX: usize = 64;
/// Notices that nobody took; older ones are dropped.
const NOTICES_MAX: usize = 256;

impl Core {
    pub(crate) fn new(config: Config) -> Result<Self, BindError> {
        let identity = Identity::new(&config)?;
        let transport = Arc::new(transport(&config.limits));
        let clock = Arc::new(Clock::default());
        // Only to read Initials with: whoever is admitted gets the listener of its own link.
        let listener = identity.listener(config.own, &transport, clock.clone()).map_err(key_fault)?;
        let mut settings = EndpointConfig::new(identity.reset_key());
        let connection_id_key = identity.connection_id_key();
        settings
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_id_key)))
            .min_reset_interval(RESET_EVERY)
            .grease_quic_bit(false)
            .supported_versions(vec![QUIC_VERSION_1])
            .max_udp_payload_size(config.limits.mtu_max)
            .map_err(|fault| BindError::Limits(fault.to_string()))?;
        let quic = quinn_proto::Endpoint::new(Arc::new(settings), Some(Arc::new(listener)), true, None);
        let mut core = Core {
            quic,
            identity,
            transport,
            clock,
            own: config.own,
            limits: config.limits,
            links: Vec::new(),
            barred: Vec::new(),
            wires: Vec::new(),
            outbox: VecDeque::new(),
            notices: VecDeque::new(),
            frame: FrameBytes::default(),
            cursor: 0,
            base: Instant::now(),
            now_ns: 0,
            timer_ns: 0,
            random: Random(config.seed),
            scratch: Vec::new(),
            stats: Stats::default(),
        };
        for peer in &config.peers {
            core.add_link(peer).map_err(key_fault)?;
        }
        Ok(core)
    }

    pub(crate) fn set_now(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        self.clock.0.store(self.now_ns, Ordering::Relaxed);
    }

    /// quinn-proto wants an `Instant`; it only ever compares those we gave it.
    fn now(&self) -> Instant {
        self.base + Duration::from_nanos(self.now_ns)
    }

    pub(crate) fn is_due(&self) -> bool {
        self.timer_ns <= self.now_ns
    }

    pub(crate) fn next_timer_ns(&self) -> Option<u64> {
        (self.timer_ns != u64::MAX).then_some(self.timer_ns)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    fn note(&mut self, notice: Notice) {
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }
}

/// A token for a Retry must not outlive a step of the wall clock: its seconds are ours.
#[derive(Default)]
struct Clock(AtomicU64);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

const QUIC_VERSION_1: u32 = 1;
/// Peers of a restarted node are told at once; only listed addresses get that far.
const RESET_EVERY: Duration = Duration::from_millis(1);

fn key_fault(fault: rustls::Error) -> BindError {
    BindError::Key(fault.to_string())
}

// What comes in.
impl Core {
    pub(crate) fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.stats.datagrams_received += 1;
        let Some(link) = self.links.iter().position(|link| link.addr == from) else {
            self.stats.strangers_ignored += 1;
            return;
        };
        let now = self.now();
        let mut response = std::mem::take(&mut self.scratch);
        response.clear();
        match self.quic.handle(now, from, None, None, BytesMut::from(bytes), &mut response) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let key = self.links[link].key;
                if let Some(wire) = self.wires.get_mut(handle.0).and_then(Option::as_mut)
                    && wire.key == key
                {
                    wire.connection.handle_event(event);
                    wire.is_dirty = true;
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.handle_incoming(link, incoming, &mut response)
            }
            Some(DatagramEvent::Response(transmit)) => self.post(&transmit, &response),
            None => {}
        }
        self.scratch = response;
    }

    /// Somebody at a listed address wants a connection.
    fn handle_incoming(&mut self, link: usize, incoming: Incoming, response: &mut Vec<u8>) {
        let now_ns = self.now_ns;
        let known = &mut self.links[link];
        if known.dials {
            self.quic.ignore(incoming);
        } else if !incoming.remote_address_validated() {
            if !known.retries.take(now_ns) {
                self.quic.ignore(incoming);
                return;
            }
            match self.quic.retry(incoming, response) {
                Ok(transmit) => self.post(&transmit, response),
                Err(fault) => self.quic.ignore(fault.into_incoming()),
            }
        } else if known.handshakes.take(now_ns) {
            self.accept(link, incoming, response);
        } else {
            self.quic.ignore(incoming);
        }
    }

    fn accept(&mut self, link: usize, incoming: Incoming, response: &mut Vec<u8>) {
        if let Some(older) = self.links[link].half {
            self.finish(older, End::Forgotten);
        }
        let now = self.now();
        let listener = self.links[link].listener.clone();
        match self.quic.accept(incoming, now, response, Some(listener)) {
            Ok((handle, connection)) => {
                self.links[link].half = Some(handle);
                self.add_wire(self.links[link].key, handle, connection);
            }
            Err(AcceptError { cause, response: transmit }) => {
                tracing::debug!(%cause, "a handshake was refused at its first packet");
                self.stats.handshakes_refused += 1;
                if let Some(transmit) = transmit {
                    self.post(&transmit, response);
                }
            }
        }
    }

    fn add_wire(&mut self, key: Key, handle: ConnectionHandle, connection: quinn_proto::Connection) {
        if self.wires.len() <= handle.0 {
            self.wires.resize_with(handle.0 + 1, || None);
        }
        assert!(self.wires[handle.0].is_none(), "quinn-proto gives a handle again only after it was drained");
        self.wires[handle.0] = Some(Wire::new(key, handle, connection, &self.limits));
    }

    /// Keeps a packet that no connection will send again.
    fn post(&mut self, transmit: &Transmit, bytes: &[u8]) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back(Packet {
                to: transmit.destination,
                bytes: Bytes::copy_from_slice(&bytes[..transmit.size]),
                segment_bytes: transmit.segment_size.unwrap_or(transmit.size),
            });
        }
    }
}

// What follows from it.
impl Core {
    /// Runs due timers, dials, and lets every touched connection speak.
    pub(crate) fn advance(&mut self) {
        let now = self.now();
        for index in 0..self.wires.len() {
            let Some(wire) = &mut self.wires[index] else { continue };
            if wire.timer_ns <= self.now_ns {
                wire.connection.handle_timeout(now);
                wire.is_dirty = true;
            }
            if wire.is_dirty {
                self.settle(index);
            }
        }
        for link in 0..self.links.len() {
            if self.links[link].is_overdue(self.now_ns)
                && let Some(half) = self.links[link].half
            {
                self.finish(half, End::Forgotten);
            }
            if self.links[link].is_due(self.now_ns) {
                self.dial(link);
            }
        }
        self.note_timers();
    }

    fn dial(&mut self, link: usize) {
        let now = self.now();
        let Link { key, addr, ref dialler, .. } = self.links[link];
        match self.quic.connect(now, dialler.clone(), addr, NAME) {
            Ok((handle, connection)) => {
                self.links[link].begin(self.now_ns, handle, &self.limits);
                self.add_wire(key, handle, connection);
            }
            Err(fault) => {
                tracing::warn!(%addr, %fault, "this peer cannot be dialled: correct its address in the genesis");
                self.links[link].dial_at_ns = self.now_ns.saturating_add(1_000_000_000);
            }
        }
    }

    /// Lets quinn-proto's endpoint and one connection exchange what they have for each other.
    fn settle(&mut self, index: usize) {
        let Some(wire) = &mut self.wires[index] else { return };
        while let Some(event) = wire.connection.poll_endpoint_events() {
            // `finish` says it, once: the loss that goes with it is the next event of the connection.
            if event.is_drained() {
                continue;
            }
            if let Some(answer) = self.quic.handle_event(wire.handle, event) {
                wire.connection.handle_event(answer);
            }
        }
        let handle = wire.handle;
        match wire.handle_events() {
            Ok(false) => {}
            Ok(true) => self.stand(handle),
            Err(end) => self.finish(handle, end),
        }
    }

    /// A connection has come to stand: it takes the place of the one before.
    fn stand(&mut self, handle: ConnectionHandle) {
        let Some(key) = self.wires[handle.0].as_ref().map(|wire| wire.key) else { return };
        let Some(link) = self.links.iter().position(|link| link.key == key) else { return };
        if let Some(older) = self.links[link].standing {
            self.finish(older, End::Forgotten);
        }
        self.links[link].stand(handle);
        self.stats.connections += 1;
        self.note(Notice::Connected(key));
    }

    /// A connection is over: the last packet is posted, the place is free, the peer is dialled again.
    fn finish(&mut self, handle: ConnectionHandle, end: End) {
        let Some(mut wire) = self.wires.get_mut(handle.0).and_then(Option::take) else { return };
        let now = self.now();
        match &end {
            End::Broken(code) | End::Closed(code) => {
                wire.connection.close(now, VarInt::from_u32(*code as u32), Bytes::new());
            }
            End::Lost(_) | End::Forgotten => {}
        }
        if !matches!(end, End::Forgotten) {
            let mut bytes = Vec::new();
            if let Some(transmit) = wire.connection.poll_transmit(now, 1, &mut bytes) {
                self.post(&transmit, &bytes);
            }
        }
        // Drop its timers and identifiers now: a straggler is answered with a stateless reset.
        let _ = self.quic.handle_event(handle, EndpointEvent::drained());
        let is_refused = self.count_end(&wire, &end);
        let Some(link) = self.links.iter_mut().find(|link| link.key == wire.key) else { return };
        if link.forget(self.now_ns, handle, is_refused, &mut self.random) {
            tracing::debug!(addr = %link.addr, ?end, "a connection ended");
            self.note(Notice::Lost(wire.key));
        }
    }

    /// True: the peer, or we, do not want this connection; dialling at once would be useless.
    fn count_end(&mut self, wire: &Wire, end: &End) -> bool {
        match end {
            End::Broken(_) => self.stats.violations += 1,
            End::Lost(ConnectionError::TransportError(fault)) if is_tls(fault.code) => {
                self.stats.handshakes_refused += 1;
            }
            End::Lost(ConnectionError::TransportError(_)) if wire.is_standing() => self.stats.violations += 1,
            End::Lost(ConnectionError::ConnectionClosed(close)) if is_tls(close.error_code) => {
                self.stats.handshakes_refused += 1;
            }
            End::Lost(ConnectionError::ApplicationClosed(close)) => {
                return close.error_code != VarInt::from_u32(CloseCode::Leaving as u32);
            }
            End::Lost(_) | End::Closed(_) | End::Forgotten => return false,
        }
        true
    }

    fn note_timers(&mut self) {
        let wires = self.wires.iter().flatten().map(|wire| wire.timer_ns);
        let links = self.links.iter().map(Link::timer_ns);
        self.timer_ns = wires.chain(links).min().unwrap_or(u64::MAX);
    }
}

/// RFC 9001, section 4.8: TLS alerts are the codes 0x100 to 0x1ff.
fn is_tls(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

// What goes out.
impl Core {
    pub(crate) fn has_to_send(&self) -> bool {
        !self.outbox.is_empty() || self.wires.iter().flatten().any(|wire| wire.is_dirty)
    }

    /// Sends what connections and the outbox hold, until `send` takes no more.
    pub(crate) fn transmit(&mut self, segments_max: usize, buffer: &mut Vec<u8>, send: Send<'_>) {
        let now = self.now();
        let mut is_open = self.empty_outbox(send);
        for index in 0..self.wires.len() {
            while is_open && self.wires[index].as_ref().is_some_and(|wire| wire.is_dirty) {
                is_open = self.transmit_wire(index, now, segments_max, buffer, send);
            }
        }
        self.note_timers();
        if !is_open {
            // Nothing tells us when the socket has room again: look soon.
            self.timer_ns = self.timer_ns.min(self.now_ns.saturating_add(FULL_SOCKET_NS));
        }
    }

    fn empty_outbox(&mut self, send: Send<'_>) -> bool {
        while let Some(packet) = self.outbox.front() {
            if !send(packet.to, &packet.bytes, packet.segment_bytes) {
                return false;
            }
            self.stats.datagrams_sent += packet.bytes.len().div_ceil(packet.segment_bytes) as u64;
            self.outbox.pop_front();
        }
        true
    }

    /// One burst of one connection; false when the socket took nothing.
    fn transmit_wire(
        &mut self,
        index: usize,
        now: Instant,
        segments_max: usize,
        buffer: &mut Vec<u8>,
        send: Send<'_>,
    ) -> bool {
        let Some(wire) = &mut self.wires[index] else { return true };
        buffer.clear();
        let segments = burst(&wire.connection, segments_max);
        let Some(transmit) = wire.connection.poll_transmit(now, segments, buffer) else {
            wire.is_dirty = false;
            wire.timer_ns = wire.connection.poll_timeout().map_or(u64::MAX, |at| {
                u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
            });
            return true;
        };
        let segment_bytes = transmit.segment_size.unwrap_or(transmit.size);
        if !send(transmit.destination, &buffer[..transmit.size], segment_bytes) {
            self.post(&transmit, buffer);
            return false;
        }
        self.stats.datagrams_sent += transmit.size.div_ceil(segment_bytes) as u64;
        true
    }

    pub(crate) fn send(&mut self, to: &Key, lane: Lane, frame: &[u8]) -> Result<(), SendError> {
        assert!(!frame.is_empty(), "a frame has at least one byte");
        assert!(frame.len() <= self.limits.frame_bytes_max, "a frame stays within its limit");
        let standing = self.links.iter().find(|link| link.key == *to).and_then(|link| link.standing);
        let wire =
            standing.and_then(|handle| self.wires[handle.0].as_mut()).ok_or(SendError::NotConnected)?;
        wire.send(lane, frame, self.limits.send_bytes_max)?;
        self.stats.frames_sent += 1;
        Ok(())
    }
}

/// The pause before a full socket is tried again.
const FULL_SOCKET_NS: u64 = 100_000;

// What the owner of the endpoint asks.
impl Core {
    pub(crate) fn has_frames(&self) -> bool {
        self.wires.iter().flatten().any(|wire| wire.is_readable(Lane::Urgent) || wire.is_readable(Lane::Bulk))
    }

    pub(crate) fn next_frame(&mut self) -> Option<Frame<'_>> {
        let (index, lane) = self.find_frame()?;
        self.cursor = index + 1;
        self.stats.frames_received += 1;
        let from = self.wires[index].as_ref().map(|wire| wire.key)?;
        Some(Frame { from, lane, bytes: self.frame.bytes() })
    }

    /// Urgent frames of all peers first, every peer in turn.
    fn find_frame(&mut self) -> Option<(usize, Lane)> {
        self.frame.release();
        let count = self.wires.len();
        for lane in [Lane::Urgent, Lane::Bulk] {
            for step in 0..count {
                let index = (self.cursor + step) % count;
                let Some(wire) = &mut self.wires[index] else { continue };
                if !wire.is_readable(lane) {
                    continue;
                }
                let handle = wire.handle;
                match wire.next_frame(lane, &mut self.frame) {
                    Ok(true) => return Some((index, lane)),
                    Ok(false) => {}
                    Err(end) => self.finish(handle, end),
                }
            }
        }
        None
    }

    pub(crate) fn is_connected(&self, key: &Key) -> bool {
        self.links.iter().any(|link| link.key == *key && link.standing.is_some())
    }

    pub(crate) fn round_trip_ns(&self, key: &Key) -> Option<u64> {
        let handle = self.links.iter().find(|link| link.key == *key)?.standing?;
        let wire = self.wires[handle.0].as_ref()?;
        u64::try_from(wire.connection.rtt().as_nanos()).ok()
    }

    pub(crate) fn set_peers(&mut self, peers: &[Peer]) {
        let gone: Vec<Key> = self
            .links
            .iter()
            .filter(|link| !peers.contains(&Peer { key: link.key, addr: link.addr }))
            .map(|link| link.key)
            .collect();
        for key in gone {
            self.remove_link(&key);
        }
        for peer in peers {
            if !self.links.iter().any(|link| link.key == peer.key)
                && let Err(fault) = self.add_link(peer)
            {
                tracing::error!(addr = %peer.addr, %fault, "this peer cannot be connected");
            }
        }
        self.timer_ns = 0;
    }

    fn add_link(&mut self, peer: &Peer) -> Result<(), rustls::Error> {
        if peer.key == self.own || self.barred.contains(&peer.key) {
            return Ok(());
        }
        let dialler = self.identity.dialler(peer.key, &self.transport)?;
        let listener = self.identity.listener(peer.key, &self.transport, self.clock.clone())?;
        self.links.push(Link::new(&self.own, peer, dialler, Arc::new(listener)));
        Ok(())
    }

    fn remove_link(&mut self, key: &Key) {
        let Some(place) = self.links.iter().position(|link| link.key == *key) else { return };
        let Link { standing, half, .. } = self.links[place];
        for handle in standing.into_iter().chain(half) {
            self.finish(handle, End::Closed(CloseCode::NotListed));
        }
        self.links.remove(place);
    }

    pub(crate) fn bar(&mut self, key: &Key) {
        if !self.barred.contains(key) {
            self.barred.push(*key);
        }
        self.remove_link(key);
    }

    pub(crate) fn close(&mut self, code: CloseCode) {
        for index in 0..self.wires.len() {
            if let Some(handle) = self.wires[index].as_ref().map(|wire| wire.handle) {
                self.finish(handle, End::Closed(code));
            }
        }
    }
}
