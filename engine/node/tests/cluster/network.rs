//! What lies between the nodes of a test cluster, and how it is cut.
//!
//! Invariant: a cut loses packets of one direction without a word to either side; after `mend_all` every packet
//! arrives again. What a network needed of the system is gone when it is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::namespaces::Namespaces;
use super::proxy::{Proxy, Weather};

/// The port of shard 0; shard *i* has the *i*-th port after it.
pub(crate) const PORT: u16 = 7_000;

/// The wires of one cluster.
pub(crate) enum Network {
    /// Every node has an interface of its own, joined by a switch: the kernel's own path.
    Namespaces(Namespaces),
    /// Every node has a loopback address; a relay in user space stands between all of them.
    Loopback(Proxy),
}

impl Network {
    /// Namespaces where the test may make them, else loopback addresses.
    pub(crate) fn kernel(places: usize, shards: u16) -> Self {
        match Namespaces::make(places) {
            Ok(namespaces) => Self::Namespaces(namespaces),
            Err(reason) => {
                println!("no network namespaces here ({reason}): a relay on loopback addresses instead");
                Self::relayed(places, shards)
            }
        }
    }

    /// Loopback addresses and a relay that can spoil packets.
    pub(crate) fn relayed(places: usize, shards: u16) -> Self {
        Self::Loopback(Proxy::start(places, shards))
    }

    /// The address that the genesis names.
    pub(crate) fn public_address(&self, place: usize) -> SocketAddr {
        match self {
            Self::Namespaces(namespaces) => SocketAddr::new(namespaces.address(place), PORT),
            Self::Loopback(proxy) => proxy.public_address(place),
        }
    }

    /// The address that the node binds.
    pub(crate) fn listen_address(&self, place: usize) -> SocketAddr {
        match self {
            Self::Namespaces(_) => self.public_address(place),
            Self::Loopback(proxy) => proxy.listen_address(place),
        }
    }

    /// Where the node has to live.
    pub(crate) fn namespace(&self, place: usize) -> Option<PathBuf> {
        match self {
            Self::Namespaces(namespaces) => Some(namespaces.path(place)),
            Self::Loopback(_) => None,
        }
    }

    /// Packets from one place to another are lost from now on.
    pub(crate) fn cut(&self, from: usize, to: usize) {
        match self {
            Self::Namespaces(namespaces) => namespaces.cut(from, to),
            Self::Loopback(proxy) => proxy.cut(from, to),
        }
    }

    /// Packets from one place to another arrive again.
    pub(crate) fn mend(&self, from: usize, to: usize) {
        match self {
            Self::Namespaces(namespaces) => namespaces.mend(from, to),
            Self::Loopback(proxy) => proxy.mend(from, to),
        }
    }

    /// The relay, where there is one.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Namespaces(_) => None,
            Self::Loopback(proxy) => Some(proxy),
        }
    }

    /// How the relay spoils packets from now on; the kernel's path spoils none.
    pub(crate) fn set_weather(&self, weather: Weather) {
        if let Self::Loopback(proxy) = self {
            proxy.set_weather(weather);
        }
    }
}
