//! What was valid once is worth nothing the second time, in another place, or after a restart.

use io_oi_consensus::{Certifier, Governance, VoteOutcome, Watch};
use io_oi_record::message::{MESSAGE_HEAD_BYTES, Message, MessageError};
use io_oi_record::*;

use crate::support::*;

const REPLAYS: usize = 1_000_000;

/// A deterministic stream: which statement is replayed next.
fn draws(count: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state as usize % count)
    })
}

#[test]
fn a_million_replayed_votes_change_nothing() {
    let (mut certifier, mut watch, roster) =
        (Certifier::new(), Watch::new(genesis().cluster(), SHARD, id(0)), roster());
    let votes: Vec<_> = (1..=20)
        .flat_map(|at| (0..3).map(move |voter| signed(&node(voter), vote(voter, 1, at, at as u8))))
        .collect();
    for vote in &votes {
        certifier.collect(vote, &roster);
        assert_eq!(watch.see_vote(vote, &roster), None);
    }
    let before = *certifier.newest().expect("every vote was there");
    for at in draws(votes.len()).take(REPLAYS) {
        assert_eq!(certifier.collect(&votes[at], &roster), VoteOutcome::Stale);
        assert_eq!(watch.see_vote(&votes[at], &roster), None);
    }
    assert_eq!(certifier.newest(), Some(&before));
}

#[test]
fn a_million_replayed_changes_are_refused() {
    let mut governance = Governance::new(&genesis(), SHARD);
    let changes = [add(3), promote(3), appoint(3), remove(0), bar(2)];
    let values: Vec<Vec<u8>> = (1..)
        .zip(changes)
        .map(|(number, change)| {
            let signed = govern(number, change);
            let value = signed.encode().expect("valid");
            assert!(governance.judge(&value).is_ok());
            governance.append(Sequence(number), signed);
            value
        })
        .collect();
    for at in draws(values.len()).take(REPLAYS / 10) {
        assert_eq!(governance.judge(&values[at]), Err(RefusalCode::GovernanceNumber));
    }
    let decoded: Vec<_> =
        values.iter().map(|value| SignedGovernance::decode(value).expect("valid")).collect();
    for at in draws(values.len()).take(REPLAYS) {
        assert_eq!(governance.judged().judge(&decoded[at]), Err(RefusalCode::GovernanceNumber));
    }
}

#[test]
fn votes_are_stale_after_a_restart_too() {
    let roster = roster();
    let votes = [0, 1, 2].map(|voter| signed(&node(voter), vote(voter, 1, 7, 7)));
    let mut before = Certifier::new();
    votes.iter().for_each(|vote| {
        before.collect(vote, &roster);
    });
    let mut bytes = [0; limits::CERTIFICATE_BYTES_MAX];
    let length = before.newest().expect("a quorum").encode(&mut bytes).expect("fits");
    let mut after = Certifier::new();
    after.note_certificate(&QuorumCertificate::decode(&bytes[..length]).expect("as written"));
    for vote in votes {
        assert_eq!(after.collect(&vote, &roster), VoteOutcome::Stale);
    }
}

#[test]
fn a_message_replayed_in_another_cluster_or_shard_is_refused_a_million_times() {
    let message = Message::Vote(signed(&node(1), vote(1, 1, 4, 4)));
    let mut bytes = vec![0; message.encoded_bytes()];
    message.encode(genesis().cluster(), SHARD, Epoch(1), &mut bytes).expect("fits");
    assert!(Message::decode(&bytes, genesis().cluster(), SHARD).is_ok());
    let elsewhere = [(ClusterId([3; 32]), SHARD), (genesis().cluster(), ShardId(0))];
    for at in draws(2).take(REPLAYS) {
        let (cluster, shard) = elsewhere[at];
        let refused = Message::decode(&bytes, cluster, shard);
        assert!(matches!(refused, Err(MessageError::WrongCluster | MessageError::WrongShard { .. })));
    }
}

/// Whoever rewrites the head of a message to pass it off elsewhere, or the statement inside, breaks its signature.
#[test]
fn a_vote_moved_to_another_place_loses_its_signature() {
    let message = Message::Vote(signed(&node(1), vote(1, 1, 4, 4)));
    let (cluster, shard) = (genesis().cluster(), SHARD);
    let mut bytes = vec![0; message.encoded_bytes()];
    message.encode(cluster, shard, Epoch(1), &mut bytes).expect("fits");
    let mut accepted = 0;
    for bit in MESSAGE_HEAD_BYTES * 8..bytes.len() * 8 {
        let mut moved = bytes.clone();
        moved[bit / 8] ^= 1 << (bit % 8);
        if let Ok((_, Message::Vote(vote))) = Message::decode(&moved, cluster, shard) {
            accepted += usize::from(vote.verify().is_ok());
        }
    }
    assert_eq!(accepted, 0);
}
