//! A signature belongs to one statement, in one place, by one key.

use std::collections::BTreeSet;

use io_oi_record::sign::{DOMAIN_TAG, PREAMBLE_BYTES};
use io_oi_record::*;

use crate::corpus::*;

#[test]
fn a_header_with_any_bit_flipped_fails_verification() {
    let header = header();
    let signature = leader().sign(&header);
    assert_eq!(verify(&header, &signature), Ok(()));
    let bytes = header.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refused = match BlockHeader::decode(&flipped) {
            Ok(flipped) => verify(&flipped, &signature).is_err(),
            Err(_) => true,
        };
        assert!(refused, "bit {bit} of the header");
    }
}

#[test]
fn a_signature_with_any_bit_flipped_fails_verification() {
    let header = header();
    let signature = leader().sign(&header);
    let key = VerifyingKey::new(&header.leader.0).expect("a proper key");
    for bit in 0..512 {
        let mut flipped = signature;
        flipped.0[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.verify(&header, &flipped), Err(VerifyError::SignatureWrong), "bit {bit}");
    }
}

#[test]
fn a_signature_is_worth_nothing_in_another_cluster_shard_or_epoch() {
    let grant = ballot_grant();
    let signature = voter().sign(&grant);
    assert_eq!(verify(&grant, &signature), Ok(()));
    for other in [
        BallotGrant { cluster: ClusterId([0; 32]), ..grant },
        BallotGrant { shard: ShardId(3), ..grant },
        BallotGrant { epoch: Epoch(7), ..grant },
        BallotGrant { candidate: voter().node(), ..grant },
        BallotGrant { voter: leader().node(), ..grant },
    ] {
        assert_eq!(verify(&other, &signature), Err(VerifyError::SignatureWrong), "{other:?}");
    }
}

#[test]
fn a_vote_with_anything_changed_fails_verification() {
    let vote = vote();
    let signature = voter().sign(&vote);
    for other in [
        Vote { sequence: vote.sequence.next(), ..vote },
        Vote { block: Hash::ZERO, ..vote },
        Vote { epoch: vote.epoch.next(), ..vote },
    ] {
        assert!(verify(&other, &signature).is_err(), "{other:?}");
    }
}

#[test]
fn signed_bytes_say_where_and_what_they_are_for() {
    fn preamble<S: Statement>(statement: &S) -> Vec<u8> {
        let preamble = statement.with_signed_bytes(|bytes| bytes[..PREAMBLE_BYTES].to_vec());
        assert_eq!(preamble[..16], DOMAIN_TAG);
        assert_eq!(preamble[16..48], statement.cluster().0);
        assert_eq!(preamble[48..50], statement.shard().0.to_le_bytes());
        assert_eq!(preamble[50], S::KIND as u8);
        preamble
    }
    let (_, change) = changes().swap_remove(0);
    let (_, proof) = proofs().swap_remove(0);
    let preambles = BTreeSet::from([
        preamble(&header()),
        preamble(&vote()),
        preamble(&ballot()),
        preamble(&ballot_grant()),
        preamble(&governance(change)),
        preamble(&genesis()),
        preamble(&evidence(proof)),
    ]);
    assert_eq!(preambles.len(), 7, "every kind has a preamble of its own");
}

#[test]
fn an_appointment_is_signed_for_its_shard() {
    let appoint = changes().into_iter().find(|(name, _)| *name == "governance_appoint").expect("exists").1;
    assert_eq!(governance(appoint).shard(), ShardId(2));
}

#[test]
#[should_panic(expected = "a signer only signs for itself")]
fn a_signer_does_not_sign_in_another_name() {
    let _ = voter().sign(&header());
}

#[test]
fn a_genesis_is_trusted_when_every_operator_has_signed() {
    use io_oi_record::genesis::GenesisError;
    let second = Signer::from_secret(&[9; 32]);
    let mut two = genesis();
    two.operators.push(second.operator());

    let signed = SignedGenesis::sign(two.clone(), &[&operator(), &second]).expect("both signed");
    assert_eq!(signed.verify(), Ok(two.cluster()));

    let one = SignedGenesis::sign(two.clone(), &[&operator()]);
    assert_eq!(one, Err(GenesisError::SignaturesMissing { needed: 2, found: 1 }));
    let strangers = SignedGenesis::sign(two.clone(), &[&operator(), &voter()]);
    assert_eq!(strangers, Err(GenesisError::Signature(VerifyError::SignatureWrong)));

    let mut changed = signed;
    changed.genesis.shards += 1;
    assert_eq!(changed.verify(), Err(GenesisError::Signature(VerifyError::SignatureWrong)));
}

#[test]
fn a_genesis_with_a_broken_limit_is_refused() {
    let broken = |change: fn(&mut Genesis)| {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.encode().expect_err("must be refused")
    };
    assert!(matches!(broken(|g| g.members.clear()), EncodeError::Empty { .. }));
    assert!(matches!(broken(|g| g.operators.clear()), EncodeError::Empty { .. }));
    assert!(matches!(broken(|g| g.shards = 0), EncodeError::Empty { .. }));
    assert!(matches!(broken(|g| g.shards = 65), EncodeError::TooLong { max: 64, .. }));
    assert!(matches!(broken(|g| g.members[0].name.clear()), EncodeError::Empty { .. }));
    assert!(matches!(broken(|g| g.members[0].name = "x".repeat(65)), EncodeError::TooLong { max: 64, .. }));
    assert!(matches!(broken(|g| g.members[1].name = "alpha".into()), EncodeError::Twice { .. }));
    assert!(matches!(broken(|g| g.members[1].node = g.members[0].node), EncodeError::Twice { .. }));
    assert!(matches!(broken(|g| g.operators.push(g.operators[0])), EncodeError::Twice { .. }));
    assert!(matches!(
        broken(|g| g.members = vec![g.members[0].clone(); 8]),
        EncodeError::TooLong { max: 7, .. }
    ));
}
