//! The shard's archivist: a thread that reads each sealed segment of the log once more, as a start would, and writes down what
//! the next start needs of it.
//!
//! Invariant: it writes only beside the log, and a checkpoint only after everything it says was read from the disk and checked
//! again: chain, roots, seals, sequences. It takes half of a processor at most, and the shard never waits for it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use io_oi_cold::{Checkpoint, Digester, FooterBuilder, Sequence, put_footer};
use io_oi_record::ShardId;
use io_oi_shard::{LogKind, Machine};
use io_oi_wal::{BlockIndex, Frame, LogIndex, LogReader, Resume, SegmentNumber};

use super::archive::{Archive, note_block_in};
use super::recovery::MachineParts;
use super::world::{block_index, note_block};

/// The shard's end.
#[derive(Debug)]
pub(super) struct Archivist {
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Told {
    /// Segments that are sealed.
    sealed_count: AtomicU64,
    is_over: AtomicBool,
}

/// What the archivist works with.
pub(super) struct Office {
    pub(super) shard: ShardId,
    pub(super) archive: Archive,
    pub(super) parts: MachineParts,
    /// The segment of the checkpoint that the start went on from.
    pub(super) base: Option<u32>,
}

impl Archivist {
    /// Starts the thread.
    pub(super) fn hire(office: Office) -> std::io::Result<Self> {
        let told = Arc::new(Told { sealed_count: AtomicU64::new(0), is_over: AtomicBool::new(false) });
        let name = format!("io_oi-archive-{}", office.shard);
        let heard = Arc::clone(&told);
        let thread = std::thread::Builder::new().name(name).spawn(move || work(office, &heard))?;
        Ok(Self { told, thread: Some(thread) })
    }

    /// Segments through this one are sealed. Costs a store.
    pub(super) fn tell(&self, sealed: Option<SegmentNumber>) {
        let count = sealed.map_or(0, |sealed| u64::from(sealed.0) + 1);
        self.told.sealed_count.store(count, Ordering::Relaxed);
    }
}

impl Drop for Archivist {
    fn drop(&mut self) {
        self.told.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join(); // Its panic was told where it happened.
        }
    }
}

fn work(mut office: Office, told: &Told) {
    let mut failed_at = 0;
    while !told.is_over.load(Ordering::Relaxed) {
        let sealed_count = told.sealed_count.load(Ordering::Relaxed);
        let written = office.base.map_or(0, |base| u64::from(base) + 1);
        // What failed is tried again when there is more to read.
        if sealed_count > written && sealed_count > failed_at {
            let sealed = SegmentNumber((sealed_count - 1) as u32);
            match office.advance(sealed, told) {
                Ok(()) => {}
                Err(reason) => {
                    tracing::warn!(shard = %office.shard, segment = %sealed, reason, "no checkpoint is written");
                    failed_at = sealed_count;
                }
            }
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// One reading of sealed segments through a machine of its own.
struct Reading<'a> {
    machine: Machine,
    blocks: BlockIndex,
    builder: FooterBuilder,
    digester: &'a Digester,
    pace: Pace,
    wrong: Option<String>,
}

impl Office {
    /// Reads on from the last checkpoint, through this segment or some before it, and writes the footers and the next checkpoint.
    fn advance(&mut self, sealed: SegmentNumber, told: &Told) -> Result<(), String> {
        let begun = Instant::now();
        let (mut machine, mut blocks) = (self.parts.machine()?, block_index());
        let mut from: Option<Resume> = None;
        if let Some(base) = self.base {
            let base = self.archive.read(base).map_err(|reason| reason.to_string())?;
            let genesis = &self.parts.identity.genesis.genesis;
            machine.restore(genesis, &base.state).map_err(|error| error.to_string())?;
            (blocks, from) = (base.blocks, Some(base.resume));
        }
        let read = LogReader::open(&self.archive.log_path, &self.archive.log_config);
        let mut reader = read.map_err(|error| error.to_string())?;
        let first = self.base.map_or(0, |base| base + 1);
        let last = sealed.0.min(first + SEGMENTS_AT_ONCE - 1);
        let (digester, builder) = (self.archive.digester.clone(), FooterBuilder::new());
        let (digester, pace, wrong) = (&digester, Pace::new(), None);
        let mut reading = Reading { machine, blocks, builder, digester, pace, wrong };
        for segment in first..=last {
            let visited = reader.visit_sealed(from.as_ref(), SegmentNumber(segment), &mut |index, frame| {
                reading.read(index, &frame, told)
            });
            let Some(resume) = visited.map_err(|error| error.to_string())? else {
                return reading.wrong.map_or(Ok(()), Err); // The shard ends.
            };
            let builder = std::mem::take(&mut reading.builder);
            let decided = Sequence(reading.machine.committed().get());
            let footer = builder.finish(&self.archive.footer_of(&resume, segment), decided);
            let put = put_footer(&mut self.archive.shelf, segment, &footer);
            put.map_err(|error| error.to_string())?;
            from = Some(resume);
        }
        let (Reading { machine, blocks, .. }, Some(resume)) = (reading, from) else { return Ok(()) };
        if machine.is_repairing() {
            return Ok(()); // Until it is whole again, the log itself has to say what it lost.
        }
        let (blocks, state) = (blocks.encode(), machine.into_checkpoint());
        let checkpoint = Checkpoint { segment: last, resume: resume.encode(), blocks, state };
        checkpoint.put(&mut self.archive.shelf).map_err(|error| error.to_string())?;
        self.base = Some(last);
        let took_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(shard = %self.shard, segment = last, took_ms, "checkpoint written");
        Ok(())
    }
}

impl Reading<'_> {
    fn read(&mut self, index: LogIndex, frame: &Frame<'_>, told: &Told) -> ControlFlow<()> {
        if told.is_over.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        if let Err(wrong) = self.take(index, frame) {
            self.wrong = Some(wrong);
            return ControlFlow::Break(());
        }
        self.pace.keep(frame.bytes.len());
        ControlFlow::Continue(())
    }

    fn take(&mut self, index: LogIndex, frame: &Frame<'_>) -> Result<(), String> {
        let kind = LogKind::from_number(frame.kind.0).ok_or("the log holds an entry of an unknown kind")?;
        self.machine.recover_frame(kind, frame.bytes).map_err(|error| error.to_string())?;
        while self.machine.poll_effect().is_some() {} // What is committed is shown by the shard.
        if kind == LogKind::Block {
            let last = io_oi_record::Sequence(frame.sequence);
            note_block(&mut self.blocks, last, index, frame.bytes);
            let noted = note_block_in(&mut self.builder, self.digester, index, frame.bytes);
            noted.ok_or("a block of the log has a record that is none")?;
        }
        Ok(())
    }
}

/// Rests as long as it works.
struct Pace {
    bytes: usize,
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { bytes: 0, since: Instant::now() }
    }

    fn keep(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= REST_EVERY_BYTES {
            std::thread::sleep(self.since.elapsed().min(REST_MAX));
            *self = Self::new();
        }
    }
}

/// More than these are read in several goes, each ending with a checkpoint.
const SEGMENTS_AT_ONCE: u32 = 8;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const REST_EVERY_BYTES: usize = 256 * 1024;
const REST_MAX: Duration = Duration::from_millis(100);
