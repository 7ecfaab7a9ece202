//! Linearizable reads: answered on the box of a leader with a lease, refused by name everywhere else.

mod pretend;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use io_oi_client::{Client, LinearizableError, Options, Outcome, PutError, RefusalCode, ShardId};
use io_oi_record::limits::SHIPMENT_BYTES_MAX;
use pretend::{Habit, PretendNode, World, place};

fn attach(path: &Path) -> Client {
    Client::attach_with(path, Options { reattach: Duration::from_secs(60), ..Options::default() }).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Gives or takes the lease, and waits until the board shows it.
fn show_lease(world: &Mutex<World>, until_ns: u64) {
    let turns = {
        let mut world = world.lock().unwrap();
        world.lease_until_ns = until_ns;
        world.turns
    };
    while world.lock().unwrap().turns < turns + 2 {
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_lease_makes_a_read_linearizable_and_its_end_ends_that() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let _node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    let ticket = client.put(b"key", b"value").unwrap();
    client.wait(ticket, soon()).unwrap();
    let mut value = b"old".to_vec();
    let refused = Err(LinearizableError::NoLease { shard: ShardId(0) });
    assert_eq!(client.get_linearizable(b"key", &mut value), refused, "nobody leads here");
    assert!(value.is_empty(), "a value that is not proven is not handed out");

    show_lease(&world, monotonic_ns() + 60_000_000_000);
    let found = client.get_linearizable(b"key", &mut value).unwrap();
    assert!(found.is_some());
    assert_eq!(value, b"value");

    show_lease(&world, monotonic_ns() - 1);
    assert_eq!(client.get_linearizable(b"key", &mut value), refused, "a lease that is over proves nothing");
    show_lease(&world, 0);
    assert_eq!(client.get_linearizable(b"key", &mut value), refused);
}

#[test]
fn a_key_that_cannot_exist_is_told_as_by_every_read() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let _node = PretendNode::start(&path, world.clone(), Habit::Honest);
    let mut client = attach(&path);
    show_lease(&world, monotonic_ns() + 60_000_000_000);
    let error = client.get_linearizable(b"", &mut Vec::new());
    assert!(matches!(error, Err(LinearizableError::Read(_))), "{error:?}");
}

#[test]
fn a_governance_record_goes_to_the_shard_it_is_sent_to() {
    let (_dir, path) = place();
    let world: Arc<Mutex<World>> = Arc::default();
    let _node = PretendNode::start(&path, world.clone(), Habit::Bounded);
    let mut client = attach(&path);
    let ticket = client.govern(ShardId(0), b"signed by an operator").unwrap();
    assert_eq!(client.wait(ticket, soon()).unwrap().outcome, Outcome::Accepted);
    let late = client.govern(ShardId(0), b"!").unwrap();
    let outcome = client.wait(late, soon()).unwrap().outcome;
    assert_eq!(outcome, Outcome::Refused(RefusalCode::GovernanceNumber));
    assert_eq!(world.lock().unwrap().governed, [&b"signed by an operator"[..], b"!"]);
    let nowhere = PutError::NoSuchShard { shard: ShardId(1), shards: 1 };
    assert_eq!(client.govern(ShardId(1), b"signed"), Err(nowhere));
    let too_long = [0; SHIPMENT_BYTES_MAX + 1];
    assert!(matches!(client.govern(ShardId(0), &too_long), Err(PutError::ValueTooLong { .. })));
    assert!(matches!(client.govern(ShardId(0), b""), Err(PutError::ValueTooLong { .. })));
}
