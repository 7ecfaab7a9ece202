//! After warm-up a shard's thread does its work without the allocator: rings, judge, log, hot tier, receipts.

#[path = "cluster/shipping.rs"]
mod shipping;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use io_oi_client::{Client, Expected};
use io_oi_guests::order::{Order, Side};
use io_oi_guests::prebuilt;
use io_oi_guests::risk_limit::Account;
use io_oi_node::{Config, Node};
use io_oi_record::attach::{Inquiry, Submission};
use io_oi_record::governance::Change;
use io_oi_record::hash::Domain;
use io_oi_record::limits::PART_BYTES_MAX;
use io_oi_record::{ComponentPart, Hash, Receipt, ShardId, Signer};

use crate::shipping::{seat, signed_shipment};

/// Counts what the shard's thread asks of the system's allocator.
struct Counting;

thread_local! {
    static OWN_ID: Cell<i32> = const { Cell::new(0) };
}
static WATCHED_ID: AtomicI32 = AtomicI32::new(-1);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    let own = OWN_ID.with(|id| {
        if id.get() == 0 {
            id.set(rustix::thread::gettid().as_raw_nonzero().get());
        }
        id.get()
    });
    if own == WATCHED_ID.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[allow(unsafe_code)]
// SAFETY: every call goes to `System` unchanged; counting touches numbers only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The watch is one for the whole process.
fn one_node_at_a_time() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(dir: &Path) -> Config {
    let mut config = Config::in_dir(dir);
    config.wal.strategy = io_oi_node::config::WalStrategy::Linked;
    config
}

/// What the shard's thread allocates while this is done.
fn allocations_of(work: impl FnOnce()) -> u64 {
    let shard = thread_named("io_oi-shard-0");
    ALLOCATIONS.store(0, Ordering::Relaxed);
    WATCHED_ID.store(shard, Ordering::Relaxed);
    work();
    WATCHED_ID.store(-1, Ordering::Relaxed);
    ALLOCATIONS.swap(0, Ordering::Relaxed)
}

#[test]
fn a_hundred_thousand_operations_allocate_nothing() {
    let _alone = one_node_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).unwrap();
    let mut client = Client::attach(node.socket_path()).unwrap();
    work(&mut client, 5_000, put_any);
    let while_working = allocations_of(|| {
        work(&mut client, OPERATIONS, put_any);
    });
    println!("{OPERATIONS} operations: {while_working} allocations of the shard's thread");
    assert_eq!(while_working, 0, "allocations of the shard's thread during {OPERATIONS} operations");
    drop(client);
    node.stop().unwrap();
}

/// Sealed judges with a cell of the account, a plan, and nothing: asked, refusing, accepting with writes of their own.
#[test]
fn a_hundred_thousand_decisions_of_seated_judges_allocate_nothing() {
    let _alone = one_node_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).unwrap();
    let mut client = Client::attach(node.socket_path()).unwrap();
    let account = Account {
        collar_bps: 500,
        reference_price: 10_000,
        order_max: 90,
        position_max: 1_000_000_000,
        notional_max: u64::MAX,
        window_ns: 1_000_000_000,
        messages_max: u32::MAX,
        ..Account::default()
    };
    let ticket = client.put(b"ord/acct/", &account.encode()).unwrap();
    assert!(client.wait(ticket, Instant::now() + PATIENCE).unwrap().is_accepted());
    let seats = [("risk-limit", &b"ord/"[..]), ("compare-version", b"ver/"), ("last-writer-wins", b"lww/")];
    seat_all(node.socket_path(), dir.path(), &client, &seats);
    work(&mut client, 5_000, put_judged);
    let mut answers = (0, 0);
    let while_judging = allocations_of(|| answers = work(&mut client, OPERATIONS, put_judged));
    println!("{OPERATIONS} decisions, {answers:?} accepted and refused: {while_judging} allocations");
    assert!(answers.0 > OPERATIONS / 4 && answers.1 > OPERATIONS / 10, "judges decide: {answers:?}");
    assert_eq!(while_judging, 0, "allocations of the shard's thread during {OPERATIONS} decisions");
    drop(client);
    node.stop().unwrap();
}

const OPERATIONS: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// Stores and seats standard judges; a node that is alone is its own operator.
fn seat_all(socket: &Path, dir: &Path, client: &Client, seats: &[(&str, &[u8])]) {
    let secret = std::fs::read_to_string(dir.join("node.key")).unwrap();
    let secret: Hash = secret.trim().parse().unwrap();
    let (operator, mut number) = (Signer::from_secret(&secret.0), 0);
    let mut decide = |change: &Change, payload: &[u8]| {
        number += 1;
        let signed = signed_shipment(client.cluster(), &operator, number, change.clone(), payload);
        let inquiry = Inquiry::Govern(Submission { shard: ShardId(0), signed });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let receipt = Receipt::decode(&io_oi_client::inquire(socket, &inquiry).unwrap()).unwrap();
            if receipt.is_accepted() {
                return;
            }
            assert!(Instant::now() < deadline, "{receipt:?}");
            // A component is being compiled; a refused number is free again.
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for (name, prefix) in seats {
        let bytes = prebuilt::component(name).unwrap();
        let component = Domain::Arbitrator.hash(bytes);
        for part in bytes.chunks(PART_BYTES_MAX) {
            decide(&Change::StorePart(ComponentPart::of(component, part)), part);
        }
        decide(&seat(prefix, component, false), &[]);
    }
}

/// Submits as fast as the node takes it; answers how many were accepted and refused.
fn work(client: &mut Client, operations: u64, mut put: impl FnMut(&mut Client, u64) -> bool) -> (u64, u64) {
    let (mut submitted, mut accepted, mut refused) = (0, 0, 0);
    let deadline = Instant::now() + PATIENCE;
    while accepted + refused < operations {
        assert!(Instant::now() < deadline, "{accepted} and {refused} of {operations} were answered");
        if submitted < operations {
            submitted += u64::from(put(client, submitted));
        }
        client.poll(|_, receipt| match receipt.is_accepted() {
            true => accepted += 1,
            false => refused += 1,
        });
    }
    (accepted, refused)
}

/// Puts small and large, deletes, and refused preconditions.
fn put_any(client: &mut Client, number: u64) -> bool {
    const LARGE: [u8; 3_000] = [7; 3_000];
    let key = (number % 997).to_le_bytes();
    let taken = match number % 8 {
        0 => client.put(&key, &LARGE),
        1 => client.delete(&key),
        2 => client.compare_and_set(b"k", Expected::Absent, b"v"),
        _ => client.put(&key, &number.to_le_bytes()),
    };
    taken.is_ok()
}

/// Orders within the limits and beyond them, versions seen and stale, stamps that rise and fall.
fn put_judged(client: &mut Client, number: u64) -> bool {
    let taken = match number % 4 {
        0 => {
            let side = if number.is_multiple_of(8) { Side::Buy } else { Side::Sell };
            client.put(b"ord/acct/o", &Order { side, quantity: 5, price: 10_000 }.encode())
        }
        1 => client.put(b"ord/acct/p", &Order { side: Side::Buy, quantity: 91, price: 10_000 }.encode()),
        2 => {
            let mut key = *b"ver/00000000";
            key[4..].copy_from_slice(&number.to_le_bytes());
            client.put(&key, &[0; 24])
        }
        _ => client.put(b"lww/k", &(number ^ 64).to_le_bytes()),
    };
    taken.is_ok()
}

fn thread_named(name: &str) -> i32 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    let found =
        tasks.into_iter().find(|task| std::fs::read_to_string(task.join("comm")).unwrap().starts_with(name));
    found.expect("the shard has a thread").file_name().unwrap().to_str().unwrap().parse().unwrap()
}
