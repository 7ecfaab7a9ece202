//! One append made durable, and many made durable by one flush, on the disk below the target directory.
//!
//! Durability: each iteration ends after the flush that covers its frames. `latency-probe wal` sets the same beside a
//! plain file.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_oi_bench::is_quick;
use io_oi_wal::{Config, Frame, FrameKind, StrategyWish, Wal};

const FRAME_BYTES: usize = 128;

fn wal_append(bench: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let mut config = Config::new([7; 32], 0);
    config.strategy = StrategyWish::Auto;
    config.segment_bytes = if is_quick() { 8 << 20 } else { 256 << 20 };
    let (mut wal, _) = Wal::open(folder.path(), config, |_, _| Ok(())).expect("an empty directory is a log");
    let mut group = bench.benchmark_group("wal_append");
    let payload = [7; FRAME_BYTES];
    let mut sequence = 0;
    for batch in [1_u64, 16, 256, 4096] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::new("frames_a_flush", batch), |bencher| {
            bencher.iter(|| {
                let mut last = wal.appended();
                for _ in 0..batch {
                    sequence += 1;
                    let frame = Frame { kind: FrameKind(1), epoch: 1, sequence, bytes: &payload };
                    while wal.room_bytes() < 2 * FRAME_BYTES {
                        std::thread::yield_now(); // The next segment is being zero-filled.
                        wal.poll().expect("the disk works");
                    }
                    last = wal.append(frame).expect("there is room");
                }
                let durable = wal.flush_blocking().expect("the disk works");
                assert_eq!(durable, last);
            });
        });
    }
    group.finish();
    wal.close().expect("the disk works");
}

criterion_group!(benches, wal_append);
criterion_main!(benches);
