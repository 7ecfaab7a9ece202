//! A member that lies: what it sends beside, or instead of, what an honest machine of its would send.
//!
//! Invariant: the lie is told with the liar's own key and on its own connections; it has no other power.

use std::rc::Rc;

use io_oi_record::evidence::Signed;
use io_oi_record::message::{Ack, BlockMessage};
use io_oi_record::{BlockHeader, Epoch, Hash, Message, Nanos, NodeId, Signer, Statement};

use crate::cluster::{Cluster, SHARD};
use crate::random::Random;

/// How a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It leads, and signs a second header for a place. Convicts.
    SecondHeader,
    /// It leads, and shows one member another header than all others get: nobody hears both from the liar. Convicts.
    SplitHeader,
    /// It votes for two blocks at one place. Convicts.
    SecondVote,
    /// It grants one epoch to two candidates. Convicts.
    SecondGrant,
    /// It acknowledges what is not durable on its disk: no signature, no proof, and a quorum that is none.
    FalseAck,
}

impl Lie {
    /// Lies that leave a proof behind and harm nobody.
    pub(crate) const PROVABLE: &'static [Lie] =
        &[Lie::SecondHeader, Lie::SplitHeader, Lie::SecondVote, Lie::SecondGrant];
}

/// One member that lies.
#[derive(Debug)]
pub(crate) struct Liar {
    pub(crate) node: usize,
    pub(crate) lie: Lie,
    /// Who is told another story than all others.
    victim: usize,
    /// Honest messages until it lies for the first time.
    patience: u64,
    /// How often it has lied.
    lies: u64,
}

/// What goes over the wire in place of one honest message.
pub(crate) enum Told {
    /// The honest message alone.
    Truth,
    /// The honest message, and this one to all others.
    Beside(Rc<[u8]>),
    /// This one in place of the honest one.
    Instead(Rc<[u8]>),
}

/// A liar that says everything twice would be silenced at once; it lies so many times at most.
const LIES_MAX: u64 = 3;

impl Liar {
    /// A liar among so many founders.
    pub(crate) fn new(node: usize, lie: Lie, founders: usize, random: &mut Random) -> Self {
        let patience = random.below(12);
        let victim = (node + 1 + patience as usize % (founders - 1).max(1)) % founders;
        Self { node, lie, victim, patience, lies: 0 }
    }

    /// What it makes of an honest message of its machine to a member.
    pub(crate) fn tell(&mut self, cluster: &Cluster, to: usize, epoch: Epoch, message: &Message<'_>) -> Told {
        let signer = cluster.identities[self.node].signer();
        let lie = match (self.lie, message) {
            (Lie::SecondHeader, Message::Block(block)) => second_header(&signer, epoch, block),
            (Lie::SplitHeader, Message::Block(block)) if to == self.victim => {
                second_header(&signer, epoch, block)
            }
            (Lie::SecondVote, Message::Vote(vote)) if vote.statement.voter == signer.node() => {
                let mut statement = vote.statement;
                statement.block = Hash([0xA5; 32]);
                Some(written(cluster, epoch, &Message::Vote(signed(&signer, statement))))
            }
            (Lie::SecondGrant, Message::Grant(grant)) if grant.statement.voter == signer.node() => {
                let mut statement = grant.statement;
                statement.candidate = somebody_else(cluster, &signer, statement.candidate);
                Some(written(cluster, epoch, &Message::Grant(signed(&signer, statement))))
            }
            (Lie::FalseAck, Message::Ack(ack)) => return self.false_ack(cluster, epoch, ack),
            _ => None,
        };
        let Some(bytes) = lie.filter(|_| self.may_lie()) else { return Told::Truth };
        if self.lie == Lie::SplitHeader { Told::Instead(bytes) } else { Told::Beside(bytes) }
    }

    /// Whether it said something that convicts it.
    pub(crate) fn has_left_proof(&self) -> bool {
        self.lies > 0 && Lie::PROVABLE.contains(&self.lie)
    }

    fn may_lie(&mut self) -> bool {
        if self.patience > 0 && self.lie != Lie::SecondGrant {
            self.patience -= 1;
            return false;
        }
        self.lies += 1;
        self.lies <= LIES_MAX
    }

    /// "Durable" for all that is only held.
    fn false_ack(&mut self, cluster: &Cluster, epoch: Epoch, ack: &Ack) -> Told {
        if ack.held <= ack.durable {
            return Told::Truth;
        }
        self.lies += 1;
        let lie = Ack { durable: ack.held, durable_hash: ack.held_hash, ..*ack };
        Told::Instead(written(cluster, epoch, &Message::Ack(lie)))
    }
}

/// The same place, another time: another header.
fn second_header(signer: &Signer, epoch: Epoch, block: &BlockMessage<'_>) -> Option<Rc<[u8]>> {
    let (header, _) = BlockHeader::decode_first(block.block).ok()?;
    if header.leader != signer.node() || header.epoch != epoch {
        return None;
    }
    let second = BlockHeader { time: Nanos(header.time.0 + 1), ..header };
    let message = Message::Header(signed(signer, second));
    Some(encode(header.cluster, epoch, &message))
}

fn somebody_else(cluster: &Cluster, signer: &Signer, candidate: NodeId) -> NodeId {
    let mut others = cluster.identities.iter().map(|identity| identity.node);
    others.find(|node| *node != candidate && *node != signer.node()).unwrap_or(signer.node())
}

fn signed<S: Statement>(signer: &Signer, statement: S) -> Signed<S> {
    let signature = signer.sign(&statement);
    Signed { statement, signature }
}

fn written(cluster: &Cluster, epoch: Epoch, message: &Message<'_>) -> Rc<[u8]> {
    encode(cluster.id, epoch, message)
}

fn encode(cluster: io_oi_record::ClusterId, epoch: Epoch, message: &Message<'_>) -> Rc<[u8]> {
    let mut bytes = vec![0; message.encoded_bytes()];
    message.encode(cluster, SHARD, epoch, &mut bytes).expect("a lie is as long as the truth");
    bytes.into()
}
