//! What a leader has signed is shown from follower to follower: two histories meet at the next message.
//!
//! Invariant: a header is passed on only after its signature was checked here, the newest one, to nobody who has shown the
//! same one, and once; no acknowledgement waits for that, and whoever shows false signatures is not listened to. [P-108]

use io_oi_record::evidence::Signed;
use io_oi_record::message::Message;
use io_oi_record::{BlockHeader, Hash, NodeId};

use crate::event::Lane;
use crate::follower::Sealing;
use crate::machine::Machine;
use crate::poll::Step;
use crate::status::PastLost;

/// So many headers under false signatures are looked at, of each member.
const FALSE_HEADERS_MAX: u32 = 16;

/// The header that is being passed on.
pub(crate) struct Passing {
    header: Option<Signed<BlockHeader>>,
    hash: Hash,
    /// How many peers it has been offered to.
    offered: usize,
}

impl Passing {
    pub(crate) fn new() -> Self {
        Self { header: None, hash: Hash::ZERO, offered: 0 }
    }
}

impl Machine {
    /// A leader's signature was checked here for the first time: the other followers are shown it. [P-108]
    pub(crate) fn pass_on(&mut self, header: &Signed<BlockHeader>, hash: Hash) {
        let leader = header.statement.leader;
        if self.peers.all.len() > 1 && leader != self.own_node() && self.consensus.leader() == Some(leader) {
            self.passing = Passing { header: Some(*header), hash, offered: 0 };
        }
    }

    pub(crate) fn next_passed_on(&mut self) -> Option<Step> {
        if planted!(self, KeepsHeaders) {
            return None;
        }
        let header = self.passing.header?;
        while let Some(peer) = self.peers.all.get(self.passing.offered) {
            self.passing.offered += 1;
            if peer.node != header.statement.leader && peer.shown != self.passing.hash {
                let to = peer.node;
                let bytes = self.write(header.statement.epoch, &Message::Header(header));
                return Some(Step::Send { to, lane: Lane::Urgent, bytes });
            }
        }
        self.passing.header = None;
        None
    }

    /// A signed header that somebody showed us. [P-102, P-106, P-108]
    pub(crate) fn handle_header(&mut self, from: NodeId, header: &Signed<BlockHeader>) {
        let hash = header.statement.hash();
        let Some(peer) = self.peers.find(from) else { return };
        peer.shown = hash;
        if peer.false_headers >= FALSE_HEADERS_MAX {
            return;
        }
        let is_false = match self.check_seal(hash, &header.signature) {
            Sealing::Sealed => false,
            Sealing::False => true,
            Sealing::Absent => self.is_news(from, header, hash) && self.weigh_header(header, hash).is_err(),
        };
        if let Some(peer) = self.peers.find(from).filter(|_| is_false) {
            peer.false_headers += 1;
        }
    }

    /// Whether a header that belongs to no block in memory is worth its signature's check: comparing comes first.
    fn is_news(&self, from: NodeId, header: &Signed<BlockHeader>, hash: Hash) -> bool {
        let statement = &header.statement;
        if statement.leader == self.own_node() {
            return !self.consensus.has_claimed(statement.epoch) && self.mute().is_none();
        }
        if self.is_in_doubt(hash) {
            return true;
        }
        if self.voting.watch.remembers_header(statement) {
            return false; // Looked at and passed on before: else members would show it to each other for ever.
        }
        if from == statement.leader || self.voting.watch.contradicts_header(statement) {
            return true;
        }
        // What is not here yet is compared when it comes; what is forgotten was compared while it was remembered.
        let (chain, tip) = (self.consensus.chain(), self.consensus.tip().sequence);
        let is_remembered = chain.holding(statement.last_sequence().min(tip)).is_some();
        statement.first_sequence <= tip && is_remembered && chain.find(hash).is_none()
    }

    /// A header that is none of our chain's. Says whether its signature is its leader's. [P-102, P-44]
    fn weigh_header(&mut self, header: &Signed<BlockHeader>, hash: Hash) -> Result<(), SignatureFalse> {
        let statement = &header.statement;
        if self.governing.roster().member(statement.leader).is_none() {
            self.counters.messages_refused += 1;
            return Ok(());
        }
        if header.verify().is_err() {
            self.counters.messages_refused += 1;
            return Err(SignatureFalse);
        }
        if statement.leader == self.own_node() {
            self.lose_past(PastLost::Claim { epoch: statement.epoch });
        } else {
            self.pass_on(header, hash);
            self.see_header(header);
        }
        Ok(())
    }
}

/// The signature under a header is not its leader's.
struct SignatureFalse;
