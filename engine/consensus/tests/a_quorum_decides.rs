//! Quorum counting, the same code for one voter and for seven.

mod support;

use io_oi_consensus::{Membership, MembershipError, Positions, Role};
use io_oi_record::{Durability, Epoch, NodeId, Sequence};
use proptest::prelude::*;
use support::*;

#[test]
fn a_membership_names_one_to_seven_voters_once_each() {
    let voters: Vec<NodeId> = (0..8).map(|number| NodeId([number; 32])).collect();
    assert_eq!(Membership::new(&[]).err(), Some(MembershipError::Empty));
    assert_eq!(Membership::new(&voters).err(), Some(MembershipError::TooMany { voter_count: 8 }));
    let twice = [voters[0], voters[1], voters[0]];
    assert_eq!(Membership::new(&twice).err(), Some(MembershipError::NamedTwice { index: 2 }));
    assert!((1..=7).all(|voter_count| Membership::new(&voters[..voter_count]).is_ok())); // [P-10]
}

#[test]
fn any_two_quorums_share_a_voter() {
    for voter_count in 1..=7 {
        let quorum_size = members(voter_count).quorum_size();
        assert!(2 * quorum_size > voter_count && quorum_size <= voter_count); // [P-11]
    }
}

#[test]
fn a_node_leads_exactly_when_a_quorum_has_granted_its_epoch() {
    for voter_count in 1..=7 {
        let mut machine = machine(voter_count);
        let members = *machine.members();
        let epoch = machine.stand().epoch;
        assert_eq!(machine.role(), Role::Claiming); // [P-22]
        for voter in members.voters() {
            let early = machine.handle_grant(members.voter_index(*voter).expect("a voter"), epoch);
            assert!(!early && machine.role() == Role::Claiming, "nothing counts before the claim is durable");
        }
        machine.handle_claim_durable();
        for (granted, voter) in (1..).zip(&members.voters()[1..]) {
            // The node's own claim is the first grant. [P-23]
            assert_eq!(machine.role() == Role::Leading, granted >= members.quorum_size()); // [P-24]
            let voter = members.voter_index(*voter).expect("a voter");
            assert!(!machine.handle_grant(voter, Epoch(epoch.0 + 1)), "a grant for another epoch");
            assert!(machine.handle_grant(voter, epoch));
            assert!(!machine.handle_grant(voter, epoch), "a repeated grant");
        }
        assert_eq!(machine.role(), Role::Leading);
    }
}

#[test]
fn a_durable_report_from_another_epoch_or_beyond_the_chain_does_not_count() {
    let mut machine = leader(3);
    let header = next_header(&machine, 4);
    machine.handle_appended(&header);
    let other = machine.members().voter_index(NodeId([1; 32])).expect("a voter");
    machine.handle_own_durable(Sequence(4));
    assert_eq!(machine.committed(), Sequence::NONE);
    assert!(!machine.handle_durable(other, Epoch(0), Sequence(4)));
    assert!(!machine.handle_durable(other, machine.epoch(), Sequence(5)));
    assert_eq!(machine.committed(), Sequence::NONE);
    assert!(machine.handle_durable(other, machine.epoch(), Sequence(4)));
    assert!(!machine.handle_durable(other, machine.epoch(), Sequence(3)), "a stale report");
    assert_eq!(machine.committed(), Sequence(4));
}

#[test]
fn nothing_of_an_earlier_epoch_commits_before_the_start_of_the_current_one_does() {
    let mut before = leader(1);
    let header = next_header(&before, 3);
    before.handle_appended(&header);

    let mut machine = machine(1);
    machine.recover_claim(&claim_of_first_epoch()).expect("sound");
    machine.recover_block(&header).expect("sound");
    assert_eq!(machine.stand().epoch, Epoch(2));
    machine.handle_claim_durable();
    machine.handle_own_durable(Sequence(3));
    assert_eq!(machine.committed(), Sequence::NONE, "durable at a quorum, but of an earlier epoch"); // [P-52]
    let start = next_header(&machine, 1);
    machine.handle_appended(&start);
    machine.handle_own_durable(Sequence(4));
    assert_eq!(machine.committed(), Sequence(4));
}

fn claim_of_first_epoch() -> io_oi_consensus::EpochClaim {
    machine(1).stand()
}

#[test]
#[should_panic(expected = "[P-55]")]
fn a_third_block_is_not_appended_while_two_are_open() {
    let mut machine = leader(3);
    for _ in 0..3 {
        let header = next_header(&machine, 1);
        machine.handle_appended(&header);
    }
}

#[derive(Clone, Debug)]
enum Report {
    Append { record_count: u32 },
    Durable { voter: usize, through: u64 },
    Certified { through: u64 },
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        (1..6u32).prop_map(|record_count| Report::Append { record_count }),
        (0..7usize, 0..40u64).prop_map(|(voter, through)| Report::Durable { voter, through }),
        (0..40u64).prop_map(|through| Report::Certified { through }),
    ]
}

/// The plain definition: the highest sequence that at least a quorum has reached.
fn reached_by_quorum(through: &[u64], quorum_size: usize) -> u64 {
    let reached = |point: u64| through.iter().filter(|position| **position >= point).count();
    (0..=40).rev().find(|point| reached(*point) >= quorum_size).unwrap_or(0)
}

proptest! {
    #[test]
    fn the_quorum_point_is_the_highest_sequence_that_a_quorum_has_reached(
        through in prop::collection::vec(0..40u64, 1..=7),
    ) {
        let members = members(through.len());
        let mut positions = Positions::new();
        for (voter, through) in members.voters().iter().zip(&through) {
            positions.advance(members.voter_index(*voter).expect("a voter"), Sequence(*through));
        }
        let expected = reached_by_quorum(&through, members.quorum_size());
        prop_assert_eq!(positions.quorum_point(&members), Sequence(expected)); // [P-51]
    }

    #[test]
    fn points_follow_the_quorum_and_never_go_back(
        voter_count in 1..=7usize,
        reports in prop::collection::vec(report(), 1..60),
    ) {
        let mut machine = leader(voter_count);
        let members = *machine.members();
        let (mut durable, mut certified) = (vec![0; voter_count], 0);
        let mut last = (Sequence::NONE, Sequence::NONE);
        for report in reports {
            let tip = machine.tip().sequence.0;
            match report {
                Report::Append { record_count } if machine.may_append() => {
                    let header = next_header(&machine, record_count);
                    machine.handle_appended(&header);
                }
                Report::Append { .. } => {}
                Report::Durable { voter, through } if voter < voter_count => {
                    let index = members.voter_index(members.voters()[voter]).expect("a voter");
                    let is_news = through <= tip && through > durable[voter];
                    prop_assert_eq!(machine.handle_durable(index, machine.epoch(), Sequence(through)), is_news);
                    durable[voter] = if is_news { through } else { durable[voter] };
                }
                Report::Certified { through } => {
                    machine.learn_certified(Sequence(through));
                    certified = certified.max(through.min(machine.committed().0));
                }
                _ => {}
            }
            let points = (machine.committed(), machine.point(Durability::Certified));
            prop_assert_eq!(points.0.0, reached_by_quorum(&durable, members.quorum_size()));
            prop_assert_eq!(points.1.0, certified, "never beyond what is committed");
            prop_assert!(points.0 >= last.0 && points.1 >= last.1); // [P-53]
            prop_assert!(machine.point(Durability::MemQuorum) >= points.0);
            prop_assert!(machine.open_block_count() <= 2); // [P-55]
            last = points;
        }
    }
}
