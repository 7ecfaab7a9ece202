//! Every interleaving of a shard that goes to sleep and a client that pushes.
#![cfg(loom)]

use io_oi_shm::bell::must_ring;
use io_oi_shm::hot::{Config, Reader, Writer};
use io_oi_shm::ring;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

#[test]
fn no_push_goes_unnoticed() {
    loom::model(|| {
        let config = Config { entries_max: 1, large_bytes_max: 0, versions_max: 0, ..Config::default() };
        let (writer, region) = Writer::plain(&config).unwrap();
        let reader = Reader::plain(region).unwrap();
        let (mut producer, mut consumer) = ring::plain(32, 8);
        let rung = Arc::new(AtomicBool::new(false));
        let bell = rung.clone();
        let client = thread::spawn(move || {
            producer.push(&[1; 8]).unwrap();
            if must_ring(&reader) {
                bell.store(true, Ordering::Relaxed);
            }
        });
        writer.set_parked(true);
        let has_seen_frame = consumer.has_frame();
        client.join().unwrap();
        // A shard that saw nothing sleeps now: it must have been rung.
        assert!(has_seen_frame || rung.load(Ordering::Relaxed), "a push was slept through");
    });
}
