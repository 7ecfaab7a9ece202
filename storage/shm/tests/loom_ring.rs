//! Every interleaving of a ring's two ends, and of a client that parks the shard's bell.
#![cfg(loom)]

use io_oi_shm::ring;
use loom::thread;

/// Three frames through a ring that holds two: push, full, wrap, pop.
#[test]
fn frames_come_out_whole_in_order_and_once() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::plain(32, 8);
        let pusher = thread::spawn(move || {
            let mut refused = 0;
            for frame in 1u64..=3 {
                while producer.push(&frame.to_le_bytes()).is_err() {
                    refused += 1;
                    assert!(frame == 3, "two frames fit");
                    if refused > 2 {
                        return 2;
                    }
                    thread::yield_now();
                }
            }
            3
        });
        let mut got = 0;
        let mut out = [0; 8];
        for _ in 0..3 {
            if let Some(bytes) = consumer.pop(&mut out).expect("no corruption") {
                got += 1;
                assert_eq!((bytes, u64::from_le_bytes(out)), (8, got));
            }
        }
        let pushed = pusher.join().unwrap();
        while consumer.pop(&mut out).expect("no corruption").is_some() {
            got += 1;
            assert_eq!(u64::from_le_bytes(out), got);
        }
        assert_eq!(got, pushed);
    });
}

/// A frame that runs over the end of the data while the consumer is reading the one before.
#[test]
fn a_wrapped_frame_is_whole() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::plain(32, 16);
        producer.push(&[1; 8]).unwrap();
        let pusher = thread::spawn(move || producer.push(&[2; 16]).is_ok());
        let mut out = [0; 16];
        assert_eq!(consumer.pop(&mut out).unwrap(), Some(8));
        assert_eq!(out[..8], [1; 8]);
        let first_look = consumer.pop(&mut out).unwrap();
        let pushed = pusher.join().unwrap();
        let second = first_look.or_else(|| consumer.pop(&mut out).unwrap());
        assert_eq!(second, pushed.then_some(16));
        if pushed {
            assert_eq!(out, [2; 16]);
        }
    });
}
