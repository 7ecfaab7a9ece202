//! Once a log is open, taking, writing and flushing frames costs no allocation on the thread that does it, changes of
//! segment included.

mod support;

use io_oi_wal::{Frame, FrameKind, StrategyWish, Wal};
use support::{real_config, skip_without_device};

#[test]
fn durable_appends_over_several_segments_allocate_nothing() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    for strategy in [StrategyWish::Linked, StrategyWish::Fua, StrategyWish::Thread] {
        let directory = directory.path().join(strategy.to_string());
        let (mut wal, _) = Wal::open(&directory, real_config(strategy), |_, _| Ok(())).unwrap();
        // The first hand-over to another thread lets the standard library set up its waiting.
        append_and_flush(&mut wal, 10);
        let counted = allocation_counter::measure(|| append_and_flush(&mut wal, 300));
        assert_eq!((strategy, counted.count_total), (strategy, 0));
        assert!(wal.durable().0 >= 310 && wal.stats().segments_filled >= 2);
    }
}

fn append_and_flush(wal: &mut Wal, count: u64) {
    let bytes = [7; 70_000];
    for sequence in 0..count {
        while wal.append(Frame { kind: FrameKind(1), epoch: 1, sequence, bytes: &bytes }).is_err() {
            // The next segment is still being prepared.
            assert_eq!(wal.poll().unwrap(), None);
        }
        wal.submit();
        while wal.poll().unwrap().is_none() {}
    }
}
