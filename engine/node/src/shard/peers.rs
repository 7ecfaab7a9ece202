//! The way to the same shard of the other nodes.
//!
//! Invariant: whoever is barred is no peer, whatever the member list says; a frame that no connection takes is dropped
//! and counted, and the machine sends again.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};

use io_oi_quic::{Endpoint, Frame, Limits, Notice, Peer, Stats};
use io_oi_record::limits::MESSAGE_BYTES_MAX;
use io_oi_record::{Nanos, NodeId, ShardId};
use io_oi_shard::{Lane, Machine};

use crate::directory::Identity;
use crate::mail::{Order, Orders};

/// The endpoint of one shard, and what it was told of the members.
pub(super) struct Peers {
    shard: ShardId,
    endpoint: Endpoint,
    members_version: u64,
    /// Where another thread leaves addresses that had to be looked up.
    orders: Orders,
    /// Frames wait that `send` took.
    has_to_flush: bool,
    frames_dropped: u64,
}

/// What an endpoint is made of.
pub(super) struct PeersConfig<'a> {
    pub(super) shard: ShardId,
    pub(super) identity: &'a Identity,
    pub(super) listen: SocketAddr,
    pub(super) seed: u64,
    pub(super) orders: Orders,
}

/// A member and where it says it listens.
#[derive(Clone, Debug)]
struct Named {
    node: NodeId,
    address: String,
}

impl Peers {
    /// Binds the shard's port, and knows everybody whom the machine's log names.
    pub(super) fn bind(config: PeersConfig<'_>, machine: &Machine) -> Result<Self, io_oi_quic::BindError> {
        let PeersConfig { shard, identity, listen, seed, orders } = config;
        let limits = Limits { frame_bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() };
        let named = others(machine, identity.node);
        let endpoint = Endpoint::bind(
            listen,
            io_oi_quic::Config {
                own: identity.node.0,
                secret: identity.secret(),
                cluster: identity.cluster.0,
                shard: shard.get(),
                seed,
                peers: resolve(shard, &named),
                limits,
            },
        )?;
        tracing::info!(%shard, address = %endpoint.local_addr(), peers = named.len(), "listening for the other nodes");
        let members_version = machine.members_version();
        Ok(Self { shard, endpoint, members_version, orders, has_to_flush: false, frames_dropped: 0 })
    }

    /// Packets in, timers. Says whether there is anything to take.
    #[inline]
    pub(super) fn poll(&mut self, now: Nanos) -> bool {
        self.endpoint.poll(now.get())
    }

    #[inline]
    pub(super) fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.endpoint.next_frame()
    }

    /// Queues a frame for its connection.
    #[inline]
    pub(super) fn send(&mut self, to: NodeId, lane: Lane, bytes: &[u8]) {
        let lane = match lane {
            Lane::Urgent => io_oi_quic::Lane::Urgent,
            Lane::Bulk => io_oi_quic::Lane::Bulk,
        };
        match self.endpoint.send(&to.0, lane, bytes) {
            Ok(()) => self.has_to_flush = true,
            Err(_) => self.frames_dropped += 1,
        }
    }

    /// Puts onto the wire what `send` took since the last time.
    #[inline]
    pub(super) fn flush_sent(&mut self) {
        if std::mem::take(&mut self.has_to_flush) {
            self.endpoint.flush();
        }
    }

    /// Puts everything onto the wire, acknowledgements of what was taken included.
    #[inline]
    pub(super) fn flush(&mut self) {
        self.has_to_flush = false;
        self.endpoint.flush();
    }

    /// Follows a change of members. Names that have to be looked up are, elsewhere: it may take seconds.
    #[cold]
    pub(super) fn follow_members(&mut self, machine: &Machine, own: NodeId) {
        self.members_version = machine.members_version();
        for barred in machine.members().filter(|(member, _)| machine.is_barred(member.node)) {
            self.endpoint.bar(&barred.0.node.0);
        }
        let named = others(machine, own);
        if named.iter().all(|named| named.address.parse::<SocketAddr>().is_ok()) {
            return self.endpoint.set_peers(&resolve(self.shard, &named));
        }
        let (shard, orders) = (self.shard, self.orders.clone());
        let look_up = move || orders.send(Order::Peers(resolve(shard, &named)));
        if let Err(error) = std::thread::Builder::new().name("io_oi-names".to_owned()).spawn(look_up) {
            tracing::warn!(%shard, %error, "the new member list waits: no thread to look up its names");
            self.members_version = 0;
        }
    }

    /// Whether the machine has another member list than the endpoint.
    #[inline]
    pub(super) fn is_outdated(&self, machine: &Machine) -> bool {
        self.members_version != machine.members_version()
    }

    /// Addresses that were looked up elsewhere.
    pub(super) fn set(&mut self, peers: &[Peer]) {
        self.endpoint.set_peers(peers);
    }

    /// When `poll` has to be called though nothing came.
    pub(super) fn next_timer(&self) -> Option<Nanos> {
        self.endpoint.next_timer_ns().map(Nanos)
    }

    /// Connections that came and went, for the log.
    pub(super) fn tell(&mut self) {
        while let Some(notice) = self.endpoint.poll_notice() {
            match notice {
                Notice::Connected(key) => {
                    tracing::info!(shard = %self.shard, peer = %NodeId(key), "connected")
                }
                Notice::Lost(key) => {
                    tracing::warn!(shard = %self.shard, peer = %NodeId(key), "connection lost")
                }
            }
        }
    }

    pub(super) fn is_connected(&self, node: NodeId) -> bool {
        self.endpoint.is_connected(&node.0)
    }

    pub(super) fn round_trip_ns(&self, node: NodeId) -> Option<u64> {
        self.endpoint.round_trip_ns(&node.0)
    }

    pub(super) fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    pub(super) fn frames_dropped(&self) -> u64 {
        self.frames_dropped
    }
}

impl AsFd for Peers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.endpoint.fd()
    }
}

/// Where this node's shard listens: as configured, else as the genesis says; nowhere when neither names an address.
pub(super) fn listen_address(
    configured: Option<SocketAddr>,
    identity: &Identity,
    shard: ShardId,
) -> Result<Option<SocketAddr>, AddressError> {
    if let Some(listen) = configured {
        return port_of(listen, shard).map(Some).ok_or(AddressError::Ports { address: listen.to_string() });
    }
    let member = identity.member().ok_or(AddressError::Joiner)?;
    if member.address.is_empty() {
        let is_alone = identity.genesis.genesis.members.len() == 1;
        return if is_alone { Ok(None) } else { Err(AddressError::Joiner) };
    }
    let unknown = |error: String| AddressError::Unknown { address: member.address.clone(), error };
    let mut found = member.address.to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
    let first = found.next().ok_or_else(|| unknown("the name has no address".to_owned()))?;
    port_of(first, shard).map(Some).ok_or(AddressError::Ports { address: member.address.clone() })
}

/// Why a node does not know where to listen.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Nobody says where.
    #[error(
        "the genesis names no address for this node: set `listen` to the address that the other nodes will find it under"
    )]
    Joiner,
    /// The name cannot be looked up.
    #[error(
        "the genesis says that this node listens on {address}, but: {error}. Set `listen`, or repair the name."
    )]
    Unknown {
        /// As the genesis says.
        address: String,
        /// What the system said.
        error: String,
    },
    /// Shard numbers are added to the port.
    #[error("{address} leaves no ports for all shards: choose a lower one")]
    Ports {
        /// The address of shard 0.
        address: String,
    },
}

/// Every member but this node, without those who are barred.
fn others(machine: &Machine, own: NodeId) -> Vec<Named> {
    let members = machine.members().map(|(member, _)| member);
    let is_peer = |node: NodeId| node != own && !machine.is_barred(node);
    members
        .filter(|member| is_peer(member.node))
        .map(|member| Named { node: member.node, address: member.address.clone() })
        .collect()
}

/// Looks names up; whoever has none now is left out, loudly. May block unless every address is a number.
fn resolve(shard: ShardId, named: &[Named]) -> Vec<Peer> {
    let mut peers = Vec::with_capacity(named.len());
    for Named { node, address } in named {
        let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
        match found.and_then(|addr| port_of(addr, shard)) {
            Some(addr) => peers.push(Peer { key: node.0, addr }),
            None => {
                tracing::warn!(%shard, peer = %node, address, "this member cannot be reached: no such address")
            }
        }
    }
    peers
}

/// Shard *i* listens on the port *i* above that of shard 0.
fn port_of(of_shard_0: SocketAddr, shard: ShardId) -> Option<SocketAddr> {
    let port = of_shard_0.port().checked_add(shard.get())?;
    Some(SocketAddr::new(of_shard_0.ip(), port))
}
