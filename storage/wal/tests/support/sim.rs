//! A small log on the simulated disk, driven by a seed, and what every recovery of it must hold.

use io_oi_wal::sim_disk::{Event, Image, Options, Random, SimDisk};
use io_oi_wal::{
    AppendError, Config, Frame, FrameKind, LogIndex, OpenError, Recovered, Wal, buffer_bytes_for,
};

use super::CLUSTER;

/// Largest frame of these logs.
pub const FRAME_BYTES_MAX: usize = 6 * 1024;

/// A log of small segments, so that a few dozen batches fill several.
pub fn small_config() -> Config {
    let buffer_bytes = buffer_bytes_for(FRAME_BYTES_MAX);
    Config {
        frame_bytes_max: FRAME_BYTES_MAX,
        buffer_bytes,
        segment_bytes: buffer_bytes as u64 + 14 * 4096,
        segments_ahead: 1,
        ..Config::new(CLUSTER, 3)
    }
}

/// The same as one segment of 80 sectors: the header, 64 for frames, and the reserve.
pub fn one_segment_config() -> Config {
    Config { segment_bytes: 80 * 4096, ..small_config() }
}

/// Frame bytes that only this number has, of a length that the seed decides; the last byte is never zero.
pub fn numbered_frame(number: u64, seed: u64) -> Vec<u8> {
    let mut random = Random(seed ^ number.wrapping_mul(0x1234_5678_9ABC_DEF1));
    let bytes = match random.next() % 8 {
        0 => 9,
        1..=5 => 9 + random.next() % 700,
        6 => 9 + random.next() % 4096,
        _ => 9 + random.next() % (FRAME_BYTES_MAX as u64 - 9),
    };
    let mut frame = number.to_le_bytes().to_vec();
    frame.resize_with(bytes as usize - 1, || random.next() as u8);
    frame.push(0xA5);
    frame
}

/// A frame with these bytes.
pub fn frame(number: u64, bytes: &[u8]) -> Frame<'_> {
    Frame { kind: FrameKind(1), epoch: 5, sequence: number, bytes }
}

/// One process's life with a log: what it appended and what was acknowledged to it, and when.
pub struct Life {
    pub disk: SimDisk,
    pub wal: Wal<SimDisk>,
    /// Bytes of every frame of the log, those recovered included.
    pub appended: Vec<Vec<u8>>,
    /// The number of each appended frame in the log, in order, this life's only.
    indices: Vec<(LogIndex, usize)>,
    /// How many frames were acknowledged when the disk had seen that many events.
    pub acknowledged: Vec<(usize, usize)>,
    pub recovered: Recovered,
}

impl Life {
    /// Opens the log and reads it.
    pub fn open(disk: SimDisk, config: &Config) -> Result<Self, OpenError> {
        let mut appended = Vec::new();
        let (wal, recovered) = Wal::open_on(disk.clone(), config.clone(), |_, frame| {
            assert_eq!(frame.sequence, appended.len() as u64, "frames come back in order, none twice");
            appended.push(frame.bytes.to_vec());
            Ok(())
        })?;
        let acknowledged = vec![(disk.events(), appended.len())];
        Ok(Self { disk, wal, appended, indices: Vec::new(), acknowledged, recovered })
    }

    pub fn append(&mut self, bytes: Vec<u8>) -> Result<(), AppendError> {
        let index = self.wal.append(frame(self.appended.len() as u64, &bytes))?;
        self.appended.push(bytes);
        self.indices.push((index, self.appended.len()));
        Ok(())
    }

    pub fn poll(&mut self) -> Result<(), io_oi_wal::FlushFailed> {
        if let Some(through) = self.wal.poll()? {
            let known = self.indices.partition_point(|(index, _)| *index <= through);
            if let Some((_, count)) = self.indices[..known].last() {
                self.acknowledged.push((self.disk.events(), *count));
            }
        }
        Ok(())
    }

    /// Frames acknowledged by now.
    pub fn acknowledged_now(&self) -> usize {
        self.acknowledged.last().expect("recovery acknowledges what it read").1
    }

    /// Frames acknowledged when the disk had seen so many events.
    pub fn acknowledged_at(&self, events: usize) -> usize {
        self.acknowledged.iter().rev().find(|(at, _)| *at <= events).map_or(0, |(_, count)| *count)
    }

    /// Appends, submits and polls as the seed says, until so many frames were appended or the log failed.
    pub fn live(&mut self, seed: u64, frames: usize) -> Result<(), AppendError> {
        let mut random = Random(seed);
        let until = self.appended.len() + frames;
        let mut turns = 0;
        while self.appended.len() < until || !self.wal.is_idle() {
            turns += 1;
            assert!(turns < 1_000_000, "the log makes no progress");
            match random.next() % 4 {
                0 | 1 if self.appended.len() < until => {
                    match self.append(numbered_frame(self.appended.len() as u64, seed)) {
                        Ok(()) | Err(AppendError::BatchFull | AppendError::LogFull) => {}
                        Err(error) => return Err(error),
                    }
                }
                2 => self.wal.submit(),
                _ => self.poll()?,
            }
        }
        Ok(())
    }
}

/// Opens the log of this image and checks that it holds what was acknowledged and nothing that was not appended.
pub fn recover_and_check(
    image: Image,
    config: &Config,
    appended: &[Vec<u8>],
    acknowledged: usize,
    what: &str,
) -> Life {
    let disk = SimDisk::from_image(image, Options::new(99, config.buffer_bytes));
    let life = Life::open(disk, config).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        life.appended.len() >= acknowledged,
        "{what}: acknowledged {acknowledged}, recovered {}",
        life.appended.len()
    );
    assert!(life.appended.len() <= appended.len(), "{what}: more came back than was appended");
    assert_eq!(life.appended[..], appended[..life.appended.len()], "{what}: other frames came back");
    life
}

/// As [`recover_and_check`], then appends more, cuts the power, and recovers a second time.
pub fn recover_twice_and_check(
    image: Image,
    config: &Config,
    appended: &[Vec<u8>],
    acknowledged: usize,
    what: &str,
) {
    let mut first = recover_and_check(image, config, appended, acknowledged, what);
    for number in 0..3u64 {
        let number = first.appended.len() as u64 + 1000 * number;
        first.append(numbered_frame(number, 4711)).unwrap();
        first.wal.submit();
        while !first.wal.is_idle() {
            first.poll().unwrap();
        }
    }
    let image = Image::after_power_cut(&first.disk.start(), &first.disk.history(), |_| false);
    let second = recover_and_check(image, config, &first.appended, first.appended.len(), what);
    assert!(second.recovered.torn_tail.is_none(), "{what}: nothing was torn the second time");
}

/// The events of a disk up to a point.
pub fn prefix(events: &[Event], count: usize) -> &[Event] {
    &events[..count]
}
