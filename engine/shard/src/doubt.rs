//! A leader's verdict that judging again contradicts: what this node does about it.
//!
//! Invariant: nobody is charged on an unsigned header. Until the leader's signature over the block is here, this node
//! acknowledges and votes for nothing from that block on; if it does not come, it follows that leader no longer.
//! [P-36] [P-103]

use alloc::vec::Vec;

use io_oi_record::evidence::Signed;
use io_oi_record::message::{Message, WantHeader};
use io_oi_record::{Block, BlockHeader, Hash, Nanos, NodeId, Sequence};

use crate::event::Lane;
use crate::machine::Machine;
use crate::peers::To;

/// A charge that waits for the leader's signature.
pub(crate) struct Doubt {
    header: BlockHeader,
    hash: Hash,
    record: Vec<u8>,
    path: Vec<Hash>,
    since: Nanos,
}

impl Machine {
    /// The verdict of the followed record at `sequence` is not what this node's own judge says.
    pub(crate) fn doubt_verdict(&mut self, sequence: Sequence) {
        self.counters.verdicts_contradicted += 1;
        let flight = self.flights.holding(sequence).expect("a record that is judged again is unfinished");
        let closed = flight.closed.expect("a leader's block has its header");
        let roster = self.governing.rules.effective();
        if self.voting.watch.check_accused(closed.header.leader, roster).is_err() {
            return;
        }
        let block = Block::decode(flight.bytes()).expect("the block was checked when it came");
        let index = (sequence.0 - closed.header.first_sequence.0) as u32;
        let record =
            block.records().encoded().nth(index as usize).expect("the block holds the record").to_vec();
        let path = block.path(index).expect("the block holds the record").siblings().to_vec();
        let doubt = Doubt { header: closed.header, hash: closed.hash, record, path, since: self.now.mono };
        match closed.signature {
            Some(signature) => self.charge(doubt, Signed { statement: closed.header, signature }),
            None if self.voting.doubt.is_none() => {
                self.voting.doubt = Some(doubt);
                let (epoch, question) = (self.epoch(), WantHeader { epoch: closed.header.epoch, sequence });
                self.peers.post(To::All, Lane::Urgent, epoch, Message::WantHeader(question));
            }
            None => {} // One charge is enough.
        }
    }

    /// A header whose signature was checked: perhaps the one that a charge waits for.
    pub(crate) fn settle_doubt(&mut self, header: &Signed<BlockHeader>) {
        let is_it = |doubt: &mut Doubt| doubt.hash == header.statement.hash();
        if let Some(doubt) = self.voting.doubt.take_if(is_it) {
            self.charge(doubt, *header);
        }
    }

    /// Whether a charge waits for the signature over this header.
    pub(crate) fn is_in_doubt(&self, hash: Hash) -> bool {
        self.voting.doubt.as_ref().is_some_and(|doubt| doubt.hash == hash)
    }

    /// Through where the leader's chain is acknowledged: not beyond a verdict in doubt, while the one who gave it leads.
    pub(crate) fn trusted_through(&self) -> Sequence {
        let leader = self.consensus.leader();
        let doubt = self.voting.doubt.as_ref().filter(|doubt| Some(doubt.header.leader) == leader);
        doubt.map_or(Sequence(u64::MAX), |doubt| Sequence(doubt.header.first_sequence.0 - 1))
    }

    /// Whether a leader has had its time to sign what is in doubt.
    pub(crate) fn gives_up_on(&self, leader: NodeId) -> bool {
        let is_late = |doubt: &Doubt| self.now.mono.since(doubt.since) > self.timers.election_ns_min;
        self.voting.doubt.as_ref().is_some_and(|doubt| doubt.header.leader == leader && is_late(doubt))
    }

    fn charge(&mut self, doubt: Doubt, header: Signed<BlockHeader>) {
        let evidence = self.voting.watch.charge_verdict(header, doubt.record, doubt.path);
        self.accuse(evidence);
    }
}
