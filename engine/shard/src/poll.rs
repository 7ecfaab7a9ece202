//! What the machine owes the world, one effect at a time.
//!
//! Invariant: the order is fixed. What others wait for goes first: answers, small messages; then judging and showing;
//! then a block, to the followers and at once to the log; then what a flush made final, and only then the commit point to
//! the followers; signing comes last, while the block is on its way everywhere.

use io_oi_consensus::Seal;
use io_oi_record::message::Message;
use io_oi_record::{
    Durability, Epoch, HeaderParts, Nanos, NodeId, Operation, RefusalCode, Sequence, SessionId, Verdict,
};

use crate::appends::Entry;
use crate::event::{AppendIndex, Effect, JudgeOrigin, Lane, LogKind, PublishStage};
use crate::machine::{Machine, Phase};
use crate::operators::put_to_judge;
use crate::peers::To;
use crate::pending::State;
use crate::replication::{NextBlock, Source};
use crate::reply::{Met, refusal};
use crate::session::{Answer, Standing};
use crate::status::{Admission, PastLost, Role};

/// An effect that borrows nothing yet; small, because it is copied on the fast path.
pub(crate) enum Step {
    Judge(JudgeOrigin),
    JudgeAgain(Sequence),
    AppendNote(Place),
    AppendBlock(Place),
    AppendLong(Place, usize),
    Publish(PublishStage, Sequence),
    Withdraw(Sequence),
    Answer(Sequence),
    Reply,
    Send { to: NodeId, lane: Lane, bytes: usize },
    Wake(Nanos),
    Fetch(Sequence),
    KeepMute(PastLost),
}

/// Where an append stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    index: AppendIndex,
    kind: LogKind,
    epoch: Epoch,
    sequence: Sequence,
}

impl Machine {
    /// The next effect, `None` when nothing is owed. Perform it before the next call.
    pub fn poll_effect(&mut self) -> Option<Effect<'_>> {
        let step = self.next_step()?;
        Some(self.effect(step))
    }

    /// The world has more proposals at hand, or none any more: a block waits for those at hand, so that what stood in a
    /// ring together goes to the disk together. Poll the effects again after `false`.
    pub fn gather(&mut self, has_more: bool) {
        self.flights.is_gathering = has_more;
    }

    fn effect(&self, step: Step) -> Effect<'_> {
        match step {
            Step::Judge(origin) => {
                let (session, proposal) = (self.pending.session, self.pending.proposal());
                let (proposal, is_operator) = put_to_judge(&proposal).expect("only writes are judged");
                let (epoch, time) = (self.flights.filled().epoch, self.flights.filled().time);
                let sequence = self.next_sequence();
                let (seed, seating) = (self.seed_for_judge(epoch, sequence), self.seating(sequence));
                Effect::Judge { sequence, epoch, time, seed, session, proposal, is_operator, seating, origin }
            }
            Step::JudgeAgain(sequence) => {
                let flight = self.flights.holding(sequence).expect("a record is judged before it lands");
                let record = flight.record(sequence);
                let (epoch, time, session) = (flight.epoch, flight.time, record.session);
                let (proposal, is_operator) =
                    put_to_judge(&record.proposal()).expect("only writes are judged");
                let origin = JudgeOrigin::Follower;
                let (seed, seating) = (self.seed_for_judge(epoch, sequence), self.seating(sequence));
                Effect::Judge { sequence, epoch, time, seed, session, proposal, is_operator, seating, origin }
            }
            Step::AppendNote(place) => append(place, &self.note_bytes),
            Step::AppendLong(place, bytes) => append(place, &self.long_bytes[..bytes]),
            Step::AppendBlock(place) => {
                let flight =
                    self.flights.ending_at(place.sequence).expect("a block is appended before it lands");
                append(place, flight.bytes())
            }
            Step::Publish(stage, sequence) => {
                let flight = self.flights.holding(sequence).expect("a record is shown before it lands");
                let record = flight.record(sequence);
                Effect::Publish { stage, epoch: flight.epoch, time: flight.time, record }
            }
            Step::Withdraw(sequence) => {
                let flight = self.withdrawing.front();
                let (stage, record) = (PublishStage::Withdrawn, flight.record(sequence));
                Effect::Publish { stage, epoch: flight.epoch, time: flight.time, record }
            }
            Step::Answer(sequence) => {
                let flight = self.flights.holding(sequence).expect("a record is answered before it lands");
                let (session, answer) = (flight.note(sequence).session, Answer::of(flight, sequence));
                Effect::Reply { session, receipt: answer.receipt() }
            }
            Step::Reply => {
                let (session, receipt) = self.reply.expect("the reply was put here by this step");
                Effect::Reply { session, receipt }
            }
            Step::Send { to, lane, bytes } => Effect::Send { to, lane, bytes: &self.out[..bytes] },
            Step::Wake(at) => Effect::Wake { at },
            Step::Fetch(sequence) => Effect::Fetch { sequence },
            Step::KeepMute(past_lost) => Effect::KeepMute { past_lost },
        }
    }

    fn next_step(&mut self) -> Option<Step> {
        if let Some(step) = self.next_answer() {
            return Some(step);
        }
        if self.phase == Phase::Recovering {
            return self.next_settled();
        }
        if self.muteness.waits() {
            return self.muteness.next_to_keep().map(Step::KeepMute);
        }
        loop {
            let step = self.next_followed_append().or_else(|| self.next_urgent());
            let step = step.or_else(|| self.next_withdrawal()).or_else(|| self.next_pending());
            let step = step.or_else(|| self.next_shown()).or_else(|| self.next_append());
            let step = step.or_else(|| self.next_settled()).or_else(|| self.next_certified());
            let step = step.or_else(|| self.next_bulk()).or_else(|| self.next_passed_on());
            if step.is_some() {
                return step;
            }
            if self.take_from_inbox() || self.owe_commit() || self.vote_when_quiet() {
                continue;
            }
            // What was refused on the way is answered before the world is left alone.
            if let Some(step) = self.next_answer() {
                return Some(step);
            }
            if !self.sign_one() {
                return self.next_wake();
            }
        }
    }

    fn next_answer(&mut self) -> Option<Step> {
        self.reply = Some(self.answers.pop_front()?);
        Some(Step::Reply)
    }

    /// Small messages: acknowledgements, votes, ballots, seals, heartbeats.
    fn next_urgent(&mut self) -> Option<Step> {
        if self.peers.is_empty() {
            return None;
        }
        if core::mem::take(&mut self.following.owes_ack) {
            self.post_ack();
        }
        if let Some((post, to)) = self.peers.next_post() {
            let bytes = self.write(post.epoch, &post.message);
            return Some(Step::Send { to, lane: post.lane, bytes });
        }
        self.next_ballot().or_else(|| self.next_report())
    }

    fn post_ack(&mut self) {
        let Some(leader) = self.consensus.leader().filter(|leader| *leader != self.own_node()) else {
            return;
        };
        let (epoch, ack) = (self.epoch(), self.ack());
        self.following.acked_at = self.now.mono;
        self.peers.post(To::One(leader), Lane::Urgent, epoch, Message::Ack(ack));
    }

    /// The ballot carries an appointment of any length, so it is no post.
    fn next_ballot(&mut self) -> Option<Step> {
        let (ballot, hand_over_round) = self.standing_ballot?;
        while let Some(peer) = self.peers.all.get(self.ballot_offered) {
            self.ballot_offered += 1;
            let to = peer.node;
            if peer.voter.is_some() {
                let bytes = self.write_ballot(&ballot, hand_over_round);
                return Some(Step::Send { to, lane: Lane::Urgent, bytes });
            }
        }
        self.standing_ballot = None;
        None
    }

    /// Blocks of the leader go to the log before anything else is done with them.
    fn next_followed_append(&mut self) -> Option<Step> {
        let last = self.to_append.pop_front()?;
        let flight = self.flights.ending_at(last)?;
        let (epoch, hash) = (flight.epoch, flight.closed.expect("a followed block has its header").hash);
        let index = self.appends.add(Entry::Block(last, hash), self.now.mono);
        Some(Step::AppendBlock(Place { index, kind: LogKind::Block, epoch, sequence: last }))
    }

    fn next_withdrawal(&mut self) -> Option<Step> {
        if self.withdrawing.is_empty() {
            return None;
        }
        if planted!(self, NoWithdrawal) {
            while self.next_withdrawn().is_some() {}
        }
        self.next_withdrawn().map(|(_, sequence)| Step::Withdraw(sequence))
    }

    /// The proposal that arrived: into the filling block, or behind it when it does not fit any more.
    fn next_pending(&mut self) -> Option<Step> {
        if self.pending.state == State::Empty {
            return None;
        }
        assert_eq!(self.pending.state, State::Arrived, "answer the judge effect before the next poll");
        if !self.flights.filled().has_room_for(self.pending.record_bytes_max()) {
            return if self.append_due.is_none() && self.may_launch() { self.next_block() } else { None };
        }
        self.open_block();
        if self.pending.operation() == Operation::Govern {
            return self.next_governance();
        }
        if self.pending.operation().has_key() {
            return self.ask_judge();
        }
        self.sequence_pending(Verdict::Accept);
        None
    }

    /// The pending write is put to its judge, if that can be run here. [P-97]
    pub(crate) fn ask_judge(&mut self) -> Option<Step> {
        let (write, _) = put_to_judge(&self.pending.proposal()).expect("only writes are judged");
        match self.can_judge(self.next_sequence(), write.key) {
            Admission::Pending => return None,
            Admission::Refused => {
                self.decline_pending(RefusalCode::ArbitratorNotAdmitted);
                return None;
            }
            Admission::Admitted => {}
        }
        self.pending.state = State::Asked;
        let origin = if self.pending.from.is_none() { JudgeOrigin::Local } else { JudgeOrigin::Forwarded };
        Some(Step::Judge(origin))
    }

    pub(crate) fn decline_pending(&mut self, code: RefusalCode) {
        let sequence = self.next_sequence();
        self.pending.state = State::Asked;
        self.handle_declined(sequence, code);
    }

    /// Records that are held: judged again when a leader sent them, shown as tentative, then answered where that is
    /// enough.
    fn next_shown(&mut self) -> Option<Step> {
        let local = self.consensus.point(Durability::Local);
        loop {
            if let Some(sequence) = self.next_to_check(local) {
                return Some(Step::JudgeAgain(sequence));
            }
            let through = local.min(self.checked);
            match self.shown.walk(&self.flights, through) {
                Some(Met::Show(sequence)) => return Some(Step::Publish(PublishStage::Tentative, sequence)),
                Some(Met::Answer(sequence)) => return Some(Step::Answer(sequence)),
                Some(Met::Passed(_)) => {}
                None if self.checked < local && !self.awaits_admission() => {}
                None => break,
            }
        }
        let mem_quorum = self.consensus.point(Durability::MemQuorum).min(self.checked);
        while let Some(met) = self.replicated.walk(&self.flights, mem_quorum) {
            if let Met::Answer(sequence) = met {
                return Some(Step::Answer(sequence));
            }
        }
        None
    }

    /// Entries for the log: notes, a block when one is due, seals that cannot wait.
    fn next_append(&mut self) -> Option<Step> {
        if let Some(place) = self.append_due {
            if let Some(step) = self.next_block_send() {
                return Some(step);
            }
            self.append_due = None;
            return Some(Step::AppendBlock(place));
        }
        if let Some(note) = self.appends.pop_note() {
            self.note_bytes = note.bytes;
            let index = self.appends.add(note.entry, self.now.mono);
            let (kind, epoch, sequence) = (note.kind, note.epoch, note.sequence);
            return Some(Step::AppendNote(Place { index, kind, epoch, sequence }));
        }
        if self.block_is_due() {
            return self.next_block();
        }
        let is_hurried = self.certifying.is_urgent() || self.sealer.is_due() || self.phase == Phase::Closing;
        let step = if is_hurried { self.next_seal() } else { None };
        step.or_else(|| self.next_long())
    }

    /// Certificates and evidence: neither waits for anything, and nothing but a certified receipt waits for them.
    fn next_long(&mut self) -> Option<Step> {
        if !self.appends.has_room() {
            return None;
        }
        if let Some(certificate) = self.voting.certificate_due.take() {
            let bytes = certificate.encode(&mut self.long_bytes).expect("made for the longest certificate");
            let (epoch, sequence) = (certificate.epoch, certificate.sequence);
            let index = self.appends.add(Entry::Certificate(sequence), self.now.mono);
            let place = Place { index, kind: LogKind::Certificate, epoch, sequence };
            return Some(Step::AppendLong(place, bytes));
        }
        let report = self.voting.watch.held().get(self.voting.logged)?;
        let encoded = report.encode().expect("accepted evidence is within its limits");
        self.voting.logged += 1;
        if self.long_bytes.len() < encoded.len() {
            self.long_bytes.resize(encoded.len(), 0);
        }
        self.long_bytes[..encoded.len()].copy_from_slice(&encoded);
        let (epoch, sequence) = (self.epoch(), self.consensus.tip().sequence);
        let index = self.appends.add(Entry::Reports(self.voting.logged), self.now.mono);
        let place = Place { index, kind: LogKind::Evidence, epoch, sequence };
        Some(Step::AppendLong(place, encoded.len()))
    }

    /// Natural batching: a block goes when no other is under way and nothing more is at hand, or when it is full.
    fn block_is_due(&self) -> bool {
        let filled = self.flights.filled();
        if filled.is_empty() || !self.may_launch() {
            return false;
        }
        let is_full = filled.record_count() == self.capacity.block_records_max;
        is_full || (self.consensus.open_block_count() == 0 && !self.has_more_at_hand())
    }

    /// Whether a proposal will follow without anything else happening: out of a ring, or of what other nodes forwarded.
    fn has_more_at_hand(&self) -> bool {
        self.flights.is_gathering || (!self.inbox.is_empty() && self.may_sequence())
    }

    /// The filling block gets its header and flies: to the followers, then to the log. Finished seals of earlier blocks
    /// go in front of it. [P-42]
    fn next_block(&mut self) -> Option<Step> {
        if let Some(step) = self.next_seal() {
            return Some(step);
        }
        assert!(self.may_launch(), "a block is sealed only while the pipeline has room");
        let parts = self.header_parts();
        let header = self.flights.filling().seal(parts);
        let header_hash = self.consensus.handle_appended(&header);
        self.sealer.push_unsigned(header, header_hash);
        self.flights.launch(header_hash);
        self.counters.blocks += 1;
        let sequence = header.last_sequence();
        let index = self.appends.add(Entry::Block(sequence, header_hash), self.now.mono);
        if self.choose_block(sequence) {
            self.chosen_block = Some(Source::Memory(sequence));
        }
        self.append_due = Some(Place { index, kind: LogKind::Block, epoch: header.epoch, sequence });
        self.next_append()
    }

    fn header_parts(&self) -> HeaderParts {
        let (group, filled) = (self.consensus.group(), self.flights.filled());
        HeaderParts {
            cluster: group.cluster,
            shard: group.shard,
            epoch: filled.epoch,
            parent: self.consensus.tip().hash,
            arbitrators: self.governing.set_of_block(self.arbitrators),
            time: filled.time,
            leader: group.node,
        }
    }

    fn next_seal(&mut self) -> Option<Step> {
        if !self.appends.has_room() {
            return None;
        }
        let seal = self.sealer.pop_ready()?;
        self.note_bytes = seal.encode();
        let (epoch, sequence) = (seal.epoch, seal.last_sequence);
        let index = self.appends.add(Entry::Silent, self.now.mono);
        Some(Step::AppendNote(Place { index, kind: LogKind::Seal, epoch, sequence }))
    }

    /// Records that are committed: shown as such, then answered; their block's memory is free after the last.
    fn next_settled(&mut self) -> Option<Step> {
        let mut committed = self.consensus.committed();
        if planted!(self, PublishesHeld) {
            committed = self.consensus.point(Durability::Local);
        }
        if self.phase != Phase::Recovering {
            committed = committed.min(Sequence(self.shown.next.0 - 1));
        }
        while let Some(met) = self.settled.walk(&self.flights, committed) {
            match met {
                Met::Show(sequence) => return Some(Step::Publish(PublishStage::Committed, sequence)),
                Met::Answer(sequence) => return Some(Step::Answer(sequence)),
                Met::Passed(sequence) => self.await_certificate(sequence),
            }
        }
        self.settle();
        None
    }

    fn await_certificate(&mut self, sequence: Sequence) {
        let flight = self.flights.holding(sequence).expect("a record lands after it was passed");
        let note = flight.note(sequence);
        self.certifying.push(note.session, Answer::of(flight, sequence), note.waiters);
    }

    fn next_certified(&mut self) -> Option<Step> {
        let (session, answer) = self.certifying.pop(self.consensus.point(Durability::Certified))?;
        self.reply = Some((session, answer.receipt()));
        Some(Step::Reply)
    }

    /// Blocks for followers that lack some, proposals for the leader.
    fn next_bulk(&mut self) -> Option<Step> {
        if self.peers.is_empty() {
            return None;
        }
        let step = self.next_block_send().or_else(|| self.next_repair()).or_else(|| self.next_tail());
        step.or_else(|| self.next_forward())
    }

    fn next_block_send(&mut self) -> Option<Step> {
        match self.next_block_for_peer()? {
            NextBlock::Send { to, source } => {
                let bytes = self.write_block_message(source);
                Some(Step::Send { to, lane: Lane::Bulk, bytes })
            }
            NextBlock::Fetch(sequence) => Some(Step::Fetch(sequence)),
        }
    }

    /// What was submitted here goes to the leader. [P-68]
    fn next_forward(&mut self) -> Option<Step> {
        let waits = matches!(self.role(), Role::Following | Role::PreVoting | Role::Mute);
        if !self.forwarding.has_unsent() || !waits {
            return None;
        }
        let relay_to = self.governing.relay_to.take();
        let to = self.consensus.leader().or(relay_to)?;
        self.peers.find(to)?;
        let bytes = self.write_forward();
        self.forwarding.sent_at = self.now.mono;
        Some(Step::Send { to, lane: Lane::Bulk, bytes })
    }

    /// A proposal that waits for this leader is taken in when there is room. Says whether there was one. [P-68]
    fn take_from_inbox(&mut self) -> bool {
        let is_idle = self.forwarding.is_empty() && self.inbox.is_empty();
        if is_idle || !self.may_sequence() {
            return false;
        }
        let own = self.forwarding.take_oldest(&mut self.taken);
        let from = if own.is_some() { None } else { self.inbox.take(&mut self.taken) };
        if own.is_none() && from.is_none() {
            return false;
        }
        let taken = core::mem::take(&mut self.taken);
        let forwarded =
            io_oi_record::message::Forwarded::decode(&taken).expect("entries were checked on arrival");
        let (session, proposal) = forwarded.iter().next().expect("one entry was taken");
        self.take_in(from, own.unwrap_or(0), session, &proposal);
        self.taken = taken;
        true
    }

    fn take_in(
        &mut self,
        from: Option<NodeId>,
        waiters: u32,
        session: SessionId,
        proposal: &io_oi_record::Proposal<'_>,
    ) {
        let decided = self.admit_to_order(session, proposal);
        match (decided, from) {
            (Ok(Standing::Fresh), _) => self.pending.fill_from(from, waiters, session, proposal),
            // Its node reads the answer from its own log.
            (Ok(_), Some(_)) => {}
            (Ok(Standing::Answered(answer)), None) => {
                for _ in 0..waiters {
                    self.answer_again(session, answer);
                }
            }
            (Ok(_), None) => unreachable!("a proposal with a place is fresh or answered"),
            (Err(code), None) => self.refuse_all(session, proposal.session_sequence, code, waiters),
            (Err(code), Some(from)) => self.decline(from, session, proposal.session_sequence, code),
        }
    }

    /// The commit point, once everything it covers was shown and answered here. [P-56]
    fn owe_commit(&mut self) -> bool {
        let is_handed = self.handing.is_some_and(|handing| handing.is_sent);
        let is_due = self.commit_due && self.role() == Role::Leading && !self.peers.is_empty() && !is_handed;
        if is_due {
            self.post_commit();
        }
        is_due
    }

    /// Signs the oldest unsigned header. Its block is on the way to the disk meanwhile. [P-40, P-41]
    fn sign_one(&mut self) -> bool {
        let Some((header, header_hash)) = self.sealer.pop_unsigned() else { return false };
        let signature = self.consensus.sign(&header, header_hash, &self.signer);
        let signature = signature.expect("a leader signs its own headers in order, in the epoch it claimed");
        let (epoch, last_sequence) = (header.epoch, header.last_sequence());
        self.sealer.push_ready(Seal { epoch, last_sequence, header_hash, signature });
        self.post_seal(&header, header_hash, signature);
        #[cfg(feature = "planted")]
        if planted!(self, TwoHeaders) {
            self.sign_another(&header);
        }
        self.own_signed_through = last_sequence;
        self.counters.signatures += 1;
        self.try_vote();
        true
    }

    /// A second history, as the planted liar signs it.
    #[cfg(feature = "planted")]
    fn sign_another(&mut self, header: &io_oi_record::BlockHeader) {
        let time = header.time.saturating_add(1);
        let statement = io_oi_record::BlockHeader { time, ..*header };
        let signature = self.signer.sign(&statement);
        let lie = io_oi_record::evidence::Signed { statement, signature };
        self.peers.post(To::All, Lane::Urgent, header.epoch, Message::Header(lie));
    }

    /// When to be woken: told once for each time, and again after each waking.
    fn next_wake(&mut self) -> Option<Step> {
        let at = {
            let seals = self.seals_wake_at();
            let votes = self.votes_wake_at();
            let others = self.timers_wake_at().into_iter().chain(self.voting.tell_at);
            seals.into_iter().chain(votes).chain(others).min()?
        };
        if self.timing.told_wake.is_some_and(|told| told <= at) {
            return None;
        }
        self.timing.told_wake = Some(at);
        Some(Step::Wake(at))
    }

    /// Seals that nobody waits for are appended after a while if no block takes them along.
    fn seals_wake_at(&mut self) -> Option<Nanos> {
        let is_idle = self.flights.filled().is_empty() && self.consensus.open_block_count() == 0;
        if !is_idle || !self.sealer.has_ready() {
            return None;
        }
        self.sealer.idle(self.now.mono)
    }

    /// A leader that has become quiet has its newest block voted for.
    fn votes_wake_at(&self) -> Option<Nanos> {
        let leads = self.role() == Role::Leading && self.phase == Phase::Running;
        let is_quiet = leads && self.consensus.open_block_count() == 0; // Else the next block is voted for.
        self.voting.wake_at().filter(|_| is_quiet)
    }

    fn timers_wake_at(&self) -> Option<Nanos> {
        if !self.has_timers() {
            return None;
        }
        match self.role() {
            Role::Leading => Some(match self.handing {
                Some(handing) if handing.is_sent => handing.until,
                Some(handing) => handing.until.min(self.timing.heartbeat_at),
                None => self.timing.heartbeat_at,
            }),
            Role::Following | Role::PreVoting | Role::Standing => Some(self.timing.election_at),
            Role::Idle | Role::Claiming | Role::Mute => None,
        }
    }

    /// A refusal without a place, for everybody who waits for it.
    pub(crate) fn refuse_all(
        &mut self,
        session: SessionId,
        session_sequence: io_oi_record::SessionSequence,
        code: io_oi_record::RefusalCode,
        waiters: u32,
    ) {
        let receipt = refusal(session_sequence, self.now.wall, code);
        for _ in 0..waiters {
            self.counters.refused += 1;
            self.answers.push_back((session, receipt));
        }
    }
}

fn append(place: Place, bytes: &[u8]) -> Effect<'_> {
    let Place { index, kind, epoch, sequence } = place;
    Effect::Append { index, kind, epoch, sequence, bytes }
}
