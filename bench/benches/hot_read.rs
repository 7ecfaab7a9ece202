//! A present and an absent 64-byte value in the hot table, by working set, keys in scrambled order.
//!
//! The reader has its own read-only mapping. `latency-probe hot-read` measures the same across processes, beside one
//! dependent load.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use io_oi_bench::{is_quick, scrambled};
use io_oi_shm::hot::{Config, Epoch, Reader, Sequence, Stamp, Writer};
use std::hint::black_box;

fn hot_read(bench: &mut Criterion) {
    let working_sets: &[u64] = if is_quick() { &[1_000] } else { &[1_000, 100_000, 1_000_000] };
    let mut group = bench.benchmark_group("hot_read");
    for &keys in working_sets {
        let (_writer, reader) = table_of(keys);
        let mut value = [0; 64];
        let mut number = 0;
        group.bench_function(BenchmarkId::new("hit", keys), |bencher| {
            bencher.iter(|| {
                number += 1;
                let key = scrambled(number) % keys;
                let found = reader.get(black_box(&key_of(key)), &mut value).expect("the table is sound");
                assert_eq!(found.map(|found| found.value_bytes), Some(64));
                assert_eq!(value[..8], key.to_le_bytes());
            });
        });
        group.bench_function(BenchmarkId::new("miss", keys), |bencher| {
            bencher.iter(|| {
                number += 1;
                let key = keys + scrambled(number) % keys;
                let found = reader.get(black_box(&key_of(key)), &mut value).expect("the table is sound");
                assert!(found.is_none());
            });
        });
    }
    group.finish();
}

fn table_of(keys: u64) -> (Writer, Reader) {
    let mut writer =
        Writer::create(&Config { entries_max: keys, ..Config::default() }).expect("shared memory is at hand");
    for key in 0..keys {
        let mut value = [0; 64];
        value[..8].copy_from_slice(&key.to_le_bytes());
        let stamp = Stamp { sequence: Sequence(key + 1), epoch: Epoch(1), time_ns: 1 };
        writer
            .publish_committed(&key_of(key), Some(&value), stamp)
            .expect("the table was made for these keys");
    }
    let file = writer.fd().try_clone_to_owned().expect("a descriptor can be duplicated");
    let reader = Reader::open(file).expect("the table is sound");
    (writer, reader)
}

/// Sixteen bytes that differ in all of them.
fn key_of(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scrambled(number).to_le_bytes());
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

criterion_group!(benches, hot_read);
criterion_main!(benches);
