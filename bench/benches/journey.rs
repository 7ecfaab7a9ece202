//! The whole way of a record: put into the ring, sequenced, judged, logged with a real flush, signed, published, answered.
//!
//! Durability: disk-quorum, a group of one, on the disk below the target directory. Node and strategy are threads of
//! one process here; `latency-probe commit` measures them as two.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_oi_bench::{is_quick, scrambled};
use io_oi_client::{Client, PutError, Receipt};
use io_oi_node::{Config, Node};
use io_oi_record::Outcome;

const VALUE_BYTES: usize = 64;

fn journey(bench: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let mut config = Config::in_dir(folder.path());
    config.hot.entries_max = 10_000;
    config.wal.segment_bytes = if is_quick() { 8 << 20 } else { 256 << 20 };
    let node = Node::start(config).expect("an empty directory is a node");
    let mut client = Client::attach(node.socket_path()).expect("the node serves its own user");
    let mut group = bench.benchmark_group("journey");
    let mut number = 0;
    for in_flight in [1_u64, 64, 1024] {
        group.throughput(Throughput::Elements(in_flight));
        group.bench_function(BenchmarkId::new("disk_quorum_in_flight", in_flight), |bencher| {
            bencher.iter(|| {
                for _ in 0..in_flight {
                    number += 1;
                    put(&mut client, number);
                }
                assert_eq!(accepted(&mut client, in_flight), in_flight);
            });
        });
    }
    group.finish();
    let mut value = Vec::new();
    let found = client.get_committed(&key_of(number), &mut value).expect("the table is sound");
    assert!(found.is_some(), "the last committed value is there to read");
    assert_eq!(value[..8], number.to_le_bytes());
    drop(client);
    node.stop().expect("a healthy node stops cleanly");
}

fn put(client: &mut Client, number: u64) {
    let mut value = [0; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    loop {
        match client.put(&key_of(number), &value) {
            Ok(_) => return,
            Err(PutError::Full { .. }) => std::thread::yield_now(),
            Err(error) => panic!("a put of a journey was refused: {error}"),
        }
    }
}

/// Waits for `count` receipts; how many of them accepted their proposal.
fn accepted(client: &mut Client, count: u64) -> u64 {
    let (mut answered, mut accepted) = (0, 0);
    while answered < count {
        client.tend();
        while let Some((_, receipt)) = client.try_receipt() {
            answered += 1;
            accepted += u64::from(is_accepted(&receipt));
        }
        std::thread::yield_now();
    }
    accepted
}

fn is_accepted(receipt: &Receipt) -> bool {
    receipt.outcome == Outcome::Accepted
}

fn key_of(number: u64) -> [u8; 16] {
    let mut key = *b"journey/........";
    key[8..].copy_from_slice(&(scrambled(number) % 5_000).to_le_bytes());
    key
}

criterion_group!(benches, journey);
criterion_main!(benches);
