//! A governance record and the bytes that travel with it: nothing but what was signed for is read.

use io_oi_record::governance::{Change, Governance};
use io_oi_record::hash::Domain;
use io_oi_record::limits::{OPERATOR_WRITE_BYTES_MAX, PART_BYTES_MAX, SHIPMENT_BYTES_MAX};
use io_oi_record::proposal::PROPOSAL_HEAD_BYTES;
use io_oi_record::{
    ComponentPart, DecodeError, Durability, EncodeError, Hash, Noun, Operation, Precondition, Proposal,
    SessionSequence, Shipment, SignedGovernance,
};

use crate::corpus::{self, PART, operator, shipment};

fn part_of(bytes: &[u8]) -> SignedGovernance {
    let change = Change::StorePart(ComponentPart::of(Hash([1; 32]), bytes));
    SignedGovernance::sign(Governance { number: 2, ..corpus::governance(change) }, &operator())
}

#[test]
fn a_payload_that_was_not_signed_for_is_refused() {
    let good = shipment().encode().expect("valid");
    let last = good.len() - 1;
    let mut changed = good.clone();
    changed[last] ^= 1;
    let wrong = Err(DecodeError::Limit(EncodeError::PayloadWrong));
    assert_eq!(Shipment::decode(&changed), wrong);
    assert_eq!(Shipment::decode(&good[..last]), wrong);
    assert_eq!(Shipment { payload: b"other", ..shipment() }.encode(), Err(EncodeError::PayloadWrong));
}

#[test]
fn a_part_is_never_without_its_bytes_and_nothing_else_has_any() {
    let without = Shipment { payload: &[], ..shipment() };
    assert!(matches!(without.encode(), Err(EncodeError::Empty { .. })));
    let alone = shipment().signed.encode().expect("valid");
    assert!(matches!(Shipment::decode(&alone), Err(DecodeError::Limit(EncodeError::Empty { .. }))));
    let other = Shipment { signed: corpus::signed_governance(), payload: PART };
    assert!(matches!(other.encode(), Err(EncodeError::TooLong { .. })));
    let plain = Shipment { signed: corpus::signed_governance(), payload: &[] };
    let bytes = plain.encode().expect("valid");
    assert_eq!(SignedGovernance::decode(&bytes), Ok(corpus::signed_governance()));
    assert_eq!(Shipment::decode(&bytes), Ok(plain));
}

#[test]
fn an_operator_signs_for_one_short_put_or_delete_and_its_bytes() {
    let (change, payload) = corpus::operators_write();
    let signed = SignedGovernance::sign(corpus::governance(change), &operator());
    let good = Shipment { signed: signed.clone(), payload: &payload };
    let bytes = good.encode().expect("valid");
    let read = Shipment::decode(&bytes).expect("valid");
    assert_eq!(
        read.write().map(|write| (write.key, write.value)),
        Some((&b"ord/acct7/"[..], &b"limits"[..]))
    );
    assert_eq!(Shipment { signed, payload: PART }.encode(), Err(EncodeError::PayloadWrong));
    let open =
        Proposal { session_sequence: SessionSequence::NONE, operation: Operation::OpenSession, ..plain() };
    let mut payload = vec![0; open.encoded_bytes()];
    open.encode(&mut payload).expect("well-shaped");
    let change = Change::Write(Domain::OperatorWrite.hash(&payload));
    let signed = SignedGovernance::sign(corpus::governance(change), &operator());
    assert_eq!(
        Shipment { signed, payload: &payload }.encode(),
        Err(EncodeError::PayloadWrong),
        "no write at all"
    );
    assert_eq!(Change::write(&open), Err(EncodeError::PayloadWrong));
    let value = vec![7; OPERATOR_WRITE_BYTES_MAX - PROPOSAL_HEAD_BYTES - 1];
    let longest = Proposal { operation: Operation::Put, key: b"k", value: &value, ..plain() };
    assert!(Change::write(&longest).is_ok());
    assert!(matches!(Change::write(&Proposal { key: b"kk", ..longest }), Err(EncodeError::TooLong { .. })));
}

fn plain() -> Proposal<'static> {
    Proposal {
        session_sequence: SessionSequence(1),
        operation: Operation::Delete,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key: b"",
        value: b"",
    }
}

#[test]
fn the_head_is_what_it_says() {
    let good = shipment().encode().expect("valid");
    let signed_bytes = shipment().signed.encode().expect("valid").len();
    assert_eq!(
        Shipment::decode(&good[..4 + signed_bytes]),
        Err(DecodeError::NotCanonical { noun: Noun::Shipment })
    );
    for end in 1..4 + signed_bytes {
        assert!(Shipment::decode(&good[..end]).is_err(), "cut at {end}");
    }
    let mut long = good;
    long[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
    assert!(matches!(Shipment::decode(&long), Err(DecodeError::LengthMismatch { .. })));
}

#[test]
fn the_longest_part_travels_and_no_longer_one() {
    let longest = vec![7; PART_BYTES_MAX];
    let shipment = Shipment { signed: part_of(&longest), payload: &longest };
    let bytes = shipment.encode().expect("within the limits");
    assert!(bytes.len() <= SHIPMENT_BYTES_MAX);
    assert_eq!(Shipment::decode(&bytes), Ok(shipment));
    let longer = vec![7; PART_BYTES_MAX + 1];
    let refused = Shipment { signed: part_of(&longer), payload: &longer }.encode();
    assert!(matches!(refused, Err(EncodeError::TooLong { .. })));
    assert!(matches!(
        Shipment::decode(&vec![Noun::Shipment as u8; SHIPMENT_BYTES_MAX + 1]),
        Err(DecodeError::TooLong { .. })
    ));
}
