//! A log whose middle is damaged goes on from its whole prefix; power is cut at every moment of the repair.

mod support;

use io_oi_wal::sim_disk::{Event, Image, Options, Random, SimDisk};
use io_oi_wal::{Config, Damage, OpenError, SegmentNumber, StrategyWish, Wal};
use support::repair::Repaired;
use support::sim::{Life, numbered_frame, small_config};
use support::{frame_of, real_config, skip_without_device};

const SECTOR: usize = 4096;

#[test]
fn every_way_of_losing_a_file_or_its_head_leaves_the_prefix_and_the_floor() {
    let (image, frames) = a_log(1, 90);
    let segments = image.segments.len() as u32;
    assert!(segments >= 5, "{segments}");
    for number in (0..segments).map(SegmentNumber) {
        for way in 0..4 {
            let mut damaged = image.clone();
            let file = damaged.segments.get_mut(&number).unwrap();
            match way {
                0 => drop(damaged.segments.remove(&number)),
                1 => file[50] ^= 1 << (number.0 % 8),
                2 => file[..SECTOR].fill(0),
                _ => file.truncate(file.len() - SECTOR),
            }
            let what = format!("segment {number}, way {way}");
            if way == 0 && number.0 + 1 == segments {
                continue; // Nobody can know that there was one more.
            }
            let repaired =
                Repaired::open(damaged.clone(), &small_config()).unwrap_or_else(|e| panic!("{what}: {e}"));
            let kept = repaired.frames.len();
            assert_eq!(repaired.frames[..], frames[..kept], "{what}");
            let damage = repaired.damage();
            assert_eq!((damage.segment, damage.set_aside), (number, 1), "{what}");
            assert_eq!(kept == 0, number.0 == 0, "{what}: whole segments before the damage are kept");
            let lost_last = number.0 + 2 >= segments || way == 0;
            if !lost_last {
                assert_eq!(damage.highest_sequence, frames.len() as u64 - 1, "{what}");
                assert!(damage.frames_lost as usize >= frames.len() - kept, "{what}");
            }
            assert_set_aside(&repaired.disk.image(), &damaged, &what);
            repaired.go_on(&small_config(), &what);
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_of_a_repair_leaves_the_damaged_log_or_the_repaired_one() {
    let (mut cuts, mut still_damaged, mut finished) = (0, 0, 0);
    for (seed, damage_at) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        let (image, frames) = a_log(seed, 60);
        let damaged = damage(&image, SegmentNumber(damage_at), seed);
        let whole = Repaired::open(damaged.clone(), &small_config()).unwrap();
        let (expected, kept) = (whole.damage(), whole.frames.len());
        let history = whole.disk.history();
        assert!(history.iter().any(|event| matches!(event, Event::ReplacementCommitted)));
        for count in 0..=history.len() {
            for chance in 0..4 {
                let mut random = Random(seed ^ (count as u64) << 8 ^ chance << 40);
                let left = Image::after_power_cut(&damaged, &history[..count], |_| match chance {
                    0 => false,
                    1 => true,
                    _ => random.next().is_multiple_of(2),
                });
                let what = format!("seed {seed}, cut after event {count}, chance {chance}");
                cuts += 1;
                match plain_open(&left) {
                    Ok((appended, damage)) => {
                        finished += 1;
                        assert_eq!((appended.len(), damage), (kept, Some(expected)), "{what}");
                    }
                    Err(OpenError::Damaged { .. }) => {
                        still_damaged += 1;
                        assert_eq!(left.segments, damaged.segments, "{what}: every byte is in its place");
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
                let again = Repaired::open(left, &small_config()).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(again.frames[..], frames[..kept], "{what}");
                assert_eq!(again.damage(), expected, "{what}: a repair that began anew finds the same");
                assert_set_aside(&again.disk.image(), &damaged, &what);
                if chance == 0 {
                    again.go_on(&small_config(), &what);
                }
            }
        }
    }
    assert!(cuts > 100 && still_damaged > 30 && finished > 30, "{cuts}, {still_damaged}, {finished}");
}

#[test]
fn a_second_cut_while_the_first_is_cleared_away_changes_nothing() {
    let (image, frames) = a_log(6, 60);
    let damaged = damage(&image, SegmentNumber(1), 6);
    let whole = Repaired::open(damaged.clone(), &small_config()).unwrap();
    let (expected, kept) = (whole.damage(), whole.frames.len());
    let history = whole.disk.history();
    for first in 0..=history.len() {
        let left = Image::after_power_cut(&damaged, &history[..first], |_| false);
        let clearing = Repaired::open(left.clone(), &small_config()).unwrap().disk.history();
        for second in 0..=clearing.len() {
            let left = Image::after_power_cut(&left, &clearing[..second], |_| false);
            let again = Repaired::open(left, &small_config()).unwrap();
            let what = format!("cut after {first}, then after {second}");
            assert_eq!((again.damage(), again.frames.len()), (expected, kept), "{what}");
            assert_eq!(again.frames[..], frames[..kept], "{what}");
            assert_set_aside(&again.disk.image(), &damaged, &what);
        }
    }
}

#[test]
fn a_failure_of_any_operation_of_a_repair_is_told_and_the_next_start_repairs() {
    let (image, frames) = a_log(9, 60);
    let damaged = damage(&image, SegmentNumber(2), 9);
    let operations = {
        let whole = Repaired::open(damaged.clone(), &small_config()).unwrap();
        whole.disk.operations()
    };
    let mut failed = 0;
    for fail_at in 0..operations {
        let options = Options { fail_at: Some(fail_at), ..Options::new(7, small_config().buffer_bytes) };
        let disk = SimDisk::from_image(damaged.clone(), options);
        failed += usize::from(Repaired::open_on(disk.clone(), &small_config()).is_err());
        let left = Image::after_power_cut(&damaged, &disk.history(), |_| false);
        let again = Repaired::open(left, &small_config()).unwrap();
        assert_eq!(again.frames[..], frames[..again.frames.len()]);
        assert_eq!(again.damage().highest_sequence, frames.len() as u64 - 1, "operation {fail_at} failed");
        assert_set_aside(&again.disk.image(), &damaged, "after a failure");
    }
    assert!(failed > 20, "{failed} of {operations}");
}

#[test]
fn a_full_disk_refuses_the_repair_and_changes_nothing() {
    let (image, _) = a_log(9, 60);
    let damaged = damage(&image, SegmentNumber(2), 9);
    let options = Options { space_bytes: 1000, ..Options::new(7, small_config().buffer_bytes) };
    let disk = SimDisk::from_image(damaged.clone(), options);
    let error = Repaired::open_on(disk.clone(), &small_config()).err().expect("there is no room");
    assert!(matches!(error, OpenError::NoSpace { .. }), "{error}");
    assert!(disk.image() == damaged);
}

#[test]
fn a_log_damaged_twice_tells_the_highest_of_both() {
    let (image, _) = a_log(11, 60);
    let first = Repaired::open(damage(&image, SegmentNumber(2), 1), &small_config()).unwrap();
    let floor = first.damage().highest_sequence;
    let left = first.disk.image();
    let second = Repaired::open(damage(&left, SegmentNumber(0), 2), &small_config()).unwrap();
    let damage = second.damage();
    assert_eq!((damage.highest_sequence, damage.set_aside), (floor, 2), "the lost mark told it");
    assert_eq!((damage.highest_epoch, second.disk.image().aside.len()), (5, 2));
    second.go_on(&small_config(), "damaged twice");
}

#[test]
fn a_sound_log_and_a_torn_one_are_opened_as_ever() {
    let (image, frames) = a_log(3, 40);
    let opened = Repaired::open(image.clone(), &small_config()).unwrap();
    assert_eq!((opened.frames, opened.recovered.damage), (frames, None));
    let other = Config { shard: 4, ..small_config() };
    let refused = Repaired::open(image, &other).err().expect("another shard's log is no damage");
    assert!(matches!(refused, OpenError::WrongShard { .. }) && !refused.is_repairable());
}

#[test]
fn real_files_are_set_aside_and_leftovers_are_undone_or_finished() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let path = directory.path().join("log");
    let config = real_config(StrategyWish::Linked);
    let (mut wal, _) = Wal::open(&path, config.clone(), |_, _| Ok(())).unwrap();
    let mut count = 0u64;
    while wal.stats().segments_filled < 3 {
        let mut bytes = frame_of(count);
        bytes.resize(100_000, 1);
        let frame =
            io_oi_wal::Frame { kind: io_oi_wal::FrameKind(1), epoch: 9, sequence: count, bytes: &bytes };
        if wal.append(frame).is_ok() {
            count += 1;
            wal.flush_blocking().unwrap();
        } else {
            wal.poll().unwrap();
        }
    }
    wal.close().unwrap();
    let bad = path.join("wal-00000001.log");
    let mut bytes = std::fs::read(&bad).unwrap();
    bytes[3_000_000] ^= 16;
    std::fs::write(&bad, &bytes).unwrap();
    let refused = Wal::open(&path, config.clone(), |_, _| Ok(())).err().expect("the damage is found");
    assert!(matches!(refused, OpenError::Damaged { segment: SegmentNumber(1), .. }), "{refused}");
    // A repair that a crash broke off before its replacement had its name: it is undone.
    std::fs::write(path.join("wal-00000001.new"), b"half").unwrap();
    std::fs::create_dir(path.join("damaged-1.unfinished-00000001")).unwrap();
    std::fs::hard_link(&bad, path.join("damaged-1.unfinished-00000001/wal-00000001.log")).unwrap();

    let mut frames = 0u64;
    let (wal, recovered) = Wal::open_repairing(&path, config.clone(), |_, frame| {
        assert_eq!(frame.sequence, frames);
        frames += 1;
        Ok(())
    })
    .unwrap();
    let damage = recovered.damage.unwrap();
    assert!(frames > 80 && frames < count, "{frames} of {count}");
    assert_eq!((damage.highest_epoch, damage.highest_sequence, damage.set_aside), (9, count - 1, 1));
    assert!(damage.frames_lost >= count - frames);
    drop(wal);
    assert!(std::fs::read(path.join("damaged-1/wal-00000001.log")).unwrap() == bytes, "the evidence is kept");
    for segment in 2..4 {
        assert!(path.join(format!("damaged-1/wal-0000000{segment}.log")).exists());
    }
    assert!(!path.join("wal-00000001.new").exists() && !path.join("damaged-1.unfinished-00000001").exists());

    // One that broke off after it: it is finished.
    std::fs::rename(path.join("damaged-1"), path.join("damaged-1.unfinished-00000001")).unwrap();
    let behind = path.join("wal-00000009.log");
    std::fs::copy(path.join("damaged-1.unfinished-00000001/wal-00000003.log"), &behind).unwrap();
    let (wal, recovered) = Wal::open(&path, config, |_, _| Ok(())).unwrap();
    assert_eq!((recovered.frames, recovered.damage), (frames, Some(damage)));
    assert!(path.join("damaged-1").is_dir() && !behind.exists());
    drop(wal);
}

/// A log of several small segments, closed.
fn a_log(seed: u64, count: usize) -> (Image, Vec<Vec<u8>>) {
    let disk = SimDisk::new(Options::new(seed, small_config().buffer_bytes));
    let mut life = Life::open(disk.clone(), &small_config()).unwrap();
    for number in 0..count as u64 {
        let frame = numbered_frame(number, seed);
        while life.append(frame.clone()).is_err() {
            life.wal.flush_blocking().unwrap();
        }
        if number % 3 != 1 {
            life.wal.flush_blocking().unwrap();
        }
    }
    let frames = life.appended.clone();
    life.wal.close().unwrap();
    (disk.image(), frames)
}

/// One bit in the middle of what this segment holds goes bad.
fn damage(image: &Image, segment: SegmentNumber, seed: u64) -> Image {
    let mut image = image.clone();
    let file = image.segments.get_mut(&segment).unwrap();
    let held: Vec<usize> = (SECTOR..file.len()).filter(|at| file[*at] != 0).collect();
    file[held[held.len() / 3]] ^= 1 << (seed % 8);
    image
}

fn plain_open(image: &Image) -> Result<(Vec<Vec<u8>>, Option<Damage>), OpenError> {
    let disk = SimDisk::from_image(image.clone(), Options::new(1, small_config().buffer_bytes));
    Life::open(disk, &small_config()).map(|life| (life.appended, life.recovered.damage))
}

/// Every file of the damaged log is in the log unchanged, or set aside unchanged.
fn assert_set_aside(image: &Image, damaged: &Image, what: &str) {
    let aside = image.aside.values().next_back().unwrap();
    assert!(aside.is_finished && image.replacement.is_none(), "{what}");
    for (number, bytes) in &damaged.segments {
        let kept = if *number < aside.first { &image.segments[number] } else { &aside.files[number] };
        assert!(kept == bytes, "{what}: segment {number} is evidence");
    }
}
