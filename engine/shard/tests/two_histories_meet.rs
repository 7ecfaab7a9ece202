//! A leader that signs two histories is convicted on every honest node within one round trip of the second header's
//! arrival, whoever got which of them, and evidence outlives lost messages and crashes.

mod support;

use io_oi_record::evidence::Signed;
use io_oi_record::message::{BlockMessage, SealMessage};
use io_oi_record::{BlockHeader, Epoch, Message, Nanos, Signature};
use support::net::{Net, numbered, signer_of};
use support::{CLUSTER, SHARD};

/// A block of the leader and its seal, as they are sent, and the header.
struct Sent {
    epoch: Epoch,
    header: BlockHeader,
    block: Vec<u8>,
    seal: Vec<u8>,
}

/// The next block of this leader: nobody has got it yet.
fn next_block(net: &mut Net, leader: usize, number: u64) -> Sent {
    let session = net.session(leader, 1);
    for other in net.others(leader) {
        net.cut.push((leader, other));
    }
    net.kept = Some(Vec::new());
    net.submit(leader, session, numbered(number, b"key", &number.to_le_bytes()));
    net.step();
    let kept = net.kept.take().expect("messages are kept");
    net.cut.clear();
    let mut block = None;
    for (_, _, bytes) in kept.iter().filter(|(from, _, _)| *from == leader) {
        match Message::decode(bytes, CLUSTER, SHARD).expect("a machine's message") {
            (epoch, Message::Block(message)) => {
                let (header, _) = BlockHeader::decode_first(message.block).expect("a header");
                block = Some((epoch, header, bytes.clone()));
            }
            (_, Message::Seal(_)) => {
                let (epoch, header, block) = block.expect("the block goes first");
                return Sent { epoch, header, block, seal: bytes.clone() };
            }
            _ => {}
        }
    }
    panic!("the leader sent no sealed block");
}

fn encoded(epoch: Epoch, message: &Message<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_bytes()];
    message.encode(CLUSTER, SHARD, epoch, &mut bytes).expect("it fits");
    bytes
}

/// The same records at another time, truly signed.
fn another(leader: usize, sent: &Sent) -> Sent {
    let header = BlockHeader { time: Nanos(sent.header.time.0 + 1), ..sent.header };
    let Ok((_, Message::Block(message))) = Message::decode(&sent.block, CLUSTER, SHARD) else {
        panic!("it was a block just now")
    };
    let (_, records) = BlockHeader::decode_first(message.block).expect("a header");
    let block = [&header.encode()[..], records].concat();
    let block = encoded(sent.epoch, &Message::Block(BlockMessage { block: &block, ..message }));
    let signature = signer_of(leader).sign(&header);
    let seal = SealMessage { last_sequence: header.last_sequence(), header_hash: header.hash(), signature };
    Sent { epoch: sent.epoch, header, block, seal: encoded(sent.epoch, &Message::Seal(seal)) }
}

fn deliver(net: &mut Net, leader: usize, to: usize, sent: &Sent) {
    net.deliver(leader, to, sent.block.clone());
    net.deliver(leader, to, sent.seal.clone());
}

/// A cluster whose leader is about to lie: what it has sent to nobody yet, twice.
fn split(count: usize) -> (Net, usize, Sent, Sent) {
    let mut net = Net::of(count);
    let leader = net.elect();
    net.open(leader, 1);
    net.run_ms(30);
    let truth = next_block(&mut net, leader, 1);
    let lie = another(leader, &truth);
    net.isolate(leader); // What else it says reaches nobody.
    (net, leader, truth, lie)
}

/// Message delays until every honest node has convicted, from the step in which the last header arrives.
fn delays_until_convicted(net: &mut Net, leader: usize) -> u64 {
    let accused = net.id(leader);
    let is_done = |net: &Net| net.others(leader).iter().all(|node| net.machine(*node).is_barred(accused));
    net.cut.clear(); // A message put on its way by the test comes from the leader, too.
    net.step();
    net.isolate(leader);
    let mut delays = 0;
    while !is_done(net) {
        assert!(delays < 50, "nobody has noticed");
        net.step();
        delays += 1;
    }
    delays
}

#[test]
fn the_second_header_convicts_within_a_round_trip() {
    for count in [3, 5, 7] {
        let (mut net, leader, truth, lie) = split(count);
        let others = net.others(leader);
        let (first, second) = others.split_at(1);
        net.cut.clear();
        deliver(&mut net, leader, first[0], &truth);
        net.step();
        net.isolate(leader);
        net.run_ms(1);
        for node in second {
            deliver(&mut net, leader, *node, &lie);
        }
        let delays = delays_until_convicted(&mut net, leader);
        assert!(delays <= 2, "{count} nodes: {delays} message delays");
    }
}

#[test]
fn headers_that_arrive_together_convict_within_a_round_trip() {
    for count in [3, 5, 7] {
        let (mut net, leader, truth, lie) = split(count);
        for (place, node) in net.others(leader).into_iter().enumerate() {
            deliver(&mut net, leader, node, if place % 2 == 0 { &truth } else { &lie });
        }
        let delays = delays_until_convicted(&mut net, leader);
        assert!(delays <= 2, "{count} nodes: {delays} message delays");
    }
}

#[test]
fn who_got_neither_history_convicts_within_a_round_trip() {
    let (mut net, leader, truth, lie) = split(5);
    let others = net.others(leader);
    deliver(&mut net, leader, others[0], &truth);
    deliver(&mut net, leader, others[1], &lie);
    let delays = delays_until_convicted(&mut net, leader);
    assert!(delays <= 2, "{delays} message delays");
}

/// One follower gets the other header alone, without its block, before anybody else gets anything: what it shows the others
/// says nothing to them yet, and what they show it belongs to no block there.
#[test]
fn a_header_without_its_block_convicts_within_a_round_trip() {
    for count in [3, 5] {
        let (mut net, leader, truth, lie) = split(count);
        let others = net.others(leader);
        let signature = signer_of(leader).sign(&lie.header);
        let header = Message::Header(Signed { statement: lie.header, signature });
        net.deliver(leader, others[0], encoded(lie.epoch, &header));
        net.cut.clear();
        net.step();
        net.isolate(leader);
        (0..4).for_each(|_| net.step());
        net.cut.clear();
        others[1..].iter().for_each(|node| deliver(&mut net, leader, *node, &truth));
        let delays = delays_until_convicted(&mut net, leader);
        assert!(delays <= 2, "{count} nodes: {delays} message delays");
    }
}

/// Headers that followers sent, from whom and to whom.
fn passed_on(net: &mut Net, leader: usize) -> Vec<(usize, usize)> {
    let kept = net.kept.take().expect("messages are kept");
    let is_header =
        |bytes: &[u8]| matches!(Message::decode(bytes, CLUSTER, SHARD), Ok((_, Message::Header(_))));
    let passed = kept.into_iter().filter(|(from, _, bytes)| *from != leader && is_header(bytes));
    passed.map(|(from, to, _)| (from, to)).collect()
}

#[test]
fn an_honest_header_goes_to_who_has_not_shown_it_and_never_to_its_leader() {
    let (mut net, leader, truth, _) = split(3);
    let others = net.others(leader);
    net.cut.clear();
    net.kept = Some(Vec::new());
    deliver(&mut net, leader, others[0], &truth);
    net.step();
    assert_eq!(passed_on(&mut net, leader), [(others[0], others[1])]);
    net.step();
    net.kept = Some(Vec::new());
    deliver(&mut net, leader, others[1], &truth);
    net.run_ms(1);
    assert_eq!(passed_on(&mut net, leader), [], "the other one has shown the same header");
    assert!(others.iter().all(|node| !net.machine(*node).is_barred(net.id(leader))));
}

/// A header of a block that was given up, by the node that leads now, comes late: nobody's chain has it, nothing contradicts it.
#[test]
fn an_old_header_goes_round_once() {
    let (mut net, leader, truth, lie) = split(5);
    let others = net.others(leader);
    net.cut.clear();
    others.iter().for_each(|node| deliver(&mut net, leader, *node, &truth));
    (0..5).for_each(|_| net.step());
    let statement = BlockHeader { epoch: Epoch(truth.epoch.0 - 1), ..lie.header };
    let header = Message::Header(Signed { statement, signature: signer_of(leader).sign(&statement) });
    net.deliver(others[0], others[1], encoded(truth.epoch, &header));
    net.kept = Some(Vec::new());
    (0..50).for_each(|_| net.step());
    let passed = passed_on(&mut net, leader);
    assert!((3..=12).contains(&passed.len()), "shown {} times", passed.len());
    assert!(others.iter().all(|node| !net.machine(*node).is_barred(net.id(leader))));
}

#[test]
fn a_flood_of_false_headers_is_looked_at_a_few_times_only() {
    let (mut net, leader, truth, lie) = split(3);
    let others = net.others(leader);
    net.cut.clear();
    deliver(&mut net, leader, others[0], &truth);
    net.step();
    let before = net.machine(others[0]).counters().messages_refused;
    for number in 0..200 {
        let statement = BlockHeader { time: Nanos(lie.header.time.0 + number), ..lie.header };
        let header = Message::Header(Signed { statement, signature: Signature([number as u8; 64]) });
        net.deliver(others[1], others[0], encoded(truth.epoch, &header));
    }
    net.step();
    assert_eq!(net.machine(others[0]).counters().messages_refused - before, 16);
    assert!(!net.machine(others[0]).is_barred(net.id(leader)), "false signatures convict nobody");
}

#[test]
fn evidence_is_told_again_until_it_is_kept_after_a_crash_too() {
    let (mut net, leader, truth, lie) = split(3);
    let others = net.others(leader);
    let accused = net.id(leader);
    let (finder, deaf) = (others[0], others[1]);
    deliver(&mut net, leader, finder, &truth);
    deliver(&mut net, leader, finder, &lie);
    net.cut.clear();
    net.isolate(deaf);
    net.run_ms(100);
    assert!(net.machine(finder).is_barred(accused) && !net.machine(deaf).is_barred(accused));
    net.kill(finder);
    net.start(finder);
    net.run_ms(50);
    assert!(!net.machine(deaf).is_barred(accused));
    net.cut.clear();
    net.isolate(leader);
    net.until("it is told again", |net| net.machine(deaf).is_barred(accused));
    net.run_ms(1_000);
    net.kept = Some(Vec::new());
    net.run_ms(1_000);
    let kept = net.kept.take().expect("messages are kept");
    let is_told =
        |bytes: &[u8]| matches!(Message::decode(bytes, CLUSTER, SHARD), Ok((_, Message::Evidence(_))));
    assert!(!kept.iter().any(|(_, _, bytes)| is_told(bytes)), "nobody is told what it keeps");
}
