//! Files that are missing, foreign, mixed, cut short or of another version: each is refused by name, nothing is changed.

mod support;

use io_oi_wal::sim_disk::{Image, Options, SimDisk};
use io_oi_wal::{Config, OpenError, SegmentHeader, SegmentHeaderError, SegmentNumber};
use support::sim::{Life, small_config};

#[test]
fn another_format_version_is_refused_by_its_number() {
    let error = refused(|segments| segments[0][8] = 9);
    assert!(matches!(
        error,
        OpenError::SegmentHeader { source: SegmentHeaderError::Version { found: 9 }, .. }
    ));
    let text = error.to_string();
    assert!(text.contains("version 9") && text.contains("version 1"), "{text}");
}

#[test]
fn a_missing_segment_is_named() {
    let mut image = a_log(1);
    image.segments.remove(&SegmentNumber(1));
    let error = refusal(image, &small_config());
    assert!(matches!(error, OpenError::MissingSegment { segment: SegmentNumber(1) }), "{error}");
    let mut image = a_log(1);
    image.segments.remove(&SegmentNumber(0));
    let error = refusal(image, &small_config());
    assert!(matches!(error, OpenError::MissingSegment { segment: SegmentNumber(0) }), "{error}");
}

#[test]
fn another_clusters_and_another_shards_log_are_refused() {
    let other = Config { cluster: [1; 32], ..small_config() };
    assert!(matches!(refusal(a_log(1), &other), OpenError::WrongCluster { .. }));
    let other = Config { shard: 4, ..small_config() };
    let error = refusal(a_log(1), &other);
    assert!(matches!(error, OpenError::WrongShard { found: 3, expected: 4, .. }), "{error}");
}

#[test]
fn two_logs_of_one_shard_in_one_directory_are_told_apart() {
    let (mut ours, theirs) = (a_log(1), a_log(2));
    ours.segments.insert(SegmentNumber(1), theirs.segments[&SegmentNumber(1)].clone());
    let error = refusal(ours, &small_config());
    assert!(matches!(error, OpenError::MixedLogs { segment: SegmentNumber(1) }), "{error}");
}

#[test]
fn a_file_under_another_segments_name_is_refused() {
    let mut image = a_log(1);
    let first = image.segments[&SegmentNumber(0)].clone();
    image.segments.insert(SegmentNumber(1), first);
    let error = refusal(image, &small_config());
    assert!(
        matches!(error, OpenError::Misnumbered { segment: SegmentNumber(1), found: SegmentNumber(0) }),
        "{error}"
    );
}

#[test]
fn a_file_cut_short_is_refused_with_both_lengths() {
    let error = refused(|segments| {
        let bytes = segments[1].len();
        segments[1].truncate(bytes - 4096);
    });
    assert!(matches!(error, OpenError::WrongSize { segment: SegmentNumber(1), .. }), "{error}");
    let error = refused(|segments| segments[0].truncate(100));
    assert!(matches!(error, OpenError::WrongSize { segment: SegmentNumber(0), found: 100, .. }), "{error}");
}

#[test]
fn a_log_of_larger_frames_is_refused_before_any_is_missed() {
    let smaller = Config { frame_bytes_max: 5000, ..small_config() };
    let error = refusal(a_log(1), &smaller);
    assert!(matches!(error, OpenError::LargerFrames { configured: 5000, .. }), "{error}");
}

#[test]
fn a_segment_whose_predecessor_was_longer_is_refused() {
    let error = refused(|segments| {
        let sector = segments[1][..4096].try_into().unwrap();
        let mut header = SegmentHeader::decode(sector).unwrap();
        header.first.0 += 4096;
        segments[1][..4096].copy_from_slice(&header.encode()[..]);
    });
    assert!(matches!(error, OpenError::MixedLogs { segment: SegmentNumber(1) }), "{error}");
}

#[test]
fn a_visitor_that_refuses_a_frame_stops_the_opening() {
    let disk = SimDisk::from_image(a_log(1), Options::new(1, small_config().buffer_bytes));
    let mut seen = 0;
    let refused = io_oi_wal::Wal::open_on(disk, small_config(), |_, _| {
        seen += 1;
        if seen == 4 { Err("a fork in the history".into()) } else { Ok(()) }
    });
    let error = refused.err().expect("the visitor refused");
    assert!(matches!(error, OpenError::Visitor { .. }) && error.to_string().contains("a fork"), "{error}");
    assert_eq!(seen, 4);
}

fn a_log(seed: u64) -> Image {
    let disk = SimDisk::new(Options::new(seed, small_config().buffer_bytes));
    let mut life = Life::open(disk.clone(), &small_config()).unwrap();
    life.live(seed, 60).unwrap();
    let image = disk.image();
    assert!(image.segments.len() >= 3, "the log has several segments");
    image
}

fn refusal(image: Image, config: &Config) -> OpenError {
    let disk = SimDisk::from_image(image.clone(), Options::new(1, config.buffer_bytes));
    let error = Life::open(disk.clone(), config).err().expect("such a log is refused");
    assert!(disk.image() == image, "a refused log is not changed");
    error
}

fn refused(change: impl FnOnce(&mut [Vec<u8>])) -> OpenError {
    let mut files: Vec<Vec<u8>> = a_log(1).segments.into_values().collect();
    change(&mut files);
    let segments = (0..).map(SegmentNumber).zip(files).collect();
    refusal(Image { segments, ..Image::default() }, &small_config())
}
