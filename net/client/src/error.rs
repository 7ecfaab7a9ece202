//! What can go wrong, one small enum per operation. Every text says what happened and what to do.

use std::path::PathBuf;

use io_oi_record::attach::AttachRefusal;
use io_oi_record::{RefusalCode, SessionSequence, ShardId};

/// Why a client could not attach, or could not attach again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Nobody listens at the path.
    #[error("no node listens at {}: start one (`io_oi dev`, `io_oi node run --config FILE`) or name its socket", path.display())]
    NodeAbsent {
        /// Where the socket was looked for.
        path: PathBuf,
    },
    /// The file system does not let this user reach the socket.
    #[error("this user may not open {}: ask for access to the directory and the socket", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// The path cannot be a unix socket's address.
    #[error("{} is not usable as a socket path (more than 107 bytes?): use a shorter path or a symbolic link", path.display())]
    BadPath {
        /// The path given.
        path: PathBuf,
    },
    /// The socket belongs to another user than the options demand.
    #[error(
        "the node runs as user {found}, not as {wanted}: check who listens at this path before trusting it"
    )]
    WrongUser {
        /// The user id the kernel told.
        found: u32,
        /// The user id the options ask for.
        wanted: u32,
    },
    /// The node did not answer within `Options::handshake`.
    #[error("the node did not answer the handshake in time: it may be stopped or recovering; try again")]
    TimedOut,
    /// The node closed the connection during the handshake.
    #[error("the node closed the connection during the handshake: see its log for the reason")]
    HungUp,
    /// The node said no.
    #[error("the node refused to attach ({code}): {text}")]
    Refused {
        /// Why, for programs.
        code: AttachRefusal,
        /// Why, for people.
        text: String,
    },
    /// This process may open no more descriptors: every shard comes with five.
    #[error(
        "this process has no file descriptor left for the node's segments: raise its limit (`ulimit -n`), or close some"
    )]
    DescriptorsExhausted,
    /// The other side does not speak the protocol of this version.
    #[error("the handshake broke the protocol: {what}; node and client must be of the same release")]
    Protocol {
        /// What was wrong.
        what: String,
    },
    /// A shared segment was not usable.
    #[error(
        "the {segment} segment of shard {shard} is not usable: {reason}; node and client must be of the same release"
    )]
    Segment {
        /// Whose segment.
        shard: ShardId,
        /// Which segment: hot, feed, counters, lane or bell.
        segment: &'static str,
        /// What the check said.
        reason: String,
    },
    /// Another cluster or node answers at the same path now: the session cannot go on there.
    #[error(
        "another {what} answers at this socket now: attach anew; proposals without a receipt have an unknown outcome"
    )]
    Changed {
        /// What is not the same: cluster, node, session, shard count, hash seed.
        what: &'static str,
    },
    /// The client was made by another process.
    #[error("this client belongs to process {owner}: after a fork the child must attach by itself")]
    Forked {
        /// The process that attached.
        owner: u32,
    },
    /// The options contradict the limits.
    #[error("the options are not usable: {what}")]
    Options {
        /// Which and why.
        what: String,
    },
    /// The operating system said no.
    #[error("the operating system refused the socket: {0}")]
    System(#[from] std::io::Error),
}

/// Why a proposal was not taken. Nothing was submitted; no session sequence was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The ring or the window of the key's shard is full. A receipt that was not taken holds its place in the window.
    #[error(
        "shard {shard} has no room for another proposal ({open_count} wait for a receipt): take the receipts that are there, then put again"
    )]
    Full {
        /// The shard of the key.
        shard: ShardId,
        /// Proposals of this client that have no receipt yet.
        open_count: usize,
    },
    /// An empty key names nothing.
    #[error("the key is empty: a key has at least one byte")]
    KeyEmpty,
    /// The key is longer than any node takes.
    #[error("the key has {key_bytes} bytes, the limit is {key_bytes_max}: shorten it")]
    KeyTooLong {
        /// Bytes of the key given.
        key_bytes: usize,
        /// The limit.
        key_bytes_max: usize,
    },
    /// The value is longer than any node takes.
    #[error("the value has {value_bytes} bytes, the limit is {value_bytes_max}: split it over several keys")]
    ValueTooLong {
        /// Bytes of the value given.
        value_bytes: usize,
        /// The limit.
        value_bytes_max: usize,
    },
    /// The node does not let this client write under that key.
    #[error(
        "this client may not write under that key: use one of its allowed prefixes, or have the operator add one"
    )]
    PrefixNotAllowed,
    /// The cluster has fewer shards.
    #[error("there is no shard {shard}: the cluster has {shards}, counted from 0")]
    NoSuchShard {
        /// The shard asked for.
        shard: ShardId,
        /// How many there are.
        shards: u16,
    },
    /// The node is gone at the moment; the client attaches again by itself.
    #[error("the node is away and nothing was queued: wait for it (`Client::tend`), then put again")]
    NodeAway,
    /// The session cannot go on; see `Client::lost_reason`.
    #[error("the session is lost: attach a new client; proposals without a receipt have an unknown outcome")]
    SessionLost,
}

/// Why a read gave no answer. An absent key is an answer (`None`), not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such key can exist.
    #[error("the key has {key_bytes} bytes, a key has 1 to {key_bytes_max}: no such key can exist")]
    KeyLength {
        /// Bytes of the key given.
        key_bytes: usize,
        /// The limit.
        key_bytes_max: usize,
    },
    /// The value does not fit into the caller's buffer.
    #[error("the value has {value_bytes} bytes, the buffer {buffer_bytes}: read again with a larger buffer")]
    BufferTooSmall {
        /// Bytes of the value.
        value_bytes: usize,
        /// Bytes of the buffer.
        buffer_bytes: usize,
    },
    /// The writer stopped in the middle of changing this entry: the node died there, and its memory stays so.
    #[error("the entry is half written: the node died at it; read again once the client has attached again")]
    Stalled,
    /// All pins of this client hold views.
    #[error("all pins of this client hold views: drop one, then read again")]
    PinsTaken,
    /// A shared segment could not be read.
    #[error(
        "a shared segment could not be read: {reason}; the client attaches again by itself, then read again"
    )]
    Segment {
        /// What the check said.
        reason: String,
    },
}

/// Why a read could not be proven to be the newest of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinearizableError {
    /// The node on this box holds no lease of the shard: it does not lead it, or does not know yet that it may.
    #[error(
        "the node here has no lease of shard {shard}: read on the leader's box (`io_oi leader show`), or decide by compare-and-set"
    )]
    NoLease {
        /// The key's shard.
        shard: ShardId,
    },
    /// The read itself failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a wait ended without a receipt. The ticket stays good unless the session is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline passed first.
    #[error(
        "no receipt of session sequence {session_sequence} before the deadline: the outcome is open, wait again"
    )]
    TimedOut {
        /// Which proposal.
        session_sequence: SessionSequence,
    },
    /// No open proposal has this ticket.
    #[error(
        "session sequence {session_sequence} has no receipt to wait for: it was taken already, is too old, or is another client's"
    )]
    UnknownTicket {
        /// Which proposal.
        session_sequence: SessionSequence,
    },
    /// The node has been away for longer than `Options::reattach`.
    #[error(
        "the node has been away for longer than the client was told to wait: see to the node, then wait again"
    )]
    NodeAway,
    /// The session cannot go on; the outcome of the proposal is unknown.
    #[error("the session is lost and the outcome unknown: attach a new client and read the key")]
    SessionLost,
}

/// What the convenience calls that put and wait in one go can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Nothing was submitted.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Submitted, but no receipt came.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// Decided: refused, without effect.
    #[error("refused ({}): {}", code.name(), code.text())]
    Refused {
        /// Why.
        code: RefusalCode,
    },
}
