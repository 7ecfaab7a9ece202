//! What the machine owes the world, one effect at a time.
//!
//! Invariant: the order is fixed: answer what waits for nobody, judge, show, append, then what a flush made final, then
//! sign; so that a flush is under way while the machine shows and signs.

use io_oi_consensus::Seal;
use io_oi_record::limits::BLOCK_RECORDS_MAX;
use io_oi_record::{Durability, Epoch, HeaderParts, Nanos, Sequence, Verdict};

use crate::appends::Entry;
use crate::event::{AppendIndex, Effect, JudgeOrigin, LogKind, PublishStage};
use crate::machine::{Machine, Phase};
use crate::pending::State;
use crate::reply::Met;
use crate::session::Answer;

/// An effect that borrows nothing yet; small, because it is copied on the fast path.
enum Step {
    Judge,
    AppendNote(Place),
    AppendBlock(Place),
    Publish(PublishStage, Sequence),
    Answer(Sequence),
    Reply,
    Wake(Nanos),
}

/// Where an append stands.
struct Place {
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

    fn effect(&self, step: Step) -> Effect<'_> {
        match step {
            Step::Judge => {
                let (session, proposal) = (self.pending.session, self.pending.proposal());
                let (epoch, time) = (self.flights.filled().epoch, self.flights.filled().time);
                let sequence = self.next_sequence();
                Effect::Judge { sequence, epoch, time, session, proposal, origin: JudgeOrigin::Local }
            }
            Step::AppendNote(place) => append(place, &self.note_bytes),
            Step::AppendBlock(place) => append(place, self.flights.newest().bytes()),
            Step::Publish(stage, sequence) => {
                let flight = self.flights.holding(sequence).expect("a record is shown before it lands");
                let record = flight.record(sequence);
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
            Step::Wake(at) => Effect::Wake { at },
        }
    }

    fn next_step(&mut self) -> Option<Step> {
        if self.answer.is_some() {
            self.reply = self.answer.take();
            return Some(Step::Reply);
        }
        if self.phase == Phase::Recovering {
            return self.next_settled();
        }
        loop {
            let step = self.next_pending().or_else(|| self.next_shown()).or_else(|| self.next_append());
            let step = step.or_else(|| self.next_settled()).or_else(|| self.next_certified());
            if step.is_some() {
                return step;
            }
            if !self.sign_one() {
                return self.next_wake();
            }
        }
    }

    /// The proposal that arrived: into the filling block, or behind it when it does not fit any more.
    fn next_pending(&mut self) -> Option<Step> {
        if self.pending.state == State::Empty {
            return None;
        }
        assert_eq!(self.pending.state, State::Arrived, "answer the judge effect before the next poll");
        if !self.flights.filled().has_room_for(self.pending.record_bytes()) {
            return self.next_block();
        }
        self.open_block();
        if self.pending.operation().has_key() {
            self.pending.state = State::Asked;
            return Some(Step::Judge);
        }
        self.sequence_pending(Verdict::Accept);
        None
    }

    /// Records that are held: shown as tentative, then answered where that is enough.
    fn next_shown(&mut self) -> Option<Step> {
        let local = self.consensus.point(Durability::Local);
        while let Some(met) = self.shown.walk(&self.flights, local) {
            match met {
                Met::Show(sequence) => return Some(Step::Publish(PublishStage::Tentative, sequence)),
                Met::Answer(sequence) => return Some(Step::Answer(sequence)),
                Met::Passed(_) => {}
            }
        }
        let mem_quorum = self.consensus.point(Durability::MemQuorum);
        while let Some(met) = self.replicated.walk(&self.flights, mem_quorum) {
            if let Met::Answer(sequence) = met {
                return Some(Step::Answer(sequence));
            }
        }
        None
    }

    /// Entries for the log: the claim, a block when one is due, seals that cannot wait.
    fn next_append(&mut self) -> Option<Step> {
        if self.claim_is_due {
            self.claim_is_due = false;
            let index = self.appends.add(Entry::Claim);
            let (epoch, sequence) = (self.consensus.epoch(), self.consensus.tip().sequence);
            return Some(Step::AppendNote(Place { index, kind: LogKind::Claim, epoch, sequence }));
        }
        if self.block_is_due() {
            return self.next_block();
        }
        let seals_are_due =
            self.certifying.is_urgent() || self.sealer.is_due() || self.phase == Phase::Closing;
        if seals_are_due { self.next_seal() } else { None }
    }

    /// Natural batching: a block goes when no other is under way, or when it is full.
    fn block_is_due(&self) -> bool {
        let filled = self.flights.filled();
        let is_full = filled.record_count() == BLOCK_RECORDS_MAX;
        !filled.is_empty() && self.may_launch() && (self.consensus.open_block_count() == 0 || is_full)
    }

    /// The filling block is sealed and appended; finished seals of earlier blocks go in front of it. [P-42]
    fn next_block(&mut self) -> Option<Step> {
        if let Some(step) = self.next_seal() {
            return Some(step);
        }
        assert!(self.may_launch(), "a block is sealed only while the pipeline has room");
        let parts = self.header_parts();
        let header = self.flights.filling().seal(parts);
        let header_hash = self.consensus.handle_appended(&header);
        self.sealer.push_unsigned(header, header_hash);
        self.flights.launch();
        self.counters.blocks += 1;
        let sequence = header.last_sequence();
        let index = self.appends.add(Entry::Block(sequence));
        Some(Step::AppendBlock(Place { index, kind: LogKind::Block, epoch: header.epoch, sequence }))
    }

    fn header_parts(&self) -> HeaderParts {
        let (group, filled) = (self.consensus.group(), self.flights.filled());
        HeaderParts {
            cluster: group.cluster,
            shard: group.shard,
            epoch: filled.epoch,
            parent: self.consensus.tip().hash,
            arbitrators: self.arbitrators,
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
        let index = self.appends.add(Entry::Seal(sequence));
        Some(Step::AppendNote(Place { index, kind: LogKind::Seal, epoch, sequence }))
    }

    /// Records that are committed: shown as such, then answered; their block's memory is free after the last.
    fn next_settled(&mut self) -> Option<Step> {
        let committed = self.consensus.committed();
        while let Some(met) = self.settled.walk(&self.flights, committed) {
            match met {
                Met::Show(sequence) => return Some(Step::Publish(PublishStage::Committed, sequence)),
                Met::Answer(sequence) => return Some(Step::Answer(sequence)),
                Met::Passed(sequence) => self.await_certificate(sequence),
            }
        }
        self.flights.land_before(self.settled.next);
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

    /// Signs the oldest unsigned header. Its block is on the way to the disk meanwhile. [P-40, P-41]
    fn sign_one(&mut self) -> bool {
        let Some((header, header_hash)) = self.sealer.pop_unsigned() else { return false };
        let signature = self.consensus.sign(&header, header_hash, &self.signer);
        let signature = signature.expect("a leader signs its own headers in order, in the epoch it claimed");
        let (epoch, last_sequence) = (header.epoch, header.last_sequence());
        self.sealer.push_ready(Seal { epoch, last_sequence, header_hash, signature });
        self.counters.signatures += 1;
        true
    }

    /// Seals that nobody waits for are appended after a while if no block takes them along.
    fn next_wake(&mut self) -> Option<Step> {
        let is_idle = self.flights.filled().is_empty() && self.consensus.open_block_count() == 0;
        if !is_idle || !self.sealer.has_ready() {
            return None;
        }
        self.sealer.idle(self.now.mono).map(Step::Wake)
    }
}

fn append(place: Place, bytes: &[u8]) -> Effect<'_> {
    let Place { index, kind, epoch, sequence } = place;
    Effect::Append { index, kind, epoch, sequence, bytes }
}
