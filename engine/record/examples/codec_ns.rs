//! What the codec costs on this machine: `cargo run --release -p io_oi_record --example codec_ns`.
//!
//! Prints the median of many short runs, in nanoseconds per operation. Nothing here is a promise.

use std::hint::black_box;
use std::time::Instant;

use io_oi_record::{
    Block, BlockBuilder, ClusterId, Durability, Epoch, Hash, HeaderParts, Nanos, NodeTag, Operation, Outcome,
    Precondition, Proposal, Receipt, Record, Sequence, SessionId, SessionSequence, ShardId, Signer, Stage,
    Verdict, verify,
};

const KEY: [u8; 16] = *b"ord/ESH4/1234567";
const VALUE: [u8; 64] = [7; 64];
const BLOCK_RECORDS: u64 = 1000;

fn main() {
    proposals();
    records();
    receipts();
    blocks();
}

fn proposals() {
    let proposal = Proposal {
        session_sequence: SessionSequence(9),
        operation: Operation::Put,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key: &KEY,
        value: &VALUE,
    };
    let mut out = [0; 256];
    measure("proposal encode", 10_000, || black_box(&proposal).encode(black_box(&mut out)));
    let bytes = proposal.encode(&mut out).expect("fits");
    measure("proposal decode", 10_000, || Proposal::decode(black_box(&out[..bytes])).is_ok());
}

fn records() {
    let record = record(1);
    let mut out = [0; 256];
    measure("record encode", 10_000, || black_box(&record).encode(black_box(&mut out)));
    let bytes = record.encode(&mut out).expect("fits");
    measure("record decode", 10_000, || Record::decode(black_box(&out[..bytes])).is_ok());
    measure("record hash", 10_000, || Record::hash_encoded(black_box(&out[..bytes])));
}

fn receipts() {
    let receipt = Receipt {
        session_sequence: SessionSequence(9),
        sequence: Sequence(77),
        epoch: Epoch(2),
        time: Nanos(1),
        stage: Stage::Committed,
        durability: Durability::DiskQuorum,
        outcome: Outcome::Accepted,
    };
    measure("receipt encode", 10_000, || black_box(&receipt).encode());
    let bytes = receipt.encode();
    measure("receipt decode", 10_000, || Receipt::decode(black_box(&bytes)).is_ok());
}

fn blocks() {
    let signer = Signer::from_secret(&[1; 32]);
    let parts = HeaderParts {
        cluster: ClusterId([1; 32]),
        shard: ShardId(0),
        epoch: Epoch(1),
        parent: Hash::ZERO,
        arbitrators: Hash::ZERO,
        time: Nanos(1),
        leader: signer.node(),
    };
    let mut builder = BlockBuilder::new();
    let fill = |builder: &mut BlockBuilder| {
        builder.clear();
        for sequence in 1..=BLOCK_RECORDS {
            builder.push(&record(sequence)).expect("fits");
        }
        builder.seal(parts)
    };
    measure(&format!("block of {BLOCK_RECORDS}: build and seal, per record"), 10, || fill(&mut builder));
    let header = fill(&mut builder);
    measure(&format!("block of {BLOCK_RECORDS}: decode, per record"), 10, || {
        Block::decode(black_box(builder.bytes())).is_ok()
    });
    let signature = signer.sign(&header);
    measure("header hash", 1000, || black_box(&header).hash());
    measure("header sign", 100, || signer.sign(black_box(&header)));
    measure("header verify", 100, || verify(black_box(&header), &signature));
}

fn record(sequence: u64) -> Record<'static> {
    Record {
        sequence: Sequence(sequence),
        session: SessionId { node: NodeTag(1), boot: 1, counter: 1 },
        session_sequence: SessionSequence(sequence),
        operation: Operation::Put,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        verdict: Verdict::Accept,
        key: &KEY,
        value: &VALUE,
        effects: io_oi_record::Effects::NONE,
    }
}

/// Median over 101 runs of `count` calls each.
fn measure<R>(what: &str, count: u32, mut call: impl FnMut() -> R) {
    let mut runs: Vec<f64> = (0..101)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..count {
                black_box(call());
            }
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    let per_record = if what.ends_with("per record") { BLOCK_RECORDS as f64 } else { 1.0 };
    println!("{what:44} {:10.1} ns", runs[50] / per_record);
}
