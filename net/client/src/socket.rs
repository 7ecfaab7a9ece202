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
    #[error("no descriptor is left to receive")]
    DescriptorsExhausted,
}

/// `patience` from now. A patience beyond the clock's range ends in a century.
pub(crate) fn deadline_after(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or_else(|| now + CENTURY)
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A connected SOCK_SEQPACKET socket with a bound on every wait.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Connects, by `deadline` at the latest.
    pub(crate) fn connect(path: &Path, deadline: Instant) -> Result<Self, SocketError> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let socket = Self(socket);
        let address = SocketAddrUnix::new(path)?;
        match socket.until(deadline, Timeout::Send, || connect(&socket.0, &address)) {
            Ok(()) => Ok(socket),
            Err(Errno::AGAIN | Errno::TIMEDOUT) => Err(SocketError::TimedOut),
            Err(error) => Err(error.into()),
        }
    }

    /// The user id of the process that listens there, told by the kernel.
    pub(crate) fn peer_uid(&self) -> Result<u32, SocketError> {
        Ok(socket_peercred(&self.0)?.uid.as_raw())
    }

    /// Sends one packet, by `deadline` at the latest.
    pub(crate) fn send(&self, bytes: &[u8], deadline: Instant) -> Result<(), SocketError> {
        let sent = self.until(deadline, Timeout::Send, || {
            let mut control = SendAncillaryBuffer::default();
            sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
        });
        match sent {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(SocketError::Cut),
            Err(Errno::AGAIN) => Err(SocketError::TimedOut),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(SocketError::HungUp),
            Err(error) => Err(error.into()),
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
        let at_once = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = self.until(deadline, Timeout::Recv, || {
            let flags = RecvFlags::CMSG_CLOEXEC | at_once;
            recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags)
        });
        let received = received.map_err(|error| match error {
            Errno::AGAIN => SocketError::TimedOut,
            Errno::CONNRESET => SocketError::HungUp,
            error => error.into(),
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) && descriptors.len() < DESCRIPTORS {
            // There was room for more of them in the buffer, but not in this process.
            return Err(SocketError::DescriptorsExhausted);
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(SocketError::Cut);
        }
        if received.bytes == 0 {
            return Err(SocketError::HungUp);
        }
        Ok(received.bytes)
    }

    /// Does one call with what is left until `deadline` as its timeout; an interruption does not begin it anew.
    fn until<T>(
        &self,
        deadline: Instant,
        direction: Timeout,
        mut call: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            set_socket_timeout(&self.0, direction, Some(left.max(PATIENCE_MIN)))?;
            match call() {
                Err(Errno::INTR) if Instant::now() < deadline => {}
                Err(Errno::INTR) => return Err(Errno::AGAIN),
                other => return other,
            }
        }
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

#[cfg(test)]
mod tests {
    use rustix::net::socketpair;

    use super::*;

    fn socket() -> (Socket, OwnedFd) {
        let (own, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        (Socket(own), other)
    }

    #[test]
    fn an_interrupted_call_goes_on_until_its_deadline_and_no_longer() {
        let (socket, _other) = socket();
        let mut results = vec![Ok(7), Err(Errno::INTR), Err(Errno::INTR)];
        let far = deadline_after(Duration::from_secs(3600));
        assert_eq!(socket.until(far, Timeout::Recv, || results.pop().unwrap()), Ok(7));
        let mut calls = 0;
        let ended: Result<(), Errno> = socket.until(Instant::now(), Timeout::Recv, || {
            calls += 1;
            Err(Errno::INTR)
        });
        assert_eq!((ended, calls), (Err(Errno::AGAIN), 1));
    }

    #[test]
    fn no_patience_is_too_long_for_the_clock() {
        let deadline = deadline_after(Duration::MAX);
        assert!(deadline > Instant::now());
        let (socket, _other) = socket();
        socket.send(b"packet", deadline).unwrap();
    }
}
