//! A log written by format version 1 stays readable for ever, and is still written the same way.
//!
//! `golden/version-1.log` is a segment without its trailing zeros. `IO_OI_BLESS=1` writes it anew, for a new version only.

mod support;

use io_oi_wal::sim_disk::{Image, Options, SimDisk};
use io_oi_wal::{FORMAT_VERSION, SegmentNumber};
use support::CLUSTER;
use support::sim::{Life, numbered_frame, small_config};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/version-1.log");
const SEGMENT: SegmentNumber = SegmentNumber(0);

#[test]
fn a_log_of_version_1_is_read() {
    let mut file = std::fs::read(GOLDEN).unwrap();
    file.resize(small_config().segment_bytes as usize, 0);
    let image = Image { segments: [(SEGMENT, file)].into(), ..Image::default() };
    let disk = SimDisk::from_image(image, Options::new(1, small_config().buffer_bytes));
    let life = Life::open(disk, &small_config()).unwrap();
    assert_eq!(life.appended, frames());
    assert!(life.recovered.closed_cleanly && life.recovered.torn_tail.is_none());
}

#[test]
fn todays_build_writes_the_same_bytes() {
    assert_eq!((FORMAT_VERSION, CLUSTER[0]), (1, 0xC1), "a new version gets a golden file of its own");
    let written = written_now();
    if std::env::var_os("IO_OI_BLESS").is_some() {
        std::fs::write(GOLDEN, &written).unwrap();
    }
    assert!(
        written == std::fs::read(GOLDEN).unwrap(),
        "the bytes on disk have changed: raise FORMAT_VERSION"
    );
}

fn frames() -> Vec<Vec<u8>> {
    (0..6).map(|number| numbered_frame(number, 1)).collect()
}

fn written_now() -> Vec<u8> {
    let disk = SimDisk::new(Options::new(42, small_config().buffer_bytes));
    let mut life = Life::open(disk.clone(), &small_config()).unwrap();
    for (number, frame) in frames().into_iter().enumerate() {
        life.append(frame).unwrap();
        // Batches of one, two and three frames.
        if matches!(number, 0 | 2 | 5) {
            life.wal.flush_blocking().unwrap();
        }
    }
    life.wal.close().unwrap();
    let mut file = disk.image().segments.remove(&SEGMENT).unwrap();
    file.truncate(file.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    file
}
