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

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use io_oi_consensus as consensus;
use io_oi_consensus::{Group, Membership, NOTE_BYTES};
use io_oi_record::evidence::Signed;
use io_oi_record::limits::{
    BLOCKS_IN_FLIGHT_MAX, CERTIFICATE_BYTES_MAX, MESSAGE_BYTES_MAX, PROPOSAL_BYTES_MAX, RECORD_BYTES_MAX,
};
use io_oi_record::message::FORWARD_ENTRY_HEAD_BYTES;
use io_oi_record::{
    Ballot, Durability, Effects, Epoch, Hash, Nanos, NodeId, Now, Operation, Proposal, Receipt, Record,
    RefusalCode, Round, Sequence, SessionId, SessionSequence, Signer, Verdict,
};

use crate::admissions::Admissions;
use crate::appends::Appends;
use crate::config::{Capacity, Config, ConfigError, Lost, Timers, Verify};
use crate::election::Timing;
use crate::event::{Event, Origin};
use crate::flight::Flights;
use crate::follower::Following;
use crate::forward::{Forwarding, Inbox};
use crate::governing::Governing;
use crate::hand_over::Handing;
use crate::lease::Rounds;
use crate::muteness::Muteness;
use crate::notices::Notices;
use crate::passing::Passing;
use crate::peers::Peers;
use crate::pending::{Pending, State};
use crate::poll::Place;
use crate::repair::Repair;
use crate::replication::{Fetching, Source};
use crate::reply::{Certifying, Cursor, refusal};
use crate::rewind::Withdrawing;
use crate::sealer::Sealer;
use crate::session::{Answer, ProposalState, SessionState, Sessions, Standing};
use crate::state::StateHashes;
use crate::status::Role;
use crate::tail::Tail;
use crate::voting::Voting;

/// One shard of one node.
pub struct Machine {
    pub(crate) consensus: consensus::Machine,
    pub(crate) signer: Signer,
    pub(crate) arbitrators: Hash,
    pub(crate) admissions: Admissions,
    pub(crate) own_session: SessionId,
    #[cfg(feature = "planted")]
    pub(crate) planted: Option<crate::planted::Planted>,
    pub(crate) phase: Phase,
    pub(crate) timers: Timers,
    pub(crate) capacity: Capacity,
    pub(crate) verify: Verify,
    pub(crate) promised_in_file: Epoch,
    /// What the log has lost and does not hold again. [P-46]
    pub(crate) lost: Option<Lost>,
    /// The highest epoch in which this node may have said anything before it lost that.
    pub(crate) lost_through: Epoch,
    pub(crate) now: Now,
    /// What an operator's write makes of the record that carries it; a buffer.
    pub(crate) operators_effects: Vec<u8>,
    pub(crate) sessions: Sessions,
    pub(crate) flights: Flights,
    pub(crate) pending: Pending,
    /// Answers that wait for nothing.
    pub(crate) answers: VecDeque<(SessionId, Receipt)>,
    /// The reply being handed out.
    pub(crate) reply: Option<(SessionId, Receipt)>,
    pub(crate) shown: Cursor,
    pub(crate) replicated: Cursor,
    pub(crate) settled: Cursor,
    /// Through where every verdict is our own or was judged again.
    pub(crate) checked: Sequence,
    /// The record that the world was asked to judge again.
    pub(crate) checking: Option<Sequence>,
    /// Whether it was said that a record cannot be judged here.
    pub(crate) withholds: bool,
    pub(crate) certifying: Certifying,
    pub(crate) appends: Appends,
    pub(crate) sealer: Sealer,
    pub(crate) note_bytes: [u8; NOTE_BYTES],
    pub(crate) counters: Counters,
    pub(crate) state_hash: (Sequence, Hash),
    pub(crate) state_hashes: StateHashes,
    pub(crate) muteness: Muteness,
    pub(crate) notices: Notices,

    pub(crate) peers: Peers,
    /// The message being sent.
    pub(crate) out: Vec<u8>,
    /// The block message that stands in `out`, and its length.
    pub(crate) written: Option<(Source, usize)>,
    /// One proposal between a queue and the order.
    pub(crate) taken: Vec<u8>,
    pub(crate) scratch: Vec<u8>,
    pub(crate) timing: Timing,
    pub(crate) governing: Governing,
    /// The first sequence of the current epoch, once its first block is held; none before.
    pub(crate) epoch_first: Sequence,

    pub(crate) following: Following,
    /// Both clocks when the machine started: how far a block's time may go is measured from there. [P-37]
    pub(crate) started: Now,
    /// Ends of a leader's blocks that are to be appended.
    pub(crate) to_append: VecDeque<Sequence>,
    pub(crate) withdrawing: Withdrawing,
    pub(crate) forwarding: Forwarding,
    pub(crate) voting: Voting,
    pub(crate) passing: Passing,
    /// Through where a certificate is known: in our log, or by the leader's word.
    pub(crate) certificate_through: Sequence,
    /// As a leader: through where our own signatures were made in this epoch.
    pub(crate) own_signed_through: Sequence,
    /// Through where committed governance records were looked at.
    pub(crate) governed_through: Sequence,
    pub(crate) roster_version: u64,
    pub(crate) members_version: u64,
    /// Entries longer than a note.
    pub(crate) long_bytes: Vec<u8>,
    /// The highest epoch of which a promise of ours is on disk.
    pub(crate) promise_durable: Epoch,

    pub(crate) standing_ballot: Option<(Signed<Ballot>, Round)>,
    pub(crate) ballot_offered: usize,
    /// The heartbeat at which a leader gave its place to us.
    pub(crate) hand_over_round: Round,
    pub(crate) rounds: Rounds,
    pub(crate) leading_since: Nanos,
    pub(crate) append_due: Option<Place>,
    pub(crate) commit_due: bool,
    /// The block that is to be voted for when it is sent.
    pub(crate) chosen_block: Option<Source>,
    pub(crate) fetching: Fetching,
    pub(crate) repair: Repair,
    pub(crate) tail: Tail,
    pub(crate) inbox: Inbox,
    pub(crate) handing: Option<Handing>,
    /// The newest record whose proposer waits for `mem-quorum`.
    pub(crate) mem_quorum_through: Sequence,
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
    /// Messages of other nodes that came too late to say anything.
    pub messages_stale: u64,
    /// Seals of leaders that were checked.
    pub signatures_checked: u64,
    /// Votes signed.
    pub votes: u64,
    /// Verdicts of leaders that this node's own judge contradicts.
    pub verdicts_contradicted: u64,
    /// Records of leaders that this node could not judge, and so does not show.
    pub records_withheld: u64,
    /// Histories given up.
    pub rewinds: u64,
}

impl Machine {
    /// A machine that waits for its log. Allocates everything that it will need while one leader leads.
    pub fn new(config: Config<'_>) -> Result<Self, ConfigError> {
        let node = config.signer.node();
        let voters: Vec<NodeId> = config.genesis.members.iter().map(|member| member.node).collect();
        let members = Membership::new(&voters)?;
        let group = Group { cluster: config.cluster, shard: config.shard, node };
        let governing = Governing::new(config.genesis, config.shard);
        let roster_version = governing.roster().members_version();
        let mut peers = Peers::new();
        peers.set(node, voters.iter().copied(), &members);
        let has_peers = !peers.is_empty();
        let capacity = config.capacity;
        let uncommitted_max = (BLOCKS_IN_FLIGHT_MAX + 1) * capacity.block_records_max;
        let mut consensus = consensus::Machine::new(group, members);
        if config.lost.is_some() {
            consensus.lose_claims_through(config.promised);
        }
        Ok(Self {
            consensus,
            signer: config.signer,
            arbitrators: config.arbitrators,
            admissions: Admissions::new(config.judge_versions),
            own_session: SessionId::of_node(node.tag(), config.boot),
            #[cfg(feature = "planted")]
            planted: None,
            phase: Phase::Recovering,
            timers: config.timers,
            capacity,
            verify: config.verify,
            promised_in_file: config.promised,
            lost: config.lost,
            lost_through: Epoch::NONE,
            now: Now::default(),
            operators_effects: Vec::new(),
            sessions: Sessions::new(capacity.sessions_max, capacity.session_window, uncommitted_max),
            flights: Flights::new(capacity, has_peers),
            pending: Pending::new(),
            answers: VecDeque::with_capacity(ANSWERS_EXPECTED),
            reply: None,
            shown: Cursor::new(Durability::Local, true),
            replicated: Cursor::new(Durability::MemQuorum, false),
            settled: Cursor::new(Durability::DiskQuorum, true),
            checked: Sequence::NONE,
            checking: None,
            withholds: false,
            certifying: Certifying::new(),
            appends: Appends::new(),
            sealer: Sealer::new(),
            note_bytes: [0; NOTE_BYTES],
            counters: Counters::default(),
            state_hash: (Sequence::NONE, Hash::ZERO),
            state_hashes: StateHashes::new(),
            muteness: Muteness::of(config.past_lost),
            notices: Notices::new(),
            peers,
            out: if has_peers { vec![0; MESSAGE_BYTES_MAX] } else { Vec::new() },
            written: None,
            taken: Vec::new(),
            scratch: vec![0; FORWARD_ENTRY_HEAD_BYTES + PROPOSAL_BYTES_MAX],
            timing: Timing::new(config.seed),
            governing,
            epoch_first: Sequence::NONE,
            following: Following::new(),
            started: Now::default(),
            to_append: VecDeque::new(),
            withdrawing: Withdrawing::new(),
            forwarding: Forwarding::new(has_peers),
            certificate_through: Sequence::NONE,
            voting: Voting::new(config.cluster, config.shard, node),
            passing: Passing::new(),
            own_signed_through: Sequence::NONE,
            governed_through: Sequence::NONE,
            roster_version,
            members_version: 1,
            long_bytes: vec![0; CERTIFICATE_BYTES_MAX],
            promise_durable: Epoch::NONE,
            standing_ballot: None,
            ballot_offered: 0,
            hand_over_round: Round::NONE,
            rounds: Rounds::new(),
            leading_since: Nanos::ZERO,
            append_due: None,
            commit_due: false,
            chosen_block: None,
            fetching: Fetching::new(),
            repair: Repair::new(),
            tail: Tail::new(),
            inbox: Inbox::new(),
            handing: None,
            mem_quorum_through: Sequence::NONE,
        })
    }

    /// The log is read: shows what is not known to be committed as tentative. Whoever is a quorum by itself claims the
    /// next epoch at once, everybody else waits for a leader first. [P-21, P-29]
    pub fn start(&mut self, now: Now) {
        assert_eq!(self.phase, Phase::Recovering, "a machine starts once");
        self.phase = Phase::Running;
        (self.now, self.started) = (now, now);
        self.shown.skip_to(self.settled.next);
        self.replicated.skip_to(self.settled.next);
        self.checked = self.consensus.tip().sequence;
        self.promise_durable = self.consensus.promised();
        let (promised, found) = (self.promised_in_file, self.consensus.promised());
        self.consensus.close_through(promised);
        self.remember_own_votes();
        self.consensus.begin();
        self.lost_through = promised.max(found);
        self.look_for_lost_past(promised, found);
        self.voting.skip_recovered();
        self.draw_consequences();
        self.timing.silent_until = now.mono.saturating_add(self.timers.election_ns_min);
        self.arm_election();
        if self.is_alone() && self.mute().is_none() && self.may_stand() {
            self.stand();
        }
    }

    /// Whether this node is a quorum by itself.
    pub(crate) fn is_alone(&self) -> bool {
        let members = self.consensus.members();
        let mut own = consensus::VoterSet::EMPTY;
        self.consensus.own().is_some_and(|voter| own.insert(voter)) && members.is_quorum(own)
    }

    /// Whether a proposal may be submitted now. While false, proposals stay in their rings.
    pub fn is_ready(&self) -> bool {
        let is_idle =
            self.phase == Phase::Running && self.pending.state == State::Empty && self.answers.is_empty();
        is_idle
            && !self.muteness.waits()
            && if self.is_leading() { self.may_sequence() } else { self.may_forward() }
    }

    /// Whether a proposal that waits somewhere else finds its way from here.
    fn may_forward(&self) -> bool {
        !self.peers.is_empty() && self.forwarding.has_room()
    }

    /// Whether one more record may be sequenced now.
    pub(crate) fn may_sequence(&self) -> bool {
        self.is_leading()
            && self.phase == Phase::Running
            && self.pending.state == State::Empty
            && self.handing.is_none()
            && self.certifying.has_room()
            && (self.flights.filled().has_room_for(RECORD_BYTES_MAX)
                || (self.may_launch() && self.append_due.is_none()))
    }

    /// Takes one event into account.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        self.now = now;
        match event {
            Event::Submitted { origin, session, proposal } => {
                self.handle_submitted(origin, session, &proposal)
            }
            Event::Judged { sequence, verdict, effects } => self.handle_judged(sequence, verdict, effects),
            Event::Admitted { component, is_admitted } => self.handle_admitted(component, is_admitted),
            Event::Durable { through } => self.handle_durable(through),
            Event::Received { .. } if self.muteness.waits() => {} // As if it were lost on the way. [P-44]
            Event::Received { from, bytes } => self.handle_received(from, bytes),
            Event::Declined { sequence, code } => self.handle_declined(sequence, code),
            Event::Fetched { sequence, bytes } => self.handle_fetched(sequence, bytes),
            Event::Elapsed => self.handle_elapsed(),
            Event::MuteKept => self.muteness.handle_kept(),
        }
        if self.consensus.committed() > self.governed_through {
            self.draw_consequences();
        }
        self.consensus.learn_certified(self.certificate_through);
    }

    fn handle_elapsed(&mut self) {
        self.timing.told_wake = None;
        self.fetching.may_ask = true;
        self.sealer.elapsed(self.now.mono);
        if self.has_timers() {
            self.elapse_hand_over();
            self.elapse_leading();
            self.elapse_election();
        }
        self.vote_when_quiet();
        self.elapse_telling();
    }

    /// Whether time alone moves this node: a leader without others waits for nobody. Who is left alone while it follows has
    /// still to stand. [P-29]
    pub(crate) fn has_timers(&self) -> bool {
        self.phase == Phase::Running && (!self.peers.is_empty() || self.role() != Role::Leading)
    }

    /// Takes nothing more, and brings everything taken to disk, signatures included.
    pub fn close(&mut self, now: Now) {
        assert_ne!(self.phase, Phase::Recovering, "a machine that reads its log is simply dropped");
        self.now = now;
        if !self.peers.is_empty() {
            self.stop_leading(); // The others decide what is under way; a leader without them would wait for ever.
        }
        self.phase = Phase::Closing;
    }

    /// Whether everything is on disk after [`Machine::close`], as far as this node can bring it there.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closing
            && self.pending.state == State::Empty
            && self.flights.filled().is_empty()
            && self.sealer.is_empty()
            && self.appends.is_empty()
            && self.voting.certificate_due.is_none()
            && !self.muteness.waits()
    }

    /// Whether nothing is under way: every record committed and answered, every append flushed. Finished seals may
    /// still wait for the next block. Ask after the effects are drained.
    pub fn is_idle(&self) -> bool {
        self.pending.state == State::Empty
            && self.answers.is_empty()
            && self.flights.is_empty()
            && self.appends.is_empty()
            && !self.certifying.is_urgent()
            && self.forwarding.is_empty()
            && !self.muteness.waits()
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
        match self.sessions.proposal_state(session, session_sequence) {
            ProposalState::Fresh if self.forwarding.holds(session, session_sequence) => ProposalState::Seen,
            known => known,
        }
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
        assert!(self.answers.is_empty(), "drain the effects before the next proposal");
        if let Err(code) = admit(origin, proposal) {
            return self.refuse(session, proposal, code);
        }
        if !self.is_leading() && self.phase == Phase::Running && !self.peers.is_empty() {
            return self.submit_to_leader(session, proposal);
        }
        match self.admit_to_order(session, proposal) {
            Ok(Standing::Fresh) => self.pending.fill(session, proposal),
            Ok(Standing::Answered(answer)) => self.answer_again(session, answer),
            Ok(_) => unreachable!("a proposal with a place is fresh or answered"),
            Err(code) => self.refuse(session, proposal, code),
        }
    }

    /// A node that does not lead answers what is in its own log, and sends everything else to the leader: only the
    /// leader's table says for certain what is new. [P-61, P-68]
    fn submit_to_leader(&mut self, session: SessionId, proposal: &Proposal<'_>) {
        self.note_appointment(session, proposal);
        let under_way = self.forwarding.join(session, proposal);
        match self.sessions.standing(session, proposal.operation, proposal.session_sequence) {
            // Also one whose record has its place here by now: its answers are counted there. [P-63]
            Standing::Answered(answer) if under_way.is_none_or(|placed| !placed.is_none()) => {
                return self.answer_again(session, answer);
            }
            _ if under_way.is_some() => {
                self.counters.retries += 1;
                return;
            }
            _ => {}
        }
        self.forwarding.push(session, proposal, 1, &mut self.scratch);
    }

    /// Whether the proposal gets a place in the order: fresh, or answered before, or why not. What was decided once is
    /// answered by a node that does not lead, or is closing, too. [P-61, P-64]
    pub(crate) fn admit_to_order(
        &self,
        session: SessionId,
        proposal: &Proposal<'_>,
    ) -> Result<Standing, RefusalCode> {
        if self.phase == Phase::Recovering {
            return Err(RefusalCode::NotLeader); // The table is not complete: it must not be asked.
        }
        match self.sessions.standing(session, proposal.operation, proposal.session_sequence) {
            Standing::Answered(answer) => Ok(Standing::Answered(answer)),
            Standing::PassedOver => Err(RefusalCode::NotAccepted),
            Standing::Forgotten => Err(RefusalCode::AnswerForgotten),
            Standing::Unknown => Err(RefusalCode::SessionUnknown),
            Standing::Closed => Err(RefusalCode::SessionExpired),
            Standing::Fresh if self.phase == Phase::Closing => Err(RefusalCode::ShuttingDown),
            Standing::Fresh if !self.is_leading() => Err(RefusalCode::NotLeader),
            Standing::Fresh => self.admit_fresh(session, proposal),
        }
    }

    fn admit_fresh(&self, session: SessionId, proposal: &Proposal<'_>) -> Result<Standing, RefusalCode> {
        let (operation, number) = (proposal.operation, proposal.session_sequence);
        match operation {
            Operation::OpenSession if !self.sessions.has_room_to_open() => Err(RefusalCode::SessionsBusy),
            _ if operation.has_key() && self.sessions.is_declined(session, number, self.epoch()) => {
                Err(RefusalCode::NotAccepted)
            }
            _ => Ok(Standing::Fresh),
        }
    }

    fn refuse(&mut self, session: SessionId, proposal: &Proposal<'_>, code: RefusalCode) {
        self.counters.refused += 1;
        self.answers.push_back((session, refusal(proposal.session_sequence, self.now.wall, code)));
    }

    /// A retry: the first answer again, at once if it has been given, together with the first if not. [P-62, P-63]
    pub(crate) fn answer_again(&mut self, session: SessionId, answer: Answer) {
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
            self.answers.push_back((session, answer.receipt()));
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
            self.answers.push_back((session, answer.receipt()));
            return;
        }
        self.certifying.expect_one();
        self.certifying.push(session, answer, 1);
    }

    fn handle_judged(&mut self, sequence: Sequence, verdict: Verdict, effects: Effects<'_>) {
        if self.checking == Some(sequence) {
            return self.handle_judged_again(sequence, verdict, effects);
        }
        assert_eq!(self.pending.state, State::Asked, "a verdict answers the judge effect before it");
        assert_eq!(sequence, self.next_sequence(), "a verdict names the sequence that was judged");
        self.sequence_decided(verdict, effects);
    }

    /// The world has no room for the pending proposal: it is refused without a place. [P-64]
    pub(crate) fn handle_declined(&mut self, sequence: Sequence, code: RefusalCode) {
        assert_eq!(self.pending.state, State::Asked, "a refusal answers the judge effect before it");
        assert_eq!(sequence, self.next_sequence(), "a refusal names the sequence that was judged");
        self.pending.state = State::Empty;
        let (session, session_sequence) = (self.pending.session, self.pending.proposal().session_sequence);
        match self.pending.from {
            Some(from) => self.decline_for_good(from, code),
            None => self.refuse_all(session, session_sequence, code, self.pending.waiters),
        }
    }

    /// The pending proposal becomes the next record, with nothing added to it. [P-60]
    pub(crate) fn sequence_pending(&mut self, verdict: Verdict) {
        self.sequence_judged(verdict, Effects::NONE);
    }

    pub(crate) fn sequence_judged(&mut self, verdict: Verdict, effects: Effects<'_>) {
        let proposal = self.pending.proposal();
        let sequence = self.flights.filled().next_sequence();
        let lies =
            planted!(self, WrongVerdict) && proposal.operation.has_key() && sequence.0.is_multiple_of(16);
        let lie = (Verdict::Refuse(RefusalCode::PreconditionFailed), Effects::NONE);
        let (verdict, effects) = if lies { lie } else { (verdict, effects) };
        let record = Record::of(sequence, self.pending.session, &proposal, verdict).with_effects(effects);
        let filling = self.flights.filling();
        let is_governance = proposal.operation == Operation::Govern;
        let applied = self.sessions.apply(&record, filling.epoch, filling.time);
        assert!(applied.is_ok(), "the session allowed this proposal when it arrived");
        filling.push(&record, self.pending.waiters);
        match proposal.durability {
            Durability::Certified if self.pending.waiters > 0 => self.certifying.expect_one(),
            Durability::MemQuorum => self.mem_quorum_through = sequence,
            _ => {}
        }
        self.counters.records_refused += u64::from(!verdict.is_accepted());
        self.pending.state = State::Empty;
        self.counters.records += 1;
        self.checked = sequence;
        if is_governance {
            self.append_governance(sequence); // Also when an operator's write is refused: its number is used. [P-98]
        }
        self.consensus.handle_own_held(sequence);
    }

    /// Opens the filling block when it is empty: its epoch and time are fixed by its first record.
    pub(crate) fn open_block(&mut self) {
        if self.flights.filled().is_empty() {
            let (tip, epoch) = (*self.consensus.tip(), self.consensus.epoch());
            let time = tip.next_time(self.stamp());
            self.flights.filling().open(tip.next_sequence(), epoch, time);
            self.governing.open_block();
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

    /// This node.
    pub(crate) fn own_node(&self) -> NodeId {
        self.consensus.group().node
    }
}

/// What needs no session to be refused. [P-64]
fn admit(origin: Origin, proposal: &Proposal<'_>) -> Result<(), RefusalCode> {
    let may_ask = match proposal.operation {
        Operation::Put | Operation::Delete => true,
        Operation::OpenSession | Operation::CloseSession => origin == Origin::Node,
        Operation::Govern => true,
        Operation::StartEpoch => false,
    };
    if !may_ask {
        return Err(RefusalCode::Malformed);
    }
    proposal.check().map_err(|shape| shape.refusal())
}

/// Answers without a place come one at a time, save when a leader refuses what several wait for.
const ANSWERS_EXPECTED: usize = 64;
