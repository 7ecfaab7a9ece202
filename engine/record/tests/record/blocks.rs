//! Blocks: dense, whole, chained, and every record proven.

use io_oi_record::limits::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX, VALUE_BYTES_MAX};
use io_oi_record::*;

use crate::corpus::*;

fn put(sequence: u64, value: &[u8]) -> Record<'_> {
    Record {
        sequence: Sequence(sequence),
        session: session(),
        session_sequence: SessionSequence(sequence),
        operation: Operation::Put,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        verdict: Verdict::Accept,
        key: b"key",
        value,
        effects: io_oi_record::Effects::NONE,
    }
}

fn sealed(records: &[Record<'_>]) -> (BlockHeader, Vec<u8>) {
    let mut builder = BlockBuilder::with_limits(64 * 1024, 1024);
    records.iter().for_each(|record| builder.push(record).expect("has room"));
    let header = builder.seal(header_parts());
    (header, builder.bytes().to_vec())
}

/// A block around these record bytes with a header that tells the truth about count, length and root.
fn forged(first: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let root = merkle::root(records.iter().map(|record| Record::hash_encoded(record))).expect("has records");
    let header = BlockHeader {
        first_sequence: Sequence(first),
        record_count: records.len() as u32,
        records_bytes: records.concat().len() as u32,
        root,
        ..header()
    };
    [header.encode().to_vec(), records.concat()].concat()
}

#[test]
fn a_sealed_block_decodes_to_its_records() {
    let (header, bytes) = block();
    let block = Block::decode(&bytes).expect("whole");
    assert_eq!(block.header, header);
    assert_eq!(block.records().collect::<Vec<_>>(), records());
    assert_eq!((header.first_sequence, header.last_sequence()), (Sequence(7), Sequence(10)));
    assert_eq!(header.block_bytes(), bytes.len());
    let mut copy = vec![0; bytes.len()];
    assert_eq!(block.encode(&mut copy), Ok(bytes.len()));
    assert_eq!(copy, bytes);
    let short = block.encode(&mut copy[..10]);
    assert_eq!(short, Err(EncodeError::NoRoom { needed: bytes.len(), found: 10 }));
}

#[test]
fn a_builder_starts_over_after_clear() {
    let mut builder = BlockBuilder::with_limits(4096, 16);
    for round in 0..3 {
        assert!(builder.is_empty() && !builder.is_sealed());
        assert_eq!(builder.next_sequence(), Sequence::NONE);
        for record in records() {
            builder.push(&record).expect("has room");
        }
        assert_eq!((builder.first_sequence(), builder.next_sequence()), (Sequence(7), Sequence(11)));
        assert_eq!(builder.records().collect::<Vec<_>>(), records());
        assert_eq!(builder.seal(header_parts()), header(), "round {round}");
        assert_eq!(builder.bytes(), block().1);
        builder.clear();
    }
}

#[test]
fn a_full_builder_says_so_and_keeps_what_it_has() {
    let mut few = BlockBuilder::with_limits(4096, 2);
    few.push(&put(1, b"one")).expect("has room");
    few.push(&put(2, b"two")).expect("has room");
    let bytes = few.encoded_bytes();
    assert_eq!(few.push(&put(3, b"three")), Err(BlockFull { records: 2, bytes }));
    few.seal(header_parts());
    assert_eq!(Block::decode(few.bytes()).map(|block| block.records().count()), Ok(2));

    let exact = HEADER_BYTES + put(1, b"one").encoded_bytes();
    let mut small = BlockBuilder::with_limits(exact, 16);
    assert!(small.push(&put(1, b"more")).is_err(), "one byte too many");
    small.push(&put(1, b"one")).expect("fits exactly");
    assert_eq!(small.encoded_bytes(), exact);
}

#[test]
fn the_largest_blocks_fit_their_limits() {
    let mut many = BlockBuilder::new();
    for sequence in 1..=BLOCK_RECORDS_MAX as u64 {
        many.push(&put(sequence, b"v")).expect("has room");
    }
    assert!(many.push(&put(BLOCK_RECORDS_MAX as u64 + 1, b"v")).is_err());
    many.seal(header_parts());
    let block = Block::decode(many.bytes()).expect("whole");
    assert_eq!(block.records().count(), BLOCK_RECORDS_MAX);

    let value = vec![5; VALUE_BYTES_MAX];
    let mut large = BlockBuilder::new();
    let mut sequence = 1;
    while large.push(&put(sequence, &value)).is_ok() {
        sequence += 1;
    }
    assert_eq!(sequence, 16, "fifteen of the largest values fit one block");
    assert!(large.encoded_bytes() <= BLOCK_BYTES_MAX);
    large.seal(header_parts());
    assert!(Block::decode(large.bytes()).is_ok());
}

#[test]
#[should_panic(expected = "dense sequences")]
fn a_builder_takes_no_gap() {
    let mut builder = BlockBuilder::with_limits(4096, 16);
    builder.push(&put(1, b"")).expect("has room");
    let _ = builder.push(&put(3, b""));
}

#[test]
#[should_panic(expected = "an empty block is never sealed")]
fn an_empty_builder_is_not_sealed() {
    BlockBuilder::with_limits(4096, 16).seal(header_parts());
}

#[test]
fn a_sequence_gap_is_refused_even_under_a_true_root() {
    let records = [encoded_record(&put(5, b"a")), encoded_record(&put(7, b"b"))];
    let gap = DecodeError::SequenceGap { index: 1, expected: 6, found: 7 };
    assert_eq!(Block::decode(&forged(5, &records)), Err(gap));
    let wrong_start = DecodeError::SequenceGap { index: 0, expected: 4, found: 5 };
    assert_eq!(Block::decode(&forged(4, &records)), Err(wrong_start));
}

#[test]
fn exchanged_and_changed_records_break_the_root() {
    let (header, bytes) = sealed(&[put(1, b"first"), put(2, b"other")]);
    let at = bytes.windows(5).position(|window| window == b"first").expect("holds its value");
    let mut changed = bytes.clone();
    changed[at] = b'F';
    assert_eq!(Block::decode(&changed), Err(DecodeError::RootMismatch));
    let mut root = bytes.clone();
    let root_at = bytes.windows(32).position(|window| window == header.root.0).expect("holds its root");
    root[root_at] ^= 1;
    assert_eq!(Block::decode(&root), Err(DecodeError::RootMismatch));
}

#[test]
fn counts_that_do_not_fit_the_records_are_refused() {
    let records = [encoded_record(&put(5, b"a")), encoded_record(&put(6, b"b"))];
    let bytes = forged(5, &records);
    let header = BlockHeader::decode(&bytes[..HEADER_BYTES]).expect("true");
    let with = |header: BlockHeader| [header.encode().to_vec(), records.concat()].concat();

    let fewer = with(BlockHeader { record_count: 1, ..header });
    assert!(matches!(Block::decode(&fewer), Err(DecodeError::LengthMismatch { .. })));
    let more = with(BlockHeader { record_count: 3, ..header });
    assert!(matches!(Block::decode(&more), Err(DecodeError::TooShort { noun: Noun::Record, .. })));
    let shorter = with(BlockHeader { records_bytes: header.records_bytes - 1, ..header });
    assert!(matches!(Block::decode(&shorter), Err(DecodeError::LengthMismatch { .. })));
}

#[test]
fn headers_that_no_builder_makes_are_refused() {
    let bytes = header().encode();
    let with = |at: usize, field: &[u8]| {
        let mut changed = bytes;
        changed[at..at + field.len()].copy_from_slice(field);
        BlockHeader::decode(&changed)
    };
    assert_eq!(with(4, &0u32.to_le_bytes()), Err(DecodeError::BlockEmpty));
    assert_eq!(with(4, &8193u32.to_le_bytes()), Err(DecodeError::BlockTooManyRecords { count: 8193 }));
    assert!(matches!(with(8, &u32::MAX.to_le_bytes()), Err(DecodeError::TooLong { .. })));
    assert_eq!(with(20, &0u64.to_le_bytes()), Err(DecodeError::Shape(ShapeError::SequenceZero)));
    assert_eq!(with(20, &u64::MAX.to_le_bytes()), Err(DecodeError::SequenceOverflow));
    assert!(with(20, &(u64::MAX - 4).to_le_bytes()).is_ok(), "four records still fit");
}

#[test]
fn headers_form_a_chain() {
    let (first, _) = sealed(&[put(1, b"a")]);
    let mut builder = BlockBuilder::with_limits(4096, 16);
    builder.push(&put(2, b"b")).expect("has room");
    let second = builder.seal(HeaderParts { parent: first.hash(), ..header_parts() });
    assert_eq!(second.parent, first.hash());
    let other = BlockHeader { time: first.time.saturating_add(1), ..first };
    assert_ne!(second.parent, other.hash(), "another history does not link");
}

#[test]
fn every_record_is_proven_by_its_path_and_no_other_is() {
    let values: Vec<Vec<u8>> = (0..13u8).map(|i| vec![i; i as usize]).collect();
    let records: Vec<Record<'_>> =
        values.iter().zip(1..).map(|(value, sequence)| put(sequence, value)).collect();
    let (header, bytes) = sealed(&records);
    let block = Block::decode(&bytes).expect("whole");
    for (index, encoded) in block.records().encoded().enumerate() {
        let path = block.path(index as u32).expect("has the record");
        assert_eq!(header.proves(encoded, &path), Ok(true));
        let mut other = records[index];
        other.verdict = Verdict::Refuse(RefusalCode::DiskFull);
        assert_eq!(header.proves(&encoded_record(&other), &path), Ok(false));
        other = Record { sequence: Sequence(99), ..records[index] };
        assert_eq!(header.proves(&encoded_record(&other), &path), Ok(false));
        assert!(header.proves(b"no record", &path).is_err());
    }
    assert_eq!(block.path(13), None);
}
