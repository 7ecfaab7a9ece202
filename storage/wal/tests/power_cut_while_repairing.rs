//! The file system loses power while a damaged log is repaired: the damaged log is there after the next mount, or the
//! repaired one, and the next start makes the repaired one of it.

mod support;

use std::path::Path;
use std::time::Duration;

use io_oi_wal::sim_disk::Random;
use io_oi_wal::{Config, Damage, Frame, FrameKind, OpenError, StrategyWish, Wal};
use support::mount::{Mount, mount_or_skip};
use support::real_config;

const ROUNDS: u64 = 8;
const ROUNDS_NIGHTLY: u64 = 200;

#[test]
fn ext4_keeps_the_damaged_log_or_the_repaired_one() {
    cut_power_again_and_again("ext4");
}

#[test]
fn xfs_keeps_the_damaged_log_or_the_repaired_one() {
    cut_power_again_and_again("xfs");
}

fn config() -> Config {
    Config { segment_bytes: 4 << 20, ..real_config(StrategyWish::Thread) }
}

fn cut_power_again_and_again(kind: &str) {
    if std::process::Command::new("perl").args(["-e", "1"]).status().is_err() {
        return println!("skipped: perl, which calls the shutdown, is not installed");
    }
    let Some(mut mount) = mount_or_skip(kind, 512) else { return };
    let rounds = if std::env::var_os("IO_OI_NIGHTLY").is_some() { ROUNDS_NIGHTLY } else { ROUNDS };
    let sound = mount.path().join("sound");
    let count = write_a_log(&sound);
    damage(&sound);
    let (kept, expected) = {
        let whole = mount.path().join("whole");
        copy(&sound, &whole);
        repair(&whole).unwrap()
    };
    assert!(kept > 5 && kept < count && expected.highest_sequence == count - 1);
    let mut random = Random(std::process::id().into());
    let (mut still_damaged, mut repaired) = (0, 0);
    for round in 0..rounds {
        let log = mount.path().join(format!("log-{round}"));
        copy(&sound, &log);
        // The copy is what stood on the disk before.
        rustix::fs::syncfs(std::fs::File::open(mount.path()).unwrap()).unwrap();
        let (at, wait) = (log.clone(), Duration::from_micros(random.next() % 40_000));
        let repairing = std::thread::spawn(move || repair(&at).is_ok());
        std::thread::sleep(wait);
        mount.cut_power().unwrap();
        let was_done = repairing.join().unwrap();
        power_on_again(&mut mount);
        match Wal::open(&log, config(), |_, _| Ok(())) {
            Ok((_, recovered)) => {
                repaired += 1;
                assert_eq!(
                    (recovered.frames, recovered.damage),
                    (kept, Some(expected)),
                    "{kind}, round {round}"
                );
            }
            Err(OpenError::Damaged { .. }) => {
                still_damaged += 1;
                assert!(!was_done, "{kind}, round {round}: a repair that was reported is durable");
            }
            Err(error) => panic!("{kind}, round {round}: {error}"),
        }
        assert_eq!(repair(&log).unwrap(), (kept, expected), "{kind}, round {round}");
        for entry in std::fs::read_dir(&sound).unwrap() {
            let name = entry.unwrap().file_name();
            let aside = log.join("damaged-1").join(&name);
            let evidence = if aside.exists() { aside } else { log.join(&name) };
            assert!(same(&sound.join(&name), &evidence), "{kind}, round {round}: {name:?} is kept");
        }
        std::fs::remove_dir_all(&log).unwrap();
    }
    println!("{kind}: {still_damaged} still damaged after the cut, {repaired} repaired");
}

fn write_a_log(directory: &Path) -> u64 {
    let (mut wal, _) = Wal::open(directory, config(), |_, _| Ok(())).unwrap();
    let bytes = vec![0x3C; 150_000];
    let mut count = 0;
    while wal.stats().segments_filled < 2 {
        if wal.append(Frame { kind: FrameKind(1), epoch: 3, sequence: count, bytes: &bytes }).is_ok() {
            count += 1;
        }
        wal.submit();
        wal.poll().unwrap();
    }
    wal.close().unwrap();
    count
}

fn damage(directory: &Path) {
    let path = directory.join("wal-00000001.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn same(one: &Path, other: &Path) -> bool {
    std::fs::read(one).unwrap() == std::fs::read(other).unwrap()
}

fn repair(directory: &Path) -> Result<(u64, Damage), OpenError> {
    let (wal, recovered) = Wal::open_repairing(directory, config(), |_, _| Ok(()))?;
    drop(wal);
    Ok((recovered.frames, recovered.damage.expect("the log is damaged")))
}

fn power_on_again(mount: &mut Mount) {
    mount.unmount().unwrap();
    mount.mount().unwrap();
}
