//! A log is taken up behind a sealed segment: what follows is handed out as by a whole reading, and a place that is not of
//! this log, or not of what is left of it, is refused and changes nothing.

mod support;

use std::ops::ControlFlow;

use io_oi_wal::sim_disk::{Image, Options, Random, SimDisk};
use io_oi_wal::{BlockIndex, FrameKind, LogIndex, OpenError, Recovered, Resume, SegmentNumber, Wal};
use proptest::prelude::*;
use support::sim::{Life, small_config};

type Frames = Vec<(LogIndex, Vec<u8>)>;

/// A life of several segments, and the place behind each sealed one with the disk's age when it was taken, each taken from the
/// one before.
fn a_life(seed: u64, frames: usize) -> (Life, Vec<(usize, Resume, Frames)>) {
    let mut life = Life::open(new_disk(seed), &small_config()).expect("an empty log");
    let mut places: Vec<(usize, Resume, Frames)> = Vec::new();
    for part in 0..frames as u64 / 5 {
        life.live(seed * 1_000 + part, 5).expect("nothing fails");
        let Some(sealed) = life.wal.sealed_through() else { continue };
        let from = places.last().map(|(_, resume, _)| resume.clone());
        if from.as_ref().is_some_and(|resume| resume.segment() == sealed) {
            continue;
        }
        let mut read = Vec::new();
        let resume = visit(&mut life.wal, from.as_ref(), sealed, &mut read);
        places.push((life.disk.events(), resume, read));
    }
    assert!(places.len() >= 2, "the life fills several segments");
    (life, places)
}

fn new_disk(seed: u64) -> SimDisk {
    SimDisk::new(Options::new(seed, small_config().buffer_bytes))
}

fn visit(wal: &mut Wal<SimDisk>, from: Option<&Resume>, sealed: SegmentNumber, read: &mut Frames) -> Resume {
    let resume = wal.visit_sealed(from, sealed, &mut |index, frame| {
        read.push((index, frame.bytes.to_vec()));
        ControlFlow::Continue(())
    });
    resume.expect("it is sealed").expect("the visitor did not break off")
}

fn open(image: Image, from: Option<&Resume>) -> Result<(Wal<SimDisk>, Recovered, Frames), OpenError> {
    let disk = SimDisk::from_image(image, Options::new(5, small_config().buffer_bytes));
    let mut frames = Vec::new();
    let visitor = |index: LogIndex, frame: io_oi_wal::Frame<'_>| {
        frames.push((index, frame.bytes.to_vec()));
        Ok(())
    };
    let (wal, recovered) = match from {
        Some(resume) => Wal::open_from_on(disk, small_config(), resume, visitor)?,
        None => Wal::open_on(disk, small_config(), visitor)?,
    };
    Ok((wal, recovered, frames))
}

/// Every sealed segment's place, after every later event with any loss: the same frames as a whole reading, the same end.
#[test]
fn after_every_crash_what_follows_the_place_is_what_a_whole_reading_gives() {
    let mut taken_up = 0;
    for seed in 0..6 {
        let (life, places) = a_life(seed, 150);
        let history = life.disk.history();
        let mut random = Random(seed);
        for (at, resume, _) in &places {
            let again = Resume::decode(&resume.encode()).map(|again| again.encode());
            assert_eq!(again, Ok(resume.encode()));
            for count in (*at..=history.len()).step_by(3) {
                let mut chance = Random(random.next());
                let image = Image::after_power_cut(&life.disk.start(), &history[..count], |_| {
                    chance.next().is_multiple_of(2)
                });
                let what = format!("seed {seed}, {resume:?} after event {count}");
                let (whole, told, all) =
                    open(image.clone(), None).unwrap_or_else(|error| panic!("{what}: {error}"));
                let (wal, recovered, rest) =
                    open(image, Some(resume)).unwrap_or_else(|error| panic!("{what}: {error}"));
                let behind = all.partition_point(|(index, _)| *index <= resume.last_index());
                assert_eq!(rest, all[behind..], "{what}");
                assert_eq!(wal.durable(), whole.durable(), "{what}");
                assert_eq!(
                    (recovered.torn_tail, recovered.closed_cleanly, recovered.last_index),
                    (told.torn_tail, told.closed_cleanly, told.last_index),
                    "{what}"
                );
                taken_up += 1;
            }
        }
    }
    assert!(taken_up > 200, "the places were tried: {taken_up}");
}

/// The frames that the places were taken with, one behind the other, are the log.
#[test]
fn segment_by_segment_every_frame_is_handed_out_once() {
    for seed in 10..20 {
        let (mut life, places) = a_life(seed, 120);
        let mut pieces = Frames::new();
        places.iter().for_each(|(_, _, read)| pieces.extend(read.iter().cloned()));
        let bytes: Vec<&Vec<u8>> = pieces.iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(bytes, life.appended.iter().take(bytes.len()).collect::<Vec<_>>());
        let (_, newest, _) = places.last().expect("several");
        let mut at_once = Frames::new();
        let sealed = newest.segment();
        let resume = visit(&mut life.wal, None, sealed, &mut at_once);
        assert_eq!((at_once, &resume), (pieces, newest), "the same in one piece, places of batches included");
    }
}

/// A log goes on behind a place, is sealed further, and is taken up again: blocks are found by number in all of it.
#[test]
fn a_log_that_was_taken_up_is_written_on_and_taken_up_again() {
    let (life, places) = a_life(31, 150);
    let (_, resume, _) = &places[0];
    let (mut wal, _, _) = open(life.disk.image(), Some(resume)).expect("it goes on");
    let sealed = wal.sealed_through().expect("several segments");
    let mut read = Frames::new();
    let later = visit(&mut wal, Some(resume), sealed, &mut read);
    let (again, _, _) = open(life.disk.image(), Some(&later)).expect("it goes on");
    assert_eq!(again.durable(), open(life.disk.image(), None).expect("sound").0.durable());
}

#[test]
fn a_place_of_another_log_or_of_one_that_was_cut_is_refused() {
    let (life, places) = a_life(41, 150);
    let (other, others) = a_life(42, 150);
    let refused = |image: Image, resume: &Resume| {
        let disk = SimDisk::from_image(image, Options::new(5, small_config().buffer_bytes));
        let before = disk.image();
        let opened = Wal::open_from_on(disk.clone(), small_config(), resume, |_, _| Ok(()));
        assert_eq!(disk.image(), before, "nothing was changed");
        match opened.err() {
            Some(OpenError::ResumeRefused { segment }) => assert_eq!(segment, resume.segment()),
            answer => panic!("{answer:?}"),
        }
    };
    refused(life.disk.image(), &others[0].1);
    refused(other.disk.image(), &places[0].1);
    let (_, newest, _) = places.last().expect("several");
    // The disk as it was long before: what stands behind the place is not written yet.
    let early = Image::after_power_cut(&life.disk.start(), &life.disk.history()[..places[0].0], |_| true);
    refused(early, newest);
    refused(new_disk(7).image(), newest);
}

/// The place is checked before anything behind it is believed: one that was changed fits nowhere.
#[test]
fn a_place_with_another_chain_or_end_is_refused() {
    let (life, places) = a_life(51, 150);
    let good = places[1].1.encode();
    for byte in [12, 16, 24] {
        let mut bad = good.clone();
        bad[byte] ^= 1;
        let Ok(resume) = Resume::decode(&bad) else { continue };
        let answer = open(life.disk.image(), Some(&resume)).err();
        assert!(matches!(answer, Some(OpenError::ResumeRefused { .. })), "byte {byte}: {answer:?}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_no_place_and_never_a_crash(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(resume) = Resume::decode(&bytes) {
            prop_assert_eq!(resume.encode(), bytes.clone());
        }
        if let Ok(index) = BlockIndex::decode(FrameKind(2), 8, &bytes) {
            prop_assert_eq!(index.encode().len(), bytes.len());
        }
    }

    #[test]
    fn an_index_of_blocks_goes_on_as_before(
        blocks in prop::collection::vec((0..4_u64, 1..9_u64, 1..100_000_usize), 1..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let kind = FrameKind(2);
        let note = |index: &mut BlockIndex, place: usize| {
            let (back, records, bytes) = blocks[place];
            let first = (index.tip() + 1).saturating_sub(back).max(1);
            index.note_block(first, first + records - 1, LogIndex(place as u64 + 1), bytes);
        };
        let mut whole = BlockIndex::new(kind, 8);
        (0..blocks.len()).for_each(|place| note(&mut whole, place));
        let cut = cut.index(blocks.len() + 1);
        let mut before = BlockIndex::new(kind, 8);
        (0..cut).for_each(|place| note(&mut before, place));
        let mut after = BlockIndex::decode(kind, 8, &before.encode()).expect("just written");
        (cut..blocks.len()).for_each(|place| note(&mut after, place));
        prop_assert_eq!(after.tip(), whole.tip());
        for sequence in 0..=whole.tip() + 1 {
            prop_assert_eq!(after.find(sequence), whole.find(sequence), "{}", sequence);
        }
    }
}
