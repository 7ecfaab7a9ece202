//! Giving up a history that did not come to be committed.
//!
//! Invariant: what is committed is never given up. Records are taken back newest first, from the sessions and from the
//! hot tier, and whoever waits for the answer to one of them gets it later: its proposal is on its way again. [P-35, P-67]

use alloc::collections::VecDeque;

use io_oi_record::{Durability, Sequence};

use crate::event::PublishStage;
use crate::flight::Flight;
use crate::machine::Machine;
use crate::pending::State;

/// Blocks whose tentative records are being taken back, newest first.
pub(crate) struct Withdrawing {
    flights: VecDeque<Flight>,
    /// Records through here have been shown, the next one to withdraw first.
    shown_through: Sequence,
}

impl Withdrawing {
    pub(crate) fn new() -> Self {
        Self { flights: VecDeque::new(), shown_through: Sequence::NONE }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// The block that is being withdrawn.
    pub(crate) fn front(&self) -> &Flight {
        self.flights.front().expect("a record is withdrawn out of its block")
    }
}

impl Machine {
    /// Gives up everything behind `last`: a block's end on our chain, committed or later.
    pub(crate) fn rewind(&mut self, last: Sequence) {
        assert!(last >= self.consensus.committed(), "what is committed is never given up [P-35]");
        assert!(self.withdrawing.is_empty(), "one history is given up at a time");
        self.withdrawing.shown_through =
            if self.shown.is_showing() { self.shown.next } else { Sequence(self.shown.next.0 - 1) };
        while let Some(flight) = self.flights.pop_behind(last) {
            self.give_up(&flight);
            self.withdrawing.flights.push_back(flight);
        }
        self.consensus.rewind_to(last);
        let next = last.next();
        for cursor in [&mut self.shown, &mut self.replicated] {
            if cursor.next > last {
                cursor.skip_to(next);
            }
        }
        assert!(self.settled.next <= next, "what is given up was never shown as committed");
        self.checked = self.checked.min(last);
        self.following.rewind_to(last);
        self.sealer.rewind_to(last);
        self.governing.rewind_to(last);
        self.counters.rewinds += 1;
    }

    /// Takes the records of `flight` back, newest first.
    fn give_up(&mut self, flight: &Flight) {
        let mut sequence = Sequence(flight.next_sequence().0 - 1);
        while sequence >= flight.first_sequence {
            let undone = self.sessions.undo_last();
            assert_eq!(undone, sequence, "sessions and blocks hold the same records");
            let note = flight.note(sequence);
            if note.waiters > 0 && note.durability == Durability::Certified {
                self.certifying.give_up_one();
            }
            if !self.forwarding.displace(sequence) && note.waiters > 0 {
                self.forwarding.push_front(&flight.record(sequence), note.waiters, &mut self.scratch);
            }
            sequence = Sequence(sequence.0 - 1);
        }
    }

    /// What stands between arrival and place goes the way of everything else that this node cannot sequence any more.
    pub(crate) fn give_up_pending(&mut self) {
        if self.pending.state == State::Empty {
            return;
        }
        self.pending.state = State::Empty;
        if self.pending.from.is_none() {
            let (session, waiters) = (self.pending.session, self.pending.waiters);
            self.forwarding.push(session, &self.pending.proposal(), waiters, &mut self.scratch);
        }
    }

    /// The next record to withdraw from sight. [P-67]
    pub(crate) fn next_withdrawn(&mut self) -> Option<(PublishStage, Sequence)> {
        loop {
            let flight = self.withdrawing.flights.front()?;
            let newest = Sequence(flight.next_sequence().0 - 1).min(self.withdrawing.shown_through);
            if newest < flight.first_sequence {
                let done = self.withdrawing.flights.pop_front()?;
                self.flights.recycle(done);
                continue;
            }
            self.withdrawing.shown_through = Sequence(newest.0 - 1);
            if flight.note(newest).is_shown {
                return Some((PublishStage::Withdrawn, newest));
            }
        }
    }
}
