//! What the nodes of one shard's group say to each other: one frame, one message.
//!
//! Invariant: a message that decodes is of this cluster and shard, whole, within its limits, and would be written the
//! same way; cluster, shard and version are compared before anything behind them is read. Decoding allocates nothing
//! and borrows what is long; signatures, chains and the records of a block are the receiver's to check.

use rkyv::{Archive, Deserialize, Serialize};

use crate::block::{BlockHeader, HEADER_BYTES};
use crate::codec::{FORMAT_VERSION, Noun, check_kind, layout, peek_noun, read_part, write_head};
use crate::error::{DecodeError, EncodeError};
use crate::evidence::Signed;
use crate::ids::{
    ClusterId, Epoch, Hash, Nanos, NodeId, NodeTag, Round, Sequence, SessionId, SessionSequence, ShardId,
    Signature,
};
use crate::limits::{BLOCK_BYTES_MAX, SIGNED_EVIDENCE_BYTES_MAX, SIGNED_GOVERNANCE_BYTES_MAX};
use crate::sign::Statement;
use crate::statement::{BALLOT_BYTES, BALLOT_GRANT_BYTES, Ballot, BallotGrant, VOTE_BYTES, Vote};
use crate::verdict::RefusalCode;

mod forward;

pub use forward::{FORWARD_ENTRY_HEAD_BYTES, Forwarded};

/// Stands in front of every message.
#[derive(Archive, Serialize, Deserialize)]
struct MessageHead {
    kind: u8,
    version: u8,
    shard: u16,
    cluster: ClusterId,
    epoch: Epoch,
}

/// Bytes of the head: what has to be there before a message is looked at.
pub const MESSAGE_HEAD_BYTES: usize = size_of::<ArchivedMessageHead>();
layout!(ArchivedMessageHead, 44: kind 0, version 1, shard 2, cluster 4, epoch 36);

/// Bytes in front of the block in a block message.
pub const BLOCK_MESSAGE_HEAD_BYTES: usize = MESSAGE_HEAD_BYTES + size_of::<ArchivedBlockPart>();

/// A block of the leader's epoch, or an older one that the receiver lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockMessage<'a> {
    /// Through where the sender knows everything to be committed.
    pub committed: Sequence,
    /// The leader's heartbeat.
    pub round: Round,
    /// Somebody waits for `mem-quorum`: acknowledge when it is held, before it is durable.
    pub wants_held: bool,
    /// Somebody waits for `certified`: send the signed vote as soon as it may be made.
    pub wants_votes: bool,
    /// The encoded block; its header is checked, its records are not.
    pub block: &'a [u8],
}

#[derive(Archive, Serialize, Deserialize)]
struct BlockPart {
    committed: Sequence,
    round: Round,
    wants_held: bool,
    wants_votes: bool,
}
layout!(ArchivedBlockPart, 18: committed 0, round 8, wants_held 16, wants_votes 17);

macro_rules! bodies {
    ($(
        $(#[$doc:meta])*
        $name:ident, $bytes:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty, $offset:literal;)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
        #[rkyv(attr(doc = concat!("Archived form of `", stringify!($name), "`.")))]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        const _: () = assert!(size_of::<rkyv::Archived<$name>>() == $bytes);
        const _: () = assert!(align_of::<rkyv::Archived<$name>>() == 1);
        $(const _: () = assert!(core::mem::offset_of!(rkyv::Archived<$name>, $field) == $offset);)*
    )*};
}

bodies! {
    /// The leader's signature over the header of a block that was sent before.
    SealMessage, 104 {
        /// Last sequence of the block.
        last_sequence: Sequence, 0;
        /// Hash of its header.
        header_hash: Hash, 8;
        /// The signature of the leader that the header names.
        signature: Signature, 40;
    }
    /// How far the sender has come. Not a signed statement: the connection says who speaks.
    Ack, 96 {
        /// The newest heartbeat heard.
        round: Round, 0;
        /// Through where it holds the chain in memory.
        held: Sequence, 8;
        /// Hash of the header of the block that ends there.
        held_hash: Hash, 16;
        /// Through where the chain is durable and under a verified seal.
        durable: Sequence, 48;
        /// Hash of the header of the block that ends there.
        durable_hash: Hash, 56;
        /// Epoch of that header.
        header_epoch: Epoch, 88;
    }
    /// The leader's heartbeat, and its commit point when the pipe is idle.
    Commit, 96 {
        /// Through where everything is committed.
        committed: Sequence, 0;
        /// Hash of the header of the block that ends there.
        committed_hash: Hash, 8;
        /// Last sequence of the leader's chain.
        tip: Sequence, 40;
        /// Hash of its last header.
        tip_hash: Hash, 48;
        /// Counts the leader's heartbeats.
        round: Round, 80;
        /// Through where a quorum certificate exists.
        certified: Sequence, 88;
    }
    /// "Would you grant me the epoch in the head?" Binds nobody.
    PreVote, 48 {
        /// Epoch of the last durable block.
        tip_epoch: Epoch, 0;
        /// Its last sequence.
        tip_sequence: Sequence, 8;
        /// Its header hash.
        tip_hash: Hash, 16;
    }
    /// The answer to a pre-vote for the epoch in the head.
    PreVoteAnswer, 9 {
        /// Whether the epoch would be granted.
        granted: bool, 0;
        /// The highest epoch that the sender has promised or seen.
        promised: Epoch, 1;
    }
    /// The epoch in the head is not granted.
    Deny, 8 {
        /// The highest epoch that the sender has promised or seen.
        promised: Epoch, 0;
    }
    /// "My chain ends here, send what follows."
    Want, 48 {
        /// Last sequence that the sender holds.
        after: Sequence, 0;
        /// Header hash of the block that ends there.
        after_hash: Hash, 8;
        /// Through where the sender knows everything to be committed: its chain up to here is the chain.
        committed: Sequence, 40;
    }
    /// Asks for the block that holds a sequence.
    FetchBlock, 8 {
        /// The sequence.
        sequence: Sequence, 0;
    }
    /// Asks for the signed header of a block.
    WantHeader, 16 {
        /// Epoch of the block.
        epoch: Epoch, 0;
        /// A sequence inside it.
        sequence: Sequence, 8;
    }
    /// The receiver may stand for the next epoch at once.
    HandOver, 16 {
        /// How long the leader waits for it before it goes on, in nanoseconds from receipt.
        deadline_ns: Nanos, 0;
        /// The leader's heartbeat at that moment: the ballot that follows names it.
        round: Round, 8;
    }
    /// Evidence against a key stands durably in the sender's log, or is of no use there: it need not be told again.
    EvidenceKept, 32 {
        /// The accused key.
        accused: NodeId, 0;
    }
    /// The hash of the replicated state after a sequence.
    StateHash, 40 {
        /// The sequence.
        sequence: Sequence, 0;
        /// The hash.
        hash: Hash, 8;
    }
}

/// A forwarded proposal was refused without a place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declined {
    /// Who proposed it.
    pub session: SessionId,
    /// Its number inside the session.
    pub session_sequence: SessionSequence,
    /// Why.
    pub code: RefusalCode,
}

#[derive(Archive, Serialize, Deserialize)]
struct DeclinedPart {
    session_node: NodeTag,
    session_boot: u32,
    session_counter: u32,
    session_sequence: SessionSequence,
    code: u32,
}
layout!(
    ArchivedDeclinedPart, 28: session_node 0, session_boot 8, session_counter 12, session_sequence 16, code 24
);

/// A candidate's request for an epoch, with its authority to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BallotMessage<'a> {
    /// The ballot.
    pub ballot: Signed<Ballot>,
    /// The heartbeat at which the leader handed over; 0 when nobody did.
    pub hand_over_round: Round,
    /// The encoded signed appointment that the ballot names, when it stands in no log yet.
    pub appointment: Option<&'a [u8]>,
}

/// Everything that nodes of one group say. The epoch in front is the sender's, unless the message says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Leader to all.
    Block(BlockMessage<'a>),
    /// Leader to all, behind the block.
    Seal(SealMessage),
    /// To the leader.
    Ack(Ack),
    /// Leader to all.
    Commit(Commit),
    /// To all voters.
    Vote(Signed<Vote>),
    /// To all voters; the epoch is the one asked for.
    PreVote(PreVote),
    /// To who asked; the epoch is the one asked for.
    PreVoteAnswer(PreVoteAnswer),
    /// To all voters; the epoch is the one asked for.
    Ballot(BallotMessage<'a>),
    /// To the candidate and all voters; the epoch is the one granted.
    Grant(Signed<BallotGrant>),
    /// To the candidate; the epoch is the one asked for.
    Deny(Deny),
    /// To the leader, or to any node.
    Want(Want),
    /// To any node.
    FetchBlock(FetchBlock),
    /// To who asked: the encoded block; its header is checked, its records are not.
    FetchedBlock(&'a [u8]),
    /// To any node.
    WantHeader(WantHeader),
    /// To who asked, and follower to follower as soon as its signature was checked.
    Header(Signed<BlockHeader>),
    /// To the leader.
    Forward(Forwarded<'a>),
    /// Leader to who forwarded.
    Declined(Declined),
    /// Leader to the appointed node.
    HandOver(HandOver),
    /// To all: encoded signed evidence, not checked.
    Evidence(&'a [u8]),
    /// To all.
    StateHash(StateHash),
    /// To who told of evidence.
    EvidenceKept(EvidenceKept),
}

/// A message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The first byte names no message.
    #[error("kind byte {found} is no message: refuse the sender, or use a newer program")]
    KindUnknown {
        /// Kind byte found, 0 when there is none.
        found: u8,
    },
    /// Another cluster.
    #[error("the message belongs to another cluster: check the address and the genesis of its sender")]
    WrongCluster,
    /// Another shard.
    #[error("the message belongs to shard {found}: refuse the sender")]
    WrongShard {
        /// Shard found.
        found: ShardId,
    },
    /// The statement or block inside is of another cluster, shard or epoch than the message.
    #[error("the message and the statement inside it name different places: refuse the sender")]
    Misplaced,
    /// The bytes are no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl<'a> Message<'a> {
    /// Which noun it is, and so its kind byte.
    #[must_use]
    pub const fn noun(&self) -> Noun {
        match self {
            Message::Block(_) => Noun::BlockMessage,
            Message::Seal(_) => Noun::SealMessage,
            Message::Ack(_) => Noun::Ack,
            Message::Commit(_) => Noun::Commit,
            Message::Vote(_) => Noun::VoteMessage,
            Message::PreVote(_) => Noun::PreVote,
            Message::PreVoteAnswer(_) => Noun::PreVoteAnswer,
            Message::Ballot(_) => Noun::BallotMessage,
            Message::Grant(_) => Noun::GrantMessage,
            Message::Deny(_) => Noun::Deny,
            Message::Want(_) => Noun::Want,
            Message::FetchBlock(_) => Noun::FetchBlock,
            Message::FetchedBlock(_) => Noun::FetchedBlock,
            Message::WantHeader(_) => Noun::WantHeader,
            Message::Header(_) => Noun::HeaderMessage,
            Message::Forward(_) => Noun::Forward,
            Message::Declined(_) => Noun::Declined,
            Message::HandOver(_) => Noun::HandOver,
            Message::Evidence(_) => Noun::EvidenceMessage,
            Message::StateHash(_) => Noun::StateHash,
            Message::EvidenceKept(_) => Noun::EvidenceKept,
        }
    }

    /// Length of the encoding.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        MESSAGE_HEAD_BYTES + self.body_bytes()
    }

    const fn body_bytes(&self) -> usize {
        match self {
            Message::Block(message) => size_of::<ArchivedBlockPart>() + message.block.len(),
            Message::Seal(_) => size_of::<ArchivedSealMessage>(),
            Message::Ack(_) => size_of::<ArchivedAck>(),
            Message::Commit(_) => size_of::<ArchivedCommit>(),
            Message::Vote(_) => VOTE_BYTES + Signature::BYTES,
            Message::PreVote(_) => size_of::<ArchivedPreVote>(),
            Message::PreVoteAnswer(_) => size_of::<ArchivedPreVoteAnswer>(),
            Message::Ballot(message) => {
                let appointment_bytes = match message.appointment {
                    Some(appointment) => appointment.len(),
                    None => 0,
                };
                BALLOT_BYTES + Signature::BYTES + size_of::<u64>() + LENGTH_BYTES + appointment_bytes
            }
            Message::Grant(_) => BALLOT_GRANT_BYTES + Signature::BYTES,
            Message::Deny(_) => size_of::<ArchivedDeny>(),
            Message::Want(_) => size_of::<ArchivedWant>(),
            Message::FetchBlock(_) => size_of::<ArchivedFetchBlock>(),
            Message::FetchedBlock(block) => block.len(),
            Message::WantHeader(_) => size_of::<ArchivedWantHeader>(),
            Message::Header(_) => HEADER_BYTES + Signature::BYTES,
            Message::Forward(proposals) => LENGTH_BYTES + proposals.as_bytes().len(),
            Message::Declined(_) => size_of::<ArchivedDeclinedPart>(),
            Message::HandOver(_) => size_of::<ArchivedHandOver>(),
            Message::Evidence(evidence) => LENGTH_BYTES + evidence.len(),
            Message::StateHash(_) => size_of::<ArchivedStateHash>(),
            Message::EvidenceKept(_) => size_of::<ArchivedEvidenceKept>(),
        }
    }

    /// Writes the encoding to the front of `out` and returns its length. Allocates nothing.
    pub fn encode(
        &self,
        cluster: ClusterId,
        shard: ShardId,
        epoch: Epoch,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        self.check_lengths()?;
        let (needed, found) = (self.encoded_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, found })?;
        let (head, body) = out.split_at_mut(MESSAGE_HEAD_BYTES);
        let kind = self.noun() as u8;
        write_head(&MessageHead { kind, version: FORMAT_VERSION, shard: shard.0, cluster, epoch }, head);
        self.write_body(body);
        Ok(needed)
    }

    fn write_body(&self, out: &mut [u8]) {
        match self {
            Message::Block(message) => {
                let (part, block) = out.split_at_mut(size_of::<ArchivedBlockPart>());
                let BlockMessage { committed, round, wants_held, wants_votes, .. } = *message;
                write_head(&BlockPart { committed, round, wants_held, wants_votes }, part);
                block.copy_from_slice(message.block);
            }
            Message::Seal(body) => write_head(body, out),
            Message::Ack(body) => write_head(body, out),
            Message::Commit(body) => write_head(body, out),
            Message::Vote(vote) => write_parts(&[&vote.statement.encode(), &vote.signature.0], out),
            Message::PreVote(body) => write_head(body, out),
            Message::PreVoteAnswer(body) => write_head(body, out),
            Message::Ballot(BallotMessage { ballot, hand_over_round, appointment }) => {
                let appointment = appointment.unwrap_or_default();
                let length = (appointment.len() as u32).to_le_bytes();
                let round = hand_over_round.0.to_le_bytes();
                let statement = ballot.statement.encode();
                write_parts(&[&statement, &ballot.signature.0, &round, &length, appointment], out);
            }
            Message::Grant(grant) => write_parts(&[&grant.statement.encode(), &grant.signature.0], out),
            Message::Deny(body) => write_head(body, out),
            Message::Want(body) => write_head(body, out),
            Message::FetchBlock(body) => write_head(body, out),
            Message::FetchedBlock(block) => out.copy_from_slice(block),
            Message::WantHeader(body) => write_head(body, out),
            Message::Header(header) => write_parts(&[&header.statement.encode(), &header.signature.0], out),
            Message::Forward(proposals) => {
                write_parts(&[&proposals.count().to_le_bytes(), proposals.as_bytes()], out);
            }
            Message::Declined(declined) => write_head(&declined.part(), out),
            Message::HandOver(body) => write_head(body, out),
            Message::Evidence(evidence) => {
                write_parts(&[&(evidence.len() as u32).to_le_bytes(), evidence], out);
            }
            Message::StateHash(body) => write_head(body, out),
            Message::EvidenceKept(body) => write_head(body, out),
        }
    }

    /// Reads one message that fills `bytes` exactly, and the epoch in front of it. A message of another cluster,
    /// shard or version is refused before anything behind its head is read.
    pub fn decode(
        bytes: &'a [u8],
        cluster: ClusterId,
        shard: ShardId,
    ) -> Result<(Epoch, Message<'a>), MessageError> {
        let noun = match peek_noun(bytes) {
            Some(noun) if noun >= Noun::BlockMessage => noun,
            _ => return Err(MessageError::KindUnknown { found: bytes.first().copied().unwrap_or(0) }),
        };
        check_kind(noun, bytes, MESSAGE_HEAD_BYTES)?;
        let (head, body) = read_part::<MessageHead>(noun, bytes)?;
        if head.cluster != cluster {
            return Err(MessageError::WrongCluster);
        }
        if head.shard != shard.0 {
            return Err(MessageError::WrongShard { found: ShardId(head.shard) });
        }
        let message = Message::read_body(noun, body)?;
        message.check_lengths().map_err(DecodeError::Limit)?;
        message.check_place(cluster, shard, head.epoch)?;
        Ok((head.epoch, message))
    }

    fn read_body(noun: Noun, body: &'a [u8]) -> Result<Message<'a>, DecodeError> {
        let message = match noun {
            Noun::BlockMessage => {
                let (part, block) = read_part::<BlockPart>(noun, body)?;
                let BlockPart { committed, round, wants_held, wants_votes } = part;
                return Ok(Message::Block(BlockMessage { committed, round, wants_held, wants_votes, block }));
            }
            Noun::SealMessage => Message::Seal(read_whole(noun, body)?),
            Noun::Ack => Message::Ack(read_whole(noun, body)?),
            Noun::Commit => Message::Commit(read_whole(noun, body)?),
            Noun::VoteMessage => Message::Vote(read_signed(noun, body, VOTE_BYTES, Vote::decode)?),
            Noun::PreVote => Message::PreVote(read_whole(noun, body)?),
            Noun::PreVoteAnswer => Message::PreVoteAnswer(read_whole(noun, body)?),
            Noun::BallotMessage => {
                let (ballot, rest) = read_first_signed(noun, body, BALLOT_BYTES, Ballot::decode)?;
                let (hand_over_round, rest) = read_part::<Round>(noun, rest)?;
                let appointment = read_long(noun, rest)?;
                let appointment = if appointment.is_empty() { None } else { Some(appointment) };
                Message::Ballot(BallotMessage { ballot, hand_over_round, appointment })
            }
            Noun::GrantMessage => {
                Message::Grant(read_signed(noun, body, BALLOT_GRANT_BYTES, BallotGrant::decode)?)
            }
            Noun::Deny => Message::Deny(read_whole(noun, body)?),
            Noun::Want => Message::Want(read_whole(noun, body)?),
            Noun::FetchBlock => Message::FetchBlock(read_whole(noun, body)?),
            Noun::FetchedBlock => Message::FetchedBlock(body),
            Noun::WantHeader => Message::WantHeader(read_whole(noun, body)?),
            Noun::HeaderMessage => {
                Message::Header(read_signed(noun, body, HEADER_BYTES, BlockHeader::decode)?)
            }
            Noun::Forward => Message::Forward(read_forwarded(noun, body)?),
            Noun::Declined => Message::Declined(Declined::from_part(&read_whole(noun, body)?)?),
            Noun::HandOver => Message::HandOver(read_whole(noun, body)?),
            Noun::EvidenceMessage => Message::Evidence(read_long(noun, body)?),
            Noun::StateHash => Message::StateHash(read_whole(noun, body)?),
            Noun::EvidenceKept => Message::EvidenceKept(read_whole(noun, body)?),
            _ => return Err(DecodeError::KindMismatch { noun: Noun::BlockMessage, found: noun as u8 }),
        };
        Ok(message)
    }

    /// What is long stays within its limit, on the way out and on the way in.
    fn check_lengths(&self) -> Result<(), EncodeError> {
        let (what, found, max) = match self {
            Message::Block(BlockMessage { block, .. }) | Message::FetchedBlock(block) => {
                ("the block", block.len(), BLOCK_BYTES_MAX)
            }
            Message::Ballot(BallotMessage { appointment: Some(appointment), .. }) => {
                ("the appointment", appointment.len(), SIGNED_GOVERNANCE_BYTES_MAX)
            }
            Message::Evidence(evidence) => ("the evidence", evidence.len(), SIGNED_EVIDENCE_BYTES_MAX),
            _ => return Ok(()),
        };
        match found {
            0 => Err(EncodeError::Empty { what }),
            _ if found > max => Err(EncodeError::TooLong { what, found, max }),
            _ => Ok(()),
        }
    }

    /// What is inside belongs to where the message belongs.
    fn check_place(&self, cluster: ClusterId, shard: ShardId, epoch: Epoch) -> Result<(), MessageError> {
        let (place, named) = match self {
            Message::Block(BlockMessage { block, .. }) | Message::FetchedBlock(block) => {
                let (header, records) = BlockHeader::decode_first(block)?;
                if records.len() != header.records_bytes as usize {
                    let (noun, named, found) = (self.noun(), header.block_bytes(), block.len());
                    return Err(DecodeError::LengthMismatch { noun, named, found }.into());
                }
                (place_of(&header), epoch)
            }
            Message::Vote(vote) => (place_of(&vote.statement), epoch),
            Message::Header(header) => (place_of(&header.statement), epoch),
            Message::Ballot(message) => (place_of(&message.ballot.statement), message.ballot.statement.epoch),
            Message::Grant(grant) => (place_of(&grant.statement), grant.statement.epoch),
            _ => return Ok(()),
        };
        if (place, named) == ((cluster, shard), epoch) { Ok(()) } else { Err(MessageError::Misplaced) }
    }
}

impl Declined {
    fn part(&self) -> DeclinedPart {
        DeclinedPart {
            session_node: self.session.node,
            session_boot: self.session.boot,
            session_counter: self.session.counter,
            session_sequence: self.session_sequence,
            code: self.code.to_code(),
        }
    }

    fn from_part(part: &DeclinedPart) -> Result<Declined, DecodeError> {
        let (node, boot, counter) = (part.session_node, part.session_boot, part.session_counter);
        Ok(Declined {
            session: SessionId { node, boot, counter },
            session_sequence: part.session_sequence,
            code: RefusalCode::from_code(part.code)?,
        })
    }
}

fn place_of(statement: &impl Statement) -> (ClusterId, ShardId) {
    (statement.cluster(), statement.shard())
}

fn write_parts(parts: &[&[u8]], out: &mut [u8]) {
    let mut rest = out;
    for part in parts {
        let (front, behind) = rest.split_at_mut(part.len());
        front.copy_from_slice(part);
        rest = behind;
    }
    assert!(rest.is_empty(), "a body is as long as `body_bytes` says");
}

/// Reads a body that is the rest of the message.
fn read_whole<T>(noun: Noun, body: &[u8]) -> Result<T, DecodeError>
where
    T: Archive,
    T::Archived: for<'b> rkyv::bytecheck::CheckBytes<rkyv::api::low::LowValidator<'b, rkyv::rancor::Failure>>
        + Deserialize<T, rkyv::api::low::LowDeserializer<rkyv::rancor::Failure>>,
{
    let (part, rest) = read_part::<T>(noun, body)?;
    check_end(noun, body, rest)?;
    Ok(part)
}

/// Reads a statement and its signature from the front of a body.
fn read_first_signed<S>(
    noun: Noun,
    body: &[u8],
    statement_bytes: usize,
    decode: impl Fn(&[u8]) -> Result<S, DecodeError>,
) -> Result<(Signed<S>, &[u8]), DecodeError> {
    let too_short =
        DecodeError::TooShort { noun, needed: statement_bytes + Signature::BYTES, found: body.len() };
    let (statement, rest) = body.split_at_checked(statement_bytes).ok_or(too_short)?;
    let (signature, rest) = rest.split_first_chunk::<{ Signature::BYTES }>().ok_or(too_short)?;
    Ok((Signed { statement: decode(statement)?, signature: Signature(*signature) }, rest))
}

/// Reads a statement and its signature that are the rest of the message.
fn read_signed<S>(
    noun: Noun,
    body: &[u8],
    statement_bytes: usize,
    decode: impl Fn(&[u8]) -> Result<S, DecodeError>,
) -> Result<Signed<S>, DecodeError> {
    let (signed, rest) = read_first_signed(noun, body, statement_bytes, decode)?;
    check_end(noun, body, rest)?;
    Ok(signed)
}

/// Length or count in front of bytes that this room does not look into.
const LENGTH_BYTES: usize = 4;

/// Reads such bytes, which are the rest of the message.
fn read_long(noun: Noun, body: &[u8]) -> Result<&[u8], DecodeError> {
    let Some((length, bytes)) = body.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(DecodeError::TooShort { noun, needed: LENGTH_BYTES, found: body.len() });
    };
    let named = u32::from_le_bytes(*length) as usize;
    if named != bytes.len() {
        return Err(DecodeError::LengthMismatch { noun, named, found: bytes.len() });
    }
    Ok(bytes)
}

/// Reads forwarded proposals behind their count, which are the rest of the message.
fn read_forwarded(noun: Noun, body: &[u8]) -> Result<Forwarded<'_>, DecodeError> {
    let Some((count, entries)) = body.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(DecodeError::TooShort { noun, needed: LENGTH_BYTES, found: body.len() });
    };
    let forwarded = Forwarded::decode(entries)?;
    let (named, found) = (u32::from_le_bytes(*count), forwarded.count());
    if named != found {
        return Err(DecodeError::LengthMismatch { noun, named: named as usize, found: found as usize });
    }
    Ok(forwarded)
}

fn check_end(noun: Noun, body: &[u8], rest: &[u8]) -> Result<(), DecodeError> {
    if rest.is_empty() {
        return Ok(());
    }
    let named = MESSAGE_HEAD_BYTES + body.len() - rest.len();
    Err(DecodeError::LengthMismatch { noun, named, found: MESSAGE_HEAD_BYTES + body.len() })
}
