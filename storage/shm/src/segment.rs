//! A segment: sealed memory shared between processes, with a header that says what it is.
//!
//! Invariant: a segment is opened only when it cannot shrink, is exactly as long as its header says, and is of the
//! kind and layout version that the opener knows. So no access through it can ever fault.

use crate::Region;
use crate::layout::*;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use thiserror::Error;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Hot table.
    Hot = 1,
    /// Proposal ring, receipt ring and pins of one client in one shard.
    Lane = 2,
    /// Broadcast of committed records.
    Feed = 3,
    /// Labelled counters.
    Counters = 4,
}

impl Kind {
    #[cfg(not(loom))]
    fn file_name(self) -> &'static str {
        match self {
            Kind::Hot => "io_oi-hot",
            Kind::Lane => "io_oi-lane",
            Kind::Feed => "io_oi-feed",
            Kind::Counters => "io_oi-counters",
        }
    }

    /// Whether the other side may write, too.
    #[cfg(not(loom))]
    fn shared_by_two_writers(self) -> bool {
        self == Kind::Lane
    }
}

/// Why a segment could not be made.
#[derive(Debug, Error)]
pub enum CreateError {
    /// The kernel refused.
    #[error(
        "{step} of a {bytes}-byte shared segment failed: {source}; check memory and open-file limits, or configure a smaller segment"
    )]
    Kernel {
        /// Which step failed.
        step: &'static str,
        /// Size asked for.
        bytes: u64,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A size in the configuration is impossible.
    #[error("{what} is {value}, allowed is {allowed}; correct the configuration")]
    Config {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What would be allowed.
        allowed: &'static str,
    },
}

/// Why a segment could not be opened. Nothing of it was believed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The kernel refused.
    #[error("{step} of a shared segment failed: {source}; attach again")]
    Kernel {
        /// Which step failed.
        step: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The file could still change its size (or is no sealed memory file at all), which could crash its reader.
    #[error("the descriptor is not a sealed io_oi segment; use one handed out by the node")]
    NotSealed,
    /// Too short for a header, not whole pages, or not as long as its header says.
    #[error(
        "segment is {found} bytes long, expected {expected}; it is truncated or no io_oi segment: attach again"
    )]
    WrongLength {
        /// Length found.
        found: u64,
        /// Length expected (for one that is too short for a header: one page).
        expected: u64,
    },
    /// The first word is not io_oi's.
    #[error("not an io_oi segment (first word {found:#018x}); use a descriptor handed out by the node")]
    WrongMagic {
        /// The word found.
        found: u64,
    },
    /// Made by a version of io_oi with another layout.
    #[error(
        "segment has layout version {found}, this build knows {known}; run node and client of the same version"
    )]
    WrongVersion {
        /// Version found.
        found: u32,
        /// Version of this build.
        known: u32,
    },
    /// A segment, but of another kind.
    #[error("segment is of kind {found}, expected {expected:?}; descriptors were mixed up: attach again")]
    WrongKind {
        /// Kind found.
        found: u32,
        /// Kind expected.
        expected: Kind,
    },
    /// The header contradicts itself.
    #[error("segment header is damaged: {what} is {value}; attach again, and report it if it happens twice")]
    WrongGeometry {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: u64,
    },
}

/// What every segment's header says of its owner.
#[derive(Clone, Copy, Debug)]
pub struct SegmentConfig {
    /// What it holds.
    pub kind: Kind,
    /// Owner incarnation: a random number per boot of the node, see [`random_incarnation`].
    pub incarnation: u64,
    /// The shard it belongs to.
    pub shard: u16,
    /// Take all pages from the kernel now. Otherwise pages come at first touch, and a machine out of memory kills
    /// the process then.
    pub preallocate: bool,
}

/// A mapped segment.
#[derive(Debug)]
pub struct Segment {
    region: Region,
    file: Option<OwnedFd>,
}

impl Segment {
    /// Makes a segment of `bytes` (rounded up to whole pages) that is all zeros but for its header, which others
    /// accept only after [`Segment::finish`].
    #[cfg(not(loom))]
    pub fn create(config: &SegmentConfig, bytes: u64) -> Result<Segment, CreateError> {
        use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate};
        let bytes = bytes.next_multiple_of(PAGE_BYTES as u64);
        let failed =
            |step| move |errno: rustix::io::Errno| CreateError::Kernel { step, bytes, source: errno.into() };
        let file = memory_file(config.kind.file_name()).map_err(failed("memfd_create"))?;
        ftruncate(&file, bytes).map_err(failed("ftruncate"))?;
        if config.preallocate {
            fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(failed("fallocate"))?;
        }
        let mapped_bytes = usize::try_from(bytes).expect("io_oi runs on 64-bit machines");
        let region = Region::mapped(file.as_fd(), mapped_bytes, true).map_err(failed("mmap"))?;
        let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        if !config.kind.shared_by_two_writers() {
            seals |= SealFlags::FUTURE_WRITE; // Our own mapping above stays the only writable one, for ever.
        }
        fcntl_add_seals(&file, seals).map_err(failed("sealing"))?;
        let segment = Segment { region, file: Some(file) };
        segment.write_header(config);
        Ok(segment)
    }

    /// A segment in plain memory of this process, for models: it has no descriptor.
    pub fn plain(config: &SegmentConfig, bytes: u64) -> Segment {
        let pages = bytes.next_multiple_of(PAGE_BYTES as u64);
        let segment = Segment { region: Region::plain((pages / 8) as usize), file: None };
        segment.write_header(config);
        segment
    }

    /// Opens a segment of another process: checks all of the common header before anything else is looked at.
    #[cfg(not(loom))]
    pub fn open(file: OwnedFd, kind: Kind) -> Result<Segment, OpenError> {
        use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
        let failed = |step| move |errno: rustix::io::Errno| OpenError::Kernel { step, source: errno.into() };
        let seals = fcntl_get_seals(&file).map_err(|_| OpenError::NotSealed)?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(OpenError::NotSealed);
        }
        let bytes = fstat(&file).map_err(failed("fstat"))?.st_size as u64;
        if bytes < PAGE_BYTES as u64 || !bytes.is_multiple_of(PAGE_BYTES as u64) {
            return Err(OpenError::WrongLength { found: bytes, expected: PAGE_BYTES as u64 });
        }
        let writable = kind.shared_by_two_writers();
        let mapped_bytes = usize::try_from(bytes).expect("io_oi runs on 64-bit machines");
        let region = Region::mapped(file.as_fd(), mapped_bytes, writable).map_err(failed("mmap"))?;
        let segment = Segment { region, file: Some(file) };
        segment.check_header(kind)?;
        Ok(segment)
    }

    /// A second view of the same plain or mapped memory, as another process would have it.
    pub fn open_region(region: Region, kind: Kind) -> Result<Segment, OpenError> {
        let segment = Segment { region, file: None };
        segment.check_header(kind)?;
        Ok(segment)
    }

    /// Declares the segment ready: from now on others accept it. The last step of making one.
    pub fn finish(&self) {
        // Release pairs with the Acquire in `check_header`: whoever sees the magic sees the whole header.
        self.region.word(AT_MAGIC).store(MAGIC, Release);
    }

    /// The words.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The descriptor to hand to other processes.
    ///
    /// # Panics
    ///
    /// When the segment stands in plain memory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_ref().expect("a segment in plain memory has no descriptor to hand out").as_fd()
    }

    /// Bytes of the whole segment.
    pub fn bytes(&self) -> u64 {
        self.region.word_count() as u64 * 8
    }

    /// The owner's incarnation.
    pub fn incarnation(&self) -> u64 {
        self.region.word(AT_INCARNATION).load(Relaxed)
    }

    /// The shard it belongs to.
    pub fn shard(&self) -> u16 {
        self.region.word(AT_SHARD).load(Relaxed) as u16
    }

    /// The owner's sign of life.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat { region: self.region.clone() }
    }

    fn write_header(&self, config: &SegmentConfig) {
        let kind = u64::from(config.kind as u32) << 32 | u64::from(LAYOUT_VERSION);
        self.region.word(AT_VERSION_AND_KIND).store(kind, Relaxed);
        self.region.word(AT_BYTES).store(self.bytes(), Relaxed);
        self.region.word(AT_INCARNATION).store(config.incarnation, Relaxed);
        self.region.word(AT_SHARD).store(u64::from(config.shard), Relaxed);
    }

    fn check_header(&self, kind: Kind) -> Result<(), OpenError> {
        if self.region.word_count() < HEADER_WORDS {
            return Err(OpenError::WrongLength { found: self.bytes(), expected: PAGE_BYTES as u64 });
        }
        let magic = self.region.word(AT_MAGIC).load(Acquire);
        if magic != MAGIC {
            return Err(OpenError::WrongMagic { found: magic });
        }
        let version_and_kind = self.region.word(AT_VERSION_AND_KIND).load(Relaxed);
        let (version, found_kind) = (version_and_kind as u32, (version_and_kind >> 32) as u32);
        if version != LAYOUT_VERSION {
            return Err(OpenError::WrongVersion { found: version, known: LAYOUT_VERSION });
        }
        if found_kind != kind as u32 {
            return Err(OpenError::WrongKind { found: found_kind, expected: kind });
        }
        let expected = self.region.word(AT_BYTES).load(Relaxed);
        if expected != self.bytes() {
            return Err(OpenError::WrongLength { found: self.bytes(), expected });
        }
        Ok(())
    }
}

/// A segment owner's sign of life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    region: Region,
}

impl Heartbeat {
    /// When the owner last gave a sign of life, nanoseconds since the Unix epoch; 0 before the first.
    #[inline]
    pub fn last_ns(&self) -> u64 {
        self.region.word(AT_HEARTBEAT).load(Relaxed)
    }

    /// Gives a sign of life. The owner's only.
    #[inline]
    pub(crate) fn beat(&self, now_ns: u64) {
        self.region.word(AT_HEARTBEAT).store(now_ns, Relaxed);
    }
}

/// A fresh random number for [`SegmentConfig::incarnation`]: never 0, and different at every call in practice.
pub fn random_incarnation() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // The standard library's hash keys come from the kernel's random source.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    hasher.write_u32(std::process::id());
    if let Ok(since_epoch) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        hasher.write_u128(since_epoch.as_nanos());
    }
    hasher.finish().max(1)
}

/// A memory file that can be sealed; never executable where the kernel (6.3 and later) knows that seal.
#[cfg(not(loom))]
fn memory_file(name: &str) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => memfd_create(name, flags),
        made => made,
    }
}
