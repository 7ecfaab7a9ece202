//! A node whose disk is not its own past is mute after every later start, too: what it reads from the others meanwhile makes
//! its log look whole, and proves nothing about what it had promised. [P-44]

mod support;

use io_oi_record::{Message, Sequence};
use io_oi_shard::{MuteReason, PastLost};
use support::net::{Net, PromiseFile, numbered};
use support::{CLUSTER, Frame, SHARD};

/// What stands on a node's disk.
struct Copy {
    log: Vec<Frame>,
    promise: PromiseFile,
}

/// Three nodes after several elections; the follower `victim`, and copies of its disk from before it followed and granted.
struct Story {
    net: Net,
    victim: usize,
    before: Copy,
}

fn story() -> Story {
    let mut net = Net::of(3);
    let leader = net.elect();
    net.open(leader, 1);
    let victim = net.others(leader)[0];
    put_until_committed(&mut net, 1);
    net.kill(victim);
    let it = &net.nodes[victim];
    let before = Copy { log: it.log.clone(), promise: it.promise };
    net.start(victim);
    // The others take turns: the victim grants or claims on the way.
    for round in 0..3 {
        let leader = net.elect();
        let away = if leader == victim { net.others(victim)[round % 2] } else { leader };
        net.kill(away);
        net.run_ms(1_500);
        net.start(away);
        put_until_committed(&mut net, 2 + round as u64);
    }
    let after = net.nodes[victim].promise.promised;
    assert!(after > before.promise.promised, "the victim has promised something meanwhile");
    net.kill(victim);
    Story { net, victim, before }
}

/// One more put through whoever leads, held by everybody who is up.
fn put_until_committed(net: &mut Net, number: u64) {
    let leader = net.elect();
    let session = net.open(leader, number as u32 + 100);
    net.submit(leader, session, numbered(1, b"key", &number.to_le_bytes()));
    let wanted = number.to_le_bytes();
    net.until("everybody has it", |net| {
        let mut up = net.nodes.iter().filter(|node| node.machine.is_some());
        up.all(|node| node.committed.get(&b"key"[..]).is_some_and(|it| it.1.as_deref() == Some(&wanted)))
    });
}

fn past_lost(net: &Net, node: usize) -> Option<PastLost> {
    match net.machine(node).mute() {
        Some(MuteReason::PastLost(past_lost)) => Some(past_lost),
        _ => None,
    }
}

/// The node is restarted again and again, each time after it has read everything; it says the same each time and gives nobody
/// its word.
fn stays_mute(net: &mut Net, victim: usize, found: PastLost) {
    for round in 0..3_usize {
        let away = net.others(victim)[round % 2];
        net.kept = Some(Vec::new());
        // The other two can elect without it.
        put_until_committed(net, 10 + round as u64);
        assert_eq!(past_lost(net, victim), Some(found), "round {round}");
        // With one of them away its word alone would make a quorum.
        net.kill(away);
        let left = net.others(victim)[1 - round % 2];
        if net.machine(left).is_leading() {
            let session = net.session(left, 10 + round as u32 + 100);
            net.submit(left, session, numbered(2, b"nobody decides", b"this"));
        }
        let decided = net.machine(left).committed();
        net.run_ms(1_500);
        assert_eq!(net.machine(left).committed(), decided, "round {round}: a mute node made a quorum");
        net.start(away);
        put_until_committed(net, 20 + round as u64);
        let kept = net.kept.take().expect("messages are kept");
        for (_, _, bytes) in kept.iter().filter(|(from, _, _)| *from == victim) {
            let (_, message) = Message::decode(bytes, CLUSTER, SHARD).expect("a machine's message");
            let is_word = matches!(message, Message::Vote(_) | Message::Grant(_) | Message::Ballot(_));
            assert!(!is_word, "round {round}: {message:?}");
        }
        net.kill(victim);
        net.start(victim);
        assert_eq!(past_lost(net, victim), Some(found), "round {round}, started again");
    }
}

#[test]
fn a_log_rolled_back_behind_its_promise_file_is_never_trusted_again() {
    let Story { mut net, victim, before } = story();
    let promised = net.nodes[victim].promise.promised;
    net.nodes[victim].log = before.log;
    net.start(victim);
    let found = past_lost(&net, victim).expect("the promise file names an epoch that the log lacks");
    assert!(matches!(found, PastLost::Promise { promised: named, .. } if named == promised), "{found:?}");
    stays_mute(&mut net, victim, found);
}

#[test]
fn a_disk_rolled_back_as_a_whole_is_never_trusted_again_once_a_peer_has_shown_what_it_lacks() {
    let Story { mut net, victim, before } = story();
    (net.nodes[victim].log, net.nodes[victim].promise) = (before.log, before.promise);
    net.start(victim);
    assert_eq!(net.machine(victim).mute(), None, "nothing on this disk tells");
    net.until("a peer shows it its own word", |net| past_lost(net, victim).is_some());
    let found = past_lost(&net, victim).expect("just seen");
    stays_mute(&mut net, victim, found);
}

#[test]
fn until_its_muteness_is_kept_a_node_takes_nothing_that_could_hide_it() {
    let Story { mut net, victim, before } = story();
    net.nodes[victim].log = before.log;
    net.stuck.push(victim);
    for start in 0..3 {
        net.start(victim);
        let found = past_lost(&net, victim).expect("found anew at each start");
        assert!(matches!(found, PastLost::Promise { .. }), "{found:?}");
        let (length, tip) = (net.nodes[victim].log.len(), net.machine(victim).last_sequence());
        net.run_ms(500);
        assert_eq!(net.nodes[victim].log.len(), length, "start {start}: it appended something");
        assert_eq!(net.machine(victim).last_sequence(), tip);
        assert!(!net.machine(victim).is_ready() && !net.machine(victim).is_idle());
        assert_eq!(net.nodes[victim].promise.past_lost, None);
        net.kill(victim);
    }
    net.stuck.clear();
    net.start(victim);
    let found = past_lost(&net, victim).expect("found anew");
    let lacked = net.machine(victim).last_sequence();
    net.until("it follows once that is kept", |net| {
        net.machine(victim).committed() > lacked.max(Sequence(1))
    });
    stays_mute(&mut net, victim, found);
}
