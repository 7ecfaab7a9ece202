//! Footers say what their segments write, however a log was rewound; checkpoints are whole or not there; a crash at any step of
//! writing either leaves what was there before, or what was written.

use std::collections::BTreeMap;
use std::io;

use io_oi_cold::{
    Checkpoint, CheckpointError, Footer, FooterBuilder, FooterError, FooterOf, KeyDigest, Place, Sequence,
    Shelf, Version, kept, put_footer, visit_newest,
};
use proptest::prelude::*;

/// A shelf in memory that stops at a step, and what a power cut leaves of it.
#[derive(Clone, Debug, Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    /// What is durable: names, and bytes of files.
    durable: BTreeMap<String, Vec<u8>>,
    flushed: BTreeMap<String, Vec<u8>>,
    steps_left: Option<usize>,
}

impl Memory {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is cut")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// The names that were durable, or with `keeps_names` those of the moment; of bytes that were not flushed a part.
    fn after_power_cut(&self, keeps_names: bool) -> Self {
        let names = if keeps_names { &self.files } else { &self.durable };
        let bytes_of = |name: &String, bytes: &Vec<u8>| match self.flushed.get(name) {
            Some(flushed) => flushed.clone(),
            None => bytes[..bytes.len() / 2].to_vec(),
        };
        let files: BTreeMap<_, _> =
            names.iter().map(|(name, bytes)| (name.clone(), bytes_of(name, bytes))).collect();
        Self { durable: files.clone(), flushed: files.clone(), files, steps_left: None }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Shelf for Memory {
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        self.flushed.remove(name);
        self.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn flush(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        let bytes = self.files.get(name).ok_or_else(missing)?;
        self.flushed.insert(name.to_owned(), bytes.clone());
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let bytes = self.files.remove(from).ok_or_else(missing)?;
        if let Some(flushed) = self.flushed.remove(from) {
            self.flushed.insert(to.to_owned(), flushed);
        }
        self.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn flush_names(&mut self) -> io::Result<()> {
        self.step()?;
        self.durable = self.files.clone();
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        self.files.remove(name).map(|_| ()).ok_or_else(missing)
    }

    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(self.files.keys().cloned().collect())
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        self.files.get(name).map(|bytes| bytes.len() as u64).ok_or_else(missing)
    }

    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let bytes = self.files.get(name).ok_or_else(missing)?;
        let from = usize::try_from(offset).expect("small");
        let part = bytes.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(part);
        Ok(())
    }
}

const MARK: u128 = 77;

fn of(segment: u32) -> FooterOf {
    FooterOf { log: 9, segment, mark: MARK }
}

/// One block: how far it goes back, and the keys that its records write or take away.
type Block = (u64, Vec<(u8, bool)>);

fn blocks() -> impl Strategy<Value = Vec<Vec<Block>>> {
    let record = (0..12_u8, prop::bool::weighted(0.2));
    let back = prop_oneof![6 => Just(0_u64), 1 => 1..6_u64];
    let block = (back, prop::collection::vec(record, 1..6));
    prop::collection::vec(prop::collection::vec(block, 0..8), 1..6)
}

fn digest(key: u8) -> KeyDigest {
    // Some keys share a partition, some even their low halves.
    KeyDigest(u128::from(key % 3) << 120 | u128::from(key / 2) << 64 | u128::from(key % 2))
}

/// What stands of a log: its newest version of each key, those that were taken away left out.
fn model(log: &[(u64, u8, bool, u64)], committed: u64) -> BTreeMap<u128, (u64, u64)> {
    let mut standing = BTreeMap::new();
    for (sequence, key, is_deletion, place) in log.iter().filter(|entry| entry.0 <= committed) {
        match is_deletion {
            true => standing.remove(&digest(*key).0),
            false => standing.insert(digest(*key).0, (*sequence, *place)),
        };
    }
    standing
}

proptest! {
    #[test]
    fn the_newest_that_stands_is_found_whatever_was_rewound(
        segments in blocks(),
        is_made_anew in prop::collection::vec(any::<bool>(), 6),
    ) {
        let mut shelf = Memory::default();
        let (mut log, mut place, mut decided) = (Vec::new(), 0, 0_u64);
        for (segment, blocks) in segments.iter().enumerate() {
            let mut builder = FooterBuilder::new();
            for (back, records) in blocks {
                place += 1;
                let tip = log.last().map_or(0, |entry: &(u64, u8, bool, u64)| entry.0);
                // Nothing that is decided is ever given up.
                let first = (tip + 1 - back.min(&tip)).max(decided + 1);
                log.retain(|entry| entry.0 < first);
                builder.begin_block(Sequence(first));
                for (number, (key, is_deletion)) in records.iter().enumerate() {
                    let sequence = first + number as u64;
                    log.push((sequence, *key, *is_deletion, place));
                    let version = Version {
                        sequence: Sequence(sequence),
                        place: Place(place),
                        is_deletion: *is_deletion,
                    };
                    builder.note(digest(*key), version);
                }
            }
            let tip = log.last().map_or(0, |entry| entry.0);
            decided = decided.max(tip.saturating_sub(4));
            let known = if is_made_anew[segment] { 0 } else { decided };
            let bytes = builder.finish(&of(segment as u32), Sequence(known));
            put_footer(&mut shelf, segment as u32, &bytes).unwrap();
        }
        let footers: Vec<Footer> =
            (0..segments.len()).map(|segment| Footer::open(&mut shelf, &of(segment as u32)).unwrap()).collect();
        for committed in decided..=log.last().map_or(0, |entry| entry.0) {
            let mut found = BTreeMap::new();
            visit_newest(&mut shelf, &footers, Sequence(committed), &mut |digest, version| {
                let before = found.insert(digest.0, (version.sequence.0, version.place.0));
                assert_eq!(before, None, "a key is handed out once");
            })
            .unwrap();
            prop_assert_eq!(found, model(&log, committed), "through {}", committed);
        }
    }

    #[test]
    fn a_changed_footer_is_refused_and_never_a_crash(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut shelf = Memory::default();
        let mut bytes = small_footer();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        put_footer(&mut shelf, 0, &bytes).unwrap();
        let read = Footer::open(&mut shelf, &of(0)).map_err(|error| (0, error)).and_then(|footer| {
            visit_newest(&mut shelf, &[footer], Sequence(100), &mut |_, _| {})
        });
        prop_assert!(read.is_err(), "bit {} of byte {}", bit, at);
    }

    #[test]
    fn hostile_bytes_are_no_footer_and_no_checkpoint(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let mut shelf = Memory::default();
        put_footer(&mut shelf, 0, &bytes).unwrap();
        prop_assert!(Footer::open(&mut shelf, &of(0)).is_err());
        prop_assert!(Checkpoint::decode(&bytes).is_err());
    }

    #[test]
    fn a_changed_or_cut_checkpoint_is_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let whole = checkpoint(3).encode();
        let at = at.index(whole.len());
        prop_assert!(Checkpoint::decode(&whole[..at]).is_err());
        let mut changed = whole;
        changed[at] ^= 1 << bit;
        prop_assert!(Checkpoint::decode(&changed).is_err());
    }
}

fn small_footer() -> Vec<u8> {
    let mut builder = FooterBuilder::new();
    builder.begin_block(Sequence(1));
    for key in 0..5 {
        let version =
            Version { sequence: Sequence(1 + u64::from(key)), place: Place(1), is_deletion: key == 3 };
        builder.note(digest(key), version);
    }
    builder.finish(&of(0), Sequence(5))
}

fn checkpoint(segment: u32) -> Checkpoint {
    let part = |byte: u8| vec![byte; 40 + byte as usize];
    Checkpoint { segment, resume: part(1), blocks: part(2), state: part(segment as u8) }
}

fn newest(shelf: &mut Memory) -> Option<Checkpoint> {
    let segments = kept(shelf).expect("names are read");
    segments.into_iter().find_map(|segment| Checkpoint::read(shelf, segment).ok())
}

#[test]
fn a_crash_at_any_step_leaves_the_old_checkpoint_or_the_new_one() {
    let mut before = Memory::default();
    (1..=3).for_each(|segment| checkpoint(segment).put(&mut before).expect("nothing fails"));
    assert_eq!(kept(&mut before).unwrap(), [3, 2], "two are kept");
    let mut seen = [false; 2];
    for steps in 0.. {
        let mut shelf = Memory { steps_left: Some(steps), ..before.clone() };
        let is_done = checkpoint(4).put(&mut shelf).is_ok();
        for keeps_names in [false, true] {
            let mut after = shelf.after_power_cut(keeps_names);
            let found = newest(&mut after).expect("there was one before");
            assert!(found == checkpoint(3) || found == checkpoint(4), "after {steps} steps");
            assert!(!is_done || found == checkpoint(4), "it was put");
            seen[usize::from(found.segment == 4)] = true;
            checkpoint(5).put(&mut after).expect("the next one is put as ever");
            assert_eq!(newest(&mut after), Some(checkpoint(5)));
            assert!(after.files.keys().all(|name| !name.ends_with(".new")), "leftovers are removed");
        }
        if is_done {
            break;
        }
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn a_crash_at_any_step_leaves_a_whole_footer_or_none() {
    let bytes = small_footer();
    for steps in 0.. {
        let mut shelf = Memory { steps_left: Some(steps), ..Memory::default() };
        let is_done = put_footer(&mut shelf, 0, &bytes).is_ok();
        for keeps_names in [false, true] {
            let mut after = shelf.after_power_cut(keeps_names);
            match Footer::open(&mut after, &of(0)) {
                Ok(footer) => assert_eq!(footer.entry_count(), 5),
                Err(FooterError::Read(error)) => {
                    assert!(!is_done && error.kind() == io::ErrorKind::NotFound, "{error}");
                }
                Err(error) => panic!("after {steps} steps: {error}"),
            }
        }
        if is_done {
            break;
        }
    }
}

#[test]
fn a_footer_of_another_log_segment_or_secret_is_refused() {
    let mut shelf = Memory::default();
    put_footer(&mut shelf, 0, &small_footer()).unwrap();
    assert!(Footer::open(&mut shelf, &of(0)).is_ok());
    for other in [FooterOf { log: 8, ..of(0) }, FooterOf { mark: 78, ..of(0) }] {
        assert!(matches!(Footer::open(&mut shelf, &other), Err(FooterError::Elsewhere)));
    }
    let bytes = small_footer();
    put_footer(&mut shelf, 1, &bytes).unwrap();
    assert!(matches!(Footer::open(&mut shelf, &of(1)), Err(FooterError::Elsewhere)), "under another's name");
}

#[test]
fn a_checkpoint_of_a_later_version_is_named() {
    let mut bytes = checkpoint(1).encode();
    bytes[8] = 2;
    assert!(matches!(Checkpoint::decode(&bytes), Err(CheckpointError::Version { found: 2 })));
}

/// The bytes are pinned: what this version writes, every later build reads or refuses by name.
#[test]
fn golden_files_stay_as_they_are() {
    let golden = |name: &str| format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    for (name, written) in [("footer-1", small_footer()), ("checkpoint-1", checkpoint(3).encode())] {
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            std::fs::write(golden(name), &written).unwrap();
        }
        assert!(
            std::fs::read(golden(name)).unwrap() == written,
            "{name} has changed: give it another version"
        );
    }
}
