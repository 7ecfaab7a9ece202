//! The attach socket: packets of a bounded size, descriptors, peer credentials. Nothing here ever waits.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, recvmsg, sendmsg,
    socket_with, sockopt,
};

use io_oi_record::limits::PACKET_BYTES_MAX;

/// Who sits at the other end, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pub(crate) pid: i32,
}

/// The listening socket; its file is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Binds the path. The caller holds the directory's lock, so a socket that is there already is a dead node's.
    pub(crate) fn bind(path: &Path, open_to_all: bool) -> Result<Self, SocketError> {
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Err(SocketError::PathTooLong { path: path.to_owned(), bytes });
        }
        let refused = |errno: Errno| SocketError::Bind { path: path.to_owned(), error: errno.into() };
        remove_stale(path)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(refused)?;
        bind(&fd, &SocketAddrUnix::new(path).map_err(refused)?).map_err(refused)?;
        // From here on the file is ours to remove.
        let listener = Self { fd, path: path.to_owned() };
        let mode = if open_to_all { 0o666 } else { 0o600 };
        rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(refused)?;
        listen(&listener.fd, BACKLOG).map_err(refused)?;
        Ok(listener)
    }

    /// Nobody finds the node any more; those who are in stay in.
    pub(crate) fn unlink(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// The next waiting client, if any.
    pub(crate) fn accept(&self) -> Result<Option<(OwnedFd, Peer)>, Errno> {
        match accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(fd) => {
                let credentials = sockopt::socket_peercred(&fd)?;
                let peer =
                    Peer { uid: credentials.uid.as_raw(), pid: credentials.pid.as_raw_nonzero().get() };
                Ok(Some((fd, peer)))
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes of one packet.
    Packet(usize),
    /// A packet longer than any of ours, or one that carries descriptors.
    Oversize,
    /// Nothing now.
    Empty,
    /// The other end is gone.
    Closed,
}

/// Reads one packet. Descriptors that a client sends along are closed at once.
pub(crate) fn receive(fd: impl AsFd, packet: &mut [u8; PACKET_BYTES_MAX]) -> Received {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_DOOR))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    match recvmsg(fd, &mut [IoSliceMut::new(packet)], &mut control, flags) {
        Ok(message) => {
            let carried = control.drain().count();
            if carried > 0 || message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
                Received::Oversize
            } else if message.bytes == 0 {
                Received::Closed
            } else {
                Received::Packet(message.bytes)
            }
        }
        Err(Errno::AGAIN | Errno::INTR) => Received::Empty,
        Err(_) => Received::Closed,
    }
}

/// Sends one packet with descriptors, or fails: a client that does not read is not waited for.
pub(crate) fn send(fd: impl AsFd, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_DOOR))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let pushed = control.push(SendAncillaryMessage::ScmRights(descriptors));
        assert!(pushed, "a door has at most {DESCRIPTORS_PER_DOOR} descriptors");
    }
    loop {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(fd.as_fd(), &[IoSlice::new(packet)], &mut control, flags) {
            Ok(bytes) if bytes == packet.len() => return Ok(()),
            Ok(_) => return Err(Errno::IO),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Sends a last packet before the connection is closed. Who does not read it does not get it; who does, gets it even
/// if it is still speaking: unread packets at closing would make the kernel report a reset instead.
pub(crate) fn send_last(fd: &OwnedFd, packet: &[u8]) {
    let _ = send(fd, packet, &[]);
    hear_out(fd);
}

/// Takes and forgets what the other end is still saying, so that closing does not take back what it was told.
pub(crate) fn hear_out(fd: &OwnedFd) {
    let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Read);
    let mut unread = [0; PACKET_BYTES_MAX];
    while matches!(receive(fd, &mut unread), Received::Packet(_) | Received::Oversize) {}
}

/// Why there is no attach socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel's address has room for 107 bytes.
    #[error(
        "the socket path {path} has {bytes} bytes, at most {SOCKET_PATH_BYTES_MAX} fit: set `socket` to a shorter path, for instance under /run"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Something else stands at the path.
    #[error("{path} is there and is not a socket: remove it, or set `socket` to another path")]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {path}: {error}. Check that its directory exists and is writable.")]
    Bind {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Descriptors that come with one shard: hot, feed, counters, lane, bell.
pub(crate) const DESCRIPTORS_PER_DOOR: usize = 5;

/// `sun_path` has 108 bytes, one of them ends the text.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 64;

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(SocketError::Occupied { path: path.to_owned() })
        }
        Ok(_) if answers(path) => {
            let error = std::io::Error::from(std::io::ErrorKind::AddrInUse);
            Err(SocketError::Bind { path: path.to_owned(), error })
        }
        Ok(_) => {
            std::fs::remove_file(path).map_err(|error| SocketError::Bind { path: path.to_owned(), error })
        }
        Err(error) => Err(SocketError::Bind { path: path.to_owned(), error }),
    }
}

/// Whether somebody listens there: with a `socket` outside the directory, that may be a node of another directory.
fn answers(path: &Path) -> bool {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let Ok(probe) = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None) else {
        return false;
    };
    let Ok(address) = SocketAddrUnix::new(path) else { return false };
    !matches!(
        rustix::net::connect(&probe, &address),
        Err(Errno::CONNREFUSED | Errno::NOENT | Errno::PROTOTYPE)
    )
}
