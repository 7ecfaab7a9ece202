//! Datagrams over the kernel's UDP: the one file that touches the network.
//!
//! Invariant: no call blocks, no datagram is fragmented, and an error of one destination is that datagram's loss.

use crate::io::Io;
use quinn_udp::{Transmit, UdpSocketState};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// One non-blocking socket.
pub struct Udp {
    socket: UdpSocket,
    addr: SocketAddr,
    buffer: Box<[u8]>,
    /// Cuts one long send into datagrams inside the kernel.
    offload: UdpSocketState,
}

impl Udp {
    /// Binds it, with room for a burst from every peer.
    pub fn bind(addr: SocketAddr) -> std::io::Result<Self> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        if addr.is_ipv4() {
            sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
        } else {
            sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        // Beyond `net.core.rmem_max` only with the right to administer the network; less is no fault.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BYTES)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BYTES));
        let _ = sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BYTES)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&socket, SOCKET_BYTES));
        rustix::net::bind(&socket, &addr)?;
        let socket = UdpSocket::from(socket);
        let addr = socket.local_addr()?;
        // It learns what the kernel can do from a socket that is dropped: on ours it would switch on time stamps,
        // packet information and coalescing, which small frames would pay for.
        let offload = UdpSocketState::new((&UdpSocket::bind((addr.ip(), 0))?).into())?;
        Ok(Udp { socket, addr, buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(), offload })
    }

    /// Readable when a datagram waits.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Two full windows of a few peers: a burst must survive the turn in which the shard does other work.
const SOCKET_BYTES: usize = 8 * 1024 * 1024;
/// The longest UDP payload there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams in one `receive`, so that a flood cannot keep the shard from its other work.
const BATCH: usize = 32;
/// A shorter datagram ends a batch: asking the kernel once more would only delay the answer.
const SMALL_BYTES: usize = 1_000;
/// Datagrams in one `send`.
const SEGMENTS_MAX: usize = 64;

impl Io for Udp {
    fn receive(&mut self, each: &mut dyn FnMut(SocketAddr, &[u8])) -> bool {
        let mut received = false;
        for _ in 0..BATCH {
            // Any error but «nothing there» is news of an earlier send; the next call goes on.
            match self.socket.recv_from(&mut self.buffer) {
                Ok((bytes, from)) => {
                    each(from, &self.buffer[..bytes]);
                    received = true;
                    if bytes < SMALL_BYTES {
                        // Likely somebody waits for the answer, and nothing lies behind it.
                        break;
                    }
                }
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        received
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_bytes: usize) -> bool {
        if bytes.len() <= segment_bytes {
            return send_one(&self.socket, to, bytes);
        }
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: Some(segment_bytes),
            src_ip: None,
        };
        // What the kernel refuses for another reason than a full queue is lost, as datagrams may be.
        !matches!(
            self.offload.try_send((&self.socket).into(), &transmit),
            Err(fault) if fault.kind() == ErrorKind::WouldBlock
        )
    }

    fn segments_max(&self) -> usize {
        self.offload.max_gso_segments().min(SEGMENTS_MAX)
    }

    fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A datagram that the kernel refuses for another reason than a full queue (too long for the path, no route) is lost.
fn send_one(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) -> bool {
    !matches!(socket.send_to(bytes, to), Err(fault) if fault.kind() == ErrorKind::WouldBlock)
}
