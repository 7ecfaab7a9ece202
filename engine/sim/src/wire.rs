//! What a message says, for checkers and for people.
//!
//! Invariant: reading a message changes nothing; bytes that are no message say nothing.

use std::fmt;

use io_oi_record::{BlockHeader, Epoch, Message};

use crate::checkers::Said;
use crate::cluster::{Cluster, SHARD};
use crate::story::Short;

/// A message that was read.
pub(crate) struct Wire<'a> {
    epoch: Epoch,
    message: Message<'a>,
}

impl<'a> Wire<'a> {
    pub(crate) fn read(cluster: &Cluster, bytes: &'a [u8]) -> Option<Self> {
        let (epoch, message) = Message::decode(bytes, cluster.id, SHARD).ok()?;
        Some(Self { epoch, message })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn message(&self) -> &Message<'a> {
        &self.message
    }

    /// What checkers hear. `leads` says whether the sender leads the epoch of the message.
    pub(crate) fn said(&self, cluster: &Cluster, leads: impl Fn(Epoch) -> bool) -> Said {
        match &self.message {
            Message::Seal(seal) => Said::Sealed {
                epoch: self.epoch,
                last: seal.last_sequence,
                hash: seal.header_hash,
                is_own: leads(self.epoch),
            },
            Message::Header(header) => Said::Sealed {
                epoch: header.statement.epoch,
                last: header.statement.last_sequence(),
                hash: header.statement.hash(),
                is_own: leads(header.statement.epoch),
            },
            Message::Vote(vote) => match cluster.index_of(vote.statement.voter) {
                Some(voter) => Said::Voted {
                    voter,
                    epoch: vote.statement.epoch,
                    sequence: vote.statement.sequence,
                    hash: vote.statement.block,
                },
                None => Said::Other,
            },
            Message::Ballot(ballot) => match cluster.index_of(ballot.ballot.statement.candidate) {
                Some(candidate) => Said::Stood {
                    candidate,
                    epoch: ballot.ballot.statement.epoch,
                    tip: ballot.ballot.statement.tip,
                },
                None => Said::Other,
            },
            Message::Grant(grant) => match cluster.index_of(grant.statement.voter) {
                Some(voter) => Said::Granted {
                    voter,
                    epoch: grant.statement.epoch,
                    candidate: grant.statement.candidate,
                },
                None => Said::Other,
            },
            Message::Ack(ack) => Said::Acknowledged { through: ack.durable, hash: ack.durable_hash },
            _ => Said::Other,
        }
    }
}

impl fmt::Display for Wire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{} ", self.epoch)?;
        match &self.message {
            Message::Block(message) => match BlockHeader::decode_first(message.block) {
                Ok((header, _)) => write!(
                    f,
                    "block {}..={} {} on {} of e{}, committed {}, round {}",
                    header.first_sequence,
                    header.last_sequence(),
                    Short(&header.hash().0),
                    Short(&header.parent.0),
                    header.epoch,
                    message.committed,
                    message.round
                ),
                Err(error) => write!(f, "block that is none: {error}"),
            },
            Message::FetchedBlock(block) => match BlockHeader::decode_first(block) {
                Ok((header, _)) => write!(
                    f,
                    "fetched block {}..={} {} of e{}",
                    header.first_sequence,
                    header.last_sequence(),
                    Short(&header.hash().0),
                    header.epoch
                ),
                Err(error) => write!(f, "fetched block that is none: {error}"),
            },
            Message::Seal(seal) => {
                write!(f, "seal {} {}", seal.last_sequence, Short(&seal.header_hash.0))
            }
            Message::Ack(ack) => write!(
                f,
                "ack held {} durable {} {} of e{}, round {}",
                ack.held,
                ack.durable,
                Short(&ack.durable_hash.0),
                ack.header_epoch,
                ack.round
            ),
            Message::Commit(commit) => write!(
                f,
                "commit {} tip {} {}, round {}, certified {}",
                commit.committed,
                commit.tip,
                Short(&commit.tip_hash.0),
                commit.round,
                commit.certified
            ),
            Message::Vote(vote) => {
                let vote = &vote.statement;
                write!(f, "vote {} {} of e{}", vote.sequence, Short(&vote.block.0), vote.epoch)
            }
            Message::PreVote(ask) => {
                write!(
                    f,
                    "pre-vote, tip {} {} of e{}",
                    ask.tip_sequence,
                    Short(&ask.tip_hash.0),
                    ask.tip_epoch
                )
            }
            Message::PreVoteAnswer(answer) => {
                write!(f, "pre-vote granted {}, promised e{}", answer.granted, answer.promised)
            }
            Message::Ballot(ballot) => {
                let ballot = &ballot.ballot.statement;
                write!(
                    f,
                    "ballot, tip {} {} of e{}",
                    ballot.tip_sequence,
                    Short(&ballot.tip.0),
                    ballot.tip_epoch
                )
            }
            Message::Grant(grant) => {
                let grant = &grant.statement;
                write!(
                    f,
                    "grant e{} to {} by {}",
                    grant.epoch,
                    Short(&grant.candidate.0),
                    Short(&grant.voter.0)
                )
            }
            Message::Deny(deny) => write!(f, "deny, promised e{}", deny.promised),
            Message::Want(want) => {
                write!(
                    f,
                    "want after {} {}, committed {}",
                    want.after,
                    Short(&want.after_hash.0),
                    want.committed
                )
            }
            Message::Forward(forwarded) => write!(f, "forward {} proposals", forwarded.iter().count()),
            Message::Declined(declined) => write!(f, "{declined:?}"),
            Message::Header(header) => {
                let header = &header.statement;
                write!(
                    f,
                    "header {} {} of e{}",
                    header.last_sequence(),
                    Short(&header.hash().0),
                    header.epoch
                )
            }
            Message::Evidence(evidence) => write!(f, "evidence of {} bytes", evidence.len()),
            other => write!(f, "{other:?}"),
        }
    }
}
