//! The node dies and comes back; the client goes on with its session.

mod pretend;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use io_oi_client::{
    Change, Client, Expected, Options, Outcome, PutError, RefusalCode, Sequence, Ticket, WaitError,
};
use pretend::{Habit, PretendNode, World, place};

fn attach(path: &Path) -> Client {
    Client::attach_with(path, Options { reattach: Duration::from_secs(60), ..Options::default() }).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn until(client: &mut Client, mut is_so: impl FnMut(&mut Client) -> bool) {
    let end = soon();
    while !is_so(client) {
        assert!(Instant::now() < end, "waited in vain");
        client.tend();
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn value_of(client: &mut Client, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    client.get(key, &mut value).unwrap().map(|_| value)
}

#[test]
fn what_was_unanswered_is_submitted_again_once_and_in_order() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Asleep);
    let mut client = attach(&path);
    let session = client.session();
    let tickets: Vec<Ticket> = (0..100u8).map(|number| client.put(&[number], &[number]).unwrap()).collect();
    node.die();
    until(&mut client, |client| !client.is_attached());
    let node = PretendNode::start(&path, world.clone(), Habit::Honest);
    for ticket in &tickets {
        assert_eq!(client.wait(*ticket, soon()).unwrap().outcome, Outcome::Accepted);
    }
    let world = world.lock().unwrap();
    let order: Vec<u64> = world.log.iter().map(|entry| entry.session_sequence).collect();
    assert_eq!(order, (1..=100).collect::<Vec<_>>());
    assert_eq!(world.resumed, [session]);
    assert_eq!((client.stats().reattached, client.stats().resubmitted), (1, 100));
    drop(world);
    drop(node);
}

#[test]
fn what_has_no_receipt_is_handed_out_for_another_node_and_done_once() {
    let ((_dir, path), (_other_dir, other_path)) = (place(), place());
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    let answered = client.put(b"key/0", b"0").unwrap();
    client.wait(answered, soon()).unwrap();
    node.die();
    let node = PretendNode::start(&path, world.clone(), Habit::Mute);
    until(&mut client, |client| client.is_attached() && client.stats().reattached == 1);
    for number in 1..=3u8 {
        client.compare_and_set(&[b'k', number], Expected::Absent, &[number]).unwrap();
    }
    let unanswered = client.into_unanswered();
    let keys: Vec<&[u8]> = unanswered.iter().map(|proposal| &proposal.key[..]).collect();
    assert_eq!(keys, [&[b'k', 1][..], &[b'k', 2], &[b'k', 3]], "what was answered is not among them");
    node.die();

    // Another node over the same log, where the second of them was decided after all.
    let node = PretendNode::start(&other_path, world.clone(), Habit::Honest);
    let mut late = attach(&other_path);
    let ticket = late.compare_and_set(&unanswered[1].key, Expected::Absent, &unanswered[1].value).unwrap();
    late.wait(ticket, soon()).unwrap();
    let mut client = attach(&other_path);
    let outcomes: Vec<Outcome> = unanswered
        .iter()
        .map(|proposal| {
            let ticket = client.compare_and_set(&proposal.key, Expected::Absent, &proposal.value).unwrap();
            client.wait(ticket, soon()).unwrap().outcome
        })
        .collect();
    let refused = Outcome::Refused(RefusalCode::PreconditionFailed);
    assert_eq!(outcomes, [Outcome::Accepted, refused, Outcome::Accepted]);
    assert_eq!(world.lock().unwrap().log.len(), 4, "every one of them once");
    drop(node);
}

#[test]
fn a_proposal_that_was_decided_but_not_answered_is_not_done_twice() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    let ticket = client.put(b"key", b"1").unwrap();
    until(&mut client, |client| value_of(client, b"key").is_some());
    // The receipt stands in the ring, unread. The client takes it from there when it lets the dead ring go.
    node.die();
    let _node = PretendNode::start(&path, world.clone(), Habit::Honest);
    assert_eq!(client.wait(ticket, soon()).unwrap().sequence, Sequence(1));
    let next = client_put(&mut client, b"key", b"2");
    assert_eq!(client.wait(next, soon()).unwrap().sequence, Sequence(2));
    assert_eq!(world.lock().unwrap().log.len(), 2);
}

/// Puts as soon as the node is there.
fn client_put(client: &mut Client, key: &[u8], value: &[u8]) -> Ticket {
    let mut ticket = None;
    until(client, |client| {
        ticket = client.put(key, value).ok();
        ticket.is_some()
    });
    ticket.unwrap()
}

#[test]
fn without_a_node_reads_go_on_and_say_that_they_are_old() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    let ticket = client.put(b"key", b"value").unwrap();
    client.wait(ticket, soon()).unwrap();
    let mut value = Vec::new();
    assert!(client.get(b"key", &mut value).unwrap().unwrap().fresh);
    node.die();
    until(&mut client, |client| !client.is_attached());
    assert!(!client.get(b"key", &mut value).unwrap().unwrap().fresh);
    assert_eq!(value, b"value");
    assert_eq!(client.put(b"key", b"lost?"), Err(PutError::NodeAway));
    let _node = PretendNode::start(&path, world, Habit::Honest);
    until(&mut client, |client| client.is_attached());
    assert!(client.get(b"key", &mut value).unwrap().unwrap().fresh);
    assert_eq!(value, b"value");
}

#[test]
fn a_node_that_lives_and_lets_go_of_its_client_is_attached_to_again() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let _node = PretendNode::start(&path, world.clone(), Habit::LetGoOnce);
    let mut client = attach(&path);
    let ticket = client.put(b"key", b"value").unwrap();
    assert_eq!(client.wait(ticket, soon()).unwrap().outcome, Outcome::Accepted);
    assert_eq!(client.stats().reattached, 1, "the heart of that node never stopped");
    assert_eq!(world.lock().unwrap().log.len(), 1);
}

#[test]
fn a_wait_ends_when_the_node_stays_away_and_the_ticket_stays_good() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Mute);
    let options = Options { reattach: Duration::from_millis(20), ..Options::default() };
    let mut client = Client::attach_with(&path, options).unwrap();
    let ticket = client.put(b"key", b"value").unwrap();
    let at_once = client.wait(ticket, Instant::now());
    assert!(matches!(at_once, Err(WaitError::TimedOut { .. })), "{at_once:?}");
    node.die();
    assert_eq!(client.wait(ticket, soon()), Err(WaitError::NodeAway));
    let _node = PretendNode::start(&path, world, Habit::Honest);
    until(&mut client, |client| client.is_attached());
    assert_eq!(client.wait(ticket, soon()).unwrap().outcome, Outcome::Accepted);
    let again = client.wait(ticket, soon());
    assert!(matches!(again, Err(WaitError::UnknownTicket { .. })), "a receipt is taken once: {again:?}");
}

#[test]
fn another_cluster_at_the_same_socket_ends_the_session() {
    let (_dir, path) = place();
    let node = PretendNode::start(&path, Arc::default(), Habit::Mute);
    let mut client = attach(&path);
    let ticket = client.put(b"key", b"value").unwrap();
    node.die();
    let _other = PretendNode::start(&path, Arc::default(), Habit::OtherCluster);
    until(&mut client, |client| client.lost_reason().is_some());
    assert!(client.lost_reason().unwrap().contains("cluster"));
    assert_eq!(client.put(b"key", b"value"), Err(PutError::SessionLost));
    assert_eq!(client.wait(ticket, soon()), Err(WaitError::SessionLost));
}

#[test]
fn a_session_that_the_node_does_not_know_any_more_is_lost_not_renewed() {
    let (_dir, path) = place();
    let node = PretendNode::start(&path, Arc::default(), Habit::Honest);
    let mut client = attach(&path);
    node.die();
    let refusal = Habit::Refuse(io_oi_client::AttachRefusal::ResumeRefused);
    let _node = PretendNode::start(&path, Arc::default(), refusal);
    until(&mut client, |client| client.lost_reason().is_some());
}

#[test]
fn a_node_that_is_not_ready_is_asked_again() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    node.die();
    let busy = PretendNode::start(&path, world.clone(), Habit::Refuse(io_oi_client::AttachRefusal::NotReady));
    until(&mut client, |client| !client.is_attached());
    std::thread::sleep(Duration::from_millis(50));
    client.tend();
    assert_eq!(client.lost_reason(), None);
    busy.die();
    let _node = PretendNode::start(&path, world, Habit::Honest);
    until(&mut client, |client| client.is_attached());
}

#[test]
fn a_view_outlives_the_node_it_came_from() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    let large: Vec<u8> = (0..10_000u32).map(|number| number as u8).collect();
    let ticket = client.put(b"array", &large).unwrap();
    client.wait(ticket, soon()).unwrap();
    let view = client.view(b"array").unwrap().unwrap();
    node.die();
    let _node = PretendNode::start(&path, world, Habit::Honest);
    until(&mut client, |client| client.stats().reattached == 1);
    assert_eq!(&view[..], &large[..]);
    assert_eq!(value_of(&mut client, b"array").unwrap(), large);
}

#[test]
fn a_view_holds_the_connection_until_it_is_dropped() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let _node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    for (key, value) in [(b"large", vec![7; 10_000]), (b"small", vec![7; 10])] {
        let ticket = client.put(key, &value).unwrap();
        client.wait(ticket, soon()).unwrap();
    }
    let (large, small) = (client.view(b"large").unwrap().unwrap(), client.view(b"small").unwrap().unwrap());
    drop(client);
    let eventually = |what: &str, is_so: &dyn Fn(&World) -> bool| {
        let end = soon();
        while !is_so(&world.lock().unwrap()) {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    eventually("no goodbye came", &|world| !world.closed.is_empty());
    std::thread::sleep(Duration::from_millis(20)); // A connection that was closed would be gone by now.
    assert_eq!(world.lock().unwrap().guests_now, 1, "the pin is heeded as long as the connection is open");
    assert_eq!(&large[..], &[7; 10_000]);
    drop(large);
    eventually("the connection stays", &|world| world.guests_now == 0);
    assert_eq!(&small[..], &[7; 10]);
}

#[test]
fn a_client_that_lost_its_rings_attaches_again_once_its_views_are_gone() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let _node = PretendNode::start(&path, world.clone(), Habit::GarblingOnce);
    let mut client = attach(&path);
    let ticket = client.put(b"large", &[7; 10_000]).unwrap();
    client.wait(ticket, soon()).unwrap();
    let view = client.view(b"large").unwrap().unwrap();
    let ticket = client.put(b"garble", b"value").unwrap();
    until(&mut client, |client| {
        client.receipt(ticket).unwrap();
        world.lock().unwrap().refused_in_use >= 2
    });
    assert_eq!((client.lost_reason(), client.stats().reattached), (None, 0));
    assert_eq!(&view[..], &[7; 10_000]);
    drop(view);
    assert_eq!(client.wait(ticket, soon()).unwrap().outcome, Outcome::Accepted);
    assert_eq!((client.stats().reattached, value_of(&mut client, b"garble")), (1, Some(b"value".to_vec())));
}

#[test]
fn without_a_node_a_view_is_a_copy() {
    let (_dir, path) = place();
    let node = PretendNode::start(&path, Arc::default(), Habit::Honest);
    let mut client = attach(&path);
    let ticket = client.put(b"large", &[7; 10_000]).unwrap();
    client.wait(ticket, soon()).unwrap();
    node.die();
    until(&mut client, |client| !client.is_attached());
    // More of them than there are pins.
    let views: Vec<_> = (0..100).map(|_| client.view(b"large").unwrap().unwrap()).collect();
    assert!(views.iter().all(|view| view[..] == [7; 10_000] && !view.meta().fresh));
    assert!(client.view(b"absent").unwrap().is_none());
}

#[test]
fn a_subscription_tells_the_gap_of_a_restart_and_goes_on() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    let mut subscription = client.subscribe(b"a/").unwrap();
    let mut seen: Vec<String> = Vec::new();
    let note = |change: Change<'_>| match change {
        Change::Record { record, .. } => {
            format!("{}={}", String::from_utf8_lossy(record.key), String::from_utf8_lossy(record.value))
        }
        Change::Gap { after, missed, .. } => format!("gap after {after}, {missed:?}"),
    };
    for (key, value) in [(b"a/1", b"x"), (b"b/1", b"y"), (b"a/2", b"z")] {
        client.put(key, value).unwrap();
    }
    until(&mut client, |client| {
        subscription.poll(client, |change| seen.push(note(change))).unwrap();
        seen.len() == 2
    });
    node.die();
    until(&mut client, |client| !client.is_attached());
    let _node = PretendNode::start(&path, world, Habit::Honest);
    until(&mut client, |client| {
        subscription.poll(client, |change| seen.push(note(change))).unwrap();
        client.is_attached() && seen.len() == 3
    });
    assert_eq!(seen, ["a/1=x", "a/2=z", "gap after 3, None"]);
    client_put(&mut client, b"a/4", b"v");
    until(&mut client, |client| {
        subscription.poll(client, |change| seen.push(note(change))).unwrap();
        seen.len() == 4
    });
    assert_eq!(seen[3], "a/4=v");
}

#[test]
fn a_feed_that_its_dead_node_left_broken_ends_in_a_gap() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Babbling);
    let mut client = attach(&path);
    let mut subscription = client.subscribe(b"").unwrap();
    for key in [b"1", b"2", b"3"] {
        let ticket = client.put(key, b"").unwrap();
        client.wait(ticket, soon()).unwrap();
    }
    assert!(subscription.poll(&mut client, |_| {}).is_err(), "a living node's nonsense is told");
    node.die();
    until(&mut client, |client| !client.is_attached());
    let _node = PretendNode::start(&path, world, Habit::Honest);
    until(&mut client, |client| client.is_attached());
    let mut seen = Vec::new();
    let count = subscription.poll(&mut client, |change| {
        seen.push(match change {
            Change::Record { record, .. } => record.sequence,
            Change::Gap { after, .. } => after,
        });
    });
    assert_eq!((count.unwrap(), seen), (2, vec![Sequence(2), Sequence(2)]), "one more record, then the gap");
    assert_eq!(subscription.poll(&mut client, |_| {}).unwrap(), 0);
}

#[test]
fn local_checks_refuse_what_no_node_takes() {
    let (_dir, path) = place();
    let _node = PretendNode::start(&path, Arc::default(), Habit::Bounded);
    let mut client = attach(&path);
    assert_eq!(client.put(b"", b"v"), Err(PutError::KeyEmpty));
    assert!(matches!(client.put(&[b'k'; 513], b"v"), Err(PutError::KeyTooLong { key_bytes: 513, .. })));
    let large = vec![0; 64 * 1024 + 1];
    assert!(matches!(client.put(b"mine/k", &large), Err(PutError::ValueTooLong { .. })));
    assert_eq!(client.put(b"other/k", b"v"), Err(PutError::PrefixNotAllowed));
    assert_eq!(client.stats().proposals, 0);
    let ticket = client.put(b"mine/k", &large[1..]).unwrap();
    assert_eq!(client.wait(ticket, soon()).unwrap().outcome, Outcome::Accepted);
    assert!(client.get(b"", &mut Vec::new()).is_err());
    assert_eq!(value_of(&mut client, b"mine/k").unwrap().len(), 64 * 1024);
}

#[test]
fn compare_and_set_wins_once() {
    let (_dir, path) = place();
    let _node = PretendNode::start(&path, Arc::default(), Habit::Honest);
    let mut client = attach(&path);
    let mut decide = |expected, value: &[u8]| {
        let ticket = client.compare_and_set(b"key", expected, value).unwrap();
        client.wait(ticket, soon()).unwrap()
    };
    let first = decide(Expected::Absent, b"1");
    assert_eq!(first.outcome, Outcome::Accepted);
    assert_eq!(decide(Expected::Absent, b"2").outcome, Outcome::Refused(RefusalCode::PreconditionFailed));
    assert_eq!(decide(Expected::Sequence(first.sequence), b"3").outcome, Outcome::Accepted);
    assert_eq!(value_of(&mut client, b"key").unwrap(), b"3");
}

#[test]
fn a_full_window_is_an_answer_and_empties_by_receipts() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let node = PretendNode::start(&path, world.clone(), Habit::Asleep);
    let mut client = attach(&path);
    let mut count = 0;
    let full = loop {
        match client.put(b"key", b"value") {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, PutError::Full { open_count, .. } if open_count == count), "{full:?} at {count}");
    assert!(client.stats().full > 0);
    node.die();
    let _node = PretendNode::start(&path, world.clone(), Habit::Honest);
    until(&mut client, |client| {
        client.poll(|_, receipt| assert_eq!(receipt.outcome, Outcome::Accepted));
        client.open_count() == 0
    });
    assert_eq!(world.lock().unwrap().log.len(), count);
}

#[test]
fn a_dropped_client_says_goodbye_behind_its_last_proposal() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let _node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    client.put(b"key", b"value").unwrap();
    drop(client);
    let end = soon();
    while world.lock().unwrap().closed.is_empty() {
        assert!(Instant::now() < end, "no goodbye came");
        std::thread::sleep(Duration::from_millis(1));
    }
    let world = world.lock().unwrap();
    assert_eq!((world.closed.as_slice(), world.log.len()), ([2].as_slice(), 1));
}
