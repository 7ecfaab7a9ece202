//! A disk without space: appends are refused, nothing is lost, and it goes on by itself when space returns.

mod support;

use std::time::{Duration, Instant};

use io_oi_wal::sim_disk::{Options, Random, SimDisk};
use io_oi_wal::{
    AppendError, BATCH_HEADER_BYTES, Config, Disk, Frame, FrameKind, OpenError, StrategyWish, Wal,
    frame_bytes,
};
use support::mount::{ballast, mount_or_skip};
use support::sim::{FRAME_BYTES_MAX, Life, small_config};
use support::{frame_of, real_config, recover_all};

#[test]
fn a_full_simulated_disk_refuses_and_goes_on_when_space_returns() {
    let config = small_config();
    let space = 3 * config.segment_bytes;
    let options = Options { space_bytes: space, ..Options::new(1, config.buffer_bytes) };
    let mut life = Life::open(SimDisk::new(options), &config).unwrap();
    fill(&mut life);
    assert!(life.wal.room_bytes() < 1000, "{}", life.wal.room_bytes());
    assert!(life.wal.stats().prepare_failures > 0);
    let full = life.appended.len();

    // A full log can be closed and opened again and again.
    let mut disk = life.disk.clone();
    life.wal.close().unwrap();
    for _ in 0..3 {
        let image = disk.image();
        let options = Options { space_bytes: space, ..Options::new(2, config.buffer_bytes) };
        let mut life = Life::open(SimDisk::from_image(image, options), &config).unwrap();
        assert_eq!(life.appended.len(), full);
        assert!(matches!(life.append(vec![1; 3000]), Err(AppendError::LogFull)));
        disk = life.disk.clone();
        life.wal.close().unwrap();
    }

    let options = Options { space_bytes: space, ..Options::new(3, config.buffer_bytes) };
    let mut life = Life::open(SimDisk::from_image(disk.image(), options), &config).unwrap();
    life.disk.set_space_bytes(10 * config.segment_bytes);
    life.live(5, 50).unwrap();
    assert_eq!(life.acknowledged_now(), full + 50);
    assert!(life.disk.free_bytes().unwrap() > 0);
}

/// It was opened with its last segment full, and the next one came after the first append (simulator seed 131157).
#[test]
fn a_full_log_that_is_opened_with_space_takes_the_first_append() {
    let config = small_config();
    for seed in 0..40 {
        let options =
            Options { space_bytes: 3 * config.segment_bytes, ..Options::new(seed, config.buffer_bytes) };
        let mut life = Life::open(SimDisk::new(options), &config).unwrap();
        fill(&mut life);
        // Opened in vain it ends with a mark; then nothing is written, and nothing waited for, when it is opened again.
        let full =
            Options { space_bytes: 3 * config.segment_bytes, ..Options::new(seed, config.buffer_bytes) };
        let in_vain = Life::open(SimDisk::from_image(life.disk.image(), full), &config).unwrap();
        let options = Options::new(seed, config.buffer_bytes);
        let mut life = Life::open(SimDisk::from_image(in_vain.disk.image(), options), &config).unwrap();
        assert!(life.wal.room_bytes() >= config.buffer_bytes, "seed {seed}: {}", life.wal.room_bytes());
        life.append(vec![1; FRAME_BYTES_MAX]).expect("there is room");
    }
}

#[test]
fn the_room_that_was_promised_is_there_for_batches_of_any_size() {
    let config = Config { segments_ahead: 3, ..small_config() };
    let mut spent = 0;
    for seed in 0..600 {
        let mut random = Random(seed);
        let options =
            Options { space_bytes: 4 * config.segment_bytes, ..Options::new(seed, config.buffer_bytes) };
        let mut life = Life::open(SimDisk::new(options), &config).unwrap();
        while !random.next().is_multiple_of(40) && append_batch(&mut life, &mut random).is_ok() {
            life.wal.flush_blocking().unwrap();
        }
        life.wal.flush_blocking().unwrap();
        (0..10).for_each(|_| life.poll().unwrap());
        // Some frames wait already; the promise is for what comes on top.
        if random.next().is_multiple_of(2) && append_batch(&mut life, &mut random).is_err() {
            continue;
        }
        let mut room = life.wal.room_bytes();
        life.wal.flush_blocking().unwrap();
        while room >= 4096 {
            let cost = |bytes| (BATCH_HEADER_BYTES + frame_bytes(bytes)).next_multiple_of(4096);
            let bytes = random.next() as usize % FRAME_BYTES_MAX;
            // The last of the promise is used up sector by sector.
            let bytes = if cost(bytes) <= room { bytes } else { 100 };
            let taken = life.append(vec![3; bytes]);
            assert!(taken.is_ok(), "seed {seed}: {room} bytes were promised, a frame of {bytes} was refused");
            life.wal.flush_blocking().unwrap();
            room -= cost(bytes);
            spent += 1;
        }
    }
    assert!(spent > 1000, "promises were put to the test: {spent}");
}

fn append_batch(life: &mut Life, random: &mut Random) -> Result<(), AppendError> {
    for _ in 0..1 + random.next() % 2 {
        life.append(vec![4; random.next() as usize % FRAME_BYTES_MAX])?;
    }
    Ok(())
}

#[test]
fn a_disk_too_small_for_one_segment_is_refused_with_its_size() {
    let options = Options { space_bytes: 4096, ..Options::new(1, small_config().buffer_bytes) };
    let error = Life::open(SimDisk::new(options), &small_config()).err().expect("there is no space");
    assert!(matches!(error, OpenError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains(&small_config().segment_bytes.to_string()), "{error}");
}

#[test]
fn a_full_file_system_refuses_and_goes_on_when_space_returns() {
    let Some(mount) = mount_or_skip("ext4", 48) else { return };
    let log = mount.path().join("log");
    let config = Config { prepare_retry: Duration::from_millis(20), ..real_config(StrategyWish::Linked) };
    let ballast = ballast(&mount.path(), 12 << 20);
    let (mut wal, _) = Wal::open(&log, config.clone(), |_, _| Ok(())).unwrap();
    let mut count = 0;
    assert!(append_until_full(&mut wal, &mut count, 1_000_000), "the disk fills up");
    assert!(wal.room_bytes() < 1000 && wal.disk().strategy().1.contains("configured"));
    wal.flush_blocking().unwrap();
    let full = count;
    assert!(full > 10_000, "two segments hold more than {full} frames");

    // Killed and opened again on the full disk, then closed in good order.
    drop(wal);
    let (frames, _) = recover_all(&log, &config);
    assert_eq!(frames.len() as u64, full);

    let (mut wal, recovered) = Wal::open(&log, config.clone(), |_, _| Ok(())).unwrap();
    assert_eq!(recovered.frames, full);
    std::fs::remove_file(ballast).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while wal.room_bytes() < 1 << 20 {
        assert!(Instant::now() < until, "acceptance comes back when space does");
        wal.poll().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!append_until_full(&mut wal, &mut count, 500));
    wal.flush_blocking().unwrap();
    wal.close().unwrap();
    let (frames, _) = recover_all(&log, &config);
    assert_eq!(frames.len() as u64, full + 500);
    for (number, (sequence, bytes)) in (0..).zip(&frames) {
        assert_eq!((*sequence, &bytes[..]), (number, &frame_of(number)[..]));
    }
}

fn fill(life: &mut Life) {
    let mut refused = 0;
    while refused < 10 {
        match life.append(vec![7; 3000]) {
            Ok(()) => {}
            Err(AppendError::BatchFull | AppendError::LogFull) => {
                life.wal.submit();
                while !life.wal.is_idle() {
                    life.poll().unwrap();
                }
                life.poll().unwrap();
                refused += u32::from(matches!(life.append(vec![7; 3000]), Err(AppendError::LogFull)));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(life.acknowledged_now(), life.appended.len());
    // Smaller frames use up the rest.
    while life.append(vec![8; 9]).is_ok() {
        life.wal.flush_blocking().unwrap();
    }
}

/// Appends until the log is full for good (true), or so many more frames are in (false).
fn append_until_full(wal: &mut Wal, count: &mut u64, more: u64) -> bool {
    let until = *count + more;
    while *count < until {
        let bytes = frame_of(*count);
        match wal.append(Frame { kind: FrameKind(1), epoch: 0, sequence: *count, bytes: &bytes }) {
            Ok(_) => *count += 1,
            Err(AppendError::BatchFull) => {
                wal.submit();
                wal.poll().unwrap();
            }
            Err(AppendError::LogFull) => {
                wal.flush_blocking().unwrap();
                let failures = wal.stats().prepare_failures;
                if failures > 3 {
                    return true;
                }
                wal.poll().unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    false
}
