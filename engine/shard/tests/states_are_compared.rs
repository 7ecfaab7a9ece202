//! Nodes tell each other the hash of their state; one that differs is told of, and nothing else happens. [P-107]

mod support;

use io_oi_record::message::{Commit, StateHash};
use io_oi_record::*;
use io_oi_shard::Notice;
use support::follower::{Follower, block_message, first_block, liar, other, record, seal_message};

const RECORDS: u64 = 300;

/// One block that reaches the first place at which states are compared.
fn block() -> (BlockHeader, Vec<u8>) {
    let put =
        |sequence| Record { key: b"key", value: b"value", ..record(sequence, 1, sequence, Operation::Put) };
    first_block(&(3..=RECORDS).map(put).collect::<Vec<_>>())
}

fn commit(header: &BlockHeader) -> Message<'static> {
    let (tip, tip_hash) = (header.last_sequence(), header.hash());
    Message::Commit(Commit {
        committed: tip,
        committed_hash: tip_hash,
        tip,
        tip_hash,
        round: Round(2),
        certified: Sequence::NONE,
    })
}

fn say(follower: &mut Follower, from: NodeId, said: StateHash) {
    follower.receive_from(from, &Message::StateHash(said));
}

fn differing(follower: &Follower) -> Vec<NodeId> {
    let node = |notice: &Notice| match notice {
        Notice::StateDiffers { node, sequence } => {
            assert_eq!(*sequence, Sequence(RECORDS));
            Some(*node)
        }
        _ => None,
    };
    follower.notices.iter().filter_map(node).collect()
}

#[test]
fn a_node_tells_its_state_and_notices_who_differs() {
    let (header, bytes) = block();
    let mut follower = Follower::new();
    // Said before this node is there: it is compared when it is.
    let wrong = StateHash { sequence: Sequence(RECORDS), hash: Hash([9; 32]) };
    say(&mut follower, other().node(), wrong);
    assert_eq!(differing(&follower), []);
    follower.receive(&block_message(&bytes));
    follower.receive(&seal_message(&header));
    follower.receive(&commit(&header));
    assert_eq!(follower.machine.state_hash().0, Sequence(RECORDS));
    assert_eq!(differing(&follower), [other().node()]);
    let told = follower.heard(|message| match message {
        Message::StateHash(said) => Some(said),
        _ => None,
    });
    let (sequence, hash) = follower.machine.state_hash();
    assert!(told.contains(&StateHash { sequence, hash }));
    say(&mut follower, liar().node(), StateHash { sequence, hash });
    assert_eq!(differing(&follower).len(), 1, "the same state is no news");
    say(&mut follower, liar().node(), wrong);
    assert_eq!(differing(&follower), [other().node(), liar().node()]);
    assert!(follower.machine.mute().is_none() && !follower.machine.is_barred(liar().node()));
}
