//! Which events wait for which receipts.
//!
//! Invariants: an event is done when every one of its proposals has its receipt; every receipt must say accepted and
//! committed at disk-quorum, and no sequence of a shard may be handed out twice.

use std::collections::VecDeque;
use std::time::Instant;

use io_oi_client::Ticket;
use io_oi_record::{Durability, Outcome, Receipt, SessionSequence, Stage};

use crate::clock;
use crate::failure::Failure;
use crate::recorder::Recorder;

/// Events and proposals without their receipts.
pub(crate) struct Flights {
    shards: Vec<Shard>,
    events: VecDeque<Flight>,
    open: usize,
    receipts: u64,
}

/// One shard's side of it.
#[derive(Default)]
struct Shard {
    /// Session sequence and event number, ascending in both.
    open: VecDeque<(SessionSequence, u64)>,
    first_sequence: u64,
    last_sequence: u64,
    first_epoch: u64,
    last_epoch: u64,
    receipts: u64,
}

struct Flight {
    event: u64,
    issued: Instant,
    open_steps: u32,
    /// All its proposals are in the ring.
    whole: bool,
}

impl Flights {
    /// Nothing in flight on this many shards.
    pub(crate) fn new(shards: u16) -> Self {
        let shards = (0..shards).map(|_| Shard::default()).collect();
        Self { shards, events: VecDeque::new(), open: 0, receipts: 0 }
    }

    /// Proposals without a receipt.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Receipts that came.
    pub(crate) fn receipts(&self) -> u64 {
        self.receipts
    }

    /// An event is about to be proposed; its latency counts from `issued`.
    pub(crate) fn begin(&mut self, event: u64, issued: Instant) {
        self.events.push_back(Flight { event, issued, open_steps: 0, whole: false });
    }

    /// One proposal of the event begun last is in the ring.
    pub(crate) fn pushed(&mut self, ticket: Ticket) {
        let flight = self.events.back_mut().expect("an event was begun");
        flight.open_steps += 1;
        self.shards[ticket.shard.index()].open.push_back((ticket.session_sequence, flight.event));
        self.open += 1;
    }

    /// All proposals of the event begun last are in the ring, or were there already.
    pub(crate) fn whole(&mut self, now: Instant, recorder: &mut Recorder) {
        let flight = self.events.back_mut().expect("an event was begun");
        flight.whole = true;
        self.retire(now, recorder);
    }

    /// A receipt came.
    pub(crate) fn settle(
        &mut self,
        ticket: Ticket,
        receipt: &Receipt,
        now: Instant,
        recorder: &mut Recorder,
    ) -> Result<(), Failure> {
        let shard = &mut self.shards[ticket.shard.index()];
        let place = shard.open.binary_search_by_key(&ticket.session_sequence, |open| open.0);
        let Some((_, event)) = place.ok().and_then(|place| shard.open.remove(place)) else {
            return Err(Failure::Refused(format!(
                "a receipt for {ticket}, which waits for none; report this"
            )));
        };
        check(event, receipt)?;
        shard.count(event, receipt.sequence.0, receipt.epoch.0)?;
        self.open -= 1;
        self.receipts += 1;
        let place = self.events.binary_search_by_key(&event, |flight| flight.event);
        let flight = &mut self.events[place.expect("an open proposal belongs to an open event")];
        flight.open_steps -= 1;
        self.retire(now, recorder);
        Ok(())
    }

    /// Sequences between a shard's first and last receipt that were not ours, over all shards: records of others.
    pub(crate) fn foreign_records(&self) -> u64 {
        let span = |shard: &Shard| match shard.receipts {
            0 => 0,
            receipts => shard.last_sequence - shard.first_sequence + 1 - receipts,
        };
        self.shards.iter().map(span).sum()
    }

    /// How many epochs began between a shard's first and last receipt, over all shards.
    pub(crate) fn epochs(&self) -> u64 {
        self.shards.iter().map(|shard| shard.last_epoch.saturating_sub(shard.first_epoch)).sum()
    }

    fn retire(&mut self, now: Instant, recorder: &mut Recorder) {
        while self.events.front().is_some_and(|flight| flight.whole && flight.open_steps == 0) {
            let flight = self.events.pop_front().expect("it was there");
            recorder.record_ns(now, clock::ns_between(flight.issued, now));
        }
    }
}

impl Shard {
    fn count(&mut self, event: u64, sequence: u64, epoch: u64) -> Result<(), Failure> {
        if self.receipts > 0 && sequence <= self.last_sequence {
            return Err(Failure::Refused(format!(
                "event {event} got sequence {sequence} after {}: a proposal was applied twice or out of order",
                self.last_sequence
            )));
        }
        if self.receipts == 0 {
            self.first_sequence = sequence;
            self.first_epoch = epoch;
        }
        self.last_sequence = sequence;
        self.last_epoch = epoch;
        self.receipts += 1;
        Ok(())
    }
}

fn check(event: u64, receipt: &Receipt) -> Result<(), Failure> {
    if let Outcome::Refused(code) = receipt.outcome {
        return Err(Failure::Refused(format!(
            "event {event} was refused ({}): {}",
            code.name(),
            code.text()
        )));
    }
    if receipt.durability < Durability::DiskQuorum || receipt.stage < Stage::Committed {
        return Err(Failure::Refused(format!(
            "event {event} was answered at {} / {}, not committed at disk-quorum",
            receipt.durability, receipt.stage
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use io_oi_record::{Epoch, Nanos, RefusalCode, Sequence, ShardId};

    use super::*;

    fn ticket(session_sequence: u64) -> Ticket {
        Ticket { shard: ShardId(0), session_sequence: SessionSequence(session_sequence) }
    }

    fn receipt(session_sequence: u64, sequence: u64) -> Receipt {
        Receipt {
            session_sequence: SessionSequence(session_sequence),
            sequence: Sequence(sequence),
            epoch: Epoch(1),
            time: Nanos(1),
            stage: Stage::Committed,
            durability: Durability::DiskQuorum,
            outcome: Outcome::Accepted,
        }
    }

    fn two_events() -> (Flights, Recorder) {
        let (mut flights, mut recorder) = (Flights::new(1), Recorder::of_ns());
        let now = Instant::now();
        for event in [1, 2] {
            flights.begin(event, now);
            flights.pushed(ticket(event * 2 - 1));
            flights.pushed(ticket(event * 2));
            flights.whole(now, &mut recorder);
        }
        (flights, recorder)
    }

    #[test]
    fn an_event_is_done_with_its_last_receipt() {
        let (mut flights, mut recorder) = two_events();
        let now = Instant::now();
        for step in 1..=3 {
            flights
                .settle(ticket(step), &receipt(step, step + 10), now, &mut recorder)
                .expect("a good receipt");
        }
        assert_eq!((recorder.count(), flights.open()), (1, 1));
        flights.settle(ticket(4), &receipt(4, 14), now, &mut recorder).expect("a good receipt");
        assert_eq!((recorder.count(), flights.open(), flights.foreign_records()), (2, 0, 0));
    }

    #[test]
    fn a_refusal_a_weak_receipt_and_a_repeated_sequence_are_errors() {
        let now = Instant::now();
        let refused = Receipt { outcome: Outcome::Refused(RefusalCode::DiskFull), ..receipt(1, 1) };
        let weak = Receipt { durability: Durability::Local, ..receipt(1, 1) };
        for bad in [refused, weak] {
            let (mut flights, mut recorder) = two_events();
            assert!(flights.settle(ticket(1), &bad, now, &mut recorder).is_err());
        }
        let (mut flights, mut recorder) = two_events();
        flights.settle(ticket(1), &receipt(1, 5), now, &mut recorder).expect("a good receipt");
        assert!(flights.settle(ticket(2), &receipt(2, 5), now, &mut recorder).is_err());
        assert!(flights.settle(ticket(1), &receipt(1, 6), now, &mut recorder).is_err(), "answered twice");
    }

    #[test]
    fn records_of_others_between_ours_are_counted() {
        let (mut flights, mut recorder) = two_events();
        let now = Instant::now();
        for (step, sequence) in [(1, 10), (2, 11), (3, 14), (4, 15)] {
            flights
                .settle(ticket(step), &receipt(step, sequence), now, &mut recorder)
                .expect("a good receipt");
        }
        assert_eq!(flights.foreign_records(), 2);
    }
}
