//! Truncated, foreign, damaged or unsealed segments get a typed error; readers cannot write.

use io_oi_shm::hot::{Config, Reader, Writer};
use io_oi_shm::lane::{ClientLane, NodeLane};
use io_oi_shm::layout::{self, AT_GEOMETRY, AT_MAGIC, AT_VERSION_AND_KIND, MAGIC, PAGE_BYTES};
use io_oi_shm::{CreateError, Kind, OpenError, Segment, SegmentConfig, counters, feed};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use std::io::Write;

fn small_config() -> Config {
    Config { entries_max: 10, large_bytes_max: 4096, versions_max: 8, ..Config::default() }
}

fn memory_file(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let file = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    std::fs::File::from(file.try_clone().unwrap()).write_all(bytes).unwrap();
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file
}

fn sealed(bytes: &[u8]) -> OwnedFd {
    memory_file(bytes, SealFlags::SHRINK | SealFlags::GROW)
}

/// A valid small hot segment as bytes, to be damaged.
fn image() -> Vec<u8> {
    let mut writer = Writer::create(&small_config()).unwrap();
    writer.publish_committed(b"key", Some(b"value"), Default::default()).unwrap();
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(format!("/proc/self/fd/{}", raw(&writer.fd()))).unwrap();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    bytes
}

fn raw(file: &impl AsFd) -> i32 {
    use std::os::fd::AsRawFd;
    file.as_fd().as_raw_fd()
}

fn with_word(at: usize, word: u64) -> Vec<u8> {
    let mut bytes = image();
    bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
    bytes
}

#[test]
fn a_copy_of_a_sound_segment_opens() {
    let reader = Reader::open(sealed(&image())).unwrap();
    let mut out = [0; 5];
    assert!(reader.get(b"key", &mut out).unwrap().is_some());
    assert_eq!(&out, b"value");
}

#[test]
fn files_that_could_shrink_are_refused() {
    assert!(matches!(Reader::open(memory_file(&image(), SealFlags::GROW)), Err(OpenError::NotSealed)));
    let ordinary = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(matches!(Reader::open(ordinary.into()), Err(OpenError::NotSealed)));
    let (pipe, _end) = rustix::pipe::pipe().unwrap();
    assert!(matches!(Reader::open(pipe), Err(OpenError::NotSealed)));
}

#[test]
fn truncated_segments_are_refused() {
    let image = image();
    for bytes in [0, 1, PAGE_BYTES - 1, PAGE_BYTES + 1] {
        let error = Reader::open(sealed(&image[..bytes])).unwrap_err();
        assert!(matches!(error, OpenError::WrongLength { found, .. } if found == bytes as u64), "{error}");
    }
    let error = Reader::open(sealed(&image[..PAGE_BYTES * 2])).unwrap_err();
    let expected = image.len() as u64;
    assert!(matches!(error, OpenError::WrongLength { expected: e, .. } if e == expected), "{error}");
}

#[test]
fn foreign_versions_kinds_and_magics_are_refused() {
    let error = Reader::open(sealed(&with_word(AT_MAGIC, MAGIC + 1))).unwrap_err();
    assert!(matches!(error, OpenError::WrongMagic { found } if found == MAGIC + 1), "{error}");
    let other_version = 1 << 32 | u64::from(layout::LAYOUT_VERSION + 1);
    let error = Reader::open(sealed(&with_word(AT_VERSION_AND_KIND, other_version))).unwrap_err();
    assert!(matches!(error, OpenError::WrongVersion { .. }), "{error}");
    let writer = Writer::create(&small_config()).unwrap();
    let hot = || writer.fd().try_clone_to_owned().unwrap();
    let expected = [
        feed::Reader::open(hot()).unwrap_err(),
        counters::Reader::open(hot()).unwrap_err(),
        NodeLane::create(&lane_config()).map(|(_, lane)| Reader::open(lane).unwrap_err()).unwrap(),
    ];
    for error in expected {
        assert!(matches!(error, OpenError::WrongKind { .. }), "{error}");
    }
    // A lane is mapped writable; the seal of a hot segment refuses that before anything else.
    assert!(matches!(ClientLane::open(hot()), Err(OpenError::Kernel { step: "mmap", .. })));
}

#[test]
fn every_damaged_geometry_is_refused_or_harmless() {
    let mut out = [0; 64];
    for at in AT_GEOMETRY..AT_GEOMETRY + 8 {
        for word in [0, 1, 7, u64::MAX, u64::MAX / 128, 1 << 32, 1 << 31, 1 << 63, 0x1234_5678_9abc_def0] {
            if let Ok(reader) = Reader::open(sealed(&with_word(at, word))) {
                let _ = reader.get(b"key", &mut out);
            }
        }
    }
}

#[test]
fn a_table_full_of_garbage_never_crashes_its_reader() {
    let image = image();
    let mut random = 88_172_645_463_325_252u64;
    for round in 0..8u64 {
        let mut bytes = image.clone();
        for word in bytes[PAGE_BYTES..].as_chunks_mut::<8>().0 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Even lock words, so that what follows is looked at.
            *word = (random & !(round % 2)).to_le_bytes();
        }
        let reader = Reader::open(sealed(&bytes)).unwrap();
        let mut out = vec![0; 100];
        for key in 0u64..3 {
            let _ = reader.get(&key.to_le_bytes(), &mut out);
        }
    }
}

#[test]
fn no_second_writable_view_of_a_read_only_segment_can_be_made() {
    let writer = Writer::create(&small_config()).unwrap();
    let fd = writer.fd();
    let path = format!("/proc/self/fd/{}", raw(&fd));
    let again = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    // Writing through the file, growing, shrinking, punching holes, unsealing: all refused.
    assert!((&again).write(b"x").is_err());
    assert!(again.set_len(0).is_err());
    assert!(again.set_len(1 << 30).is_err());
    let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    assert!(rustix::fs::fallocate(&again, punch, 0, 4096).is_err());
    assert!(rustix::fs::fcntl_add_seals(&again, SealFlags::WRITE).is_err());
    // Mapping it writable, too: a lane is opened writable.
    let error = Segment::open(again.into(), Kind::Lane).unwrap_err();
    assert!(matches!(error, OpenError::Kernel { step: "mmap", .. }), "{error}");
}

#[test]
fn impossible_configurations_are_refused() {
    let too_many = Config { entries_max: u64::MAX, ..small_config() };
    assert!(matches!(Writer::create(&too_many), Err(CreateError::Config { .. })));
    let too_large = Config { large_bytes_max: u64::MAX, ..small_config() };
    assert!(matches!(Writer::create(&too_large), Err(CreateError::Config { .. })));
    let odd = io_oi_shm::lane::Config { proposal_ring_bytes: 1000, ..lane_config() };
    assert!(matches!(NodeLane::create(&odd), Err(CreateError::Config { .. })));
    let small = feed::Config { data_bytes: 64, frame_bytes_max: 64, incarnation: 0, shard: 0 };
    assert!(matches!(feed::Writer::create(&small), Err(CreateError::Config { .. })));
    assert!(matches!(counters::Writer::create(&[""], 0, 0), Err(CreateError::Config { .. })));
    let config = SegmentConfig { kind: Kind::Feed, incarnation: 0, shard: 0, preallocate: false };
    assert!(matches!(Segment::create(&config, 1 << 62), Err(CreateError::Kernel { .. })));
}

fn lane_config() -> io_oi_shm::lane::Config {
    io_oi_shm::lane::Config {
        proposal_ring_bytes: 4096,
        proposal_frame_bytes_max: 1024,
        receipt_ring_bytes: 4096,
        receipt_frame_bytes_max: 64,
        incarnation: 5,
        shard: 3,
    }
}
