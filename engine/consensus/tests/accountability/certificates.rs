//! Votes make a certificate: in any order, never with a forged one among them, never displaced by nonsense.

use io_oi_consensus::{Certifier, VoteOutcome};
use io_oi_record::evidence::Signed;
use io_oi_record::*;
use proptest::prelude::*;

use crate::support::*;

fn true_vote(voter: u8, epoch: u64, sequence: u64) -> Signed<Vote> {
    signed(&node(voter), vote(voter, epoch, sequence, sequence as u8))
}

fn honest(roster: &Roster) -> Vec<NodeId> {
    roster.voters().filter(|voter| !roster.is_barred(*voter)).collect()
}

#[test]
fn a_quorum_of_votes_over_one_block_is_a_certificate() {
    let (mut certifier, roster) = (Certifier::new(), roster());
    assert_eq!(certifier.collect(&true_vote(0, 1, 4), &roster), VoteOutcome::Collected);
    assert_eq!(certifier.collect(&true_vote(1, 1, 5), &roster), VoteOutcome::Collected, "another block");
    assert_eq!(certifier.collect(&true_vote(1, 1, 4), &roster), VoteOutcome::Certified);
    let certificate = *certifier.newest().expect("just made");
    assert_eq!((certificate.sequence, certifier.certified()), (Sequence(4), Sequence(4)));
    assert_eq!(certificate.verify(&honest(&roster), roster.quorum_size()), Ok(())); // [P-101]
    assert_eq!(certifier.collect(&true_vote(2, 1, 4), &roster), VoteOutcome::Stale);
    assert_eq!(certifier.collect(&true_vote(2, 1, 5), &roster), VoteOutcome::Certified);
}

#[test]
fn votes_for_different_blocks_of_one_place_do_not_add_up() {
    let (mut certifier, roster) = (Certifier::new(), roster());
    certifier.collect(&signed(&node(0), vote(0, 1, 4, 1)), &roster);
    let other_block = signed(&node(1), vote(1, 1, 4, 2));
    assert_eq!(certifier.collect(&other_block, &roster), VoteOutcome::Collected);
    let other_epoch = signed(&node(1), vote(1, 2, 4, 1));
    assert_eq!(certifier.collect(&other_epoch, &roster), VoteOutcome::Collected);
    assert_eq!(certifier.newest(), None);
}

#[test]
fn a_forged_vote_is_thrown_out_when_it_would_count() {
    let (mut certifier, roster) = (Certifier::new(), roster());
    certifier.collect(&true_vote(0, 1, 4), &roster);
    let forged = forged(vote(1, 1, 4, 4));
    assert_eq!(certifier.collect(&forged, &roster), VoteOutcome::Collected);
    assert_eq!((certifier.newest(), certifier.forged_count()), (None, 1));
    assert_eq!(certifier.collect(&true_vote(2, 1, 4), &roster), VoteOutcome::Certified);
    assert_eq!(certifier.newest().map(|certificate| certificate.votes().len()), Some(2));
}

#[test]
fn only_voters_in_good_standing_count() {
    let mut roster = roster();
    for (number, change) in [(1, add(3)), (2, bar(2))] {
        roster.apply(&govern(number, change)).expect("applicable");
    }
    let mut certifier = Certifier::new();
    for voter in [2, 3, 9] {
        // [P-93]
        assert_eq!(certifier.collect(&true_vote(voter, 1, 4), &roster), VoteOutcome::NotCounted, "{voter}");
    }
    certifier.collect(&true_vote(0, 1, 4), &roster);
    assert_eq!(certifier.collect(&true_vote(1, 1, 4), &roster), VoteOutcome::Certified);
}

#[test]
fn a_bar_that_comes_between_two_votes_counts() {
    let (mut certifier, mut roster) = (Certifier::new(), roster());
    certifier.collect(&true_vote(2, 1, 4), &roster);
    roster.apply(&govern(1, bar(2))).expect("applicable");
    assert_eq!(certifier.collect(&true_vote(0, 1, 4), &roster), VoteOutcome::Collected);
    assert_eq!(certifier.collect(&true_vote(1, 1, 4), &roster), VoteOutcome::Certified);
    let certificate = certifier.newest().expect("just made");
    assert_eq!(certificate.verify(&honest(&roster), 2), Ok(()));
}

#[test]
fn nonsense_of_one_voter_displaces_no_other() {
    let (mut certifier, roster) = (Certifier::new(), roster());
    certifier.collect(&true_vote(0, 1, 4), &roster);
    for sequence in 1_000..2_000 {
        certifier.collect(&forged(vote(2, 1, sequence, 9)), &roster);
    }
    assert_eq!(certifier.collect(&true_vote(1, 1, 4), &roster), VoteOutcome::Certified);
}

#[test]
fn the_places_of_those_who_leave_are_given_to_those_who_come() {
    let (mut certifier, mut roster) = (Certifier::new(), roster());
    let mut number = 0;
    let mut apply = |roster: &mut Roster, change| {
        number += 1;
        roster.apply(&govern(number, change)).expect("applicable");
    };
    for round in 0..20u64 {
        let (leaver, comer) = (round as u8, round as u8 + 3);
        for voter in leaver..comer {
            certifier.collect(&true_vote(voter, 1, 1 + round), &roster);
        }
        assert_eq!(certifier.certified(), Sequence(1 + round));
        apply(&mut roster, add(comer));
        apply(&mut roster, promote(comer));
        apply(&mut roster, remove(leaver));
    }
}

#[test]
fn votes_are_collected_without_allocating() {
    let (mut certifier, roster) = (Certifier::new(), roster());
    let votes: Vec<_> = (1..50).flat_map(|at| (0..3).map(move |voter| true_vote(voter, 1, at))).collect();
    let counted = allocation_counter::measure(|| {
        votes.iter().for_each(|vote| {
            certifier.collect(vote, &roster);
        });
    });
    assert_eq!((counted.count_total, certifier.certified()), (0, Sequence(49)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Certified is exactly what a quorum has truly signed, whatever the order and whatever else is claimed.
    #[test]
    fn what_is_certified_was_signed_by_a_quorum(
        votes in proptest::collection::vec((0..5u8, 1..4u64, any::<bool>(), 0..2u8), 0..24),
    ) {
        let genesis = genesis_of(5, ControlMode::Competitive);
        let roster = Roster::of(&genesis);
        let mut certifier = Certifier::new();
        let mut signers = std::collections::BTreeMap::<(u64, u8), std::collections::BTreeSet<u8>>::new();
        let mut best = 0;
        for (voter, sequence, is_true, variant) in votes {
            let statement = vote(voter, 1, sequence, variant);
            let vote = if is_true { signed(&node(voter), statement) } else { forged(statement) };
            certifier.collect(&vote, &roster);
            if is_true && sequence > best {
                let signers = signers.entry((sequence, variant)).or_default();
                signers.insert(voter);
                if signers.len() >= roster.quorum_size() {
                    best = sequence;
                }
            }
            prop_assert_eq!(certifier.certified(), Sequence(best));
            if let Some(certificate) = certifier.newest() {
                prop_assert_eq!(certificate.verify(&honest(&roster), roster.quorum_size()), Ok(()));
            }
        }
    }
}
