//! Two voters, and the leader is removed: who is left is a quorum by itself, and stands though there is nobody to ask. [P-29]

mod support;

use io_oi_record::governance::{Change, Governance};
use io_oi_record::*;
use io_oi_shard::{Event, Origin, Role};
use support::net::*;
use support::{genesis_of, signer};

#[test]
fn it_leads_and_decides() {
    let mut net = Net::of(2);
    let leader = net.elect();
    let left = net.others(leader)[0];
    let session = net.open(left, 1);
    let change = Change::Remove(net.id(leader));
    let governance = Governance {
        cluster: genesis_of(&[net.id(0), net.id(1)]).cluster(),
        number: 1,
        time: Nanos(1),
        change,
        operator: signer().operator(),
    };
    let signed = SignedGovernance::sign(governance, &signer());
    let value = Shipment { signed, payload: &[] }.encode().expect("short");
    let proposal = Proposal { operation: Operation::Govern, key: &[], ..numbered(1, b"", &value) };
    let session_of_node = SessionId::of_node(net.id(leader).tag(), 1);
    net.handle(leader, Event::Submitted { origin: Origin::Node, session: session_of_node, proposal });
    net.until("the removal is decided", |net| net.machine(leader).roster().number() == 1);
    net.until("who is left leads", |net| net.machine(left).role() == Role::Leading);
    net.nodes[left].replies.clear();
    net.submit(left, session, numbered(1, b"key", b"value"));
    net.until("it decides", |net| !net.nodes[left].replies.is_empty());
    assert!(net.nodes[left].replies[0].1.is_accepted());
}
