//! The attach protocol by hand, for clients that do not behave.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_record::attach::{AttachRefusal, Hello, Refused, Resume, ShardDoor, Welcome};
use io_oi_record::limits::PACKET_BYTES_MAX;
use io_oi_record::{Receipt, SessionSequence};
use io_oi_shm::lane::ClientLane;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};

/// A connection that says whatever it is told to say.
pub(crate) struct RawClient {
    fd: OwnedFd,
}

/// What a node said.
#[derive(Debug)]
pub(crate) enum Heard {
    Packet(Vec<u8>),
    HungUp,
}

/// A client that was let in, to its first shard.
pub(crate) struct Inside {
    pub(crate) raw: RawClient,
    pub(crate) welcome: Welcome,
    pub(crate) lane: ClientLane,
    pub(crate) lane_descriptor: OwnedFd,
}

impl RawClient {
    pub(crate) fn connect(path: &Path) -> Self {
        let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        set_socket_timeout(&fd, Timeout::Recv, Some(Duration::from_secs(60))).unwrap();
        connect(&fd, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Self { fd }
    }

    /// A node that has hung up already does not hear it.
    pub(crate) fn say(&self, packet: &[u8]) {
        let mut control = SendAncillaryBuffer::default();
        let _ = sendmsg(&self.fd, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL);
    }

    pub(crate) fn hear(&self) -> (Heard, Vec<OwnedFd>) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let bytes = match recvmsg(
            &self.fd,
            &mut [IoSliceMut::new(&mut packet)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(message) => message.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(errno) => panic!("the node says nothing: {errno}"),
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        packet.truncate(bytes);
        (if bytes == 0 { Heard::HungUp } else { Heard::Packet(packet) }, descriptors)
    }

    /// The node's refusal; then it has to hang up.
    pub(crate) fn hear_refusal(&self) -> AttachRefusal {
        let (Heard::Packet(packet), _) = self.hear() else { panic!("the node hung up without a reason") };
        let refused = Refused::decode(&packet).unwrap();
        assert!(refused.text.len() > 20, "a refusal says what to do");
        assert!(matches!(self.hear().0, Heard::HungUp));
        refused.code
    }

    pub(crate) fn attach(path: &Path, resume: Option<Resume>) -> Result<Inside, AttachRefusal> {
        let raw = Self::connect(path);
        raw.say(&Hello::new("raw".to_owned(), resume).encode().unwrap());
        let (Heard::Packet(packet), _) = raw.hear() else { panic!("the node hung up without a reason") };
        if let Ok(refused) = Refused::decode(&packet) {
            return Err(refused.code);
        }
        let welcome = Welcome::decode(&packet).unwrap();
        let (Heard::Packet(packet), mut descriptors) = raw.hear() else { panic!("no door") };
        ShardDoor::decode(&packet).unwrap();
        assert_eq!(descriptors.len(), 5);
        let lane_descriptor = descriptors.remove(3);
        let lane = ClientLane::open(lane_descriptor.try_clone().unwrap()).unwrap();
        Ok(Inside { raw, welcome, lane, lane_descriptor })
    }
}

impl Inside {
    pub(crate) fn receipt(&mut self) -> Receipt {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut frame = vec![0; self.lane.receipts.frame_bytes_max()];
        loop {
            if let Some(bytes) = self.lane.receipts.pop(&mut frame).unwrap() {
                return Receipt::decode(&frame[..bytes]).unwrap();
            }
            assert!(Instant::now() < deadline, "no receipt");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn receipt_for(&mut self, session_sequence: u64) -> Receipt {
        let receipt = self.receipt();
        assert_eq!(receipt.session_sequence, SessionSequence(session_sequence));
        receipt
    }
}
