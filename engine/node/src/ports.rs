//! Places for the nodes of a cluster on one box.
//!
//! Invariant: a node with S shards listens on S neighbouring UDP ports, and no two nodes' ranges overlap.

use std::net::{Ipv4Addr, UdpSocket};

/// For every node the first of `shards` neighbouring UDP ports on loopback that nobody has at this moment; `None` if
/// there are not so many. Somebody else may take one before the node does.
#[must_use]
pub fn free_loopback_ports(nodes: usize, shards: u16) -> Option<Vec<u16>> {
    let (mut held, mut ports): (Vec<UdpSocket>, Vec<u16>) = (Vec::new(), Vec::new());
    for _ in 0..TRIES_MAX {
        if ports.len() == nodes {
            return Some(ports);
        }
        let Ok(first) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
        let Ok(port) = first.local_addr().map(|address| address.port()) else { continue };
        let rest: Option<Vec<UdpSocket>> = (1..shards)
            .map(|shard| UdpSocket::bind((Ipv4Addr::LOCALHOST, port.checked_add(shard)?)).ok())
            .collect();
        held.push(first);
        if let Some(rest) = rest {
            held.extend(rest);
            ports.push(port);
        }
    }
    None
}

const TRIES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_several_shards_do_not_overlap() {
        let mut ports = free_loopback_ports(7, 4).expect("a box has so many");
        ports.sort_unstable();
        assert_eq!(ports.len(), 7);
        assert!(ports.windows(2).all(|pair| pair[1] - pair[0] >= 4), "{ports:?}");
    }
}
