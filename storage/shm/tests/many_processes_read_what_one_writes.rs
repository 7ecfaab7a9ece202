//! Torture: one writer process (this one) and several reader processes.
//!
//! Every value names its key and version in every byte, so a torn, mixed or misattributed read shows. Versions of a
//! key only grow. Deleted keys are absent until they come back with a later version.
//!
//! `IO_OI_NIGHTLY=1` reads 10^8 times instead of 10^6.

use io_oi_shm::HashSeed;
use io_oi_shm::hot::{Config, Epoch, Found, ReadError, Reader, Sequence, Stage, Stamp, Writer};
use io_oi_shm::lane::{self, ClientLane, NodeLane};
use rustix::fd::OwnedFd;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

const KEYS: u64 = 500;
const READERS: u64 = 3;

fn reads_per_reader() -> u64 {
    let is_nightly = std::env::var_os("IO_OI_NIGHTLY").is_some_and(|value| value == "1");
    (if is_nightly { 100_000_000 } else { 1_000_000 }) / READERS
}

/// Keys of all shapes; no two are equal.
fn key_of(index: u64) -> Vec<u8> {
    let mut key = format!("key/{index}/").into_bytes();
    let length = key.len() + [0, 3, 10, 16, 40, 90][index as usize % 6];
    key.resize(length, b'.');
    key
}

/// Value of a key in a version: lengths from 0 bytes, near and large.
fn value_of(index: u64, sequence: u64, value: &mut Vec<u8>) {
    let mixed = (index ^ sequence.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let length = match mixed >> 60 {
        0 => 0,
        1..=9 => 64,
        10..=13 => (mixed >> 40) as usize % 89,
        _ => 100 + (mixed >> 40) as usize % 6000,
    };
    value.clear();
    let mut word = mixed;
    while value.len() < length {
        word = word.wrapping_mul(0xd129_0d3b_3b3c_0b65).wrapping_add(1);
        value.extend_from_slice(&word.to_le_bytes());
    }
    value.truncate(length);
}

fn stamp(sequence: u64) -> Stamp {
    Stamp { sequence: Sequence(sequence), epoch: Epoch(sequence >> 20), time_ns: sequence ^ 0xabcd }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn table() -> Writer {
    Writer::create(&Config {
        entries_max: KEYS,
        large_bytes_max: 32 << 20,
        versions_max: 1000,
        seed: HashSeed::new([4; 16]),
        incarnation: 77,
        ..Config::default()
    })
    .unwrap()
}

fn lane_config() -> lane::Config {
    lane::Config {
        proposal_ring_bytes: 4096,
        proposal_frame_bytes_max: 64,
        receipt_ring_bytes: 4096,
        receipt_frame_bytes_max: 64,
        incarnation: 77,
        shard: 0,
    }
}

fn of_process(process: u32, file: i32) -> String {
    format!("/proc/{process}/fd/{file}")
}

/// This test binary again, running the same test, which then plays the other role.
fn child(test: &str, hot: i32, lane: i32, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("IO_OI_SHM_HOT", of_process(std::process::id(), hot))
        .env("IO_OI_SHM_LANE", of_process(std::process::id(), lane))
        .env("IO_OI_SHM_SEED", seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Whether this process was started by `child`.
fn is_child() -> bool {
    std::env::var_os("IO_OI_SHM_SEED").is_some()
}

fn opened(variable: &str, write: bool) -> OwnedFd {
    let path = std::env::var_os(variable).expect("set by `child`");
    std::fs::OpenOptions::new().read(true).write(write).open(path).unwrap().into()
}

/// The writer's side of the game: random puts, deletions, tentative versions, commits and discards.
struct Game {
    writer: Writer,
    sequence: u64,
    in_flight: Vec<(u64, u64, bool)>,
    random: u64,
    value: Vec<u8>,
}

impl Game {
    fn new(writer: Writer) -> Game {
        Game { writer, sequence: 0, in_flight: Vec::new(), random: 0x1234_5678_9abc_def1, value: Vec::new() }
    }

    fn fill(&mut self) {
        for index in 0..KEYS {
            self.put(index);
        }
    }

    fn put(&mut self, index: u64) {
        self.sequence += 1;
        value_of(index, self.sequence, &mut self.value);
        self.writer.publish_committed(&key_of(index), Some(&self.value), stamp(self.sequence)).unwrap();
    }

    fn turn(&mut self) {
        let choice = random(&mut self.random);
        let index = choice % KEYS;
        let is_deletion = choice >> 20 & 15 == 0;
        // Even keys are written once decided, odd ones tentatively first.
        if index.is_multiple_of(2) {
            if is_deletion {
                self.sequence += 1;
                self.writer.publish_committed(&key_of(index), None, stamp(self.sequence)).unwrap();
            } else {
                self.put(index);
            }
            return;
        }
        self.sequence += 1;
        value_of(index, self.sequence, &mut self.value);
        let value = (!is_deletion).then_some(&self.value[..]);
        self.writer.publish_tentative(&key_of(index), value, stamp(self.sequence)).unwrap();
        self.in_flight.push((index, self.sequence, is_deletion));
        if self.in_flight.len() > 100 {
            for (index, sequence, is_deletion) in std::mem::take(&mut self.in_flight) {
                value_of(index, sequence, &mut self.value);
                let value = (!is_deletion).then_some(&self.value[..]);
                self.writer.publish_committed(&key_of(index), value, stamp(sequence)).unwrap();
            }
        }
    }
}

#[test]
fn no_reader_ever_sees_a_torn_mixed_or_older_value() {
    if is_child() {
        return a_reader();
    }
    let mut game = Game::new(table());
    game.fill();
    let mut children = Vec::new();
    for reader in 1..=READERS {
        let (node, file) = NodeLane::create(&lane_config()).unwrap();
        game.writer.add_pins(node.pins.clone());
        let hot = game.writer.fd().as_raw_fd();
        children.push((
            child("no_reader_ever_sees_a_torn_mixed_or_older_value", hot, file.as_raw_fd(), reader),
            node,
            file,
        ));
    }
    while !children.iter_mut().all(|(child, ..)| child.try_wait().unwrap().is_some()) {
        for _ in 0..10_000 {
            game.turn();
        }
        // Two cores, four processes: readers must get to see the table between two changes, too.
        std::thread::yield_now();
    }
    for (mut child, ..) in children {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
        assert!(child.wait().unwrap().success(), "a reader saw something wrong:\n{said}");
        let reads = said.lines().find_map(|line| line.strip_prefix("reads: ")).expect("the reader's count");
        assert!(reads.parse::<u64>().unwrap() >= reads_per_reader());
    }
    let stats = game.writer.stats();
    assert!(game.sequence > 10_000, "the writer wrote meanwhile: {} versions", game.sequence);
    assert!(stats.blocks_waiting < 1000, "{stats:?}");
}

/// A process of the test above.
fn a_reader() {
    let (hot, lane) = (opened("IO_OI_SHM_HOT", false), opened("IO_OI_SHM_LANE", true));
    let reader = Reader::open(hot).unwrap();
    let lane = ClientLane::open(lane).unwrap();
    let mut random_state = std::env::var("IO_OI_SHM_SEED").unwrap().parse::<u64>().unwrap() * 0x9e37_79b9;
    let mut newest = vec![0u64; KEYS as usize];
    let mut committed = vec![0u64; KEYS as usize];
    let keys: Vec<_> = (0..KEYS).map(key_of).collect();
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    let (mut reads, mut present, mut pinned) = (0u64, 0u64, 0u64);
    while reads < reads_per_reader() {
        let choice = random(&mut random_state);
        let index = choice % KEYS;
        let key = &keys[index as usize];
        let seen = match choice >> 40 & 7 {
            0 => check(reader.get_committed_vec(key, &mut out), &out, index, &mut expected, &mut committed),
            1 => match reader.view(key, &lane.pins).expect("the writer lives") {
                None => None,
                Some(view) => {
                    pinned += u64::from(view.is_pinned());
                    let found =
                        Found { value_bytes: view.bytes().len(), stamp: view.stamp(), stage: view.stage() };
                    let before = check(Ok(Some(found)), view.bytes(), index, &mut expected, &mut newest);
                    if pinned.is_multiple_of(64) {
                        std::thread::yield_now(); // The writer goes on; the view must not.
                    }
                    assert_eq!(view.bytes(), expected, "a view changed under our eyes");
                    before
                }
            },
            _ => check(reader.get_vec(key, &mut out), &out, index, &mut expected, &mut newest),
        };
        present += u64::from(seen.is_some());
        reads += 1;
        if reads.is_multiple_of(50_000) {
            check_scan(&reader, &mut expected);
        }
    }
    assert!(present > reads / 2 && pinned > 0, "{present} of {reads} reads found a value, {pinned} pinned");
    println!("\nreads: {reads}");
}

fn check(
    answer: Result<Option<Found>, ReadError>,
    out: &[u8],
    index: u64,
    expected: &mut Vec<u8>,
    seen: &mut [u64],
) -> Option<Found> {
    let found = answer.expect("the writer lives")?;
    let sequence = found.stamp.sequence.0;
    assert_eq!(found.stamp, stamp(sequence), "a mixed stamp");
    value_of(index, sequence, expected);
    assert_eq!(out, expected, "key {index} at {sequence}: a torn value or another key's");
    let seen = &mut seen[index as usize];
    assert!(sequence >= *seen, "key {index} went back from {seen} to {sequence}");
    *seen = sequence;
    assert!(index % 2 == 1 || found.stage == Stage::Committed, "even keys are never tentative");
    Some(found)
}

fn check_scan(reader: &Reader, expected: &mut Vec<u8>) {
    let mut seen = 0;
    let scanned = reader.scan_committed(b"key/", |key, value, found| {
        let text = std::str::from_utf8(&key[4..]).unwrap();
        let index: u64 = text[..text.find('/').unwrap()].parse().unwrap();
        value_of(index, found.stamp.sequence.0, expected);
        assert_eq!(value, expected, "a scan mixed key {index}");
        assert_eq!(found.stage, Stage::Committed);
        seen += 1;
    });
    scanned.expect("the writer lives");
    assert!(seen > KEYS / 2, "only {seen} keys");
}

#[test]
fn a_reader_killed_in_the_middle_harms_nobody() {
    if is_child() {
        return an_endless_reader();
    }
    let mut game = Game::new(table());
    game.fill();
    for round in 1..=5 {
        let (node, file) = NodeLane::create(&lane_config()).unwrap();
        let pins = game.writer.add_pins(node.pins.clone());
        let mut victim = child(
            "a_reader_killed_in_the_middle_harms_nobody",
            game.writer.fd().as_raw_fd(),
            file.as_raw_fd(),
            round,
        );
        wait_for_line(&mut victim, "reading");
        for _ in 0..20_000 {
            game.turn();
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        for _ in 0..1000 {
            game.turn();
        }
        game.writer.remove_pins(pins);
        assert_eq!(game.writer.stats().blocks_waiting, 0, "a dead reader's pins hold nothing");
    }
}

/// A process of the test above.
fn an_endless_reader() {
    let (hot, lane) = (opened("IO_OI_SHM_HOT", false), opened("IO_OI_SHM_LANE", true));
    let reader = Reader::open(hot).unwrap();
    let lane = ClientLane::open(lane).unwrap();
    println!("\nreading");
    let mut views = std::collections::VecDeque::new();
    for index in (0..KEYS).cycle() {
        let view = reader.view(&key_of(index), &lane.pins).expect("the writer lives");
        views.push_back(view);
        if views.len() > 40 {
            views.pop_front();
        }
    }
}

#[test]
fn a_writer_killed_in_the_middle_leaves_readers_with_answers() {
    if is_child() {
        return an_endless_writer();
    }
    let (_node, file) = NodeLane::create(&lane_config()).unwrap();
    let mut stalled = 0;
    for round in 1..=8 {
        // The writer is the child here; it tells where its table is.
        let mut writer = child(
            "a_writer_killed_in_the_middle_leaves_readers_with_answers",
            file.as_raw_fd(),
            file.as_raw_fd(),
            round,
        );
        let line = wait_for_line(&mut writer, "writing ");
        let path = of_process(writer.id(), line.trim_start_matches("writing ").trim().parse().unwrap());
        let reader = Reader::open(std::fs::File::open(path).unwrap().into()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 3));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        for index in 0..KEYS {
            match reader.get_vec(&key_of(index), &mut out) {
                Err(error) => {
                    assert_eq!(error, ReadError::Stalled);
                    stalled += 1;
                }
                Ok(None) => {}
                Ok(Some(found)) => {
                    value_of(index, found.stamp.sequence.0, &mut expected);
                    assert_eq!(out, expected);
                }
            }
        }
    }
    // One writer dies in at most one change; a change touches the slots of a key and of its home.
    assert!(stalled <= 8 * 16, "{stalled} keys unreadable");
    println!("{stalled} keys were being written when their writer died");
}

/// A process of the test above.
fn an_endless_writer() {
    let mut game = Game::new(table());
    game.fill();
    println!("\nwriting {}", game.writer.fd().as_raw_fd());
    loop {
        game.turn();
    }
}

fn wait_for_line(child: &mut Child, start: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines.map(Result::unwrap).find(|line| line.starts_with(start)).expect("the child says when it is ready")
}
