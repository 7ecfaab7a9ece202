//! The handshake: hello, welcome, one door per shard; as steps that need not wait.
//!
//! Invariant: nothing of the node is used before everything of it was checked: packet sizes, archives, the number
//! of descriptors, and that every segment is of this shard, this boot of the node and this layout version.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use io_oi_record::ShardId;
use io_oi_record::attach::{DOOR_DESCRIPTORS, Hello, Refused, Resume, ShardDoor, Welcome};
use io_oi_record::limits::PACKET_BYTES_MAX;
use io_oi_record::{Noun, peek_noun};
use io_oi_shm::{HashSeed, LAYOUT_VERSION};
use rustix::io::Errno;

use crate::door::Door;
use crate::socket::{DESCRIPTORS, Socket, SocketError, deadline_after};
use crate::{AttachError, Options};

const _: () = assert!(DESCRIPTORS == DOOR_DESCRIPTORS.len());

/// A handshake under way.
pub(crate) struct Handshake {
    socket: Socket,
    deadline: Instant,
    welcome: Option<Welcome>,
    doors: Vec<Door>,
}

/// Everything a finished handshake gives.
pub(crate) struct Attached {
    pub(crate) socket: Socket,
    pub(crate) welcome: Welcome,
    pub(crate) doors: Vec<Door>,
}

impl Handshake {
    /// Connects and says hello (in `connect_patience` at most). The node's answers are taken by `step`.
    pub(crate) fn begin(
        path: &Path,
        options: &Options,
        connect_patience: Duration,
        resume: Option<Resume>,
    ) -> Result<Self, AttachError> {
        let (deadline, connect_deadline) =
            (deadline_after(options.handshake), deadline_after(connect_patience));
        let socket = Socket::connect(path, connect_deadline).map_err(|error| connect_error(path, error))?;
        if let Some(wanted) = options.node_uid {
            let found = socket.peer_uid().map_err(socket_error)?;
            if found != wanted {
                return Err(AttachError::WrongUser { found, wanted });
            }
        }
        let hello = Hello::new(options.name.clone(), resume);
        let bytes = hello.encode().map_err(|error| AttachError::Options { what: error.to_string() })?;
        socket.send(&bytes, connect_deadline).map_err(socket_error)?;
        Ok(Self { socket, deadline, welcome: None, doors: Vec::new() })
    }

    /// Takes the node's packets until all doors are open (true). With `wait` false it returns as soon as the next
    /// packet is not there yet (false).
    pub(crate) fn step(&mut self, wait: bool) -> Result<bool, AttachError> {
        let mut buffer = [0; PACKET_BYTES_MAX];
        while !self.is_finished() {
            let mut descriptors = Vec::with_capacity(DESCRIPTORS);
            let bytes = match self.socket.receive(self.deadline, wait, &mut buffer, &mut descriptors) {
                Ok(bytes) => bytes,
                Err(SocketError::TimedOut) if !wait && Instant::now() < self.deadline => return Ok(false),
                Err(error) => return Err(socket_error(error)),
            };
            self.take(&buffer[..bytes], descriptors)?;
        }
        Ok(true)
    }

    /// What `step` collected.
    ///
    /// # Panics
    ///
    /// Before `step` has said true.
    pub(crate) fn finish(self) -> Attached {
        assert!(self.is_finished(), "a handshake is finished only when all doors are open");
        let welcome = self.welcome.expect("finished implies welcomed");
        Attached { socket: self.socket, welcome, doors: self.doors }
    }

    fn is_finished(&self) -> bool {
        self.welcome.as_ref().is_some_and(|welcome| self.doors.len() == usize::from(welcome.shards))
    }

    fn take(&mut self, packet: &[u8], descriptors: Vec<OwnedFd>) -> Result<(), AttachError> {
        match (peek_noun(packet), &self.welcome) {
            (Some(Noun::Refused), _) => {
                let refused = Refused::decode(packet).map_err(protocol)?;
                Err(AttachError::Refused { code: refused.code, text: refused.text })
            }
            (Some(Noun::Welcome), None) => {
                let welcome = Welcome::decode(packet).map_err(protocol)?;
                check_welcome(&welcome)?;
                self.doors.reserve_exact(usize::from(welcome.shards));
                self.welcome = Some(welcome);
                Ok(())
            }
            (Some(Noun::ShardDoor), Some(welcome)) => {
                let door = ShardDoor::decode(packet).map_err(protocol)?;
                let shard = ShardId(self.doors.len() as u16);
                if door.shard != shard {
                    return Err(protocol(format!("door of shard {} where {shard} was due", door.shard)));
                }
                let descriptors: [OwnedFd; DESCRIPTORS] = descriptors
                    .try_into()
                    .map_err(|other: Vec<_>| protocol(format!("{} descriptors at a door", other.len())))?;
                let seed = HashSeed::new(welcome.hash_seed);
                self.doors.push(Door::open(shard, welcome.incarnation, &seed, descriptors)?);
                Ok(())
            }
            (found, _) => Err(protocol(match found {
                Some(noun) => format!("a {noun} packet out of turn"),
                None => "a packet of unknown kind".to_owned(),
            })),
        }
    }
}

fn check_welcome(welcome: &Welcome) -> Result<(), AttachError> {
    if welcome.layout_version != LAYOUT_VERSION {
        let found = welcome.layout_version;
        return Err(protocol(format!("shared-memory layout {found}, this client knows {LAYOUT_VERSION}")));
    }
    Ok(())
}

pub(crate) fn connect_error(path: &Path, error: SocketError) -> AttachError {
    let path: PathBuf = path.to_owned();
    match error {
        SocketError::System(Errno::NOENT | Errno::CONNREFUSED | Errno::NOTSOCK | Errno::NOTDIR) => {
            AttachError::NodeAbsent { path }
        }
        SocketError::System(Errno::ACCESS | Errno::PERM) => AttachError::NotPermitted { path },
        SocketError::System(Errno::NAMETOOLONG | Errno::INVAL) => AttachError::BadPath { path },
        SocketError::System(Errno::PROTOTYPE) => protocol("the socket there is of another type"),
        error => socket_error(error),
    }
}

pub(crate) fn socket_error(error: SocketError) -> AttachError {
    match error {
        SocketError::System(errno) => AttachError::System(errno.into()),
        SocketError::HungUp => AttachError::HungUp,
        SocketError::TimedOut => AttachError::TimedOut,
        SocketError::Cut => protocol("a packet was cut"),
        SocketError::DescriptorsExhausted => AttachError::DescriptorsExhausted,
    }
}

fn protocol(what: impl ToString) -> AttachError {
    AttachError::Protocol { what: what.to_string() }
}
