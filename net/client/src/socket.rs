//! The unix socket: one packet per message, descriptors beside it, everything checked.
//!
//! Invariant: a packet that was cut, carries too many descriptors, or does not arrive in time is an error,
//! never a shorter message.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};

/// Descriptors that one packet may carry: hot, feed, counters, lane, bell.
pub(crate) const DESCRIPTORS: usize = 5;

/// A zero timeout means "wait for ever" to the kernel: the opposite of what a zero asks for.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// Why a packet did not go through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("{0}")]
    System(#[from] Errno),
    #[error("the other side hung up")]
    HungUp,
    #[error("no answer in time")]
    TimedOut,
    #[error("a packet was larger than the protocol allows")]
    Cut,
}

/// A connected SOCK_SEQPACKET socket with a bound on every wait.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Connects; connecting and every later send wait at most `patience`.
    pub(crate) fn connect(path: &Path, patience: Duration) -> Result<Self, SocketError> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(patience.max(PATIENCE_MIN)))?;
        let address = SocketAddrUnix::new(path)?;
        match connect(&socket, &address) {
            Ok(()) => Ok(Self(socket)),
            Err(Errno::AGAIN | Errno::TIMEDOUT) => Err(SocketError::TimedOut),
            Err(error) => Err(error.into()),
        }
    }

    /// The user id of the process that listens there, told by the kernel.
    pub(crate) fn peer_uid(&self) -> Result<u32, SocketError> {
        Ok(socket_peercred(&self.0)?.uid.as_raw())
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), SocketError> {
        loop {
            let mut control = SendAncillaryBuffer::default();
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(_) => return Err(SocketError::Cut),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(SocketError::TimedOut),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(SocketError::HungUp),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One packet into `buffer`; its descriptors are appended to `descriptors` (close-on-exec already set).
    /// With `wait` false, `TimedOut` comes at once when no packet is there.
    pub(crate) fn receive(
        &self,
        deadline: Instant,
        wait: bool,
        buffer: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
    ) -> Result<usize, SocketError> {
        let patience = deadline.saturating_duration_since(Instant::now()).max(PATIENCE_MIN);
        set_socket_timeout(&self.0, Timeout::Recv, Some(patience))?;
        let at_once = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(
                &self.0,
                &mut [IoSliceMut::new(buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC | at_once,
            ) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(SocketError::TimedOut),
                Err(Errno::CONNRESET) => return Err(SocketError::HungUp),
                Err(error) => return Err(error.into()),
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(SocketError::Cut);
        }
        if received.bytes == 0 {
            return Err(SocketError::HungUp);
        }
        Ok(received.bytes)
    }

    /// Whether the other side is gone. One system call; never waits.
    pub(crate) fn is_hung_up(&self) -> bool {
        let gone = PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR | PollFlags::NVAL;
        let mut polled = [PollFd::new(&self.0, gone)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut polled, Some(&at_once)) {
            Ok(_) => polled[0].revents().intersects(gone),
            Err(_) => false, // Interrupted: the next look will tell.
        }
    }
}
