//! A leader without room declines what another node forwards; its client takes that for final.

mod support;

use io_oi_record::{Message, Outcome, RefusalCode, Sequence};
use support::net::{Net, numbered};
use support::{CLUSTER, SHARD};

/// The copies of forwarded proposals among the messages kept.
fn forwards(net: &mut Net) -> Vec<(usize, usize, Vec<u8>)> {
    let kept = net.kept.take().expect("messages are kept");
    let is_forward =
        |bytes: &[u8]| matches!(Message::decode(bytes, CLUSTER, SHARD), Ok((_, Message::Forward(_))));
    kept.into_iter().filter(|(_, _, bytes)| is_forward(bytes)).collect()
}

#[test]
fn a_late_copy_of_a_declined_proposal_gets_no_place() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let node = net.others(leader)[0];
    let session = net.open(node, 1);
    net.full.push(leader);
    net.kept = Some(Vec::new());
    net.submit(node, session, numbered(1, b"key", b"refused"));
    net.until("the refusal is here", |net| !net.nodes[node].replies.is_empty());
    let (_, receipt) = net.nodes[node].replies.remove(0);
    assert_eq!(receipt.outcome, Outcome::Refused(RefusalCode::DiskFull));
    assert_eq!(receipt.sequence, Sequence::NONE);
    net.full.clear();
    let copies = forwards(&mut net);
    assert_eq!(copies.len(), 1, "it was forwarded once");
    for (from, to, bytes) in copies {
        net.deliver(from, to, bytes);
    }
    net.submit(node, session, numbered(2, b"other", b"taken"));
    net.until("the next one is answered", |net| !net.nodes[node].replies.is_empty());
    assert!(net.nodes[node].replies[0].1.is_accepted(), "numbers above it are taken");
    net.run_ms(100);
    for other in 0..3 {
        assert_eq!(net.nodes[other].committed.get(&b"key"[..]), None, "node {other} shows what was refused");
        assert!(net.nodes[other].committed.contains_key(&b"other"[..]));
    }
}
