//! One sector of a log of 64 is bad, each in turn, in five ways. Nothing wrong is ever served.

mod support;

use io_oi_wal::sim_disk::{Image, Options, Random, SimDisk};
use io_oi_wal::{OpenError, SegmentNumber};
use support::repair::Repaired;
use support::sim::{Life, numbered_frame, one_segment_config};

const SECTOR: usize = 4096;
const SEGMENT: SegmentNumber = SegmentNumber(0);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Flipped,
    Zeroed,
    /// The same place as another life of the same log left it.
    Stale,
    Swapped,
    /// The sector was written elsewhere: its place holds old zeros, the other place holds it.
    Misdirected,
}

const FAULTS: [Fault; 5] = [Fault::Flipped, Fault::Zeroed, Fault::Stale, Fault::Swapped, Fault::Misdirected];

#[test]
fn every_sector_of_a_closed_log_is_whole_or_missed() {
    let log = a_log(true);
    let mut refused = 0;
    for_each_fault(&log, |fault, sector, image| match open(image) {
        Ok(frames) => assert_eq!(frames, log.frames, "{fault:?} at sector {sector} lost or changed frames"),
        Err(error) => {
            refused += 1;
            assert_names_its_place(&error, fault, sector);
        }
    });
    assert!(refused > 5 * 50, "most faults are refused, here {refused}");
}

#[test]
fn a_bad_last_batch_of_an_unclosed_log_is_cut_and_nothing_wrong_is_served() {
    let log = a_log(false);
    for_each_fault(&log, |fault, sector, image| match open(image) {
        Ok(frames) => {
            assert!(frames.len() >= log.before_last_batch, "{fault:?} at sector {sector} lost proven frames");
            assert_eq!(frames[..], log.frames[..frames.len()], "{fault:?} at sector {sector} changed frames");
        }
        Err(error) => assert_names_its_place(&error, fault, sector),
    });
}

/// Where a plain opening refuses, a repairing one goes on: with nothing but whole frames, in order, and with the floor
/// below which this node may have promised something it no longer has.
#[test]
fn every_refused_sector_is_repaired_from_the_prefix() {
    let log = a_log(true);
    let highest = log.frames.len() as u64 - 1;
    let (mut repaired, mut told) = (0, 0);
    for_each_fault(&log, |fault, sector, image| {
        if matches!(fault, Fault::Stale) {
            return; // These two lives drew the same salts, as no two real ones do: the test below has stale sectors.
        }
        let Err(error) = open(image.clone()) else { return };
        let what = format!("{fault:?} at sector {sector}");
        if !error.is_repairable() {
            assert!(matches!(error, OpenError::MixedLogs { .. }), "{what}: {error}");
            return;
        }
        let log_again =
            Repaired::open(image, &one_segment_config()).unwrap_or_else(|e| panic!("{what}: {e}"));
        repaired += 1;
        assert_eq!(log_again.frames[..], log.frames[..log_again.frames.len()], "{what}");
        let damage = log_again.damage();
        assert!(damage.highest_sequence <= highest, "{what}: no sequence is invented");
        if damage.highest_sequence == highest {
            told += 1;
        } else {
            let near_the_end = log.sectors - 8;
            let moved = matches!(fault, Fault::Swapped | Fault::Misdirected);
            assert!(moved || sector >= near_the_end, "{what}: frames behind it can be read");
        }
        log_again.go_on(&one_segment_config(), &what);
    });
    assert!(repaired > 4 * 50 && told > 4 * 40, "{repaired} repaired, {told} with the exact floor");
}

#[test]
fn a_sector_that_cannot_be_read_is_damage_wherever_it_is() {
    let log = a_log(true);
    for sector in 0..log.sectors + 3 {
        let mut image = log.image.clone();
        let at = (sector * SECTOR) as u64;
        image.unreadable.insert((SEGMENT, at));
        let refused = open(image.clone()).expect_err("a disk that fails is told");
        assert!(matches!(refused, OpenError::Disk(_)), "{refused}");
        let opened = Repaired::open(image, &one_segment_config());
        if sector == 0 {
            assert!(matches!(opened.err(), Some(OpenError::Disk(_))), "nobody can say whose log it is");
            continue;
        }
        let what = format!("unreadable sector {sector}");
        let repaired = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        let kept = repaired.frames.len();
        assert_eq!(repaired.frames[..], log.frames[..kept], "{what}");
        if sector + 1 >= log.sectors {
            assert_eq!(kept, log.frames.len(), "{what}: only the mark, or nothing, stood there");
        } else {
            let lost_from = repaired.damage().offset;
            assert!(lost_from <= at && at < lost_from + 3 * SECTOR as u64, "{what}: {lost_from}");
        }
        repaired.go_on(&one_segment_config(), &what);
    }
}

#[test]
fn a_disk_that_reads_next_to_nothing_is_not_taken_for_a_damaged_log() {
    let log = a_log(true);
    let mut image = log.image.clone();
    image.unreadable = (1..80).map(|sector| (SEGMENT, (sector * SECTOR) as u64)).collect();
    let refused = Repaired::open(image, &one_segment_config()).err().expect("it is the disk");
    assert!(matches!(refused, OpenError::Disk(_)), "{refused}");
}

#[test]
fn a_sector_from_another_continuation_of_the_same_log_is_never_served() {
    // One log, recovered twice from the same state and continued differently: the stale bytes are of the same log, of
    // the right place, and whole.
    let (start, ..) = a_life(21, 20, false);
    let (ours, frames) = continued(&start, 31);
    let (theirs, _) = continued(&start, 32);
    let sectors = sectors_of(&ours).min(sectors_of(&theirs));
    assert!(sectors > 40);
    let (mut same, mut refused) = (0, 0);
    for sector in 1..sectors {
        let at = sector * SECTOR..(sector + 1) * SECTOR;
        let mut image = ours.clone();
        image.segments.get_mut(&SEGMENT).unwrap()[at.clone()].copy_from_slice(&theirs.segments[&SEGMENT][at]);
        match open(image.clone()) {
            Ok(read) => {
                same += 1;
                assert_eq!(read, frames, "stale sector {sector}");
            }
            Err(error) => {
                refused += 1;
                assert_names_its_place(&error, Fault::Stale, sector);
                let repaired = Repaired::open(image, &one_segment_config()).unwrap();
                assert_eq!(repaired.frames[..], frames[..repaired.frames.len()], "stale sector {sector}");
                repaired.go_on(&one_segment_config(), "after a stale sector");
            }
        }
    }
    assert!(same >= 15 && refused >= 15, "{same} sectors are common, {refused} are stale");
}

#[test]
fn a_damaged_log_is_left_as_it_is() {
    let log = a_log(true);
    let mut image = log.image.clone();
    image.segments.get_mut(&SEGMENT).unwrap()[20 * SECTOR + 99] ^= 1;
    let disk = SimDisk::from_image(image.clone(), Options::new(1, one_segment_config().buffer_bytes));
    let error = Life::open(disk.clone(), &one_segment_config()).err().expect("damage is refused");
    assert!(error.to_string().contains("restore this shard from its peers"), "{error}");
    assert_eq!(disk.image(), image, "a damaged log is evidence: not a byte of it changes");
    assert!(disk.history().is_empty());
}

struct Log {
    image: Image,
    /// Another life of a log of the same length.
    other: Image,
    frames: Vec<Vec<u8>>,
    before_last_batch: usize,
    sectors: usize,
}

fn a_log(closed: bool) -> Log {
    let (image, frames, before_last_batch) = a_life(11, 64, closed);
    let (other, ..) = a_life(12, 64, closed);
    let sectors = sectors_of(&image);
    assert!(sectors >= 64, "the log is to have 64 sectors, it has {sectors}");
    Log { image, other, frames, before_last_batch, sectors }
}

fn a_life(seed: u64, sectors: usize, closed: bool) -> (Image, Vec<Vec<u8>>, usize) {
    let disk = SimDisk::new(Options::new(5, one_segment_config().buffer_bytes));
    let mut life = Life::open(disk.clone(), &one_segment_config()).unwrap();
    let before_last_batch = fill(&mut life, seed, sectors);
    let frames = life.appended.clone();
    if closed {
        life.wal.close().unwrap();
    }
    (disk.image(), frames, before_last_batch)
}

/// The image goes on for another 25 sectors and is closed.
fn continued(start: &Image, seed: u64) -> (Image, Vec<Vec<u8>>) {
    let disk = SimDisk::from_image(start.clone(), Options::new(seed, one_segment_config().buffer_bytes));
    let mut life = Life::open(disk.clone(), &one_segment_config()).unwrap();
    fill(&mut life, seed, sectors_of(start) + 25);
    let frames = life.appended.clone();
    life.wal.close().unwrap();
    (disk.image(), frames)
}

/// Appends batches of two frames until so many sectors are used; says how many frames stood before the last batch.
fn fill(life: &mut Life, seed: u64, sectors: usize) -> usize {
    loop {
        let before_last_batch = life.appended.len();
        for _ in 0..2 {
            life.append(numbered_frame(life.appended.len() as u64, seed)).unwrap();
        }
        life.wal.flush_blocking().unwrap();
        if sectors_of(&life.disk.image()) >= sectors {
            return before_last_batch;
        }
    }
}

fn sectors_of(image: &Image) -> usize {
    1 + image.segments[&SEGMENT]
        .chunks(SECTOR)
        .rposition(|sector| sector.iter().any(|byte| *byte != 0))
        .unwrap()
}

fn for_each_fault(log: &Log, mut check: impl FnMut(Fault, usize, Image)) {
    let mut random = Random(77);
    for fault in FAULTS {
        for sector in 0..log.sectors {
            let mut image = log.image.clone();
            let other = (sector + 1 + random.next() as usize % (log.sectors - 1)) % log.sectors;
            let file = image.segments.get_mut(&SEGMENT).unwrap();
            let at = sector * SECTOR;
            match fault {
                Fault::Flipped => file[at + random.next() as usize % SECTOR] ^= 1 << (random.next() % 8),
                Fault::Zeroed => file[at..at + SECTOR].fill(0),
                Fault::Stale => {
                    file[at..at + SECTOR].copy_from_slice(&log.other.segments[&SEGMENT][at..at + SECTOR])
                }
                Fault::Swapped => {
                    for byte in 0..SECTOR {
                        file.swap(at + byte, other * SECTOR + byte);
                    }
                }
                Fault::Misdirected => {
                    file.copy_within(at..at + SECTOR, other * SECTOR);
                    file[at..at + SECTOR].fill(0);
                }
            }
            check(fault, sector, image);
        }
    }
}

fn open(image: Image) -> Result<Vec<Vec<u8>>, OpenError> {
    let config = one_segment_config();
    let disk = SimDisk::from_image(image, Options::new(1, config.buffer_bytes));
    Life::open(disk, &config).map(|life| life.appended)
}

fn assert_names_its_place(error: &OpenError, fault: Fault, sector: usize) {
    match error {
        OpenError::Damaged { segment, offset, .. } => {
            assert_eq!(*segment, SEGMENT);
            let text = error.to_string();
            assert!(text.contains(&format!("offset {offset}")), "{text}");
        }
        OpenError::SegmentHeader { segment, .. } | OpenError::MixedLogs { segment } => {
            assert_eq!(*segment, SEGMENT)
        }
        other => panic!("{fault:?} at sector {sector} was refused for another reason: {other}"),
    }
}
