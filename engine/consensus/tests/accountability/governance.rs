//! Operators change the cluster: one verdict on every node, in effect when committed, taken back with the log.

use std::collections::BTreeSet;

use io_oi_consensus::Governance;
use io_oi_record::governance::{Change, Limit, LimitChoice};
use io_oi_record::limits::BARS_MAX;
use io_oi_record::*;
use proptest::prelude::*;

use crate::support::*;

fn governance() -> Governance {
    Governance::new(&genesis(), SHARD)
}

/// Appends the next record, which must be accepted, at the next sequence.
fn append(governance: &mut Governance, change: Change) -> Sequence {
    let number = governance.judged().number() + 1;
    let signed = govern(number, change);
    let value = signed.encode().expect("within the limits");
    assert_eq!(governance.judge(&value), Ok(signed.clone().into()));
    let sequence = Sequence(number * 10);
    governance.append(sequence, signed);
    sequence
}

fn refusal(governance: &Governance, signed: &SignedGovernance) -> RefusalCode {
    governance.judge(&signed.encode().expect("within the limits")).expect_err("must be refused")
}

fn voters(roster: &Roster) -> BTreeSet<NodeId> {
    roster.voters().collect()
}

#[test]
fn a_change_takes_effect_when_it_is_committed() {
    let mut governance = governance();
    let added = append(&mut governance, add(3)); // [P-91]
    assert!(governance.judged().member(id(3)).is_some() && governance.effective().member(id(3)).is_none());
    assert!(!governance.commit_through(Sequence(added.0 - 1)));
    assert!(governance.commit_through(added) && !governance.commit_through(added));
    assert!(governance.effective().member(id(3)).is_some_and(|member| !member.is_voter));
    let promoted = append(&mut governance, promote(3));
    assert_eq!(governance.effective().quorum_size(), 2);
    governance.commit_through(promoted);
    assert_eq!((governance.effective().quorum_size(), governance.history().count()), (3, 2));
}

#[test]
fn what_no_operator_signed_for_this_cluster_is_refused() {
    let governance = governance();
    let true_one = govern(1, add(3));
    let by_node = io_oi_record::Governance { operator: node(0).operator(), ..true_one.governance.clone() };
    let by_node = SignedGovernance::sign(by_node, &node(0));
    assert_eq!(refusal(&governance, &by_node), RefusalCode::GovernanceUnsigned);
    let forged = SignedGovernance { signature: Signature([7; 64]), ..true_one.clone() };
    assert_eq!(refusal(&governance, &forged), RefusalCode::GovernanceUnsigned);
    let elsewhere = govern_in(&genesis_of(5, ControlMode::Competitive), 1, add(6));
    assert_eq!(refusal(&governance, &elsewhere), RefusalCode::GovernanceUnsigned);
    assert_eq!(governance.judge(b"no record"), Err(RefusalCode::Malformed));
    assert!(governance.judge(&true_one.encode().expect("valid")).is_ok());
}

#[test]
fn numbers_have_no_gaps_and_come_once() {
    let mut governance = governance();
    append(&mut governance, add(3));
    for number in [1, 3, u64::MAX] {
        let out_of_turn = govern(number, promote(3)); // [P-90]
        assert_eq!(refusal(&governance, &out_of_turn), RefusalCode::GovernanceNumber, "{number}");
    }
}

#[test]
fn what_does_not_fit_the_members_is_refused() {
    let mut governance = governance();
    let refused = |governance: &Governance, change: Change| {
        assert_eq!(
            refusal(governance, &govern(governance.judged().number() + 1, change.clone())),
            RefusalCode::GovernanceNotApplicable,
            "{change:?}"
        );
    };
    refused(&governance, add(2));
    refused(&governance, Change::AddLearner(Member { name: "n2".into(), ..member(3) }));
    refused(&governance, Change::AddLearner(Member { address: member(2).address, ..member(3) }));
    refused(&governance, Change::AddLearner(Member { address: String::new(), ..member(3) }));
    refused(&governance, promote(2));
    refused(&governance, promote(3));
    refused(&governance, remove(3));
    refused(&governance, appoint(3));
    for number in 3..7 {
        append(&mut governance, add(number));
    }
    refused(&governance, add(7));
    refused(&governance, appoint(3));
    append(&mut governance, bar(3));
    refused(&governance, bar(3));
    refused(&governance, promote(3));
    append(&mut governance, remove(3));
    refused(&governance, add(3));
}

#[test]
fn an_honest_voter_always_remains() {
    let mut governance = governance();
    append(&mut governance, remove(0)); // [P-94]
    append(&mut governance, bar(1));
    for last in [remove(2), bar(2)] {
        let number = governance.judged().number() + 1;
        assert_eq!(refusal(&governance, &govern(number, last)), RefusalCode::GovernanceNotApplicable);
    }
    append(&mut governance, remove(1));
    assert_eq!(voters(governance.judged()), BTreeSet::from([id(2)]));
}

#[test]
fn limits_stay_within_the_programs_own() {
    let mut governance = governance();
    let limit = |value| Change::SetLimit(LimitChoice { limit: Limit::ValueBytes, value });
    for value in [0, 65537, u64::MAX] {
        assert_eq!(refusal(&governance, &govern(1, limit(value))), RefusalCode::GovernanceNotApplicable);
    }
    append(&mut governance, limit(4096));
    assert_eq!(governance.judged().limit(Limit::ValueBytes), 4096);
}

#[test]
fn no_more_keys_are_barred_than_there_is_room_for() {
    let mut governance = governance();
    for number in 0..BARS_MAX {
        append(&mut governance, bar(100 + number as u8));
    }
    let one_more = govern(governance.judged().number() + 1, bar(99));
    assert_eq!(refusal(&governance, &one_more), RefusalCode::GovernanceNotApplicable);
}

#[test]
fn a_leader_sequences_one_change_of_the_membership_at_a_time() {
    let mut governance = governance();
    let added = append(&mut governance, add(3)); // [P-92]
    let next = |governance: &Governance, change| govern(governance.judged().number() + 1, change);
    let promotion = next(&governance, promote(3));
    assert_eq!(governance.may_sequence(&promotion), Err(RefusalCode::GovernancePending));
    assert_eq!(governance.may_sequence(&next(&governance, appoint(1))), Ok(()));
    governance.commit_through(added);
    assert_eq!(governance.may_sequence(&promotion), Ok(()));
    assert_eq!(Governance::promoted(&promotion), Some(id(3)));
}

#[test]
fn a_second_change_in_the_log_proves_the_first() {
    let mut governance = governance();
    let added = append(&mut governance, add(3)); // [P-92]
    append(&mut governance, promote(3));
    assert!(governance.effective().member(id(3)).is_some());
    assert_eq!(voters(governance.effective()).len(), 3);
    // A lying leader may have written both: cut, they are gone without a trace.
    governance.rewind_to(Sequence(added.0 - 1));
    assert_eq!(governance.effective(), &roster());
    assert_eq!(governance.judged(), &roster());
}

/// Whether two groups can each find a quorum without a common voter.
fn can_split(one: &Roster, other: &Roster) -> bool {
    let (left, right) = (voters(one), voters(other));
    let common = left.intersection(&right).count();
    let needs = |all: &BTreeSet<NodeId>, quorum: usize| quorum.saturating_sub(all.len() - common);
    needs(&left, one.quorum_size()) + needs(&right, other.quorum_size()) <= common
}

#[test]
fn two_steps_of_the_membership_can_split_a_group() {
    let mut far = roster();
    let mut number = 0;
    for change in [add(3), promote(3), add(4), promote(4)] {
        number += 1;
        far.apply(&govern(number, change)).expect("applicable");
    }
    assert!(can_split(&roster(), &far), "what the rule is for");
    assert!(!can_split(&roster(), &roster()));
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..7u8).prop_map(add),
        4 => (0..7u8).prop_map(promote),
        3 => (0..7u8).prop_map(remove),
        1 => (0..7u8).prop_map(bar),
        1 => (0..3u8).prop_map(appoint),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nodes that can be elected hold every committed change, and at most one more; they know of any part of that.
    #[test]
    fn quorums_of_nodes_that_may_be_elected_share_a_voter(wishes in proptest::collection::vec(changes(), 1..40)) {
        let mut leader = governance();
        let mut log: Vec<SignedGovernance> = Vec::new();
        for change in wishes {
            let signed = govern(leader.judged().number() + 1, change);
            if leader.judged().judge(&signed).is_err() || leader.may_sequence(&signed).is_err() {
                continue;
            }
            let committed = log.len();
            log.push(signed.clone());
            leader.append(Sequence(log.len() as u64), signed);
            let mut views = Vec::new();
            for held in committed..=log.len() {
                for known in 0..=committed {
                    let mut view = governance();
                    for (at, signed) in log[..held].iter().enumerate() {
                        view.append(Sequence(at as u64 + 1), signed.clone());
                    }
                    view.commit_through(Sequence(known as u64));
                    views.push(view.effective().clone());
                }
            }
            for (at, one) in views.iter().enumerate() {
                for other in &views[at..] {
                    prop_assert!(!can_split(one, other), "{:?} and {:?}", voters(one), voters(other));
                }
            }
            leader.commit_through(Sequence(log.len() as u64));
        }
    }

    #[test]
    fn cut_and_committed_in_any_order_it_is_the_governance_of_its_log(
        steps in proptest::collection::vec((changes(), 0..8u64, 0..4u8), 1..40),
    ) {
        let mut governance = governance();
        let mut log: Vec<SignedGovernance> = Vec::new();
        let mut committed = 0;
        for (change, at, what) in steps {
            let at = at.min(log.len() as u64);
            match what {
                0 if at >= committed => {
                    governance.rewind_to(Sequence(at));
                    log.truncate(at as usize);
                }
                1 => {
                    committed = committed.max(at);
                    governance.commit_through(Sequence(committed));
                }
                _ => {
                    let signed = govern(governance.judged().number() + 1, change);
                    if governance.judged().judge(&signed).is_ok() {
                        log.push(signed.clone());
                        governance.append(Sequence(log.len() as u64), signed);
                    }
                }
            }
            let mut judged = roster();
            log.iter().for_each(|signed| judged.apply(signed).expect("was accepted before"));
            prop_assert_eq!(governance.judged(), &judged);
            let mut effective = roster();
            let count = governance.history().count();
            prop_assert!(count as u64 >= committed && count <= log.len());
            log[..count].iter().for_each(|signed| effective.apply(signed).expect("was accepted before"));
            prop_assert_eq!(governance.effective(), &effective);
        }
    }
}

fn strict() -> Governance {
    Governance::new(&genesis_of(3, ControlMode::Strict), SHARD)
}

fn strictly(number: u64, change: Change) -> SignedGovernance {
    govern_in(&genesis_of(3, ControlMode::Strict), number, change)
}

#[test]
fn under_strict_control_only_the_appointed_node_stands() {
    let mut governance = strict();
    let standing = |governance: &Governance| (0..4).filter(|n| governance.may_stand(id(*n), None)).collect();
    let mut stand: Vec<u8> = standing(&governance); // [P-95]
    assert_eq!(stand, [0]);
    let appointment = strictly(1, appoint(2));
    assert!(
        governance.may_stand(id(2), Some(&appointment)) && !governance.may_stand(id(1), Some(&appointment))
    );
    governance.append(Sequence(5), appointment.clone());
    stand = standing(&governance);
    assert_eq!(stand, [0, 2], "until it is decided, the old one may bring it about");
    assert_eq!(
        (governance.appointment_of(id(2)), governance.appointment_of(id(0))),
        (Some(&appointment), None)
    );
    governance.commit_through(Sequence(5));
    stand = standing(&governance);
    assert_eq!((stand, governance.appointed().number), (vec![2], 1));
    assert!(!governance.is_authority(id(2), &appointment), "the log knows it: it is no news");
}

#[test]
fn an_old_or_foreign_appointment_is_no_authority() {
    let mut governance = strict();
    governance.append(Sequence(5), strictly(1, add(3)));
    let stale = strictly(1, appoint(2));
    assert!(!governance.may_stand(id(2), Some(&stale)), "number 1 is another record");
    let elsewhere = govern_in(&genesis_of(5, ControlMode::Strict), 2, appoint(2));
    assert!(!governance.may_stand(id(2), Some(&elsewhere)));
    let forged = SignedGovernance { signature: Signature([3; 64]), ..strictly(2, appoint(2)) };
    assert!(!governance.may_stand(id(2), Some(&forged)));
    let other_shard = Change::Appoint(governance::Appointment { shard: ShardId(0), node: id(2) });
    assert!(!governance.may_stand(id(2), Some(&strictly(2, other_shard))));
    assert!(!governance.may_stand(id(2), Some(&strictly(2, promote(2)))));
    assert!(governance.may_stand(id(2), Some(&strictly(2, appoint(2)))));
    assert!(!governance.may_stand(id(3), Some(&strictly(2, appoint(3)))), "a learner does not stand");
}

#[test]
fn a_barred_node_does_not_stand_but_counts_in_the_size_of_a_quorum() {
    let mut governance = governance();
    let barred = append(&mut governance, bar(2)); // [P-93]
    assert!(governance.may_stand(id(2), None));
    governance.commit_through(barred);
    assert!(!governance.may_stand(id(2), None) && governance.may_stand(id(1), None));
    assert_eq!((governance.effective().quorum_size(), voters(governance.effective()).len()), (2, 3));
}

#[test]
fn under_strict_control_the_appointed_node_is_not_removed() {
    let governance = strict();
    let removal = strictly(1, remove(0));
    assert_eq!(refusal(&governance, &removal), RefusalCode::GovernanceNotApplicable);
    assert!(governance.judge(&strictly(1, remove(1)).encode().expect("valid")).is_ok());
}
