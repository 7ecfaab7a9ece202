//! The words of the handshake on the node's local socket: one packet, one message.
//!
//! Invariant: both sides decode with these checked functions only; whatever else arrives is refused by name, and the
//! kind and version in front are readable by every later program.
//!
//! Order: the client says `Hello`. The node answers `Welcome` and then one `ShardDoor` per shard, each carrying five
//! descriptors (hot, feed, counters, lane, bell), or it answers `Refused`. A client that only hangs up may resume its
//! session later; one that is done for good first puts a `CloseSession` proposal into every lane, then hangs up.
//!
//! A client that only wants to know something says `Inquiry` instead and gets no session: the node answers with as many
//! `Answer`s as it takes, the last one marked, or with `Refused`, and hangs up.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::codec::{Noun, layout, peek_noun, read_archive, write_archive};
use crate::error::{DecodeError, EncodeError};
use crate::genesis::{check_count, check_max};
use crate::ids::{ClusterId, Hash, NodeId, SessionId, ShardId};
use crate::limits::{
    ANSWER_BYTES_MAX, CLIENT_NAME_BYTES_MAX, KEY_BYTES_MAX, PACKET_BYTES_MAX, PREFIX_BYTES_MAX, PREFIXES_MAX,
    REFUSAL_TEXT_BYTES_MAX, SHARDS_MAX, SHIPMENT_BYTES_MAX,
};
use crate::token::SessionToken;

/// The handshake spoken here: a program that speaks another says so before anything else is read.
pub const ATTACH_VERSION: u32 = 1;

/// Stands first in every `Hello`, so that a program that talks to the wrong socket is recognised.
pub const HELLO_MAGIC: u64 = u64::from_le_bytes(*b"io_oi>>>");

/// Descriptors behind every `ShardDoor`, in this order.
pub const DOOR_DESCRIPTORS: [&str; 5] = ["hot", "feed", "counters", "lane", "bell"];

/// The client's first packet.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Hello`."))]
pub struct Hello {
    /// `HELLO_MAGIC`.
    pub magic: u64,
    /// `ATTACH_VERSION` of the client.
    pub attach_version: u32,
    /// What the client calls itself, for logs and status.
    pub client_name: String,
    /// The session it wants back, after a reconnect.
    pub resume: Option<Resume>,
}

/// A session that the client had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Resume`."))]
pub struct Resume {
    /// Its id.
    pub session: SessionId,
    /// The token that came with it.
    pub token: SessionToken,
}

/// The node's first packet to an accepted client.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Welcome`."))]
pub struct Welcome {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node on this box.
    pub node: NodeId,
    /// The client's session, new or resumed.
    pub session: SessionId,
    /// What brings the session back after a reconnect.
    pub token: SessionToken,
    /// Layout of the shared segments behind the doors.
    pub layout_version: u32,
    /// How many doors follow, 1 to `SHARDS_MAX`.
    pub shards: u16,
    /// Seed of the hash that maps keys to shards.
    pub hash_seed: [u8; 16],
    /// Counts the node's starts; another one means that every mapping is void.
    pub incarnation: u64,
    /// Key prefixes that the client may write, at most `PREFIXES_MAX`. The empty prefix allows all.
    pub prefixes: Vec<Vec<u8>>,
}

/// One shard's descriptors follow this packet's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `ShardDoor`."))]
pub struct ShardDoor {
    /// The shard.
    pub shard: ShardId,
}

/// Why a client was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `AttachRefusal`."))]
#[repr(u8)]
pub enum AttachRefusal {
    /// The bytes are no hello.
    Malformed = 1,
    /// The two programs speak different handshakes.
    VersionUnknown = 2,
    /// The user behind the socket may not attach.
    UserNotAllowed = 3,
    /// `CLIENTS_MAX` are attached.
    ClientsFull = 4,
    /// The session to resume is unknown, or its token is wrong.
    ResumeRefused = 5,
    /// The session to resume is still attached elsewhere.
    SessionInUse = 6,
    /// The node is not ready yet: still recovering.
    NotReady = 7,
    /// The node is going down.
    ShuttingDown = 8,
    /// The node ran out of descriptors or memory for one more client.
    ResourcesExhausted = 9,
    /// What was asked for does not exist here.
    NotFound = 10,
    /// What was asked for is not under a quorum certificate yet.
    NotProvable = 11,
    /// What was submitted is not decided yet.
    Undecided = 12,
    /// Nobody leads a shard, so that no session can be opened.
    NoLeader = 13,
}

impl AttachRefusal {
    /// Every refusal.
    pub const ALL: [AttachRefusal; 13] = [
        AttachRefusal::Malformed,
        AttachRefusal::VersionUnknown,
        AttachRefusal::UserNotAllowed,
        AttachRefusal::ClientsFull,
        AttachRefusal::ResumeRefused,
        AttachRefusal::SessionInUse,
        AttachRefusal::NotReady,
        AttachRefusal::ShuttingDown,
        AttachRefusal::ResourcesExhausted,
        AttachRefusal::NotFound,
        AttachRefusal::NotProvable,
        AttachRefusal::Undecided,
        AttachRefusal::NoLeader,
    ];

    /// Short stable name, kebab-case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AttachRefusal::Malformed => "malformed",
            AttachRefusal::VersionUnknown => "version-unknown",
            AttachRefusal::UserNotAllowed => "user-not-allowed",
            AttachRefusal::ClientsFull => "clients-full",
            AttachRefusal::ResumeRefused => "resume-refused",
            AttachRefusal::SessionInUse => "session-in-use",
            AttachRefusal::NotReady => "not-ready",
            AttachRefusal::ShuttingDown => "shutting-down",
            AttachRefusal::ResourcesExhausted => "resources-exhausted",
            AttachRefusal::NotFound => "not-found",
            AttachRefusal::NotProvable => "not-provable",
            AttachRefusal::Undecided => "undecided",
            AttachRefusal::NoLeader => "no-leader",
        }
    }

    /// What happened and what to do.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            AttachRefusal::Malformed => {
                "the first packet is no hello: check that the client is of this system"
            }
            AttachRefusal::VersionUnknown => {
                "client and node speak different handshakes: use matching versions"
            }
            AttachRefusal::UserNotAllowed => {
                "this user may not attach: add its uid to the node's configuration"
            }
            AttachRefusal::ClientsFull => "too many clients are attached: close one",
            AttachRefusal::ResumeRefused => "the session cannot be resumed: attach as a new one",
            AttachRefusal::SessionInUse => "the session is still attached: close the other client first",
            AttachRefusal::NotReady => "the node is still starting: try again in a moment",
            AttachRefusal::ShuttingDown => "the node is shutting down: attach again when it is back",
            AttachRefusal::ResourcesExhausted => {
                "the node has no memory or descriptors left: raise its limits"
            }
            AttachRefusal::NotFound => "the node knows no such thing: check the name, or ask another node",
            AttachRefusal::NotProvable => {
                "the record is not under a quorum certificate yet: ask again in a moment"
            }
            AttachRefusal::Undecided => {
                "no quorum has decided yet, it may still do so: look at the status before submitting again"
            }
            AttachRefusal::NoLeader => {
                "no leader yet, so no session can be opened: try again in a moment, or ask `io_oi leader show`"
            }
        }
    }

    /// Whether trying again later, unchanged, can succeed.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(
            self,
            AttachRefusal::ClientsFull
                | AttachRefusal::SessionInUse
                | AttachRefusal::NotReady
                | AttachRefusal::ShuttingDown
                | AttachRefusal::ResourcesExhausted
                | AttachRefusal::NotProvable
                | AttachRefusal::Undecided
                | AttachRefusal::NoLeader
        )
    }
}

impl fmt::Display for AttachRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The node's only packet to a client that it does not let in.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Refused`."))]
pub struct Refused {
    /// Why, for programs.
    pub code: AttachRefusal,
    /// What happened and what to do, for people.
    pub text: String,
}

/// A question that needs no session.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Inquiry`."))]
#[repr(u8)]
pub enum Inquiry {
    /// How the node and its shards are; JSON.
    Status = 1,
    /// Who belongs to the cluster and how far each has come; JSON.
    Peers = 2,
    /// Who leads each shard; JSON.
    Leader = 3,
    /// Which evidence the node holds; JSON.
    Evidence = 4,
    /// One signed evidence by the hash of the evidence, encoded.
    EvidenceExport(Hash) = 5,
    /// The proof of a key's newest committed record, encoded.
    Prove(Vec<u8>) = 6,
    /// Submit an operator's change; the answer is the encoded receipt.
    Govern(Submission) = 7,
    /// Which arbitrators judge, which are stored, and how they fare here: JSON.
    Arbitrators = 8,
}

/// An operator's change on its way into a shard's log.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Submission`."))]
pub struct Submission {
    /// The shard. Every change goes into every shard's log, shard 0 first: it settles who comes first.
    pub shard: ShardId,
    /// The encoded signed governance record, with what travels with it.
    pub signed: Vec<u8>,
}

/// The answer to an inquiry, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[rkyv(attr(doc = "Archived form of `Answer`."))]
pub struct Answer {
    /// Whether nothing follows.
    pub is_last: bool,
    /// The next bytes of the answer, at most `ANSWER_BYTES_MAX`.
    pub bytes: Vec<u8>,
}

/// Any packet of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// From the client.
    Hello(Hello),
    /// From the node.
    Welcome(Welcome),
    /// From the node, with descriptors.
    ShardDoor(ShardDoor),
    /// From the node.
    Refused(Refused),
    /// From a client that wants no session.
    Inquiry(Inquiry),
    /// From the node.
    Answer(Answer),
}

impl Packet {
    /// Reads whichever packet fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Packet, DecodeError> {
        match peek_noun(bytes) {
            Some(Noun::Welcome) => Welcome::decode(bytes).map(Packet::Welcome),
            Some(Noun::ShardDoor) => ShardDoor::decode(bytes).map(Packet::ShardDoor),
            Some(Noun::Refused) => Refused::decode(bytes).map(Packet::Refused),
            Some(Noun::Inquiry) => Inquiry::decode(bytes).map(Packet::Inquiry),
            Some(Noun::Answer) => Answer::decode(bytes).map(Packet::Answer),
            _ => Hello::decode(bytes).map(Packet::Hello),
        }
    }

    /// The encoding, when every limit is kept.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Packet::Hello(packet) => packet.encode(),
            Packet::Welcome(packet) => packet.encode(),
            Packet::ShardDoor(packet) => packet.encode(),
            Packet::Refused(packet) => packet.encode(),
            Packet::Inquiry(packet) => packet.encode(),
            Packet::Answer(packet) => packet.encode(),
        }
    }
}

layout!(ArchivedHello, 69: magic 0, attach_version 8, client_name 12, resume 20);
layout!(
    ArchivedWelcome, 150: cluster 0, node 32, session 64, token 80, layout_version 112, shards 116, hash_seed 118,
    incarnation 134, prefixes 142
);
layout!(ArchivedShardDoor, 2: shard 0);
layout!(ArchivedRefused, 9: code 0, text 1);
layout!(ArchivedAnswer, 9: is_last 0, bytes 1);
const _: () = assert!(size_of::<ArchivedInquiry>() == 33);

macro_rules! packets {
    ($($noun:ident),*) => {$(
        impl $noun {
            /// The encoding, when every limit is kept.
            pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
                self.check()?;
                Ok(write_archive(Noun::$noun, self))
            }

            /// Reads one such packet that fills `bytes` exactly.
            pub fn decode(bytes: &[u8]) -> Result<$noun, DecodeError> {
                let packet: $noun = read_archive(Noun::$noun, bytes, PACKET_BYTES_MAX)?;
                packet.check().map_err(DecodeError::Limit)?;
                Ok(packet)
            }
        }
    )*};
}

packets!(Hello, Welcome, ShardDoor, Refused, Inquiry, Answer);

impl Hello {
    /// A hello of this program.
    #[must_use]
    pub fn new(client_name: String, resume: Option<Resume>) -> Hello {
        Hello { magic: HELLO_MAGIC, attach_version: ATTACH_VERSION, client_name, resume }
    }

    /// Whether node and client understand each other.
    pub const fn verdict(&self) -> Result<(), AttachRefusal> {
        if self.magic != HELLO_MAGIC {
            return Err(AttachRefusal::Malformed);
        }
        if self.attach_version != ATTACH_VERSION {
            return Err(AttachRefusal::VersionUnknown);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), EncodeError> {
        check_max("the client's name", self.client_name.len(), CLIENT_NAME_BYTES_MAX)
    }
}

impl Welcome {
    fn check(&self) -> Result<(), EncodeError> {
        check_count("the shard count", self.shards.into(), SHARDS_MAX)?;
        check_max("the prefix list", self.prefixes.len(), PREFIXES_MAX)?;
        self.prefixes.iter().try_for_each(|prefix| check_max("a prefix", prefix.len(), PREFIX_BYTES_MAX))
    }
}

impl ShardDoor {
    fn check(&self) -> Result<(), EncodeError> {
        check_max("the shard's number", self.shard.index(), SHARDS_MAX - 1)
    }
}

impl Refused {
    /// The refusal with its own text.
    #[must_use]
    pub fn of(code: AttachRefusal) -> Refused {
        Refused { code, text: String::from(code.text()) }
    }

    fn check(&self) -> Result<(), EncodeError> {
        check_max("the refusal's text", self.text.len(), REFUSAL_TEXT_BYTES_MAX)
    }
}

impl Inquiry {
    fn check(&self) -> Result<(), EncodeError> {
        match self {
            Inquiry::Prove(key) => check_count("the key", key.len(), KEY_BYTES_MAX),
            Inquiry::Govern(Submission { shard, signed }) => {
                check_max("the shard's number", shard.index(), SHARDS_MAX - 1)?;
                check_count("the governance record", signed.len(), SHIPMENT_BYTES_MAX)
            }
            _ => Ok(()),
        }
    }
}

impl Answer {
    /// Cuts a whole answer into packets; an empty one is one empty packet.
    pub fn split(whole: &[u8]) -> impl Iterator<Item = Answer> + '_ {
        let count = whole.len().div_ceil(ANSWER_BYTES_MAX).max(1);
        (0..count).map(move |index| {
            let rest = &whole[index * ANSWER_BYTES_MAX..];
            Answer { is_last: index + 1 == count, bytes: rest[..rest.len().min(ANSWER_BYTES_MAX)].to_vec() }
        })
    }

    fn check(&self) -> Result<(), EncodeError> {
        check_max("the answer", self.bytes.len(), ANSWER_BYTES_MAX)
    }
}

impl From<&DecodeError> for AttachRefusal {
    /// What a node answers to a first packet that it cannot read.
    fn from(error: &DecodeError) -> AttachRefusal {
        match error {
            DecodeError::VersionUnknown { .. } => AttachRefusal::VersionUnknown,
            _ => AttachRefusal::Malformed,
        }
    }
}
