//! The shard: takes events, decides, and owes effects.
//!
//! Invariant: it touches nothing. Time comes with each event; the world learns only what [`Machine::poll_effect`]
//! hands out, and the same events in the same order give the same effects, byte for byte.
//!
//! How to drive it:
//! 1. [`Machine::recover_frame`] for every log entry, each followed by [`Machine::poll_effect`] until `None`.
//! 2. [`Machine::start`], then poll until `None`; perform each effect before polling the next.
//! 3. One [`Machine::handle`], then poll until `None`. A [`Event::Submitted`] only while [`Machine::is_ready`];
//!    an [`Effect::Judge`] is answered with [`Event::Judged`] before the next poll.
//! 4. Begin a flush behind an append that [`LogKind::is_urgent`], and when the effects are drained.
//! 5. [`Machine::close`], then poll, flush and report [`Event::Durable`] until [`Machine::is_closed`].
//!
//! [`Effect::Judge`]: crate::Effect::Judge
//! [`LogKind::is_urgent`]: crate::LogKind::is_urgent

use alloc::vec::Vec;

use io_oi_consensus as consensus;
use io_oi_consensus::{Group, Membership, NOTE_BYTES, Role};
use io_oi_record::limits::{
    BLOCK_RECORDS_MAX, BLOCKS_IN_FLIGHT_MAX, RECORD_BYTES_MAX, SESSION_WINDOW, SESSIONS_MAX,
};
use io_oi_record::{
    Durability, Epoch, Hash, Member, NodeId, Now, Operation, Precondition, Proposal, Receipt, Record,
    RefusalCode, Sequence, SessionId, SessionSequence, Signer, Verdict,
};

use crate::appends::{Appends, Entry};
use crate::config::{Config, ConfigError};
use crate::event::{AppendIndex, Event, Origin};
use crate::flight::Flights;
use crate::pending::{Pending, State};
use crate::reply::{Certifying, Cursor, refusal};
use crate::sealer::Sealer;
use crate::session::{Answer, ProposalState, SessionState, Sessions, Standing};

/// One shard of one node.
pub struct Machine {
    pub(crate) consensus: consensus::Machine,
    pub(crate) signer: Signer,
    pub(crate) arbitrators: Hash,
    pub(crate) own_session: SessionId,
    pub(crate) phase: Phase,
    pub(crate) members: Vec<Member>,
    pub(crate) now: Now,
    pub(crate) sessions: Sessions,
    pub(crate) flights: Flights,
    pub(crate) pending: Pending,
    /// An answer that waits for nothing.
    pub(crate) answer: Option<(SessionId, Receipt)>,
    /// The reply being handed out.
    pub(crate) reply: Option<(SessionId, Receipt)>,
    pub(crate) shown: Cursor,
    pub(crate) replicated: Cursor,
    pub(crate) settled: Cursor,
    pub(crate) certifying: Certifying,
    pub(crate) appends: Appends,
    pub(crate) sealer: Sealer,
    pub(crate) claim_is_due: bool,
    pub(crate) note_bytes: [u8; NOTE_BYTES],
    pub(crate) counters: Counters,
}

/// Where the machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reading the log.
    Recovering,
    /// Standing for an epoch or leading it.
    Running,
    /// Bringing what it has to disk, taking nothing new.
    Closing,
}

/// What the machine has counted since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records sequenced by this machine, refused ones included.
    pub records: u64,
    /// Sequenced records that the judge refused.
    pub records_refused: u64,
    /// Blocks sealed.
    pub blocks: u64,
    /// Headers signed.
    pub signatures: u64,
    /// Proposals refused without a place in the order.
    pub refused: u64,
    /// Submissions that had been decided before and got the same answer.
    pub retries: u64,
    /// Messages of other nodes that were refused. [P-80]
    pub messages_refused: u64,
}

impl Machine {
    /// A machine that waits for its log. Allocates everything that it will ever need while running.
    pub fn new(config: Config<'_>) -> Result<Self, ConfigError> {
        let node = config.signer.node();
        let voters: Vec<NodeId> = config.genesis.members.iter().map(|member| member.node).collect();
        let members = Membership::new(&voters)?;
        let group = Group { cluster: config.cluster, shard: config.shard, node };
        Ok(Self {
            consensus: consensus::Machine::new(group, members)?,
            signer: config.signer,
            arbitrators: config.arbitrators,
            own_session: SessionId::of_node(node.tag(), config.boot),
            phase: Phase::Recovering,
            members: config.genesis.members.clone(),
            now: Now::default(),
            sessions: Sessions::new(SESSIONS_MAX, SESSION_WINDOW, UNCOMMITTED_RECORDS_MAX),
            flights: Flights::new(),
            pending: Pending::new(),
            answer: None,
            reply: None,
            shown: Cursor::new(Durability::Local, true),
            replicated: Cursor::new(Durability::MemQuorum, false),
            settled: Cursor::new(Durability::DiskQuorum, true),
            certifying: Certifying::new(),
            appends: Appends::new(),
            sealer: Sealer::new(),
            claim_is_due: false,
            note_bytes: [0; NOTE_BYTES],
            counters: Counters::default(),
        })
    }

    /// The log is read: shows what is not known to be committed as tentative, and claims the next epoch. [P-21]
    pub fn start(&mut self, now: Now) {
        assert_eq!(self.phase, Phase::Recovering, "a machine starts once");
        self.phase = Phase::Running;
        self.now = now;
        self.shown.skip_to(self.settled.next);
        self.replicated.skip_to(self.settled.next);
        self.note_bytes = self.consensus.stand().encode();
        self.claim_is_due = true;
    }

    /// Whether a proposal may be submitted now. While false, proposals stay in their rings.
    pub fn is_ready(&self) -> bool {
        let takes_proposals = self.phase == Phase::Running && self.consensus.role() == Role::Leading;
        takes_proposals
            && self.pending.state == State::Empty
            && self.answer.is_none()
            && self.certifying.has_room()
            && (self.flights.filled().has_room_for(RECORD_BYTES_MAX) || self.may_launch())
    }

    /// Takes one event into account.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        self.now = now;
        match event {
            Event::Submitted { origin, session, proposal } => {
                self.handle_submitted(origin, session, &proposal)
            }
            Event::Judged { sequence, verdict } => self.handle_judged(sequence, verdict),
            Event::Durable { through } => self.handle_durable(through),
            Event::Received { .. } => self.counters.messages_refused += 1, // [P-80]
            Event::Declined { sequence, code } => self.handle_declined(sequence, code),
            Event::Fetched { .. } => {} // Nothing was asked for.
            Event::Elapsed => self.sealer.elapsed(now.mono),
        }
    }

    /// Takes nothing more, and brings everything taken to disk, signatures included.
    pub fn close(&mut self, now: Now) {
        assert_ne!(self.phase, Phase::Recovering, "a machine that reads its log is simply dropped");
        self.phase = Phase::Closing;
        self.now = now;
    }

    /// Whether everything is on disk after [`Machine::close`], as far as this node can bring it there.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closing
            && self.pending.state == State::Empty
            && self.flights.filled().is_empty()
            && self.sealer.is_empty()
            && self.appends.is_empty()
            && !self.claim_is_due
    }

    /// Whether nothing is under way: every record committed and answered, every append flushed. Finished seals may
    /// still wait for the next block. Ask after the effects are drained.
    pub fn is_idle(&self) -> bool {
        self.pending.state == State::Empty
            && self.answer.is_none()
            && self.flights.is_empty()
            && self.appends.is_empty()
            && !self.certifying.is_urgent()
            && !self.claim_is_due
    }

    /// Whether this node leads its shard.
    pub fn is_leading(&self) -> bool {
        self.consensus.role() == Role::Leading
    }

    /// The epoch that this node stands in or leads; 0 before its first claim.
    pub fn epoch(&self) -> Epoch {
        self.consensus.epoch()
    }

    /// The last sequence given to a record.
    pub fn last_sequence(&self) -> Sequence {
        self.consensus.point(Durability::Local)
    }

    /// Through which sequence everything is committed.
    pub fn committed(&self) -> Sequence {
        self.consensus.committed()
    }

    /// Whether the shard knows `session`. A node that resumes a session asks here and never opens it again: an
    /// evicted session's answers are gone.
    pub fn session_state(&self, session: SessionId) -> SessionState {
        self.sessions.state(session)
    }

    /// The sessions that are open, in no order.
    pub fn open_sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.sessions.open()
    }

    /// Whether a put or delete with this number would be new. Whoever refuses proposals for reasons of its own (no
    /// room, no permission) refuses only fresh ones: a retry is owed the answer that the first one got.
    pub fn proposal_state(&self, session: SessionId, session_sequence: SessionSequence) -> ProposalState {
        self.sessions.proposal_state(session, session_sequence)
    }

    /// How many sessions the shard knows, and how many have made room for newer ones since boot.
    pub fn session_counts(&self) -> (usize, u64) {
        (self.sessions.count(), self.sessions.evicted_count())
    }

    /// What was counted since boot.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn handle_submitted(&mut self, origin: Origin, session: SessionId, proposal: &Proposal<'_>) {
        assert!(self.answer.is_none(), "drain the effects before the next proposal");
        let decided = admit(origin, proposal).and_then(|()| self.decided(session, proposal));
        match decided {
            Ok(None) => self.pending.fill(session, proposal),
            Ok(Some(answer)) => self.answer_again(session, answer),
            Err(code) => self.refuse(session, proposal, code),
        }
    }

    /// The answer that the proposal has already, `None` if it may be sequenced. What was decided once is answered by
    /// a node that does not lead, or is closing, too. [P-61, P-64]
    fn decided(&self, session: SessionId, proposal: &Proposal<'_>) -> Result<Option<Answer>, RefusalCode> {
        if self.phase == Phase::Recovering {
            return Err(RefusalCode::NotLeader); // The table is not complete: it must not be asked.
        }
        match self.sessions.standing(session, proposal.operation, proposal.session_sequence) {
            Standing::Answered(answer) => Ok(Some(answer)),
            Standing::PassedOver => Err(RefusalCode::NotAccepted),
            Standing::Forgotten => Err(RefusalCode::AnswerForgotten),
            Standing::Unknown => Err(RefusalCode::SessionUnknown),
            Standing::Closed => Err(RefusalCode::SessionExpired),
            Standing::Fresh if self.phase == Phase::Closing => Err(RefusalCode::ShuttingDown),
            Standing::Fresh if !self.is_leading() => Err(RefusalCode::NotLeader),
            Standing::Fresh => Ok(None),
        }
    }

    fn refuse(&mut self, session: SessionId, proposal: &Proposal<'_>, code: RefusalCode) {
        self.counters.refused += 1;
        self.answer = Some((session, refusal(proposal.session_sequence, self.now.wall, code)));
    }

    /// A retry: the first answer again, at once if it has been given, together with the first if not. [P-62, P-63]
    fn answer_again(&mut self, session: SessionId, answer: Answer) {
        self.counters.retries += 1;
        let sequence = answer.sequence;
        let is_due = match answer.durability {
            Durability::Local => self.shown.is_past(sequence),
            Durability::MemQuorum => self.replicated.is_past(sequence),
            Durability::DiskQuorum => self.settled.is_past(sequence),
            Durability::Certified if self.settled.is_past(sequence) => {
                return self.certify_again(session, answer);
            }
            Durability::Certified => false,
        };
        if is_due {
            self.answer = Some((session, answer.receipt()));
            return;
        }
        let flight = self.flights.holding_mut(sequence).expect("an unanswered record is unfinished");
        let note = flight.note_mut(sequence);
        if note.waiters == 0 && note.durability == Durability::Certified {
            self.certifying.expect_one();
        }
        note.waiters += 1;
    }

    fn certify_again(&mut self, session: SessionId, answer: Answer) {
        if self.certifying.join(answer.sequence) {
            return;
        }
        if self.consensus.point(Durability::Certified) >= answer.sequence {
            self.answer = Some((session, answer.receipt()));
            return;
        }
        self.certifying.expect_one();
        self.certifying.push(session, answer, 1);
    }

    fn handle_judged(&mut self, sequence: Sequence, verdict: Verdict) {
        assert_eq!(self.pending.state, State::Asked, "a verdict answers the judge effect before it");
        assert_eq!(sequence, self.next_sequence(), "a verdict names the sequence that was judged");
        assert_ne!(
            verdict,
            Verdict::AcceptWithWrites,
            "records have no place for an arbitrator's writes yet"
        );
        self.sequence_pending(verdict);
    }

    /// The world has no room for the pending proposal: it is refused without a place. [P-64]
    fn handle_declined(&mut self, sequence: Sequence, code: RefusalCode) {
        assert_eq!(self.pending.state, State::Asked, "a refusal answers the judge effect before it");
        assert_eq!(sequence, self.next_sequence(), "a refusal names the sequence that was judged");
        self.pending.state = State::Empty;
        self.counters.refused += 1;
        let (session, session_sequence) = (self.pending.session, self.pending.proposal().session_sequence);
        self.answer = Some((session, refusal(session_sequence, self.now.wall, code)));
    }

    /// The pending proposal becomes the next record. [P-60]
    pub(crate) fn sequence_pending(&mut self, verdict: Verdict) {
        let proposal = self.pending.proposal();
        let sequence = self.flights.filled().next_sequence();
        let record = Record::of(sequence, self.pending.session, &proposal, verdict);
        let filling = self.flights.filling();
        self.sessions.settle_through(self.consensus.committed());
        let applied = self.sessions.apply(&record, filling.epoch, filling.time);
        assert!(applied.is_ok(), "the session allowed this proposal when it arrived");
        filling.push(&record, 1);
        if proposal.durability == Durability::Certified {
            self.certifying.expect_one();
        }
        self.counters.records_refused += u64::from(!verdict.is_accepted());
        self.pending.state = State::Empty;
        self.counters.records += 1;
        self.consensus.handle_own_held(sequence);
    }

    /// Opens the filling block when it is empty: its epoch and time are fixed by its first record.
    pub(crate) fn open_block(&mut self) {
        if self.flights.filled().is_empty() {
            let (tip, epoch) = (*self.consensus.tip(), self.consensus.epoch());
            self.flights.filling().open(tip.next_sequence(), epoch, tip.next_time(self.now.wall));
        }
    }

    /// The sequence of the next record.
    pub(crate) fn next_sequence(&self) -> Sequence {
        self.flights.filled().next_sequence()
    }

    /// Whether the filling block could be sealed and appended now.
    pub(crate) fn may_launch(&self) -> bool {
        self.consensus.may_append()
            && self.flights.has_spare()
            && self.sealer.has_room()
            && self.appends.has_room()
    }

    fn handle_durable(&mut self, through: AppendIndex) {
        while let Some(entry) = self.appends.flushed(through) {
            match entry {
                Entry::Claim => self.handle_claim_durable(),
                Entry::Block(last) => self.consensus.handle_own_durable(last),
                Entry::Seal(last) => self.consensus.handle_own_signed(last),
            }
        }
    }

    /// The claim is flushed; whoever leads now begins the epoch with its start record. [P-22..P-25]
    fn handle_claim_durable(&mut self) {
        self.consensus.handle_claim_durable();
        if !self.is_leading() {
            return;
        }
        self.open_block();
        let start = Record {
            sequence: self.next_sequence(),
            session: self.own_session,
            session_sequence: SessionSequence::NONE,
            operation: Operation::StartEpoch,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            verdict: Verdict::Accept,
            key: &[],
            value: &[],
        };
        self.flights.filling().push(&start, 0);
        self.counters.records += 1;
        self.consensus.handle_own_held(start.sequence);
    }
}

/// The blocks in flight and the one being filled.
const UNCOMMITTED_RECORDS_MAX: usize = (BLOCKS_IN_FLIGHT_MAX + 1) * BLOCK_RECORDS_MAX;

/// What needs no session to be refused. [P-64]
fn admit(origin: Origin, proposal: &Proposal<'_>) -> Result<(), RefusalCode> {
    let may_ask = match proposal.operation {
        Operation::Put | Operation::Delete => true,
        Operation::OpenSession | Operation::CloseSession => origin == Origin::Node,
        Operation::StartEpoch | Operation::Govern => false,
    };
    if !may_ask {
        return Err(RefusalCode::Malformed);
    }
    proposal.check().map_err(|shape| shape.refusal())
}
