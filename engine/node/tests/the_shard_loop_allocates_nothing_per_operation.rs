//! After warm-up a shard's thread does its work without the allocator: rings, judge, log, hot tier, receipts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use io_oi_client::{Client, Expected};
use io_oi_node::{Config, Node};

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

#[test]
fn a_hundred_thousand_operations_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::in_dir(dir.path());
    config.wal.strategy = io_oi_node::config::WalStrategy::Linked;
    let node = Node::start(config).unwrap();
    let mut client = Client::attach(node.socket_path()).unwrap();
    work(&mut client, 5_000);
    let shard = thread_named("io_oi-shard-0");
    ALLOCATIONS.store(0, Ordering::Relaxed);
    WATCHED_ID.store(shard, Ordering::Relaxed);
    work(&mut client, OPERATIONS);
    WATCHED_ID.store(-1, Ordering::Relaxed);
    let while_working = ALLOCATIONS.swap(0, Ordering::Relaxed);
    println!("{OPERATIONS} operations: {while_working} allocations of the shard's thread");
    assert_eq!(while_working, 0, "allocations of the shard's thread during {OPERATIONS} operations");
    drop(client);
    node.stop().unwrap();
}

const OPERATIONS: u64 = 100_000;

/// Puts small and large, deletes, and refused preconditions, as fast as the node takes them.
fn work(client: &mut Client, operations: u64) {
    let (mut submitted, mut answered) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(120);
    let large = vec![7; 3_000];
    while answered < operations {
        assert!(Instant::now() < deadline, "{answered} of {operations} were answered");
        if submitted < operations {
            let key = (submitted % 997).to_le_bytes();
            let taken = match submitted % 8 {
                0 => client.put(&key, &large),
                1 => client.delete(&key),
                2 => client.compare_and_set(b"k", Expected::Absent, b"v"),
                _ => client.put(&key, &submitted.to_le_bytes()),
            };
            submitted += u64::from(taken.is_ok());
        }
        answered += client.poll(|_, _| {}) as u64;
    }
}

fn thread_named(name: &str) -> i32 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    let found =
        tasks.into_iter().find(|task| std::fs::read_to_string(task.join("comm")).unwrap().starts_with(name));
    found.expect("the shard has a thread").file_name().unwrap().to_str().unwrap().parse().unwrap()
}
