//! Deployed, run in the shadow, promoted, rolled back, taken away: through the log, on every node at one sequence.

use io_oi_record::governance::Change;
use io_oi_record::hash::Domain;
use io_oi_record::{ComponentPart, Hash, JudgeVersions, Outcome, RefusalCode};

use crate::cluster::{Cluster, Plan};
use crate::deployment::{component, seat};
use crate::limits_are_enforced::send;

/// A value with its stamp in front, as `last-writer-wins` wants it.
fn stamped(stamp: u64) -> Vec<u8> {
    [stamp.to_le_bytes().as_slice(), b"value"].concat()
}

#[test]
fn a_judge_is_tried_promoted_rolled_back_and_removed() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = Cluster::start(Plan::of(3));
    let leader = cluster.wait_for_leader(0);
    let mut client = cluster.attach((leader + 1) % 3);
    let (all, newest) = (cluster.store("accept-all"), cluster.store("last-writer-wins"));
    cluster.wait_until_admitted(newest);
    assert!(cluster.decide(&seat(b"a/", all, false), &[]).is_accepted());
    assert!(cluster.decide(&seat(b"a/", newest, true), &[]).is_accepted());
    assert!(send(&mut client, b"a/k", &stamped(9)).is_accepted());
    assert!(send(&mut client, b"a/k", &stamped(5)).is_accepted(), "the shadow has no say");
    cluster.wait_until_equal();
    for place in cluster.places() {
        let shadow = cluster.component_at(place, newest).expect("it is stored");
        assert_eq!(
            (shadow["heard"]["shadow_heard"].as_u64(), shadow["heard"]["shadow_differences"].as_u64()),
            (Some(2), Some(1)),
            "{shadow}"
        );
    }
    let promoted = cluster.decide(&seat(b"a/", newest, false), &[]);
    assert!(promoted.is_accepted());
    assert!(send(&mut client, b"a/k", &stamped(9)).is_accepted());
    assert!(!send(&mut client, b"a/k", &stamped(5)).is_accepted());
    assert!(send(&mut client, b"b/k", &stamped(5)).is_accepted(), "another prefix");
    for place in cluster.places() {
        let seats = cluster.wait_for("the same seats everywhere", |cluster| {
            Some(cluster.arbitrators(place)?["seats"].clone()).filter(|seats| seats[0]["shadow"].is_null())
        });
        assert_eq!(seats[0]["component"], newest.to_string());
        assert_eq!(seats[0]["since"].as_u64(), Some(promoted.sequence.get()));
    }
    assert!(cluster.decide(&seat(b"a/", all, false), &[]).is_accepted(), "back to the one before");
    assert!(send(&mut client, b"a/k", &stamped(5)).is_accepted());
    assert!(cluster.decide(&seat(b"a/", Hash::ZERO, false), &[]).is_accepted());
    assert!(cluster.decide(&Change::DropComponent(newest), &[]).is_accepted());
    assert!(send(&mut client, b"a/k", b"anything").is_accepted());
    cluster.wait_until_equal();
    let place = cluster.wait_for_leader(0);
    let history = cluster.arbitrators(place).expect("it answers")["history"].clone();
    assert_eq!(history.as_array().map(Vec::len), Some(5));
}

#[test]
fn what_cannot_be_run_is_never_seated() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = Cluster::start(Plan::of(1));
    let not_applicable = Outcome::Refused(RefusalCode::GovernanceNotApplicable);
    let unknown = cluster.decide(&seat(b"a/", component("quota"), false), &[]);
    assert_eq!(unknown.outcome, not_applicable, "nothing of it is stored");
    let nonsense = b"\0asm and nothing more";
    let hash = Domain::Arbitrator.hash(nonsense);
    let stored = cluster.decide(&Change::StorePart(ComponentPart::of(hash, nonsense)), nonsense);
    assert!(stored.is_accepted());
    let refused = cluster.wait_for("a verdict over the component", |cluster| {
        cluster.component_at(0, hash).filter(|known| known["admission"] == "refused")
    });
    assert!(refused["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{refused}");
    let batch = cluster.store("batch-auction");
    cluster.wait_for("a verdict over the batch judge", |cluster| {
        cluster.component_at(0, batch).filter(|known| known["admission"] == "refused")
    });
    let number = cluster.status(0, 0).expect("it answers").governance + 1;
    for (component, versions) in [
        (hash, io_oi_arbitrator::VERSIONS),
        (batch, io_oi_arbitrator::VERSIONS),
        (cluster_quota(&cluster), JudgeVersions { costs: 99, ..io_oi_arbitrator::VERSIONS }),
    ] {
        let Change::SetArbitrator(choice) = seat(b"a/", component, false) else {
            unreachable!("a seat is set")
        };
        let change = Change::SetArbitrator(io_oi_record::governance::ArbitratorChoice { versions, ..choice });
        let number = number.max(cluster.status(0, 0).expect("it answers").governance + 1);
        let receipt = cluster.govern_at(0, 0, number, change).expect("it answers");
        assert_eq!(receipt.outcome, Outcome::Refused(RefusalCode::ArbitratorNotAdmitted));
    }
    assert!(send(&mut cluster.attach(0), b"a/k", b"the node's other work goes on").is_accepted());
}

/// `quota`, stored and admitted.
fn cluster_quota(cluster: &Cluster) -> Hash {
    let quota = cluster.store("quota");
    cluster.wait_for("quota to be admitted", |cluster| {
        cluster.component_at(0, quota).filter(|known| known["admission"] == "admitted")
    });
    quota
}
