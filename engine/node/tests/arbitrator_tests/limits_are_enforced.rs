//! `risk-limit` guards an account: every order is decided as an independent model says, on one node and on three, across
//! restarts and changes of the leader; every node shows the same account.

use std::collections::BTreeMap;

use io_oi_client::Client;
use io_oi_guests::risk_limit::{Account, NOTIONAL, ORDER_TOO_LARGE, OUTSIDE_COLLAR, POSITION, RATE};
use io_oi_record::{Durability, Outcome, Receipt, RefusalCode};

use crate::accounts::{Model, Orders, limits};
use crate::cluster::{Cluster, Plan};
use crate::deployment::component;
use crate::support::soon;

pub(crate) const ACCOUNT: &[u8] = b"ord/acct7/";

/// Sends so many orders, one after the other, and holds each answer against the model.
fn trade(
    client: &mut Client,
    model: &mut Model,
    orders: &mut Orders,
    count: usize,
    met: &mut BTreeMap<u32, u32>,
) {
    for order in orders.take(count) {
        let key = [ACCOUNT, order.price.to_string().as_bytes(), b"/", order.quantity.to_string().as_bytes()]
            .concat();
        let receipt = send(client, &key, &order.encode());
        let expected = match model.decide(&order, receipt.time.get()) {
            Ok(()) => Outcome::Accepted,
            Err(code) => {
                *met.entry(code).or_default() += 1;
                Outcome::Refused(RefusalCode::arbitrator(code).expect("a code of 31 bits"))
            }
        };
        assert_eq!(receipt.outcome, expected, "{order:?} at {receipt:?}");
        assert!(!receipt.sequence.is_none(), "a refusal of a judge has its place");
    }
}

pub(crate) fn send(client: &mut Client, key: &[u8], value: &[u8]) -> Receipt {
    let ticket = client.put_with(key, value, Durability::DiskQuorum).expect("the node takes it");
    client.wait(ticket, soon()).expect("an answer in time")
}

/// The account as a node shows it.
pub(crate) fn account_at(cluster: &Cluster, place: usize) -> Account {
    let table = cluster.committed_table(place);
    let (_, value) = table.get(ACCOUNT).expect("the account exists");
    Account::decode(value).expect("an account's cell")
}

fn limits_are_enforced_on(nodes: usize) {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(nodes));
    let leader = cluster.wait_for_leader(0);
    let follower = (leader + 1) % nodes;
    let mut client = cluster.attach(leader);
    assert!(send(&mut client, ACCOUNT, &limits().encode()).is_accepted());
    cluster.deploy("risk-limit", b"ord/");
    let (mut model, mut orders, mut met) = (Model::new(limits()), Orders(7), BTreeMap::new());
    trade(&mut client, &mut model, &mut orders, 150, &mut met);
    drop(client);
    trade(&mut cluster.attach(follower), &mut model, &mut orders, 100, &mut met);
    cluster.wait_until_equal();
    cluster.places().for_each(|place| model.assert_is(&account_at(&cluster, place)));
    if nodes > 1 {
        cluster.kill(leader);
        let next = cluster.wait_for_leader_other_than(0, &[leader]);
        trade(&mut cluster.attach(next), &mut model, &mut orders, 50, &mut met);
        cluster.start_nodes(&[leader]);
    }
    cluster.kill_all();
    cluster.start_nodes(&cluster.places().collect::<Vec<_>>());
    let leader = cluster.wait_for_leader(0);
    trade(&mut cluster.attach(leader), &mut model, &mut orders, 50, &mut met);
    cluster.wait_until_equal();
    for place in cluster.places() {
        model.assert_is(&account_at(&cluster, place));
        let status = cluster.status(place, 0).expect("the node answers");
        assert_eq!((status.evidence, status.mute), (0, None), "nobody honest is accused");
        let judge = cluster.component_at(place, component("risk-limit")).expect("it is stored");
        assert_eq!(judge["admission"], "admitted");
        let heard = |what: &str| judge["heard"][what].as_u64().expect("a count");
        assert!(heard("accepted_with_writes") + heard("refused") > 0, "node {place} judges: {judge}");
    }
    for code in [ORDER_TOO_LARGE, OUTSIDE_COLLAR, POSITION, NOTIONAL, RATE] {
        assert!(met.contains_key(&code), "every limit is met: {met:?}");
    }
}

#[test]
fn on_one_node() {
    limits_are_enforced_on(1);
}

#[test]
fn on_three_nodes_across_leaders() {
    limits_are_enforced_on(3);
}
