//! A proof convinces whoever holds the genesis, and nobody with less than the truth makes one.

use io_oi_record::certificate::CertificateError;
use io_oi_record::evidence::EvidenceError;
use io_oi_record::genesis::GenesisError;
use io_oi_record::governance::{Change, GovernanceError};
use io_oi_record::proof::{ProofError, Proven, RecordProof};
use io_oi_record::*;

use crate::corpus::{self, certificate, genesis, header, leader, operator, proof, records, signed, voter};

fn refused(change: impl Fn(&mut RecordProof)) -> ProofError {
    let mut proof = proof();
    change(&mut proof);
    proof.verify(&genesis()).expect_err("must be refused")
}

#[test]
fn a_true_proof_names_what_it_proves() {
    let mut voters = vec![leader().node(), voter().node()];
    voters.sort_unstable();
    let proven = Proven {
        cluster: genesis().cluster(),
        shard: ShardId(2),
        epoch: Epoch(5),
        sequence: Sequence(9),
        time: header().time,
        leader: leader().node(),
        voters,
        governance_number: 1,
    };
    let bytes = proof().encode().expect("valid");
    let read = RecordProof::decode(&bytes).expect("valid");
    assert_eq!(read.verify(&genesis()), Ok(proven));
    assert_eq!(read.record(), Ok(records()[2]));
}

/// A block behind the corpus' own, and votes over it.
fn next_header() -> BlockHeader {
    BlockHeader {
        parent: header().hash(),
        first_sequence: header().last_sequence().next(),
        time: Nanos(header().time.0 + 1),
        ..header()
    }
}

fn certificate_over(header: &BlockHeader, signers: &[Signer]) -> QuorumCertificate {
    let mut certificate = QuorumCertificate::over(&Vote::of(header, signers[0].node()));
    for signer in signers {
        certificate.add(&signed(signer, Vote::of(header, signer.node())));
    }
    certificate
}

#[test]
fn a_later_certificate_covers_the_blocks_before_it() {
    let next = next_header();
    let mut proof = proof();
    proof.headers.push(next);
    assert_eq!(proof.verify(&genesis()), Err(ProofError::CertificateElsewhere));
    proof.certificate = certificate_over(&next, &[leader(), voter()]);
    assert!(proof.verify(&genesis()).is_ok());
    for broken in [
        BlockHeader { parent: Hash::ZERO, ..next },
        BlockHeader { first_sequence: next.first_sequence.next(), ..next },
        BlockHeader { epoch: Epoch(4), ..next },
        BlockHeader { time: header().time, ..next },
        BlockHeader { shard: ShardId(1), ..next },
    ] {
        proof.headers[1] = broken;
        proof.certificate = certificate_over(&broken, &[leader(), voter()]);
        assert_eq!(proof.verify(&genesis()), Err(ProofError::NoChain), "{broken:?}");
    }
}

#[test]
fn a_proof_with_anything_missing_or_foreign_is_refused() {
    assert_eq!(refused(|proof| proof.headers.clear()), ProofError::NoChain);
    assert_eq!(refused(|proof| proof.shard = ShardId(4)), ProofError::WrongCluster);
    assert_eq!(refused(|proof| proof.shard = ShardId(1)), ProofError::NoChain);
    assert_eq!(refused(|proof| proof.path.clear()), ProofError::RecordElsewhere);
    assert_eq!(refused(|proof| proof.path = vec![Hash::ZERO; 14]), ProofError::RecordElsewhere);
    let other = Record { verdict: Verdict::Accept, ..records()[2] };
    let other = corpus::encoded_record(&other);
    assert_eq!(refused(|proof| proof.record = other.clone()), ProofError::RecordElsewhere);
    assert!(matches!(refused(|proof| proof.genesis.signatures.clear()), ProofError::Genesis(_)));
    let mut stranger = genesis();
    stranger.created = Nanos(1);
    assert_eq!(proof().verify(&stranger), Err(ProofError::WrongCluster));
}

#[test]
fn the_votes_must_be_true_and_enough() {
    let one = certificate_over(&header(), &[voter()]);
    let short = CertificateError::NoQuorum { needed: 2, found: 1 };
    assert_eq!(refused(|proof| proof.certificate = one), ProofError::Certificate(short));
    let stranger = Signer::from_secret(&[9; 32]);
    let not_a_voter = CertificateError::NotAVoter { voter: stranger.node() };
    let foreign = certificate_over(&header(), &[voter(), Signer::from_secret(&[9; 32])]);
    assert_eq!(refused(|proof| proof.certificate = foreign), ProofError::Certificate(not_a_voter));
    let mut forged = certificate_over(&header(), &[voter()]);
    let vote = Vote::of(&header(), leader().node());
    forged.add(&evidence::Signed { statement: vote, signature: voter().sign_as_witness(&vote) });
    let wrong = CertificateError::Signature(VerifyError::SignatureWrong);
    assert_eq!(refused(|proof| proof.certificate = forged), ProofError::Certificate(wrong));
    // A header's signature of the same key is no vote.
    let mut header_for_vote = certificate_over(&header(), &[voter()]);
    header_for_vote.add(&evidence::Signed { statement: vote, signature: leader().sign(&header()) });
    assert_eq!(refused(|proof| proof.certificate = header_for_vote), ProofError::Certificate(wrong));
}

fn govern(number: u64, change: Change) -> SignedGovernance {
    SignedGovernance::sign(Governance { number, ..corpus::governance(change) }, &operator())
}

#[test]
fn governance_decides_whose_votes_count() {
    let change = |number: usize| corpus::changes().swap_remove(number).1;
    let promoted = vec![govern(1, change(0)), govern(2, change(1))];
    let three = |proof: &mut RecordProof| proof.governance = promoted.clone();
    let mut of_three = proof();
    three(&mut of_three);
    assert_eq!(of_three.verify(&genesis()).expect("two of three").governance_number, 2);
    let bar = Change::Bar(governance::Barring { node: voter().node(), evidence: Hash::ZERO });
    let barred = ProofError::Certificate(CertificateError::NotAVoter { voter: voter().node() });
    assert_eq!(refused(|proof| proof.governance = vec![govern(1, bar.clone())]), barred);
    let gap = ProofError::Governance { number: 2, code: RefusalCode::GovernanceNumber };
    assert_eq!(refused(|proof| proof.governance = vec![promoted[1].clone()]), gap);
    let by_stranger = SignedGovernance {
        signature: voter().sign_as_witness(&promoted[0].governance),
        ..promoted[0].clone()
    };
    let unsigned = ProofError::Governance { number: 1, code: RefusalCode::GovernanceUnsigned };
    assert_eq!(refused(|proof| proof.governance = vec![by_stranger.clone()]), unsigned);
}

#[test]
fn every_flipped_bit_of_a_proof_is_noticed() {
    let bytes = proof().encode().expect("valid");
    let proven = proof().verify(&genesis());
    for at in (0..bytes.len() * 8).step_by(11) {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        if let Ok(read) = RecordProof::decode(&flipped) {
            let verdict = read.verify(&genesis());
            assert!(verdict.is_err() && verdict != proven, "bit {at} of the proof");
        }
    }
}

#[test]
fn a_signed_change_binds_by_an_operator_of_its_cluster_only() {
    let signed = corpus::signed_governance();
    assert_eq!(signed.verify(&genesis()), Ok(()));
    let mut other_cluster = genesis();
    other_cluster.created = Nanos(1);
    assert_eq!(signed.verify(&other_cluster), Err(GovernanceError::WrongCluster));
    let by_node = Governance { operator: OperatorId(voter().node().0), ..signed.governance.clone() };
    let by_node = SignedGovernance::sign(by_node, &voter());
    let operator = OperatorId(voter().node().0);
    assert_eq!(by_node.verify(&genesis()), Err(GovernanceError::NoOperator { operator }));
    let mut changed = signed;
    changed.governance.number += 1;
    let wrong = GovernanceError::Signature(VerifyError::SignatureWrong);
    assert_eq!(changed.verify(&genesis()), Err(wrong));
}

#[test]
fn a_report_is_signed_by_its_reporter_and_convicts_by_itself() {
    let report = corpus::signed_evidence();
    assert_eq!(report.check(), Ok(voter().node()));
    let by_other = SignedEvidence { signature: leader().sign_as_witness(&report.evidence), ..report };
    assert_eq!(by_other.check(), Err(EvidenceError::ReportUnsigned(VerifyError::SignatureWrong)));
}

#[test]
fn a_certificate_names_each_voter_once_in_the_order_of_keys() {
    let certificate = certificate();
    let keys: Vec<NodeId> = certificate.votes().iter().map(|(voter, _)| *voter).collect();
    assert!(keys.is_sorted() && keys.len() == 2);
    let mut again = certificate;
    let vote = Vote::of(&header(), voter().node());
    assert!(!again.add(&signed(&voter(), vote)) && again == certificate);
    let bytes = corpus::encoded_certificate(&certificate);
    let (head, votes) = bytes.split_at(bytes.len() - 2 * 96);
    let (first, second) = votes.split_at(96);
    let swapped = [head, second, first].concat();
    let noun = Noun::QuorumCertificate;
    assert_eq!(QuorumCertificate::decode(&swapped), Err(DecodeError::NotCanonical { noun }));
    let twice = [head, first, first].concat();
    assert_eq!(QuorumCertificate::decode(&twice), Err(DecodeError::NotCanonical { noun }));
}

#[test]
fn a_genesis_that_somebody_has_yet_to_sign_says_so() {
    let second = Signer::from_secret(&[9; 32]);
    let mut two = genesis();
    two.operators.push(second.operator());
    let partly = SignedGenesis {
        signatures: vec![operator().sign_as_witness(&two), Signature([0; 64])],
        genesis: two,
    };
    assert_eq!(partly.verify(), Err(GenesisError::SignaturesMissing { needed: 2, found: 1 }));
}
