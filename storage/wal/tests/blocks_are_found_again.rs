//! Blocks that supersede each other in any order: the index and the reader find the chain's, as a full scan does.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use io_oi_wal::sim_disk::{Options, Random, SimDisk};
use io_oi_wal::{
    AppendError, BlockIndex, Config, Frame, FrameKind, LogIndex, LogReader, ReadError, StrategyWish, Wal,
};
use proptest::prelude::*;
use support::sim::small_config;
use support::{real_config, skip_without_device};

const BLOCK: FrameKind = FrameKind(2);
const SEAL: FrameKind = FrameKind(3);
const INDEX_ENTRIES: usize = 6;

/// The chain as a full scan of the log finds it: each block's sequences and bytes, by the first sequence.
#[derive(Debug, Default, PartialEq)]
struct Chain {
    blocks: BTreeMap<u64, (u64, Vec<u8>)>,
}

impl Chain {
    fn tip(&self) -> u64 {
        self.blocks.last_key_value().map_or(0, |(_, (last, _))| *last)
    }

    fn take(&mut self, bytes: &[u8]) {
        let (first, last) = sequences(bytes);
        self.blocks.split_off(&first);
        assert_eq!(self.tip() + 1, first);
        self.blocks.insert(first, (last, bytes.to_vec()));
    }

    fn holding(&self, sequence: u64) -> Option<&[u8]> {
        let (_, (last, bytes)) = self.blocks.range(..=sequence).next_back()?;
        (*last >= sequence).then_some(bytes)
    }

    /// A block's first sequence, or the one behind the tip, as chance says.
    fn some_boundary(&self, random: &mut Random) -> u64 {
        let back = random.next() as usize % 12;
        self.blocks.keys().rev().nth(back).copied().unwrap_or(1)
    }
}

fn block(first: u64, last: u64, random: &mut Random) -> Vec<u8> {
    let bytes = if random.next().is_multiple_of(9) { 5000 } else { 24 + random.next() % 900 };
    let mut block: Vec<u8> =
        [first, last, random.next()].iter().flat_map(|word| word.to_le_bytes()).collect();
    block.resize(bytes as usize, 0x5A);
    block
}

fn sequences(block: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
    (word(0), word(8))
}

struct World {
    config: Config,
    wal: Wal<SimDisk>,
    index: BlockIndex,
    chain: Chain,
    /// Every frame of the log.
    log: Vec<(FrameKind, Vec<u8>)>,
}

impl World {
    fn open(disk: SimDisk, config: Config) -> Self {
        let mut index = BlockIndex::new(BLOCK, INDEX_ENTRIES);
        let mut chain = Chain::default();
        let mut log = Vec::new();
        let (wal, _) = Wal::open_on(disk, config.clone(), |at, frame| {
            log.push((frame.kind, frame.bytes.to_vec()));
            if frame.kind == BLOCK {
                let (first, last) = sequences(frame.bytes);
                assert_eq!(frame.sequence, last);
                index.note_block(first, last, at, frame.bytes.len());
                chain.take(frame.bytes);
            }
            Ok(())
        })
        .unwrap();
        Self { config, wal, index, chain, log }
    }

    fn append(&mut self, kind: FrameKind, sequence: u64, bytes: &[u8]) -> LogIndex {
        loop {
            match self.wal.append(Frame { kind, epoch: 1, sequence, bytes }) {
                Ok(index) => {
                    self.log.push((kind, bytes.to_vec()));
                    return index;
                }
                Err(AppendError::BatchFull | AppendError::LogFull) => {
                    self.wal.submit();
                    self.wal.poll().unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn append_block(&mut self, first: u64, random: &mut Random) {
        let last = first + random.next() % 5;
        let bytes = block(first, last, random);
        let index = self.append(BLOCK, last, &bytes);
        self.index.note_block(first, last, index, bytes.len());
        self.chain.take(&bytes);
        if random.next().is_multiple_of(2) {
            self.append(SEAL, last, b"a seal says the same sequence as its block");
        }
    }

    fn read(&mut self, sequence: u64) -> Option<Vec<u8>> {
        let mut out = vec![1, 2, 3];
        let place = self.wal.locate(&self.index, sequence)?;
        self.wal.read_block(&place, &mut out).unwrap().then_some(out)
    }

    /// Everything is durable: each block is found.
    fn check_all(&mut self, random: &mut Random) {
        assert_eq!(self.index.tip(), self.chain.tip());
        for sequence in 0..=self.chain.tip() + 1 {
            let found = self.read(sequence);
            assert_eq!(found.as_deref(), self.chain.holding(sequence), "sequence {sequence}");
        }
        for _ in 0..20 {
            let sequence = random.next() % (self.chain.tip() + 2);
            let found = self.read(sequence);
            assert_eq!(found.as_deref(), self.chain.holding(sequence), "sequence {sequence}, any order");
        }
    }

    /// From a block on, every frame behind it comes in order.
    fn check_visits(&mut self, random: &mut Random) {
        for _ in 0..6 {
            let sequence = 1 + random.next() % self.chain.tip();
            let place = self.wal.locate(&self.index, sequence).unwrap();
            let limit = random.next() as usize % 40;
            let mut seen = Vec::new();
            let mut visit = |frame: Frame<'_>| {
                seen.push((frame.kind, frame.bytes.to_vec()));
                if seen.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            self.wal.visit_from(&place, &mut visit).unwrap();
            let block = self.chain.holding(sequence).unwrap();
            let at = self.log.iter().rposition(|(kind, bytes)| *kind == BLOCK && bytes == block).unwrap();
            assert_eq!(
                seen[..],
                self.log[at..self.log.len().min(at + limit + 1)],
                "from sequence {sequence}"
            );
        }
    }

    /// Some blocks are not durable: a block that is found is the chain's.
    fn check_some(&mut self, random: &mut Random) {
        for _ in 0..4 {
            let sequence = random.next() % (self.chain.tip() + 2);
            if let Some(found) = self.read(sequence) {
                assert_eq!(Some(&found[..]), self.chain.holding(sequence), "sequence {sequence}, in flight");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_chains_block_is_found_whatever_superseded_what(seed: u64, blocks in 1usize..250, polls_max in 0u64..4) {
        let config = Config { places_max: 4 + (seed % 13) as usize, ..small_config() };
        let options = Options { polls_max, ..Options::new(seed, config.buffer_bytes) };
        let mut world = World::open(SimDisk::new(options.clone()), config);
        let mut random = Random(seed);
        for _ in 0..blocks {
            let rewinds = random.next().is_multiple_of(11);
            let first =
                if rewinds { world.chain.some_boundary(&mut random) } else { world.chain.tip() + 1 };
            world.append_block(first, &mut random);
            match random.next() % 4 {
                0 => world.wal.submit(),
                1 => drop(world.wal.poll().unwrap()),
                2 => world.check_some(&mut random),
                _ => {}
            }
        }
        world.wal.flush_blocking().unwrap();
        world.check_visits(&mut random);
        world.check_all(&mut random);
        world.check_visits(&mut random);
        // The index made anew from the log answers alike.
        let image = world.wal.disk().image();
        let mut again = World::open(SimDisk::from_image(image, options), world.config.clone());
        prop_assert_eq!(&again.chain, &world.chain);
        again.check_all(&mut random);
        again.append_block(again.chain.tip() + 1, &mut random);
        again.wal.flush_blocking().unwrap();
        again.check_all(&mut random);
    }
}

/// Prints how fast a node reads for one that is far behind: blocks in order, and blocks at random.
#[test]
fn a_whole_log_is_read_block_by_block() {
    const BLOCKS: u64 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let config = real_config(StrategyWish::Linked);
    let (mut wal, _) = Wal::open(directory.path(), config.clone(), |_, _| Ok(())).unwrap();
    let mut index = BlockIndex::new(BLOCK, 1 << 12);
    let bytes = vec![7; 1024];
    for sequence in 1..=BLOCKS {
        let at = loop {
            match wal.append(Frame { kind: BLOCK, epoch: 1, sequence, bytes: &bytes }) {
                Ok(at) => break at,
                Err(_) => {
                    wal.submit();
                    wal.poll().unwrap();
                }
            }
        };
        index.note_block(sequence, sequence, at, bytes.len());
        if sequence % 8 == 0 {
            wal.submit();
            wal.poll().unwrap();
        }
    }
    wal.flush_blocking().unwrap();
    let mut reader = LogReader::open(directory.path(), &config).unwrap();
    let mut out = Vec::new();
    let started = std::time::Instant::now();
    for sequence in 1..=BLOCKS {
        let place = wal.locate(&index, sequence).unwrap();
        assert!(reader.read_block(&place, &mut out).unwrap() && out == bytes);
    }
    let in_order = started.elapsed();
    let mut random = Random(1);
    let started = std::time::Instant::now();
    for _ in 0..500 {
        let place = wal.locate(&index, 1 + random.next() % BLOCKS).unwrap();
        assert!(reader.read_block(&place, &mut out).unwrap());
    }
    let at_random = started.elapsed() / 500;
    println!("blocks of 1 KiB: {:.2?} each in order, {at_random:.1?} at random", in_order / BLOCKS as u32);
}

#[test]
fn a_log_that_nobody_writes_is_read_from_its_first_frame_as_far_as_whole_frames_go() {
    const BLOCKS: u64 = 12_000;
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let config = real_config(StrategyWish::Linked);
    let (mut wal, _) = Wal::open(directory.path().join("log"), config.clone(), |_, _| Ok(())).unwrap();
    for sequence in 1..=BLOCKS {
        let bytes = vec![sequence as u8; 1024];
        while let Err(error) = wal.append(Frame { kind: BLOCK, epoch: 1, sequence, bytes: &bytes }) {
            assert!(matches!(error, AppendError::BatchFull | AppendError::LogFull), "{error}");
            wal.submit();
            wal.poll().unwrap();
        }
    }
    wal.close().unwrap();
    let read = |frames: &mut u64| {
        let mut reader = LogReader::open(directory.path().join("log"), &config).unwrap();
        let end = reader.visit_all(&mut |frame| {
            *frames += 1;
            assert_eq!((frame.sequence, frame.bytes[1023]), (*frames, *frames as u8));
            ControlFlow::Continue(())
        });
        end.unwrap()
    };
    let mut frames = 0;
    let end = read(&mut frames);
    assert!(frames == BLOCKS && end.segment.0 > 0 && end.last_index.0 > BLOCKS, "{frames} frames, {end:?}");
    // A bit that went bad in the first segment ends it there.
    let mut files: Vec<_> =
        std::fs::read_dir(directory.path().join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    let mut frames = 0;
    let cut = read(&mut frames);
    assert!(cut.segment.0 == 0 && cut.offset <= middle as u64 && frames > 1_000, "{frames} frames, {cut:?}");
    let other = Config { shard: config.shard + 1, ..config.clone() };
    let refused = LogReader::open(directory.path().join("log"), &other)
        .unwrap()
        .visit_all(&mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(ReadError::ForeignSegment { .. })), "{refused:?}");
}

#[test]
fn a_damaged_block_is_told_with_its_place_and_the_others_are_served() {
    let config = Config { segment_bytes: 80 * 4096, ..small_config() };
    let mut world = World::open(SimDisk::new(Options::new(1, config.buffer_bytes)), config.clone());
    let mut random = Random(5);
    for first in 1..=30 {
        let bytes = block(first, first, &mut random);
        let index = world.append(BLOCK, first, &bytes);
        world.index.note_block(first, first, index, bytes.len());
        world.chain.take(&bytes);
        world.wal.flush_blocking().unwrap();
    }
    let undamaged = world.wal.disk().image();
    let mut refused = 0;
    for sector in 2..32 {
        let mut image = undamaged.clone();
        let segment = image.segments.values_mut().next().unwrap();
        segment[sector * 4096 + 80] ^= 4;
        world.wal.disk().set_image(image);
        for sequence in 1..=30 {
            let Some(place) = world.wal.locate(&world.index, sequence) else { panic!("it is durable") };
            let mut out = Vec::new();
            match world.wal.read_block(&place, &mut out) {
                Ok(found) => assert!(found && Some(&out[..]) == world.chain.holding(sequence)),
                Err(ReadError::Damaged { segment, offset, .. }) => {
                    refused += 1;
                    assert_eq!(segment.0, 0);
                    let end = offset + 96 + world.chain.holding(sequence).unwrap().len() as u64;
                    assert!(offset / 4096 <= sector as u64 && sector as u64 <= end / 4096 + 1, "{offset}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        world.wal.disk().set_image(undamaged.clone());
    }
    assert!(refused > 30, "damage is told: {refused}");
}

#[test]
fn a_reader_of_its_own_follows_the_writer_on_another_thread() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let config = Config { segment_bytes: 4 << 20, ..real_config(StrategyWish::Linked) };
    let (mut wal, _) = Wal::open(directory.path(), config.clone(), |_, _| Ok(())).unwrap();
    let mut index = BlockIndex::new(BLOCK, 64);
    let mut reader = LogReader::open(directory.path(), &config).unwrap();
    let (asks, inbox) = std::sync::mpsc::channel::<io_oi_wal::BlockPlace>();
    let reading = std::thread::spawn(move || {
        let (mut out, mut count) = (Vec::new(), 0u64);
        for place in inbox {
            assert!(reader.read_block(&place, &mut out).unwrap(), "sequence {}", place.sequence());
            let (first, last) = sequences(&out);
            assert!(first <= place.sequence() && place.sequence() <= last);
            count += 1;
        }
        count
    });
    let mut random = Random(3);
    let mut first = 1;
    while first < 700 {
        let last = first + random.next() % 3;
        let mut bytes = block(first, last, &mut random);
        bytes.resize(bytes.len() + (random.next() % 40_000) as usize, 1);
        let taken = wal.append(Frame { kind: BLOCK, epoch: 1, sequence: last, bytes: &bytes });
        wal.submit();
        wal.poll().unwrap();
        let Ok(at) = taken else { continue };
        index.note_block(first, last, at, bytes.len());
        first = last + 1;
        if let Some(place) = wal.locate(&index, 1 + random.next() % first)
            && place.sequence() < first.saturating_sub(20)
            && wal.durable().0 + 10 > wal.appended().0
        {
            asks.send(place).unwrap();
        }
    }
    wal.flush_blocking().unwrap();
    for sequence in 1..first {
        asks.send(wal.locate(&index, sequence).expect("all is durable")).unwrap();
    }
    drop(asks);
    assert!(reading.join().unwrap() >= first - 1);
    assert!(wal.stats().segments_filled >= 1);
}
