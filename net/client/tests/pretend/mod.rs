//! A pretended node: the real handshake and real segments, a log in memory, and every bad habit on request.
//!
//! Its world outlives it, as a disk would: a second node over the same world is a restart.

#![allow(dead_code, unreachable_pub)] // Each test file uses its own part.

use std::collections::{HashMap, HashSet};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use io_oi_record::attach::{AttachRefusal, Hello, Refused, ShardDoor, Welcome};
use io_oi_record::limits::{PACKET_BYTES_MAX, PROPOSAL_BYTES_MAX, RECEIPT_BYTES, RECORD_BYTES_MAX};
use io_oi_record::published::PUBLISHED_HEAD_BYTES;
use io_oi_record::token::SessionToken;
use io_oi_record::{
    ClusterId, Durability, Epoch, Nanos, NodeId, NodeTag, Operation, Outcome, Precondition, Proposal,
    Published, Receipt, Record, RefusalCode, Sequence, SessionId, ShardId, Stage, Verdict,
};
use io_oi_shm::bell::Bell;
use io_oi_shm::lane::{self, NodeLane};
use io_oi_shm::{HashSeed, LAYOUT_VERSION, counters, feed, hot, random_incarnation};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, recvmsg, sendmsg, socket_with,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What survives the node.
#[derive(Default)]
pub struct World {
    /// Every accepted proposal in order.
    pub log: Vec<Entry>,
    /// First answers.
    answers: HashMap<(SessionId, u64), Receipt>,
    /// Proposals that came a second time.
    pub retries: u64,
    pub sessions: u32,
    /// Goodbyes: the session sequence that each came under.
    pub closed: Vec<u64>,
    /// Resumptions refused because the session's old connection was open.
    pub refused_in_use: u64,
    /// Connections that are open now.
    pub guests_now: usize,
    /// Session ids asked back by resuming clients.
    pub resumed: Vec<SessionId>,
    /// When the lease ends that the node shows.
    pub lease_until_ns: u64,
    /// Turns that the node made.
    pub turns: u64,
    /// Governance records that came: the shard's bytes as they were.
    pub governed: Vec<Vec<u8>>,
}

/// One accepted proposal.
pub struct Entry {
    pub session_sequence: u64,
    pub key: Vec<u8>,
    /// `None`: deleted.
    pub value: Option<Vec<u8>>,
}

/// How the node misbehaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Habit {
    Honest,
    /// Takes proposals and answers nothing.
    Mute,
    /// Does not even take proposals.
    Asleep,
    Refuse(AttachRefusal),
    /// These bytes instead of a welcome.
    Say(Vec<u8>),
    /// Closes the connection after the hello.
    HangUp,
    /// Says nothing at all.
    Silent,
    WrongLayout,
    /// The first door is that of shard 7.
    WrongDoor,
    /// One descriptor short.
    FewDescriptors,
    /// Hot and feed descriptors changed places.
    MixedDescriptors,
    /// Segments of another boot than the welcome says.
    OtherBoot,
    /// Another cluster than before.
    OtherCluster,
    /// Allows writes under `mine/` only.
    Bounded,
    /// Publishes nonsense in its feed, behind every record.
    Babbling,
    /// Leaves this whole process no room for the descriptors of the first door, until their receiver has given up.
    StarvingOnce,
    /// Answers the first proposal under the key `garble` with bytes that are no receipt.
    GarblingOnce,
    /// Lives on, but lets go of the first client that it served, at its first proposal.
    LetGoOnce,
}

pub struct PretendNode {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub world: Arc<Mutex<World>>,
}

impl PretendNode {
    pub fn start(path: &Path, world: Arc<Mutex<World>>, habit: Habit) -> Self {
        let _ = std::fs::remove_file(path);
        let listener =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
        listen(&listener, 8).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut life = Life::new(listener, world.clone(), habit);
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                life.turn();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        Self { path: path.to_owned(), stop, thread: Some(thread), world }
    }

    /// Ends at once, as a killed process does: sockets hang up, nothing is drained.
    pub fn die(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::fs::remove_file(&self.path).unwrap();
    }
}

impl Drop for PretendNode {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic of the node's thread shows in the test's own output.
        }
    }
}

struct Guest {
    socket: OwnedFd,
    session: SessionId,
    lane: Option<NodeLane>,
}

struct Life {
    listener: OwnedFd,
    world: Arc<Mutex<World>>,
    habit: Habit,
    incarnation: u64,
    hot: hot::Writer,
    feed: feed::Writer,
    counters: counters::Writer,
    bell: Bell,
    guests: Vec<Guest>,
    /// Sessions whose connection is open.
    seated: HashSet<SessionId>,
}

impl Life {
    fn new(listener: OwnedFd, world: Arc<Mutex<World>>, habit: Habit) -> Self {
        let incarnation = random_incarnation();
        let of_segments = if habit == Habit::OtherBoot { incarnation ^ 1 } else { incarnation };
        let hot = hot::Writer::create(&hot::Config {
            entries_max: 1000,
            large_bytes_max: 1 << 20,
            versions_max: 16384,
            incarnation: of_segments,
            seed: HashSeed::new(SEED),
            ..hot::Config::default()
        });
        let feed = feed::Config {
            data_bytes: 256 * 1024,
            frame_bytes_max: PUBLISHED_HEAD_BYTES + RECORD_BYTES_MAX,
            incarnation: of_segments,
            shard: 0,
        };
        let mut life = Self {
            listener,
            world,
            habit,
            incarnation,
            hot: hot.unwrap(),
            feed: feed::Writer::create(&feed).unwrap(),
            counters: counters::Writer::create(&["pretended"], of_segments, 0).unwrap(),
            bell: Bell::create().unwrap(),
            guests: Vec::new(),
            seated: HashSet::new(),
        };
        life.recover();
        life
    }

    fn show_lease(&mut self) {
        let mut world = self.world.lock().unwrap();
        world.turns += 1;
        self.counters.set_lease(world.lease_until_ns);
    }

    fn recover(&mut self) {
        let world = self.world.clone();
        for (index, entry) in world.lock().unwrap().log.iter().enumerate() {
            self.hot.publish_committed(&entry.key, entry.value.as_deref(), stamp(index as u64 + 1)).unwrap();
        }
    }

    fn turn(&mut self) {
        self.show_lease();
        if let Ok(socket) = accept_with(&self.listener, SocketFlags::NONBLOCK) {
            let session = SessionId::default();
            self.guests.push(Guest { socket, session, lane: None });
        }
        let mut guests = std::mem::take(&mut self.guests);
        guests.retain_mut(|guest| match guest.lane {
            None => self.greet(guest),
            Some(_) => {
                let stays = self.serve(guest);
                if !stays {
                    self.seated.remove(&guest.session);
                }
                stays
            }
        });
        self.world.lock().unwrap().guests_now = guests.len();
        self.guests = guests;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        self.hot.beat(now.as_nanos() as u64);
    }

    /// False when the guest has to go.
    fn greet(&mut self, guest: &mut Guest) -> bool {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&guest.socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::empty());
        let bytes = match received {
            Ok(received) if received.bytes == 0 => return false,
            Ok(received) => received.bytes,
            Err(_) => return true,
        };
        let hello = Hello::decode(&buffer[..bytes]).unwrap();
        hello.verdict().unwrap();
        match &self.habit {
            Habit::Refuse(code) => {
                send(guest.socket.as_fd(), &Refused::of(*code).encode().unwrap(), &[]);
                return false;
            }
            Habit::Say(bytes) => {
                send(guest.socket.as_fd(), bytes, &[]);
                return true;
            }
            Habit::HangUp => return false,
            Habit::Silent => return true,
            _ => {}
        }
        guest.session = match hello.resume {
            Some(resume) if self.seated.contains(&resume.session) => {
                let refused = Refused::of(AttachRefusal::SessionInUse);
                send(guest.socket.as_fd(), &refused.encode().unwrap(), &[]);
                self.world.lock().unwrap().refused_in_use += 1;
                return false;
            }
            Some(resume) => {
                self.world.lock().unwrap().resumed.push(resume.session);
                resume.session
            }
            None => {
                let mut world = self.world.lock().unwrap();
                world.sessions += 1;
                SessionId { node: NodeTag(1), boot: 1, counter: world.sessions }
            }
        };
        self.welcome(guest);
        true
    }

    fn welcome(&mut self, guest: &mut Guest) {
        let prefixes = if self.habit == Habit::Bounded { vec![b"mine/".to_vec()] } else { Vec::new() };
        let cluster = if self.habit == Habit::OtherCluster { [9; 32] } else { [1; 32] };
        let welcome = Welcome {
            cluster: ClusterId(cluster),
            node: NodeId([2; 32]),
            session: guest.session,
            token: SessionToken([3; 32]),
            layout_version: LAYOUT_VERSION + u32::from(self.habit == Habit::WrongLayout),
            shards: 1,
            hash_seed: SEED,
            incarnation: self.incarnation,
            prefixes,
        };
        send(guest.socket.as_fd(), &welcome.encode().unwrap(), &[]);
        let config = lane::Config {
            proposal_ring_bytes: 256 * 1024,
            proposal_frame_bytes_max: PROPOSAL_BYTES_MAX,
            receipt_ring_bytes: 512 * 1024,
            receipt_frame_bytes_max: RECEIPT_BYTES,
            incarnation: self.hot_incarnation(),
            shard: 0,
        };
        let (lane, lane_fd) = NodeLane::create(&config).unwrap();
        let mut descriptors =
            vec![self.hot.fd(), self.feed.fd(), self.counters.fd(), lane_fd.as_fd(), self.bell.fd()];
        match self.habit {
            Habit::FewDescriptors => drop(descriptors.pop()),
            Habit::MixedDescriptors => descriptors.swap(0, 1),
            _ => {}
        }
        let shard = ShardId(if self.habit == Habit::WrongDoor { 7 } else { 0 });
        let door = ShardDoor { shard }.encode().unwrap();
        if self.habit == Habit::StarvingOnce {
            self.habit = Habit::Honest;
            starve(|| {
                send(guest.socket.as_fd(), &door, &descriptors);
                wait_for_hang_up(guest.socket.as_fd());
            });
        } else {
            send(guest.socket.as_fd(), &door, &descriptors);
        }
        guest.lane = Some(lane);
        self.seated.insert(guest.session);
    }

    fn hot_incarnation(&self) -> u64 {
        if self.habit == Habit::OtherBoot { self.incarnation ^ 1 } else { self.incarnation }
    }

    fn serve(&mut self, guest: &mut Guest) -> bool {
        let is_gone = is_hung_up(guest.socket.as_fd());
        if self.habit == Habit::Asleep {
            return true;
        }
        let lane = guest.lane.as_mut().unwrap();
        let mut bytes = vec![0; PROPOSAL_BYTES_MAX];
        while let Ok(Some(length)) = lane.proposals.pop(&mut bytes) {
            if self.habit == Habit::LetGoOnce {
                self.habit = Habit::Honest;
                return false;
            }
            let proposal = Proposal::decode(&bytes[..length]).unwrap();
            if proposal.operation == Operation::CloseSession {
                self.world.lock().unwrap().closed.push(proposal.session_sequence.get());
                continue;
            }
            if self.habit == Habit::GarblingOnce && proposal.key == b"garble" {
                self.habit = Habit::Honest;
                lane.receipts.push(&[0xaa; RECEIPT_BYTES]).unwrap();
                continue;
            }
            if proposal.operation == Operation::Govern {
                self.world.lock().unwrap().governed.push(proposal.value.to_vec());
                lane.receipts.push(&governed(&proposal).encode()).unwrap();
                continue;
            }
            if self.habit == Habit::Mute {
                continue;
            }
            let receipt = decide(&self.world, &mut self.hot, &mut self.feed, guest.session, &proposal);
            lane.receipts.push(&receipt.encode()).unwrap();
            if self.habit == Habit::Babbling {
                self.feed.publish(b"nonsense");
            }
        }
        !is_gone
    }
}

/// Judges, logs, publishes and answers in one go.
fn decide(
    world: &Mutex<World>,
    hot: &mut hot::Writer,
    feed: &mut feed::Writer,
    session: SessionId,
    proposal: &Proposal<'_>,
) -> Receipt {
    let mut world = world.lock().unwrap();
    let number = proposal.session_sequence.get();
    if let Some(first) = world.answers.get(&(session, number)).copied() {
        world.retries += 1;
        return first;
    }
    let newest =
        hot.newest(proposal.key).filter(|newest| !newest.deleted).map(|newest| newest.stamp.sequence.0);
    let holds = match proposal.precondition {
        Precondition::None => true,
        Precondition::Absent => newest.is_none(),
        Precondition::SequenceIs(sequence) => newest == Some(sequence.get()),
    };
    let mut receipt = Receipt {
        session_sequence: proposal.session_sequence,
        sequence: Sequence::NONE,
        epoch: Epoch(1),
        time: Nanos(1),
        stage: Stage::Committed,
        durability: Durability::DiskQuorum,
        outcome: Outcome::Refused(RefusalCode::PreconditionFailed),
    };
    if holds {
        let value = (proposal.operation == Operation::Put).then(|| proposal.value.to_vec());
        world.log.push(Entry { session_sequence: number, key: proposal.key.to_vec(), value: value.clone() });
        let sequence = world.log.len() as u64;
        receipt.sequence = Sequence(sequence);
        receipt.outcome = Outcome::Accepted;
        hot.publish_committed(proposal.key, value.as_deref(), stamp(sequence)).unwrap();
        publish(feed, &Record::of(Sequence(sequence), session, proposal, Verdict::Accept));
    }
    world.answers.insert((session, number), receipt);
    receipt
}

/// A governance record of one byte is refused: its number is not the next.
fn governed(proposal: &Proposal<'_>) -> Receipt {
    let outcome = match proposal.value.len() {
        1 => Outcome::Refused(RefusalCode::GovernanceNumber),
        _ => Outcome::Accepted,
    };
    Receipt {
        session_sequence: proposal.session_sequence,
        sequence: Sequence(1),
        epoch: Epoch(1),
        time: Nanos(1),
        stage: Stage::Committed,
        durability: proposal.durability,
        outcome,
    }
}

fn publish(feed: &mut feed::Writer, record: &Record<'_>) {
    let published = Published { epoch: Epoch(1), time: Nanos(2), record: *record };
    let mut frame = vec![0; published.encoded_bytes()];
    published.encode(&mut frame).unwrap();
    feed.publish(&frame);
}

fn stamp(sequence: u64) -> hot::Stamp {
    hot::Stamp { sequence: hot::Sequence(sequence), epoch: hot::Epoch(1), time_ns: 1 }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
}

/// Does something while this process can open two more descriptors at most.
fn starve(act: impl FnOnce()) {
    let usual = getrlimit(Resource::Nofile);
    let lowest_free = rustix::io::dup(std::io::stdin()).unwrap().as_raw_fd() as u64;
    setrlimit(Resource::Nofile, Rlimit { current: Some(lowest_free + 2), ..usual }).unwrap();
    act();
    setrlimit(Resource::Nofile, usual).unwrap();
}

fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&socket, PollFlags::RDHUP)], Some(&at_once)).unwrap() > 0
}

fn wait_for_hang_up(socket: BorrowedFd<'_>) {
    let long = Timespec { tv_sec: 60, tv_nsec: 0 };
    poll(&mut [PollFd::new(&socket, PollFlags::RDHUP)], Some(&long)).unwrap();
}

const SEED: [u8; 16] = *b"a pretended seed";

/// A directory for one test's socket.
pub fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.sock");
    (dir, path)
}
