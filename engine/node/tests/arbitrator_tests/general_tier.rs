//! A judge that cannot be sealed, in a cluster: seated, asked on every node, its refusals and faults the same everywhere.

use std::collections::BTreeMap;

use io_oi_arbitrator::author::component_of;
use io_oi_client::Client;
use io_oi_record::hash::Domain;
use io_oi_record::{Hash, Outcome, RefusalCode};

use crate::cluster::{Cluster, Plan};
use crate::deployment::seat;
use crate::limits_are_enforced::send;

/// The component of `growing.wat`.
fn growing() -> Vec<u8> {
    let module = wat::parse_str(include_str!("growing.wat")).expect("the text of a judge is well-formed");
    component_of(&module).expect("it has the contract's exports")
}

/// What the judge's page says of a byte, written a second time.
fn expected(byte: u8) -> Outcome {
    Outcome::Refused(match byte {
        252 | 254 | 255 => RefusalCode::ArbitratorFault,
        253 => RefusalCode::ArbitratorDeferred,
        _ if byte % 2 == 1 => {
            let code = (f64::from(byte).sqrt() * 1_000.0) as u32;
            RefusalCode::arbitrator(code).expect("a code of 31 bits")
        }
        _ => return Outcome::Accepted,
    })
}

/// What was said so far: the last byte that was accepted, and how often each code was the answer.
#[derive(Default)]
struct Seen {
    last: Option<u8>,
    codes: BTreeMap<String, u64>,
}

impl Seen {
    fn send_all(&mut self, client: &mut Client, bytes: impl IntoIterator<Item = u8>) {
        for byte in bytes {
            let receipt = send(client, b"g/value", &[byte, 1, 2, 3]);
            assert_eq!(receipt.outcome, expected(byte), "{byte}: {receipt:?}");
            match receipt.outcome {
                Outcome::Accepted => self.last = Some(byte),
                Outcome::Refused(RefusalCode::Arbitrator(code)) => {
                    *self.codes.entry(code.get().to_string()).or_default() += 1;
                }
                Outcome::Refused(_) => {}
            }
        }
    }
}

/// Every node shows what was accepted, has judged it itself, and accuses nobody.
fn assert_all_agree(cluster: &Cluster, component: Hash, seen: &Seen) {
    cluster.wait_until_equal();
    for place in cluster.places() {
        let table = cluster.committed_table(place);
        assert_eq!(table.get(b"g/last".as_slice()).map(|(_, value)| value[0]), seen.last, "node {place}");
        let status = cluster.status(place, 0).expect("the node answers");
        assert_eq!((status.evidence, status.mute), (0, None), "nobody honest is accused");
        let judge = cluster.component_at(place, component).expect("it is stored");
        assert_eq!((&judge["admission"], &judge["tier"]), (&"admitted".into(), &"general".into()), "{judge}");
    }
}

#[test]
fn three_nodes_judge_alike_and_count_every_code() {
    let _alone = crate::one_cluster_at_a_time();
    let mut cluster = Cluster::start(Plan::of(3));
    let leader = cluster.wait_for_leader(0);
    let component = cluster.store_bytes(&growing());
    assert_eq!(component, Domain::Arbitrator.hash(&growing()), "the same text, the same bytes");
    cluster.wait_until_admitted(component);
    assert!(cluster.decide(&seat(b"g/", component, false), &[]).is_accepted());
    let mut seen = Seen::default();
    // Sixteen odd bytes: as many codes as a node counts one by one. Some of them twice.
    seen.send_all(&mut cluster.attach(leader), (0..34).filter(|byte| *byte != 33));
    seen.send_all(&mut cluster.attach((leader + 1) % 3), [252, 253, 254, 255, 7, 7, 9, 250]);
    assert_all_agree(&cluster, component, &seen);
    for place in cluster.places() {
        let judge = cluster.component_at(place, component).expect("it is stored");
        let counted: BTreeMap<String, u64> =
            serde_json::from_value(judge["heard"]["refused_by_code"].clone()).expect("codes with counts");
        // A record that a change of the leader took back is judged again: more may be counted, never less.
        assert!(counted.keys().eq(seen.codes.keys()), "node {place}: {counted:?}");
        assert!(counted.iter().all(|(code, count)| *count >= seen.codes[code]), "node {place}: {counted:?}");
        assert_eq!(judge["heard"]["refused_by_other_codes"], 0);
        let faults = |kind: &str| judge["fault_kinds"][kind].as_u64().expect("a count");
        assert!(
            faults("fuel") >= 1 && faults("trap") >= 1 && faults("fuel") + faults("trap") >= 3,
            "{judge}"
        );
    }
    cluster.kill(leader);
    let next = cluster.wait_for_leader_other_than(0, &[leader]);
    let mut client = cluster.attach(next);
    seen.send_all(&mut client, 100..140);
    drop(client);
    cluster.start_nodes(&[leader]);
    assert_all_agree(&cluster, component, &seen);
    cluster.kill_all();
    cluster.start_nodes(&cluster.places().collect::<Vec<_>>());
    let leader = cluster.wait_for_leader(0);
    seen.send_all(&mut cluster.attach(leader), [254, 8, 11, 255]);
    assert_all_agree(&cluster, component, &seen);
}

#[test]
fn a_judge_that_may_think_for_longer_than_a_shard_can_wait_is_refused_with_the_bound() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = Cluster::start(Plan::of(1));
    let text = include_str!("growing.wat").replace("\\a0\\86\\01\\00", "\\41\\42\\0f\\00"); // 1,000,001
    let module = wat::parse_str(text).expect("the text of a judge is well-formed");
    let component = cluster.store_bytes(&component_of(&module).expect("it has the contract's exports"));
    let refused = cluster.wait_for("a verdict over the component", |cluster| {
        cluster.component_at(0, component).filter(|known| known["admission"] == "refused")
    });
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(reason.contains("memory.grow") && reason.contains("at most 1000000"), "{reason}");
    let number = cluster.status(0, 0).expect("it answers").governance + 1;
    let receipt = cluster.govern_at(0, 0, number, seat(b"g/", component, false)).expect("it answers");
    assert_eq!(receipt.outcome, Outcome::Refused(RefusalCode::ArbitratorNotAdmitted));
}
