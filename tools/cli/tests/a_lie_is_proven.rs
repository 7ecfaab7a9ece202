//! `io_oi evidence verify`: two statements under one key convict it before anybody who has the genesis.

mod support;

use std::path::Path;

use io_oi_record::evidence::{Evidence, Proof, Signed};
use io_oi_record::{Epoch, Sequence};
use io_oi_record::{Hash, NodeId, ShardId, SignedGenesis, Signer, Vote};
use support::{Answer, io_oi};

/// A cluster of three on paper: its genesis and the keys of its members.
fn founded(place: &Path) -> (SignedGenesis, Vec<Signer>) {
    let members = ["n1@127.0.0.1:7000", "n2@127.0.0.1:7100", "n3@127.0.0.1:7200"];
    let mut command = io_oi();
    command.args(["genesis", "new", "--keys-in", "nodes"]).args(members).current_dir(place);
    Answer(command.output().unwrap()).expect(0);
    let signed = SignedGenesis::decode(&std::fs::read(place.join("cluster.genesis")).unwrap()).unwrap();
    let keys = ["n1", "n2", "n3"].map(|name| {
        let text = std::fs::read_to_string(place.join("nodes").join(name).join("node.key")).unwrap();
        Signer::from_secret(&text.trim().parse::<Hash>().unwrap().0)
    });
    (signed, keys.into())
}

fn vote(genesis: &SignedGenesis, voter: &Signer, block: u8) -> Signed<Vote> {
    let statement = Vote {
        cluster: genesis.genesis.cluster(),
        shard: ShardId(0),
        epoch: Epoch(3),
        sequence: Sequence(9),
        block: Hash([block; 32]),
        voter: voter.node(),
    };
    Signed { signature: voter.sign(&statement), statement }
}

fn evidence(genesis: &SignedGenesis, proof: Proof, reporter: NodeId) -> Evidence {
    Evidence { cluster: genesis.genesis.cluster(), shard: ShardId(0), proof, reporter }
}

fn verify(place: &Path, bytes: &[u8], more: &[&str]) -> Answer {
    std::fs::write(place.join("a.evidence"), bytes).unwrap();
    let mut command = io_oi();
    command.args(["evidence", "verify", "a.evidence", "--genesis", "cluster.genesis"]).args(more);
    Answer(command.current_dir(place).output().unwrap())
}

#[test]
fn two_votes_for_two_blocks_convict_offline() {
    let place = tempfile::tempdir().unwrap();
    let (genesis, keys) = founded(place.path());
    let proof = Proof::TwoVotes(vote(&genesis, &keys[1], 1), vote(&genesis, &keys[1], 2));
    let bytes = evidence(&genesis, proof, keys[0].node()).encode().unwrap();
    let said = verify(place.path(), &bytes, &["--json"]).expect(0).json();
    assert_eq!((&said["accused"], &said["name"]), (&keys[1].node().to_string().into(), &"n2".into()));
    assert_eq!((&said["kind"], &said["convicts"]), (&"two-votes".into(), &true.into()));
    let people = verify(place.path(), &bytes, &[]).expect(0).out();
    assert!(people.contains("n2, a founder") && people.contains("Convicted"), "{people}");
}

#[test]
fn every_flipped_bit_is_found() {
    let place = tempfile::tempdir().unwrap();
    let (genesis, keys) = founded(place.path());
    let proof = Proof::TwoVotes(vote(&genesis, &keys[1], 1), vote(&genesis, &keys[1], 2));
    let bytes = evidence(&genesis, proof, keys[0].node()).encode().unwrap();
    for at in (0..bytes.len()).step_by(29) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let answer = verify(place.path(), &changed, &["--json"]);
        // The reporter's name is no part of what convicts.
        if answer.exit_code() != 7 {
            assert_eq!(answer.exit_code(), 0, "{}", answer.err());
            assert_ne!(answer.json()["reporter"], keys[0].node().to_string(), "byte {at} was let through");
        }
    }
    verify(place.path(), &bytes[..bytes.len() - 1], &[]).expect(7);
    verify(place.path(), b"", &[]).expect(7);
}

#[test]
fn what_an_honest_node_may_sign_convicts_nobody() {
    let place = tempfile::tempdir().unwrap();
    let (genesis, keys) = founded(place.path());
    let same = Proof::TwoVotes(vote(&genesis, &keys[1], 1), vote(&genesis, &keys[1], 1));
    let of_two = Proof::TwoVotes(vote(&genesis, &keys[1], 1), vote(&genesis, &keys[2], 2));
    for proof in [same, of_two] {
        let bytes = evidence(&genesis, proof, keys[0].node()).encode().unwrap();
        let refused = verify(place.path(), &bytes, &[]).expect(7);
        assert!(refused.err().contains("suspect"), "{}", refused.err());
    }
}

#[test]
fn evidence_of_another_cluster_convicts_nobody_here() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, _) = founded(place.path());
    let (genesis, keys) = founded(other.path());
    let proof = Proof::TwoVotes(vote(&genesis, &keys[1], 1), vote(&genesis, &keys[1], 2));
    let bytes = evidence(&genesis, proof, keys[0].node()).encode().unwrap();
    assert!(verify(place.path(), &bytes, &[]).expect(7).err().contains("is about cluster"));
}
