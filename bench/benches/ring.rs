//! One frame into a ring and out of it again, on one thread: the floor below a put.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_oi_bench::{Answers, scrambled};
use io_oi_shm::ring;
use std::hint::black_box;

const RING_BYTES: usize = 1 << 20;
const FRAME_BYTES_MAX: usize = 1 << 16;

fn push_and_pop(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("ring/push_pop");
    for frame_bytes in [16, 64, 108, 256, 1024] {
        let (mut producer, mut consumer) = ring::plain(RING_BYTES, FRAME_BYTES_MAX);
        let mut frame = vec![0; frame_bytes];
        let mut out = vec![0; FRAME_BYTES_MAX];
        let mut number = 0_u64;
        group.throughput(Throughput::Bytes(frame_bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(frame_bytes), |bencher| {
            bencher.iter(|| {
                number += 1;
                frame[..8].copy_from_slice(&scrambled(number).to_le_bytes());
                producer.push(black_box(&frame)).expect("the ring was emptied");
                let bytes = consumer.pop(&mut out).expect("nobody scribbles").expect("a frame was pushed");
                assert_eq!((bytes, &out[..8]), (frame_bytes, &frame[..8]));
            });
        });
    }
    group.finish();
}

fn streaming(bench: &mut Criterion) {
    const BURST: u64 = 4096;
    let (mut producer, mut consumer) = ring::plain(RING_BYTES, FRAME_BYTES_MAX);
    let mut out = [0; FRAME_BYTES_MAX];
    let mut group = bench.benchmark_group("ring/burst");
    group.throughput(Throughput::Elements(BURST));
    group.bench_function("108", |bencher| {
        bencher.iter(|| {
            let (mut sent, mut seen) = (Answers::new(), Answers::new());
            let mut frame = [0; 108];
            for number in 0..BURST {
                frame[..8].copy_from_slice(&number.to_le_bytes());
                producer.push(&frame).expect("a burst fits the ring");
                sent.add(number);
            }
            while consumer.pop(&mut out).expect("nobody scribbles").is_some() {
                seen.add(u64::from_le_bytes(out[..8].try_into().expect("eight bytes")));
            }
            assert_eq!(sent.hash(), seen.hash());
        });
    });
    group.finish();
}

criterion_group!(benches, push_and_pop, streaming);
criterion_main!(benches);
