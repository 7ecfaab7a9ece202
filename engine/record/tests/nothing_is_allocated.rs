//! The fast path of this room: encoding, decoding, hashing, building and signing blocks allocate nothing.

use std::hint::black_box;

use allocation_counter::measure;
use io_oi_record::{
    BlockBuilder, BlockHeader, ClusterId, Durability, Epoch, Hash, HeaderParts, Nanos, NodeTag, Operation,
    Outcome, Precondition, Proposal, Published, Receipt, Record, Sequence, SessionId, SessionSequence,
    ShardId, Signer, Stage, Verdict, Vote, verify,
};

fn proposal() -> Proposal<'static> {
    Proposal {
        session_sequence: SessionSequence(1),
        operation: Operation::Put,
        precondition: Precondition::Absent,
        durability: Durability::DiskQuorum,
        key: b"key",
        value: b"value",
    }
}

fn record(sequence: u64) -> Record<'static> {
    let session = SessionId { node: NodeTag(1), boot: 1, counter: 1 };
    Record::of(Sequence(sequence), session, &proposal(), Verdict::Accept)
}

#[track_caller]
fn assert_allocates_nothing(run: impl FnOnce()) {
    assert_eq!(measure(run).count_total, 0);
}

#[test]
fn a_builder_allocates_only_when_it_is_made() {
    let mut builder = None;
    let made = measure(|| builder = Some(BlockBuilder::new()));
    assert_eq!(made.count_total, 1, "the counter counts, and a builder is one piece of memory");
    let mut builder = builder.expect("was made");
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
    assert_allocates_nothing(|| {
        for _ in 0..3 {
            let mut sequence = 1;
            while builder.push(&record(sequence)).is_ok() {
                sequence += 1;
            }
            let header = builder.seal(parts);
            let signature = signer.sign(&header);
            assert_eq!(verify(&header, &signature), Ok(()));
            assert_eq!(BlockHeader::decode_first(builder.bytes()).map(|(header, _)| header), Ok(header));
            let vote = Vote::of(&header, signer.node());
            assert_eq!(Vote::decode(&vote.encode()), Ok(vote));
            let _ = black_box(signer.sign(&vote));
            builder.clear();
        }
    });
}

#[test]
fn a_whole_block_is_checked_without_allocating() {
    let mut builder = BlockBuilder::new();
    (1..=1000).for_each(|sequence| builder.push(&record(sequence)).expect("has room"));
    builder.seal(HeaderParts {
        cluster: ClusterId([1; 32]),
        shard: ShardId(0),
        epoch: Epoch(1),
        parent: Hash::ZERO,
        arbitrators: Hash::ZERO,
        time: Nanos(1),
        leader: Signer::from_secret(&[1; 32]).node(),
    });
    assert_allocates_nothing(|| {
        let block = io_oi_record::Block::decode(builder.bytes()).expect("whole");
        assert_eq!(block.records().count(), 1000);
    });
}

#[test]
fn nouns_go_out_and_come_back_without_allocating() {
    let mut out = [0; 256];
    assert_allocates_nothing(|| {
        let bytes = proposal().encode(&mut out).expect("fits");
        assert_eq!(Proposal::decode(&out[..bytes]), Ok(proposal()));
        let bytes = record(1).encode(&mut out).expect("fits");
        assert_eq!(Record::decode(&out[..bytes]), Ok(record(1)));
        assert_eq!(Record::hash_encoded(&out[..bytes]), record(1).hash());
        let published = Published { epoch: Epoch(1), time: Nanos(1), record: record(1) };
        let bytes = published.encode(&mut out).expect("fits");
        assert_eq!(Published::decode(&out[..bytes]), Ok(published));
        let receipt = Receipt {
            session_sequence: SessionSequence(1),
            sequence: Sequence(1),
            epoch: Epoch(1),
            time: Nanos(1),
            stage: Stage::Committed,
            durability: Durability::DiskQuorum,
            outcome: Outcome::Accepted,
        };
        assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
        for length in 0..64 {
            let _ = black_box(Record::decode(&out[..length]).is_err());
        }
    });
}
