//! `io_oi genesis`: made once, signed by every operator in turn, shown to anybody.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use io_oi_record::SignedGenesis;
use io_oi_record::genesis::GenesisError;
use support::{Answer, io_oi};

fn genesis(place: &Path, arguments: &[&str]) -> Answer {
    Answer(io_oi().arg("genesis").args(arguments).current_dir(place).output().unwrap())
}

fn read(path: &Path) -> SignedGenesis {
    SignedGenesis::decode(&std::fs::read(path).unwrap()).unwrap()
}

const THREE: [&str; 3] = ["n1@127.0.0.1:7000", "n2@127.0.0.1:7100", "n3@127.0.0.1:7200"];

#[test]
fn one_command_makes_keys_directories_and_a_complete_genesis() {
    let place = tempfile::tempdir().unwrap();
    let new =
        [&["new"][..], &THREE, &["--keys-in", "nodes", "--shards", "2", "--control", "competitive"]].concat();
    let said = genesis(place.path(), &[&new[..], &["--json"]].concat()).expect(0).json();
    assert_eq!((&said["complete"], &said["shards"]), (&true.into(), &2.into()));
    assert_eq!((&said["control"], &said["trust"]), (&"competitive".into(), &"full".into()));
    let signed = read(&place.path().join("cluster.genesis"));
    assert_eq!(signed.verify().unwrap().to_string(), said["cluster"].as_str().unwrap());
    for name in ["n1", "n2", "n3"] {
        let home = place.path().join("nodes").join(name);
        assert_eq!(read(&home.join("genesis")), signed);
        let mode = std::fs::metadata(home.join("node.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a key is for its owner alone");
    }
    let mode = std::fs::metadata(place.path().join("operator.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn several_operators_sign_one_after_the_other() {
    let place = tempfile::tempdir().unwrap();
    let bob = genesis(place.path(), &["key", "bob.key"]).expect(0).out().trim().to_owned();
    let new =
        [&["new"][..], &THREE, &["--keys-in", "nodes", "--operator-key", "alice.key", "--operator", &bob]]
            .concat();
    let begun = genesis(place.path(), &new).expect(0).out();
    assert!(begun.contains("genesis sign cluster.genesis"), "{begun}");
    let file = place.path().join("cluster.genesis");
    assert!(read(&file).verify().is_err(), "no node takes a genesis that lacks a signature");
    assert!(!place.path().join("nodes/n1/genesis").exists(), "nothing is put in place before it is complete");
    let shown = genesis(place.path(), &["show", "cluster.genesis", "--json"]).expect(0).json();
    let signed: Vec<bool> =
        shown["operators"].as_array().unwrap().iter().map(|one| one["signed"].as_bool().unwrap()).collect();
    assert_eq!((signed, &shown["complete"]), (vec![true, false], &false.into()));
    genesis(place.path(), &["sign", "cluster.genesis", "--operator-key", "bob.key"]).expect(0);
    read(&file).verify().unwrap();
    let shown = genesis(place.path(), &["show", "cluster.genesis"]).expect(0).out();
    assert!(!shown.contains("not yet"), "{shown}");
}

#[test]
fn nobody_else_signs_and_nothing_is_written_over() {
    let place = tempfile::tempdir().unwrap();
    let new = [&["new"][..], &THREE, &["--keys-in", "nodes"]].concat();
    genesis(place.path(), &new).expect(0);
    genesis(place.path(), &["key", "stranger.key"]).expect(0);
    let before = std::fs::read(place.path().join("cluster.genesis")).unwrap();
    let stranger =
        genesis(place.path(), &["sign", "cluster.genesis", "--operator-key", "stranger.key"]).expect(1);
    assert!(stranger.err().contains("does not name operator"), "{}", stranger.err());
    assert!(genesis(place.path(), &new).expect(1).err().contains("never overwritten"));
    assert!(genesis(place.path(), &["key", "stranger.key"]).expect(1).err().contains("never overwritten"));
    assert_eq!(std::fs::read(place.path().join("cluster.genesis")).unwrap(), before);
    let again = [&["new", "--out", "other.genesis"][..], &THREE, &["--keys-in", "nodes"]].concat();
    assert!(genesis(place.path(), &again).expect(1).err().contains("belongs to a cluster already"));
}

#[test]
fn a_tampered_genesis_is_found_out() {
    let place = tempfile::tempdir().unwrap();
    genesis(place.path(), &[&["new"][..], &THREE, &["--keys-in", "nodes"]].concat()).expect(0);
    let file = place.path().join("cluster.genesis");
    let mut signed = read(&file);
    signed.genesis.members[2].address = "127.0.0.1:6666".to_owned();
    assert!(matches!(signed.verify(), Err(GenesisError::Signature(_))));
    std::fs::write(&file, signed.encode().unwrap()).unwrap();
    let shown = genesis(place.path(), &["show", "cluster.genesis"]).expect(7);
    assert!(shown.err().contains("the signature of operator"), "{}", shown.err());
    let mut bytes = signed.encode().unwrap();
    bytes.truncate(100);
    std::fs::write(&file, bytes).unwrap();
    genesis(place.path(), &["show", "cluster.genesis"]).expect(7);
    genesis(place.path(), &["show", "nowhere.genesis"]).expect(1);
}

#[test]
fn what_cannot_found_a_cluster_is_refused_with_the_reason() {
    let place = tempfile::tempdir().unwrap();
    let refuse = |arguments: &[&str], reason: &str| {
        let answer = genesis(place.path(), &[&["new"], arguments].concat()).expect(2);
        assert!(answer.err().contains(reason), "{} does not say {reason}", answer.err());
    };
    refuse(&["n1@127.0.0.1:7000"], "--keys-in");
    refuse(&["n1"], "NAME=KEY@HOST:PORT");
    refuse(&["n1=12@127.0.0.1:7000"], "hexadecimal");
    refuse(&["n1@127.0.0.1"], "HOST:PORT");
    refuse(&["n1@127.0.0.1:7000", "n1@127.0.0.1:7100", "--keys-in", "nodes"], "twice");
    refuse(&["n1@127.0.0.1:7000", "--keys-in", "nodes", "--shards", "65"], "64");
    let eight: Vec<String> = (1..=8).map(|number| format!("n{number}@127.0.0.1:{}", 7000 + number)).collect();
    let eight: Vec<&str> = eight.iter().map(String::as_str).chain(["--keys-in", "more"]).collect();
    refuse(&eight, "at most 7");
    assert!(!place.path().join("cluster.genesis").exists());
}

#[test]
fn every_verb_has_an_example() {
    for verb in ["new", "sign", "show", "key"] {
        let help = genesis(Path::new("."), &[verb, "--help"]).expect(0).out();
        assert!(help.contains(&format!("io_oi genesis {verb}")), "{help}");
    }
}
