//! A small invented world around one machine: a log in memory, a hot tier in a map, receipts in a list.
#![allow(dead_code, unreachable_pub)] // Each test file uses its own part of it.

pub mod follower;

pub mod net;

use std::collections::BTreeMap;

use io_oi_record::{
    ClusterId, ControlMode, Durability, Epoch, Genesis, Hash, Member, Nanos, NodeId, Now, Operation, Outcome,
    Precondition, Proposal, Receipt, RefusalCode, Sequence, SessionId, SessionSequence, ShardId, Signer,
    TrustMode, Verdict,
};
use io_oi_shard::judge::precondition_verdict;
use io_oi_shard::{
    AppendIndex, Capacity, Config, Effect, Event, LogKind, Machine, Origin, PublishStage, RecoverError,
    Timers, Verify,
};

pub const CLUSTER: ClusterId = ClusterId([7; 32]);
pub const SHARD: ShardId = ShardId(0);

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: LogKind,
    pub bytes: Vec<u8>,
}

/// One record shown: stage, key, value (`None` for a delete), sequence.
pub type Shown = (PublishStage, Vec<u8>, Option<Vec<u8>>, Sequence);

/// A machine and everything it can reach.
pub struct World {
    pub machine: Machine,
    pub now: Nanos,
    pub log: Vec<Frame>,
    /// Entries of the log that were there at boot.
    pub recovered: usize,
    /// Entries of this boot reported durable.
    pub durable: u64,
    /// Newest version per key, tentative ones included; `None` value is a delete.
    pub newest: BTreeMap<Vec<u8>, (Sequence, bool)>,
    pub committed: BTreeMap<Vec<u8>, (Sequence, Option<Vec<u8>>)>,
    pub shown: Vec<Shown>,
    pub replies: Vec<(SessionId, Receipt)>,
    pub judged: Vec<Sequence>,
    pub wake_at: Option<Nanos>,
    /// What an operator writes belongs to another shard.
    pub is_elsewhere: bool,
    /// Debug form of every effect, for comparing runs.
    pub trace: Vec<String>,
    pub keeps_trace: bool,
}

pub fn signer() -> Signer {
    Signer::from_secret(&[3; 32])
}

pub fn machine(boot: u32) -> Machine {
    let members = [signer().node()];
    machine_of(boot, &members)
}

pub fn machine_of(boot: u32, members: &[NodeId]) -> Machine {
    let genesis = genesis_of(members);
    Machine::new(config_of(boot, &genesis)).expect("the configuration is sound")
}

pub fn config_of(boot: u32, genesis: &Genesis) -> Config<'_> {
    Config {
        cluster: CLUSTER,
        shard: SHARD,
        signer: signer(),
        genesis,
        arbitrators: Hash::ZERO,
        judge_versions: io_oi_record::JudgeVersions::default(),
        boot,
        seed: u64::from(boot),
        timers: Timers::default(),
        capacity: Capacity::default(),
        verify: Verify::All,
        promised: Epoch::NONE,
        past_lost: None,
        lost: None,
    }
}

pub fn genesis_of(members: &[NodeId]) -> Genesis {
    let member = |(number, node): (usize, &NodeId)| Member {
        node: *node,
        name: format!("n{number}"),
        address: format!("127.0.0.1:{}", 7000 + 100 * number),
    };
    Genesis {
        members: members.iter().enumerate().map(member).collect(),
        operators: vec![signer().operator()],
        shards: 1,
        trust: TrustMode::Full,
        control: ControlMode::Competitive,
        hash_seed: [5; 16],
        arbitrators: Hash::ZERO,
        created: Nanos(1),
    }
}

pub fn session(counter: u32) -> SessionId {
    SessionId { node: signer().node().tag(), boot: 1, counter }
}

impl World {
    /// A node that boots on an empty log and has not flushed anything yet.
    pub fn boot() -> Self {
        Self::boot_on(1, Vec::new()).expect("an empty log is sound")
    }

    /// A node that boots on `log` and has handed out its claim.
    pub fn boot_on(boot: u32, log: Vec<Frame>) -> Result<Self, RecoverError> {
        let mut world = Self::recovering(boot);
        for frame in log {
            world.machine.recover_frame(frame.kind, &frame.bytes)?;
            world.log.push(frame);
            world.drain();
        }
        world.recovered = world.log.len();
        world.machine.start(Now::at(world.now));
        world.drain();
        Ok(world)
    }

    pub fn recovering(boot: u32) -> Self {
        Self {
            machine: machine(boot),
            now: Nanos(1_700_000_000_000_000_000),
            log: Vec::new(),
            recovered: 0,
            durable: 0,
            newest: BTreeMap::new(),
            committed: BTreeMap::new(),
            shown: Vec::new(),
            replies: Vec::new(),
            judged: Vec::new(),
            wake_at: None,
            is_elsewhere: false,
            trace: Vec::new(),
            keeps_trace: false,
        }
    }

    /// A node that leads, with everything flushed and session 1 open.
    pub fn leading() -> Self {
        let mut world = Self::boot();
        world.settle();
        world.open(1);
        world.replies.clear();
        world.shown.clear();
        world
    }

    pub fn open(&mut self, counter: u32) {
        self.handle(Event::open_session(session(counter)));
        self.settle();
    }

    /// Flushes until nothing more goes to the log at once.
    pub fn settle(&mut self) {
        while self.flush() {}
    }

    /// Reports everything appended as durable. Says whether that was news.
    pub fn flush(&mut self) -> bool {
        let appended = (self.log.len() - self.recovered) as u64;
        self.flush_through(appended)
    }

    /// Reports the first `through` appends of this boot as durable.
    pub fn flush_through(&mut self, through: u64) -> bool {
        if through == self.durable {
            return false;
        }
        self.durable = through;
        self.handle(Event::Durable { through: AppendIndex(through) });
        true
    }

    pub fn unflushed(&self) -> u64 {
        (self.log.len() - self.recovered) as u64 - self.durable
    }

    pub fn put(&mut self, counter: u32, session_sequence: u64, key: &[u8], value: &[u8]) {
        self.submit(counter, &put(session_sequence, key, value));
    }

    pub fn submit(&mut self, counter: u32, proposal: &Proposal<'_>) {
        assert!(self.machine.is_ready(), "a test submits while the machine is ready");
        self.submit_anyway(counter, proposal);
    }

    pub fn submit_anyway(&mut self, counter: u32, proposal: &Proposal<'_>) {
        let (session, proposal) = (session(counter), *proposal);
        self.handle(Event::Submitted { origin: Origin::Client, session, proposal });
    }

    pub fn handle(&mut self, event: Event<'_>) {
        self.now = self.now.saturating_add(1_000);
        self.machine.handle(Now::at(self.now), event);
        self.drain();
    }

    pub fn close(&mut self) {
        self.machine.close(Now::at(self.now));
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            if self.keeps_trace {
                self.trace.push(format!("{effect:?}"));
            }
            match effect {
                Effect::Judge { sequence, is_operator: true, .. } if self.is_elsewhere => {
                    let verdict = Verdict::Refuse(RefusalCode::WrongShard);
                    let effects = io_oi_record::Effects::NONE;
                    self.machine.handle(Now::at(self.now), Event::Judged { sequence, verdict, effects });
                }
                Effect::Judge { sequence, proposal, .. } => {
                    let newest = self.newest.get(proposal.key).filter(|(_, is_there)| *is_there);
                    let verdict = precondition_verdict(&proposal, newest.map(|(sequence, _)| *sequence));
                    self.judged.push(sequence);
                    self.machine.handle(
                        Now::at(self.now),
                        Event::Judged { sequence, verdict, effects: io_oi_record::Effects::NONE },
                    );
                }
                Effect::Append { index, kind, bytes, .. } => {
                    self.log.push(Frame { kind, bytes: bytes.to_vec() });
                    assert_eq!(index.0, (self.log.len() - self.recovered) as u64, "indexes are dense");
                }
                Effect::Publish { stage, record, .. } => {
                    for write in record.writes() {
                        let (key, value) = (write.key.to_vec(), write.value.map(<[u8]>::to_vec));
                        let newest = self.newest.entry(key.clone()).or_default();
                        if record.sequence >= newest.0 {
                            *newest = (record.sequence, value.is_some());
                        }
                        if stage == PublishStage::Committed {
                            let before = self.committed.insert(key.clone(), (record.sequence, value.clone()));
                            assert!(
                                before.is_none_or(|(sequence, _)| sequence < record.sequence),
                                "in order"
                            );
                        }
                        self.shown.push((stage, key, value, record.sequence));
                    }
                }
                Effect::Reply { session, receipt } => self.replies.push((session, receipt)),
                Effect::Wake { at } => self.wake_at = Some(at),
                Effect::Send { .. } | Effect::Fetch { .. } => panic!("there is nobody to send to"),
                Effect::KeepMute { .. } => {
                    panic!("a node alone appends nothing that could hide what it lost")
                }
            }
        }
    }

    /// Takes the replies out.
    pub fn take_replies(&mut self) -> Vec<Receipt> {
        self.replies.drain(..).map(|(_, receipt)| receipt).collect()
    }

    /// The only reply, taken out.
    pub fn only_reply(&mut self) -> Receipt {
        let replies = self.take_replies();
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies[0]
    }

    pub fn kinds(&self) -> Vec<LogKind> {
        self.log.iter().map(|frame| frame.kind).collect()
    }
}

pub fn put<'a>(session_sequence: u64, key: &'a [u8], value: &'a [u8]) -> Proposal<'a> {
    Proposal {
        session_sequence: SessionSequence(session_sequence),
        operation: Operation::Put,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key,
        value,
    }
}

pub fn delete(session_sequence: u64, key: &[u8]) -> Proposal<'_> {
    Proposal { operation: Operation::Delete, ..put(session_sequence, key, b"") }
}

pub fn put_if<'a>(
    session_sequence: u64,
    key: &'a [u8],
    value: &'a [u8],
    precondition: Precondition,
) -> Proposal<'a> {
    Proposal { precondition, ..put(session_sequence, key, value) }
}

pub fn put_at<'a>(
    session_sequence: u64,
    key: &'a [u8],
    value: &'a [u8],
    durability: Durability,
) -> Proposal<'a> {
    Proposal { durability, ..put(session_sequence, key, value) }
}

pub fn refused(receipt: &Receipt) -> Option<RefusalCode> {
    match receipt.outcome {
        Outcome::Accepted => None,
        Outcome::Refused(code) => Some(code),
    }
}

pub fn accept(sequence: Sequence) -> Event<'static> {
    Event::Judged { sequence, verdict: Verdict::Accept, effects: io_oi_record::Effects::NONE }
}
