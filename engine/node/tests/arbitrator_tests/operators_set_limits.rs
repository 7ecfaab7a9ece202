//! The limits of an account are an operator's to set, also once `risk-limit` judges it: what he has signed stands in the log, and
//! every node judges by it from that record on.

use io_oi_guests::code;
use io_oi_guests::order::{Order, Side};
use io_oi_guests::risk_limit::{Account, KILLED, ORDER_TOO_LARGE};
use io_oi_record::attach::{Inquiry, Submission};
use io_oi_record::governance::{Change, Governance, SignedGovernance};
use io_oi_record::{
    Durability, Nanos, Operation, Outcome, Precondition, Proposal, Receipt, RefusalCode, SessionSequence,
    ShardId, Shipment, Signer,
};

use crate::accounts::limits;
use crate::cluster::{Cluster, Plan};
use crate::limits_are_enforced::{ACCOUNT, account_at, send};

fn refused(code: u32) -> Outcome {
    Outcome::Refused(RefusalCode::arbitrator(code).expect("a small code"))
}

/// The account's cell, as an operator's put.
fn put(cell: &[u8]) -> Proposal<'_> {
    Proposal {
        session_sequence: SessionSequence(1),
        operation: Operation::Put,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key: ACCOUNT,
        value: cell,
    }
}

fn set(cluster: &Cluster, account: &Account) -> Outcome {
    let cell = account.encode();
    let (change, payload) = Change::write(&put(&cell)).expect("short");
    cluster.decide(&change, &payload).outcome
}

/// Somebody signs the next decision with a key that the genesis does not name.
fn set_as_a_stranger(cluster: &Cluster, account: &Account) -> Outcome {
    let leader = cluster.wait_for_leader(0);
    let stranger = Signer::from_secret(&[99; 32]);
    let cell = account.encode();
    let (change, payload) = Change::write(&put(&cell)).expect("short");
    let number = cluster.status(leader, 0).expect("it answers").governance + 1;
    let (cluster_id, operator) = (cluster.genesis.genesis.cluster(), stranger.operator());
    let governance = Governance { cluster: cluster_id, number, time: Nanos(number), change, operator };
    let signed = SignedGovernance::sign(governance, &stranger);
    let signed = Shipment { signed, payload: &payload }.encode().expect("short");
    let answer = cluster.ask(leader, Inquiry::Govern(Submission { shard: ShardId(0), signed }));
    Receipt::decode(&answer.expect("it answers")).expect("a receipt").outcome
}

#[test]
fn after_the_judge_is_seated() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(3));
    let leader = cluster.wait_for_leader(0);
    cluster.deploy("risk-limit", b"ord/");
    let mut client = cluster.attach((leader + 1) % 3);
    let key = [ACCOUNT, b"1"].concat();
    let order = |quantity| Order { side: Side::Buy, quantity, price: limits().reference_price }.encode();
    assert_eq!(send(&mut client, &key, &order(1)).outcome, refused(code::STATE), "no limits, no orders");
    assert_eq!(send(&mut client, ACCOUNT, &limits().encode()).outcome, refused(code::NOT_OPERATOR));
    let unsigned = Outcome::Refused(RefusalCode::GovernanceUnsigned);
    assert_eq!(set_as_a_stranger(&cluster, &limits()), unsigned);
    assert_eq!(set(&cluster, &limits()), Outcome::Accepted);
    let most = limits().order_max;
    assert!(send(&mut client, &key, &order(most)).is_accepted());
    assert_eq!(send(&mut client, &key, &order(most + 1)).outcome, refused(ORDER_TOO_LARGE));
    let wider = Account { order_max: most + 1, ..limits() };
    assert_eq!(set(&cluster, &wider), Outcome::Accepted);
    assert!(send(&mut client, &key, &order(most + 1)).is_accepted());
    drop(client);
    // Another leader and everybody's own log say the same.
    cluster.kill(leader);
    let next = cluster.wait_for_leader_other_than(0, &[leader]);
    let killed = Account { killed: true, ..wider };
    assert_eq!(set(&cluster, &killed), Outcome::Accepted);
    assert_eq!(send(&mut cluster.attach(next), &key, &order(1)).outcome, refused(KILLED));
    cluster.start_nodes(&[leader]);
    cluster.wait_until_equal();
    for place in cluster.places() {
        assert!(account_at(&cluster, place).killed);
        let status = cluster.status(place, 0).expect("the node answers");
        assert_eq!((status.evidence, status.mute), (0, None), "nobody honest is accused");
    }
}

/// Two shards: one holds the account, the other holds the decision alone.
#[test]
fn in_the_shard_that_holds_the_key() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = Cluster::start(Plan::of(1).with_shards(2));
    let cell = limits().encode();
    let (change, payload) = Change::write(&put(&cell)).expect("short");
    let signed = cluster.signed_shipment(1, change, &payload);
    for shard in [0, 1] {
        cluster.wait_for_leader(shard);
        let submission = Submission { shard: ShardId(shard), signed: signed.clone() };
        let answer = cluster.ask(0, Inquiry::Govern(submission)).expect("it answers");
        assert!(Receipt::decode(&answer).expect("a receipt").is_accepted());
    }
    assert_eq!(account_at(&cluster, 0), limits());
}
