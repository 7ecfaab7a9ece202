//! The n-th operation of the disk fails, for every n. Nothing is acknowledged after it, nothing before it is lost.

mod support;

use io_oi_wal::sim_disk::{Event, Image, Options, Random, SimDisk};
use io_oi_wal::{AppendError, Frame, FrameKind, Operation};
use support::sim::{Life, recover_twice_and_check, small_config};

const FRAMES: usize = 100;

#[test]
fn a_failure_of_any_operation_loses_nothing_acknowledged() {
    let operations = operations_of_a_life(3);
    assert!(operations > 40, "the life is long enough: {operations}");
    let (mut fatal, mut survived) = (0, 0);
    for fail_at in 0..operations {
        for chance in 0..3 {
            let what = format!("operation {fail_at} failed, chance {chance}");
            let disk = SimDisk::new(options(3, Some(fail_at)));
            let Ok(mut life) = Life::open(disk.clone(), &small_config()) else {
                // Nothing was acknowledged: all that is asked is that the next start works.
                check_after_power_cut(&disk, &[], 0, chance, &what);
                continue;
            };
            match life.live(3, FRAMES) {
                Ok(()) => survived += 1,
                Err(error) => {
                    fatal += 1;
                    assert!(matches!(error, AppendError::Failed(_)), "{what}: {error}");
                    assert_stays_failed(&mut life, &what);
                }
            }
            check_after_power_cut(&disk, &life.appended, life.acknowledged_now(), chance, &what);
        }
    }
    assert!(fatal > 50, "failed writes and flushes are fatal: {fatal}");
    assert!(survived > 0, "a failed preparation is tried again: {survived}");
}

#[test]
fn a_failed_flush_is_never_tried_again() {
    let disk = SimDisk::new(options(3, None));
    let mut life = Life::open(disk.clone(), &small_config()).unwrap();
    life.live(3, 5).unwrap();
    disk.set_fail_flush(true);
    life.append(vec![1; 100]).unwrap();
    life.wal.submit();
    let failed = loop {
        match life.poll() {
            Ok(()) => {}
            Err(failed) => break failed,
        }
    };
    assert_eq!(failed.operation(), Operation::Flush);
    assert!(failed.to_string().contains("this shard has stopped"), "{failed}");
    assert!(matches!(disk.history().last(), Some(Event::FlushFailed { .. })));
    let events = disk.events();
    assert_stays_failed(&mut life, "after a failed flush");
    assert!(life.wal.flush_blocking().is_err());
    assert_eq!(disk.events(), events, "nothing more is written or flushed");
}

fn options(seed: u64, fail_at: Option<u64>) -> Options {
    Options { polls_max: 2, fail_at, ..Options::new(seed, small_config().buffer_bytes) }
}

fn operations_of_a_life(seed: u64) -> u64 {
    let disk = SimDisk::new(options(seed, None));
    let mut life = Life::open(disk.clone(), &small_config()).unwrap();
    life.live(seed, FRAMES).unwrap();
    disk.operations()
}

fn assert_stays_failed(life: &mut Life, what: &str) {
    let acknowledged = life.acknowledged_now();
    for _ in 0..10 {
        life.wal.submit();
        assert!(life.poll().is_err(), "{what}: a failure is final");
        let refused = life.wal.append(Frame { kind: FrameKind(1), epoch: 0, sequence: 0, bytes: b"no" });
        assert!(matches!(refused, Err(AppendError::Failed(_))), "{what}");
    }
    assert_eq!(life.acknowledged_now(), acknowledged, "{what}: nothing is acknowledged after a failure");
    assert_eq!(life.wal.room_bytes(), 0);
}

fn check_after_power_cut(disk: &SimDisk, appended: &[Vec<u8>], acknowledged: usize, chance: u64, what: &str) {
    let mut random = Random(chance);
    let keep_none = chance == 0;
    let image = Image::after_power_cut(&disk.start(), &disk.history(), |_| {
        !keep_none && random.next().is_multiple_of(2)
    });
    recover_twice_and_check(image, &small_config(), appended, acknowledged, what);
}
