//! A leader's verdicts, judged again.
//!
//! Invariant: a record of a leader is shown only after this node has judged it itself, as far as its configuration asks
//! for that. [P-36]

use io_oi_record::{Effects, Operation, Sequence, Verdict};

use crate::config::Verify;
use crate::machine::Machine;

impl Machine {
    /// The next record that is to be judged again, once everything before it is shown: a verdict may depend on it.
    pub(crate) fn next_to_check(&mut self, local: Sequence) -> Option<Sequence> {
        while self.checked < local {
            let sequence = self.checked.next();
            let flight = self.flights.holding(sequence).expect("what is held is unfinished");
            let has_key = matches!(flight.record(sequence).operation, Operation::Put | Operation::Delete);
            if flight.is_followed && has_key && self.is_verified(sequence) {
                if self.shown.next < sequence {
                    return None;
                }
                self.checking = Some(sequence);
                return Some(sequence);
            }
            self.checked = sequence;
        }
        None
    }

    fn is_verified(&self, sequence: Sequence) -> bool {
        match self.verify {
            Verify::All => true,
            Verify::Sampled(one_in) => sequence.0.is_multiple_of(u64::from(one_in.max(1))),
            Verify::Off => false,
        }
    }

    /// What this node's own judge says about a record of the leader.
    pub(crate) fn handle_judged_again(&mut self, sequence: Sequence, verdict: Verdict, effects: Effects<'_>) {
        self.checking = None;
        let flight = self.flights.holding(sequence).expect("a record that is judged again is unfinished");
        let is_same = flight.note(sequence).verdict == verdict && flight.record(sequence).effects == effects;
        self.checked = sequence;
        if !is_same {
            self.doubt_verdict(sequence);
        }
    }
}
