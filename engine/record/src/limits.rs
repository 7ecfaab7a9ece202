//! Every limit of the house, with the relations between them checked by the compiler.
//!
//! Invariant: a size that is not named here is not a limit. Whoever changes one number learns at compile time which
//! other numbers depended on it.

use crate::block::HEADER_BYTES;
use crate::certificate::{CERTIFICATE_HEAD_BYTES, CERTIFICATE_VOTE_BYTES};
use crate::component::SHIPMENT_HEAD_BYTES;
use crate::effects::EFFECT_HEAD_BYTES;
use crate::message::{BLOCK_MESSAGE_HEAD_BYTES, FORWARD_ENTRY_HEAD_BYTES, MESSAGE_HEAD_BYTES};
use crate::proposal::PROPOSAL_HEAD_BYTES;
use crate::published::PUBLISHED_HEAD_BYTES;
use crate::record::RECORD_HEAD_BYTES;

/// Shortest key in bytes: the empty key names nothing.
pub const KEY_BYTES_MIN: usize = 1;
/// Longest key in bytes. Keys stand in hot-table entries and in every record, so they stay short.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest value in bytes: one slab of the largest size class, 16 of which still fit into one block.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Most writes that an arbitrator adds to one proposal.
pub const EFFECTS_MAX: usize = 16;
/// Most bytes of them: a block keeps this much free for the record whose effects are not known yet. They share
/// [`VALUE_BYTES_MAX`] with the proposal's own value, so that the longest record does not grow by them.
pub const EFFECTS_BYTES_MAX: usize = 4096;

/// Longest encoded proposal in bytes.
pub const PROPOSAL_BYTES_MAX: usize = PROPOSAL_HEAD_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;
/// Longest encoded record in bytes.
pub const RECORD_BYTES_MAX: usize = RECORD_HEAD_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;
/// Longest record on the feed in bytes, with the epoch and time of its block.
pub const PUBLISHED_BYTES_MAX: usize = PUBLISHED_HEAD_BYTES + RECORD_BYTES_MAX;
/// Every encoded receipt in bytes: one cache line.
pub const RECEIPT_BYTES: usize = 64;

/// Longest encoded block in bytes, header included: about a millisecond of a 10 Gbit/s link.
pub const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// Most records in one block.
pub const BLOCK_RECORDS_MAX: usize = 8192;
/// Most blocks between sealed and committed: deeper pipelines steal the batching.
pub const BLOCKS_IN_FLIGHT_MAX: usize = 2;
/// Levels of inner nodes above the leaves of the largest block: the longest Merkle path.
pub const MERKLE_PATH_MAX: usize = BLOCK_RECORDS_MAX.ilog2() as usize;

/// Most sessions that one shard remembers.
pub const SESSIONS_MAX: usize = 1024;
/// Answers remembered per session and shard, for retries.
pub const SESSION_WINDOW: usize = 4096;
/// Most shards of a node.
pub const SHARDS_MAX: usize = 64;
/// Most clients attached to one node at a time.
pub const CLIENTS_MAX: usize = 256;
/// Most voters and learners of a cluster.
pub const MEMBERS_MAX: usize = 7;
/// Most operator keys named by a genesis.
pub const OPERATORS_MAX: usize = 8;
/// Longest member name in bytes (UTF-8).
pub const MEMBER_NAME_BYTES_MAX: usize = 64;
/// Longest member address in bytes (UTF-8): a DNS name and a port.
pub const MEMBER_ADDRESS_BYTES_MAX: usize = 264;

/// Bytes of one proposal ring unless configured.
pub const PROPOSAL_RING_BYTES: usize = 1024 * 1024;
/// Bytes of one receipt ring: a whole window of receipts, each behind a ring header.
pub const RECEIPT_RING_BYTES: usize = 512 * 1024;
/// Bytes that a ring may spend on each frame beside the frame itself (length word and alignment).
pub const RING_FRAME_OVERHEAD_BYTES_MAX: usize = 64;
/// Bytes of the broadcast feed of one shard.
pub const FEED_BYTES: usize = 8 * 1024 * 1024;

/// Most key prefixes that one client may be allowed.
pub const PREFIXES_MAX: usize = 64;
/// Longest allowed key prefix in bytes.
pub const PREFIX_BYTES_MAX: usize = 128;
/// Longest name that a client gives itself, in bytes (UTF-8).
pub const CLIENT_NAME_BYTES_MAX: usize = 128;
/// Longest explanation inside a refused attach, in bytes (UTF-8).
pub const REFUSAL_TEXT_BYTES_MAX: usize = 1024;
/// Longest packet of the attach handshake in bytes.
pub const PACKET_BYTES_MAX: usize = 16 * 1024;

/// Longest encoded genesis, signatures included, in bytes.
pub const GENESIS_BYTES_MAX: usize = 8 * 1024;
/// Longest encoded governance record in bytes.
pub const GOVERNANCE_BYTES_MAX: usize = 2 * 1024;
/// Longest encoded evidence in bytes: a header, a record and its path.
pub const EVIDENCE_BYTES_MAX: usize = RECORD_BYTES_MAX + 4 * 1024;
/// Longest governance record with its signature, in bytes.
pub const SIGNED_GOVERNANCE_BYTES_MAX: usize = GOVERNANCE_BYTES_MAX + 128;
/// Longest part of an arbitrator's component in bytes: with the record that names it, it fits one packet.
pub const PART_BYTES_MAX: usize = 12 * 1024;
/// Longest write of an operator, as an encoded proposal, in bytes: its key and value stand in the record's effects, too.
pub const OPERATOR_WRITE_BYTES_MAX: usize = EFFECTS_BYTES_MAX;
/// Longest governance record with its signature and what travels with it, in bytes.
pub const SHIPMENT_BYTES_MAX: usize = SHIPMENT_HEAD_BYTES + SIGNED_GOVERNANCE_BYTES_MAX + PART_BYTES_MAX;
/// Longest component that is deployed, in bytes: what the sealed tier looks at. The standard ones take 2 to 6 KiB.
pub const COMPONENT_BYTES_MAX: usize = 256 * 1024;
/// Most components that a cluster keeps.
pub const COMPONENTS_MAX: usize = 64;
/// Most bytes of all of them: every shard of every node holds them in memory.
pub const COMPONENTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest evidence with the reporter's signature, in bytes.
pub const SIGNED_EVIDENCE_BYTES_MAX: usize = EVIDENCE_BYTES_MAX + 128;

/// Longest encoded quorum certificate in bytes: a vote of every member.
pub const CERTIFICATE_BYTES_MAX: usize = CERTIFICATE_HEAD_BYTES + MEMBERS_MAX * CERTIFICATE_VOTE_BYTES;

/// Most keys that operators bar in the life of a cluster.
pub const BARS_MAX: usize = 64;
/// Most key prefixes with an arbitrator of their own.
pub const ARBITRATORS_MAX: usize = 64;

/// Most headers between a record and the certificate that covers it in a proof.
pub const PROOF_HEADERS_MAX: usize = 4096;
/// Most governance records in a proof.
pub const PROOF_GOVERNANCE_MAX: usize = 1024;
/// Longest encoded proof of a record in bytes.
pub const PROOF_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of an answer to an inquiry that travel in one packet.
pub const ANSWER_BYTES_MAX: usize = PACKET_BYTES_MAX - 64;

/// Longest message between nodes in bytes: the largest block behind its head.
pub const MESSAGE_BYTES_MAX: usize = BLOCK_BYTES_MAX + 256;
/// Most bytes of proposals that a node which does not lead keeps and has under way to the leader, per shard.
pub const FORWARD_BYTES_MAX: usize = 1024 * 1024;
/// Most evicted sessions that wait for their eviction to be committed. A leader that is so far ahead of its quorum
/// opens no further session.
pub const LIMBO_MAX: usize = 64;
/// Most nodes, past members among them, of which a shard remembers the newest evicted session.
pub const SESSION_FLOORS_MAX: usize = 64;

const _: () = assert!(KEY_BYTES_MIN >= 1 && KEY_BYTES_MIN <= KEY_BYTES_MAX);
const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize, "heads carry key lengths as u16");
const _: () = assert!(EFFECTS_BYTES_MAX <= VALUE_BYTES_MAX, "effects take their room from the value");
const _: () = assert!(VALUE_BYTES_MAX <= u32::MAX as usize, "heads carry value lengths as u32");
const _: () =
    assert!(HEADER_BYTES + RECORD_BYTES_MAX <= BLOCK_BYTES_MAX, "the largest record must fit a block");
const _: () = assert!(
    HEADER_BYTES + 15 * RECORD_BYTES_MAX <= BLOCK_BYTES_MAX,
    "a block that holds few large records flushes too often"
);
const _: () = assert!(BLOCK_RECORDS_MAX.is_power_of_two(), "the longest Merkle path is counted in levels");
const _: () =
    assert!(BLOCK_RECORDS_MAX * RECORD_HEAD_BYTES <= BLOCK_BYTES_MAX, "smallest records fill a block");
const _: () = assert!(BLOCK_BYTES_MAX <= u32::MAX as usize, "headers carry lengths as u32");
const _: () = assert!(BLOCKS_IN_FLIGHT_MAX >= 1);
const _: () =
    assert!(2 * PROPOSAL_BYTES_MAX <= PROPOSAL_RING_BYTES, "a full-size proposal must not stop a ring");
const _: () = assert!(
    SESSION_WINDOW * (RECEIPT_BYTES + RING_FRAME_OVERHEAD_BYTES_MAX) <= RECEIPT_RING_BYTES,
    "a receipt ring must hold a whole window of receipts"
);
const _: () = assert!(FEED_BYTES >= 4 * BLOCK_BYTES_MAX, "a reader may be a few blocks late");
const _: () = assert!(CLIENTS_MAX <= SESSIONS_MAX, "every attached client has a session in every shard");
const _: () = assert!(PREFIX_BYTES_MAX <= KEY_BYTES_MAX);
const _: () = assert!(
    PREFIXES_MAX * (PREFIX_BYTES_MAX + 8) + 512 <= PACKET_BYTES_MAX,
    "a welcome with every prefix must fit one packet"
);
const _: () = assert!(CLIENT_NAME_BYTES_MAX + REFUSAL_TEXT_BYTES_MAX + 512 <= PACKET_BYTES_MAX);
const _: () = assert!(
    MEMBERS_MAX * (MEMBER_NAME_BYTES_MAX + MEMBER_ADDRESS_BYTES_MAX + 64) + OPERATORS_MAX * 160 + 256
        <= GENESIS_BYTES_MAX,
    "the largest genesis must fit"
);
const _: () = assert!(SHARDS_MAX <= u16::MAX as usize);
const _: () = assert!(BLOCK_MESSAGE_HEAD_BYTES + BLOCK_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(MESSAGE_HEAD_BYTES + FORWARD_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(MESSAGE_HEAD_BYTES + SIGNED_EVIDENCE_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(
    FORWARD_BYTES_MAX >= 8 * (FORWARD_ENTRY_HEAD_BYTES + PROPOSAL_BYTES_MAX),
    "a full-size proposal must not stop a node's clients"
);
const _: () = assert!(
    PROOF_HEADERS_MAX * HEADER_BYTES
        + PROOF_GOVERNANCE_MAX * (SIGNED_GOVERNANCE_BYTES_MAX + 8)
        + GENESIS_BYTES_MAX
        + RECORD_BYTES_MAX
        + CERTIFICATE_BYTES_MAX
        + 32 * MERKLE_PATH_MAX
        + 1024
        <= PROOF_BYTES_MAX,
    "the largest proof must fit"
);
const _: () = assert!(
    SHIPMENT_BYTES_MAX + 64 <= PACKET_BYTES_MAX && KEY_BYTES_MAX + 64 <= PACKET_BYTES_MAX,
    "every inquiry must fit one packet"
);
const _: () = assert!(LIMBO_MAX < SESSIONS_MAX, "most of a full table is not in limbo");
const _: () =
    assert!(EFFECT_HEAD_BYTES <= PROPOSAL_HEAD_BYTES, "an operator's write fits the effects as well");
const _: () = assert!(OPERATOR_WRITE_BYTES_MAX <= PART_BYTES_MAX && KEY_BYTES_MAX < OPERATOR_WRITE_BYTES_MAX);
const _: () = assert!(SHIPMENT_BYTES_MAX + EFFECTS_BYTES_MAX <= VALUE_BYTES_MAX, "both stand in one record");
const _: () = assert!(SHIPMENT_BYTES_MAX <= VALUE_BYTES_MAX, "a governance record is a record's value");
const _: () =
    assert!(SIGNED_GOVERNANCE_BYTES_MAX <= u16::MAX as usize, "a shipment names its record's length");
const _: () = assert!(COMPONENT_BYTES_MAX <= COMPONENTS_BYTES_MAX);
