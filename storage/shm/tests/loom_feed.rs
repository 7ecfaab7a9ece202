//! Every interleaving of a feed's writer that laps its reader.
#![cfg(loom)]

use io_oi_shm::feed::{Config, Next, Reader, Writer};
use loom::thread;

fn config() -> Config {
    Config { data_bytes: 64, frame_bytes_max: 8, incarnation: 1, shard: 0 }
}

/// The feed holds two frames; four are published, two of them before the reader's thread meets the writer's. Everything is delivered whole or counted exactly.
#[test]
fn what_is_not_delivered_is_counted() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mut writer, region) = Writer::plain(&config()).unwrap();
        let mut reader = Reader::plain(region).unwrap();
        writer.publish(&1u64.to_le_bytes());
        writer.publish(&2u64.to_le_bytes());
        let publisher = thread::spawn(move || {
            for frame in 3u64..=4 {
                writer.publish(&frame.to_le_bytes());
            }
        });
        let mut expected = 1;
        let mut out = [0; 8];
        follow(&mut reader, &mut expected, &mut out);
        publisher.join().unwrap();
        while follow(&mut reader, &mut expected, &mut out) {}
        assert_eq!(expected, 5, "all four are accounted for");
    });
}

/// A reader that opens while the writer publishes starts somewhere, and from there on misses nothing.
#[test]
fn a_reader_that_opens_amid_a_publication_follows_from_there() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mut writer, region) = Writer::plain(&config()).unwrap();
        writer.publish(&1u64.to_le_bytes());
        let publisher = thread::spawn(move || {
            writer.publish(&2u64.to_le_bytes());
            writer
        });
        let mut reader = Reader::plain(region).unwrap();
        let mut out = [0; 8];
        let early = reader.poll(&mut out).expect("a sound writer");
        assert!(!matches!(early, Next::Lapped { .. }), "two frames fit");
        let mut writer = publisher.join().unwrap();
        writer.publish(&3u64.to_le_bytes());
        let mut last = 0;
        while reader.poll(&mut out).expect("a sound writer") != Next::Empty {
            last = u64::from_le_bytes(out);
        }
        assert_eq!(last, 3, "the newest always arrives");
    });
}

/// One look; whether there was anything.
fn follow(reader: &mut Reader, expected: &mut u64, out: &mut [u8; 8]) -> bool {
    match reader.poll(out).expect("a sound writer") {
        Next::Empty => false,
        Next::Frame(bytes) => {
            assert_eq!((bytes, u64::from_le_bytes(*out)), (8, *expected));
            *expected += 1;
            true
        }
        Next::Lapped { missed } => {
            *expected += missed;
            true
        }
    }
}
