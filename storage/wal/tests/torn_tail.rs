//! The log breaks off at every byte of its last three frames.

mod support;

use io_oi_wal::sim_disk::{Image, Options, Random, SimDisk};
use io_oi_wal::{Config, SegmentNumber, frame_bytes};
use support::sim::{Life, recover_and_check, recover_twice_and_check, small_config};

#[derive(Clone, Copy, Debug)]
enum Batches {
    /// The last three frames were flushed together.
    One,
    /// Each was flushed alone.
    Three,
}

#[derive(Clone, Copy, Debug)]
enum Behind {
    Zeros,
    Garbage,
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_at_the_last_whole_frame() {
    for batches in [Batches::One, Batches::Three] {
        let (image, appended, ends) = a_log(batches);
        let start = ends[ends.len() - 4];
        for behind in [Behind::Zeros, Behind::Garbage] {
            for byte in start..=ends[ends.len() - 1] {
                let in_padding = ends.iter().any(|end| *end < byte && byte < end.next_multiple_of(4096));
                if matches!(batches, Batches::Three) && in_padding && byte % 61 != 0 {
                    continue;
                }
                let whole = ends.iter().filter(|end| **end <= byte).count();
                let torn = tear(&image, byte, behind);
                let what = format!("{batches:?}, torn at byte {byte}, {behind:?} behind");
                let life = recover_and_check(torn.clone(), &config(), &appended, whole, &what);
                assert_eq!(life.appended.len(), whole, "{what}: nothing but whole frames comes back");
                if byte % 64 == 0 {
                    recover_twice_and_check(torn, &config(), &appended, whole, &what);
                }
            }
        }
    }
}

#[test]
fn stale_frames_behind_a_cut_never_come_back() {
    let (image, appended, ends) = a_log(Batches::One);
    // Only the first sector of the last batch is lost: its later frames stand whole behind the cut.
    let config = config();
    let segment = SegmentNumber(0);
    let first_sector = ends[ends.len() - 4].next_multiple_of(4096);
    let mut torn = image.clone();
    let file = torn.segments.get_mut(&segment).unwrap();
    file[first_sector..first_sector + 4096].fill(0);
    let whole = appended.len() - 3;
    let mut life = recover_and_check(torn, &config, &appended, whole, "first sector lost");
    assert_eq!(life.appended.len(), whole);
    assert!(life.recovered.torn_tail.is_some_and(|tail| tail.sectors_zeroed > 0));
    // A frame of the very same bytes at the very same place must not bring the stale ones behind it back.
    life.append(appended[whole].clone()).unwrap();
    life.wal.flush_blocking().unwrap();
    let again = recover_and_check(life.disk.image(), &config, &life.appended, whole + 1, "after the cut");
    assert_eq!(again.appended.len(), whole + 1);
}

/// A log of one segment, its frames, and where each of them ends.
fn a_log(batches: Batches) -> (Image, Vec<Vec<u8>>, Vec<usize>) {
    let config = config();
    let disk = SimDisk::new(Options::new(7, config.buffer_bytes));
    let mut life = Life::open(disk, &config).unwrap();
    let mut ends = Vec::new();
    let mut place = 2 * 4096;
    let mut random = Random(3);
    for number in 0..8u64 {
        let alone = number < 5 || matches!(batches, Batches::Three);
        // The last three together are longer than two sectors.
        let bytes = if number < 5 { 300 } else { 1500 + number as usize };
        let mut frame = number.to_le_bytes().to_vec();
        frame.resize_with(bytes, || random.next() as u8 | 1);
        life.append(frame).unwrap();
        if alone || number == 5 {
            place += 64;
        }
        place += frame_bytes(bytes);
        ends.push(place);
        if alone {
            life.wal.flush_blocking().unwrap();
            place = place.next_multiple_of(4096);
        }
    }
    life.wal.flush_blocking().unwrap();
    (life.disk.image(), life.appended, ends)
}

fn tear(image: &Image, byte: usize, behind: Behind) -> Image {
    let mut torn = image.clone();
    let file = torn.segments.get_mut(&SegmentNumber(0)).unwrap();
    let mut random = Random(byte as u64);
    let end = file.iter().rposition(|byte| *byte != 0).unwrap_or(0).next_multiple_of(4096) + 4096;
    for place in &mut file[byte..end] {
        *place = match behind {
            Behind::Zeros => 0,
            Behind::Garbage => random.next() as u8,
        };
    }
    torn
}

/// One segment that holds the whole log.
fn config() -> Config {
    Config { segment_bytes: 26 * 4096, ..small_config() }
}
