//! Evidence convicts the key that lied, and nobody else.

use io_oi_record::evidence::{Evidence, EvidenceError, Proof, Signed};
use io_oi_record::*;

use crate::corpus::{self, leader, records, signed, voter};

#[test]
fn true_evidence_names_the_accused() {
    let accused = [leader(), voter(), voter(), leader()].map(|signer| signer.node());
    for ((name, proof), accused) in corpus::proofs().into_iter().zip(accused) {
        let evidence = corpus::evidence(proof);
        assert_eq!(evidence.check(), Ok(accused), "{name}");
        assert_eq!(evidence.needs_judging(), name == "evidence_wrong_verdict");
    }
}

fn two_headers(one: BlockHeader, other: BlockHeader) -> Result<NodeId, EvidenceError> {
    corpus::evidence(Proof::TwoHeaders(signed(&leader(), one), signed(&leader(), other))).check()
}

#[test]
fn headers_that_share_a_sequence_of_an_epoch_convict() {
    let header = corpus::header();
    let shifted = BlockHeader { first_sequence: header.last_sequence(), ..header };
    assert_eq!(two_headers(header, shifted), Ok(leader().node()), "overlap by one sequence");
    assert_eq!(two_headers(shifted, header), Ok(leader().node()));
}

#[test]
fn an_honest_leader_is_not_convicted() {
    let header = corpus::header();
    assert_eq!(two_headers(header, header), Err(EvidenceError::NoContradiction), "the same header twice");
    let next = BlockHeader { first_sequence: header.last_sequence().next(), ..header };
    assert_eq!(two_headers(header, next), Err(EvidenceError::NoContradiction), "one behind the other");
    assert_eq!(two_headers(next, header), Err(EvidenceError::NoContradiction), "named the other way round");
    let later = BlockHeader { epoch: header.epoch.next(), ..header };
    assert_eq!(two_headers(header, later), Err(EvidenceError::NoContradiction), "another epoch");
}

#[test]
fn an_honest_voter_is_not_convicted() {
    let vote = corpus::vote();
    let next = Vote { sequence: vote.sequence.next(), block: Hash::ZERO, ..vote };
    let votes = Proof::TwoVotes(signed(&voter(), vote), signed(&voter(), next));
    assert_eq!(corpus::evidence(votes).check(), Err(EvidenceError::NoContradiction));
    let grant = corpus::ballot_grant();
    let grants = Proof::TwoGrants(signed(&voter(), grant), signed(&voter(), grant));
    assert_eq!(corpus::evidence(grants).check(), Err(EvidenceError::NoContradiction));
}

#[test]
fn made_up_statements_do_not_convict() {
    let header = corpus::header();
    let other = BlockHeader { time: Nanos(1), ..header };
    let forged = Signed { statement: other, signature: voter().sign_as_witness(&other) };
    let evidence = corpus::evidence(Proof::TwoHeaders(signed(&leader(), header), forged));
    assert_eq!(evidence.check(), Err(EvidenceError::Unsigned(VerifyError::SignatureWrong)));
}

#[test]
fn statements_of_two_keys_or_another_place_do_not_convict() {
    let header = corpus::header();
    let by_other = BlockHeader { leader: voter().node(), ..header };
    let two_keys = Proof::TwoHeaders(signed(&leader(), header), signed(&voter(), by_other));
    assert_eq!(corpus::evidence(two_keys).check(), Err(EvidenceError::Unrelated));
    let (_, proof) = corpus::proofs().swap_remove(0);
    let elsewhere = Evidence { shard: ShardId(9), ..corpus::evidence(proof) };
    assert_eq!(elsewhere.check(), Err(EvidenceError::Unrelated));
}

#[test]
fn a_record_that_the_header_does_not_prove_convicts_nobody() {
    let (_, proof) = corpus::proofs().swap_remove(3);
    let Proof::WrongVerdict { header, path, .. } = proof else { panic!("the fourth is the verdict") };
    let other = Record { verdict: Verdict::Accept, ..records()[3] };
    let record = corpus::encoded_record(&other);
    let evidence =
        corpus::evidence(Proof::WrongVerdict { header, record: record.clone(), path: path.clone() });
    assert_eq!(evidence.check(), Err(EvidenceError::Unproven));
    let long = Proof::WrongVerdict { header, record, path: vec![Hash::ZERO; 14] };
    assert_eq!(corpus::evidence(long.clone()).check(), Err(EvidenceError::Unproven));
    assert!(matches!(corpus::evidence(long).encode(), Err(EncodeError::TooLong { max: 13, .. })));
}
