//! The file system loses power under a running process: everything acknowledged is there after the next mount.
//!
//! The shutdown call drops what the file system has not flushed: sizes, extents and names as much as data. Lost and torn
//! data on the device itself is the simulated disk's part.

mod support;

use std::time::Duration;

use io_oi_wal::StrategyWish;
use io_oi_wal::sim_disk::Random;
use support::child::{self, Appender};
use support::mount::{Mount, mount_or_skip};
use support::{frame_of, real_config, recover_all};

const ROUNDS: u64 = 5;
const ROUNDS_NIGHTLY: u64 = 200;
const IMAGE_MEGABYTES: u64 = 512;
/// A log longer than this is begun anew, so that it fits the image.
const FRAMES_MAX: u64 = 100_000;

#[test]
fn ext4_loses_nothing_that_was_acknowledged() {
    cut_power_again_and_again("ext4");
}

#[test]
fn xfs_loses_nothing_that_was_acknowledged() {
    cut_power_again_and_again("xfs");
}

fn cut_power_again_and_again(kind: &str) {
    if std::process::Command::new("perl").args(["-e", "1"]).status().is_err() {
        return println!("skipped: perl, which calls the shutdown, is not installed");
    }
    let Some(mut mount) = mount_or_skip(kind, IMAGE_MEGABYTES) else { return };
    let rounds = if std::env::var_os("IO_OI_NIGHTLY").is_some() { ROUNDS_NIGHTLY } else { ROUNDS };
    let mut random = Random(std::process::id().into());
    let (mut log, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        let strategy = [StrategyWish::Linked, StrategyWish::Thread, StrategyWish::Fua][(round % 3) as usize];
        let directory = mount.path().join(format!("log-{log}"));
        let mut appender = Appender::start(&directory, strategy);
        appender.listen_until(random.next() % 2000);
        std::thread::sleep(Duration::from_micros(random.next() % 3000));
        mount.cut_power().unwrap();
        let now = appender.wait();
        assert!(now >= acknowledged, "{kind}, round {round}: {acknowledged} before, the child found {now}");
        power_on_again(&mut mount);
        acknowledged = check(&directory, now, kind, round);
        println!("{kind}, round {round}, {strategy}: {now} acknowledged, {acknowledged} recovered");
        if acknowledged > FRAMES_MAX {
            std::fs::remove_dir_all(&directory).unwrap();
            (log, acknowledged) = (log + 1, 0);
        }
    }
}

fn power_on_again(mount: &mut Mount) {
    mount.unmount().unwrap();
    mount.mount().unwrap();
}

fn check(directory: &std::path::Path, acknowledged: u64, kind: &str, round: u64) -> u64 {
    let (frames, _) = recover_all(directory, &real_config(StrategyWish::Thread));
    let found = frames.len() as u64;
    assert!(found >= acknowledged, "{kind}, round {round}: {acknowledged} acknowledged, {found} there");
    for (number, (sequence, bytes)) in (0..).zip(&frames) {
        assert_eq!((*sequence, &bytes[..]), (number, &frame_of(number)[..]), "{kind}, round {round}");
    }
    found
}

#[test]
fn child_appends_for_ever() {
    child::run();
}
