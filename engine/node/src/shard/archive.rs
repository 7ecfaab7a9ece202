//! What a start takes instead of reading the whole log: the newest checkpoint that belongs to this log, the footers through
//! its place, and of the log before it only the values that stand.
//!
//! Invariant: whatever is odd about a checkpoint or a footer is a reason to make it anew or to read the log, and never a
//! reason to start with another state than the log gives. [P-72]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use io_oi_cold::{
    Checkpoint, Digester, Directory, Footer, FooterBuilder, FooterOf, KeyDigest, Place, Version, put_footer,
    visit_newest,
};
use io_oi_record::limits::BLOCK_BYTES_MAX;
use io_oi_record::{BlockHeader, Record};
use io_oi_shard::LogKind;
use io_oi_shm::hot;
use io_oi_wal::{BlockIndex, FrameKind, LogIndex, LogReader, Resume, SegmentNumber};

use super::boot::BootReason;
use super::world::{block_index_from, stamp};

/// The files beside one shard's log.
pub(super) struct Archive {
    pub(super) shelf: Directory,
    pub(super) digester: Digester,
    pub(super) log_path: PathBuf,
    pub(super) log_config: io_oi_wal::Config,
}

/// Why a start does not go on from a checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotUsed(String);

/// A checkpoint whose parts were read.
pub(super) struct Base {
    pub(super) resume: Resume,
    pub(super) blocks: BlockIndex,
    pub(super) state: Vec<u8>,
}

/// Where the files of a shard's archive stand: beside its log.
pub(super) fn archive_path(log_path: &Path) -> PathBuf {
    log_path.with_extension("archive")
}

impl Archive {
    /// The newest checkpoint that can be read, older than `before` if there is a bound.
    pub(super) fn newest(&mut self, before: Option<u32>) -> Option<(u32, Base)> {
        let kept = io_oi_cold::kept(&mut self.shelf).unwrap_or_default();
        for segment in kept.into_iter().filter(|segment| before.is_none_or(|before| *segment < before)) {
            match self.read(segment) {
                Ok(base) => return Some((segment, base)),
                Err(reason) => tracing::warn!(segment, %reason, "checkpoint not used"),
            }
        }
        None
    }

    /// One that does not fit this log, or says what cannot be: no start tries it again.
    pub(super) fn forget(&mut self, segment: u32) {
        if let Err(error) = io_oi_cold::forget(&mut self.shelf, segment) {
            tracing::warn!(segment, %error, "a checkpoint of no use cannot be removed");
        }
    }

    pub(super) fn read(&mut self, segment: u32) -> Result<Base, NotUsed> {
        let not_used = |reason: &dyn std::fmt::Display| NotUsed(reason.to_string());
        let checkpoint = Checkpoint::read(&mut self.shelf, segment).map_err(|error| not_used(&error))?;
        let resume = Resume::decode(&checkpoint.resume).map_err(|error| not_used(&error))?;
        let blocks = block_index_from(&checkpoint.blocks).map_err(|error| not_used(&error))?;
        if resume.segment().0 != segment {
            return Err(NotUsed("it names another segment than its place".to_owned()));
        }
        Ok(Base { resume, blocks, state: checkpoint.state })
    }

    pub(super) fn footer_of(&self, resume: &Resume, segment: u32) -> FooterOf {
        FooterOf { log: resume.log().0, segment, mark: self.digester.mark() }
    }

    /// Puts everything that stands at the place into the hot tier: keys and places from the footers, values from the log, in
    /// the order of the log.
    pub(super) fn load(
        &mut self,
        base: &Base,
        committed: u64,
        hot: &mut hot::Writer,
    ) -> Result<u64, LoadError> {
        let standing = self.standing(&base.resume, committed)?;
        let mut reader = LogReader::open(&self.log_path, &self.log_config).map_err(not_read)?;
        let mut block = Vec::with_capacity(BLOCK_BYTES_MAX);
        let mut loaded = 0;
        for wanted in standing.chunk_by(|one, next| one.1.place == next.1.place) {
            let (Place(index), first) = (wanted[0].1.place, wanted[0].1.sequence.0);
            let kind = FrameKind(LogKind::Block as u8);
            let place = base.resume.locate_frame(kind, LogIndex(index), first);
            let is_there = place.map(|place| reader.read_block(&place, &mut block)).transpose();
            if is_there.map_err(not_read)? != Some(true) {
                return Err(NotUsed(format!("frame {index} of the log is not there")).into());
            }
            loaded += self.show(&block, wanted, hot)?;
        }
        if loaded != standing.len() as u64 {
            return Err(NotUsed("a record is not where its footer says".to_owned()).into());
        }
        Ok(loaded)
    }

    /// Shows what is wanted of a block; says how many keys that were.
    fn show(
        &self,
        block: &[u8],
        wanted: &[(KeyDigest, Version)],
        hot: &mut hot::Writer,
    ) -> Result<u64, LoadError> {
        let (header, mut left) = BlockHeader::decode_first(block).map_err(not_read)?;
        let mut shown = 0;
        while !left.is_empty() && shown < wanted.len() as u64 {
            let (record, behind) = Record::decode_first(left).map_err(not_read)?;
            left = behind;
            let of_record = wanted.partition_point(|(_, version)| version.sequence.0 < record.sequence.get());
            let of_record = &wanted[of_record..];
            if of_record.first().is_none_or(|(_, version)| version.sequence.0 != record.sequence.get()) {
                continue;
            }
            for write in record.writes() {
                let digest = self.digester.digest(write.key);
                let stands = of_record
                    .iter()
                    .take_while(|(_, version)| version.sequence.0 == record.sequence.get())
                    .any(|(known, _)| *known == digest);
                if stands {
                    hot.publish_committed(write.key, write.value, stamp(header.epoch, header.time, &record))
                        .map_err(LoadError::HotTierTooSmall)?;
                    shown += 1;
                }
            }
        }
        Ok(shown)
    }

    /// The newest version of every key through the place, in the order of the log. A footer that is missing or damaged is
    /// made anew first.
    fn standing(&mut self, resume: &Resume, committed: u64) -> Result<Vec<(KeyDigest, Version)>, NotUsed> {
        let mut bad: Option<usize> = None;
        for _ in 0..=1 + resume.segment().0 {
            let footers = self.footers(resume, bad.take())?;
            let mut standing = Vec::new();
            let sequence = io_oi_cold::Sequence(committed);
            let visited = visit_newest(&mut self.shelf, &footers, sequence, &mut |digest, version| {
                standing.push((digest, version));
            });
            match visited {
                Ok(()) => {
                    standing.sort_unstable_by_key(|(_, version)| (version.place, version.sequence));
                    return Ok(standing);
                }
                Err((at, error)) => {
                    tracing::warn!(segment = at, %error, "footer not used");
                    bad = Some(at);
                }
            }
        }
        Err(NotUsed("footers are damaged again as soon as they are made".to_owned()))
    }

    fn footers(&mut self, resume: &Resume, bad: Option<usize>) -> Result<Vec<Footer>, NotUsed> {
        let segments = 0..=resume.segment().0;
        let mut missing = Vec::new();
        let mut footers = BTreeMap::new();
        for segment in segments {
            let of = self.footer_of(resume, segment);
            match Footer::open(&mut self.shelf, &of) {
                Ok(footer) if bad != Some(segment as usize) => {
                    footers.insert(segment, footer);
                }
                Ok(_) => missing.push(segment),
                Err(error) => {
                    tracing::warn!(segment, %error, "footer not used");
                    missing.push(segment);
                }
            }
        }
        if let Some(last) = missing.last().copied() {
            self.make_anew(resume, &missing, last)?;
            for segment in missing {
                let of = self.footer_of(resume, segment);
                let footer = Footer::open(&mut self.shelf, &of);
                footers.insert(segment, footer.map_err(|error| NotUsed(error.to_string()))?);
            }
        }
        Ok(footers.into_values().collect())
    }

    /// Reads the log through a segment and makes these footers.
    fn make_anew(&mut self, resume: &Resume, missing: &[u32], last: u32) -> Result<(), NotUsed> {
        let read = LogReader::open(&self.log_path, &self.log_config);
        let mut reader = read.map_err(|error| NotUsed(error.to_string()))?;
        let mut from: Option<Resume> = None;
        for segment in 0..=last {
            let is_wanted = missing.contains(&segment);
            let mut builder = FooterBuilder::new();
            let mut wrong = false;
            let visited = reader.visit_sealed(from.as_ref(), SegmentNumber(segment), &mut |index, frame| {
                if is_wanted && frame.kind.0 == LogKind::Block as u8 {
                    wrong = note_block_in(&mut builder, &self.digester, index, frame.bytes).is_none();
                }
                if wrong { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            from = visited.map_err(|error| NotUsed(error.to_string()))?;
            if from.is_none() {
                return Err(NotUsed(format!("segment {segment} of the log has a block that is none")));
            }
            if is_wanted {
                // Nothing is known to be decided there, so every version is kept.
                let bytes = builder.finish(&self.footer_of(resume, segment), io_oi_cold::Sequence(0));
                put_footer(&mut self.shelf, segment, &bytes).map_err(|error| NotUsed(error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// Notes what a block writes; none when it is no block.
pub(super) fn note_block_in(
    builder: &mut FooterBuilder,
    digester: &Digester,
    index: LogIndex,
    bytes: &[u8],
) -> Option<()> {
    let (header, mut left) = BlockHeader::decode_first(bytes).ok()?;
    builder.begin_block(io_oi_cold::Sequence(header.first_sequence.get()));
    while !left.is_empty() {
        let (record, behind) = Record::decode_first(left).ok()?;
        left = behind;
        let sequence = io_oi_cold::Sequence(record.sequence.get());
        for write in record.writes() {
            let is_deletion = write.value.is_none();
            builder
                .note(digester.digest(write.key), Version { sequence, place: Place(index.0), is_deletion });
        }
    }
    Some(())
}

/// Why nothing was loaded.
#[derive(Debug)]
pub(super) enum LoadError {
    NotUsed(NotUsed),
    HotTierTooSmall(hot::Full),
}

impl From<NotUsed> for LoadError {
    fn from(reason: NotUsed) -> Self {
        Self::NotUsed(reason)
    }
}

impl From<LoadError> for BootReason {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NotUsed(reason) => BootReason::Checkpoint(reason.to_string()),
            LoadError::HotTierTooSmall(full) => BootReason::HotTierTooSmall(full),
        }
    }
}

fn not_read(error: impl std::fmt::Display) -> LoadError {
    NotUsed(error.to_string()).into()
}
