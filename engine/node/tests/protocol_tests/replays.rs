//! What was said once is worth nothing a second time: replayed votes, grants, blocks and proposals.

use std::time::{Duration, Instant};

use io_oi_record::message::{Forwarded, Message};
use io_oi_record::{
    Durability, Epoch, Operation, Precondition, Proposal, SessionId, SessionSequence, ShardId,
};

use crate::cluster::impostor::{Heard, Impostor};
use crate::cluster::{Cluster, Plan};
use crate::support::put;

/// Frames replayed in each test.
fn replays() -> usize {
    if std::env::var_os("IO_OI_NIGHTLY").is_some() { 1_000_000 } else { 100_000 }
}

#[test]
fn replayed_votes_grants_and_blocks_commit_nothing() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.start_nodes(&[0, 1]);
    let impostor = Impostor::enter(&cluster, 2);
    impostor.wait_for(&[cluster.node_id(0), cluster.node_id(1)]);
    let heard = record_two_epochs(&mut cluster, &impostor);

    // One node is left, and with it everything that the other ever said.
    let leader = cluster.wait_for_leader(0);
    let follower = 1 - leader;
    cluster.kill(follower);
    std::thread::sleep(Duration::from_millis(200)); // The dead one's last words have arrived.
    let committed = cluster.status(leader, 0).expect("the node answers").committed;
    let mut client = cluster.attach_without_quorum(leader);
    let ticket = client.as_mut().map(|client| client.put(b"alone", b"never committed").unwrap());
    let others_words: Vec<&Heard> =
        heard.iter().filter(|heard| heard.from == cluster.node_id(follower)).collect();
    let replayed = replay(&cluster, &impostor, leader, &others_words, replays() / 2);
    let status = cluster.status(leader, 0).expect("the node answers");
    assert!(
        !status.leads() || status.committed <= committed + 1,
        "{replayed} replays committed something: {status:?}"
    );
    assert_eq!(status.committed, committed, "{replayed} replays moved the commit point: {status:?}");
    if let (Some(client), Some(ticket)) = (&mut client, ticket) {
        let soon = Instant::now() + Duration::from_millis(200);
        assert!(client.wait(ticket, soon).is_err(), "a put was acknowledged by replays");
    }

    // The same over a new connection, after a restart.
    cluster.kill(leader);
    cluster.start_nodes(&[leader]);
    impostor.wait_for(&[cluster.node_id(leader)]);
    let replayed = replay(&cluster, &impostor, leader, &others_words, replays() / 2);
    let status = cluster.status(leader, 0).expect("the node answers");
    assert!(!status.leads(), "{replayed} replays made a leader: {status:?}");
    assert_eq!(status.evidence, 0, "replays convicted somebody: {status:?}");
    drop(client);

    cluster.start_nodes(&[follower]);
    let leader = cluster.wait_for_leader(0);
    assert!(put(&mut cluster.attach(leader), b"together", b"again").is_accepted());
    cluster.wait_until_equal();
}

/// Work under two leaders, so that there are ballots, grants and blocks of an older epoch.
fn record_two_epochs(cluster: &mut Cluster, impostor: &Impostor) -> Vec<Heard> {
    for round in 0..2u64 {
        let leader = cluster.wait_for_leader(0);
        let mut client = cluster.attach(leader);
        for count in 0..50u64 {
            assert!(put(&mut client, &count.to_le_bytes(), &round.to_le_bytes()).is_accepted());
        }
        drop(client);
        if round == 0 {
            cluster.kill(leader);
            cluster.start_nodes(&[leader]);
            impostor.wait_for(&[cluster.node_id(leader)]);
        }
    }
    cluster.wait_until_equal();
    let heard = impostor.heard();
    let mut epochs: Vec<u64> = heard.iter().filter_map(|heard| epoch_of(impostor, heard)).collect();
    epochs.sort_unstable();
    epochs.dedup();
    assert!(heard.len() > 100 && epochs.len() > 1, "{} frames of the epochs {epochs:?}", heard.len());
    heard
}

fn epoch_of(impostor: &Impostor, heard: &Heard) -> Option<u64> {
    Message::decode(&heard.bytes, impostor.cluster, ShardId(0)).ok().map(|(epoch, _)| epoch.0)
}

/// Says it all again and again: as it was, with the head of a later epoch, of another cluster and shard.
fn replay(cluster: &Cluster, impostor: &Impostor, to: usize, heard: &[&Heard], count: usize) -> usize {
    let node = cluster.node_id(to);
    let newest = cluster.status(to, 0).map_or(0, |status| status.epoch);
    for (number, heard) in heard.iter().cycle().take(count).enumerate() {
        let mut frame = heard.bytes.clone();
        match number / heard_len(heard) % 4 {
            1 => frame[36..44].copy_from_slice(&(newest + 1).to_le_bytes()),
            2 => frame[4] ^= 1,
            3 => frame[2] ^= 1,
            _ => {}
        }
        impostor.say(node, &frame);
        if number % 5_000 == 0 {
            impostor.wait_until_said();
        }
    }
    impostor.wait_until_said();
    count
}

/// Spreads the four kinds over all frames whatever their number is.
fn heard_len(heard: &Heard) -> usize {
    1 + heard.bytes.len() % 7
}

#[test]
fn a_replayed_proposal_takes_effect_once() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.start_nodes(&[0, 1]);
    let impostor = Impostor::enter(&cluster, 2);
    let nodes = [cluster.node_id(0), cluster.node_id(1)];
    impostor.wait_for(&nodes);
    let leader = cluster.wait_for_leader(0);
    let mut client = cluster.attach(leader);
    let session = client.session();
    for count in 1..=20u64 {
        assert!(put(&mut client, b"counter", &count.to_le_bytes()).is_accepted());
    }
    cluster.wait_until_equal();
    let before = cluster.status(leader, 0).expect("the node answers");

    let frames: Vec<Vec<u8>> =
        (1..=20).map(|number| forwarded(&impostor, session, number, before.epoch)).collect();
    for number in 0..replays() {
        impostor.say(nodes[leader], &frames[number % frames.len()]);
        if number % 5_000 == 0 {
            impostor.wait_until_said();
        }
    }
    impostor.wait_until_said();
    // Behind everything that was said before, on the same connection's other end.
    assert!(put(&mut client, b"counter", &21u64.to_le_bytes()).is_accepted());
    let after = cluster.status(leader, 0).expect("the node answers");
    if after.epoch == before.epoch {
        assert_eq!(after.tip, before.tip + 1, "a replayed proposal took a place");
    }
    let mut value = Vec::new();
    client.get_committed(b"counter", &mut value).unwrap().expect("it was put");
    assert_eq!(value, 21u64.to_le_bytes());
    drop(client);
    cluster.wait_until_equal();
}

/// A proposal of the client's session as a follower would pass it on.
fn forwarded(impostor: &Impostor, session: SessionId, number: u64, epoch: u64) -> Vec<u8> {
    let proposal = Proposal {
        session_sequence: SessionSequence(number),
        operation: Operation::Put,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key: b"counter",
        value: &number.to_le_bytes(),
    };
    let mut entry = vec![0; Forwarded::entry_bytes(&proposal)];
    Forwarded::encode_entry(session, &proposal, &mut entry).unwrap();
    let message = Message::Forward(Forwarded::decode(&entry).unwrap());
    let mut frame = vec![0; message.encoded_bytes()];
    message.encode(impostor.cluster, ShardId(0), Epoch(epoch), &mut frame).unwrap();
    frame
}
