//! A log whose segments were made for smaller batches than those of today.

mod support;

use io_oi_wal::sim_disk::{Image, Options, SimDisk};
use io_oi_wal::{AppendError, Config, buffer_bytes_for};
use support::sim::{Life, recover_and_check, small_config};

/// Four times the frames of [`small_config`], in segments to match.
fn larger_config() -> Config {
    let frame_bytes_max = 4 * support::sim::FRAME_BYTES_MAX;
    let buffer_bytes = buffer_bytes_for(frame_bytes_max) + 12 * 4096;
    Config { frame_bytes_max, buffer_bytes, segment_bytes: buffer_bytes as u64 + 14 * 4096, ..small_config() }
}

#[test]
fn no_batch_is_written_past_the_end_of_a_smaller_segment() {
    let small = Config { segments_ahead: 2, ..small_config() };
    let large = larger_config();
    assert!(large.buffer_bytes as u64 > small.segment_bytes, "a full buffer would not fit an old segment");
    let mut life = Life::open(SimDisk::new(Options::new(1, small.buffer_bytes)), &small).unwrap();
    life.live(1, 30).unwrap();
    let image = life.disk.image();
    let mut life =
        Life::open(SimDisk::from_image(image, Options::new(2, large.buffer_bytes)), &large).unwrap();
    assert_eq!(life.appended.len(), 30);
    for number in 0..20usize {
        loop {
            match life.append(vec![1 + number as u8; large.frame_bytes_max - number]) {
                Ok(()) => break,
                Err(AppendError::BatchFull | AppendError::LogFull) => {
                    life.wal.submit();
                    life.poll().unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    life.wal.flush_blocking().unwrap();
    let image = Image::after_power_cut(&life.disk.start(), &life.disk.history(), |_| false);
    recover_and_check(image, &large, &life.appended, 50, "after larger batches");
}
