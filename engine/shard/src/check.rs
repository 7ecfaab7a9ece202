//! A leader's verdicts, judged again.
//!
//! Invariant: a record of a leader is shown only after this node has judged it itself, as far as its configuration asks
//! for that. [P-36]

use io_oi_record::{Effects, Epoch, Sequence, Verdict};

use crate::config::Verify;
use crate::hearing::seed_of;
use crate::machine::Machine;
use crate::operators::{put_to_judge, verdict_of_record};
use crate::status::{Admission, Notice};

impl Machine {
    /// The next record that is to be judged again, once everything before it is shown: a verdict may depend on it. A record
    /// whose judge is still being admitted waits, and everything behind it.
    pub(crate) fn next_to_check(&mut self, local: Sequence) -> Option<Sequence> {
        while self.checked < local {
            let sequence = self.checked.next();
            let flight = self.flights.holding(sequence).expect("what is held is unfinished");
            let proposal = flight.record(sequence).proposal();
            if flight.is_followed
                && let Some((write, _)) = put_to_judge(&proposal)
            {
                match self.can_judge(sequence, write.key) {
                    Admission::Pending => return None,
                    Admission::Refused => self.withhold(sequence),
                    Admission::Admitted if self.is_verified(flight.epoch, sequence) => {
                        if self.shown.next < sequence {
                            return None;
                        }
                        self.checking = Some(sequence);
                        return Some(sequence);
                    }
                    Admission::Admitted => {}
                }
            }
            self.checked = sequence;
        }
        None
    }

    fn is_verified(&self, epoch: Epoch, sequence: Sequence) -> bool {
        match self.verify {
            Verify::All => true,
            Verify::Sampled(one_in) => self.seed(epoch, sequence).is_multiple_of(one_in.max(1).into()),
            Verify::Off => false,
        }
    }

    /// What the log makes of a record's place.
    pub(crate) fn seed(&self, epoch: Epoch, sequence: Sequence) -> u64 {
        let group = self.consensus.group();
        seed_of(group.cluster, group.shard, epoch, sequence)
    }

    /// The same for whoever judges it; 0 in a shard where nobody was ever seated, and so nobody is told.
    pub(crate) fn seed_for_judge(&self, epoch: Epoch, sequence: Sequence) -> u64 {
        if self.governing.rules.choices().is_empty() { 0 } else { self.seed(epoch, sequence) }
    }

    /// Whether the next record to check waits for its judge.
    pub(crate) fn awaits_admission(&self) -> bool {
        let sequence = self.checked.next();
        let flight = self.flights.holding(sequence).expect("what is held is unfinished");
        let write = put_to_judge(&flight.record(sequence).proposal());
        write.is_some_and(|(write, _)| self.can_judge(sequence, write.key) == Admission::Pending)
    }

    /// A leader's record that this node has no means to judge: held and acknowledged, since that is about bytes, and not
    /// shown, since that would vouch for the verdict. [P-97]
    fn withhold(&mut self, sequence: Sequence) {
        let flight = self.flights.holding_mut(sequence).expect("what is held is unfinished");
        flight.note_mut(sequence).is_shown = false;
        self.counters.records_withheld += 1;
        if core::mem::replace(&mut self.withholds, true) {
            return;
        }
        let flight = self.flights.holding(sequence).expect("it was found just now");
        let write = put_to_judge(&flight.record(sequence).proposal());
        let judge = write.and_then(|(write, _)| self.seating(sequence).of(write.key).judge);
        if let Some(component) = judge.map(|judge| judge.component) {
            self.notices.push(Notice::CannotJudge { component, sequence });
        }
    }

    /// What this node's own judge says about a record of the leader.
    pub(crate) fn handle_judged_again(&mut self, sequence: Sequence, verdict: Verdict, effects: Effects<'_>) {
        self.checking = None;
        let flight = self.flights.holding(sequence).expect("a record that is judged again is unfinished");
        let record = flight.record(sequence);
        let mut written = core::mem::take(&mut self.operators_effects);
        let (verdict, effects) = match record.proposal().operators_write() {
            Some(write) => verdict_of_record(&write, verdict, effects, &mut written),
            None => (verdict, effects),
        };
        let is_same = record.verdict == verdict && record.effects == effects;
        self.operators_effects = written;
        self.checked = sequence;
        if !is_same {
            self.doubt_verdict(sequence);
        }
    }
}
