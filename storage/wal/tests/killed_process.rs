//! kill -9 at a random moment, again and again on one log: nothing that was acknowledged is lost.

mod support;

use io_oi_wal::StrategyWish;
use io_oi_wal::sim_disk::Random;
use support::child::{self, Appender};
use support::{frame_of, real_config, recover_all, skip_without_device};

const ROUNDS: u64 = 20;
/// A log longer than this is begun anew: every life reads all of it first.
const FRAMES_MAX: u64 = 50_000;

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let rounds = if std::env::var_os("IO_OI_NIGHTLY").is_some() { 50 * ROUNDS } else { ROUNDS };
    let mut random = Random(std::process::id().into());
    let (mut number, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        let log = directory.path().join(format!("log-{number}"));
        let strategy = [StrategyWish::Linked, StrategyWish::Thread, StrategyWish::Fua][(round % 3) as usize];
        let mut appender = Appender::start(&log, strategy);
        appender.listen_until(random.next() % 400);
        std::thread::sleep(std::time::Duration::from_micros(random.next() % 3000));
        let now = appender.kill();
        assert!(
            now >= acknowledged,
            "round {round}: {acknowledged} were acknowledged before, the child found {now}"
        );
        acknowledged = now;
        if round % 5 == 4 {
            acknowledged = check(&log, acknowledged, round);
        }
        if acknowledged > FRAMES_MAX {
            check(&log, acknowledged, round);
            std::fs::remove_dir_all(&log).unwrap();
            (number, acknowledged) = (number + 1, 0);
        }
    }
    println!("{rounds} lives, {} logs", number + 1);
}

/// Reads the log here and says how many frames it holds.
fn check(log: &std::path::Path, acknowledged: u64, round: u64) -> u64 {
    let (frames, _) = recover_all(log, &real_config(StrategyWish::Thread));
    assert!(
        frames.len() as u64 >= acknowledged,
        "round {round}: {acknowledged} acknowledged, {} there",
        frames.len()
    );
    for (number, (sequence, bytes)) in (0..).zip(&frames) {
        assert_eq!((*sequence, &bytes[..]), (number, &frame_of(number)[..]), "round {round}");
    }
    frames.len() as u64
}

#[test]
fn child_appends_for_ever() {
    child::run();
}
