//! The client against the real node: every promise of its head page, one test each.

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use io_oi_client::{
    Change, Client, Durability, Expected, Outcome, PutError, Receipt, RefusalCode, Sequence, Ticket, Visible,
};
use rustix::process::Signal;
use support::{TestNode, accepted, io_oi, soon, until, value_of};

fn outcome(client: &mut Client, ticket: Ticket) -> Outcome {
    client.wait(ticket, soon()).unwrap().outcome
}

const REFUSED: Outcome = Outcome::Refused(RefusalCode::PreconditionFailed);

#[test]
fn of_two_clients_that_saw_the_same_version_one_wins() {
    let node = TestNode::start();
    let (mut one, mut other) = (node.client(), node.client());
    assert_ne!(one.session(), other.session());
    let ticket = one.compare_and_set(b"key", Expected::Absent, b"0").unwrap();
    let seen = Expected::Sequence(accepted(&mut one, ticket).sequence);
    let tickets = [
        one.compare_and_set(b"key", seen, b"1").unwrap(),
        other.compare_and_set(b"key", seen, b"2").unwrap(),
    ];
    let outcomes = [outcome(&mut one, tickets[0]), outcome(&mut other, tickets[1])];
    assert!(outcomes.contains(&Outcome::Accepted) && outcomes.contains(&REFUSED), "{outcomes:?}");
    let winner: &[u8] = if outcomes[0] == Outcome::Accepted { b"1" } else { b"2" };
    assert_eq!(value_of(&mut one, b"key").unwrap(), winner);
    let late = other.compare_and_set(b"key", Expected::Absent, b"3").unwrap();
    assert_eq!(outcome(&mut other, late), REFUSED);
}

#[test]
fn a_pipeline_of_conditions_is_judged_in_its_own_order() {
    let node = TestNode::start();
    let mut client = node.client();
    let tickets: Vec<Ticket> =
        (0..50).map(|_| client.compare_and_set(b"once", Expected::Absent, b"v").unwrap()).collect();
    let accepted: Vec<bool> =
        tickets.into_iter().map(|ticket| outcome(&mut client, ticket) == Outcome::Accepted).collect();
    assert!(accepted[0] && !accepted[1..].contains(&true), "tentative versions count: {accepted:?}");
}

#[test]
fn a_deleted_key_is_absent_and_may_come_back() {
    let node = TestNode::start();
    let mut client = node.client();
    for value in [b"1", b"2"] {
        let put = client.compare_and_set(b"key", Expected::Absent, value).unwrap();
        accepted(&mut client, put);
        assert_eq!(value_of(&mut client, b"key").unwrap(), value);
        let delete = client.delete(b"key").unwrap();
        accepted(&mut client, delete);
        assert_eq!(value_of(&mut client, b"key"), None);
        assert!(client.get(b"key", &mut Vec::new()).unwrap().is_none());
    }
    let stale =
        client.compare_and_delete_with(b"key", Expected::Sequence(Sequence(1)), Durability::DiskQuorum);
    assert_eq!(outcome(&mut client, stale.unwrap()), REFUSED);
}

#[test]
fn from_its_own_receipt_on_a_client_never_reads_an_older_version() {
    let node = TestNode::start();
    let mut client = node.client();
    let mut value = Vec::new();
    for number in 0..2_000u64 {
        let durability = if number % 20 == 0 { Durability::DiskQuorum } else { Durability::Local };
        let ticket = client.put_with(b"key", &number.to_le_bytes(), durability).unwrap();
        let receipt = accepted(&mut client, ticket);
        let meta = client.get(b"key", &mut value).unwrap().unwrap();
        assert_eq!((value.as_slice(), meta.sequence), (number.to_le_bytes().as_slice(), receipt.sequence));
        if durability == Durability::DiskQuorum {
            let meta = client.get_committed(b"key", &mut value).unwrap().unwrap();
            assert_eq!((meta.sequence, meta.stage), (receipt.sequence, Visible::Committed));
        }
    }
}

#[test]
fn what_one_client_writes_every_client_of_the_box_reads() {
    let node = TestNode::start_with(&["shards=3"]);
    let (mut writer, mut reader) = (node.client(), node.client());
    let tickets: Vec<Ticket> =
        (0..200u32).map(|number| writer.put(&number.to_le_bytes(), &number.to_le_bytes()).unwrap()).collect();
    assert_eq!(
        tickets.iter().map(|ticket| ticket.shard).collect::<HashSet<_>>().len(),
        3,
        "all shards are used"
    );
    for ticket in tickets {
        accepted(&mut writer, ticket);
    }
    for number in 0..200u32 {
        assert_eq!(value_of(&mut reader, &number.to_le_bytes()).unwrap(), number.to_le_bytes());
    }
    let mut count = 0;
    reader
        .scan_committed(b"", |key, value, meta| {
            assert_eq!((key, meta.value_bytes), (value, 4));
            count += 1;
        })
        .unwrap();
    assert_eq!(count, 200);
}

/// Every write stands once, where its receipt says, in the order of submission.
fn check_chain(client: &mut Client, receipts: &[Receipt]) {
    let mut last = Sequence::NONE;
    for (number, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt.outcome, Outcome::Accepted, "write {number}");
        assert!(receipt.sequence > last, "write {number} left the order");
        last = receipt.sequence;
        let mut value = Vec::new();
        let meta = client.get_committed(format!("chain/{number}").as_bytes(), &mut value).unwrap().unwrap();
        assert_eq!(
            (meta.sequence, value),
            (receipt.sequence, number.to_le_bytes().to_vec()),
            "write {number}"
        );
    }
}

#[test]
fn killed_again_and_again_the_node_loses_and_doubles_nothing() {
    let mut node = TestNode::start();
    let mut client = node.client();
    let session = client.session();
    let mut tickets = Vec::new();
    for round in 0..5 {
        for _ in 0..200 {
            let number: usize = tickets.len();
            tickets.push(client.put(format!("chain/{number}").as_bytes(), &number.to_le_bytes()).unwrap());
            if number.is_multiple_of(50) {
                std::thread::sleep(Duration::from_micros(300 * round));
            }
        }
        node.kill();
        node.start_again();
        until(&mut client, |client| client.stats().reattached == round + 1);
    }
    let receipts: Vec<Receipt> = tickets.iter().map(|ticket| client.wait(*ticket, soon()).unwrap()).collect();
    assert_eq!(client.session(), session);
    assert!(client.stats().resubmitted > 0, "some were on their way at one of five kills");
    check_chain(&mut client, &receipts);
    let mut other = node.client();
    check_chain(&mut other, &receipts);
}

#[test]
fn an_idle_client_finds_its_node_again_at_its_next_call() {
    let mut node = TestNode::start();
    let mut client = node.client();
    let first = client.put(b"key", b"1").unwrap();
    accepted(&mut client, first);
    assert_eq!(node.stop(), Some(0));
    node.start_again();
    let mut ticket = None;
    until(&mut client, |client| {
        ticket = client.put(b"key", b"2").ok();
        ticket.is_some()
    });
    accepted(&mut client, ticket.unwrap());
    assert_eq!(value_of(&mut client, b"key").unwrap(), b"2");
}

#[test]
fn a_slow_subscriber_is_told_how_much_it_missed() {
    let node = TestNode::start_with(&["hot.feed_bytes=4194304"]);
    let mut client = node.client();
    let mut subscription = client.subscribe(b"big/").unwrap();
    let value = vec![7; 60_000];
    let writes = 90u64; // More than the feed holds.
    for number in 0..writes {
        let ticket = client.put(format!("big/{number}").as_bytes(), &value).unwrap();
        accepted(&mut client, ticket);
    }
    let (mut missed_count, mut seen) = (0, Vec::new());
    until(&mut client, |client| {
        subscription
            .poll(client, |change| match change {
                Change::Gap { missed, .. } => missed_count += missed.expect("a lap is counted"),
                Change::Record { record, .. } => seen.push(String::from_utf8_lossy(record.key).into_owned()),
            })
            .unwrap();
        seen.last().is_some_and(|key| *key == format!("big/{}", writes - 1))
    });
    assert!(missed_count > 0);
    assert_eq!(missed_count + seen.len() as u64, writes);
}

#[test]
fn a_subscriber_in_time_sees_every_change_in_order() {
    let node = TestNode::start();
    let (mut client, mut watcher) = (node.client(), node.client());
    let mut subscription = watcher.subscribe(b"a/").unwrap();
    for number in 0..500u32 {
        client.put(format!("a/{number}").as_bytes(), b"v").unwrap();
        client.put(format!("b/{number}").as_bytes(), b"v").unwrap();
    }
    let refused = client.compare_and_set(b"a/0", Expected::Absent, b"never").unwrap();
    assert_eq!(outcome(&mut client, refused), REFUSED);
    let last = client.delete(b"a/0").unwrap();
    accepted(&mut client, last);
    let mut seen = Vec::new();
    until(&mut watcher, |watcher| {
        subscription
            .poll(watcher, |change| match change {
                Change::Gap { .. } => panic!("nothing was missed"),
                Change::Record { record, .. } => seen.push((record.sequence, record.key.to_vec())),
            })
            .unwrap();
        seen.len() == 501
    });
    assert!(seen.is_sorted(), "sequences ascend");
    let expected = (0..500).map(|number| format!("a/{number}").into_bytes()).chain([b"a/0".to_vec()]);
    assert!(seen.into_iter().map(|(_, key)| key).eq(expected));
}

#[test]
fn outside_its_prefixes_a_client_writes_nothing() {
    let own = rustix::process::geteuid().as_raw();
    let node = TestNode::start_with(&[&format!("clients=[{{uid = {own}, prefixes = [\"mine/\"]}}]")]);
    let mut client = node.client();
    assert_eq!(client.put(b"yours/k", b"v"), Err(PutError::PrefixNotAllowed));
    assert_eq!(client.delete(b"min"), Err(PutError::PrefixNotAllowed));
    let ticket = client.put(b"mine/k", b"v").unwrap();
    accepted(&mut client, ticket);
    assert!(node.ask(&["put", "yours/k", "v"]).expect(4).err().contains("prefix"));
    assert!(node.ask(&["status"]).expect(0).out().contains("mine/"));
}

#[test]
fn a_node_that_stands_still_fills_the_window_and_then_answers_all() {
    let node = TestNode::start();
    let mut client = node.client();
    node.signal(Signal::STOP);
    let mut tickets = Vec::new();
    let full = loop {
        match client.put(b"key", b"value") {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    // The node may have answered a few before the signal reached it; what nobody took keeps its place.
    assert!(matches!(full, PutError::Full { open_count: 1.., .. }), "{full:?}");
    assert_eq!(tickets.len(), io_oi_record::limits::SESSION_WINDOW);
    node.signal(Signal::CONT);
    for ticket in tickets {
        accepted(&mut client, ticket);
    }
    let after = client.put(b"key", b"after").unwrap();
    accepted(&mut client, after);
}

#[test]
fn receipts_that_nobody_took_are_kept_and_full_is_the_answer() {
    let node = TestNode::start();
    let mut client = node.client();
    let (mut puts, end) = (0u64, soon());
    loop {
        match client.put_with(b"key", &puts.to_le_bytes(), Durability::Local) {
            Ok(_) => puts += 1,
            Err(PutError::Full { open_count: 0, .. }) => break, // All answered; the answers hold their places.
            Err(PutError::Full { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < end, "{puts} puts, none of their receipts taken, and never full");
    }
    let mut taken = 0;
    client.poll(|_, _| taken += 1);
    assert_eq!(taken, puts);
    client.put(b"key", b"after").expect("taken receipts make room");
}

#[test]
fn a_view_stays_as_it_is_while_the_key_moves_on() {
    let node = TestNode::start();
    let mut client = node.client();
    let ticket = client.put(b"array", &[1; 50_000]).unwrap();
    accepted(&mut client, ticket);
    let view = client.view(b"array").unwrap().unwrap();
    for round in 2..40u8 {
        let ticket = client.put(b"array", &[round; 50_000]).unwrap();
        accepted(&mut client, ticket);
    }
    assert!(view.iter().all(|byte| *byte == 1));
    assert_eq!(value_of(&mut client, b"array").unwrap(), vec![39; 50_000]);
}

#[test]
fn clients_killed_inside_a_put_disturb_nobody() {
    let node = TestNode::start();
    let mut client = node.client();
    for round in 0..20u64 {
        let mut killed = io_oi().args(["put", "other", "v", "--socket"]).arg(node.socket()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(400 * round));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let ticket = client.put(b"key", &round.to_le_bytes()).unwrap();
        accepted(&mut client, ticket);
    }
    assert_eq!(value_of(&mut client, b"key").unwrap(), 19u64.to_le_bytes());
}

#[test]
fn a_receipt_is_taken_once_and_others_keep_theirs() {
    let node = TestNode::start();
    let (mut client, mut other) = (node.client(), node.client());
    let tickets: Vec<Ticket> = (0..10u8).map(|number| client.put(&[b'k', number], b"v").unwrap()).collect();
    accepted(&mut client, tickets[9]);
    let mut polled = Vec::new();
    until(&mut client, |client| {
        client.poll(|ticket, _| polled.push(ticket));
        polled.len() == 9
    });
    assert_eq!(polled, tickets[..9]);
    assert!(client.try_receipt().is_none());
    assert!(client.wait(tickets[9], soon()).is_err());
    let own = other.put(b"other", b"v").unwrap();
    accepted(&mut other, own);
}
