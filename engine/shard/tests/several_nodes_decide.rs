//! Three nodes: they elect, replicate, commit, answer, fail over, and take back what was never decided.

mod support;

use io_oi_record::{ControlMode, Durability, Epoch, Genesis, Nanos, Outcome, RefusalCode, SessionSequence};
use io_oi_shard::{Notice, ProposalState, Role};
use support::net::*;
use support::*;

#[test]
fn one_of_three_is_elected_and_the_others_follow_it() {
    let mut net = Net::of(3);
    let leader = net.elect();
    for other in net.others(leader) {
        assert_eq!(net.machine(other).role(), Role::Following);
        assert_eq!(net.machine(other).leader(), Some(net.id(leader)));
    }
    assert_eq!(net.machine(leader).epoch(), Epoch(1));
}

#[test]
fn a_record_is_committed_on_every_node_and_answered_on_the_one_that_was_asked() {
    let mut net = Net::of(3);
    let leader = net.elect();
    for node in 0..3 {
        let session = net.open(node, 1);
        let key = [node as u8];
        net.submit(node, session, numbered(1, &key, b"value"));
        net.until("it is answered", |net| !net.nodes[node].replies.is_empty());
        let (of, receipt) = net.nodes[node].replies.remove(0);
        assert_eq!((of, receipt.outcome), (session, Outcome::Accepted), "node {node}, leader {leader}"); // [P-68]
    }
    net.run_ms(60);
    for node in 0..3 {
        assert_eq!(net.nodes[node].committed, net.nodes[leader].committed);
        assert_eq!(net.nodes[node].committed.len(), 3);
        assert_eq!(net.machine(node).state_hash(), net.machine(leader).state_hash());
    }
}

#[test]
fn every_durability_is_answered_on_a_follower_too() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let follower = net.others(leader)[0];
    let session = net.open(follower, 1);
    for (number, durability) in (1..).zip(Durability::ALL) {
        let proposal = io_oi_record::Proposal { durability, ..numbered(number, b"key", b"value") };
        net.submit(follower, session, proposal);
        net.until("it is answered", |net| !net.nodes[follower].replies.is_empty());
        let (_, receipt) = net.nodes[follower].replies.remove(0);
        assert_eq!((receipt.durability, receipt.is_accepted()), (durability, true));
    }
}

#[test]
fn nothing_commits_without_a_quorum_and_everything_goes_on_with_one() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let session = net.open(leader, 1);
    let others = net.others(leader);
    net.stuck = others.clone();
    net.submit(leader, session, numbered(1, b"key", b"value"));
    net.run_ms(30);
    assert_eq!(net.nodes[leader].replies, []); // [P-51]
    net.stuck.pop();
    net.until("it is answered", |net| !net.nodes[leader].replies.is_empty());
}

#[test]
fn another_node_leads_when_the_leader_dies_and_nothing_answered_is_lost() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let follower = net.others(leader)[0];
    let session = net.open(follower, 1);
    net.submit(follower, session, numbered(1, b"key", b"first"));
    net.until("it is answered", |net| !net.nodes[follower].replies.is_empty());
    net.kill(leader);
    net.submit(follower, session, numbered(2, b"key", b"second"));
    net.until("the second is answered by another leader", |net| net.nodes[follower].replies.len() == 2); // [P-68]
    let next = net.elect();
    assert_ne!(next, leader);
    assert!(net.machine(next).epoch() > Epoch(1));
    net.start(leader);
    net.run_ms(200);
    assert_eq!(net.nodes[leader].committed, net.nodes[next].committed);
    assert_eq!(net.machine(leader).leader(), Some(net.id(next)));
}

#[test]
fn a_deposed_leader_takes_back_what_nobody_else_has_and_its_clients_are_answered_all_the_same() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let session = net.open(leader, 1);
    net.isolate(leader);
    net.submit(leader, session, numbered(1, b"lonely", b"value"));
    net.run_ms(5);
    assert!(net.nodes[leader].versions.contains_key(b"lonely".as_slice()), "shown as tentative");
    net.until("another node leads", |net| net.leader().is_some_and(|next| next != leader));
    assert_eq!(net.nodes[leader].replies, [], "a leader alone decides nothing");
    net.cut.clear();
    net.until("it is answered", |net| !net.nodes[leader].replies.is_empty());
    assert!(!net.nodes[leader].withdrawn.is_empty()); // [P-67]
    assert!(net.nodes[leader].notices.iter().any(|notice| matches!(notice, Notice::Deposed { .. })));
    net.run_ms(100);
    let next = net.leader().expect("somebody leads");
    assert_eq!(net.nodes[leader].committed, net.nodes[next].committed);
    assert_eq!(net.nodes[next].committed.len(), 1, "once, and once only");
}

#[test]
fn a_node_that_was_away_is_brought_up_to_date_from_memory_and_log() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let away = net.others(leader)[0];
    let session = net.open(leader, 1);
    net.kill(away);
    for number in 1..=200 {
        net.submit(leader, session, numbered(number, &number.to_le_bytes(), b"value"));
        net.until("it is answered", |net| net.nodes[leader].replies.len() as u64 == number);
    }
    net.start(away);
    net.until("it is level", |net| net.machine(away).committed() == net.machine(leader).committed()); // [P-59]
    net.run_ms(1);
    assert_eq!(net.nodes[away].committed, net.nodes[leader].committed);
}

#[test]
fn all_nodes_may_lose_their_power_at_once() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let session = net.open(leader, 1);
    net.submit(leader, session, numbered(1, b"key", b"value"));
    net.until("it is answered", |net| !net.nodes[leader].replies.is_empty());
    (0..3).for_each(|node| net.kill(node));
    (0..3).for_each(|node| net.start(node));
    let next = net.elect();
    net.run_ms(50);
    assert_eq!(net.nodes[next].committed[b"key".as_slice()].1.as_deref(), Some(&b"value"[..]));
}

#[test]
fn the_lease_of_a_leader_alone_ends_before_another_leads() {
    let mut net = Net::of(3);
    let leader = net.elect();
    net.isolate(leader);
    let lease = net.machine(leader).lease_until();
    assert!(lease > net.now);
    net.until("another node leads", |net| {
        net.others(leader).iter().any(|node| net.machine(*node).role() == Role::Leading)
    });
    assert!(net.machine(leader).lease_until() < net.now, "a stale read would be possible"); // [P-110]
    assert!(lease > Nanos::ZERO && lease < net.now);
}

#[test]
fn a_session_that_nobody_opened_is_refused_by_the_leader_through_the_follower() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let follower = net.others(leader)[1];
    let session = net.session(follower, 77);
    net.submit(follower, session, numbered(1, b"key", b"value"));
    net.until("it is answered", |net| !net.nodes[follower].replies.is_empty());
    let (_, receipt) = net.nodes[follower].replies.remove(0);
    assert_eq!(refused(&receipt), Some(RefusalCode::SessionUnknown)); // [P-68]
}

#[test]
fn a_retry_on_a_follower_gets_the_one_answer_of_the_log() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let follower = net.others(leader)[0];
    let session = net.open(follower, 1);
    for _ in 0..3 {
        net.submit(follower, session, numbered(1, b"key", b"value")); // [P-63]
    }
    net.until("all are answered", |net| net.nodes[follower].replies.len() == 3);
    let replies = core::mem::take(&mut net.nodes[follower].replies);
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    net.submit(leader, session, numbered(1, b"key", b"value"));
    net.until("the leader answers it too", |net| !net.nodes[leader].replies.is_empty());
    assert_eq!(net.nodes[leader].replies[0], replies[0]); // [P-62]
}

#[test]
fn a_leader_under_load_closes_without_waiting_for_anybody() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let session = net.open(leader, 1);
    net.isolate(leader);
    for number in 1..=5 {
        net.submit(leader, session, numbered(number, b"key", b"value"));
    }
    net.close(leader);
    net.run_ms(5);
    assert!(net.machine(leader).is_closed());
}

#[test]
fn a_proposal_that_waits_for_a_leader_is_not_new_any_more() {
    let mut net = Net::of(3);
    let leader = net.elect();
    let follower = net.others(leader)[0];
    let session = net.open(follower, 1);
    net.isolate(follower);
    let state = |net: &Net| net.machine(follower).proposal_state(session, SessionSequence(1));
    assert_eq!(state(&net), ProposalState::Fresh);
    net.submit(follower, session, numbered(1, b"key", b"value"));
    assert_eq!(state(&net), ProposalState::Seen);
}

/// The leader loses what its followers have flushed, and nobody else may lead.
fn an_appointed_leader_loses_its_last_block() -> Net {
    let ids: Vec<_> = (0..3).map(|node| signer_of(node).node()).collect();
    let mut net = Net::of_genesis(Genesis { control: ControlMode::Strict, ..genesis_of(&ids) });
    assert_eq!(net.elect(), 0);
    let session = net.open(0, 1);
    net.run_ms(50);
    net.stuck.push(0);
    net.cut.extend([(1, 0), (2, 0)]); // Nobody learns that it is committed.
    net.submit(0, session, numbered(1, b"key", b"value"));
    net.run_ms(5);
    net.kill(0);
    net.stuck.clear();
    net.cut.clear();
    net.start(0);
    net
}

#[test]
fn an_appointed_leader_that_lost_its_last_block_takes_it_over_from_its_voters() {
    let mut net = an_appointed_leader_loses_its_last_block();
    net.until("it leads again", |net| net.leader() == Some(0)); // [P-48]
    net.run_ms(50);
    for node in 0..3 {
        assert_eq!(net.nodes[node].committed[b"key".as_slice()].1.as_deref(), Some(&b"value"[..]), "n{node}");
    }
}

#[test]
fn what_one_voter_alone_says_is_not_taken_over() {
    let mut net = an_appointed_leader_loses_its_last_block();
    net.cut.extend([(2, 0), (0, 2)]);
    let tip = net.machine(0).last_sequence();
    net.run_ms(1_000);
    assert_eq!(net.machine(0).last_sequence(), tip, "a voter may lie; two of three do not"); // [P-48]
    assert_eq!(net.leader(), None);
    net.cut.clear();
    net.until("it leads again", |net| net.leader() == Some(0));
}
