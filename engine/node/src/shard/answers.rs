//! What a shard answers when somebody asks about it, and what it does for those who ask without a lane.
//!
//! Invariant: a question costs the shard a look; what takes longer is the clerk's or housekeeping's work.

use std::collections::VecDeque;

use io_oi_record::attach::AttachRefusal;
use io_oi_record::evidence::SignedEvidence;
use io_oi_record::{
    Durability, NodeId, Now, Operation, Precondition, Proposal, Receipt, Sequence, SessionId,
    SessionSequence, Shipment,
};
use io_oi_shard::{Event, Origin, PeerStatus, Status};
use serde_json::Value;

use super::Shard;
use super::clerk::Proving;
use super::peers::Peers;
use crate::mail::{ClientId, Notice};

/// What housekeeping asks a shard.
#[derive(Debug)]
pub(crate) enum Question {
    /// How it is.
    State,
    /// The evidence that it holds.
    Evidence,
    /// Its arbitrators.
    Arbitrators,
    /// The proof of the record at this sequence.
    Prove(Sequence),
    /// An operator's change: an encoded signed governance record, with what travels with it.
    Govern(Vec<u8>),
}

/// What the shard says.
#[derive(Debug)]
pub(crate) enum Answered {
    /// To [`Question::State`].
    State(Box<ShardState>),
    /// To [`Question::Evidence`]: each with whether an operator has made the bar final.
    Evidence(Vec<(SignedEvidence, bool)>),
    /// To [`Question::Arbitrators`].
    Arbitrators(Value),
    /// To the others: the answer itself.
    Bytes(Vec<u8>),
    /// It cannot be answered, or not now.
    Refused(AttachRefusal),
}

/// How a shard is.
#[derive(Debug)]
pub(crate) struct ShardState {
    pub(crate) status: Status,
    /// Who may stand, where only the appointed may.
    pub(crate) appointed: Option<NodeId>,
    /// How long the lease still holds.
    pub(crate) lease_ns: u64,
    pub(crate) members: Vec<MemberState>,
}

/// How a member looks from this shard.
#[derive(Debug)]
pub(crate) struct MemberState {
    pub(crate) peer: PeerStatus,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) is_barred: bool,
    pub(crate) is_connected: bool,
    pub(crate) round_trip_ns: Option<u64>,
}

/// Operators' changes on their way through the order.
#[derive(Debug, Default)]
pub(super) struct Governing {
    /// Until the machine takes proposals.
    waiting: VecDeque<(ClientId, SessionSequence, Vec<u8>)>,
    submitted: VecDeque<(ClientId, SessionSequence)>,
}

impl Governing {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The answer for whoever submitted the change that this receipt is about, if anybody still waits for it.
    pub(super) fn notice(&mut self, receipt: &Receipt) -> Option<Notice> {
        let is_it = |(_, number): &(ClientId, SessionSequence)| *number == receipt.session_sequence;
        let place = self.submitted.iter().position(is_it)?;
        let (client, _) = self.submitted.remove(place)?;
        Some(Notice::Answered { client, answered: Answered::Bytes(receipt.encode().to_vec()) })
    }
}

impl Shard {
    #[cold]
    pub(super) fn answer(&mut self, client: ClientId, question: Question, now: Now) {
        let answered = match question {
            Question::State => Some(Answered::State(Box::new(self.state(now)))),
            Question::Evidence => Some(Answered::Evidence(self.evidence())),
            Question::Prove(sequence) => self.prove(client, sequence),
            Question::Arbitrators => Some(Answered::Arbitrators(self.arbitrators())),
            Question::Govern(value) => match Shipment::decode(&value) {
                Ok(shipment) if self.world.governing.waiting.len() < GOVERNING_MAX => {
                    let number = SessionSequence(shipment.signed.governance.number);
                    self.world.governing.waiting.push_back((client, number, value));
                    None
                }
                Ok(_) => Some(Answered::Refused(AttachRefusal::ResourcesExhausted)),
                Err(_) => Some(Answered::Refused(AttachRefusal::Malformed)),
            },
        };
        if let Some(answered) = answered {
            self.world.notices.send(Notice::Answered { client, answered });
        }
    }

    fn state(&self, now: Now) -> ShardState {
        let status = self.machine.status();
        let peers = self.world.peers.as_ref();
        let members = self.machine.members().filter_map(|(member, _)| {
            let peer = *status.peers.iter().find(|peer| peer.node == member.node)?;
            Some(MemberState {
                peer,
                name: member.name.clone(),
                address: member.address.clone(),
                is_barred: self.machine.is_barred(member.node),
                is_connected: peers.is_some_and(|peers| peers.is_connected(member.node)),
                round_trip_ns: peers.and_then(|peers: &Peers| peers.round_trip_ns(member.node)),
            })
        });
        let members = members.collect();
        let lease_ns = self.machine.lease_until().since(now.mono);
        let appointed = Some(self.machine.roster().appointed(self.world.shard).node);
        ShardState { appointed, lease_ns, members, status }
    }

    fn evidence(&self) -> Vec<(SignedEvidence, bool)> {
        let bars = self.machine.roster().bars();
        let is_final = |hash| bars.iter().any(|bar| bar.evidence == hash);
        let with_end = |signed: &SignedEvidence| (signed.clone(), is_final(signed.evidence.hash()));
        self.machine.evidence().map(with_end).collect()
    }

    /// The proof is built by the clerk: block, path, headers and certificate are read back from the log.
    fn prove(&mut self, client: ClientId, sequence: Sequence) -> Option<Answered> {
        if sequence > self.machine.committed() {
            return Some(Answered::Refused(AttachRefusal::NotProvable));
        }
        let Some(place) = self.world.locate(sequence) else {
            return Some(Answered::Refused(AttachRefusal::NotFound));
        };
        let governance = self.machine.governance_records().cloned().collect();
        self.world.clerk.prove(Proving { client, sequence, place, governance });
        None
    }

    /// Submits an operator's change under the node's own session: its number makes it a retry when it comes twice.
    #[cold]
    pub(super) fn submit_governance(&mut self, now: Now) -> bool {
        if !self.machine.is_ready() {
            return false;
        }
        let Some((client, number, value)) = self.world.governing.waiting.pop_front() else { return false };
        let proposal = Proposal {
            session_sequence: number,
            operation: Operation::Govern,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key: &[],
            value: &value,
        };
        self.world.governing.submitted.push_back((client, number));
        if self.world.governing.submitted.len() > GOVERNING_MAX {
            self.world.governing.submitted.pop_front(); // It has been told `undecided` long ago.
        }
        let session = SessionId::of_node(self.node.tag(), self.boot);
        self.machine.handle(now, Event::Submitted { origin: Origin::Node, session, proposal });
        self.world.drain(&mut self.machine, now);
        true
    }
}

/// Operators are few; whoever sends more changes at once has to wait for answers.
const GOVERNING_MAX: usize = 64;
