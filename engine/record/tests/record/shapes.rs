//! Fields that do not go together are refused on the way out and on the way in, and clients learn which.

use io_oi_record::limits::{KEY_BYTES_MAX, PROPOSAL_BYTES_MAX, RECORD_BYTES_MAX, VALUE_BYTES_MAX};
use io_oi_record::proposal::PROPOSAL_HEAD_BYTES;
use io_oi_record::*;

use crate::corpus::*;

fn refused(proposal: &Proposal<'_>) -> ShapeError {
    let mut out = vec![0; proposal.encoded_bytes()];
    match proposal.encode(&mut out) {
        Err(EncodeError::Shape(shape)) => shape,
        other => panic!("must be refused for its shape: {other:?}"),
    }
}

#[test]
fn ill_shaped_proposals_do_not_go_out() {
    let put = proposal();
    let long_key = vec![1; KEY_BYTES_MAX + 1];
    let long_value = vec![1; VALUE_BYTES_MAX + 1];
    let zero = Precondition::SequenceIs(Sequence::NONE);
    for (wrong, shape) in [
        (Proposal { key: b"", ..put }, ShapeError::KeyEmpty),
        (Proposal { key: &long_key, ..put }, ShapeError::KeyTooLong { bytes: 513 }),
        (Proposal { value: &long_value, ..put }, ShapeError::ValueTooLong { bytes: 65537 }),
        (Proposal { operation: Operation::Delete, ..put }, ShapeError::ValueNotAllowed),
        (Proposal { operation: Operation::OpenSession, ..put }, ShapeError::PayloadNotAllowed),
        (
            Proposal { operation: Operation::OpenSession, key: b"", value: b"", ..put },
            ShapeError::PreconditionNotAllowed,
        ),
        (Proposal { precondition: zero, ..put }, ShapeError::PreconditionSequenceZero),
        (Proposal { session_sequence: SessionSequence(0), ..put }, ShapeError::SessionSequenceZero),
    ] {
        assert_eq!(refused(&wrong), shape);
    }
}

#[test]
fn the_longest_proposal_and_record_are_as_long_as_the_limits_say() {
    let (key, value) = (vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    let proposal = Proposal { key: &key, value: &value, ..proposal() };
    assert_eq!(encoded_proposal(&proposal).len(), PROPOSAL_BYTES_MAX);
    let record = Record::of(Sequence(1), session(), &proposal, Verdict::Accept);
    assert_eq!(encoded_record(&record).len(), RECORD_BYTES_MAX);
    assert_eq!(Record::decode(&encoded_record(&record)), Ok(record));
}

/// Field offsets as FORMAT.md draws them.
const KEY_BYTES_AT: usize = 6;
const VALUE_BYTES_AT: usize = 8;
const SESSION_SEQUENCE_AT: usize = 12;

fn decoded_with(change: impl Fn(&mut Vec<u8>)) -> DecodeError {
    let mut bytes = encoded_proposal(&proposal());
    change(&mut bytes);
    Proposal::decode(&bytes).expect_err("must be refused")
}

#[test]
fn a_proposal_with_a_long_key_or_value_is_refused_with_its_code() {
    let error = decoded_with(|bytes| bytes[KEY_BYTES_AT..][..2].copy_from_slice(&513u16.to_le_bytes()));
    assert_eq!(error, DecodeError::Shape(ShapeError::KeyTooLong { bytes: 513 }));
    assert_eq!(error.refusal(), RefusalCode::KeyTooLong);
    let error = decoded_with(|bytes| bytes[VALUE_BYTES_AT..][..4].copy_from_slice(&u32::MAX.to_le_bytes()));
    assert_eq!(error.refusal(), RefusalCode::ValueTooLong);
    let error = decoded_with(|bytes| {
        let value_bytes = (bytes.len() - PROPOSAL_HEAD_BYTES) as u32;
        bytes[KEY_BYTES_AT..][..2].fill(0);
        bytes[VALUE_BYTES_AT..][..4].copy_from_slice(&value_bytes.to_le_bytes());
    });
    assert_eq!(error.refusal(), RefusalCode::KeyEmpty);
    let error = decoded_with(|bytes| bytes[SESSION_SEQUENCE_AT..][..8].fill(0));
    assert_eq!(error, DecodeError::Shape(ShapeError::SessionSequenceZero));
    assert_eq!(error.refusal(), RefusalCode::Malformed);
}

#[test]
fn the_session_sequence_of_a_bad_proposal_can_still_be_told() {
    let bytes = encoded_proposal(&proposal());
    let known = Some(proposal().session_sequence);
    assert_eq!(Proposal::peek_session_sequence(&bytes), known);
    let mut long_key = bytes.clone();
    long_key[KEY_BYTES_AT..][..2].copy_from_slice(&u16::MAX.to_le_bytes());
    assert!(Proposal::decode(&long_key).is_err());
    assert_eq!(Proposal::peek_session_sequence(&long_key), known);
    assert_eq!(Proposal::peek_session_sequence(&bytes[..PROPOSAL_HEAD_BYTES]), known);
    assert_eq!(Proposal::peek_session_sequence(&bytes[..PROPOSAL_HEAD_BYTES - 1]), None);
    assert_eq!(Proposal::peek_session_sequence(&encoded_record(&records()[1])), None);
    let mut newer = bytes;
    newer[1] = 2;
    assert_eq!(Proposal::peek_session_sequence(&newer), None);
}

#[test]
fn set_bytes_that_must_be_zero_are_refused() {
    let reserved = decoded_with(|bytes| bytes[5] = 1);
    assert_eq!(reserved, DecodeError::ReservedNotZero { noun: Noun::Proposal });
    let unused_sequence = decoded_with(|bytes| bytes[3] = 1);
    assert_eq!(unused_sequence, DecodeError::ReservedNotZero { noun: Noun::Proposal });
    let mut receipt = receipt().encode();
    receipt[63] = 1;
    assert_eq!(Receipt::decode(&receipt), Err(DecodeError::ReservedNotZero { noun: Noun::Receipt }));
}

#[test]
fn unknown_tags_are_refused() {
    for (at, tags) in [(2, 1..=6), (3, 1..=3), (4, 1..=4)] {
        for tag in (0..=255).filter(|tag| !tags.contains(tag)) {
            let error = decoded_with(|bytes| bytes[at] = tag);
            assert_eq!(error, DecodeError::Invalid { noun: Noun::Proposal }, "byte {at} is {tag}");
        }
    }
}

#[test]
fn a_record_at_sequence_zero_is_refused() {
    let record = Record { sequence: Sequence::NONE, ..records()[1] };
    let mut out = vec![0; record.encoded_bytes()];
    assert_eq!(record.encode(&mut out), Err(EncodeError::Shape(ShapeError::SequenceZero)));
    let mut bytes = encoded_record(&records()[1]);
    bytes[16..24].fill(0);
    assert_eq!(Record::decode(&bytes), Err(DecodeError::Shape(ShapeError::SequenceZero)));
}

#[test]
fn an_accepted_receipt_names_its_sequence() {
    let mut bytes = receipt().encode();
    bytes[16..24].fill(0);
    assert_eq!(Receipt::decode(&bytes), Err(DecodeError::Shape(ShapeError::AcceptedWithoutSequence)));
}

#[test]
fn unknown_refusal_codes_are_refused() {
    let mut bytes = receipt().encode();
    bytes[4..8].copy_from_slice(&999u32.to_le_bytes());
    assert_eq!(Receipt::decode(&bytes), Err(DecodeError::RefusalUnknown { code: 999 }));
}

#[test]
fn a_buffer_that_is_too_short_is_left_alone() {
    let proposal = proposal();
    let needed = proposal.encoded_bytes();
    for found in [0, 1, PROPOSAL_HEAD_BYTES, needed - 1] {
        let mut out = vec![0xAB; found];
        assert_eq!(proposal.encode(&mut out), Err(EncodeError::NoRoom { needed, found }));
        assert!(out.iter().all(|byte| *byte == 0xAB));
    }
    let mut longer = vec![0xAB; needed + 8];
    assert_eq!(proposal.encode(&mut longer), Ok(needed));
    assert!(longer[needed..].iter().all(|byte| *byte == 0xAB), "bytes behind the encoding are not touched");
}
