//! The signing guard, and what a log must not say.

mod support;

use io_oi_consensus::{
    BallotAnswer, ChainError, EpochClaim, EpochPromise, RecoverError, Seal, SigningRefused,
};
use io_oi_record::{Ballot, BlockHeader, Epoch, Hash, Nanos, NodeId, Sequence, ShardId, verify};
use support::*;

#[test]
fn no_header_is_signed_before_the_claim_is_durable() {
    let mut machine = machine(1);
    machine.stand();
    let header = next_header(&machine, 1);
    let refused = machine.sign(&header, header.hash(), &signer());
    assert_eq!(refused, Err(SigningRefused::EpochNotOpen { epoch: Epoch(1) })); // [P-40]
    machine.handle_claim_durable();
    let signature = machine.sign(&header, header.hash(), &signer()).expect("the claim is durable");
    assert_eq!(verify(&header, &signature), Ok(()));
}

#[test]
fn a_second_header_for_one_place_is_never_signed() {
    let mut machine = leader(1);
    let header = next_header(&machine, 2);
    machine.sign(&header, header.hash(), &signer()).expect("the first");
    let other = BlockHeader { root: Hash([6; 32]), ..header };
    let refused = machine.sign(&other, other.hash(), &signer());
    let (first_sequence, signed_through) = (Sequence(1), Sequence(2));
    assert_eq!(refused, Err(SigningRefused::NotNext { first_sequence, signed_through })); // [P-41]
}

#[test]
fn a_header_that_leaves_one_out_is_not_signed() {
    let mut machine = leader(1);
    let first = next_header(&machine, 2);
    machine.handle_appended(&first);
    let second = next_header(&machine, 2);
    assert!(machine.sign(&second, second.hash(), &signer()).is_err());
    assert!(machine.sign(&first, first.hash(), &signer()).is_ok());
    assert!(machine.sign(&second, second.hash(), &signer()).is_ok());
}

#[test]
fn a_header_of_a_closed_or_another_epoch_is_not_signed() {
    let mut machine = machine(1);
    machine.recover_claim(&support::machine(1).stand()).expect("sound");
    machine.stand();
    machine.handle_claim_durable();
    for epoch in [1, 3] {
        let header = BlockHeader { epoch: Epoch(epoch), ..next_header(&machine, 1) };
        let refused = machine.sign(&header, header.hash(), &signer());
        assert_eq!(refused, Err(SigningRefused::EpochNotOpen { epoch: Epoch(epoch) })); // [P-20]
    }
}

#[test]
fn a_promise_read_back_binds_to_its_candidate_in_its_own_epoch_only() {
    let candidate = members(3).voters()[1];
    let ballot = |epoch: u64| Ballot { epoch: Epoch(epoch), candidate, ..machine(3).ballot(0) };
    let promise = |epoch: u64| EpochPromise {
        cluster: CLUSTER,
        shard: SHARD,
        node: signer().node(),
        epoch: Epoch(epoch),
        candidate,
    };
    let mut machine = machine(3);
    machine.recover_promise(&promise(2)).expect("sound");
    assert_eq!(machine.judge_ballot(&ballot(2)), BallotAnswer::Again);
    let claim = EpochClaim { epoch: Epoch(3), ..support::machine(3).stand() };
    machine.recover_claim(&claim).expect("sound");
    machine.begin();
    assert_eq!(machine.judge_ballot(&ballot(3)), BallotAnswer::Deny, "epoch 3 was claimed here [P-26]");
}

/// The claim, one block and its seal, as a log holds them.
fn sound_log() -> (EpochClaim, BlockHeader, Seal) {
    let claim = machine(1).stand();
    let mut machine = leader(1);
    let header = next_header(&machine, 3);
    let header_hash = machine.handle_appended(&header);
    let signature = machine.sign(&header, header_hash, &signer()).expect("a leader signs");
    let seal = Seal { epoch: Epoch(1), last_sequence: Sequence(3), header_hash, signature };
    (claim, header, seal)
}

#[test]
fn a_sound_log_is_read_and_closes_its_epochs() {
    let (claim, header, seal) = sound_log();
    let mut machine = machine(1);
    assert_eq!(machine.recover_claim(&claim), Ok(()));
    assert_eq!(machine.recover_block(&header), Ok(Sequence::NONE));
    assert_eq!(machine.recover_seal(&seal), Ok(()));
    let claim = machine.stand();
    assert_eq!((claim.epoch, claim.tip_sequence, claim.tip_hash), (Epoch(2), Sequence(3), header.hash())); // [P-21]
}

#[test]
fn a_later_block_of_an_epoch_proves_the_commit_of_the_one_two_places_before() {
    let mut writer = leader(1);
    let mut reader = machine(1);
    reader.recover_claim(&machine(1).stand()).expect("sound");
    let mut proven = Vec::new();
    for _ in 0..5 {
        let header = next_header(&writer, 2);
        writer.handle_appended(&header);
        writer.handle_own_durable(header.last_sequence());
        proven.push(reader.recover_block(&header).expect("sound").0);
    }
    assert_eq!(proven, [0, 0, 2, 4, 6]); // [P-55]
}

#[test]
fn a_header_that_does_not_continue_the_chain_is_refused_by_name() {
    let (claim, header, _) = sound_log();
    let refused = |header: BlockHeader| {
        let mut machine = machine(1);
        machine.recover_claim(&claim).expect("sound");
        machine.recover_block(&header).expect_err("not sound")
    };
    let stranger = NodeId([8; 32]);
    assert_eq!(
        refused(BlockHeader { parent: Hash([1; 32]), ..header }),
        RecoverError::Chain(ChainError::ParentDiffers { first_sequence: Sequence(1) })
    );
    assert_eq!(
        refused(BlockHeader { first_sequence: Sequence(2), ..header }),
        RecoverError::Chain(ChainError::SequenceGap { expected: Sequence(1), found: Sequence(2) })
    );
    assert_eq!(
        refused(BlockHeader { time: Nanos(0), ..header }),
        RecoverError::Chain(ChainError::TimeNotGreater { parent: Nanos(0), found: Nanos(0) })
    );
    assert_eq!(
        refused(BlockHeader { shard: ShardId(4), ..header }),
        RecoverError::WrongGroup { sequence: Sequence(1) }
    );
    assert_eq!(
        refused(BlockHeader { leader: stranger, ..header }),
        RecoverError::StrangeLeader { leader: stranger }
    );
    let refused = refused(BlockHeader { epoch: Epoch(0), ..header });
    assert!(matches!(refused, RecoverError::Chain(ChainError::EpochWentBack { .. })), "{refused:?}");
}

#[test]
fn our_own_block_without_a_claim_stops_a_cloned_disk() {
    let (_, header, _) = sound_log();
    let mut cloned = machine(1);
    assert!(cloned.recover_block(&header).is_ok(), "the log is read to its end, its node stays silent");
    assert_eq!(cloned.unclaimed(), Some(Epoch(1))); // [P-44]
    let (claim, header, _) = sound_log();
    let mut sound = machine(1);
    sound.recover_claim(&claim).expect("a sound claim");
    sound.recover_block(&header).expect("a sound block");
    assert_eq!(sound.unclaimed(), None);
}

#[test]
fn a_claim_that_goes_back_or_stands_elsewhere_is_refused() {
    let (claim, header, _) = sound_log();
    let mut machine = machine(1);
    machine.recover_claim(&claim).expect("sound");
    let (closed, found) = (Epoch(1), Epoch(1));
    assert_eq!(machine.recover_claim(&claim), Err(RecoverError::ClaimWentBack { closed, found }));
    let later = EpochClaim { epoch: Epoch(2), ..claim };
    machine.recover_block(&header).expect("sound");
    let (named, found) = (Sequence(0), Sequence(3));
    assert_eq!(machine.recover_claim(&later), Err(RecoverError::ClaimElsewhere { named, found }));
    let stranger = EpochClaim { node: NodeId([8; 32]), ..claim };
    assert_eq!(machine.recover_claim(&stranger), Err(RecoverError::WrongGroup { sequence: Sequence(0) }));
}

#[test]
fn a_seal_that_was_logged_twice_is_no_contradiction() {
    let (claim, header, seal) = sound_log();
    let mut machine = machine(1);
    machine.recover_claim(&claim).expect("sound");
    machine.recover_block(&header).expect("sound");
    assert_eq!(machine.recover_seal(&seal), Ok(()));
    assert_eq!(machine.recover_seal(&seal), Ok(()), "a restarted follower is told again [P-42]");
}

#[test]
fn a_seal_that_fits_no_block_or_was_signed_by_another_is_refused() {
    let (claim, header, seal) = sound_log();
    let sealed = |seal: Seal| {
        let mut machine = machine(1);
        machine.recover_claim(&claim).expect("sound");
        machine.recover_block(&header).expect("sound");
        machine.recover_seal(&seal)
    };
    let sequence = Sequence(3);
    assert_eq!(sealed(seal), Ok(()));
    let missing = Err(RecoverError::SealWithoutBlock { sequence });
    assert_eq!(sealed(Seal { header_hash: Hash([1; 32]), ..seal }), missing);
    assert_eq!(sealed(Seal { epoch: Epoch(2), ..seal }), missing);
    let mut forged = seal;
    forged.signature.0[40] ^= 1;
    assert_eq!(sealed(forged), Err(RecoverError::SealForged { sequence })); // [P-42]
    assert_eq!(machine(1).recover_seal(&seal), missing, "a seal without any block");
}
