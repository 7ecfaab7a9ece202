//! A follower of three whose leader is whatever a test wants it to be.

use io_oi_record::message::{BlockMessage, Message, SealMessage};
use io_oi_record::*;
use io_oi_shard::{AppendIndex, Effect, Event, LogKind, Machine, Notice};

use super::{CLUSTER, SHARD, config_of, genesis_of, signer};

/// The node under test is the second member; this one leads.
pub fn liar() -> Signer {
    Signer::from_secret(&[40; 32])
}

pub fn other() -> Signer {
    Signer::from_secret(&[41; 32])
}

/// A follower of three, and what it did.
pub struct Follower {
    pub machine: Machine,
    pub now: Now,
    pub sent: Vec<(NodeId, Vec<u8>)>,
    pub appended: Vec<LogKind>,
    pub notices: Vec<Notice>,
    /// What was judged here, and every key that was shown.
    pub judged: Vec<Sequence>,
    pub shown: Vec<Vec<u8>>,
}

impl Follower {
    pub fn new() -> Follower {
        Follower::among(&[liar().node(), signer().node(), other().node()])
    }

    pub fn among(members: &[NodeId]) -> Follower {
        let genesis = genesis_of(members);
        let machine = Machine::new(config_of(1, &genesis)).expect("a sound configuration");
        let now = Now::at(Nanos(1_000_000_000));
        let (sent, appended, notices) = (Vec::new(), Vec::new(), Vec::new());
        let (judged, shown) = (Vec::new(), Vec::new());
        let mut follower = Follower { machine, now, sent, appended, notices, judged, shown };
        follower.machine.start(now);
        follower.drain();
        follower
    }

    /// Performs every effect: the judge here accepts everything, and every flush succeeds at once.
    pub fn drain(&mut self) {
        loop {
            let mut event = None;
            match self.machine.poll_effect() {
                None => break,
                Some(Effect::Judge { sequence, .. }) => {
                    self.judged.push(sequence);
                    event = Some(Event::Judged {
                        sequence,
                        verdict: Verdict::Accept,
                        effects: io_oi_record::Effects::NONE,
                    });
                }
                Some(Effect::Append { index, kind, .. }) => {
                    self.appended.push(kind);
                    event = Some(Event::Durable { through: AppendIndex(index.0) });
                }
                Some(Effect::Publish { record, .. }) => {
                    self.shown.extend(record.writes().map(|write| write.key.to_vec()));
                }
                Some(Effect::Send { to, bytes, .. }) => self.sent.push((to, bytes.to_vec())),
                Some(_) => {}
            }
            if let Some(event) = event {
                self.machine.handle(self.now, event);
            }
        }
        while let Some(notice) = self.machine.poll_notice() {
            self.notices.push(notice);
        }
    }

    pub fn receive(&mut self, message: &Message<'_>) {
        self.receive_from(liar().node(), message);
    }

    pub fn receive_from(&mut self, from: NodeId, message: &Message<'_>) {
        let mut bytes = vec![0; message.encoded_bytes()];
        message.encode(CLUSTER, SHARD, Epoch(1), &mut bytes).expect("fits");
        self.machine.handle(self.now, Event::Received { from, bytes: &bytes });
        self.drain();
    }

    /// The messages sent lately, of one kind each.
    pub fn heard<T>(&self, pick: impl Fn(Message<'_>) -> Option<T>) -> Vec<T> {
        let decoded = self.sent.iter().filter_map(|(_, bytes)| Message::decode(bytes, CLUSTER, SHARD).ok());
        decoded.filter_map(|(_, message)| pick(message)).collect()
    }

    pub fn acknowledged(&self) -> Sequence {
        let durable = self.heard(|message| match message {
            Message::Ack(ack) => Some(ack.durable),
            _ => None,
        });
        durable.into_iter().max().unwrap_or(Sequence::NONE)
    }
}

/// The session of the leader itself, and that of its only client.
pub fn session(counter: u32) -> SessionId {
    SessionId { node: liar().node().tag(), boot: 1, counter }
}

/// An accepted record of the leader's first block, without key and value.
pub fn record(sequence: u64, counter: u32, number: u64, operation: Operation) -> Record<'static> {
    Record {
        sequence: Sequence(sequence),
        session: session(counter),
        session_sequence: SessionSequence(number),
        operation,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        verdict: Verdict::Accept,
        key: b"",
        value: b"",
        effects: Effects::NONE,
    }
}

/// What every leader's first block begins with: its start record, and the session of a client.
pub fn opening() -> [Record<'static>; 2] {
    [record(1, 0, 0, Operation::StartEpoch), record(2, 1, 0, Operation::OpenSession)]
}

/// The leader's first block: the opening, and what stands behind it.
pub fn first_block(behind: &[Record<'_>]) -> (BlockHeader, Vec<u8>) {
    let mut builder = BlockBuilder::with_limits(1 << 16, 1024);
    opening().iter().chain(behind).for_each(|record| builder.push(record).expect("has room"));
    let header = builder.seal(HeaderParts {
        cluster: CLUSTER,
        shard: SHARD,
        epoch: Epoch(1),
        parent: Hash::ZERO,
        arbitrators: Hash::ZERO,
        time: Nanos(1_000_000_000),
        leader: liar().node(),
    });
    (header, builder.bytes().to_vec())
}

pub fn block_message(block: &[u8]) -> Message<'_> {
    let (committed, round) = (Sequence::NONE, Round::FIRST);
    Message::Block(BlockMessage { committed, round, wants_held: false, wants_votes: true, block })
}

pub fn seal_message(header: &BlockHeader) -> Message<'static> {
    Message::Seal(SealMessage {
        last_sequence: header.last_sequence(),
        header_hash: header.hash(),
        signature: liar().sign(header),
    })
}
