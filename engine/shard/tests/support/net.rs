//! Several machines, a network in memory between them, and a disk each that flushes when told.

use std::collections::{BTreeMap, VecDeque};

use io_oi_record::{
    Epoch, Genesis, Nanos, NodeId, Now, Operation, Proposal, Receipt, RefusalCode, Sequence, SessionId,
    SessionSequence, Signer,
};
use io_oi_shard::judge::precondition_verdict;
use io_oi_shard::{
    AppendIndex, Capacity, Config, Effect, Event, JudgeOrigin, LogKind, Machine, Notice, Origin, PastLost,
    PublishStage, Role, Timers, Verify,
};

use super::{CLUSTER, Frame, SHARD};

/// Who wrote, and what; `None` for a delete.
pub type Version = (Sequence, Option<Vec<u8>>);

/// One node: its machine, its log, its hot tier, its answers.
pub struct Node {
    pub machine: Option<Machine>,
    pub log: Vec<Frame>,
    recovered: usize,
    durable: u64,
    pub boot: u32,
    wake_at: Option<Nanos>,
    /// Newest version per key, tentative ones included, oldest first.
    pub versions: BTreeMap<Vec<u8>, Vec<Version>>,
    pub committed: BTreeMap<Vec<u8>, Version>,
    pub withdrawn: Vec<Sequence>,
    pub replies: Vec<(SessionId, Receipt)>,
    pub notices: Vec<Notice>,
    pub promise: PromiseFile,
    /// What the promise file was asked for and does not say yet: an epoch, a lost past.
    promising: Epoch,
    muting: Option<PastLost>,
}

/// What a node's promise file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromiseFile {
    pub promised: Epoch,
    pub past_lost: Option<PastLost>,
}

/// The cluster. Time goes by in steps; a message takes one.
pub struct Net {
    pub nodes: Vec<Node>,
    genesis: Genesis,
    pub now: Nanos,
    flying: VecDeque<(usize, usize, Vec<u8>)>,
    /// Pairs that hear nothing of each other.
    pub cut: Vec<(usize, usize)>,
    /// Nodes whose disk does not finish a flush.
    pub stuck: Vec<usize>,
    /// Nodes that have no room for what others forward.
    pub full: Vec<usize>,
    /// Everything that was sent, from whom and to whom, while it is kept.
    pub kept: Option<Vec<(usize, usize, Vec<u8>)>>,
}

/// A tenth of a millisecond.
const STEP_NS: u64 = 100_000;

pub fn signer_of(node: usize) -> Signer {
    Signer::from_secret(&[node as u8 + 11; 32])
}

impl Net {
    /// Nodes with empty logs, started.
    pub fn of(count: usize) -> Self {
        let ids: Vec<NodeId> = (0..count).map(|node| signer_of(node).node()).collect();
        Self::of_genesis(super::genesis_of(&ids))
    }

    pub fn of_genesis(genesis: Genesis) -> Self {
        let count = genesis.members.len();
        let mut net = Self {
            nodes: Vec::new(),
            genesis,
            now: Nanos(1_700_000_000_000_000_000),
            flying: VecDeque::new(),
            cut: Vec::new(),
            stuck: Vec::new(),
            full: Vec::new(),
            kept: None,
        };
        for node in 0..count {
            net.nodes.push(Node {
                machine: None,
                log: Vec::new(),
                recovered: 0,
                durable: 0,
                boot: 0,
                wake_at: None,
                versions: BTreeMap::new(),
                committed: BTreeMap::new(),
                withdrawn: Vec::new(),
                replies: Vec::new(),
                notices: Vec::new(),
                promise: PromiseFile::default(),
                promising: Epoch::NONE,
                muting: None,
            });
            net.start(node);
        }
        net
    }

    pub fn id(&self, node: usize) -> NodeId {
        signer_of(node).node()
    }

    /// A session that this node gives out.
    pub fn session(&self, node: usize, counter: u32) -> SessionId {
        SessionId { node: self.id(node).tag(), boot: 1, counter }
    }

    /// A machine for the present boot of a node, that has read nothing.
    pub fn fresh_machine(&self, node: usize) -> Machine {
        let it = &self.nodes[node];
        let config = Config {
            cluster: CLUSTER,
            shard: SHARD,
            signer: signer_of(node),
            genesis: &self.genesis,
            arbitrators: io_oi_record::Hash::ZERO,
            judge_versions: io_oi_record::JudgeVersions::default(),
            boot: it.boot,
            seed: (node * 100) as u64 + u64::from(it.boot),
            timers: Timers::default(),
            capacity: Capacity { sessions_max: 16, session_window: 64, ..Capacity::default() },
            verify: Verify::All,
            promised: it.promise.promised,
            past_lost: it.promise.past_lost,
            lost: None,
        };
        Machine::new(config).expect("sound")
    }

    /// Boots a node on what it has flushed.
    pub fn start(&mut self, node: usize) {
        let now = Now::at(self.now);
        let it = &mut self.nodes[node];
        it.boot += 1;
        let mut machine = self.fresh_machine(node);
        let it = &mut self.nodes[node];
        (it.recovered, it.durable, it.wake_at) = (it.log.len(), 0, None);
        it.muting = None;
        it.versions.clear();
        it.committed.clear();
        for place in 0..it.log.len() {
            let frame = self.nodes[node].log[place].clone();
            machine.recover_frame(frame.kind, &frame.bytes).expect("a node reads its own log");
            self.nodes[node].machine = Some(machine);
            self.drain(node);
            machine = self.nodes[node].machine.take().expect("put there just now");
        }
        let it = &mut self.nodes[node];
        it.promise.promised = it.promise.promised.max(machine.promised());
        it.promising = it.promise.promised;
        machine.start(now);
        self.nodes[node].machine = Some(machine);
        self.drain(node);
    }

    /// The process dies; what was not flushed is gone.
    pub fn kill(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.machine = None;
        it.log.truncate(it.recovered + it.durable as usize);
        self.flying.retain(|(from, to, _)| *from != node && *to != node);
    }

    pub fn machine(&self, node: usize) -> &Machine {
        self.nodes[node].machine.as_ref().expect("the node is up")
    }

    pub fn handle(&mut self, node: usize, event: Event<'_>) {
        let now = Now::at(self.now);
        self.nodes[node].machine.as_mut().expect("the node is up").handle(now, event);
        self.drain(node);
    }

    pub fn submit(&mut self, node: usize, session: SessionId, proposal: Proposal<'_>) {
        self.handle(node, Event::Submitted { origin: Origin::Client, session, proposal });
    }

    /// The node is asked to stop.
    pub fn close(&mut self, node: usize) {
        let now = Now::at(self.now);
        self.nodes[node].machine.as_mut().expect("the node is up").close(now);
        self.drain(node);
    }

    /// Opens a session on a node and waits for it.
    pub fn open(&mut self, node: usize, counter: u32) -> SessionId {
        let session = self.session(node, counter);
        self.handle(node, Event::open_session(session));
        self.until("the session is open", |net| !net.nodes[node].replies.is_empty());
        self.nodes[node].replies.clear();
        session
    }

    /// Time goes by for a while.
    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now.saturating_add(ms * 1_000_000);
        while self.now < end {
            self.step();
        }
    }

    /// Time goes by until something holds; a second is more than anything here takes.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Net) -> bool) {
        let end = self.now.saturating_add(2_000_000_000);
        while !holds(self) {
            assert!(self.now < end, "{what}: not within two seconds");
            self.step();
        }
    }

    /// The node that leads, once one does and a quorum follows it.
    pub fn elect(&mut self) -> usize {
        self.until("somebody leads", |net| net.leader().is_some());
        self.leader().expect("just seen")
    }

    pub fn leader(&self) -> Option<usize> {
        let leads = |node: &usize| {
            let machine = self.nodes[*node].machine.as_ref();
            machine.is_some_and(|machine| machine.role() == Role::Leading && machine.lease_until() > self.now)
        };
        (0..self.nodes.len()).find(leads)
    }

    /// All but one.
    pub fn others(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|other| *other != node).collect()
    }

    /// A node hears nobody and is heard by nobody.
    pub fn isolate(&mut self, node: usize) {
        for other in self.others(node) {
            self.cut.push((node, other));
            self.cut.push((other, node));
        }
    }

    /// Puts a message on its way.
    pub fn deliver(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        self.flying.push_back((from, to, bytes));
    }

    /// A tenth of a millisecond: what is under way arrives, what is written is flushed.
    pub fn step(&mut self) {
        self.now = self.now.saturating_add(STEP_NS);
        for _ in 0..self.flying.len() {
            let (from, to, bytes) = self.flying.pop_front().expect("counted");
            if !self.cut.contains(&(from, to)) && self.nodes[to].machine.is_some() {
                let from = self.id(from);
                self.handle(to, Event::Received { from, bytes: &bytes });
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].machine.is_none() {
                continue;
            }
            let appended = (self.nodes[node].log.len() - self.nodes[node].recovered) as u64;
            if appended > self.nodes[node].durable && !self.stuck.contains(&node) {
                self.nodes[node].durable = appended;
                self.nodes[node].promise.promised = self.nodes[node].promising;
                self.handle(node, Event::Durable { through: AppendIndex(appended) });
            }
            if let Some(past_lost) = self.nodes[node].muting.take_if(|_| !self.stuck.contains(&node)) {
                self.nodes[node].promise.past_lost = Some(past_lost);
                self.handle(node, Event::MuteKept);
            }
            if self.nodes[node].wake_at.is_some_and(|at| at <= self.now) {
                self.nodes[node].wake_at = None;
                self.handle(node, Event::Elapsed);
            }
        }
    }

    fn drain(&mut self, node: usize) {
        let now = Now::at(self.now);
        let ids: Vec<NodeId> = (0..self.nodes.len()).map(|node| signer_of(node).node()).collect();
        let it = &mut self.nodes[node];
        let machine = it.machine.as_mut().expect("the node is up");
        while let Some(effect) = machine.poll_effect() {
            match effect {
                Effect::Judge { sequence, origin: JudgeOrigin::Forwarded, .. }
                    if self.full.contains(&node) =>
                {
                    machine.handle(now, Event::Declined { sequence, code: RefusalCode::DiskFull });
                }
                Effect::Judge { sequence, proposal, .. } => {
                    let newest = it.versions.get(proposal.key).and_then(|versions| versions.last());
                    let newest = newest.filter(|(_, value)| value.is_some()).map(|(sequence, _)| *sequence);
                    let verdict = precondition_verdict(&proposal, newest);
                    machine.handle(
                        now,
                        Event::Judged { sequence, verdict, effects: io_oi_record::Effects::NONE },
                    );
                }
                Effect::Append { kind, epoch, bytes, .. } => {
                    it.log.push(Frame { kind, bytes: bytes.to_vec() });
                    if kind.is_promise() {
                        it.promising = it.promising.max(epoch);
                    }
                }
                Effect::KeepMute { past_lost } => it.muting = Some(past_lost),
                Effect::Send { to, bytes, .. } => {
                    let to = ids.iter().position(|id| *id == to).expect("a member");
                    self.flying.push_back((node, to, bytes.to_vec()));
                    if let Some(kept) = &mut self.kept {
                        kept.push((node, to, bytes.to_vec()));
                    }
                }
                Effect::Publish { stage, record, .. } => {
                    let value = (record.operation == Operation::Put).then(|| record.value.to_vec());
                    let versions = it.versions.entry(record.key.to_vec()).or_default();
                    match stage {
                        PublishStage::Tentative => versions.push((record.sequence, value)),
                        PublishStage::Withdrawn => {
                            let newest = versions.pop().expect("it was shown before");
                            assert_eq!(newest.0, record.sequence, "withdrawn newest first");
                            it.withdrawn.push(record.sequence);
                        }
                        PublishStage::Committed => {
                            if versions.iter().all(|(sequence, _)| *sequence != record.sequence) {
                                versions.push((record.sequence, value.clone()));
                            }
                            it.committed.insert(record.key.to_vec(), (record.sequence, value));
                        }
                    }
                }
                Effect::Reply { session, receipt } => it.replies.push((session, receipt)),
                Effect::Wake { at } => it.wake_at = Some(it.wake_at.map_or(at, |before| before.min(at))),
                Effect::Fetch { sequence } => {
                    let block = block_of(&it.log, sequence);
                    machine.handle(now, Event::Fetched { sequence, bytes: block.as_deref() });
                }
            }
        }
        while let Some(notice) = machine.poll_notice() {
            it.notices.push(notice);
        }
    }
}

/// The newest block of a log that holds `sequence`.
fn block_of(log: &[Frame], sequence: Sequence) -> Option<Vec<u8>> {
    let holds = |frame: &&Frame| {
        let header = io_oi_record::BlockHeader::decode_first(&frame.bytes);
        frame.kind == LogKind::Block
            && header.is_ok_and(|(it, _)| it.first_sequence <= sequence && sequence <= it.last_sequence())
    };
    log.iter().rev().find(holds).map(|frame| frame.bytes.clone())
}

pub fn numbered<'a>(number: u64, key: &'a [u8], value: &'a [u8]) -> Proposal<'a> {
    Proposal { session_sequence: SessionSequence(number), ..super::put(1, key, value) }
}
