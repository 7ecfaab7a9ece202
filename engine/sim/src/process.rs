//! One running node: the shipping machine and the shipping log on an invented disk, and the effects performed as the
//! daemon performs them.
//!
//! Invariant: nothing leaves the process in the middle of an effect; it may die between any two of them.

use std::collections::VecDeque;
use std::rc::Rc;

use io_oi_record::{
    Durability, Effects, Epoch, Hash, Nanos, NodeId, Now, Operation, Outcome, Precondition, Proposal,
    Receipt, Record, RefusalCode, Sequence, SessionId, SessionSequence, Stage, Verdict,
};
use io_oi_shard::hearing::Case;
use io_oi_shard::judge::precondition_verdict;
use io_oi_shard::{
    AppendIndex, Effect, Event, JudgeOrigin, Lane, LogKind, Machine, Notice, Origin, PastLost, ProposalState,
    PublishStage,
};
use io_oi_wal::sim_disk::SimDisk;
use io_oi_wal::{AppendError, BlockIndex, Frame, FrameKind, LogIndex, Wal};

use crate::chain::{Chain, Entry, header_of};
use crate::checkers::Witness;
use crate::hot::{Hot, Version};
use crate::judge::Judges;
use crate::planted::Bug;
use crate::sights::{Sight, Sights};
use crate::story::{Short, Story};

/// What the process wants of the world.
#[derive(Debug)]
pub(crate) enum Out {
    Send {
        to: NodeId,
        lane: Lane,
        bytes: Rc<[u8]>,
    },
    Reply {
        session: SessionId,
        receipt: Receipt,
    },
    /// A batch is on its way to the disk.
    Flush,
    Wake {
        at: Nanos,
    },
    Fetch {
        sequence: Sequence,
    },
    /// The promise file is to say that the node is mute for good.
    KeepMute {
        past_lost: PastLost,
    },
    Notice(Notice),
}

/// Why a process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The world killed it here.
    Killed,
    /// It cannot keep its promises any more, and says so.
    Fault(String),
}

/// What a process is lent while it works.
pub(crate) struct Io<'a> {
    pub(crate) time: u64,
    pub(crate) now: Now,
    pub(crate) node: usize,
    pub(crate) witness: &'a mut Witness,
    pub(crate) story: &'a mut Story,
    pub(crate) sights: &'a mut Sights,
    pub(crate) out: &'a mut Vec<Out>,
    /// Steps until it is killed, if it is to be killed.
    pub(crate) steps: &'a mut Option<u64>,
    /// The epoch in the node's promise file.
    pub(crate) promised: &'a mut Epoch,
    /// A bug that was put in on purpose.
    pub(crate) bug: Option<Bug>,
}

/// A proposal that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) session_sequence: SessionSequence,
    pub(crate) operation: Operation,
    pub(crate) precondition: Precondition,
    pub(crate) durability: Durability,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Wish {
    pub(crate) fn proposal(&self) -> Proposal<'_> {
        Proposal {
            session_sequence: self.session_sequence,
            operation: self.operation,
            precondition: self.precondition,
            durability: self.durability,
            key: &self.key,
            value: &self.value,
        }
    }
}

/// What stands in a lane, or is asked by the node for one.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Open(SessionId),
    Close(SessionId),
    Write(SessionId, Wish),
    /// A signed change, handed in at the node itself.
    Govern(Wish),
}

/// A node that runs.
pub(crate) struct Process {
    pub(crate) machine: Machine,
    pub(crate) hot: Hot,
    judges: Judges,
    pub(crate) inbox: VecDeque<Request>,
    pub(crate) session_counter: u32,
    own_session: SessionId,
    wal: Wal<SimDisk>,
    index: BlockIndex,
    chain: Chain,
    log_base: Option<u64>,
    durable_early: Option<LogIndex>,
    is_flush_told: bool,
    /// Appends that were reported durable before their flush, by a planted bug.
    reported_early: u64,
}

/// A node refuses writes below this much room in its log.
const LOG_RESERVE_BYTES: usize = 3 * 64 * 1024;

impl Process {
    pub(crate) fn new(
        machine: Machine,
        own_session: SessionId,
        wal: Wal<SimDisk>,
        recovered: Recovering,
    ) -> Self {
        let Recovering { hot, chain, index } = recovered;
        Self {
            machine,
            hot,
            judges: Judges::new(),
            inbox: VecDeque::new(),
            session_counter: 0,
            own_session,
            wal,
            index,
            chain,
            log_base: None,
            durable_early: None,
            is_flush_told: false,
            reported_early: 0,
        }
    }

    /// Whether the block with this header is held and not decided.
    pub(crate) fn holds(&self, hash: Hash) -> bool {
        self.chain.holds(hash)
    }

    /// Hands one event to the machine and performs everything that it owes then.
    pub(crate) fn handle(&mut self, io: &mut Io<'_>, event: Event<'_>) -> Result<(), Stop> {
        step(io)?;
        // What was stored with the last event is admitted by now.
        while let Some((component, _)) = self.machine.next_to_admit() {
            let is_admitted = component == crate::judge::component();
            self.machine.handle(io.now, Event::Admitted { component, is_admitted });
            self.drain(io)?;
        }
        self.machine.handle(io.now, event);
        self.drain(io)?;
        self.read_inbox(io)
    }

    /// Performs everything that the machine owes.
    pub(crate) fn drain(&mut self, io: &mut Io<'_>) -> Result<(), Stop> {
        while let Some(effect) = self.machine.poll_effect() {
            if let Err(killed) = step(io) {
                io.sights.see(Sight::CrashBetweenEffects);
                return Err(killed);
            }
            match effect {
                Effect::Judge {
                    sequence,
                    epoch,
                    time,
                    seed,
                    session,
                    proposal,
                    is_operator,
                    seating,
                    origin,
                } => {
                    look_for_room(&mut self.wal);
                    let full = origin == JudgeOrigin::Forwarded && self.wal.room_bytes() < LOG_RESERVE_BYTES;
                    let newest = self.hot.newest(proposal.key).filter(|newest| newest.value.is_some());
                    let newest = newest.map(|newest| Sequence(newest.sequence));
                    let case = Case { sequence, epoch, time, seed, session, proposal, is_operator };
                    let (verdict, effects) = match precondition_verdict(&proposal, newest) {
                        Verdict::Accept => self.judges.judge(&case, seating, &self.hot),
                        refused => (refused, Effects::NONE),
                    };
                    if let Verdict::Refuse(RefusalCode::Arbitrator(_)) = verdict {
                        io.sights.see(if is_operator {
                            Sight::OperatorRefused
                        } else {
                            Sight::ArbitratorRefusal
                        });
                    }
                    if full && proposal.operation.has_key() {
                        let code = RefusalCode::DiskFull;
                        self.machine.handle(io.now, Event::Declined { sequence, code });
                    } else {
                        self.machine.handle(io.now, Event::Judged { sequence, verdict, effects });
                    }
                }
                Effect::Append { index, kind, epoch, sequence, bytes } => {
                    let append = Append { index, kind, epoch, sequence, bytes };
                    append.perform(
                        io,
                        &mut self.wal,
                        &mut self.index,
                        &mut self.chain,
                        &mut self.log_base,
                        &mut self.durable_early,
                    )?;
                }
                Effect::Send { to, lane, bytes } => {
                    io.out.push(Out::Send { to, lane, bytes: bytes.into() });
                }
                Effect::Publish { stage, epoch, record, .. } => {
                    let all = Shown::of(stage, epoch, &record);
                    self.tell_commits(io, record_sequence(&all));
                    for mut shown in all {
                        if io.bug == Some(Bug::ShowsTentativeAsCommitted) && stage == PublishStage::Tentative
                        {
                            shown.stage = PublishStage::Committed;
                        }
                        self.publish(io, shown)?;
                    }
                }
                Effect::Reply { session, receipt } => {
                    self.tell_commits(io, receipt.sequence);
                    io.witness.receipt(io.time, io.node, session, &receipt);
                    io.out.push(Out::Reply { session, receipt });
                }
                Effect::Wake { at } => io.out.push(Out::Wake { at }),
                Effect::Fetch { sequence } => io.out.push(Out::Fetch { sequence }),
                Effect::KeepMute { past_lost } => io.out.push(Out::KeepMute { past_lost }),
            }
        }
        self.tell_commits(io, Sequence(u64::MAX));
        self.tell_notices(io);
        self.wal.submit();
        self.tell_flush(io);
        if io.bug == Some(Bug::DurableEarly) { self.report_early(io) } else { Ok(()) }
    }

    /// The bug: what stands in memory is reported as flushed. The disk knows better.
    fn report_early(&mut self, io: &mut Io<'_>) -> Result<(), Stop> {
        let Some(base) = self.log_base else { return Ok(()) };
        let appended = self.wal.appended().0.saturating_sub(base);
        if appended <= self.reported_early {
            return Ok(());
        }
        self.reported_early = appended;
        self.handle(io, Event::Durable { through: AppendIndex(appended) })
    }

    fn tell_notices(&mut self, io: &mut Io<'_>) {
        while let Some(notice) = self.machine.poll_notice() {
            let node = io.node;
            io.story.tell(io.time, format_args!("n{node} notices {notice:?}"));
            match notice {
                Notice::Deposed { .. } => io.sights.see(Sight::Deposed),
                Notice::EvidenceFound { .. } => io.sights.see(Sight::Evidence),
                Notice::Mute { .. } => io.sights.see(Sight::Mute),
                Notice::StateDiffers { node: other, sequence } => {
                    let what = format!("n{node} sees that {other} has another state after {sequence}");
                    io.witness.note(io.time, "verdicts", Err(what));
                }
                _ => {}
            }
            io.out.push(Out::Notice(notice));
        }
    }

    /// The time of a flush has come.
    pub(crate) fn flush_done(&mut self, io: &mut Io<'_>) -> Result<(), Stop> {
        self.is_flush_told = false;
        step(io)?;
        let early = self.durable_early.take();
        let through = match self.wal.poll() {
            Ok(through) => through.or(early),
            Err(failed) => return Err(Stop::Fault(failed.to_string())),
        };
        let durable = self.log_base.zip(through);
        let durable =
            durable.and_then(|(base, through)| through.0.checked_sub(base)).filter(|index| *index > 0);
        let Some(through) = durable.map(AppendIndex) else {
            self.wal.submit();
            self.tell_flush(io);
            return Ok(());
        };
        while let Some(entry) = self.chain.flushed(through) {
            match entry {
                Entry::Block(hash) => io.witness.block_durable(io.node, hash),
                Entry::Promise { epoch, is_claim } => {
                    // Between the log and the promise file the process may die.
                    step(io)?;
                    if io.bug != Some(Bug::NoPromiseFile) {
                        *io.promised = (*io.promised).max(epoch);
                    }
                    // The file says it, too, or nothing may be said.
                    if *io.promised >= epoch {
                        io.witness.promise_durable(io.node, epoch, is_claim);
                    }
                }
                Entry::Other => {}
            }
        }
        if through.0 <= self.reported_early {
            return Ok(());
        }
        self.handle(io, Event::Durable { through })
    }

    /// The answer to a fetch, from the durable log.
    pub(crate) fn fetch_done(&mut self, io: &mut Io<'_>, sequence: Sequence) -> Result<(), Stop> {
        let mut bytes = Vec::new();
        let place = self.wal.locate(&self.index, sequence.0);
        let found = match place.map(|place| self.wal.read_block(&place, &mut bytes)) {
            Some(Ok(found)) => found,
            Some(Err(error)) => return Err(Stop::Fault(error.to_string())),
            None => false,
        };
        if found {
            io.sights.see(Sight::CatchUp);
        }
        self.handle(io, Event::Fetched { sequence, bytes: found.then_some(&bytes[..]) })
    }

    /// Hands requests on while the machine takes them.
    pub(crate) fn read_inbox(&mut self, io: &mut Io<'_>) -> Result<(), Stop> {
        if self.inbox.is_empty() {
            return Ok(());
        }
        self.machine.gather(true);
        let read = self.read_inbox_through(io);
        self.machine.gather(false);
        read?;
        self.drain(io)
    }

    fn read_inbox_through(&mut self, io: &mut Io<'_>) -> Result<(), Stop> {
        while !self.inbox.is_empty() && self.machine.is_ready() {
            step(io)?;
            match self.inbox.pop_front().expect("the inbox is not empty") {
                Request::Open(session) => self.machine.handle(io.now, Event::open_session(session)),
                Request::Close(session) => self.machine.handle(io.now, Event::close_session(session)),
                Request::Govern(wish) => {
                    let (origin, proposal) = (Origin::Node, wish.proposal());
                    self.machine
                        .handle(io.now, Event::Submitted { origin, session: self.own_session, proposal });
                }
                Request::Write(session, wish) => {
                    if !self.admit(io, session, &wish) {
                        continue;
                    }
                    let (origin, proposal) = (Origin::Client, wish.proposal());
                    self.machine.handle(io.now, Event::Submitted { origin, session, proposal });
                }
            }
            self.drain(io)?;
        }
        Ok(())
    }

    /// Refuses what there is no room for; only what was never seen may be refused here.
    fn admit(&mut self, io: &mut Io<'_>, session: SessionId, wish: &Wish) -> bool {
        look_for_room(&mut self.wal);
        let has_room = self.wal.room_bytes() >= LOG_RESERVE_BYTES || !wish.operation.has_key();
        if has_room || self.machine.proposal_state(session, wish.session_sequence) != ProposalState::Fresh {
            return true;
        }
        io.sights.see(Sight::DiskFullRefusal);
        let receipt = refusal(wish.session_sequence, io.now.wall, RefusalCode::DiskFull);
        io.out.push(Out::Reply { session, receipt });
        false
    }

    fn publish(&mut self, io: &mut Io<'_>, shown: Shown) -> Result<(), Stop> {
        let Shown { stage, key, version } = shown;
        let sequence = Sequence(version.sequence);
        let done = match stage {
            PublishStage::Tentative => self.hot.publish_tentative(&key, version),
            PublishStage::Committed => {
                io.witness.shown(io.time, io.node, &key, sequence, version.value.as_deref());
                self.hot.publish_committed(&key, version)
            }
            PublishStage::Withdrawn if io.bug == Some(Bug::NoWithdrawal) => Ok(()),
            PublishStage::Withdrawn => {
                io.sights.see(Sight::Withdrawal);
                self.hot.withdraw(&key, version.sequence)
            }
        };
        if done.is_err() {
            let (node, key) = (io.node, key.escape_ascii());
            let what = format!("n{node} shows {key} of sequence {sequence} as {stage:?} out of order");
            io.witness.note(io.time, "reads", Err(what));
        }
        Ok(())
    }

    /// Tells the witness of every block that the machine has committed since the last time, up to the one that holds
    /// `through`: a block further on may still wait for its effects, the one that takes its place included.
    pub(crate) fn tell_commits(&mut self, io: &mut Io<'_>, through: Sequence) {
        let committed = self.machine.committed();
        while let Some(block) = self.chain.committed(committed, through) {
            let is_news = io.witness.block_committed(io.time, io.node, block.hash, &block.bytes);
            if is_news {
                self.check_reach(io, committed, &block);
                let (node, hash, first, last) = (io.node, Short(&block.hash.0), block.first, block.last);
                io.story.tell(io.time, format_args!("n{node} decides {first}..={last} {hash}"));
            }
        }
    }

    /// A leader counts nothing that does not reach into its own epoch. [P-52]
    fn check_reach(&self, io: &mut Io<'_>, committed: Sequence, block: &crate::chain::Held) {
        let (header, _) = header_of(&block.bytes).expect("a machine holds whole blocks");
        let epoch = self.machine.epoch();
        if self.machine.is_leading() && block.last == committed && header.epoch < epoch {
            let what = format!("n{} leads epoch {epoch} and commits a block of {}", io.node, header.epoch);
            io.witness.note(io.time, "flushed", Err(what));
        }
    }

    fn tell_flush(&mut self, io: &mut Io<'_>) {
        // A write that failed as it was submitted is told by the next look at the log.
        let may_have_failed = self.wal.room_bytes() == 0;
        if (self.wal.is_in_flight() || may_have_failed) && !self.is_flush_told {
            self.is_flush_told = true;
            io.out.push(Out::Flush);
        }
    }
}

/// The daemon looks at its log all the time, and a log that is looked at prepares segments; here somebody has to look.
fn look_for_room(wal: &mut Wal<SimDisk>) {
    if !wal.is_in_flight() && wal.room_bytes() < LOG_RESERVE_BYTES {
        let looked = wal.poll();
        assert!(!matches!(looked, Ok(Some(_))), "nothing was in flight");
    }
}

/// One more step of the process; it may be the last.
fn step(io: &mut Io<'_>) -> Result<(), Stop> {
    match io.steps {
        None => Ok(()),
        Some(0) => Err(Stop::Killed),
        Some(left) => {
            *left -= 1;
            Ok(())
        }
    }
}

/// A record to be shown, owned.
struct Shown {
    stage: PublishStage,
    key: Vec<u8>,
    version: Version,
}

impl Shown {
    /// Everything that a record writes.
    fn of(stage: PublishStage, epoch: Epoch, record: &Record<'_>) -> Vec<Self> {
        let shown = |write: io_oi_record::Effect<'_>| {
            let value = write.value.map(<[u8]>::to_vec);
            let version = Version { sequence: record.sequence.0, epoch: epoch.0, value };
            Self { stage, key: write.key.to_vec(), version }
        };
        record.writes().map(shown).collect()
    }
}

fn record_sequence(shown: &[Shown]) -> Sequence {
    Sequence(shown.first().expect("a record that is shown writes a key").version.sequence)
}

/// An entry on its way to the log.
struct Append<'a> {
    index: AppendIndex,
    kind: LogKind,
    epoch: Epoch,
    sequence: Sequence,
    bytes: &'a [u8],
}

impl Append<'_> {
    fn perform(
        &self,
        io: &mut Io<'_>,
        wal: &mut Wal<SimDisk>,
        index: &mut BlockIndex,
        chain: &mut Chain,
        log_base: &mut Option<u64>,
        durable_early: &mut Option<LogIndex>,
    ) -> Result<(), Stop> {
        let (kind, epoch, sequence) = (FrameKind(self.kind as u8), self.epoch.0, self.sequence.0);
        let taken = loop {
            match wal.append(Frame { kind, epoch, sequence, bytes: self.bytes }) {
                Ok(taken) => break taken,
                Err(AppendError::BatchFull) => match wal.poll() {
                    Ok(through) => {
                        *durable_early = through.or(*durable_early);
                        wal.submit();
                    }
                    Err(failed) => return Err(Stop::Fault(failed.to_string())),
                },
                Err(error) => return Err(Stop::Fault(error.to_string())),
            }
        };
        let base = *log_base.get_or_insert(taken.0 - self.index.0);
        assert_eq!(taken.0, base + self.index.0, "the log and the machine count appends alike");
        let header = self.header();
        chain.append(self.index, Chain::entry(self.kind, self.epoch, header.as_ref()));
        if let Some((header, hash)) = header {
            let (first, last) = (header.first_sequence, header.last_sequence());
            index.note_block(first.0, last.0, taken, self.bytes.len());
            hold(io, chain, &header, hash, self.bytes);
        }
        if self.kind == LogKind::Whole {
            io.sights.see(Sight::WholeAgain);
        }
        if self.kind.is_urgent() {
            wal.submit();
        }
        let node = io.node;
        io.story
            .tell(io.time, format_args!("n{node} appends {:?} epoch {epoch} through {sequence}", self.kind));
        Ok(())
    }

    fn header(&self) -> Option<(io_oi_record::BlockHeader, Hash)> {
        let is_block = self.kind == LogKind::Block;
        is_block.then(|| header_of(self.bytes).expect("a machine appends whole blocks"))
    }
}

fn hold(io: &mut Io<'_>, chain: &mut Chain, header: &io_oi_record::BlockHeader, hash: Hash, bytes: &[u8]) {
    if header.first_sequence <= chain.committed_through() {
        let what = format!("n{} takes back what it has committed, from {}", io.node, header.first_sequence);
        io.witness.note(io.time, "agreement", Err(what));
        return;
    }
    for block in chain.hold(header, hash, bytes) {
        io.sights.see(Sight::Rewind);
        io.witness.block_taken_back(io.node, block.hash);
    }
}

/// What the log tells while it is read.
pub(crate) struct Recovering {
    hot: Hot,
    chain: Chain,
    index: BlockIndex,
}

impl Recovering {
    pub(crate) fn new() -> Self {
        let index = BlockIndex::new(FrameKind(LogKind::Block as u8), PLACES_MAX);
        Self { hot: Hot::default(), chain: Chain::default(), index }
    }

    /// One entry of the log, in order.
    pub(crate) fn recover(
        &mut self,
        io: &mut Io<'_>,
        machine: &mut Machine,
        place: LogIndex,
        frame: &Frame<'_>,
    ) -> Result<(), String> {
        let kind = LogKind::from_number(frame.kind.0).ok_or("an entry of an unknown kind")?;
        let header = match kind {
            LogKind::Block => Some(header_of(frame.bytes).map_err(|error| error.to_string())?),
            _ => None,
        };
        machine.recover_frame(kind, frame.bytes).map_err(|error| error.to_string())?;
        match Chain::entry(kind, Epoch(frame.epoch), header.as_ref()) {
            Entry::Block(hash) => io.witness.block_durable(io.node, hash),
            // The boot brings the promise file level before anything may be acted on.
            Entry::Promise { epoch, is_claim } => io.witness.promise_durable(io.node, epoch, is_claim),
            Entry::Other => {}
        }
        if let Some((header, hash)) = header {
            let (first, last) = (header.first_sequence, header.last_sequence());
            self.index.note_block(first.0, last.0, place, frame.bytes.len());
            hold(io, &mut self.chain, &header, hash, frame.bytes);
        }
        self.show(io, machine)
    }

    /// What the log proves to be committed is decided before it is shown: perhaps nobody has said so before.
    fn show(&mut self, io: &mut Io<'_>, machine: &mut Machine) -> Result<(), String> {
        while let Some(block) = self.chain.committed(machine.committed(), Sequence(u64::MAX)) {
            io.witness.block_committed(io.time, io.node, block.hash, &block.bytes);
        }
        while let Some(effect) = machine.poll_effect() {
            let Effect::Publish { stage: PublishStage::Committed, epoch, record, .. } = effect else {
                return Err(format!("a machine that reads its log wants {effect:?}"));
            };
            for Shown { key, version, .. } in Shown::of(PublishStage::Committed, epoch, &record) {
                let sequence = Sequence(version.sequence);
                io.witness.shown(io.time, io.node, &key, sequence, version.value.as_deref());
                if self.hot.publish_committed(&key, version).is_err() {
                    return Err(format!("sequence {sequence} is shown out of order while the log is read"));
                }
            }
        }
        Ok(())
    }
}

pub(crate) const PLACES_MAX: usize = 64;

/// The answer to a proposal that gets no place in the order.
fn refusal(session_sequence: SessionSequence, time: Nanos, code: RefusalCode) -> Receipt {
    Receipt {
        session_sequence,
        sequence: Sequence::NONE,
        epoch: Epoch::NONE,
        time,
        stage: Stage::Submitted,
        durability: Durability::Local,
        outcome: Outcome::Refused(code),
    }
}
