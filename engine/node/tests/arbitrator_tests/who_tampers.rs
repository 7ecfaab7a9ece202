//! A leader whose arbitrator was tampered with is convicted by the others, and not followed any more. Needs the feature
//! `planted`: the lie stands in no other build.

use io_oi_guests::order::{Order, Side};
use io_oi_guests::risk_limit::ORDER_TOO_LARGE;
use io_oi_record::attach::Inquiry;
use io_oi_record::governance::{Appointment, Change};
use io_oi_record::{Outcome, RefusalCode, ShardId};

use crate::accounts::limits;
use crate::cluster::{Cluster, Plan};
use crate::limits_are_enforced::send;

#[test]
fn a_leader_that_lets_a_refused_order_through_is_convicted() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::found(Plan::of(3).strict());
    // Under strict control the first node leads.
    let liar = 0;
    cluster.set_environment(liar, "IO_OI_PLANTED", "tampered-arbitrator");
    cluster.start_nodes(&[0, 1, 2]);
    assert_eq!(cluster.wait_for_leader(0), liar);
    let mut client = cluster.attach(liar);
    assert!(send(&mut client, b"ord/acct7/", &limits().encode()).is_accepted());
    cluster.deploy("risk-limit", b"ord/");
    let good = Order { side: Side::Buy, quantity: 1, price: limits().reference_price };
    assert!(send(&mut client, b"ord/acct7/1", &good.encode()).is_accepted());
    let too_large = Order { quantity: limits().order_max + 1, ..good };
    let ticket = client.put(b"ord/acct7/2", &too_large.encode()).expect("the liar takes it");
    for place in [1, 2] {
        let evidence = cluster.wait_for("evidence on every honest node", |cluster| {
            let answer = cluster.ask_json(place, Inquiry::Evidence)?;
            answer["evidence"].as_array().and_then(|all| all.first()).cloned()
        });
        assert_eq!(evidence["kind"], "wrong-verdict");
        assert_eq!(evidence["accused"], cluster.node_id(liar).to_string());
        let status = cluster.wait_for("nobody follows the liar", |cluster| {
            cluster.status(place, 0).filter(|status| status.leader != Some(cluster.node_id(liar)))
        });
        assert!(status.mute.is_none());
    }
    // Under strict control the operator says who leads now: the cluster goes on without the liar.
    let number = cluster.status(1, 0).expect("an honest node answers").governance + 1;
    let (shard, node) = (ShardId(0), cluster.node_id(1));
    cluster.govern_at(1, 0, number, Change::Appoint(Appointment { shard, node }));
    assert_eq!(cluster.wait_for_leader_other_than(0, &[liar]), 1);
    let refused = Outcome::Refused(RefusalCode::arbitrator(ORDER_TOO_LARGE).expect("a small code"));
    let receipt = send(&mut cluster.attach(2), b"ord/acct7/3", &too_large.encode());
    assert_eq!(receipt.outcome, refused, "the honest judge goes on judging");
    // What the liar's last block said is not taken back: honest nodes hold it, and whoever leads next commits what it holds.
    cluster.wait_for("the honest nodes hold the same", |cluster| {
        let [one, other] = [1, 2].map(|place| cluster.status(place, 0));
        (one?.state_hash == other?.state_hash).then_some(())
    });
    let answer = client.wait(ticket, std::time::Instant::now() + std::time::Duration::from_millis(300));
    assert!(!answer.is_ok_and(|receipt| receipt.outcome == Outcome::Accepted), "nobody confirms the lie");
}
